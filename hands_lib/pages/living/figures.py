"""The living figures as outputs of a cell: what they begin with, and a picture for where they cannot run.

Units   metres, radians, pixels
"""

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from hands_lib.figures import LEFT, RIGHT, shaded_overlay
from hands_lib.geometry.normals import vertex_normals
from hands_lib.geometry.raster import point_visibility
from hands_lib.hand.kinematics import DEFAULT_LIMITS
from hands_lib.hand.skeleton import EDGES, JOINTS
from hands_lib.hand.surface import surface_topology
from hands_lib.methods.intersections.occupancy import OccupancyNetwork
from hands_lib.methods.refinement.examples import Examples
from hands_lib.methods.refinement.network import RefinementNetwork
from hands_lib.methods.va_nerf.network import VANeRF
from hands_lib.methods.va_nerf.observation import gather_evidence, mirrored
from hands_lib.methods.va_nerf.training import Pictures
from hands_lib.nn.sampling import sample_at_pixels
from hands_lib.pages.living.export import exported, in_half_precision
from hands_lib.pages.living.graphs import (
    AskPoint,
    IntersectionStep,
    ObservePicture,
    PosedHands,
    RefinementStages,
)
from hands_lib.structures import Camera, HandPose, Mesh

TESTED_AT_ONCE = 40
"""Points of each hand in one run of the graph of the intersection loss."""
_PLACES = {"1": "base", "2": "middle joint", "3": "end joint", "4": "tip"}
_BEHIND = "This figure computes in the pages of the built book. The picture shows how it begins."


@dataclass(frozen=True)
class LivingFigure:
    """A figure of a kind that `static/hands-living.js` knows."""

    kind: str
    title: str
    todo: str
    """What a reader can do, and what to look at: a sentence each."""
    alt: str
    models: Mapping[str, Any]
    data: Mapping[str, Any]
    still: UInt8[NDArray, "height width 3"]

    def _repr_html_(self) -> str:
        body = json.dumps({"models": self.models, "data": self.data}, separators=(",", ":"))
        words = (self.kind, self.title, self.todo, self.alt)
        kind, title, todo, alt = (html.escape(text, quote=True) for text in words)
        return (
            f'<div class="hands-living" data-kind="{kind}" data-title="{title}" data-todo="{todo}" '
            f'role="group" aria-label="{title}"><script type="application/json">'
            f"{body.replace('<', chr(92) + 'u003c')}</script>"
            f'<img class="hands-living-still" alt="{alt}" src="data:image/png;base64,{_png(self.still)}">'
            f'<p class="hands-living-behind">{_BEHIND}</p></div>'
        )

    def __repr__(self) -> str:
        return f"{self.title}. {self.alt}"


def drag_figure(
    network: OccupancyNetwork, pose: HandPose, names: Sequence[str], start: float = 0.012, steps: int = 40
) -> LivingFigure:
    """Two hands that a reader drags into each other: shared volume, intersection loss, and a way out of it.

    pose   batch (pair, 2): pairs that do not intersect
    names  of the pairs
    start  how far the left hand stands nearer to the right one when the figure begins, metres
    steps  down the loss, at most
    """
    network = in_half_precision(network).eval()
    unknowns = torch.cat(
        [pose.root_translation, torch.zeros_like(pose.root_translation), pose.joint_angles.flatten(2)], dim=-1
    )
    fixed = {"rotation": pose.root_rotation, "palm": pose.palm_angles, "lengths": pose.bone_lengths}
    example = {"unknowns": unknowns[0], **{name: value[0] for name, value in fixed.items()}}
    points = torch.arange(TESTED_AT_ONCE)
    asked = {"left": points, "left_counts": points.float(), "right": points, "right_counts": points.float()}
    hands, hold = PosedHands("refined"), 150.0
    models = {
        "hands": exported(hands, example, ["joints", "vertices"]),
        "step": exported(
            IntersectionStep(network),
            example | {"start": unknowns[0], "hold": torch.tensor(hold), **asked},
            ["loss", "gradient", "of_left", "of_right"],
            descends=True,
        ),
    }
    faces = surface_topology("refined").faces
    pairs = [
        {
            "name": name,
            "unknowns": _numbers(unknowns[n]),
            **{key: _numbers(value[n]) for key, value in fixed.items()},
            "start": start,
        }
        for n, name in enumerate(names)
    ]
    data = {
        "pairs": pairs,
        "faces": [faces.flatten().tolist(), faces.flip(-1).flatten().tolist()],
        "lower": _numbers(DEFAULT_LIMITS.joint_lower),
        "upper": _numbers(DEFAULT_LIMITS.joint_upper),
        "hold": hold,
        "steps": steps,
        "tested": TESTED_AT_ONCE,
    }
    with torch.no_grad():
        _, vertices = hands(*example.values())
    return LivingFigure(
        "drag",
        "Drag two hands into each other",
        "Drag the blue hand, or use the sliders. Left: your pair; skin that lies in the other hand shines "
        "yellow. Right: the same pair after steps down the intersection loss.",
        "Two shaded hands, the right one orange and the left one blue, close to each other.",
        models,
        data,
        _portrait([Mesh(vertices[0], faces), Mesh(vertices[1], faces.flip(-1))]),
    )


def look_figure(network: VANeRF, pictures: Pictures, frame: int = 0) -> LivingFigure:
    """What a query point of VAFF may look at, as the camera of the input picture walks around the hands.

    pictures  of a ring of cameras; `frame` chooses the pair
    """
    network = in_half_precision(network).eval()
    views = int(pictures.view_count[frame])
    ring = torch.full((views,), frame), torch.arange(views)
    given = pictures.input_view(*ring)
    evidence = gather_evidence(given, network.settings.vertex_visibility)
    one = pictures.input_view(torch.tensor([frame]), torch.tensor([0]))
    points, names = _points_of_interest(one.mesh, one.joints[0])
    colours = _true_colours(points, given, pictures.colours(*ring))
    labels = evidence.silhouettes[:, 0].to(torch.uint8) + 2 * evidence.silhouettes[:, 1].to(torch.uint8)
    with torch.no_grad():
        located = [
            network.locate(
                network.observe(pictures.input_view(ring[0][:1], ring[1][n : n + 1])), points[None]
            )
            for n in range(views)
        ]
        observed = network.observe(one)
    vertex = located[0].vertex[0]
    example = {
        "point": points[:1], "vertex": vertex[:1], "visible": located[0].visible[0, :1],
        "vertex_visible": observed.evidence.vertex_visible, "image": one.image,
        "texture": observed.texture, "averages": observed.averages, "intrinsics": one.camera.intrinsics,
        "camera_from_world": one.camera.camera_from_world, "vertices": one.vertices, "joints": one.joints,
    }  # fmt: skip
    models = {
        "observe": exported(
            ObservePicture(network),
            {"image": one.image, "silhouettes": observed.evidence.silhouettes},
            ["texture", "averages"],
        ),
        "ask": exported(AskPoint(network, one.faces), example, ["weights", "colour", "pixels"]),
    }
    cameras = given.camera
    rotation, shift = cameras.camera_from_world[:, :3, :3], cameras.camera_from_world[:, :3, 3]
    centres = -(rotation.mT @ shift[..., None])[..., 0]
    num = one.vertices.shape[2]
    partner = mirrored(vertex, 2 * num)
    seen = evidence.vertex_visible
    # The story of the figure: a point that the first camera does not see, while its mirror image is seen.
    told = ~located[0].visible[0] & ~seen[0, vertex] & seen[0, partner] & torch.isfinite(colours).all(dim=1)
    told &= torch.tensor(["wrist" not in name for name in names])  # the hand ends there
    data = {
        "size": one.image.shape[1],
        "images": _bytes((255 * given.image).round()),
        "labels": _bytes(labels),
        "seen": _bytes(seen),
        "pointSeen": _bytes(torch.cat([found.visible for found in located])),
        "vertices": _numbers(one.vertices),
        "joints": _numbers(one.joints),
        "faces": [faces.flatten().tolist() for faces in one.faces],
        "first": int(told.int().argmax()),
        "points": [
            {"name": name, "at": _numbers(at), "vertex": int(v), "colour": _numbers(colour)}
            for name, at, v, colour in zip(names, points, vertex, colours.nan_to_num(0), strict=True)
        ],
        "views": [
            {"intrinsics": _numbers(k), "pose": _numbers(pose), "centre": _numbers(centre)}
            for k, pose, centre in zip(cameras.intrinsics, cameras.camera_from_world, centres, strict=True)
        ],
    }
    still = (255 * given.image[0]).round().byte().numpy().repeat(6, axis=0).repeat(6, axis=1)
    return LivingFigure(
        "look",
        "What a point may look at",
        "Move the camera around the hands, and choose a point. A filled mark is seen by the camera, a hollow "
        "one is hidden. The bars say how much the network listens to each place.",
        "A small picture of two hands before black, as the camera gives it to the network.",
        models,
        data,
        still,
    )


def stages_figure(
    network: RefinementNetwork, examples: Examples, names: Sequence[str], side: int = 64
) -> LivingFigure:
    """Refinement stage by stage on pictures to choose from, and on a picture of the reader's own.

    examples  one for each of `names`, pictures of `side` pixels
    """
    network = in_half_precision(network).eval()
    module, truth = RefinementStages(network), examples.targets
    outputs = ["joints", "vertices", "joints_uv", "vertices_uv", "offset"]
    data = {
        "size": side,
        "stages": network.settings.stages + 1,
        "names": list(names),
        "images": _bytes((255 * examples.image.movedim(1, -1)).round()),
        "truth_uv": _numbers(truth.joints_uv),
        "truth_joints": _numbers(truth.joints),
        "faces": [faces.flatten().tolist() for faces in network.hands.faces],
    }
    with torch.no_grad():
        joints_uv = module(examples.image[:1])[2]
    return LivingFigure(
        "stages",
        "A second and a third look",
        "Choose a picture, or open one of your own. Each panel shows what one stage of the network says: "
        "right hand orange, left hand blue, true joints white where they are known.",
        "The same small picture of two hands three times, each with the skeletons of one stage over it.",
        {"stages": exported(module, {"image": examples.image[:1]}, outputs)},
        data,
        _skeletons(examples.image[0], joints_uv),
    )


# --- parts ---------------------------------------------------------------------------------------------


def _numbers(values: Tensor) -> list[float]:
    """Single-precision numbers, short in JSON."""
    return [float(f"{value:.7g}") for value in values.detach().float().flatten().tolist()]


def _bytes(values: Tensor) -> str:
    return base64.b64encode(values.to(torch.uint8).contiguous().cpu().numpy().tobytes()).decode("ascii")


def _png(pixels: UInt8[NDArray, "height width 3"]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _portrait(
    meshes: Sequence[Mesh], width: int = 640, height: int = 400
) -> UInt8[NDArray, "height width 3"]:
    """Hands on white, seen along the world's z with y up."""
    points = torch.cat([mesh.vertices for mesh in meshes])
    low, high = points.amin(dim=0), points.amax(dim=0)
    middle, focal = (
        (low + high) / 2,
        0.9 * min(width / float((high - low)[0]), height / float((high - low)[1])),
    )
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    pose[:3, 3] = -(pose[:3, :3] @ middle) + torch.tensor([0.0, 0.0, 1.0])
    intrinsics = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    camera = Camera(intrinsics, pose, width, height, "orthographic")
    layer = shaded_overlay(list(zip(meshes, (RIGHT, LEFT), strict=True)), camera, opacity=1.0)
    opacity = layer[..., 3:]
    return (255 * (opacity * layer[..., :3] + (1 - opacity))).round().astype(np.uint8)


def _skeletons(
    image: Float[Tensor, "3 size size"], joints_uv: Float[Tensor, "stage 2 21 2"], zoom: int = 4
) -> UInt8[NDArray, "height width 3"]:
    """The picture once a stage, with that stage's skeletons."""
    small = (255 * image.movedim(0, -1)).round().byte().numpy()
    panels = []
    for uv in joints_uv:
        panel = Image.fromarray(small.repeat(zoom, axis=0).repeat(zoom, axis=1))
        draw, size = ImageDraw.Draw(panel), panel.width
        for side, colour in enumerate((RIGHT, LEFT)):
            places = ((uv[side] + 1) / 2 * size).tolist()
            for a, b in EDGES:
                draw.line([*places[a], *places[b]], fill=colour, width=3)
        panels.append(np.asarray(panel))
    return np.concatenate(panels, axis=1)


def _points_of_interest(mesh: Mesh, joints: Float[Tensor, "2 21 3"]) -> tuple[Tensor, list[str]]:
    """Middles of faces around every fingertip, knuckle and wrist: on the back and on the palm's side."""
    middles = mesh.vertices[0][mesh.faces].mean(dim=1)
    normals = vertex_normals(Mesh(mesh.vertices[0], mesh.faces))[mesh.faces].mean(dim=1)
    of_hand = torch.arange(len(mesh.faces)) // (len(mesh.faces) // 2)
    points, names = [], []
    for side, hand in enumerate(("right", "left")):
        own = joints[side]
        across = torch.linalg.cross(own[9] - own[0], own[17] - own[5])
        back = torch.nn.functional.normalize(across if side == 0 else -across, dim=0)
        for number, joint in enumerate(JOINTS):
            for where, sign in (("back", -1.0), ("palm", 1.0)):
                away = (middles - own[number]).norm(dim=1)
                facing = (normals * (sign * back)).sum(dim=1)
                cost = away - 0.02 * facing + torch.where(of_hand == side, 0.0, 1.0)
                points.append(middles[cost.argmin()])
                digit, _, place = joint.partition("_")
                names.append(f"{hand} hand: {digit} {_PLACES.get(place, '')}".rstrip() + f", {where} side")
    return torch.stack(points), names


def _true_colours(points: Float[Tensor, "point 3"], given: Any, colours: Tensor) -> Float[Tensor, "point 3"]:
    """As the first camera of the ring sees it that sees the point at all; NaN where none does."""
    camera = given.camera
    around = points.expand(len(camera.intrinsics), -1, -1)
    whole = Mesh(given.mesh.vertices[0], given.mesh.faces)
    sees = point_visibility(around, whole, camera)
    first = sees.float().argmax(dim=0)
    at = camera.project(around)[first, torch.arange(len(points))]
    images = colours.movedim(-1, 1)
    found = sample_at_pixels(images, first, at, (images.shape[2], images.shape[3]))
    return torch.where(sees.any(dim=0)[:, None], found, torch.nan)

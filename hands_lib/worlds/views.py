"""One moment of two hands as all cameras see it, with every label.

Chapter  book/foundations/two_hand_world.md
Units    metres, pixels
Frames   world: y up, the pair's bounding box about the origin; cameras as OpenCV's

What a label is made of is stored, not the label: poses, and the face that each pixel's centre sees. Depth,
normals and correspondences follow from these and from the meshes, exactly.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from hands_lib.geometry.kernels.threads import for_ranges
from hands_lib.geometry.normals import vertex_normals
from hands_lib.geometry.raster import vertex_visibility
from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.pairs import clearance, pair_faces, pair_joints, pair_surfaces
from hands_lib.structures import Camera, HandPose, Mesh, TensorFields, TwoHandSample
from hands_lib.worlds import shading_kernel
from hands_lib.worlds.identities import Identities
from hands_lib.worlds.interactions import CONTACT
from hands_lib.worlds.renderer import (
    Lighting,
    build_scene,
    render,
    surroundings,
    to_pixels,
)
from hands_lib.worlds.texture import hand_textures, rest_vertices

_MIRROR = torch.tensor([-1.0, 1.0, 1.0])
_NUM_FACES = len(pair_faces()[0])
_ARM_ROOM = 0.008  # metres that an arm keeps from the other hand, beyond its own radius
_ARM_RADIUS, _ARM_LENGTH = 0.034, 0.3


@dataclass(frozen=True)
class Moment(TensorFields):
    """Two hands at one moment, before any picture."""

    pose: HandPose
    """Batch (2,); see `interactions` for the left hand."""
    vertices: Float[Tensor, "2 vertex 3"]
    """Refined surfaces, world; their faces are `interactions.pair_faces()`."""
    joints: Float[Tensor, "2 21 3"]
    clearance: Float[Tensor, "2 vertex"]
    """Signed distance of every vertex to the other hand's surface, metres: negative inside, never so in a
    sampled pair."""

    def contact(self, within: float = CONTACT) -> Bool[Tensor, "2 vertex"]:
        """Which vertices touch the other hand, that is, lie nearer than `within` metres."""
        return self.clearance < within

    @property
    def penetration(self) -> Float[Tensor, "2 vertex"]:
        """How deep each vertex lies inside the other hand, metres; 0 outside."""
        return (-self.clearance).clamp(min=0)


@dataclass(frozen=True)
class Views(TensorFields):
    """What cameras see of a moment; the first dimension is the camera."""

    camera: Camera
    image: UInt8[Tensor, "view height width 3"]
    face: Int[Tensor, "view height width"]
    """Face at the pixel's centre: of the right hand, then of the left hand, then of the arms; -1 where there
    is none."""
    vertex_visible: Bool[Tensor, "view 2 vertex"]
    """By the exact definition of `geometry.raster.vertex_visibility`; arms hide what they hide."""

    @property
    def hand(self) -> UInt8[Tensor, "view height width"]:
        """0 for none, 1 for the right hand, 2 for the left hand, 3 for an arm."""
        return (self.face.int() // _NUM_FACES + (self.face >= 0)).clamp(0, 3).to(torch.uint8)


@dataclass(frozen=True)
class PixelLabels(TensorFields):
    """Labels that follow from the face that a pixel sees. Zeros where it sees no hand."""

    depth: Float[Tensor, "view height width"]
    """z in the camera frame, metres; infinite where there is no hand."""
    normal: Float[Tensor, "view height width 3"]
    """Unit, camera frame, interpolated between the vertices."""
    correspondence: Float[Tensor, "view height width 3"]
    """The same point on the rest hand (`texture.rest_vertices`), metres; a left hand's is mirrored to the
    right hand's."""


def make_moment(pose: HandPose, person: Identities) -> Moment:
    """Surfaces, joints and contact of one pair."""
    vertices = pair_surfaces(pose, person.shape)
    return Moment(pose, vertices, pair_joints(pose), clearance(vertices))


def photograph(
    moment: Moment,
    person: Identities,
    camera: Camera,
    lighting: Lighting,
    background: str = "studio",
    arms: bool = True,
    seed: int = 0,
    shown: Literal["both", "right", "left"] = "both",
) -> Views:
    """Pictures of a moment from all cameras (one batch dimension), with what labels are made of.

    background  what lies behind; it is the same for all cameras, far away
    arms        whether forearms and sleeves are drawn; they hide what is behind them
    seed        of the background and of the sensor's noise
    shown       one hand may be left out
    """
    sides = {"both": [0, 1], "right": [0], "left": [1]}[shown]
    faces = list(pair_faces())
    textures = _textures(tuple(person.skin.tolist()), int(person.texture_seed))
    directions = arm_directions(moment) if arms else [None, None]
    scene = build_scene(
        moment.vertices[sides],
        [faces[side] for side in sides],
        textures[sides],
        [None if directions[side] is None else (directions[side], side == 1) for side in sides],
        person.skin,
        person.cloth,
        float(person.sleeve),
    )
    environment = surroundings(background, torch.Generator().manual_seed(seed), lighting)
    image, face = render(scene, camera, lighting, environment, seed=seed)
    seen = vertex_visibility(Mesh(scene.vertices, scene.faces), camera)
    num = moment.vertices.shape[1]
    visible = torch.zeros(len(image), 2, num, dtype=torch.bool)
    visible[:, sides] = seen[:, : len(sides) * num].unflatten(1, (len(sides), num))
    if shown != "both":
        # Face numbers mean the same whether or not both hands are there.
        own = face < _NUM_FACES
        shift = _NUM_FACES * torch.where(own, sides[0], 1)
        face = torch.where(face >= 0, face + shift.to(face.dtype), face)
    return Views(camera, image, face, visible)


@lru_cache(maxsize=64)
def _textures(skin: tuple[float, ...], seed: int) -> Tensor:
    return hand_textures(torch.tensor(skin), seed)


def arm_directions(moment: Moment) -> list[Tensor | None]:
    """Where each forearm goes from its wrist, unit, world; None where every way would meet the other hand.

    A wrist bends up to 40 degrees towards back and palm and 20 to its sides. Of the ways that keep clear of
    the other hand the straightest is taken; the left arm also keeps clear of the right one.
    """
    bends = torch.deg2rad(
        torch.tensor([(0, 0), *((x, z) for x in (-40, -20, 0, 20, 40) for z in (-20, 0, 20))])
    )
    steps = torch.linspace(0.1, 1, 10)[:, None] * _ARM_LENGTH
    chosen: list[Tensor | None] = []
    for side in (0, 1):
        rotation = moment.pose.root_rotation[side]
        turn = axis_angle_to_matrix(torch.stack([bends[:, 0], torch.zeros(len(bends)), bends[:, 1]], dim=-1))
        ways = -(rotation @ turn)[..., 1]
        if side == 1:
            ways = ways * _MIRROR
        wrist = moment.joints[side, 0]
        points = wrist + steps * ways[:, None]
        obstacles = moment.vertices[1 - side]
        if side == 1 and chosen[0] is not None:
            arm = moment.joints[0, 0] + steps * chosen[0]
            obstacles = torch.cat(
                [obstacles, arm - _ARM_RADIUS * torch.nn.functional.normalize(arm - wrist, dim=-1)]
            )
        room = (
            torch.cdist(points.flatten(0, 1), obstacles)
            .amin(dim=1)
            .unflatten(0, points.shape[:2])
            .amin(dim=1)
        )
        free = room > _ARM_RADIUS + _ARM_ROOM
        cost = bends.norm(dim=1) - 5 * room.clamp(max=0.06) + torch.where(free, 0.0, 100.0)
        best = int(cost.argmin())
        chosen.append(ways[best] if free[best] else None)
    return chosen


def pixel_labels(moment: Moment, views: Views) -> PixelLabels:
    """Depth, normals and correspondences of all pixels of the views."""
    num = moment.vertices.shape[1]
    vertices = moment.vertices.flatten(0, 1)
    faces = pair_faces()
    normals = torch.stack([vertex_normals(Mesh(v, f)) for v, f in zip(moment.vertices, faces, strict=True)])
    rotation = views.camera.camera_from_world[:, :3, :3]
    in_camera = normals.flatten(0, 1) @ rotation.mT
    rest = rest_vertices().repeat(2, 1).expand(len(rotation), -1, -1)
    values = torch.cat([in_camera, rest], dim=-1).contiguous()
    homogeneous, depths = to_pixels(vertices, views.camera)
    seen = torch.where(views.face < 2 * _NUM_FACES, views.face, -1).to(torch.int16)
    depth = torch.empty(seen.shape)
    measured = torch.empty(*seen.shape, 6)
    scene_faces = (faces + torch.tensor([0, num])[:, None, None]).flatten(0, 1)
    arrays = (
        homogeneous,
        depths,
        scene_faces.numpy(),
        values.numpy(),
        seen.numpy(),
        depth.numpy(),
        measured.numpy(),
    )

    def work(start: int, stop: int) -> None:
        shading_kernel.measure_faces(start, stop, *arrays)

    for_ranges(work, len(seen), grain=2)
    normal, correspondence = measured.split(3, dim=-1)
    return PixelLabels(depth, torch.nn.functional.normalize(normal, dim=-1), correspondence)


def joints_in_camera(moment: Moment, camera: Camera) -> Float[Tensor, "view 2 21 3"]:
    """Joints in the frame of each camera, metres."""
    return camera.transform(_for_each(camera, moment.joints)).unflatten(1, (2, 21))


def joints_in_image(moment: Moment, camera: Camera) -> Float[Tensor, "view 2 21 2"]:
    """Joints in the image of each camera, pixels; also those that are hidden."""
    return camera.project(_for_each(camera, moment.joints)).unflatten(1, (2, 21))


def _for_each(camera: Camera, joints: Tensor) -> Tensor:
    return joints.flatten(0, 1).expand(len(camera.intrinsics), -1, -1)


def as_sample(moment: Moment, camera: Camera | None = None) -> TwoHandSample:
    """The moment as every reader of real data gives it."""
    return TwoHandSample(moment.joints, torch.ones(2, 21, dtype=torch.bool), camera)

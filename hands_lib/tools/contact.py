"""`hands contact A B`: how two meshes, or two motions of meshes, touch and penetrate each other.

Chapter  book/hand_object/grasps.md
Units    metres inside; the caller says what the files have; millimetres, square and cubic centimetres in
         reports

A is the surface that is asked (the hand), B the other one (the object). Definitions stand in
`metrics.contact`; the report names each. Files are never changed: what is not closed is mended in memory, and
every mend is said, or the file is refused with the reason.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.mesh_files import FORMATS, read_mesh
from hands_lib.geometry.cameras import cropped
from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.inside import bounding_box
from hands_lib.geometry.meshes import boundary_edges, check_mesh
from hands_lib.geometry.normals import vertex_normals
from hands_lib.geometry.parts import inverted_parts, weld_vertices
from hands_lib.metrics.contact import (
    Contacts,
    IntersectionVolumes,
    PenetrationDepths,
    contacts,
    intersection_volumes,
    penetration_depths,
)
from hands_lib.structures import Camera, Mesh
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.renderer import STUDIO_LIGHT, Scene, render, surroundings
from hands_lib.worlds.texture import texel_weights

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
_LARGEST_CAP = 0.2  # of the surface: a hole that is larger is no hole, the mesh is a sheet
_SEAM = 1e-7  # of the mesh's size: vertices that are nearer stand in one place
_SIDE = 480  # pixels of a picture


@dataclass(frozen=True)
class MendedMesh:
    """A closed mesh, or a motion of one, and what had to be done for that."""

    mesh: Mesh
    """Vertices (frame, vertex, 3), metres."""
    words: tuple[str, ...]


@dataclass(frozen=True)
class ContactReport:
    """Every measure of every frame; a single pair is a motion of one frame."""

    depths: PenetrationDepths
    """Of A's vertices in B,"""
    depths_back: PenetrationDepths
    """and of B's in A."""
    volumes: IntersectionVolumes
    contacts: Contacts
    words: dict[str, tuple[str, ...]]
    """What was mended, by name of the file."""

    def as_dict(self) -> dict[str, Any]:
        """Lists with a value for every frame; metres, square and cubic metres."""
        groups = {
            "depth_of_a_in_b": self.depths,
            "depth_of_b_in_a": self.depths_back,
            "volume": self.volumes,
            "contact": self.contacts,
        }
        rows = {
            group: {name: value.tolist() for name, value in vars(measures).items()}
            for group, measures in groups.items()
        }
        return {
            "frames": len(self.depths.deepest),
            "mended": {k: list(v) for k, v in self.words.items()},
        } | rows


def mended(mesh: Mesh, name: str) -> MendedMesh:
    """The mesh with seams welded, holes closed and inverted parts turned round.

    A motion (frame, vertex, 3) is mended by its first frame. A part turned inside out is judged by itself;
    one inside another part is a cavity and stays.

    Raises DataError, which names `name`, where the surface is not one of a solid: edges with more than two
    faces, neighbours that turn in opposite directions, or a hole as large as a sheet's.
    """
    vertices = mesh.vertices if mesh.vertices.ndim == 3 else mesh.vertices[None]
    faces, words = mesh.faces.long(), []
    low, high = bounding_box(vertices[0])
    if float((high - low).max()) <= 0:
        raise DataError(f"{name} has no size: all of its vertices stand in one place")
    # Mended for the first frame; the same vertices are taken from the others.
    tolerance = _SEAM * float((high - low).max())
    unused = vertices.shape[1] - len(faces.unique())
    welded = weld_vertices(Mesh(vertices[0], faces), tolerance)
    merged = vertices.shape[1] - unused - len(welded.vertices)
    lost = len(faces) - len(welded.faces)
    vertices, faces = vertices[:, _rows_of(welded.vertices, vertices[0])], welded.faces.long()
    for count, text in (
        (unused, "left out {} vertices that no face uses"),
        (merged, "welded {} vertices that stand where another one stands"),
        (lost, "left out {} faces without area"),
    ):
        if count:
            words.append(text.format(count))
    if len(faces) == 0:
        raise DataError(f"{name} has no face with an area: look at its unit and its content")
    for loop in _holes(faces, name):
        fan = torch.stack([loop.roll(-1), loop, torch.full_like(loop, vertices.shape[1])], dim=-1)
        vertices = torch.cat([vertices, vertices[:, loop].mean(dim=1, keepdim=True)], dim=1)
        if _area(vertices[0], fan) > _LARGEST_CAP * _area(vertices[0], faces):
            raise DataError(
                f"{name} is a sheet and no solid: what would close the hole of {len(loop)} edges is more "
                f"than {_LARGEST_CAP:.0%} of the surface; give a closed mesh"
            )
        faces = torch.cat([faces, fan])
        words.append(f"closed a hole of {len(loop)} edges")
    inverted, label = inverted_parts(Mesh(vertices[0], faces))
    if inverted.any():
        turn = inverted[label]
        faces = torch.where(turn[:, None], faces.flip(-1), faces)
        words.append(f"turned {int(inverted.sum())} of {len(inverted)} parts that were inside out")
    return MendedMesh(Mesh(vertices.contiguous(), faces), tuple(words))


def _rows_of(chosen: Float[Tensor, "kept 3"], points: Float[Tensor, "point 3"]) -> Int[Tensor, " kept"]:
    """For every chosen point the number of a point that is equal to it."""
    _, which = torch.cat([points, chosen]).unique(dim=0, return_inverse=True)
    number = torch.empty(int(which.max()) + 1, dtype=torch.long)
    number[which[: len(points)]] = torch.arange(len(points))
    return number[which[len(points) :]]


def _area(vertices: Float[Tensor, "vertex 3"], faces: Int[Tensor, "face 3"]) -> float:
    a, b, c = vertices[faces].unbind(dim=1)
    return float(torch.linalg.cross(b - a, c - a).norm(dim=-1).sum()) / 2


def _holes(faces: Int[Tensor, "face 3"], name: str) -> list[Int[Tensor, " edge"]]:
    """Loops of vertices around the holes, in the direction in which the faces beside them run.

    Raises DataError where open edges do not form loops that pass every vertex once.
    """
    edges = boundary_edges(faces)
    start, end = edges.T
    if len(start.unique()) != len(start) or not torch.equal(start.sort().values, end.sort().values):
        raise DataError(
            f"{name}: {len(edges)} edges lack a face on their other side, and not as simple holes: faces "
            "turn in opposite directions, or more than two meet in an edge; orient and repair the mesh"
        )
    following = dict(zip(start.tolist(), end.tolist(), strict=True))
    loops = []
    while following:
        loop = [next(iter(following))]
        while (vertex := following.pop(loop[-1])) != loop[0]:
            loop.append(vertex)
        loops.append(torch.tensor(loop))
    return loops


def read_motion(path: Path) -> Mesh:
    """One mesh file, or the mesh files of a folder in the order of their names: frames of one motion.

    Raises DataError where a folder has none, or frames whose faces differ.
    """
    if not os.path.isdir(path):
        mesh = read_mesh(path)
        return Mesh(mesh.vertices[None], mesh.faces)
    files = sorted(own for own in Path(path).iterdir() if own.suffix.lower() in FORMATS)
    if not files:
        raise MissingData(f"{path} holds no {', '.join(FORMATS)}: give a mesh file, or a folder of them")
    frames = [read_mesh(own) for own in files]
    for own, frame in zip(files, frames, strict=True):
        if frame.vertices.shape != frames[0].vertices.shape or not torch.equal(frame.faces, frames[0].faces):
            raise DataError(
                f"{own} has other vertices or faces than {files[0].name}: frames of a motion share them"
            )
    return Mesh(torch.stack([frame.vertices for frame in frames]), frames[0].faces)


def measure_contact(
    a: Mesh, b: Mesh, names: tuple[str, str] = ("A", "B")
) -> tuple[ContactReport, tuple[Mesh, Mesh]]:
    """Every measure of two meshes or motions (frame, vertex, 3), metres; and the mended meshes.

    One of the two may have a single frame. Raises DataError as `mended`, and where their lengths differ.
    """
    for mesh in (a, b):
        check_mesh(mesh)
    own = [mended(mesh.to(torch.float64), name) for mesh, name in zip((a, b), names, strict=True)]
    frames = [len(one.mesh.vertices) for one in own]
    if frames[0] != frames[1] and 1 not in frames:
        raise DataError(
            f"{names[0]} has {frames[0]} frames and {names[1]} {frames[1]}: give motions of one length, or "
            "one mesh that stands still"
        )
    num = max(frames)
    first, second = (Mesh(one.mesh.vertices.expand(num, -1, -1), one.mesh.faces) for one in own)
    report = ContactReport(
        penetration_depths(first, second),
        penetration_depths(second, first),
        intersection_volumes(first, second),
        contacts(first, second),
        {name: one.words for name, one in zip(names, own, strict=True)},
    )
    return report, (first, second)


def contact_files(
    a: Path,
    b: Path,
    unit: str = "m",
    report: Path | None = None,
    picture: Path | None = None,
    force: bool = False,
) -> ContactReport:
    """What `hands contact` does: reads, mends, measures, writes what was asked for.

    unit     of the coordinates in both files, one of UNITS
    report   where to write every frame's values as JSON
    picture  where to write a picture of the deepest frame, .png
    force    whether these may be replaced

    Raises DataError, which names the file or the value and the mend.
    """
    if unit not in UNITS:
        raise DataError(f"unknown unit {unit!r}: one of {', '.join(UNITS)}")
    for path in (report, picture):
        if path is not None and os.path.lexists(path) and not force:
            raise DataError(f"{path} is there already: choose another name, or --force")
        if path is not None and not os.path.isdir(path.parent):
            raise MissingData(f"{path.parent} is no folder: make it, or choose another place for {path.name}")
    if picture is not None and picture.suffix.lower() != ".png":
        raise DataError(f"{picture}: a picture is a .png")
    meshes = []
    for path in (a, b):
        mesh = read_motion(path)
        meshes.append(Mesh(mesh.vertices * UNITS[unit], mesh.faces))
    found, pair = measure_contact(*meshes, names=(str(a), str(b)))
    if report is not None:
        report.write_text(json.dumps(found.as_dict(), indent=1) + "\n")
    if picture is not None:
        frame = int(found.depths.deepest.argmax())
        image = contact_picture(*(Mesh(mesh.vertices[frame], mesh.faces) for mesh in pair))
        Image.fromarray(image.numpy()).save(picture)
    return found


def report_text(report: ContactReport) -> str:
    """The report for people: a line for every definition, with mean and greatest of several frames."""
    lines = [f"{name}: {'; '.join(words)}" for name, words in report.words.items() if words]
    num = len(report.depths.deepest)
    head = "" if num == 1 else f"mean and greatest of {num} frames"
    groups = (
        ("A in B: penetration depth (mm)", report.depths, 1e3),
        ("B in A: penetration depth (mm)", report.depths_back, 1e3),
        ("intersection volume (cm3)", report.volumes, 1e6),
    )
    for title, measures, scale in groups:
        lines.append(f"{title}{', ' + head if head else ''}")
        lines += [_line(name, scale * value) for name, value in vars(measures).items()]
    touch = report.contacts
    lines += [
        "contact of A with B (ratios over frames)",
        _line("below_zero", touch.below_zero.double()),
        _line("within_5_mm", touch.within_5_mm.double()),
        _line("share_within_4_mm", touch.share_within_4_mm),
        _line("area_within_2_mm (cm2)", 1e4 * touch.area_within_2_mm),
    ]
    return "\n".join(lines)


def _line(name: str, values: Float[Tensor, " frame"]) -> str:
    text = f"  {name:<24} {values.mean():10.4f}"
    return text if len(values) == 1 else f"{text} {values.max():10.4f}"


def contact_picture(a: Mesh, b: Mesh) -> UInt8[Tensor, "height width 3"]:
    """Both surfaces from two sides, each whole and then alone; where they are nearer than 2 mm yellow, where
    they are in each other red."""
    low, high = bounding_box(torch.cat([a.vertices, b.vertices]))
    scale = 0.2 / float((high - low).max())  # the studio is made for hands
    middle = (low + high) / 2
    towards = (signed_distance(a.vertices, b).distance, signed_distance(b.vertices, a).distance)
    colours = ((0.62, 0.30, 0.10), (0.08, 0.28, 0.55))
    scenes = []
    for mesh, distance, colour in zip((a, b), towards, colours, strict=True):
        near = torch.einsum("tk,fk->ft", texel_weights().double(), distance[mesh.faces])[..., None]
        colour = torch.where(near < 0.002, torch.tensor((0.85, 0.60, 0.04)), torch.tensor(colour))
        colour = torch.where(near < 0, torch.tensor((0.75, 0.02, 0.02)), colour)
        texels = torch.cat([colour, torch.full_like(near, 0.04)], dim=-1).float()
        placed = Mesh((scale * (mesh.vertices - middle)).float(), mesh.faces)
        scenes.append(Scene(placed.vertices, vertex_normals(placed), placed.faces, texels))
    both = Scene(
        *(torch.cat([getattr(own, name) for own in scenes]) for name in ("vertices", "normals")),
        torch.cat([scenes[0].faces, scenes[1].faces + len(scenes[0].vertices)]),
        torch.cat([own.texels for own in scenes]),
    )
    ring = camera_ring(4, _SIDE)
    ring = cropped(ring, both.vertices, _SIDE, 1.15)
    two = Camera(ring.intrinsics[[0, 2]], ring.camera_from_world[[0, 2]], _SIDE, _SIDE)
    behind = surroundings("plain", torch.Generator().manual_seed(0), STUDIO_LIGHT)
    rows = [render(own, two, STUDIO_LIGHT, behind)[0] for own in (both, *scenes)]
    return torch.cat([torch.cat(list(row), dim=0) for row in rows], dim=1)

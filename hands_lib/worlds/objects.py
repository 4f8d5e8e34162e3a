"""Things that a hand holds: closed meshes with their names, symmetry, handles and colours.

Chapter  book/hand_object/grasps.md
Units    metres; millimetres in the tables of sizes; colours are linear RGB
Frame    the object's own: bounding box about the origin, z up as the thing stands, a handle towards +x

A shape is a row of rings around the z axis, joined to a closed surface: boxes have rounded rectangles for
rings, everything else ellipses; a cup's row goes up outside and down inside. A handle is a tube between two
holes in that surface, so that also a mug is one surface without a seam (of genus 1). A mesh that comes from
elsewhere (a scan) becomes the same `ObjectShape` through `object_from_mesh`; nothing that grasps, measures or
photographs knows the difference.

Thirty shapes of eight kinds. One of each kind is `UNSEEN`: it is grasped in the test split alone.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.inside import bounding_box
from hands_lib.geometry.meshes import check_closed
from hands_lib.geometry.parts import weld_vertices
from hands_lib.geometry.rotations import rotation_about_x, rotation_about_y, rotation_about_z
from hands_lib.structures import Mesh
from hands_lib.worlds.texture import TEXELS, texel_weights

_COLUMNS = 32  # of a round shape
_ARC = 3  # points of a rounded edge

# Sizes in millimetres. Box: thickness, width, height. Can: radius, height. Bottle: radius, height, radius of
# the neck. Mug: radius, height. Banana: length, half its thickness, bend in degrees. Bleach bottle: half its
# width and depth, height. Pitcher: radius below and above, height. Screwdriver: radius and length of the
# handle, of the shaft.
SIZES: dict[str, tuple[tuple[float, ...], ...]] = {
    "box": ((60, 158, 210), (38, 89, 175), (45, 65, 95), (28, 110, 150)),
    "can": ((33.5, 101), (42, 84), (26.5, 115), (36, 122)),
    "bottle": ((33, 208, 13), (36, 232, 14), (29, 185, 12), (31, 245, 14.5)),
    "mug": ((41, 81), (37, 96), (45, 74), (39, 88)),
    "banana": ((178, 17.5, 62), (195, 18.5, 48), (165, 16.5, 75)),
    "bleach": ((50, 32, 250), (45, 29, 215), (41, 30, 232)),
    "pitcher": ((50, 55, 205), (46, 52, 225), (54, 58, 190)),
    "screwdriver": ((15.5, 105, 3.2, 100), (13.5, 92, 2.7, 75), (17, 112, 3.8, 125), (12, 84, 2.2, 62),
                    (16, 98, 3.0, 150)),
}  # fmt: skip
KINDS = tuple(SIZES)
# A colour of its own for every variant of a kind.
_HUES = torch.tensor([
    (0.62, 0.06, 0.05), (0.05, 0.16, 0.45), (0.72, 0.42, 0.03), (0.04, 0.30, 0.13), (0.36, 0.05, 0.32),
])  # fmt: skip
_WHITE, _METAL, _DARK = (0.72, 0.70, 0.66), (0.46, 0.47, 0.49), (0.03, 0.03, 0.035)


@dataclass(frozen=True)
class Symmetry:
    """Motions of an object that nobody can see."""

    rotations: Float[Tensor, "rotation 3 3"]
    """About the object's origin, the identity first."""
    axis: Float[Tensor, "3"] | None
    """Unit; any rotation about it as well. None where there are only finitely many."""

    def all_rotations(self, steps: int = 36) -> Float[Tensor, "rotation 3 3"]:
        """Every rotation, a continuous axis in `steps` equal steps: what a minimum over symmetries runs
        over."""
        if self.axis is None:
            return self.rotations
        x, y, z = self.axis.tolist()
        cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        angle = 2 * torch.pi * torch.arange(steps)[:, None, None] / steps
        turns = torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) * (cross @ cross)
        return (turns[:, None] @ self.rotations).flatten(0, 1)


@dataclass(frozen=True)
class ObjectShape:
    """One thing, at rest in its own frame."""

    name: str
    kind: str
    """One of KINDS; of a scan, the kind that it is most like, or "other"."""
    mesh: Mesh
    texels: Float[Tensor, "face texel 4"]
    """Red, green, blue, gloss: see `worlds.texture`."""
    symmetry: Symmetry
    handle: Float[Tensor, "2 3"] | None = None
    """Lower and upper end of the straight part of a handle that fingers go around."""


def object_names() -> tuple[str, ...]:
    """Names of the thirty shapes, kind after kind: `box_1`, `box_2`, ..."""
    return tuple(f"{kind}_{n + 1}" for kind, sizes in SIZES.items() for n in range(len(sizes)))


UNSEEN = tuple(f"{kind}_{len(sizes)}" for kind, sizes in SIZES.items())
"""One shape of every kind, for the test split alone."""
SEEN = tuple(name for name in object_names() if name not in UNSEEN)


@cache
def object_shape(name: str) -> ObjectShape:
    """One of the thirty. Raises ValueError for a name that is none of `object_names()`."""
    if name not in object_names():
        raise ValueError(f"unknown object {name!r}; known are {', '.join(object_names())}")
    kind, number = name.rsplit("_", 1)
    size = tuple(value / 1000 for value in SIZES[kind][int(number) - 1])
    if kind == "banana":
        size = (size[0], size[1], math.radians(size[2] * 1000))
    mesh, handle = _SHAPES[kind](*size)
    low, high = bounding_box(mesh.vertices)
    middle = (low + high) / 2
    mesh = Mesh(mesh.vertices - middle, mesh.faces)
    handle = None if handle is None else handle - middle
    hue = _HUES[(int(number) + KINDS.index(kind)) % len(_HUES)]
    return ObjectShape(name, kind, mesh, _painted(kind, mesh, hue, size), _symmetry(kind), handle)


def object_from_mesh(name: str, mesh: Mesh, kind: str = "other") -> ObjectShape:
    """A mesh from elsewhere (metres, z up) as a thing to hold: seams welded, bounding box about the origin.

    It keeps its own shape and gets a plain colour; of its symmetry nothing is known.

    Raises GeometryError where it is not closed after welding, or inside out.
    """
    welded = weld_vertices(mesh)
    check_closed(welded)
    low, high = bounding_box(welded.vertices)
    own = Mesh((welded.vertices - (low + high) / 2).float(), welded.faces.long())
    hue = _HUES[sum(map(ord, name)) % len(_HUES)]
    size = tuple((high - low).tolist())
    return ObjectShape(name, kind, own, _painted(kind, own, hue, size), Symmetry(torch.eye(3)[None], None))


def _symmetry(kind: str) -> Symmetry:
    half, one = torch.tensor(math.pi), torch.eye(3)
    turns = [turn(half) for turn in (rotation_about_x, rotation_about_y, rotation_about_z)]
    up = torch.tensor([0.0, 0.0, 1.0])
    rotations, axis = {
        "box": ([one, *turns], None),
        "can": ([one, turns[0]], up),
        "bottle": ([one], up),
        "bleach": ([one, turns[2]], None),
        "screwdriver": ([one], up),
    }.get(kind, ([one], None))
    return Symmetry(torch.stack(rotations), axis)


# ---- surfaces


def _ellipse(half_x: float, half_y: float, columns: int = _COLUMNS) -> Float[Tensor, "column 2"]:
    angle = 2 * torch.pi * torch.arange(columns) / columns
    return torch.stack([half_x * angle.cos(), half_y * angle.sin()], dim=-1)


def _rounded_rectangle(
    half_x: float, half_y: float, radius: float, along_x: int, along_y: int
) -> Float[Tensor, "column 2"]:
    """Counter-clockwise from the middle of an arc's start; `along` edges on the straight parts."""
    arc = torch.linspace(0, torch.pi / 2, _ARC)
    corners, straight = torch.tensor([(1.0, 1), (-1, 1), (-1, -1), (1, -1)]), (along_x, along_y) * 2
    inner = torch.tensor([half_x - radius, half_y - radius])
    arcs = [
        inner * corners[k] + radius * torch.stack([(arc + k * torch.pi / 2).cos(),
                                                   (arc + k * torch.pi / 2).sin()], dim=-1)
        for k in range(4)
    ]  # fmt: skip
    pieces = []
    for k in range(4):
        share = torch.arange(1, straight[k])[:, None] / straight[k]
        pieces += [arcs[k], torch.lerp(arcs[k][-1], arcs[(k + 1) % 4][0], share)]
    return torch.cat(pieces)


def _rings(sections: list[Float[Tensor, "column 2"]], heights: list[float]) -> Float[Tensor, "ring column 3"]:
    flat = torch.stack(sections)
    z = torch.tensor(heights)[:, None, None].expand(*flat.shape[:2], 1)
    return torch.cat([flat, z], dim=-1)


def _grid_faces(rings: int, columns: int) -> Int[Tensor, "ring column 2 3"]:
    """Two faces for every step from a ring to the next and from a column to the next; outwards for columns
    that run counter-clockwise seen from the end of the row."""
    ring, column = torch.meshgrid(torch.arange(rings - 1), torch.arange(columns), indexing="ij")
    following = (column + 1) % columns
    a, b = ring * columns + column, ring * columns + following
    c, d = (ring + 1) * columns + following, (ring + 1) * columns + column
    return torch.stack([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)], dim=-2)


def _closed(rings: Float[Tensor, "ring column 3"], hole: Tensor | None = None) -> Mesh:
    """The row of rings with a fan at either end; `hole` (ring, column) says where faces are left out."""
    num_rings, columns = rings.shape[:2]
    faces = _grid_faces(num_rings, columns)
    tube = (faces if hole is None else faces[~hole]).reshape(-1, 3)
    around = torch.arange(columns)
    following, last = (around + 1) % columns, (num_rings - 1) * columns
    start = torch.full_like(around, num_rings * columns)
    fans = [
        torch.stack([start, following, around], -1),
        torch.stack([start + 1, last + around, last + following], -1),
    ]
    centres = rings[[0, -1]].mean(dim=1)
    return Mesh(torch.cat([rings.flatten(0, 1), centres]), torch.cat([tube, *fans]))


def _steps(start: float, stop: float, step: float) -> list[float]:
    """From start to stop, both included, in equal steps of about `step`."""
    return torch.linspace(start, stop, max(2, round(abs(stop - start) / step) + 1)).tolist()


def _revolved(profile: list[tuple[float, float]], depth: float = 1.0) -> Float[Tensor, "ring column 3"]:
    """Rings of (radius, height) pairs; `depth` scales y."""
    return _rings([_ellipse(r, depth * r) for r, _ in profile], [z for _, z in profile])


def _line(*nodes: tuple[float, float], step: float = 0.009) -> list[tuple[float, float]]:
    """(radius, height) along a polyline, every node included once."""
    points = [nodes[0]]
    for (r0, z0), (r1, z1) in zip(nodes[:-1], nodes[1:], strict=True):
        count = max(1, round(math.hypot(r1 - r0, z1 - z0) / step))
        points += [(r0 + (r1 - r0) * k / count, z0 + (z1 - z0) * k / count) for k in range(1, count + 1)]
    return points


def _box(thickness: float, width: float, height: float) -> tuple[Mesh, None]:
    x, y, edge = thickness / 2, width / 2, 0.003
    along_x, along_y = (max(2, round(2 * half / 0.011)) for half in (x, y))
    arc = torch.linspace(0, math.pi / 2, _ARC).tolist()
    sections, heights = [], []

    def add(half_x: float, half_y: float, z: float) -> None:
        radius = edge * min(1.0, half_x / x)
        sections.append(_rounded_rectangle(half_x, half_y, radius, along_x, along_y))
        heights.append(z)

    def cap(z: float, sign: float) -> list[tuple[float, float, float]]:
        rows = [(x * share, y * share, z) for share in (0.3, 0.65)]
        return rows + [
            (x - edge * (1 - math.sin(a)), y - edge * (1 - math.sin(a)), z + sign * edge * (1 - math.cos(a)))
            for a in arc
        ]

    rows = cap(0.0, 1.0)
    rows += [(x, y, z) for z in _steps(edge, height - edge, 0.011)[1:-1]]
    rows += cap(height, -1.0)[::-1]
    for row in rows:
        add(*row)
    return _closed(_rings(sections, heights)), None


def _can(radius: float, height: float) -> tuple[Mesh, None]:
    lip = 0.0025
    nodes = [(0.3 * radius, lip), (radius - 2 * lip, lip), (radius - lip, 0.0), (radius, lip)]
    top = [(r, height - z) for r, z in nodes]
    return _closed(_revolved(_line(*nodes, *top[::-1], step=0.0095))), None


def _bottle(radius: float, height: float, neck: float) -> tuple[Mesh, None]:
    """Body, shoulder, neck and a cap with a rim."""
    body, shoulder, cap = 0.60 * height, 0.80 * height, 0.91 * height
    nodes = [(0.35 * radius, 0.0), (radius - 0.004, 0.0), (radius, 0.004), (radius, body)]
    nodes += [
        (neck + (radius - neck) * (0.5 + 0.5 * math.cos(t * math.pi)), body + (shoulder - body) * t)
        for t in (0.25, 0.5, 0.75, 1.0)
    ]
    lid = neck + 0.0025
    nodes += [(neck, cap), (lid, cap), (lid, height - 0.0015), (lid - 0.0015, height), (0.4 * lid, height)]
    return _closed(_revolved(_line(*nodes))), None


def _cup(
    profile: list[tuple[float, float]],
    first: int,
    rows: int,
    second: int,
    reach: float,
    section: tuple[float, float],
) -> tuple[Mesh, Tensor]:
    """A cup with a handle towards +x between two holes of `rows` x 2 quadrilaterals, whose lower edges are
    the rings `first` and `second`.

    reach    how far the handle's middle stands off the wall, metres
    section  half of the handle's width across and thickness, metres
    """
    rings = _revolved(profile)
    num_rings, columns = rings.shape[:2]
    hole = torch.zeros(num_rings - 1, columns, dtype=torch.bool)
    for low in (first, second):
        hole[low : low + rows, [-1, 0]] = True
    cup = _closed(rings, hole)
    # Rims of both holes, by their angle in (across, outer side of the handle's bend).
    offsets = [(ring, column) for ring in range(rows + 1) for column in (-1, 0, 1)]
    offsets = [(ring, column) for ring, column in offsets if ring in (0, rows) or column]
    across = torch.tensor([float(column) for _, column in offsets])
    up = torch.tensor([2.0 * ring / rows - 1 for ring, _ in offsets])
    order = torch.atan2(up, across).argsort()
    turned = torch.atan2(-up, across).argsort()
    numbers = [
        torch.tensor([(low + ring) * columns + column % columns for ring, column in offsets])[chosen]
        for low, chosen in ((second, order), (first, turned))
    ]
    angle = torch.atan2(up, across)[order]
    rims = [cup.vertices[own] for own in numbers]
    ends = [rim.mean(dim=0) for rim in rims]
    steps = 12
    share = torch.linspace(0, 1, steps + 1)[1:-1]
    # A rounded D from the upper to the lower hole.
    turn = torch.pi * share
    out = reach * turn.sin().clamp(min=0) ** 0.55
    flat = 0.5 - 0.5 * torch.sign(turn.cos()) * turn.cos().abs() ** 0.75
    path = ends[0] + (ends[1] - ends[0]) * flat[:, None]
    path = path + out[:, None] * torch.tensor([1.0, 0.0, 0.0])
    whole = torch.cat([ends[0][None], path, ends[1][None]])
    along = torch.nn.functional.normalize(whole[2:] - whole[:-2], dim=-1)
    side = torch.tensor([0.0, 1.0, 0.0]).expand_as(along)
    outer = torch.linalg.cross(along, side)
    half_width, half_depth = section
    tube = path[:, None] + half_width * angle.cos()[:, None] * side[:, None]
    tube = tube + half_depth * angle.sin()[:, None] * outer[:, None]
    num, loop = len(cup.vertices), len(angle)
    ring = torch.cat(
        [numbers[0][None], num + torch.arange(len(tube) * loop).view(-1, loop), numbers[1][None]]
    )
    following = ring.roll(-1, dims=1)
    a, b, c, d = ring[:-1], following[:-1], following[1:], ring[1:]
    faces = torch.stack([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)], dim=-2).reshape(-1, 3)
    mesh = Mesh(torch.cat([cup.vertices, tube.flatten(0, 1)]), torch.cat([cup.faces, faces]))
    mesh = weld_vertices(mesh)  # without what lay in the middle of a hole
    straight = (out > 0.8 * reach).nonzero().flatten()
    return mesh, torch.stack([path[straight[-1]], path[straight[0]]])


def _mug(radius: float, height: float) -> tuple[Mesh, Tensor]:
    wall, step = 0.004, height / 10
    outside = [(0.4 * radius, 0.0), (radius - 0.003, 0.0), (radius, 0.003)]
    profile = _line(*outside, step=0.012)
    first = len(profile)
    profile += [(radius, 0.003 + step * k) for k in range(1, 10)]
    profile += [(radius, height - 0.001), (radius - wall / 2, height), (radius - wall, height - 0.001)]
    inner = _line((radius - wall, height - 0.001), (radius - wall, 0.012), (radius - 0.012, 0.006),
                  (0.3 * radius, 0.006), step=0.010)  # fmt: skip
    profile += inner[1:]
    mesh, handle = _cup(profile, first + 1, 1, first + 6, 0.029, (0.0062, 0.0042))
    return mesh, handle


def _pitcher(below: float, above: float, height: float) -> tuple[Mesh, Tensor]:
    wall, count = 0.004, 20
    profile = _line((0.4 * below, 0.0), (below - 0.004, 0.0), (below, 0.004), step=0.014)
    first = len(profile)
    profile += [
        (below + (above - below) * k / count, 0.004 + (height - 0.008) * k / count) for k in range(1, count)
    ]
    profile += [(above + 0.001, height - 0.002), (above - wall / 2, height), (above - wall, height - 0.002)]
    inner = _line((above - wall, height - 0.002), (below - wall, 0.014), (below - 0.014, 0.007),
                  (0.3 * below, 0.007), step=0.013)  # fmt: skip
    profile += inner[1:]
    mesh, handle = _cup(profile, first + 4, 2, first + 14, 0.046, (0.010, 0.0065))
    # The lip opposite the handle: the rim is drawn out.
    x, y, z = mesh.vertices.unbind(dim=-1)
    near = torch.exp(-((y / (0.45 * above)) ** 2)) * (x < 0)
    pull = 0.020 * near * ((z - 0.82 * height) / (0.18 * height)).clamp(0, 1) ** 1.5
    return Mesh(torch.stack([x - pull, y, z], dim=-1), mesh.faces), handle


def _bleach(half_width: float, half_depth: float, height: float) -> tuple[Mesh, None]:
    """An oblong body that slopes to a neck, and a round cap."""
    shoulder, neck = 0.62 * height, 0.84 * height
    cap = 0.0165
    rows: list[tuple[float, float, float]] = [
        (0.35 * half_width, 0.35 * half_depth, 0.0),
        (0.7 * half_width, 0.7 * half_depth, 0.0),
        (half_width - 0.006, half_depth - 0.006, 0.0),
        (half_width - 0.0015, half_depth - 0.0015, 0.0018),
    ]
    rows += [(half_width, half_depth, z) for z in _steps(0.006, shoulder, 0.011)]
    for t in _steps(0.0, 1.0, 0.14)[1:]:
        mix = t**1.4 * (3 - 2 * t**1.4) if t < 1 else 1.0
        rows.append(
            (
                half_width + (0.014 - half_width) * mix,
                half_depth + (0.014 - half_depth) * mix,
                shoulder + (neck - shoulder) * t,
            )
        )
    rows += [(0.014, 0.014, neck + 0.008), (cap, cap, neck + 0.008)]
    rows += [(cap, cap, z) for z in _steps(neck + 0.008, height - 0.002, 0.009)[1:]]
    rows += [(cap - 0.002, cap - 0.002, height), (0.4 * cap, 0.4 * cap, height)]
    # Squarer than an ellipse where it is a body, round at the neck.
    sections = []
    for x, y, _ in rows:
        angle = 2 * torch.pi * torch.arange(_COLUMNS) / _COLUMNS
        power = 0.75 + 0.25 * min(1.0, max(0.0, (half_width - x) / (half_width - 0.014)) * 1.5)
        sections.append(
            torch.stack(
                [
                    x * angle.cos().sign() * angle.cos().abs() ** power,
                    y * angle.sin().sign() * angle.sin().abs() ** power,
                ],
                dim=-1,
            )
        )
    return _closed(_rings(sections, [z for _, _, z in rows])), None


def _banana(length: float, thickness: float, bend: float) -> tuple[Mesh, None]:
    """Five blunt sides around an arc in the x-z plane; a stem above, a dark end below."""
    num, columns = 26, 20
    share = torch.linspace(0, 1, num)
    profile = torch.tensor([
        (0.0, 0.20), (0.03, 0.32), (0.09, 0.62), (0.2, 0.88), (0.4, 1.0), (0.6, 0.99), (0.75, 0.85),
        (0.86, 0.52), (0.91, 0.31), (1.0, 0.30),
    ])  # fmt: skip
    place = torch.searchsorted(profile[:, 0].contiguous(), share).clamp(1, len(profile) - 1)
    low, high = profile[place - 1], profile[place]
    half = torch.lerp(low[:, 1], high[:, 1], (share - low[:, 0]) / (high[:, 0] - low[:, 0])) * thickness
    radius = length / bend
    turn = bend * (share - 0.5)
    centre = torch.stack([radius * turn.cos() - radius, torch.zeros(num), radius * turn.sin()], dim=-1)
    outward = torch.stack([turn.cos(), torch.zeros(num), turn.sin()], dim=-1)
    side = torch.tensor([0.0, 1.0, 0.0]).expand(num, 3)
    angle = 2 * torch.pi * torch.arange(columns) / columns
    blunt = 1 + 0.045 * (5 * angle).cos()
    rings = centre[:, None] + (half[:, None] * (blunt * angle.cos()))[..., None] * outward[:, None]
    rings = rings + (half[:, None] * (blunt * angle.sin()))[..., None] * side[:, None]
    return _closed(rings), None


def _screwdriver(radius: float, length: float, shaft: float, reach: float) -> tuple[Mesh, None]:
    """A grooved handle above (+z), a collar, a shaft, and a flat tip."""
    nodes = [(0.55 * shaft, 0.0), (0.9 * shaft, 0.006), (shaft, 0.012), (shaft, reach)]
    collar = 0.5 * radius
    nodes += [(collar, reach + 0.001), (0.66 * radius, reach + 0.010), (0.62 * radius, reach + 0.016)]
    nodes += [(0.86 * radius, reach + 0.16 * length), (radius, reach + 0.35 * length)]
    nodes += [(radius, reach + 0.88 * length), (0.86 * radius, reach + 0.96 * length)]
    nodes += [(0.55 * radius, reach + length), (0.2 * radius, reach + length)]
    rings = _revolved(_line(*nodes))
    columns = 2 * torch.pi * torch.arange(_COLUMNS) / _COLUMNS
    x, y, z = rings.unbind(dim=-1)
    held = ((z - reach - 0.2 * length) / 0.012).clamp(0, 1)
    held = held * ((reach + 0.9 * length - z) / 0.008).clamp(0, 1)
    groove = 1 - 0.07 * held * (0.5 + 0.5 * (8 * columns).cos())
    blade = 1 - 0.6 * (1 - z / 0.012).clamp(0, 1)
    return _closed(torch.stack([x * groove, y * groove * blade, z], dim=-1)), None


_SHAPES = {
    "box": _box, "can": _can, "bottle": _bottle, "mug": _mug, "banana": _banana, "bleach": _bleach,
    "pitcher": _pitcher, "screwdriver": _screwdriver,
}  # fmt: skip


# ---- colours


def _painted(
    kind: str, mesh: Mesh, hue: Float[Tensor, "3"], size: tuple[float, ...]
) -> Float[Tensor, "face texel 4"]:
    """Colour and gloss of every texel, a function of the place on the object."""
    place = torch.einsum("tk,fkc->ftc", texel_weights(), mesh.vertices[mesh.faces])
    low, high = bounding_box(mesh.vertices)
    x, y, z = place.unbind(dim=-1)
    up = (z - low[2]) / (high[2] - low[2])
    colour = hue.expand(*place.shape).clone()
    gloss = torch.full(up.shape, 0.05)

    def paint(where: Tensor, value, shine: float = 0.05) -> None:
        nonlocal colour, gloss
        colour = torch.where(where[..., None], torch.as_tensor(value, dtype=colour.dtype), colour)
        gloss = torch.where(where, shine, gloss)

    around = torch.atan2(y, x)
    if kind == "box":
        wide = (high[1] - low[1]) / 2
        across = y / wide
        paint((up > 0.42) & (up < 0.74), _WHITE)
        for row, (start, stop) in enumerate(((-0.7, 0.6), (-0.7, 0.3), (-0.7, 0.5))):
            paint(((up - 0.67 + 0.07 * row).abs() < 0.018) & (across > start) & (across < stop), hue * 0.5)
        paint((across.abs() < 0.6) & ((up - 0.22).abs() < 0.12), hue.roll(1) * 0.9 + 0.1)
        paint(up > 0.93, hue * 0.45)
    elif kind == "can":
        paint((up - 0.5).abs() < 0.16, _WHITE)
        paint(((up - 0.5).abs() < 0.09) & ((2 * around).cos() > 0.2), hue * 0.6)
        radius = torch.hypot(x, y) / x.amax()
        paint(((up - 0.5).abs() > 0.455) | (radius < 0.93), _METAL, 0.35)
    elif kind == "bottle":
        paint(up < 2, torch.lerp(torch.tensor(_WHITE), hue, 0.25) * torch.tensor([0.75, 0.95, 0.85]), 0.14)
        paint((up > 0.16) & (up < 0.52), hue)
        paint((up > 0.29) & (up < 0.39) & ((3 * around).cos() > -0.4), _WHITE)
        paint(up > 0.905, hue * 0.7, 0.08)
    elif kind == "mug":
        inner = torch.hypot(x + (high[0] - low[0]) / 2 - size[0], y) < size[0] - 0.002
        paint((up - 0.83).abs() < 0.04, _WHITE)
        paint(inner & (up > 0.03), _WHITE, 0.10)
        gloss = gloss + 0.06
    elif kind == "banana":
        paint(up < 2, (0.80, 0.50, 0.035), 0.035)
        paint((up - 0.5).abs() > 0.42, (0.50, 0.42, 0.06), 0.03)
        paint((up > 0.975) | (up < 0.018), (0.07, 0.045, 0.02), 0.02)
        speckle = ((x * 900).sin() * (y * 1300 + 2).sin() * (z * 700 + 1).sin()) > 0.62
        paint(speckle & ((up - 0.5).abs() < 0.44), (0.40, 0.20, 0.03), 0.03)
    elif kind == "bleach":
        paint(up < 2, (0.70, 0.71, 0.72), 0.07)
        front = y.abs() > 0.45 * y.amax()
        paint(front & (up > 0.10) & (up < 0.56), hue)
        paint(front & ((up - 0.40).abs() < 0.055) & (x.abs() < 0.7 * x.amax()), _WHITE)
        paint(up > 0.87, hue * 0.8, 0.10)
    elif kind == "pitcher":
        paint(up < 2, torch.lerp(hue, torch.tensor([0.35, 0.5, 0.75]), 0.6), 0.10)
    elif kind == "screwdriver":
        # size: radius and length of the handle, radius and length of the shaft
        below = z - low[2] < size[3] + 0.0005
        paint(below, _METAL, 0.45)
        paint(~below & (z - low[2] < size[3] + 0.016), _DARK)
        stripe = ((4 * around).cos() > 0.55) & ~below & (z - low[2] > size[3] + 0.2 * size[1])
        paint(stripe & (up < 0.95), _DARK)
    assert colour.shape[1] == TEXELS
    return torch.cat([colour.clamp(0.005, 0.95), gloss[..., None]], dim=-1)

"""One hand that holds one object: where it is held, fingers closed along their arcs, acceptance.

Chapter  book/hand_object/grasps.md
Units    metres, radians; degrees in the tables of key poses
Frames   hand: wrist at the origin, unturned (`hand.kinematics`); object: its own (`worlds.objects`)
         world: y up, the object's origin at the world's. Hands are right ones

How a hand comes to hold something:

1. Place. A place on the object is drawn: an axis along which the fingers line up, the side from which the
   hand comes, how deep it reaches. How wide the object is there is measured on its surface, so any closed
   mesh can be held, drawn or scanned.
2. Opening. Thumb and fingers open until they are a little wider than that, on their arcs between two key
   poses.
3. Approach. The hand comes from far away, palm ahead, until it is where it should be or touches. Each step is
   as long as the distance between the surfaces: it cannot pass through anything.
4. Closing. Every digit bends on its arc until it meets the object. In a power grasp its joints close one
   after another: what lies beyond the phalanx that touches goes on.
5. Acceptance. At least three of sixteen regions of the hand (palm and phalanges) touch, one of them the
   thumb's; what touches presses from opposite sides; nothing is deeper than `DEEPEST` in the other, by signed
   distances of all vertices both ways; and no digit sticks in another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry.distance import corners_of, signed_distance, unsigned_distance
from hands_lib.geometry.inside import bounding_box, inside
from hands_lib.geometry.normals import vertex_normals
from hands_lib.geometry.rotations import axis_angle_to_matrix, rotation_about_y
from hands_lib.hand.kinematics import (
    DEFAULT_LIMITS,
    clamp_to_limits,
    forward_kinematics,
    rest_bone_lengths,
    rest_pose,
)
from hands_lib.hand.surface import HandShape, hand_surface, surface_topology
from hands_lib.structures import HandPose, Mesh, TensorFields
from hands_lib.worlds.identities import Identities
from hands_lib.worlds.objects import ObjectShape

CONTACT = 0.002  # metres: surfaces that are nearer touch
DEEPEST = 0.001  # metres: no accepted grasp has a vertex deeper than this in the other surface
_HAND_SIDE = 0  # of a person's two hands, the right one
_FAR = 0.16  # metres from which the hand comes
_NOTHING = 1.0
_ARC_STEPS = 8
_FIRST_STEP, _LAST_STEP, _MOST_STEPS = 0.125, 1 / 512, 44  # shares of an arc
_SAME_TYPE = 5  # rounds after which a grasp that fails may be of another type
_TOUCH = 0.0003  # metres: the approach ends here; fingers may press in as much
_MARGIN = 0.007  # metres that thumb and fingers are open beyond the object, each

# Key poses: a row per digit, thumb to little finger: base flexion, base abduction, middle and end flexion,
# degrees. Between the first (open) and the second (closed) lies the arc of every digit.
_FIST = ((76, 3, 92, 50), (79, -2, 90, 50), (80, -6, 84, 48))
_POSES: dict[str, tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]] = {
    "power": (
        ((-22, 30, -6, 0), (-8, 4, 8, 4), (-9, 0, 8, 4), (-8, -5, 8, 4), (-6, -11, 8, 4)),
        ((36, -6, 48, 60), (88, 2, 108, 78), (90, 0, 110, 78), (94, -3, 110, 78), (94, -6, 106, 76)),
    ),
    "precision": (
        ((-8, 34, -4, 0), (6, 4, 10, 4), (6, 0, 10, 4), (7, -5, 10, 4), (10, -11, 10, 4)),
        ((36, 10, 26, 26), (68, 0, 52, 26), (68, 0, 52, 26), (70, -2, 52, 26), (72, -5, 50, 26)),
    ),
    "lateral": (
        ((-15, 0, 0, 0), (58, 2, 62, 30), (62, 0, 66, 32), (66, -3, 68, 34), (68, -6, 66, 34)),
        ((36, 0, 14, 18), (58, 2, 62, 30), (62, 0, 66, 32), (66, -3, 68, 34), (68, -6, 66, 34)),
    ),
    "tripod": (
        ((-4, 34, -2, 4), (16, 3, 18, 8), (18, -3, 18, 8), *_FIST[1:]),
        ((36, 10, 26, 26), (66, 0, 56, 30), (68, -4, 56, 30), *_FIST[1:]),
    ),
    "flat": (
        ((-8, 34, -4, 0), (8, 2, 3, 2), (7, 0, 3, 2), (8, -2, 3, 2), (12, -5, 3, 2)),
        ((36, 10, 22, 20), (90, 2, 8, 4), (90, 0, 8, 4), (92, -2, 8, 4), (94, -5, 8, 4)),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class GraspType:
    """One way of holding."""

    fingers: tuple[int, ...]
    """Digits (1 index to 4 little finger) that press against the thumb."""
    row: float
    """Half of what the row of the fingers covers along the object, metres on a hand of the rest size."""
    width: tuple[float, float]
    """Of the object between them, metres on a hand of the rest size."""
    depth: tuple[float, float]
    """Of the grip behind the object's near side, metres; at most half of the object."""
    tilt: tuple[float, float]
    """Mean and deviation of the angle between the object's axis and the row of the fingers, degrees."""
    palm: bool = False
    """Whether the palm comes to touch, and joints close one after another."""
    side: bool = False
    """Whether the thumb presses against the index finger's side instead of the pads."""


GRASPS: dict[str, GraspType] = {
    "power": GraspType((1, 2, 3, 4), 0.040, (0.012, 0.088), (0.0, 0.045), (16.0, 7.0), palm=True),
    "precision": GraspType((1, 2, 3), 0.024, (0.012, 0.080), (0.010, 0.030), (0.0, 8.0)),
    "lateral": GraspType((1,), 0.008, (0.003, 0.034), (0.008, 0.018), (0.0, 25.0), side=True),
    "tripod": GraspType((1, 2), 0.012, (0.008, 0.046), (0.006, 0.018), (0.0, 30.0)),
    "flat": GraspType((1, 2, 3, 4), 0.034, (0.015, 0.075), (0.012, 0.040), (0.0, 7.0)),
}
REGIONS = 16
"""Palm, then proximal, middle and distal phalanx of every digit."""


@dataclass(frozen=True)
class Grasps(TensorFields):
    """Accepted grasps: who, what, how. One object's shape is `shapes[shape]` of the call."""

    pose: HandPose
    """Of the hand in the world."""
    world_from_object: Float[Tensor, "grasp 4 4"]
    opened: Float[Tensor, "grasp 5 3 3"]
    """Joint angles before the fingers closed."""
    approach: Float[Tensor, "grasp 3"]
    """Unit, world: where the hand came from."""
    shape: Int[Tensor, " grasp"]
    identity: Int[Tensor, " grasp"]
    grasp: Int[Tensor, " grasp"]
    """Index into the names of GRASPS."""

    def __getitem__(self, index) -> "Grasps":
        return Grasps(*(value[index] for value in vars(self).values()))


@dataclass(frozen=True)
class GraspReport:
    """How many grasps were kept of those that were tried, by type: (accepted, tried)."""

    counts: dict[str, tuple[int, int]]
    reasons: dict[str, int]
    """How many draws found no place to hold, and of the tries that were not kept, how many failed each
    condition (one may fail several)."""

    @property
    def acceptance(self) -> float:
        accepted, drawn = (sum(count[i] for count in self.counts.values()) for i in (0, 1))
        return accepted / max(drawn, 1)


@cache
def hand_regions() -> Int[Tensor, " vertex"]:
    """Of every vertex of the refined surface: 0 for the palm, else 1 + 3 digit + phalanx."""
    topology = surface_topology("refined")
    phalanx = torch.bucketize(topology.ring, torch.tensor([3, 6]), right=False).clamp(max=2)
    return torch.where(topology.part == 0, 0, 1 + 3 * (topology.part - 1) + phalanx)


@cache
def _moved_by() -> tuple[Tensor, Tensor]:
    """Vertices that a digit's joints move, and which of the 15 phalanges each is counted to: its own, or,
    in the palm's last ring and the webs, the first one of the nearest digit."""
    topology, skeleton = surface_topology("refined"), forward_kinematics(rest_pose(like=torch.zeros(())))
    rest = hand_surface(skeleton, detail="refined").vertices
    nearest = torch.cdist(rest, skeleton.joints[[1, 5, 9, 13, 17]]).argmin(dim=1)
    knuckle = (topology.part == 0) & (topology.ring == topology.ring[topology.part == 0].max())
    link = torch.where(knuckle, 3 * nearest, hand_regions() - 1)
    moved = (link >= 0).nonzero().flatten()
    return moved, link[moved]


@cache
def _places_of_digits() -> tuple[Tensor, Tensor]:
    """Weights of the vertices whose mean is each digit's pad (5, V), and the index finger's side (V,)."""
    topology = surface_topology("refined")
    angle = topology.angle
    below = (angle < -torch.pi / 4 - 0.01) & (angle > -3 * torch.pi / 4 + 0.01)
    tip = (topology.ring >= 7) & (topology.ring <= 8) & below
    pads = torch.stack([(tip & (topology.part == digit)).float() for digit in range(1, 6)])
    radial = (angle.abs() > 0.8 * torch.pi) & (topology.ring >= 5) & (topology.ring <= 7)
    side = (radial & (topology.part == 2)).float()
    return pads / pads.sum(dim=1, keepdim=True), side / side.sum()


def hand_in_frame(pose: HandPose, shape: HandShape) -> Float[Tensor, "*batch vertex 3"]:
    """Vertices of the refined surface of right hands."""
    return hand_surface(forward_kinematics(pose), shape, detail="refined").vertices


@dataclass(frozen=True)
class _Attempt(TensorFields):
    """Hands about their own wrist, the object about them."""

    pose: HandPose
    opened: Float[Tensor, "grasp 5 3 3"]
    closed: Float[Tensor, "grasp 5 3 3"]
    rotation: Float[Tensor, "grasp 3 3"]
    """hand_from_object."""
    translation: Float[Tensor, "grasp 3"]
    away: Float[Tensor, "grasp 3"]
    """Unit, hand frame: from the palm to the object."""

    def __getitem__(self, index) -> "_Attempt":
        return _Attempt(*(value[index] for value in vars(self).values()))


def _angles(tables: Tensor) -> Tensor:
    """Joint angles of tables (batch, 5, 4) of degrees."""
    table = torch.deg2rad(tables)
    angles = torch.zeros(*table.shape[:-1], 3, 3)
    angles[..., 0] = table[..., [0, 2, 3]]
    angles[..., 0, 1] = table[..., 1]
    return angles


def surface_samples(mesh: Mesh, num: int, seed: int = 0) -> Float[Tensor, "num 3"]:
    """Points spread over a surface evenly by area."""
    generator = torch.Generator().manual_seed(seed)
    a, b, c = mesh.vertices[mesh.faces].unbind(dim=1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1)
    face = torch.multinomial(area, num, replacement=True, generator=generator)
    weights = torch.rand(num, 2, generator=generator)
    weights = torch.where(weights.sum(dim=1, keepdim=True) > 1, 1 - weights, weights)
    corners = corners_of(mesh.vertices, mesh.faces, face)
    weights = torch.cat([1 - weights.sum(dim=1, keepdim=True), weights], dim=1)
    return (weights[..., None] * corners).sum(dim=1)


@dataclass(frozen=True)
class _Places(TensorFields):
    """Where objects may be held: columns of `frame` are across (thumb to fingers), along (the row of the
    fingers), and towards the hand."""

    frame: Float[Tensor, "place 3 3"]
    centre: Float[Tensor, "place 3"]
    width: Float[Tensor, "place"]
    """Greater than any hand where there is nothing to hold."""

    def __getitem__(self, index) -> "_Places":
        return _Places(*(value[index] for value in vars(self).values()))


_HELD_BY = {"box": "faces", "bleach": "faces", "other": "faces", "banana": "long", "screwdriver": "long"}
"""Flat sides, the side of something long; anything else is round and has a rim."""


def _draw_places(
    shape: ObjectShape,
    grasp: Tensor,
    rows: Tensor,
    depths: Tensor,
    tilts: Tensor,
    generator: torch.Generator,
) -> _Places:
    """One place for every row of `grasp`, of which nothing is known yet but that it is a place."""
    num = len(grasp)
    low, high = bounding_box(shape.mesh.vertices)
    extent = high - low
    axes = torch.eye(3)
    how = _HELD_BY.get(shape.kind, "round")
    sign = torch.where(torch.rand(num, 2, generator=generator) < 0.5, -1.0, 1.0)
    turn = 2 * torch.pi * torch.rand(num, generator=generator)
    flat = torch.stack([turn.cos(), turn.sin(), torch.zeros(num)], dim=-1)
    beside = torch.stack([-turn.sin(), turn.cos(), torch.zeros(num)], dim=-1)
    # The row of the fingers runs to the little one: mostly downwards on what stands upright.
    down = torch.where(torch.rand(num, 1, generator=generator) < 0.85, -1.0, 1.0) * axes[2]
    if how == "faces":
        # Two different axes of the box: the row of the fingers along a long one.
        along = torch.multinomial((extent**2).expand(num, 3), 1, generator=generator)[:, 0]
        rest = torch.ones(num, 3).scatter(1, along[:, None], 0.0)
        towards = torch.multinomial(rest * extent**2, 1, generator=generator)[:, 0]
        a, n = sign[:, :1] * axes[along], sign[:, 1:] * axes[towards]
        a = torch.where((along == 2)[:, None], down, a)
    else:
        # From the side, or from above with the fingers around the rim.
        above = torch.rand(num, generator=generator) < (0.35 if how == "round" else 0.06)
        above &= grasp != list(GRASPS).index("power")
        a = torch.where(above[:, None], beside, down)
        n = torch.where(above[:, None], axes[2], flat)
    height = 2 * torch.rand(num, generator=generator) - 1
    if shape.handle is not None:
        at_handle = torch.rand(num, generator=generator) < 0.5
        bar = shape.handle[1] - shape.handle[0]
        bar = bar / bar.norm()
        lean = torch.deg2rad(12 * torch.randn(num, generator=generator))
        out = torch.stack([lean.cos(), lean.sin(), torch.zeros(num)], dim=-1)
        a = torch.where(at_handle[:, None], -bar, a)
        n = torch.where(at_handle[:, None], out, n)
    n = torch.nn.functional.normalize(n - (n * a).sum(dim=-1, keepdim=True) * a, dim=-1)
    # The object's axis against the row of the fingers, turned about the way towards the hand for a palm,
    # about the line from thumb to fingers else.
    tilt = torch.deg2rad(tilts[:, 0] + tilts[:, 1] * torch.randn(num, generator=generator).clamp(-2, 2))
    d = torch.linalg.cross(n, a)
    palm = torch.tensor([kind.palm for kind in GRASPS.values()])[grasp]
    about = torch.where(palm[:, None], n, d)
    turned = axis_angle_to_matrix(about * tilt[:, None])
    a, n, d = ((turned @ value[..., None])[..., 0] for value in (a, n, d))

    points = surface_samples(shape.mesh, 1500)
    along = points @ a.mT  # (point, place)
    reach = along.abs().amax(dim=0)
    middle = height * torch.maximum(0.92 * reach - rows, 0.15 * reach)
    if shape.handle is not None:
        centre = shape.handle.mean(dim=0)
        middle = torch.where(at_handle, a @ centre + 0.15 * bar.norm() * height, middle)
    near = (along - middle).abs() < 0.010
    towards = points @ n.mT
    front = torch.where(near, towards, -torch.inf).amax(dim=0)
    back = torch.where(near, towards, torch.inf).amin(dim=0)
    low_depth, high_depth = depths.unbind(dim=-1)
    depth = low_depth + (high_depth - low_depth) * torch.rand(num, generator=generator)
    depth = torch.minimum(depth, (front - back) / 2)
    if shape.handle is not None:
        depth = torch.where(at_handle, 0.005, depth)
    near &= (towards - (front - depth)).abs() < 0.012
    across = points @ d.mT
    left = torch.where(near, across, torch.inf).amin(dim=0)
    right = torch.where(near, across, -torch.inf).amax(dim=0)
    there = near.any(dim=0)
    centre = middle[:, None] * a + (front - depth)[:, None] * n + ((left + right) / 2)[:, None] * d
    return _Places(
        torch.stack([d, a, n], dim=-1),
        torch.where(there[:, None], centre, 0.0),
        torch.where(there, right - left, _NOTHING),
    )


def _places_on(
    shape: ObjectShape, grasp: Tensor, size: Tensor, generator: torch.Generator
) -> tuple[_Places, Bool[Tensor, " grasp"]]:
    """For every row the first of several drawn places that is neither too wide nor too narrow, and whether
    there was one."""
    kinds = list(GRASPS.values())
    depths = torch.tensor([kind.depth for kind in kinds])[grasp] * size[:, None]
    rows = torch.tensor([kind.row for kind in kinds])[grasp] * size
    tilts = torch.tensor([kind.tilt for kind in kinds], dtype=torch.float32)[grasp]
    low, high = (torch.tensor([kind.width for kind in kinds])[grasp] * size[:, None]).unbind(dim=-1)
    best: _Places | None = None
    for _ in range(6):
        drawn = _draw_places(shape, grasp, rows, depths, tilts, generator)
        if best is None:
            best = drawn
            continue
        fits = (best.width >= low) & (best.width <= high)
        best = _Places(
            *(
                torch.where(fits.view(-1, *(1,) * (own.ndim - 1)), own, new)
                for own, new in zip(vars(best).values(), vars(drawn).values(), strict=True)
            )
        )
    return best, (best.width >= low) & (best.width <= high)


def _approached(
    shape: ObjectShape, grasp: Tensor, people: Identities, places: _Places, generator: torch.Generator
) -> _Attempt:
    """Open hands, the object where it comes to lie in them."""
    num, size = len(grasp), _sizes(people)
    lengths = people.bone_lengths[:, _HAND_SIDE]
    tables = torch.tensor([_POSES[name] for name in GRASPS])[grasp].float()
    deviation = 4.0 * torch.randn(num, 1, 5, 4, generator=generator).clamp(-2, 2)
    angles = _angles(tables + deviation * torch.tensor([1.0, 0.5, 1.0, 1.0]))
    pose = HandPose(
        torch.zeros(num, 3), torch.eye(3).repeat(num, 1, 1), people.palm_angles[:, _HAND_SIDE],
        angles[:, 0], lengths,
    )  # fmt: skip
    opened, closed = (
        clamp_to_limits(replace(pose, joint_angles=angles[:, k]), DEFAULT_LIMITS).joint_angles for k in (0, 1)
    )
    hand_shape = right_hands(people.shape)

    # How far the arcs are open. First thumb and fingers together, until the gap between their pads is a
    # little wider than the object; that gives the line across, from the thumb to the fingers.
    pads, side = _places_of_digits()
    kinds = list(GRASPS.values())
    pressing = torch.tensor([[float(d in kind.fingers) for d in range(1, 5)] for kind in kinds])[grasp]
    sideways = torch.tensor([kind.side for kind in kinds])[grasp][:, None]
    palm = torch.tensor([kind.palm for kind in kinds])[grasp]
    found = []
    for step in torch.linspace(0, 1, _ARC_STEPS + 1):
        vertices = hand_in_frame(replace(pose, joint_angles=torch.lerp(opened, closed, step)), hand_shape)
        found.append(torch.cat([pads @ vertices, (side @ vertices)[:, None]], dim=1))
    places_of = torch.stack(found, dim=1)  # grasp, step, five pads and the index finger's side
    share = pressing[:, None, :, None] / pressing.sum(dim=1)[:, None, None, None]
    fingers = torch.where(sideways[..., None], places_of[:, :, 5], (share * places_of[:, :, 1:5]).sum(dim=2))
    gap = (fingers - places_of[:, :, 0]).norm(dim=-1)
    wanted = places.width + 2 * _MARGIN * size
    together = _share_at(gap[..., None], wanted)
    thumb, finger = _at(places_of[:, :, 0], together[:, 0]), _at(fingers, together[:, 0])
    across = torch.nn.functional.normalize(finger - thumb, dim=-1)
    # Then every finger for itself, so that all are equally far from the object.
    from_thumb = ((places_of[:, :, 1:5] - thumb[:, None, None]) * across[:, None, None]).sum(dim=-1)
    own = torch.where(sideways, together, _share_at(from_thumb, wanted))
    shares = torch.cat([together, own.expand(-1, 4)], dim=1)
    # A palm comes with straight fingers; around a thin thing the thumb lies closer to it from the start.
    thin = 0.5 * (1 - places.width / (0.065 * size)).clamp(0, 1)
    thin = torch.nn.functional.pad(thin[:, None], (0, 4))
    shares = torch.where(palm[:, None], thin, shares)
    opened = torch.lerp(opened, closed, shares[..., None, None])

    # The frame of the grip in the hand: across, along the row of the fingers, and towards the palm.
    pad = torch.stack([_at(places_of[:, :, digit], shares[:, digit]) for digit in range(5)], dim=1)
    last = torch.tensor([kind.fingers[-1] for kind in kinds])[grasp]
    row = pad[torch.arange(num), last] - pad[:, 1]
    row = torch.where(sideways, pad[:, 1] - finger, row)
    along = torch.nn.functional.normalize(row - (row * across).sum(-1, keepdim=True) * across, dim=-1)
    frame = torch.stack([across, along, torch.linalg.cross(along, across)], dim=-1)
    flat = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    frame = torch.where(palm[:, None, None], flat, frame)
    pressed = (pressing[..., None] * pad[:, 1:]).sum(dim=1) / pressing.sum(dim=1, keepdim=True)
    finger = torch.where(sideways, finger, pressed)
    centre = (thumb + finger) / 2
    half = places.width.clamp(max=0.1) / 2
    over_palm = torch.stack([torch.full_like(half, 0.004), 0.082 * size - 0.35 * half, -0.12 * size], dim=-1)
    centre = torch.where(palm[:, None], over_palm, centre)
    rotation = frame @ places.frame.mT
    away = -frame[..., 2]
    translation = centre - (rotation @ places.centre[..., None])[..., 0] + _FAR * away
    start = replace(pose, joint_angles=opened)
    attempt = _Attempt(start, opened, closed, rotation, translation, away)
    farthest = torch.where(palm, 2 * _FAR, _FAR)
    # Fingers need room to close around a thin thing that lies near their base.
    gap = _TOUCH + torch.where(palm, 0.06 * (0.035 - half).clamp(min=0), 0.0)
    attempt = _advanced(attempt, shape, hand_shape, farthest, gap)
    # Beside an index finger that stands still, the object comes to lie against it.
    rows = sideways[:, 0].nonzero().flatten()
    if len(rows) == 0:
        return attempt
    beside = replace(attempt[rows], away=-frame[rows, :, 0])
    close = torch.full((len(rows),), _TOUCH)
    beside = _advanced(beside, shape, _rows(hand_shape, rows), torch.full_like(close, 0.03), close)
    return replace(attempt, translation=attempt.translation.index_copy(0, rows, beside.translation))


def _sizes(people: Identities) -> Float[Tensor, " grasp"]:
    """Size of the hand that grasps against the rest hand."""
    lengths = people.bone_lengths[:, _HAND_SIDE]
    return (lengths / rest_bone_lengths(lengths)).mean(dim=(1, 2))


def _share_at(
    widths: Float[Tensor, "grasp step digit"], wanted: Float[Tensor, " grasp"]
) -> Float[Tensor, "grasp digit"]:
    """How far arcs are closed where they are last as wide as wanted; 0 where they never are."""
    wide = widths >= wanted[:, None, None]
    number = torch.arange(1, widths.shape[1] + 1)[:, None]
    last = (wide.long() * number).amax(dim=1, keepdim=True) - 1
    index = last.clamp(0, _ARC_STEPS - 1)
    before, after = widths.gather(1, index)[:, 0], widths.gather(1, index + 1)[:, 0]
    part = ((before - wanted[:, None]) / (before - after).clamp(min=1e-4)).clamp(0, 1)
    return torch.where(last[:, 0] < 0, 0.0, (index[:, 0] + part) / _ARC_STEPS)


def _at(values: Float[Tensor, "grasp step 3"], share: Float[Tensor, " grasp"]) -> Float[Tensor, "grasp 3"]:
    """Between two steps of an arc."""
    index = (_ARC_STEPS * share).long().clamp(max=_ARC_STEPS - 1)
    every = torch.arange(len(share))
    part = (_ARC_STEPS * share - index)[:, None]
    return torch.lerp(values[every, index], values[every, index + 1], part)


def right_hands(shape: HandShape) -> HandShape:
    """Shapes of the hands that grasp, of people in a batch."""
    return HandShape(*(value[:, _HAND_SIDE] for value in vars(shape).values()))


def _rows(shape: HandShape, index: Tensor) -> HandShape:
    return HandShape(*(value[index] for value in vars(shape).values()))


def in_object(
    points: Float[Tensor, "grasp point 3"], rotation: Float[Tensor, "grasp 3 3"], translation: Tensor
) -> Float[Tensor, "grasp point 3"]:
    """From the hand's frame into the object's."""
    return (points - translation[:, None]) @ rotation


def _advanced(
    attempt: _Attempt, shape: ObjectShape, hand_shape: HandShape, farthest: Tensor, gap: Tensor
) -> _Attempt:
    """The object moved towards the palm, at most so far, until the surfaces are a gap apart."""
    vertices = hand_in_frame(attempt.pose, hand_shape)
    some, spacing = _few_vertices()
    translation, travelled = attempt.translation.clone(), torch.zeros(len(farthest))
    # Far away a few vertices tell enough: no other one is nearer than the nearest of them less their spacing.
    for few, rounds in ((True, 8), (False, 10)):
        rows = torch.arange(len(farthest))
        for _ in range(rounds):
            places = in_object(vertices[rows], attempt.rotation[rows], translation[rows])
            places = places[:, some] if few else places
            room = unsigned_distance(places, shape.mesh).distance.amin(dim=1) - gap[rows]
            room = room - spacing if few else room
            step = torch.minimum(room.clamp(min=0), farthest[rows] - travelled[rows])
            translation[rows] -= step[:, None] * attempt.away[rows]
            travelled[rows] += step
            rows = rows[step > (0.002 if few else 2e-5)]
            if len(rows) == 0:
                break
    return replace(attempt, translation=translation)


@cache
def _few_vertices() -> tuple[Tensor, float]:
    """Every sixth vertex of the hand, and more than the greatest distance of any other to the nearest of
    these on the rest hand."""
    rest = hand_surface(forward_kinematics(rest_pose(like=torch.zeros(()))), detail="refined").vertices
    some = torch.arange(0, len(rest), 6)
    return some, 1.3 * float(torch.cdist(rest, rest[some]).amin(dim=1).max())


def _closed_fingers(attempt: _Attempt, shape: ObjectShape, hand_shape: HandShape, palm: Tensor) -> HandPose:
    """Every digit bent on its arc until its next step would press it into the object.

    Where `palm`, only the joints at and before the phalanx that touches stop.
    """
    digits, link = _moved_by()
    num = len(palm)
    share = torch.zeros(num, 5, 3)
    moving = torch.ones(num, 5, 3, dtype=torch.bool)
    step = torch.full((num, 5), _FIRST_STEP)
    searching = torch.zeros(num, 5, dtype=torch.bool)
    beyond = torch.arange(3)
    for _ in range(_MOST_STEPS):
        rows = moving.flatten(1).any(dim=1).nonzero().flatten()
        if len(rows) == 0:
            break
        own = attempt[rows]
        trial = torch.where(moving[rows], (share[rows] + step[rows][..., None]).clamp(max=1), share[rows])
        bent = torch.lerp(own.opened, own.closed, trial[..., None])
        vertices = hand_in_frame(replace(own.pose, joint_angles=bent), _rows(hand_shape, rows))[:, digits]
        places = in_object(vertices, own.rotation, own.translation)
        distance = signed_distance(places, shape.mesh).distance
        nearest = distance.new_full((len(rows), 15), torch.inf)
        nearest = nearest.scatter_reduce(1, link.expand(len(rows), -1), distance, "amin")
        hits = nearest.view(-1, 5, 3) < -_TOUCH
        hit = hits.any(dim=2)
        share[rows] = torch.where(hit[..., None], share[rows], trial)
        # The first phalanx that meets the object, and the joints up to it.
        first = torch.where(hits, beyond, 3).amin(dim=2)
        at_end = hit & (step[rows] <= _LAST_STEP)
        stopped = at_end[..., None] & ((beyond <= first[..., None]) | ~palm[rows, None, None])
        moving[rows] = moving[rows] & ~stopped & (share[rows] < 1)
        # Once the object is met, bisect; joints that go on after that start anew.
        found = (searching[rows] | hit) & ~at_end
        searching[rows] = found
        halved = (step[rows] / 2).clamp(min=_LAST_STEP)
        step[rows] = torch.where(at_end, _FIRST_STEP / 2, torch.where(found, halved, step[rows]))
    return replace(attempt.pose, joint_angles=torch.lerp(attempt.opened, attempt.closed, share[..., None]))


@dataclass(frozen=True)
class GraspContact(TensorFields):
    """How a hand and an object meet."""

    hand: Float[Tensor, "grasp vertex"]
    """Signed distance of every vertex of the hand to the object, metres; negative inside."""
    object: Float[Tensor, "grasp object_vertex"]
    """Signed distance of every vertex of the object to the hand."""

    @property
    def penetration(self) -> Float[Tensor, " grasp"]:
        """Greatest depth of a vertex of either in the other, metres."""
        deepest = torch.minimum(self.hand.amin(dim=1), self.object.amin(dim=1))
        return (-deepest).clamp(min=0)

    @property
    def regions(self) -> Bool[Tensor, "grasp 16"]:
        """Which of the hand's regions touch."""
        near = (self.hand < CONTACT).float()
        own = torch.nn.functional.one_hot(hand_regions(), REGIONS).float()
        return near @ own > 0


def grasp_contact(
    hand: Float[Tensor, "grasp vertex 3"], shape: ObjectShape, rotation: Tensor, translation: Tensor
) -> GraspContact:
    """Signed distances both ways; `rotation` and `translation` place the object in the hands' frame."""
    faces = surface_topology("refined").faces
    own = in_object(hand, rotation, translation)
    to_object = signed_distance(own, shape.mesh).distance
    moved = shape.mesh.vertices @ rotation.mT + translation[:, None]
    return GraspContact(to_object, signed_distance(moved, Mesh(hand, faces)).distance)


def opposed(hand: Float[Tensor, "grasp vertex 3"], contact: GraspContact) -> Bool[Tensor, " grasp"]:
    """Whether two of the regions that touch press from opposite sides: their mean outward normals are more
    than 120 degrees apart."""
    normal = vertex_normals(Mesh(hand, surface_topology("refined").faces))
    own = torch.nn.functional.one_hot(hand_regions(), REGIONS).float()
    near = (contact.hand < CONTACT).float()[..., None] * own
    mean = torch.nn.functional.normalize(near.mT @ normal, dim=-1)  # zero where nothing touches
    return (mean @ mean.mT).flatten(1).amin(dim=1) < -0.5


def digits_cross(hand: Float[Tensor, "grasp vertex 3"]) -> Bool[Tensor, " grasp"]:
    """Whether a digit sticks in another part of its hand, by more than a fold of the skin."""
    topology = surface_topology("refined")
    outer = ((topology.part > 0) & (topology.ring >= 4)).nonzero().flatten()
    mesh = Mesh(hand, topology.faces)
    lifted = hand[:, outer] + 0.0015 * vertex_normals(mesh)[:, outer]
    return inside(lifted, mesh).sum(dim=1) > 4


def _attempts(
    shape: ObjectShape, grasp: Tensor, people: Identities, places: _Places, generator: torch.Generator
) -> tuple[_Attempt, dict[str, Tensor]]:
    """One attempt for every row, and which conditions each meets."""
    hand_shape = right_hands(people.shape)
    palm = torch.tensor([kind.palm for kind in GRASPS.values()])[grasp]
    attempt = _approached(shape, grasp, people, places, generator)
    pose = _closed_fingers(attempt, shape, hand_shape, palm)
    attempt = replace(attempt, pose=pose)
    vertices = hand_in_frame(pose, hand_shape)
    own = in_object(vertices, attempt.rotation, attempt.translation)
    # What fails here costs no more.
    distance = signed_distance(own, shape.mesh).distance
    half = GraspContact(distance, torch.zeros(len(grasp), 1))
    regions = half.regions
    conditions = {
        "three contacts": regions.sum(dim=1) >= 3,
        "thumb": regions[:, 1:4].any(dim=1),
        "opposed": opposed(vertices, half),
        "hand not in object": distance.amin(dim=1) >= -DEEPEST,
    }
    good = torch.stack(list(conditions.values())).all(dim=0)
    shallow, free = good.clone(), good.clone()
    if good.any():
        contact = grasp_contact(vertices[good], shape, attempt.rotation[good], attempt.translation[good])
        shallow[good] = contact.penetration <= DEEPEST
        free[good] = ~digits_cross(vertices[good])
    conditions["object not in hand"] = shallow | ~good
    conditions["digits apart"] = free | ~good
    return attempt, conditions


def sample_grasps(
    num: int,
    shapes: Sequence[ObjectShape],
    identities: Identities,
    generator: torch.Generator,
    grasps: tuple[str, ...] = tuple(GRASPS),
    max_rounds: int = 60,
) -> tuple[Grasps, GraspReport]:
    """`num` accepted grasps. Shapes and types take turns. The person is drawn again in every round, and after
    some rounds the type, because not every object can be held in every way.

    Raises ValueError for an unknown type or no shape, RuntimeError where after `max_rounds` rounds some grasp
    still was not accepted.
    """
    unknown = [name for name in grasps if name not in GRASPS]
    if unknown or not grasps or not shapes:
        raise ValueError(
            f"unknown grasps {unknown} or no shapes; known are {', '.join(GRASPS)} and `worlds.objects`"
        )
    names = list(GRASPS)
    chosen = torch.tensor([names.index(name) for name in grasps])
    of_shape = torch.arange(num) % len(shapes)
    # Types take turns as well, so that those which fail often are not rare.
    of_type = chosen[(torch.arange(num) // len(shapes) + of_shape) % len(chosen)]
    drawn, accepted = torch.zeros(len(names), dtype=torch.long), torch.zeros(len(names), dtype=torch.long)
    reasons: dict[str, int] = {}
    parts: list[tuple[Tensor, Grasps]] = []
    waiting = torch.arange(num)
    for turn in range(max_rounds):
        if turn and turn % _SAME_TYPE == 0:
            draw = torch.randint(len(chosen), (len(waiting),), generator=generator)
            of_type[waiting] = chosen[draw]
        if len(waiting) == 0:
            break
        kept = []
        for number in of_shape[waiting].unique().tolist():
            rows = waiting[of_shape[waiting] == number]
            # Several attempts at once for the few that are left.
            tries = max(1, min(8, 24 // len(rows)))
            every = rows.repeat_interleave(tries)
            grasp = of_type[every]
            people = torch.randint(len(identities.skin), (len(every),), generator=generator)
            shape, size = shapes[number], _sizes(identities[people])
            places, fits = _places_on(shape, grasp, size, generator)
            reasons["no place to hold"] = reasons.get("no place to hold", 0) + int((~fits).sum())
            if not fits.any():
                continue
            every, grasp, people, places = every[fits], grasp[fits], people[fits], places[fits]
            attempt, conditions = _attempts(shape, grasp, identities[people], places, generator)
            good = torch.stack(list(conditions.values())).all(dim=0)
            drawn += grasp.bincount(minlength=len(names))
            accepted += grasp[good].bincount(minlength=len(names))
            for name, met in conditions.items():
                reasons[name] = reasons.get(name, 0) + int((~met).sum())
            # The first good attempt of every row: rows stand together.
            before = good.long().cumsum(dim=0) - good.long()
            start = torch.searchsorted(every, every)
            first = good & (before == before[start])
            if first.any():
                same = torch.full((int(first.sum()),), number)
                found = _in_world(attempt, first, same, people[first], grasp[first], generator)
                parts.append((every[first], found))
                kept.append(every[first])
        if kept:
            done = torch.zeros(num, dtype=torch.bool)
            done[torch.cat(kept)] = True
            waiting = waiting[~done[waiting]]
    if len(waiting):
        missing = sorted({shapes[number].name for number in of_shape[waiting].tolist()})
        raise RuntimeError(
            f"{len(waiting)} of {num} grasps were not accepted in {max_rounds} rounds: {', '.join(missing)}"
        )
    order = torch.cat([rows for rows, _ in parts]).argsort()
    counts = {name: (int(accepted[kind]), int(drawn[kind])) for kind, name in enumerate(names) if drawn[kind]}
    return Grasps.cat([own for _, own in parts])[order], GraspReport(counts, reasons)


def _in_world(
    attempt: _Attempt, rows: Tensor, shape: Tensor, people: Tensor, grasp: Tensor, generator: torch.Generator
) -> Grasps:
    """Turned so that the object stands about upright, its origin at the world's."""
    num = len(shape)
    pose = attempt.pose[rows]
    rotation, translation = attempt.rotation[rows], attempt.translation[rows]
    # z up becomes y up; then any turn about the vertical and a lean.
    upright = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    yaw = rotation_about_y(2 * torch.pi * torch.rand(num, generator=generator))
    lean = torch.deg2rad(18 * torch.randn(num, 3, generator=generator).clamp(-2, 2))
    world_from_object = axis_angle_to_matrix(lean * torch.tensor([1.0, 0, 1])) @ yaw @ upright
    world_from_hand = world_from_object @ rotation.mT
    world = torch.eye(4).repeat(num, 1, 1)
    world[:, :3, :3] = world_from_object
    return Grasps(
        pose=replace(
            pose,
            root_rotation=world_from_hand,
            root_translation=-(world_from_hand @ translation[..., None])[..., 0],
        ),
        world_from_object=world,
        opened=attempt.opened[rows],
        approach=-(world_from_hand @ attempt.away[rows][..., None])[..., 0],
        shape=shape,
        identity=people,
        grasp=grasp,
    )

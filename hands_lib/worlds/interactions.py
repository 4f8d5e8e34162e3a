"""Two hands that do something together, and never in one place: key poses, contact, acceptance.

Chapter  book/foundations/two_hand_world.md
Units    metres, radians; degrees in the tables of key poses
Frames   world: y up. A pair is designed with the right hand on the side of -x, its palm towards +x, and the
         left hand as its mirror image; then it is turned as a whole and its bounding box is centred at the
         origin. `HandPose` knows right hands only: index 0 of a pair is the right hand in the world, index 1
         the left hand in the world MIRRORED at x = 0 (`pair_joints` and `pair_surfaces` mirror it back)

How a pair comes to touch:

1. Sweep. The left hand comes from far along a direction until the surfaces are a given small gap apart.
   Height maps of both hands along that direction give the distance in one step.
2. Closing. Where the interaction asks for it, the fingers of one hand, then of the other, bend towards their
   closed pose, each until it would meet the other hand.
3. Acceptance. A pair that should touch is kept only if it does (less than `CONTACT`), and any pair only if no
   edge of a hand meets a face of the other and no vertex lies inside it: together, for closed surfaces, this
   says that they have no common point. It is evaluated on the float32 vertices of the refined surface, which
   are those that the labels contain. Fingers of the same hand may touch each other.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.inside import inside
from hands_lib.geometry.kernels.threads import for_ranges
from hands_lib.geometry.rotations import (
    axis_angle_to_matrix,
    rotation_about_x,
    rotation_about_y,
    rotation_about_z,
)
from hands_lib.hand.kinematics import (
    DEFAULT_LIMITS,
    clamp_to_limits,
    forward_kinematics,
    mirror,
    rest_bone_lengths,
)
from hands_lib.hand.skeleton import DIGITS, JOINTS
from hands_lib.hand.surface import HandShape, hand_surface, surface_topology
from hands_lib.structures import HandPose, Mesh, TensorFields
from hands_lib.worlds import contact_kernel
from hands_lib.worlds.identities import Identities

# Key poses: a row per digit, thumb to little finger: base flexion, base abduction, middle and end flexion,
# degrees.
_FIST_FINGERS = ((76, 4, 96, 58), (80, 0, 100, 60), (80, -3, 98, 58), (78, -6, 92, 55))
_STRAIGHT = ((2, 2, 4, 3), (1, 0, 4, 3), (2, -2, 4, 3), (2, -4, 5, 4))


def _fingers(thumb, index=None, middle=None, ring=None, little=None):
    """A key pose: given fingers, the others in a fist."""
    given = (index, middle, ring, little)
    return (thumb, *(own or closed for own, closed in zip(given, _FIST_FINGERS, strict=True)))


KEY_POSES: dict[str, tuple[tuple[float, ...], ...]] = {
    "flat": ((-16, -20, 6, 8), *((-1, a, 2, 2) for a in (1, 0, -1, -2))),
    "open": ((8, 12, 6, 4), (4, 4, 6, 4), (2, 0, 7, 4), (4, -3, 8, 5), (7, -7, 9, 5)),
    "spread": ((-5, 22, 4, 4), (4, 15, 6, 4), (3, 3, 6, 4), (4, -9, 7, 4), (6, -22, 8, 5)),
    "relaxed": ((8, 5, 12, 10), (18, 3, 28, 14), (24, 0, 32, 16), (28, -2, 34, 17), (30, -5, 36, 18)),
    "cupped": ((15, 5, 10, 10), (35, 2, 22, 12), (37, 0, 24, 12), (38, -1, 24, 12), (40, -3, 24, 12)),
    "fist": ((34, -8, 38, 42), *_FIST_FINGERS),
    "thumb_out": ((-10, 10, 2, 0), *_FIST_FINGERS),
    "point": _fingers((30, -5, 34, 35), index=_STRAIGHT[0]),
    "victory": _fingers((32, -6, 36, 38), index=(3, 14, 4, 3), middle=(2, -10, 4, 3)),
    "three": _fingers((34, -8, 38, 40), (3, 12, 4, 3), (2, 0, 4, 3), (3, -12, 4, 3)),
    "four": ((38, -12, 40, 35), (3, 8, 4, 3), (2, 2, 4, 3), (3, -5, 4, 3), (4, -14, 5, 4)),
    "ring_of_two": ((30, 4, 22, 26), (46, 4, 52, 28), (10, 0, 14, 8), (6, -4, 12, 7), (6, -10, 12, 8)),
    "horns": _fingers((32, -6, 36, 38), index=_STRAIGHT[0], little=_STRAIGHT[3]),
    "little": _fingers((32, -6, 36, 38), little=_STRAIGHT[3]),
    "corner": _fingers((-12, 20, 2, 0), index=_STRAIGHT[0]),
    "telephone": _fingers((-12, 20, 2, 0), little=(3, -16, 5, 4)),
    "claw": ((10, 15, 25, 25), (5, 8, 62, 35), (4, 2, 64, 36), (5, -4, 64, 36), (7, -10, 62, 35)),
    "round": ((28, 8, 18, 20), (48, 2, 45, 25), (50, 0, 46, 25), (51, -1, 46, 25), (52, -3, 45, 25)),
    "interlaced": ((-16, -18, 6, 6), (6, 22, 5, 3), (5, 6, 5, 3), (5, -6, 5, 3), (7, -28, 5, 3)),
    "interlaced_low": ((26, -8, 24, 20), (6, 22, 5, 3), (5, 6, 5, 3), (5, -6, 5, 3), (7, -28, 5, 3)),
    "interlaced_closed": (
        (20, 5, 30, 20), (72, 22, 70, 35), (72, 6, 72, 35), (72, -6, 72, 35), (72, -28, 68, 35),
    ),
    "wrapped": ((38, 0, 32, 30), (62, 3, 66, 38), (64, 0, 68, 38), (64, -2, 68, 38), (64, -4, 66, 38)),
}  # fmt: skip
_LETTERS = (
    "flat", "open", "spread", "relaxed", "fist", "thumb_out", "point", "victory", "three", "four",
    "ring_of_two", "horns", "little", "corner", "telephone", "claw", "round",
)  # fmt: skip


@dataclass(frozen=True)
class _Hand:
    """How a hand takes part, before the pair is turned as a whole."""

    poses: tuple[str, ...]
    """One is drawn, or a mixture of two."""
    anchor: tuple[str, ...]
    """The joints whose mean meets the other hand's; one name of several tips is drawn where `tips`."""
    lean: tuple[float, float] = (0.0, 0.0)
    """Mean and deviation, degrees: turns the fingers towards the other hand,"""
    pitch: tuple[float, float] = (0.0, 0.0)
    """to the side of the little finger,"""
    turn: tuple[float, float] = (0.0, 0.0)
    """and about themselves."""
    closed: str | None = None
    """Key pose towards which fingers bend until they touch."""
    tips: bool = False


@dataclass(frozen=True)
class Interaction:
    """One kind of thing that two hands do. The roles change sides at random."""

    first: _Hand
    second: _Hand
    offset: tuple[float, float] = (0.0, 0.0)
    """Of the second hand's anchor across the sweep, up and to the little finger's side, metres on a hand of
    the rest size (so are the others)."""
    scatter: float = 0.006
    """Standard deviation of that offset, metres."""
    gap: tuple[float, float] = (0.0002, 0.0009)
    """Least and greatest distance along the sweep, metres."""
    jitter: float = 4.0
    """Standard deviation of every joint angle, degrees."""
    alternate: bool = False
    """Whether the offset to the side may have either sign."""
    overlap: float | None = None
    """Least distance along the sweep by which the hands' middle fingers must have passed each other,
    metres."""
    search: float = 0.0
    """The offset to the side may change by this much, metres: the one is taken that lets the hands come
    closest."""


_PALM = ("wrist", "index_1", "middle_1", "ring_1", "little_1")
_KNUCKLES = ("index_1", "middle_1", "ring_1", "little_1", "index_2", "middle_2", "ring_2", "little_2")
_TIPS = tuple(f"{digit}_4" for digit in DIGITS)
INTERACTIONS: dict[str, Interaction] = {
    "praying": Interaction(
        _Hand(("flat",), _PALM, (2.0, 4.0), (0.0, 5.0), (0.0, 4.0), closed="cupped"),
        _Hand(("flat",), _PALM, (2.0, 4.0), (0.0, 5.0), (0.0, 4.0), closed="cupped"),
        scatter=0.004, jitter=2.0,
    ),
    "interlocked": Interaction(
        _Hand(
            ("interlaced",), ("middle_2", "ring_2"), (44.0, 6.0), (0.0, 1.5), (0.0, 1.5),
            closed="interlaced_closed",
        ),
        _Hand(
            ("interlaced_low",), ("middle_2", "ring_2"), (44.0, 6.0), (0.0, 1.5), (0.0, 1.5),
            closed="interlaced_closed",
        ),
        offset=(0.0, 0.0225), scatter=0.0008, jitter=0.8, alternate=True, search=0.005, overlap=0.02,
    ),
    "clasp": Interaction(
        _Hand(("relaxed", "open"), _PALM, (0.0, 6.0), (42.0, 10.0), (0.0, 6.0), closed="wrapped"),
        _Hand(("relaxed", "open"), _PALM, (0.0, 6.0), (-42.0, 10.0), (0.0, 6.0), closed="wrapped"),
        scatter=0.008,
    ),
    "fist_in_palm": Interaction(
        _Hand(("fist",), _KNUCKLES, (86.0, 10.0), (0.0, 25.0), (0.0, 10.0)),
        _Hand(("open", "relaxed"), _PALM, (0.0, 8.0), (0.0, 15.0), (0.0, 8.0), closed="wrapped"),
        offset=(0.006, 0.0), scatter=0.007, jitter=3.0,
    ),
    "pointing": Interaction(
        _Hand(("point",), ("index_4",), (82.0, 12.0), (0.0, 20.0), (0.0, 20.0)),
        _Hand(("flat", "open", "spread"), _PALM, (0.0, 8.0), (0.0, 20.0), (0.0, 10.0)),
        scatter=0.014,
    ),
    "counting": Interaction(
        _Hand(("point",), ("index_4",), (84.0, 8.0), (0.0, 12.0), (0.0, 25.0)),
        _Hand(("spread", "open", "four"), _TIPS, (0.0, 10.0), (0.0, 10.0), (0.0, 30.0), tips=True),
        scatter=0.002, jitter=3.0,
    ),
    "stacked": Interaction(
        _Hand(("flat", "open", "relaxed"), _PALM, (0.0, 5.0), (25.0, 15.0), (0.0, 5.0), closed="wrapped"),
        _Hand(("flat", "open", "relaxed"), _PALM, (0.0, 5.0), (-25.0, 15.0), (180.0, 5.0)),
        scatter=0.010,
    ),
    "spelling": Interaction(
        _Hand(_LETTERS, _PALM, (0.0, 20.0), (0.0, 25.0), (0.0, 40.0)),
        _Hand(_LETTERS, _PALM, (0.0, 20.0), (0.0, 25.0), (0.0, 40.0)),
        scatter=0.020, gap=(0.0005, 0.05), jitter=5.0,
    ),
    "apart": Interaction(
        _Hand(_LETTERS, _PALM, (0.0, 20.0), (0.0, 25.0), (0.0, 60.0)),
        _Hand(_LETTERS, _PALM, (0.0, 20.0), (0.0, 25.0), (0.0, 60.0)),
        scatter=0.020, gap=(0.06, 0.16), jitter=5.0,
    ),
}  # fmt: skip
CONTACT = 0.002  # metres: surfaces that are nearer touch
TOUCHING = tuple(name for name, kind in INTERACTIONS.items() if kind.gap[1] < CONTACT)

_CELL = 0.0007  # of the height maps: under a finger's curvature its error is below the smallest gap
_FAR = 0.5
_BACK_OFF, _BACK_OFFS = 0.0006, 4
# The palm towards +x, fingers up, thumb to the back.
_FACING = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
_MIRROR = torch.tensor([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class TwoHandPairs(TensorFields):
    """Accepted pairs: who, what, and how."""

    pose: HandPose
    """Batch (pair, 2); index 1 is the left hand in the mirrored world."""
    identity: Int[Tensor, " pair"]
    interaction: Int[Tensor, " pair"]
    """Index into the names of INTERACTIONS."""

    def __getitem__(self, index) -> "TwoHandPairs":
        return TwoHandPairs(self.pose[index], self.identity[index], self.interaction[index])


@dataclass(frozen=True)
class SamplingReport:
    """How many drawn pairs were kept, by interaction: (accepted, drawn)."""

    counts: dict[str, tuple[int, int]]

    @property
    def acceptance(self) -> float:
        accepted, drawn = (sum(count[i] for count in self.counts.values()) for i in (0, 1))
        return accepted / max(drawn, 1)


def pair_joints(pose: HandPose) -> Float[Tensor, "*batch 2 21 3"]:
    """World joints of pairs, right hand first."""
    joints = forward_kinematics(pose).joints
    return torch.stack([joints[..., 0, :, :], mirror(joints[..., 1, :, :])], dim=-3)


def pair_surfaces(pose: HandPose, shape: HandShape | None = None) -> Float[Tensor, "*batch 2 vertex 3"]:
    """World vertices of the refined surfaces of pairs, right hand first. Their faces: `pair_faces`."""
    vertices = hand_surface(forward_kinematics(pose), shape, detail="refined").vertices
    return torch.stack([vertices[..., 0, :, :], mirror(vertices[..., 1, :, :])], dim=-3)


def pair_faces() -> Int[Tensor, "2 face 3"]:
    """Faces of the right and of the left hand; both look outwards."""
    faces = surface_topology("refined").faces
    return torch.stack([faces, faces.flip(-1)])


def face_parts() -> Int[Tensor, " face"]:
    """The part (`hand.surface.PARTS`) that each face of the refined surface belongs to."""
    topology = surface_topology("refined")
    return topology.part[topology.faces].amax(dim=1)


def meeting_parts(vertices: Float[Tensor, "pair 2 vertex 3"]) -> Bool[Tensor, "pair 2 6"]:
    """Which parts of the hands meet the other hand's surface: see `contact_kernel`."""
    hits = torch.zeros(len(vertices), 2, 6, dtype=torch.bool)
    right, left = (vertices[:, hand].contiguous().numpy() for hand in (0, 1))
    right_faces, left_faces = (faces.contiguous().numpy() for faces in pair_faces())
    part = face_parts().numpy()
    right_hits, left_hits = (hits[:, hand].contiguous().numpy() for hand in (0, 1))

    def search(start: int, stop: int) -> None:
        contact_kernel.crossings(
            start, stop, right, left, right_faces, left_faces, part, right_hits, left_hits
        )

    for_ranges(search, len(vertices), grain=4)
    return torch.from_numpy(np.stack([right_hits, left_hits], axis=1))


def intersecting(vertices: Float[Tensor, "pair 2 vertex 3"]) -> Bool[Tensor, " pair"]:
    """Whether the two closed surfaces of each pair have a point in common, by the test of this module's
    header."""
    result = meeting_parts(vertices).flatten(1).any(dim=1)
    right_faces, left_faces = pair_faces()
    for own, other, faces in ((0, 1, left_faces), (1, 0, right_faces)):
        rest = ~result
        if rest.any():
            inner = inside(vertices[rest, own], Mesh(vertices[rest, other], faces))
            result[rest] = inner.any(dim=1)
    return result


def clearance(vertices: Float[Tensor, "*batch 2 vertex 3"]) -> Float[Tensor, "*batch 2 vertex"]:
    """Signed distance of the vertices of each hand to the other hand, metres."""
    right_faces, left_faces = pair_faces()
    right, left = vertices.unbind(dim=-3)
    to_left = signed_distance(right, Mesh(left, left_faces)).distance
    to_right = signed_distance(left, Mesh(right, right_faces)).distance
    return torch.stack([to_left, to_right], dim=-2)


def sample_pairs(
    num: int,
    identities: Identities,
    generator: torch.Generator,
    interactions: tuple[str, ...] = tuple(INTERACTIONS),
    max_rounds: int = 100,
) -> tuple[TwoHandPairs, SamplingReport]:
    """`num` accepted pairs; interactions take turns, identities are drawn (again for a pair that keeps
    failing).

    Raises ValueError for an unknown interaction, and RuntimeError where after `max_rounds` rounds of drawing
    some pair still was not accepted.
    """
    unknown = [name for name in interactions if name not in INTERACTIONS]
    if unknown or not interactions:
        raise ValueError(f"unknown interactions {unknown}; known are {', '.join(INTERACTIONS)}")
    names = list(INTERACTIONS)
    kinds = torch.tensor([names.index(interactions[n % len(interactions)]) for n in range(num)])
    people = torch.randint(len(identities.skin), (num,), generator=generator)
    drawn, accepted = torch.zeros(len(names), dtype=torch.long), torch.zeros(len(names), dtype=torch.long)
    parts: list[tuple[Tensor, HandPose]] = []
    waiting = torch.arange(num)
    for turn in range(max_rounds):
        if len(waiting) == 0:
            break
        if turn and turn % 8 == 0:  # thick fingers may not fit between each other: let somebody else try
            people[waiting] = torch.randint(len(identities.skin), (len(waiting),), generator=generator)
        kept = []
        # Every interaction in one batch of its own: its steps are the same for all pairs.
        for kind in kinds[waiting].unique().tolist():
            rows = waiting[kinds[waiting] == kind]
            pose, good = _draw(INTERACTIONS[names[kind]], identities[people[rows]], generator)
            drawn[kind] += len(rows)
            accepted[kind] += int(good.sum())
            parts.append((rows[good], pose[good]))
            kept.append(rows[good])
        done = torch.zeros(num, dtype=torch.bool)
        done[torch.cat(kept)] = True
        waiting = waiting[~done[waiting]]
    if len(waiting):
        raise RuntimeError(
            f"{len(waiting)} of {num} pairs were not accepted in {max_rounds} rounds: "
            f"{', '.join(sorted({names[kind] for kind in kinds[waiting].tolist()}))}"
        )
    rows = torch.cat([rows for rows, _ in parts])
    order = rows.argsort()
    pose = HandPose(
        *(torch.cat([getattr(pose, name) for _, pose in parts])[order] for name in vars(parts[0][1]))
    )
    counts = {
        names[kind]: (int(accepted[kind]), int(drawn[kind])) for kind in range(len(names)) if drawn[kind]
    }
    return TwoHandPairs(pose, people, kinds), SamplingReport(counts)


def approach(
    kind: Interaction, people: Identities, generator: torch.Generator
) -> tuple[HandPose, Float[Tensor, "pair 2 5 3 3"]]:
    """For every person two hands that face each other, the left one far away along the sweep (+x); and the
    angles towards which their fingers close."""
    num = len(people.skin)
    swap = torch.rand(num, generator=generator) < 0.5
    roles = (kind.first, kind.second)
    opened, closed = [], []
    for role in roles:
        opened.append(_angles(role.poses, num, kind.jitter, generator))
        closed.append(_angles((role.closed,), num, kind.jitter, generator) if role.closed else opened[-1])
    turned = [_orientation(role, num, generator) for role in roles]
    # Role 0 may be the left hand: then the whole scene is a mirror image, which swaps the two rows.
    sides = torch.stack([swap.long(), 1 - swap.long()], dim=1)  # role of the right and of the left hand
    opened, closed, turned = (
        torch.stack(v, dim=1)[torch.arange(num)[:, None], sides] for v in (opened, closed, turned)
    )
    pose = clamp_to_limits(
        HandPose(torch.zeros(num, 2, 3), turned, people.palm_angles, opened, people.bone_lengths),
        DEFAULT_LIMITS,
    )
    closed = clamp_to_limits(replace(pose, joint_angles=closed), DEFAULT_LIMITS).joint_angles

    # Anchors at the origin of either world; the second role's is moved across, then the left hand far away.
    anchors = torch.stack([_anchor(role, num, generator) for role in roles], dim=1)
    anchors = anchors[torch.arange(num)[:, None], sides]  # weights of joints
    root = -(anchors[..., None, :] @ forward_kinematics(pose).joints)[..., 0, :]
    size = _sizes(people)
    across = torch.tensor([0.0, *kind.offset]) * size[:, None]
    across = across + kind.scatter * torch.randn(num, 3, generator=generator)
    if kind.alternate:
        across[:, 2] *= torch.where(torch.rand(num, generator=generator) < 0.5, -1.0, 1.0)
    # Offsets across the sweep are the same in both worlds. They belong to the second role.
    root[:, 1] += across * torch.tensor([0.0, 1.0, 1.0]) * torch.where(swap, -1.0, 1.0)[:, None]
    root[:, 1, 0] -= _FAR  # the mirrored world's -x is the world's +x, where the left hand comes from
    pose = replace(pose, root_translation=root)
    return (_closest(pose, people.shape, kind.search * size) if kind.search else pose), closed


def _sizes(people: Identities) -> Float[Tensor, " person"]:
    """Hand size against the rest hand."""
    return (people.bone_lengths / rest_bone_lengths(people.bone_lengths)).mean(dim=(1, 2, 3))


def _draw(
    kind: Interaction, people: Identities, generator: torch.Generator
) -> tuple[HandPose, Bool[Tensor, " pair"]]:
    """One attempt for every person: poses, and which of them are accepted."""
    pose, closed = approach(kind, people, generator)
    low, high = kind.gap
    gap = low + (high - low) * torch.rand(len(people.skin), generator=generator)
    pose, touched = _swept(pose, people.shape, gap)
    if kind.overlap is not None:
        right, left = pair_joints(pose)[:, :, JOINTS.index("middle_4"), 0].unbind(dim=1)
        touched &= right - left > kind.overlap * _sizes(people)
    if kind.first.closed or kind.second.closed:
        pose = _close(pose, closed, people.shape)
        # Fingers may have bent away from what they touched: unless they hold each other, the hands come
        # closer.
        room = sweep_room(pair_surfaces(pose, people.shape))
        loose = room.isfinite() & (room > gap)
        root = pose.root_translation.clone()
        root[:, 1, 0] += torch.where(loose, room - gap, 0.0)
        pose = replace(pose, root_translation=root)
    pose = turned_as_a_whole(pose, people.shape, generator)
    vertices = pair_surfaces(pose, people.shape)
    accepted = touched & ~intersecting(vertices)
    if kind.gap[1] < CONTACT:
        accepted &= clearance(vertices).flatten(1).amin(dim=1) < CONTACT
    return pose, accepted


def _closest(pose: HandPose, shape: HandShape, search: Float[Tensor, " pair"]) -> HandPose:
    """Of five offsets of the left hand to the side, the one from which it can come closest."""
    roots = []
    for step in (-1.0, -0.5, 0.0, 0.5, 1.0):
        moved = pose.root_translation.clone()
        moved[:, 1, 2] += step * search
        roots.append(moved)
    rooms = torch.stack([sweep_room(pair_surfaces(replace(pose, root_translation=r), shape)) for r in roots])
    rooms = torch.where(rooms.isfinite(), rooms, -1.0)  # a hand that passes the other one has not come close
    best = rooms.argmax(dim=0)
    return replace(pose, root_translation=torch.stack(roots)[best, torch.arange(len(best))])


def _angles(poses: tuple[str, ...], num: int, jitter: float, generator: torch.Generator) -> Tensor:
    """Joint angles: a key pose, in a third of the cases a mixture of two, each angle with its own
    deviation."""
    tables = torch.deg2rad(torch.tensor([KEY_POSES[name] for name in poses]))
    first, second = torch.randint(len(poses), (2, num), generator=generator)
    share = torch.rand(num, generator=generator)
    share = torch.where(share < 1 / 3, 3 * share, 0.0)[:, None, None]
    table = torch.lerp(tables[first], tables[second], share)
    deviation = torch.deg2rad(torch.tensor(jitter)) * torch.randn(num, 5, 4, generator=generator).clamp(-2, 2)
    table = table + deviation * torch.tensor([1.0, 0.6, 1.0, 1.0])
    angles = torch.zeros(num, 5, 3, 3)
    angles[..., 0] = table[..., [0, 2, 3]]
    angles[..., 0, 1] = table[..., 1]
    return angles


def _orientation(role: _Hand, num: int, generator: torch.Generator) -> Tensor:
    draws = torch.randn(3, num, generator=generator).clamp(-2, 2)
    lean, pitch, turn = (
        torch.deg2rad(mean + deviation * draw)
        for (mean, deviation), draw in zip((role.lean, role.pitch, role.turn), draws, strict=True)
    )
    return rotation_about_x(pitch) @ rotation_about_z(-lean) @ rotation_about_y(turn) @ _FACING


def _anchor(role: _Hand, num: int, generator: torch.Generator) -> Tensor:
    """Weights of the 21 joints whose sum is the anchor."""
    weights = torch.zeros(num, len(JOINTS))
    named = torch.tensor([JOINTS.index(name) for name in role.anchor])
    if role.tips:
        weights[torch.arange(num), named[torch.randint(len(named), (num,), generator=generator)]] = 1.0
    else:
        weights[:, named] = 1 / len(named)
    return weights


def _swept(pose: HandPose, shape: HandShape, gap: Tensor) -> tuple[HandPose, Bool[Tensor, " pair"]]:
    """The left hand moved along -x up to the gap; and where the hands meet at all on this way."""
    room = sweep_room(pair_surfaces(pose, shape))
    meets = room.isfinite()
    root = pose.root_translation.clone()
    root[:, 1, 0] += torch.where(meets, room - gap, _FAR)
    pose = replace(pose, root_translation=root)
    # The height maps miss a little between their cells: go back where they did.
    for _ in range(_BACK_OFFS):
        hit = meeting_parts(pair_surfaces(pose, shape)).flatten(1).any(dim=1)
        if not hit.any():
            break
        root = root.clone()
        root[:, 1, 0] -= torch.where(hit, _BACK_OFF, 0.0)
        pose = replace(pose, root_translation=root)
    return pose, meets


def sweep_room(vertices: Float[Tensor, "pair 2 vertex 3"]) -> Float[Tensor, " pair"]:
    """How far each left hand may move along the world's -x before it meets the right hand, metres."""
    # Seen along the sweep: -x becomes up; (y, z) span the height maps.
    seen = torch.stack([vertices[..., 1], vertices[..., 2], -vertices[..., 0]], dim=-1).double()
    right, left = (seen[:, hand].contiguous().numpy() for hand in (0, 1))
    right_faces, left_faces = (faces.contiguous().numpy() for faces in pair_faces())
    room = np.empty(len(seen))

    def search(start: int, stop: int) -> None:
        contact_kernel.sweep(start, stop, right, left, right_faces, left_faces, _CELL, room)

    for_ranges(search, len(seen), grain=4)
    return torch.from_numpy(room).float()


def _close(pose: HandPose, closed: Float[Tensor, "pair 2 5 3 3"], shape: HandShape) -> HandPose:
    """Bends the digits towards `closed`, hand after hand, each until the next step would meet the other hand.

    While one hand closes, the other stands still: every step is free of contact for the digits that keep it,
    and the others return to where they were, which was free as well.
    """
    opened = pose.joint_angles
    share = torch.zeros(*opened.shape[:3])  # pair, hand, digit
    for hand in (0, 1):
        step = torch.full(share[:, hand].shape, 0.25)
        for _ in range(8):
            trial = share.clone()
            trial[:, hand] = (share[:, hand] + step).clamp(max=1)
            bent = torch.lerp(opened, closed, trial[..., None, None])
            hits = meeting_parts(pair_surfaces(replace(pose, joint_angles=bent), shape))[:, hand]
            hit = hits[:, 1:] | hits[:, :1]  # a palm that meets something was bent by a digit: none may move
            share[:, hand] = torch.where(hit, share[:, hand], trial[:, hand])
            step = torch.where(hit, step / 2, step)
    return replace(pose, joint_angles=torch.lerp(opened, closed, share[..., None, None]))


def turned_as_a_whole(pose: HandPose, shape: HandShape, generator: torch.Generator) -> HandPose:
    """Every pair turned, with its bounding box about the origin. A motion (shape of one pair, poses of many)
    moves and turns as one."""
    moving = shape.palm_width.shape[0] == 1 and len(pose.root_translation) > 1
    num = 1 if moving else len(pose.root_translation)
    yaw = 2 * torch.pi * torch.rand(num, generator=generator)
    tilt = torch.deg2rad(15 * torch.randn(num, 3, generator=generator).clamp(-2, 2)) * torch.tensor(
        [1.0, 0, 1]
    )
    rotation = axis_angle_to_matrix(tilt) @ rotation_about_y(yaw)
    mirrored = rotation * _MIRROR[:, None] * _MIRROR
    both = torch.stack([rotation, mirrored], dim=1)
    pose = replace(
        pose,
        root_rotation=both @ pose.root_rotation,
        root_translation=(both @ pose.root_translation[..., None])[..., 0],
    )
    vertices = pair_surfaces(pose, shape).flatten(1, 2)
    if moving:
        vertices = vertices.flatten(0, 1)[None]
    centre = (vertices.amin(dim=1) + vertices.amax(dim=1)) / 2
    shift = torch.stack([centre, centre * _MIRROR], dim=1)
    return replace(pose, root_translation=pose.root_translation - shift)

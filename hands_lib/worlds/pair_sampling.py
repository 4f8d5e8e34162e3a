"""Two hands that do something together, and never in one place: poses, contact, acceptance.

Chapter  book/foundations/two_hand_world.md
Units    metres, radians
Frames   world: y up. A pair is designed as `interactions` says; then it is turned as a whole and its bounding
         box is centred at the origin. Poses of pairs: see `hand.pairs`

How a pair comes to touch:

1. Sweep. The left hand comes from far along a direction until the surfaces are a given small gap apart.
   Height maps of both hands along that direction give the distance in one step.
2. Closing. Where the interaction asks for it, the fingers of one hand, then of the other, bend towards their
   closed pose, each until it would meet the other hand.
3. Acceptance. A pair that should touch is kept only if it does (less than `CONTACT`), and any pair only if no
   edge of a hand meets a face of the other and neither hand lies inside the other: together, for closed
   surfaces, this says that they have no common point. It is evaluated on the float32 vertices of the refined
   surface, which are those that the labels contain. Fingers of the same hand may touch each other.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry.contact import room_along
from hands_lib.geometry.rotations import (
    axis_angle_to_matrix,
    rotation_about_x,
    rotation_about_y,
    rotation_about_z,
)
from hands_lib.hand.kinematics import DEFAULT_LIMITS, clamp_to_limits, forward_kinematics, rest_bone_lengths
from hands_lib.hand.pairs import (
    clearance,
    intersecting,
    meeting_parts,
    pair_joints,
    pair_meshes,
    pair_surfaces,
)
from hands_lib.hand.skeleton import JOINTS
from hands_lib.hand.surface import HandShape
from hands_lib.structures import HandPose, TensorFields
from hands_lib.worlds.identities import Identities
from hands_lib.worlds.interactions import CONTACT, INTERACTIONS, KEY_POSES, HandRole, Interaction

_CELL = 0.0007  # of the height maps: under a finger's curvature its error is below the smallest gap
_FAR = 0.5
_BACK_OFF, _BACK_OFFS = 0.0006, 4
# The palm towards +x, fingers up, thumb to the back.
_FACING = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
_MIRROR = torch.tensor([-1.0, 1.0, 1.0])
# The world's y and z span the height maps; the left hand comes along -x.
_ALONG_THE_SWEEP = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])


@dataclass(frozen=True)
class TwoHandPairs(TensorFields):
    """Accepted pairs: who, what, and how."""

    pose: HandPose
    """Batch (pair, 2); index 1 is the left hand in the mirrored world."""
    identity: Int[Tensor, " pair"]
    interaction: Int[Tensor, " pair"]
    """Index into the names of INTERACTIONS."""


@dataclass(frozen=True)
class SamplingReport:
    """How many drawn pairs were kept, by interaction: (accepted, drawn)."""

    counts: dict[str, tuple[int, int]]

    @property
    def acceptance(self) -> float:
        accepted, drawn = (sum(count[i] for count in self.counts.values()) for i in (0, 1))
        return accepted / max(drawn, 1)


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
    pose = HandPose.cat([pose for _, pose in parts])[order]
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


def _orientation(role: HandRole, num: int, generator: torch.Generator) -> Tensor:
    draws = torch.randn(3, num, generator=generator).clamp(-2, 2)
    lean, pitch, turn = (
        torch.deg2rad(mean + deviation * draw)
        for (mean, deviation), draw in zip((role.lean, role.pitch, role.turn), draws, strict=True)
    )
    return rotation_about_x(pitch) @ rotation_about_z(-lean) @ rotation_about_y(turn) @ _FACING


def _anchor(role: HandRole, num: int, generator: torch.Generator) -> Tensor:
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
    return room_along(*pair_meshes(vertices), _ALONG_THE_SWEEP, _CELL)


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

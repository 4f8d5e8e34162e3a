"""Inverse kinematics: the pose within the limits whose joints come nearest to 21 given ones.

Chapter  book/foundations/hand_model.md
Units    metres, radians
Frame    any world; RIGHT hands (a left hand is mirrored first: `hand.kinematics.mirror`)

1. Closed form. The hand's rotation aligns the rest palm with the metacarpal directions (Procrustes). Then,
   digit by digit from the palm outwards, each bone is turned as near to its joint as the limits allow. The
   base joint's twist is the one with the least sideways bend further out, held back where a finger is nearly
   straight and its plane of flexion means nothing.
2. Refinement (`hand.pose_refinement`), for the hands that the closed form does not fit exactly.

What comes back. The joints of any pose within STRICT_LIMITS are met to rounding under the default limits. In
the far corners of the slack around them (zigzag sideways bends) a fit may stop tenths of a millimetre away.
The parameters are one of several sets that give the same joints: the root's rotation trades against the palm
angles, a twist trades against bends further out, above all in a straight finger, and the distal twist turns
no joint: it is 0. Bone lengths are always recovered from joints that are met.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.geometry.alignment import nearest_rotation
from hands_lib.hand.kinematics import (
    DEFAULT_LIMITS,
    DIGIT_FRAMES,
    METACARPAL_FRAMES,
    JointLimits,
    forward_kinematics,
    joint_rotation,
    rest_bone_lengths,
)
from hands_lib.hand.pose_refinement import FitState, pose_of, refine_pose
from hands_lib.hand.skeleton import EDGES, JOINTS, PARENTS
from hands_lib.structures import HandPose, TensorFields

_BASE_JOINTS = [1, 5, 9, 13, 17]
_SHORTEST_BONE = 0.05  # of the mean metacarpal: keeps a fitted bone from vanishing or turning inside out
_TWIST_PRIOR = 1.0  # of a squared twist against squared sines of sideways bends, in the closed form


@dataclass(frozen=True)
class Fit(TensorFields):
    """A fitted pose and how far it is from what it was fitted to."""

    pose: HandPose
    residuals: Float[Tensor, "*batch 21"]
    """Distance of each joint from the given one, metres; NaN where none was given."""


def bone_lengths_of(joints: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch 5 4"]:
    """Distances between neighbouring joints, metres, in the layout of HandPose. Differentiable."""
    return (joints[..., 1:, :] - joints[..., list(PARENTS[1:]), :]).norm(dim=-1).unflatten(-1, (5, 4))


@torch.no_grad()
def inverse_kinematics(
    joints: Float[Tensor, "*batch 21 3"],
    valid: Bool[Tensor, "*batch 21"] | None = None,
    bone_lengths: Float[Tensor, "*#batch 5 4"] | None = None,
    limits: JointLimits = DEFAULT_LIMITS,
    num_refinements: int = 20,
) -> Fit:
    """Fits a batch of right hands; no gradients.

    joints          metres, world, in the library's order
    valid           false where a joint is missing: its value is never read. It is placed by its neighbours
                    and rest proportions; the wrist and two joints 1 (base joints) are needed
    bone_lengths    metres; held as given, for one subject's known lengths. None: fitted with the pose
    num_refinements greatest number of Gauss-Newton steps; 0 gives the closed form, which they never worsen

    Raises ValueError, naming the first such hand, where needed joints are missing, a valid joint is not
    finite, two neighbouring valid joints coincide, or all valid base joints lie on one line through the
    wrist; also for wrong shapes and bone lengths that are not positive.
    """
    if joints.shape[-2:] != (len(JOINTS), 3):
        raise ValueError(f"joints must have shape (..., 21, 3), but have {tuple(joints.shape)}")
    batch = joints.shape[:-2]
    if valid is None:
        valid = joints.new_ones(joints.shape[:-1], dtype=torch.bool)
    if valid.shape != joints.shape[:-1]:
        raise ValueError(f"valid must have shape {tuple(joints.shape[:-1])}, but has {tuple(valid.shape)}")
    if bone_lengths is not None and bone_lengths.shape not in ((5, 4), (*batch, 5, 4)):
        raise ValueError(
            f"bone_lengths must have shape (5, 4), also per hand, not {tuple(bone_lengths.shape)}"
        )
    joints, valid = joints.reshape(-1, 21, 3), valid.reshape(-1, 21)
    if bone_lengths is not None:
        bone_lengths = bone_lengths.to(joints).expand(*batch, 5, 4).reshape(-1, 5, 4)
    joints = torch.where(valid[..., None], joints, 0.0)  # nothing below may depend on a missing value
    _check(joints, valid, bone_lengths)

    wrist = joints[:, :1]
    metacarpals = joints[:, _BASE_JOINTS] - wrist
    rest_lengths = rest_bone_lengths(joints)
    base_valid = valid[:, _BASE_JOINTS]
    # The hand's size; everything below works in this unit, so that damping means the same for every hand.
    measured = (metacarpals.norm(dim=-1) * base_valid).sum(dim=1) / (rest_lengths[:, 0] * base_valid).sum(
        dim=1
    )
    size = (measured * rest_lengths[:, 0].mean())[:, None, None]
    target = (joints - wrist) / size
    lengths = rest_lengths / rest_lengths[:, 0].mean() if bone_lengths is None else bone_lengths / size

    rotation = _palm_rotation(target[:, _BASE_JOINTS], base_valid)
    target = _fill_missing(target, valid, rotation, lengths)
    lower, upper = _bounds(limits, joints)
    lower, upper = lower.expand(len(joints), -1, -1), upper.expand(len(joints), -1, -1)
    if bone_lengths is not None:
        lower, upper = (torch.cat([bound[..., :10], lengths], dim=-1) for bound in (lower, upper))
    state = FitState(rotation, torch.zeros_like(wrist[:, 0]), _closed_form(target, rotation, lower, upper))
    weights = valid.to(joints)
    state = refine_pose(state, target, weights, lower, upper, num_refinements)

    pose = pose_of(state)
    pose = replace(
        pose,
        root_translation=pose.root_translation * size[:, 0] + wrist[:, 0],
        bone_lengths=pose.bone_lengths * size if bone_lengths is None else bone_lengths,
    )
    residuals = (forward_kinematics(pose).joints - joints).norm(dim=-1)
    residuals = torch.where(valid, residuals, torch.nan)
    pose = pose.map(lambda field: field.unflatten(0, batch) if batch else field[0])
    return Fit(pose, residuals.unflatten(0, batch) if batch else residuals[0])


def _check(joints: Tensor, valid: Tensor, bone_lengths: Tensor | None) -> None:
    """Raises the errors that `inverse_kinematics` documents. One transfer from the device if all is well."""
    parents = list(PARENTS[1:])
    lengths = (joints[:, 1:] - joints[:, parents]).norm(dim=-1)
    base = joints[:, _BASE_JOINTS] - joints[:, :1]
    collapsed = (lengths <= 1e-6 * joints.abs().amax(dim=(1, 2))[:, None]) & valid[:, 1:] & valid[:, parents]
    base_valid = valid[:, _BASE_JOINTS]
    directions = torch.nn.functional.normalize(base, dim=-1)
    crossing = torch.linalg.cross(directions[:, :, None], directions[:, None]).norm(dim=-1)
    spread = (crossing * (base_valid[:, :, None] & base_valid[:, None])).amax(dim=(1, 2))
    problems = torch.stack(
        [
            ~valid[:, 0],
            base_valid.sum(dim=1) < 2,
            ~joints.isfinite().all(dim=2).all(dim=1),
            collapsed.any(dim=1),
            spread < 1e-3,
        ],
        dim=1,
    )
    if not bool(problems.any()):
        if bone_lengths is not None and not bool((bone_lengths > 0).all() & bone_lengths.isfinite().all()):
            raise ValueError("bone lengths to hold must be positive and finite")
        return
    hand, which = (int(index) for index in problems.nonzero()[0])
    if which == 0:
        reason = "the wrist is missing"
    elif which == 1:
        reason = "needs the base joints (joint 1) of at least two digits to turn the palm"
    elif which == 2:
        bad = (~joints[hand].isfinite().all(dim=1)).nonzero()[:, 0].tolist()
        reason = f"not finite at {', '.join(JOINTS[joint] for joint in bad)}; mark missing joints in `valid`"
    elif which == 3:
        parent, child = EDGES[int(collapsed[hand].nonzero()[0])]
        reason = f"{JOINTS[parent]} and {JOINTS[child]} are at one place; mark one of them as not valid"
    else:
        reason = "all base joints lie on one line through the wrist, so the palm's turn is undetermined"
    raise ValueError(f"inverse kinematics of hand {hand}: {reason}")


def _palm_rotation(metacarpals: Tensor, valid: Tensor) -> Tensor:
    """world_from_hand that best turns the rest metacarpals into the given ones, as directions."""
    directions = torch.nn.functional.normalize(metacarpals, dim=-1) * valid[..., None]
    rest = METACARPAL_FRAMES.to(metacarpals)[..., 1]
    return nearest_rotation(torch.einsum("bdi,dj->bij", directions, rest))


def _fill_missing(target: Tensor, valid: Tensor, rotation: Tensor, lengths: Tensor) -> Tensor:
    """Start values for missing joints: the rest palm; the elbow of a finger that bends to its next given
    joint; the straight continuation where none is given."""
    if bool(valid.all()):
        return target
    lengths = lengths.expand(len(target), 5, 4)
    digits, valid = target[:, 1:].unflatten(1, (5, 4)), valid[:, 1:].unflatten(1, (5, 4))
    rest_metacarpal = (rotation[:, None] @ METACARPAL_FRAMES.to(target))[..., 1]
    straight = (rotation[:, None] @ DIGIT_FRAMES.to(target))[..., 1]
    chain = [torch.where(valid[:, :, :1], digits[:, :, 0], rest_metacarpal * lengths[..., :1])]
    for joint in range(1, 4):
        previous, near = chain[-1], lengths[..., joint, None]
        position = previous + straight * near
        for later in range(3, joint, -1):  # the nearest later neighbour has the last word
            far = lengths[..., joint + 1 : later + 1].sum(dim=-1, keepdim=True)
            chord = digits[:, :, later] - previous
            distance = chord.norm(dim=-1, keepdim=True)
            chord = torch.nn.functional.normalize(chord, dim=-1)
            # The triangle with these two sides where there is one, else a point between in their proportion.
            along = (near.square() - far.square() + distance.square()) / (2 * distance).clamp(min=1e-6)
            along = torch.where(along.abs() < near, along, distance * near / (near + far))
            height = (near.square() - along.square()).clamp(min=0).sqrt() * (distance < near + far)
            outwards = straight - (straight * chord).sum(dim=-1, keepdim=True) * chord
            elbow = previous + along * chord + height * torch.nn.functional.normalize(outwards, dim=-1)
            position = torch.where(valid[:, :, later, None], elbow, position)
        chain.append(torch.where(valid[:, :, joint, None], digits[:, :, joint], position))
        straight = torch.nn.functional.normalize(chain[-1] - previous, dim=-1)
    return torch.cat([target[:, :1], torch.stack(chain, dim=2).flatten(1, 2)], dim=1)


def _bounds(limits: JointLimits, like: Tensor) -> tuple[Tensor, Tensor]:
    limits = limits.to(like)
    lengths = like.new_tensor([_SHORTEST_BONE, torch.inf])
    lower = [limits.palm_lower, limits.joint_lower.flatten(1)[:, :8], lengths[0].expand(5, 4)]
    upper = [limits.palm_upper, limits.joint_upper.flatten(1)[:, :8], lengths[1].expand(5, 4)]
    return torch.cat(lower, dim=-1), torch.cat(upper, dim=-1)


def _closed_form(target: Tensor, rotation: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Every bone in turn as near to its joint as the limits allow; the digits' rows."""
    joints = target[:, 1:].unflatten(1, (5, 4))

    def clamp(values, start):
        stop = start + values.shape[-1]
        return values.clamp(lower[..., start:stop], upper[..., start:stop])

    def aim(frame, direction, start):
        """Flexion and abduction that turn the frame's y to the direction, clamped."""
        x, y, z = (frame.mT @ direction[..., None])[..., 0].unbind(-1)
        abduction = torch.atan2(-x, torch.hypot(y, z))
        flexion = torch.atan2(-z, y)
        # Of the equivalent angles the one nearest to the middle of the range: else a finger bent far back
        # would be taken for one bent forward, or the reverse.
        middle = (lower[..., start] + upper[..., start]) / 2
        flexion = middle + torch.remainder(flexion - middle + torch.pi, 2 * torch.pi) - torch.pi
        return clamp(torch.stack([flexion, abduction], dim=-1), start)

    def turn(frame, angles):
        return frame @ joint_rotation(torch.nn.functional.pad(angles, (0, 3 - angles.shape[-1])))

    def twist(frame, *directions, start):
        """The twist that leaves the least sideways bend, by Gauss-Newton from 0: never the far branch."""
        local = [(frame.mT @ direction[..., None])[..., 0] for direction in directions]
        angle = torch.zeros_like(local[0][..., 0])
        for _ in range(3):
            cos, sin = angle.cos(), angle.sin()
            gradient, curvature = _TWIST_PRIOR * angle, torch.full_like(angle, _TWIST_PRIOR)
            for x, _, z in (vector.unbind(-1) for vector in local):
                sideways, slope = x * cos - z * sin, -x * sin - z * cos
                gradient, curvature = gradient + sideways * slope, curvature + slope.square()
            angle = angle - gradient / curvature
        return clamp(angle[..., None], start)

    def grow(position, frame, bone):
        """The bone along the frame's y that ends nearest to its joint, and that end."""
        along = ((joints[:, :, bone] - position) * frame[..., 1]).sum(-1, keepdim=True)
        length = clamp(along, 10 + bone)
        return length, position + length * frame[..., 1]

    frame = rotation[:, None] @ METACARPAL_FRAMES.to(target)
    palm = aim(frame, joints[:, :, 0], 0)
    frame = turn(frame, palm)
    length_0, position = grow(torch.zeros_like(joints[:, :, 0]), frame, 0)

    frame = frame @ (METACARPAL_FRAMES.mT @ DIGIT_FRAMES).to(target)
    base = aim(frame, joints[:, :, 1] - position, 2)
    frame = turn(frame, base)
    bones = torch.nn.functional.normalize(joints.diff(dim=2), dim=-1)
    base_twist = twist(frame, bones[:, :, 1], bones[:, :, 2], start=4)
    frame = turn(frame, torch.nn.functional.pad(base_twist, (2, 0)))
    length_1, position = grow(position, frame, 1)

    middle = aim(frame, joints[:, :, 2] - position, 5)
    frame = turn(frame, middle)
    middle_twist = twist(frame, bones[:, :, 2], start=7)
    frame = turn(frame, torch.nn.functional.pad(middle_twist, (2, 0)))
    length_2, position = grow(position, frame, 2)

    distal = aim(frame, joints[:, :, 3] - position, 8)
    frame = turn(frame, distal)
    length_3, _ = grow(position, frame, 3)
    return torch.cat(
        [palm, base, base_twist, middle, middle_twist, distal, length_0, length_1, length_2, length_3], dim=-1
    )

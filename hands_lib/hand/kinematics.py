"""Forward kinematics of one right hand, the limits of its joints, and random poses within them.

`hand.inverse_kinematics` goes the other way, from joints to a pose.

Chapter  book/foundations/hand_model.md
Source   Ivashechkin et al., "Two Hands Are Better Than One", Sec. II-A: a skeleton from joint angles and
         bone lengths. The paper does not state the degrees of freedom; these are the book's reconstruction.
Units    metres, radians
Frame    hand frame at rest: wrist at the origin, fingers along +y, back of the hand +z, thumb towards -x
Signs    flexion > 0 bends towards the palm, abduction > 0 turns a digit towards the thumb's side (-x),
         twist > 0 turns about the bone's own +y

Degrees of freedom, 81 in all: wrist position (3) and rotation (3); elevation and spread of the five
metacarpals against the rest palm (10); flexion, abduction and twist of 15 joints (45); 20 bone lengths.
A joint turns its child bone by R = Rx(-flexion) Rz(abduction) Ry(twist). Flexion stands outermost, so the
only singular direction is 90 degrees of abduction, far beyond every limit.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.hand import lanes
from hands_lib.hand.kinematics_kernel import Chain
from hands_lib.structures import HandPose, TensorFields

# Rest palm: directions of the metacarpals (wrist to base joint) in the hand frame, to two digits.
_METACARPAL_DIRECTIONS = (
    (-0.60, 0.58, -0.55), (-0.27, 0.96, -0.07), (0.0, 1.0, 0.0), (0.27, 0.96, -0.02), (0.52, 0.85, -0.08),
)  # fmt: skip
# Rest digits: direction of the straight digit, and its dorsal side (where the nail is).
_DIGIT_DIRECTIONS = (
    (-0.62, 0.72, -0.30), (-0.06, 1.0, 0.0), (0.0, 1.0, 0.0), (0.06, 1.0, 0.0), (0.15, 0.99, 0.0),
)  # fmt: skip
_DIGIT_DORSAL = (
    (-0.75, -0.40, 0.50), (-0.08, 0.0, 1.0), (0.0, 0.0, 1.0), (0.08, 0.0, 1.0), (0.16, 0.0, 1.0),
)  # fmt: skip
# Adult rest lengths, millimetres: metacarpal, proximal, middle, distal.
_BONE_LENGTHS_MM = (
    (40, 36, 30, 28), (86, 41, 25, 22.5), (85, 44, 28.5, 23), (80, 41, 26.5, 22.5), (76, 32, 20, 20),
)  # fmt: skip


def _frame(direction, dorsal) -> Tensor:
    """Rotation whose y column is `direction` and whose z column is `dorsal` made orthogonal to it."""
    y = torch.tensor(direction, dtype=torch.float64)
    y = y / y.norm()
    z = torch.tensor(dorsal, dtype=torch.float64)
    z = z - (z @ y) * y
    z = z / z.norm()
    return torch.stack([torch.linalg.cross(y, z), y, z], dim=-1)


METACARPAL_FRAMES = torch.stack(
    [_frame(d, z) for d, z in zip(_METACARPAL_DIRECTIONS, _DIGIT_DORSAL, strict=True)]
)
DIGIT_FRAMES = torch.stack([_frame(d, z) for d, z in zip(_DIGIT_DIRECTIONS, _DIGIT_DORSAL, strict=True)])
_METACARPAL_FROM_DIGIT = METACARPAL_FRAMES.mT @ DIGIT_FRAMES


@dataclass(frozen=True)
class Skeleton(TensorFields):
    """What forward kinematics gives: all that a surface needs, and nothing of it computed yet."""

    joints: Float[Tensor, "*batch 21 3"]
    """World, metres, in the library's order."""
    bone_rotations: Float[Tensor, "*batch 5 4 3 3"]
    """world_from_bone of each digit's metacarpal, proximal, middle and distal bone: y along the bone,
    z out of the back of the hand (or nail)."""
    root_rotation: Float[Tensor, "*batch 3 3"]
    """world_from_hand."""


def rest_bone_lengths(like: Tensor | None = None) -> Float[Tensor, "5 4"]:
    """Bone lengths of the rest hand, metres, in the dtype and on the device of `like`."""
    lengths = torch.tensor(_BONE_LENGTHS_MM, dtype=torch.float64) / 1000
    return lengths.to(like) if like is not None else lengths.to(torch.get_default_dtype())


def rest_pose(*batch: int, like: Tensor | None = None) -> HandPose:
    """The flat, relaxed hand at the world's origin, in the dtype and on the device of `like`."""
    lengths = rest_bone_lengths(like)
    zeros = lengths.new_zeros
    return HandPose(
        root_translation=zeros(*batch, 3),
        root_rotation=torch.eye(3, dtype=lengths.dtype, device=lengths.device).repeat(*batch, 1, 1),
        palm_angles=zeros(*batch, 5, 2),
        joint_angles=zeros(*batch, 5, 3, 3),
        bone_lengths=lengths.repeat(*batch, 1, 1),
    )


def joint_rotation(angles: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rx(-flexion) Rz(abduction) Ry(twist), written out."""
    cos_f, cos_a, cos_t = angles.cos().unbind(dim=-1)
    sin_f, sin_a, sin_t = angles.sin().unbind(dim=-1)
    return torch.stack(
        [
            cos_a * cos_t, -sin_a, cos_a * sin_t,
            cos_f * sin_a * cos_t - sin_f * sin_t, cos_f * cos_a, cos_f * sin_a * sin_t + sin_f * cos_t,
            -sin_f * sin_a * cos_t - cos_f * sin_t, -sin_f * cos_a, cos_f * cos_t - sin_f * sin_a * sin_t,
        ],
        dim=-1,
    ).unflatten(-1, (3, 3))  # fmt: skip


def forward_kinematics(pose: HandPose) -> Skeleton:
    """The 21 joints and the orientation of every bone. Differentiable in all fields of `pose`."""
    metacarpal_angles = torch.nn.functional.pad(pose.palm_angles, (0, 1))  # metacarpals do not twist
    angles = torch.cat([metacarpal_angles[..., None, :], pose.joint_angles], dim=-2)
    inputs = (pose.root_translation, pose.root_rotation, angles, pose.bone_lengths)
    if lanes.served(*inputs):
        constants = METACARPAL_FRAMES.to(angles), _METACARPAL_FROM_DIGIT.to(angles)
        joints, rotations = Chain.apply(*inputs, *constants, bone_chain)
    else:
        joints, rotations = bone_chain(*inputs)
    return Skeleton(joints, rotations, pose.root_rotation)


def bone_chain(
    translation: Float[Tensor, "*batch 3"],
    root: Float[Tensor, "*batch 3 3"],
    angles: Float[Tensor, "*batch 5 4 3"],
    lengths: Float[Tensor, "*batch 5 4"],
) -> tuple[Float[Tensor, "*batch 21 3"], Float[Tensor, "*batch 5 4 3 3"]]:
    """Joints and world_from_bone in plain torch, on any device: the reference of `kinematics_kernel`.

    angles   flexion, abduction, twist of the joint that turns each bone against the one before it
    """
    local = joint_rotation(angles)
    metacarpal = root[..., None, :, :] @ METACARPAL_FRAMES.to(lengths) @ local[..., 0, :, :]
    proximal = metacarpal @ _METACARPAL_FROM_DIGIT.to(lengths) @ local[..., 1, :, :]
    middle = proximal @ local[..., 2, :, :]
    distal = middle @ local[..., 3, :, :]
    rotations = torch.stack([metacarpal, proximal, middle, distal], dim=-3)
    bones = rotations[..., 1] * lengths[..., None]  # a bone lies along its own y
    wrist = translation[..., None, :]
    joints = wrist + bones.cumsum(dim=-2).flatten(-3, -2)
    return torch.cat([wrist, joints], dim=-2), rotations


@dataclass(frozen=True)
class JointLimits(TensorFields):
    """Least and greatest angles, radians, in the layout of HandPose. Equal bounds hold an angle."""

    palm_lower: Float[Tensor, "5 2"]
    palm_upper: Float[Tensor, "5 2"]
    joint_lower: Float[Tensor, "5 3 3"]
    joint_upper: Float[Tensor, "5 3 3"]


def _limits(palm, joints) -> JointLimits:
    """From degrees: palm[digit][angle] and joints[digit][joint][angle] as (lower, upper)."""
    palm = torch.deg2rad(torch.tensor(palm, dtype=torch.float64))
    joints = torch.deg2rad(torch.tensor(joints, dtype=torch.float64))
    return JointLimits(palm[..., 0], palm[..., 1], joints[..., 0], joints[..., 1])


_HELD = (0, 0)
# Active ranges of motion of healthy adults as clinical textbooks and goniometric standards give them,
# rounded to 5 degrees and counted from the rest hand. Fingers: MCP 90 degrees of flexion, more towards the
# little finger, 25 of hyperextension, 20 to 30 to either side, a few of (passive) axial turn; PIP and DIP are
# hinges. Thumb: the saddle joint at its base moves some 50 degrees in flexion and 45 in abduction with a
# coupled axial turn of under 20; MCP and IP are nearly hinges. Palm: the carpometacarpal joints of index and
# middle finger hardly move, the little finger's by some 20 degrees, which cups the palm; the remaining width
# is that of differently built hands, since one rest palm serves all.
STRICT_LIMITS = _limits(
    palm=[
        [(-8, 8), (-5, 5)],
        [(-4, 4), (-4, 4)], [(-4, 4), (-3, 3)], [(-4, 8), (-4, 4)], [(-5, 15), (-5, 5)],
    ],
    joints=[
        [[(-25, 30), (-25, 25), (-15, 15)], [(-15, 60), (-10, 10), (-5, 5)], [(-20, 85), _HELD, _HELD]],
        [[(-25, 90), (-25, 25), (-8, 8)], [(-5, 110), _HELD, _HELD], [(-10, 85), _HELD, _HELD]],
        [[(-25, 90), (-20, 20), (-8, 8)], [(-5, 110), _HELD, _HELD], [(-10, 85), _HELD, _HELD]],
        [[(-25, 95), (-20, 20), (-8, 8)], [(-5, 115), _HELD, _HELD], [(-10, 85), _HELD, _HELD]],
        [[(-30, 95), (-30, 25), (-8, 8)], [(-5, 115), _HELD, _HELD], [(-10, 85), _HELD, _HELD]],
    ],
)  # fmt: skip
"""Anatomy alone: finger PIP and DIP joints, and the thumb's IP joint, are pure hinges."""


def _with_slack(limits: JointLimits, palm, joints) -> JointLimits:
    palm = torch.deg2rad(torch.tensor(palm, dtype=torch.float64))
    joints = torch.deg2rad(torch.tensor(joints, dtype=torch.float64))
    return JointLimits(
        limits.palm_lower - palm,
        limits.palm_upper + palm,
        limits.joint_lower - joints,
        limits.joint_upper + joints,
    )


DEFAULT_LIMITS = _with_slack(
    STRICT_LIMITS,
    palm=(3, 3),
    # Flexion, abduction, twist of base, middle and distal joint. Real fits gain nothing from a twist of the
    # middle joints, and a distal twist turns no joint: both get no slack.
    joints=[(10, 10, 7), (10, 10, 0), (10, 10, 0)],
)
"""Anatomy plus slack for where data sets put joint centres.

Annotated joints are not the mechanical axes: they lie millimetres off them, and three noisy bones of a finger
are never exactly in one plane. A hinge then needs some sideways bend to pass through the annotated centres,
its base some twist, and a straight finger may seem bent backwards.
"""


def clamp_to_limits(pose: HandPose, limits: JointLimits = DEFAULT_LIMITS) -> HandPose:
    """The pose with every angle moved to its nearest allowed value; angles are not wrapped first."""
    limits = limits.to(pose.joint_angles)
    return replace(
        pose,
        palm_angles=pose.palm_angles.clamp(limits.palm_lower, limits.palm_upper),
        joint_angles=pose.joint_angles.clamp(limits.joint_lower, limits.joint_upper),
    )


def limit_excess(pose: HandPose, limits: JointLimits = DEFAULT_LIMITS) -> Float[Tensor, "*batch 55"]:
    """By how much each angle leaves its range, radians, never negative: 10 palm angles, then 45 of joints.

    A hinge, differentiable almost everywhere; its square, summed, is a loss with a continuous gradient.
    """
    limits = limits.to(pose.joint_angles)

    def excess(angles, lower, upper, dims):
        return ((lower - angles).clamp(min=0) + (angles - upper).clamp(min=0)).flatten(-dims)

    palm = excess(pose.palm_angles, limits.palm_lower, limits.palm_upper, 2)
    return torch.cat([palm, excess(pose.joint_angles, limits.joint_lower, limits.joint_upper, 3)], dim=-1)


def share_at_limit(
    pose: HandPose, limits: JointLimits = DEFAULT_LIMITS, closer: float = 2e-4
) -> Float[Tensor, ""]:
    """Of the joint angles that can move, the share that lies nearer to a limit than `closer`, radians."""
    limits = limits.to(pose.joint_angles)
    lower, upper, angles = limits.joint_lower, limits.joint_upper, pose.joint_angles
    free = (upper > lower).expand_as(angles)
    at_limit = torch.minimum(angles - lower, upper - angles) < closer
    return (at_limit & free).sum() / free.sum()


def random_pose(
    num: int,
    generator: torch.Generator | None = None,
    limits: JointLimits = STRICT_LIMITS,
    extent: float = 1.0,
    dtype: torch.dtype | None = None,
) -> HandPose:
    """`num` poses within the limits, at the world's origin and unturned: a world places them itself.

    Each angle is uniform between its limits shrunk towards the rest pose by `extent` (0: rest, 1: all of the
    range). Bone lengths are the rest hand's times a common size (standard deviation 8 %, about that of
    adults) and an own factor each (4 %), both cut at two deviations: 0.77 to 1.25 times the rest length.
    Fingers may touch or cross: limits know nothing of collisions. Raises ValueError for an extent outside
    [0, 1].
    """
    if not 0 <= extent <= 1:
        raise ValueError(f"extent must lie in [0, 1], but is {extent}")
    pose = rest_pose(num, like=torch.empty(0, dtype=dtype or torch.get_default_dtype()))
    limits = limits.to(pose.joint_angles)

    def uniform(lower, upper):
        draw = torch.rand(num, *lower.shape, generator=generator, dtype=lower.dtype)
        # A range may not contain the rest angle 0; then its nearest end is what it shrinks towards.
        centre = torch.zeros_like(lower).clamp(lower, upper)
        return (centre + extent * (lower + (upper - lower) * draw - centre)).clamp(lower, upper)

    def spread(deviation, *shape):
        draw = torch.randn(num, *shape, generator=generator, dtype=pose.bone_lengths.dtype)
        return 1 + deviation * draw.clamp(-2, 2)

    return replace(
        pose,
        palm_angles=uniform(limits.palm_lower, limits.palm_upper),
        joint_angles=uniform(limits.joint_lower, limits.joint_upper),
        bone_lengths=pose.bone_lengths * spread(0.08, 1, 1) * spread(0.04, 5, 4),
    )


def mirror(points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Reflection x -> -x: turns points of a right hand into those of a left hand and back.

    The one place where handedness changes; faces of a mirrored mesh must turn their winding as well.
    """
    return points * points.new_tensor([-1.0, 1.0, 1.0])

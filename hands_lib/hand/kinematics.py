"""Forward and inverse kinematics of one right hand.

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

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

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


_HAND_FROM_METACARPAL = torch.stack(
    [_frame(d, z) for d, z in zip(_METACARPAL_DIRECTIONS, _DIGIT_DORSAL, strict=True)]
)
_HAND_FROM_DIGIT = torch.stack([_frame(d, z) for d, z in zip(_DIGIT_DIRECTIONS, _DIGIT_DORSAL, strict=True)])
_METACARPAL_FROM_DIGIT = _HAND_FROM_METACARPAL.mT @ _HAND_FROM_DIGIT


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
    like = pose.bone_lengths
    metacarpal_angles = torch.nn.functional.pad(pose.palm_angles, (0, 1))  # metacarpals do not twist
    local = joint_rotation(torch.cat([metacarpal_angles[..., None, :], pose.joint_angles], dim=-2))
    metacarpal = pose.root_rotation[..., None, :, :] @ _HAND_FROM_METACARPAL.to(like) @ local[..., 0, :, :]
    proximal = metacarpal @ _METACARPAL_FROM_DIGIT.to(like) @ local[..., 1, :, :]
    middle = proximal @ local[..., 2, :, :]
    distal = middle @ local[..., 3, :, :]
    rotations = torch.stack([metacarpal, proximal, middle, distal], dim=-3)
    bones = rotations[..., 1] * pose.bone_lengths[..., None]  # a bone lies along its own y
    wrist = pose.root_translation[..., None, :]
    joints = wrist + bones.cumsum(dim=-2).flatten(-3, -2)
    return Skeleton(torch.cat([wrist, joints], dim=-2), rotations, pose.root_rotation)


def mirror(points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Reflection x -> -x: turns points of a right hand into those of a left hand and back.

    The one place where handedness changes; faces of a mirrored mesh must turn their winding as well.
    """
    return points * points.new_tensor([-1.0, 1.0, 1.0])

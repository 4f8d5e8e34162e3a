"""What an imperfect pose estimator would give: pairs of hands with errors of a chosen size.

Units   metres, radians
Frames  those of the given poses

The error of a hand is a fixed mixture of five kinds, drawn anew for every hand and then scaled as a whole
until the mean joint error is what was asked for: a turn of the wrist, a shift of the whole hand, a common
bend of each finger, an own error of every joint, and wrong bone lengths. In a real estimator the errors of
one finger's joints go together (the finger was seen too straight), which is why independent noise alone makes
collisions look easier than they are.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.kinematics import DEFAULT_LIMITS, clamp_to_limits, forward_kinematics
from hands_lib.structures import HandPose


@dataclass(frozen=True)
class ErrorMixture:
    """Standard deviations of the kinds of error against each other, before scaling."""

    rotation: float = 0.06
    """Of the whole hand about its wrist, radians about each axis."""
    translation: float = 0.008
    """Of the whole hand, metres along each axis."""
    finger_bend: float = 0.18
    """Common to the three joints of a finger, radians."""
    joint: float = 0.08
    """Of every flexion and (half as much) abduction, radians."""
    bone: float = 0.03
    """Of every bone's length, relative."""


def mean_joint_error(
    estimate: HandPose, truth: HandPose, root_aligned: bool = False
) -> Float[Tensor, "*batch"]:
    """Mean distance of the 21 joints of each hand, metres; `root_aligned` after moving the wrists
    together."""
    error = forward_kinematics(estimate).joints - forward_kinematics(truth).joints
    if root_aligned:
        error = error - error[..., :1, :]
    return error.norm(dim=-1).mean(dim=-1)


def perturb(
    pose: HandPose,
    mpjpe: float,
    generator: torch.Generator | None = None,
    mixture: ErrorMixture | None = None,
    root_aligned: bool = False,
) -> HandPose:
    """The poses with errors such that the mean joint error of EVERY hand is `mpjpe` metres.

    root_aligned  measures that error after moving the wrists together, as many evaluations do

    Angles stay within the default limits of the joints. Raises ValueError for a negative or unreachable error
    (more than about 0.2 m without a shift).
    """
    if not mpjpe >= 0:
        raise ValueError(f"a mean joint error is not negative, but {mpjpe} m was asked for")
    if mpjpe == 0:
        return pose
    mixture = mixture or ErrorMixture()
    batch, like = pose.root_translation.shape[:-1], pose.joint_angles

    def normal(*shape):
        draw = torch.randn(*batch, *shape, generator=generator, dtype=like.dtype)
        return draw.clamp(-2.5, 2.5).to(like.device)

    turn, shift = mixture.rotation * normal(3), mixture.translation * normal(3)
    bend = mixture.finger_bend * normal(5, 1) * like.new_tensor([0.7, 1.0, 0.7])
    own = mixture.joint * normal(5, 3, 2) * like.new_tensor([1.0, 0.5])
    # Fingers' middle and end joints are hinges: only the base bends sideways.
    own = own * like.new_tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    angles = torch.nn.functional.pad(own, (0, 1)) + torch.nn.functional.pad(bend[..., None], (0, 2))
    bones = mixture.bone * normal(5, 4)

    def scaled(factor):
        wide = factor[..., None]
        moved = replace(
            pose,
            root_translation=pose.root_translation + wide * shift,
            root_rotation=pose.root_rotation @ axis_angle_to_matrix(wide * turn),
            joint_angles=pose.joint_angles + wide[..., None, None] * angles,
            bone_lengths=pose.bone_lengths * (wide[..., None] * bones).exp(),
        )
        return clamp_to_limits(moved, DEFAULT_LIMITS)

    # The error grows with the factor; bracket, then halve. Limits bound it, so the bracket has an end too.
    start = clamp_to_limits(pose, DEFAULT_LIMITS)
    low, high = pose.root_translation.new_zeros(batch), pose.root_translation.new_ones(batch)
    for _ in range(12):
        short = mean_joint_error(scaled(high), start, root_aligned) < mpjpe
        if not bool(short.any()):
            break
        low, high = torch.where(short, high, low), torch.where(short, 2 * high, high)
    else:
        raise ValueError(f"errors of {1000 * mpjpe:.0f} mm cannot be reached within the limits of the joints")
    for _ in range(30):
        middle = (low + high) / 2
        short = mean_joint_error(scaled(middle), pose, root_aligned) < mpjpe
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return scaled((low + high) / 2)


def turned_about_wrists(
    joints: Float[Tensor, "pair 2 21 3"], generator: torch.Generator, angle: float, probability: float
) -> Float[Tensor, "pair 2 21 3"]:
    """Both hands of a pair, with this probability, turned about their wrists, each by a rotation of its own
    whose axis-angle vector has a standard deviation of `angle` degrees about each axis."""
    turns = torch.randn(len(joints), 2, 3, generator=generator) * torch.deg2rad(torch.tensor(angle))
    struck = torch.rand(len(joints), generator=generator) < probability
    rotation = axis_angle_to_matrix(turns * struck[:, None, None]).to(joints)
    wrists = joints[:, :, :1]
    return wrists + (joints - wrists) @ rotation.mT

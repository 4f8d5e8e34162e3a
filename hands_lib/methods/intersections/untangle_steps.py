"""The linear algebra of `untangle`: how joints and surface points move with the angles, and one step.

Units   metres, radians
Frames  each hand of a pair in its own right-handed world: index 0 the right hand, index 1 the left hand
        MIRRORED at x = 0, as in `hand.pairs`. What one hand's points are to the other one is then
        their mirror image, whichever hand asks

A hand has 56 free numbers: ten angles of each digit (palm 2, base 3, middle 3, distal 2; the distal twist
turns no joint), a small turn of the whole hand about the wrist, and its place. Bone lengths are not among
them. Number a turns whatever lies beyond its joint about the axis w_a through c_a, so that a point p moves by
w_a x (p - c_a), and its distance along n by the dot product of the wrench (p x n, n) with the twist
(w_a, c_a x w_a). Points of the skin follow by a share between 0 and 1, which is fixed for each vertex.
"""

from dataclasses import replace
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.kinematics import JointLimits, Skeleton, forward_kinematics, rest_pose
from hands_lib.hand.surface import HandShape, hand_surface
from hands_lib.structures import HandPose

NUM_ANGLES, NUM_FREE = 50, 56
_FLOOR = 1e-5  # squared metres a squared unknown: damps what nothing else weighs
_EPSILON = 1e-9  # keeps a hand of no weight from making the matrix singular
_SPREAD = torch.tensor([0.02, 0.02, 0.35, 0.05, 0.0, 0.35, 0.0, 0.0, 0.35, 0.0])
"""Digit angles of a mildly bent hand, radians: where the shares of the skin are measured."""


def pack(pose: HandPose) -> Float[Tensor, "*batch 50"]:
    """The free angles of a pose, digit by digit."""
    joints = pose.joint_angles.flatten(-2)[..., :8]
    return torch.cat([pose.palm_angles, joints], dim=-1).flatten(-2)


def unpack(pose: HandPose, angles: Float[Tensor, "*batch 50"]) -> HandPose:
    """`pose` with other free angles; its distal twists stay."""
    digits = angles.unflatten(-1, (5, 10))
    twist = pose.joint_angles[..., 2, 2:].expand(*digits.shape[:-1], 1)
    joints = torch.cat([digits[..., 2:], twist], dim=-1)
    return replace(pose, palm_angles=digits[..., :2], joint_angles=joints.unflatten(-1, (3, 3)))


def moved(pose: HandPose, step: Float[Tensor, "*batch 56"], lower: Tensor, upper: Tensor) -> HandPose:
    """The pose after a step of the free numbers; angles stop at their bounds."""
    angles = (pack(pose) + step[..., :NUM_ANGLES]).clamp(lower, upper)
    turn = axis_angle_to_matrix(step[..., NUM_ANGLES : NUM_ANGLES + 3])
    return replace(
        unpack(pose, angles),
        root_rotation=turn @ pose.root_rotation,
        root_translation=pose.root_translation + step[..., NUM_ANGLES + 3 :],
    )


def bounds_of(limits: JointLimits) -> tuple[Float[Tensor, "50"], Float[Tensor, "50"]]:
    """Least and greatest free angles."""
    lower = torch.cat([limits.palm_lower, limits.joint_lower.flatten(1)[:, :8]], dim=-1)
    upper = torch.cat([limits.palm_upper, limits.joint_upper.flatten(1)[:, :8]], dim=-1)
    return lower.flatten(), upper.flatten()


def twists(
    pose: HandPose, skeleton: Skeleton
) -> tuple[Float[Tensor, "*batch 6 56"], Float[Tensor, "*batch 21 3 56"]]:
    """The twist of every free number, and what it does to the joints (the exact Jacobian)."""
    angles = torch.cat(
        [torch.nn.functional.pad(pose.palm_angles, (0, 1))[..., None, :], pose.joint_angles], -2
    )
    _, cos_a, cos_t = angles.cos().unbind(-1)
    _, sin_a, sin_t = angles.sin().unbind(-1)
    zero, one = torch.zeros_like(cos_t), torch.ones_like(cos_t)
    # Axes of flexion, abduction and twist, in the frame of the bone that they have turned.
    axes = torch.stack(
        [-cos_t * cos_a, -sin_t, zero, sin_a, zero, one, -sin_t * cos_a, cos_t, zero], dim=-1
    ).unflatten(-1, (3, 3))
    axes = (skeleton.bone_rotations @ axes).mT  # digit, bone, axis, 3
    wrist, digits = skeleton.joints[..., :1, :], skeleton.joints[..., 1:, :].unflatten(-2, (5, 4))
    starts = torch.cat([wrist[..., None, :].expand_as(digits[..., :1, :]), digits[..., :3, :]], dim=-2)
    centres = starts[..., None, :].expand_as(axes)
    own, centres = (  # neither a metacarpal's twist nor a distal one
        values.flatten(-3, -2)[..., [0, 1, 3, 4, 5, 6, 7, 8, 9, 10], :].flatten(-3, -2)
        for values in (axes, centres)
    )
    basis = torch.eye(3, dtype=own.dtype, device=own.device).expand(*own.shape[:-2], 3, 3)
    turns = torch.cat([own, basis], dim=-2)
    centres = torch.cat([centres, wrist.expand_as(basis)], dim=-2)
    twist = torch.cat([turns, torch.linalg.cross(centres, turns)], dim=-1)
    shift = torch.cat([torch.zeros_like(basis), basis], dim=-1)
    twist = torch.cat([twist, shift], dim=-2).mT
    arms = skeleton.joints[..., :, None, :] - centres[..., None, :, :]
    turned = torch.linalg.cross(turns[..., None, :, :].expand_as(arms), arms)
    shifted = basis[..., None, :, :].expand(*turned.shape[:-2], 3, 3)
    jacobian = torch.cat([turned, shifted], dim=-2).mT
    return twist, jacobian * joint_shares(jacobian)[:, None, :]


@cache
def _joint_shares() -> Float[Tensor, "21 56"]:
    """1 where a free number moves a joint, else 0: those of a digit move what lies beyond."""
    bone_of = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 3, 3])
    shares = torch.zeros(21, 5, 10)
    for joint in range(1, 21):
        digit, bone = divmod(joint - 1, 4)
        shares[joint, digit] = (bone_of <= bone).float()
    return torch.cat([shares.flatten(1), torch.ones(21, 6)], dim=1)


def joint_shares(like: Tensor) -> Float[Tensor, "21 56"]:
    return _joint_shares().to(like)


@cache
def _skin_shares() -> Float[Tensor, "307 56"]:
    """How far each vertex of the plain surface follows each free number: the exact derivative of a mildly
    bent hand, as a multiple of the motion of a point that is rigidly attached beyond the joint."""
    pose = unpack(rest_pose(like=torch.zeros((), dtype=torch.float64)), _SPREAD.double().repeat(5))
    skeleton = forward_kinematics(pose)
    twist, _ = twists(pose, skeleton)
    base = hand_surface(skeleton, HandShape.thin(like=skeleton.joints)).vertices
    rigid = torch.linalg.cross(twist[:3].mT[None].expand(len(base), -1, -1), base[:, None].expand(-1, 56, -1))
    rigid = rigid + twist[3:].mT
    many = pose.map(lambda value: value.expand(56, *value.shape))
    step = 1e-5  # the surface has compiled loops without forward derivatives; its values are exact to 1e-16
    ends = []
    for sign in (-1.0, 1.0):
        steps = sign * step * torch.eye(56, dtype=torch.float64)
        bent = moved(many, steps, torch.full((50,), -9.0).double(), torch.full((50,), 9.0).double())
        ends.append(hand_surface(forward_kinematics(bent), HandShape.thin(like=base)).vertices)
    exact = ((ends[1] - ends[0]) / (2 * step)).transpose(0, 1)
    share = (exact * rigid).sum(-1) / rigid.square().sum(-1).clamp(min=1e-12)
    return torch.where(rigid.norm(dim=-1) > 1e-4, share, 0.0).clamp(0, 1).float()


def skin_shares(like: Tensor) -> Float[Tensor, "307 56"]:
    return _skin_shares().to(like)


def damped_step(
    curvature: Float[Tensor, "pair 112 112"],
    gradient: Float[Tensor, "pair 112"],
    prior: float,
    damping: Float[Tensor, " pair"],
    angles: Float[Tensor, "pair 2 50"],
    lower: Float[Tensor, "pair 2 50"],
    upper: Float[Tensor, "pair 2 50"],
) -> Float[Tensor, "pair 2 56"]:
    """A damped Gauss-Newton step for both hands of each pair together.

    Angles at a limit are held while they are pushed outwards; equal limits hold an angle.
    prior  squared metres a squared radian, added for every angle
    """
    slope = gradient.unflatten(1, (2, NUM_FREE))[..., :NUM_ANGLES]
    held = ((angles <= lower) & (slope > 0)) | ((angles >= upper) & (slope < 0)) | (upper <= lower)
    held = torch.nn.functional.pad(held, (0, NUM_FREE - NUM_ANGLES)).flatten(1)
    free = (~held).to(gradient)
    own = torch.nn.functional.pad(gradient.new_full((2, NUM_ANGLES), prior), (0, NUM_FREE - NUM_ANGLES))
    diagonal = curvature.diagonal(dim1=1, dim2=2)
    diagonal = own.flatten() + damping[:, None] * (diagonal + _FLOOR) + held.to(gradient) + _EPSILON
    matrix = curvature * free[:, :, None] * free[:, None, :] + torch.diag_embed(diagonal)
    factor, _ = torch.linalg.cholesky_ex(matrix)
    step = -torch.cholesky_solve((gradient * free)[..., None], factor)[..., 0]
    return torch.where(step.isfinite(), step, 0.0).unflatten(1, (2, NUM_FREE))

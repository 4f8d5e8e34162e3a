"""What `untangle` solves: its settings, and each pair as poses with limits, targets and weights.

Units   metres, radians
Frames  as `untangle_steps`: each hand in a right-handed world of its own
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.hand.inverse_kinematics import bone_lengths_of, inverse_kinematics
from hands_lib.hand.kinematics import DEFAULT_LIMITS, JointLimits, Skeleton, forward_kinematics
from hands_lib.hand.surface import HandShape, hand_surface
from hands_lib.methods.intersections.untangle_steps import bounds_of, pack
from hands_lib.structures import HandPose, TensorFields, chosen, put

Method = Literal["distance", "occupancy", "both"]
Surface = Literal["thin", "rest"]


@dataclass(frozen=True)
class UntangleSettings:
    """What counts as apart, and how it is reached."""

    surface: Surface = "thin"
    """Thickness: "thin" as the paper's, or the rest hand's."""
    method: Method = "distance"
    """What says that a point is inside: exact signed distances, the occupancy network, or both."""
    tolerance: float = 0.0
    """Intersecting volume that may stay, cm^3; 0 asks for the exact test."""
    margin: float = 1e-4
    """Least distance between samples of the surfaces, metres; grows where the exact test still fails."""
    placement: float = 0.0
    """How much cheaper it is to move a hand as a whole than its joints one by one, from 0 (all joints count
    by themselves) to below 1: for estimators that know poses well and places badly."""
    angle_cost: float = 3e-3
    """Metres a radian: keeps angles that the joints hardly show, such as twists."""
    num_steps: int = 59
    """Gauss-Newton steps at most, for the pairs that need them."""
    longest_push: float = 0.05
    """Metres that rigid hands may be pushed apart in the end; pairs that need more are reported."""
    smoothness: int = 4
    """Half width, in frames, of the window over which corrections of a sequence are spread; 0: none."""
    smoothing_rounds: int = 4
    """How often a sequence's corrections are smoothed and separated again."""
    chunk: int = 256
    """Intersecting pairs in memory at once."""


LEAST_WEIGHT = 1e-4  # of the largest of a pair: even a joint that nobody trusts does not fly away
HELD = (True, True, False, False, True, False, True, True, False, True)
"""Of a digit's angles: the palm's, twists, and sideways bends of hinges stay as they are fitted. Joints show
them poorly, so whoever fits a pose to the result would find others, and with them another surface."""
_FITTED, _REFITTED = 1e-6, 1e-5  # metres
_LOOSE = 3.0  # radians: flexion that no joint reaches


@dataclass(frozen=True)
class Problem(TensorFields):
    pose: HandPose
    """Where to start; batch (pair, 2)."""
    reference: Float[Tensor, "pair 2 50"]
    """Angles that the prior holds on to."""
    target: Float[Tensor, "pair 2 21 3"]
    weights: Float[Tensor, "pair 2 21"]
    lower: Float[Tensor, "pair 2 50"]
    upper: Float[Tensor, "pair 2 50"]


@dataclass(frozen=True)
class Solved(TensorFields):
    pose: HandPose
    intersecting: Bool[Tensor, " pair"]
    pushed: Bool[Tensor, " pair"]
    iterations: Int[Tensor, " pair"]


def _wide() -> JointLimits:
    """Room for joints that no hand has: hinges that bend sideways, fingers that bend backwards."""
    limits = DEFAULT_LIMITS
    free = torch.tensor([_LOOSE, 1.4, 0.6], dtype=torch.float64)
    joint = free.expand(5, 3, 3) * (torch.arange(3)[:, None] + torch.arange(3) < 4)
    return JointLimits(
        torch.minimum(limits.palm_lower, torch.tensor(-1.4).double()),
        torch.maximum(limits.palm_upper, torch.tensor(1.4).double()),
        torch.minimum(limits.joint_lower, -joint),
        torch.maximum(limits.joint_upper, joint),
    )


_WIDE_LIMITS = _wide()


def fitted(target: Float[Tensor, "pair 2 21 3"]) -> tuple[HandPose, Tensor, Tensor, Tensor]:
    """Poses with exactly the given bone lengths, largest residuals, and limits that contain them."""
    lengths = bone_lengths_of(target)
    fit = inverse_kinematics(target, bone_lengths=lengths)
    beyond = (fit.residuals.amax(dim=-1) > _FITTED).flatten().nonzero()[:, 0]
    if len(beyond):
        # What anatomy does not allow is there all the same: limits are widened as far as it needs.
        again = inverse_kinematics(
            target.flatten(0, 1)[beyond], bone_lengths=lengths.flatten(0, 1)[beyond], limits=_WIDE_LIMITS
        )
        flat = fit.map(lambda values: values.flatten(0, 1))
        better = again.residuals.amax(dim=-1) < flat.residuals[beyond].amax(dim=-1)
        flat = put(flat, beyond[better], again[better])
        fit = flat.map(lambda values: values.unflatten(0, (-1, 2)))
    lower, upper = (bound.to(target) for bound in bounds_of(DEFAULT_LIMITS))
    angles = pack(fit.pose)
    return fit.pose, fit.residuals.amax(dim=-1), torch.minimum(lower, angles), torch.maximum(upper, angles)


def refitted(pose: HandPose) -> HandPose:
    """The pose that inverse kinematics finds for these joints.

    A twist can be traded against other angles without moving a joint, but it moves the surface. What is
    tested is therefore the surface that anybody fits to the joints that come back.
    """
    fit, error, _, _ = fitted(forward_kinematics(pose.to(torch.float64)).joints)
    fit = replace(fit.to(pose.root_translation), bone_lengths=pose.bone_lengths)
    met = (error < _REFITTED).flatten()
    flat = [own.map(lambda values: values.flatten(0, 1)) for own in (fit, pose)]
    return chosen(met, *flat).map(lambda values: values.unflatten(0, (-1, 2)))


def surfaces_of(
    pose: HandPose, surface: Surface, thickness: float = 1.0, skeleton: Skeleton | None = None
) -> Float[Tensor, "pair 2 307 3"]:
    skeleton = skeleton or forward_kinematics(pose)
    like = skeleton.joints
    shape = HandShape.thin(like=like) if surface == "thin" else HandShape.rest(like=like)
    if thickness != 1:
        shape = shape.map(lambda values: thickness * values)
    return hand_surface(skeleton, shape).vertices

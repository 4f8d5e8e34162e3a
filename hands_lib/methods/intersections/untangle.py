"""Untangle: the closest poses of two hands whose surfaces do not intersect.

Chapter  book/intersections/untangle.md
Source   goes beyond Ivashechkin et al., "Two Hands Are Better Than One": their loss (Eq. 1) acts on a network
         while it trains; this acts on finished skeletons, at test time, and ends with an exact check
Units    metres, radians; volumes in cm^3
Frames   pairs are (2, 21, 3) in any common world, right hand first, the left one as it stands there. Inside,
         as in `untangle_steps`, each hand is a right hand in a world of its own

For each pair that intersects, over the angles and places of both hands,

    min  sum_j w_j |x_j - x_j0|^2 + prior  +  k sum_s max(0, m - d_s)^2

with x_j0 the given joints, w_j their confidence, and d_s the signed distance of sample s of one hand's
surface to the other hand's. Bone lengths are not among the unknowns and angles stop at their limits, so both
hold exactly. This is a sum of squares: damped Gauss-Newton steps, all pairs at once.

1. Thickness grows. A finger that has passed the middle of another one is pushed out on both sides at once,
   and stays. So hands start thin, when they rarely touch, and grow to their thickness in steps: what is
   pushed out is pushed to the side on which the bones already are.
2. Stiffness k grows from small values, at which both hands share the way, to ones that leave no depth.
3. Exact test: no edge of a surface meets a face of the other, no surface lies in the other. Pairs that pass
   leave the batch. The others go on, with a margin m that grows.
4. What still meets (palms that have passed each other do) is pushed apart, as rigid hands, in the direction
   in which that takes the least: once from where it is, and once from the start, after which it returns as
   far as it can. The nearer of the two is taken.

Instead of signed distances (`distance`) the occupancy network may say what is inside (`occupancy`, Eq. 1 is a
sum of squares as well), or both.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.hand.inverse_kinematics import bone_lengths_of, inverse_kinematics
from hands_lib.hand.kinematics import forward_kinematics, mirror
from hands_lib.hand.pairs import left_mirrored
from hands_lib.methods.intersections.loss import Occupancy
from hands_lib.methods.intersections.untangle_checks import exact_intersections, shared_volume
from hands_lib.methods.intersections.untangle_problem import (
    HELD,
    LEAST_WEIGHT,
    Method,
    Problem,
    Solved,
    Surface,
    UntangleSettings,
    fitted,
    surfaces_of,
)
from hands_lib.methods.intersections.untangle_sequences import smoothed
from hands_lib.methods.intersections.untangle_solver import separated
from hands_lib.methods.intersections.untangle_steps import pack
from hands_lib.structures import HandPose, TensorFields, put


@dataclass(frozen=True)
class Untangled(TensorFields):
    """Poses whose surfaces do not intersect, and what it took."""

    joints: Float[Tensor, "pair 2 21 3"]
    """Metres, in the frame that was given. Pairs that did not intersect keep their very numbers, unless a
    sequence spreads a neighbour's correction over them."""
    pose: HandPose
    """Batch (pair, 2), index 1 the left hand mirrored at x = 0."""
    intersecting_before: Bool[Tensor, " pair"]
    intersecting_after: Bool[Tensor, " pair"]
    """By the exact test; the pairs that could not be solved."""
    volume_before: Float[Tensor, " pair"]
    """Inside both hands, cm^3."""
    volume_after: Float[Tensor, " pair"]
    displacement: Float[Tensor, "pair 2 21"]
    """Of every joint, metres."""
    iterations: Int[Tensor, " pair"]
    """Gauss-Newton steps."""
    pushed: Bool[Tensor, " pair"]
    """Whether the pair had to be pushed apart as two rigid hands in the end."""
    fit_error: Float[Tensor, "pair 2"]
    """Largest distance between a given joint and the pose fitted to it, metres."""

    @property
    def unsolved(self) -> Int[Tensor, " pair"]:
        """Pairs that still intersect."""
        return self.intersecting_after.nonzero()[:, 0]

    def report(self) -> dict[str, float | int]:
        """Numbers of all pairs together: counts and shares, cm^3, mm."""
        num = max(len(self.joints), 1)
        changed = (self.displacement > 0).flatten(1).any(dim=1)
        millimetres = 1000 * self.displacement
        before, after = (float(v.sum()) for v in (self.volume_before, self.volume_after))
        counts = {
            "pairs": len(self.joints),
            "intersecting_before": int(self.intersecting_before.sum()),
            "intersecting_after": int(self.intersecting_after.sum()),
            "changed_pairs": int(changed.sum()),
            "pushed_pairs": int(self.pushed.sum()),
        }
        return counts | {
            "share_intersecting_before": counts["intersecting_before"] / num,
            "share_intersecting_after": counts["intersecting_after"] / num,
            "volume_before_cm3": before,
            "volume_after_cm3": after,
            "share_of_volume_removed": 1 - after / before if before > 0 else 0.0,
            "mean_displacement_mm": _mean(millimetres),
            "mean_displacement_of_changed_mm": _mean(millimetres[changed]),
            "max_displacement_mm": float(millimetres.max()) if len(self.joints) else 0.0,
            "mean_iterations_of_changed": _mean(self.iterations[changed]),
            "max_fit_error_mm": 1000 * float(self.fit_error.max()) if len(self.joints) else 0.0,
        }


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if values.numel() else 0.0


def untangle(
    joints: Float[Tensor, "pair 2 21 3"],
    confidence: Float[Tensor, "pair 2 21"] | None = None,
    sequence: Int[Tensor, " pair"] | None = None,
    settings: UntangleSettings | None = None,
    occupancy: Occupancy | None = None,
    progress: Callable[[int], None] | None = None,
) -> Untangled:
    """The closest poses without intersections, for a batch of pairs.

    joints      world, metres, right hand first
    confidence  0 to 1: a joint moves the less, the larger its weight is against the others of its pair;
                only these ratios count. Weights below 1e-4 of the largest count as 1e-4 of it: a hand of
                weight 0 goes most of the way, but the other one is not held in place
    sequence    which sequence each pair belongs to; pairs of one are its frames in order. Corrections are
                then spread over neighbouring frames. None: every pair stands for itself
    occupancy   the network, frozen and in evaluation mode, for the methods that use one
    progress    called with the number of pairs that were finished since its last call

    Pairs that are turned, moved or mirrored give the turned, moved or mirrored result up to rounding; where
    two ways out are alike, rounding may decide which is taken. So it is with a pair's company in the batch.

    Raises ValueError for a wrong shape, joints or weights that are not finite, weights that are negative, a
    method without its network, and hands that inverse kinematics refuses (it names hand 2 p + h of pair p).
    """
    settings = settings or UntangleSettings()
    weights = _checked(joints, confidence, sequence, settings, occupancy)
    tell = progress or (lambda count: None)
    if len(joints) == 0:
        return _nothing(joints)
    # The pair's own middle as the origin: single precision then serves hands far from the world's.
    middle = joints.double().flatten(1, 2).mean(dim=1)[:, None, None]
    target = left_mirrored(joints.double() - middle)
    start, fit_error, lower, upper = fitted(target)
    held = torch.tensor(HELD, device=joints.device).repeat(5)
    lower, upper = (torch.where(held, pack(start), bound) for bound in (lower, upper))
    # Single precision from here on: a hand's span is 0.2 m, its rounding 1e-8 m.
    problem = Problem(start, pack(start), target, weights, lower, upper).to(torch.float32)
    before = exact_intersections(surfaces_of(problem.pose, settings.surface))
    tell(int((~before).sum()))
    state = Solved(problem.pose, before.clone(), torch.zeros_like(before), torch.zeros_like(before).long())
    single = sequence is None or settings.smoothness == 0
    rows = before.nonzero()[:, 0]
    for part in rows.split(settings.chunk):
        state = put(state, part, separated(problem[part], settings, occupancy, "growing"))
        tell(len(part) if single else 0)
    changed = before.clone()
    if not single:
        state, changed = smoothed(problem, state, sequence, settings, occupancy)
        tell(len(rows))

    pose = state.pose.to(torch.float64)
    pose = replace(pose, bone_lengths=start.bone_lengths)
    result = left_mirrored(forward_kinematics(pose).joints) + middle
    result = torch.where(changed[:, None, None, None], result.to(joints), joints)
    shift = torch.cat([middle[:, 0], mirror(middle[:, 0])], dim=1)
    pose = replace(pose, root_translation=pose.root_translation + shift)
    volumes = torch.zeros(2, len(joints), dtype=torch.float64, device=joints.device)
    for row, (found, meets) in enumerate(((problem.pose, before), (state.pose, state.intersecting))):
        for part in meets.nonzero()[:, 0].split(settings.chunk):
            volumes[row, part] = shared_volume(surfaces_of(found[part], settings.surface))
    return Untangled(
        result, pose, before, state.intersecting, volumes[0], volumes[1], (result - joints).norm(dim=-1),
        state.iterations, state.pushed, fit_error,
    )  # fmt: skip


def _checked(
    joints: Tensor,
    confidence: Tensor | None,
    sequence: Tensor | None,
    settings: UntangleSettings,
    occupancy: Occupancy | None,
) -> Tensor:
    """Weights against the largest of each pair. Raises what `untangle` documents."""
    if joints.ndim != 4 or joints.shape[1:] != (2, 21, 3):
        raise ValueError(f"joints must have shape (pair, 2, 21, 3), but have {tuple(joints.shape)}")
    if settings.method not in get_args(Method) or settings.surface not in get_args(Surface):
        raise ValueError(
            f"method must be one of {', '.join(get_args(Method))} and surface one of "
            f"{', '.join(get_args(Surface))}, not {settings.method!r} and {settings.surface!r}"
        )
    if settings.method != "distance" and occupancy is None:
        raise ValueError(f"method {settings.method!r} needs an occupancy network: pass `occupancy`")
    bad = (~joints.isfinite().flatten(1).all(dim=1)).nonzero()[:, 0].tolist()
    if bad:
        raise ValueError(f"joints of pair {bad[0]} are not finite ({len(bad)} such pairs): leave them out")
    if sequence is not None and sequence.shape != joints.shape[:1]:
        raise ValueError(f"sequence needs one number a pair, not shape {tuple(sequence.shape)}")
    if confidence is None:
        return torch.ones_like(joints[..., 0])
    if confidence.shape != joints.shape[:3]:
        raise ValueError(
            f"confidence must have shape {tuple(joints.shape[:3])}, not {tuple(confidence.shape)}"
        )
    if not bool(confidence.isfinite().all()) or bool((confidence < 0).any()):
        raise ValueError("confidence must be finite and not negative")
    largest = confidence.flatten(1).amax(dim=1)[:, None, None]
    weights = torch.where(largest > 0, confidence / largest.clamp(min=1e-30), 1.0)
    return weights.to(joints).clamp(min=LEAST_WEIGHT)


def _nothing(joints: Tensor) -> Untangled:
    """For no pairs."""
    pose = inverse_kinematics(joints.double(), bone_lengths=bone_lengths_of(joints.double())).pose
    none = torch.zeros(0, dtype=torch.bool, device=joints.device)
    zero, error = none.double(), joints.new_zeros(0, 2)
    return Untangled(joints, pose, none, none, zero, zero, joints[..., 0], none.long(), none, error)

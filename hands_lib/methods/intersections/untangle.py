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
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Literal, Protocol, TypeVar, get_args, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry.distance import signed_distance
from hands_lib.hand.inverse_kinematics import bone_lengths_of, inverse_kinematics
from hands_lib.hand.kinematics import DEFAULT_LIMITS, JointLimits, Skeleton, forward_kinematics, mirror
from hands_lib.hand.surface import HandShape, hand_surface, surface_topology
from hands_lib.methods.intersections.untangle_checks import (
    exact_intersections,
    left_mirrored,
    push_apart,
    shared_volume,
)
from hands_lib.methods.intersections.untangle_steps import (
    bounds_of,
    damped_step,
    moved,
    pack,
    skin_shares,
    twists,
)
from hands_lib.structures import HandPose, Mesh, TensorFields

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


@runtime_checkable
class Occupancy(Protocol):
    """What is asked of a network: see `occupancy.OccupancyNetwork`."""

    def condition(self, joints: Float[Tensor, "hand 21 3"]):
        """What the network knows of right hands."""

    def logits_of(
        self, points: Float[Tensor, "point 3"], owner: Int[Tensor, " point"], condition
    ) -> Float[Tensor, " point"]:
        """Of points that each belong to the hand `owner`."""


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
    start, fit_error, lower, upper = _fit(target)
    held = torch.tensor(_HELD, device=joints.device).repeat(5)
    lower, upper = (torch.where(held, pack(start), bound) for bound in (lower, upper))
    # Single precision from here on: a hand's span is 0.2 m, its rounding 1e-8 m.
    problem = _Problem(start, pack(start), target, weights, lower, upper).to(torch.float32)
    before = exact_intersections(_surfaces(problem.pose, settings.surface))
    tell(int((~before).sum()))
    state = _Solved(problem.pose, before.clone(), torch.zeros_like(before), torch.zeros_like(before).long())
    single = sequence is None or settings.smoothness == 0
    rows = before.nonzero()[:, 0]
    for part in rows.split(settings.chunk):
        state = _put(state, part, _separate(_pick(problem, part), settings, occupancy, "growing"))
        tell(len(part) if single else 0)
    changed = before.clone()
    if not single:
        state, changed = _smooth(problem, state, sequence, settings, occupancy)
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
            volumes[row, part] = shared_volume(_surfaces(_pick(found, part), settings.surface))
    return Untangled(
        result, pose, before, state.intersecting, volumes[0], volumes[1], (result - joints).norm(dim=-1),
        state.iterations, state.pushed, fit_error,
    )  # fmt: skip


# --- the problem ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Problem(TensorFields):
    pose: HandPose
    """Where to start; batch (pair, 2)."""
    reference: Float[Tensor, "pair 2 50"]
    """Angles that the prior holds on to."""
    target: Float[Tensor, "pair 2 21 3"]
    weights: Float[Tensor, "pair 2 21"]
    lower: Float[Tensor, "pair 2 50"]
    upper: Float[Tensor, "pair 2 50"]


@dataclass(frozen=True)
class _Solved(TensorFields):
    pose: HandPose
    intersecting: Bool[Tensor, " pair"]
    pushed: Bool[Tensor, " pair"]
    iterations: Int[Tensor, " pair"]


_Some = TypeVar("_Some")


def _joined(function: Callable, *objects: _Some) -> _Some:
    """`function` of the tensors in the same field of nested dataclasses."""
    if isinstance(objects[0], Tensor):
        return function(*objects)
    assert is_dataclass(objects[0])
    names = [field.name for field in fields(objects[0])]
    return type(objects[0])(*(_joined(function, *(getattr(o, name) for o in objects)) for name in names))


def _pick(whole: _Some, rows: Tensor) -> _Some:
    return _joined(lambda values: values[rows], whole)


def _put(whole: _Some, rows: Tensor, part: _Some) -> _Some:
    return _joined(lambda values, own: values.index_copy(0, rows, own), whole, part)


def _chosen(where: Tensor, first: _Some, second: _Some) -> _Some:
    return _joined(lambda a, b: torch.where(where.view(-1, *[1] * (a.ndim - 1)), a, b), first, second)


def _fit(target: Float[Tensor, "pair 2 21 3"]) -> tuple[HandPose, Tensor, Tensor, Tensor]:
    """Poses with exactly the given bone lengths, largest residuals, and limits that contain them."""
    lengths = bone_lengths_of(target)
    fit = inverse_kinematics(target, bone_lengths=lengths)
    beyond = (fit.residuals.amax(dim=-1) > _FITTED).flatten().nonzero()[:, 0]
    if len(beyond):
        # What anatomy does not allow is there all the same: limits are widened as far as it needs.
        again = inverse_kinematics(
            target.flatten(0, 1)[beyond], bone_lengths=lengths.flatten(0, 1)[beyond], limits=_WIDE_LIMITS
        )
        flat = _joined(lambda values: values.flatten(0, 1), fit)
        better = again.residuals.amax(dim=-1) < flat.residuals[beyond].amax(dim=-1)
        flat = _put(flat, beyond[better], _pick(again, better))
        fit = _joined(lambda values: values.unflatten(0, (-1, 2)), flat)
    lower, upper = (bound.to(target) for bound in bounds_of(DEFAULT_LIMITS))
    angles = pack(fit.pose)
    return fit.pose, fit.residuals.amax(dim=-1), torch.minimum(lower, angles), torch.maximum(upper, angles)


def _refitted(pose: HandPose) -> HandPose:
    """The pose that inverse kinematics finds for these joints.

    A twist can be traded against other angles without moving a joint, but it moves the surface. What is
    tested is therefore the surface that anybody fits to the joints that come back.
    """
    fit, error, _, _ = _fit(forward_kinematics(pose.to(torch.float64)).joints)
    fit = replace(fit.to(pose.root_translation), bone_lengths=pose.bone_lengths)
    met = (error < _REFITTED).flatten()
    flat = [_joined(lambda values: values.flatten(0, 1), own) for own in (fit, pose)]
    return _joined(lambda values: values.unflatten(0, (-1, 2)), _chosen(met, *flat))


def _surfaces(
    pose: HandPose, surface: Surface, thickness: float = 1.0, skeleton: Skeleton | None = None
) -> Float[Tensor, "pair 2 307 3"]:
    skeleton = skeleton or forward_kinematics(pose)
    like = skeleton.joints
    shape = HandShape.thin(like=like) if surface == "thin" else HandShape.rest(like=like)
    if thickness != 1:
        shape = _joined(lambda values: thickness * values, shape)
    return hand_surface(skeleton, shape).vertices


@cache
def _samples() -> tuple[Int[Tensor, "sample 3"], Float[Tensor, "sample 3"], Float[Tensor, "sample 56"]]:
    """Samples of a surface (vertices, middles of edges, middles of faces) as vertices and their shares, and
    how far each follows the free numbers of its hand."""
    faces = surface_topology("plain").faces.long()
    vertices = torch.arange(int(faces.max()) + 1)[:, None].expand(-1, 3)
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges[edges[:, 0] < edges[:, 1]][:, [0, 1, 1]]
    kinds = (vertices, (1.0, 0.0, 0.0)), (edges, (0.5, 0.5, 0.0)), (faces, (1 / 3, 1 / 3, 1 / 3))
    corners = torch.cat([corners for corners, _ in kinds])
    shares = torch.cat([torch.tensor(share).expand(len(corners), 3) for corners, share in kinds])
    skin = (shares[..., None] * skin_shares(shares)[corners]).sum(dim=1)
    return corners, shares, skin


# --- solver --------------------------------------------------------------------------------------------

_HELD = (True, True, False, False, True, False, True, True, False, True)
"""Of a digit's angles: the palm's, twists, and sideways bends of hinges stay as they are fitted. Joints show
them poorly, so whoever fits a pose to the result would find others, and with them another surface."""
_FITTED, _REFITTED = 1e-6, 1e-5  # metres
_LOOSE = 3.0  # radians: flexion that no joint reaches
Way = Literal["growing", "returning", "smoothing"]
_STAGES: dict[Way, tuple[tuple[float, float, int], ...]] = {
    "growing": (
        (0.3, 30.0, 3),
        (0.6, 30.0, 3),
        (0.85, 30.0, 3),
        (1.0, 30.0, 3),
        (1.0, 100.0, 3),
        (1.0, 300.0, 3),
    ),
    "returning": ((1.0, 30.0, 8), (1.0, 100.0, 12)),
    "smoothing": ((1.0, 100.0, 3),),
}
"""Thickness, stiffness, steps. After them all steps are stiff, and surfaces are tested."""
_STIFF = 1000.0
_TEST_EVERY = 3  # steps, of the exact test
_LOOK_AGAIN = 3  # steps after which the nearest samples are sought again
_NUM_NEAR = 320  # samples of each hand nearest to the other that are measured
_NUM_ROWS = 128  # the deepest of them that make a step
_GAMMA = {"accepted": 0.3, "refused": 8.0}  # factors of the damping
_DAMPING = (1e-5, 1e-3, 1e3)  # least, first, greatest


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


@dataclass(frozen=True)
class _View(TensorFields):
    """What one evaluation of the objective sees. Entry h of a pair: samples of the OTHER hand near hand h."""

    skeleton: Skeleton
    vertices: Float[Tensor, "pair 2 307 3"]
    errors: Float[Tensor, "pair 2 21 3"]
    points: Float[Tensor, "pair 2 near 3"]
    residuals: Float[Tensor, "pair 2 near"]
    """How much too deep, metres."""
    pull: Float[Tensor, "pair 2 near 3"]
    """Derivative of the residual with the point."""
    anchor: Int[Tensor, "pair 2 near 3"]
    """Vertices of hand h with which the place moves,"""
    anchor_share: Float[Tensor, "pair 2 near 3"]
    """and in which proportion."""
    merit: Float[Tensor, " pair"]


@dataclass(frozen=True)
class _Terms(TensorFields):
    """Of each pair, and the same for its whole evaluation."""

    margin: Float[Tensor, " pair"]
    near: Int[Tensor, "pair 2 near"]
    """Of hand h: samples of the other one."""
    nearest: Int[Tensor, "pair 2 near"]
    """The vertex of hand h that is nearest to each."""


def _near(vertices: Float[Tensor, "pair 2 307 3"]) -> tuple[Tensor, Tensor]:
    """The samples of each hand that are nearest to the other hand, and to which vertex."""
    corners, _, _ = _samples()
    corners = corners.to(vertices.device)
    both = left_mirrored(vertices)
    # Squared distances; rounding is 0.1 mm in the distance, of no matter to which samples are looked at.
    right, left = both.unbind(dim=1)
    apart = torch.baddbmm(left.square().sum(dim=-1)[:, None], right, left.mT, alpha=-2)
    apart = apart + right.square().sum(dim=-1)[..., None]
    # Entry h: the other hand's vertices.
    least = [apart.min(dim=1), apart.min(dim=2)]
    distance, index = (torch.stack([found[k] for found in least], dim=1) for k in (0, 1))
    of_corner, corner = distance[..., corners].min(dim=-1)
    near = of_corner.topk(min(_NUM_NEAR, len(corners)), dim=-1, largest=False).indices.sort(dim=-1).values
    vertex = (
        corners.expand(*near.shape[:2], -1, -1)
        .gather(2, near[..., None].expand(*near.shape, 3))
        .gather(3, corner.gather(2, near)[..., None])[..., 0]
    )
    return near, index.gather(2, vertex)


def _view(
    problem: _Problem,
    pose: HandPose,
    terms: _Terms,
    thickness: float,
    stiffness: float,
    settings: UntangleSettings,
    occupancy: Occupancy | None,
) -> _View:
    skeleton = forward_kinematics(pose)
    vertices = _surfaces(pose, settings.surface, thickness, skeleton)
    corners, share, _ = _samples()
    corners, share = corners.to(vertices.device)[terms.near], share.to(vertices)[terms.near]
    points = vertices.flip(1).gather(2, corners.flatten(2)[..., None].expand(-1, -1, -1, 3))
    points = mirror((share[..., None] * points.unflatten(2, (-1, 3))).sum(dim=3))
    residuals, pulls, anchors, shares = [], [], [], []
    if settings.method != "occupancy" or thickness != 1:
        faces = surface_topology("plain").faces.to(vertices.device)
        with torch.enable_grad():
            asked = points.detach().requires_grad_(True)
            found = signed_distance(asked, Mesh(vertices, faces))
            (outwards,) = torch.autograd.grad(found.distance.sum(), asked)
        residuals.append((terms.margin[:, None, None] - found.distance.detach()).clamp(min=0))
        pulls.append(-outwards)
        anchors.append(faces.long()[found.face])
        shares.append(found.barycentrics)
    if settings.method != "distance" and thickness == 1:
        assert occupancy is not None
        probability, slope = _probabilities(occupancy, points, skeleton.joints)
        counted = probability > _NEGLIGIBLE
        residuals.append(_OCCUPANCY_DEPTH * probability * counted)
        pulls.append(_OCCUPANCY_DEPTH * slope * counted[..., None])
        anchors.append(terms.nearest[..., None].expand(-1, -1, -1, 3))
        shares.append(torch.full_like(points, 1 / 3))
        points = points.repeat(1, 1, len(residuals), 1)
    residual = torch.cat(residuals, dim=2)
    errors = skeleton.joints - problem.target
    fit = _placed(errors[..., None], problem.weights, settings.placement)[..., 0]
    merit = (problem.weights * fit.square().sum(dim=-1)).sum(dim=(1, 2))
    merit = merit + (settings.angle_cost * (pack(pose) - problem.reference)).square().sum(dim=(1, 2))
    merit = merit + stiffness * residual.square().sum(dim=(1, 2))
    return _View(
        skeleton, vertices, errors, points, residual, torch.cat(pulls, dim=2), torch.cat(anchors, dim=2),
        torch.cat(shares, dim=2), merit,
    )  # fmt: skip


_OCCUPANCY_DEPTH = 3e-3
"""Metres that a probability of 1 counts as."""
_NEGLIGIBLE = 1e-3


@torch.enable_grad()
def _probabilities(occupancy: Occupancy, points: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Of the points to lie in the hands of their entry, and the derivative with the point."""
    flat = points.detach().flatten(0, 2).requires_grad_(True)
    owner = torch.arange(2 * len(points), device=points.device).repeat_interleave(points.shape[2])
    with torch.no_grad():
        condition = occupancy.condition(joints.flatten(0, 1))
    probability = occupancy.logits_of(flat, owner, condition).sigmoid()
    (slope,) = torch.autograd.grad(probability.sum(), flat)
    return probability.detach().view(points.shape[:-1]), slope.view(points.shape)


def _placed(values: Tensor, weights: Tensor, placement: float) -> Tensor:
    """(pair, 2, 21, 3, n) less a share of what all joints of a hand have in common."""
    if placement == 0:
        return values
    weight = (weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-9))[..., None, None]
    return values - placement * (weight * values).sum(dim=2, keepdim=True)


def _step(
    problem: _Problem,
    pose: HandPose,
    view: _View,
    terms: _Terms,
    stiffness: float,
    damping: Tensor,
    settings: UntangleSettings,
) -> Tensor:
    """A Gauss-Newton step (pair, 2, 56)."""
    num = len(damping)
    twist, jacobian = twists(pose, view.skeleton)
    root = problem.weights.sqrt()[..., None]
    jacobian = _placed(jacobian, problem.weights, settings.placement)
    errors = _placed(view.errors[..., None], problem.weights, settings.placement)[..., 0]
    jacobian, errors = (jacobian * root[..., None]).flatten(2, 3), (errors * root).flatten(2)
    blocks = jacobian.mT @ jacobian
    gradient = (jacobian.mT @ errors[..., None])[..., 0]
    angles = pack(pose)
    pull_back = settings.angle_cost**2 * (angles - problem.reference)
    gradient = gradient + torch.nn.functional.pad(pull_back, (0, 6))
    curvature = torch.zeros(num, 2, 56, 2, 56, dtype=blocks.dtype, device=blocks.device)
    curvature[:, 0, :, 0], curvature[:, 1, :, 1] = blocks[:, 0], blocks[:, 1]
    curvature, gradient = curvature.view(num, 112, 112), gradient.flatten(1)

    count = int((view.residuals > 0).sum(dim=-1).amax())
    if count:
        deep, index = view.residuals.topk(min(_NUM_ROWS, count), dim=-1)

        def of_deep(values):
            return values.gather(2, index[..., None].expand(*index.shape, values.shape[-1]))

        points, pull, anchor, share = (
            of_deep(v) for v in (view.points, view.pull, view.anchor, view.anchor_share)
        )
        _, _, skin = _samples()
        skin = skin.to(points)
        sample = terms.near.repeat(1, 1, view.residuals.shape[2] // terms.near.shape[2]).gather(2, index)
        # The residual grows as the sample moves along `pull`, and shrinks as hand h does. A wrench on what
        # hand h has there, its mirror image on the other hand.
        wrench = torch.cat([torch.linalg.cross(points, pull), pull], dim=-1)
        followed = (share[..., None] * skin[anchor]).sum(dim=-2)
        of_own = -followed * (wrench @ twist)
        there, along = mirror(points), mirror(pull)
        wrench = torch.cat([torch.linalg.cross(there, along), along], dim=-1)
        of_other = skin[sample] * (wrench @ twist.flip(1))
        rows = torch.stack(
            [torch.stack([of_own[:, 0], of_other[:, 0]], 2), torch.stack([of_other[:, 1], of_own[:, 1]], 2)],
            1,
        )
        rows = rows.reshape(num, -1, 112) * (deep > 0).reshape(num, -1, 1)
        curvature = curvature + stiffness * (rows.mT @ rows)
        gradient = gradient + stiffness * (rows.mT @ deep.reshape(num, -1, 1))[..., 0]
    return damped_step(
        curvature, gradient, settings.angle_cost**2, damping, angles, problem.lower, problem.upper
    )


def _schedule(settings: UntangleSettings, way: Way) -> tuple[list[tuple[float, float]], int]:
    """Thickness and stiffness of every step, and before which step nothing is tested."""
    stages = _STAGES[way]
    if settings.method == "occupancy":  # a network knows one thickness
        stages = tuple(stage for stage in stages if stage[0] == 1)
    steps = [(thickness, stiffness) for thickness, stiffness, count in stages for _ in range(count)]
    num_stiff = max(settings.num_steps - len(steps), _TEST_EVERY) if way != "smoothing" else _SMOOTHING_STEPS
    return steps + [(1.0, _STIFF)] * num_stiff, len(steps)


@torch.no_grad()
def _separate(
    problem: _Problem, settings: UntangleSettings, occupancy: Occupancy | None, way: Way
) -> _Solved:
    """Brings pairs as near to their targets as their surfaces allow.

    growing    starts from thin fingers
    returning  starts where the surfaces are apart
    smoothing  starts near the target
    """
    num, device = len(problem.target), problem.target.device
    steps, settled = _schedule(settings, way)
    nothing = torch.zeros(num, dtype=torch.bool, device=device)
    result = _Solved(problem.pose, ~nothing, nothing, torch.zeros(num, dtype=torch.long, device=device))
    rows, pose, whole = torch.arange(num, device=device), problem.pose, problem
    margin = problem.target.new_full((num,), settings.margin)
    damping = torch.full_like(margin, _DAMPING[1])
    view: _View | None = None
    terms: _Terms | None = None
    for number, (thickness, stiffness) in enumerate(steps):
        if len(rows) == 0:
            break
        fresh = number == 0 or (thickness, stiffness) != steps[number - 1] or number % _LOOK_AGAIN == 0
        if fresh or view is None or terms is None:
            terms = _Terms(margin, *_near(_surfaces(pose, settings.surface, thickness)))
            view = _view(problem, pose, terms, thickness, stiffness, settings, occupancy)
        step = _step(problem, pose, view, terms, stiffness, damping, settings)
        trial = moved(pose, step, problem.lower, problem.upper)
        seen = _view(problem, trial, terms, thickness, stiffness, settings, occupancy)
        better = seen.merit < view.merit
        pose, view = _chosen(better, trial, pose), _chosen(better, seen, view)
        factor = torch.where(better, _GAMMA["accepted"], _GAMMA["refused"])
        damping = (damping * factor).clamp(_DAMPING[0], _DAMPING[2])
        last = number + 1 == len(steps)
        if number < settled or not ((number + 1 - settled) % _TEST_EVERY == 0 or last):
            continue
        pose = _refitted(pose)
        meets = exact_intersections(_surfaces(pose, settings.surface))
        iterations = torch.full_like(rows, number + 1)
        result = _put(result, rows, _Solved(pose, meets, torch.zeros_like(meets), iterations))
        failures = (number + 1 - settled) // _TEST_EVERY
        margin = margin + settings.margin * max(failures - 1, 0) / 2  # of those that stay
        rows, pose, problem, margin, damping = (
            _pick(o, meets) for o in (rows, pose, problem, margin, damping)
        )
        view = None
    if len(rows) == 0:
        return result
    result = _put(result, rows, _pushed(_pick(result, rows), problem, settings))
    if way != "growing":
        return result
    # The other way: pushed apart first, then back towards the target, so that no surface is passed.
    far = _pick(whole, rows)
    clear = _pushed(_pick(result, rows), problem, settings, far.pose)
    closer = _separate(replace(far, pose=clear.pose), settings, occupancy, "returning")
    closer = replace(closer, iterations=closer.iterations + len(steps), pushed=closer.pushed | clear.pushed)
    first = _pick(result, rows)
    costs = [_cost(far, way.pose) + torch.where(way.intersecting, torch.inf, 0.0) for way in (first, closer)]
    return _put(result, rows, _chosen(costs[1] < costs[0], closer, first))


def _cost(problem: _Problem, pose: HandPose) -> Float[Tensor, " pair"]:
    moves = forward_kinematics(pose).joints - problem.target
    return (problem.weights * moves.square().sum(dim=-1)).sum(dim=(1, 2))


def _pushed(
    found: _Solved, problem: _Problem, settings: UntangleSettings, pose: HandPose | None = None
) -> _Solved:
    """Pushed apart as rigid hands, from `pose` or else from where they are; what may stay, stays."""
    pose = pose or found.pose
    vertices = _surfaces(pose, settings.surface)
    weight = problem.weights.sum(dim=-1)
    share = (weight.flip(1) + _LEAST_WEIGHT) / (weight.sum(dim=1, keepdim=True) + 2 * _LEAST_WEIGHT)
    shift, apart = push_apart(vertices, share, settings.longest_push)
    if settings.tolerance > 0:
        apart &= shared_volume(vertices) > settings.tolerance
        shift = torch.where(apart[:, None, None], shift, 0.0)
    pose = replace(pose, root_translation=pose.root_translation + shift)
    return _Solved(pose, ~apart, apart, found.iterations)


# --- sequences -----------------------------------------------------------------------------------------


def _smooth(
    problem: _Problem,
    state: _Solved,
    sequence: Int[Tensor, " pair"],
    settings: UntangleSettings,
    occupancy: Occupancy | None,
) -> tuple[_Solved, Bool[Tensor, " pair"]]:
    """Spreads the corrections of a sequence over neighbouring frames: in turns they are averaged over a
    window, and brought back to where the surfaces are apart."""
    changed = state.intersecting | state.pushed | (state.iterations > 0)
    for _ in range(settings.smoothing_rounds):
        moves = forward_kinematics(state.pose).joints - problem.target
        moves = windowed_mean(
            torch.where(changed[:, None, None, None], moves, 0.0), sequence, settings.smoothness
        )
        rows = ((moves.norm(dim=-1).amax(dim=(1, 2)) > _STILL) | changed).nonzero()[:, 0]
        changed = changed.index_fill(0, rows, True)
        for part in rows.split(settings.chunk):
            asked = _pick(problem, part)
            asked = replace(asked, pose=_pick(state.pose, part), target=asked.target + moves[part])
            solved = _separate(asked, settings, occupancy, "smoothing")
            iterations = state.iterations[part] + solved.iterations
            state = _put(state, part, replace(solved, iterations=iterations))
    return state, changed


_STILL = 2e-5  # metres: a correction that nobody sees
_SMOOTHING_STEPS = 9


def windowed_mean(
    moves: Float[Tensor, "pair 2 21 3"], sequence: Int[Tensor, " pair"], half_width: int
) -> Float[Tensor, "pair 2 21 3"]:
    """Weighted mean (Hann window) over the frames before and after, within each sequence."""
    order = sequence.argsort(stable=True)
    sorted_moves, sorted_sequence = moves[order], sequence[order]
    place = torch.arange(len(order), device=moves.device)
    total, weight = torch.zeros_like(moves), moves.new_zeros(len(moves))
    window = torch.hann_window(2 * half_width + 3, periodic=False, dtype=moves.dtype)[1:-1]
    for offset, own in zip(range(-half_width, half_width + 1), window.tolist(), strict=True):
        other = (place + offset).clamp(0, len(order) - 1)
        counts = own * ((place + offset == other) & (sorted_sequence[other] == sorted_sequence)).to(moves)
        total, weight = total + counts[:, None, None, None] * sorted_moves[other], weight + counts
    return torch.zeros_like(moves).index_copy(0, order, total / weight[:, None, None, None])


# --- input ---------------------------------------------------------------------------------------------

_LEAST_WEIGHT = 1e-4  # of the largest of a pair: even a joint that nobody trusts does not fly away


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
    return weights.to(joints).clamp(min=_LEAST_WEIGHT)


def _nothing(joints: Tensor) -> Untangled:
    """For no pairs."""
    pose = inverse_kinematics(joints.double(), bone_lengths=bone_lengths_of(joints.double())).pose
    none = torch.zeros(0, dtype=torch.bool, device=joints.device)
    zero, error = none.double(), joints.new_zeros(0, 2)
    return Untangled(joints, pose, none, none, zero, zero, joints[..., 0], none.long(), none, error)

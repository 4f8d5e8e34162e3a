"""How `untangle` takes pairs apart: damped Gauss-Newton steps, then the exact test, then a push.

Units   metres, radians
Frames  as `untangle_steps`: each hand in a right-handed world of its own
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.distance import signed_distance
from hands_lib.hand.kinematics import Skeleton, forward_kinematics, mirror
from hands_lib.hand.pairs import left_mirrored
from hands_lib.hand.surface import surface_topology
from hands_lib.methods.intersections.loss import Occupancy
from hands_lib.methods.intersections.untangle_checks import exact_intersections, push_apart, shared_volume
from hands_lib.methods.intersections.untangle_problem import (
    LEAST_WEIGHT,
    Problem,
    Solved,
    UntangleSettings,
    refitted,
    surfaces_of,
)
from hands_lib.methods.intersections.untangle_steps import damped_step, moved, pack, skin_shares, twists
from hands_lib.structures import HandPose, Mesh, TensorFields, chosen, put

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
_SMOOTHING_STEPS = 9


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
    problem: Problem,
    pose: HandPose,
    terms: _Terms,
    thickness: float,
    stiffness: float,
    settings: UntangleSettings,
    occupancy: Occupancy | None,
) -> _View:
    skeleton = forward_kinematics(pose)
    vertices = surfaces_of(pose, settings.surface, thickness, skeleton)
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
    problem: Problem,
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
def separated(problem: Problem, settings: UntangleSettings, occupancy: Occupancy | None, way: Way) -> Solved:
    """Brings pairs as near to their targets as their surfaces allow.

    growing    starts from thin fingers
    returning  starts where the surfaces are apart
    smoothing  starts near the target
    """
    num, device = len(problem.target), problem.target.device
    steps, settled = _schedule(settings, way)
    nothing = torch.zeros(num, dtype=torch.bool, device=device)
    result = Solved(problem.pose, ~nothing, nothing, torch.zeros(num, dtype=torch.long, device=device))
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
            terms = _Terms(margin, *_near(surfaces_of(pose, settings.surface, thickness)))
            view = _view(problem, pose, terms, thickness, stiffness, settings, occupancy)
        step = _step(problem, pose, view, terms, stiffness, damping, settings)
        trial = moved(pose, step, problem.lower, problem.upper)
        seen = _view(problem, trial, terms, thickness, stiffness, settings, occupancy)
        better = seen.merit < view.merit
        pose, view = chosen(better, trial, pose), chosen(better, seen, view)
        factor = torch.where(better, _GAMMA["accepted"], _GAMMA["refused"])
        damping = (damping * factor).clamp(_DAMPING[0], _DAMPING[2])
        last = number + 1 == len(steps)
        if number < settled or not ((number + 1 - settled) % _TEST_EVERY == 0 or last):
            continue
        pose = refitted(pose)
        meets = exact_intersections(surfaces_of(pose, settings.surface))
        iterations = torch.full_like(rows, number + 1)
        result = put(result, rows, Solved(pose, meets, torch.zeros_like(meets), iterations))
        failures = (number + 1 - settled) // _TEST_EVERY
        margin = margin + settings.margin * max(failures - 1, 0) / 2  # of those that stay
        rows, pose, problem, margin, damping = (o[meets] for o in (rows, pose, problem, margin, damping))
        view = None
    if len(rows) == 0:
        return result
    result = put(result, rows, _pushed(result[rows], problem, settings))
    if way != "growing":
        return result
    # The other way: pushed apart first, then back towards the target, so that no surface is passed.
    far = whole[rows]
    clear = _pushed(result[rows], problem, settings, far.pose)
    closer = separated(replace(far, pose=clear.pose), settings, occupancy, "returning")
    closer = replace(closer, iterations=closer.iterations + len(steps), pushed=closer.pushed | clear.pushed)
    first = result[rows]
    costs = [_cost(far, way.pose) + torch.where(way.intersecting, torch.inf, 0.0) for way in (first, closer)]
    return put(result, rows, chosen(costs[1] < costs[0], closer, first))


def _cost(problem: Problem, pose: HandPose) -> Float[Tensor, " pair"]:
    moves = forward_kinematics(pose).joints - problem.target
    return (problem.weights * moves.square().sum(dim=-1)).sum(dim=(1, 2))


def _pushed(
    found: Solved, problem: Problem, settings: UntangleSettings, pose: HandPose | None = None
) -> Solved:
    """Pushed apart as rigid hands, from `pose` or else from where they are; what may stay, stays."""
    pose = pose or found.pose
    vertices = surfaces_of(pose, settings.surface)
    weight = problem.weights.sum(dim=-1)
    share = (weight.flip(1) + LEAST_WEIGHT) / (weight.sum(dim=1, keepdim=True) + 2 * LEAST_WEIGHT)
    shift, apart = push_apart(vertices, share, settings.longest_push)
    if settings.tolerance > 0:
        apart &= shared_volume(vertices) > settings.tolerance
        shift = torch.where(apart[:, None, None], shift, 0.0)
    pose = replace(pose, root_translation=pose.root_translation + shift)
    return Solved(pose, ~apart, apart, found.iterations)

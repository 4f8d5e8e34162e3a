"""How much two hands intersect, counted as the paper counts it, and in units that can be compared (Sec. III).

Chapter  book/intersections/tables.md
Source   Ivashechkin et al., "Two Hands Are Better Than One", Sec. III, III-B, Tables I to III, Fig. 5
Units    metres, cubic centimetres and millimetres where a name says so
Frame    world; pairs (pair, 2, 21, 3), the right hand first, the left one as it stands

ray_cast     points of a 50 x 50 x 50 grid, 125,000, over the box around both hands' surfaces that are inside
             both (the paper's "Ray-C."). Hands that are far apart have a coarse grid. That the box is the one
             around both hands is a reconstruction
overlap_cm3  the same volume on a grid of 48 x 48 x 48 cells over the intersection of the two hands' boxes, so
             that it depends on the overlap alone (an extension)
occupied     tested points with O > 0.5 (the paper's "Occ."). It does not say which points are tested; here
             the 21 joints of the left hand against the right one by default, as in Eq. 1 with alpha = 0
occupied_grid  points of the 125,000 where the networks of both hands say so (an extension)

Surfaces are functions of the skeletons alone: the thin surface on bones that run exactly through the given
joints and are turned about themselves as in the nearest pose that a hand can take ("joints"), or on that pose
itself ("fit", inverse kinematics as the paper words it). Where skeletons are those of hands, as the paper's
were to 0.4 mm on average, the two are the same; where a network predicts odd ones, "fit" measures a hand that
it did not predict. The distance of that pose is always reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from tqdm.auto import tqdm

from hands_lib.geometry.inside import bounding_box, count_inside_both, grid_occupancy
from hands_lib.hand.inverse_kinematics import inverse_kinematics
from hands_lib.hand.kinematics import forward_kinematics
from hands_lib.hand.pairs import left_mirrored
from hands_lib.hand.surface import mirror_mesh, surface_topology
from hands_lib.methods.intersections.points import (
    hand_points,
    reflect,
    skeleton_of_joints,
    surface_points,
)
from hands_lib.metrics.hand_pose import PROTOCOLS, pose_error_mm
from hands_lib.structures import Mesh, TensorFields

GRID = 50
"""Points along each side of the paper's grid."""
FINE_GRID = 48
"""Cells along each side of the grid over the boxes' intersection."""
THRESHOLD = 0.5
"""Of the probability, above which a point counts as inside ("> 50 %")."""
_CHUNK = 128  # pairs at a time: their two grids of 125,000 flags each are 32 MB
_POINTS_AT_ONCE = 1 << 16
_CM3 = 1e6  # in a cubic metre


@runtime_checkable
class Occupancy(Protocol):
    """What is asked of an occupancy network; `occupancy.OccupancyNetwork` is one."""

    def condition(self, joints: Tensor) -> Any: ...

    def logits(self, points: Tensor, condition: Any) -> Tensor: ...

    def logits_of(self, points: Tensor, owner: Tensor, condition: Any) -> Tensor: ...


@dataclass(frozen=True)
class PairIntersections(TensorFields):
    """What was counted, pair by pair; None where no network was asked."""

    ray_cast: Int[Tensor, " pair"]
    """Points of the paper's grid inside both hands."""
    ray_cast_cm3: Float[Tensor, " pair"]
    """These times the volume of the grid's cells."""
    overlap_cm3: Float[Tensor, " pair"]
    """The intersecting volume on the fine grid."""
    fit_mean_mm: Float[Tensor, " pair"]
    """Distance of the 42 joints from those of the nearest poses that hands can take: mean"""
    fit_max_mm: Float[Tensor, " pair"]
    """and maximum."""
    occupied: Int[Tensor, " pair"] | None = None
    """Tested points with O > 0.5."""
    occupied_grid: Int[Tensor, " pair"] | None = None
    """Points of the paper's grid with O > 0.5 for both hands."""

    @property
    def intersecting(self) -> Bool[Tensor, " pair"]:
        """Whether any volume was found, on either grid."""
        return (self.ray_cast > 0) | (self.overlap_cm3 > 0)

    def summary(self) -> dict[str, float]:
        """Sums over the pairs, as the paper's tables have them, and what does not grow with their number."""
        pairs = len(self.ray_cast)
        found = {
            "pairs": float(pairs),
            "ray_cast": float(self.ray_cast.sum()),
            "ray_cast_per_pair": float(self.ray_cast.sum()) / pairs,
            "ray_cast_cm3_per_pair": float(self.ray_cast_cm3.double().mean()),
            "overlap_cm3_per_pair": float(self.overlap_cm3.double().mean()),
            "intersecting_share": float(self.intersecting.double().mean()),
            "fit_mean_mm": float(self.fit_mean_mm.double().mean()),
            "fit_max_mm": float(self.fit_max_mm.max()),
        }
        for name, counts in (("occupied", self.occupied), ("occupied_grid", self.occupied_grid)):
            if counts is not None:
                found[name] = float(counts.sum())
                found[f"{name}_per_pair"] = float(counts.sum()) / pairs
                found[f"{name}_share"] = float((counts > 0).double().mean())
        return found


@torch.no_grad()
def count_intersections(
    joints: Float[Tensor, "pair 2 21 3"],
    network: Occupancy | None = None,
    point_set: str = "sparse",
    both: bool = False,
    volumetric: bool = False,
    surface: str = "joints",
    progress: bool = True,
) -> PairIntersections:
    """Everything that this module counts, in chunks of pairs; a progress bar where it takes over 5 seconds.

    network     asked which of the left hand's points are inside the right hand; None asks nothing
    point_set   its points, see `points`; both: also the right hand's inside the left one, all reflected
    volumetric  also asked about the points of the grid, which takes thousands of times as long
    surface     see this module's header

    Raises ValueError for no pairs, joints that are not finite or that inverse kinematics refuses, and a
    network in training mode.
    """
    if len(joints) == 0:
        raise ValueError("there are no pairs to count intersections of")
    if getattr(network, "training", False):
        raise ValueError("the occupancy network is in training mode, where pairs change each other: eval()")
    parts = []
    for start, chunk in _chunks(joints, progress):
        try:
            meshes, errors = fitted_surfaces(chunk, surface)
        except ValueError as error:
            raise ValueError(
                f"pairs from {start} on, hands 2 n (right) and 2 n + 1 (left): {error}"
            ) from None
        lower, upper = _union_box(*meshes)
        counts = count_inside_both(*meshes, resolution=GRID)
        cell = ((upper - lower) / (GRID - 1)).prod(dim=-1)
        occupied = grid = None
        if network is not None:
            occupied = occupied_points(chunk, network, point_set, both)
            grid = occupied_grid_points(chunk, network, (lower, upper)) if volumetric else None
        errors = 1000 * errors.flatten(1)
        parts.append(
            PairIntersections(
                counts,
                _CM3 * counts * cell,
                overlap_cm3(*meshes),
                errors.mean(dim=1),
                errors.amax(dim=1),
                occupied,
                grid,
            )  # fmt: skip
        )
    return PairIntersections.cat(parts)


def fitted_surfaces(
    joints: Float[Tensor, "pair 2 21 3"], surface: str = "joints"
) -> tuple[tuple[Mesh, Mesh], Float[Tensor, "pair 2 21"]]:
    """Thin plain surfaces of the right and the left hands; how far each joint is from the nearest pose's.

    Raises ValueError for another `surface`, and for joints that inverse kinematics refuses.
    """
    if surface not in ("joints", "fit"):
        raise ValueError(f'surfaces lie on the given "joints" or on the "fit", not on {surface!r}')
    hands = left_mirrored(joints)
    fit = inverse_kinematics(hands)
    skeleton = skeleton_of_joints(hands) if surface == "joints" else forward_kinematics(fit.pose)
    vertices, faces = surface_points(skeleton), surface_topology("plain").faces.to(joints.device)
    return (Mesh(vertices[:, 0], faces), mirror_mesh(Mesh(vertices[:, 1], faces))), fit.residuals


def overlap_cm3(right: Mesh, left: Mesh, resolution: int = FINE_GRID) -> Float[Tensor, " pair"]:
    """Volume inside both of two closed surfaces: cells, of a grid over the intersection of their boxes, whose
    middle is. It does not depend on how far the hands reach beyond it."""
    (lower, upper), (lower_left, upper_left) = bounding_box(right.vertices), bounding_box(left.vertices)
    lower, upper = torch.maximum(lower, lower_left), torch.minimum(upper, upper_left)
    meet = (lower < upper).all(dim=-1)
    volume = torch.zeros(len(lower), dtype=lower.dtype, device=lower.device)
    lower, upper = lower[meet], upper[meet]
    half = (upper - lower) / (2 * resolution)
    inner = [
        grid_occupancy(Mesh(mesh.vertices[meet], mesh.faces), resolution, (lower + half, upper - half))
        for mesh in (right, left)
    ]
    volume[meet] = _CM3 * (inner[0] & inner[1]).sum(dim=(1, 2, 3)) * (2 * half).prod(dim=-1)
    return volume


@torch.no_grad()
def occupied_points(
    joints: Float[Tensor, "pair 2 21 3"],
    network: Occupancy,
    point_set: str = "sparse",
    both: bool = False,
) -> Int[Tensor, " pair"]:
    """How many points of the left hand the network of the right hand takes for inside (O > 0.5); with `both`,
    and those of the right hand for the left one's network, all reflected. Raises as `hand_points`."""
    joints = _as_network(joints, network)
    right, left = joints[:, 0], reflect(joints[:, 1])
    counts = _inner(network, right, reflect(hand_points(left, point_set)))
    return counts + _inner(network, left, reflect(hand_points(right, point_set))) if both else counts


def _inner(network: Occupancy, hands: Tensor, points: Tensor) -> Int[Tensor, " pair"]:
    return (network.logits(points, network.condition(hands)).sigmoid() > THRESHOLD).sum(dim=-1)


@torch.no_grad()
def occupied_grid_points(
    joints: Float[Tensor, "pair 2 21 3"],
    network: Occupancy,
    bounds: tuple[Float[Tensor, "pair 3"], Float[Tensor, "pair 3"]],
    resolution: int = GRID,
    reach: float | None = 0.03,
) -> Int[Tensor, " pair"]:
    """How many points of the grid between `bounds` have O > 0.5 for both hands.

    reach  only points are asked about that are within both hands' boxes of joints, made larger by this,
           metres: no part of a hand is farther away. None asks about all
    """
    joints = _as_network(joints, network)
    lower, upper = (bound.to(joints) for bound in bounds)
    steps = torch.linspace(0, 1, resolution, dtype=joints.dtype, device=joints.device)
    axes = lower[..., None] + (upper - lower)[..., None] * steps
    near = torch.ones_like(axes, dtype=torch.bool)
    if reach is not None:
        low, high = bounding_box(joints)
        low, high = low.amax(dim=1) - reach, high.amin(dim=1) + reach
        near = (axes >= low[..., None]) & (axes <= high[..., None])
    x, y, z = near.unbind(dim=1)
    pair, *places = (x[:, :, None, None] & y[:, None, :, None] & z[:, None, None, :]).nonzero().unbind(dim=1)
    conditions = network.condition(joints[:, 0]), network.condition(reflect(joints[:, 1]))
    counts = torch.zeros(len(joints), dtype=torch.long, device=joints.device)
    for part in torch.arange(len(pair), device=pair.device).split(_POINTS_AT_ONCE):
        owner = pair[part]
        points = torch.stack([axes[owner, k, places[k][part]] for k in range(3)], dim=-1)
        for reflected, condition in zip((False, True), conditions, strict=True):
            asked = reflect(points) if reflected else points
            kept = network.logits_of(asked, owner, condition).sigmoid() > THRESHOLD
            owner, points = owner[kept], points[kept]
        counts.index_add_(0, owner, torch.ones_like(owner))
    return counts


def errors_mm(
    predicted: Float[Tensor, "pair 2 21 3"],
    truth: Float[Tensor, "pair 2 21 3"],
    protocols: tuple[str, ...] = ("absolute", "wrist"),
) -> dict[str, float]:
    """MPJPE of pairs by the named protocols of `metrics.hand_pose`, millimetres.

    Raises ValueError for an unknown protocol.
    """
    unknown = [name for name in protocols if name not in PROTOCOLS]
    if unknown:
        raise ValueError(f"unknown protocols {', '.join(unknown)}; known are {', '.join(PROTOCOLS)}")
    return {name: float(pose_error_mm(predicted, truth, PROTOCOLS[name])) for name in protocols}


def decrease_percent(before: float | int, after: float | int) -> float:
    """By how much fewer, in percent, as Tables I to III have it. Raises ValueError where there were none."""
    if not before > 0:
        raise ValueError(f"a decrease from {before} has no percentage")
    return 100 * (before - after) / before


# --- correlation of two counts (Fig. 5) ---------------------------------------------------------------


@dataclass(frozen=True)
class Correlation:
    """A coefficient and its bootstrap interval; NaN where one of the counts is the same for all pairs."""

    value: float
    low: float
    high: float


def correlations(
    first: Shaped[Tensor, " pair"],
    second: Shaped[Tensor, " other_pair"],
    resamples: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Correlation]:
    """Pearson's and Spearman's correlation of two counts over the pairs, with percentile bootstrap intervals.

    Pairs are resampled with replacement; equal counts share their mean rank, anew in every resample. Raises
    ValueError for fewer than three pairs or different numbers of them.
    """
    if len(first) != len(second) or len(first) < 3:
        raise ValueError(f"a correlation needs three pairs of counts, not {len(first)} and {len(second)}")
    values = [counts.detach().double().cpu() for counts in (first, second)]
    levels = [counts.unique(return_inverse=True) for counts in values]
    generator, num = torch.Generator().manual_seed(seed), len(first)
    found: dict[str, list[float]] = {"pearson": [], "spearman": []}
    for resample in range(resamples + 1):
        weight = torch.ones(num, dtype=torch.float64)
        if resample:
            drawn = torch.randint(num, (num,), generator=generator)
            weight = torch.bincount(drawn, minlength=num).double()
        ranks = [_ranks(weight, inverse, len(distinct))[inverse] for distinct, inverse in levels]
        found["pearson"].append(_correlation(*values, weight))
        found["spearman"].append(_correlation(*ranks, weight))
    tail = (1 - level) / 2
    result = {}
    for name, (value, *resampled) in found.items():
        spread = torch.tensor(resampled, dtype=torch.float64)
        low, high = (float(spread.nanquantile(share)) if resampled else value for share in (tail, 1 - tail))
        result[name] = Correlation(value, low, high)
    return result


def _ranks(weight: Tensor, inverse: Tensor, num: int) -> Float[Tensor, " distinct"]:
    """Mean rank of each distinct value in a sample in which the pairs come `weight` times."""
    times = torch.zeros(num, dtype=torch.float64).index_add_(0, inverse, weight)
    return times.cumsum(0) - (times - 1) / 2


def _correlation(x: Tensor, y: Tensor, weight: Tensor) -> float:
    x, y = (values - (weight * values).sum() / weight.sum() for values in (x, y))
    scale = ((weight * x * x).sum() * (weight * y * y).sum()).sqrt()
    return float((weight * x * y).sum() / scale) if scale > 0 else torch.nan


# --- chunks --------------------------------------------------------------------------------------------


def _chunks(joints: Tensor, progress: bool) -> Iterator[tuple[int, Tensor]]:
    bar = tqdm(total=len(joints), desc="intersections", unit="pair", delay=5, disable=not progress)
    with bar:
        for start in range(0, len(joints), _CHUNK):
            chunk = joints[start : start + _CHUNK]
            yield start, chunk
            bar.update(len(chunk))


def _union_box(right: Mesh, left: Mesh) -> tuple[Tensor, Tensor]:
    return bounding_box(torch.cat([right.vertices, left.vertices], dim=-2))


def _as_network(joints: Tensor, network: Occupancy) -> Tensor:
    """In the precision and on the device of the network's parameters, if it has any."""
    weights = network.parameters() if isinstance(network, nn.Module) else iter(())
    return joints.to(next(weights, joints))

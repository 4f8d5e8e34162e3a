"""The intersection loss: how much of one hand's points lies inside the other hand (Eq. 1).

Chapter  book/intersections/loss.md
Source   Ivashechkin et al., "Two Hands Are Better Than One", Sec. II-C, III-E
Units    metres; the loss is a sum of squared probabilities, without unit
Frame    world; pairs are (2, 21, 3), the right hand first, the left one as it stands in the world

The occupancy network knows right hands. `query_points` therefore brings every test into the form "points
near a right hand": the left hand's points near the right hand and, where alpha is 1, the reflected points of
the right hand near the reflected left one. From there on both directions are one ragged batch.

Three things make it fast:

1. Boxes (the paper's suggestion, Sec. III-E). A query hand whose bounding box misses the other's, padded by
   `PADDING`, is left out, and so is every point outside that padded box.
2. Reach. Of the points left, those are tested that lie within `REACH` palm lengths of the other hand's bones
   or `WRIST_REACH` of its wrist: farther than that lies no part of a hand's surface.
3. Screening. All of these points get their probability without gradient, in bfloat16 where that is fast.
   Those above `NEGLIGIBLE` get it once more, in full and with gradient. A point's share of the gradient is
   2 p^2 (1 - p) times that of its logit: what is left out is below 8e-4 of the latter, and together a few
   thousandths of the gradient's length on estimated pairs.

1 and 2 are `prefilter`, 3 is `screening`. Without both, every point of every pair goes through the network.
What the prefilter drops lies at least 3 mm outside the other hand's exact surface, mostly centimetres: what
it changes are a network's false alarms out there. The chapter measures them for the trained network.
"""

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hands_lib.hand.kinematics import Skeleton
from hands_lib.methods.intersections.points import (
    POINT_SETS,
    dense_points,
    hand_points,
    reflect,
)
from hands_lib.nn.precision import fast_in_bfloat16
from hands_lib.structures import TensorFields

KERNELS = ("squared", "truncated")
PRECISIONS = ("float32", "bfloat16")

PADDING = 0.03
"""Metres around the joints' bounding box: more than a hand's flesh reaches beyond its joints."""
REACH = 0.41
"""Of the mean distance from wrist to base joints (30 mm on the rest hand), around the 121 dense points."""
WRIST_REACH = 0.61
"""The same around the wrist (45 mm), where the hand is broader than its bones."""
NEGLIGIBLE = 0.02
"""Probability below which a point's gradient is left out."""
_SURELY_TRUNCATED = 0.4  # by whatever rounding, no probability above one half is screened below this
_SURFACE_BEYOND_JOINTS = 0.035  # metres: vertices of a surface may lie that far outside their joints' box
_BASE_JOINTS = [1, 5, 9, 13, 17]


@runtime_checkable
class Occupancy(Protocol):
    """What the loss and `untangle` ask of a network; `OccupancyNetwork` has it, and so may any function in
    its place."""

    def condition(self, joints: Float[Tensor, "hand 21 3"]):
        """What the network knows of right hands."""

    def logits_of(
        self, points: Float[Tensor, "point 3"], owner: Int[Tensor, " point"], condition
    ) -> Float[Tensor, " point"]:
        """Of points that each belong to the hand `owner`."""


@dataclass(frozen=True)
class QueryPoints(TensorFields):
    """Points and the right hands they are tested against."""

    points: Float[Tensor, "point 3"]
    """Metres; reflected where the hand is."""
    owner: Int[Tensor, " point"]
    """The row of `joints` that a point is tested against."""
    joints: Float[Tensor, "hand 21 3"]
    """The conditioning hands: right ones, or reflected left ones."""
    pair: Int[Tensor, " hand"]
    """The pair that a conditioning hand belongs to."""
    direction: Int[Tensor, " hand"]
    """0: the left hand's points against the right hand (first term of Eq. 1). 1: the reflected other term."""
    number: Int[Tensor, " point"]
    """Which point of the query hand's point set it is."""

    def chosen(self, keep: Tensor) -> "QueryPoints":
        """Those points alone, and of the hands only what they need."""
        owner = self.owner[keep]
        used = torch.zeros_like(self.pair, dtype=torch.bool)
        used[owner] = True
        owner = (used.cumsum(dim=0) - 1)[owner]
        hands = (field[used] for field in (self.joints, self.pair, self.direction))
        return QueryPoints(self.points[keep], owner, *hands, self.number[keep])


Network = TypeVar("Network", bound=nn.Module)


def frozen(network: Network) -> Network:
    """The same network in evaluation mode and without gradients for its parameters, as the loss needs it."""
    return network.eval().requires_grad_(False)


def intersection_loss(
    occupancy: Occupancy,
    pairs: Float[Tensor, "pair 2 21 3"],
    point_set: str = "sparse",
    alpha: int = 0,
    kernel: str = "squared",
    skeletons: Skeleton | None = None,
    prefilter: bool = True,
    screening: bool = True,
    precision: str = "float32",
) -> Float[Tensor, " pair"]:
    """Eq. 1: for each pair the SUM over its points of the squared probability to be inside the other hand.

    The paper does not say how pairs are reduced; this book takes their mean, `intersection_loss(...).mean()`.

    occupancy   frozen and in evaluation mode (`frozen`)
    pairs       world, metres; gradients reach both hands, as query and as condition
    point_set   which points of the query hand: see `points`
    alpha       1 also tests the right hand's points against the left hand, by reflection
    kernel      "truncated" counts only probabilities above one half, which the paper found to be worse
    skeletons   batch (pair, 2) of RIGHT hands (the left one reflected), for surfaces; None: from the joints
    prefilter   leaves out points far from the other hand
    screening   leaves out the gradient of points with a negligible probability
    precision   "bfloat16" (extension) for the network's matrix products, where the processor is fast in it:
                gradients then agree to a few percent. Screening uses it in any case, coordinates never

    Raises ValueError for coordinates that are not finite, an alpha that is neither 0 nor 1, an unknown point
    set or kernel, a wrong shape, and a network that is in training mode or has parameters to train.
    """
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}; known are {', '.join(KERNELS)}")
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known are {', '.join(PRECISIONS)}")
    tested = query_points(pairs, point_set, alpha, skeletons, prefilter)
    loss = pairs.new_zeros(len(pairs))
    if screening:
        with torch.no_grad():
            half = fast_in_bfloat16(pairs.device.type)  # it decides only what is negligible
            coarse = probabilities(occupancy, tested, "bfloat16" if half else "float32")
        above = coarse > (NEGLIGIBLE if kernel == "squared" else _SURELY_TRUNCATED)
        if kernel == "squared":
            loss = loss.index_add(0, tested.pair[tested.owner[~above]], coarse[~above].square())
        tested = tested.chosen(above)
    probability = probabilities(occupancy, tested, precision)
    terms = probability.square()
    if kernel == "truncated":
        terms = torch.where(probability > 0.5, terms, 0.0)
    return loss.index_add(0, tested.pair[tested.owner], terms)


def loss_and_gradient(
    occupancy: Occupancy, pairs: Float[Tensor, "pair 2 21 3"], *variant: Any, **switches: Any
) -> tuple[Float[Tensor, " pair"], Float[Tensor, "pair 2 21 3"]]:
    """Eq. 1 of every pair, and its gradient at all joints, in which pairs do not mix; variant and switches as
    in `intersection_loss`. Minus the gradient is the way in which the loss pushes, 1/m."""
    joints = pairs.detach().clone().requires_grad_()
    loss = intersection_loss(occupancy, joints, *variant, **switches)
    (gradient,) = torch.autograd.grad(loss.sum(), joints)
    return loss.detach(), gradient


def probabilities(
    occupancy: Occupancy, tested: QueryPoints, precision: str = "float32"
) -> Float[Tensor, " point"]:
    """O(x, F(X)) of every tested point, differentiable in points and conditioning joints.

    Raises ValueError for a network that is in training mode or has parameters to train.
    """
    _check_frozen(occupancy)
    if len(tested.points) == 0:
        return tested.points.sum(dim=1)  # empty, but with a way back to the joints
    half = precision == "bfloat16"
    with torch.autocast(tested.points.device.type, torch.bfloat16, enabled=half):
        condition = occupancy.condition(tested.joints)
        logits = occupancy.logits_of(tested.points, tested.owner, condition)
    return logits.to(tested.points.dtype).sigmoid()


def query_points(
    pairs: Float[Tensor, "pair 2 21 3"],
    point_set: str = "sparse",
    alpha: int = 0,
    skeletons: Skeleton | None = None,
    prefilter: bool = True,
) -> QueryPoints:
    """The points of Eq. 1, ready for the network; arguments and errors as for `intersection_loss`."""
    _check(pairs, point_set, alpha, skeletons)
    right, left = pairs.unbind(dim=1)
    pair = torch.arange(len(pairs), device=pairs.device)
    # A direction: the conditioning hand and the query hand, both in the frame where the former is right.
    condition, query = right, left
    direction = torch.zeros_like(pair)
    if alpha:
        condition = torch.cat([condition, reflect(left)])
        query = torch.cat([query, reflect(right)])
        direction = torch.cat([direction, torch.ones_like(pair)])
        pair = pair.repeat(2)
    if prefilter:
        beyond = _SURFACE_BEYOND_JOINTS if point_set.startswith("mesh") else 0.0
        near = _boxes_meet(condition.detach(), query.detach(), PADDING + beyond).nonzero()[:, 0]
        condition, query, direction, pair = (t[near] for t in (condition, query, direction, pair))
    if skeletons is not None:
        skeletons = skeletons[pair, 1 - direction]
    # Query hands are left hands in this frame; point sets are made on right ones.
    points = reflect(hand_points(reflect(query), point_set, skeletons))
    keep = torch.ones(points.shape[:2], dtype=torch.bool, device=points.device)
    if prefilter:
        keep = _within_reach(points.detach(), condition.detach())
    owner, number = keep.nonzero(as_tuple=True)
    everything = QueryPoints(points[owner, number], owner, condition, pair, direction, number)
    return everything.chosen(torch.ones_like(owner, dtype=torch.bool)) if prefilter else everything


def _boxes_meet(first: Tensor, second: Tensor, padding: float) -> Tensor:
    """Whether the bounding boxes of two point sets are at most `padding` apart along every axis."""
    (low, high), (other_low, other_high) = (points.aminmax(dim=1) for points in (first, second))
    return ((low - padding <= other_high) & (other_low <= high + padding)).all(dim=1)


def _within_reach(
    points: Float[Tensor, "hand point 3"], joints: Float[Tensor, "hand 21 3"]
) -> Bool[Tensor, "hand point"]:
    low, high = joints.aminmax(dim=1)
    inside = ((points >= (low - PADDING)[:, None]) & (points <= (high + PADDING)[:, None])).all(dim=-1)
    palm = (joints[:, _BASE_JOINTS] - joints[:, :1]).norm(dim=-1).mean(dim=1)[:, None]
    to_bones = torch.cdist(points, dense_points(joints)).amin(dim=2)
    to_wrist = (points - joints[:, :1]).norm(dim=-1)
    return inside & ((to_bones <= REACH * palm) | (to_wrist <= WRIST_REACH * palm))


def _check(pairs: Tensor, point_set: str, alpha: int, skeletons: Skeleton | None) -> None:
    if point_set not in POINT_SETS:
        raise ValueError(f"unknown point set {point_set!r}; known are {', '.join(POINT_SETS)}")
    if alpha not in (0, 1):
        raise ValueError(f"alpha is 0 (one hand) or 1 (both hands), not {alpha!r}")
    if pairs.ndim != 4 or pairs.shape[1:] != (2, 21, 3):
        raise ValueError(f"pairs must have shape (pair, 2, 21, 3), but have {tuple(pairs.shape)}")
    finite = pairs.detach().isfinite().flatten(1).all(dim=1)
    if not bool(finite.all()):
        where = (~finite).nonzero()[:, 0].tolist()
        raise ValueError(
            f"joints of {len(where)} pairs are not finite, the first is pair {where[0]}: leave such pairs out"
        )
    if skeletons is not None:
        if skeletons.joints.shape != pairs.shape:
            raise ValueError(
                f"skeletons must have batch (pair, 2), but joints of {tuple(skeletons.joints.shape)}"
            )
        own = torch.stack([skeletons.joints[:, 0], reflect(skeletons.joints[:, 1])], dim=1)
        if not torch.allclose(own.detach(), pairs.detach(), atol=1e-4):
            raise ValueError("skeletons and pairs differ; skeletons are right hands, the left one reflected")


def _check_frozen(occupancy: Occupancy) -> None:
    if not isinstance(occupancy, nn.Module):
        return
    if occupancy.training:
        raise ValueError(
            "the occupancy network is in training mode, where points change each other: use frozen(network)"
        )
    if any(parameter.requires_grad for parameter in occupancy.parameters()):
        raise ValueError(
            "the occupancy network has parameters that the loss would train: use frozen(network)"
        )

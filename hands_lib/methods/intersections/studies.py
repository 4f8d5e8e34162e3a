"""What is compared, and the rows that come of it: Tables I to III, the weight of the loss, Fig. 8.

Chapters book/intersections/tables.md, studies.md
Source   Ivashechkin et al., "Two Hands Are Better Than One", Sec. III-B to III-D
Units    those of `estimator_comparison.measured`; decreases in percent

A row is column -> number, a table row -> columns, as they are recorded. Networks come by their loss, as
`train_from_one_baseline` returns them.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from torch import nn
from tqdm.auto import tqdm

from hands_lib.methods.intersections.estimator_comparison import (
    COUNTS,
    NO_LOSS,
    OCCUPANCY_COUNT,
    RAY_CAST_COUNT,
    best_loss,
    decreases,
    measured,
    trend,
)
from hands_lib.methods.intersections.estimator_training import IntersectionSettings, PairBatch, predict
from hands_lib.methods.intersections.estimators import PairEstimate
from hands_lib.methods.intersections.evaluation import decrease_percent, occupied_points
from hands_lib.methods.intersections.loss import Occupancy

Row = dict[str, float]
Trained = Mapping[IntersectionSettings, nn.Module]
Form = tuple[str, str]
"""Of the loss: whose points are tested, and which."""

POINT_SETS = ("sparse", "dense", "mesh")
HANDS = ("single", "both")
"""Whose points are tested: alpha is 0 or 1."""
CURVE = "no loss"
"""The row at which every curve over the weight begins."""


# --- Table I, and the weight of the loss -----------------------------------------------------------------


def with_and_without(
    name: str,
    trained: Trained,
    best: IntersectionSettings,
    test: PairBatch,
    occupancy: Occupancy,
    inputs_too: bool = True,
) -> dict[str, Row]:
    """Table I of one estimator: without the loss, with it, the decrease, and Fig. 5's trend without it.

    inputs_too  also what goes into the network, where that is an estimate of the joints itself
    """
    plain_estimate = predict(trained[NO_LOSS], test.inputs)
    ours, _ = measured(predict(trained[best], test.inputs), test, occupancy)
    plain, counts = measured(plain_estimate, test, occupancy)
    inside = occupied_points(plain_estimate.joints, occupancy, "dense", both=True)
    assert counts is not None  # rays were cast
    rows = {
        name: plain | trend(inside, counts.ray_cast),
        f"{name}+Ours": ours | {"weight": best.weight},
        f"{name}, decrease": decreases(plain, ours, COUNTS),
    }
    if inputs_too:
        rows[f"{name}, estimates"], _ = measured(PairEstimate(test.inputs), test, occupancy)
    return rows


def decreases_by_weight(
    losses: Mapping[str, IntersectionSettings],
    trained: Trained,
    plain: Mapping[str, float],
    test: PairBatch,
    occupancy: Occupancy,
) -> dict[str, Row]:
    """Sec. III-C: of every loss by its name, by how much less than `plain`, the scores without it: percent.
    A column in which there was nothing is left out."""
    names = {"mpjpe": "mpjpe_decrease", RAY_CAST_COUNT: "intersections_decrease"}
    rows = {}
    for row, loss in losses.items():
        less = decreases(plain, scores(trained[loss], test, occupancy), names)
        rows[row] = {names[metric]: value for metric, value in less.items()}
    return rows


# --- Tables II and III ------------------------------------------------------------------------------------


def forms_of_the_loss(weights: Iterable[float]) -> dict[Form, list[IntersectionSettings]]:
    """All six forms of Eq. 1, (hands, points), each with every weight."""
    weights = list(weights)
    return {
        (hands, points): [IntersectionSettings(weight, points, alpha) for weight in weights]
        for alpha, hands in enumerate(HANDS)
        for points in POINT_SETS
    }


def scores(network: nn.Module, given: PairBatch, occupancy: Occupancy) -> Row:
    """What a network is worth on these pairs: `measured`, without the counts pair by pair."""
    return measured(predict(network, given.inputs), given, occupancy)[0]


def scores_by_loss(
    trained: Trained,
    losses: Iterable[IntersectionSettings],
    given: PairBatch,
    occupancy: Occupancy,
    label: str = "pairs",
) -> dict[IntersectionSettings, Row]:
    """Of each network, and always of that without a loss."""
    wanted = list(dict.fromkeys([NO_LOSS, *losses]))
    return {loss: scores(trained[loss], given, occupancy) for loss in tqdm(wanted, desc=label, leave=False)}


def best_of_every_form(
    forms: Mapping[Form, Sequence[IntersectionSettings]],
    trained: Trained,
    val: PairBatch,
    occupancy: Occupancy,
    tolerance: float = 1.0,
) -> dict[Form, IntersectionSettings]:
    """The weight of each form, chosen as `best_loss` does."""
    return {
        form: best_loss(losses, dict(trained), val, occupancy, tolerance) for form, losses in forms.items()
    }


def curve_over_the_weight(
    forms: Mapping[Form, Sequence[IntersectionSettings]], by_loss: Mapping[IntersectionSettings, Row]
) -> dict[str, Row]:
    """The scores of every form with every weight, by their names."""
    rows = {CURVE: by_loss[NO_LOSS]}
    for (hands, points), losses in forms.items():
        rows |= {f"{points}, {hands}, weight {loss.weight:g}": by_loss[loss] for loss in losses}
    return rows


def decreases_by_points(
    by_loss: Mapping[IntersectionSettings, Row],
    best: Mapping[Form, IntersectionSettings],
    hands: str,
    count: str = OCCUPANCY_COUNT,
) -> Row:
    """A row of Tables II and III: points -> decrease in percent; empty where there was nothing before."""
    before = by_loss[NO_LOSS][count]
    if not before:
        return {}
    return {points: decrease_percent(before, by_loss[best[hands, points]][count]) for points in POINT_SETS}


def by_distribution(
    by_loss: Mapping[str, Mapping[IntersectionSettings, Row]], best: Mapping[Form, IntersectionSettings]
) -> dict[str, Row]:
    """Table III: the decreases by ray casting on each distribution, and their mean over the distributions
    (of the points that have one on each).

    by_loss  distribution -> loss -> scores
    """
    rows = {}
    for hands in HANDS:
        found = {name: decreases_by_points(own, best, hands, RAY_CAST_COUNT) for name, own in by_loss.items()}
        rows |= {f"{name}, {hands}": row for name, row in found.items()}
        shared = [points for points in POINT_SETS if all(points in row for row in found.values())]
        rows[f"average, {hands}"] = {
            points: float(np.mean([row[points] for row in found.values()])) for points in shared
        }
    return rows


def behind_the_decreases(
    by_loss: Mapping[str, Mapping[IntersectionSettings, Row]], best: Mapping[Form, IntersectionSettings]
) -> Row:
    """What a percentage does not say: the numbers without a loss on each distribution, and the weight that
    every form got."""
    columns = (*COUNTS, "mpjpe", "pairs_intersecting")
    absolute = {
        f"{name}_{column}": own[NO_LOSS][column]
        for (name, own), column in itertools.product(by_loss.items(), columns)
    }
    return absolute | {"_".join(("weight", *form)): loss.weight for form, loss in best.items()}

"""With and without the intersection loss: what is trained, chosen and measured so that both can be compared.

Chapters book/intersections/tables.md, studies.md
Source   Ivashechkin et al., "Two Hands Are Better Than One", Sec. III-B, III-D
Units    metres in, millimetres for errors
Frame    that of the estimator; pairs are compared `centred` (`estimators`)

One baseline is trained on poses alone. From its weights the same number of further steps on the same batches
is made without the loss and with each loss ("All models were given the same number of epochs"). Within a
training the paper keeps the weights with the least validation error; among models it selects those "around
the same error as the baseline, but the least number of intersections".
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from hands_lib.methods.intersections.estimator_training import (
    EstimatorSettings,
    IntersectionSettings,
    PairBatch,
    pair_mpjpe_mm,
    predict,
    train_stage,
)
from hands_lib.methods.intersections.estimators import PairEstimate, mirrored_pair
from hands_lib.methods.intersections.evaluation import (
    PairIntersections,
    correlations,
    count_intersections,
    decrease_percent,
    errors_mm,
    occupied_points,
)
from hands_lib.methods.intersections.loss import Occupancy

NO_LOSS = IntersectionSettings()
RAY_CAST_COUNT, OCCUPANCY_COUNT = "intersections_ray_cast", "intersections_occupancy"
COUNTS = (RAY_CAST_COUNT, OCCUPANCY_COUNT)
"""The paper's two ways to count intersections, by their names in the tables."""
_OTHER_BATCHES = 10_000  # added to the seed of the further steps: not the batches of the baseline once more
TREND = ((0, 0), (1, 5), (6, 15), (16, 30), (31, 60), (61, 242))
"""Of the 242 dense points of both hands."""


@dataclass(frozen=True)
class EstimatorTask:
    """What an estimator learns from, and what it is judged on."""

    network: Callable[[], nn.Module]
    """A new one, on the device of the data."""
    make_batch: Callable[[torch.Generator], PairBatch]
    val: PairBatch
    test: PairBatch
    baseline: EstimatorSettings
    further: EstimatorSettings
    """The loss in it is replaced by each of those that are compared."""


def half_mirrored(
    given: PairBatch,
    mirror_inputs: Callable[[Tensor], Tensor],
    generator: torch.Generator,
) -> PairBatch:
    """Half of the pairs, drawn by the generator, as a mirror shows them: augmentation that is exact.

    mirror_inputs  how the estimator's inputs look in the mirror
    """
    chosen = torch.rand(len(given.joints), generator=generator) < 0.5
    chosen = chosen.to(given.joints.device)[:, None, None, None]
    return PairBatch(
        torch.where(chosen, mirror_inputs(given.inputs), given.inputs),
        torch.where(chosen, mirrored_pair(given.joints), given.joints),
    )


def mirrored_keypoints(keypoints: Float[Tensor, "pair 2 21 2"]) -> Float[Tensor, "pair 2 21 2"]:
    """Of the pair that a mirror shows: x -> -x (where in the picture does not matter), hands exchanged."""
    return (keypoints * keypoints.new_tensor([-1.0, 1.0])).flip(1)


def train_from_one_baseline(
    task: EstimatorTask,
    losses: Iterable[IntersectionSettings],
    seed: int,
    stages: dict[str, Any],
    save: Callable[[dict[str, Any]], None],
    occupancy: Occupancy,
    selection: str = "validation",
    label: str = "losses",
) -> dict[IntersectionSettings, nn.Module]:
    """Trained networks by their loss; see this module's header.

    stages, save  as for `train_stage`: a job that was stopped goes on from there
    """

    def validate(network: nn.Module) -> float:
        return float(pair_mpjpe_mm(predict(network, task.val.inputs).joints, task.val.joints).mean())

    def stage(name: str, network: nn.Module, settings: EstimatorSettings, seed: int) -> nn.Module:
        return train_stage(
            name, network, task.make_batch, settings, seed, stages, save, occupancy, validate, selection
        )

    torch.manual_seed(seed)  # of the first weights; batches have their own seeds
    stage("baseline", task.network(), task.baseline, seed)
    found = {}
    for loss in tqdm(list(dict.fromkeys(losses)), desc=label, leave=False):
        network = task.network()
        network.load_state_dict(stages["baseline"])
        settings = replace(task.further, intersections=loss)
        found[loss] = stage(str(loss), network, settings, seed + _OTHER_BATCHES)
    return found


@torch.no_grad()
def best_loss(
    candidates: Iterable[IntersectionSettings],
    trained: dict[IntersectionSettings, nn.Module],
    val: PairBatch,
    occupancy: Occupancy,
    tolerance: float = 1.0,
) -> IntersectionSettings:
    """Of the losses, the one with the fewest intersections whose error is around that of no loss.

    Both on the validation set. Intersections: dense points of both hands with O > 0.5. "Around" is at most
    `tolerance` percent more (the paper says no number); where none is, the one with the least error counts.
    """
    candidates = list(dict.fromkeys(candidates))
    errors, inside = {}, {}
    for loss in (NO_LOSS, *candidates):
        joints = predict(trained[loss], val.inputs).joints
        errors[loss] = float(pair_mpjpe_mm(joints, val.joints).mean())
        inside[loss] = int(occupied_points(joints, occupancy, "dense", both=True).sum())
    limit = (1 + tolerance / 100) * errors[NO_LOSS]
    allowed = [loss for loss in candidates if errors[loss] <= limit]
    if not allowed:
        return min(candidates, key=lambda loss: errors[loss])
    return min(allowed, key=lambda loss: (inside[loss], errors[loss]))


def measured(
    estimate: PairEstimate, given: PairBatch, occupancy: Occupancy, ray_casting: bool = True
) -> tuple[dict[str, float], PairIntersections | None]:
    """Name -> number, and the counts pair by pair. Errors in mm, volumes in cm^3, shares in percent.

    Sums over the pairs are what the paper prints; `per_pair` and `pairs_intersecting` do not grow with their
    number. Without `ray_casting`, which takes most of the time, only the network counts.
    """
    joints = estimate.joints
    found = {
        "mpjpe": float(pair_mpjpe_mm(joints, given.joints).mean()),
        "mpjpe_wrist": errors_mm(joints, given.joints, ("wrist",))["wrist"],
        "pairs": float(len(joints)),
    }
    if not ray_casting:
        return found | {OCCUPANCY_COUNT: float(occupied_points(joints, occupancy).sum())}, None
    counts = count_intersections(joints.cpu(), occupancy, progress=False)
    summary = counts.summary()
    return found | {
        RAY_CAST_COUNT: summary["ray_cast"],
        OCCUPANCY_COUNT: summary["occupied"],
        "overlap_per_pair": summary["overlap_cm3_per_pair"],
        "pairs_intersecting": 100 * summary["intersecting_share"],
        "fit_error_mean": summary["fit_mean_mm"],
    }, counts


def decreases(
    before: Mapping[str, float], after: Mapping[str, float], names: Iterable[str]
) -> dict[str, float]:
    """By how much less, in percent; left out where there was nothing before."""
    return {name: decrease_percent(before[name], after[name]) for name in names if before[name] > 0}


def trend(occupied: Int[Tensor, " pair"], ray_cast: Int[Tensor, " pair"]) -> dict[str, float]:
    """Fig. 5: both correlations of the two counts over pairs, and the mean number of grid points inside both
    hands (`ray_cast`) by the number of tested points that the network finds inside."""
    occupied, ray_cast = occupied.cpu(), ray_cast.cpu()
    found = {
        f"correlation_{kind}": value.value
        for kind, value in correlations(occupied, ray_cast, resamples=0).items()
        if math.isfinite(value.value)
    }
    for low, high in TREND:
        own = (occupied >= low) & (occupied <= high)
        if own.any():
            found[f"ray_cast_at_{low}_to_{high}"] = float(ray_cast[own].double().mean())
    return found

"""What the estimators of the paper learn from: pairs whose true poses are known (Sec. III-B to III-D).

Chapters book/intersections/tables.md, studies.md, untangle.md
Source   Ivashechkin et al., "Two Hands Are Better Than One"
Units    metres, radians; colours in [0, 1]
Frame    pairs are `centred`: the origin is the middle between the wrists

    3D to 3D    joints that another estimator gave; here those of a stand-in, the truth with errors
    pictures    one picture of each pair
    uplift      2D keypoints of each pair, seen by a camera of its own

A stand-in's errors, and the cameras of an uplift, are drawn anew for every batch from the batch's generator;
what is judged is drawn once from the seed. Which errors and which cameras, the caller says: a method knows no
world. Poses stay on the CPU; batches are made on the device of `like`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hands_lib.hand.pairs import pair_joints
from hands_lib.methods.intersections.estimator_comparison import (
    EstimatorTask,
    half_mirrored,
    mirrored_keypoints,
)
from hands_lib.methods.intersections.estimator_training import EstimatorSettings, PairBatch
from hands_lib.methods.intersections.estimators import centred, mirrored_pair
from hands_lib.structures import HandPose

NewNetwork = Callable[[], nn.Module]


@runtime_checkable
class Estimate(Protocol):
    """The poses with the errors of an estimator, drawn from the generator."""

    def __call__(self, pose: HandPose, *, generator: torch.Generator) -> HandPose: ...


Seen = Callable[[Tensor, torch.Generator, float], tuple[Tensor, Tensor]]
"""Pairs of joints, a generator and a noise -> joints and 2D keypoints as a camera of each pair sees them; the
generator's first numbers choose the cameras."""
_SHARES = 0.7, 0.8  # of a given set: where training ends, where validation ends


@dataclass(frozen=True)
class Budget:
    """How much is learned: the same for a baseline with each of its losses."""

    batch: int
    baseline: EstimatorSettings
    further: EstimatorSettings


def refine_task(
    network: NewNetwork,
    draw: Callable[[Tensor, torch.Generator], PairBatch],
    num_train: int,
    val: PairBatch,
    test: PairBatch,
    budget: Budget,
) -> EstimatorTask:
    """The 3D-to-3D network's. `draw` gives estimates and truth of the training pairs of these numbers."""

    def make_batch(generator: torch.Generator) -> PairBatch:
        rows = torch.randint(num_train, (budget.batch,), generator=generator)
        return half_mirrored(draw(rows, generator), mirrored_pair, generator)

    return EstimatorTask(network, make_batch, val, test, budget.baseline, budget.further)


def stand_in_task(
    network: NewNetwork,
    poses: tuple[HandPose, HandPose, HandPose],
    estimate: Estimate,
    budget: Budget,
    seed: int,
    like: Tensor | None = None,
) -> EstimatorTask:
    """The 3D-to-3D network behind a stand-in, which says `estimate` of the truth.

    poses  of the pairs (pair, 2) to train on, to choose by, to test on
    """
    train, val, test = poses

    def estimated(pose: HandPose, generator: torch.Generator) -> PairBatch:
        both = estimate(pose, generator=generator), pose
        return PairBatch(*(_placed(centred(pair_joints(p)), like) for p in both))

    def draw(rows: Tensor, generator: torch.Generator) -> PairBatch:
        return estimated(train[rows], generator)

    own = torch.Generator().manual_seed(7919 * seed + 1)
    num_train = len(train.root_translation)
    return refine_task(network, draw, num_train, estimated(val, own), estimated(test, own), budget)


def given_task(
    network: NewNetwork,
    estimates: Float[Tensor, "pair 2 21 3"],
    truth: Float[Tensor, "pair 2 21 3"],
    budget: Budget,
) -> EstimatorTask:
    """The 3D-to-3D network behind an estimator whose output is given: it learns from the first 70 % of the
    pairs, chooses by the next 10 %, and is judged on the rest.

    Raises:
        ValueError: the pairs are too few for three parts.
    """
    ends = [round(share * len(truth)) for share in _SHARES]
    if not 0 < ends[0] < ends[1] < len(truth):
        raise ValueError(f"{len(truth)} pairs are too few to learn from, to choose by and to judge on")
    both = (centred(joints).float().tensor_split(ends) for joints in (estimates, truth))
    train, val, test = (PairBatch(*part) for part in zip(*both, strict=True))

    def draw(rows: Tensor, generator: torch.Generator) -> PairBatch:
        return PairBatch(*(values[rows] for values in train))

    return refine_task(network, draw, len(train.joints), val, test, budget)


def image_task(
    network: NewNetwork,
    seen: tuple[PairBatch, PairBatch, PairBatch],
    budget: Budget,
    like: Tensor | None = None,
) -> EstimatorTask:
    """Of the network that sees pictures. `seen`: bytes of pictures (pair, 3, size, size) and joints, to train
    on, to choose by, to test on."""

    def shown(pictures: PairBatch, rows: Tensor | slice) -> PairBatch:
        colours = _placed(pictures.inputs[rows], like) / 255
        return PairBatch(colours, _placed(centred(pictures.joints[rows]), like))

    train, *held = seen

    def make_batch(generator: torch.Generator) -> PairBatch:
        rows = torch.randint(len(train.inputs), (budget.batch,), generator=generator)
        return half_mirrored(shown(train, rows), lambda image: image.flip(-1), generator)

    val, test = (shown(pictures, slice(None)) for pictures in held)
    return EstimatorTask(network, make_batch, val, test, budget.baseline, budget.further)


def uplift_task(
    network: NewNetwork,
    poses: tuple[HandPose, HandPose, HandPose],
    estimate: Estimate,
    seen: Seen,
    keypoint_noise: float,
    budget: Budget,
    seed: int,
    spoilt: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    like: Tensor | None = None,
) -> EstimatorTask:
    """Of the network that lifts 2D keypoints. Every batch is seen by cameras of its own.

    poses           of the pairs (pair, 2) to train on, to choose by, to test on
    estimate        what is learned: triangulated joints are not exact. What is judged by is
    seen            how a camera sees a pair
    keypoint_noise  standard deviation of the keypoints, metres at the hands
    spoilt          what else happens to the joints that are learned, once and for all (Fig. 8)
    """
    train, val, test = poses
    own = torch.Generator().manual_seed(7919 * seed + 2)
    truth = pair_joints(train)
    learned = pair_joints(estimate(train, generator=own))
    if spoilt is not None:
        learned = spoilt(learned, own)

    def make_batch(generator: torch.Generator) -> PairBatch:
        rows = torch.randint(len(truth), (budget.batch,), generator=generator)
        camera = int(torch.randint(2**31, (), generator=generator))
        cameras = [torch.Generator().manual_seed(camera) for _ in range(2)]
        _, keypoints = seen(truth[rows], cameras[0], keypoint_noise)
        joints, _ = seen(learned[rows], cameras[1], 0.0)  # by the same cameras
        given = PairBatch(_placed(keypoints, like), _placed(centred(joints), like))
        return half_mirrored(given, mirrored_keypoints, generator)

    def watched(pose: HandPose) -> PairBatch:
        joints, keypoints = seen(pair_joints(pose), own, keypoint_noise)
        return PairBatch(_placed(keypoints, like), _placed(centred(joints), like))

    return EstimatorTask(network, make_batch, watched(val), watched(test), budget.baseline, budget.further)


def _placed(values: Tensor, like: Tensor | None) -> Tensor:
    return values if like is None else values.to(like.device)

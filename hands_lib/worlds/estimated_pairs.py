"""Pairs of hands that touch, and what an estimator with errors of a chosen size would say of them.

Units    metres
Frames   as `interactions`: one world for both hands, the right hand first
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.hand.pairs import pair_joints
from hands_lib.worlds.estimates import perturb
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs

_NUM_PEOPLE = 100


class EstimatedPairs(NamedTuple):
    truth: Float[Tensor, "pair 2 21 3"]
    """Joints of pairs that do not intersect."""
    estimate: Float[Tensor, "pair 2 21 3"]
    interaction: Int[Tensor, " pair"]
    """Index into the names of `interactions.INTERACTIONS`."""


def estimated_pairs(num: int, error: float, seed: int) -> EstimatedPairs:
    """Pairs of people who belong to the seed, with a mean joint error of `error` metres for every hand; a
    function of its arguments alone. Raises as `sample_pairs` and `perturb`."""
    generator = torch.Generator().manual_seed(seed)
    pairs, _ = sample_pairs(num, sample_identities(_NUM_PEOPLE, seed), generator)
    estimate = perturb(pairs.pose, error, generator)
    return EstimatedPairs(pair_joints(pairs.pose), pair_joints(estimate), pairs.interaction)

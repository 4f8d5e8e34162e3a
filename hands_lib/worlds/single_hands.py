"""Single hands out of interacting pairs, for what looks at one hand alone.

Units    metres
Frame    that of each hand, as a right hand (`structures.HandPose`)
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.hand.kinematics import forward_kinematics
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs


def hands_of_pairs(num: int, seed: int) -> Float[Tensor, "{num} 21 3"]:
    """Joints of hands that interact, those of a pair one after the other. The seed has people of its own: one
    for every eight hands, and at least eight."""
    people = sample_identities(max(8, num // 8), seed=seed)
    pairs, _ = sample_pairs(-(-num // 2), people, torch.Generator().manual_seed(seed))
    return forward_kinematics(pairs.pose).joints.flatten(0, 1)[:num]

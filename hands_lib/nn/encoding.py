"""Coordinates as waves: the positional encoding of radiance fields."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def positional_encoding(
    values: Float[Tensor, "*batch channel"], num_octaves: int, include_values: bool = True
) -> Float[Tensor, "*batch encoded"]:
    """[x, sin(pi x), cos(pi x), sin(2 pi x), cos(2 pi x), ...] of every channel, one octave a step.

    Mildenhall et al., "NeRF", 2020, Eq. 4, with the values themselves in front unless `include_values` is
    false. Grouped by function, then by channel: (2 num_octaves + 1) * channel numbers.

    Raises ValueError for a negative number of octaves, or nothing to return.
    """
    if num_octaves < 0 or (num_octaves == 0 and not include_values):
        raise ValueError(f"an encoding needs the values or at least one octave, not {num_octaves} octaves")
    waves = [values] if include_values else []
    for octave in range(num_octaves):
        phase = math.pi * 2**octave * values
        waves += [phase.sin(), phase.cos()]
    return torch.cat(waves, dim=-1)

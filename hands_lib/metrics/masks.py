"""Masks of what counts: booleans, and nothing else.

Flags that come out of JSON are whole numbers, and a tensor of whole numbers in brackets is a list of places:
the number that comes out is one, only another one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def checked_mask(name: str, mask: Tensor, shape: Sequence[int]) -> Tensor:
    """The mask, which has this shape and is boolean. Raises ValueError, which names it, if not."""
    if mask.dtype != torch.bool:
        raise ValueError(f"{name} is of type {mask.dtype}: a mask is boolean, so give {name}.bool()")
    if tuple(mask.shape) != tuple(shape):
        raise ValueError(f"{name} has shape {tuple(mask.shape)}, where {tuple(shape)} belongs")
    return mask

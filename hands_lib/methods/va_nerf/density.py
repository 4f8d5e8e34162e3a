"""Density from a deviated signed distance, Eq. 1, and what may be left out without being seen.

Units  metres; densities in 1 / metre
Signs  distances are negative inside
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def deviated_density(
    distance: Float[Tensor, "*point"], deviation: Float[Tensor, "*point"] | float, width: Tensor | float
) -> Float[Tensor, "*point"]:
    """Eq. 1: sigmoid(-(s + delta) / w) / w.

    The surface s + delta = 0 has the density 1 / (2 w), the inside 1 / w; outside it falls by e with every w.
    """
    return torch.sigmoid(-(distance + deviation) / width) / width


def density_bounds(
    distance: Float[Tensor, "*point"], lowest: float, highest: float, width: Tensor | float
) -> tuple[Float[Tensor, "*point"], Float[Tensor, "*point"]]:
    """The least and the most that Eq. 1 can be where the deviation is only known to lie between two bounds,
    either of which may be infinite. The density falls with the deviation."""
    least = torch.zeros_like(distance)
    if math.isfinite(highest):
        least = deviated_density(distance, highest, width)
    if math.isfinite(lowest):
        return least, deviated_density(distance, lowest, width)
    return least, torch.ones_like(distance) / width

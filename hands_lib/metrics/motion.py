"""How rough a motion is.

Chapter  book/intersections/untangle.md
Units    metres and seconds
Frame    any that stands still
"""

from jaxtyping import Float
from torch import Tensor


def mean_acceleration(points: Float[Tensor, "frame *points 3"], frames_per_second: int | float) -> float:
    """Mean length of the second difference of every point over its frames, metres a second squared.

    Raises:
        ValueError: fewer than three frames.
    """
    if len(points) < 3:
        raise ValueError(f"an acceleration needs three frames, not {len(points)}")
    second = points[2:] - 2 * points[1:-1] + points[:-2]
    return float(second.norm(dim=-1).mean()) * frames_per_second**2

"""Photographs of pairs of hands from many sides: what the radiance fields learn from, whatever the source.

Units    metres, pixels
Frames   world; cameras as OpenCV's
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from hands_lib.structures import TensorFields


@dataclass(frozen=True)
class PairViews(TensorFields):
    """Moments of pairs of hands, each photographed by several cameras."""

    image: UInt8[Tensor, "frame view height width 3"]
    """Black where no hand is."""
    foreground: Bool[Tensor, "frame view height width"]
    """Pixels that see a hand."""
    intrinsics: Float[Tensor, "frame view 3 3"]
    camera_from_world: Float[Tensor, "frame view 4 4"]
    vertices: Float[Tensor, "frame 2 vertex 3"]
    """Right hand first."""
    joints: Float[Tensor, "frame 2 21 3"]
    faces: Int[Tensor, "2 face 3"]
    view_count: Int[Tensor, " frame"]
    """Views that a frame has; what stands behind them is empty."""
    asked: Int[Tensor, "pair 3"]
    """Frame, view and target view of the pairs that the data set's protocol tests; none for worlds, which
    leave the choice to whoever asks."""

"""MANO fits as data sets annotate them, for one moment and two hands.

Units   radians, metres
Frame   the data set's world; `hand.mano` says how they become a surface
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.structures import TensorFields

HANDS = ("right", "left")
MANO_SIZES = {"pose": 48, "shape": 10, "trans": 3}


@dataclass(frozen=True)
class ManoAnnotation(TensorFields):
    """A release's own MANO fits of one time step. Zeros where a hand was not fitted. Right hand first."""

    pose: Float[Tensor, "2 48"]
    """Axis-angle minus MANO's mean pose; the first three are the root's rotation in the world."""
    shape: Float[Tensor, "2 10"]
    translation: Float[Tensor, "2 3"]
    """Added after the root has turned about the wrist joint."""
    valid: Bool[Tensor, "2"]

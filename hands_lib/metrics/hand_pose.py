"""Joint errors.

Units   inputs in metres, results in millimetres
Frame   any, the same for both inputs; nothing is aligned unless a name says so
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def joint_errors_mm(
    predicted: Float[Tensor, "*batch joint 3"], target: Float[Tensor, "*batch joint 3"]
) -> Float[Tensor, "*batch joint"]:
    """Euclidean distance of every joint, millimetres, without any alignment."""
    return 1000 * torch.linalg.vector_norm(predicted - target, dim=-1)


def mpjpe_mm(
    predicted: Float[Tensor, "*batch joint 3"],
    target: Float[Tensor, "*batch joint 3"],
    valid: Bool[Tensor, "*batch joint"] | None = None,
) -> Float[Tensor, ""]:
    """Mean per-joint position error over all valid joints of the batch, millimetres, without alignment.

    Protocol: one mean over joints and hands together (InterHand2.6M's own evaluation aligns wrists and averages
    per joint first: a different number). Raises ValueError if no joint is valid.
    """
    errors = joint_errors_mm(predicted, target)
    if valid is None:
        return errors.mean()
    if not valid.any():
        raise ValueError("mpjpe_mm: no joint is valid, so there is nothing to average")
    return errors[valid].mean()

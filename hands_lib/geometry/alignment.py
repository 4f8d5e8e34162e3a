"""Procrustes alignment: the rotation, rigid motion or similarity that best maps one point set onto another.

Source  Kabsch, "A solution for the best rotation to relate two sets of vectors", 1976; Umeyama,
        "Least-squares estimation of transformation parameters between two point patterns", 1991
Frames  `target ≈ scale * rotation @ source + translation`; points in any unit, results in the target's
Signs   results are proper rotations (determinant +1), also where a reflection would fit better
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.structures import TensorFields


class _NearestRotation(torch.autograd.Function):
    """The derivative of the rotation itself: it stays finite where that of the singular vectors does not,
    as with equal singular values, and so also at a perfect alignment of a symmetric point set."""

    @staticmethod
    def forward(ctx, matrix):
        left, values, right_t = torch.linalg.svd(matrix)
        # Turning the last (least) direction over costs least where left @ right is a reflection.
        sign = torch.linalg.det(left @ right_t)
        right_t = torch.cat([right_t[..., :2, :], right_t[..., 2:, :] * sign[..., None, None]], dim=-2)
        values = torch.cat([values[..., :2], values[..., 2:] * sign[..., None]], dim=-1)
        ctx.save_for_backward(left, values, right_t)
        return left @ right_t

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        left, values, right_t = ctx.saved_tensors
        local = left.mT @ gradient @ right_t.mT
        pairs = values[..., :, None] + values[..., None, :]
        # A sum of zero means that turning in this plane changes nothing: no defined derivative, given as 0.
        floor = torch.finfo(values.dtype).eps * values[..., :1, None]
        turn = torch.where(pairs > floor, (local - local.mT) / pairs, torch.zeros_like(pairs))
        return left @ turn @ right_t


def nearest_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation R that maximises trace(Rᵀ matrix), hence the nearest one in the Frobenius norm.

    Differentiable once. A matrix of rank 1 or 0 leaves a turn undetermined: one valid rotation is returned.
    """
    return _NearestRotation.apply(matrix)


@dataclass(frozen=True)
class Similarity(TensorFields):
    """x -> scale * rotation @ x + translation."""

    rotation: Float[Tensor, "*batch 3 3"]
    translation: Float[Tensor, "*batch 3"]
    scale: Float[Tensor, "*batch"]

    def transform(self, points: Float[Tensor, "*batch point 3"]) -> Float[Tensor, "*batch point 3"]:
        scaled_rotation = self.scale[..., None, None] * self.rotation
        return points @ scaled_rotation.mT + self.translation[..., None, :]


def procrustes(
    source: Float[Tensor, "*batch point 3"],
    target: Float[Tensor, "*batch point 3"],
    weights: Float[Tensor, "*batch point"] | None = None,
    with_scale: bool = False,
) -> Similarity:
    """Weighted least-squares alignment of `source` to `target`, point by point.

    Rigid (scale 1) unless `with_scale`. Differentiable in both point sets and the weights. Points of weight
    zero may hold any finite value. Collinear points leave the turn about their line open: one rotation of
    the best is returned. Raises ValueError where all weights of a set are zero, a weight is negative, or a
    scale is asked of a source whose points coincide.
    """
    if weights is None:
        weights = source.new_ones(source.shape[:-1])
    if bool((weights < 0).any()):
        raise ValueError("weights of an alignment must not be negative")
    total = weights.sum(dim=-1, keepdim=True)
    if bool((total == 0).any()):
        raise ValueError("an alignment needs at least one point of positive weight in every set")
    weights = (weights / total)[..., None]
    source_mean = (weights * source).sum(dim=-2, keepdim=True)
    target_mean = (weights * target).sum(dim=-2, keepdim=True)
    centred = source - source_mean
    covariance = (weights * (target - target_mean)).mT @ centred
    rotation = nearest_rotation(covariance)
    scale = torch.ones_like(total[..., 0])
    if with_scale:
        variance = (weights * centred.square()).sum(dim=(-2, -1))
        if bool((variance == 0).any()):
            raise ValueError("the scale of an alignment is undefined: all source points coincide")
        scale = (rotation * covariance).sum(dim=(-2, -1)) / variance
    translation = target_mean - scale[..., None, None] * (source_mean @ rotation.mT)
    return Similarity(rotation, translation[..., 0, :], scale)

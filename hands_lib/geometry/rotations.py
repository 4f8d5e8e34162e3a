"""Rotations as 3x3 matrices that act on column vectors: x_world = world_from_hand @ x_hand.

Angles are radians and positive by the right-hand rule about the named axis.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def rotation_about_x(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    """Turns y towards z."""
    cos, sin = angle.cos(), angle.sin()
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    return torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=-1).unflatten(-1, (3, 3))


def rotation_about_y(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    """Turns z towards x."""
    cos, sin = angle.cos(), angle.sin()
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    return torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], dim=-1).unflatten(-1, (3, 3))


def rotation_about_z(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    """Turns x towards y."""
    cos, sin = angle.cos(), angle.sin()
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def degrees_between(rotations: Float[Tensor, "*batch turn 3 3"]) -> Float[Tensor, "*batch turn turn"]:
    """Angle of the rotation from every one to every other, degrees in float64: the trace is 1 + 2 cos."""
    rotations = rotations.double()
    traces = torch.einsum("...aij,...bij->...ab", rotations, rotations)
    return torch.rad2deg(((traces - 1) / 2).clamp(-1, 1).acos())


def axis_angle_to_matrix(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rodrigues' formula; smooth (and differentiable) through the zero rotation."""
    angle_squared = axis_angle.square().sum(dim=-1)[..., None, None]
    small = angle_squared < 1e-8
    # Below the threshold the series is exact to rounding; the guarded root keeps its gradient finite there.
    angle = torch.where(small, torch.ones_like(angle_squared), angle_squared).sqrt()
    sin_ratio = torch.where(small, 1 - angle_squared / 6, angle.sin() / angle)
    cos_ratio = torch.where(small, 0.5 - angle_squared / 24, (1 - angle.cos()) / angle.square())
    x, y, z = axis_angle.unbind(dim=-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + sin_ratio * cross + cos_ratio * (cross @ cross)


def cross_product_matrix(axis: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The matrix of the cross product with `axis`; its matrix exponential turns about the axis by its length
    in radians, with a derivative at 0 too."""
    x, y, z = axis.unbind(dim=-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def random_rotations(
    num: int, generator: torch.Generator | None = None, dtype: torch.dtype | None = None
) -> Float[Tensor, "num 3 3"]:
    """Uniform over SO(3), from normalised Gaussian quaternions."""
    w, x, y, z = torch.nn.functional.normalize(
        torch.randn(num, 4, generator=generator, dtype=dtype), dim=-1
    ).unbind(dim=-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))

"""Where a known object is, from its points in the picture: weighted perspective-n-point, batched.

Units    metres; pixels of the camera's image
Frame    camera axes (OpenCV's): x_camera = R x_object + t

HFL-Net votes for 21 control points with confidences and asks RANSAC and EPnP of OpenCV on the best ten. Here
all points count, each by its confidence, and gradients pass: first the affine camera that fits best, in
closed form, made rigid; then a few damped Gauss-Newton steps on the error in the picture. Everything is
computed in float64.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.geometry.alignment import nearest_rotation
from hands_lib.geometry.rotations import axis_angle_to_matrix, cross_product_matrix


def weighted_pnp(
    points: Float[Tensor, "batch point 3"],
    pixels: Float[Tensor, "batch point 2"],
    weights: Float[Tensor, "batch point"],
    intrinsics: Float[Tensor, "batch 3 3"],
    steps: int = 12,
    damping: float = 1e-6,
) -> tuple[Float[Tensor, "batch 3 3"], Float[Tensor, "batch 3"]]:
    """Rotation and translation with the least weighted squared error in the picture.

    Points must not lie in one plane. Raises ValueError for fewer than four, or weights of which some are
    negative or all of one picture are 0.
    """
    if points.shape[1] < 4:
        raise ValueError(f"a pose needs at least four points, not {points.shape[1]}")
    if bool((weights < 0).any()) or bool((weights.sum(dim=1) == 0).any()):
        raise ValueError("weights of points are not negative, and not all of them 0")
    world, seen, camera = points.double(), pixels.double(), intrinsics.double()
    share = (weights.double() / weights.double().sum(dim=1, keepdim=True))[..., None]
    focal = camera[:, None, [0, 1], [0, 1]]
    rays = (seen - camera[:, None, :2, 2]) / focal
    rotation, translation = _affine(world, rays, share)
    eye = torch.eye(6, dtype=torch.float64, device=points.device)
    for _ in range(steps):
        turned = world @ rotation.mT
        placed = turned + translation[:, None]
        depth = placed[..., 2:].clamp(min=1e-3)
        error = placed[..., :2] / depth - rays
        inverse = 1 / depth
        zero = torch.zeros_like(inverse)
        over = torch.stack(
            [
                torch.cat([inverse, zero, -placed[..., :1] * inverse.square()], dim=-1),
                torch.cat([zero, inverse, -placed[..., 1:2] * inverse.square()], dim=-1),
            ],
            dim=-2,
        )  # of the image by the point
        slope = torch.cat([-over @ cross_product_matrix(turned), over], dim=-1)
        weighted = slope * share[..., None]
        normal = torch.einsum("bpij,bpik->bjk", weighted, slope)
        pull = torch.einsum("bpij,bpi->bj", weighted, error)
        scale = normal.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[:, None, None]
        move = -torch.linalg.solve(normal + damping * scale * eye, pull)
        rotation = axis_angle_to_matrix(move[:, :3]) @ rotation
        translation = translation + move[:, 3:]
    return rotation.to(points), translation.to(points)


def _affine(world: Tensor, rays: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """The rigid pose behind the best affine camera: rows of the linear map are those of s R."""
    mean, middle = (share * world).sum(dim=1), (share * rays).sum(dim=1)
    centred = world - mean[:, None]
    covariance = (share * centred).mT @ centred
    cross = (share * (rays - middle[:, None])).mT @ centred
    ridge = 1e-9 * covariance.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[:, None, None]
    eye = torch.eye(3, dtype=world.dtype, device=world.device)
    rows = torch.linalg.solve(covariance + ridge * eye, cross.mT).mT
    size = torch.linalg.vector_norm(rows, dim=-1).mean(dim=-1).clamp(min=1e-6)
    third = torch.linalg.cross(rows[:, 0], rows[:, 1]) / size[:, None]
    rotation = nearest_rotation(torch.cat([rows, third[:, None]], dim=1))
    depth = 1 / size
    there = torch.cat([middle * depth[:, None], depth[:, None]], dim=-1)
    return rotation, there - (rotation @ mean[..., None])[..., 0]

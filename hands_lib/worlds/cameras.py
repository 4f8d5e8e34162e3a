"""Calibrated cameras around a pair of hands.

Units   metres, pixels, degrees where a name says so
Frames  world: y up, hands at the origin; cameras as OpenCV's, upright
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.geometry.rotations import rotation_about_y
from hands_lib.structures import Camera

_ELEVATIONS = (5.0, 22.0, -8.0, 40.0, 25.0, 8.0)  # degrees, taken in turn


def camera_ring(
    num: int = 24, size: int = 128, distance: float = 1.0, field: float = 0.36, phase: float = 0.0
) -> Camera:
    """`num` cameras at equal steps around the vertical axis, at several heights, looking at the origin.

    size      pixels along both sides of the image
    distance  from the origin, metres
    field     side of the square that the image shows at the origin, metres
    phase     turns the ring about the vertical, radians
    """
    if num < 1 or size < 8:
        raise ValueError(f"a ring has at least 1 camera of 8 pixels, not {num} of {size}")
    azimuth = phase + 2 * math.pi * torch.arange(num, dtype=torch.float64) / num
    elevation = torch.deg2rad(
        torch.tensor([_ELEVATIONS[n % len(_ELEVATIONS)] for n in range(num)], dtype=torch.float64)
    )
    towards = torch.stack(
        [azimuth.sin() * elevation.cos(), elevation.sin(), azimuth.cos() * elevation.cos()], dim=-1
    )
    position = distance * towards
    forward = -towards
    right = torch.nn.functional.normalize(
        torch.linalg.cross(forward, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand_as(forward)),
        dim=-1,
    )
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-2)
    pose = torch.eye(4, dtype=torch.float64).repeat(num, 1, 1)
    pose[:, :3, :3] = rotation
    pose[:, :3, 3] = -(rotation @ position[..., None])[..., 0]
    focal, centre = size * distance / field, (size - 1) / 2
    intrinsics = torch.tensor([[focal, 0, centre], [0, focal, centre], [0, 0, 1]], dtype=torch.float64)
    return Camera(intrinsics.repeat(num, 1, 1).float(), pose.float(), size, size)


def level_ring(
    num: int, size: int, middle: Float[Tensor, "3"], distance: float = 0.5, focal: float = 2.2
) -> Camera:
    """`num` cameras at equal steps on a level circle around the vertical axis through `middle`, upright and
    looking at it; the first stands on the side of +z, where a rest hand has its back.

    size      pixels along both sides of the image
    distance  from the middle, metres
    focal     length against the size of the image
    """
    angle = 2 * math.pi * torch.arange(num) / num
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # y down, z forward
    rotation = flip @ rotation_about_y(angle)
    pose = torch.eye(4).repeat(num, 1, 1)
    pose[:, :3, :3] = rotation
    pose[:, :3, 3] = torch.tensor([0.0, 0.0, distance]) - rotation @ middle
    length = focal * size
    intrinsics = torch.tensor([[length, 0, size / 2], [0, length, size / 2], [0, 0, 1.0]])
    return Camera(intrinsics.expand(num, 3, 3), pose, size, size)

"""Calibrated cameras around a pair of hands, and the pairs of views that novel-view synthesis is tested on.

Units   metres, pixels, degrees where a name says so
Frames  world: y up, hands at the origin; cameras as OpenCV's, upright
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.rotations import degrees_between
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


def cropped(camera: Camera, points: Float[Tensor, "point 3"], size: int, margin: float = 1.25) -> Camera:
    """The cameras (one batch dimension) of which the image is the square about the points' box, `margin`
    times as large, scaled to `size`.

    The calibration follows: f' = s f and c' = s (c + 1/2 - corner) - 1/2, with pixel centres at whole
    numbers.
    """
    num = len(camera.intrinsics)
    pixels = camera.project(points.expand(num, *points.shape))
    low, high = pixels.amin(dim=-2), pixels.amax(dim=-2)
    side = margin * (high - low).amax(dim=-1, keepdim=True)
    corner, scale = (low + high - side) / 2, size / side
    intrinsics = camera.intrinsics.clone()
    intrinsics[..., :2, :2] *= scale[..., None]
    intrinsics[..., :2, 2] = scale * (intrinsics[..., :2, 2] - corner) - 0.5
    return Camera(intrinsics, camera.camera_from_world, size, size)


def relative_rotation_degrees(camera: Camera) -> Float[Tensor, "camera camera"]:
    """Angle of the rotation between every two cameras."""
    return degrees_between(camera.camera_from_world[:, :3, :3])


def view_pairs(
    camera: Camera, least_degrees: float = 0.0, most_degrees: float = 180.0
) -> Int[Tensor, "pair 2"]:
    """All (input, target) pairs of different cameras whose relative rotation lies in [least, most).

    VA-NeRF tests view pairs of small and of big variation; its big ones differ by more than 30 degrees:
    `view_pairs(camera, most_degrees=30.0)` and `view_pairs(camera, least_degrees=30.0)` divide all pairs.
    """
    angles = relative_rotation_degrees(camera)
    chosen = (angles >= least_degrees) & ((angles < most_degrees) | (most_degrees >= 180))
    chosen.fill_diagonal_(False)
    return chosen.nonzero()


def occlusion_mask(
    height: int, width: int, ratio: float, measure: str = "side"
) -> Float[Tensor, "{height} {width}"]:
    """0 in the central square that VA-NeRF's robustness test (Table 3) blanks in the input image, 1
    elsewhere.

    ratio     of the image's size. The paper does not say of what exactly:
    measure   "side": the square's side is this part of the shorter side; "area": its area of the image's

    Raises ValueError for a ratio outside [0, 1] or another measure.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"an occlusion covers a ratio between 0 and 1, not {ratio}")
    if measure not in ("side", "area"):
        raise ValueError(f'the ratio measures "side" or "area", not {measure!r}')
    side = ratio * min(height, width) if measure == "side" else math.sqrt(ratio * height * width)
    mask = torch.ones(height, width)
    rows, columns = (min(round(side), length) for length in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    mask[top : top + rows, left : left + columns] = 0
    return mask

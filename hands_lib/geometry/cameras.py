"""What is made of calibrated cameras: crops, angles between them, pairs of views, blanked squares.

Units   metres, pixels, degrees where a name says so
Frames  cameras as OpenCV's
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.rotations import degrees_between
from hands_lib.structures import Camera


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

"""Reading feature maps at points of a picture.

Units   pixels of the whole picture; pixel (0, 0) is the centre of the upper left pixel
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def sample_at_pixels(
    maps: Float[Tensor, "image channel height width"],
    image: Int[Tensor, " point"],
    pixels: Float[Tensor, "point 2"],
    picture_size: tuple[int, int],
) -> Float[Tensor, "point channel"]:
    """Bilinear interpolation of the maps of many pictures at a list of points, each with its picture.

    The maps cover the picture of (height, width) `picture_size` whatever their own resolution: outer edges
    fall together, so pixel x of W is column (x + 1/2) w / W - 1/2 of w. Outside, the border is repeated.
    Differentiable in maps and pixels.
    """
    _, num_channels, height, width = maps.shape
    size = pixels.new_tensor([width, height])
    place = (pixels + 0.5) * (size / pixels.new_tensor([picture_size[1], picture_size[0]])) - 0.5
    place = place.clamp(min=torch.zeros_like(size), max=size - 1)
    # The pictures hang below one another; a clamped row never mixes two of them.
    row = place[:, 1] + height * image.to(place.dtype)
    tall = maps.transpose(0, 1).reshape(1, num_channels, -1, width)
    grid = torch.stack(
        [2 * place[:, 0] / max(width - 1, 1) - 1, 2 * row / max(tall.shape[2] - 1, 1) - 1], dim=-1
    )
    read = torch.nn.functional.grid_sample(
        tall, grid[None, None], mode="bilinear", padding_mode="border", align_corners=True
    )
    return read[0, :, 0].T

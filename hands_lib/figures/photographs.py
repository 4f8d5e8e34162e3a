"""Photographs of hands with what is known of them drawn over it, by matplotlib."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from hands_lib.figures.palette import DIGIT_COLOURS

_AROUND = 1.3  # side of what is shown against the longer side of the hands' box


def draw_digits(
    axes: Any,
    pixels: Float[Tensor, "21 2"],
    valid: Bool[Tensor, " 21"],
    marker: str = "o",
    size: float = 3.5,
) -> None:
    """The valid joints of one hand, joined digit by digit in the colours of the digits. Pixels (u, v)."""
    for digit, colour in enumerate(DIGIT_COLOURS):
        chain = [joint for joint in (0, *range(1 + 4 * digit, 5 + 4 * digit)) if valid[joint]]
        axes.plot(*pixels[chain].T, color=colour, marker=marker, ms=size, lw=1.5, mec="white", mew=0.4)


def photograph_axes(
    images: Sequence[UInt8[Tensor, "height width 3"]],
    boxes: Sequence[Float[Tensor, "4"]],
    titles: Sequence[str],
    rows: int = 1,
) -> np.ndarray:
    """The photographs side by side in each row, cut to a square around their hands' boxes (x, y, width,
    height, pixels): axes, row by row, to draw over."""
    _, grid = plt.subplots(rows, len(images), figsize=(10, 2.75 * rows), squeeze=False, layout="tight")
    for row in grid:
        for axes, image, box, title in zip(row, images, boxes, titles, strict=True):
            x, y, width, height = box.tolist()
            half = _AROUND / 2 * max(width, height)
            axes.imshow(image)
            axes.set_xlim(x + width / 2 - half, x + width / 2 + half)
            axes.set_ylim(y + height / 2 + half, y + height / 2 - half)  # v grows downwards
            axes.set(xticks=[], yticks=[], facecolor="black", autoscale_on=False)
            axes.set_title(title, fontsize=8)
    return grid


def picture_axes(pictures: Sequence[UInt8[Tensor, "height width 3"]], columns: int, height: float) -> Any:
    """Pictures of one size without gaps, in rows of `columns`, `height` inches high: axes in their pixels."""
    rows = [np.concatenate(pictures[n : n + columns], axis=1) for n in range(0, len(pictures), columns)]
    _, axes = plt.subplots(figsize=(10, height), layout="tight")
    axes.imshow(np.concatenate(rows))
    axes.set_axis_off()
    return axes

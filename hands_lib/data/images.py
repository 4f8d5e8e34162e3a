"""Photographs as tensors.

Units   8-bit RGB, rows from the top, columns from the left
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from hands_lib.data.errors import DataError, MissingData


def read_image(path: Path, width: int, height: int) -> UInt8[Tensor, "height width 3"]:
    """The photograph at `path`; grey photographs come back with three equal channels.

    Raises DataError where the file is missing, is no image, breaks off, or is not `width` x `height`.
    """
    try:
        with Image.open(path) as image:
            if image.size != (width, height):  # before decoding, so that a wrong file costs no memory
                raise DataError(
                    f"{path} has {image.width} x {image.height} pixels, but its annotation says {width} x "
                    f"{height}: the image or the annotation belongs to another release; unpack both again"
                )
            pixels = np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise MissingData(
            f"{path} is missing, but its annotation is there: unpack the images again"
        ) from None
    except UnidentifiedImageError:
        raise DataError(f"{path} is not an image: unpack it again") from None
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be decoded ({error}): unpack it again") from None
    return torch.from_numpy(pixels)


def missing_files(paths: Iterable[Path]) -> list[bool]:
    """Whether each file is missing. Every folder is listed once: a release has a million photographs."""
    there: dict[Path, frozenset[str]] = {}
    missing = []
    for path in paths:
        folder = path.parent
        if folder not in there:
            try:
                there[folder] = frozenset(entry.name for entry in folder.iterdir())
            except OSError:
                there[folder] = frozenset()
        missing.append(path.name not in there[folder])
    return missing

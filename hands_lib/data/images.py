"""Photographs as tensors, from files of anybody: JPEG and PNG alone, of a size that is known before decoding.

Pillow knows fifty formats, and starts another program for some of them, whatever a file's name says.

Units   8-bit RGB, rows from the top, columns from the left
"""

import io
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from hands_lib.data.errors import DataError, MissingData
from hands_lib.plain_files import cut, open_plain

FORMATS = ("JPEG", "PNG")
MOST_PIXELS = 50_000_000
"""Of one photograph; decoded they take 150 MB."""
_LARGEST = 256 << 20  # bytes of a file
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits a channel, or fewer
_GREY16 = ("I;16",)
_PNG = b"\x89PNG\r\n\x1a\n"


@contextmanager
def opened_image(path: Path, whole: bool = True, modes: Collection[str] = _MODES) -> Iterator[Image.Image]:
    """The photograph at `path`, not yet decoded; what goes wrong with decoding inside the block is said too.

    whole  whether the file is looked at to its end; not needed for its size
    modes  Pillow's modes that it may have: those of 8 bits a channel

    Raises MissingData where it is missing; DataError where it cannot be read, is no JPEG or PNG, breaks off,
    has too many pixels, or another mode (as a depth map has, say).
    """
    try:
        file = open_plain(path, _LARGEST)
    except FileNotFoundError:
        raise MissingData(
            f"{path} is missing, but its annotation is there: unpack the images again"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): unpack it again") from None
    try:
        with file, Image.open(_checked(file) if whole else file, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(
                    f"{path} has {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}: "
                    f"make it smaller"
                )
            if image.mode not in modes:
                raise DataError(_another_mode(path, image.mode, modes))
            yield image
    except UnidentifiedImageError:
        raise DataError(f"{path} is not an image in JPEG or PNG: unpack it again") from None
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be decoded ({cut(error)}): unpack it again") from None


def read_image(path: Path, width: int, height: int) -> UInt8[Tensor, "height width 3"]:
    """The photograph at `path`; grey photographs come back with three equal channels.

    Raises DataError where the file is missing, is no image, breaks off, or is not `width` x `height`.
    """
    with opened_image(path) as image:
        _check_size(path, image, width, height)
        return torch.from_numpy(np.array(image.convert("RGB")))


def read_grey16(path: Path, width: int, height: int) -> Int[Tensor, "height width"]:
    """The numbers of a grey PNG of 16 bits, as int32: most depth maps are one. Raises as `read_image`."""
    with opened_image(path, modes=_GREY16) as image:
        _check_size(path, image, width, height)
        return torch.from_numpy(np.array(image).astype(np.int32))


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, without decoding. Raises as `opened_image`."""
    with opened_image(path, whole=False) as image:
        return image.size


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


def _another_mode(path: Path, mode: str, modes: Collection[str]) -> str:
    if modes is _GREY16:
        return f"{path} is no grey PNG of 16 bits (Pillow's mode {mode}): it is no depth map; unpack it again"
    return (
        f"{path} has not 8 bits a channel (Pillow's mode {mode}): it is no photograph, or "
        f"save it as 8-bit RGB"
    )


def _check_size(path: Path, image: Image.Image, width: int, height: int) -> None:
    """Before decoding, so that a wrong file costs no memory."""
    if image.size != (width, height):
        raise DataError(
            f"{path} has {image.width} x {image.height} pixels, but its annotation says {width} x "
            f"{height}: the image or the annotation belongs to another release; unpack both again"
        )


def _checked(file: io.BufferedIOBase) -> io.BufferedIOBase:
    """The file in memory. Every part of a PNG has a checksum, the last one says that it is the last, and its
    header says how many rows there are; Pillow looks at none of these once it has enough pixels, and shows
    missing rows as black. Raises ValueError."""
    raw = file.read()
    place, kind = len(_PNG), b"" if raw.startswith(_PNG) else b"IEND"
    data = bytearray()
    while kind != b"IEND":
        length = int.from_bytes(raw[place : place + 4], "big")
        kind, end = raw[place + 4 : place + 8], place + 8 + length
        if len(raw) < end + 4:
            raise ValueError("it breaks off")
        if zlib.crc32(raw[place + 4 : end]) != int.from_bytes(raw[end : end + 4], "big"):
            raise ValueError("a checksum does not agree")
        if kind == b"IDAT":
            data += raw[place + 8 : end]
        place = end + 4
    if raw.startswith(_PNG):
        _check_rows(raw, bytes(data))
    return io.BytesIO(raw)


_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of the colour types of a PNG
_WHOLE = ((0, 0, 1, 1),)
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of Adam7: first column and row, and steps of both."""


def _check_rows(raw: bytes, data: bytes) -> None:
    """Whether the data of a PNG hold all rows that its header names; too large a picture is not looked at.

    W3C, Portable Network Graphics, sections 7.2 (a row is a filter byte and its packed pixels) and 8.2 (an
    interlaced picture is seven smaller ones).
    """
    if raw[12:16] != b"IHDR" or len(raw) < 29:
        raise ValueError("it does not begin with a header")
    width, height = (int.from_bytes(raw[place : place + 4], "big") for place in (16, 20))
    depth, colour, interlaced = raw[24], raw[25], raw[28]
    if colour not in _CHANNELS or width * height > MOST_PIXELS:
        return  # which Pillow and the caller say better
    expected = 0
    for left, top, step, down in _PASSES if interlaced else _WHOLE:
        columns, rows = -(-(width - left) // step), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            expected += rows * (1 + -(-columns * depth * _CHANNELS[colour] // 8))
    unpacked, found, rest = zlib.decompressobj(), 0, data
    try:
        while found < expected and not unpacked.eof:
            part = unpacked.decompress(rest, 1 << 20)  # a megabyte at most
            rest = unpacked.unconsumed_tail
            if not part and not rest:
                break
            found += len(part)
    except zlib.error as error:
        raise ValueError(f"its pixels cannot be unpacked: {error}") from None
    if found < expected:
        raise ValueError("rows are missing")

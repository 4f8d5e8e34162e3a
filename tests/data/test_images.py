"""Oracles: Pillow's own decoding of good files, and what the parts of forged ones say."""

import os
import sys
import zlib

import numpy as np
import pytest
import torch
from fuzz_targets import forged_image, png
from PIL import Image

from hands_lib.data import images
from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.images import MOST_PIXELS, image_size, read_image
from hands_lib.data.skipped import photograph_fault

REFUSED = {
    "EPS": "not an image in JPEG or PNG",
    "16-bit grey TIFF": "not an image in JPEG or PNG",
    "float TIFF": "not an image in JPEG or PNG",
    "16-bit PGM": "not an image in JPEG or PNG",
    "GIF": "not an image in JPEG or PNG",
    "178 million pixels": r"13345 x 13345 pixels, more than 50,000,000: make it smaller",
    "2^31 pixels a side": "2147483647 x 2147483647 pixels|cannot be decoded",
    "16-bit grey": "has not 8 bits a channel .*I;16",
    "PNG without its end": "it breaks off",
    "PNG cut at its end": "it breaks off",
    "JPEG cut in the middle": "cannot be decoded",
    "4 pixels wide": "4 x 4 pixels, but its annotation says 40 x 60",
    "PNG with fewer rows": "rows are missing",
    "nothing": "not an image",
    "text": "not an image",
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.jpg"
    pixels = np.random.default_rng(0).integers(0, 255, (60, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK"])
def test_eight_bits_a_channel_are_read_whatever_the_channels(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    pixels = np.random.default_rng(0).integers(0, 255, (60, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    with Image.open(path) as image:
        expected = np.array(image.convert("RGB"))
    assert torch.equal(read_image(path, 40, 60), torch.from_numpy(expected))
    assert image_size(path) == (40, 60)


@pytest.mark.parametrize(("name", "message"), REFUSED.items())
def test_forged_pictures_are_refused(path, name, message):
    path.write_bytes(forged_image(path)[name])
    with pytest.raises(DataError, match=message) as caught:
        read_image(path, 40, 60)
    assert str(path) in str(caught.value)
    fault = None if name == "4 pixels wide" else "photograph broken"
    assert photograph_fault(path) == fault


def test_no_picture_starts_a_program(path):
    """Pillow would hand an EPS to Ghostscript, whatever its name: the process learns of no program at all."""
    seen = []
    active = [True]
    sys.addaudithook(lambda event, _: seen.append(event) if active and event == "subprocess.Popen" else None)
    path.write_bytes(forged_image(path)["EPS"])
    with pytest.raises(DataError):
        read_image(path, 40, 60)
    active.clear()
    assert seen == []


def test_the_number_of_pixels_is_looked_at_before_any_is_decoded(path, monkeypatch):
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("it was decoded"))
    path.write_bytes(png(10_000, MOST_PIXELS // 10_000 + 1))
    with pytest.raises(DataError, match="10000 x 5001 pixels, more than"):
        read_image(path, 10_000, 5_001)


def test_a_flipped_bit_in_a_png_is_found(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 40, 3), dtype=np.uint8)).save(path)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="a checksum does not agree"):
        read_image(path, 40, 60)


@pytest.mark.parametrize("width", [1, 4, 7, 8])
def test_narrow_photographs_have_a_mean(tmp_path, width):
    path = tmp_path / "a.jpg"
    Image.new("L", (width, 60), 200).save(path)
    assert photograph_fault(path) is None
    Image.new("L", (width, 60), 0).save(path)
    assert photograph_fault(path) == "photograph black"


def test_what_is_no_file_is_said_at_once(tmp_path):
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    zero = tmp_path / "zero.jpg"
    zero.symlink_to("/dev/zero")
    for path, words in ((pipe, "it is a pipe"), (zero, "it is a device"), (tmp_path, "it is a folder")):
        with pytest.raises(DataError, match=words):
            read_image(path, 40, 60)
        assert photograph_fault(path) == "photograph broken"
    with pytest.raises(MissingData, match="is missing"):
        read_image(tmp_path / "none.jpg", 40, 60)
    with pytest.raises(DataError, match="there can be no such name"):
        read_image(tmp_path / "a\0b.jpg", 40, 60)
    with pytest.raises(DataError, match="File name too long"):
        read_image(tmp_path / f"{'n' * 300}.jpg", 40, 60)


def test_a_file_without_end_is_no_photograph(path, monkeypatch):
    monkeypatch.setattr(images, "_LARGEST", 100)
    with pytest.raises(DataError, match="more than the 100 that such a file may have"):
        read_image(path, 40, 60)


def interlaced(pixels: np.ndarray) -> bytes:
    """The rows of Adam7, pass by pass: a filter byte of 0, then the pixels."""
    passes = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    rows = [
        b"\0" + row.tobytes()
        for left, top, step, down in passes
        for row in pixels[top::down, left::step]
        if row.size
    ]
    return b"".join(rows)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (8, 8), (37, 21)])
def test_interlaced_pictures_are_read_and_not_without_their_last_byte(tmp_path, size):
    pixels = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    data, path = interlaced(pixels), tmp_path / "a.png"
    path.write_bytes(png(*size, data=data, interlaced=True))
    assert np.array_equal(read_image(path, *size), pixels)
    path.write_bytes(png(*size, data=data[:-1], interlaced=True))
    with pytest.raises(DataError, match="rows are missing"):
        read_image(path, *size)


@pytest.mark.parametrize(("colour", "depth"), [(0, 1), (0, 2), (0, 4), (0, 8), (2, 8), (4, 8), (6, 8)])
@pytest.mark.parametrize("width", [1, 7, 9])
def test_every_depth_has_its_rows_and_one_byte_less_is_too_few(tmp_path, colour, depth, width):
    """A row: a filter byte and as many bytes as its pixels fill."""
    bits = width * depth * {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    data, path = bytes(5 * (1 + (bits + 7) // 8)), tmp_path / "a.png"
    path.write_bytes(png(width, 5, colour, depth, data))
    assert read_image(path, width, 5).shape == (5, width, 3)
    path.write_bytes(png(width, 5, colour, depth, data[:-1]))
    with pytest.raises(DataError, match="rows are missing"):
        read_image(path, width, 5)


def test_pixels_that_cannot_be_unpacked(tmp_path):
    """Each part has its right checksum, but the data are no zlib stream."""
    good, path = png(4, 4, data=bytes(4 * 13)), tmp_path / "a.png"
    start = good.index(b"IDAT")
    length = int.from_bytes(good[start - 4 : start], "big")
    part = b"IDAT" + b"\x07" * length
    path.write_bytes(
        good[:start] + part + zlib.crc32(part).to_bytes(4, "big") + good[start + 4 + length + 4 :]
    )
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_image(path, 4, 4)

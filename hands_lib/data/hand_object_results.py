"""Predictions in the files that the official evaluations of HO-3D and DexYCB take, and back.

Source   shreyashampali/ho3d, eval.py, and NVlabs/dex-ycb-toolkit, hpe_eval.py; only their formats
Units    metres in and out; HO-3D's files in metres, DexYCB's in millimetres
Frames   OpenCV's camera in and out; HO-3D's files in OpenGL's
Order    the library's in and out; "ho3d" in HO-3D's files
"""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.ho3d import flipped
from hands_lib.data.json_stream import AGAIN, frame_arrays
from hands_lib.hand.skeleton import NUM_JOINTS, reorder
from hands_lib.plain_files import read_plain

_IN_ZIP = "pred.json"
_NUMBERS = 1 + 3 * NUM_JOINTS  # of a line of DexYCB's
_LARGEST_LINES = 1 << 30  # bytes


@dataclass(frozen=True)
class HandPredictions:
    """What a `pred.json` of HO-3D says, in the order of `evaluation.txt`; float64."""

    joints: Float[Tensor, "frame 21 3"]
    vertices: Float[Tensor, "frame vertex 3"]


def write_ho3d_predictions(
    path: str | Path,
    joints: Float[Tensor, "frame 21 3"],
    vertices: Float[Tensor, "frame vertex 3"],
) -> Path:
    """Writes `pred.json`, or a .zip that holds it, which is what the server takes.

    joints, vertices  of every frame of `evaluation.txt`, in its order

    Raises DataError for another kind of file, for numbers of frames that differ, for what is not finite, and
    where a hand lies behind the camera: then it was in OpenGL's frame already.
    """
    path = Path(path)
    if path.suffix not in (".json", ".zip"):
        raise DataError(f"{path} is neither .json nor .zip: name one of them")
    if len(joints) != len(vertices):
        raise DataError(
            f"{path}: joints of {len(joints)} frames and vertices of {len(vertices)}: both are of every frame"
        )
    for name, points in (("joints", joints), ("vertices", vertices)):
        if not torch.isfinite(points).all():
            raise DataError(f"{path}: {name} hold NaN or infinity: the server takes finite numbers alone")
        if (behind := _behind(points)) is not None:
            raise DataError(
                f"{path}: the {name} of frame {behind} lie behind the camera: give them in OpenCV's frame "
                f"(z forward); the file gets OpenGL's"
            )
    lists = (reorder(flipped(joints), "hands", "ho3d"), flipped(vertices))
    try:
        if path.suffix == ".json":
            with path.open("w", encoding="ascii") as file:
                file.writelines(_json_parts(lists))
        else:
            with (
                zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
                archive.open(_IN_ZIP, "w", force_zip64=True) as file,
            ):
                file.writelines(part.encode("ascii") for part in _json_parts(lists))
    except OSError as error:
        raise MissingData(f"{path} cannot be written ({error.strerror}): name another place") from None
    return path


def read_ho3d_predictions(path: str | Path, frames: int | None = None) -> HandPredictions:
    """Reads a `pred.json`.

    frames  how many there should be; the official evaluation wants `data.ho3d.FRAMES`

    Raises MissingData where it cannot be read; DataError where it has another form, another number of frames,
    or a hand with all z above 0: then it is in OpenCV's frame, and the server would compare it with
    OpenGL's.
    """
    path = Path(path)
    joints, vertices = frame_arrays(path, (NUM_JOINTS, 3), (None, 3))
    if len(joints) != len(vertices):
        raise DataError(f"{path} has joints of {len(joints)} frames and vertices of {len(vertices)}: {AGAIN}")
    if frames is not None and len(joints) != frames:
        raise DataError(
            f"{path} has {len(joints)} frames, where {frames} belong: one for every line of evaluation.txt"
        )
    found = []
    for name, points in (("joints", torch.from_numpy(joints)), ("vertices", torch.from_numpy(vertices))):
        points = flipped(points)
        if (behind := _behind(points)) is not None:
            raise DataError(
                f"{path}: the {name} of frame {behind} all have z above 0, so they are in OpenCV's frame: "
                f"HO-3D's is OpenGL's, multiply by (1, -1, -1)"
            )
        found.append(points)
    return HandPredictions(reorder(found[0], "ho3d", "hands"), found[1])


def write_dexycb_predictions(
    path: str | Path,
    joints: Float[Tensor, "frame 21 3"],
    predicted: Bool[Tensor, " frame"] | None = None,
) -> Path:
    """Writes the lines that DexYCB's evaluation of hands takes: the image's number and 63 millimetres.

    joints     by the place of the photograph in `data.dexycb.DexYCB`, which is the official number
    predicted  which of them there are; None for all. The evaluation needs every image that has a hand

    Raises DataError for joints that are not finite, MissingData where the file cannot be written.
    """
    path = Path(path)
    numbers = torch.arange(len(joints))
    if predicted is not None:
        numbers = numbers[predicted]
    millimetres = 1000 * joints[numbers].double()
    if not torch.isfinite(millimetres).all():
        raise DataError(f"{path}: joints hold NaN or infinity: leave these images out with `predicted`")
    rows = millimetres.flatten(1).tolist()
    try:
        with path.open("w", encoding="ascii") as file:
            for number, row in zip(numbers.tolist(), rows, strict=True):
                file.write(f"{number},{','.join(map(repr, row))}\n")
    except OSError as error:
        raise MissingData(f"{path} cannot be written ({error.strerror}): name another place") from None
    return path


def read_dexycb_predictions(
    path: str | Path, frames: int
) -> tuple[Float[Tensor, "frame 21 3"], Bool[Tensor, " frame"]]:
    """Joints of every photograph of a split, metres, float64, and which of them the file has; zeros else.

    frames  photographs of the split

    Raises MissingData where the file cannot be read; DataError where a line has another form, or a number
    stands there twice or is none of the split's.
    """
    path = Path(path)
    try:
        text = read_plain(path, _LARGEST_LINES).decode("ascii")
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror}): look at its name") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not plain text: write {_NUMBERS} numbers a line") from None
    joints = torch.zeros(frames, NUM_JOINTS, 3, dtype=torch.float64)
    predicted = torch.zeros(frames, dtype=torch.bool)
    for line, row in enumerate(text.splitlines(), start=1):
        parts = row.split(",")
        where = f"{path}: line {line}"
        if len(parts) != _NUMBERS:
            raise DataError(f"{where} has {len(parts)} numbers, where {_NUMBERS} belong: image, then x, y, z")
        try:
            number, values = int(parts[0]), np.array([float(part) for part in parts[1:]])
        except ValueError:
            raise DataError(f"{where} holds something that is no number: write it again") from None
        if not 0 <= number < frames or predicted[number]:
            raise DataError(
                f"{where} is about image {number}, which is there already or none of the {frames}: number "
                f"photographs from 0 in the order of the split"
            )
        if not np.isfinite(values).all():
            raise DataError(f"{where} is not finite: leave the line out")
        joints[number] = torch.from_numpy(values).reshape(NUM_JOINTS, 3) / 1000
        predicted[number] = True
    return joints, predicted


def _behind(points: Float[Tensor, "frame point 3"]) -> int | None:
    """The first frame whose points all lie behind an OpenCV camera; the official guard, seen from there."""
    behind = (points[..., 2] < 0).all(dim=-1)
    return int(behind.nonzero()[0]) if behind.any() else None


def _json_parts(lists: tuple[Tensor, Tensor]) -> Iterator[str]:
    """Frame by frame, so that half a gigabyte of text is never in memory."""
    for first, frames in enumerate(lists):
        yield ", [" if first else "[["
        for number, frame in enumerate(frames):
            yield (", " if number else "") + json.dumps(frame.tolist())
        yield "]"
    yield "]"

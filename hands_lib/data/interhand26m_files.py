"""The annotation files of InterHand2.6M as arrays: read entry by entry, checked, and never held whole.

`data.interhand26m` gives the arrays their meaning; units and orders are named there and changed here.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from hands_lib.data.errors import DataError, shown
from hands_lib.data.index_cache import Columns
from hands_lib.data.json_stream import (
    AGAIN,
    entries,
    finite_numbers,
    numbers,
    scalar_types,
    unique_keys,
    value_of,
)
from hands_lib.data.mano_annotation import HANDS, MANO_SIZES
from hands_lib.hand.skeleton import JOINT_ORDERS, NUM_JOINTS, reorder

HAND_TYPES = ("right", "left", "interacting")
_ROWS = 2 * NUM_JOINTS  # joints of a time step on disk
_MOST_OTHERS = 10_000  # entries of a _data.json besides images and annotations
_MOST_CAMERAS = 100_000  # entries of a _camera.json: four a camera and capture
_LONGEST_NAME = 1000  # characters
_AT_ONCE = 4096  # entries that exist as Python objects at a time
_IMAGE_KEYS = (
    "id", "file_name", "width", "height", "capture", "subject", "seq_name", "camera", "frame_idx",
)  # fmt: skip
_ANNOTATION_KEYS = ("id", "image_id", "bbox", "joint_valid", "hand_type", "hand_type_valid")
_IMAGE_INTEGERS = ("id", "width", "height", "capture", "subject", "frame_idx")
_SAME_RELEASE = "use the files of one release together"

Arrays = dict[str, np.ndarray]


def read_release(data: Path, camera: Path, joint_3d: Path) -> Columns:
    """Everything that the three files say, checked against each other. Raises DataError, MissingData."""
    image, annotation, names = _read_frames(data)
    row = annotation["image"]
    arrays = {f"image.{name}": column for name, column in image.items()}
    arrays |= {f"annotation.{name}": column for name, column in annotation.items()}
    pairs, arrays["camera_of_row"], counts = _distinct(image["capture"][row], image["camera"][row])
    arrays |= _read_cameras(camera, data, pairs, counts, names["camera"])
    pairs, arrays["step_of_row"], counts = _distinct(image["capture"][row], image["frame_idx"][row])
    arrays |= _read_joints(joint_3d, data, pairs, counts)
    arrays |= {"step_capture": pairs[:, 0].copy(), "step_frame": pairs[:, 1].copy()}
    return Columns(arrays, names)


def read_mano(path: Path, captures: np.ndarray, frames: np.ndarray) -> Columns:
    """The fits of the given time steps: parameters (step, 2, size), flags of hands, entry there or not."""
    steps = _numbered(captures, frames)
    values = {key: np.zeros((len(captures), 2, size), np.float32) for key, size in MANO_SIZES.items()}
    valid = np.zeros((len(captures), 2), dtype=bool)
    present = np.zeros(len(captures), dtype=bool)
    for keys, entry in _steps(path):
        step = steps.get(keys)
        if step is None:
            continue
        present[step] = True
        for hand, name in enumerate(HANDS):
            fit = entry.get(name)
            if fit is None:
                continue
            where = f"{path}: capture {keys[0]}, frame {keys[1]}, {name} hand"
            for key, size in MANO_SIZES.items():
                values[key][step, hand] = finite_numbers(
                    f"{where}: {key}", value_of(where, fit, key), (size,)
                )
            valid[step, hand] = True
    return Columns(values | {"valid": valid, "present": present}, {})


def read_rootnet(path: Path, annotations: np.ndarray) -> Columns:
    """RootNet's box (row, 4) and depths (row, 2; metres, NaN where none is given) of the annotations."""
    rows = {identity: row for row, identity in enumerate(annotations.tolist())}
    box = np.zeros((len(rows), 4), np.float32)
    depth = np.full((len(rows), 2), np.nan, np.float32)
    present = np.zeros(len(rows), dtype=bool)
    for keys, entry in entries(path, depth=1, pairs_hook=unique_keys(path), top="["):
        if len(keys) != 1 or not isinstance(entry, dict):
            raise DataError(f"{path} is not a list of RootNet's estimates: {AGAIN}")
        where = f"{path}: entry {keys[0]}"
        identity = value_of(where, entry, "annot_id")
        row = rows.get(identity) if type(identity) is int else None
        if row is None:
            continue
        if present[row]:
            raise DataError(f"{where}: annotation {identity} stands there twice: keep one of the two entries")
        box[row] = finite_numbers(f"{where}: bbox", value_of(where, entry, "bbox"), (4,))
        given = value_of(where, entry, "abs_depth")
        if not isinstance(given, list) or len(given) != 2:
            raise DataError(f"{where}: abs_depth is not two depths, right and left: {AGAIN}")
        for hand, value in enumerate(given):
            if value is not None:
                depth[row, hand] = finite_numbers(f"{where}: abs_depth", [value], (1,))[0] / 1000
        present[row] = True
    return Columns({"box": box, "depth": depth, "present": present}, {})


# --- _data.json ----------------------------------------------------------------------------------------


class _Gathered:
    """Tuples that become arrays whenever enough of them have come together."""

    def __init__(self, convert: Callable[[list[tuple], int], Arrays]):
        self._convert = convert
        self._waiting: list[tuple] = []
        self._parts: list[Arrays] = []
        self.count = 0

    def add(self, row: tuple) -> None:
        self._waiting.append(row)
        self.count += 1
        if len(self._waiting) == _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        self._parts.append(self._convert(self._waiting, self.count - len(self._waiting)))
        self._waiting = []

    def arrays(self) -> Arrays:
        if self._waiting:
            self._flush()
        whole = {}
        for name in list(self._parts[0]):  # column by column, so that only one is there twice
            whole[name] = np.concatenate([part.pop(name) for part in self._parts])
        return whole


def _read_frames(path: Path) -> tuple[Arrays, Arrays, dict[str, list[str]]]:
    names: dict[str, dict[str, int]] = {"seq_name": {}, "camera": {}}

    def convert_images(rows: list[tuple], first: int) -> Arrays:
        column = dict(zip(_IMAGE_KEYS, zip(*rows, strict=True), strict=True))
        for name in _strings(path, "images", "file_name", column["file_name"], first):
            _refuse_outside(path, name)
        arrays = {n: _integers(path, "images", n, column[n], first) for n in _IMAGE_INTEGERS}
        arrays["file_name"] = np.array([name.encode() for name in column["file_name"]])
        for name, codes in names.items():
            texts = _strings(path, "images", name, column[name], first)
            arrays[name] = np.array([codes.setdefault(text, len(codes)) for text in texts], np.int32)
        for name in ("width", "height"):
            if (arrays[name] < 1).any():
                raise DataError(f"{path}: an image has {name} {arrays[name].min()}")
        return arrays

    def convert_annotations(rows: list[tuple], first: int) -> Arrays:
        column = dict(zip(_ANNOTATION_KEYS, zip(*rows, strict=True), strict=True))
        types = _strings(path, "annotations", "hand_type", column["hand_type"], first)
        if unknown := set(types) - set(HAND_TYPES):
            raise DataError(
                f"{path}: unknown hand_type {shown(sorted(unknown))}; there are {', '.join(HAND_TYPES)}"
            )
        packed = []
        for identity, given, known in zip(
            column["id"], column["joint_valid"], column["hand_type_valid"], strict=True
        ):
            flags = pack_flags(given)
            if flags is None or len(flags) != _ROWS:
                found = "something else" if flags is None else f"{len(flags)} joints"
                raise DataError(
                    f"{path}: annotation {identity}: joint_valid has {found}, where {_ROWS} flags of 0 or 1 "
                    f"(two hands of {NUM_JOINTS} joints) belong"
                )
            if type(known) not in (int, bool) or known not in (0, 1):
                raise DataError(
                    f"{path}: annotation {identity}: hand_type_valid is {shown(known)}, not 0 or 1"
                )
            packed.append(flags)
        return {
            "id": _integers(path, "annotations", "id", column["id"], first),
            "image_id": _integers(path, "annotations", "image_id", column["image_id"], first),
            "bbox": _boxes(path, column["id"], column["bbox"]),
            "hand_type": np.array([HAND_TYPES.index(name) for name in types], np.int8),
            "hand_type_valid": np.array([bool(flag) for flag in column["hand_type_valid"]]),
            "joint_valid": np.frombuffer(b"".join(packed), np.uint8).reshape(-1, _ROWS),
        }

    gathered = {"images": _Gathered(convert_images), "annotations": _Gathered(convert_annotations)}
    take = {"images": itemgetter(*_IMAGE_KEYS), "annotations": itemgetter(*_ANNOTATION_KEYS)}
    others = 0
    for keys, entry in entries(path, depth=2, pairs_hook=unique_keys(path), top="{"):
        kind = keys[0]
        if kind not in gathered:
            others += 1
            if others > _MOST_OTHERS:
                raise DataError(f"{path} holds more than images and annotations: this is not a _data.json")
            continue
        if len(keys) != 2 or type(keys[1]) is not int or not isinstance(entry, dict):
            raise DataError(f"{path}: {kind!r} is not a list of objects: this is not a file of InterHand2.6M")
        try:
            gathered[kind].add(take[kind](entry))
        except KeyError as error:
            raise DataError(
                f"{path}: {kind[:-1]} {shown(entry.get('id', '(without id)'))} has no key {error}: "
                f"this is not a _data.json of InterHand2.6M, or it was cut by another program"
            ) from None
    if not gathered["images"].count or not gathered["annotations"].count:
        raise DataError(f"{path} lists no images or no annotations: this is not a _data.json, or it was cut")
    image, annotation = gathered["images"].arrays(), gathered["annotations"].arrays()
    width = image["file_name"].dtype.itemsize
    image["file_name"] = image["file_name"].view(np.uint8).reshape(-1, width)
    for kind, ids in (("image", image["id"]), ("annotation", annotation["id"])):
        unique, counts = np.unique(ids, return_counts=True)
        if len(unique) < len(ids):
            raise DataError(
                f"{path}: {kind} id {unique[counts > 1][0]} stands there more than once "
                f"({(counts > 1).sum()} such ids): keep one entry of each"
            )
    wanted = annotation.pop("image_id")
    annotation["image"], found = _find(image["id"], wanted)
    if not found.all():
        raise DataError(
            f"{path}: annotation {annotation['id'][~found][0]} belongs to image "
            f"{wanted[~found][0]}, which is not listed ({(~found).sum()} such annotations)"
        )
    return image, annotation, {name: list(codes) for name, codes in names.items()}


# --- _camera.json and _joint_3d.json -------------------------------------------------------------------


def _read_cameras(path: Path, data: Path, pairs: np.ndarray, counts: np.ndarray, names: list[str]) -> Arrays:
    # A file of a few megabytes, whose cameras stand in four places each.
    content: dict[tuple, Any] = {}
    for keys, value in entries(path, depth=3, pairs_hook=unique_keys(path), top="{"):
        content[keys] = value
        if len(content) > _MOST_CAMERAS:
            raise DataError(f"{path} holds far more than cameras: this is not a _camera.json")
    captures = {keys[0] for keys in content if keys}
    intrinsics = np.zeros((len(pairs), 3, 3), np.float32)
    camera_from_world = np.zeros((len(pairs), 4, 4), np.float32)
    for number, (capture, code) in enumerate(pairs.tolist()):
        name = names[code]
        if str(capture) not in captures:
            raise DataError(
                f"{path} has no capture {capture}, which {counts[number]} frames of {data} need: "
                f"{_SAME_RELEASE}"
            )
        values = {}
        for key, shape in (("campos", (3,)), ("camrot", (3, 3)), ("focal", (2,)), ("princpt", (2,))):
            value = content.get((str(capture), key, name))
            where = f"{path}: capture {capture}, camera {name}: {key}"
            if value is None:
                raise DataError(
                    f"{where} is missing, and {counts[number]} frames of {data} need it: {_SAME_RELEASE}"
                )
            values[key] = finite_numbers(where, value, shape)
        rotation = values["camrot"]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
            raise DataError(f"{path}: capture {capture}, camera {name}: camrot is not a rotation: {AGAIN}")
        if (values["focal"] <= 0).any():
            raise DataError(f"{path}: capture {capture}, camera {name}: focal is not positive: {AGAIN}")
        intrinsics[number, [0, 1], [0, 1]] = values["focal"]
        intrinsics[number, :2, 2] = values["princpt"]
        intrinsics[number, 2, 2] = 1
        camera_from_world[number, :3, :3] = rotation
        camera_from_world[number, :3, 3] = -rotation @ values["campos"] / 1000
        camera_from_world[number, 3, 3] = 1
    return {"intrinsics": intrinsics, "camera_from_world": camera_from_world}


def _read_joints(path: Path, data: Path, pairs: np.ndarray, counts: np.ndarray) -> Arrays:
    steps = _numbered(*pairs.T)
    on_disk = np.zeros((len(pairs), _ROWS, 3), np.float32)
    valid = np.zeros((len(pairs), _ROWS), dtype=bool)
    missing = np.ones(len(pairs), dtype=bool)
    for keys, entry in _steps(path):
        step = steps.get(keys)
        if step is None:
            continue
        where = f"{path}: capture {keys[0]}, frame {keys[1]}"
        coordinates = (
            numbers(f"{where}: world_coord", value_of(where, entry, "world_coord"), (_ROWS, 3)) / 1000
        )
        flags = pack_flags(value_of(where, entry, "joint_valid"))
        if flags is None or len(flags) != _ROWS:
            raise DataError(f"{where}: joint_valid is not {_ROWS} flags of 0 or 1: get the file again")
        valid[step] = np.frombuffer(flags, np.uint8).astype(bool)
        with np.errstate(over="ignore"):
            on_disk[step] = np.where(valid[step, :, None], coordinates, 0)
        bad = ~np.isfinite(on_disk[step]).all(axis=-1)
        if bad.any():
            hand, joint = divmod(int(bad.argmax()), NUM_JOINTS)
            raise DataError(
                f"{where}: the {HANDS[hand]} hand's {JOINT_ORDERS['interhand26m'][joint]} "
                f"(row {bad.argmax()}) is marked valid, but its position is "
                f"{(1000 * coordinates[bad.argmax()]).tolist()}: set its joint_valid to 0, or {AGAIN}"
            )
        missing[step] = False
    if missing.any():
        capture, frame = pairs[missing][0]
        raise DataError(
            f"{path}: capture {capture}, frame {frame} is missing, and {counts[missing][0]} photographs of "
            f"{data} need it ({missing.sum()} such moments): {_SAME_RELEASE}"
        )
    hands = (2, NUM_JOINTS)
    joints = reorder(torch.from_numpy(on_disk).unflatten(1, hands), "interhand26m", "hands")
    return {"joints": joints.numpy(), "joint_valid": reorder_flags(valid)}


def reorder_flags(valid: np.ndarray) -> np.ndarray:
    """Flags (row, 42) of two hands as they are on disk, as (row, 2, 21) in the library's order."""
    flags = torch.from_numpy(valid.astype(bool)).unflatten(-1, (2, NUM_JOINTS))
    return reorder(flags[..., None], "interhand26m", "hands")[..., 0].contiguous().numpy()


def _steps(path: Path) -> Iterable[tuple[tuple, dict]]:
    """(capture, frame) as on disk, and the entry."""
    for keys, entry in entries(path, depth=2, pairs_hook=unique_keys(path), top="{"):
        if len(keys) != 2 or type(keys[1]) is not str or not isinstance(entry, dict):
            raise DataError(f"{path} does not hold one object for each frame of each capture: {AGAIN}")
        yield keys, entry


def _numbered(captures: np.ndarray, frames: np.ndarray) -> dict[tuple[str, str], int]:
    pairs = zip(captures.tolist(), frames.tolist(), strict=True)
    return {(str(capture), str(frame)): step for step, (capture, frame) in enumerate(pairs)}


def _distinct(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct pairs, sorted; each row's number among them; how many rows each has."""
    pairs, inverse, counts = np.unique(
        np.stack([first, second], axis=-1), axis=0, return_inverse=True, return_counts=True
    )
    return pairs, inverse.reshape(-1).astype(np.int32), counts


# --- values --------------------------------------------------------------------------------------------


def pack_flags(value: Any) -> bytes | None:
    """Flags of 0 or 1, in lists of one or not, as bytes; None where they are something else."""
    try:
        flags = bytes(chain.from_iterable(value))
    except (TypeError, ValueError):  # floats, or not nested
        if not scalar_types(value) <= {int, float, bool}:  # numpy would read numbers from text
            return None
        try:
            numbers = np.asarray(value, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError, OverflowError):
            return None
        if not np.isin(numbers, (0, 1)).all():
            return None
        flags = numbers.astype(np.uint8).tobytes()
    return flags if not flags or max(flags) <= 1 else None


def _integers(path: Path, kind: str, name: str, column: tuple, first: int) -> np.ndarray:
    for row, value in enumerate(column, start=first):
        if type(value) is not int or not 0 <= value < 2**63:
            raise DataError(
                f"{path}: {name} of entry {row} of {kind!r} is {shown(value)}, no whole number >= 0"
            )
    return np.array(column, dtype=np.int64)


def _strings(path: Path, kind: str, name: str, column: tuple, first: int) -> tuple[str, ...]:
    for row, value in enumerate(column, start=first):
        if type(value) is not str or not 0 < len(value) <= _LONGEST_NAME or not value.isprintable():
            raise DataError(f"{path}: {name} of entry {row} of {kind!r} is {shown(value)}, not a name")
    return column


def _boxes(path: Path, ids: tuple, column: tuple) -> np.ndarray:
    try:
        if not scalar_types([list(box) for box in column]) <= {int, float}:
            raise ValueError
        boxes = np.array(column, dtype=np.float64)
        good = (np.abs(boxes) < np.finfo(np.float32).max).all(axis=-1)
    except (TypeError, ValueError, OverflowError):
        boxes, good = np.zeros(0), np.zeros(len(ids), dtype=bool)
    if boxes.shape != (len(ids), 4) or not good.all():
        first = next(
            (identity for identity, box in zip(ids, column, strict=True) if not _is_box(box)), ids[0]
        )
        raise DataError(f"{path}: annotation {first}: bbox is not four finite numbers x, y, width, height")
    return boxes.astype(np.float32)


def _is_box(box: Any) -> bool:
    try:
        values = np.abs(np.asarray(box, dtype=np.float64))
        return (
            scalar_types(box) <= {int, float} and (values < np.finfo(np.float32).max).tolist() == [True] * 4
        )
    except (TypeError, ValueError, OverflowError):
        return False


def _refuse_outside(path: Path, name: str) -> None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DataError(f"{path}: file_name {shown(name)} leaves the image folder: get the file again")


def _find(haystack: np.ndarray, needles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row of each needle in the haystack of distinct values, and whether it is there."""
    order = np.argsort(haystack)
    place = np.minimum(np.searchsorted(haystack[order], needles), len(haystack) - 1)
    rows = order[place]
    return rows, haystack[rows] == needles

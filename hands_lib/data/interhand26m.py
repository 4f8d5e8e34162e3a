"""InterHand2.6M as it lies on disk: photographs of one or two hands with calibrated cameras and 3-D joints.

Source   Moon et al., "InterHand2.6M", ECCV 2020; data_manifests/interhand26m.yml says where to get it
Chapter  book/foundations/real_captures.md
Units    millimetres on disk, metres here (converted in this module and nowhere else); pixels
Frames   world: that of a capture's camera calibration. Cameras as OpenCV's: X_cam = R (X_world - campos)
Order    right hand first, the library's joint order; on disk the order "interhand26m", left hand = rows 21-41

Three layouts are read: `annotations/{split}/` with `images/{split}/` (current releases),
`annotations/{subset}/` (older ones; name the subset), and everything in one folder (samples).

Flags decide, never values: a joint that `joint_valid` denies has arbitrary numbers on disk (often 1, 1, 1;
sometimes plausible ones, sometimes NaN) and becomes zero here. A valid joint without a finite position is an
error. The joint flags of `_data.json` mean "annotated and inside this image"; as in the official loader, a
hand whose wrist is denied there has no valid joint in that image.

One release has more than a million frames. The index is a handful of arrays; a frame becomes objects only
when it is asked for.
"""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.images import read_image
from hands_lib.hand.skeleton import JOINT_ORDERS, NUM_JOINTS, reorder
from hands_lib.structures import Camera, TensorFields, TwoHandSample

SPLITS = ("train", "val", "test")
HAND_TYPES = ("right", "left", "interacting")
_ROWS = 2 * NUM_JOINTS  # joints of a time step on disk
_IMAGE_KEYS = (
    "id", "file_name", "width", "height", "capture", "subject", "seq_name", "camera", "frame_idx",
)  # fmt: skip
_ANNOTATION_KEYS = ("id", "image_id", "bbox", "joint_valid", "hand_type", "hand_type_valid")
_MANO_SIZES = {"pose": 48, "shape": 10, "trans": 3}


@dataclass(frozen=True)
class ManoAnnotation(TensorFields):
    """The release's own MANO fits of one time step. Zeros where a hand was not fitted."""

    pose: Float[Tensor, "2 48"]
    """Axis-angle minus MANO's mean pose, radians; the first three are the root's rotation in the world."""
    shape: Float[Tensor, "2 10"]
    translation: Float[Tensor, "2 3"]
    """World, metres."""
    valid: Bool[Tensor, "2"]


@dataclass(frozen=True)
class InterHandFrame:
    """One photograph and what is known about it."""

    sample: TwoHandSample
    """3-D joints, their flags, and this photograph's camera."""
    image_joint_valid: Bool[Tensor, "2 21"]
    """Annotated, inside this image, and of a hand whose wrist is so too."""
    bbox: Float[Tensor, "4"]
    """x, y, width, height of the hands in the image, pixels."""
    mano: ManoAnnotation | None
    """None where the release has no MANO file, or no entry for this time step."""
    hand_type: str
    hand_type_valid: bool
    capture: int
    subject: int
    sequence: str
    camera_id: str
    frame_index: int
    """The release's number of the time step, unique within a capture."""
    annotation_id: int
    image_path: Path

    @property
    def is_grey(self) -> bool:
        """Cameras whose number starts with 41 take grey photographs."""
        return self.camera_id.startswith("41")

    def image(self) -> UInt8[Tensor, "height width 3"]:
        """Reads the photograph. Raises DataError where it is missing, broken or of another size."""
        camera = self.sample.camera
        return read_image(self.image_path, camera.width, camera.height)


@dataclass(frozen=True)
class TimeStep:
    """One moment of a capture, seen by one or more cameras."""

    sample: TwoHandSample
    """3-D joints and flags, without a camera."""
    capture: int
    frame_index: int
    frames: tuple[int, ...] = field(repr=False)
    """Numbers of its photographs in the data set it came from: `dataset[number]`."""


class InterHand26M(Sequence[InterHandFrame]):
    """The photographs of one split, in the order of its `_data.json`.

    Raises MissingData for a missing folder or file, DataError for content that contradicts the format; both
    before the first frame is handed out. Photographs are opened only by `InterHandFrame.image`.
    """

    def __init__(self, root: str | Path, split: str = "test", *, annotation_subset: str | None = None):
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r} of InterHand2.6M; there are {', '.join(SPLITS)}")
        self.root = Path(root)
        self.split = split
        self._folder = _annotation_folder(self.root, split, annotation_subset)
        images = self.root / "images" / split
        self.image_folder = images if images.is_dir() or self._folder != self.root else self.root
        self._read_frames(self.file("data"))
        self._read_cameras(self.file("camera"))
        self._read_joints(self.file("joint_3d"))
        self._rows = np.arange(len(self._annotation["id"]))

    def file(self, kind: str) -> Path:
        """Path of one of the split's annotation files: data, camera, joint_3d or MANO_NeuralAnnot."""
        return self._folder / _file_name(self.split, kind)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> InterHandFrame:
        if not -len(self) <= number < len(self):
            raise IndexError(f"frame {number} of {len(self)} in {self.file('data')}")
        row = self._rows[number]
        annotation = {name: column[row] for name, column in self._annotation.items()}
        image = {name: column[annotation["image"]] for name, column in self._image.items()}
        step = self._step_of_row[row]
        camera = self._camera_of_row[row]
        in_image = torch.from_numpy(annotation["joint_valid"].astype(bool)).unflatten(0, (2, NUM_JOINTS))
        in_image = reorder(in_image[..., None], "interhand26m", "hands")[..., 0]
        return InterHandFrame(
            sample=TwoHandSample(
                joints=self._joints[step],
                joint_valid=self._joint_valid[step],
                camera=Camera(
                    intrinsics=self._intrinsics[camera],
                    camera_from_world=self._camera_from_world[camera],
                    width=int(image["width"]),
                    height=int(image["height"]),
                ),
            ),
            image_joint_valid=in_image & in_image[:, :1],  # the wrist is the first joint
            bbox=torch.from_numpy(annotation["bbox"].astype(np.float32)),
            mano=self._mano_of_step(int(step)),
            hand_type=HAND_TYPES[annotation["hand_type"]],
            hand_type_valid=bool(annotation["hand_type_valid"]),
            capture=int(image["capture"]),
            subject=int(image["subject"]),
            sequence=self._sequence_names[image["seq_name"]],
            camera_id=self._camera_names[image["camera"]],
            frame_index=int(image["frame_idx"]),
            annotation_id=int(annotation["id"]),
            image_path=self._image_path(int(annotation["image"])),
        )

    def only(self, hand_type: str) -> "InterHand26M":
        """The photographs of this hand type: right, left or interacting. Shares the index with `self`."""
        if hand_type not in HAND_TYPES:
            raise DataError(f"unknown hand type {hand_type!r}; there are {', '.join(HAND_TYPES)}")
        kept = self._annotation["hand_type"][self._rows] == HAND_TYPES.index(hand_type)
        chosen = copy.copy(self)
        chosen._rows = self._rows[kept]
        return chosen

    def time_steps(self) -> list[TimeStep]:
        """The moments, each with all its cameras, ordered by capture and frame."""
        steps, inverse = np.unique(self._step_of_row[self._rows], return_inverse=True)
        numbers = np.split(
            np.argsort(inverse, kind="stable"), np.bincount(inverse, minlength=len(steps)).cumsum()[:-1]
        )
        return [
            TimeStep(
                sample=TwoHandSample(self._joints[step], self._joint_valid[step]),
                capture=int(self._step_capture[step]),
                frame_index=int(self._step_frame[step]),
                frames=tuple(frames.tolist()),
            )
            for step, frames in zip(steps, numbers, strict=True)
        ]

    def skeletons(self) -> TwoHandSample:
        """All moments as one batch, in the order of `time_steps`: joints (step, 2, 21, 3)."""
        steps = torch.from_numpy(np.unique(self._step_of_row[self._rows]))
        return TwoHandSample(self._joints[steps], self._joint_valid[steps])

    def image_paths(self) -> list[Path]:
        """Where the photographs should lie, in the order of the frames."""
        return [self._image_path(image) for image in self._annotation["image"][self._rows].tolist()]

    def _image_path(self, image: int) -> Path:
        return self.image_folder / self._image["file_name"][image].decode()

    def _read_frames(self, path: Path) -> None:
        # Rows become tuples, and joint flags bytes, while the parser runs: the objects of a whole release
        # would not fit into memory together.
        images: list[tuple] = []
        annotations: list[tuple] = []
        take_image, take_annotation = itemgetter(*_IMAGE_KEYS), itemgetter(*_ANNOTATION_KEYS)

        def pack(pairs: list[tuple[str, Any]]) -> dict | None:
            entry = dict(pairs)
            try:
                if "image_id" in entry:
                    entry["joint_valid"] = _pack_flags(entry["joint_valid"])
                    annotations.append(take_annotation(entry))
                    return None
                if "file_name" in entry:
                    images.append(take_image(entry))
                    return None
            except KeyError as error:
                kind = "annotation" if "image_id" in entry else "image"
                raise DataError(
                    f"{path}: {kind} {entry.get('id', '(without id)')} has no key {error}: "
                    f"this is not a _data.json of InterHand2.6M, or it was cut by another program"
                ) from None
            return entry

        content = _read_json(path, pack)
        for key in ("images", "annotations"):
            if not isinstance(content, dict) or not isinstance(content.get(key), list):
                raise DataError(f"{path} has no list {key!r}: this is not a _data.json of InterHand2.6M")
        for key, rows, keys in (
            ("images", images, _IMAGE_KEYS),
            ("annotations", annotations, _ANNOTATION_KEYS),
        ):
            if len(rows) != len(content[key]):
                marker = "file_name" if key == "images" else "image_id"
                raise DataError(
                    f"{path}: {len(content[key]) - len(rows)} of {len(content[key])} entries of {key!r} "
                    f"have no key {marker!r} (all of {', '.join(keys)} are needed)"
                )
        if not images or not annotations:
            raise DataError(f"{path} lists no images or no annotations: download it again")
        image = dict(zip(_IMAGE_KEYS, zip(*images, strict=True), strict=True))
        annotation = dict(zip(_ANNOTATION_KEYS, zip(*annotations, strict=True), strict=True))

        self._sequence_names, sequences = _codes(path, "images", "seq_name", image["seq_name"])
        self._camera_names, cameras = _codes(path, "images", "camera", image["camera"])
        file_names = _strings(path, "images", "file_name", image["file_name"])
        for name in file_names:
            if ".." in name or name.startswith("/"):
                _refuse_outside(path, name)
        self._image = {
            name: _integers(path, "images", name, image[name])
            for name in ("id", "width", "height", "capture", "subject", "frame_idx")
        }
        self._image |= {
            "seq_name": sequences,
            "camera": cameras,
            "file_name": np.array([name.encode() for name in file_names]),
        }
        for name in ("width", "height"):
            if (self._image[name] < 1).any():
                raise DataError(f"{path}: an image has {name} {self._image[name].min()}")
        types, codes = _codes(path, "annotations", "hand_type", annotation["hand_type"])
        if unknown := set(types) - set(HAND_TYPES):
            raise DataError(f"{path}: unknown hand_type {sorted(unknown)}; there are {', '.join(HAND_TYPES)}")
        flags = annotation["joint_valid"]
        for identity, packed in zip(annotation["id"], flags, strict=True):
            if packed is None or len(packed) != _ROWS:
                found = "something else" if packed is None else f"{len(packed)} joints"
                raise DataError(
                    f"{path}: annotation {identity}: joint_valid has {found}, where {_ROWS} flags of 0 or 1 "
                    f"(two hands of {NUM_JOINTS} joints) belong"
                )
        self._annotation = {
            "id": _integers(path, "annotations", "id", annotation["id"]),
            "bbox": _boxes(path, annotation["id"], annotation["bbox"]),
            "hand_type": np.array([HAND_TYPES.index(name) for name in types], dtype=np.int8)[codes],
            "hand_type_valid": np.array([bool(flag) for flag in annotation["hand_type_valid"]]),
            "joint_valid": np.frombuffer(b"".join(flags), np.uint8).reshape(-1, _ROWS),
        }
        for kind, ids in (("image", self._image["id"]), ("annotation", self._annotation["id"])):
            unique, counts = np.unique(ids, return_counts=True)
            if len(unique) < len(ids):
                raise DataError(
                    f"{path}: {kind} id {unique[counts > 1][0]} stands there more than once "
                    f"({(counts > 1).sum()} such ids): keep one entry of each"
                )
        wanted = _integers(path, "annotations", "image_id", annotation["image_id"])
        row, found = _find(self._image["id"], wanted)
        if not found.all():
            raise DataError(
                f"{path}: annotation {self._annotation['id'][~found][0]} belongs to image "
                f"{wanted[~found][0]}, which is not listed ({(~found).sum()} such annotations)"
            )
        self._annotation["image"] = row

    def _read_cameras(self, path: Path) -> None:
        content = _read_json(path, _unique_keys(path))
        capture, camera = (self._image[name][self._annotation["image"]] for name in ("capture", "camera"))
        pairs, self._camera_of_row, counts = np.unique(
            np.stack([capture, camera], axis=-1), axis=0, return_inverse=True, return_counts=True
        )
        self._camera_of_row = self._camera_of_row.reshape(-1)  # numpy 2.0 keeps the axis
        intrinsics = np.zeros((len(pairs), 3, 3))
        camera_from_world = np.zeros((len(pairs), 4, 4))
        for number, (capture, code) in enumerate(pairs.tolist()):
            name = self._camera_names[code]
            entry = _lookup(content, str(capture))
            if entry is None:
                raise DataError(
                    f"{path} has no capture {capture}, which {counts[number]} frames of {self.file('data')} "
                    f"need: use the files of one release together"
                )
            values = {}
            for key, shape in (("campos", (3,)), ("camrot", (3, 3)), ("focal", (2,)), ("princpt", (2,))):
                value = _lookup(_lookup(entry, key), name)
                where = f"{path}: capture {capture}, camera {name}: {key}"
                if value is None:
                    raise DataError(
                        f"{where} is missing, and {counts[number]} frames of {self.file('data')} need it: "
                        f"use the files of one release together"
                    )
                values[key] = _numbers(where, value, shape)
                if not np.isfinite(values[key]).all():
                    raise DataError(f"{where} is not finite: download the file again")
            rotation = values["camrot"]
            if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
                raise DataError(
                    f"{path}: capture {capture}, camera {name}: camrot is not a rotation: "
                    f"download the file again"
                )
            intrinsics[number, [0, 1], [0, 1]] = values["focal"]
            intrinsics[number, :2, 2] = values["princpt"]
            intrinsics[number, 2, 2] = 1
            camera_from_world[number, :3, :3] = rotation
            camera_from_world[number, :3, 3] = -rotation @ values["campos"] / 1000
            camera_from_world[number, 3, 3] = 1
        self._intrinsics = torch.from_numpy(intrinsics).float()
        self._camera_from_world = torch.from_numpy(camera_from_world).float()

    def _read_joints(self, path: Path) -> None:
        content = _read_json(path, _unique_keys(path))
        capture, frame = (self._image[name][self._annotation["image"]] for name in ("capture", "frame_idx"))
        pairs, self._step_of_row, counts = np.unique(
            np.stack([capture, frame], axis=-1), axis=0, return_inverse=True, return_counts=True
        )
        self._step_of_row = self._step_of_row.reshape(-1)
        self._step_capture, self._step_frame = pairs.T
        joints = np.zeros((len(pairs), _ROWS, 3))
        valid = np.zeros((len(pairs), _ROWS), dtype=bool)
        for step, (capture, frame) in enumerate(pairs.tolist()):
            entry = _lookup(_lookup(content, str(capture)), str(frame))
            where = f"{path}: capture {capture}, frame {frame}"
            if entry is None:
                raise DataError(
                    f"{where} is missing, and {counts[step]} photographs of {self.file('data')} need it: "
                    f"use the files of one release together"
                )
            for key in ("world_coord", "joint_valid"):
                if _lookup(entry, key) is None:
                    raise DataError(f"{where} has no key {key!r}: download the file again")
            joints[step] = _numbers(f"{where}: world_coord", entry["world_coord"], (_ROWS, 3))
            flags = _pack_flags(entry["joint_valid"])
            if flags is None or len(flags) != _ROWS:
                raise DataError(f"{where}: joint_valid is not {_ROWS} flags of 0 or 1: get the file again")
            valid[step] = np.frombuffer(flags, np.uint8).astype(bool)
        bad = valid & ~np.isfinite(joints).all(axis=-1)
        if bad.any():
            step, row = np.argwhere(bad)[0]
            hand, joint = divmod(int(row), NUM_JOINTS)
            raise DataError(
                f"{path}: capture {pairs[step, 0]}, frame {pairs[step, 1]}: the {('right', 'left')[hand]} "
                f"hand's {JOINT_ORDERS['interhand26m'][joint]} (row {row}) is marked valid, but its position "
                f"is {joints[step, row].tolist()}: set its joint_valid to 0, or download the file again"
            )
        joints = np.where(valid[..., None], joints, 0) / 1000
        hands = (2, NUM_JOINTS)
        self._joints = reorder(
            torch.from_numpy(joints).float().unflatten(1, hands), "interhand26m", "hands"
        ).contiguous()
        self._joint_valid = reorder(
            torch.from_numpy(valid).unflatten(1, hands)[..., None], "interhand26m", "hands"
        )[..., 0].contiguous()

    @cached_property
    def _mano(self) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray] | None:
        """Parameters (step, 2, size) by name, hand flags (step, 2), and which steps have an entry."""
        path = self.file("MANO_NeuralAnnot")
        if not path.exists():
            return None
        content = _read_json(path, _unique_keys(path))
        steps = len(self._step_capture)
        values = {key: np.zeros((steps, 2, size), np.float32) for key, size in _MANO_SIZES.items()}
        valid = np.zeros((steps, 2), dtype=bool)
        present = np.zeros(steps, dtype=bool)
        for step, (capture, frame) in enumerate(zip(self._step_capture, self._step_frame, strict=True)):
            entry = _lookup(_lookup(content, str(capture)), str(frame))
            present[step] = entry is not None
            for hand, name in enumerate(("right", "left")):
                fit = _lookup(entry, name)
                if fit is None:
                    continue
                where = f"{path}: capture {capture}, frame {frame}, {name} hand"
                for key, size in _MANO_SIZES.items():
                    if _lookup(fit, key) is None:
                        raise DataError(f"{where} has no key {key!r}: download the file again")
                    values[key][step, hand] = _numbers(f"{where}: {key}", fit[key], (size,))
                    if not np.isfinite(values[key][step, hand]).all():
                        raise DataError(f"{where}: {key} is not finite: download the file again")
                valid[step, hand] = True
        return values, valid, present

    def _mano_of_step(self, step: int) -> ManoAnnotation | None:
        if self._mano is None or not self._mano[2][step]:
            return None
        values, valid, _ = self._mano
        pose, shape, translation = (torch.from_numpy(values[key][step]) for key in _MANO_SIZES)
        return ManoAnnotation(pose, shape, translation, torch.from_numpy(valid[step]))


def splits_in(root: str | Path) -> list[str]:
    """The splits whose `_data.json` lies somewhere under `root`, in a layout that `InterHand26M` reads."""
    return [split for split in SPLITS if _data_files(Path(root), split)]


def _file_name(split: str, kind: str) -> str:
    return f"InterHand2.6M_{split}_{kind}.json"


def _data_files(root: Path, split: str) -> list[Path]:
    name = _file_name(split, "data")
    return [path for path in (root / name, *sorted(root.glob(f"annotations/*/{name}"))) if path.is_file()]


def _annotation_folder(root: Path, split: str, subset: str | None) -> Path:
    mend = "`hands data check interhand26m --root DIR` says what is missing and where to get it"
    if not root.is_dir():
        raise MissingData(f"{root} is not a folder; {mend}")
    tried = [root / "annotations" / (subset or split), *([root] if subset is None else [])]
    for folder in tried:
        if (folder / _file_name(split, "data")).is_file():
            for kind in ("camera", "joint_3d"):
                if not (folder / _file_name(split, kind)).is_file():
                    raise MissingData(f"{folder / _file_name(split, kind)} is missing; {mend}")
            return folder
    looked = " nor in ".join(str(folder) for folder in tried)
    if others := _data_files(root, split):
        subsets = ", ".join(repr(path.parent.name) for path in others)
        raise MissingData(
            f"no {_file_name(split, 'data')} in {looked}, but there are annotation subsets: "
            f"pass annotation_subset, one of {subsets}"
        )
    there = f" (splits there: {', '.join(splits_in(root))})" if splits_in(root) else ""
    raise MissingData(f"no {_file_name(split, 'data')} in {looked}{there}; {mend}")


def _read_json(path: Path, pairs_hook: Callable[[list[tuple[str, Any]]], Any]) -> Any:
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file, object_pairs_hook=pairs_hook)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not complete JSON (line {error.lineno}, column {error.colno}: {error.msg}): "
            f"the download or unpacking broke off; get the file again"
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise DataError(f"{path} is not JSON text: get the file again") from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror})") from None


def _unique_keys(path: Path) -> Callable[[list[tuple[str, Any]]], dict]:
    """A hook that refuses an object in which a key stands twice; plain JSON would keep the last silently."""

    def check(pairs: list[tuple[str, Any]]) -> dict:
        entry = dict(pairs)
        if len(entry) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))
            raise DataError(f"{path}: {twice!r} stands there twice in one place: keep one of the two entries")
        return entry

    return check


def _lookup(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None


def _pack_flags(value: Any) -> bytes | None:
    """Flags of 0 or 1, in lists of one or not, as bytes; None where they are something else."""
    try:
        flags = bytes(chain.from_iterable(value))
    except (TypeError, ValueError):  # floats, or not nested
        try:
            numbers = np.asarray(value, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError):
            return None
        if not np.isin(numbers, (0, 1)).all():
            return None
        flags = numbers.astype(np.uint8).tobytes()
    return flags if not flags or max(flags) <= 1 else None


def _numbers(where: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where} is not an array of numbers: download the file again") from None
    if array.size != np.prod(shape) or array.shape[0] != shape[0]:
        raise DataError(f"{where} has shape {array.shape}, where {shape} belongs: download the file again")
    return array.reshape(shape)


def _integers(path: Path, kind: str, name: str, column: tuple) -> np.ndarray:
    for row, value in enumerate(column):
        if type(value) is not int or not 0 <= value < 2**63:
            raise DataError(f"{path}: {name} of entry {row} of {kind!r} is {value!r}, no whole number >= 0")
    return np.array(column, dtype=np.int64)


def _strings(path: Path, kind: str, name: str, column: tuple) -> tuple[str, ...]:
    for row, value in enumerate(column):
        if type(value) is not str or not value:
            raise DataError(f"{path}: {name} of entry {row} of {kind!r} is {value!r}, not a name")
    return column


def _codes(path: Path, kind: str, name: str, column: tuple) -> tuple[list[str], np.ndarray]:
    """The distinct names of a column, and each row's number among them."""
    numbers: dict[str, int] = {}
    codes = [numbers.setdefault(value, len(numbers)) for value in _strings(path, kind, name, column)]
    return list(numbers), np.array(codes, dtype=np.int32)


def _boxes(path: Path, ids: tuple, column: tuple) -> np.ndarray:
    try:
        boxes = np.array(column, dtype=np.float64)
        good = np.isfinite(boxes).all(axis=-1)
    except (TypeError, ValueError):
        boxes, good = np.zeros(0), np.zeros(len(ids), dtype=bool)
    if boxes.shape != (len(ids), 4) or not good.all():
        first = next(
            (identity for identity, box in zip(ids, column, strict=True) if not _is_box(box)), ids[0]
        )
        raise DataError(f"{path}: annotation {first}: bbox is not four finite numbers x, y, width, height")
    return boxes


def _is_box(box: Any) -> bool:
    try:
        return np.isfinite(np.asarray(box, dtype=np.float64)).tolist() == [True] * 4
    except (TypeError, ValueError):
        return False


def _refuse_outside(path: Path, name: str) -> None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DataError(f"{path}: file_name {name!r} leaves the image folder: get the file again")


def _find(haystack: np.ndarray, needles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row of each needle in the haystack of distinct values, and whether it is there."""
    order = np.argsort(haystack)
    place = np.minimum(np.searchsorted(haystack[order], needles), len(haystack) - 1)
    rows = order[place]
    return rows, haystack[rows] == needles

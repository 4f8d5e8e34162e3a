"""DexYCB as it lies on disk: ten people grasp objects of the YCB set in front of eight cameras.

Source   Chao et al., "DexYCB", CVPR 2021; data_manifests/dexycb.yml says where to get it
Units    metres, pixels, radians
Frames   samples are in the view's own camera frame (x right, y down, z forward), as the labels are;
         `DexYCB.world_poses` are in the world, which is the frame of the master camera
Order    the library's ("freihand" is the same); the hand is right or left, the other one is absent

Photographs are numbered as the official evaluation numbers them: subject by subject, sequence by sequence,
camera by camera, frame by frame. A part of the release can be read; then numbers and the splits s0 and s3
are those of the part. Calibration may hold YAML's tag for Python's tuples, which is read as a list.
"""

import copy
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from tqdm import tqdm

from hands_lib.data.errors import DataError, MissingData, named_os_errors, shown
from hands_lib.data.held_objects import YCB_CLASSES, HandFit, HeldObject
from hands_lib.data.images import read_grey16, read_image
from hands_lib.data.json_stream import AGAIN
from hands_lib.data.skipped import BLACK_BELOW, Skipped, first_reason, photograph_masks
from hands_lib.hand.mano import ManoHand, ManoSurface, Side
from hands_lib.hand.skeleton import NUM_JOINTS
from hands_lib.plain_files import ContentError, read_npz, read_plain
from hands_lib.plain_yaml import LONGEST, read_yaml
from hands_lib.structures import Camera, TensorFields, TwoHandSample

SUBJECTS = (
    "20200709-subject-01", "20200813-subject-02", "20200820-subject-03", "20200903-subject-04",
    "20200908-subject-05", "20200918-subject-06", "20200928-subject-07", "20201002-subject-08",
    "20201015-subject-09", "20201022-subject-10",
)  # fmt: skip
SERIALS = (
    "836212060125", "839512060362", "840412060917", "841412060263",
    "932122060857", "932122060861", "932122061900", "932122062010",
)  # fmt: skip
"""The cameras, in the official order."""
SEQUENCES = 100
"""Of each subject, in the whole release."""
WIDTH, HEIGHT = 640, 480
HAND = 255
"""The hand's number in a segmentation; 0 is the background, 1 to 21 are objects."""
SIDES: tuple[Side, ...] = ("right", "left")
_BOP_STEP = 4  # the evaluation of object poses takes every fourth frame
_MOST_FRAMES = 100_000
_LARGEST_LABEL, _LARGEST_ARRAYS = 64 << 20, 256 << 20  # bytes
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")  # part of a path
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?")  # not YAML's octal, or of base 60


@dataclass(frozen=True)
class _Part:
    """What a split takes: places in SUBJECTS and SERIALS, and a rule for a sequence's place in its folder."""

    subjects: Collection[int] = range(10)
    cameras: Collection[int] = range(8)
    sequences: Callable[[int], bool] = lambda place: True


def _fifth(place: int) -> bool:
    return place % 5 == 4


SPLITS: dict[str, dict[str, _Part]] = {
    "s0": {
        "train": _Part(sequences=lambda place: not _fifth(place)),
        "val": _Part(subjects=(0, 1), sequences=_fifth),
        "test": _Part(subjects=range(2, 10), sequences=_fifth),
    },
    "s1": {
        "train": _Part(subjects=(0, 1, 2, 3, 4, 5, 9)),
        "val": _Part(subjects=(6,)),
        "test": _Part(subjects=(7, 8)),
    },
    "s2": {"train": _Part(cameras=range(6)), "val": _Part(cameras=(6,)), "test": _Part(cameras=(7,))},
    "s3": {
        "train": _Part(sequences=lambda place: place // 5 not in (3, 7, 11, 15, 19)),
        "val": _Part(sequences=lambda place: place // 5 in (3, 19)),
        "test": _Part(sequences=lambda place: place // 5 in (7, 11, 15)),
    },
}
"""Unseen sequences, subjects, cameras, grasped objects."""


@dataclass(frozen=True)
class DexYCBSequence:
    """What `meta.yml` says of one recording."""

    subject: str
    name: str
    folder: Path
    frames: int
    serials: tuple[str, ...]
    """Cameras whose folders are here, of those that the split takes; official order."""
    ycb_ids: tuple[int, ...]
    """The objects on the table, as numbers in YCB_CLASSES."""
    grasped: int
    """Which of them is grasped: a place in `ycb_ids`."""
    side: Side
    mano_calibration: str
    extrinsics: str


@dataclass(frozen=True)
class WorldPoses(TensorFields):
    """All frames of a recording in the world, from `pose.npz`; zeros where a pose is not known."""

    object_rotation: Float[Tensor, "frame object 3 3"]
    """world_from_object."""
    object_translation: Float[Tensor, "frame object 3"]
    object_valid: Bool[Tensor, "frame object"]
    hand: Float[Tensor, "frame 51"]
    """The root's axis-angle, 45 PCA coefficients, the translation."""
    hand_valid: Bool[Tensor, " frame"]


@dataclass(frozen=True)
class DexYCBFrame:
    """One photograph and what is known about it."""

    sequence: DexYCBSequence
    serial: str
    frame: int
    sample: TwoHandSample
    """The joints of the hand that grasps; no joint is valid where the release has no label of it. A hand
    with a label may be out of the picture."""
    image_joints: Float[Tensor, "21 2"]
    """Pixels; zeros where no joint is valid."""
    fit: HandFit | None
    """In the camera's frame, by the convention "dexycb"; None where there is none."""
    objects: tuple[HeldObject | None, ...]
    """As in `sequence.ycb_ids`; None where a pose is not known."""
    segmentation: UInt8[Tensor, "480 640"]
    """0 background, 1 to 21 objects as in YCB_CLASSES, 255 the hand."""
    image_path: Path
    depth_path: Path

    @property
    def grasped(self) -> HeldObject | None:
        return self.objects[self.sequence.grasped]

    @property
    def scored_in_bop(self) -> bool:
        """Whether the evaluation of object poses takes this frame."""
        return self.frame % _BOP_STEP == 0

    def image(self) -> UInt8[Tensor, "480 640 3"]:
        """Reads the photograph. Raises DataError where it is missing, broken or of another size."""
        return read_image(self.image_path, WIDTH, HEIGHT)

    def depth(self) -> Float[Tensor, "480 640"]:
        """Reads the depth map: metres along the camera's axis, 0 where nothing was measured.

        Raises DataError as `image`.
        """
        return read_grey16(self.depth_path, WIDTH, HEIGHT).float() / 1000

    def surface(self, hands: Mapping[Side, ManoHand]) -> ManoSurface:
        """The fitted hand in the camera's frame: vertices, and joints in the library's order.

        hands  `hand.mano.mano_hands(folder, "dexycb")`: the left model must have its published fault

        Raises DataError where the frame has no fit.
        """
        if self.fit is None:
            raise DataError(f"{self.image_path} of DexYCB has no fit of the hand: it makes no surface")
        fit = self.fit
        return hands[fit.side](fit.pose[None], fit.shape[None], fit.translation[None])


class DexYCB(Sequence[DexYCBFrame]):
    """The photographs of one split that are here. Labels are read when a photograph is asked for.

    setup  "s0" to "s3"
    split  "train", "val" or "test"

    Raises MissingData for missing files, DataError for content that contradicts the format.
    """

    @named_os_errors("DexYCB")
    def __init__(self, root: str | Path, setup: str = "s0", split: str = "train"):
        self.root = Path(root)
        if setup not in SPLITS:
            raise DataError(f"unknown set-up {setup!r} of DexYCB; there are {', '.join(SPLITS)}")
        if split not in SPLITS[setup]:
            raise DataError(f"unknown split {split!r} of DexYCB; there are {', '.join(SPLITS[setup])}")
        self.setup, self.split, part = setup, split, SPLITS[setup][split]
        self._known: dict[str, Tensor] = {}  # what calibration files said
        if not self.root.is_dir():
            raise MissingData(f"{root} is not a folder; `hands data check dexycb` says where to get the data")
        subjects = [SUBJECTS[number] for number in part.subjects]
        there = [name for name in subjects if (self.root / name).is_dir()]
        if not there:
            raise MissingData(
                f"{self.root / subjects[0]} is missing, and so is every other subject of {setup} {split}; "
                f"`hands data check dexycb` says where to get the data"
            )
        cameras = [SERIALS[number] for number in part.cameras]
        self.sequences: list[DexYCBSequence] = []
        for subject in there:
            folders = recordings(self.root / subject)
            chosen = [folder for place, folder in enumerate(folders) if part.sequences(place)]
            self.sequences += [_read_sequence(folder, cameras) for folder in chosen]
        shots = [len(sequence.serials) * sequence.frames for sequence in self.sequences]
        self._starts = np.concatenate([[0], np.cumsum(shots, dtype=np.int64)])
        self.numbers = np.arange(self._starts[-1])
        """Of each photograph in the split, as officially; `usable` leaves some out."""
        if not len(self):
            raise MissingData(f"{self.root} has no photograph of {setup} {split}: get more of the release")

    def __len__(self) -> int:
        return len(self.numbers)

    @named_os_errors("DexYCB")
    def __getitem__(self, number: int) -> DexYCBFrame:
        if not -len(self) <= number < len(self):
            raise IndexError(f"photograph {number} of {len(self)} in {self.root}")
        sequence, serial, frame = self._place(number)
        folder = sequence.folder / serial
        labels = self._labels(number)
        hand = SIDES.index(sequence.side)
        joints = torch.zeros(2, NUM_JOINTS, 3)
        valid = torch.zeros(2, NUM_JOINTS, dtype=torch.bool)
        image_joints = torch.zeros(NUM_JOINTS, 2)
        if (labels["joint_3d"] != -1).any():  # -1 everywhere where the hand has no label
            joints[hand], valid[hand] = torch.from_numpy(labels["joint_3d"][0]), True
            image_joints = torch.from_numpy(labels["joint_2d"][0])
        fit, pose = None, torch.from_numpy(labels["pose_m"][0])
        if pose.any():
            shape = self._shape(sequence.mano_calibration)
            fit = HandFit(sequence.side, pose[:48], shape, pose[48:])
        camera = Camera(self._intrinsics(serial), torch.eye(4), WIDTH, HEIGHT)
        return DexYCBFrame(
            sequence=sequence,
            serial=serial,
            frame=frame,
            sample=TwoHandSample(joints, valid, camera),
            image_joints=image_joints,
            fit=fit,
            objects=tuple(
                HeldObject(YCB_CLASSES[label], label, pose[:, :3], pose[:, 3]) if pose.any() else None
                for label, pose in zip(sequence.ycb_ids, torch.from_numpy(labels["pose_y"]), strict=True)
            ),
            segmentation=torch.from_numpy(labels["seg"]),
            image_path=folder / f"color_{frame:06d}.jpg",
            depth_path=folder / f"aligned_depth_to_color_{frame:06d}.png",
        )

    def image_paths(self) -> list[Path]:
        """Where the photographs should lie, in the order of the split."""
        places = map(self._place, range(len(self)))
        return [s.folder / serial / f"color_{frame:06d}.jpg" for s, serial, frame in places]

    def usable(
        self, *, photograph: bool = True, black_below: float = BLACK_BELOW
    ) -> tuple["DexYCB", Skipped]:
        """The photographs whose hand has a label and that, unless `photograph` is False, are there, whole and
        not black; and how many are not, by reason. Reads all labels."""
        lost, bare = np.zeros(len(self), dtype=bool), np.zeros(len(self), dtype=bool)
        for number in tqdm(range(len(self)), "DexYCB's labels", disable=len(self) < 1000):
            try:
                bare[number] = (self._labels(number)["joint_3d"] == -1).all()
            except MissingData:
                lost[number] = True
        masks = {"labels missing": lost, "no label of the hand": bare}
        if photograph:
            masks |= photograph_masks(self.image_paths(), ~(lost | bare), black_below)
        kept, skipped = first_reason(len(self), masks)
        chosen = copy.copy(self)
        chosen.numbers = self.numbers[kept]
        return chosen, skipped

    def joints(self) -> tuple[Float[Tensor, "photograph 21 3"], Bool[Tensor, " photograph"]]:
        """The truth of the evaluation of hands: joints of every photograph, and which of them have a hand."""
        found, valid = torch.zeros(len(self), NUM_JOINTS, 3), torch.zeros(len(self), dtype=torch.bool)
        for number in range(len(self)):
            labels = self._labels(number)
            if (labels["joint_3d"] != -1).any():
                found[number], valid[number] = torch.from_numpy(labels["joint_3d"][0]), True
        return found, valid

    @named_os_errors("DexYCB")
    def world_from_camera(self, sequence: DexYCBSequence) -> dict[str, Float[Tensor, "4 4"]]:
        """Where each camera (by its serial) and the mark on the table ("apriltag") are. The master camera is
        the world.

        Raises MissingData, DataError where the calibration is not there or damaged.
        """
        path = self._calibration / f"extrinsics_{sequence.extrinsics}" / "extrinsics.yml"
        content = _read_yaml(path)
        found = {}
        for name, value in _dict(path, content, "extrinsics").items():
            pose = torch.eye(4)
            pose[:3] = _numbers(f"{path}: {shown(str(name))}", value, 12).reshape(3, 4)
            found[str(name)] = pose
        return found

    @named_os_errors("DexYCB")
    def world_poses(self, sequence: DexYCBSequence) -> WorldPoses:
        """Poses of a whole recording. Raises MissingData, DataError where `pose.npz` is not there or not as
        it should be."""
        from scipy.spatial.transform import Rotation  # half a second that no other reader needs

        path = sequence.folder / "pose.npz"
        count = len(sequence.ycb_ids)
        arrays = _read_arrays(
            path, {"pose_y": (sequence.frames, count, 7), "pose_m": (sequence.frames, 1, 51)}
        )
        poses, hand = arrays["pose_y"], torch.from_numpy(arrays["pose_m"][:, 0])
        valid = (poses != [0, 0, 0, 1, 0, 0, 0]).any(axis=-1)
        if (np.linalg.norm(poses[..., :4], axis=-1) < 0.5).any():
            raise DataError(f"{path}: pose_y holds a quaternion of next to no length: {AGAIN}")
        matrices = Rotation.from_quat(poses[..., :4].reshape(-1, 4).astype(np.float64)).as_matrix()
        rotations = torch.from_numpy(matrices).float().reshape(-1, count, 3, 3)
        known = torch.from_numpy(valid)
        return WorldPoses(
            object_rotation=torch.where(known[..., None, None], rotations, 0),
            object_translation=torch.from_numpy(poses[..., 4:]),
            object_valid=known,
            hand=hand,
            hand_valid=hand.any(dim=-1),
        )

    @property
    def _calibration(self) -> Path:
        return self.root / "calibration"

    def _intrinsics(self, serial: str) -> Float[Tensor, "3 3"]:
        if serial not in self._known:
            path = self._calibration / "intrinsics" / f"{serial}_{WIDTH}x{HEIGHT}.yml"
            colour = _dict(path, _read_yaml(path), "color")
            values = [_numbers(f"{path}: {key}", [colour.get(key)], 1) for key in ("fx", "fy", "ppx", "ppy")]
            fx, fy, x, y = torch.cat(values).tolist()
            if fx <= 0 or fy <= 0:
                raise DataError(f"{path}: a focal length is not above 0: {AGAIN}")
            self._known[serial] = torch.tensor([[fx, 0, x], [0, fy, y], [0, 0, 1]])
        return self._known[serial]

    def _shape(self, calibration: str) -> Float[Tensor, "10"]:
        if calibration not in self._known:
            path = self._calibration / f"mano_{calibration}" / "mano.yml"
            content = _read_yaml(path)
            betas = content.get("betas") if isinstance(content, dict) else None
            self._known[calibration] = _numbers(f"{path}: betas", betas, 10)
        return self._known[calibration]

    def _labels(self, number: int) -> dict[str, np.ndarray]:
        sequence, serial, frame = self._place(number)
        path = sequence.folder / serial / f"labels_{frame:06d}.npz"
        return _read_labels(path, len(sequence.ycb_ids))

    def _place(self, number: int) -> tuple[DexYCBSequence, str, int]:
        official = int(self.numbers[number])
        which = int(np.searchsorted(self._starts, official, side="right")) - 1
        sequence = self.sequences[which]
        camera, frame = divmod(official - int(self._starts[which]), sequence.frames)
        return sequence, sequence.serials[camera], frame


def subjects_in(root: Path) -> list[str]:
    """The subjects that have a folder."""
    return [name for name in SUBJECTS if (root / name).is_dir()]


def splits_in(root: Path, setup: str) -> list[str]:
    """The splits of a set-up of which a recording is here."""
    places = [
        (SUBJECTS.index(subject), place)
        for subject in subjects_in(root)
        for place in range(len(recordings(root / subject)))
    ]
    return [
        split
        for split, part in SPLITS[setup].items()
        if any(subject in part.subjects and part.sequences(place) for subject, place in places)
    ]


def recordings(folder: Path) -> list[Path]:
    """The folders of a subject's recordings, in the official order, which is that of their names."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


# --- files -----------------------------------------------------------------------------------------------


def _read_sequence(folder: Path, cameras: Sequence[str]) -> DexYCBSequence:
    path = folder / "meta.yml"
    content = _read_yaml(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a list of names with values: {AGAIN}")
    listed = _list(path, content, "serials")
    numbers = range(1, len(YCB_CLASSES) + 1)
    ids = [_whole(path, "ycb_ids", value, numbers) for value in _list(path, content, "ycb_ids")]
    sides, calibrations = (_list(path, content, key) for key in ("mano_sides", "mano_calib"))
    if sides[0] not in SIDES:
        raise DataError(f"{path}: mano_sides is {shown(sides[0])}, neither right nor left: {AGAIN}")
    for key, value in (("mano_calib", calibrations[0]), ("extrinsics", content.get("extrinsics"))):
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise DataError(f"{path}: {key} is {shown(value)}, no name of a calibration: {AGAIN}")
    return DexYCBSequence(
        subject=folder.parent.name,
        name=folder.name,
        folder=folder,
        frames=_whole(path, "num_frames", content.get("num_frames"), range(1, _MOST_FRAMES)),
        serials=tuple(name for name in cameras if name in listed and (folder / name).is_dir()),
        ycb_ids=tuple(ids),
        grasped=_whole(path, "ycb_grasp_ind", content.get("ycb_grasp_ind"), range(len(ids))),
        side="right" if sides[0] == "right" else "left",
        mano_calibration=str(calibrations[0]),
        extrinsics=str(content["extrinsics"]),
    )


def _read_labels(path: Path, count: int) -> dict[str, np.ndarray]:
    shapes = {
        "seg": (HEIGHT, WIDTH), "pose_y": (count, 3, 4), "pose_m": (1, 51), "joint_3d": (1, NUM_JOINTS, 3),
        "joint_2d": (1, NUM_JOINTS, 2),
    }  # fmt: skip
    return _read_arrays(path, shapes)


def _read_arrays(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The named arrays, as float32 (`seg` as uint8) of these shapes."""
    try:
        arrays = read_npz(read_plain(path, _LARGEST_LABEL), _LARGEST_ARRAYS)
    except FileNotFoundError:
        raise MissingData(f"{path} is missing: unpack the labels of its camera again") from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror}): look at its permissions") from None
    except ContentError as error:
        raise DataError(f"{path}: {error}") from None
    found = {}
    for name, shape in shapes.items():
        if name not in arrays:
            raise DataError(f"{path} has no {name}: {AGAIN}")
        array = arrays[name]
        dtype = np.uint8 if name == "seg" else np.float32
        if array.shape != shape or array.dtype not in (dtype, np.float64 if name != "seg" else dtype):
            raise DataError(
                f"{path}: {name} is {array.dtype} of shape {array.shape}, where {np.dtype(dtype)} of shape "
                f"{shape} belongs: {AGAIN}"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            array = array.astype(dtype)
        if not np.isfinite(array).all():
            raise DataError(f"{path}: {name} is not finite: {AGAIN}")
        found[name] = array
    return found


def _read_yaml(path: Path) -> Any:
    try:
        return read_yaml(read_plain(path, 4 * LONGEST).decode(), tuples=True)
    except FileNotFoundError:
        raise MissingData(f"{path} is missing: unpack it again, with the folder calibration beside") from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror}): look at its permissions") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8: {AGAIN}") from None
    except ValueError as error:
        raise DataError(f"{path} {error}: {AGAIN}") from None


def _dict(path: Path, content: Any, key: str) -> dict[str, Any]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise DataError(f"{path} has no names with values under {key!r}: {AGAIN}")
    return found


def _list(path: Path, content: dict, key: str) -> list:
    found = content.get(key)
    if not isinstance(found, list) or not found:
        raise DataError(f"{path} has no list {key!r}, or an empty one: {AGAIN}")
    return found


def _whole(path: Path, key: str, value: Any, allowed: range) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) and int(value) in allowed:
        return int(value)
    raise DataError(
        f"{path}: {key} is {shown(value)}, no whole number from {allowed.start} to {allowed.stop - 1}: "
        f"{AGAIN}"
    )


def _numbers(where: str, value: Any, count: int) -> Float[Tensor, " number"]:
    parts = value if isinstance(value, list) else []
    if len(parts) != count or not all(isinstance(p, str) and _NUMBER.fullmatch(p) for p in parts):
        raise DataError(f"{where} is {shown(value)}, where {count} numbers belong: {AGAIN}")
    found = np.array([float(part) for part in parts], dtype=np.float64)
    if not (np.abs(found) < np.finfo(np.float32).max).all():
        raise DataError(f"{where} is not finite: {AGAIN}")
    return torch.from_numpy(found).float()

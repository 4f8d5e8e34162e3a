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

One release has more than a million frames. They are read entry by entry into a handful of arrays, which stay
on disk as an index (`data.index_cache`); a frame becomes objects only when it is asked for.
"""

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from hands_lib.data.errors import DataError, MissingData, named_os_errors
from hands_lib.data.images import missing_files, read_image
from hands_lib.data.index_cache import Columns, indexed
from hands_lib.data.interhand26m_files import (
    HAND_TYPES,
    HANDS,
    read_mano,
    read_release,
    read_rootnet,
    reorder_flags,
)
from hands_lib.data.mano_annotation import MANO_SIZES, ManoAnnotation
from hands_lib.data.skipped import BLACK_BELOW, Skipped, first_reason, photograph_masks
from hands_lib.structures import Camera, TensorFields, TwoHandSample

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class RootNetEstimate(TensorFields):
    """Where the detector RootNet sees the hands of one photograph: what the official test runs on."""

    bbox: Float[Tensor, "4"]
    """x, y, width, height in the image, pixels."""
    wrist_depth: Float[Tensor, "2"]
    """Depth of each wrist in the camera's frame, metres; NaN where none is given."""


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
    rootnet: RootNetEstimate | None
    """None where RootNet's file is not there, or has no entry for this photograph."""
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
    before the first frame is handed out (MANO's and RootNet's files are read when they are first asked for).
    Photographs are opened only by `InterHandFrame.image` and `usable`. `cache` is the folder for the index of
    large annotation files, see `data.index_cache`.
    """

    @named_os_errors("InterHand2.6M")
    def __init__(
        self,
        root: str | Path,
        split: str = "test",
        *,
        annotation_subset: str | None = None,
        cache: str | Path | None = None,
    ):
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r} of InterHand2.6M; there are {', '.join(SPLITS)}")
        self.root = Path(root)
        self.split = split
        self._folder = _annotation_folder(self.root, split, annotation_subset)
        self._cache = None if cache is None else Path(cache)
        images = self.root / "images" / split
        self.image_folder = images if images.is_dir() or self._folder != self.root else self.root
        files = [self.file(kind) for kind in ("data", "camera", "joint_3d")]
        columns = self._indexed("", files, lambda: read_release(*files))
        self._image = _part(columns, "image")
        self._annotation = _part(columns, "annotation")
        self._sequence_names, self._camera_names = columns.facts["seq_name"], columns.facts["camera"]
        for name in ("step_of_row", "camera_of_row", "step_capture", "step_frame"):
            setattr(self, f"_{name}", columns.arrays[name])
        for name in ("joints", "joint_valid", "intrinsics", "camera_from_world"):
            setattr(self, f"_{name}", torch.from_numpy(columns.arrays[name]))
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
        in_image = torch.from_numpy(reorder_flags(annotation["joint_valid"]))
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
            bbox=torch.from_numpy(annotation["bbox"].copy()),
            mano=self._mano_of_step(int(step)),
            rootnet=self._rootnet_of_row(int(row)),
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

    def usable(
        self,
        *,
        photograph: bool = True,
        black_below: float = BLACK_BELOW,
        colour: bool = False,
        mano: bool = False,
        joints: bool = False,
        without_cameras: Collection[str] = (),
        without_name: str = "",
    ) -> tuple["InterHand26M", Skipped]:
        """The photographs that can be used, and how many cannot, by reason. Shares the index with `self`.

        photograph: the file is there, whole, and not black (mean grey value at least `black_below`); each is
            opened, at about a millisecond. False: only `present` is needed, or nothing of the pictures.
        colour: not from a grey camera.
        mano: every hand that the hand type promises has a MANO fit.
        joints: every joint of those hands is known in space.
        without_cameras: not from a camera of one of these names.
        without_name: the photograph's `file_name` does not contain this text; empty texts take nothing out.
        """
        hands = self._promised_hands()
        total = len(self)
        steps = self._step_of_row[self._rows]
        masks: dict[str, np.ndarray] = {}
        if colour:
            masks["from a grey camera"] = self._from_camera(lambda name: name.startswith("41"))
        if without_cameras:
            masks["from a camera left out"] = self._from_camera(lambda name: name in without_cameras)
        if without_name:
            masks[f"named {without_name}"] = self._named(without_name)
        if joints:
            valid = self._joint_valid.numpy()[steps].all(axis=-1)
            masks["with invalid joints"] = (hands & ~valid).any(axis=-1)
        if mano:
            fitted = np.zeros_like(hands) if self._mano is None else self._mano.arrays["valid"][steps]
            masks["without MANO fit"] = (hands & ~fitted).any(axis=-1)
        if photograph:
            # What is out already need not be opened.
            ask = ~np.any(list(masks.values()), axis=0) if masks else np.ones(total, dtype=bool)
            masks |= photograph_masks(self.image_paths(), ask, black_below)
        kept, skipped = first_reason(total, masks)
        chosen = copy.copy(self)
        chosen._rows = self._rows[kept]
        return chosen, skipped

    def take(self, numbers: Sequence[int]) -> "InterHand26M":
        """These photographs, in the order of the numbers. Shares the index with `self`.

        Raises IndexError for a number that is none of 0 ... len(self) - 1.
        """
        wanted = np.asarray(numbers, dtype=np.int64).reshape(-1)
        outside = wanted[(wanted < 0) | (wanted >= len(self))]
        if len(outside):
            raise IndexError(f"frame {outside[0]} of {len(self)} in {self.file('data')}")
        chosen = copy.copy(self)
        chosen._rows = self._rows[wanted]
        return chosen

    def present(self) -> "InterHand26M":
        """The photographs whose files are there, without opening them: a part of the release is enough."""
        chosen = copy.copy(self)
        chosen._rows = self._rows[~np.array(missing_files(self.image_paths()), dtype=bool)]
        return chosen

    def missing(self) -> dict[str, tuple[int, int]]:
        """The folders that lack photographs, as "Capture0/sequence": how many are missing, of how many."""
        paths = self.image_paths()
        absent = np.array(missing_files(paths), dtype=bool)
        image = self._annotation["image"][self._rows]
        pairs, inverse = np.unique(
            np.stack([self._image["capture"][image], self._image["seq_name"][image]], axis=-1),
            axis=0,
            return_inverse=True,
        )
        inverse = inverse.reshape(-1)
        lost = np.bincount(inverse, weights=absent, minlength=len(pairs)).astype(int)
        return {
            f"Capture{capture}/{self._sequence_names[code]}": (int(lost[n]), int((inverse == n).sum()))
            for n, (capture, code) in enumerate(pairs.tolist())
            if lost[n]
        }

    def time_steps(self) -> list[TimeStep]:
        """The moments, each with all its cameras, ordered by capture and frame."""
        steps, inverse = np.unique(self._step_of_row[self._rows], return_inverse=True)
        if not len(steps):
            return []  # np.split makes one empty part of nothing
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
        return self.image_folder / bytes(self._image["file_name"][image]).rstrip(b"\0").decode()

    def _from_camera(self, condition: Callable[[str], bool]) -> np.ndarray:
        """Which photographs are from a camera whose name fulfils the condition."""
        fulfilled = np.array([condition(name) for name in self._camera_names], dtype=bool)
        return fulfilled[self._image["camera"][self._annotation["image"][self._rows]]]

    def _named(self, text: str) -> np.ndarray:
        """Which photographs have this text in their `file_name`."""
        names = self._image["file_name"][self._annotation["image"][self._rows]]
        names = np.ascontiguousarray(names).view(f"S{names.shape[1]}")[:, 0]
        return np.char.find(names, text.encode()) >= 0

    def _promised_hands(self) -> np.ndarray:
        """Which hands the hand type of each photograph says are there: (photograph, 2)."""
        types = self._annotation["hand_type"][self._rows]
        table = np.array([[name in (side, "interacting") for side in HANDS] for name in HAND_TYPES])
        return table[types]

    def _indexed(self, part: str, files: list[Path], build) -> Columns:
        return indexed(f"interhand26m-{self.split}{part}", files, build, self._cache)

    @cached_property
    @named_os_errors("MANO's fits")
    def _mano(self) -> Columns | None:
        path = self.file("MANO_NeuralAnnot")
        if not path.exists():
            return None
        release = [self.file("data"), path]  # which time steps there are is known from the first
        return self._indexed("-mano", release, lambda: read_mano(path, self._step_capture, self._step_frame))

    def _mano_of_step(self, step: int) -> ManoAnnotation | None:
        if self._mano is None or not self._mano.arrays["present"][step]:
            return None
        pose, shape, translation, valid = (
            torch.from_numpy(self._mano.arrays[key][step].copy()) for key in (*MANO_SIZES, "valid")
        )
        return ManoAnnotation(pose, shape, translation, valid)

    @cached_property
    @named_os_errors("RootNet's estimates")
    def _rootnet(self) -> Columns | None:
        name = f"rootnet_interhand2.6m_output_{self.split}.json"
        places = (self.root / "rootnet_output" / name, self.root / name)
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            return None
        release = [self.file("data"), path]
        return self._indexed("-rootnet", release, lambda: read_rootnet(path, self._annotation["id"]))

    def _rootnet_of_row(self, row: int) -> RootNetEstimate | None:
        if self._rootnet is None or not self._rootnet.arrays["present"][row]:
            return None
        box, depth = (torch.from_numpy(self._rootnet.arrays[key][row].copy()) for key in ("box", "depth"))
        return RootNetEstimate(box, depth)


def _part(columns: Columns, name: str) -> dict[str, np.ndarray]:
    prefix = f"{name}."
    return {key.removeprefix(prefix): a for key, a in columns.arrays.items() if key.startswith(prefix)}


@named_os_errors("InterHand2.6M")
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

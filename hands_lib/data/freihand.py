"""FreiHAND as it lies on disk: photographs of one right hand with 3-D joints.

Source   Zimmermann et al., "FreiHAND", ICCV 2019; data_manifests/freihand.yml says where to get it
Chapter  book/foundations/datasets.md
Units    metres; pixels
Frames   the camera's is the world: x right, y down, z forward
Order    the library's ("freihand" is the same); the left hand of every sample is absent

Two layouts are read. The official one has `training_xyz.json`, `training_K.json` and `training/rgb`; its
32,560 poses were each photographed once and composed with new backgrounds three times (`versions`). The other
is a list in the style of COCO, as small samples of it circulate: joints in the image alone, none in space.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from hands_lib.data.errors import DataError, MissingData, named_os_errors, shown
from hands_lib.data.images import MOST_PIXELS, read_image
from hands_lib.data.index_cache import Columns, indexed
from hands_lib.data.json_stream import AGAIN, entries, finite_numbers, read_json, value_of
from hands_lib.data.skipped import BLACK_BELOW, Skipped, first_reason, photograph_masks
from hands_lib.hand.skeleton import NUM_JOINTS
from hands_lib.structures import Camera, TwoHandSample

SPLITS = ("training", "evaluation")
VERSIONS = ("gs", "hom", "sample", "auto")
"""Green screen (the photograph itself), and three ways to put the hand before another background."""
COCO_FILE = "test_freihand.json"
_SIZE = 224  # pixels, both ways


@dataclass(frozen=True)
class FreiHandFrame:
    """One photograph and what is known about it."""

    sample: TwoHandSample
    """The right hand's joints and the camera; all flags false where no joint is known in space."""
    image_joints: Float[Tensor, "21 2"]
    """Pixels: projected from space, or as a list in the style of COCO has them."""
    image_joint_valid: Bool[Tensor, "21"]
    mano: Float[Tensor, "61"] | None
    """As published: 48 of pose, 10 of shape, the root's image position (2) and a scale (1)."""
    image_path: Path
    width: int
    height: int

    def image(self) -> UInt8[Tensor, "height width 3"]:
        """Reads the photograph. Raises DataError where it is missing, broken or of another size."""
        return read_image(self.image_path, self.width, self.height)


class FreiHand(Sequence[FreiHandFrame]):
    """The photographs of one split, or of a sample in the style of COCO (`split` is then of no account).

    Raises MissingData for missing files, DataError for content that contradicts the format.
    """

    @named_os_errors("FreiHAND")
    def __init__(
        self,
        root: str | Path,
        split: str = "training",
        *,
        version: str = VERSIONS[0],
        cache: str | Path | None = None,
    ):
        self.root = Path(root)
        if not self.root.is_dir():
            raise MissingData(
                f"{root} is not a folder; `hands data check freihand` says where to get the data"
            )
        if (self.root / COCO_FILE).is_file():
            self.split, self._columns = "sample", _read_coco(self.root / COCO_FILE)
            self._paths = [self.root / name for name in self._columns.facts["file_name"]]
        else:
            if split not in SPLITS:
                raise DataError(f"unknown split {split!r} of FreiHAND; there are {', '.join(SPLITS)}")
            if version not in VERSIONS:
                raise DataError(f"unknown version {version!r} of FreiHAND; there are {', '.join(VERSIONS)}")
            if split == "evaluation" and version != VERSIONS[0]:
                raise DataError("FreiHAND's evaluation photographs have one version only: gs")
            self.split = split
            files = {kind: self.root / f"{split}_{kind}.json" for kind in ("K", "xyz", "mano")}
            if not files["K"].is_file():
                raise MissingData(
                    f"{files['K']} is missing; `hands data check freihand --root DIR` says where to get it"
                )
            there = {kind: path for kind, path in files.items() if path.is_file()}
            self._columns = indexed(
                f"freihand-{split}", list(there.values()), lambda: _read_official(there),
                None if cache is None else Path(cache),
            )  # fmt: skip
            count = len(self._columns.arrays["K"])
            first = VERSIONS.index(version) * count
            self._paths = [self.root / split / "rgb" / f"{first + n:08d}.jpg" for n in range(count)]
        self._rows = np.arange(len(self._paths))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> FreiHandFrame:
        if not -len(self) <= number < len(self):
            raise IndexError(f"frame {number} of {len(self)} in {self.root}")
        row = self._rows[number]
        values = {name: torch.from_numpy(a[row].copy()) for name, a in self._columns.arrays.items()}
        joints = torch.zeros(2, NUM_JOINTS, 3)
        valid = torch.zeros(2, NUM_JOINTS, dtype=torch.bool)
        if self.split == "sample":
            width, height = values["size"].tolist()
            sample = TwoHandSample(joints, valid)
            image_joints, image_valid = values["image_joints"], values["image_joint_valid"]
        else:
            width = height = _SIZE
            camera = Camera(values["K"], torch.eye(4), width, height)
            if "xyz" in values:  # the evaluation split came without for its first years
                joints[0], valid[0] = values["xyz"], True
            sample = TwoHandSample(joints, valid, camera)
            image_valid = valid[0]
            image_joints = torch.zeros(NUM_JOINTS, 2)
            if "xyz" in values:
                image_joints = camera.project(joints[0])
        return FreiHandFrame(
            sample, image_joints, image_valid, values.get("mano"), self._paths[row], width, height
        )

    def image_paths(self) -> list[Path]:
        """Where the photographs should lie, in the order of the frames."""
        return [self._paths[row] for row in self._rows]

    def usable(self, *, black_below: float = BLACK_BELOW) -> tuple["FreiHand", Skipped]:
        """The photographs that are there, whole and not black; and how many are not, by reason."""
        masks = photograph_masks(self.image_paths(), np.ones(len(self), dtype=bool), black_below)
        kept, skipped = first_reason(len(self), masks)
        chosen = copy.copy(self)
        chosen._rows = self._rows[kept]
        return chosen, skipped


def _read_official(files: dict[str, Path]) -> Columns:
    shapes = {"K": (3, 3), "xyz": (NUM_JOINTS, 3), "mano": (61,)}
    arrays = {}
    for kind, path in files.items():
        rows = []
        for keys, entry in entries(path, depth=1, top="["):
            if len(keys) != 1 or type(keys[0]) is not int:
                raise DataError(f"{path} is not a list with an entry for each photograph: {AGAIN}")
            rows.append(finite_numbers(f"{path}: entry {keys[0]}", _entry_of(kind, entry), shapes[kind]))
            rows[-1] = rows[-1].astype(np.float32)
        if not rows:
            raise DataError(f"{path} lists no photograph: {AGAIN}")
        arrays[kind] = np.stack(rows)
    camera, path = arrays["K"], files["K"]
    wrong = (camera[:, [0, 1], [0, 1]] <= 0).any(axis=1) | (camera[:, 2] != (0, 0, 1)).any(axis=1)
    if wrong.any():
        raise DataError(f"{path}: entry {wrong.argmax()} is not a camera matrix: {AGAIN}")
    for kind, array in arrays.items():
        if len(array) != len(camera):
            raise DataError(
                f"{files[kind]} has {len(array)} entries and {path} has {len(camera)}: "
                f"use the files of one release together"
            )
    return Columns(arrays, {})


def _entry_of(kind: str, entry: Any) -> Any:
    """MANO's 61 numbers lie in a list of one."""
    return entry[0] if kind == "mano" and isinstance(entry, list) and len(entry) == 1 else entry


def _read_coco(path: Path) -> Columns:
    content = read_json(path)
    images: dict[int, dict] = {}
    for number, image in enumerate(_list(path, content, "images")):
        where = f"{path}: image {number}"
        identity = value_of(where, image, "id")
        name = value_of(where, image, "file_name")
        if type(identity) is not int or identity in images:
            raise DataError(
                f"{where}: id {shown(identity)} is no whole number, or stands there twice: {AGAIN}"
            )
        if type(name) is not str or Path(name).name != name or not name.isprintable():
            raise DataError(f"{where}: file_name {shown(name)} is not the name of a file beside it: {AGAIN}")
        for key in ("width", "height"):
            if type(value_of(where, image, key)) is not int or image[key] < 1:
                raise DataError(f"{where}: {key} is {shown(image[key])}, no whole number > 0: {AGAIN}")
        if image["width"] * image["height"] > MOST_PIXELS:
            size = " x ".join(shown(image[key]) for key in ("width", "height"))
            raise DataError(f"{where}: {size} pixels are more than {MOST_PIXELS:,}: {AGAIN}")
        images[identity] = image
    names, sizes, joints, valid = [], [], [], []
    for number, annotation in enumerate(_list(path, content, "annotations")):
        where = f"{path}: annotation {number}"
        identity = value_of(where, annotation, "image_id")
        image = images.get(identity) if type(identity) is int else None
        if image is None:
            raise DataError(f"{where} belongs to image {shown(identity)}, which is not listed: {AGAIN}")
        given = finite_numbers(
            f"{where}: keypoints", value_of(where, annotation, "keypoints"), (NUM_JOINTS * 3,)
        )
        table = given.reshape(NUM_JOINTS, 3)
        names.append(image["file_name"])
        sizes.append((image["width"], image["height"]))
        joints.append(table[:, :2])
        valid.append(table[:, 2] > 0)
    arrays = {
        "size": np.array(sizes, dtype=np.int64),
        "image_joints": np.array(joints, dtype=np.float32),
        "image_joint_valid": np.array(valid, dtype=bool),
    }
    return Columns(arrays, {"file_name": names})


def _list(path: Path, content: Any, key: str) -> list:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not found:
        raise DataError(f"{path} has no list {key!r}, or an empty one: this is not a list in COCO's style")
    return found

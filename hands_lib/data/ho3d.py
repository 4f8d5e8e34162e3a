"""HO-3D, versions 2 and 3, as they lie on disk: video of one right hand that handles an object.

Source   Hampali et al., "HOnnotate", CVPR 2020, and arXiv 2107.00887 for version 3; data_manifests/ho3d.yml
         and ho3d_v3.yml say where to get them
Units    metres, radians, pixels
Frames   samples are in the camera's frame as OpenCV's (x right, y down, z forward); the files are in OpenGL's
         (x right, y up, z towards the viewer) and are turned with diag(1, -1, -1). A fit stays as it is
Order    the library's in samples; "ho3d" in the files. The left hand of every sample is absent

Both versions have one layout. Version 3 has JPEG instead of PNG, a folder `seg`, and labels of contact. The
metadata are pickles of Python 2; they are read without an unpickler (`hand.pickled_arrays`).
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from tqdm import tqdm

from hands_lib.data.errors import DataError, MissingData, named_os_errors, shown
from hands_lib.data.held_objects import HandFit, HeldObject
from hands_lib.data.images import image_size, read_image
from hands_lib.data.index_cache import Columns, indexed
from hands_lib.data.json_stream import AGAIN, finite_numbers, frame_arrays
from hands_lib.data.skipped import BLACK_BELOW, Skipped, first_reason, photograph_masks
from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.mano import NUM_VERTICES, ManoHand, ManoSurface
from hands_lib.hand.pickled_arrays import ForbiddenNameError, PickledArraysError, array_of, read_pickle
from hands_lib.hand.skeleton import JOINTS, NUM_JOINTS, reorder
from hands_lib.plain_files import read_plain
from hands_lib.structures import Camera, TwoHandSample

SPLITS = ("train", "evaluation")
VERSIONS = {"v2": ".png", "v3": ".jpg"}
"""And the form of their photographs."""
FRAMES = {
    "v2": {"train": 66034, "evaluation": 11524},
    "v3": {"train": 83325, "evaluation": 20137},
}
"""Frames of the whole release, split by split."""
DEPTH_UNIT = 0.00012498664727900177
"""Metres of one step of a depth map."""
OPENCV_FROM_OPENGL = (1.0, -1.0, -1.0)
"""Signs of the axes; the same turns back."""
_SIZE = (640, 480)  # of a photograph that is not there
_LARGEST_LIST, _LARGEST_META = 64 << 20, 16 << 20  # bytes
_LINE = re.compile(r"[A-Za-z0-9_-]{1,60}/[A-Za-z0-9_-]{1,40}")
_FIT = {"handPose": (48,), "handBeta": (10,), "handTrans": (3,)}
_OBJECT = {"objRot": (3,), "objTrans": (3,), "objCorners3D": (8, 3), "objCorners3DRest": (8, 3)}
_CONTACT = {
    "handVertContact": (NUM_VERTICES,),
    "handVertDist": (NUM_VERTICES,),
    "handVertIntersec": (NUM_VERTICES,),
    "handVertObjSurfProj": (NUM_VERTICES, 3),
}


@dataclass(frozen=True)
class HandContact:
    """Version 3's labels of contact, for each of MANO's vertices."""

    touching: Bool[Tensor, "778"]
    """Nearer than 4 mm to the object's surface."""
    distance: Float[Tensor, "778"]
    """To the object's surface, metres."""
    inside: Bool[Tensor, "778"]
    """Inside the object."""
    nearest: Float[Tensor, "778 3"]
    """The place on the object's surface, exactly as the file has it."""


@dataclass(frozen=True)
class HO3DFrame:
    """One photograph and what is known about it. A frame without annotation has neither joints nor object."""

    sequence: str
    name: str
    """The frame's number, as the lists write it."""
    sample: TwoHandSample
    """The right hand's joints (in the evaluation split the wrist alone), and the camera where it is known."""
    fit: HandFit | None
    """In OpenGL's frame, by the convention "ho3d"; None in the evaluation split."""
    held: HeldObject | None
    box: Float[Tensor, "4"] | None
    """The hand's box, left, top, right, bottom in pixels; in the evaluation split."""
    contact: HandContact | None
    """In the training split of version 3."""
    image_path: Path
    depth_path: Path
    width: int
    height: int

    def image(self) -> UInt8[Tensor, "height width 3"]:
        """Reads the photograph. Raises DataError where it is missing, broken or of another size."""
        return read_image(self.image_path, self.width, self.height)

    def depth(self) -> Float[Tensor, "height width"]:
        """Reads the depth map: metres along the camera's axis, 0 where nothing was measured.

        The low byte is the red channel, the high one the green. Raises DataError as `image`.
        """
        red, green, _ = read_image(self.depth_path, self.width, self.height).to(torch.int32).unbind(-1)
        return ((red + 256 * green).double() * DEPTH_UNIT).float()

    def surface(self, right: ManoHand) -> ManoSurface:
        """The fitted hand in the sample's frame: vertices, and joints in the library's order.

        right  `hand.mano.mano_hands(folder, "ho3d")["right"]`

        Raises DataError where the frame has no fit.
        """
        if self.fit is None:
            raise DataError(f"frame {self.sequence}/{self.name} of HO-3D has no fit: it makes no surface")
        fit = self.fit
        found = right(fit.pose[None], fit.shape[None], fit.translation[None])
        return ManoSurface(flipped(found.vertices), flipped(found.joints))


@dataclass(frozen=True)
class HandTruth:
    """What is published for the evaluation split apart from it, in the order of `evaluation.txt`; float64."""

    joints: Float[Tensor, "frame 21 3"]
    """Library's order, OpenCV's frame, metres."""
    vertices: Float[Tensor, "frame 778 3"]


class HO3D(Sequence[HO3DFrame]):
    """The frames that one split's list names. A frame's metadata are read when it is asked for.

    version  "v2" or "v3"
    cache    where an index of the evaluation's truth goes, see `data.index_cache`

    Raises MissingData for missing files, DataError for content that contradicts the format.
    """

    @named_os_errors("HO-3D")
    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        version: str = "v2",
        cache: str | Path | None = None,
    ):
        self.root = Path(root)
        if version not in VERSIONS:
            raise DataError(f"unknown version {version!r} of HO-3D; there are {', '.join(VERSIONS)}")
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r} of HO-3D; there are {', '.join(SPLITS)}")
        self.split, self.version = split, version
        self._cache = None if cache is None else Path(cache)
        where = f"`hands data check {'ho3d' if version == 'v2' else 'ho3d_v3'}` says where to get the data"
        if not self.root.is_dir():
            raise MissingData(f"{root} is not a folder; {where}")
        self.list_path = self.root / f"{split}.txt"
        if not self.list_path.exists():
            raise MissingData(f"{self.list_path} is missing; {where}")
        self._names = _read_list(self.list_path)
        self._rows = np.arange(len(self._names))
        other = next(name for name in VERSIONS if name != version)
        if not self._image_path(0).exists() and self._image_path(0, other).exists():
            raise DataError(
                f"{self._image_path(0, other)} is a photograph of version {other}, and this reads {version}: "
                f"say HO3D(..., version={other!r})"
            )

    def __len__(self) -> int:
        return len(self._rows)

    @named_os_errors("HO-3D")
    def __getitem__(self, number: int) -> HO3DFrame:
        if not -len(self) <= number < len(self):
            raise IndexError(f"frame {number} of {len(self)} in {self.list_path}")
        return self._frame(int(self._rows[number]))

    def names(self) -> list[str]:
        """SEQUENCE/FRAME of every frame, in the order of the list; the evaluation wants this order."""
        return [self._names[row] for row in self._rows.tolist()]

    def image_paths(self) -> list[Path]:
        """Where the photographs should lie, in the order of the frames."""
        return [self._image_path(row) for row in self._rows.tolist()]

    def meta_paths(self) -> list[Path]:
        """Where the metadata should lie, in the order of the frames."""
        return [self._path(row, "meta", ".pkl") for row in self._rows.tolist()]

    def usable(self, *, photograph: bool = True, black_below: float = BLACK_BELOW) -> tuple["HO3D", Skipped]:
        """The frames that are annotated and, unless `photograph` is False, have a whole photograph that is
        not black; and how many are not, by reason. Reads the metadata of all frames."""
        lost, bare = np.zeros(len(self), dtype=bool), np.zeros(len(self), dtype=bool)
        for number, path in enumerate(tqdm(self.meta_paths(), "HO-3D's metadata", disable=len(self) < 1000)):
            try:
                content = _read_meta(path, self.split)
            except MissingData:
                lost[number] = True
                continue
            bare[number] = content.get("handJoints3D") is None or content.get("objTrans") is None
        masks = {"metadata missing": lost, "no annotation": bare}
        if photograph:
            masks |= photograph_masks(self.image_paths(), ~(lost | bare), black_below)
        kept, skipped = first_reason(len(self), masks)
        chosen = copy.copy(self)
        chosen._rows = self._rows[kept]
        return chosen, skipped

    @named_os_errors("HO-3D")
    def truth(self) -> HandTruth:
        """The evaluation split's joints and vertices of the frames that are here, where the files are.

        Raises MissingData where they are not, DataError for the training split and for damaged files, and
        where they belong to another list.
        """
        if self.split != "evaluation":
            raise DataError("HO-3D publishes joints and vertices apart for the evaluation split alone")
        paths = [self.root / f"evaluation_{kind}.json" for kind in ("xyz", "verts")]
        for path in paths:
            if not path.exists():
                raise MissingData(
                    f"{path} is missing: HO-3D's homepage (https://www.tugraz.at/index.php?id=40231) has "
                    f"offered it apart since November 2024; put it into {self.root}"
                )
        columns = indexed(f"ho3d-{self.version}", paths, lambda: _read_truth(paths), self._cache)
        joints, vertices = (torch.from_numpy(columns.arrays[name]) for name in ("joints", "vertices"))
        if len(joints) != len(self._names):
            raise DataError(
                f"{paths[0]} has {len(joints)} entries, and {self.list_path} names {len(self._names)} "
                f"frames: use the files of one version together"
            )
        rows = torch.from_numpy(self._rows)
        return HandTruth(flipped(reorder(joints[rows], "ho3d", "hands")), flipped(vertices[rows]))

    def _path(self, row: int, kind: str, suffix: str) -> Path:
        sequence, name = self._names[row].split("/")
        return self.root / self.split / sequence / kind / f"{name}{suffix}"

    def _image_path(self, row: int, version: str | None = None) -> Path:
        return self._path(row, "rgb", VERSIONS[version or self.version])

    def _frame(self, row: int) -> HO3DFrame:
        path = self._path(row, "meta", ".pkl")
        content = _read_meta(path, self.split)
        image_path = self._image_path(row)
        width, height = image_size(image_path) if image_path.exists() else _SIZE
        joints = torch.zeros(2, NUM_JOINTS, 3)
        valid = torch.zeros(2, NUM_JOINTS, dtype=torch.bool)
        expected = (NUM_JOINTS, 3) if self.split == "train" else (3,)
        if (found := _array(path, content, "handJoints3D", expected)) is not None:
            if self.split == "train":
                joints[0], valid[0] = flipped(reorder(found, "ho3d", "hands")), True
            else:
                wrist = JOINTS.index("wrist")
                joints[0, wrist], valid[0, wrist] = flipped(found), True
        camera = None
        if (matrix := _array(path, content, "camMat", (3, 3))) is not None:
            if (matrix.diagonal()[:2] <= 0).any() or matrix[2].tolist() != [0, 0, 1]:
                raise DataError(f"{path}: camMat is not a camera matrix: {AGAIN}")
            camera = Camera(matrix, torch.eye(4), width, height)
        fit = _group(path, content, _FIT)
        sequence, name = self._names[row].split("/")
        return HO3DFrame(
            sequence=sequence,
            name=name,
            sample=TwoHandSample(joints, valid, camera),
            fit=None if fit is None else HandFit("right", fit["handPose"], fit["handBeta"], fit["handTrans"]),
            held=_held(path, content),
            box=_array(path, content, "handBoundingBox", (4,)),
            contact=_contact(path, content),
            image_path=image_path,
            depth_path=self._path(row, "depth", ".png"),
            width=width,
            height=height,
        )


def flipped(points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """From OpenGL's camera frame to OpenCV's, or back: y and z change their signs, and nothing is rounded."""
    return points * points.new_tensor(OPENCV_FROM_OPENGL)


# --- files -----------------------------------------------------------------------------------------------


def _read_list(path: Path) -> list[str]:
    try:
        text = read_plain(path, _LARGEST_LIST).decode("ascii")
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror}): look at its permissions") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not plain text: {AGAIN}") from None
    names = [line.strip() for line in text.splitlines() if line.strip()]
    for number, name in enumerate(names, start=1):
        if not _LINE.fullmatch(name):
            raise DataError(f"{path}: entry {number} is {shown(name)}, not SEQUENCE/FRAME: {AGAIN}")
    if not names:
        raise DataError(f"{path} names no frame: {AGAIN}")
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))
        raise DataError(f"{path} names {twice} twice: {AGAIN}")
    return names


def _read_meta(path: Path, split: str) -> dict[str, Any]:
    """A frame's dictionary; what is not annotated is None in it, but has its key."""
    try:
        raw = read_plain(path, _LARGEST_META)
    except FileNotFoundError:
        raise MissingData(f"{path} is missing, but the list names its frame: unpack it again") from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror}): look at its permissions") from None
    try:
        content = read_pickle(raw)
    except ForbiddenNameError as refused:
        raise DataError(
            f"{path} names {refused}, which no metadata need and which could run a program: nothing was "
            f"executed; unpack it again"
        ) from None
    except PickledArraysError as error:
        raise DataError(f"{path} is not a whole pickle of metadata ({error}): unpack it again") from None
    needed = ["camMat", "handJoints3D", *_OBJECT, *(_FIT if split == "train" else ["handBoundingBox"])]
    if absent := [key for key in needed if key not in content]:
        raise DataError(
            f"{path} has no {absent[0]}, not even as None: it is no metadata of the {split} split; "
            f"unpack it again"
        )
    return content


def _array(
    path: Path, content: dict[str, Any], key: str, shape: tuple[int, ...]
) -> Float[Tensor, "..."] | None:
    """A key's finite numbers in this shape, up to dimensions of one; None where it is not annotated."""
    value = content.get(key)
    if value is None:
        return None
    where = f"{path}: {key}"
    if isinstance(value, list | tuple):
        return torch.from_numpy(finite_numbers(where, list(value), shape)).float()
    try:
        array = array_of(value)
    except PickledArraysError as error:
        raise DataError(f"{where}: {error}: unpack it again") from None
    if array.dtype.kind not in "fiub" or array.squeeze().shape != shape:
        raise DataError(
            f"{where} is {array.dtype} of shape {array.shape}, where numbers of shape {shape} belong: this "
            f"is another split, or another data set"
        )
    array = array.reshape(shape).astype(np.float64)
    if not (np.abs(array) < np.finfo(np.float32).max).all():
        raise DataError(f"{where} is not finite: {AGAIN}")
    return torch.from_numpy(array.astype(np.float32))


def _group(
    path: Path, content: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> dict[str, Tensor] | None:
    """Keys that are annotated together, or None. Raises DataError where some are and others are not."""
    found = {key: _array(path, content, key, shape) for key, shape in shapes.items()}
    there = [key for key, value in found.items() if value is not None]
    if there and len(there) < len(found):
        absent = next(key for key in found if key not in there)
        raise DataError(f"{path} has {there[0]} but no {absent}: {AGAIN}")
    return found if there else None


def _held(path: Path, content: dict[str, Any]) -> HeldObject | None:
    found = _group(path, content, _OBJECT)
    if found is None:
        return None
    name, label = content.get("objName"), content.get("objLabel")
    if isinstance(label, np.ndarray) and label.shape == () and label.dtype.kind in "iu":
        label = int(label)
    if type(name) is not str or not name.isprintable() or not name:
        raise DataError(f"{path}: objName is {shown(name)}, no model's name: {AGAIN}")
    if type(label) is not int:
        raise DataError(f"{path}: objLabel is {shown(label)}, no whole number: {AGAIN}")
    signs = torch.tensor(OPENCV_FROM_OPENGL)
    return HeldObject(
        name=name[:100],
        label=label,
        rotation=signs[:, None] * axis_angle_to_matrix(found["objRot"].double()).float(),
        translation=flipped(found["objTrans"]),
        corners=flipped(found["objCorners3D"]),
        rest_corners=found["objCorners3DRest"],
    )


def _contact(path: Path, content: dict[str, Any]) -> HandContact | None:
    found = _group(path, content, _CONTACT)
    if found is None:
        return None
    for key in ("handVertContact", "handVertIntersec"):
        if not ((found[key] == 0) | (found[key] == 1)).all():
            raise DataError(f"{path}: {key} holds other than yes and no: {AGAIN}")
    touching, distance, inside, nearest = found.values()
    return HandContact(touching.bool(), distance, inside.bool(), nearest)


def _read_truth(paths: Sequence[Path]) -> Columns:
    joints, vertices = (
        frame_arrays(path, (rows, 3))[0] for path, rows in zip(paths, (NUM_JOINTS, NUM_VERTICES), strict=True)
    )
    if len(joints) != len(vertices):
        raise DataError(
            f"{paths[0]} has {len(joints)} entries and {paths[1]} has {len(vertices)}: use the files of one "
            f"version together"
        )
    return Columns({"joints": joints, "vertices": vertices}, {})

"""Writes captures in exactly HO-3D's format, version 2 or 3, with pickles as Python 2 wrote them.

Source   data_manifests/ho3d.yml; the layout that `data.ho3d` reads
Units    metres in; metres in the files
Frames   OpenCV's camera in, OpenGL's in the files; a fit is written as it is given
Order    the library's in; "ho3d" in the files

Numbers are written in full, so that a reader gets back the same float32 values.
"""

import io
import json
import pickle
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from hands_lib.data.errors import DataError
from hands_lib.data.held_objects import HandFit, HeldObject
from hands_lib.data.ho3d import DEPTH_UNIT, SPLITS, VERSIONS, HandContact, flipped
from hands_lib.hand.skeleton import JOINTS, reorder
from hands_lib.structures import Camera

_JPEG_QUALITY = 95
_UNKNOWN = (
    "handPose", "handBeta", "handTrans", "handJoints3D", "objRot", "objTrans", "objCorners3D",
    "objCorners3DRest", "objName", "objLabel",
)  # fmt: skip
"""What is None in a frame without annotation."""


@dataclass(frozen=True)
class HO3DAnnotation:
    """All that is known of one frame. The evaluation split's metadata have of the hand its wrist alone."""

    joints: Float[Tensor, "21 3"]
    vertices: Float[Tensor, "778 3"]
    fit: HandFit
    """In OpenGL's frame, by the convention "ho3d"."""
    held: HeldObject
    """With its corners."""
    axis_angle: Float[Tensor, "3"]
    """The object's rotation in OpenGL's frame, of which `held` has the matrix in OpenCV's."""
    box: Float[Tensor, "4"] | None = None
    """Of the hand, left, top, right, bottom in pixels; for the evaluation split."""
    contact: HandContact | None = None
    """For the training split of version 3."""


@dataclass
class HO3DWriter:
    """Writes frames at once, and the lists (of the evaluation split also the truth) when closed.

    root  a new or an empty folder

    Raises DataError where `root` already holds something.
    """

    root: Path
    version: str = "v2"
    _names: dict[str, list[str]] = field(default_factory=dict, init=False)
    _truth: tuple[list, list] = field(default_factory=lambda: ([], []), init=False)

    def __post_init__(self) -> None:
        self.root = Path(self.root)
        if self.version not in VERSIONS:
            raise DataError(f"unknown version {self.version!r} of HO-3D; there are {', '.join(VERSIONS)}")
        if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise DataError(f"{self.root} already holds something: name a new or an empty folder")

    def add(
        self,
        split: str,
        sequence: str,
        frame: int,
        image: UInt8[np.ndarray, "height width 3"],
        depth: Float[Tensor, "height width"],
        camera: Camera,
        annotation: HO3DAnnotation | None,
    ) -> None:
        """One frame. Without annotation its files are written, and the list does not name it.

        Raises DataError for an unknown split, a frame that is there already, and what the split needs and
        the annotation lacks.
        """
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r} of HO-3D; there are {', '.join(SPLITS)}")
        name = f"{sequence}/{frame:04d}"
        folder = self.root / split / sequence
        meta = folder / "meta" / f"{frame:04d}.pkl"
        if meta.exists():
            raise DataError(f"{split} already has a frame {name}")
        content = dict.fromkeys([*_UNKNOWN, *(["handBoundingBox"] if split == "evaluation" else [])])
        if annotation is not None:
            content = _annotated(name, annotation, split, self.version)
        content |= {"camMat": camera.intrinsics.double().numpy(), "camIDList": ["0"]}
        for kind in ("rgb", "depth", "meta"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        suffix = VERSIONS[self.version]
        Image.fromarray(image).save(folder / "rgb" / f"{frame:04d}{suffix}", quality=_JPEG_QUALITY)
        _depth_image(depth).save(folder / "depth" / f"{frame:04d}.png")
        meta.write_bytes(python2_pickle(content))
        names = self._names.setdefault(split, [])
        if annotation is None:
            return
        names.append(name)
        if split == "evaluation":
            for entries, points in zip(
                self._truth,
                (reorder(flipped(annotation.joints), "hands", "ho3d"), flipped(annotation.vertices)),
                strict=True,
            ):
                entries.append(points.double().tolist())

    def close(self, truth: bool = True) -> Path:
        """Writes the lists and returns the folder.

        truth  whether the evaluation's joints and vertices, which are published apart, are written too
        """
        for split, names in self._names.items():
            (self.root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="ascii")
        if truth and "evaluation" in self._names:
            for kind, entries in zip(("xyz", "verts"), self._truth, strict=True):
                path = self.root / f"evaluation_{kind}.json"
                path.write_text(json.dumps(entries), encoding="ascii")
        return self.root


def _annotated(name: str, annotation: HO3DAnnotation, split: str, version: str) -> dict[str, Any]:
    held, fit = annotation.held, annotation.fit
    if held.corners is None or held.rest_corners is None:
        raise DataError(f"{name}: the object has no corners, and HO-3D's format wants them")
    content: dict[str, Any] = {
        "objRot": _plain(annotation.axis_angle).reshape(3, 1),  # as the release has it
        "objTrans": _plain(flipped(held.translation)),
        "objCorners3D": _plain(flipped(held.corners)),
        "objCorners3DRest": _plain(held.rest_corners),
        "objName": held.name,
        "objLabel": held.label,
    }
    joints = _plain(reorder(flipped(annotation.joints), "hands", "ho3d"))
    if split == "evaluation":
        if annotation.box is None:
            raise DataError(f"{name}: the hand has no box, and the evaluation split wants one")
        wrist = _plain(flipped(annotation.joints[JOINTS.index("wrist")]))
        return content | {"handJoints3D": wrist, "handBoundingBox": _plain(annotation.box).tolist()}
    content |= {
        "handJoints3D": joints,
        "handPose": _plain(fit.pose),
        "handBeta": _plain(fit.shape),
        "handTrans": _plain(fit.translation),
    }
    if version == "v3":
        contact = annotation.contact
        if contact is None:
            raise DataError(f"{name}: there are no labels of contact, and version 3 wants them")
        content |= {
            "handVertContact": contact.touching.numpy(),
            "handVertDist": _plain(contact.distance),
            "handVertIntersec": contact.inside.numpy(),
            "handVertObjSurfProj": _plain(contact.nearest),
        }
    return content


def _plain(values: Tensor) -> np.ndarray:
    return values.double().numpy() + 0.0  # turns -0.0 into 0.0


def _depth_image(depth: Float[Tensor, "height width"]) -> Image.Image:
    """Low byte in red, high byte in green. Raises DataError for what does not fit into two bytes."""
    steps = (depth.double() / DEPTH_UNIT).round()
    if not ((steps >= 0) & (steps < 1 << 16)).all():
        raise DataError(f"a depth is below 0 or above {DEPTH_UNIT * ((1 << 16) - 1):.2f} m: HO-3D has none")
    whole = steps.to(torch.int32).numpy()
    channels = np.stack([whole & 255, whole >> 8, np.zeros_like(whole)], axis=-1)
    return Image.fromarray(channels.astype(np.uint8))


# --- pickles of Python 2 ---------------------------------------------------------------------------------

_OLD_NAMES = {"numpy._core.multiarray": "numpy.core.multiarray"}


class _Python2Pickler(pickle._Pickler):
    """Protocol 2 as Python 2 wrote it: text and bytes are one kind of string, NumPy has its old names.

    The pickler written in Python is the one whose parts can be replaced.
    """

    dispatch = pickle._Pickler.dispatch.copy()

    def _save_string(self, value: str | bytes) -> None:
        raw = value.encode("ascii") if isinstance(value, str) else value
        head = b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + struct.pack("<i", len(raw))
        self.write(head + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _save_string

    def save_global(self, obj: Any, name: str | None = None) -> None:
        old = _OLD_NAMES.get(getattr(obj, "__module__", None))
        if old is None:
            super().save_global(obj, name)
            return
        self.write(f"c{old}\n{name or obj.__name__}\n".encode("ascii"))
        self.memoize(obj)


def python2_pickle(content: dict[str, Any]) -> bytes:
    """The dictionary as Python 2 would have written it; an unpickler of Python 3 needs encoding="latin1"."""
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(content)
    return stream.getvalue()

"""Re:InterHand as it lies on disk: re-lit captures of two hands, seen by studio and by head-worn cameras.

Source   Moon et al., "A Dataset of Relighted 3D Interacting Hands", NeurIPS 2023 Datasets and Benchmarks;
         data_manifests/reinterhand.yml says where to get it
Chapter  book/foundations/datasets.md
Units    millimetres on disk (MANO translations: metres), metres here; pixels
Frames   world: that of a capture; X_cam = R X_world + t, with a translation, unlike InterHand2.6M
Order    right hand first, the library's joint order; on disk the order "reinterhand", 24 joints a hand

Photographs are listed from the folders, not from `frame_list.txt`: one of the two lightings has six times
fewer. Joints and fits are read when a frame is asked for. Head-worn cameras are fisheyes: their frames have
a `FisheyeCamera` and no `sample.camera`.
"""

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hands_lib.data.errors import DataError, MissingData, named_os_errors, shown
from hands_lib.data.images import image_size, read_image
from hands_lib.data.json_stream import AGAIN, finite_numbers, numbers, read_json, value_of
from hands_lib.data.mano_annotation import HANDS, MANO_SIZES, ManoAnnotation
from hands_lib.data.skipped import BLACK_BELOW, Skipped, first_reason, photograph_masks
from hands_lib.hand.skeleton import JOINT_ORDERS, NUM_JOINTS, reorder
from hands_lib.structures import Camera, TensorFields, TwoHandSample

LIGHTINGS = ("envmap_per_segment", "envmap_per_frame")
_LEAST_TRUNCATION_RATIO = 0.2  # below it the authors' own reader leaves a head-worn photograph out


@dataclass(frozen=True)
class FisheyeCamera(TensorFields):
    """OpenCV's fisheye: a ray at angle a from the axis lands at radius f a (1 + D0 a^2 + ... + D3 a^8)."""

    intrinsics: Float[Tensor, "3 3"]
    camera_from_world: Float[Tensor, "4 4"]
    """Rigid; metres."""
    distortion: Float[Tensor, "4"]
    width: int
    height: int

    def project(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2"]:
        """World points to pixels, also for rays up to and beyond 90 degrees from the axis."""
        rotation, translation = self.camera_from_world[:3, :3], self.camera_from_world[:3, 3]
        x, y, z = (points @ rotation.mT + translation).unbind(dim=-1)
        radius = torch.hypot(x, y)
        angle = torch.atan2(radius, z)
        square = angle * angle
        d0, d1, d2, d3 = self.distortion
        bent = angle * (1 + square * (d0 + square * (d1 + square * (d2 + square * d3))))
        # On the axis the direction is open and the radius zero.
        scale = torch.where(radius > 0, bent / radius.clamp(min=torch.finfo(radius.dtype).tiny), 0)
        focal, centre = self.intrinsics.diagonal()[:2], self.intrinsics[:2, 2]
        return focal * torch.stack([scale * x, scale * y], dim=-1) + centre


@dataclass(frozen=True)
class ReInterHandFrame:
    """One photograph and what is known about it."""

    sample: TwoHandSample
    """3-D joints, their flags, and the studio camera; no camera for a head-worn photograph."""
    fisheye: FisheyeCamera | None
    """The camera of a head-worn photograph."""
    mano: ManoAnnotation
    capture: str
    camera_id: str
    frame_index: int
    image_path: Path

    def image(self) -> UInt8[Tensor, "height width 3"]:
        """Reads the photograph. Raises DataError where it is missing or broken."""
        camera = self.sample.camera or self.fisheye
        assert camera is not None
        return read_image(self.image_path, camera.width, camera.height)


class ReInterHand(Sequence[ReInterHandFrame]):
    """The photographs of one capture under one lighting, ordered by camera and frame.

    `root` is the folder that holds the captures, or holds `data/` with them; `cameras` are those of the
    "studio" or the head-worn ones ("ego"). Photographs without a keypoint
    file of either hand, and head-worn ones that show too little of the hands, are left out and counted in
    `skipped`. Raises MissingData for a missing folder, DataError for content that contradicts the format.
    """

    @named_os_errors("the capture")
    def __init__(
        self,
        root: str | Path,
        capture: str,
        *,
        cameras: str = "studio",
        lighting: str = LIGHTINGS[0],
    ):
        if lighting not in LIGHTINGS:
            raise DataError(
                f"unknown lighting {lighting!r} of Re:InterHand; there are {', '.join(LIGHTINGS)}"
            )
        if cameras not in ("studio", "ego"):
            raise DataError(f"unknown cameras {cameras!r} of Re:InterHand; there are studio, ego")
        there = captures_in(root)
        if capture not in there:
            raise MissingData(
                f"{root} has no capture {capture!r}; there are {', '.join(there) or 'none'}: "
                f"`hands data check reinterhand --root DIR` says where to get them"
            )
        self.root, self.capture, self.cameras = there[capture], capture, cameras
        own = self.root / ("Mugsy_cameras" if cameras == "studio" else "Ego_cameras") / lighting
        if not (own / "images").is_dir():
            raise MissingData(
                f"{own / 'images'} is missing: unpack this capture's photographs, or name another lighting"
            )
        self._own = own
        self._photographs: list[tuple[str, int, Path]] = []
        folders = _visible((own / "images").iterdir()) if cameras == "studio" else [own / "images"]
        for folder in folders:
            camera = folder.name if cameras == "studio" else "ego"
            for path in _visible(folder.glob("*.png")) if folder.is_dir() else ():
                if not path.stem.isdecimal():
                    raise DataError(f"{path} is not named after its frame: unpack the photographs again")
                self._photographs.append((camera, int(path.stem), path))
        if cameras == "studio":
            path = self.root / "Mugsy_cameras" / "cam_params.json"
            self._studio = _objects(path)
            for camera in {camera for camera, _, _ in self._photographs}:
                _camera(path, camera, value_of(f"{path}", self._studio, camera))
        self._photographs, self.skipped = self._without(self._left_out())

    def __len__(self) -> int:
        return len(self._photographs)

    @named_os_errors("the capture")
    def __getitem__(self, number: int) -> ReInterHandFrame:
        if not -len(self) <= number < len(self):
            raise IndexError(f"frame {number} of {len(self)} in {self._own}")
        name, frame, path = self._photographs[number]
        joints = torch.zeros(2, NUM_JOINTS, 3)
        valid = torch.zeros(2, NUM_JOINTS, dtype=torch.bool)
        for hand, side in enumerate(HANDS):
            keypoints = self._keypoints(side, frame)
            if _there(keypoints):
                joints[hand], valid[hand] = _read_keypoints(keypoints)
        width, height = _size(path)
        camera, fisheye = None, None
        if self.cameras == "studio":
            values = _camera(self.root / "Mugsy_cameras" / "cam_params.json", name, self._studio[name])
            camera = Camera(*values, width, height)
        else:
            params = self._own / "cam_params" / f"{frame:06d}.json"
            content = _objects(params)
            distortion = finite_numbers(f"{params}: D", value_of(str(params), content, "D"), (4,))
            values = _camera(params, "ego", content)
            fisheye = FisheyeCamera(*values, torch.from_numpy(distortion).float(), width, height)
        return ReInterHandFrame(
            TwoHandSample(joints, valid, camera), fisheye, self._mano(frame), self.capture, name, frame, path
        )

    def usable(
        self, *, black_below: float = BLACK_BELOW, mano: bool = False
    ) -> tuple["ReInterHand", Skipped]:
        """The photographs that are whole and not black, and with `mano` those with both fits; and a count."""
        masks = {}
        ask = np.ones(len(self), dtype=bool)
        if mano:
            fitted = [all(_there(self._fit(side, n)) for side in HANDS) for _, n, _ in self._photographs]
            masks["without MANO fit"] = ~np.array(fitted, dtype=bool).reshape(-1)
            ask &= ~masks["without MANO fit"]
        masks |= photograph_masks([path for _, _, path in self._photographs], ask, black_below)
        chosen = copy.copy(self)
        chosen._photographs, skipped = self._without(masks)
        return chosen, skipped

    def _without(self, masks: dict[str, np.ndarray]) -> tuple[list[tuple[str, int, Path]], Skipped]:
        kept, skipped = first_reason(len(self._photographs), masks)
        return [self._photographs[n] for n in np.flatnonzero(kept)], skipped

    def _left_out(self) -> dict[str, np.ndarray]:
        frames = [frame for _, frame, _ in self._photographs]
        known = {f: any(_there(self._keypoints(side, f)) for side in HANDS) for f in set(frames)}
        masks = {"without keypoints": np.array([not known[frame] for frame in frames], dtype=bool)}
        path = self._own / "truncation_ratio.json"
        if self.cameras == "ego" and _there(path):
            ratios = _objects(path)
            values = [ratios.get(f"{frame:06d}") for frame in frames]
            for value in values:
                if type(value) not in (int, float) or not -math.inf < value < math.inf:
                    raise DataError(
                        f"{path} has no number for each photograph (found {shown(value)}): {AGAIN}"
                    )
            masks["with truncated hands"] = np.array(values) < _LEAST_TRUNCATION_RATIO
        return masks

    def _keypoints(self, side: str, frame: int) -> Path:
        return self.root / "orig_fits" / side / "Keypoints" / f"keypoint-{frame:06d}.json"

    def _fit(self, side: str, frame: int) -> Path:
        return self.root / "mano_fits" / "params" / f"{frame}_{side}.json"

    def _mano(self, frame: int) -> ManoAnnotation:
        values = {key: torch.zeros(2, size) for key, size in MANO_SIZES.items()}
        valid = torch.zeros(2, dtype=torch.bool)
        for hand, side in enumerate(HANDS):
            path = self._fit(side, frame)
            if _there(path):
                content = _objects(path)
                for key, size in MANO_SIZES.items():
                    found = finite_numbers(f"{path}: {key}", value_of(str(path), content, key), (size,))
                    values[key][hand] = torch.from_numpy(found)
                valid[hand] = True
        return ManoAnnotation(values["pose"], values["shape"], values["trans"], valid)


@named_os_errors("the folder of captures")
def captures_in(root: str | Path) -> dict[str, Path]:
    """The captures below `root` or `root/data`: folders that hold photographs of either kind."""
    places = [place for place in (Path(root) / "data", Path(root)) if place.is_dir()]
    if not places:
        raise MissingData(
            f"{root} is not a folder; `hands data check reinterhand` says where to get the data"
        )
    return {
        folder.name: folder
        for folder in _visible(places[0].iterdir())
        if any((folder / name).is_dir() for name in ("Mugsy_cameras", "Ego_cameras"))
    }


def _there(path: Path) -> bool:
    """Whether something has this name: whether it is a file that can be read, reading says. Raises OSError
    where the folder may not be looked at."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _visible(paths: Iterable[Path]) -> list[Path]:
    """Sorted, without what systems put beside files: macOS has a `._095964.png` for `095964.png`."""
    return sorted(path for path in paths if not path.name.startswith("."))


def _objects(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} does not hold an object: {AGAIN}")
    return content


def _camera(path: Path, name: str, entry: Any) -> tuple[Tensor, Tensor]:
    """Intrinsics and camera_from_world, metres."""
    where = f"{path}: camera {name}"
    rotation, translation, focal, centre = (
        finite_numbers(f"{where}: {key}", value_of(where, entry, key), shape)
        for key, shape in (("R", (3, 3)), ("t", (3,)), ("focal", (2,)), ("princpt", (2,)))
    )
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise DataError(f"{where}: R is not a rotation: {AGAIN}")
    if (focal <= 0).any():
        raise DataError(f"{where}: focal is not positive: {AGAIN}")
    intrinsics, camera_from_world = torch.eye(3), torch.eye(4)
    intrinsics[[0, 1], [0, 1]] = torch.from_numpy(focal).float()
    intrinsics[:2, 2] = torch.from_numpy(centre).float()
    camera_from_world[:3, :3] = torch.from_numpy(rotation).float()
    camera_from_world[:3, 3] = torch.from_numpy(translation / 1000).float()
    return intrinsics, camera_from_world


def _read_keypoints(path: Path) -> tuple[Float[Tensor, "21 3"], Tensor]:
    rows = len(JOINT_ORDERS["reinterhand"])
    on_disk = torch.from_numpy(numbers(f"{path}: keypoints", read_json(path), (rows, 3)) / 1000)
    joints = reorder(on_disk, "reinterhand", "hands").float()
    if not joints.isfinite().all():  # the forearm's row may hold anything
        raise DataError(f"{path}: a joint is not finite: {AGAIN}")
    return joints, torch.ones(NUM_JOINTS, dtype=torch.bool)


@lru_cache(maxsize=4096)
def _size(path: Path) -> tuple[int, int]:
    return image_size(path)

"""Writes captures in exactly DexYCB's format: labels a frame, poses a recording, calibration beside them.

Source   data_manifests/dexycb.yml; the layout that `data.dexycb` reads
Units    metres in; metres in the labels, millimetres in the depth images
Frames   the camera's, as OpenCV's, in and in the labels; the world in `pose.npz`
Order    the library's in and in the files

Numbers are written in full, so that a reader gets back the same float32 values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from hands_lib.data.dexycb import HEIGHT, SERIALS, SIDES, SUBJECTS, WIDTH
from hands_lib.data.errors import DataError
from hands_lib.data.held_objects import YCB_CLASSES
from hands_lib.hand.mano import Side
from hands_lib.hand.skeleton import NUM_JOINTS

_MISSING_POSE = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)  # of an object in pose.npz
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class DexYCBView:
    """What one camera saw of one frame, and what the labels say of it."""

    image: UInt8[np.ndarray, "480 640 3"]
    depth: Float[Tensor, "480 640"]
    """Metres, 0 where nothing was measured."""
    segmentation: UInt8[Tensor, "480 640"]
    joints: Float[Tensor, "21 3"] | None
    """None where the hand has no label; then neither has `hand`."""
    image_joints: Float[Tensor, "21 2"] | None
    hand: Float[Tensor, "51"] | None
    """The root's axis-angle, 45 PCA coefficients, the translation, in the camera's frame."""
    objects: Sequence[tuple[Float[Tensor, "3 3"], Float[Tensor, "3"]] | None]
    """Rotation and translation of each object into the camera's frame; None where it is not known."""


class DexYCBWriter:
    """Writes calibration at once, and each recording when it is added.

    root           a new or an empty folder
    intrinsics     of each camera, by its serial
    extrinsics     world_from_camera of each camera; the first one is the master
    calibration    the name of the extrinsics, as 20200702_151821
    python_tuples  writes the extrinsics as tuples with YAML's tag for them, as some files of the release are

    Raises DataError where `root` already holds something, or a serial is none of the release's.
    """

    def __init__(
        self,
        root: str | Path,
        intrinsics: Mapping[str, Float[Tensor, "3 3"]],
        extrinsics: Mapping[str, Float[Tensor, "4 4"]],
        calibration: str,
        python_tuples: bool = False,
    ):
        self.root, self.calibration = Path(root), calibration
        if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise DataError(f"{self.root} already holds something: name a new or an empty folder")
        if unknown := [serial for serial in intrinsics if serial not in SERIALS]:
            raise DataError(f"{unknown[0]} is none of DexYCB's cameras; there are {', '.join(SERIALS)}")
        self.serials = [serial for serial in SERIALS if serial in intrinsics]
        for serial, matrix in intrinsics.items():
            values = dict(
                zip(("fx", "fy", "ppx", "ppy"), matrix[[0, 1, 0, 1], [0, 1, 2, 2]].tolist(), strict=True)
            )
            self._write_yaml(f"intrinsics/{serial}_{WIDTH}x{HEIGHT}.yml", {"color": values})
        kind = tuple if python_tuples else list
        places = {name: kind(pose[:3].flatten().tolist()) for name, pose in extrinsics.items()}
        places.setdefault("apriltag", kind(torch.eye(4)[:3].flatten().tolist()))
        content = {"extrinsics": places, "master": next(iter(extrinsics))}
        self._write_yaml(f"extrinsics_{calibration}/extrinsics.yml", content)

    def add(
        self,
        subject: str,
        sequence: str,
        views: Mapping[str, Sequence[DexYCBView]],
        *,
        ycb_ids: Sequence[int],
        grasped: int,
        side: Side,
        shape: Float[Tensor, "10"],
        shape_name: str,
        world_objects: Float[Tensor, "frame object 7"],
        world_hand: Float[Tensor, "frame 51"],
    ) -> None:
        """One recording.

        sequence       its name, as 20200709_141754
        views          of each camera, by its serial: one for every frame
        grasped        a place in `ycb_ids`
        shape_name     of the hand's calibration, as 20200709_140042_subject-01_right
        world_objects  quaternions x, y, z, w and translations; NaN where a pose is not known
        world_hand     zeros where it is not known

        Raises DataError for an unknown subject, side, object or camera, a recording that is there already,
        and cameras with different numbers of frames.
        """
        if subject not in SUBJECTS or side not in SIDES or not set(ycb_ids) <= set(YCB_CLASSES):
            raise DataError(f"{subject}, {side}, {list(ycb_ids)}: a subject, a side or an object is unknown")
        if sorted(views) != sorted(self.serials):
            raise DataError(f"{sequence} has views of {sorted(views)}, where {sorted(self.serials)} belong")
        folder = self.root / subject / sequence
        if folder.exists():
            raise DataError(f"{subject} already has a recording {sequence}")
        counts = {len(frames) for frames in views.values()} | {len(world_objects), len(world_hand)}
        if len(counts) > 1:
            raise DataError(
                f"{sequence}: cameras and poses have different numbers of frames: {sorted(counts)}"
            )
        folder.mkdir(parents=True)
        poses = torch.where(world_objects.isnan(), torch.tensor(_MISSING_POSE), world_objects)
        np.savez(folder / "pose.npz", pose_y=_float32(poses), pose_m=_float32(world_hand[:, None]))
        self._write_yaml(f"mano_{shape_name}/mano.yml", {"betas": shape.tolist()})
        meta = {
            "serials": self.serials,
            "num_frames": len(world_hand),
            "extrinsics": self.calibration,
            "ycb_ids": list(ycb_ids),
            "ycb_grasp_ind": grasped,
            "mano_sides": [side],
            "mano_calib": [shape_name],
        }
        (folder / "meta.yml").write_text(yaml.safe_dump(meta, sort_keys=False), encoding="ascii")
        for serial, frames in views.items():
            (folder / serial).mkdir()
            for number, view in enumerate(frames):
                _write_view(folder / serial, number, view, len(ycb_ids))

    def _write_yaml(self, name: str, content: dict) -> None:
        path = self.root / "calibration" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not safe_dump, which knows no tuples; plain numbers, lists and names are all that there is.
        path.write_text(yaml.dump(content, sort_keys=False), encoding="ascii")


def _write_view(folder: Path, number: int, view: DexYCBView, count: int) -> None:
    if len(view.objects) != count:
        raise DataError(f"{folder}: a view has {len(view.objects)} poses of objects, where {count} belong")
    poses = np.zeros((count, 3, 4), dtype=np.float32)  # zeros where a pose is not known
    for place, known in enumerate(view.objects):
        if known is not None:
            poses[place] = torch.cat([known[0], known[1][:, None]], dim=1).numpy()
    hand = torch.zeros(51) if view.hand is None else view.hand
    joints = torch.full((NUM_JOINTS, 3), -1.0) if view.joints is None else view.joints
    pixels = torch.full((NUM_JOINTS, 2), -1.0) if view.image_joints is None else view.image_joints
    np.savez_compressed(
        folder / f"labels_{number:06d}.npz",
        seg=view.segmentation.numpy(),
        pose_y=poses,
        pose_m=_float32(hand[None]),
        joint_3d=_float32(joints[None]),
        joint_2d=_float32(pixels[None]),
    )
    Image.fromarray(view.image).save(folder / f"color_{number:06d}.jpg", quality=_JPEG_QUALITY)
    millimetres = (1000 * view.depth.double()).round().clamp(0, (1 << 16) - 1).numpy().astype(np.uint16)
    Image.fromarray(millimetres).save(folder / f"aligned_depth_to_color_{number:06d}.png")


def _float32(values: Tensor) -> np.ndarray:
    return values.numpy().astype(np.float32)

"""Writes captures in exactly InterHand2.6M's format, and exports generated worlds to it.

Source   data_manifests/interhand26m.yml; the layout that `data.interhand26m` reads
Units    metres and pixels in, millimetres in the files, as the format has it
Order    the library's in; "interhand26m" in the files, right hand first

Numbers are written in full, so that a reader gets back the same float32 values.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from hands_lib.data.errors import DataError
from hands_lib.hand.skeleton import JOINT_ORDERS, NUM_JOINTS, PARENTS, reorder
from hands_lib.structures import Camera, TwoHandSample
from hands_lib.worlds.renderer import random_lighting
from hands_lib.worlds.two_hands import TwoHandWorld
from hands_lib.worlds.views import as_sample, photograph

HAND_TYPES = ("right", "left", "interacting")
_BOX_MARGIN = 1.2  # the release's boxes are the joints' box, this much larger about its centre
_FIRST_CAMERA = 400000  # cameras whose number starts with 41 would count as grey ones
_JPEG_QUALITY = 95


@dataclass
class InterHandWriter:
    """Collects time steps and writes the annotation files when closed; photographs are written at once.

    root    a new or an empty folder
    digits  after the decimal point in the files, for short files; None writes every number in full

    Raises DataError where `root` already holds something.
    """

    root: Path
    split: str
    digits: int | None = None
    _images: list[dict] = field(default_factory=list, init=False)
    _annotations: list[dict] = field(default_factory=list, init=False)
    _cameras: dict[str, dict] = field(default_factory=dict, init=False)
    _steps: dict[str, dict] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.root = Path(self.root)
        if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise DataError(f"{self.root} already holds something: name a new or an empty folder")

    def add(
        self,
        sample: TwoHandSample,
        photographs: dict[str, tuple[Camera, UInt8[np.ndarray, "height width 3"]]],
        *,
        capture: int,
        frame: int,
        sequence: str,
        subject: int,
        hand_type: str,
        visible: Bool[Tensor, "2 21"] | None = None,
    ) -> None:
        """One time step and what each camera, by its name, saw of it.

        sample    absent hands have no valid joint; a joint that is not valid may have any position
        visible   further restricts the joints that are annotated in the images; by default all that are
                  inside

        Raises DataError for an unknown hand type, a frame number that the capture already has, and a camera
        that the capture knows with another calibration.
        """
        if hand_type not in HAND_TYPES:
            raise DataError(f"unknown hand type {hand_type!r}; there are {', '.join(HAND_TYPES)}")
        steps = self._steps.setdefault(str(capture), {})
        if str(frame) in steps:
            raise DataError(f"capture {capture} already has a frame {frame}: frames are numbered per capture")
        valid, world = sample.joint_valid, sample.joints
        on_disk = reorder(1000 * world.double(), "hands", "interhand26m")
        on_disk[~valid.any(dim=1)] = 1.0  # what the release writes for a hand that is not there
        steps[str(frame)] = {
            "world_coord": self._numbers(on_disk.flatten(0, 1)),
            "joint_valid": reorder(valid[..., None], "hands", "interhand26m").flatten(0, 1).tolist(),
            "hand_type": hand_type,
            "hand_type_valid": True,
            "seq": sequence,
        }
        known = self._cameras.setdefault(
            str(capture), {"campos": {}, "camrot": {}, "focal": {}, "princpt": {}}
        )
        for name, (camera, image) in photographs.items():
            number = len(self._images)
            for key, value in self._calibration(camera).items():
                if known[key].setdefault(name, value) != value:
                    raise DataError(f"camera {name} of capture {capture} has two calibrations")
            file_name = f"Capture{capture}/{sequence}/cam{name}/image{frame}.jpg"
            path = self.root / "images" / self.split / file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, quality=_JPEG_QUALITY)
            pixels = camera.project(world.to(camera.intrinsics).flatten(0, 1)).unflatten(0, (2, NUM_JOINTS))
            corner = pixels.new_tensor([camera.width - 1, camera.height - 1])
            inside = ((pixels >= 0) & (pixels <= corner)).all(dim=-1) & valid
            inside = inside if visible is None else inside & visible
            if not inside.any():
                raise DataError(
                    f"no joint of frame {frame} of capture {capture} is inside the image of {name}"
                )
            flags = reorder(inside[..., None].int(), "hands", "interhand26m").flatten(0, 1)
            self._images.append(
                {
                    "id": number, "file_name": file_name, "width": camera.width, "height": camera.height,
                    "capture": capture, "subject": subject, "seq_name": sequence, "camera": name,
                    "frame_idx": frame,
                }
            )  # fmt: skip
            self._annotations.append(
                {
                    "id": number, "image_id": number, "bbox": self._box(pixels[inside]),
                    "joint_valid": flags.tolist(), "hand_type": hand_type, "hand_type_valid": 1,
                }
            )  # fmt: skip

    def close(self, mano: bool = False) -> Path:
        """Writes the annotation files and returns the folder.

        mano  also writes a MANO_NeuralAnnot file, in which no hand has a fit
        """
        contents: dict[str, dict] = {
            "data": {"images": self._images, "annotations": self._annotations},
            "camera": self._cameras,
            "joint_3d": self._steps,
        }
        if mano:
            none = {"right": None, "left": None}
            contents["MANO_NeuralAnnot"] = {c: dict.fromkeys(steps, none) for c, steps in self._steps.items()}
        folder = self.root / "annotations" / self.split
        folder.mkdir(parents=True, exist_ok=True)
        for kind, content in contents.items():
            path = folder / f"InterHand2.6M_{self.split}_{kind}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
        (self.root / "annotations" / "skeleton.txt").write_text(skeleton_text(), encoding="utf-8")
        return self.root

    def _calibration(self, camera: Camera) -> dict[str, list]:
        pose = camera.camera_from_world.double()
        rotation, translation = pose[:3, :3], pose[:3, 3]
        # Solved, not transposed: a float32 rotation is orthogonal to 1e-7 only, and the reader multiplies
        # with it.
        position = -1000 * torch.linalg.solve(rotation, translation)
        return {
            "campos": self._numbers(position),
            "camrot": self._numbers(rotation, 5),
            "focal": self._numbers(camera.intrinsics.diagonal()[:2].double()),
            "princpt": self._numbers(camera.intrinsics[:2, 2].double()),
        }

    def _numbers(self, values: Tensor, more_digits: int = 0) -> list:
        numbers = values.numpy()
        if self.digits is not None:
            numbers = numbers.round(self.digits + more_digits)
        return (numbers + 0.0).tolist()  # + 0.0 turns -0.0 into 0.0

    def _box(self, pixels: Float[Tensor, "joint 2"]) -> list[float]:
        low, high = pixels.double().amin(dim=0), pixels.double().amax(dim=0)
        size = _BOX_MARGIN * (high - low)
        return self._numbers(torch.cat([(low + high - size) / 2, size]))


def export_world(
    world: TwoHandWorld,
    root: str | Path,
    frames: range | None = None,
    num_views: int | None = None,
    single_hands_every: int = 4,
) -> Path:
    """Writes frames of a generated split into the new or empty folder `root` in InterHand2.6M's layout.

    frames              which frames; default all
    num_views           of each frame; default all
    single_hands_every  every so many frames also one hand alone is photographed, first the right, then the
                        left one: the official evaluation needs such frames. 0 for none

    A frame becomes a capture of its own, since its cameras are cut to its hands. Photographs are JPEG, so
    their pixels change a little; annotations do not. Raises DataError where `root` already holds something.
    """
    writer = InterHandWriter(Path(root), world.split)
    for number in frames if frames is not None else range(len(world)):
        frame = world[number]
        person = world.person(frame.person)
        views = frame.views if num_views is None else frame.views[:num_views]
        sample = as_sample(frame.moment)
        shared = {"capture": number, "subject": frame.person}
        writer.add(
            sample, _photographs(views), frame=1, sequence=f"{number:04d}_dh_{frame.interaction}",
            hand_type="interacting", **shared,
        )  # fmt: skip
        if not single_hands_every or number % single_hands_every:
            continue
        lighting = random_lighting(torch.Generator().manual_seed(number))
        for step, (side, short) in enumerate((("right", "rh"), ("left", "lh")), start=2):
            alone = photograph(
                frame.moment, person, views.camera, lighting, "plain", world.settings.arms, number, side
            )
            valid = torch.zeros(2, NUM_JOINTS, dtype=torch.bool)
            valid[step - 2] = True
            writer.add(
                TwoHandSample(sample.joints, valid), _photographs(alone), frame=step,
                sequence=f"{number:04d}_{short}_{frame.interaction}", hand_type=side, **shared,
            )  # fmt: skip
    return writer.close(mano=True)


def _photographs(views) -> dict[str, tuple[Camera, np.ndarray]]:
    cameras = views.camera
    return {
        str(_FIRST_CAMERA + 2 * n): (
            Camera(cameras.intrinsics[n], cameras.camera_from_world[n], cameras.width, cameras.height),
            image.numpy(),
        )
        for n, image in enumerate(views.image)
    }


def skeleton_text() -> str:
    """The release's table of joints: name, number, parent's number."""
    order = JOINT_ORDERS["interhand26m"]
    names = {"little": "pinky"}
    lines = ["# joint name, joint id, parent joint id"]
    for side, start in (("r", 0), ("l", NUM_JOINTS)):
        for row, joint in enumerate(order):
            digit, _, number = joint.partition("_")
            parent = PARENTS[JOINT_ORDERS["hands"].index(joint)]
            above = -1 if parent < 0 else start + order.index(JOINT_ORDERS["hands"][parent])
            lines.append(f"{side}_{names.get(digit, digit)}{number} {start + row} {above}")
    return "\n".join(lines) + "\n"

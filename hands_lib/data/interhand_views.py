"""InterHand2.6M as VA-NeRF trains and tests on it: the same frames, the same pairs of views, black around.

Source   Huang et al., "3D Visibility-aware Generalizable NeRF for Interacting Hands", AAAI 2024. The paper
         names no selection; this is that of its released code (XuanHuang0/VANeRF): photographs of two hands
         that both have a MANO fit, from colour cameras but five, of moments that at least four of them saw
         (5,423 of the release for training), and five fixed pairs of views of each test moment (9,475).
Chapter  book/va_nerf/fusion.md
Units    metres, pixels
Frames   world: that of a capture's camera calibration; cameras as OpenCV's

Three things differ from the released code, on purpose. A crop transforms the calibration as it transforms
the picture (`cropped_intrinsics`): that code adds the crop's shift to the focal length. Surfaces are the
library's own, fitted to the 21 annotated joints of each hand and as thick as the rest hand; the release's
MANO fits only decide which frames count. (They could take the surfaces' place for those who have the MANO
model; that is not built.) A frame in which a joint is marked invalid cannot be fitted in full and is left
out, and counted.

Prepared pictures are kept in the cache folder. They are made again when settings, annotation files (by path,
size and time), or the library's sources of hands and geometry change; that photographs belong to their
annotation is taken for granted then.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from hands_lib.cache import made_once
from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.interhand26m import SPLITS, InterHand26M, InterHandFrame, TimeStep
from hands_lib.data.manifest import require_data
from hands_lib.data.skipped import Skipped
from hands_lib.geometry.raster import rasterize
from hands_lib.hand.inverse_kinematics import inverse_kinematics
from hands_lib.hand.pairs import left_mirrored, pair_faces, pair_surfaces
from hands_lib.structures import Camera, Mesh, PairViews
from hands_lib.worlds.two_hands import code_fingerprint

DROPPED_CAMERAS = ("400006", "400008", "400015", "400035", "400049")
"""Besides the grey ones, whose names start with 41."""
DROPPED_FROM_TEST = "ROM01_No_Interaction_2_Hand"
"""Test photographs whose file name contains this are left out."""
FEWEST_CAMERAS = 4
"""Of a moment."""
CROP_MARGIN = 1.25
"""Side of the picture against the longer side of the annotated box."""

TEST_PAIRS = {
    "small variation": (
        ((37, 44), (8, 16), (23, 25), (41, 43), (55, 56)),
        ((0, 3), (1, 2), (4, 5), (8, 9), (16, 17)),
    ),
    "large variation": (
        ((0, 1), (1, 2), (2, 3), (5, 6), (11, 12)),
        ((0, 3), (0, 4), (0, 6), (4, 8), (0, 13)),
    ),
}
"""(target, input) as places in a test frame's list of cameras, in the order of the annotation: of captures
with a 0 or a 1 in their number, and of the others. The released code calls the second list "> 30 degrees"."""

_VERSION = 1  # of what is kept in the cache
_LARGEST_BOX = 10  # times the photograph
_LEFT_OUT = (
    "frames with an invalid joint",
    "frames whose joints no hand can have",
    "photographs that the hands' surfaces miss",
    "test pairs without both photographs",
    "frames left with less than two photographs",
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InterHandViewSettings:
    """What the pictures depend on besides the data set."""

    image_size: int = 256
    """Pixels along both sides of a picture."""
    num_views: int = 24
    """Of each frame of `train` and `val`: at even steps through its list of cameras, all where it has fewer.
    A frame of `test` has the views that its pairs need."""
    num_frames: int | None = None
    """Greatest number of frames, the first in the order of the annotation; None for all."""
    variation: str = "small variation"
    """Which of `TEST_PAIRS` the test asks for."""

    def __post_init__(self) -> None:
        if not 16 <= self.image_size <= 1024:
            raise DataError(f"pictures have 16 to 1024 pixels a side, not {self.image_size}")
        if self.num_views < 2:
            raise DataError(f"a frame needs at least 2 views, an input and a target, not {self.num_views}")
        if self.num_frames is not None and self.num_frames < 1:
            raise DataError(f"asked for {self.num_frames} frames: ask for at least 1, or None for all")
        if self.variation not in TEST_PAIRS:
            raise DataError(
                f"unknown test pairs {self.variation!r}; there are {', '.join(map(repr, TEST_PAIRS))}"
            )


@dataclass(frozen=True)
class Selection:
    """The frames that VA-NeRF's released code takes from a split."""

    photographs: InterHand26M
    """Those that are chosen one by one; some belong to moments that too few cameras saw."""
    frames: list[TimeStep]
    """Moments, in the order in which the annotation comes to them; their `frames` are numbers of
    `photographs`, in the annotation's order."""
    skipped: Skipped
    """Photographs of two hands that were left out, by reason."""
    too_few_cameras: int
    """Moments that were left out for that."""


def select_frames(dataset: InterHand26M) -> Selection:
    """The released code's selection from a split of the data set.

    A hand must have a MANO fit, as there, wherever the release has any; where it has none at all (samples,
    exported worlds) joints alone decide.
    """
    both = dataset.only("interacting")
    rules = {
        "photograph": False,
        "colour": True,
        "without_cameras": DROPPED_CAMERAS,
        "without_name": DROPPED_FROM_TEST if dataset.split == "test" else "",
    }
    photographs, skipped = both.usable(mano=True, **rules)
    if not len(photographs):
        photographs, skipped = both.usable(**rules)
    moments = sorted(photographs.time_steps(), key=lambda step: step.frames[0])
    frames = [step for step in moments if len(step.frames) >= FEWEST_CAMERAS]
    return Selection(photographs, frames, skipped, len(moments) - len(frames))


def asked_pairs(capture: int, variation: str = "small variation") -> tuple[tuple[int, int], ...]:
    """The (target, input) pairs of a test frame, as places in its list of cameras. The released code looks
    for the characters 0 and 1 anywhere in the capture's number, so that 10 and 21 count as well."""
    with_0_or_1, others = TEST_PAIRS[variation]
    return with_0_or_1 if "0" in str(capture) or "1" in str(capture) else others


def interhand_views(
    split: str,
    settings: InterHandViewSettings | None = None,
    root: str | Path | None = None,
    *,
    annotation_subset: str | None = None,
    cache: str | Path | None = None,
) -> PairViews:
    """The prepared pictures of a split: made once, at one or two hundred photographs a second and core, then
    from the cache. A photograph of n x n pixels takes 4 n^2 bytes, in memory as on disk.

    root               folder of the data set; by default where the manifests say
    annotation_subset  for older releases, see `InterHand26M`
    cache              folder instead of `hands_lib.cache.cache_folder()`

    What had to be left out is counted in a warning of the log.

    Raises MissingData where the data set, one of its files or a photograph that is needed is not there;
    DataError for an unknown split, a file that contradicts the format, and a data set without a single frame
    of use.
    """
    settings = settings or InterHandViewSettings()
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r} of InterHand2.6M; there are {', '.join(SPLITS)}")
    dataset = InterHand26M(
        require_data("interhand26m", root), split, annotation_subset=annotation_subset, cache=cache
    )
    key = _key(dataset, settings)
    found = made_once("interhand_views", key, lambda: _prepared(dataset, settings), folder=cache)
    left_out = found.pop("left_out").tolist()
    if any(left_out):
        parts = [f"{count} {what}" for count, what in zip(left_out, _LEFT_OUT, strict=True) if count]
        _log.warning("InterHand2.6M, %s: left out %s", split, ", ".join(parts))
    return PairViews(**found, faces=pair_faces())


def _key(dataset: InterHand26M, settings: InterHandViewSettings) -> list:
    """All that the pictures depend on."""
    own = asdict(settings)
    own.pop("num_views" if dataset.split == "test" else "variation")  # has no say there
    files = [dataset.file(kind) for kind in ("data", "camera", "joint_3d", "MANO_NeuralAnnot")]
    described = [
        [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files if path.exists()
    ]
    photographs = str(dataset.image_folder.resolve())
    return [_VERSION, dataset.split, own, described, photographs, code_fingerprint()]


@dataclass(frozen=True)
class _Wanted:
    """A frame, the numbers of its photographs that are needed, and places among these that are asked for."""

    step: TimeStep
    photographs: list[int]
    pairs: list[tuple[int, int]]
    """Input and target."""


def _wanted(step: TimeStep, settings: InterHandViewSettings, split: str) -> tuple[_Wanted, int]:
    """What is needed of a frame, and how many pairs it lacks a camera for."""
    total = len(step.frames)
    if split != "test":
        count = min(settings.num_views, total)
        return _Wanted(step, [step.frames[n * total // count] for n in range(count)], []), 0
    asked = asked_pairs(step.capture, settings.variation)
    there = [(given, target) for target, given in asked if max(target, given) < total]
    cameras = sorted({camera for pair in there for camera in pair})
    pairs = [(cameras.index(given), cameras.index(target)) for given, target in there]
    return _Wanted(step, [step.frames[camera] for camera in cameras], pairs), len(asked) - len(there)


def _prepared(dataset: InterHand26M, settings: InterHandViewSettings) -> dict[str, Tensor]:
    selection, left_out = select_frames(dataset), dict.fromkeys(_LEFT_OUT, 0)
    chosen: list[_Wanted] = []
    for step in selection.frames:
        if len(chosen) == settings.num_frames:
            break
        if not step.sample.joint_valid.all():
            left_out["frames with an invalid joint"] += 1
            continue
        wanted, without_camera = _wanted(step, settings, dataset.split)
        left_out["test pairs without both photographs"] += without_camera
        if len(wanted.photographs) < 2:
            left_out["frames left with less than two photographs"] += 1
            continue
        chosen.append(wanted)
    if not chosen:
        _refuse(dataset, selection, left_out)
    photographs = selection.photographs
    _refuse_missing(photographs.take([number for one in chosen for number in one.photographs]), dataset.split)

    size, num_frames = settings.image_size, len(chosen)
    shape = num_frames, max(len(one.photographs) for one in chosen)
    made = {
        "image": torch.zeros(*shape, size, size, 3, dtype=torch.uint8),
        "foreground": torch.zeros(*shape, size, size, dtype=torch.bool),
        "intrinsics": torch.zeros(*shape, 3, 3),
        "camera_from_world": torch.zeros(*shape, 4, 4),
        "vertices": torch.zeros(num_frames, *_surfaces_shape()),
        "joints": torch.zeros(num_frames, 2, 21, 3),
        "view_count": torch.zeros(num_frames, dtype=torch.long),
    }
    asked: list[tuple[int, int, int]] = []
    row = 0  # stays behind where a frame turns out to be of no use
    for one in tqdm(chosen, desc=f"InterHand2.6M, {dataset.split}", unit="frame", delay=5):
        try:
            vertices = fitted_surfaces(one.step.sample.joints)
        except ValueError:
            left_out["frames whose joints no hand can have"] += 1
            continue
        frames = [photographs[number] for number in one.photographs]
        cameras = _cropped_cameras(frames, dataset.file("data"), size)
        foreground = _silhouettes(vertices, cameras)
        seen = foreground.any(dim=(1, 2))
        place = (seen.cumsum(dim=0) - 1).tolist()  # of a view among those that are seen
        pairs = [(place[a], place[b]) for a, b in one.pairs if seen[a] and seen[b]]
        left_out["photographs that the hands' surfaces miss"] += int((~seen).sum())
        left_out["test pairs without both photographs"] += len(one.pairs) - len(pairs)
        count = int(seen.sum())
        if count < 2 or (one.pairs and not pairs):
            left_out["frames left with less than two photographs"] += 1
            continue
        cropped = [crop_photograph(frames[n].image(), frames[n].bbox, size) for n in seen.nonzero()[:, 0]]
        made["image"][row, :count] = torch.stack(cropped) * foreground[seen][..., None]
        made["foreground"][row, :count] = foreground[seen]
        made["intrinsics"][row, :count] = cameras.intrinsics[seen]
        made["camera_from_world"][row, :count] = cameras.camera_from_world[seen]
        made["vertices"][row], made["joints"][row] = vertices, one.step.sample.joints
        made["view_count"][row] = count
        asked += [(row, given, target) for given, target in pairs]
        row += 1
    if not row:
        _refuse(dataset, selection, left_out)
    made = {name: value[:row] for name, value in made.items()}
    made["asked"] = torch.tensor(asked, dtype=torch.long).reshape(-1, 3)
    made["left_out"] = torch.tensor(list(left_out.values()))
    return made


def fitted_surfaces(joints: Float[Tensor, "2 21 3"]) -> Float[Tensor, "2 vertex 3"]:
    """World vertices of the library's refined surfaces around the joints of two hands, right hand first.

    joints  metres, world, all of them valid

    Raises ValueError for joints that no hand can have, as `inverse_kinematics`.
    """
    joints = joints.double()
    # In double precision and as two right hands; the surfaces are mirrored back by `pair_surfaces`.
    pose = inverse_kinematics(left_mirrored(joints)).pose
    return pair_surfaces(pose).float()


def _surfaces_shape() -> tuple[int, ...]:
    return (2, int(pair_faces().max()) + 1, 3)


def _silhouettes(vertices: Tensor, cameras: Camera) -> Tensor:
    """Pixels of each camera's picture that see one of the hands."""
    faces = pair_faces()
    shift = vertices.shape[1] * torch.arange(2)[:, None, None]
    mesh = Mesh(vertices.flatten(0, 1)[None], (faces + shift).flatten(0, 1))
    return rasterize(mesh, cameras).foreground


def crop_square(bbox: Float[Tensor, "*batch 4"]) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
    """Corner and side, in pixel coordinates, of the square about the middle of a box x, y, width, height,
    `CROP_MARGIN` times as long as the box's longer side. In float64."""
    low, extent = bbox.double().split(2, dim=-1)
    side = CROP_MARGIN * extent.amax(dim=-1)
    return low + (extent - side[..., None]) / 2, side


def cropped_intrinsics(
    intrinsics: Float[Tensor, "*batch 3 3"], bbox: Float[Tensor, "*batch 4"], size: int
) -> Float[Tensor, "*batch 3 3"]:
    """The calibration of a photograph cut to `crop_square` and scaled to `size` pixels: f' = s f and
    c' = s (c - corner) - 1/2, with pixel centres at whole numbers as everywhere in the library."""
    corner, side = crop_square(bbox)
    scale = (size / side)[..., None]
    moved = intrinsics.double().clone()
    moved[..., :2, :2] *= scale[..., None]
    moved[..., :2, 2] = scale * (moved[..., :2, 2] - corner) - 0.5
    return moved.to(intrinsics)


def crop_photograph(
    image: UInt8[Tensor, "height width 3"], bbox: Float[Tensor, "4"], size: int
) -> UInt8[Tensor, "{size} {size} 3"]:
    """The photograph cut to `crop_square` and scaled, black beyond its border; what becomes smaller is
    averaged."""
    corner, side = crop_square(bbox)
    # Pillow counts from the corner of the first pixel, half a pixel before its centre.
    low = (corner + 0.5).tolist()
    high = [value + float(side) for value in low]
    reach = math.ceil(float(side) / size) + 1  # pixels beyond the square that an average may need
    x, y = (math.floor(value) - reach for value in low)
    right, bottom = (math.ceil(value) + reach for value in high)
    picture = Image.fromarray(image.numpy()).crop((x, y, right, bottom))
    box = (low[0] - x, low[1] - y, high[0] - x, high[1] - y)
    return torch.from_numpy(np.array(picture.resize((size, size), Image.Resampling.BILINEAR, box)))


def cropped_to_joints(
    frame: InterHandFrame, size: int, around: float
) -> tuple[UInt8[Tensor, "{size} {size} 3"], Camera]:
    """The photograph cut to a square around the joints, and the camera of what is left, with a batch of one.

    around  side of the square against the longer side of the joints' box in the picture
    """
    camera = frame.sample.camera
    pixels = camera.project(frame.sample.joints.flatten(0, 1))
    low, high = pixels.amin(dim=0), pixels.amax(dim=0)
    box_size = (around / CROP_MARGIN) * (high - low)
    box = torch.cat([(low + high - box_size) / 2, box_size])
    intrinsics = cropped_intrinsics(camera.intrinsics[None], box[None], size)
    seen = Camera(intrinsics, camera.camera_from_world[None], size, size)
    return crop_photograph(frame.image(), box, size), seen


def _cropped_cameras(frames: Sequence[InterHandFrame], path: Path, size: int) -> Camera:
    for frame in frames:
        longest = max(frame.sample.camera.width, frame.sample.camera.height)
        extent = frame.bbox[2:]
        if not (extent > 0).all() or extent.max() > _LARGEST_BOX * longest:
            raise DataError(
                f"{path}: annotation {frame.annotation_id}: bbox {frame.bbox.tolist()} is no box in a "
                f"photograph of {frame.sample.camera.width} x {frame.sample.camera.height} pixels: get the "
                "file again, or take the annotation out"
            )
    cameras = [frame.sample.camera for frame in frames]
    intrinsics = torch.stack([camera.intrinsics for camera in cameras])
    boxes = torch.stack([frame.bbox for frame in frames])
    pose = torch.stack([camera.camera_from_world for camera in cameras])
    return Camera(cropped_intrinsics(intrinsics, boxes, size), pose, size, size)


def _refuse(dataset: InterHand26M, selection: Selection, left_out: dict[str, int]) -> None:
    counts = [f"{count} {what}" for what, count in left_out.items() if count]
    if selection.too_few_cameras:
        few = f"{selection.too_few_cameras} moments with fewer than {FEWEST_CAMERAS} colour cameras"
        counts.insert(0, few)
    total = len(dataset.only("interacting"))
    raise DataError(
        f"{dataset.file('data')} has no frame that VA-NeRF's protocol can use, in {total} photographs of two "
        f"hands ({selection.skipped}; {', '.join(counts) or 'nothing else'}): it needs moments that many "
        "calibrated cameras saw, so a sample of single photographs is not enough; get the whole split "
        "(`hands data show interhand26m`)"
    )


def _refuse_missing(photographs: InterHand26M, split: str) -> None:
    absent = photographs.missing()
    if not absent:
        return
    lost = sum(count for count, _ in absent.values())
    named = [f"{folder} ({count} of {total})" for folder, (count, total) in list(absent.items())[:5]]
    more = f" and {len(absent) - len(named)} more folders" if len(absent) > len(named) else ""
    raise MissingData(
        f"{lost} of {len(photographs)} photographs that the {split} split needs are not in "
        f"{photographs.image_folder}: {', '.join(named)}{more}; unpack them, or ask for fewer frames"
    )

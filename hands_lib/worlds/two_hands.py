"""A data set of two interacting hands that anyone may have: generated on demand, every label exact.

Chapter  book/foundations/two_hand_world.md
Units    metres, pixels
Frames   world: y up, the pair's bounding box about the origin; cameras as OpenCV's

Splits are made of different people, and the kinds in `TEST_ONLY` are seen in the test split alone. A frame is
a moment of one pair seen by a ring of cameras, each picture cut to the hands as is usual (`cameras.cropped`).

On disk a split is a folder of shards, one safetensors file for a few frames, which is mapped into memory and
read where asked. A shard is a function of settings and number alone: the same seed gives the same bytes (on
one kind of machine: libraries may round differently elsewhere). It is written under another name and renamed
when complete, and a lock that dies with its process keeps two processes from making the same one. Folders are
named by version, settings and by the code that made them, so that changed code never reads old data.
"""

import fcntl
import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import hands_lib
from hands_lib.cache import cache_folder
from hands_lib.structures import Camera, HandPose, TensorFields
from hands_lib.worlds.cameras import camera_ring, cropped
from hands_lib.worlds.identities import Identities, sample_identities
from hands_lib.worlds.interactions import INTERACTIONS, SamplingReport, sample_pairs
from hands_lib.worlds.renderer import BACKGROUNDS, random_lighting
from hands_lib.worlds.views import Moment, PixelLabels, Views, make_moment, photograph, pixel_labels

VERSION = "two_hands_v1"
SPLITS = ("train", "val", "test")
TEST_ONLY = ("counting", "stacked")
_SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}  # of the people
_POSE = ("root_translation", "root_rotation", "palm_angles", "joint_angles", "bone_lengths")
_OPEN_SHARDS = 16


class WorldError(ValueError):
    """Settings that no world has, or a cache that is not what this library wrote."""


@dataclass(frozen=True)
class WorldSettings:
    """Everything that a generated data set depends on."""

    seed: int = 0
    image_size: int = 128
    num_views: int = 24
    num_people: int = 40
    train_frames: int = 2000
    val_frames: int = 200
    test_frames: int = 400
    background: str = "mixed"
    """One of `renderer.BACKGROUNDS`, or "mixed": all but black, drawn for every frame."""
    arms: bool = True
    """Whether forearms are drawn. Without them a mask is that of the hands alone, as VA-NeRF uses it."""
    margin: float = 1.15
    """Side of the picture against that of the box around both hands."""

    def __post_init__(self) -> None:
        if not 16 <= self.image_size <= 1024:
            raise WorldError(f"pictures have 16 to 1024 pixels a side, not {self.image_size}")
        if not 1 <= self.num_views <= 140:
            raise WorldError(f"a studio has 1 to 140 cameras, not {self.num_views}")
        if self.num_people < 10:
            raise WorldError(f"three splits by person need at least 10 people, not {self.num_people}")
        if min(self.train_frames, self.val_frames, self.test_frames) < 0:
            raise WorldError("a split cannot have fewer than 0 frames")
        if self.background not in (*BACKGROUNDS, "mixed"):
            raise WorldError(
                f"unknown background {self.background!r}: one of {', '.join(BACKGROUNDS)}, mixed"
            )

    def frames(self, split: str) -> int:
        return {"train": self.train_frames, "val": self.val_frames, "test": self.test_frames}[split]


@dataclass(frozen=True)
class TwoHandFrame(TensorFields):
    """One moment of the data set with all its pictures."""

    moment: Moment
    views: Views
    person: int
    interaction: str

    def labels(self) -> PixelLabels:
        """Depth, normals and correspondences of all views."""
        return pixel_labels(self.moment, self.views)


class TwoHandWorld(Sequence[TwoHandFrame]):
    """One split of the data set. Frames are made when they are first asked for, or all at once by `generate`.

    root    folder of the cache; default `cache.cache_folder`

    Raises WorldError for an unknown split.
    """

    def __init__(
        self, split: str = "train", settings: WorldSettings | None = None, root: str | Path | None = None
    ):
        if split not in SPLITS:
            raise WorldError(f"unknown split {split!r} of {VERSION}; there are {', '.join(SPLITS)}")
        self.split, self.settings = split, settings or WorldSettings()
        text = json.dumps(asdict(self.settings), sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:10]
        self.folder = Path(root or cache_folder()) / VERSION / f"{key}-{code_fingerprint()}" / split
        self._open: OrderedDict[int, object] = OrderedDict()
        pixels = self.settings.num_views * self.settings.image_size**2
        self.frames_per_shard = max(1, min(8, 16_000_000 // (5 * pixels)))

    def __getstate__(self) -> dict:
        # A data loader's worker maps the files for itself.
        return self.__dict__ | {"_open": OrderedDict()}

    def __len__(self) -> int:
        return self.settings.frames(self.split)

    @property
    def num_shards(self) -> int:
        return -(-len(self) // self.frames_per_shard)

    @property
    def people(self) -> tuple[int, ...]:
        """Numbers of this split's people; splits share none."""
        order = torch.randperm(
            self.settings.num_people, generator=torch.Generator().manual_seed(self.settings.seed)
        )
        train = round(_SHARES["train"] * len(order))
        val = train + round(_SHARES["val"] * len(order))
        chosen = {"train": order[:train], "val": order[train:val], "test": order[val:]}[self.split]
        return tuple(sorted(chosen.tolist()))

    @property
    def interactions(self) -> tuple[str, ...]:
        """Names of this split's interactions."""
        return tuple(name for name in INTERACTIONS if self.split == "test" or name not in TEST_ONLY)

    def person(self, number: int) -> Identities:
        """One of the data set's people."""
        return _people(self.settings.num_people, self.settings.seed)[number]

    def __getitem__(self, number: int) -> TwoHandFrame:
        number = self._checked(number)
        shard, row = divmod(number, self.frames_per_shard)
        file = self._shard(shard)

        def read(name: str) -> Tensor:
            return file.get_slice(name)[row]

        size = self.settings.image_size
        moment = Moment(
            HandPose(*(read(name) for name in _POSE)), read("vertices"), read("joints"), read("clearance")
        )
        camera = Camera(read("intrinsics"), read("camera_from_world"), size, size)
        views = Views(camera, read("image"), read("face"), read("vertex_visible").bool())
        return TwoHandFrame(moment, views, int(read("person")), tuple(INTERACTIONS)[int(read("interaction"))])

    def views(self, number: int, cameras: slice) -> tuple[Moment, Views]:
        """Some views of one frame; only these are read from disk."""
        number = self._checked(number)
        shard, row = divmod(number, self.frames_per_shard)
        file = self._shard(shard)
        size = self.settings.image_size
        moment = Moment(
            HandPose(*(file.get_slice(name)[row] for name in _POSE)),
            *(file.get_slice(name)[row] for name in ("vertices", "joints", "clearance")),
        )
        intrinsics, pose, image, face, visible = (
            file.get_slice(name)[row, cameras]
            for name in ("intrinsics", "camera_from_world", "image", "face", "vertex_visible")
        )
        return moment, Views(Camera(intrinsics, pose, size, size), image, face, visible.bool())

    def generate(self, progress: bool = True) -> "TwoHandWorld":
        """Makes all shards that are not there yet; another process may help by doing the same."""
        missing = [shard for shard in range(self.num_shards) if not self._path(shard).exists()]
        bar = _progress(len(missing), f"{VERSION} {self.split}") if progress and missing else None
        # First what nobody else works on, then what is left, waiting for its maker.
        for wait in (False, True):
            for shard in list(missing):
                with _lock(self._path(shard), wait) as free:
                    if not free:
                        continue
                    if not self._path(shard).exists():
                        self._make(shard)
                missing.remove(shard)
                if bar is not None:
                    bar.update(1)
        if bar is not None:
            bar.close()
        return self

    def content_hash(self) -> str:
        """SHA-256 over all shards in their order; makes those that are missing."""
        self.generate(progress=False)
        total = hashlib.sha256()
        for shard in range(self.num_shards):
            with self._path(shard).open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        return total.hexdigest()

    def acceptance(self) -> SamplingReport:
        """How many drawn pairs were kept in the shards that are there."""
        counts: dict[str, tuple[int, int]] = {}
        for shard in range(self.num_shards):
            if self._path(shard).exists():
                for name, (accepted, drawn) in json.loads(self._shard(shard).metadata()["sampling"]).items():
                    old = counts.get(name, (0, 0))
                    counts[name] = (old[0] + accepted, old[1] + drawn)
        return SamplingReport(counts)

    def _checked(self, number: int) -> int:
        if not -len(self) <= number < len(self):
            raise IndexError(f"frame {number} of {len(self)} in the {self.split} split of {VERSION}")
        return number % len(self)

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}.safetensors"

    def _shard(self, shard: int):
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        path = self._path(shard)
        if not path.exists():
            with _lock(path, wait=True):
                if not path.exists():
                    self._make(shard)
        try:
            file = safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise WorldError(f"{path} cannot be read ({error}): delete it, and it is made again") from None
        self._open[shard] = file
        if len(self._open) > _OPEN_SHARDS:
            self._open.popitem(last=False)
        return file

    def _make(self, shard: int) -> None:
        first = shard * self.frames_per_shard
        num = min(self.frames_per_shard, len(self) - first)
        settings = self.settings
        seed = (settings.seed * 3 + SPLITS.index(self.split)) * 1_000_003 + shard
        generator = torch.Generator().manual_seed(seed)
        numbers = torch.tensor(self.people)
        people = _people(settings.num_people, settings.seed)[numbers]
        # Interactions go on taking turns from shard to shard.
        turns = tuple(self.interactions[(first + n) % len(self.interactions)] for n in range(num))
        pairs, report = sample_pairs(num, people, generator, turns)
        rows: dict[str, list[Tensor]] = {}
        for n in range(num):
            person = people[pairs.identity[n]]
            row = make_frame(pairs.pose[n], person, settings, generator)
            row |= {"person": numbers[pairs.identity[n]], "interaction": pairs.interaction[n]}
            for name, value in row.items():
                rows.setdefault(name, []).append(value)
        tensors = {name: torch.stack(values).contiguous() for name, values in rows.items()}
        path = self._path(shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        try:
            # One entry only: the format writes several in any order, and the bytes should be the same every
            # time.
            save_file(tensors, unfinished, {"sampling": json.dumps(report.counts)})
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


def make_frame(
    pose: HandPose, person: Identities, settings: WorldSettings, generator: torch.Generator
) -> dict[str, Tensor]:
    """One frame of the data set as it is stored."""
    moment = make_moment(pose, person)
    phase = float(torch.rand((), generator=generator)) * 2 * torch.pi
    ring = camera_ring(settings.num_views, settings.image_size, phase=phase)
    camera = cropped(ring, moment.vertices.flatten(0, 1), settings.image_size, settings.margin)
    lighting = random_lighting(generator)
    draw = int(torch.randint(3, (), generator=generator))
    background = BACKGROUNDS[1 + draw] if settings.background == "mixed" else settings.background
    seed = int(torch.randint(2**31, (), generator=generator))
    views = photograph(moment, person, camera, lighting, background, settings.arms, seed)
    return {name: getattr(pose, name) for name in _POSE} | {
        "vertices": moment.vertices,
        "joints": moment.joints,
        "clearance": moment.clearance,
        "intrinsics": camera.intrinsics,
        "camera_from_world": camera.camera_from_world,
        "image": views.image,
        "face": views.face,
        "vertex_visible": views.vertex_visible.to(torch.uint8),
    }


@cache
def _people(num: int, seed: int) -> Identities:
    return sample_identities(num, seed)


@cache
def code_fingerprint() -> str:
    """Of the sources that decide what a generated data set contains."""
    library = Path(hands_lib.__file__).parent
    total = hashlib.sha256()
    for folder in ("geometry", "hand", "worlds"):
        for path in sorted((library / folder).rglob("*.py")):
            total.update(path.read_bytes())
    return total.hexdigest()[:8]


@contextmanager
def _lock(path: Path, wait: bool):
    """Whether this process may make `path` now. The lock ends with the process, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _progress(total: int, name: str):
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=total, desc=name, unit="shard")

"""A data set of two interacting hands that anyone may have: generated on demand, every label exact.

Chapter  book/foundations/two_hand_world.md
Units    metres, pixels
Frames   world: y up, the pair's bounding box about the origin; cameras as OpenCV's

Splits are made of different people, and the kinds in `TEST_ONLY` are seen in the test split alone. A frame is
a moment of one pair seen by a ring of cameras, each picture cut to the hands as is usual (`cameras.cropped`).

On disk a split is shards of a few frames, entries of the cache that are mapped into memory. A shard is a
function of settings and number alone: the same seed gives the same bytes (on one kind of machine: libraries
may round differently elsewhere). Its key has the version, the settings and the code that made it, so that
changed code never reads old data.
"""

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

import hands_lib
from hands_lib.cache import digest, entry_path, is_being_made, made_with_facts
from hands_lib.geometry.cameras import cropped
from hands_lib.structures import Camera, HandPose, TensorFields
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.identities import Identities, sample_identities
from hands_lib.worlds.interactions import INTERACTIONS
from hands_lib.worlds.pair_sampling import SamplingReport, sample_pairs
from hands_lib.worlds.renderer import BACKGROUNDS, random_lighting
from hands_lib.worlds.views import Moment, PixelLabels, Views, make_moment, photograph, pixel_labels

VERSION = "two_hands_v1"
SPLITS = ("train", "val", "test")
TEST_ONLY = ("counting", "stacked")
_SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}  # of the people
_POSE = ("root_translation", "root_rotation", "palm_angles", "joint_angles", "bone_lengths")
_OPEN_SHARDS = 256  # each is checked once as long as it stays open


class WorldError(ValueError):
    """Settings that no world has."""


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

    root    folder of the cache; default `hands_lib.cache.cache_folder()`

    Raises WorldError for an unknown split.
    """

    def __init__(
        self, split: str = "train", settings: WorldSettings | None = None, root: str | Path | None = None
    ):
        if split not in SPLITS:
            raise WorldError(f"unknown split {split!r} of {VERSION}; there are {', '.join(SPLITS)}")
        self.split, self.settings = split, settings or WorldSettings()
        self._root = root
        self._open: OrderedDict[int, tuple[dict[str, Tensor], dict]] = OrderedDict()
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
        moment, views = self.views(number, slice(None))
        tensors, row = self._row(number)
        name = tuple(INTERACTIONS)[int(tensors["interaction"][row])]
        return TwoHandFrame(moment, views, int(tensors["person"][row]), name)

    def views(self, number: int, cameras: slice) -> tuple[Moment, Views]:
        """Some views of one frame, as copies; only these are read, once a shard was checked."""
        tensors, row = self._row(number)
        size = self.settings.image_size

        def read(*names: str, at: Any = row) -> list[Tensor]:
            return [tensors[name][at].clone() for name in names]

        moment = Moment(HandPose(*read(*_POSE)), *read("vertices", "joints", "clearance"))
        names = "intrinsics", "camera_from_world", "image", "face", "vertex_visible"
        intrinsics, pose, image, face, visible = read(*names, at=(row, cameras))
        return moment, Views(Camera(intrinsics, pose, size, size), image, face, visible.bool())

    def generate(self, progress: bool = True) -> "TwoHandWorld":
        """Makes all shards that are not there yet; another process may help by doing the same."""
        missing = [shard for shard in range(self.num_shards) if not self._is_there(shard)]
        disable = not (progress and missing)
        with tqdm(total=len(missing), desc=f"{VERSION} {self.split}", unit="shard", disable=disable) as bar:
            # First what nobody else works on, then what is left, waiting for its maker.
            for wait in (False, True):
                for shard in list(missing):
                    if wait or not is_being_made(self._path(shard)):
                        self._shard(shard)
                        missing.remove(shard)
                        bar.update(1)
        return self

    def content_hash(self) -> str:
        """SHA-256 over the content of all shards in their order; makes those that are missing."""
        total = hashlib.sha256()
        for shard in range(self.num_shards):
            tensors, facts = self._shard(shard)
            total.update(digest(tensors, json.dumps(facts)).encode())
        return total.hexdigest()

    def acceptance(self) -> SamplingReport:
        """How many drawn pairs were kept in the shards that are there."""
        counts: dict[str, tuple[int, int]] = {}
        for shard in range(self.num_shards):
            if self._is_there(shard):
                for name, (accepted, drawn) in self._shard(shard)[1].items():
                    old = counts.get(name, (0, 0))
                    counts[name] = (old[0] + accepted, old[1] + drawn)
        return SamplingReport(counts)

    def _checked(self, number: int) -> int:
        if not -len(self) <= number < len(self):
            raise IndexError(f"frame {number} of {len(self)} in the {self.split} split of {VERSION}")
        return number % len(self)

    def _row(self, number: int) -> tuple[dict[str, Tensor], int]:
        """Shard and row of a frame."""
        shard, row = divmod(self._checked(number), self.frames_per_shard)
        return self._shard(shard)[0], row

    def _entry(self, shard: int) -> tuple[str, list]:
        """Kind and key in the cache."""
        return VERSION, [asdict(self.settings), self.split, shard, code_fingerprint()]

    def _path(self, shard: int) -> Path:
        return entry_path(*self._entry(shard), self._root)

    def _is_there(self, shard: int) -> bool:
        return shard in self._open or os.path.isfile(self._path(shard))

    def _shard(self, shard: int) -> tuple[dict[str, Tensor], dict]:
        """Rows of its frames, and how its pairs were drawn."""
        if shard not in self._open:
            made = made_with_facts(*self._entry(shard), lambda: self._make(shard), folder=self._root)
            self._open[shard] = made
            if len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(shard)
        return self._open[shard]

    def _make(self, shard: int) -> tuple[dict[str, Tensor], dict]:
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
        return {name: torch.stack(values) for name, values in rows.items()}, dict(report.counts)


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

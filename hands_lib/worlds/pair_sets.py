"""Poses of many two-hand pairs, made once and kept: what networks that see no picture learn from.

Chapter  book/intersections/tables.md
Units    metres, radians
Frames   as `interactions`

Splits are those of `two_hands`: they share no person, and two interactions are seen in the test split alone.
A split is one entry of the cache, and a function of its settings and of the code that makes it alone.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from hands_lib.cache import made_once
from hands_lib.structures import Camera, HandPose
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import TwoHandPairs, sample_pairs
from hands_lib.worlds.two_hands import SPLITS, TwoHandWorld, WorldError, WorldSettings, code_fingerprint

_POSE = tuple(HandPose.__dataclass_fields__)
_CAMERAS = 96
_AT_ONCE = 300  # pairs: a few seconds of work between two moves of the progress bar


@dataclass(frozen=True)
class PairSetSettings:
    """Everything that a set depends on."""

    seed: int = 0
    num_people: int = 40
    train: int = 6000
    val: int = 800
    test: int = 2000

    def __post_init__(self) -> None:
        if min(self.train, self.val, self.test) < 1:
            raise WorldError("a split has at least one pair")

    def size(self, split: str) -> int:
        return {"train": self.train, "val": self.val, "test": self.test}[split]


def pair_set(
    split: str, settings: PairSetSettings | None = None, root: str | Path | None = None
) -> TwoHandPairs:
    """A split's pairs; `identity` numbers the people of `sample_identities(num_people, seed)`.

    root    folder of the cache; default `hands_lib.cache.cache_folder()`

    Raises WorldError for an unknown split.
    """
    settings = settings or PairSetSettings()
    if split not in SPLITS:
        raise WorldError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    key = pair_set_key(split, settings)
    values = made_once("pair_sets", key, lambda: _make(split, settings), folder=root)
    pose = HandPose(*(values[name] for name in _POSE))
    return TwoHandPairs(pose, values["identity"], values["interaction"])


def pair_set_key(split: str, settings: PairSetSettings) -> list:
    """All that a split's pairs depend on, for a key of the cache."""
    return [split, settings.seed, settings.num_people, settings.size(split), code_fingerprint()]


def seen_pairs(
    joints: Float[Tensor, "pair 2 21 3"],
    generator: torch.Generator,
    noise: float = 0.0,
    distances: tuple[float, float] = (1.0, 2.0),
) -> tuple[Float[Tensor, "pair 2 21 3"], Float[Tensor, "pair 2 21 2"]]:
    """Each pair as a camera of its own sees it: joints in the camera's frame, and 2D keypoints.

    noise      standard deviation of each keypoint coordinate, as a length at the hands, metres
    distances  from which to which the cameras stand away, metres

    Cameras are those of `camera_ring` at many heights; pixels are thousandths of the distance.
    """
    cameras = camera_ring(_CAMERAS, size=1000, distance=1.0, field=1.0)
    chosen = torch.randint(_CAMERAS, (len(joints),), generator=generator)
    low, high = distances
    away = low + (high - low) * torch.rand(len(joints), generator=generator)
    pose = cameras.camera_from_world[chosen].to(joints)
    pose[:, 2, 3] = away.to(joints)
    camera = Camera(cameras.intrinsics[chosen].to(joints), pose, cameras.width, cameras.height)
    flat = joints.flatten(1, 2)
    blur = torch.randn(len(joints), 42, 2, generator=generator).to(joints)
    blur = blur * (noise * camera.intrinsics[:, 0, 0] / camera.camera_from_world[:, 2, 3])[:, None, None]
    keypoints = camera.project(flat) + blur
    return camera.transform(flat).unflatten(1, (2, 21)), keypoints.unflatten(1, (2, 21))


def _make(split: str, settings: PairSetSettings) -> dict[str, Tensor]:
    world = TwoHandWorld(split, WorldSettings(seed=settings.seed, num_people=settings.num_people))
    numbers = torch.tensor(world.people)
    people = sample_identities(settings.num_people, settings.seed)[numbers]
    names, num = world.interactions, settings.size(split)
    parts = []
    with tqdm(total=num, desc=f"pairs of hands, {split}", unit="pair", disable=num < _AT_ONCE) as bar:
        for first in range(0, num, _AT_ONCE):
            wanted = min(_AT_ONCE, num - first)
            generator = torch.Generator().manual_seed(
                ((settings.seed * 3 + SPLITS.index(split)) * 1_000_003 + first) % 2**62
            )
            turns = tuple(names[(first + n) % len(names)] for n in range(wanted))
            parts.append(sample_pairs(wanted, people, generator, turns)[0])
            bar.update(wanted)
    tensors = {name: torch.cat([getattr(part.pose, name) for part in parts]) for name in _POSE}
    tensors["identity"] = torch.cat([numbers[part.identity] for part in parts])
    tensors["interaction"] = torch.cat([part.interaction for part in parts])
    return tensors

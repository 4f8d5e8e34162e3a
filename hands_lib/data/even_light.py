"""Pairs of the two-hand world in light from everywhere, before black: what VA-NeRF's method expects.

Chapter  book/va_nerf/fusion.md
Units    metres, pixels
Frames   world; cameras as OpenCV's

InterHand2.6M was taken in a dome of lamps, where a hand looks much the same from all sides. Here two lamps, a
bright sky and a bright ground stand for the dome; arms are left out, as masks of the hands alone are used.
Pictures are a function of the settings alone, and are kept in the cache: many runs ask for the same ones.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor
from tqdm.auto import tqdm

from hands_lib.cache import made_once
from hands_lib.geometry.cameras import cropped
from hands_lib.hand.pairs import pair_faces, pair_joints, pair_surfaces
from hands_lib.structures import PairViews
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sets import PairSetSettings, pair_set
from hands_lib.worlds.renderer import Lighting
from hands_lib.worlds.two_hands import SPLITS, WorldError, code_fingerprint
from hands_lib.worlds.views import Moment, photograph

_LAMPS = (0.8, -0.8)  # z of the unit directions to the two lamps; y is 0.6
_STRENGTHS = (0.5, 0.5, 0.9, 0.7)  # of the lamps, the sky and the ground


@dataclass(frozen=True)
class EvenLightSettings:
    """Everything that the pictures depend on."""

    seed: int = 0
    num_people: int = 40
    image_size: int = 64
    num_views: int = 24
    """Of a ring of cameras around each pair."""
    train: int = 80
    val: int = 24
    test: int = 24
    """Pairs of each split; splits share no person, and two interactions are seen in the test alone."""
    margin: float = 1.15
    """Side of the picture against that of the box around both hands."""

    def __post_init__(self) -> None:
        if not 16 <= self.image_size <= 1024 or not 1 <= self.num_views <= 140:
            raise WorldError(
                f"pictures have 16 to 1024 pixels a side and a ring 1 to 140 cameras, not {self.image_size} "
                f"and {self.num_views}"
            )


def even_light_pairs(
    split: str, settings: EvenLightSettings | None = None, root: str | Path | None = None
) -> PairViews:
    """All pictures of a split: some hundred small ones a second when made, then from the cache.

    root    folder of the cache; default `hands_lib.cache.cache_folder()`

    Raises WorldError for an unknown split or one without pairs.
    """
    settings = settings or EvenLightSettings()
    if split not in SPLITS:
        raise WorldError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    own = asdict(settings) | {name: getattr(settings, split) * (name == split) for name in SPLITS}
    key = [split, own, _LAMPS, _STRENGTHS, code_fingerprint()]
    found = made_once("even_light", key, lambda: _photographed(split, settings, root), folder=root)
    count = torch.full((len(found["image"]),), settings.num_views)
    asked = torch.zeros(0, 3, dtype=torch.long)
    return PairViews(**found, faces=pair_faces(), view_count=count, asked=asked)


def even_lighting() -> Lighting:
    """Two lamps from the sides, and bright surroundings."""
    towards = [torch.tensor([0.0, 0.6, side]) for side in _LAMPS]
    return Lighting(*towards, *(torch.full((3,), grey) for grey in _STRENGTHS))


def one_hand_pictures(
    split: str,
    number: int,
    shown: Literal["right", "left"],
    settings: EvenLightSettings | None = None,
    root: str | Path | None = None,
) -> UInt8[Tensor, "view height width 3"]:
    """The pictures of one pair as they would be without its other hand; light and cameras are the same.

    Raises as `even_light_pairs`, and IndexError for a pair that the split does not have.
    """
    settings = settings or EvenLightSettings()
    if split not in SPLITS:
        raise WorldError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    if not 0 <= number < getattr(settings, split):
        raise IndexError(f"pair {number} of {getattr(settings, split)} in the {split} split")
    return _photograph(_Studio(split, settings, root), number, shown)[0]


class _Studio:
    """The pairs of a split, their people, and where the ring of cameras begins for each."""

    def __init__(self, split: str, settings: EvenLightSettings, root: str | Path | None):
        sizes = {name: max(getattr(settings, name), 1) for name in SPLITS}
        self.settings = settings
        self.pairs = pair_set(split, PairSetSettings(settings.seed, settings.num_people, **sizes), root)
        self.people = sample_identities(settings.num_people, settings.seed)
        generator = torch.Generator().manual_seed(settings.seed)
        self.phase = torch.rand(len(self.pairs.identity), generator=generator)


def _photograph(
    studio: _Studio, number: int, shown: Literal["both", "right", "left"]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Image, foreground, intrinsics, pose of the cameras, vertices, joints."""
    settings, pairs = studio.settings, studio.pairs
    pose, person = pairs.pose[number], studio.people[pairs.identity[number]]
    vertices, joints = pair_surfaces(pose, person.shape), pair_joints(pose)
    turn = 2 * torch.pi * float(studio.phase[number])
    ring = camera_ring(settings.num_views, settings.image_size, phase=turn)
    camera = cropped(ring, vertices.flatten(0, 1), settings.image_size, settings.margin)
    # Nothing of a picture depends on the distance between the hands, which takes long.
    moment = Moment(pose, vertices, joints, torch.zeros(vertices.shape[:2]))
    light, seed = even_lighting(), number
    views = photograph(moment, person, camera, light, "black", arms=False, seed=seed, shown=shown)
    return views.image, views.face >= 0, camera.intrinsics, camera.camera_from_world, vertices, joints


def _photographed(split: str, settings: EvenLightSettings, root: str | Path | None) -> dict[str, Tensor]:
    studio = _Studio(split, settings, root)
    numbers = tqdm(range(len(studio.phase)), desc=f"even light, {split}", unit="pair", delay=5)
    rows = [_photograph(studio, number, "both") for number in numbers]
    names = ("image", "foreground", "intrinsics", "camera_from_world", "vertices", "joints")
    return dict(zip(names, map(torch.stack, zip(*rows, strict=True)), strict=True))

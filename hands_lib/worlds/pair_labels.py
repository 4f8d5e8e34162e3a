"""The pictures of `pair_pictures` with everything that can be known of them: cameras, labels of pixels, and
how much of each hand is hidden.

Chapter  book/refinement/stages.md
Units    metres, pixels
Frames   world, and the frame of each picture's camera (OpenCV's)
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from hands_lib.cache import made_once
from hands_lib.geometry.raster import vertex_visibility
from hands_lib.structures import Camera, Mesh, TensorFields
from hands_lib.worlds.cameras import cropped
from hands_lib.worlds.identities import Identities, sample_identities
from hands_lib.worlds.interactions import TwoHandPairs, pair_faces, pair_joints, pair_surfaces
from hands_lib.worlds.pair_pictures import PictureSettings, _own_view
from hands_lib.worlds.pair_sets import PairSetSettings, pair_set, pair_set_key
from hands_lib.worlds.renderer import random_lighting
from hands_lib.worlds.texture import rest_vertices
from hands_lib.worlds.views import Moment, photograph, pixel_labels


@dataclass(frozen=True)
class LabelledPictures(TensorFields):
    """One picture of each pair and its labels. Labels of pixels are taken at every n-th pixel's centre."""

    image: UInt8[Tensor, "pair 3 size size"]
    intrinsics: Float[Tensor, "pair 3 3"]
    camera_from_world: Float[Tensor, "pair 4 4"]
    hand: UInt8[Tensor, "pair rows columns"]
    """0 neither hand, 1 right, 2 left."""
    correspondence: UInt8[Tensor, "pair 3 rows columns"]
    """Place of the seen point in the box of the rest hand, 0 to 255; 0 where no hand is seen."""
    hidden: Float[Tensor, "pair 2"]
    """Share of each hand's vertices that it alone would show and the other hand or an arm hides."""

    @property
    def camera(self) -> Camera:
        size = self.image.shape[-1]
        return Camera(self.intrinsics, self.camera_from_world, size, size)


def labelled_pictures(
    split: str,
    settings: PairSetSettings | None = None,
    pictures: PictureSettings | None = None,
    label_size: int = 16,
    root: str | Path | None = None,
) -> LabelledPictures:
    """A picture of every pair of `pair_set`, the same as in `pair_pictures`, with its labels: some 30 a
    second when made, then from the cache.

    label_size  pixels along a side of the pixel labels

    Raises ValueError where the pictures' side is no multiple of it, else as `pair_set`.
    """
    settings, pictures = settings or PairSetSettings(), pictures or PictureSettings()
    if pictures.size % label_size:
        raise ValueError(f"labels of {label_size} pixels a side do not divide pictures of {pictures.size}")
    pairs = pair_set(split, settings, root)

    def make() -> dict[str, Tensor]:
        people = sample_identities(settings.num_people, settings.seed)
        numbers = tqdm(range(len(pairs.identity)), desc=f"pictures, {split}", unit="picture", delay=5)
        made = [_labelled(pairs, people, number, pictures, label_size) for number in numbers]
        return {name: torch.stack([one[name] for one in made]) for name in made[0]}

    key = [pair_set_key(split, settings), asdict(pictures), label_size]
    return LabelledPictures(**made_once("pair_labels", key, make, folder=root))


def _labelled(
    pairs: TwoHandPairs, people: Identities, number: int, settings: PictureSettings, label_size: int
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(number)
    pose, person = pairs.pose[number], people[pairs.identity[number]]
    vertices = pair_surfaces(pose, person.shape)
    moment = Moment(pose, vertices, pair_joints(pose), torch.zeros(vertices.shape[:2]))
    camera = _own_view(moment.joints, settings, generator)
    camera = cropped(camera, vertices.flatten(0, 1), settings.size, settings.margin)
    views = photograph(moment, person, camera, random_lighting(generator), settings.background, seed=number)
    step = settings.size // label_size
    places = slice(step // 2, None, step)
    hand = views.hand[0, places, places]
    hand = torch.where(hand <= 2, hand, 0)
    rest = rest_vertices()
    low, high = rest.amin(dim=0), rest.amax(dim=0)
    seen = (pixel_labels(moment, views).correspondence[0, places, places] - low) / (high - low)
    seen = torch.where(hand[..., None] > 0, 255 * seen, 0.0).round().clamp(0, 255)
    alone = [
        vertex_visibility(Mesh(surface, faces), camera)[0]
        for surface, faces in zip(vertices, pair_faces(), strict=True)
    ]
    alone, both = torch.stack(alone), views.vertex_visible[0]
    return {
        "image": views.image[0].permute(2, 0, 1),
        "intrinsics": camera.intrinsics[0],
        "camera_from_world": camera.camera_from_world[0],
        "hand": hand.to(torch.uint8),
        "correspondence": seen.permute(2, 0, 1).to(torch.uint8),
        "hidden": (alone & ~both).sum(dim=1) / alone.sum(dim=1).clamp(min=1),
    }

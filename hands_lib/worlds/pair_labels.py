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
from hands_lib.hand.pairs import pair_faces, pair_joints, pair_surfaces
from hands_lib.hand.surface.topology import Detail
from hands_lib.structures import Camera, LabelledHands, Mesh, TensorFields
from hands_lib.worlds.identities import Identities, sample_identities
from hands_lib.worlds.pair_pictures import PictureSettings, own_picture
from hands_lib.worlds.pair_sampling import TwoHandPairs
from hands_lib.worlds.pair_sets import PairSetSettings, pair_set, pair_set_key
from hands_lib.worlds.texture import rest_vertices
from hands_lib.worlds.views import Moment, Views, pixel_labels


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
    moment, views = own_picture(pairs, people, number, settings)
    step = settings.size // label_size
    places = slice(step // 2, None, step)
    hand = views.hand[0, places, places]
    hand = torch.where(hand <= 2, hand, 0)
    seen = _place_in_rest(pixel_labels(moment, views).correspondence[0, places, places])
    seen = torch.where(hand[..., None] > 0, 255 * seen, 0.0).round().clamp(0, 255)
    alone = [
        vertex_visibility(Mesh(surface, faces), views.camera)[0]
        for surface, faces in zip(moment.vertices, pair_faces(), strict=True)
    ]
    alone, both = torch.stack(alone), views.vertex_visible[0]
    return {
        "image": views.image[0].permute(2, 0, 1),
        "intrinsics": views.camera.intrinsics[0],
        "camera_from_world": views.camera.camera_from_world[0],
        "hand": hand.to(torch.uint8),
        "correspondence": seen.permute(2, 0, 1).to(torch.uint8),
        "hidden": (alone & ~both).sum(dim=1) / alone.sum(dim=1).clamp(min=1),
    }


def labelled_hands(
    split: str,
    settings: PairSetSettings | None = None,
    pictures: PictureSettings | None = None,
    surface: Detail = "plain",
    root: str | Path | None = None,
) -> tuple[LabelledHands, Float[Tensor, "pair 2"]]:
    """`labelled_pictures` of every pair of a split with joints and surfaces, and how much of each hand is
    hidden. Pixel labels have a quarter of the pictures' side.

    Raises as `labelled_pictures`.
    """
    settings, pictures = settings or PairSetSettings(), pictures or PictureSettings()
    seen = labelled_pictures(split, settings, pictures, pictures.size // 4, root)
    own, people = pair_set(split, settings, root), sample_identities(settings.num_people, settings.seed)
    vertices = pair_surfaces(own.pose, people[own.identity].shape, surface)
    correspondence = seen.correspondence / 255
    joints = pair_joints(own.pose)
    return LabelledHands(seen.image, seen.camera, joints, vertices, seen.hand, correspondence), seen.hidden


def labelled_views(moment: Moment, views: Views, label_size: int) -> LabelledHands:
    """What all cameras see of one moment, which has the refined surface.

    label_size  pixels along a side of the pixel labels

    Raises ValueError where the pictures' side is no multiple of it, or the picture is not square.
    """
    camera = views.camera
    if camera.width != camera.height or camera.width % label_size:
        raise ValueError(
            f"labels of {label_size} pixels a side do not divide pictures of {camera.width} x {camera.height}"
        )
    step = camera.width // label_size
    places = slice(step // 2, None, step)
    hand = views.hand[:, places, places]
    hand = torch.where(hand <= 2, hand, 0)
    colour = _place_in_rest(pixel_labels(moment, views).correspondence[:, places, places])
    colour = torch.where(hand[..., None] > 0, colour, 0.0)
    num = len(views.image)
    return LabelledHands(
        views.image.movedim(-1, 1),
        camera,
        moment.joints.expand(num, -1, -1, -1),
        moment.vertices.expand(num, -1, -1, -1),
        hand,
        colour.movedim(-1, 1).contiguous(),
    )


def _place_in_rest(points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Places on the rest hand in units of its box, 0 to 1."""
    rest = rest_vertices()
    low, high = rest.amin(dim=0), rest.amax(dim=0)
    return (points - low) / (high - low)

"""A picture of every pair of `pair_sets`, from where the hands' owner would see them.

Chapter  book/intersections/tables.md
Units    metres, pixels
Frames   joints in the frame of each picture's camera (OpenCV's)

Egocentric views, as those of the paper's Sec. III-C: from above and behind the hands, the right hand to the
right. A network that sees few pictures can learn from them; views from all around ask for far more.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from hands_lib.cache import made_once
from hands_lib.geometry.cameras import cropped
from hands_lib.hand.pairs import pair_joints, pair_surfaces
from hands_lib.structures import Camera, TensorFields
from hands_lib.worlds.identities import Identities, sample_identities
from hands_lib.worlds.pair_sampling import TwoHandPairs
from hands_lib.worlds.pair_sets import PairSetSettings, pair_set, pair_set_key
from hands_lib.worlds.renderer import random_lighting
from hands_lib.worlds.views import Moment, Views, photograph

_OWN_DISTANCE = 0.5  # metres from eyes to hands


@dataclass(frozen=True)
class PictureSettings:
    """How the pairs of a set are photographed, from where the hands' owner would see them."""

    size: int = 64
    """Pixels along both sides of a picture, which is cut to the hands."""
    background: str = "plain"
    """One of `renderer.BACKGROUNDS`."""
    elevation: tuple[float, float] = (20.0, 60.0)
    """Of the camera above the hands, degrees."""
    aside: float = 20.0
    """At most, degrees to either side."""
    margin: float = 1.15
    """Side of the picture against that of the box around both hands."""


@dataclass(frozen=True)
class Pictures(TensorFields):
    """One picture of each pair."""

    image: UInt8[Tensor, "pair 3 size size"]
    joints: Float[Tensor, "pair 2 21 3"]
    """In the frame of the pair's camera, metres."""


def pictured_pairs(
    split: str,
    settings: PairSetSettings | None = None,
    pictures: PictureSettings | None = None,
    root: str | Path | None = None,
) -> Pictures:
    """A picture of every pair of `pair_set`: some 40 a second when made, then from the cache.

    Cameras look from above and behind the hands (egocentric views, as those of the paper's Sec. III-C): with
    the right hand to the right. Raises as `pair_set`.
    """
    settings, pictures = settings or PairSetSettings(), pictures or PictureSettings()
    pairs = pair_set(split, settings, root)

    def make() -> dict[str, Tensor]:
        people = sample_identities(settings.num_people, settings.seed)
        return _photographed(pairs, people, pictures, f"pictures, {split}")

    key = [pair_set_key(split, settings), asdict(pictures)]
    return Pictures(**made_once("pair_pictures", key, make, folder=root))


def own_picture(
    pairs: TwoHandPairs, people: Identities, number: int, settings: PictureSettings
) -> tuple[Moment, Views]:
    """One pair as the hands' owner sees it: camera, light and background are functions of its number."""
    generator = torch.Generator().manual_seed(number)
    pose, person = pairs.pose[number], people[pairs.identity[number]]
    vertices = pair_surfaces(pose, person.shape)
    # Nothing of a picture depends on the distance between the hands, which takes longest.
    moment = Moment(pose, vertices, pair_joints(pose), torch.zeros(vertices.shape[:2]))
    camera = _own_view(moment.joints, settings, generator)
    camera = cropped(camera, vertices.flatten(0, 1), settings.size, settings.margin)
    lighting = random_lighting(generator)
    return moment, photograph(moment, person, camera, lighting, settings.background, seed=number)


def _photographed(
    pairs: TwoHandPairs, people: Identities, settings: PictureSettings, label: str
) -> dict[str, Tensor]:
    images, joints = [], []
    for number in tqdm(range(len(pairs.identity)), desc=label, unit="picture", delay=5):
        moment, views = own_picture(pairs, people, number, settings)
        images.append(views.image[0].permute(2, 0, 1))
        seen = views.camera.transform(moment.joints.flatten(0, 1)[None])
        joints.append(seen.unflatten(1, (2, 21))[0])
    return {"image": torch.stack(images), "joints": torch.stack(joints)}


def _own_view(
    joints: Float[Tensor, "2 21 3"], settings: PictureSettings, generator: torch.Generator
) -> Camera:
    """A camera half a metre from the hands, above and behind them, the right hand to the right."""
    right, left = joints.mean(dim=1)
    across = (right - left) * torch.tensor([1.0, 0.0, 1.0])  # the image's +x, nearly
    if float(across.norm()) < 1e-3:  # one hand straight above the other: any side is as good
        across = torch.tensor([1.0, 0.0, 0.0])
    across = torch.nn.functional.normalize(across, dim=0)
    turn, height = torch.rand(2, generator=generator)
    low, high = settings.elevation
    elevation = torch.deg2rad(low + (high - low) * height)
    azimuth = torch.deg2rad((2 * turn - 1) * settings.aside)
    up = torch.tensor([0.0, 1.0, 0.0])
    behind = torch.linalg.cross(across, up)
    towards = elevation.cos() * (azimuth.cos() * behind + azimuth.sin() * across) + elevation.sin() * up
    forward = -towards
    side = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=0)
    rotation = torch.stack([side, torch.linalg.cross(forward, side), forward])
    centre = (right + left) / 2
    pose = torch.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = -rotation @ (centre + _OWN_DISTANCE * towards)
    size = settings.size
    focal, middle = size * _OWN_DISTANCE / 0.36, (size - 1) / 2
    intrinsics = torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    return Camera(intrinsics[None], pose[None], size, size)

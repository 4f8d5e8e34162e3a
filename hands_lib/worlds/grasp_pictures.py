"""Pictures of many grasps with all their labels, made once and kept: what image networks learn from.

Chapter  book/hand_object/hand_object_tables.md
Units    metres, pixels
Frames   camera axes (OpenCV's); the hand about its wrist, the object's origin from the wrist

Every grasp has its own person, light and background, and is seen by several cameras on the side of its
owner, as in pictures from a head: of a ring of cameras those that look most along the palm, towards the
fingers. Pictures are cut to hand and object. Splits share no person; the shapes of `objects.UNSEEN` are in
the test alone.
"""

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from hands_lib.cache import made_once
from hands_lib.geometry.cameras import cropped
from hands_lib.hand.skeleton import JOINTS
from hands_lib.structures import Camera, TensorFields
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.grasp_scenes import GraspMoment, grasp_labels, make_moments, photograph_grasp
from hands_lib.worlds.grasps import sample_grasps
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.objects import SEEN, UNSEEN, ObjectShape, object_names, object_shape
from hands_lib.worlds.renderer import BACKGROUNDS, random_lighting
from hands_lib.worlds.two_hands import SPLITS, WorldError, code_fingerprint

_RING = 12  # cameras, of which some are taken
_MIDDLE_BASE = JOINTS.index("middle_1")
_AT_ONCE = 100  # grasps: one entry of the cache, so that what was made stays when a run is cut
_PEOPLE = {"train": (0, 48), "val": (48, 8), "test": (56, 16)}  # first, and how many


@dataclass(frozen=True)
class GraspPictureSettings:
    """Everything that a set of pictures depends on."""

    seed: int = 0
    train: int = 600
    """Grasps; of each there are `views` pictures."""
    val: int = 60
    test: int = 120
    """Half of them of shapes that are in no other split."""
    views: int = 4
    size: int = 64
    """Pixels along both sides."""
    margin: float = 1.25
    """Side of the picture against that of the box around hand and object."""

    def num_grasps(self, split: str) -> int:
        """Raises WorldError for an unknown split."""
        if split not in SPLITS:
            raise WorldError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
        return getattr(self, split)


@dataclass(frozen=True)
class GraspPictures(TensorFields):
    """Pictures and their labels; the views of one grasp stand together."""

    image: UInt8[Tensor, "picture 3 size size"]
    joints: Float[Tensor, "picture 21 3"]
    """About the wrist."""
    vertices: Float[Tensor, "picture vertex 3"]
    """Of the refined surface, about the wrist."""
    rotation: Float[Tensor, "picture 3 3"]
    """camera_from_object; the object is solid, and may look the same under several."""
    translation: Float[Tensor, "picture 3"]
    """Of the object's origin from the wrist."""
    wrist: Float[Tensor, "picture 3"]
    """In the camera's frame."""
    intrinsics: Float[Tensor, "picture 3 3"]
    shape: Int[Tensor, " picture"]
    """Index into `objects.object_names()`."""
    hand_hidden: Float[Tensor, " picture"]
    """Share of the hand's pixels that the object hides."""
    object_hidden: Float[Tensor, " picture"]


def grasp_pictures(
    split: str, settings: GraspPictureSettings | None = None, root: str | Path | None = None
) -> GraspPictures:
    """A split's pictures, from the cache if they are there; three grasps a second when made.

    root    folder of the cache; default `hands_lib.cache.cache_folder()`

    Raises WorldError for an unknown split.
    """
    settings = settings or GraspPictureSettings()
    total, parts = settings.num_grasps(split), []
    with tqdm(total=total, desc=f"grasps, {split}", unit="grasp", delay=5) as bar:
        for first in range(0, total, _AT_ONCE):
            num = min(_AT_ONCE, total - first)
            parts.append(_part(split, settings, first, num, root))
            bar.update(num)
    return GraspPictures.cat(parts)


def _part(split: str, settings: GraspPictureSettings, first: int, num: int, root) -> GraspPictures:
    of_one = {name: value for name, value in asdict(settings).items() if name not in SPLITS}
    key = [split, first, num, of_one, code_fingerprint()]
    return GraspPictures(
        **made_once("grasp_pictures", key, lambda: _make(split, settings, first, num), folder=root)
    )


@cache
def _shapes(split: str) -> tuple[tuple[ObjectShape, ...], tuple[int, ...]]:
    """What is held in a split, and its numbers: in the test unseen shapes and seen ones take turns."""
    names = SEEN
    if split == "test":
        names = tuple(name for n, new in enumerate(UNSEEN) for name in (new, SEEN[(3 * n) % len(SEEN)]))
    return tuple(map(object_shape, names)), tuple(map(object_names().index, names))


def _make(split: str, settings: GraspPictureSettings, first: int, num: int) -> dict[str, Tensor]:
    seed = (3 * settings.seed + SPLITS.index(split)) * 1_000_003 + first
    generator = torch.Generator().manual_seed(seed)
    start, count = _PEOPLE[split]
    people = sample_identities(start + count, settings.seed)[start:]
    shapes, numbers = _shapes(split)
    grasps, _ = sample_grasps(num, shapes, people, generator)
    rows = []
    for n in range(num):
        shape, person = shapes[int(grasps.shape[n])], people[grasps.identity[n]]
        moment = make_moments(grasps[n : n + 1], shape, people[grasps.identity[n : n + 1]])[0]
        light = random_lighting(generator)
        camera = _cameras(moment, settings, generator)
        background = BACKGROUNDS[int(torch.randint(len(BACKGROUNDS), (), generator=generator))]
        image = photograph_grasp(moment, shape, person, camera, light, background, seed=seed + n).image
        labels = grasp_labels(moment, shape, camera)
        rows.append(_labelled(moment, camera, image, numbers[int(grasps.shape[n])]))
        rows[-1] |= {"hand_hidden": labels.hand_hidden, "object_hidden": labels.object_hidden}
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def _cameras(moment: GraspMoment, settings: GraspPictureSettings, generator: torch.Generator) -> Camera:
    """Those of a ring around the middle of hand and object that stand most behind the wrist, each cut to
    them."""
    points = torch.cat([moment.hand, moment.object])
    phase = float(6.3 * torch.rand((), generator=generator))
    ring = camera_ring(_RING, settings.size, phase=phase)
    behind = moment.joints[0] - moment.joints[_MIDDLE_BASE]
    along = ring.camera_from_world[:, 2, :3] @ behind  # their axes look away from where they stand
    chosen = along.argsort()[: settings.views].sort().values
    ring, pose = ring[chosen], ring.camera_from_world[chosen].clone()
    pose[:, :3, 3] -= pose[:, :3, :3] @ ((points.amin(dim=0) + points.amax(dim=0)) / 2)
    ring = Camera(ring.intrinsics, pose, settings.size, settings.size)
    return cropped(ring, points, settings.size, settings.margin)


def _labelled(moment: GraspMoment, camera: Camera, image: Tensor, shape: int) -> dict[str, Tensor]:
    num, turn = len(image), camera.camera_from_world[:, :3, :3]
    hand = torch.cat([moment.joints, moment.hand])
    points = camera.transform(hand.expand(num, -1, -1))
    wrist = points[:, :1]
    place = moment.world_from_object[:3, 3].expand(num, 1, 3)
    return {
        "image": image.permute(0, 3, 1, 2),
        "joints": (points - wrist)[:, :21],
        "vertices": (points - wrist)[:, 21:],
        "rotation": turn @ moment.world_from_object[:3, :3],
        "translation": (camera.transform(place) - wrist)[:, 0],
        "wrist": wrist[:, 0],
        "intrinsics": camera.intrinsics,
        "shape": torch.full((num,), shape),
    }

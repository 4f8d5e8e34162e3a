"""Many grasps, made once and kept; right hands and left ones.

Chapter  book/hand_object/grasps.md
Units    metres
Frames   as `grasps`

A split is shards of a few hundred grasps, each an entry of the cache, so that what was cut goes on where it
was. It is a function of its settings and of the code that makes it alone. Splits share no person, and the
shapes in `objects.UNSEEN` are held in the test split alone.

A left grasp is the exact mirror image (x -> -x) of a right one, of the object too: what is kept is the right
one and a mark. `mirrored_surfaces` gives its geometry, `mirrored_views` its pictures: the mirrored scene,
seen by mirrored cameras.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from hands_lib.cache import made_once
from hands_lib.hand.kinematics import mirror
from hands_lib.hand.surface import mirror_mesh, surface_topology
from hands_lib.structures import Camera, HandPose, Mesh, TensorFields
from hands_lib.worlds.grasp_scenes import GraspMoment, GraspViews
from hands_lib.worlds.grasps import GRASPS, Grasps, sample_grasps
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.objects import SEEN, ObjectShape, object_names, object_shape
from hands_lib.worlds.two_hands import SPLITS, TwoHandWorld, WorldError, WorldSettings, code_fingerprint

_POSE = tuple(HandPose.__dataclass_fields__)
_REST = tuple(name for name in Grasps.__dataclass_fields__ if name != "pose")


@dataclass(frozen=True)
class GraspSetSettings:
    """Everything that a set depends on."""

    seed: int = 0
    num_people: int = 40
    train: int = 6000
    val: int = 600
    test: int = 1500
    shard: int = 300
    """Grasps of an entry of the cache: a minute of work that a cut may lose."""
    left: float = 0.5
    """Share of left hands."""

    def __post_init__(self) -> None:
        if min(self.train, self.val, self.test, self.shard) < 1:
            raise WorldError("a split and a shard have at least one grasp")
        if not 0 <= self.left <= 1:
            raise WorldError(f"a share of left hands is between 0 and 1, not {self.left}")

    def size(self, split: str) -> int:
        return {"train": self.train, "val": self.val, "test": self.test}[split]


@dataclass(frozen=True)
class GraspSet(TensorFields):
    """Grasps of one split, and how many were tried for them."""

    SHARED = frozenset({"tried", "accepted"})

    grasps: Grasps
    """`identity` numbers `sample_identities(num_people, seed)`, `shape` the `object_names()`."""
    left: Bool[Tensor, " grasp"]
    """Whether it stands for its mirror image."""
    tried: Int[Tensor, " type"]
    """By type, in the order of GRASPS; of the whole split."""
    accepted: Int[Tensor, " type"]


def grasp_set(
    split: str, settings: GraspSetSettings | None = None, root: str | Path | None = None
) -> GraspSet:
    """A split's grasps, from the cache where they are there.

    root    folder of the cache; default `hands_lib.cache.cache_folder()`

    Raises WorldError for an unknown split.
    """
    settings = settings or GraspSetSettings()
    if split not in SPLITS:
        raise WorldError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    num, parts = settings.size(split), []
    with tqdm(total=num, desc=f"grasps, {split}", unit="grasp", disable=num < settings.shard) as bar:
        for first in range(0, num, settings.shard):
            wanted = min(settings.shard, num - first)
            parts.append(_shard(split, settings, first, wanted, root))
            bar.update(wanted)
    rows = {name: torch.cat([part[name] for part in parts]) for name in (*_POSE, *_REST, "left")}
    counts = (sum(part[name] for part in parts) for name in ("tried", "accepted"))
    pose = HandPose(*(rows[name] for name in _POSE))
    return GraspSet(Grasps(pose, *(rows[name] for name in _REST)), rows["left"], *counts)


def _shard(
    split: str, settings: GraspSetSettings, first: int, num: int, root: str | Path | None
) -> dict[str, Tensor]:
    key = [split, settings.seed, settings.num_people, first, num, settings.left, code_fingerprint()]
    return made_once("grasp_sets", key, lambda: _make(split, settings, first, num), folder=root)


def _make(split: str, settings: GraspSetSettings, first: int, num: int) -> dict[str, Tensor]:
    world = TwoHandWorld(split, WorldSettings(seed=settings.seed, num_people=settings.num_people))
    numbers = torch.tensor(world.people)
    people = sample_identities(settings.num_people, settings.seed)[numbers]
    names = object_names()
    held = torch.tensor([n for n, name in enumerate(names) if split == "test" or name in SEEN])
    # Shapes go on taking turns from shard to shard.
    held = held.roll(-(first % len(held)))
    seed = ((settings.seed * 3 + SPLITS.index(split)) * 1_000_003 + first) % 2**62
    generator = torch.Generator().manual_seed(seed)
    shapes = [object_shape(names[n]) for n in held.tolist()]
    grasps, report = sample_grasps(num, shapes, people, generator)
    grasps = replace(grasps, shape=held[grasps.shape], identity=numbers[grasps.identity])
    counts = torch.tensor([report.counts.get(name, (0, 0)) for name in GRASPS])
    tensors = {name: getattr(grasps.pose, name) for name in _POSE}
    tensors |= {name: getattr(grasps, name) for name in _REST}
    tensors["left"] = torch.rand(num, generator=generator) < settings.left
    return tensors | {"accepted": counts[:, 0], "tried": counts[:, 1]}


# --- left hands ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MirroredSurfaces:
    """A left hand with the mirror image of what the right one held."""

    hand: Mesh
    object: Mesh
    joints: Float[Tensor, "21 3"]
    world_from_object: Float[Tensor, "4 4"]
    """Rigid: of the object that is mirrored at its own y = 0."""


def mirrored_surfaces(moment: GraspMoment, shape: ObjectShape) -> MirroredSurfaces:
    """The mirror image of a moment, x -> -x, faces turned so that they look outwards again."""
    flip = torch.diag(moment.world_from_object.new_tensor([-1.0, 1, 1, 1]))
    own = torch.diag(moment.world_from_object.new_tensor([1.0, -1, 1, 1]))
    return MirroredSurfaces(
        mirror_mesh(Mesh(moment.hand, surface_topology("refined").faces)),
        mirror_mesh(Mesh(moment.object, shape.mesh.faces)),
        mirror(moment.joints),
        flip @ moment.world_from_object @ own,
    )


def mirrored_views(views: GraspViews) -> GraspViews:
    """Pictures of the mirror image: the mirrored world, by cameras mirrored with it."""
    camera = views.camera
    flip = torch.diag(camera.camera_from_world.new_tensor([-1.0, 1, 1, 1]))
    intrinsics = camera.intrinsics.clone()
    intrinsics[..., 0, 2] = camera.width - 1 - intrinsics[..., 0, 2]
    intrinsics[..., 0, 1] = -intrinsics[..., 0, 1]
    turned = Camera(
        intrinsics, flip @ camera.camera_from_world @ flip, camera.width, camera.height, camera.projection
    )
    return replace(
        views, camera=turned, image=views.image.flip(2), face=views.face.flip(2), kind=views.kind.flip(2)
    )

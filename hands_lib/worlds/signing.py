"""Four test distributions of hands near each other, as stand-ins for recordings of sign language.

Units   metres, pixels
Frames  world: y up, a motion's box about the origin; `interactions` says where the left hand is; cameras as
        OpenCV's

"Two Hands Are Better Than One" tests its uplift network on interacting hands of BOBSL, DSGS, RWTH-Phoenix and
SMILE (Table III), which nobody may pass on. The `STAND_INS` are not these data sets and say nothing about
them: they are motions of this library's world, in which nobody signs. What they keep is that the four tests
differ from each other and from what a network was trained on: in people, in what the hands do and how near
they come, in resolution and in the noise of the 2D keypoints. All their numbers are this book's.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from hands_lib.cache import made_once
from hands_lib.hand.pairs import pair_joints
from hands_lib.structures import Camera, HandPose, TensorFields
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.identities import Identities, sample_identities
from hands_lib.worlds.interactions import INTERACTIONS
from hands_lib.worlds.sequences import sample_sequence
from hands_lib.worlds.two_hands import code_fingerprint

_FRAMES_OF_A_MOTION = 16  # at most; they are spread over the time in which the hands are near
_ATTEMPTS, _PEOPLE_TRIED = 5, 8
_POSE = tuple(HandPose.__dataclass_fields__)


@dataclass(frozen=True)
class SigningSettings:
    """One test distribution."""

    about: str
    people: int
    people_seed: int
    """No two stand-ins share a person, nor does the two-hand world with a small seed."""
    interactions: Mapping[str, int]
    """Shares of the motions."""
    nearest: float
    """A frame counts where two joints of different hands are at most so far apart, metres."""
    image_size: int
    """Pixels along both sides; the image shows 0.6 m at the hands."""
    keypoint_noise: float
    """Standard deviation of each coordinate, pixels."""
    seconds: float = 2.0
    """Of a motion."""


STAND_INS: dict[str, SigningSettings] = {
    "broadcast": SigningSettings(
        "stands in for BOBSL: many people, much going on between the hands, middling pictures",
        24, 7101,
        {"spelling": 3, "stacked": 2, "pointing": 2, "clasp": 2, "fist_in_palm": 2, "praying": 1},
        nearest=0.05, image_size=444, keypoint_noise=2.0,
    ),
    "lexicon": SigningSettings(
        "stands in for DSGS: few people, hands that touch with single fingers, large sharp pictures",
        8, 7202, {"counting": 3, "pointing": 3, "spelling": 2, "fist_in_palm": 1},
        nearest=0.04, image_size=720, keypoint_noise=1.5,
    ),
    "weather": SigningSettings(
        "stands in for RWTH-Phoenix: few people, hands that rarely meet, small noisy pictures",
        6, 7303, {"spelling": 5, "stacked": 2, "pointing": 1}, nearest=0.06, image_size=210,
        keypoint_noise=2.5, seconds=1.2,
    ),
    "laboratory": SigningSettings(
        "stands in for SMILE: slow single motions in which the hands meet closely, large pictures",
        30, 7404,
        {"clasp": 2, "interlocked": 1, "praying": 2, "fist_in_palm": 2, "stacked": 2, "counting": 1},
        nearest=0.03, image_size=512, keypoint_noise=1.0, seconds=3.0,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class SigningFrames(TensorFields):
    """Moments at which two hands are near each other."""

    pose: HandPose
    """Batch (frame, 2); index 1 is the left hand in the mirrored world."""
    joints: Float[Tensor, "frame 2 21 3"]
    """World, right hand first."""
    keypoints: Float[Tensor, "frame 2 21 2"]
    """Where the joints are in the picture, pixels, with noise."""
    motion: Int[Tensor, " frame"]
    """Frames of one motion follow each other in time."""
    person: Int[Tensor, " frame"]
    interaction: Int[Tensor, " frame"]
    """Index into the names of INTERACTIONS."""
    camera: Camera


def signing_frames(name: str, num: int, seed: int = 0, progress: bool = True) -> SigningFrames:
    """`num` frames of the stand-in `name`; the same ones each time, and from the cache the second time.

    A thousand frames take about half a minute. Raises ValueError for an unknown name or fewer than one frame,
    RuntimeError where an interaction's motions keep being refused.
    """
    if name not in STAND_INS:
        raise ValueError(f"unknown stand-in {name!r}; known are {', '.join(STAND_INS)}")
    if num < 1:
        raise ValueError(f"at least one frame is needed, not {num}")
    settings = STAND_INS[name]
    camera = _camera(settings)
    label = f"frames of {name!r}" if progress else None
    key = [name, asdict(settings), seed, num, code_fingerprint()]
    rows = made_once("signing_v1", key, lambda: _make(settings, camera, num, seed, label))
    pose = HandPose(*(rows.pop(field) for field in _POSE))
    return SigningFrames(pose, **rows, camera=camera)


def _camera(settings: SigningSettings) -> Camera:
    ring = camera_ring(1, settings.image_size, distance=2.0, field=0.6)
    return Camera(ring.intrinsics[0], ring.camera_from_world[0], ring.width, ring.height)


def _make(settings: SigningSettings, camera: Camera, num: int, seed: int, label: str | None):
    people = sample_identities(settings.people, settings.people_seed)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + settings.people_seed)
    shares = torch.tensor(list(settings.interactions.values()), dtype=torch.float64)
    parts: dict[str, list[Tensor]] = {}
    motion = have = 0
    with tqdm(total=num, desc=label, unit="frame", delay=5, disable=label is None) as bar:
        while have < num:
            kind = list(settings.interactions)[int(torch.multinomial(shares, 1, generator=generator))]
            person, pose = _motion(people, kind, settings.seconds, generator)
            joints = pair_joints(pose)
            near = torch.cdist(joints[:, 0], joints[:, 1]).flatten(1).amin(dim=1) <= settings.nearest
            near = near.nonzero()[:, 0]
            if len(near) > _FRAMES_OF_A_MOTION:
                near = near[torch.linspace(0, len(near) - 1, _FRAMES_OF_A_MOTION).round().long()]
            near = near[: num - have]
            whole = torch.ones_like(near)
            rows = {field: getattr(pose, field)[near] for field in _POSE}
            rows |= {"joints": joints[near], "motion": motion * whole, "person": person * whole}
            rows["interaction"] = list(INTERACTIONS).index(kind) * whole
            for field, values in rows.items():
                parts.setdefault(field, []).append(values)
            have, motion = have + len(near), motion + 1
            bar.update(len(near))
    rows = {field: torch.cat(values) for field, values in parts.items()}
    exact = camera.project(rows["joints"].flatten(0, 2)).view(num, 2, 21, 2)
    rows["keypoints"] = exact + settings.keypoint_noise * torch.randn(exact.shape, generator=generator)
    return rows


def _motion(
    people: Identities, kind: str, seconds: float, generator: torch.Generator
) -> tuple[int, HandPose]:
    """Thick fingers may not fit between each other: then somebody else tries."""
    for _ in range(_PEOPLE_TRIED):
        person = int(torch.randint(len(people.skin), (), generator=generator))
        try:
            return person, sample_sequence(people[person], kind, generator, seconds, _ATTEMPTS)
        except RuntimeError:
            continue
    raise RuntimeError(f"nobody of {_PEOPLE_TRIED} people managed {kind!r} without intersections")

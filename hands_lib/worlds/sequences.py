"""Two hands in motion, 30 times a second, free of intersections in every frame.

Units   metres, seconds
Frames  as `interactions`

A motion starts and ends apart and comes to an interaction between. Angles move smoothly between key poses. On
the way the left hand is held at a distance from the right one that is never less than the sweep (see
`interactions`) allows, and that follows it smoothly from above; a hand that comes from far away along the
sweep cannot have passed through the other one. Every frame is tested nevertheless.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.hand.pairs import intersecting, pair_surfaces
from hands_lib.structures import HandPose
from hands_lib.worlds.identities import Identities
from hands_lib.worlds.interactions import INTERACTIONS
from hands_lib.worlds.pair_sampling import approach, sweep_room, turned_as_a_whole

FRAMES_PER_SECOND = 30
_REACH = 0.12  # metres between the hands, along the sweep, at start and end of a motion


def sample_sequence(
    person: Identities,
    interaction: str,
    generator: torch.Generator,
    seconds: float = 2.0,
    max_attempts: int = 20,
) -> HandPose:
    """Poses (frame, 2) of one motion of one person; see `interactions` for the left hand.

    Raises ValueError for an unknown interaction or less than two frames, RuntimeError where no attempt was
    free of intersections.
    """
    if interaction not in INTERACTIONS:
        raise ValueError(f"unknown interaction {interaction!r}; known are {', '.join(INTERACTIONS)}")
    num = round(seconds * FRAMES_PER_SECOND)
    if num < 2:
        raise ValueError(f"a motion has at least two frames, not {num}")
    for _ in range(max_attempts):
        pose = _attempt(person, interaction, num, generator)
        if not intersecting(pair_surfaces(pose, person.shape)).any():
            return pose
    raise RuntimeError(f"no motion for {interaction!r} was free of intersections in {max_attempts} attempts")


def _attempt(person: Identities, interaction: str, num: int, generator: torch.Generator) -> HandPose:
    one = person[None]
    rest, _ = approach(INTERACTIONS["apart"], one, generator)
    key, closed = approach(INTERACTIONS[interaction], one, generator)
    time = torch.linspace(0, 1, num)
    # To the interaction, a while there, and back.
    there = _smooth((time / 0.4).clamp(max=1)) * _smooth(((1 - time) / 0.3).clamp(max=1))
    touch = _smooth(((time - 0.35) / 0.25).clamp(0, 1)) * _smooth(((0.8 - time) / 0.1).clamp(0, 1))
    # A little of its own life, so that nothing ever stands quite still.
    sway = torch.randn(3, 2, 5, 1, generator=generator) * torch.deg2rad(torch.tensor(2.0))
    waves = sum(
        sway[k] * torch.sin(2 * torch.pi * (k + 1) * time + 2.1 * k)[:, None, None, None] for k in range(3)
    )
    angles = torch.lerp(rest.joint_angles[0], key.joint_angles[0], there[:, None, None, None, None])
    half = torch.lerp(angles, torch.lerp(angles, closed[0], 0.35), touch[:, None, None, None, None])
    half = half + torch.nn.functional.pad(waves[..., None] * torch.tensor([1.0, 0.6, 0.4])[:, None], (0, 2))
    pose = key.map(lambda value: value.expand(num, *value.shape[1:]).clone())
    pose = replace(pose, joint_angles=half)
    shape = person.shape.map(lambda value: value.expand(num, *value.shape))
    room = sweep_room(pair_surfaces(pose, shape))
    low, high = INTERACTIONS[interaction].gap
    gap = low + (high - low) * float(torch.rand((), generator=generator))
    wanted = torch.lerp(torch.tensor(_REACH), torch.tensor(gap), there)
    # The hand may never be nearer than `room` allows, and stays behind a smooth bound of it.
    room = torch.where(room.isfinite(), room, room[room.isfinite()].max() if room.isfinite().any() else 0.5)
    position = _smooth_below(room - wanted)
    root = pose.root_translation
    root[:, 1, 0] += position
    return turned_as_a_whole(replace(pose, root_translation=root), one.shape, generator)


def _smooth(share: Tensor) -> Tensor:
    """From 0 to 1 without a jerk at either end."""
    return share**3 * (10 - 15 * share + 6 * share**2)


def _smooth_below(bound: Float[Tensor, " frame"], reach: int = 5) -> Float[Tensor, " frame"]:
    """A smooth curve that never exceeds `bound`: the least of the neighbourhood, averaged over it."""
    kernel = torch.hann_window(2 * reach + 3, periodic=False)[1:-1]
    padded = torch.nn.functional.pad(bound[None, None], (2 * reach, 2 * reach), mode="replicate")
    least = -torch.nn.functional.max_pool1d(-padded, 2 * reach + 1, 1)
    return torch.nn.functional.conv1d(least, (kernel / kernel.sum())[None, None])[0, 0]

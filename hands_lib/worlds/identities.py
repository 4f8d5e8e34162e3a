"""People: the build of two hands and the colours of their skin.

Units   metres, radians; colours are linear RGB
Frame   RIGHT hands, as everywhere (`hand.kinematics`)

Ranges are those of adults: hand size +- 8 % (one deviation, cut at two), single bones +- 3 %, thickness
+- 6 %. The two hands of a person share all of it but for about one percent.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.hand.kinematics import rest_bone_lengths
from hands_lib.hand.surface import HandShape
from hands_lib.structures import TensorFields

_SIZE, _BONE, _THICK, _STATION, _SIDES = 0.08, 0.03, 0.06, 0.025, 0.01  # standard deviations, relative
_PALM_ANGLE = 0.03  # radians
# From very light to very dark skin, by eye; a person lies between two neighbours.
_SKIN = torch.tensor(
    [
        (0.66, 0.43, 0.33), (0.60, 0.36, 0.25), (0.50, 0.28, 0.18), (0.38, 0.20, 0.12),
        (0.24, 0.12, 0.070), (0.125, 0.062, 0.038),
    ],
    dtype=torch.float64,
)  # fmt: skip
_CLOTH = torch.tensor(
    [(0.05, 0.10, 0.16), (0.20, 0.20, 0.21), (0.25, 0.04, 0.05), (0.06, 0.13, 0.07), (0.55, 0.52, 0.46)],
    dtype=torch.float64,
)


@dataclass(frozen=True)
class Identities(TensorFields):
    """People. The dimension after the batch is the hand, right first."""

    bone_lengths: Float[Tensor, "*person 2 5 4"]
    palm_angles: Float[Tensor, "*person 2 5 2"]
    """How this person's palm is built, against the rest palm; a pose adds to it."""
    shape: HandShape
    skin: Float[Tensor, "*person 3"]
    cloth: Float[Tensor, "*person 3"]
    sleeve: Float[Tensor, "*person"]
    """Where the cuff lies, metres from the wrist towards the elbow; negative: bare arms."""
    texture_seed: Int[Tensor, "*person"]


def sample_identities(num: int, seed: int = 0) -> Identities:
    """`num` people, float32. Person n of a seed is the same however many are drawn."""
    people = [_one(seed, person) for person in range(num)]
    return people[0].map(lambda *values: torch.stack(values), *people[1:])


def _one(seed: int, person: int) -> Identities:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + person) % 2**62)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).clamp(-2, 2)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    size, thick = 1 + _SIZE * normal(1), 1 + _THICK * normal(1)
    lengths = rest_bone_lengths(size) * size * (1 + _BONE * normal(5, 4))
    sides = 1 + _SIDES * normal(2, 5, 4)

    def stations(*shape):
        return thick * (1 + _STATION * normal(*shape)) * (1 + _SIDES * normal(2, *(1 for _ in shape)))

    tone = uniform(1) * (len(_SKIN) - 1)
    below = tone.long().clamp(max=len(_SKIN) - 2)
    skin = torch.lerp(_SKIN[below], _SKIN[below + 1], (tone - below)[:, None])[0]
    return Identities(
        bone_lengths=(lengths * sides).float(),
        palm_angles=(_PALM_ANGLE * normal(5, 2).expand(2, 5, 2)).float(),
        shape=HandShape(
            stations(5, 4).float(), stations(5, 4).float(), stations(3).float(), stations(3).float()
        ),
        skin=(skin * (1 + 0.06 * normal(3))).clamp(0.01, 0.95).float(),
        cloth=(_CLOTH[int(uniform(1) * len(_CLOTH))] * (0.6 + 0.8 * uniform(1))).float(),
        sleeve=torch.where(uniform(()) < 0.6, 0.03 + 0.08 * uniform(()), -1.0).float(),
        texture_seed=torch.randint(2**31, (), generator=generator),
    )

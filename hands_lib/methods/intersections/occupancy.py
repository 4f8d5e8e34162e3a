"""The occupancy network: how probably a point lies inside a hand that is known by its 21 joints (Sec. II-B).

Chapter  book/intersections/occupancy.md
Units    metres in; inside, coordinates are minus the wrist, in units of 0.1 m
Frame    any world frame; RIGHT hands

The paper names the parts (PointNet encoder with residual blocks, decoder with conditional batch
normalisation, about 7 million parameters) and cites Mescheder et al., "Occupancy Networks", whose layers
these are. Widths are not printed: `PAPER` and `PAPER_WITH_LATENT` have the printed size.

In evaluation mode the running statistics are folded into the conditional scale and shift, one of each for
every hand and feature; a point's logit then depends on no other point.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from hands_lib.structures import TensorFields

UNIT = 0.1  # metres: coordinates become of the order of 1, and the hand's size stays visible to the network
NUM_JOINTS = 21
_NUM_BLOCKS = 5
_NUM_NORMS = 2 * _NUM_BLOCKS + 1
_LATENT_WIDTH = 128
_EPS, _MOMENTUM = 1e-5, 0.1  # of batch normalisation


@dataclass(frozen=True)
class OccupancySettings:
    """Sizes and switches of an `OccupancyNetwork`."""

    encoder_width: int = 256
    feature_width: int = 256
    """Of the vector that stands for the hand (the paper's f)."""
    decoder_width: int = 512
    latent: int = 0
    """Of the latent vector z; 0 leaves it out."""
    joint_identity: bool = False
    """Extension: tells the encoder which joint a position belongs to. The paper's encoder sees a set."""
    palm_frame: bool = False
    """Extension: turns hand and points into the palm's own frame first, so that the answer cannot depend on
    how the hand is turned. The paper's network learns that from random rotations."""

    def __post_init__(self):
        for name in ("encoder_width", "feature_width", "decoder_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.latent < 0:
            raise ValueError(f"latent must be 0 (none) or a width, not {self.latent}")


PAPER = OccupancySettings()
PAPER_WITH_LATENT = OccupancySettings(latent=64)


@dataclass(frozen=True)
class Conditioning(TensorFields):
    """What the decoder knows of each hand."""

    features: Float[Tensor, "hand feature"]
    origin: Float[Tensor, "hand 3"]
    """The wrist, metres."""
    rotation: Float[Tensor, "hand 3 3"] | None = None
    """world_from_palm, where the network works in the palm's frame."""

    def normalised(self, points: Float[Tensor, "hand point 3"]) -> Float[Tensor, "hand point 3"]:
        """What the network sees of world points: minus the wrist, in units of 0.1 m, in the palm's frame if
        the network works there."""
        points = (points - self.origin[:, None]) / UNIT
        return points if self.rotation is None else points @ self.rotation

    def normalised_of(
        self, points: Float[Tensor, "point 3"], owner: Int[Tensor, " point"]
    ) -> Float[Tensor, "point 3"]:
        """`normalised` for points of which each belongs to the hand `owner`."""
        points = (points - self.origin[owner]) / UNIT
        return points if self.rotation is None else (points[:, None] @ self.rotation[owner])[:, 0]


def palm_rotation(joints: Float[Tensor, "hand 21 3"]) -> Float[Tensor, "hand 3 3"]:
    """world_from_palm of right hands: y along the middle metacarpal, x in the palm's plane from the index's
    to the little finger's base, z out of the back. Differentiable."""
    wrist, index, middle, little = joints[:, [0, 5, 9, 17]].unbind(dim=1)
    y = functional.normalize(middle - wrist, dim=1)
    across = little - index
    x = functional.normalize(across - (across * y).sum(dim=1, keepdim=True) * y, dim=1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=2)


class LatentDistribution(NamedTuple):
    """q(z | points, occupancies, hand): independent normal distributions."""

    mean: Float[Tensor, "hand latent"]
    log_std: Float[Tensor, "hand latent"]


def kl_divergence(distribution: LatentDistribution) -> Float[Tensor, " hand"]:
    """KL(q || N(0, 1)), summed over the latent dimensions, in nats."""
    mean, log_std = distribution
    return 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(dim=-1)


class OccupancyNetwork(nn.Module):
    """O(x, f): the probability that the point x is inside the hand whose features are f."""

    def __init__(self, settings: OccupancySettings = PAPER):
        super().__init__()
        self.settings = settings
        self.encoder = PointSetEncoder(settings)
        self.decoder = Decoder(settings)
        self.latent_encoder = LatentEncoder(settings) if settings.latent else None

    def condition(self, joints: Float[Tensor, "hand 21 3"]) -> Conditioning:
        """The encoder F. `joints` in metres, world; the wrist first.

        Raises ValueError for any other number of joints or dimensions.
        """
        if joints.ndim != 3 or joints.shape[1:] != (NUM_JOINTS, 3):
            raise ValueError(f"joints must have shape (hand, {NUM_JOINTS}, 3), not {tuple(joints.shape)}")
        rotation = palm_rotation(joints) if self.settings.palm_frame else None
        frame = Conditioning(joints.new_empty(len(joints), 0), joints[:, 0], rotation)
        return replace(frame, features=self.encoder(frame.normalised(joints)))

    def logits(
        self,
        points: Float[Tensor, "hand point 3"],
        condition: Conditioning,
        latent: Float[Tensor, "hand latent"] | None = None,
    ) -> Float[Tensor, "hand point"]:
        """Of points that are as many for every hand; metres, world. Without `latent` the prior's mean, 0."""
        points = condition.normalised(points)
        return self.decoder(points, condition.features[:, None], self._latent(latent, condition)[:, None])

    def logits_of(
        self,
        points: Float[Tensor, "point 3"],
        owner: Int[Tensor, " point"],
        condition: Conditioning,
        latent: Float[Tensor, "hand latent"] | None = None,
    ) -> Float[Tensor, " point"]:
        """Of points that each belong to one hand, `owner`, in any number and order."""
        points = condition.normalised_of(points, owner)
        return self.decoder(points, condition.features, self._latent(latent, condition), owner)

    def probability(
        self, points: Float[Tensor, "hand point 3"], joints: Float[Tensor, "hand 21 3"]
    ) -> Float[Tensor, "hand point"]:
        """O(x, F(X)) at the prior's mean."""
        return self.logits(points, self.condition(joints)).sigmoid()

    def posterior(
        self,
        points: Float[Tensor, "hand point 3"],
        occupied: Float[Tensor, "hand point"],
        condition: Conditioning,
    ) -> LatentDistribution:
        """q(z | points, occupied, hand), for training. Raises ValueError for a network without latent."""
        if self.latent_encoder is None:
            raise ValueError("a network with latent=0 has no posterior")
        points = condition.normalised(points)
        return self.latent_encoder(points, occupied, condition.features)

    def sample_latent(
        self, condition: Conditioning, generator: torch.Generator | None = None
    ) -> Float[Tensor, "hand latent"]:
        """z ~ N(0, 1), one for every hand: inference as the paper words it; `logits` takes it as `latent`."""
        shape = (len(condition.origin), self.settings.latent)
        return torch.randn(shape, generator=generator).to(condition.features)

    def _latent(self, latent: Tensor | None, condition: Conditioning) -> Tensor:
        shape = (len(condition.origin), self.settings.latent)
        return condition.features.new_zeros(shape) if latent is None else latent


class PointSetEncoder(nn.Module):
    """F: a point set to a feature vector, whatever the order of the points.

    Five residual blocks on every point; between them each point is told the maximum over all points.
    """

    def __init__(self, settings: OccupancySettings):
        super().__init__()
        width, self.joint_identity = settings.encoder_width, settings.joint_identity
        self.enter = nn.Linear(3 + NUM_JOINTS * settings.joint_identity, 2 * width)
        self.blocks = nn.ModuleList(NarrowingBlock(2 * width, width) for _ in range(_NUM_BLOCKS))
        self.leave = nn.Linear(width, settings.feature_width)

    def forward(self, points: Float[Tensor, "hand joint 3"]) -> Float[Tensor, "hand feature"]:
        if self.joint_identity:
            which = torch.eye(NUM_JOINTS).to(points).expand(len(points), -1, -1)
            points = torch.cat([points, which], dim=2)
        values = self.blocks[0](self.enter(points))
        for block in self.blocks[1:]:
            values = block(values, values.amax(dim=1, keepdim=True))
        return self.leave(values.amax(dim=1).relu())


class NarrowingBlock(nn.Module):
    """Residual block to half the width: fc_1(relu(fc_0(relu x))) plus a linear shortcut without bias."""

    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.fc_0 = nn.Linear(width_in, width_out)
        self.fc_1 = nn.Linear(width_out, width_out)
        self.shortcut = nn.Linear(width_in, width_out, bias=False)
        nn.init.zeros_(self.fc_1.weight)

    def forward(
        self, values: Float[Tensor, "hand joint own"], common: Float[Tensor, "hand 1 rest"] | None = None
    ) -> Float[Tensor, "hand joint width_out"]:
        """Of `values`, and `common` beside each of them: its share of the products is made once a hand."""
        hidden, change = self.fc_0, self.shortcut
        own = values.shape[-1]
        inner = functional.linear(values.relu(), hidden.weight[:, :own], hidden.bias)
        outer = functional.linear(values, change.weight[:, :own])
        if common is not None:
            inner = inner + functional.linear(common.relu(), hidden.weight[:, own:])
            outer = outer + functional.linear(common, change.weight[:, own:])
        return outer + self.fc_1(inner.relu())


class Decoder(nn.Module):
    """Five residual blocks of conditional batch normalisation, relu, linear; then one logit.

    Every normalisation's scale and shift are affine functions of the hand's features. `modulation` holds
    all of them in one matrix, ordered by normalisation, then scale before shift.
    """

    def __init__(self, settings: OccupancySettings):
        super().__init__()
        width = settings.decoder_width
        self.enter = nn.Linear(3, width)
        self.enter_latent = nn.Linear(settings.latent, width) if settings.latent else None
        self.modulation = nn.Linear(settings.feature_width, _NUM_NORMS * 2 * width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(2 * _NUM_BLOCKS))
        self.leave = nn.Linear(width, 1)
        self.register_buffer("running_mean", torch.zeros(_NUM_NORMS, width))
        self.register_buffer("running_var", torch.ones(_NUM_NORMS, width))
        with torch.no_grad():
            for layer in self.layers[1::2]:
                layer.weight.zero_()
            self.modulation.weight.zero_()
            self.modulation.bias.view(_NUM_NORMS, 2, width).copy_(torch.tensor([[1.0], [0.0]]))

    def forward(
        self,
        points: Float[Tensor, "*batch 3"],
        features: Float[Tensor, "*hands feature"],
        latent: Float[Tensor, "*hands latent"],
        owner: Int[Tensor, " point"] | None = None,
    ) -> Float[Tensor, "*batch"]:
        """The dimensions of `features` broadcast against those of `points`; or `owner` says which row of
        them a point takes."""
        modulation = self.modulation(features).unflatten(-1, (_NUM_NORMS, 2, -1))
        values = self.enter(points)
        if self.enter_latent is not None:
            values = values + _rows(self.enter_latent(latent), owner)
        for first in range(0, 2 * _NUM_BLOCKS, 2):
            change = self.layers[first](self._normalised(values, modulation, first, owner))
            change = self.layers[first + 1](self._normalised(change, modulation, first + 1, owner))
            values = values + change
        return self.leave(self._normalised(values, modulation, _NUM_NORMS - 1, owner)).squeeze(-1)

    def _normalised(self, values: Tensor, modulation: Tensor, norm: int, owner: Tensor | None) -> Tensor:
        """relu of the conditional batch normalisation: gamma(f) (x - mean) / sqrt(var + eps) + beta(f)."""
        scale, shift = modulation[..., norm, 0, :], modulation[..., norm, 1, :]
        mean, var = self.running_mean[norm], self.running_var[norm]
        if self.training:
            flat = functional.batch_norm(
                values.flatten(0, -2), mean, var, training=True, momentum=_MOMENTUM, eps=_EPS
            )
            values = flat.view_as(values)
        else:
            scale = scale * (var + _EPS).rsqrt()
            shift = shift - mean * scale
        scale, shift = (_rows(part, owner).to(values.dtype) for part in (scale, shift))
        return torch.addcmul(shift, values, scale).relu()


class LatentEncoder(nn.Module):
    """q(z | points, occupancies, hand), the family's 'simple' one: used in training only."""

    def __init__(self, settings: OccupancySettings):
        super().__init__()
        self.enter_points = nn.Linear(3, _LATENT_WIDTH)
        self.enter_occupied = nn.Linear(1, _LATENT_WIDTH)
        self.enter_features = nn.Linear(settings.feature_width, _LATENT_WIDTH)
        self.fc_1 = nn.Linear(_LATENT_WIDTH, _LATENT_WIDTH)
        self.fc_2 = nn.Linear(2 * _LATENT_WIDTH, _LATENT_WIDTH)
        self.fc_3 = nn.Linear(2 * _LATENT_WIDTH, _LATENT_WIDTH)
        self.mean = nn.Linear(_LATENT_WIDTH, settings.latent)
        self.log_std = nn.Linear(_LATENT_WIDTH, settings.latent)

    def forward(
        self,
        points: Float[Tensor, "hand point 3"],
        occupied: Float[Tensor, "hand point"],
        features: Float[Tensor, "hand feature"],
    ) -> LatentDistribution:
        values = self.enter_points(points) + self.enter_occupied(occupied[..., None])
        values = self.fc_1((values + self.enter_features(features)[:, None]).relu())
        for layer in (self.fc_2, self.fc_3):
            most = values.amax(dim=1, keepdim=True).expand_as(values)
            values = layer(torch.cat([values, most], dim=2).relu())
        values = values.amax(dim=1)
        return LatentDistribution(self.mean(values), self.log_std(values))


def _rows(values: Tensor, owner: Tensor | None) -> Tensor:
    return values if owner is None else functional.embedding(owner, values)

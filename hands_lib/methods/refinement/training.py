"""The loop that trains the network, and what its estimates are worth.

Units, frames and order: see the room's header. Errors are millimetres and pixels.
Source  Ren et al., DIR: AdamW, learning rate 5e-4, cosine to 0. Their run has batches of 64 for 50 epochs
        of pictures that are also turned, scaled, shifted and blurred; here they are mirrored and change in
        brightness.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hands_lib.hand.skeleton import JOINTS
from hands_lib.methods.refinement.examples import Examples, mirrored
from hands_lib.methods.refinement.hands import Estimate, faces_of
from hands_lib.methods.refinement.losses import Collision, LossWeights, Targets, total_loss
from hands_lib.methods.refinement.network import Prediction, RefinementNetwork
from hands_lib.methods.refinement.vertex_attention import VertexAttentionNetwork
from hands_lib.nn.descent import State, descend, player
from hands_lib.nn.precision import in_precision
from hands_lib.nn.schedules import risen_cosine

Network = RefinementNetwork | VertexAttentionNetwork
_MIDDLE_BASE = JOINTS.index("middle_1")


@dataclass(frozen=True)
class TrainingSettings:
    steps: int = 300
    batch: int = 32
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    mirror: bool = True
    """Whether half of every batch is mirrored."""
    brightness: float = 0.2
    """Greatest relative change of every colour channel."""
    clip: float = 1.0
    """Greatest norm of the gradient; the released code has no such limit."""
    collision_from: float = 0.5
    """Share of the steps after which a collision term joins: before, hands are not where they intersect."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the backbone while it trains, where the processor is fast in it (`nn.precision`); what comes after
    it, and every prediction, is in float32."""


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """A short linear rise (ours), then the cosine to 0."""
    return risen_cosine(step, settings.steps, settings.learning_rate)


def batch_of(examples: Examples, step: int, seed: int, settings: TrainingSettings) -> Examples:
    """The batch of one step: a function of seed and step alone, so that a run can stop and go on."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + step)
    chosen = torch.randint(len(examples), (settings.batch,), generator=generator)
    batch = examples[chosen.to(examples.image.device)]
    if settings.mirror:
        half = settings.batch // 2
        batch = Examples.cat([mirrored(batch[:half]), batch[half:]])
    change = settings.brightness * (2 * torch.rand(len(batch), 3, 1, 1, generator=generator) - 1)
    return Examples((batch.image * (1 + change.to(batch.image))).clamp(0, 1), batch.targets)


AfterStep = Callable[[int, dict[str, float], Callable[[], State]], None]


def train(
    network: Network,
    examples: Examples,
    settings: TrainingSettings,
    seed: int = 0,
    weights: LossWeights | None = None,
    state: State | None = None,
    after_step: AfterStep | None = None,
    collision: Collision | None = None,
) -> State:
    """Trains `network` in place and returns the state after the last step.

    state       as an earlier call returned or handed it out: the run goes on from there, to the same bits
    after_step  called with the number of finished steps, the loss's terms, and a function that gives the
                state
    collision   as in `losses.total_loss`; it joins late, see `TrainingSettings.collision_from`
    """

    def loss_of(batch: Examples, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        with in_precision(settings.precision, batch.image.device.type):
            features = network.features(batch.image)
        found = network.refine({level: values.float() for level, values in features.items()})
        joined_in = collision if step >= settings.collision_from * settings.steps else None
        return total_loss(found, batch.targets, faces_of(network.hands), weights, joined_in)

    return take_steps(network, loss_of, examples, settings, seed, state, after_step)


def train_joints(
    network: nn.Module,
    examples: Examples,
    settings: TrainingSettings,
    seed: int = 0,
    state: State | None = None,
    after_step: AfterStep | None = None,
) -> State:
    """The same for a network that goes from pictures to joints at once, with the mean distance of joints (mm)
    as its only loss.

    network  gives something whose `joints` are (batch, 2, 21, 3), metres, both hands in one frame, the middle
             between their wrists as origin: the estimators of Part II do
    """

    def loss_of(batch: Examples, _: int) -> tuple[Tensor, dict[str, Tensor]]:
        with in_precision(settings.precision, batch.image.device.type):
            joints = network(batch.image).joints
        loss = 1000 * torch.linalg.vector_norm(joints.float() - _both(batch.targets), dim=-1).mean()
        return loss, {"joints": loss}

    return take_steps(network, loss_of, examples, settings, seed, state, after_step)


def _both(targets: Targets) -> Float[Tensor, "batch 2 21 3"]:
    half = targets.offset[:, None] / 2
    return targets.joints + torch.stack([half, -half], dim=1)


def take_steps(
    network: nn.Module,
    loss_of: Callable[[Examples, int], tuple[Tensor, dict[str, Tensor]]],
    examples: Examples,
    settings: TrainingSettings,
    seed: int,
    state: State | None,
    after_step: AfterStep | None,
) -> State:
    """The loop of `train` and `train_joints`; `loss_of` gives the loss of a batch at a step and its terms."""
    terms: dict[str, Tensor] = {}

    def losses_of(step: int) -> Iterator[tuple[str, Tensor]]:
        loss, parts = loss_of(batch_of(examples, step, seed, settings), step)
        terms.update({"loss": loss, **parts})
        yield "refinement", loss

    def shown(done: int, present: Callable[[], State]) -> None:
        if after_step is not None:
            after_step(done, {name: term.item() for name, term in terms.items()}, present)

    learner = player(
        network,
        lambda step: learning_rate(step, settings),
        torch.optim.AdamW,
        settings.clip,
        weight_decay=settings.weight_decay,
    )
    return descend({"refinement": learner}, losses_of, settings.steps, state, shown)


@torch.no_grad()
def predict(
    network: Network, images: Float[Tensor, "picture 3 height width"], batch: int = 64
) -> list[Prediction]:
    """Predictions of many pictures, batch by batch, in evaluation mode."""
    network.eval()
    return [network(images[start : start + batch]) for start in range(0, len(images), batch)]


def joined_estimates(predictions: list[Prediction]) -> list[Estimate]:
    """Estimates after each stage over all pictures."""
    return [Estimate.cat(stages) for stages in zip(*(p.estimates for p in predictions), strict=True)]


def scaled(found: Estimate, target: Targets) -> tuple[Tensor, Tensor]:
    """Joints and vertices of each hand, scaled so that the palm (wrist to base of the middle finger) is as
    long as the true one: the wrist + scale protocol of the released evaluation. Metres."""
    ours, theirs = (
        torch.linalg.vector_norm(j[:, :, _MIDDLE_BASE] - j[:, :, 0], dim=-1)
        for j in (found.joints, target.joints)
    )
    ratio = (theirs / ours)[:, :, None, None]
    return ratio * found.joints, ratio * found.vertices


def errors(found: Estimate, target: Targets, picture: int) -> dict[str, Float[Tensor, " batch"]]:
    """Of every picture: mpjpe and mpvpe (wrist + scale) and mrrpe in mm, errors of joints and vertices in
    pixels of a picture of `picture` pixels a side. Estimates without a surface have mpjpe and mrrpe alone."""
    joints, vertices = scaled(found, target)

    def mean(a: Tensor, b: Tensor) -> Tensor:
        return torch.linalg.vector_norm(a - b, dim=-1).mean(dim=(1, 2))

    errors = {
        "mpjpe": 1000 * mean(joints, target.joints),
        "mrrpe": 1000 * torch.linalg.vector_norm(found.offset - target.offset, dim=-1),
    }
    if found.vertices.shape[2] == 0:
        return errors
    return errors | {
        "mpvpe": 1000 * mean(vertices, target.vertices),
        "pixel_error_joints": picture / 2 * mean(found.joints_uv, target.joints_uv),
        "pixel_error_vertices": picture / 2 * mean(found.vertices_uv, target.vertices_uv),
    }

"""Training the occupancy network: the loss and the loop (Sec. III-A).

Chapter  book/intersections/occupancy.md
Units    nats

The paper prints neither loss nor optimiser. Those of the network's family stand in for them: binary
cross-entropy summed over a hand's points and averaged over hands, plus the KL divergence of the latent;
Adam at 1e-4, constant, 64 hands.
"""

import ctypes
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from hands_lib.methods.intersections.occupancy import OccupancyNetwork, kl_divergence
from hands_lib.methods.intersections.sampling import OccupancyBatch
from hands_lib.nn.descent import State, descend, player
from hands_lib.nn.precision import in_precision


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how fast."""

    steps: int
    learning_rate: float = 1e-4
    schedule: str = "constant"
    """Extension: "cosine" falls from `learning_rate` to 0 over all steps, after a linear rise of 2 %."""
    precision: str = "float32"
    """Extension: "bfloat16" for products of matrices; weights and the optimiser stay in float32."""

    def __post_init__(self):
        if self.steps < 1 or not self.learning_rate > 0:
            raise ValueError(
                f"steps and learning_rate must be positive, not {self.steps} and {self.learning_rate}"
            )
        for name, known in (("schedule", ("constant", "cosine")), ("precision", ("float32", "bfloat16"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if self.schedule == "constant":
            return self.learning_rate
        rise = max(self.steps // 50, 1)
        done = (step + 0.5) / self.steps
        return self.learning_rate * min((step + 1) / rise, 1.0) * 0.5 * (1 + math.cos(math.pi * done))


class Losses(NamedTuple):
    """Means over the hands of a batch, in nats."""

    total: Float[Tensor, ""]
    cross_entropy: Float[Tensor, ""]
    """Summed over the points of a hand."""
    divergence: Float[Tensor, ""]


def occupancy_loss(
    network: OccupancyNetwork, batch: OccupancyBatch, generator: torch.Generator | None = None
) -> Losses:
    """Binary cross-entropy summed over points, plus KL(q || N(0, 1)) where the network has a latent."""
    condition = network.condition(batch.joints)
    occupied = batch.occupied.to(batch.points)
    latent, divergence = None, batch.points.new_zeros(())
    if network.settings.latent:
        posterior = network.posterior(batch.points, occupied, condition)
        noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
        latent = posterior.mean + posterior.log_std.exp() * noise
        divergence = kl_divergence(posterior).mean()
    logits = network.logits(batch.points, condition, latent)
    entropy = functional.binary_cross_entropy_with_logits(logits, occupied, reduction="none")
    entropy = entropy.sum(dim=1).mean()
    return Losses(entropy + divergence, entropy, divergence)


def train_occupancy(
    network: OccupancyNetwork,
    make_batch: Callable[[torch.Generator], OccupancyBatch],
    settings: TrainingSettings,
    seed: int,
    state: State | None = None,
    report: Callable[[int, Losses, Callable[[], State]], None] | None = None,
) -> State:
    """Trains in place until `settings.steps`; the state afterwards.

    make_batch  draws with the generator it is given, which is seeded by `seed` and the step: a batch is the
                same whether or not a run was interrupted before it
    state       what an earlier call returned or reported: goes on from there, bit by bit as without a break
    report      called after every step with the number of steps done, the losses and a function that
                returns the state (to be saved, not to be changed)

    Raises FloatingPointError, naming the step, for a loss that is not finite.
    """
    device = next(network.parameters()).device.type
    losses = None

    def losses_of(step: int) -> Iterator[tuple[str, Tensor]]:
        nonlocal losses
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        batch = make_batch(generator)
        with in_precision(settings.precision, device):
            losses = occupancy_loss(network, batch, generator)
        yield "occupancy", losses.total

    def after_step(done: int, present: Callable[[], State]) -> None:
        if report is not None and losses is not None:
            report(done, Losses(*(value.detach() for value in losses)), present)

    _keep_freed_memory()
    learner = player(network, settings.rate)
    return descend({"occupancy": learner}, losses_of, settings.steps, state, after_step)


def _keep_freed_memory() -> None:
    """Halves the time of a step on Linux CPUs: the C library gives blocks of some megabytes back to the
    system when they are freed, and at the next step every page is a page fault. No effect elsewhere."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):  # GNU's; the numbers are M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
            library.mallopt(-1, 2**31 - 1)
            library.mallopt(-3, 2**25)

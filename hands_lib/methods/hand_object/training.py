"""The loop that trains the network, and its predictions.

Source   HFL-Net has Adam, learning rate 1e-4, weight decay 5e-4, batches of 64 and 40 to 70 epochs with steps
         down; here AdamW, a short rise and the cosine to 0, since runs are short. Ours
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hands_lib.methods.hand_object.examples import Changes, Examples, Templates, changed
from hands_lib.methods.hand_object.losses import Apart, LossWeights, total_loss
from hands_lib.methods.hand_object.network import HandObjectNetwork, Prediction
from hands_lib.nn.descent import State, descend, player
from hands_lib.nn.schedules import risen_cosine


@dataclass(frozen=True)
class TrainingSettings:
    steps: int = 300
    batch: int = 24
    learning_rate: float = 1e-3
    weight_decay: float = 5e-4
    clip: float = 20.0
    """Greatest norm of the gradient."""
    apart_from: float = 0.5
    """Share of the steps after which the signed-distance loss joins: before, nothing is in its place."""
    num_apart: int = 24
    """How many of a batch it looks at."""
    changes: Changes = field(default_factory=Changes)


def batch_of(examples: Examples, step: int, seed: int, settings: TrainingSettings) -> Examples:
    """The batch of one step: a function of seed and step alone, so that a run can stop and go on."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + step)
    chosen = torch.randint(len(examples), (settings.batch,), generator=generator)
    return changed(examples[chosen.to(examples.image.device)], settings.changes, generator)


AfterStep = Callable[[int, dict[str, float], Callable[[], State]], None]


def train(
    network: HandObjectNetwork,
    examples: Examples,
    templates: Templates,
    settings: TrainingSettings,
    seed: int = 0,
    weights: LossWeights | None = None,
    apart: Apart | None = None,
    state: State | None = None,
    after_step: AfterStep | None = None,
) -> State:
    """Trains `network` in place and returns the state after the last step.

    apart       the signed-distance loss; None where it is left out
    state       as an earlier call returned or handed it out: the run goes on from there, to the same bits
    after_step  called with the number of finished steps, the loss's terms, and a function that gives the
                state
    """
    terms: dict[str, Tensor] = {}

    def losses_of(step: int) -> Iterator[tuple[str, Tensor]]:
        batch = batch_of(examples, step, seed, settings)
        found = network(batch.image, templates.control[batch.shape])
        joined_in = apart if step >= settings.apart_from * settings.steps else None
        loss, parts = total_loss(
            found, batch, templates, weights or LossWeights(), joined_in, settings.num_apart
        )
        terms.clear()
        terms.update({"loss": loss, **parts})
        yield "hand and object", loss

    def shown(done: int, present: Callable[[], State]) -> None:
        if after_step is not None:
            after_step(done, {name: term.item() for name, term in terms.items()}, present)

    learner = player(
        network,
        lambda step: risen_cosine(step, settings.steps, settings.learning_rate),
        torch.optim.AdamW,
        settings.clip,
        weight_decay=settings.weight_decay,
    )
    return descend({"hand and object": learner}, losses_of, settings.steps, state, shown)


@torch.no_grad()
def predict(network: nn.Module, examples: Examples, templates: Templates, batch: int = 64) -> Prediction:
    """Predictions of many pictures, batch by batch, in evaluation mode."""
    network.eval()
    parts = []
    for start in range(0, len(examples), batch):
        some = examples[start : start + batch]
        parts.append(network(some.image, templates.control[some.shape]))
    return Prediction.cat(parts)

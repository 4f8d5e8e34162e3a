"""Training an estimator, supervised alone or with the intersection loss (Sec. III-B to III-D).

Chapter  book/intersections/tables.md
Source   Ivashechkin et al., "Two Hands Are Better Than One"
Units    metres in, millimetres for errors and for the pose loss
Frame    that of the estimator's joints; pairs are compared `centred` (`estimators`)

    total = mean MPJPE in mm + weight * mean over pairs of Eq. 1 (a sum over points)

The paper states neither the unit nor the form of its pose loss, so its weights (1e-4 to 1e-8) cannot be
carried over: they are swept by decades here. If its pose loss was a distance in metres, its 1e-4 is 0.1 here.

How "with" and "without" are compared, as in the paper: one baseline is trained on poses alone; from its
weights the same number of further steps is made with every loss, and once with none, on the same batches.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from hands_lib.methods.intersections.estimators import PairEstimate, centred
from hands_lib.methods.intersections.loss import Occupancy, intersection_loss
from hands_lib.nn.descent import State, descend, player
from hands_lib.nn.precision import in_precision


class PairBatch(NamedTuple):
    """What a step learns from."""

    inputs: Shaped[Tensor, "pair ..."]
    """As the estimator takes them."""
    joints: Float[Tensor, "pair 2 21 3"]
    """What it should say, metres."""


@dataclass(frozen=True)
class IntersectionSettings:
    """Which intersection loss, and how much of it."""

    weight: float = 0.0
    """Per unit of Eq. 1, against millimetres of the pose loss; 0 leaves the loss out altogether."""
    point_set: str = "sparse"
    alpha: int = 0
    """1 tests both hands."""
    kernel: str = "squared"

    def __post_init__(self):
        if not 0 <= self.weight < math.inf:
            raise ValueError(
                f"the weight of the intersection loss is {self.weight}, but must not be negative"
            )


@dataclass(frozen=True)
class EstimatorSettings:
    """How long, how fast, towards what."""

    steps: int
    learning_rate: float = 1e-3
    schedule: str = "constant"
    """"constant", or "cosine": falls from `learning_rate` to 0 over all steps."""
    intersections: IntersectionSettings = field(default_factory=IntersectionSettings)
    validate_every: int = 0
    """Steps; 0: about eight times. The last step is validated in any case, the starting weights never."""
    precision: str = "float32"
    """Or "bfloat16". Extension: of the network's matrix products. Joints and losses stay in float32."""

    def __post_init__(self):
        if self.steps < 1 or self.validate_every < 0 or not self.learning_rate > 0:
            raise ValueError(
                "steps and learning_rate must be positive, validate_every not negative, but they are "
                f"{self.steps}, {self.learning_rate} and {self.validate_every}"
            )
        for name, known in (("schedule", ("constant", "cosine")), ("precision", ("float32", "bfloat16"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")

    @property
    def between_validations(self) -> int:
        """Steps."""
        return self.validate_every or max(1, self.steps // 8)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step + 0.5) / self.steps))


class EstimatorLosses(NamedTuple):
    """Means over the pairs of a batch."""

    total: Float[Tensor, ""]
    pose: Float[Tensor, ""]
    """Millimetres."""
    intersections: Float[Tensor, ""]
    """Eq. 1, not weighted; 0 where the weight is 0, as it is not computed then."""


def pair_mpjpe_mm(
    predicted: Float[Tensor, "pair 2 21 3"], target: Float[Tensor, "pair 2 21 3"]
) -> Float[Tensor, " pair"]:
    """Mean error of the 42 joints of each pair, millimetres.

    Protocol: pairs are moved together at the middle between their wrists, nothing else is aligned. Unlike
    the protocols that move every hand onto its own wrist, this one sees where the hands are to each other,
    which is what an intersection loss changes.
    """
    distance = torch.linalg.vector_norm(centred(predicted) - centred(target), dim=-1)
    return 1000 * distance.mean(dim=(1, 2))


def estimator_losses(
    estimate: PairEstimate,
    target: Float[Tensor, "pair 2 21 3"],
    settings: IntersectionSettings,
    occupancy: Occupancy | None = None,
) -> EstimatorLosses:
    """The total that is minimised. Raises ValueError for a weight without an occupancy network."""
    pose = pair_mpjpe_mm(estimate.joints, target).mean()
    if settings.weight == 0:
        return EstimatorLosses(pose, pose, torch.zeros_like(pose))
    if occupancy is None:
        raise ValueError("an intersection loss with a weight needs an occupancy network")
    inside = intersection_loss(
        occupancy,
        estimate.joints,
        settings.point_set,
        settings.alpha,
        settings.kernel,
        estimate.skeletons,
    ).mean()
    return EstimatorLosses(pose + settings.weight * inside, pose, inside)


def train_estimator(
    network: nn.Module,
    make_batch: Callable[[torch.Generator], PairBatch],
    settings: EstimatorSettings,
    seed: int,
    occupancy: Occupancy | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    state: State | None = None,
    report: Callable[[int, EstimatorLosses, Callable[[], State]], None] | None = None,
) -> State:
    """Trains in place until `settings.steps`; the state afterwards, see `selected_weights`.

    make_batch  draws with the generator it is given, seeded by `seed` and the step: two runs of one seed see
                the same batches whatever their losses, and a run that was interrupted sees them too
    occupancy   frozen (`loss.frozen`)
    validate    the network's error on the validation set; called in evaluation mode
    state       what an earlier call returned or reported: goes on from there, bit by bit as without a break
    report      called after every step with the number of steps done, the losses and a function that returns
                the state (to be saved, not to be changed)

    Raises FloatingPointError, naming the step, for a loss that is not finite.
    """
    losses, best = None, None
    history: list[list[float]] = []
    if state is not None:
        best, history = state["best"], list(state["history"])
    device = next(network.parameters()).device.type

    def losses_of(step: int) -> Iterator[tuple[str, Tensor]]:
        nonlocal losses
        batch = make_batch(torch.Generator().manual_seed(1_000_003 * seed + step))
        with in_precision(settings.precision, device):
            estimate = network(batch.inputs)
        losses = estimator_losses(estimate, batch.joints, settings.intersections, occupancy)
        yield "estimator", losses.total

    def after_step(done: int, present: Callable[[], State]) -> None:
        nonlocal best
        if validate is not None and (done % settings.between_validations == 0 or done == settings.steps):
            network.eval()
            error = float(validate(network))
            history.append([done, error])
            if best is None or error < best["error"]:
                best = {"step": done, "error": error, "network": copy.deepcopy(network.state_dict())}
        if report is not None and losses is not None:
            detached = EstimatorLosses(*(value.detach() for value in losses))
            report(done, detached, lambda: present() | {"best": best, "history": history})

    learner = player(network, settings.rate)
    last = descend({"estimator": learner}, losses_of, settings.steps, state, after_step)
    return last | {"best": best, "history": history}


def train_stage(
    name: str,
    network: nn.Module,
    make_batch: Callable[[torch.Generator], PairBatch],
    settings: EstimatorSettings,
    seed: int,
    stages: dict[str, Any],
    save: Callable[[dict[str, Any]], None],
    occupancy: Occupancy | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    selection: str = "validation",
    save_every: int = 500,
) -> nn.Module:
    """One training among the several of a job (a baseline, then its variants), which may be stopped anywhere.

    stages  what the job has done: the selected weights of each finished training by its name, and the state
            of the one under way; changed in place, and given to `save` every `save_every` steps and at the
            end
    network gets the selected weights, from `stages` without any step where they are there already
    """
    if name not in stages:

        def report(done: int, losses: EstimatorLosses, present_state: Callable[[], State]) -> None:
            if done % save_every == 0:
                save({**stages, "under way": {"name": name, "state": present_state()}})

        pending = stages.pop("under way", None)
        state = pending["state"] if pending is not None and pending["name"] == name else None
        state = train_estimator(network, make_batch, settings, seed, occupancy, validate, state, report)
        stages[name] = copy.deepcopy(selected_weights(state, selection))
        save(stages)
    network.load_state_dict(stages[name])
    return network.eval()


def selected_weights(state: State, selection: str = "validation") -> dict[str, Tensor]:
    """The weights that are evaluated.

    "validation": of the step with the least validation error of joints, whatever its intersections: the
    paper's rule (Sec. III-B). "final": of the last step.

    Raises ValueError for another rule, and where a run was never validated.
    """
    if selection not in ("validation", "final"):
        raise ValueError(f'weights are selected by "validation" or "final", not {selection!r}')
    if selection == "final":
        return state["estimator"]["network"]
    if state["best"] is None:
        raise ValueError("the run was never validated: give `validate`, or select the final weights")
    return state["best"]["network"]


@torch.no_grad()
def predict(network: nn.Module, inputs: Shaped[Tensor, "pair ..."], batch: int = 256) -> PairEstimate:
    """The estimates of a trained network, in evaluation mode, batch by batch."""
    network.eval()
    return PairEstimate.cat([network(part) for part in inputs.split(batch)])

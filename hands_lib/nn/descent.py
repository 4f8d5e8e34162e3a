"""Gradient descent: the loop of every training in the book.

A training says what it minimises, step by step; here stands what happens with it. Nothing is hidden behind
it: no data, no device, no logging. Given the state of an earlier call it goes on to the same bits, as long as
`losses_of` draws its random numbers by the number of the step.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

State = dict[str, Any]


@dataclass(frozen=True)
class Player:
    """A network that learns, by what, and with which learning rate. Most trainings have one of them."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    clip: float | None = None
    """Greatest norm of the gradient."""

    def step(self, loss: Tensor) -> None:
        """One step down."""
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()
        self.schedule.step()

    def state(self) -> State:
        return {name: getattr(self, name).state_dict() for name in ("network", "optimizer", "schedule")}

    def restore(self, state: State) -> None:
        for name, own in state.items():
            getattr(self, name).load_state_dict(own)


def player(
    network: nn.Module,
    rate: Callable[[int], float],
    kind: type[torch.optim.Optimizer] = torch.optim.Adam,
    clip: float | None = None,
    **options: Any,
) -> Player:
    """One whose learning rate is a function of the step, counted from 0. `options` go to the optimizer."""
    optimizer = kind(network.parameters(), lr=1.0, **options)  # times the rate of the step
    return Player(network, optimizer, LambdaLR(optimizer, lambda step: rate(step)), clip)


def descend(
    players: Mapping[str, Player],
    losses_of: Callable[[int], Iterable[tuple[str, Tensor]]],
    steps: int,
    state: State | None = None,
    after_step: Callable[[int, Callable[[], State]], None] | None = None,
) -> State:
    """Train in place until `steps`; the state afterwards: `step`, and of every player its three states.

    losses_of   of a step: who goes down which loss, one after the other; a later loss is computed when the
                earlier player has stepped
    state       what an earlier call returned or handed out
    after_step  called with the number of finished steps and a function that gives the state (to be saved, not
                to be changed)

    Raises:
        FloatingPointError: a loss is not finite; names the step.
    """
    done = 0
    if state is not None:
        done = state["step"]
        for name, one in players.items():
            one.restore(state[name])

    def present() -> State:
        return {"step": done} | {name: one.state() for name, one in players.items()}

    while done < steps:
        for one in players.values():
            one.network.train()
        for name, loss in losses_of(done):
            if not bool(loss.isfinite()):
                raise FloatingPointError(f"the loss of step {done} is {loss.item()}")
            players[name].step(loss)
        done += 1
        if after_step is not None:
            after_step(done, present)
    return present()

"""The loop against the obvious one, stopped and gone on, and with two who learn."""

import copy

import pytest
import torch
from torch import nn

from hands_lib.nn.descent import Player, descend, player

TARGET = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))


def line() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def loss_of(network: nn.Module, step: int) -> torch.Tensor:
    inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
    return (network(inputs) - TARGET).square().mean()


def rate(step: int) -> float:
    return 0.1 / (1 + step)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("clip", [None, 0.1])
def test_as_the_loop_that_one_would_write(clip: float | None) -> None:
    ours, plain = line(), line()
    one = player(ours, rate, torch.optim.AdamW, clip, weight_decay=0.3)
    descend({"line": one}, lambda step: [("line", loss_of(ours, step))], 7)

    optimizer = torch.optim.AdamW(plain.parameters(), weight_decay=0.3)
    for step in range(7):
        optimizer.param_groups[0]["lr"] = rate(step)
        optimizer.zero_grad()
        loss_of(plain, step).backward()
        if clip:
            nn.utils.clip_grad_norm_(plain.parameters(), clip)
        optimizer.step()
    assert same(ours, plain)
    assert not same(ours, line())


def test_goes_on_to_the_same_bits() -> None:
    def run(network: nn.Module, state: dict | None = None, kept: dict | None = None) -> dict:
        def after_step(done, present) -> None:
            if kept is not None:
                kept[done] = copy.deepcopy(present())

        one = player(network, rate)
        return descend({"a": one}, lambda step: [("a", loss_of(network, step))], 9, state, after_step)

    whole, kept = line(), {}
    last = run(whole, kept=kept)
    assert sorted(kept) == list(range(1, 10))
    for done in (1, 4, 9):
        again = line()
        assert run(again, kept[done])["step"] == last["step"] == 9
        assert same(whole, again)


def test_players_move_one_after_the_other() -> None:
    """The second loss is computed with what the first has become, and each moves alone."""
    torch.manual_seed(3)
    field, critic = nn.Linear(2, 2), nn.Linear(2, 1)
    players = {
        name: Player(net, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0))
        for name, net in (("field", field), ("critic", critic))
        for optimizer in [torch.optim.SGD(net.parameters(), 0.1)]
    }
    inputs, seen = torch.ones(3, 2), []

    def losses_of(step: int):
        before = [p.clone() for p in (*field.parameters(), *critic.parameters())]
        yield "field", critic(field(inputs)).mean()
        after = [p.clone() for p in (*field.parameters(), *critic.parameters())]
        seen.append([torch.equal(a, b) for a, b in zip(before, after, strict=True)])
        yield "critic", critic(field(inputs).detach()).square().mean()
        critics = list(critic.parameters())
        seen.append([torch.equal(a, b) for a, b in zip(after[2:], critics, strict=True)])

    descend(players, losses_of, 1)
    assert seen == [[False, False, True, True], [False, False]]


def test_every_step_begins_in_training_mode() -> None:
    network, modes = line(), []

    def losses_of(step: int):
        modes.append(network.training)
        yield "a", loss_of(network, step)

    descend({"a": player(network.eval(), rate)}, losses_of, 2, after_step=lambda *_: network.eval())
    assert modes == [True, True]


def test_a_loss_that_is_no_number_is_named_by_its_step() -> None:
    network = line()

    def losses_of(step: int):
        yield "a", loss_of(network, step) * (float("nan") if step == 2 else 1)

    with pytest.raises(FloatingPointError, match="the loss of step 2 is nan"):
        descend({"a": player(network, rate)}, losses_of, 5)

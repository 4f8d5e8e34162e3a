"""A watched training that stops anywhere has the curve and the weights of one that did not."""

import pytest
import torch
from torch import nn

from hands_lib.nn.descent import descend, player
from hands_lib.reproduce.watching import Watched


def run(checkpoint, stop_at=None) -> tuple[nn.Linear, list]:
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    shown = []
    watched = Watched(checkpoint, 10, 4, "toy", lambda curve: shown.append(list(curve)), "cpu")

    def losses_of(step):
        if step == stop_at:
            raise KeyboardInterrupt
        loss = (net(torch.tensor([[1.0, step]])) - 1).square().mean()
        yield "net", loss
        watched.errors.append(loss.item())

    descend({"net": player(net, lambda step: 0.01)}, losses_of, 10, watched.state, watched)
    return net, shown


@pytest.mark.parametrize("stop_at", [0, 4, 5, 9])
def test_a_stop_changes_nothing(tmp_path, stop_at) -> None:
    whole, shown = run(tmp_path / "whole.pt")
    assert [[step for step, _ in curve] for curve in shown] == [[4], [4, 8], [4, 8, 10]]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut.pt", stop_at)
    again, shown_again = run(tmp_path / "cut.pt")
    assert shown_again[-1] == shown[-1]
    assert torch.equal(whole.weight, again.weight)

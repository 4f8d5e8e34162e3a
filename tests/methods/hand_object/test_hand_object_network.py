"""The parts of the network: what is shared, what starts at nothing, who teaches whom."""

import json
from dataclasses import asdict

import pytest
import torch

from hands_lib.hand.numbers import KinematicHands
from hands_lib.methods.hand_object.ablation import CHANGES, row_settings
from hands_lib.methods.hand_object.augmentation import (
    BOX_EDGES,
    NUM_NODES,
    DualBranch,
    EdgeConv,
    control_places,
    graph_share,
    nearest_nodes,
    picture_grid,
    topology,
)
from hands_lib.methods.hand_object.network import PAPER, HandObjectNetwork, HandObjectSettings
from hands_lib.methods.hand_object.recorded_network import recorded_network
from hands_lib.methods.hand_object.streams import BackboneSettings, Streams
from hands_lib.methods.hand_object.supplementation import Supplement

TINY = HandObjectSettings(BackboneSettings(4, (1, 1, 1, 1), 8), node_width=8, hidden=16, coarser=2)


def network(row: str = "Ours") -> HandObjectNetwork:
    torch.manual_seed(1)
    return HandObjectNetwork(KinematicHands("refined"), row_settings(row, TINY))


def given(num: int = 2):
    generator = torch.Generator().manual_seed(2)
    return torch.rand(num, 3, 32, 32, generator=generator), 0.1 * control_places().expand(num, 21, 3)


def test_paper_size_has_resnet_50s_layers() -> None:
    """Beside the doubled layers 2 and 3 the backbone is torchvision's ResNet-50 without its head: 23,508,032
    weights."""
    with torch.device("meta"):
        streams = Streams(BackboneSettings(streams=1))
        both = Streams(BackboneSettings())

    def count(*parts):
        return sum(w.numel() for part in parts for w in part.parameters())

    body = (streams.stem, streams.first, streams.second, streams.third, streams.fourth)
    assert count(*body) == 23_508_032
    assert count(both.second, both.third) == 2 * count(streams.second, streams.third)
    assert count(both.stem, both.first, both.fourth) == count(streams.stem, streams.first, streams.fourth)


def test_features_have_a_quarter_of_the_size() -> None:
    streams = Streams(TINY.backbone)
    hand, held = streams(torch.rand(2, 3, 64, 64))
    assert hand.shape == held.shape == (2, 8, 16, 16)
    assert not torch.equal(hand, held)


def test_one_stream_is_shared() -> None:
    hand, held = Streams(BackboneSettings(4, (1, 1, 1, 1), 8, streams=1))(torch.rand(2, 3, 32, 32))
    assert hand is held
    with pytest.raises(ValueError, match="1 or 2"):
        BackboneSettings(streams=3)


def test_box_and_graph() -> None:
    places = control_places()
    assert len(BOX_EDGES) == 12
    assert len(places.unique(dim=0)) == 21
    graph = topology()
    assert torch.equal(graph, graph.T)
    assert not graph[:21, 21:].any()  # hand and object never meet in the global graph
    assert float(torch.linalg.eigvalsh(graph).max()) == pytest.approx(1, abs=1e-5)


def test_edge_conv_is_the_slow_one() -> None:
    torch.manual_seed(0)
    layer, nodes = EdgeConv(4), torch.rand(2, 5, 4)
    graph = nearest_nodes(torch.rand(2, 5, 2), 3)
    found = layer(nodes, graph)
    for b in range(2):
        for i in range(5):
            told = [layer.message(torch.cat([nodes[b, i], nodes[b, j] - nodes[b, i]])) for j in graph[b, i]]
            torch.testing.assert_close(found[b, i], torch.stack(told).amax(dim=0))
    assert not (graph == torch.arange(5)[:, None]).any()


def test_augmentation_starts_at_nothing_and_can_leave() -> None:
    torch.manual_seed(0)
    part, features = DualBranch(8, 8), torch.rand(2, 8, 6, 5)
    same, places = part(features)
    assert torch.equal(same, features)
    assert places.shape == (2, NUM_NODES, 2)
    (same * torch.rand_like(same)).sum().backward()
    assert part.alpha.grad.abs() > 0
    with torch.no_grad():
        part.alpha.fill_(1.0)
    assert not torch.equal(part(features)[0], features)


def test_grid_is_that_of_grid_sample() -> None:
    values = torch.rand(1, 1, 4, 6)
    grid = picture_grid(4, 6, values).view(1, 4, 6, 2)
    found = torch.nn.functional.grid_sample(values, grid, align_corners=False)
    torch.testing.assert_close(found, values)


def test_share_of_close_edges() -> None:
    touching = torch.zeros(1, 21, 21, dtype=torch.bool)
    touching[0, 0, 4] = True
    graph = torch.zeros(1, 42, 1, dtype=torch.long)
    graph[0, 0, 0], graph[0, 1, 0] = 21 + 4, 21 + 5
    found, chance = graph_share(graph, touching)
    assert float(found) == 0.5
    assert float(chance) == pytest.approx(1 / 441)


def test_supplement_teaches_one_side() -> None:
    torch.manual_seed(0)
    own, other = (torch.rand(1, 8, 4, 4, requires_grad=True) for _ in range(2))
    found, weights = Supplement(8, 2)(own, other, True)
    found.sum().backward()
    assert own.grad.abs().sum() > 0
    assert other.grad is None
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(1, 16))
    Supplement(8, 2, detach=False)(own, other)[0].sum().backward()
    assert other.grad.abs().sum() > 0


def test_supplement_does_not_ask_for_the_order_of_pictures() -> None:
    part = Supplement(8, 2, coarser=2).eval()
    own, other = torch.rand(3, 8, 4, 4), torch.rand(3, 8, 4, 4)
    found = part(own, other)[0]
    torch.testing.assert_close(part(own.flip(0), other.flip(0))[0], found.flip(0))


@pytest.mark.parametrize("row", list(CHANGES))
def test_every_row_runs_and_every_weight_learns(row: str) -> None:
    own = network(row)
    found = own(*given())
    assert found.vertices.shape == (2, 699, 3)
    assert (torch.linalg.det(found.rotation) - 1).abs().max() < 1e-5
    parts = (found.joints, found.rotation, found.translation, found.joints_uv, found.control_uv)
    (sum((x * torch.rand_like(x)).sum() for x in (*parts, found.nodes_uv, found.confidence))).backward()
    # Behind a gate that is shut nothing learns in the first step.
    shut = ("local", "inner", "outer", "enter", "leave")
    silent = [
        name
        for name, weight in own.named_parameters()
        if weight.grad is None and not any(word in name for word in shut)
    ]
    assert silent == []


def test_unknown_rows_and_switches_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown row"):
        row_settings("all of it", TINY)
    with pytest.raises(ValueError, match="unknown exchange"):
        HandObjectSettings(exchange="gossip")


def test_paper_size_is_counted_without_making_it() -> None:
    network()  # whatever is kept for the whole process is made here, and not without its numbers
    hands = KinematicHands("plain").to("meta")
    with torch.device("meta"):
        own = HandObjectNetwork(hands, PAPER)
    assert 40e6 < sum(w.numel() for w in own.parameters()) < 60e6


def test_the_recorded_network_comes_back() -> None:
    own = network().eval()
    config = json.loads(json.dumps({"network": asdict(own.settings)}))
    again = recorded_network(config, own.state_dict())
    assert torch.equal(again(*given()).vertices, own(*given()).vertices)
    with pytest.raises(ValueError, match="no record"):
        recorded_network({}, {})
    with pytest.raises(ValueError, match="no record"):
        recorded_network(config, {})

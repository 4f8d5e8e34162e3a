"""What figures are drawn from: attention adds up, edges are those of the graph, absent modules are named."""

import pytest
import torch

from hands_lib.hand.numbers import KinematicHands
from hands_lib.methods.hand_object.ablation import row_settings
from hands_lib.methods.hand_object.examples import Examples, templates_of
from hands_lib.methods.hand_object.network import HandObjectNetwork, HandObjectSettings
from hands_lib.methods.hand_object.shown import local_edges, looked_at, meeting
from hands_lib.methods.hand_object.streams import BackboneSettings
from hands_lib.worlds.known_objects import known_boxes, known_meshes, known_symmetries


def known_templates():
    return templates_of(known_meshes(), known_boxes(), known_symmetries())


TINY = HandObjectSettings(BackboneSettings(4, (1, 1, 1, 1), 8), node_width=8, hidden=16, coarser=2)


def network(row: str) -> HandObjectNetwork:
    torch.manual_seed(0)
    return HandObjectNetwork(KinematicHands("refined"), row_settings(row, TINY))


def pictures() -> Examples:
    return Examples(
        torch.rand(2, 3, 32, 32), torch.zeros(2, 21, 3), torch.zeros(2, 699, 3), torch.eye(3).expand(2, 3, 3),
        torch.zeros(2, 3), torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3), torch.tensor([0, 4]),
        torch.zeros(2), torch.zeros(2),
    )  # fmt: skip


def test_attention_adds_up() -> None:
    maps = looked_at(network("Ours"), pictures(), known_templates(), 8)
    assert maps.shape == (2, 4, 4)
    torch.testing.assert_close(maps.sum(dim=(1, 2)), torch.ones(2))


def test_edges_meet_the_object() -> None:
    places, graph = local_edges(network("Ours"), pictures(), known_templates())
    edges = meeting(places[0], graph[0])
    assert len(edges) == int((graph[0, :21] >= 21).sum())
    assert all(len(u) == len(v) == 2 for u, v in edges)


def test_absent_modules_are_named() -> None:
    with pytest.raises(ValueError, match="supplementation"):
        looked_at(network("without cross-feature supplementation"), pictures(), known_templates(), 8)
    with pytest.raises(ValueError, match="augmentation"):
        local_edges(network("without feature augmentation"), pictures(), known_templates())

"""What figures are drawn from: as much of a network's answer as a page needs."""

from dataclasses import replace

import torch

from hands_lib.methods.refinement.examples import Examples
from hands_lib.methods.refinement.hands import KinematicHands
from hands_lib.methods.refinement.losses import Targets
from hands_lib.methods.refinement.network import SMALL, RefinementNetwork
from hands_lib.methods.refinement.shown import drawn_network, drawn_stages

TINY = replace(SMALL, visual_width=8, joint_width=8, plane_width=8, graph_layers=1, transformer_blocks=1)


def examples(num):
    generator = torch.Generator().manual_seed(0)
    uv, blank = torch.rand(num, 2, 21, 2, generator=generator), torch.zeros(num, 16, 16)
    flat = torch.zeros(num, 2, 21, 3)
    pictures = torch.rand(num, 3, 64, 64, generator=generator)
    labels = blank.long(), blank[:, None].expand(-1, 3, -1, -1)
    return Examples(pictures, Targets(flat, flat, uv, uv, torch.zeros(num, 3), *labels))


def test_a_network_is_shown_by_its_answers():
    torch.manual_seed(0)
    network, some = RefinementNetwork(KinematicHands("plain"), TINY), examples(3)
    drawn = drawn_network(network, some)
    assert drawn["number of weights"] == sum(p.numel() for p in network.parameters())
    torch.testing.assert_close(drawn["image"].float() / 255, some.image, atol=0.002, rtol=0)
    said = network.eval()(some.image)
    for stage, estimate in enumerate(said.estimates):
        torch.testing.assert_close(drawn["joints_uv"][stage], estimate.joints_uv)
    torch.testing.assert_close(drawn["attention"].sum(dim=-1), torch.ones(3, 42))
    assert len(drawn["joint_features"]) == 1
    # estimates of more pictures than are shown: the first ones
    few = drawn_stages(some[:2], said.estimates)
    torch.testing.assert_close(few["joints_uv"], drawn["joints_uv"][:, :2])
    assert torch.equal(few["true_uv"], some.targets.joints_uv[:2])

"""The baseline of dense vertex attention: what its pieces do, and that it is a network like the other."""

import pytest
import torch

from hands_lib.methods.refinement.hands import KinematicHands
from hands_lib.methods.refinement.network import surface_shares
from hands_lib.methods.refinement.vertex_attention import (
    PointSums,
    VertexAttentionNetwork,
    VertexAttentionSettings,
    farthest_points,
    graph,
    joint_weights,
    spread,
)

TINY = VertexAttentionSettings("test_resnet", (16, 8, 4), (20, 40, 80), width=16)


@pytest.fixture(scope="module")
def hands():
    return KinematicHands("plain")


@pytest.fixture(scope="module")
def rest(hands):
    joints, vertices = hands(torch.zeros(1, 2, 45), torch.zeros(1, 2, 10))
    return joints[0, 0], vertices[0, 0]


def test_a_new_network_says_the_mean_hand_in_the_middle_of_the_picture(hands, rest):
    torch.manual_seed(0)
    network = VertexAttentionNetwork(hands, TINY).eval()
    found = network(torch.rand(2, 3, 64, 64))
    assert len(found.estimates) == 3
    joints, vertices = rest
    last = found.estimates[-1]
    # Coarse vertices cannot say more than their neighbourhood: 80 know the surface to some millimetres.
    for side, sign in enumerate((1, -1)):
        expected = (vertices - joints[0]) * torch.tensor([sign, 1.0, 1.0])
        assert (last.vertices[0, side] - expected).norm(dim=-1).mean() < 0.008
    assert last.joints[:, :, 0].abs().max() == 0
    torch.testing.assert_close(last.joints_uv[:, 0, :, 0], -last.joints_uv[:, 1, :, 0], rtol=0, atol=0.02)
    assert found.hand_logits.shape == (2, 3, 16, 16)


def test_every_weight_learns(hands):
    torch.manual_seed(0)
    network = VertexAttentionNetwork(hands, TINY)
    found = network(torch.rand(2, 3, 64, 64))
    loss = sum(
        e.vertices.square().sum() + e.vertices_uv.square().sum() + e.offset.sum() for e in found.estimates
    )
    (loss + found.hand_logits.square().sum()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_hands_see_each_other_and_pictures_do_not_mix(hands):
    torch.manual_seed(0)
    network = VertexAttentionNetwork(hands, TINY).eval()
    images = torch.rand(3, 3, 64, 64)
    together, alone = network(images), network(images[1:2])
    torch.testing.assert_close(together.estimates[-1].vertices[1:2], alone.estimates[-1].vertices)
    stage = network.stages[0]
    x = torch.randn(1, 2, 20, 16, requires_grad=True)
    visual = network.features(images[:1])[16]
    stage(x, visual)[0][:, 0].sum().backward()
    assert (x.grad[:, 1].abs() > 0).any()


def test_farthest_points_are_nested_and_cover(rest):
    _, vertices = rest
    order = farthest_points(vertices, 80)
    assert len(set(order.tolist())) == 80
    assert torch.equal(order[:20], farthest_points(vertices, 20))
    reach = [torch.cdist(vertices, vertices[order[:n]]).amin(dim=1).max() for n in (20, 80)]
    assert reach[1] < reach[0] / 1.5


def test_graph_rows_are_means_over_the_nearest(rest):
    _, vertices = rest
    points = vertices[:30]
    rows = graph(points, 4)
    for n in range(30):
        distance = (points - points[n]).norm(dim=-1)
        distance[n] = torch.inf
        wanted = set(distance.argsort()[:4].tolist())
        assert set(rows[n].nonzero()[:, 0].tolist()) == wanted
        assert rows[n].sum().item() == pytest.approx(1, abs=1e-6)


def test_spread_gives_chosen_points_back_and_keeps_constants(rest):
    _, vertices = rest
    order = farthest_points(vertices, 60)
    rows = spread(vertices[order], vertices)
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(len(vertices)))
    torch.testing.assert_close((rows @ vertices[order])[order], vertices[order], rtol=0, atol=1e-5)


def test_surface_shares_average_around_each_joint(hands, rest):
    joints, vertices = rest
    shares = surface_shares(hands)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(21))
    assert ((shares @ vertices) - joints).norm(dim=-1).max() < 0.015


def test_joint_weights_give_the_joints_of_moved_hands(hands, rest):
    joints, vertices = rest
    weights = joint_weights(joints, vertices, surface_shares(hands))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q
    for shift in (torch.zeros(3), torch.tensor([0.3, -0.2, 0.5])):
        moved = weights @ (vertices @ turn + shift)
        torch.testing.assert_close(moved, joints @ turn + shift, rtol=0, atol=1e-5)


def test_a_step_moves_a_sum_no_farther_than_one_weight_would(rest):
    """Adam moves each of some hundred weights by its rate; the surface must not be torn by their sum."""
    _, vertices = rest
    coarse = vertices[farthest_points(vertices, 80)]
    sums = PointSums(spread(coarse, vertices))
    before = sums(coarse).detach()
    torch.testing.assert_close(before, spread(coarse, vertices) @ coarse)
    optimizer = torch.optim.AdamW(sums.parameters(), lr=0.1)
    (sums(coarse) * torch.randn(before.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    optimizer.step()
    moved = (sums(coarse) - before).norm(dim=-1)
    assert 0 < moved.max() <= 0.1 * coarse.norm(dim=-1).mean() * 1.001


def test_bad_settings_are_named(hands):
    with pytest.raises(ValueError, match="number of vertices that grows"):
        VertexAttentionSettings(vertices=(10, 5, 20))
    with pytest.raises(ValueError, match="307 vertices has no 500"):
        VertexAttentionNetwork(hands, VertexAttentionSettings("test_resnet", (16, 8), (20, 500), width=16))
    with pytest.raises(ValueError, match="cannot share"):
        VertexAttentionSettings(width=30)

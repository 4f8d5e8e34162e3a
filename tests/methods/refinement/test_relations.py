"""Graph masks, node-specific weights, attention."""

import pytest
import torch

from hands_lib.hand.skeleton import EDGES, PARENTS
from hands_lib.methods.refinement.relations import (
    Block,
    GraphConvolution,
    HandLinear,
    HandNorm,
    InterHandTransformer,
    IntraHandGraph,
    PerHand,
    neighbours,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randomised(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def test_neighbours_are_the_ends_of_bones():
    mask = neighbours()
    assert torch.equal(mask, mask.T)
    assert not mask.diagonal().any()
    assert int(mask.sum()) == 2 * len(EDGES)
    assert mask[0].nonzero().flatten().tolist() == [1, 5, 9, 13, 17]  # the wrist: bases of the digits
    assert mask[8].nonzero().flatten().tolist() == [7]  # a tip: its parent alone
    for joint, parent in enumerate(PARENTS[1:], start=1):
        assert mask[joint, parent]


def test_adjacency_is_learned_only_where_there_are_bones():
    layer = randomised(GraphConvolution(3, 4))
    adjacency = layer.adjacency()
    assert torch.equal(adjacency > 0, neighbours().expand(2, -1, -1))
    assert torch.allclose(adjacency.sum(dim=-1), torch.ones(2, 21))
    adjacency[0, 0, 5].backward()
    assert (layer.edges.grad[0, :5] != 0).all()  # the wrist's row
    assert (layer.edges.grad[0, 5:] == 0).all()
    assert (layer.edges.grad[1] == 0).all()


def test_graph_convolution_equals_a_loop_over_joints():
    layer = randomised(GraphConvolution(3, 4)).double()
    x = torch.randn(2, 2, 21, 3, dtype=torch.float64)
    mask, slow = neighbours(), torch.zeros(2, 2, 21, 4, dtype=torch.float64)
    for hand in (0, 1):
        # Row by row, the learned numbers of the bones in the order of the mask's true entries.
        numbers, start = layer.edges[hand], 0
        for i in range(21):
            around = mask[i].nonzero().flatten().tolist()
            shares = numbers[start : start + len(around)].softmax(dim=0)
            start += len(around)
            slow[:, hand, i] = x[:, hand, i] @ layer.own[hand, i] + layer.bias[hand, 0]
            for share, k in zip(shares, around, strict=True):
                slow[:, hand, i] += share * (x[:, hand, k] @ layer.others[hand, k])
    assert torch.allclose(layer(x), slow, atol=1e-12)


def test_one_layer_reaches_one_bone_far_and_hands_do_not_mix():
    x = torch.randn(2, 2, 21, 3, requires_grad=True)
    randomised(GraphConvolution(3, 4))(x)[:, 0, 6].sum().backward()
    reached = x.grad.abs().sum(dim=(0, 3)) > 0
    assert reached[0].nonzero().flatten().tolist() == [5, 6, 7]
    assert not reached[1].any()


def test_two_layers_reach_two_bones_far():
    """Without the normalisation's batch statistics, which tie everything of one hand together."""
    graph = randomised(IntraHandGraph(3, 2)).eval()
    x = torch.randn(2, 2, 21, 3, requires_grad=True)
    graph(x)[:, 1, 6].sum().backward()
    reached = x.grad.abs().sum(dim=(0, 3)) > 0
    assert reached[1].nonzero().flatten().tolist() == [0, 5, 6, 7, 8]
    assert not reached[0].any()


def test_hands_have_their_own_linear_layers():
    layer = randomised(HandLinear(3, 4))
    x = torch.randn(5, 2, 21, 3)
    for hand in (0, 1):
        expected = x[:, hand] @ layer.weight[hand] + layer.bias[hand]
        assert torch.allclose(layer(x)[:, hand], expected, atol=1e-6)
        assert torch.allclose(layer(x[:, :, 0])[:, hand], expected[:, 0], atol=1e-6)


def test_normalisation_is_over_pictures_and_joints_of_one_hand():
    x = 3 * torch.randn(8, 2, 21, 4) + 5
    y = HandNorm(4)(x)
    assert torch.allclose(y.mean(dim=(0, 2)), torch.zeros(2, 4), atol=1e-5)
    assert torch.allclose(y.var(dim=(0, 2), unbiased=False), torch.ones(2, 4), atol=1e-3)
    for hand in (0, 1):
        plain = torch.nn.BatchNorm1d(4)(x[:, hand].flatten(0, 1)).view(8, 21, 4)
        assert torch.allclose(y[:, hand], plain, atol=1e-5)


def test_layers_for_each_joint_alone():
    network = randomised(PerHand(3, 5, 2)).eval()
    x = torch.randn(4, 2, 21, 3, requires_grad=True)
    network(x)[:, 0, 3].sum().backward()
    assert (x.grad.abs().sum(dim=(0, 3)) > 0).nonzero().tolist() == [[0, 3]]


def test_block_equals_torchs_attention():
    block = randomised(Block(8, 2, 2)).double()
    reference = torch.nn.MultiheadAttention(8, 2, batch_first=True).double()
    reference.in_proj_weight.data, reference.in_proj_bias.data = block.joint.weight, block.joint.bias
    reference.out_proj.weight.data, reference.out_proj.bias.data = block.out.weight, block.out.bias
    x = torch.randn(3, 42, 8, dtype=torch.float64)
    inside = block.norm(x)
    expected, shares = reference(inside, inside, inside)
    found, attention = block(x)
    middle = x + expected
    assert torch.allclose(found, middle + block.mlp(middle), atol=1e-10)
    assert torch.allclose(attention, shares, atol=1e-10)
    assert torch.allclose(attention.sum(dim=-1), torch.ones(3, 42, dtype=torch.float64))


def test_the_transformer_joins_the_hands_and_its_absence_does_not():
    for blocks, tokens_reached in ((2, 42), (0, 1)):
        transformer = randomised(InterHandTransformer(8, 4, blocks, 2))
        x = torch.randn(2, 42, 8, requires_grad=True)
        features, attention = transformer(x)
        features[:, 30].sum().backward()
        assert int((x.grad.abs().sum(dim=(0, 2)) > 0).sum()) == tokens_reached
        assert (attention is None) == (blocks == 0)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="3 attention heads cannot share 8 channels"):
        Block(8, 3, 2)

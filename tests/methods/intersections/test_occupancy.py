"""The occupancy network against closed forms, its published sizes, and a slow obvious version."""

import math
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from hands_lib.geometry.rotations import random_rotations
from hands_lib.hand.kinematics import forward_kinematics, rest_pose
from hands_lib.methods.intersections.occupancy import (
    PAPER,
    PAPER_WITH_LATENT,
    Conditioning,
    LatentDistribution,
    OccupancyNetwork,
    OccupancySettings,
    kl_divergence,
    palm_rotation,
)

TINY = OccupancySettings(encoder_width=6, feature_width=5, decoder_width=7)


def stirred(network: OccupancySettings, seed: int = 0, dtype=torch.float64) -> OccupancyNetwork:
    """A network in which nothing is zero or one any more, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    net = OccupancyNetwork(network).to(dtype)
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator).to(dtype))
        net.decoder.running_var.abs_()
    return net.eval()


def hands(num: int, points: int, seed: int = 1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    joints = 0.1 * torch.randn(num, 21, 3, generator=generator).to(dtype)
    return joints, joints[:, :1] + 0.1 * torch.randn(num, points, 3, generator=generator).to(dtype)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (OccupancySettings(512, 512, 256), 10_373_889),
        (OccupancySettings(256, 512, 256), 5_323_009),
        (PAPER, 7_232_769),
        (PAPER_WITH_LATENT, 7_398_529),
        (OccupancySettings(384, 64, 512), 7_079_233),
    ],
)
def test_number_of_parameters(network, expected):
    """The first is the published model of the family; the third and fourth have the paper's 7 million."""
    assert sum(value.numel() for value in OccupancyNetwork(network).parameters()) == expected


def test_what_starts_at_zero_and_one():
    net = OccupancyNetwork(TINY)
    for block in net.encoder.blocks:
        assert not block.fc_1.weight.any()
        assert block.fc_0.weight.all()
    for number, layer in enumerate(net.decoder.layers):
        assert bool(layer.weight.any()) == (number % 2 == 0)
    assert not net.decoder.modulation.weight.any()
    gamma, beta = net.decoder.modulation.bias.view(11, 2, 7).unbind(dim=1)
    assert (gamma == 1).all()
    assert (beta == 0).all()


@given(st.permutations(range(1, 21)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_joints_does_not_matter(order):
    """The wrist stays first: it is the origin."""
    net, (joints, _) = stirred(TINY), hands(2, 1)
    features = net.condition(joints).features
    torch.testing.assert_close(net.condition(joints[:, [0, *order]]).features, features)


def test_joint_identity_tells_joints_apart():
    net, (joints, _) = stirred(OccupancySettings(6, 5, 7, joint_identity=True)), hands(2, 1)
    swapped = joints[:, [0, 2, 1, *range(3, 21)]]
    assert (net.condition(swapped).features - net.condition(joints).features).abs().max() > 1e-3


@given(st.integers(1, 4), st.integers(2, 6), st.sampled_from([0, 3]))
@settings(max_examples=15, deadline=None)
def test_against_library_layers(num_hands, num_points, latent):
    """The decoder, written point by point with torch's own batch normalisation."""
    net = stirred(OccupancySettings(6, 5, 7, latent=latent))
    joints, points = hands(num_hands, num_points)
    z = torch.randn(num_hands, latent, generator=torch.Generator().manual_seed(3)).double()
    condition = net.condition(joints)
    decoder, affine = net.decoder, net.decoder.modulation
    norms = [nn.BatchNorm1d(7, affine=False).double() for _ in range(11)]
    for norm, mean, var in zip(norms, decoder.running_mean, decoder.running_var, strict=True):
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
    gammas, betas = (
        [functional.linear(condition.features, affine.weight[rows], affine.bias[rows]) for rows in parts]
        for parts in (
            [slice(14 * n, 14 * n + 7) for n in range(11)],
            [slice(14 * n + 7, 14 * n + 14) for n in range(11)],
        )
    )

    def slow(training: bool):
        for norm in norms:
            norm.train(training)

        def cbn(values, n):
            flat = norms[n](values.reshape(-1, 7)).view_as(values)
            return torch.relu(gammas[n][:, None] * flat + betas[n][:, None])

        x = decoder.enter((points - joints[:, :1]) / 0.1)
        if latent:
            x = x + decoder.enter_latent(z)[:, None]
        for block in range(5):
            h = decoder.layers[2 * block](cbn(x, 2 * block))
            x = x + decoder.layers[2 * block + 1](cbn(h, 2 * block + 1))
        return decoder.leave(cbn(x, 10))[..., 0]

    torch.testing.assert_close(net.logits(points, condition, z), slow(training=False))
    net.train()
    torch.testing.assert_close(net.logits(points, condition, z), slow(training=True))
    means = torch.stack([norm.running_mean for norm in norms])
    variances = torch.stack([norm.running_var for norm in norms])
    torch.testing.assert_close(decoder.running_mean, means)
    torch.testing.assert_close(decoder.running_var, variances)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.sampled_from([0, 3]), st.booleans())
@settings(max_examples=15, deadline=None)
def test_ragged_points_get_the_same_logits(owners, latent, palm_frame):
    net = stirred(OccupancySettings(6, 5, 7, latent=latent, palm_frame=palm_frame))
    joints, points = hands(3, len(owners))
    z = torch.randn(3, latent, generator=torch.Generator().manual_seed(3)).double()
    condition, owner = net.condition(joints), torch.tensor(owners)
    every = net.logits(points, condition, z)
    index = torch.arange(len(owners))
    torch.testing.assert_close(net.logits_of(points[owner, index], owner, condition, z), every[owner, index])


def test_no_point_at_all():
    net, (joints, _) = stirred(TINY), hands(2, 1)
    empty = net.logits_of(torch.zeros(0, 3).double(), torch.zeros(0).long(), net.condition(joints))
    assert empty.shape == (0,)


def test_a_point_depends_on_no_other_in_evaluation():
    net, (joints, points) = stirred(TINY), hands(2, 5)
    together = net.probability(points, joints)
    alone = net.probability(points[1:, 2:3], joints[1:])
    torch.testing.assert_close(alone[0, 0], together[1, 2])


def test_palm_frame_makes_turns_invisible():
    net, (joints, points) = stirred(OccupancySettings(6, 5, 7, palm_frame=True)), hands(2, 5)
    turn = random_rotations(1, torch.Generator().manual_seed(0), torch.float64)[0]
    before = net.probability(points, joints)
    torch.testing.assert_close(net.probability(points @ turn.mT, joints @ turn.mT), before)
    plain = stirred(TINY)
    change = plain.probability(points @ turn.mT, joints @ turn.mT) - plain.probability(points, joints)
    assert change.abs().max() > 1e-3


def test_palm_of_the_rest_hand_lies_as_its_frame_says():
    rotation = palm_rotation(forward_kinematics(rest_pose(1, like=torch.zeros(0).double())).joints)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).double()[None])
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(1).double())
    assert (rotation[0].diagonal() > 0.95).all()  # a hand at rest: fingers +y, back +z


def test_moving_hand_and_points_together_changes_nothing():
    net, (joints, points) = stirred(TINY), hands(2, 5)
    shift = torch.tensor([3.0, -1.0, 2.0]).double()
    torch.testing.assert_close(
        net.probability(points + shift, joints + shift), net.probability(points, joints)
    )


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("palm_frame", [False, True])
def test_gradients_to_points_and_joints(ragged, palm_frame):
    network = replace(TINY, palm_frame=palm_frame)
    net, (joints, points) = stirred(network, seed=5).requires_grad_(False), hands(2, 3, seed=4)
    owner = torch.tensor([0, 0, 0, 1, 1, 1])

    def logits(points, joints):
        condition = net.condition(joints)
        if ragged:
            return net.logits_of(points.flatten(0, 1), owner, condition)
        return net.logits(points, condition)

    inputs = (points.requires_grad_(), joints.requires_grad_())
    assert torch.autograd.gradcheck(logits, inputs, eps=1e-7, atol=1e-5)


def test_divergence_against_quadrature():
    mean, log_std = torch.tensor([[0.7]]).double(), torch.tensor([[-0.4]]).double()
    std = log_std.exp()
    x = mean + std * torch.linspace(-12, 12, 20_001).double()
    q = torch.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
    log_ratio = -0.5 * ((x - mean) / std) ** 2 - log_std + 0.5 * x**2
    expected = torch.trapezoid(q * log_ratio, x)
    torch.testing.assert_close(kl_divergence(LatentDistribution(mean, log_std)), expected)


def test_divergence_of_the_prior_is_zero():
    zeros = torch.zeros(4, 3)
    assert (kl_divergence(LatentDistribution(zeros, zeros)) == 0).all()
    both = LatentDistribution(torch.ones(1, 3), zeros[:1])
    torch.testing.assert_close(kl_divergence(both), torch.tensor([1.5]))  # half the squared length


def test_without_latent_vector_the_priors_mean_is_taken():
    net, (joints, points) = stirred(OccupancySettings(6, 5, 7, latent=3)), hands(2, 4)
    condition = net.condition(joints)
    mean = net.logits(points, condition)
    torch.testing.assert_close(mean, net.logits(points, condition, torch.zeros(2, 3).double()))
    z = net.sample_latent(condition, torch.Generator().manual_seed(0))
    again = net.sample_latent(condition, torch.Generator().manual_seed(0))
    assert z.shape == (2, 3)
    assert z.dtype == torch.float64
    assert torch.equal(z, again)
    assert (net.logits(points, condition, z) - mean).abs().max() > 1e-3


def test_posterior_does_not_know_the_order_of_points():
    net, (joints, points) = stirred(OccupancySettings(6, 5, 7, latent=3)), hands(2, 6)
    condition, occupied = net.condition(joints), (points[..., 0] > 0).double()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    for own, other in zip(
        net.posterior(points, occupied, condition),
        net.posterior(points[:, order], occupied[:, order], condition),
        strict=True,
    ):
        torch.testing.assert_close(own, other)
    flipped = net.posterior(points, 1 - occupied, condition)
    assert (flipped.mean - net.posterior(points, occupied, condition).mean).abs().max() > 1e-3


def test_settings_go_through_plain_values():
    assert OccupancySettings(**asdict(PAPER_WITH_LATENT)) == PAPER_WITH_LATENT


def test_conditioning_of_some_hands():
    net, (joints, points) = stirred(TINY), hands(3, 2)
    condition = net.condition(joints)
    assert isinstance(condition[1:], Conditioning)
    torch.testing.assert_close(net.logits(points[1:], condition[1:]), net.logits(points, condition)[1:])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"encoder_width": 0}, "encoder_width must be at least 1, not 0"),
        ({"decoder_width": -3}, "decoder_width must be at least 1, not -3"),
        ({"latent": -1}, "latent must be 0"),
    ],
)
def test_bad_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        OccupancySettings(**wrong)


def test_bad_input():
    net, (joints, points) = stirred(TINY), hands(2, 4)
    with pytest.raises(ValueError, match="has no posterior"):
        net.posterior(points, points[..., 0], net.condition(joints))

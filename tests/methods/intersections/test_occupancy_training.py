"""The loss against its definition; the loop against interruption, a separable toy, and bad input."""

import copy
import math

import pytest
import torch

from hands_lib.methods.intersections.occupancy import OccupancyNetwork, OccupancySettings, kl_divergence
from hands_lib.methods.intersections.occupancy_training import (
    TrainingSettings,
    occupancy_loss,
    train_occupancy,
)
from hands_lib.methods.intersections.sampling import OccupancyBatch

TINY = OccupancySettings(encoder_width=6, feature_width=5, decoder_width=7)


def ball(generator: torch.Generator, hands: int = 4, points: int = 40) -> OccupancyBatch:
    """A toy: inside is what is nearer than 6 cm to the wrist, whatever the hand."""
    joints = 0.1 * torch.randn(hands, 21, 3, generator=generator)
    points = joints[:, :1] + 0.05 * torch.randn(hands, points, 3, generator=generator)
    return OccupancyBatch(joints, points, (points - joints[:, :1]).norm(dim=2) < 0.06)


def fresh(settings: OccupancySettings = TINY) -> OccupancyNetwork:
    torch.manual_seed(0)
    return OccupancyNetwork(settings)


def same(first: dict, second: dict) -> bool:
    """Bit by bit, through nested dictionaries."""
    if first.keys() != second.keys():
        return False
    for key, value in first.items():
        other = second[key]
        if isinstance(value, dict):
            equal = same(value, other)
        elif isinstance(value, torch.Tensor):
            equal = torch.equal(value, other)
        else:
            equal = value == other
        if not equal:
            return False
    return True


def test_loss_is_the_sum_over_points_and_mean_over_hands():
    network, batch = fresh().eval(), ball(torch.Generator().manual_seed(0))
    losses = occupancy_loss(network, batch)
    p = network.probability(batch.points, batch.joints)
    log_likelihood = torch.where(batch.occupied, p, 1 - p).log()
    torch.testing.assert_close(losses.total, -log_likelihood.sum() / 4)
    assert float(losses.divergence.detach()) == 0


def test_divergence_is_added():
    network, batch = (
        fresh(OccupancySettings(6, 5, 7, latent=3)).eval(),
        ball(torch.Generator().manual_seed(0)),
    )
    losses = occupancy_loss(network, batch, torch.Generator().manual_seed(1))
    condition = network.condition(batch.joints)
    posterior = network.posterior(batch.points, batch.occupied.float(), condition)
    torch.testing.assert_close(losses.divergence, kl_divergence(posterior).mean())
    torch.testing.assert_close(losses.total, losses.cross_entropy + losses.divergence)
    assert float(losses.divergence.detach()) > 0


@pytest.mark.parametrize("latent", [0, 2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_interrupted_run_ends_where_the_other_does(latent, precision):
    network = OccupancySettings(6, 5, 7, latent=latent)
    settings = TrainingSettings(6, 1e-3, "cosine", precision)
    whole = train_occupancy(fresh(network), ball, settings, seed=3)

    saved: dict[int, dict] = {}

    def keep(step, losses, state):
        if step == 4:  # as if the process was killed in the step after the checkpoint
            saved[step] = {"copy": copy.deepcopy(state())}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_occupancy(fresh(network), ball, settings, seed=3, report=keep)
    torch.manual_seed(99)
    resumed = train_occupancy(OccupancyNetwork(network), ball, settings, seed=3, state=saved[4]["copy"])
    assert resumed["step"] == 6
    assert same(resumed, whole)


def test_seeds_differ():
    settings = TrainingSettings(2, 1e-3)
    first, second = (train_occupancy(fresh(), ball, settings, seed=seed) for seed in (0, 1))
    assert not same(first["occupancy"]["network"], second["occupancy"]["network"])


def test_a_ball_is_learnt():
    entropies = []
    network = fresh(OccupancySettings(8, 8, 16))
    settings = TrainingSettings(150, 1e-2, "cosine")
    train_occupancy(
        network,
        ball,
        settings,
        seed=0,
        report=lambda step, losses, state: entropies.append(losses.cross_entropy),
    )
    assert entropies[0] > 0.9 * 40 * math.log(2) / 2
    batch = ball(torch.Generator().manual_seed(10**6))
    predicted = network.eval().probability(batch.points, batch.joints) > 0.5
    assert (predicted == batch.occupied).float().mean() > 0.93


def test_learning_rates():
    constant, cosine = TrainingSettings(100, 2e-3), TrainingSettings(100, 2e-3, "cosine")
    assert {constant.rate(step) for step in range(100)} == {2e-3}
    assert cosine.rate(0) == pytest.approx(1e-3, rel=1e-3)  # first of two steps of the rise
    assert cosine.rate(49) == pytest.approx(0.5 * (cosine.rate(2) + cosine.rate(96)), rel=0.02)
    assert cosine.rate(99) < 1e-6
    rates = [cosine.rate(step) for step in range(2, 100)]
    assert rates == sorted(rates, reverse=True)


def test_a_loss_that_is_not_finite_stops_the_run():
    def broken(generator):
        batch = ball(generator)
        batch.points[0, 0] = torch.nan
        return batch

    with pytest.raises(FloatingPointError, match="the loss of step 0 is nan"):
        train_occupancy(fresh(), broken, TrainingSettings(3), seed=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "must be positive, not 0 and"),
        ({"steps": 5, "learning_rate": -1.0}, "must be positive, not 5 and -1.0"),
        ({"steps": 5, "schedule": "linear"}, "schedule must be one of constant, cosine, not 'linear'"),
        ({"steps": 5, "precision": "half"}, "precision must be one of float32, bfloat16, not 'half'"),
    ],
)
def test_bad_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**wrong)

"""Baseline and losses on equal terms; selection and measurement by cases small enough to know the answer."""

import pytest
import torch
from torch import nn

from hands_lib.hand.kinematics import forward_kinematics, mirror, random_pose
from hands_lib.methods.intersections import estimator_comparison
from hands_lib.methods.intersections.estimator_comparison import (
    NO_LOSS,
    TREND,
    EstimatorTask,
    best_loss,
    decreases,
    half_mirrored,
    measured,
    mirrored_keypoints,
    train_from_one_baseline,
    trend,
)
from hands_lib.methods.intersections.estimator_training import (
    EstimatorSettings,
    IntersectionSettings,
    PairBatch,
    predict,
)
from hands_lib.methods.intersections.estimators import (
    PairEstimate,
    RefineNetwork,
    centred,
    mirrored_pair,
    normalised_keypoints,
)
from hands_lib.worlds.pair_sets import seen_pairs


def pairs(num, seed=0):
    generator = torch.Generator().manual_seed(seed)
    right = forward_kinematics(random_pose(num, generator, extent=0.3)).joints
    left = mirror(forward_kinematics(random_pose(num, generator, extent=0.3)).joints)
    return centred(torch.stack([right, left], dim=1))


class BallOccupancy(nn.Module):
    """Inside means: within 3 cm of the conditioning hand's palm."""

    def condition(self, joints):
        return joints[:, [0, 5, 9, 13, 17]].mean(dim=1)

    def logits_of(self, points, owner, condition):
        return (0.03 - (points - condition[owner]).norm(dim=-1)) / 0.003

    def logits(self, points, condition):
        return (0.03 - (points - condition[:, None]).norm(dim=-1)) / 0.003


OCCUPANCY = BallOccupancy().eval()
TRUTH = pairs(24)


def small_task(seen=None):
    def make_batch(generator):
        rows = torch.randint(len(TRUTH), (8,), generator=generator)
        if seen is not None:
            seen.append(rows.tolist())
        return PairBatch(TRUTH[rows] + 0.01 * torch.randn(8, 2, 21, 3, generator=generator), TRUTH[rows])

    settings = EstimatorSettings(4, 1e-3)
    held = PairBatch(TRUTH, TRUTH)
    return EstimatorTask(lambda: RefineNetwork(16, 1), make_batch, held, held, settings, settings)


def train(losses, task=None, stages=None, seed=0):
    stages = {} if stages is None else stages
    return train_from_one_baseline(task or small_task(), losses, seed, stages, lambda _: None, OCCUPANCY)


LOSSES = [NO_LOSS, IntersectionSettings(5.0), IntersectionSettings(5.0, "dense", 1)]


def test_every_loss_gets_the_same_batches_from_the_same_weights():
    seen, stages = [], {}
    found = train(LOSSES, small_task(seen), stages)
    baseline, *further = (seen[start : start + 4] for start in range(0, 16, 4))
    assert further[0] == further[1] == further[2]
    assert further[0] != baseline
    assert list(found) == LOSSES
    weights = [network.layers[0].weight for network in found.values()]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], stages["baseline"]["layers.0.weight"])


def test_a_zero_weight_is_no_loss_bit_by_bit():
    again = IntersectionSettings(0.0, "dense", 1)
    found = train([NO_LOSS, again])
    for one, other in zip(found[NO_LOSS].parameters(), found[again].parameters(), strict=True):
        assert torch.equal(one, other)


def test_goes_on_after_what_is_done():
    stages = {}
    whole = train(LOSSES)
    train(LOSSES[:2], stages=stages)
    again = train(LOSSES, stages=stages)
    for loss in LOSSES:
        assert torch.equal(predict(whole[loss], TRUTH).joints, predict(again[loss], TRUTH).joints)


class Shifted(nn.Module):
    """Says the truth with the hands so far apart."""

    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def forward(self, joints):
        return PairEstimate(centred(joints + self.shift * torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])[:, None]))


def test_best_loss_has_fewest_intersections_at_around_the_baselines_error():
    small, middle, large = (IntersectionSettings(weight) for weight in (0.1, 1.0, 10.0))
    trained = {
        NO_LOSS: Shifted(0.010),
        small: Shifted(0.00995),
        middle: Shifted(0.01005),
        large: Shifted(0.05),
    }
    val = PairBatch(TRUTH, TRUTH)
    # farther apart is fewer inside; `large` errs five times as much and may not count
    best = best_loss([small, middle, large], trained, val, OCCUPANCY, tolerance=1.0)
    counted = {loss: _inside(trained[loss]) for loss in (small, middle, large)}
    assert counted[large] < counted[middle]
    assert best == min((small, middle), key=lambda loss: (counted[loss], trained[loss].shift))
    assert best_loss([small, middle, large], trained, val, OCCUPANCY, tolerance=1000.0) == large
    # nobody is allowed: the least error counts
    trained[NO_LOSS] = Shifted(0.001)
    assert best_loss([small, middle, large], trained, val, OCCUPANCY) == small


def _inside(network):
    said = network(TRUTH).joints
    return int(estimator_comparison.occupied_points(said, OCCUPANCY, "dense", both=True).sum())


# --- measurement ---------------------------------------------------------------------------------------


def test_measured_by_hand():
    apart = TRUTH + torch.tensor([[-0.3, 0, 0], [0.3, 0, 0]])[:, None]
    given = PairBatch(TRUTH, TRUTH)
    found, counts = measured(PairEstimate(TRUTH), given, OCCUPANCY)
    assert found["mpjpe"] == pytest.approx(0, abs=1e-3)
    assert found["intersections_ray_cast"] == float(counts.ray_cast.sum())
    assert found["intersections_ray_cast"] > 0
    far, _ = measured(PairEstimate(apart), given, OCCUPANCY)
    assert far["mpjpe"] == pytest.approx(300, rel=1e-4)
    assert far["mpjpe_wrist"] == pytest.approx(0, abs=1e-3)
    assert far["intersections_ray_cast"] == far["intersections_occupancy"] == 0
    quick, none = measured(PairEstimate(TRUTH), given, OCCUPANCY, ray_casting=False)
    assert none is None
    assert quick["intersections_occupancy"] == found["intersections_occupancy"]


def test_decreases():
    before, after = {"a": 200.0, "b": 0.0}, {"a": 150.0, "b": 3.0}
    assert decreases(before, after, ["a"]) == {"a": 25.0}
    assert decreases(before, after, ["a", "b"]) == {"a": 25.0}


def test_trend_of_counts_that_agree():
    occupied = torch.tensor([0, 0, 2, 4, 10, 20, 50, 100])
    found = trend(occupied, 7 * occupied)
    assert found["correlation_spearman"] == pytest.approx(1)
    assert found["correlation_pearson"] == pytest.approx(1)
    assert found["ray_cast_at_0_to_0"] == 0.0
    assert found["ray_cast_at_1_to_5"] == 21.0
    assert TREND[0] == (0, 0)
    assert all(low == high + 1 for (low, _), (_, high) in zip(TREND[1:], TREND[:-1], strict=True))


# --- augmentation --------------------------------------------------------------------------------------


def test_half_of_the_pairs_are_mirrored_with_their_inputs():
    truth = pairs(200)
    given = half_mirrored(PairBatch(truth, truth), mirrored_pair, torch.Generator().manual_seed(0))
    kept = (given.joints == truth).flatten(1).all(dim=1)
    assert 70 < int(kept.sum()) < 130
    assert torch.equal(given.joints[~kept], mirrored_pair(truth[~kept]))
    assert torch.equal(given.inputs, given.joints)


def test_mirrored_keypoints_are_those_of_the_mirrored_pair():
    """Reflecting hands and camera's view together: the same picture, mirrored."""
    joints, keypoints = seen_pairs(pairs(5), torch.Generator().manual_seed(0))
    mirrored = mirrored_pair(joints)
    seen = 1000 * mirrored[..., :2] / mirrored[..., 2:]
    torch.testing.assert_close(
        normalised_keypoints(mirrored_keypoints(keypoints)), normalised_keypoints(seen), atol=1e-4, rtol=0
    )

"""Ways to take hands apart: on pairs that a shift brings into each other, so that the answers are known."""

import pytest
import torch
from torch import nn

from hands_lib.hand.inverse_kinematics import bone_lengths_of
from hands_lib.hand.kinematics import forward_kinematics, mirror, rest_pose
from hands_lib.methods.intersections.estimators import PairEstimate, centred
from hands_lib.methods.intersections.repairs import (
    plain_penalty,
    pushed_by_a_penalty,
    repair_scores,
    said_in_place,
    thin_surfaces,
)
from hands_lib.methods.intersections.untangle_checks import exact_intersections, shared_volume


def pair_at(distance):
    """Two flat hands, one over the other, so far apart (metres)."""
    right = forward_kinematics(rest_pose(1)).joints
    return torch.stack([right, mirror(right) + torch.tensor([0.0, 0.0, distance])], dim=1)


NEAR, FAR = pair_at(0.018), pair_at(0.2)


def test_a_surface_fitted_to_a_hands_joints_is_that_hands_surface():
    surfaces = thin_surfaces(FAR)
    assert surfaces.shape == (1, 2, 307, 3)
    moved = thin_surfaces(FAR + torch.tensor([0.1, 0.0, 0.0]))
    # each hand in its own world: the left one's x is reflected
    torch.testing.assert_close(moved[:, 0], surfaces[:, 0] + torch.tensor([0.1, 0, 0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[:, 1], surfaces[:, 1] - torch.tensor([0.1, 0, 0]), atol=1e-5, rtol=0)


def test_a_penalty_lowers_the_shared_volume_and_keeps_bones():
    before = shared_volume(thin_surfaces(NEAR))
    assert before > 0
    after = plain_penalty(NEAR, 30)
    assert shared_volume(thin_surfaces(after)) < 0.1 * before
    lengths = [bone_lengths_of(joints) for joints in (after, NEAR)]
    torch.testing.assert_close(*lengths, atol=1e-5, rtol=0)


def test_pairs_that_do_not_intersect_stay_to_the_last_bit():
    both = torch.cat([FAR, NEAR])
    after = pushed_by_a_penalty(both, 2)
    assert torch.equal(after[0], both[0])
    assert not torch.equal(after[1], both[1])


class Same(nn.Module):
    """Says what it is given, about the middle of the wrists as every estimator does."""

    def forward(self, joints):
        return PairEstimate(centred(joints))


def test_what_a_network_says_stands_where_the_estimate_stood():
    moved = FAR + torch.tensor([0.3, -0.2, 1.0])
    torch.testing.assert_close(said_in_place(Same(), moved), moved, atol=1e-6, rtol=0)


def test_scores_of_known_repairs():
    truth = NEAR + torch.tensor([0.0, 0.0, 0.003])
    nothing_done = repair_scores(NEAR, NEAR, truth)
    assert nothing_done["volume_removed"] == nothing_done["mpjpe_change"] == 0
    assert nothing_done["max_displacement"] == 0
    assert nothing_done["mpjpe"] == pytest.approx(3, rel=1e-3)
    away = NEAR.clone()
    away[:, 1, :, 2] += 0.2
    apart = repair_scores(away, NEAR, truth)
    assert apart["volume_removed"] == 100
    assert apart["pairs_intersecting"] == 0
    assert apart["mean_displacement"] == pytest.approx(100, rel=1e-3)  # one hand of two, 200 mm
    assert apart["max_displacement"] == pytest.approx(200, rel=1e-3)
    assert nothing_done["pairs_intersecting"] == 100 * float(exact_intersections(thin_surfaces(NEAR)))


def test_nothing_to_repair_is_said():
    with pytest.raises(ValueError, match="none of 1 pairs shares volume"):
        repair_scores(FAR, FAR, FAR)

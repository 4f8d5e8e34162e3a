"""Tested points and what is detected, against loops and against hands whose place in each other is known."""

import pytest
import torch

from hands_lib.hand.kinematics import forward_kinematics, mirror, random_pose
from hands_lib.methods.intersections.detection import (
    asked_points,
    detected_by_network,
    detected_exactly,
    points_inside,
)
from hands_lib.methods.intersections.points import NUM_POINTS, hand_points, reflect


class Balls:
    """Inside means: nearer than 12 mm to a joint of the hand."""

    def condition(self, joints):
        return joints

    def logits_of(self, points, owner, condition):
        return 1000 * (0.012 - (points[:, None] - condition[owner]).norm(dim=-1).amin(dim=1))


def pairs(num=3):
    generator = torch.Generator().manual_seed(0)
    right, left = (forward_kinematics(random_pose(num, generator, extent=0.3)).joints for _ in range(2))
    return torch.stack([right, mirror(left)], dim=1)


PAIRS = pairs()
FAR = PAIRS + torch.tensor([[[0.0, 0, 0]], [[1.0, 0, 0]]])


@pytest.mark.parametrize("point_set", ["sparse", "dense", "mesh"])
def test_points_stand_where_the_hands_are(point_set):
    pair, num = PAIRS[0], NUM_POINTS[point_set]
    points, probability = asked_points(Balls(), pair, point_set, alpha=1)
    assert len(points) == len(probability) == 2 * num
    # in one world: those of the left hand first, then those of the right one
    left, right = reflect(hand_points(reflect(pair[1:]), point_set)), hand_points(pair[:1], point_set)
    torch.testing.assert_close(points, torch.cat([left[0], right[0]]), atol=1e-6, rtol=0)
    near = torch.cat(
        [
            (own[0][:, None] - other).norm(dim=-1).amin(dim=1) < 0.012
            for own, other in ((left, pair[0]), (right, pair[1]))
        ]
    )
    assert torch.equal(probability > 0.5, near)


def test_random_points_are_inside_and_reach_all_joints():
    joints = PAIRS[0, 0]
    found = points_inside(Balls(), joints, 50_000, torch.Generator().manual_seed(0))
    distance = (found[:, None] - joints).norm(dim=-1)
    assert float(distance.amin(dim=1).max()) < 0.012
    assert float(distance.amin(dim=0).max()) < 0.012  # every joint has a point of its own nearby
    assert len(points_inside(Balls(), joints, 50_000, torch.Generator().manual_seed(0), most=7)) == 7


@pytest.mark.parametrize("alpha", [0, 1])
def test_hands_far_apart_are_not_detected_and_a_hand_in_itself_is(alpha):
    same = torch.stack([PAIRS[:, 0], PAIRS[:, 0]], dim=1)
    for point_set in ("sparse", "mesh"):
        assert not detected_exactly(FAR, point_set, alpha).any()
        assert not detected_by_network(Balls(), FAR, point_set, alpha).any()
    # its joints lie inside its own surface; a reflected hand has the same joints
    assert detected_exactly(same, "sparse", 0).all()
    assert detected_by_network(Balls(), same, "sparse", 0).all()


def test_detection_is_pair_by_pair():
    same = torch.stack([PAIRS[:, 0], PAIRS[:, 0]], dim=1)
    mixed = torch.stack([FAR[0], same[1], FAR[2]])
    assert detected_exactly(mixed, "dense", 0).tolist() == [False, True, False]
    assert detected_by_network(Balls(), mixed, "dense", 0).tolist() == [False, True, False]


def test_more_points_detect_no_less():
    close = pairs(12)
    sparse, dense = (detected_exactly(close, points, 1) for points in ("sparse", "dense"))
    assert bool((dense | ~sparse).all())

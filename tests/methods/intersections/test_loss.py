"""Eq. 1 against a loop over its letters, and what its gradients do, with occupancies of known form.

`SoftBalls` stands in for a trained network where the answer must be known: the softened union of balls around
the 21 joints, symmetric under reflection. What a trained network adds is tested with one trained here.
"""

import inspect

import pytest
import torch
from torch import nn

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.rotations import random_rotations
from hands_lib.hand.kinematics import forward_kinematics, mirror, random_pose
from hands_lib.hand.surface import HandShape, hand_surface
from hands_lib.methods.intersections.loss import (
    NEGLIGIBLE,
    frozen,
    intersection_loss,
    loss_and_gradient,
    probabilities,
    query_points,
)
from hands_lib.methods.intersections.occupancy import OccupancyNetwork, OccupancySettings
from hands_lib.methods.intersections.points import (
    NUM_POINTS,
    POINT_SETS,
    hand_points,
    reflect,
    skeleton_of_joints,
)
from hands_lib.methods.intersections.sampling import SamplingSettings, training_batch


class SoftBalls:
    """sigmoid((radius - distance to the nearest joint) / softness), the minimum softened."""

    def __init__(self, radius=0.012, softness=0.0015):
        self.radius, self.softness = radius, softness

    def condition(self, joints):
        return joints

    def logits_of(self, points, owner, condition):
        distance = (points[:, None] - condition[owner]).norm(dim=-1)
        return (-distance / self.softness).logsumexp(dim=-1) + self.radius / self.softness


def some_pairs(num=6, seed=0, gap=0.02, dtype=torch.float64):
    """Palms that face each other, `gap` apart at the wrists: they overlap."""
    generator = torch.Generator().manual_seed(seed)
    joints = forward_kinematics(random_pose(2 * num, generator, extent=0.4, dtype=dtype)).joints
    right, left = joints[:num], mirror(joints[num:])
    left = left * joints.new_tensor([-1.0, 1.0, -1.0])  # half a turn about y
    left = left + joints.new_tensor([0.0, 0.005, -gap])
    turn = random_rotations(num, generator).to(dtype)
    return torch.stack([right, left], dim=1) @ turn[:, None].mT


@pytest.fixture(scope="module")
def trained():
    """A small network that was trained for seconds on the hands of `some_pairs`: it roughly knows them."""
    torch.manual_seed(0)
    pairs = some_pairs(24, dtype=torch.float32)
    joints = torch.cat([pairs[:, 0], reflect(pairs[:, 1])])
    mesh = hand_surface(skeleton_of_joints(joints), HandShape.thin(like=joints))
    sampling = SamplingSettings(num_points=200, rotate=False)
    batch = training_batch(joints, mesh, sampling, torch.Generator().manual_seed(0))
    network = OccupancyNetwork(OccupancySettings(16, 16, 32, joint_identity=True))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(60):
        logits = network.logits(batch.points, network.condition(batch.joints))
        error = nn.functional.binary_cross_entropy_with_logits(logits, batch.occupied.float())
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error < 0.5, "chance is 0.69"
    return frozen(network)


def equation_1(occupancy, pairs, point_set, alpha, kernel="squared"):
    """Letter by letter: a loop over pairs, and over the points of either hand."""
    result = []
    for right, left in pairs:
        points = {"right": hand_points(right[None], point_set)[0]}
        points["left"] = reflect(hand_points(reflect(left)[None], point_set)[0])
        terms = [(x, right) for x in points["left"]]
        terms += [(reflect(x), reflect(left)) for x in points["right"]] if alpha else []
        total = pairs.new_zeros(())
        for x, conditioning in terms:
            condition = occupancy.condition(conditioning[None])
            p = occupancy.logits_of(x[None], torch.zeros(1, dtype=torch.long), condition).sigmoid()[0]
            if kernel == "squared" or p > 0.5:
                total = total + p**2
        result.append(total)
    return torch.stack(result)


@pytest.mark.parametrize("kernel", ["squared", "truncated"])
@pytest.mark.parametrize("alpha", [0, 1])
@pytest.mark.parametrize("point_set", ["sparse", "dense", "mesh"])
@pytest.mark.parametrize("fast", [False, True])
def test_equation_1_against_a_loop(point_set, alpha, kernel, fast):
    pairs = some_pairs(2)
    occupancy = SoftBalls()
    found = intersection_loss(occupancy, pairs, point_set, alpha, kernel, prefilter=fast, screening=fast)
    slow = equation_1(occupancy, pairs, point_set, alpha, kernel)
    assert (slow > 0.5).all()
    tolerance = 1e-4 if fast else 1e-9
    torch.testing.assert_close(found, slow, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("point_set", POINT_SETS)
def test_without_prefilter_every_point_is_asked(point_set):
    pairs = some_pairs(3)
    asked = query_points(pairs, point_set, alpha=1, prefilter=False)
    assert len(asked.points) == 3 * 2 * NUM_POINTS[point_set]
    assert torch.equal(asked.pair, torch.tensor([0, 1, 2, 0, 1, 2]))
    assert torch.equal(asked.joints[:3], pairs[:, 0])
    assert torch.equal(asked.joints[3:], reflect(pairs[:, 1]))


@pytest.mark.parametrize("point_set", ["sparse", "dense", "mesh"])
def test_reflection_swaps_the_two_terms(point_set):
    """The mirror image of a pair, whose left hand is the right one's image and the reverse."""
    pairs = some_pairs()
    image = mirror(pairs).flip(1)
    both = intersection_loss(SoftBalls(), pairs, point_set, alpha=1)
    torch.testing.assert_close(intersection_loss(SoftBalls(), image, point_set, alpha=1), both)
    single = intersection_loss(SoftBalls(), pairs, point_set)
    torch.testing.assert_close(intersection_loss(SoftBalls(), image, point_set) + single, both)
    assert (both > single).any()


def test_joints_inside_the_same_balls_count_one_each():
    """Both hands in the same place: every joint has probability of nearly one."""
    right = forward_kinematics(random_pose(1, torch.Generator().manual_seed(0), extent=0.1)).joints
    pairs = torch.stack([right, right], dim=1)
    loss = intersection_loss(SoftBalls(radius=0.02), pairs)
    torch.testing.assert_close(loss, torch.tensor([21.0]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("alpha", [0, 1])
@pytest.mark.parametrize("point_set", POINT_SETS)
def test_gradient_pushes_the_hands_apart(point_set, alpha):
    """Moving the left hand along minus its gradient, and the right one along its own, lowers the loss; and
    what moves both hands together changes nothing, so the two gradients are opposite in sum."""
    pairs = some_pairs().requires_grad_()
    before = intersection_loss(SoftBalls(), pairs, point_set, alpha)
    (gradient,) = torch.autograd.grad(before.sum(), pairs)
    assert (gradient.flatten(2).norm(dim=2) > 0).all()
    torch.testing.assert_close(
        gradient.sum(dim=(1, 2)), torch.zeros(6, 3, dtype=pairs.dtype), atol=2e-2, rtol=0
    )
    unit = gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    for hand in (0, 1):
        moved = pairs.detach().clone()
        moved[:, hand] -= 1e-4 * unit[:, hand]
        assert (intersection_loss(SoftBalls(), moved, point_set, alpha) < before).all()


def test_two_overlapping_balls_separate_along_their_centres():
    """All joints of a hand near one point: the push is along the line between the hands."""
    cluster = 1e-4 * torch.randn(21, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    offset = torch.tensor([0.004, 0.008, -0.004], dtype=torch.float64)
    pairs = torch.stack([cluster, cluster + offset])[None].requires_grad_()
    loss = intersection_loss(SoftBalls(), pairs, prefilter=False)
    (gradient,) = torch.autograd.grad(loss.sum(), pairs)
    right, left = (-gradient[0, hand].sum(dim=0) for hand in (0, 1))
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(left, offset, dim=0) > 0.99
    assert cosine(right, -offset, dim=0) > 0.99


def test_gradient_against_finite_differences():
    pairs = some_pairs(1)

    def loss(values):
        return intersection_loss(SoftBalls(softness=0.004), values, "dense", alpha=1, screening=False)

    assert torch.autograd.gradcheck(loss, pairs.requires_grad_(), eps=1e-7, atol=1e-3, rtol=1e-3)


def test_order_of_pairs_does_not_matter(trained):
    pairs = some_pairs(dtype=torch.float32)
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(3))
    loss = intersection_loss(trained, pairs, "dense", alpha=1)
    torch.testing.assert_close(intersection_loss(trained, pairs[order], "dense", alpha=1), loss[order])


@pytest.mark.parametrize("point_set", ["sparse", "dense", "mesh"])
def test_prefilter_and_screening_change_nothing_for_a_known_occupancy(point_set):
    pairs = some_pairs(8)
    plain, plain_gradient = loss_and_gradient(
        SoftBalls(), pairs, point_set, 1, prefilter=False, screening=False
    )
    fast, fast_gradient = loss_and_gradient(SoftBalls(), pairs, point_set, 1)
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
    assert (fast_gradient - plain_gradient).norm() < 5e-3 * plain_gradient.norm()


@pytest.mark.parametrize("point_set", ["sparse", "dense", "mesh"])
def test_screening_changes_nothing_for_a_trained_network(trained, point_set):
    pairs = some_pairs(8, dtype=torch.float32)
    plain, plain_gradient = loss_and_gradient(trained, pairs, point_set, 1, screening=False)
    fast, fast_gradient = loss_and_gradient(trained, pairs, point_set, 1)
    torch.testing.assert_close(fast, plain, atol=2e-3, rtol=1e-3)
    assert (fast_gradient - plain_gradient).norm() < 5e-3 * plain_gradient.norm()


@pytest.mark.parametrize("point_set", POINT_SETS)
def test_prefilter_keeps_every_point_inside_the_other_hand(point_set):
    """By the exact surface of the hand, and of the points that it drops none is nearer than 3 mm."""
    pairs = some_pairs(24, dtype=torch.float32)
    every = query_points(pairs, point_set, prefilter=False)
    kept = query_points(pairs, point_set)
    asked = torch.zeros(len(pairs), NUM_POINTS[point_set], dtype=torch.bool)
    asked[kept.pair[kept.owner], kept.number] = True
    mesh = hand_surface(skeleton_of_joints(pairs[:, 0]), HandShape.thin(like=pairs))
    distance = signed_distance(every.points.view(len(pairs), -1, 3), mesh).distance
    assert (distance[~asked] > 0.003).all()
    assert 0 < asked.float().mean() < 1


def test_hands_far_apart_have_no_loss_and_a_zero_gradient(trained):
    pairs = some_pairs(3, gap=1.0, dtype=torch.float32).requires_grad_()
    loss = intersection_loss(trained, pairs, "mesh", alpha=1)
    assert torch.equal(loss, torch.zeros(3))
    assert torch.equal(torch.autograd.grad(loss.sum(), pairs)[0], torch.zeros_like(pairs))
    assert len(query_points(pairs, "mesh", alpha=1).joints) == 0


def test_no_pair_at_all(trained):
    assert intersection_loss(trained, torch.zeros(0, 2, 21, 3), "mesh", alpha=1).shape == (0,)


def test_skeletons_give_the_surface_and_take_the_gradient(trained):
    generator = torch.Generator().manual_seed(5)
    pose = random_pose(8, generator, extent=0.3)
    angles = pose.joint_angles.requires_grad_()
    right = forward_kinematics(pose)
    own = type(right)(*(field.unflatten(0, (4, 2)) for field in vars(right).values()))
    pairs = torch.stack([own.joints[:, 0], mirror(own.joints[:, 1])], dim=1)
    loss = intersection_loss(trained, pairs, "mesh", skeletons=own)
    assert torch.autograd.grad(loss.sum(), angles)[0].abs().sum() > 0
    with pytest.raises(ValueError, match="skeletons are right hands, the left one reflected"):
        intersection_loss(trained, own.joints, "mesh", skeletons=own)


def test_probabilities_are_those_of_the_network(trained):
    pairs = some_pairs(2, dtype=torch.float32)
    asked = query_points(pairs, "dense", prefilter=False)
    expected = trained.probability(hand_points(pairs[:, 1], "dense"), pairs[:, 0])
    torch.testing.assert_close(probabilities(trained, asked).view(2, -1), expected)


def test_truncated_leaves_out_all_up_to_one_half():
    pairs = some_pairs(8)
    p = probabilities(SoftBalls(), asked := query_points(pairs, "dense", prefilter=False))
    expected = torch.zeros(8, dtype=p.dtype).index_add(0, asked.owner, p.square() * (p > 0.5))
    torch.testing.assert_close(intersection_loss(SoftBalls(), pairs, "dense", kernel="truncated"), expected)
    assert (p[p <= 0.5] > NEGLIGIBLE).any()


def test_bad_input_is_named(trained):
    pairs = some_pairs(2, dtype=torch.float32)
    with pytest.raises(ValueError, match="unknown point set 'all'; known are sparse, dense, mesh"):
        intersection_loss(trained, pairs, "all")
    with pytest.raises(ValueError, match="unknown kernel 'cubic'; known are squared, truncated"):
        intersection_loss(trained, pairs, kernel="cubic")
    with pytest.raises(ValueError, match=r"alpha is 0 \(one hand\) or 1 \(both hands\), not 2"):
        intersection_loss(trained, pairs, alpha=2)
    with pytest.raises(ValueError, match=r"shape \(pair, 2, 21, 3\), but have \(2, 2, 20, 3\)"):
        inspect.unwrap(query_points)(pairs[:, :, 1:])
    pairs[1, 0, 3, 2] = torch.nan
    with pytest.raises(ValueError, match="joints of 1 pairs are not finite, the first is pair 1"):
        intersection_loss(trained, pairs)


def test_network_must_be_frozen_and_in_evaluation_mode():
    network = OccupancyNetwork(OccupancySettings(8, 8, 8))
    pairs = some_pairs(1, dtype=torch.float32)
    with pytest.raises(ValueError, match="in training mode"):
        intersection_loss(network, pairs)
    with pytest.raises(ValueError, match="parameters that the loss would train"):
        intersection_loss(network.eval(), pairs)
    assert frozen(network) is network
    intersection_loss(network, pairs)


def test_loss_and_gradient_of_every_pair_by_itself(trained):
    pairs = some_pairs(4, dtype=torch.float32)
    loss, gradient = loss_and_gradient(trained, pairs, "dense", alpha=1)
    assert torch.equal(loss, intersection_loss(trained, pairs, "dense", alpha=1).detach())
    assert gradient.abs().amax(dim=(1, 2, 3)).gt(0).all()
    for n in range(4):
        _, alone = loss_and_gradient(trained, pairs[[n]], "dense", alpha=1)
        torch.testing.assert_close(alone[0], gradient[n], rtol=1e-3, atol=1e-3 * float(gradient.abs().max()))
    assert not pairs.requires_grad

"""What estimators learn from: sizes of errors, what a batch depends on, and who is given which pairs."""

from functools import partial

import pytest
import torch

from hands_lib.hand.kinematics import random_pose
from hands_lib.hand.pairs import pair_joints
from hands_lib.methods.intersections.estimator_tasks import (
    Budget,
    given_task,
    image_task,
    stand_in_task,
    uplift_task,
)
from hands_lib.methods.intersections.estimator_training import EstimatorSettings, PairBatch
from hands_lib.methods.intersections.estimators import RefineNetwork, centred
from hands_lib.worlds.estimates import perturb
from hands_lib.worlds.pair_sets import seen_pairs

BUDGET = Budget(40, EstimatorSettings(2), EstimatorSettings(1))


def estimate(mpjpe, root_aligned=True):
    return partial(perturb, mpjpe=mpjpe, root_aligned=root_aligned)


def network():
    return RefineNetwork(8, 1)


POSES = tuple(
    random_pose(24, torch.Generator().manual_seed(seed), extent=0.2)[torch.arange(24).view(12, 2)]
    for seed in range(3)
)
"""Of both hands of twelve pairs, three times; where the hands are does not matter here."""


def distances(one, other):
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


def shape_of(joints):
    """Distances between all joints of a pair: a mirror keeps them."""
    flat = joints.flatten(1, 2)
    return distances(flat, flat)


def test_a_stand_in_has_the_error_that_was_asked_for():
    task = stand_in_task(network, POSES, estimate(0.012, False), BUDGET, seed=0)
    for given, pose in ((task.val, POSES[1]), (task.test, POSES[2])):
        assert torch.equal(given.joints, centred(pair_joints(pose)))
        # centred once for both hands: the errors of the two places are shared out, not more
        error = (given.inputs - given.joints).norm(dim=-1).mean()
        assert 0.004 < error < 0.02
    aligned = stand_in_task(network, POSES, estimate(0.012), BUDGET, seed=0).test
    about_wrist = [joints - joints[:, :, :1] for joints in aligned]
    sizes = (about_wrist[0] - about_wrist[1]).norm(dim=-1).mean(dim=-1)
    torch.testing.assert_close(sizes, torch.full_like(sizes, 0.012), rtol=0.02, atol=0)


def test_a_batch_is_a_function_of_its_generator_and_half_of_it_is_mirrored():
    task = stand_in_task(network, POSES, estimate(0.012), BUDGET, seed=0)
    one, again, other = (task.make_batch(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.inputs, again.inputs)
    assert not torch.equal(one.inputs, other.inputs)
    truth = centred(pair_joints(POSES[0]))
    kept = distances(one.joints.flatten(1), truth.flatten(1)).amin(dim=1) < 1e-6
    assert 5 < int(kept.sum()) < 35
    # exchanged hands: compare shapes with those of all pairs, in both orders
    shapes = torch.cat([shape_of(truth), shape_of(truth.flip(1))]).flatten(1)
    nearest = distances(shape_of(one.joints).flatten(1), shapes).amin(dim=1)
    assert float(nearest.max()) < 1e-3


def test_given_estimates_are_shared_out_in_their_order():
    generator = torch.Generator().manual_seed(0)
    truth = centred(torch.randn(20, 2, 21, 3, generator=generator, dtype=torch.float64))
    estimates = centred(truth + 0.01)
    task = given_task(network, estimates, truth, BUDGET)
    assert torch.equal(task.val.joints, truth[14:16].float())
    assert torch.equal(task.test.joints, truth[16:].float())
    batch = task.make_batch(torch.Generator().manual_seed(0))
    shapes = torch.cat([shape_of(truth[:14]), shape_of(truth[:14].flip(1))]).float().flatten(1)
    assert float(distances(shape_of(batch.joints).flatten(1), shapes).amin(dim=1).max()) < 1e-3
    with pytest.raises(ValueError, match="2 pairs are too few"):
        given_task(network, estimates[:2], truth[:2], BUDGET)


def test_pictures_are_mirrored_with_their_joints():
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (6, 3, 8, 8), generator=generator, dtype=torch.uint8)
    truth = centred(torch.randn(6, 2, 21, 3, generator=generator))
    seen = tuple(PairBatch(image[n : n + 2], truth[n : n + 2]) for n in (0, 2, 4))
    task = image_task(network, seen, BUDGET)
    assert torch.equal(task.test.inputs, image[4:] / 255)
    batch = task.make_batch(torch.Generator().manual_seed(1))
    for picture, joints in zip(*batch, strict=True):
        own = [torch.equal(picture, image[n] / 255) for n in (0, 1)]
        turned = [torch.equal(picture, image[n].flip(-1) / 255) for n in (0, 1)]
        assert any(own) or any(turned)
        true = truth[(own if any(own) else turned).index(True)]
        expected = true if any(own) else true.flip(0) * torch.tensor([-1.0, 1, 1])
        torch.testing.assert_close(joints, expected)


def test_a_lifted_pair_is_learned_with_errors_and_judged_without():
    task = uplift_task(network, POSES, estimate(0.004), seen_pairs, 0.0, BUDGET, seed=0)
    # judged: the true shape of every pair, from wherever its camera stands
    truth = shape_of(pair_joints(POSES[2]))
    torch.testing.assert_close(shape_of(task.test.joints), truth, atol=1e-4, rtol=0)
    batch = task.make_batch(torch.Generator().manual_seed(0))
    exact = shape_of(pair_joints(POSES[0]))
    shapes = torch.cat([exact, shape_of(pair_joints(POSES[0]).flip(1))]).flatten(1)
    assert float(distances(shape_of(batch.joints).flatten(1), shapes).amin(dim=1).min()) > 1e-2


def test_what_is_spoilt_is_what_is_learned_alone():
    nothing = torch.zeros_like
    task = uplift_task(
        network, POSES, estimate(1e-4), seen_pairs, 0.0, BUDGET, 0, lambda joints, _: nothing(joints)
    )
    batch = task.make_batch(torch.Generator().manual_seed(0))
    assert float(shape_of(batch.joints).max()) < 1e-5
    assert float(shape_of(task.test.joints).amax()) > 0.05
    assert float(batch.inputs.flatten(1).std(dim=1).min()) > 1  # its cameras see the true hands, in pixels

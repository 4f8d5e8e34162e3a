"""Estimated grasps: errors of the size that was asked for, contact as exact kernels give it, and what
settling makes of them."""

import pytest
import torch

from hands_lib.geometry.limited_distance import counted_vertices
from hands_lib.hand.surface import surface_topology
from hands_lib.methods.hand_object.settling import SettlingSettings, settle, settle_energy
from hands_lib.worlds.estimates import mean_joint_error
from hands_lib.worlds.grasp_estimates import contact_of, estimated_scene, scene_of, scene_scores
from hands_lib.worlds.grasps import DEEPEST, grasp_contact, sample_grasps
from hands_lib.worlds.objects import object_shape


@pytest.fixture(scope="module")
def shapes():
    return [object_shape(name) for name in ("can_1", "box_3", "banana_1")]


@pytest.fixture(scope="module")
def grasps(shapes, people):
    return sample_grasps(9, shapes, people, torch.Generator().manual_seed(3))[0]


@pytest.fixture(scope="module")
def truth(grasps, shapes, people):
    return scene_of(grasps, shapes, people)


def _scores(truth, pose, hand, held):
    return scene_scores(
        pose,
        contact_of(hand, held, truth.faces),
        truth,
        contact_of(truth.hand, truth.object, truth.faces),
    )


def test_contact_between_padded_surfaces_is_that_of_each_pair(grasps, truth, shapes):
    found = contact_of(truth.hand, truth.object, truth.faces)
    for n in range(len(truth.hand)):
        shape, pose = shapes[int(grasps.shape[n])], grasps.world_from_object[n : n + 1]
        expected = grasp_contact(truth.hand[n : n + 1], shape, pose[:, :3, :3], pose[:, :3, 3])
        near = expected.hand[0] < 0.049
        torch.testing.assert_close(found.hand[n][near], expected.hand[0][near], atol=2e-6, rtol=0)
        own = found.object[n][: len(shape.mesh.vertices)]
        assert (own[expected.object[0] > 0.051]).isinf().all()
        assert found.object[n][len(shape.mesh.vertices) :].isinf().all()


def test_truth_scores_as_truth(truth):
    scores = _scores(truth, truth.pose, truth.hand, truth.object)
    assert scores["joint_error"] == 0
    assert scores["contact_f1"] == 100
    assert scores["deeper"] == 0
    assert scores["touching"] == 100
    assert scores["penetration"] <= 1000 * DEEPEST + 1e-3


def test_estimates_have_the_error_that_was_asked_for(truth):
    estimate = estimated_scene(truth, 0.012, torch.Generator().manual_seed(1))
    error = mean_joint_error(estimate.pose, truth.pose)
    torch.testing.assert_close(error, torch.full_like(error, 0.012), atol=1e-5, rtol=0)
    # the object moved rigidly, to where its pose says
    rotation = estimate.world_from_object[:, :3, :3] @ truth.world_from_object[:, :3, :3].mT
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(len(rotation)))
    middle, new = (scene.world_from_object[:, None, :3, 3] for scene in (truth, estimate))
    moved = (truth.object - middle) @ rotation.mT + new
    torch.testing.assert_close(moved, estimate.object, atol=1e-6, rtol=0)


def test_settling_takes_penetration_away_and_finds_contact(truth):
    estimate = estimated_scene(truth, 0.009, torch.Generator().manual_seed(2))
    before = _scores(truth, estimate.pose, estimate.hand, estimate.object)
    settled = settle(estimate.pose, estimate.shape, estimate.object, estimate.faces)
    after = _scores(truth, settled.pose, settled.hand, settled.object)
    assert after["penetration"] < 0.5 * before["penetration"]
    assert after["contact_f1"] > before["contact_f1"]
    # the object moved rigidly
    pose, its = settled.moved(estimate.world_from_object), estimate.world_from_object
    rest = (estimate.object - its[:, None, :3, 3]) @ its[:, :3, :3]
    again = rest @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
    torch.testing.assert_close(again, settled.object, atol=1e-5, rtol=0)
    counted = counted_vertices(estimate.object, estimate.faces)
    for n, number in enumerate(counted.tolist()):
        own = settled.object[n, :number].double(), estimate.object[n, :number].double()
        torch.testing.assert_close(*(torch.pdist(points[:50]) for points in own), atol=1e-6, rtol=0)


def test_no_steps_change_nothing_and_pairs_do_not_know_each_other(truth):
    estimate = estimated_scene(truth, 0.009, torch.Generator().manual_seed(2))
    still = settle(estimate.pose, estimate.shape, estimate.object, estimate.faces, SettlingSettings(steps=0))
    torch.testing.assert_close(still.hand, estimate.hand, atol=1e-6, rtol=0)
    torch.testing.assert_close(still.object, estimate.object, atol=1e-6, rtol=0)
    few = SettlingSettings(steps=5)
    both = settle(estimate.pose, estimate.shape, estimate.object, estimate.faces, few)
    one = estimate[3:4]
    alone = settle(one.pose, one.shape, one.object, one.faces, few)
    torch.testing.assert_close(both.hand[3:4], alone.hand, atol=1e-5, rtol=0)


def test_energy_is_zero_where_surfaces_are_apart(truth):
    topology = surface_topology("refined")
    energy = settle_energy(
        truth.hand, truth.object + 1.0, topology.faces, truth.faces, topology.part, SettlingSettings()
    )
    assert torch.equal(energy, torch.zeros(len(energy)))


def test_settings_are_checked():
    with pytest.raises(ValueError, match="not negative"):
        SettlingSettings(contact=-1.0)

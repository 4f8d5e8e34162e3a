"""Point sets against their definitions, and derivatives of the surface against finite motions."""

import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.geometry.inside import inside
from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.inverse_kinematics import inverse_kinematics
from hands_lib.hand.kinematics import forward_kinematics, mirror, random_pose
from hands_lib.hand.skeleton import EDGES
from hands_lib.hand.surface import HandShape, hand_surface
from hands_lib.methods.intersections.points import (
    NUM_POINTS,
    POINT_SETS,
    dense_points,
    hand_points,
    reflect,
    skeleton_of_joints,
    surface_points,
)


def skeletons(num: int, seed: int = 0, dtype=torch.float64):
    return forward_kinematics(random_pose(num, torch.Generator().manual_seed(seed), extent=0.8, dtype=dtype))


@pytest.mark.parametrize("point_set", POINT_SETS)
@settings(max_examples=10, deadline=None)
@given(num=st.integers(1, 4))
def test_as_many_points_as_the_paper_has(point_set, num):
    assert hand_points(skeletons(num).joints, point_set).shape == (num, NUM_POINTS[point_set], 3)


def test_sparse_is_the_joints_themselves():
    joints = skeletons(3).joints
    assert torch.equal(hand_points(joints, "sparse"), joints)


def test_dense_by_an_obvious_loop():
    joints = skeletons(2).joints
    slow = [joints]
    for parent, child in EDGES:
        for j in range(1, 6):
            between = (1 - j / 6) * joints[:, parent] + j / 6 * joints[:, child]
            slow.append(between[:, None])
    torch.testing.assert_close(dense_points(joints), torch.cat(slow, dim=1))


def test_mesh_is_the_joints_and_the_thin_surface():
    skeleton = skeletons(2)
    vertices = hand_surface(skeleton, HandShape.thin(like=skeleton.joints)).vertices
    assert torch.equal(
        hand_points(skeleton.joints, "mesh", skeleton), torch.cat([skeleton.joints, vertices], dim=1)
    )
    assert torch.equal(hand_points(skeleton.joints, "mesh without joints", skeleton), vertices)


def test_the_reflected_hand_has_the_reflected_points():
    joints = skeletons(2).joints
    assert torch.equal(reflect(joints)[..., 0], -joints[..., 0])
    assert torch.equal(reflect(joints)[..., 1:], joints[..., 1:])
    assert torch.equal(reflect(reflect(joints)), joints)
    torch.testing.assert_close(dense_points(mirror(joints)), mirror(dense_points(joints)))


def test_surface_of_joints_alone_is_that_of_the_fitted_pose():
    joints = skeletons(40).joints
    fitted = surface_points(forward_kinematics(inverse_kinematics(joints).pose))
    found = surface_points(skeleton_of_joints(joints, num_refinements=20))
    torch.testing.assert_close(found, fitted, atol=1e-6, rtol=0)


def test_surface_of_joints_alone_is_nearly_that_of_the_true_skeleton():
    """The turn of a straight finger about itself is not in its joints."""
    skeleton = skeletons(100)
    error = surface_points(skeleton_of_joints(skeleton.joints)) - surface_points(skeleton)
    assert error.norm(dim=-1).mean() < 0.7e-3


def test_surface_encloses_joints_that_no_hand_could_have():
    generator = torch.Generator().manual_seed(4)
    joints = skeletons(20, dtype=torch.float32).joints
    joints = joints + 0.003 * torch.randn(joints.shape, generator=generator)
    skeleton = skeleton_of_joints(joints)
    assert torch.equal(skeleton.joints, joints)
    along = skeleton.bone_rotations[..., 1].flatten(1, 2)
    bones = torch.stack([joints[:, child] - joints[:, parent] for parent, child in EDGES], dim=1)
    torch.testing.assert_close(along, torch.nn.functional.normalize(bones, dim=-1), atol=1e-5, rtol=0)
    turns = skeleton.bone_rotations
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand_as(turns), atol=1e-5, rtol=0)
    assert inside(joints[:, 1:], hand_surface(skeleton)).float().mean() > 0.95


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_derivative_of_a_rigid_motion_moves_the_whole_surface(axis):
    joints = skeletons(5, seed=axis).joints
    turn = torch.zeros(3, dtype=joints.dtype)
    turn[axis] = 1.0
    about = joints.mean(dim=1, keepdim=True)

    def moved(angle):
        rotation = axis_angle_to_matrix(angle * turn)
        return about + (joints - about) @ rotation.mT + angle * turn

    angle = torch.zeros((), dtype=joints.dtype)
    _, by_joints = torch.func.jvp(lambda a: moved(a), (angle,), (torch.ones_like(angle),))
    surface, change = torch.autograd.functional.jvp(
        lambda j: surface_points(skeleton_of_joints(j)), joints, by_joints
    )
    expected = torch.linalg.cross(turn.expand_as(surface), surface - about) + turn
    torch.testing.assert_close(change, expected, atol=1e-6, rtol=1e-6)


def test_derivative_agrees_with_small_steps_of_the_joints():
    """Along a digit's own motion; the twist that bending brings along is not part of the derivative."""
    joints = skeletons(3, seed=7).joints
    direction = torch.zeros_like(joints)
    direction[:, 8] = torch.tensor([0.0, 0.0, 1.0], dtype=joints.dtype)
    _, change = torch.autograd.functional.jvp(
        lambda j: surface_points(skeleton_of_joints(j)), joints, direction
    )
    step = 1e-5
    ahead, behind = (surface_points(skeleton_of_joints(joints + s * direction)) for s in (step, -step))
    numeric = (ahead - behind) / (2 * step)
    # The last bone's far end moves with its joint: the largest motion of all, and free of twist.
    furthest = change.norm(dim=-1).argmax(dim=1)
    rows = torch.arange(3)
    cosine = torch.nn.functional.cosine_similarity(change[rows, furthest], numeric[rows, furthest], dim=-1)
    assert cosine.min() > math.cos(0.2)


def test_gradients_reach_every_joint():
    joints = skeletons(2).joints.requires_grad_()
    (gradient,) = torch.autograd.grad(hand_points(joints, "mesh").square().sum(), joints)
    assert (gradient.norm(dim=-1) > 0).all()


def test_unknown_set_and_wrong_shape_are_named():
    joints = skeletons(1).joints
    with pytest.raises(ValueError, match="unknown point set 'medium'; known are sparse, dense, mesh"):
        hand_points(joints, "medium")
    with pytest.raises(ValueError, match=r"\(\.\.\., 21, 3\), but have \(1, 20, 3\)"):
        inspect.unwrap(hand_points)(joints[:, :20], "dense")

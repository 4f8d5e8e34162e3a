"""Pairs of hands: between one world and two, and what their surfaces say of each other."""

import pytest
import torch

from hands_lib.geometry.inside import inside
from hands_lib.geometry.meshes import check_closed
from hands_lib.hand.kinematics import forward_kinematics, mirror, random_pose, rest_pose
from hands_lib.hand.pairs import (
    clearance,
    intersecting,
    left_mirrored,
    meeting_parts,
    pair_faces,
    pair_joints,
    pair_meshes,
    pair_surfaces,
)
from hands_lib.hand.surface import hand_surface
from hands_lib.structures import HandPose


def poses(num: int) -> HandPose:
    """(num, 2), index 1 in the mirrored world."""
    drawn = random_pose(2 * num, torch.Generator().manual_seed(4))
    return drawn.map(lambda value: value.unflatten(0, (num, 2)))


def test_mirroring_the_left_hand_twice_is_nothing() -> None:
    points = torch.randn(3, 4, 2, 5, 3)
    once = left_mirrored(points)
    assert torch.equal(once[..., 0, :, :], points[..., 0, :, :])
    assert torch.equal(once[..., 1, :, 0], -points[..., 1, :, 0])
    assert torch.equal(left_mirrored(once), points)


@pytest.mark.parametrize("detail", ["plain", "refined"])
def test_a_pair_is_two_hands_one_by_one(detail) -> None:
    pose = poses(3)
    joints, vertices = pair_joints(pose), pair_surfaces(pose, detail=detail)
    for pair in range(3):
        right, left = (forward_kinematics(pose[pair, hand]) for hand in (0, 1))
        torch.testing.assert_close(joints[pair, 0], right.joints)
        torch.testing.assert_close(joints[pair, 1], mirror(left.joints))
        torch.testing.assert_close(vertices[pair, 1], mirror(hand_surface(left, detail=detail).vertices))


@pytest.mark.parametrize("detail", ["plain", "refined"])
def test_both_surfaces_are_closed_and_hold_their_joints(detail) -> None:
    pose = rest_pose(2)
    meshes = pair_meshes(pair_surfaces(pose[None], detail=detail), detail)
    joints = pair_joints(pose[None])
    for hand, mesh in enumerate(meshes):
        check_closed(mesh)
        assert inside(joints[:, hand], mesh).all()
        assert torch.equal(mesh.faces, pair_faces(detail)[hand])


def test_hands_meet_from_where_they_touch() -> None:
    """Two rest hands, the left one moved along x: once apart, they stay so, and the clearance agrees."""
    shifts = torch.linspace(-0.1, 0.1, 41)
    pose = rest_pose(2)[None].map(lambda value: value.expand(len(shifts), *value.shape[1:]))
    vertices = pair_surfaces(pose).clone()
    vertices[:, 1, :, 0] += shifts[:, None] + 0.02
    vertices[:, 1, :, 1] += 0.013
    meets = intersecting(vertices)
    assert 0 < meets.sum() < len(meets)
    deepest = clearance(vertices).flatten(1).amin(dim=1)
    assert meets[deepest < 0].all()
    assert not meets[deepest > 1e-3].any()
    assert torch.equal(meets, meeting_parts(vertices).flatten(1).any(dim=1))

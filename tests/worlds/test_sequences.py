import pytest
import torch

from hands_lib.hand.inverse_kinematics import bone_lengths_of
from hands_lib.hand.pairs import clearance, intersecting, pair_joints, pair_surfaces
from hands_lib.worlds.sequences import sample_sequence


@pytest.mark.parametrize("interaction", ["clasp", "pointing"])
def test_a_motion_is_smooth_comes_close_and_never_intersects(people, interaction):
    person = people[1]
    pose = sample_sequence(person, interaction, torch.Generator().manual_seed(2), seconds=1.5)
    joints = pair_joints(pose)
    assert joints.shape == (45, 2, 21, 3)
    vertices = pair_surfaces(pose, person.shape)
    assert not intersecting(vertices).any()
    nearest = clearance(vertices).flatten(1).amin(dim=1)
    assert nearest.min() < 0.01 < 0.03 < nearest[[0, -1]].min()
    speed = (joints[1:] - joints[:-1]).norm(dim=-1) * 30
    acceleration = (joints[2:] - 2 * joints[1:-1] + joints[:-2]).norm(dim=-1) * 900
    assert 0.05 < speed.max() < 3  # m/s, of a hand that does not hurry
    assert acceleration.max() < 40
    lengths = bone_lengths_of(joints)
    assert (lengths - lengths[0]).abs().max() < 1e-5


def test_unusable_requests_are_errors(people):
    with pytest.raises(ValueError, match="juggling.*praying"):
        sample_sequence(people[0], "juggling", torch.Generator())
    with pytest.raises(ValueError, match="two frames"):
        sample_sequence(people[0], "clasp", torch.Generator(), seconds=0.01)

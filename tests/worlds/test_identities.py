import torch

from hands_lib.hand.inverse_kinematics import bone_lengths_of
from hands_lib.hand.kinematics import rest_bone_lengths
from hands_lib.hand.pairs import pair_joints
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs


def test_a_person_does_not_depend_on_how_many_are_drawn():
    few, many = sample_identities(3, seed=1), sample_identities(9, seed=1)
    assert torch.equal(few.bone_lengths, many.bone_lengths[:3])
    assert torch.equal(few.skin, many.skin[:3])
    assert torch.equal(few.shape.palm_width, many.shape.palm_width[:3])
    assert not torch.equal(few.skin, sample_identities(3, seed=2).skin)


def test_people_differ_more_than_their_hands():
    lengths = sample_identities(40).bone_lengths
    between_hands = (lengths[:, 0] / lengths[:, 1] - 1).abs()
    assert 0 < between_hands.mean() < 0.02
    assert lengths[:, 0].std(dim=0).mean() / lengths.mean() > 0.05
    relative = lengths / rest_bone_lengths(lengths)
    assert 0.7 < relative.min() < relative.max() < 1.35


def test_sampled_hands_have_the_persons_size():
    people = sample_identities(2)
    pairs, _ = sample_pairs(2, people, torch.Generator().manual_seed(0), ("apart",))
    measured = bone_lengths_of(pair_joints(pairs.pose))
    torch.testing.assert_close(measured, people.bone_lengths[pairs.identity], rtol=1e-4, atol=1e-6)

import torch

from hands_lib.hand.inverse_kinematics import inverse_kinematics
from hands_lib.worlds.single_hands import hands_of_pairs


def test_any_number_of_right_hands_of_a_seeds_people():
    found = hands_of_pairs(5, seed=1)
    assert found.shape == (5, 21, 3)
    assert torch.equal(found, hands_of_pairs(5, seed=1))
    assert not torch.equal(found, hands_of_pairs(5, seed=2))
    # of one side: a hand's own pose fits its joints, a mirrored hand's would not
    assert float(inverse_kinematics(found.double()).residuals.max()) < 1e-5
    # the two hands of a person are of one build, up to a percent
    lengths = (found[:, 5] - found[:, 0]).norm(dim=-1)
    torch.testing.assert_close(lengths[0], lengths[1], rtol=0.05, atol=0)

import torch

from hands_lib.hand.kinematics import mirror
from hands_lib.worlds.estimated_pairs import estimated_pairs
from hands_lib.worlds.interactions import INTERACTIONS


def test_every_hand_has_the_error_and_the_seed_decides():
    found, again, other = (estimated_pairs(9, 0.012, seed) for seed in (4, 4, 5))
    error = (found.estimate - found.truth).norm(dim=-1).mean(dim=-1)
    torch.testing.assert_close(error, torch.full_like(error, 0.012), rtol=0.01, atol=0)
    assert sorted(found.interaction.tolist()) == list(range(len(INTERACTIONS)))
    assert torch.equal(found.estimate, again.estimate)
    assert not torch.equal(found.truth, other.truth)


def test_the_first_hand_is_a_right_one():
    """A right hand's thumb lies on the palm's side; a left hand's does in the mirror."""
    truth = estimated_pairs(9, 0.012, 0).truth
    hands = torch.stack([truth[:, 0], mirror(truth[:, 1])], dim=1)
    index, little, thumb = (hands[:, :, n] - hands[:, :, 0] for n in (5, 17, 1))
    side = (torch.linalg.cross(index, little) * thumb).sum(dim=-1).sign()
    assert torch.equal(side, side[:1, :1].expand_as(side))

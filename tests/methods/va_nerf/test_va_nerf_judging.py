import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st

from hands_lib.methods.va_nerf.discriminator import Discriminator
from hands_lib.methods.va_nerf.judging import (
    Asked,
    closest_match,
    critic_scores,
    judged,
    share_above,
    visibility_maps,
)
from hands_lib.methods.va_nerf.told import ToldDiscriminator, critic_of
from hands_lib.methods.va_nerf.training import TestPictures

VALUES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=8).map(torch.tensor)


def random_maps(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@drawn(VALUES, VALUES)
def test_share_above_counts_pairs(ours, theirs):
    wins = (ours[:, None] > theirs).double() + 0.5 * (ours[:, None] == theirs).double()
    assert abs(share_above(ours, theirs) - 100 * wins.mean().item()) < 1e-9
    assert abs(share_above(ours, theirs) + share_above(theirs, ours) - 100) < 1e-9


class Oracle(Discriminator):
    """Says that a pixel is visible as far as the picture is bright there."""

    def forward(self, image, target, dense, target_dense):
        return target.mean(dim=(1, 2, 3)), torch.logit(target[..., 0], eps=1e-6)


def test_critic_scores_of_a_critic_that_knows():
    """Hidden pixels are dark where rendered, bright where real; seen ones are brighter still."""
    seen = torch.zeros(2, 4, 4, dtype=torch.bool)
    foreground = seen.clone()
    seen[:, :2, :3], foreground[:, :, :3] = True, True
    real = torch.where(seen, 0.9, 0.8)[..., None].expand(-1, -1, -1, 3)
    rendered = torch.where(seen, 0.9, 0.2)[..., None].expand(-1, -1, -1, 3)
    found = TestPictures(rendered, real, foreground, seen)
    given = Asked(*(random_maps(2, 4, 4, 3, seed=n) for n in range(3)))
    numbers = critic_scores(Oracle(), given, found)
    assert numbers["map_seen_above_hidden"] == 100
    assert numbers["hidden_real_above_rendered"] == 100
    assert numbers["score_real_above_rendered"] == 100
    assert abs(numbers["mean_map_hidden"] - 20) < 1e-3
    assert critic_scores(Discriminator("binary"), given, found).keys() == {"score_real_above_rendered"}


def test_a_told_critic_is_told_by_the_pictures():
    torch.manual_seed(0)
    judge = ToldDiscriminator()
    foreground = torch.ones(1, 6, 6, dtype=torch.bool)
    given = Asked(*(random_maps(1, 6, 6, 3, seed=n) for n in range(3)))
    pictures = random_maps(2, 1, 6, 6, 3, seed=9)
    said = [
        judged(judge, given, TestPictures(*pictures, foreground, seen), rendered=True)[1]
        for seen in (foreground, ~foreground)
    ]
    assert (said[0] - said[1]).abs().max() > 1e-4
    assert judge.seen is None


def test_closest_match_finds_what_moved():
    """The target's map is the input's, moved by two pixels: found everywhere, but not within one pixel."""
    dense = random_maps(1, 9, 9, 3) + 0.1
    dense[:, :, 0] = 0
    target = dense.roll(2, dims=1)
    given = Asked(dense, dense, target)
    on_hand = (target != 0).any(dim=-1)
    assert closest_match(given)[on_hand].max() < 1e-3
    near = closest_match(given, reach=1)[on_hand]
    assert near.min() > 1e-2
    assert torch.allclose(closest_match(given, reach=8), closest_match(given))
    assert closest_match(Asked(dense, 0 * dense, target)).isinf().all()


def test_closest_match_within_reach_is_the_slow_search():
    given = Asked(*(random_maps(1, 5, 6, 3, seed=n) for n in range(3)))
    found = closest_match(given, reach=1)
    for row in range(5):
        for column in range(6):
            rows, columns = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
            apart = (given.dense[0, rows, columns] - given.target_dense[0, row, column]).norm(dim=-1)
            assert torch.isclose(found[0, row, column], apart.min(), atol=1e-3)


def test_maps_of_figure_7_end_at_the_hands():
    foreground = torch.zeros(1, 4, 4, dtype=torch.bool)
    foreground[:, :, :2] = True
    rendered, real = torch.full((1, 4, 4, 3), 0.3), torch.full((1, 4, 4, 3), 0.9)
    found = TestPictures(rendered, real, foreground, foreground)
    given = Asked(*(random_maps(1, 4, 4, 3, seed=n) for n in range(3)))
    maps = visibility_maps(Oracle(), given, found)
    assert torch.equal(maps["field"], rendered)
    for name, brightness in (("V of it", 0.3), ("V of real", 0.9)):
        torch.testing.assert_close(maps[name], brightness * foreground)
    with pytest.raises(ValueError, match="no map"):
        visibility_maps(Discriminator("binary"), given, found)


def test_critics_by_their_kind():
    assert type(critic_of("told")) is ToldDiscriminator
    assert [critic_of(kind).kind for kind in ("visibility", "binary")] == ["visibility", "binary"]

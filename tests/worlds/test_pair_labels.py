"""Labelled pictures: the same pictures as without labels, labels where the hands are, and what is hidden."""

import pytest
import torch

from hands_lib.hand.pairs import pair_joints
from hands_lib.worlds import pair_labels
from hands_lib.worlds.pair_labels import labelled_pictures
from hands_lib.worlds.pair_pictures import PictureSettings, pictured_pairs
from hands_lib.worlds.pair_sets import PairSetSettings, pair_set

SMALL = PairSetSettings(num_people=10, train=4, val=7, test=4)
HOW = PictureSettings(32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("cache")
    return root, labelled_pictures("val", SMALL, HOW, 8, root)


def test_pictures_and_joints_are_those_without_labels(made):
    root, labelled = made
    plain = pictured_pairs("val", SMALL, HOW, root)
    assert torch.equal(labelled.image, plain.image)
    joints = pair_joints(pair_set("val", SMALL, root).pose)
    seen = labelled.camera.transform(joints.flatten(1, 2)).unflatten(1, (2, 21))
    torch.testing.assert_close(seen, plain.joints, atol=1e-6, rtol=0)


def test_labels_lie_where_the_hands_are(made):
    """Around nearly every pixel of a hand, less than a finger's width away, is one of its joints."""
    root, labelled = made
    joints = pair_joints(pair_set("val", SMALL, root).pose)
    pixels = labelled.camera.project(joints.flatten(1, 2)).unflatten(1, (2, 21))
    assert labelled.hand.shape == (7, 8, 8)
    assert set(labelled.hand.unique().tolist()) == {0, 1, 2}
    near = []
    for pair, row, column in labelled.hand.nonzero().tolist():
        side = int(labelled.hand[pair, row, column]) - 1
        centre = torch.tensor([4.0 * column + 2, 4.0 * row + 2])
        near.append(torch.linalg.vector_norm(pixels[pair, side] - centre, dim=-1).amin() < 4)
    assert sum(near) > 0.9 * len(near)
    colour = labelled.correspondence.movedim(1, -1)
    assert (colour[labelled.hand == 0] == 0).all()
    assert colour[labelled.hand > 0].float().std() > 20


def test_hidden_is_a_share_and_some_hands_hide_others(made):
    _, labelled = made
    assert bool(((labelled.hidden >= 0) & (labelled.hidden < 1)).all())
    assert float(labelled.hidden.amax()) > 0.02
    assert float(labelled.hidden.amin()) < 0.02


def test_comes_from_the_cache_and_names_labels_that_do_not_fit(made, monkeypatch):
    root, labelled = made
    monkeypatch.setattr(pair_labels, "_labelled", lambda *_: pytest.fail("was in the cache"))
    assert torch.equal(labelled_pictures("val", SMALL, HOW, 8, root).hand, labelled.hand)
    with pytest.raises(ValueError, match="labels of 7 pixels a side do not divide pictures of 32"):
        labelled_pictures("val", SMALL, HOW, 7, root)

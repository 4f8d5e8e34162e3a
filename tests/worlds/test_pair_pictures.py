"""Pictures of pairs: what the cache keeps, and cameras that stand where they should."""

import pytest
import torch

from hands_lib.hand.pairs import pair_joints
from hands_lib.worlds import pair_pictures
from hands_lib.worlds.pair_pictures import PictureSettings, pictured_pairs
from hands_lib.worlds.pair_sets import PairSetSettings, pair_set

SMALL = PairSetSettings(num_people=10, train=4, val=7, test=4)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("cache")
    return root, pictured_pairs("val", SMALL, PictureSettings(32), root)


def test_cameras_move_hands_rigidly_and_keep_them_in_the_picture(made):
    root, pictures = made
    truth = pair_joints(pair_set("val", SMALL, root).pose).flatten(1, 2)
    moved = pictures.joints.flatten(1, 2)
    mode = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    torch.testing.assert_close(
        torch.cdist(moved, moved, **mode), torch.cdist(truth, truth, **mode), atol=1e-5, rtol=0
    )
    volumes = [torch.linalg.det(points[:, 1:4] - points[:, :1]) for points in (moved, truth)]
    torch.testing.assert_close(*volumes, atol=1e-9, rtol=1e-2)
    assert bool((moved[..., 2] > 0.2).all())


def test_right_hand_is_to_the_right_and_seen_from_above(made):
    _, pictures = made
    right, left = pictures.joints.mean(dim=2).unbind(dim=1)
    assert bool((right[:, 0] > left[:, 0]).all())


def test_pictures_show_something_and_come_from_the_cache(made, monkeypatch):
    root, pictures = made
    assert pictures.image.shape == (7, 3, 32, 32)
    assert float(pictures.image.float().std()) > 10
    monkeypatch.setattr(pair_pictures, "_photographed", lambda *_: pytest.fail("was in the cache"))
    again = pictured_pairs("val", SMALL, PictureSettings(32), root)
    assert torch.equal(again.image, pictures.image)
    assert torch.equal(again.joints, pictures.joints)

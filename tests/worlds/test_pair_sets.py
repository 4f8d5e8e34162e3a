"""Sets of pairs: splits without common people, the same bytes again, and cameras that see what is there."""

import pytest
import torch

from hands_lib.hand.pairs import pair_joints
from hands_lib.worlds import pair_sets
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.interactions import INTERACTIONS
from hands_lib.worlds.pair_sets import PairSetSettings, pair_set, seen_pairs
from hands_lib.worlds.two_hands import TEST_ONLY, WorldError

SMALL = PairSetSettings(num_people=10, train=7, val=7, test=9)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_splits_share_no_person_and_two_interactions_are_for_the_test(root):
    splits = {split: pair_set(split, SMALL, root) for split in ("train", "val", "test")}
    people = {split: set(pairs.identity.tolist()) for split, pairs in splits.items()}
    assert not people["train"] & people["val"]
    assert not people["train"] & people["test"]
    names = {s: {tuple(INTERACTIONS)[k] for k in p.interaction.tolist()} for s, p in splits.items()}
    assert not names["train"] & set(TEST_ONLY)
    assert set(TEST_ONLY) <= names["test"]
    assert [len(splits[split].identity) for split in ("train", "val", "test")] == [7, 7, 9]


def test_read_from_the_cache_and_made_again_are_the_same(root, tmp_path, monkeypatch):
    first, again = pair_set("val", SMALL, root), pair_set("val", SMALL, tmp_path)
    monkeypatch.setattr(pair_sets, "_make", lambda *_: pytest.fail("was in the cache"))
    cached = pair_set("val", SMALL, root)
    for other in (again, cached):
        assert torch.equal(pair_joints(first.pose), pair_joints(other.pose))
        assert torch.equal(first.identity, other.identity)


def test_another_seed_is_another_set(root):
    other = PairSetSettings(seed=1, num_people=10, train=7, val=7, test=9)
    one, two = pair_set("val", SMALL, root), pair_set("val", other, root)
    assert not torch.equal(pair_joints(one.pose), pair_joints(two.pose))


def test_unknown_split_and_empty_splits_are_refused(tmp_path):
    with pytest.raises(WorldError, match="'dev'"):
        pair_set("dev", SMALL, tmp_path)
    with pytest.raises(WorldError, match="at least one"):
        PairSetSettings(val=0)


# --- cameras -------------------------------------------------------------------------------------------


def seen(noise=0.0, distances=(1.0, 2.0), num=50, seed=0):
    joints = 0.1 * torch.randn(num, 2, 21, 3, generator=torch.Generator().manual_seed(1))
    return joints, *seen_pairs(joints, torch.Generator().manual_seed(seed), noise, distances)


def test_cameras_move_hands_rigidly_and_look_at_them():
    joints, in_camera, _ = seen()
    flat, moved = joints.flatten(1, 2), in_camera.flatten(1, 2)
    distances = [
        torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist") for points in (flat, moved)
    ]
    torch.testing.assert_close(*distances, atol=1e-5, rtol=0)
    # proper: the sign of a volume is kept, so that right hands stay right hands
    volumes = [torch.linalg.det(points[:, 1:4] - points[:, :1]) for points in (flat, moved)]
    torch.testing.assert_close(*volumes, atol=1e-6, rtol=1e-3)
    assert bool((in_camera[..., 2] > 0.3).all())


def test_keypoints_are_projections():
    _, in_camera, keypoints = seen()
    focal, centre = float(camera_ring(1, 1000, 1.0, 1.0).intrinsics[0, 0, 0]), (1000 - 1) / 2
    expected = focal * in_camera[..., :2] / in_camera[..., 2:] + centre
    torch.testing.assert_close(keypoints, expected, atol=0.01, rtol=0)


def test_noise_is_a_length_at_the_hands():
    _, in_camera, exact = seen(num=400)
    _, _, noisy = seen(noise=0.002, num=400)
    distance = in_camera.flatten(1, 2).mean(dim=1)[:, 2]
    scale = distance / float(camera_ring(1, 1000, 1.0, 1.0).intrinsics[0, 0, 0])
    lengths = (noisy - exact) * scale[:, None, None, None]
    assert float(lengths.std()) == pytest.approx(0.002, rel=0.03)


def test_distances_are_kept():
    joints, in_camera, _ = seen(distances=(1.5, 1.5))
    centre = in_camera.flatten(1, 2)
    # the world's origin lies on the optical axis
    offset = centre.norm(dim=-1) - 1.5
    assert float(offset.abs().amax()) <= float(joints.norm(dim=-1).amax()) + 1e-4

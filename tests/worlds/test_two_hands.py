import pickle
import shutil

import pytest
import torch

from hands_lib.hand.pairs import pair_joints, pair_surfaces
from hands_lib.worlds import two_hands
from hands_lib.worlds.interactions import INTERACTIONS
from hands_lib.worlds.two_hands import SPLITS, TEST_ONLY, VERSION, TwoHandWorld, WorldError, WorldSettings

SMALL = WorldSettings(
    image_size=32,
    num_views=2,
    num_people=10,
    train_frames=10,
    val_frames=1,
    test_frames=0,
    background="plain",
)


def _files(root):
    """Content of every file, by its name, which says nothing about the folder."""
    return {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def world(root):
    return TwoHandWorld("train", SMALL, root).generate(progress=False)


def test_frames_are_made_when_they_are_first_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDS_CACHE", str(tmp_path))
    world = TwoHandWorld("val", SMALL)
    assert len(world) == 1
    assert world.acceptance().counts == {}
    assert _files(tmp_path) == {}
    frame = world[0]
    [path] = (tmp_path / VERSION).iterdir()
    assert sum(accepted for accepted, _ in world.acceptance().counts.values()) == 1
    path.unlink()
    assert torch.equal(world[0].views.image, frame.views.image)  # from memory
    assert not path.exists()


def test_a_frame_holds_what_its_pose_says(world):
    frame = world[9]
    assert frame.person in world.people
    assert frame.interaction == world.interactions[9 % len(world.interactions)]
    person = world.person(frame.person)
    torch.testing.assert_close(frame.moment.joints, pair_joints(frame.moment.pose))
    assert torch.equal(frame.moment.vertices, pair_surfaces(frame.moment.pose, person.shape))
    assert frame.views.image.shape == (2, 32, 32, 3)
    assert frame.labels().depth.isfinite().any()
    assert not frame.moment.penetration.any()
    moment, views = world.views(9, slice(1, 2))
    assert torch.equal(moment.vertices, frame.moment.vertices)
    assert torch.equal(views.image, frame.views.image[1:])
    assert torch.equal(world[-1].views.face, frame.views.face)


def test_hands_fill_the_picture(world):
    for frame in world:
        pixels = frame.views.camera.project(frame.moment.vertices.flatten(0, 1).expand(2, -1, 3))
        assert ((pixels > -0.5) & (pixels < 31.5)).all()
        assert ((pixels.amax(dim=1) - pixels.amin(dim=1)).amax(dim=1) > 20).all()


def test_frames_are_copies(world):
    before = world[0].moment.joints.clone()
    world[0].moment.joints.zero_()
    assert torch.equal(world[0].moment.joints, before)


def test_same_seed_same_bytes_other_seed_other_bytes(world, root, tmp_path):
    again = TwoHandWorld("train", SMALL, tmp_path)
    again[8]  # the second shard first: shards do not depend on each other
    again.generate(progress=False)
    assert _files(tmp_path) == _files(root)
    assert again.content_hash() == world.content_hash()
    settings = WorldSettings(**(vars(SMALL) | {"seed": 1, "train_frames": 1}))
    other = TwoHandWorld("train", settings, tmp_path)
    assert not torch.equal(other[0].moment.joints, world[0].moment.joints)
    assert other.content_hash() != world.content_hash()


def test_generation_resumes_and_mends(world, root, tmp_path, monkeypatch):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    made, make = [], TwoHandWorld._make
    monkeypatch.setattr(TwoHandWorld, "_make", lambda self, shard: made.append(shard) or make(self, shard))
    first, second = (world._path(shard).relative_to(root) for shard in range(2))
    (tmp_path / second).unlink()
    TwoHandWorld("train", SMALL, tmp_path).generate(progress=False)
    assert made == [1]
    assert _files(tmp_path) == _files(root)
    damaged = bytearray((tmp_path / first).read_bytes())
    damaged[-1000] ^= 4
    (tmp_path / first).write_bytes(damaged)
    assert torch.equal(TwoHandWorld("train", SMALL, tmp_path)[0].views.image, world[0].views.image)
    assert made == [1, 0]
    assert _files(tmp_path) == _files(root)


def test_shards_that_another_process_makes_are_waited_for_last(tmp_path, monkeypatch):
    made: list[int] = []
    world = TwoHandWorld("train", SMALL, tmp_path)
    monkeypatch.setattr(two_hands, "is_being_made", lambda path: path == world._path(0))
    monkeypatch.setattr(
        TwoHandWorld, "_make", lambda self, shard: made.append(shard) or ({"n": torch.tensor(shard)}, {})
    )
    world.generate(progress=False)
    assert made == [1, 0]
    assert len(_files(tmp_path)) == 2


def test_splits_share_no_person_and_keep_kinds_for_the_test():
    worlds = {split: TwoHandWorld(split, WorldSettings()) for split in SPLITS}
    people = [number for world in worlds.values() for number in world.people]
    assert sorted(people) == list(range(40))
    assert [len(worlds[split].people) for split in SPLITS] == [28, 4, 8]
    assert set(worlds["test"].interactions) == set(INTERACTIONS)
    for split in ("train", "val"):
        assert set(INTERACTIONS) - set(worlds[split].interactions) == set(TEST_ONLY)


def test_a_world_travels_to_a_data_loaders_worker(world):
    copy = pickle.loads(pickle.dumps(world))
    assert torch.equal(copy[3].views.image, world[3].views.image)


def test_the_acceptance_is_reported(world):
    report = world.acceptance()
    assert sum(accepted for accepted, _ in report.counts.values()) == 10
    assert 0 < report.acceptance <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 8}, "16 to 1024 pixels"),
        ({"num_views": 141}, "1 to 140 cameras"),
        ({"num_people": 3}, "10 people"),
        ({"background": "beach"}, "beach"),
        ({"val_frames": -1}, "fewer than 0"),
    ],
)
def test_settings_that_no_world_has_are_refused(change, message):
    with pytest.raises(WorldError, match=message):
        WorldSettings(**change)


def test_unknown_splits_and_frames_are_refused(world):
    with pytest.raises(WorldError, match="holdout"):
        TwoHandWorld("holdout", SMALL)
    with pytest.raises(IndexError, match="frame 10 of 10"):
        world[10]

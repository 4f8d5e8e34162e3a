import hashlib
import multiprocessing
import os
import pickle

import pytest
import torch

from hands_lib.worlds.interactions import INTERACTIONS, pair_joints, pair_surfaces
from hands_lib.worlds.two_hands import SPLITS, TEST_ONLY, TwoHandWorld, WorldError, WorldSettings

SMALL = WorldSettings(
    image_size=32,
    num_views=2,
    num_people=10,
    train_frames=10,
    val_frames=1,
    test_frames=0,
    background="plain",
)


def _hashes(world):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in world.folder.glob("*.safetensors")}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return TwoHandWorld("train", SMALL, tmp_path_factory.mktemp("cache")).generate(progress=False)


def test_frames_lie_in_the_folder_of_everything_that_can_be_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDS_CACHE", str(tmp_path / "chosen"))
    assert TwoHandWorld("val", SMALL).folder.is_relative_to(tmp_path / "chosen")
    monkeypatch.delenv("HANDS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert TwoHandWorld("val", SMALL).folder.is_relative_to(tmp_path / "hands")
    assert TwoHandWorld("val", SMALL, tmp_path / "own").folder.is_relative_to(tmp_path / "own")
    assert list(tmp_path.iterdir()) == []  # made when a frame is first asked for


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


def test_same_seed_same_bytes_other_seed_other_bytes(world, tmp_path):
    again = TwoHandWorld("train", SMALL, tmp_path)
    again[8]  # the second shard first: shards do not depend on each other
    again.generate(progress=False)
    assert _hashes(again) == _hashes(world)
    assert again.content_hash() == world.content_hash()
    settings = WorldSettings(**(vars(SMALL) | {"seed": 1, "train_frames": 1}))
    other = TwoHandWorld("train", settings, tmp_path)
    assert not torch.equal(other[0].moment.joints, world[0].moment.joints)


def test_generation_resumes_and_mends(world, tmp_path):
    copy = TwoHandWorld("train", SMALL, tmp_path)
    copy.generate(progress=False)
    first, second = sorted(copy.folder.glob("*.safetensors"))
    stamp = first.stat().st_mtime_ns
    second.unlink()
    (copy.folder / "00001.4711.part").write_bytes(b"half of a shard")  # left by a process that died
    copy.generate(progress=False)
    assert first.stat().st_mtime_ns == stamp
    assert _hashes(copy) == _hashes(world)
    second.write_bytes(b"not a shard")
    with pytest.raises(WorldError, match="00001.safetensors.*delete it"):
        TwoHandWorld("train", SMALL, tmp_path)[8]


def _generate(root):
    torch.set_num_threads(1)
    TwoHandWorld("train", SMALL, root).generate(progress=False)


def test_two_processes_make_one_data_set(world, tmp_path):
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    processes = [context.Process(target=_generate, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert _hashes(TwoHandWorld("train", SMALL, tmp_path)) == _hashes(world)


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

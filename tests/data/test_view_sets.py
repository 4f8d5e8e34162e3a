from dataclasses import replace

import pytest
import torch

from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.even_light import EvenLightSettings, even_light_pairs
from hands_lib.data.interhand26m_writer import InterHandWriter
from hands_lib.data.interhand_views import InterHandViewSettings, interhand_views
from hands_lib.data.manifest import load_manifest
from hands_lib.data.view_sets import VIEW_SETS, view_set
from hands_lib.hand.kinematics import forward_kinematics, mirror, rest_pose
from hands_lib.methods.va_nerf.evaluation import view_pairs
from hands_lib.methods.va_nerf.training import Pictures, draw_patches
from hands_lib.structures import Camera, TwoHandSample
from hands_lib.worlds.cameras import camera_ring

SETTINGS = EvenLightSettings(image_size=24, num_views=3, train=2, val=2, test=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    monkeypatch.setenv("HANDS_CACHE", str(cache))
    monkeypatch.delenv("HANDS_DATA", raising=False)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The test split: three moments of two flat hands side by side, six views each; a white wall behind."""
    right = forward_kinematics(rest_pose()).joints + torch.tensor([-0.09, -0.08, 0.0])
    joints = torch.stack([right, mirror(right)])
    ring = camera_ring(6, size=64, field=0.5)
    cameras = [Camera(ring.intrinsics[n], ring.camera_from_world[n], 64, 64) for n in range(6)]
    writer = InterHandWriter(tmp_path_factory.mktemp("release"), "test")
    for frame in range(3):
        writer.add(
            TwoHandSample(joints, torch.ones(2, 21, dtype=torch.bool)),
            {str(400100 + n): (one, torch.full((64, 64, 3), 255, dtype=torch.uint8).numpy())
             for n, one in enumerate(cameras)},
            capture=4, frame=frame, sequence="0001_dh_rest", subject=0, hand_type="interacting",
        )  # fmt: skip
    return writer.close()


def test_the_world_is_what_it_was(cache):
    found, expected = view_set("world", "val", SETTINGS), even_light_pairs("val", SETTINGS)
    for name in vars(expected):
        assert torch.equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert VIEW_SETS["world"] == {"dataset": "two hands in even light", "dataset_version": "1"}


def test_records_name_the_manifests_version():
    for name in ("interhand26m", "interhand26m_large_variation"):
        assert VIEW_SETS[name]["dataset_version"] == load_manifest("interhand26m").version
        assert VIEW_SETS[name]["dataset"].startswith("InterHand2.6M")
    names = [entry["dataset"] for entry in VIEW_SETS.values()]
    assert len(set(names)) == len(names)


def test_settings_of_the_chapters_reach_the_reader(release):
    own = InterHandViewSettings(image_size=24, num_views=3, num_frames=2)
    pairs = {  # (frame, input, target), as places among the views that are needed
        "small variation": [[0, 3, 0], [0, 2, 1], [0, 5, 4]],  # all six cameras
        "large variation": [[0, 1, 0], [0, 2, 0]],  # cameras 0, 3 and 4
    }
    for variation, first in pairs.items():
        name = "interhand26m" if variation == "small variation" else "interhand26m_large_variation"
        found = view_set(name, "test", SETTINGS, release)
        expected = interhand_views("test", replace(own, variation=variation), release)
        assert torch.equal(found.image, expected.image)
        assert found.image.shape[0] == 2
        assert found.asked.tolist() == first + [[1, view, target] for _, view, target in first]


def test_methods_learn_and_are_tested_on_it(release):
    found = Pictures(**vars(view_set("interhand26m", "test", SETTINGS, release)))
    asked = view_pairs(found, 4)
    assert asked.frame.tolist() == [0, 0, 0, 1]
    assert torch.stack([asked.view, asked.target], dim=1).tolist() == [[3, 0], [2, 1], [5, 4], [3, 0]]
    patches = draw_patches(found, 8, 8, torch.Generator().manual_seed(0))
    assert (patches.view != patches.target).all()


def test_names_what_is_wrong(release, tmp_path):
    with pytest.raises(DataError, match="unknown set of pictures 'moon'; there are world, interhand26m"):
        view_set("moon", "train", SETTINGS)
    with pytest.raises(DataError, match="unknown split 'dev'"):
        view_set("interhand26m", "dev", SETTINGS, release)
    with pytest.raises(MissingData, match="InterHand2.6M is not on this machine"):
        view_set("interhand26m", "train", SETTINGS, "")  # as the chapters' empty `data_root`
    with pytest.raises(MissingData, match="splits there: test"):
        view_set("interhand26m", "train", SETTINGS, release)
    with pytest.raises(DataError, match="asked for 0 frames"):
        view_set("interhand26m", "test", replace(SETTINGS, test=0), release)

import json

import numpy as np
import pytest
import torch

from hands_lib.data.errors import DataError
from hands_lib.data.interhand26m import InterHand26M
from hands_lib.data.interhand26m_writer import InterHandWriter, export_world
from hands_lib.structures import TwoHandSample
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.two_hands import TwoHandWorld, WorldSettings

SETTINGS = WorldSettings(
    image_size=64,
    num_views=2,
    num_people=10,
    train_frames=0,
    val_frames=0,
    test_frames=5,
    background="studio",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return TwoHandWorld("test", SETTINGS, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def exported(world, tmp_path_factory):
    return export_world(world, tmp_path_factory.mktemp("export") / "InterHand2.6M")


def test_the_reader_gives_back_the_same_float32_values(world, exported):
    capture = InterHand26M(exported, "test").only("interacting")
    assert len(capture) == 10
    for number, photo in enumerate(capture):
        frame, view = world[number // 2], number % 2
        assert torch.equal(photo.sample.joints, frame.moment.joints)
        assert photo.sample.joint_valid.all()
        camera = photo.sample.camera
        assert torch.equal(camera.intrinsics, frame.views.camera.intrinsics[view])
        torch.testing.assert_close(
            camera.camera_from_world, frame.views.camera.camera_from_world[view], rtol=2e-7, atol=1e-8
        )
        error = (photo.image().float() - frame.views.image[view].float()).abs()
        assert error.mean() < 4  # JPEG
        assert photo.mano is None or not photo.mano.valid.any()
        assert photo.subject == frame.person


def test_single_hands_are_there_for_the_official_evaluation(exported):
    capture = InterHand26M(exported, "test")
    for row, side in enumerate(("right", "left")):
        alone = capture.only(side)
        assert len(alone) == 4  # frames 0 and 4, two views each
        for photo in alone:
            assert photo.sample.joint_valid[row].all()
            assert not photo.sample.joint_valid[1 - row].any()
            assert photo.image_joint_valid[row].all()
    content = json.loads((exported / "annotations/test/InterHand2.6M_test_joint_3d.json").read_text())
    assert content["0"]["2"]["world_coord"][21:] == [[1.0, 1.0, 1.0]] * 21
    mano = json.loads((exported / "annotations/test/InterHand2.6M_test_MANO_NeuralAnnot.json").read_text())
    assert mano["0"]["1"] == {"right": None, "left": None}


def test_every_joint_has_a_sample_of_each_kind(exported):
    # The official evaluation stacks errors joint by joint and fails where a joint has none.
    capture = InterHand26M(exported, "test")
    single, both = torch.zeros(2, 21, dtype=torch.bool), torch.zeros(2, 21, dtype=torch.bool)
    for photo in capture:
        (both if photo.hand_type == "interacting" else single).logical_or_(photo.image_joint_valid)
    assert single.all()
    assert both.all()


def test_nothing_is_overwritten_or_mixed_up(world, exported, tmp_path):
    with pytest.raises(DataError, match="already holds something"):
        export_world(world, exported)
    ring = camera_ring(2, 32)
    camera = type(ring)(ring.intrinsics[0], ring.camera_from_world[0], 32, 32)
    other = type(ring)(ring.intrinsics[1] * 2, ring.camera_from_world[1], 32, 32)
    sample = TwoHandSample(torch.zeros(2, 21, 3) + 0.01, torch.ones(2, 21, dtype=torch.bool))
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    writer = InterHandWriter(tmp_path / "one", "val")
    shared = {"capture": 3, "sequence": "0001_dh", "subject": 0}
    writer.add(sample, {"400000": (camera, image)}, frame=1, hand_type="interacting", **shared)
    with pytest.raises(DataError, match="already has a frame 1"):
        writer.add(sample, {"400000": (camera, image)}, frame=1, hand_type="interacting", **shared)
    with pytest.raises(DataError, match="two calibrations"):
        writer.add(sample, {"400000": (other, image)}, frame=2, hand_type="interacting", **shared)
    with pytest.raises(DataError, match="unknown hand type"):
        writer.add(sample, {"400000": (camera, image)}, frame=4, hand_type="both", **shared)

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_sets import COUNT, write_freihand

from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.freihand import COCO_FILE, FreiHand
from hands_lib.data.manifest import check_command

_BASE = os.environ.get("HANDS_DATA")
SAMPLE = Path(_BASE, "freihand_sample") if _BASE and Path(_BASE, "freihand_sample").is_dir() else None


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    return write_freihand(tmp_path_factory.mktemp("freihand"))


@pytest.fixture
def copy(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


@pytest.fixture
def coco(tmp_path) -> Path:
    """A list in COCO's style, as the real sample is one."""
    root = tmp_path / "coco"
    root.mkdir()
    points = np.random.default_rng(1).uniform(20, 200, (2, 21, 3))
    points[:, :, 2] = 1
    points[1, 5, 2] = 0
    content = {
        "images": [{"id": 10 + n, "file_name": f"{n}.jpg", "width": 224, "height": 224} for n in range(2)],
        "annotations": [
            {"id": n, "image_id": 11 - n, "keypoints": points[n].reshape(-1).tolist()} for n in range(2)
        ],
    }
    (root / COCO_FILE).write_text(json.dumps(content))
    for n in range(2):
        Image.new("RGB", (224, 224), (100, 90, 80)).save(root / f"{n}.jpg")
    return root


def test_the_official_layout(written):
    dataset = FreiHand(written)
    assert len(dataset) == COUNT
    xyz = np.array(json.loads((written / "training_xyz.json").read_text()))
    for number, frame in enumerate(dataset):
        assert np.allclose(frame.sample.joints[0], xyz[number], atol=1e-6)
        assert frame.sample.joint_valid.all(dim=1).tolist() == [True, False]
        x, y, z = xyz[number].T
        pixels = np.stack([480 * x / z + 112, 481 * y / z + 110], axis=-1)
        assert np.allclose(frame.image_joints, pixels, atol=1e-3)
        assert frame.mano.shape == (61,)
        assert abs(frame.image()[0, 0, 0].item() - 20 * number - 15) <= 2


def test_versions_are_the_same_poses_before_other_backgrounds(written):
    first, third = FreiHand(written), FreiHand(written, version="sample")
    assert third[1].image_path.name == f"{2 * COUNT + 1:08d}.jpg"
    assert torch.equal(first[1].sample.joints, third[1].sample.joints)


def test_the_evaluation_split_may_lack_joints(written):
    (frame,) = FreiHand(written, "evaluation")
    assert not frame.sample.joint_valid.any()
    assert not frame.image_joint_valid.any()
    assert frame.sample.camera.width == 224


def test_missing_photographs_are_counted(copy):
    (copy / "training" / "rgb" / "00000001.jpg").unlink()
    usable, skipped = FreiHand(copy).usable()
    assert len(usable) == 2
    assert skipped.reasons["photograph missing"] == 1
    text, code = check_command("freihand", str(copy))
    assert code == 3
    assert "training: 1 of 3 photographs, the first" in text


def test_a_list_in_cocos_style_has_joints_in_the_image_alone(coco):
    dataset = FreiHand(coco)
    content = json.loads((coco / COCO_FILE).read_text())
    assert [frame.image_path.name for frame in dataset] == ["1.jpg", "0.jpg"]
    for frame, annotation in zip(dataset, content["annotations"], strict=True):
        table = np.array(annotation["keypoints"]).reshape(21, 3)
        assert np.allclose(frame.image_joints, table[:, :2], atol=1e-4)
        assert not frame.sample.joint_valid.any()
        assert frame.sample.camera is None
    assert dataset[1].image_joint_valid.sum() == 20


BROKEN = {
    "no K": ("training_K.json", lambda c: None, "training_K.json is missing"),
    "K": ("training_K.json", lambda c: [[[0.0] * 3] * 3] * 3, "entry 0 is not a camera matrix"),
    "short": ("training_xyz.json", lambda c: c[:-1], "2 entries"),
    "joints": ("training_xyz.json", lambda c: [c[0][:-1], *c[1:]], r"entry 0 has shape \(20, 3\)"),
    "NaN": ("training_xyz.json", lambda c: [[[None] * 3] * 21, *c[1:]], "entry 0 is not finite"),
    "object": ("training_K.json", lambda c: {"a": c}, "not a list"),
    "mano": ("training_mano.json", lambda c: [[x[0][:-1]] for x in c], "entry 0 has shape"),
    "empty": ("training_xyz.json", lambda c: [], "lists no photograph"),
}


@pytest.mark.parametrize(("name", "change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_are_named(copy, name, change, message):
    path = copy / name
    content = change(json.loads(path.read_text()))
    path.unlink() if content is None else path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        FreiHand(copy)
    assert str(path) in str(caught.value)


COCO_BROKEN = {
    "2^70 pixels wide": (
        lambda c: c["images"][0].update(width=2**70),
        r"image 0: 1180591620717411303424 x \d+ pixels are more than 50,000,000",
    ),
    "path": (lambda c: c["images"][0].update(file_name="../0.jpg"), "not the name of a file beside it"),
    "twice": (lambda c: c["images"][1].update(id=10), "stands there twice"),
    "unlisted": (lambda c: c["annotations"][0].update(image_id=5), "belongs to image 5"),
    "short": (lambda c: c["annotations"][0].update(keypoints=[1, 2, 3]), "keypoints has shape"),
    "nested": (
        lambda c: c["annotations"][0].update(keypoints=[[1, 2, 1]] * 21),
        r"keypoints has shape \(21, 3\), where \(63,\) belongs: this is another layout",
    ),
    "text": (lambda c: c["annotations"][0].update(keypoints=["1"] * 63), "is not an array of numbers"),
    "flags": (lambda c: c["annotations"][0].update(keypoints=[True] * 63), "is not an array of numbers"),
    "true": (lambda c: c["annotations"][0].update(image_id=True), "belongs to image True"),
    "long": (lambda c: c["images"][0].update(file_name="x" * 10**6 + "/"), r"'xxxxx.{,90}' is not the name"),
    "width": (lambda c: c["images"][0].update(width="224"), "width is '224'"),
    "none": (lambda c: c.update(annotations=[]), "no list 'annotations'"),
}


@pytest.mark.parametrize(("change", "message"), COCO_BROKEN.values(), ids=COCO_BROKEN.keys())
def test_broken_lists_in_cocos_style_are_named(coco, change, message):
    path = coco / COCO_FILE
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        FreiHand(coco)
    assert str(path) in str(caught.value)


def test_what_is_missing_is_named(written, tmp_path):
    with pytest.raises(MissingData, match="nowhere is not a folder"):
        FreiHand(tmp_path / "nowhere")
    with pytest.raises(DataError, match="unknown split 'test'"):
        FreiHand(written, "test")
    with pytest.raises(DataError, match="unknown version 'x'"):
        FreiHand(written, version="x")
    with pytest.raises(DataError, match="one version only"):
        FreiHand(written, "evaluation", version="auto")


if SAMPLE is not None:

    def test_the_real_samples_joints_lie_inside_its_pictures():
        dataset = FreiHand(SAMPLE)
        assert len(dataset) == 8
        for frame in dataset:
            assert frame.image_joint_valid.all()
            assert ((frame.image_joints >= 0) & (frame.image_joints <= 223)).all()
            # Neighbouring joints of a hand that fills part of a 224 pixel picture are near each other.
            fingers = frame.image_joints[1:].reshape(5, 4, 2)
            assert (fingers.diff(dim=1).norm(dim=-1) < 60).all()
            assert frame.image().shape == (224, 224, 3)

"""A capture of three moments, written here as the release's readers describe it.

Oracles: the numbers that were written, and OpenCV's formula of the fisheye worked out with numpy.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_sets import CAPTURE, LIBRARY, ROTATION, ROWS, keypoints, write_json, write_reinterhand

from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.manifest import check_command
from hands_lib.data.reinterhand import LIGHTINGS, FisheyeCamera, ReInterHand, captures_in


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    return write_reinterhand(tmp_path_factory.mktemp("reinterhand"))


@pytest.fixture
def copy(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


def test_photographs_joints_and_cameras(written):
    assert list(captures_in(written)) == [CAPTURE]
    dataset = ReInterHand(written, CAPTURE)
    assert [(f.camera_id, f.frame_index) for f in dataset] == [
        ("400001", 0), ("400001", 7), ("400002", 0), ("400002", 7),
    ]  # fmt: skip
    assert dataset.skipped.reasons == {"without keypoints": 2}
    for frame in dataset:
        for hand, side in enumerate(("right", "left")):
            there = (frame.frame_index, side) != (7, "left")
            assert bool(frame.sample.joint_valid[hand].all()) == there
            if not there:
                assert not frame.sample.joint_valid[hand].any()
                assert not frame.sample.joints[hand].any()
                continue
            rows = keypoints(frame.frame_index, side)
            expected = np.stack([rows[ROWS.index(name)] for name in LIBRARY]) / 1000
            assert np.allclose(frame.sample.joints[hand], expected, atol=1e-6)
            x, y, z = ROTATION @ expected.T + np.array([[0.01], [0.02], [0.9]])
            pixels = np.stack([50 * x / z + 20, 51 * y / z + 30], axis=-1)
            assert np.allclose(frame.sample.camera.project(frame.sample.joints[hand]), pixels, atol=1e-3)
    assert dataset[0].image().shape == (60, 40, 3)
    assert dataset[0].mano.valid.tolist() == [True, True]
    assert dataset[1].mano.valid.tolist() == [False, False]
    assert torch.allclose(dataset[0].mano.translation, torch.tensor([0.01, 0.02, 0.9]).expand(2, 3))


def test_what_a_system_puts_beside_files_is_no_photograph(copy):
    """macOS writes `._095964.png` for `095964.png`, and a folder for each capture."""
    before = [frame.image_path for frame in ReInterHand(copy, CAPTURE)]
    for path in list(copy.rglob("*.png")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    for folder in (
        copy / "data" / "._m",
        copy / "data" / CAPTURE / "Mugsy_cameras" / LIGHTINGS[0] / "images" / ".x",
    ):
        folder.mkdir()
    assert list(captures_in(copy)) == [CAPTURE]
    assert [frame.image_path for frame in ReInterHand(copy, CAPTURE)] == before
    assert ReInterHand(copy, CAPTURE, cameras="ego").skipped.reasons["without keypoints"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "0.5", None, [0.5]])
def test_a_ratio_that_is_no_number_is_refused(copy, value):
    path = copy / "data" / CAPTURE / "Ego_cameras" / LIGHTINGS[0] / "truncation_ratio.json"
    write_json(path, {"000000": value, "000007": 0.1, "000011": 0.5})
    with pytest.raises(DataError, match="has no number for each photograph") as caught:
        ReInterHand(copy, CAPTURE, cameras="ego")
    assert str(path) in str(caught.value)


def test_black_and_unfitted_photographs_are_counted(written):
    usable, skipped = ReInterHand(written, CAPTURE).usable()
    assert [(f.camera_id, f.frame_index) for f in usable] == [("400001", 0), ("400001", 7), ("400002", 0)]
    assert skipped.reasons["photograph black"] == 1
    usable, skipped = ReInterHand(written, CAPTURE).usable(mano=True)
    assert [f.frame_index for f in usable] == [0, 0]
    assert skipped.reasons["without MANO fit"] == 2


def test_head_worn_photographs_have_a_fisheye(written):
    dataset = ReInterHand(written, CAPTURE, cameras="ego")
    assert [frame.frame_index for frame in dataset] == [0]
    assert dataset.skipped.reasons == {"without keypoints": 1, "with truncated hands": 1}
    frame = dataset[0]
    assert frame.sample.camera is None
    assert frame.fisheye.distortion.tolist() == pytest.approx([0.1, -0.02, 0.003, -0.0004])
    assert frame.image().shape == (60, 40, 3)


def test_the_fisheye_is_opencvs_formula():
    intrinsics = torch.tensor([[200, 0, 320], [0, 210, 240], [0, 0, 1]], dtype=torch.float64)
    distortion = torch.tensor([0.1, -0.02, 0.003, -0.0004], dtype=torch.float64)
    camera = FisheyeCamera(intrinsics, torch.eye(4, dtype=torch.float64), distortion, 640, 480)
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 3)) + [0, 0, 1.5])
    x, y, z = points.numpy().T
    a, b = x / z, y / z
    r = np.sqrt(a**2 + b**2)
    front = z > 0.05  # the textbook formula divides by z
    t = np.arctan(r)
    bent = t * (1 + 0.1 * t**2 - 0.02 * t**4 + 0.003 * t**6 - 0.0004 * t**8)
    expected = np.stack([200 * bent / r * a + 320, 210 * bent / r * b + 240], axis=-1)
    assert front.sum() > 30
    assert np.abs(camera.project(points).numpy() - expected)[front].max() < 1e-9
    on_axis = camera.project(torch.tensor([[0.0, 0.0, 1.0]]).double())
    assert on_axis.tolist() == [[320, 240]]


BROKEN = {
    "short": ("orig_fits/right/Keypoints/keypoint-000000.json", lambda c: c[:20], r"shape \(20, 3\)"),
    "NaN": ("orig_fits/right/Keypoints/keypoint-000000.json", lambda c: [[None] * 3] + c[1:], "not finite"),
    "pose": ("mano_fits/params/0_left.json", lambda c: c | {"pose": [1.0]}, "pose has shape"),
    "no trans": ("mano_fits/params/0_left.json", lambda c: c | {"trans": None}, "no key 'trans'"),
    "list": ("mano_fits/params/0_left.json", lambda c: [], "does not hold an object"),
    "no camera": ("Mugsy_cameras/cam_params.json", lambda c: {}, "no key '40000"),
    "rotation": (
        "Mugsy_cameras/cam_params.json",
        lambda c: {name: entry | {"R": [[1, 0, 0]] * 3} for name, entry in c.items()},
        "R is not a rotation",
    ),
}


@pytest.mark.parametrize(("name", "change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_are_named(copy, name, change, message):
    path = copy / "data" / CAPTURE / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(DataError, match=message) as caught:
        list(ReInterHand(copy, CAPTURE))
    assert str(path) in str(caught.value)


def test_what_is_missing_is_named(written, tmp_path):
    with pytest.raises(MissingData, match=f"no capture 'x'; there are {CAPTURE}"):
        ReInterHand(written, "x")
    with pytest.raises(MissingData, match="envmap_per_frame"):
        ReInterHand(written, CAPTURE, lighting="envmap_per_frame")
    with pytest.raises(DataError, match="unknown lighting"):
        ReInterHand(written, CAPTURE, lighting="sun")
    with pytest.raises(MissingData, match="nowhere is not a folder"):
        captures_in(tmp_path / "nowhere")


def test_check_reads_captures(written, copy):
    text, code = check_command("reinterhand", str(written))
    assert code == 0
    assert f"{CAPTURE}, studio, envmap_per_segment: 4 of 6 kept; left out: 2 without keypoints" in text
    next(copy.rglob("400001/000000.png")).write_text("x")
    text, code = check_command("reinterhand", str(copy))
    assert code == 1
    assert "is not an image" in text

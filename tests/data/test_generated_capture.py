import hashlib
import json
from pathlib import Path

import pytest
import torch

from hands_lib.data.errors import DataError
from hands_lib.data.generated_capture import skeleton_sequence, write_capture
from hands_lib.data.interhand26m import InterHand26M


def _hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes_other_seed_other_hands(generated, tmp_path):
    first = _hashes(generated)
    assert _hashes(write_capture(tmp_path / "again", seed=0)) == first
    other = _hashes(write_capture(tmp_path / "other", seed=1))
    assert other.keys() == first.keys()
    joints = "annotations/test/InterHand2.6M_test_joint_3d.json"
    assert other[joints] != first[joints]


def test_files_are_laid_out_as_published(generated):
    assert sorted(_hashes(generated)) == sorted(
        [
            "annotations/skeleton.txt",
            *(f"annotations/test/InterHand2.6M_test_{kind}.json" for kind in ("camera", "data", "joint_3d")),
            *(
                f"images/test/Capture0/{sequence}/cam{camera}/image{frame}.jpg"
                for sequence, frame in (("0001_rh", 101), ("0002_lh", 202), ("0003_dh", 303))
                for camera in ("400262", "400263")
            ),
        ]
    )


def test_json_has_exactly_the_published_keys_and_types(generated):
    content = {
        kind: json.loads((generated / f"annotations/test/InterHand2.6M_test_{kind}.json").read_text())
        for kind in ("data", "camera", "joint_3d")
    }
    types = {
        "id": int, "file_name": str, "width": int, "height": int, "capture": int, "subject": int,
        "seq_name": str, "camera": str, "frame_idx": int,
    }  # fmt: skip
    assert set(content["data"]) == {"images", "annotations"}
    for image, annotation in zip(content["data"]["images"], content["data"]["annotations"], strict=True):
        assert {key: type(value) for key, value in image.items()} == types
        assert set(annotation) == {"id", "image_id", "bbox", "joint_valid", "hand_type", "hand_type_valid"}
        assert annotation["id"] == annotation["image_id"] == image["id"]
        assert len(annotation["joint_valid"]) == 42
        assert {tuple(flag) for flag in annotation["joint_valid"]} <= {(0,), (1,)}
    assert set(content["camera"]["0"]) == {"campos", "camrot", "focal", "princpt"}
    step = content["joint_3d"]["0"]["101"]
    assert set(step) == {"world_coord", "joint_valid", "hand_type", "hand_type_valid", "seq"}
    assert [len(step["world_coord"]), len(step["world_coord"][0])] == [42, 3]
    assert step["world_coord"][21:] == [[1.0, 1.0, 1.0]] * 21  # the absent left hand
    assert step["joint_valid"][21:] == [[False]] * 21
    denied = step["joint_valid"][:21].index([False])
    assert step["world_coord"][denied] != [1.0, 1.0, 1.0]  # plausible numbers, and yet invalid


def test_skeleton_text_has_the_published_chain(generated):
    rows = [line.split(" ") for line in (generated / "annotations/skeleton.txt").read_text().splitlines()]
    table = {row[0]: (int(row[1]), int(row[2])) for row in rows if row[0] != "#"}
    assert len(table) == 42
    # From the release's description: name, number, parent.
    known = {
        "r_thumb4": (0, 1), "r_thumb1": (3, 20), "r_index4": (4, 5), "r_index1": (7, 20),
        "r_pinky4": (16, 17), "r_wrist": (20, -1), "l_thumb4": (21, 22), "l_pinky1": (40, 41),
        "l_wrist": (41, -1),
    }  # fmt: skip
    assert known.items() <= table.items()


def test_hands_interact_without_being_in_one_place(generated):
    (step,) = InterHand26M(generated).only("interacting").time_steps()
    right, left = step.sample.joints
    distance = torch.cdist(right, left)
    assert 0.005 < distance.min() < 0.04
    assert step.sample.joint_valid.all()


def test_photographs_show_skin_where_the_joints_are(generated):
    for frame in InterHand26M(generated):
        image = frame.image().float()
        pixels = frame.sample.camera.project(frame.sample.joints)[frame.image_joint_valid].round().long()
        red, _, blue = image[pixels[:, 1], pixels[:, 0]].unbind(dim=-1)
        assert ((red > blue) & (red > 50)).float().mean() > 0.9  # sleeves and shadows may hide a wrist
        assert image[:40].mean() < 60  # a dark studio


def test_an_existing_folder_is_never_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="already holds something"):
        write_capture(tmp_path)
    with pytest.raises(DataError, match="already holds something"):
        write_capture(tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_sequence_is_rigid_smooth_and_periodic():
    joints = skeleton_sequence(60)
    bones = (joints[:, 2:5] - joints[:, 1:4]).norm(dim=-1)
    assert (bones - bones[0]).abs().max() < 1e-6
    steps = (joints.roll(-1, dims=0) - joints).norm(dim=-1)  # the last step leads back to the first frame
    assert 0.002 < steps.max() < 0.03
    assert torch.equal(joints, skeleton_sequence(60))
    assert not torch.equal(joints, skeleton_sequence(60, seed=1))

"""The fixture is in the official form; the reader makes of it what was known before it was written."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hand_object_sets import EXTRINSICS, SIDES_OF, DexYCBTruth, hands, write_dexycb
from PIL import Image
from scipy.spatial.transform import Rotation

from hands_lib.data import dexycb
from hands_lib.data.dexycb import SERIALS, SPLITS, SUBJECTS, DexYCB
from hands_lib.data.dexycb_writer import DexYCBWriter
from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.held_objects import YCB_CLASSES
from hands_lib.data.manifest import check_command
from hands_lib.plain_yaml import read_yaml

IDS = (1, 11, 5)
COLOUR = f"intrinsics/{SERIALS[0]}_640x480.yml"
SHAPE = "mano_20200709_140042_subject-01_right/mano.yml"


@pytest.fixture(scope="session")
def truth(tmp_path_factory) -> DexYCBTruth:
    return write_dexycb(tmp_path_factory.mktemp("dexycb") / "written")


@pytest.fixture
def copy(truth, tmp_path) -> Path:
    return Path(shutil.copytree(truth.root, tmp_path / "copy"))


@pytest.fixture
def parted(truth, monkeypatch) -> DexYCB:
    """All recordings of both cameras, whatever the splits."""
    monkeypatch.setitem(SPLITS, "all", {"all": dexycb._Part()})
    return DexYCB(truth.root, "all", "all")


def meta(root: Path, recording: int = 0) -> Path:
    return sorted((root / SUBJECTS[0]).iterdir())[recording] / "meta.yml"


def change_meta(root: Path, **changes) -> Path:
    path = meta(root)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    return path


# --- the official form -----------------------------------------------------------------------------------


def test_the_files_are_the_releases(truth):
    recording = meta(truth.root).parent
    for name in ("color_000000.jpg", "aligned_depth_to_color_000001.png", "labels_000001.npz"):
        assert (recording / SERIALS[0] / name).is_file()
    facts = yaml.safe_load(meta(truth.root).read_text())
    assert list(facts) == [
        "serials", "num_frames", "extrinsics", "ycb_ids", "ycb_grasp_ind", "mano_sides", "mano_calib"
    ]  # fmt: skip
    assert facts["serials"] == [SERIALS[0], SERIALS[6]]
    assert facts["extrinsics"] == EXTRINSICS
    with np.load(recording / SERIALS[6] / "labels_000001.npz") as labels:
        assert {name: (labels[name].dtype, labels[name].shape) for name in labels.files} == {
            "seg": (np.uint8, (480, 640)), "pose_y": (np.float32, (3, 3, 4)), "pose_m": (np.float32, (1, 51)),
            "joint_3d": (np.float32, (1, 21, 3)), "joint_2d": (np.float32, (1, 21, 2)),
        }  # fmt: skip
        # What is missing: the hand, which this camera has no label of, and one object.
        assert (labels["joint_3d"] == -1).all()
        assert (labels["joint_2d"] == -1).all()
        assert not labels["pose_m"].any()
        assert labels["pose_y"].any(axis=(1, 2)).tolist() == [True, False, True]
    with np.load(recording / "pose.npz") as poses:
        assert poses["pose_y"].shape == (2, 3, 7)
        assert poses["pose_m"].shape == (2, 1, 51)
        assert poses["pose_y"][1, 1].tolist() == [0, 0, 0, 1, 0, 0, 0]
    colour = yaml.safe_load((truth.root / f"calibration/intrinsics/{SERIALS[0]}_640x480.yml").read_text())
    assert set(colour["color"]) == {"fx", "fy", "ppx", "ppy"}
    with Image.open(recording / SERIALS[0] / "aligned_depth_to_color_000000.png") as image:
        assert image.mode == "I;16"
        assert (np.array(image) == 700).all()


def test_tuples_of_python_are_read_as_lists(truth):
    path = truth.root / "calibration" / f"extrinsics_{EXTRINSICS}" / "extrinsics.yml"
    assert "!!python/tuple" in path.read_text()
    with pytest.raises(yaml.constructor.ConstructorError):
        yaml.safe_load(path.read_text())
    dataset = DexYCB(truth.root)
    poses = dataset.world_from_camera(dataset.sequences[0])
    assert set(poses) == {SERIALS[0], SERIALS[6], "apriltag"}
    for serial, expected in truth.extrinsics.items():
        assert torch.equal(poses[serial], expected)


def test_the_tag_is_read_nowhere_else():
    assert read_yaml("a: !!python/tuple [1, 2]", tuples=True) == {"a": ["1", "2"]}
    with pytest.raises(ValueError, match="line 1: has a tag"):
        read_yaml("a: !!python/tuple [1, 2]")
    for text in ("a: !!python/object/apply:os.system [x]", "a: !!python/tuple b", "a: !!python/tuple {b: 1}"):
        with pytest.raises(ValueError, match="line 1: has a tag"):
            read_yaml(text, tuples=True)


# --- what the reader makes of it -------------------------------------------------------------------------


def test_frames(truth, parted):
    assert len(parted) == 5 * 2 * 2
    number = 0
    for recording, side in enumerate(SIDES_OF):
        for serial in (SERIALS[0], SERIALS[6]):
            for position, view in enumerate(truth.views[recording, serial]):
                frame = parted[number]
                number += 1
                assert (frame.serial, frame.frame, frame.sequence.side) == (serial, position, side)
                hand = ("right", "left").index(side)
                known = frame.sample.joint_valid.all(dim=1).tolist()
                assert known[hand] == (view.joints is not None)
                assert not known[1 - hand]
                assert (frame.fit is None) == (view.hand is None)
                if view.joints is not None:
                    assert torch.equal(frame.sample.joints[hand], view.joints)
                    assert torch.equal(frame.image_joints, view.image_joints)
                    projected = frame.sample.camera.project(view.joints)
                    assert torch.allclose(projected, view.image_joints, atol=1e-3)
                    assert torch.equal(torch.cat([frame.fit.pose, frame.fit.translation]), view.hand)
                    assert torch.equal(frame.fit.shape, truth.shape)
                assert torch.equal(frame.segmentation, view.segmentation)
                for label, found, expected in zip(IDS, frame.objects, view.objects, strict=True):
                    assert (found is None) == (expected is None)
                    if expected is not None:
                        assert found.name == YCB_CLASSES[label]
                        assert torch.equal(found.rotation, expected[0])
                        assert torch.equal(found.translation, expected[1])
                assert frame.grasped.label == 5
                assert frame.scored_in_bop == (position == 0)
                assert frame.image().shape == (480, 640, 3)
                assert torch.allclose(frame.depth(), torch.full((480, 640), 0.7 + 0.001 * recording))
    assert parted[-1].frame == parted[len(parted) - 1].frame
    with pytest.raises(IndexError):
        parted[len(parted)]


def test_the_fit_makes_the_joints_with_the_left_models_fault(parted):
    for frame in parted:
        if frame.fit is None:
            with pytest.raises(DataError, match="has no fit of the hand"):
                frame.surface(hands("dexycb"))
            continue
        hand = ("right", "left").index(frame.fit.side)
        expected = frame.sample.joints[hand]
        assert torch.allclose(frame.surface(hands("dexycb")).joints[0], expected, atol=1e-5)
        if frame.fit.side == "left":
            # Repaired, as other data sets want it, the same numbers are another hand.
            repaired = hands("interhand26m")["left"].layer.shapedirs
            wrong = hands.__wrapped__("dexycb")
            wrong["left"].layer.shapedirs.copy_(repaired)
            assert (frame.surface(wrong).joints[0] - expected).norm(dim=-1).max() > 1e-4


def test_labels_are_the_world_poses_seen_from_each_camera(truth, parted):
    sequence = parted.sequences[4]
    world = parted.world_poses(sequence)
    assert torch.equal(world.hand, truth.world_hand)
    assert world.hand_valid.all()
    assert world.object_valid.all()
    quaternions = truth.world_objects[..., :4].double().reshape(-1, 4).numpy()
    matrices = Rotation.from_quat(quaternions).as_matrix().reshape(2, 3, 3, 3)
    assert np.allclose(world.object_rotation, matrices, atol=1e-6)
    poses = parted.world_from_camera(sequence)
    for frame in list(parted)[-4:]:
        camera = poses[frame.serial]
        for number, seen in enumerate(frame.objects):
            rotation = camera[:3, :3] @ seen.rotation
            place = camera[:3, :3] @ seen.translation + camera[:3, 3]
            assert torch.allclose(rotation, world.object_rotation[frame.frame, number], atol=1e-5)
            assert torch.allclose(place, world.object_translation[frame.frame, number], atol=1e-5)
    first = parted.world_poses(parted.sequences[0])
    assert first.object_valid.tolist() == [[True] * 3, [True, False, True]]
    assert not first.object_rotation[1, 1].any()


# --- splits ----------------------------------------------------------------------------------------------


def places(setup: str, split: str) -> set[tuple[int, int, int]]:
    part = SPLITS[setup][split]
    return {(s, c, i) for s in part.subjects for c in part.cameras for i in range(100) if part.sequences(i)}


@pytest.mark.parametrize("setup", ["s0", "s1", "s2", "s3"])
def test_splits_share_nothing_and_leave_nothing_out(setup):
    parts = [places(setup, split) for split in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 10 * 8 * 100


def test_splits_are_the_official_ones():
    """The table of the release, as it was written down from its toolkit."""
    assert places("s0", "val") == {(s, c, i) for s in (0, 1) for c in range(8) for i in range(4, 100, 5)}
    assert {s for s, _, _ in places("s1", "train")} == {0, 1, 2, 3, 4, 5, 9}
    assert {s for s, _, _ in places("s1", "val")} == {6}
    assert {c for _, c, _ in places("s2", "val")} == {6}
    assert {c for _, c, _ in places("s2", "test")} == {7}
    assert {i // 5 for _, _, i in places("s3", "val")} == {3, 19}
    assert {i // 5 for _, _, i in places("s3", "test")} == {7, 11, 15}


def test_splits_of_what_is_here(truth):
    assert len(DexYCB(truth.root, "s0", "train")) == 4 * 2 * 2
    assert [s.name for s in DexYCB(truth.root, "s0", "val").sequences] == ["20200709_140400"]
    assert {frame.serial for frame in DexYCB(truth.root, "s2", "train")} == {SERIALS[0]}
    assert {frame.serial for frame in DexYCB(truth.root, "s2", "val")} == {SERIALS[6]}
    with pytest.raises(MissingData, match="20200820-subject-03 is missing, and so is every other subject"):
        DexYCB(truth.root, "s0", "test")
    with pytest.raises(MissingData, match="has no photograph of s2 test"):
        DexYCB(truth.root, "s2", "test")


def test_joints_for_the_evaluation(truth):
    dataset = DexYCB(truth.root)
    joints, valid = dataset.joints()
    assert valid.tolist() == [frame.fit is not None for frame in dataset]
    assert valid.sum() == len(dataset) - 1
    for number, frame in enumerate(dataset):
        assert torch.equal(joints[number], frame.sample.joints.sum(dim=0))
    assert len(dataset.image_paths()) == len(dataset)
    assert dataset.image_paths()[5] == dataset[5].image_path


def test_photographs_without_a_hand_are_left_out_and_counted(copy):
    folder = meta(copy).parent / SERIALS[0]
    (folder / "labels_000000.npz").unlink()
    Image.new("RGB", (640, 480)).save(folder / "color_000001.jpg")
    dataset = DexYCB(copy)
    usable, skipped = dataset.usable()
    assert skipped.reasons == {
        "labels missing": 1, "no label of the hand": 1, "photograph missing": 0, "photograph broken": 0,
        "photograph black": 1,
    }  # fmt: skip
    # The second camera's second frame has no label; numbers stay the official ones.
    assert usable.numbers.tolist() == [2, *range(4, 16)]
    for place, number in enumerate(usable.numbers.tolist()):
        assert usable[place].image_path == dataset.image_paths()[number] == usable.image_paths()[place]
    assert usable.joints()[1].all()
    assert usable[-1].image_path == dataset[15].image_path
    assert len(dataset.usable(photograph=False)[0]) == 14


# --- checks and bad input --------------------------------------------------------------------------------


def test_the_check_says_what_is_there(truth, copy):
    text, code = check_command("dexycb", str(truth.root))
    assert code == 3
    for line in (
        "s0 train: 16 photographs of 4 recordings", "s0 val: 4 photographs of 1 recordings",
        "9 of the 10 subjects are missing", "subject-01: 5 of 100 recordings, so that the splits s0 and s3",
        "20200709_140000: 2 of 8 cameras", "CC-BY-NC 4.0",
    ):  # fmt: skip
        assert line in text
    (meta(copy).parent / SERIALS[0] / "color_000001.jpg").unlink()
    text, code = check_command("dexycb", str(copy))
    assert code == 3
    assert "s0 train: 1 of 16 photographs, the first" in text
    meta(copy, 4).unlink()
    text, code = check_command("dexycb", str(copy))
    assert code == 1
    assert "meta.yml is missing" in text[text.index("CORRUPT:") :]
    shutil.rmtree(copy / SUBJECTS[0])
    text, code = check_command("dexycb", str(copy))
    assert code == 1
    assert "a subject's folder, as 20200709-subject-01" in text[text.index("MISSING:") :]


def test_where_there_is_nothing(tmp_path):
    with pytest.raises(MissingData, match="nowhere is not a folder; `hands data check dexycb`"):
        DexYCB(tmp_path / "nowhere")
    with pytest.raises(DataError, match="unknown set-up 's4'"):
        DexYCB(tmp_path, "s4")
    with pytest.raises(DataError, match="unknown split 'evaluation'"):
        DexYCB(tmp_path, "s0", "evaluation")
    text, code = check_command("dexycb", str(tmp_path))
    assert code == 1
    for line in ("MISSING:", "calibration", "get it at", "put it in"):
        assert line in text


METAS = {
    "objects": ({"ycb_ids": [1, 22, 5]}, "ycb_ids is '22', no whole number from 1 to 21"),
    "no objects": ({"ycb_ids": []}, "no list 'ycb_ids', or an empty one"),
    "grasped": ({"ycb_grasp_ind": 3}, "ycb_grasp_ind is '3', no whole number from 0 to 2"),
    "side": ({"mano_sides": ["both"]}, "mano_sides is 'both'"),
    "leaves": ({"mano_calib": ["../../x"]}, "mano_calib is '../../x', no name of a calibration"),
    "extrinsics": ({"extrinsics": [1]}, "extrinsics is .*, no name of a calibration"),
    "frames": ({"num_frames": -2}, "num_frames is '-2'"),
    "serials": ({"serials": "all"}, "no list 'serials'"),
}


@pytest.mark.parametrize(("change", "message"), METAS.values(), ids=METAS.keys())
def test_a_broken_meta_is_named(copy, change, message):
    path = change_meta(copy, **change)
    with pytest.raises(DataError, match=message) as caught:
        DexYCB(copy)
    assert str(path) in str(caught.value)


CALIBRATION = {
    "tag": (COLOUR, "color: !!python/object/apply:os.system [x]", "has a tag"),
    "no colour": (COLOUR, "depth: {fx: 1}", "no names with values under 'color'"),
    "no focal": (COLOUR, "color: {fx: 1}", "fy is .None., where 1 numbers"),
    "focal": (COLOUR, "color: {fx: 0, fy: 1, ppx: 1, ppy: 1}", "not above 0"),
    "betas": (SHAPE, "betas: [1, 2]", "where 10 numbers belong"),
    "infinite": (SHAPE, f"betas: [{', '.join(['.inf'] * 10)}]", "where 10 numbers belong"),
    "too large": (SHAPE, f"betas: [{', '.join(['1e300'] * 10)}]", "betas is not finite"),
    "octal": (SHAPE, f"betas: [{', '.join(['0.5'] * 9 + ['017'])}]", "where 10 numbers belong"),
    "no names": (SHAPE, "- 1", "betas is None"),
}


@pytest.mark.parametrize(("name", "text", "message"), CALIBRATION.values(), ids=CALIBRATION.keys())
def test_broken_calibration_is_named(copy, name, text, message):
    path = copy / "calibration" / name
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        DexYCB(copy)[0]
    assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(MissingData, match="is missing: unpack it again, with the folder calibration"):
        DexYCB(copy)[0]


def test_broken_extrinsics_are_named(copy):
    path = copy / "calibration" / f"extrinsics_{EXTRINSICS}" / "extrinsics.yml"
    dataset = DexYCB(copy)
    path.write_text("extrinsics: {apriltag: !!python/tuple [1, 2]}\nmaster: a\n")
    with pytest.raises(DataError, match="'apriltag' is .*, where 12 numbers belong"):
        dataset.world_from_camera(dataset.sequences[0])
    path.write_text("master: a\n")
    with pytest.raises(DataError, match="under 'extrinsics'"):
        dataset.world_from_camera(dataset.sequences[0])


LABELS = {
    "seg": ("seg", lambda a: a[:240], r"seg is uint8 of shape \(240, 640\)"),
    "wide seg": ("seg", lambda a: a.astype(np.int64), "seg is int64"),
    "objects": ("pose_y", lambda a: a[:2], r"pose_y is float32 of shape \(2, 3, 4\)"),
    "pose": ("pose_m", lambda a: a[:, :48], r"pose_m is float32 of shape \(1, 48\)"),
    "NaN": ("joint_3d", lambda a: a * np.nan, "joint_3d is not finite"),
    "whole": ("joint_2d", lambda a: a.astype(np.int32), "joint_2d is int32"),
    "absent": ("joint_2d", lambda a: None, "has no joint_2d"),
    "objects of Python": ("pose_m", lambda a: np.array([{}], dtype=object), "holds objects"),
}


@pytest.mark.parametrize(("key", "change", "message"), LABELS.values(), ids=LABELS.keys())
def test_broken_labels_are_named(copy, key, change, message):
    path = meta(copy).parent / SERIALS[0] / "labels_000000.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays[key] = change(arrays[key])
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=message) as caught:
        DexYCB(copy)[0]
    assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(MissingData, match="labels_000000.npz is missing"):
        DexYCB(copy)[0]


def test_a_photograph_in_the_place_of_a_depth_map(copy):
    folder = meta(copy).parent / SERIALS[0]
    Image.new("RGB", (640, 480)).save(folder / "aligned_depth_to_color_000000.png")
    frame = DexYCB(copy)[0]
    with pytest.raises(DataError, match="no grey PNG of 16 bits .Pillow's mode RGB."):
        frame.depth()
    Image.fromarray(np.zeros((48, 64), np.uint16)).save(folder / "aligned_depth_to_color_000000.png")
    with pytest.raises(DataError, match="has 64 x 48 pixels"):
        frame.depth()


def test_poses_that_are_no_rotations(copy):
    path = meta(copy).parent / "pose.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["pose_y"][0, 0, :4] = 0
    np.savez(path, **arrays)
    dataset = DexYCB(copy)
    with pytest.raises(DataError, match="a quaternion of next to no length"):
        dataset.world_poses(dataset.sequences[0])


# --- the writer ------------------------------------------------------------------------------------------


def test_what_the_writer_refuses(truth, tmp_path):
    intrinsics, extrinsics = {SERIALS[0]: truth.intrinsics}, {SERIALS[0]: torch.eye(4)}
    with pytest.raises(DataError, match="already holds something"):
        DexYCBWriter(truth.root, intrinsics, extrinsics, EXTRINSICS)
    with pytest.raises(DataError, match="400000 is none of DexYCB's cameras"):
        DexYCBWriter(tmp_path / "a", {"400000": truth.intrinsics}, extrinsics, EXTRINSICS)
    writer = DexYCBWriter(tmp_path / "b", intrinsics, extrinsics, EXTRINSICS)
    views = truth.views[0, SERIALS[0]]
    rest = {
        "ycb_ids": IDS, "grasped": 0, "side": "right", "shape": truth.shape, "shape_name": "a",
        "world_objects": truth.world_objects, "world_hand": truth.world_hand,
    }  # fmt: skip
    with pytest.raises(DataError, match="a subject, a side or an object is unknown"):
        writer.add("me", "a", {SERIALS[0]: views}, **rest)
    with pytest.raises(DataError, match="has views of"):
        writer.add(SUBJECTS[0], "a", {SERIALS[1]: views}, **rest)
    with pytest.raises(DataError, match="different numbers of frames"):
        writer.add(SUBJECTS[0], "a", {SERIALS[0]: views[:1]}, **rest)
    writer.add(SUBJECTS[0], "a", {SERIALS[0]: views}, **rest)
    with pytest.raises(DataError, match="already has a recording a"):
        writer.add(SUBJECTS[0], "a", {SERIALS[0]: views}, **rest)

"""The fixture is in the official form; the reader makes of it what was known before it was written."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_object_sets import HO3DTruth, hands, ho3d_annotation, write_ho3d
from hostile_pickles import hostile_pickles
from PIL import Image
from scipy.spatial.transform import Rotation

from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.ho3d import DEPTH_UNIT, FRAMES, HO3D
from hands_lib.data.ho3d_writer import HO3DWriter, python2_pickle
from hands_lib.data.manifest import check_command, load_manifest
from hands_lib.hand.skeleton import reorder

FINGERS = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
"""From the file's order to wrist, thumb ... little, as the release's users write it."""
OPENGL = np.array([1.0, -1.0, -1.0])


@pytest.fixture(scope="session", params=["v2", "v3"])
def written(request, tmp_path_factory) -> tuple[str, HO3DTruth]:
    return request.param, write_ho3d(tmp_path_factory.mktemp("ho3d") / request.param, request.param)


@pytest.fixture(scope="session")
def second(tmp_path_factory) -> HO3DTruth:
    return write_ho3d(tmp_path_factory.mktemp("ho3d") / "v2")


@pytest.fixture
def copy(second, tmp_path) -> Path:
    return Path(shutil.copytree(second.root, tmp_path / "copy"))


def meta(root: Path, name: str) -> dict:
    split, sequence, frame = name.split("/")
    with (root / split / sequence / "meta" / f"{frame}.pkl").open("rb") as file:
        return pickle.load(file, encoding="latin1")  # as the release's own programs do


def edit(root: Path, name: str, **changes) -> Path:
    split, sequence, frame = name.split("/")
    path = root / split / sequence / "meta" / f"{frame}.pkl"
    path.write_bytes(python2_pickle(meta(root, name) | changes))
    return path


# --- the official form -----------------------------------------------------------------------------------


def test_the_files_are_the_releases(written):
    version, truth = written
    suffix = {"v2": "png", "v3": "jpg"}[version]
    for path in ("train.txt", "evaluation.txt", "evaluation_xyz.json", "evaluation_verts.json",
                 f"train/FX1/rgb/0000.{suffix}", "train/FX1/depth/0000.png",
                 f"evaluation/FX2/rgb/0007.{suffix}"):  # fmt: skip
        assert (truth.root / path).is_file(), path
    assert (truth.root / "train.txt").read_text() == "FX1/0000\nFX1/0001\n"  # 0002 is not annotated
    content = meta(truth.root, "train/FX1/0000")
    assert content["objRot"].shape == (3, 1)
    assert content["handJoints3D"].shape == (21, 3)
    assert (content["handJoints3D"][:, 2] < 0).all()  # before an OpenGL camera
    assert content["objName"] == "006_mustard_bottle"
    assert ("handVertContact" in content) == (version == "v3")
    assert "handBoundingBox" not in content
    evaluation = meta(truth.root, "evaluation/FX2/0000")
    assert evaluation["handJoints3D"].shape == (3,)
    assert "handPose" not in evaluation
    assert len(evaluation["handBoundingBox"]) == 4
    bare = meta(truth.root, "train/FX1/0002")
    assert bare["handPose"] is bare["handJoints3D"] is bare["objTrans"] is None
    assert np.shape(json.loads((truth.root / "evaluation_verts.json").read_text())) == (2, 778, 3)


def test_the_pickles_are_python_2s():
    """Text and bytes are one kind of string there, and NumPy's modules have their old names."""
    raw = python2_pickle({"objName": "a", "camMat": np.full((9, 9), -200.7), "none": None, "list": [1, 2.5]})
    assert raw.startswith(b"\x80\x02")
    assert b"cnumpy.core.multiarray\n" in raw
    assert b"numpy._core" not in raw
    assert b"_codecs" not in raw  # how Python 3 writes bytes for Python 2
    with pytest.raises(UnicodeDecodeError):
        pickle.loads(raw)
    content = pickle.loads(raw, encoding="latin1")
    assert (content["camMat"] == -200.7).all()
    assert content["list"] == [1, 2.5]


# --- what the reader makes of it -------------------------------------------------------------------------


def test_training_frames(written):
    version, truth = written
    dataset = HO3D(truth.root, version=version)
    assert dataset.names() == ["FX1/0000", "FX1/0001"]
    for frame in dataset:
        name = f"train/{frame.sequence}/{frame.name}"
        expected, content = truth.annotations[name], meta(truth.root, name)
        assert frame.sample.joint_valid.all(dim=1).tolist() == [True, False]
        assert torch.equal(frame.sample.joints[0], expected.joints)
        assert (frame.sample.joints[0, :, 2] > 0).all()  # before an OpenCV camera
        assert np.allclose(frame.sample.joints[0], content["handJoints3D"][FINGERS] * OPENGL, atol=1e-7)
        for part in ("pose", "shape", "translation"):
            assert torch.equal(getattr(frame.fit, part), getattr(expected.fit, part))
        for part in ("translation", "corners", "rest_corners"):
            assert torch.equal(getattr(frame.held, part), getattr(expected.held, part))
        assert torch.allclose(frame.held.rotation, expected.held.rotation, atol=1e-6)
        assert frame.held.label == 5
        assert torch.equal(frame.sample.camera.intrinsics, truth.camera.intrinsics)
        assert (frame.contact is None) == (version == "v2")
        if version == "v3":
            for part in ("touching", "distance", "inside", "nearest"):
                assert torch.equal(getattr(frame.contact, part), getattr(expected.contact, part))


def test_object_and_corners_agree_in_opencvs_frame(written):
    """What a person would do by hand: turn by the axis-angle, shift, and only then change the frame."""
    version, truth = written
    for frame in HO3D(truth.root, version=version):
        content = meta(truth.root, f"train/{frame.sequence}/{frame.name}")
        turn = Rotation.from_rotvec(content["objRot"].reshape(3)).as_matrix()
        corners = (content["objCorners3DRest"] @ turn.T + content["objTrans"]) * OPENGL
        assert np.allclose(frame.held.transform(frame.held.rest_corners), corners, atol=1e-6)
        assert torch.allclose(frame.held.corners, frame.held.transform(frame.held.rest_corners), atol=1e-6)
        assert torch.linalg.det(frame.held.rotation).item() == pytest.approx(1, abs=1e-5)


def test_projection_is_that_of_the_releases_own_programs(written):
    version, truth = written
    frame = HO3D(truth.root, version=version)[0]
    content = meta(truth.root, "train/FX1/0000")
    points = content["handJoints3D"] * OPENGL @ content["camMat"].T
    pixels = (points[:, :2] / points[:, 2:])[FINGERS]
    assert np.allclose(frame.sample.camera.project(frame.sample.joints[0]), pixels, atol=1e-3)


def test_the_fit_makes_the_joints(written):
    version, truth = written
    for frame in HO3D(truth.root, version=version):
        surface = frame.surface(hands("ho3d")["right"])
        expected = truth.annotations[f"train/{frame.sequence}/{frame.name}"]
        assert torch.allclose(surface.joints[0], frame.sample.joints[0], atol=1e-6)
        assert torch.allclose(surface.vertices[0], expected.vertices, atol=1e-6)


def test_evaluation_frames_and_their_truth(written):
    version, truth = written
    dataset = HO3D(truth.root, "evaluation", version=version)
    published = dataset.truth()
    assert published.joints.dtype == torch.float64
    for number, frame in enumerate(dataset):
        expected = truth.annotations[f"evaluation/{frame.sequence}/{frame.name}"]
        assert frame.sample.joint_valid.sum().item() == 1
        assert torch.equal(frame.sample.joints[0, 0], expected.joints[0])
        assert torch.equal(frame.box, expected.box)
        assert frame.fit is None
        assert frame.held is not None
        assert torch.equal(published.joints[number], expected.joints.double())
        assert torch.equal(published.vertices[number], expected.vertices.double())
        with pytest.raises(DataError, match="has no fit"):
            frame.surface(hands("ho3d")["right"])
    with pytest.raises(DataError, match="evaluation split alone"):
        HO3D(truth.root, version=version).truth()


def test_photographs_and_depth(written):
    version, truth = written
    for number, frame in enumerate(HO3D(truth.root, version=version)):
        assert frame.image().shape == (48, 64, 3)
        assert abs(int(frame.image()[0, 0, 0]) - 60 - 20 * number) <= 2
        assert torch.allclose(frame.depth(), truth.depth, atol=DEPTH_UNIT)
        with Image.open(frame.depth_path) as image:
            channels = np.array(image).astype(np.float64)
        assert np.allclose(frame.depth(), (channels[..., 0] + 256 * channels[..., 1]) * DEPTH_UNIT)
    assert truth.depth.max() > 256 * DEPTH_UNIT  # both bytes are used


def test_frames_without_annotation_are_left_out_and_counted(copy):
    (copy / "train.txt").write_text("FX1/0000\nFX1/0001\nFX1/0002\n")  # as a list of all frames would
    dataset = HO3D(copy)
    bare = dataset[2]
    assert not bare.sample.joint_valid.any()
    assert bare.fit is bare.held is None
    (copy / "train" / "FX1" / "meta" / "0000.pkl").unlink()
    usable, skipped = dataset.usable()
    assert usable.names() == ["FX1/0001"]
    assert (skipped.reasons["no annotation"], skipped.reasons["metadata missing"]) == (1, 1)
    Image.new("RGB", (64, 48)).save(copy / "train" / "FX1" / "rgb" / "0001.png")
    assert dataset.usable()[1].reasons["photograph black"] == 1
    assert len(dataset.usable(photograph=False)[0]) == 1


def test_truth_follows_the_frames_that_are_left(copy):
    Image.new("RGB", (64, 48)).save(copy / "evaluation" / "FX2" / "rgb" / "0000.png")
    dataset = HO3D(copy, "evaluation")
    usable, _ = dataset.usable()
    assert usable.names() == ["FX2/0007"]
    assert torch.equal(usable.truth().joints[0], dataset.truth().joints[1])


# --- checks and bad input --------------------------------------------------------------------------------


def test_the_check_says_what_is_there(written):
    version, truth = written
    name = {"v2": "ho3d", "v3": "ho3d_v3"}[version]
    text, code = check_command(name, str(truth.root))
    assert code == 3  # a part of the release
    assert "train: 2 frames of 1 sequences" in text
    assert f"its list names 2 of the release's {FRAMES[version]['train']:,} frames" in text
    assert "evaluation: joints and vertices of 2 frames" in text
    photographs = {name: split.photographs for name, split in load_manifest(name).splits.items()}
    assert photographs == FRAMES[version]


def test_one_split_is_enough_and_what_is_missing_is_named(copy):
    shutil.rmtree(copy / "evaluation")
    for path in copy.glob("evaluation*"):
        path.unlink()
    (copy / "train" / "FX1" / "rgb" / "0001.png").unlink()
    text, code = check_command("ho3d", str(copy))
    assert code == 3
    assert "train: 1 of 2 photographs, the first" in text
    with pytest.raises(MissingData, match="evaluation.txt is missing; `hands data check ho3d` says where"):
        HO3D(copy, "evaluation")


def test_the_check_reads_frames(copy):
    edit(copy, "train/FX1/0001", handTrans=np.full(3, np.nan))
    text, code = check_command("ho3d", str(copy))
    assert code == 1
    assert "0001.pkl: handTrans is not finite" in text


def test_the_truth_says_where_it_comes_from(copy):
    (copy / "evaluation_verts.json").unlink()
    with pytest.raises(MissingData, match=r"evaluation_verts.json is missing.*tugraz.*put it into"):
        HO3D(copy, "evaluation").truth()


def test_where_there_is_nothing(tmp_path):
    with pytest.raises(MissingData, match="nowhere is not a folder; `hands data check ho3d_v3`"):
        HO3D(tmp_path / "nowhere", version="v3")
    text, code = check_command("ho3d", str(tmp_path))
    assert code == 1
    for line in ("MISSING:", "evaluation.txt", "get it at", "academic research", "put it in"):
        assert line in text
    with pytest.raises(DataError, match="unknown split 'test'"):
        HO3D(tmp_path, "test")
    with pytest.raises(DataError, match="unknown version 'v4'"):
        HO3D(tmp_path, version="v4")


def test_the_other_version_is_recognised(written):
    version, truth = written
    other = {"v2": "v3", "v3": "v2"}[version]
    with pytest.raises(DataError, match=f"a photograph of version {version}, and this reads {other}"):
        HO3D(truth.root, version=other)


LISTS = {
    "path": ("../FX1/0000\n", r"entry 1 is '../FX1/0000', not SEQUENCE/FRAME"),
    "no frame": ("FX1\n", "entry 1 is 'FX1'"),
    "empty": ("\n", "names no frame"),
    "twice": ("FX1/0000\nFX1/0000\n", "names FX1/0000 twice"),
    "no text": ("FX1/0000\n\u00e4\n", "is not plain text"),
}


@pytest.mark.parametrize(("text", "message"), LISTS.values(), ids=LISTS.keys())
def test_broken_lists_are_named(copy, text, message):
    (copy / "train.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        HO3D(copy)
    assert str(copy / "train.txt") in str(caught.value)


METAS = {
    "other keys": (None, "has no camMat, not even as None"),
    "short pose": ({"handPose": np.zeros(45)}, r"handPose is float64 of shape \(45,\)"),
    "text": ({"handPose": "a"}, "handPose: a str stands where an array belongs"),
    "half a fit": ({"handBeta": None}, "has handPose but no handBeta"),
    "half an object": ({"objRot": None}, "has objTrans but no objRot"),
    "NaN": ({"handJoints3D": np.full((21, 3), np.nan)}, "handJoints3D is not finite"),
    "root alone": ({"handJoints3D": np.zeros(3)}, r"handJoints3D is float64 of shape \(3,\)"),
    "camera": ({"camMat": np.zeros((3, 3))}, "camMat is not a camera matrix"),
    "name": ({"objName": 3}, "objName is 3"),
    "label": ({"objLabel": "5"}, "objLabel is '5'"),
    "list of text": ({"objTrans": ["a", "b", "c"]}, "objTrans is not an array of numbers"),
}


@pytest.mark.parametrize(("change", "message"), METAS.values(), ids=METAS.keys())
def test_broken_metadata_are_named(copy, change, message):
    path = edit(copy, "train/FX1/0000", **(change or {}))
    if change is None:
        path.write_bytes(python2_pickle({"weights": 1}))
    with pytest.raises(DataError, match=message) as caught:
        HO3D(copy)[0]
    assert str(path) in str(caught.value)


def test_metadata_cannot_run_programs(copy, tmp_path):
    path = copy / "train" / "FX1" / "meta" / "0000.pkl"
    trace = tmp_path / "trace"
    path.write_bytes(f"cposix\nsystem\n(S'touch {trace}'\ntR.".encode())
    with pytest.raises(DataError, match="names posix.system.*nothing was executed"):
        HO3D(copy)[0]
    assert not trace.exists()
    hostile = hostile_pickles()  # all of them are tried where pickles are read, and by the fuzzer
    for name in (
        "an array of pointers",
        "an array of 16 GB",
        "a persistent object",
        "a list that holds itself",
    ):
        path.write_bytes(hostile[name])
        with pytest.raises(DataError, match=r"0000\.pkl"):
            HO3D(copy)[0]
    path.unlink()
    with pytest.raises(MissingData, match="but the list names its frame"):
        HO3D(copy)[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([[[0.0] * 3] * 21], "has 1 entries and .* has 2"),
        ([[[0.0] * 3] * 20] * 2, r"entry 0 has shape \(20, 3\)"),
        ([[[None] * 3] * 21] * 2, "entry 0 is not finite"),
        ({"a": 1}, "is not a list"),
        ([], "lists no frame"),
    ],
)
def test_a_broken_truth_is_named(copy, content, message):
    (copy / "evaluation_xyz.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        HO3D(copy, "evaluation").truth()
    assert str(copy / "evaluation_xyz.json") in str(caught.value)


def test_a_truth_of_another_list_is_refused(copy):
    (copy / "evaluation.txt").write_text("FX2/0000\n")
    with pytest.raises(DataError, match="has 2 entries, and .* names 1 frames"):
        HO3D(copy, "evaluation").truth()


# --- the writer ------------------------------------------------------------------------------------------


def test_what_the_writer_refuses(tmp_path, second):
    with pytest.raises(DataError, match="already holds something"):
        HO3DWriter(second.root)
    with pytest.raises(DataError, match="unknown version"):
        HO3DWriter(tmp_path / "a", "v1")
    writer = HO3DWriter(tmp_path / "b", "v3")
    image, depth = np.zeros((48, 64, 3), np.uint8), torch.zeros(48, 64)
    annotation = ho3d_annotation(0)
    with pytest.raises(DataError, match="no labels of contact"):
        writer.add("train", "A", 0, image, depth, second.camera, annotation)
    with pytest.raises(DataError, match="the hand has no box"):
        writer.add("evaluation", "A", 0, image, depth, second.camera, annotation)
    with pytest.raises(DataError, match="unknown split"):
        writer.add("test", "A", 0, image, depth, second.camera, None)
    with pytest.raises(DataError, match="a depth is below 0 or above 8.19 m"):
        writer.add("train", "A", 0, image, depth + 9, second.camera, None)
    writer.add("train", "A", 0, image, depth, second.camera, None)
    with pytest.raises(DataError, match="already has a frame A/0000"):
        writer.add("train", "A", 0, image, depth, second.camera, None)


def test_the_files_joint_order_is_the_releases():
    rows = torch.arange(21.0)[:, None]
    assert reorder(rows, "ho3d", "hands").flatten().long().tolist() == FINGERS

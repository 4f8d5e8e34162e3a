"""Predictions go through the files that the servers take, and come back as they were."""

import json
import zipfile

import numpy as np
import pytest
import torch
from hand_object_sets import write_dexycb, write_ho3d

from hands_lib.data.dexycb import DexYCB
from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.hand_object_results import (
    read_dexycb_predictions,
    read_ho3d_predictions,
    write_dexycb_predictions,
    write_ho3d_predictions,
)
from hands_lib.data.ho3d import HO3D
from hands_lib.metrics.hand_object import dexycb_scores, ho3d_scores


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory) -> HO3D:
    return HO3D(write_ho3d(tmp_path_factory.mktemp("results") / "ho3d").root, "evaluation")


def scores(predicted, truth) -> dict[str, float]:
    return ho3d_scores(predicted.joints, truth.joints, predicted.vertices, truth.vertices, frames=2)


def test_a_perfect_prediction_is_the_published_truth(evaluation, tmp_path):
    """Joints in the release's order and OpenGL's frame: number for number what `evaluation_xyz.json` says."""
    truth = evaluation.truth()
    path = write_ho3d_predictions(tmp_path / "pred.json", truth.joints, truth.vertices)
    joints, vertices = json.loads(path.read_text())
    for found, name in ((joints, "xyz"), (vertices, "verts")):
        assert found == json.loads((evaluation.root / f"evaluation_{name}.json").read_text())
    assert (np.array(joints)[..., 2] < 0).all()
    read = read_ho3d_predictions(path, frames=2)
    assert torch.equal(read.joints, truth.joints)
    assert torch.equal(read.vertices, truth.vertices)
    assert scores(read, truth)["xyz_mean3d"] == 0


def test_the_zip_holds_the_same_file(evaluation, tmp_path):
    truth = evaluation.truth()
    plain = write_ho3d_predictions(tmp_path / "pred.json", truth.joints, truth.vertices)
    packed = write_ho3d_predictions(tmp_path / "pred.zip", truth.joints, truth.vertices)
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == ["pred.json"]
        assert archive.read("pred.json") == plain.read_bytes()


def test_predictions_in_the_wrong_axes_are_refused(evaluation, tmp_path):
    truth = evaluation.truth()
    flip = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    with pytest.raises(DataError, match=r"pred.json: the joints of frame 0 lie behind the camera"):
        write_ho3d_predictions(tmp_path / "pred.json", truth.joints * flip, truth.vertices * flip)
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps([truth.joints.tolist(), truth.vertices.tolist()]))  # OpenCV's frame
    with pytest.raises(DataError, match=r"theirs.json.*frame 0 all have z above 0.*OpenGL's"):
        read_ho3d_predictions(path)
    mixed = truth.vertices.clone()
    mixed[1] *= flip
    with pytest.raises(DataError, match="the vertices of frame 1 lie behind"):
        write_ho3d_predictions(tmp_path / "pred.json", truth.joints, mixed)


def test_predictions_of_another_surface(evaluation, tmp_path):
    truth = evaluation.truth()
    path = write_ho3d_predictions(tmp_path / "pred.json", truth.joints, truth.vertices[:, :100])
    assert read_ho3d_predictions(path).vertices.shape == (2, 100, 3)


PREDICTIONS = {
    "one list": ([[[[0.0, 0, -1]] * 21]], "fewer than 2 lists"),
    "three lists": ([[[[0.0, 0, -1]] * 21], [[[0.0, 0, -1]] * 778], [[1]]], "has more than 2 lists"),
    "joints": ([[[[0.0, 0, -1]] * 20], [[[0.0, 0, -1]] * 778]], r"entry 0 has shape \(20, 3\)"),
    "surfaces": (
        [[[[0.0, 0, -1]] * 21] * 2, [[[0.0, 0, -1]] * 778, [[0.0, 0, -1]] * 700]],
        r"entry 1 has shape \(700, 3\)",
    ),
    "counts": ([[[[0.0, 0, -1]] * 21] * 2, [[[0.0, 0, -1]] * 778]], "joints of 2 frames and vertices of 1"),
    "empty surface": ([[[[0.0, 0, -1]] * 21], [[]]], r"entry 0 is \[\], not an array"),
    "text": ([[[["a", 0, -1]] * 21], [[[0.0, 0, -1]] * 778]], "entry 0 is not an array of numbers"),
    "object": ({"a": 1}, "is not a list"),
    "frames": ([[[[0.0, 0, -1]] * 21], [[[0.0, 0, -1]] * 778]], "has 1 frames, where 11524 belong"),
}


@pytest.mark.parametrize(("content", "message"), PREDICTIONS.values(), ids=PREDICTIONS.keys())
def test_broken_predictions_are_named(tmp_path, content, message):
    path = tmp_path / "pred.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        read_ho3d_predictions(path, frames=11524)
    assert str(path) in str(caught.value)


def test_what_the_writer_refuses(evaluation, tmp_path):
    truth = evaluation.truth()
    with pytest.raises(DataError, match="neither .json nor .zip"):
        write_ho3d_predictions(tmp_path / "pred.npz", truth.joints, truth.vertices)
    with pytest.raises(DataError, match="joints of 2 frames and vertices of 1"):
        write_ho3d_predictions.__wrapped__(tmp_path / "pred.json", truth.joints, truth.vertices[:1])
    with pytest.raises(DataError, match="vertices hold NaN"):
        write_ho3d_predictions(tmp_path / "pred.json", truth.joints, truth.vertices * torch.nan)
    with pytest.raises(MissingData, match="cannot be written"):
        write_ho3d_predictions(tmp_path / "no" / "pred.json", truth.joints, truth.vertices)
    with pytest.raises(MissingData, match="cannot be read"):
        read_ho3d_predictions(tmp_path / "pred.json")


# --- DexYCB ----------------------------------------------------------------------------------------------


def test_dexycbs_lines(tmp_path):
    dataset = DexYCB(write_dexycb(tmp_path / "dexycb").root)
    truth, valid = dataset.joints()
    assert valid.sum().item() == len(dataset) - 1
    path = write_dexycb_predictions(tmp_path / "hpe.txt", truth, valid)
    lines = path.read_text().splitlines()
    assert len(lines) == len(dataset) - 1
    assert all(len(line.split(",")) == 64 for line in lines)
    number, *values = lines[0].split(",")
    assert number == "0"
    assert np.allclose(np.array(values, float).reshape(21, 3), 1000 * truth[0].numpy(), atol=1e-4)
    joints, predicted = read_dexycb_predictions(path, len(dataset))
    assert torch.equal(predicted, valid)
    assert torch.allclose(joints, truth.double(), atol=1e-12)
    found = dexycb_scores(joints, truth, valid)
    assert all(row["mpjpe"] < 1e-4 for row in found.values())  # float32's millimetres
    assert len(write_dexycb_predictions(tmp_path / "all.txt", truth).read_text().splitlines()) == 16


LINES = {
    "short": ("0," + ",".join(["1"] * 62), "line 1 has 63 numbers, where 64 belong"),
    "text": ("0," + ",".join(["a"] * 63), "something that is no number"),
    "image": ("4," + ",".join(["1"] * 63), "image 4, which is there already or none of the 4"),
    "negative": ("-1," + ",".join(["1"] * 63), "image -1"),
    "twice": ("\n".join(["0," + ",".join(["1"] * 63)] * 2), "line 2 is about image 0"),
    "NaN": ("0," + ",".join(["nan"] * 63), "is not finite"),
    "no text": ("é", "is not plain text"),
}


@pytest.mark.parametrize(("text", "message"), LINES.values(), ids=LINES.keys())
def test_broken_lines_are_named(tmp_path, text, message):
    path = tmp_path / "hpe.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_dexycb_predictions(path, 4)
    assert str(path) in str(caught.value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(MissingData, match="cannot be read"):
        read_dexycb_predictions(tmp_path / "no.txt", 4)
    with pytest.raises(MissingData, match="cannot be written"):
        write_dexycb_predictions(tmp_path / "no" / "a.txt", torch.zeros(1, 21, 3))
    with pytest.raises(DataError, match="leave these images out"):
        write_dexycb_predictions(tmp_path / "a.txt", torch.full((1, 21, 3), torch.nan))

"""Oracles: the JSON itself, the printed camera formula in numpy, and the release's own boxes."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.interhand26m import InterHand26M, splits_in

# The order of the release's skeleton.txt, typed here again on purpose.
FINGERS = ("thumb", "index", "middle", "ring", "little")
DISK_ORDER = [f"{finger}_{number}" for finger in FINGERS for number in (4, 3, 2, 1)] + ["wrist"]
LIBRARY_ORDER = ["wrist"] + [f"{finger}_{number}" for finger in FINGERS for number in (1, 2, 3, 4)]


def _json(dataset: InterHand26M, kind: str) -> dict:
    return json.loads(dataset.file(kind).read_text())


def test_frames_are_those_of_the_file(capture):
    dataset = InterHand26M(capture)
    content = _json(dataset, "data")
    images = {image["id"]: image for image in content["images"]}
    assert len(dataset) == len(content["annotations"]) >= 4
    for frame, annotation in zip(dataset, content["annotations"], strict=True):
        image = images[annotation["image_id"]]
        assert frame.annotation_id == annotation["id"]
        assert frame.hand_type == annotation["hand_type"]
        assert (frame.capture, frame.subject, frame.sequence) == (
            image["capture"], image["subject"], image["seq_name"],
        )  # fmt: skip
        assert (frame.camera_id, frame.frame_index) == (image["camera"], image["frame_idx"])
        assert frame.is_grey == image["camera"].startswith("41")
        assert frame.image_path.name == Path(image["file_name"]).name


def test_joints_are_metres_in_the_library_order_and_zero_where_invalid(capture):
    dataset = InterHand26M(capture)
    steps = _json(dataset, "joint_3d")
    for frame in dataset:
        step = steps[str(frame.capture)][str(frame.frame_index)]
        for hand in range(2):
            for joint, name in enumerate(LIBRARY_ORDER):
                row = 21 * hand + DISK_ORDER.index(name)
                valid = bool(np.ravel(step["joint_valid"][row])[0])
                assert bool(frame.sample.joint_valid[hand, joint]) == valid
                expected = np.array(step["world_coord"][row]) / 1000 if valid else np.zeros(3)
                assert np.allclose(frame.sample.joints[hand, joint], expected, atol=1e-6)


def test_projection_is_the_printed_formula(capture):
    dataset = InterHand26M(capture)
    cameras, steps = _json(dataset, "camera"), _json(dataset, "joint_3d")
    for frame in dataset:
        camera = {
            key: np.array(values[frame.camera_id]) for key, values in cameras[str(frame.capture)].items()
        }
        world = np.array(steps[str(frame.capture)][str(frame.frame_index)]["world_coord"])
        x, y, z = camera["camrot"] @ (world - camera["campos"]).T
        pixels = np.stack(
            [
                camera["focal"][0] * x / z + camera["princpt"][0],
                camera["focal"][1] * y / z + camera["princpt"][1],
            ],
            axis=-1,
        )
        pixels = pixels.reshape(2, 21, 2)[:, [DISK_ORDER.index(name) for name in LIBRARY_ORDER]]
        found = frame.sample.camera.project(frame.sample.joints).numpy()
        valid = frame.sample.joint_valid.numpy()
        assert valid.any()
        assert np.abs(found - pixels)[valid].max() < 1e-3


def test_annotated_box_is_the_box_of_the_projected_joints(capture):
    # The release's boxes are the joints' boxes, 1.2 times as large about the same centre.
    for frame in InterHand26M(capture):
        valid = frame.image_joint_valid & frame.sample.joint_valid
        pixels = frame.sample.camera.project(frame.sample.joints)[valid]
        corner, size = frame.bbox[:2], frame.bbox[2:]
        assert ((pixels >= corner) & (pixels <= corner + size)).all()
        low, high = pixels.amin(dim=0), pixels.amax(dim=0)
        assert torch.allclose(1.2 * (high - low), size, atol=0.01)
        assert torch.allclose((low + high) / 2, corner + size / 2, atol=0.01)


def test_right_and_left_are_not_exchanged(capture):
    # The thumb's base stands out on the palm's side. Seen from there, index to little finger run one way on a
    # right hand and the other way on a left one.
    expected = torch.tensor([1.0, -1.0])
    index, little = LIBRARY_ORDER.index("index_1"), LIBRARY_ORDER.index("little_1")
    thumb = LIBRARY_ORDER.index("thumb_1")
    for frame in InterHand26M(capture):
        joints = frame.sample.joints
        wrist = joints[:, 0]
        normal = torch.linalg.cross(joints[:, index] - wrist, joints[:, little] - wrist)
        side = ((joints[:, thumb] - wrist) * normal).sum(dim=-1).sign()
        there = frame.sample.joint_valid.sum(dim=1) >= 20
        assert torch.equal(side[there], expected[there])


def test_images_have_the_annotated_size(capture):
    for frame in InterHand26M(capture):
        image = frame.image()
        assert image.dtype == torch.uint8
        assert image.shape == (frame.sample.camera.height, frame.sample.camera.width, 3)
        assert image.float().std() > 5  # a picture, not a blank


def test_a_hand_without_its_wrist_has_no_valid_joint_in_the_image(edit, copy):
    def hide_the_left_wrist(content):
        content["annotations"][5]["joint_valid"][41] = [0]

    edit("data", hide_the_left_wrist)
    frame = InterHand26M(copy)[5]
    assert frame.hand_type == "interacting"
    assert frame.image_joint_valid[0].all()
    assert not frame.image_joint_valid[1].any()
    assert frame.sample.joint_valid[1].all()  # the rule is about the image, not about space


def test_time_steps_gather_cameras(generated):
    dataset = InterHand26M(generated)
    steps = dataset.time_steps()
    assert [step.frames for step in steps] == [(0, 1), (2, 3), (4, 5)]
    batch = dataset.skeletons()
    for number, step in enumerate(steps):
        assert torch.equal(step.sample.joints, batch.joints[number])
        for frame in step.frames:
            assert dataset[frame].frame_index == step.frame_index
            assert torch.equal(dataset[frame].sample.joints, step.sample.joints)


def test_only_selects_and_renumbers(generated):
    dataset = InterHand26M(generated)
    chosen = dataset.only("interacting")
    assert [frame.hand_type for frame in chosen] == ["interacting"] * 2
    assert [step.frames for step in chosen.time_steps()] == [(0, 1)]
    assert chosen.skeletons().joints.shape == (1, 2, 21, 3)
    assert chosen[-1].annotation_id == dataset[5].annotation_id
    assert len(dataset) == 6
    with pytest.raises(DataError, match="unknown hand type 'both'"):
        dataset.only("both")
    with pytest.raises(IndexError):
        chosen[2]


def test_a_sample_moves_with_its_camera(generated):
    sample = InterHand26M(generated)[4].sample.to(torch.float64)
    assert sample.joints.dtype == sample.camera.intrinsics.dtype == torch.float64
    assert sample.joint_valid.dtype == torch.bool


def test_layouts_read_the_same(generated, copy):
    expected = InterHand26M(generated)
    older = copy / "annotations" / "human_annot"
    (copy / "annotations" / "test").rename(older)
    with pytest.raises(MissingData, match="pass annotation_subset, one of 'human_annot'"):
        InterHand26M(copy)
    assert splits_in(copy) == ["test"]
    subset = InterHand26M(copy, annotation_subset="human_annot")
    for path in [*older.glob("*.json"), *copy.glob("images/**/*.jpg")]:
        target = copy / path.name if path.suffix == ".json" else copy / f"{path.parent.name}_{path.name}"
        path.rename(target)
    data = copy / "InterHand2.6M_test_data.json"
    content = json.loads(data.read_text())
    for image in content["images"]:
        image["file_name"] = "_".join(Path(image["file_name"]).parts[-2:])
    data.write_text(json.dumps(content))
    (copy / "images").rename(copy / "elsewhere")
    flat = InterHand26M(copy)
    for wanted, first, second in zip(expected, subset, flat, strict=True):
        assert torch.equal(wanted.sample.joints, first.sample.joints)
        assert torch.equal(wanted.sample.joints, second.sample.joints)
        assert torch.equal(wanted.image(), second.image())


def test_mano_fits_are_optional_and_have_gaps(generated, copy):
    assert InterHand26M(generated)[0].mano is None
    right = {"pose": [0.1] * 48, "shape": [0.2] * 10, "trans": [0.0, 0.1, 1.0]}
    path = copy / "annotations" / "test" / "InterHand2.6M_test_MANO_NeuralAnnot.json"
    path.write_text(json.dumps({"0": {"101": {"right": right, "left": None}}}))
    dataset = InterHand26M(copy)
    mano = dataset[0].mano
    assert mano.valid.tolist() == [True, False]
    assert torch.allclose(mano.translation, torch.tensor([[0.0, 0.1, 1.0], [0.0, 0.0, 0.0]]))
    assert torch.equal(mano.pose[0], torch.full((48,), 0.1))
    assert dataset[2].mano is None
    right["pose"].pop()
    path.write_text(json.dumps({"0": {"101": {"right": right}}}))
    with pytest.raises(DataError, match=re.escape(path.name) + ".*right hand: pose has shape"):
        InterHand26M(copy)[0].mano  # noqa: B018


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_values_of_invalid_joints_mean_nothing(edit, copy, value):
    def spoil(content):
        content["0"]["101"]["world_coord"][30] = [value] * 3  # a joint of the absent left hand

    edit("joint_3d", spoil)
    sample = InterHand26M(copy)[0].sample
    assert torch.equal(sample.joints[1], torch.zeros(21, 3))
    assert not sample.joint_valid[1].any()


def _set(*keys, to):
    """A change that sets content[k0][k1]... to a value."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = to

    return change


def _drop(*keys):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def _first(kind: str, **values):
    return lambda content: content[kind][0].update(values)


BROKEN = {
    "no images": ("data", _drop("images"), "lists no images or no annotations"),
    "empty": ("data", _set("annotations", to=[]), "lists no images or no annotations"),
    "image without width": ("data", _drop("images", 0, "width"), "image 0 has no key 'width'"),
    "image without name": ("data", _drop("images", 1, "file_name"), "image 1 has no key 'file_name'"),
    "annotation without box": ("data", _drop("annotations", 2, "bbox"), "annotation 2 has no key 'bbox'"),
    "duplicate image": ("data", _set("images", 3, "id", to=2), "image id 2 stands there more than once"),
    "duplicate annotation": ("data", _set("annotations", 1, "id", to=0), "annotation id 0 stands there more"),
    "unlisted image": ("data", _set("annotations", 1, "image_id", to=77), "annotation 1 belongs to image 77"),
    "41 flags": ("data", lambda c: c["annotations"][4]["joint_valid"].pop(), "annotation 4.*41 joints"),
    "flag 2": ("data", _set("annotations", 4, "joint_valid", 0, to=[2]), "annotation 4.*something else"),
    "no flags": ("data", _first("annotations", joint_valid=None), "annotation 0.*something else"),
    "box of three": ("data", _set("annotations", 1, "bbox", to=[1, 2, 3]), "annotation 1: bbox is not four"),
    "box of NaN": ("data", _set("annotations", 2, "bbox", to=[1, 2, 3, math.nan]), "annotation 2: bbox"),
    "hand type": ("data", _first("annotations", hand_type="both"), r"unknown hand_type \['both'\]"),
    "text width": ("data", _first("images", width="334"), "width of entry 0 of 'images' is '334'"),
    "zero width": ("data", _first("images", width=0), "an image has width 0"),
    "frame 1.5": ("data", _first("images", frame_idx=1.5), "frame_idx of entry 0 of 'images' is 1.5"),
    "number as name": ("data", _first("images", camera=400262), "camera of entry 0 of 'images' is 400262"),
    "path outside": ("data", _first("images", file_name="../../x.jpg"), "leaves the image folder"),
    "no capture": ("camera", _drop("0"), "no capture 0, which 3 frames"),
    "no camera": ("camera", _drop("0", "camrot", "400263"), "camera 400263: camrot is missing, and 3 frames"),
    "no focal": ("camera", _drop("0", "focal"), "camera 400262: focal is missing"),
    "camera NaN": ("camera", _set("0", "campos", "400262", 1, to=math.nan), "campos is not finite"),
    "camera shape": ("camera", _set("0", "princpt", "400262", to=[1.0]), r"princpt has shape \(1,\)"),
    "camera text": ("camera", _set("0", "focal", "400262", to=["a", "b"]), "focal is not an array"),
    "not a rotation": ("camera", _set("0", "camrot", "400262", 0, 0, to=3.0), "camrot is not a rotation"),
    "no frame": ("joint_3d", _drop("0", "202"), "capture 0, frame 202 is missing, and 2 photographs"),
    "no step capture": ("joint_3d", _drop("0"), "capture 0, frame 101 is missing"),
    "no coordinates": ("joint_3d", _drop("0", "303", "world_coord"), "frame 303 has no key 'world_coord'"),
    "41 joints": ("joint_3d", lambda c: c["0"]["202"]["world_coord"].pop(), r"frame 202.*shape \(41, 3\)"),
    "two numbers": ("joint_3d", lambda c: c["0"]["202"]["world_coord"][5].pop(), "frame 202.*not an array"),
    "text joint": ("joint_3d", _set("0", "202", "world_coord", 3, to=["a"] * 3), "frame 202.*not an array"),
    "20 flags": ("joint_3d", _set("0", "303", "joint_valid", to=[[True]] * 20), "frame 303: joint_valid is"),
    "NaN": ("joint_3d", _set("0", "303", "world_coord", 24, to=[math.nan, 0, 0]), "left hand's thumb_1.*24"),
    "infinity": ("joint_3d", _set("0", "101", "world_coord", 20, 2, to=math.inf), "right hand's wrist.*20"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_content_is_one_error_that_names_the_file(copy, edit, kind, change, message):
    path = edit(kind, change)
    with pytest.raises(DataError, match=message) as caught:
        InterHand26M(copy)
    assert str(path) in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("kind", ["data", "camera", "joint_3d"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[: len(raw) // 2], "is not complete JSON"),
        (lambda raw: b"", "is not complete JSON"),
        (lambda raw: b"\xff\xfe\x00" + raw, "is not JSON text"),
        (lambda raw: b"[" * 200_000, "is not an object"),
        (lambda raw: raw[:-1] + b', "x": ' + b"[" * 200_000, "is not JSON text|not complete JSON"),
        (lambda raw: b"[[]]", "is not an object"),
    ],
    ids=["half", "empty", "bytes", "nested", "nested within", "list"],
)
def test_broken_json_is_one_error_that_names_the_file(copy, kind, damage, message):
    path = copy / "annotations" / "test" / f"InterHand2.6M_test_{kind}.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        InterHand26M(copy)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["camera", "joint_3d"])
def test_json_of_another_shape_is_an_error(copy, kind):
    path = copy / "annotations" / "test" / f"InterHand2.6M_test_{kind}.json"
    path.write_text("[1, 2]")
    with pytest.raises(DataError, match=re.escape(str(path))):
        InterHand26M(copy)


def test_a_frame_listed_twice_is_an_error(copy):
    # Plain JSON would silently keep the second entry.
    path = copy / "annotations" / "test" / "InterHand2.6M_test_joint_3d.json"
    path.write_text(path.read_text().replace('"202":', '"101":'))
    with pytest.raises(DataError, match="'101' stands there twice"):
        InterHand26M(copy)


@pytest.mark.parametrize("kind", ["data", "camera", "joint_3d"])
def test_a_missing_file_is_named(copy, kind):
    path = copy / "annotations" / "test" / f"InterHand2.6M_test_{kind}.json"
    path.unlink()
    with pytest.raises(MissingData, match=f"{path.name}.*hands data check interhand26m"):
        InterHand26M(copy)


def test_a_wrong_split_or_root_is_named(generated, tmp_path):
    with pytest.raises(DataError, match="unknown split 'testing'.*train, val, test"):
        InterHand26M(generated, "testing")
    with pytest.raises(MissingData, match=r"train_data.json.*\(splits there: test\)"):
        InterHand26M(generated, "train")
    with pytest.raises(MissingData, match="nowhere is not a folder"):
        InterHand26M(tmp_path / "nowhere")


def _rewrite(path: Path, damage) -> None:
    path.write_bytes(damage(path.read_bytes()))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_text("<html>404</html>"), "is not an image"),
        (lambda path: path.write_bytes(b""), "is not an image"),
        (lambda path: _rewrite(path, lambda raw: raw[: len(raw) // 2]), "cannot be decoded"),
    ],
    ids=["missing", "html", "empty", "truncated"],
)
def test_a_broken_photograph_is_one_error_that_names_it(copy, damage, message):
    frame = InterHand26M(copy)[0]
    damage(frame.image_path)
    with pytest.raises(DataError, match=message) as caught:
        frame.image()
    assert str(frame.image_path) in str(caught.value)


def test_a_photograph_of_another_size_is_an_error(copy, edit):
    edit("data", _first("images", width=512, height=334))
    with pytest.raises(DataError, match="334 x 512 pixels, but its annotation says 512 x 334"):
        InterHand26M(copy)[0].image()


def _rootnet(copy: Path) -> Path:
    path = copy / "rootnet_output" / "rootnet_interhand2.6m_output_test.json"
    path.parent.mkdir(exist_ok=True)
    return path


def test_rootnet_boxes_and_depths_belong_to_their_annotations(generated, copy):
    assert InterHand26M(generated)[0].rootnet is None
    entries = [
        {"annot_id": 4, "bbox": [1, 2, 30, 40], "abs_depth": [1010.5, 990.0]},
        {"annot_id": 0, "bbox": [5, 6, 70, 80.5], "abs_depth": [900, None]},
        {"annot_id": 777, "bbox": [0, 0, 1, 1], "abs_depth": [1, 1]},  # of another split
    ]
    _rootnet(copy).write_text(json.dumps(entries))
    dataset = InterHand26M(copy)
    assert dataset[4].rootnet.bbox.tolist() == [1, 2, 30, 40]
    assert torch.allclose(dataset[4].rootnet.wrist_depth, torch.tensor([1.0105, 0.99]))
    assert dataset[0].rootnet.wrist_depth[0] == pytest.approx(0.9)
    assert dataset[0].rootnet.wrist_depth[1].isnan()
    assert dataset[1].rootnet is None


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], None),
        ({}, "not a list"),
        ({"a": 1}, "not a list"),
        ([[]] * 3, "not a list of RootNet"),
        ([[{"annot_id": 4}]], "not a list of RootNet"),
        ([{"annot_id": True, "bbox": [1, 2, 30, 4], "abs_depth": [1, 2]}], None),
        ([{"annot_id": 4, "bbox": [1, 2, 30], "abs_depth": [1, 2]}], "entry 0: bbox has shape"),
        ([{"annot_id": 4, "bbox": [1, 2, 30, 4]}], "entry 0 has no key 'abs_depth'"),
        ([{"annot_id": 4, "bbox": [1, 2, 30, 4], "abs_depth": [1]}], "not two depths"),
        ([{"annot_id": 4, "bbox": [1, 2, 3, 4], "abs_depth": [1, 2]}] * 2, "annotation 4 stands there twice"),
    ],
)
def test_broken_rootnet_files_are_named(copy, entries, message):
    path = _rootnet(copy)
    path.write_text(json.dumps(entries))
    dataset = InterHand26M(copy)
    if message is None:
        assert dataset[0].rootnet is None
        return
    with pytest.raises(DataError, match=message) as caught:
        dataset[0]
    assert str(path) in str(caught.value)


def test_what_cannot_be_used_is_left_out_and_counted_once(copy, edit):
    def swap_cameras(content):
        content["images"][1]["camera"] = "410001"

    edit("data", swap_cameras)

    def add_camera(content):
        for entry in content["0"].values():
            entry["410001"] = entry["400263"]

    edit("camera", add_camera)
    dataset = InterHand26M(copy)
    shape = dataset[2].image().shape[:2]
    Image.new("RGB", shape[::-1], (2, 2, 3)).save(dataset[2].image_path)
    dataset[3].image_path.write_bytes(dataset[3].image_path.read_bytes()[:2000])
    dataset[4].image_path.unlink()
    usable, skipped = dataset.usable()
    assert [frame.annotation_id for frame in usable] == [0, 1, 5]
    assert dict(skipped.reasons) == {
        "photograph missing": 1, "photograph broken": 1, "photograph black": 1,
    }  # fmt: skip
    assert str(skipped) == (
        "3 of 6 kept; left out: 1 photograph missing, 1 photograph broken, 1 photograph black"
    )
    # The first sequence has a joint that is marked invalid; no photograph has a MANO fit.
    usable, skipped = dataset.usable(colour=True, joints=True)
    assert [frame.annotation_id for frame in usable] == [5]
    assert skipped.reasons["from a grey camera"] == 1
    assert skipped.reasons["with invalid joints"] == 1
    assert skipped.kept == 1
    usable, skipped = dataset.usable(photograph=False, mano=True)
    assert len(usable) == 0
    assert skipped.reasons == {"without MANO fit": 6}
    assert [frame.annotation_id for frame in dataset.present()] == [0, 1, 2, 3, 5]
    assert dataset.missing() == {"Capture0/0003_dh": (1, 2)}
    assert len(dataset) == 6


def test_cameras_and_names_can_be_left_out(generated):
    dataset = InterHand26M(generated)  # three sequences, two cameras
    usable, skipped = dataset.usable(photograph=False, without_cameras=("400263", "400999"))
    assert [frame.camera_id for frame in usable] == ["400262"] * 3
    assert skipped.reasons == {"from a camera left out": 3}
    usable, skipped = dataset.usable(photograph=False, without_name="0002_lh")
    assert [frame.sequence for frame in usable] == ["0001_rh"] * 2 + ["0003_dh"] * 2
    assert skipped.reasons == {"named 0002_lh": 2}
    usable, _ = dataset.usable(photograph=False, without_name="cam400262/image101.jpg")
    assert [frame.annotation_id for frame in usable] == [1, 2, 3, 4, 5]
    both, skipped = dataset.usable(photograph=False, without_cameras=("400263",), without_name="0001")
    assert len(both) == skipped.kept == 2
    assert len(dataset.usable(photograph=False)[0]) == 6  # nothing asked, nothing left out


def test_photographs_can_be_taken_by_their_numbers(generated):
    pair = InterHand26M(generated).only("interacting")
    assert [frame.annotation_id for frame in pair.take([1, 0, 1])] == [5, 4, 5]
    assert [step.frames for step in pair.take([1]).time_steps()] == [(0,)]
    assert len(pair.take([])) == 0
    assert pair.take([]).time_steps() == []
    assert pair.take([]).missing() == {}
    for wrong in (2, -1):
        with pytest.raises(IndexError, match=rf"frame {wrong} of 2 in .*test_data.json"):
            pair.take([0, wrong])


def test_mano_is_needed_for_the_hands_that_the_type_promises(copy):
    fit = {"pose": [0.1] * 48, "shape": [0.2] * 10, "trans": [0.0, 0.1, 1.0]}
    path = copy / "annotations" / "test" / "InterHand2.6M_test_MANO_NeuralAnnot.json"
    fits = {"101": {"right": fit, "left": None}, "202": {"right": fit, "left": None}, "303": {"right": fit}}
    path.write_text(json.dumps({"0": fits}))
    usable, skipped = InterHand26M(copy).usable(photograph=False, mano=True)
    assert [frame.hand_type for frame in usable] == ["right", "right"]
    assert skipped.reasons == {"without MANO fit": 4}


def test_numbers_that_are_infinite_in_single_precision_are_errors(copy, edit):
    edit("joint_3d", _set("0", "303", "world_coord", 24, to=[1e300, 0, 0]))
    with pytest.raises(DataError, match="left hand's thumb_1"):
        InterHand26M(copy)

"""Oracles: a slow loop over the JSON, crops by hand, photographs whose colours are their own coordinates."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hands_lib.data import interhand_views
from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.generated_capture import write_capture
from hands_lib.data.interhand26m import InterHand26M
from hands_lib.data.interhand26m_writer import InterHandWriter
from hands_lib.data.interhand_views import (
    InterHandViewSettings,
    asked_pairs,
    cropped_to_joints,
    select_frames,
)
from hands_lib.data.interhand_views import interhand_views as prepare
from hands_lib.geometry.raster import rasterize
from hands_lib.hand.pairs import pair_faces, pair_joints, pair_surfaces
from hands_lib.structures import Camera, Mesh, TwoHandSample
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs

WIDTH, HEIGHT = 160, 192
SETTINGS = InterHandViewSettings(image_size=40, num_views=4)
GREY, DROPPED = "410007", "400035"
NO_INTERACTION = "ROM01_No_Interaction_2_Hand"
SEQUENCE = "0001_dh_touch"


def _ring(num: int) -> Camera:
    """Cameras with nothing square about them: the picture, the pixels and the middle."""
    ring = camera_ring(num, size=WIDTH, field=0.5)
    intrinsics = ring.intrinsics.clone()
    intrinsics[:, 1, 1] *= 1.05
    intrinsics[:, :2, 2] += torch.tensor([3.25, 14.5])
    return Camera(intrinsics, ring.camera_from_world, WIDTH, HEIGHT)


def _ramp() -> np.ndarray:
    """Colours that say where in the photograph they are."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.stack([40 + 200 * x / WIDTH, 40 + 200 * y / HEIGHT, np.full(x.shape, 128)], axis=-1).astype(
        np.uint8
    )


def _names(num: int) -> list[str]:
    """Colour cameras, none of those that are dropped, in an order that no sorting gives."""
    return [str(400201 + (37 * n) % 101) for n in range(num)]


# capture, frame, colour cameras, sequence, kind. Neither captures nor frames are in the order of numbers.
FRAMES = {
    "test": [
        (10, 7, 58, SEQUENCE, "interacting"),
        (3, 20, 9, SEQUENCE, "interacting"),
        (3, 21, 9, "0002_rh", "right"),
        (3, 22, 3, SEQUENCE, "interacting"),
        (3, 23, 9, NO_INTERACTION, "interacting"),
        (3, 24, 9, SEQUENCE, "invalid"),
        (0, 5, 20, SEQUENCE, "interacting"),
        (3, 19, 4, SEQUENCE, "interacting"),
        (3, 18, 6, "0003_lh", "left"),
        (1, 30, 8, SEQUENCE, "interacting"),
    ],
    "train": [
        (21, 4, 7, SEQUENCE, "interacting"),
        (21, 3, 4, NO_INTERACTION, "interacting"),
        (2, 1, 5, SEQUENCE, "invalid"),
        (2, 2, 11, SEQUENCE, "interacting"),
    ],
    "val": [(0, 9, 5, SEQUENCE, "interacting")],
}


@pytest.fixture(scope="module")
def hands():
    """Poses of two pairs of hands."""
    people = sample_identities(10, 0)
    kinds = ("pointing", "praying")
    return sample_pairs(2, people, torch.Generator().manual_seed(3), kinds)[0].pose


def _write(root: Path, split: str, hands) -> None:
    writer, ramp, joints = InterHandWriter(root, split), _ramp(), pair_joints(hands)
    ring = _ring(103)
    for number, (capture, frame, num, sequence, kind) in enumerate(FRAMES[split]):
        valid = torch.ones(2, 21, dtype=torch.bool)
        if kind == "invalid":
            valid[1, 7] = False
        elif kind in ("right", "left"):
            valid[("left", "right").index(kind)] = False
        names = _names(num)
        names.insert(2, GREY)
        names.insert(1, DROPPED)
        # A camera has one calibration in a capture: its place in the ring is a function of its name.
        place = {name: int(name) - 400201 for name in names} | {GREY: 101, DROPPED: 102}
        writer.add(
            TwoHandSample(joints[number % 2], valid),
            {
                name: (
                    Camera(ring.intrinsics[n], ring.camera_from_world[n], WIDTH, HEIGHT),
                    ramp,
                )
                for name, n in place.items()
            },
            capture=capture,
            frame=frame,
            sequence=sequence,
            subject=0,
            hand_type="interacting" if kind == "invalid" else kind,
        )
    writer.close(mano=True)


@pytest.fixture(scope="module")
def release(hands, tmp_path_factory) -> Path:
    """A release with three splits; read-only by agreement."""
    root = tmp_path_factory.mktemp("release")
    for split in FRAMES:
        part = tmp_path_factory.mktemp("part") / split
        _write(part, split, hands)
        shutil.copytree(part, root, dirs_exist_ok=True)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def prepared(release, cache):
    return {split: prepare(split, SETTINGS, release, cache=cache) for split in FRAMES}


@pytest.fixture
def copy(release, tmp_path) -> Path:
    """A release to damage, with photographs that are the same files."""
    for part in ("annotations", "images"):
        shutil.copytree(release / part, tmp_path / "copy" / part, copy_function=os.link)
    for path in (tmp_path / "copy" / "annotations").rglob("*.json"):
        text = path.read_text()
        path.unlink()  # the link, not the release's file
        path.write_text(text)
    return tmp_path / "copy"


def _json(root: Path, split: str, kind: str) -> dict:
    return json.loads((root / "annotations" / split / f"InterHand2.6M_{split}_{kind}.json").read_text())


def _rewrite(root: Path, split: str, kind: str, content: dict) -> None:
    (root / "annotations" / split / f"InterHand2.6M_{split}_{kind}.json").write_text(json.dumps(content))


def _slow_selection(root: Path, split: str) -> dict[tuple[int, int], list[str]]:
    """The protocol, one entry of the JSON after the other: cameras of each moment that stays."""
    content = _json(root, split, "data")
    images = {image["id"]: image for image in content["images"]}
    cameras: dict[tuple[int, int], list[str]] = {}
    for annotation in content["annotations"]:
        image = images[annotation["image_id"]]
        if annotation["hand_type"] != "interacting":
            continue
        if image["camera"][:2] == "41":
            continue
        if image["camera"] in ["400006", "400008", "400015", "400035", "400049"]:
            continue
        if split == "test" and "ROM01_No_Interaction_2_Hand" in image["file_name"]:
            continue
        cameras.setdefault((image["capture"], image["frame_idx"]), []).append(image["camera"])
    return {moment: names for moment, names in cameras.items() if len(names) >= 4}


def _moments(selection) -> dict[tuple[int, int], list[str]]:
    return {
        (step.capture, step.frame_index): [selection.photographs[n].camera_id for n in step.frames]
        for step in selection.frames
    }


@pytest.mark.parametrize("split", FRAMES)
def test_selection_is_that_of_a_loop_over_the_json(release, split):
    selection = select_frames(InterHand26M(release, split))
    expected = _slow_selection(release, split)
    assert _moments(selection) == expected
    assert list(_moments(selection)) == list(expected)  # the order too


def test_selection_counts_what_it_leaves_out(release):
    selection = select_frames(InterHand26M(release, "test"))
    assert selection.too_few_cameras == 1
    frames = [frame for frame in FRAMES["test"] if frame[4] not in ("right", "left")]
    assert selection.skipped.total == sum(num + 2 for _, _, num, *_ in frames)
    assert selection.skipped.reasons["from a grey camera"] == len(frames)
    assert selection.skipped.reasons["from a camera left out"] == len(frames)
    assert selection.skipped.reasons[f"named {NO_INTERACTION}"] == 9
    assert NO_INTERACTION in {step[3] for step in FRAMES["train"]}  # but training keeps it
    assert (21, 3) in _moments(select_frames(InterHand26M(release, "train")))


def test_mano_fits_decide_where_the_release_has_any(copy):
    fit = {"pose": [0.0] * 48, "shape": [0.0] * 10, "trans": [0.0] * 3}
    content = _json(copy, "test", "MANO_NeuralAnnot")
    for capture, steps in content.items():
        for frame in steps:
            steps[frame] = {"right": fit, "left": None if (capture, frame) == ("3", "20") else fit}
    del content["0"]["5"]
    _rewrite(copy, "test", "MANO_NeuralAnnot", content)
    selection = select_frames(InterHand26M(copy, "test"))
    expected = _slow_selection(copy, "test")
    assert set(expected) - set(_moments(selection)) == {(3, 20), (0, 5)}
    assert selection.skipped.reasons["without MANO fit"] == 9 + 20


def test_pairs_of_the_protocol_are_those_of_a_written_list():
    small = {
        0: ((37, 44), (8, 16), (23, 25), (41, 43), (55, 56)),
        5: ((0, 3), (1, 2), (4, 5), (8, 9), (16, 17)),
    }
    large = {0: ((0, 1), (1, 2), (2, 3), (5, 6), (11, 12)), 5: ((0, 3), (0, 4), (0, 6), (4, 8), (0, 13))}
    for variation, lists in (("small variation", small), ("large variation", large)):
        for capture in (0, 1, 10, 21, 12, 30):  # a 0 or a 1 anywhere
            assert asked_pairs(capture, variation) == lists[0]
        for capture in (2, 3, 4, 5, 6, 7, 25):
            assert asked_pairs(capture, variation) == lists[5]
    assert asked_pairs(4) == small[5]


def _turned_as(camera_from_world: torch.Tensor, rotation: list) -> bool:
    return torch.allclose(camera_from_world[:3, :3], torch.tensor(rotation), atol=1e-6)


# Frames of the test that have a pair, and their pairs as (target, input) cameras of the list.
ASKED = {
    "small variation": [
        ((10, 7), [(37, 44), (8, 16), (23, 25), (41, 43), (55, 56)]),
        ((3, 20), [(0, 3), (1, 2), (4, 5)]),
        ((0, 5), [(8, 16)]),
        ((3, 19), [(0, 3), (1, 2)]),
    ],
    "large variation": [
        ((10, 7), [(0, 1), (1, 2), (2, 3), (5, 6), (11, 12)]),
        ((3, 20), [(0, 3), (0, 4), (0, 6), (4, 8)]),
        ((0, 5), [(0, 1), (1, 2), (2, 3), (5, 6), (11, 12)]),
        ((3, 19), [(0, 3)]),
        ((1, 30), [(0, 1), (1, 2), (2, 3), (5, 6)]),
    ],
}
LACKING = {"small variation": 2 + 4 + 3 + 5, "large variation": 1 + 4 + 1}


@pytest.mark.parametrize("variation", ASKED)
def test_asked_pairs_name_the_cameras_of_the_list(release, cache, caplog, variation):
    found = prepare("test", replace(SETTINGS, variation=variation), release, cache=cache)
    lists, calibrations = _slow_selection(release, "test"), _json(release, "test", "camera")
    expected = []
    for row, (moment, pairs) in enumerate(ASKED[variation]):
        expected += [(row, moment, target, given) for target, given in pairs]
    assert len(found.image) == len(ASKED[variation])
    assert len(found.asked) == len(expected)
    for (frame, view, other), (row, moment, target, given) in zip(
        found.asked.tolist(), expected, strict=True
    ):
        assert frame == row
        for place, number in ((view, given), (other, target)):
            rotation = calibrations[str(moment[0])]["camrot"][lists[moment][number]]
            assert torch.allclose(
                found.camera_from_world[frame, place, :3, :3], torch.tensor(rotation), atol=1e-6
            )
    needed = [len({n for pair in pairs for n in pair}) for _, pairs in ASKED[variation]]
    assert found.view_count.tolist() == needed
    assert found.image.shape[1] == max(needed)
    text = caplog.messages[-1]
    assert "1 frames with an invalid joint" in text
    assert f"{LACKING[variation]} test pairs without both photographs" in text


def test_training_frames_have_views_at_even_steps(release, prepared):
    train = prepared["train"]
    lists, calibrations = _slow_selection(release, "train"), _json(release, "train", "camera")
    moments = [(21, 4), (21, 3), (2, 2)]  # one has an invalid joint
    places = [[0, 1, 3, 5], [0, 1, 2, 3], [0, 2, 5, 8]]  # of 7, 4 and 11 cameras
    for row, (moment, numbers) in enumerate(zip(moments, places, strict=True)):
        for view, number in enumerate(numbers):
            rotation = calibrations[str(moment[0])]["camrot"][lists[moment][number]]
            assert torch.allclose(
                train.camera_from_world[row, view, :3, :3], torch.tensor(rotation), atol=1e-6
            )
    assert train.view_count.tolist() == [4, 4, 4]
    assert len(train.asked) == len(prepared["val"].asked) == 0
    assert prepared["val"].image.shape[:2] == (1, 4)


def test_fewer_views_and_fewer_frames(release, cache):
    many = prepare("train", replace(SETTINGS, num_views=9), release, cache=cache)
    assert many.view_count.tolist() == [7, 4, 9]
    for row, count in enumerate(many.view_count.tolist()):
        assert many.foreground[row, :count].any(dim=(1, 2)).all()
        for name in ("image", "foreground", "intrinsics", "camera_from_world"):
            assert not getattr(many, name)[row, count:].any()
    first = prepare("train", replace(SETTINGS, num_views=9, num_frames=2), release, cache=cache)
    assert first.view_count.tolist() == [7, 4]
    assert torch.equal(first.image, many.image[:2, :7])


def _projected(photo, joints: torch.Tensor) -> torch.Tensor:
    """By the printed formulas, in double precision."""
    camera = photo.sample.camera
    pose, intrinsics = camera.camera_from_world.double(), camera.intrinsics.double()
    x, y, z = (joints.double().flatten(0, 1) @ pose[:3, :3].T + pose[:3, 3]).unbind(dim=-1)
    return torch.stack(
        [intrinsics[0, 0] * x / z + intrinsics[0, 2], intrinsics[1, 1] * y / z + intrinsics[1, 2]], dim=-1
    )


def test_joints_and_pixels_land_where_the_crop_puts_them(release, prepared, hands):
    """Joints: the world's camera, then the crop by hand. Pixels: each says by its colour where it was."""
    train, size = prepared["train"], SETTINGS.image_size
    selection = select_frames(InterHand26M(release, "train"))
    step, places = selection.frames[0], [0, 1, 3, 5]
    joints = pair_joints(hands)[0]
    assert torch.allclose(train.joints[0], joints, atol=1e-6)
    for view, place in enumerate(places):
        photo = selection.photographs[step.frames[place]]
        x, y, width, height = photo.bbox.tolist()
        side = 1.25 * max(width, height)
        corner = torch.tensor([x + width / 2 - side / 2, y + height / 2 - side / 2], dtype=torch.float64)
        expected = (_projected(photo, joints) - corner) * size / side - 0.5
        camera = Camera(train.intrinsics[0, view], train.camera_from_world[0, view], size, size)
        assert (camera.project(joints.flatten(0, 1)) - expected).norm(dim=-1).max() < 1e-3

        rows, columns = train.foreground[0, view].nonzero(as_tuple=True)
        colour = train.image[0, view, rows, columns].double()
        was = (colour[:, :2] - 40 + 0.5) * torch.tensor([WIDTH, HEIGHT]) / 200  # bytes were rounded down
        given = photo.sample.camera.intrinsics.double()
        own = camera.intrinsics.double()
        pixel = torch.stack([columns, rows, torch.ones_like(rows)]).double()
        back = (given @ torch.linalg.inv(own) @ pixel)[:2].T
        inside = ((back > 2) & (back < torch.tensor([WIDTH - 3, HEIGHT - 3]))).all(dim=1)
        off = ((was - back) * size / side)[inside]  # in pixels of the crop
        assert len(off) > 100
        assert off.norm(dim=1).mean() < 0.6
        assert off.mean(dim=0).abs().max() < 0.1


def test_black_around_the_silhouettes_of_fitted_surfaces(prepared, hands):
    train, size = prepared["train"], SETTINGS.image_size
    true = pair_surfaces(hands)
    faces = torch.cat([pair_faces()[0], pair_faces()[1] + true.shape[2]])
    assert torch.equal(train.faces, pair_faces())
    for row, number in enumerate((0, 1, 1)):  # pairs of hands take turns among all frames written
        off = (train.vertices[row] - true[number]).norm(dim=-1)
        assert off.max() < 0.003  # the same joints, but a finger's twist may differ
        assert off.mean() < 0.001
        camera = Camera(train.intrinsics[row], train.camera_from_world[row], size, size)
        seen = rasterize(Mesh(true[number].flatten(0, 1)[None], faces), camera).foreground
        both = (train.foreground[row] & seen).sum() / (train.foreground[row] | seen).sum()
        assert both > 0.95
    assert (train.image[~train.foreground] == 0).all()
    inside = torch.nn.functional.avg_pool2d(train.foreground.flatten(0, 1).float(), 3, 1, 1) == 1
    assert (train.image.flatten(0, 1)[inside] > 30).all()  # every colour of the ramp


def test_what_lies_beyond_the_photograph_is_black():
    image = torch.full((20, 30, 3), 200, dtype=torch.uint8)
    bbox = torch.tensor([-6.0, 4.0, 16.0, 8.0])  # the square: x from -8 to 12, y from -2 to 18
    found = interhand_views.crop_photograph(image, bbox, 20)
    assert (found[4:, 10:] == 200).all()
    assert (found[:, :7] == 0).all()
    small = interhand_views.crop_photograph(torch.zeros_like(image), torch.tensor([5.0, 5.0, 8.0, 8.0]), 5)
    assert small.shape == (5, 5, 3)
    # A shrunk picture is the mean of what its pixels cover: a checkerboard becomes grey.
    board = 255 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2)
    board = board.to(torch.uint8)[..., None].expand(-1, -1, 3).contiguous()
    grey = interhand_views.crop_photograph(board, torch.tensor([12.8, 12.8, 38.4, 38.4]), 12)
    assert (grey.float() - 127.5).abs().max() < 12


def test_cache_gives_back_the_same_bits_and_notices_changes(
    release, copy, prepared, cache, tmp_path, monkeypatch
):
    def files(folder):
        return sorted((folder / "interhand_views").glob("*.safetensors"))

    anew = prepare("train", SETTINGS, release, cache=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(interhand_views, "_prepared", None)  # nothing is made again
        again = prepare("train", SETTINGS, release, cache=tmp_path)
        prepare("train", replace(SETTINGS, variation="large variation"), release, cache=tmp_path)
    for name in vars(anew):
        for other in (again, prepared["train"]):
            assert torch.equal(getattr(anew, name), getattr(other, name))
            assert getattr(anew, name).dtype == getattr(other, name).dtype
    assert len(files(tmp_path)) == 1
    prepare("train", replace(SETTINGS, image_size=20), release, cache=tmp_path)
    assert len(files(tmp_path)) == 2
    prepare("train", SETTINGS, copy, cache=tmp_path)
    path = copy / "annotations/train/InterHand2.6M_train_data.json"
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    prepare("train", SETTINGS, copy, cache=tmp_path)
    assert len(files(tmp_path)) == 4
    assert not list(tmp_path.rglob("*.part"))


def test_two_at_once_make_it_once(release, tmp_path, monkeypatch):
    calls, make = [], interhand_views._prepared

    def counted(*arguments):
        calls.append(1)
        return make(*arguments)

    monkeypatch.setattr(interhand_views, "_prepared", counted)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: prepare("val", SETTINGS, release, cache=tmp_path), range(2)))
    assert len(calls) == 1
    assert torch.equal(made[0].image, made[1].image)


def test_frames_whose_joints_no_hand_has_are_counted(copy, caplog, tmp_path):
    content = _json(copy, "train", "joint_3d")
    coordinates = content["21"]["4"]["world_coord"]
    coordinates[1] = coordinates[0]  # two joints of the thumb at one place
    _rewrite(copy, "train", "joint_3d", content)
    found = prepare("train", SETTINGS, copy, cache=tmp_path)
    assert len(found.image) == 2
    assert "1 frames whose joints no hand can have" in caplog.messages[-1]
    assert "1 frames with an invalid joint" in caplog.messages[-1]
    caplog.clear()
    prepare("train", SETTINGS, copy, cache=tmp_path)  # from the cache
    assert "1 frames whose joints no hand can have" in caplog.messages[-1]


def test_photographs_that_miss_the_surfaces_are_left_out(copy, caplog, tmp_path):
    """A box far from the hands: the view goes, and with it the pairs that need it."""
    for split, moment, place in (("train", (21, 4), 1), ("test", (3, 20), 3)):
        names = _slow_selection(copy, split)[moment]
        content = _json(copy, split, "data")
        for image, annotation in zip(content["images"], content["annotations"], strict=True):
            if (image["capture"], image["frame_idx"], image["camera"]) == (*moment, names[place]):
                annotation["bbox"] = [0.0, 0.0, 9.0, 9.0]
        _rewrite(copy, split, "data", content)
    train = prepare("train", SETTINGS, copy, cache=tmp_path)
    assert train.view_count.tolist() == [3, 4, 4]
    assert train.foreground[0, :3].any(dim=(1, 2)).all()
    assert not train.image[0, 3].any()
    assert "1 photographs that the hands' surfaces miss" in caplog.messages[-1]
    test = prepare("test", SETTINGS, copy, cache=tmp_path)
    assert test.view_count.tolist() == [10, 5, 2, 4]  # cameras 0, 1, 2, 4, 5 of the second frame
    assert [row for row in test.asked.tolist() if row[0] == 1] == [[1, 2, 1], [1, 4, 3]]


def test_missing_photographs_are_named(copy, tmp_path):
    folder = copy / "images/train/Capture21" / SEQUENCE
    lost = sorted(folder.iterdir())[:3]
    for camera in lost:
        shutil.rmtree(camera)
    with pytest.raises(MissingData, match=rf"2 of 12 photographs .* Capture21/{SEQUENCE} \(2 of 4\)"):
        prepare("train", SETTINGS, copy, cache=tmp_path)
    shutil.rmtree(copy / "images/train/Capture2")
    with pytest.raises(MissingData, match=rf"Capture2/{SEQUENCE} \(4 of 4\).*unpack them"):
        prepare("train", SETTINGS, copy, cache=tmp_path)
    prepare("val", SETTINGS, copy, cache=tmp_path)


def test_missing_data_is_the_manifests_one_message(release, tmp_path, monkeypatch):
    monkeypatch.delenv("HANDS_DATA", raising=False)
    with pytest.raises(MissingData, match="InterHand2.6M is not on this machine"):
        prepare("train", SETTINGS, cache=tmp_path)
    with pytest.raises(MissingData, match="is not a folder, so InterHand2.6M cannot be read from it"):
        prepare("train", SETTINGS, tmp_path / "nothing", cache=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingData, match="hands data check interhand26m"):
        prepare("train", SETTINGS, tmp_path / "empty", cache=tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/interhand26m").symlink_to(release)
    monkeypatch.setenv("HANDS_DATA", str(tmp_path / "data"))
    assert prepare("val", SETTINGS, cache=tmp_path).view_count.tolist() == [4]


def test_a_sample_of_single_photographs_is_not_enough(copy, tmp_path):
    """As the freely shared samples are: a few moments, each seen by one camera, beside hands alone."""
    content = _json(copy, "test", "data")
    first = {}
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        if image["camera"] != GREY and image["camera"] != DROPPED:
            first.setdefault((image["capture"], image["frame_idx"]), (image, annotation))
    images, annotations = zip(*first.values(), strict=True)
    _rewrite(copy, "test", "data", {"images": images, "annotations": annotations})
    with pytest.raises(DataError, match="7 moments with fewer than 4 colour cameras.*get the whole split"):
        prepare("test", SETTINGS, copy, cache=tmp_path)


def test_no_frame_of_use_says_why(copy, tmp_path):
    content = _json(copy, "val", "joint_3d")
    content["0"]["9"]["joint_valid"][3] = [False]
    _rewrite(copy, "val", "joint_3d", content)
    with pytest.raises(DataError, match="1 frames with an invalid joint"):
        prepare("val", SETTINGS, copy, cache=tmp_path)
    content = _json(copy, "val", "data")
    for annotation in content["annotations"]:
        annotation["hand_type"] = "right"
    _rewrite(copy, "val", "data", content)
    with pytest.raises(DataError, match="in 0 photographs of two hands"):
        prepare("val", SETTINGS, copy, cache=tmp_path)


@pytest.mark.parametrize("bbox", [[3.0, 4.0, 0.0, 9.0], [3.0, 4.0, 9.0, -1.0], [0.0, 0.0, 1e7, 5.0]])
def test_a_box_that_is_none_is_an_error(copy, tmp_path, bbox):
    content = _json(copy, "val", "data")
    content["annotations"][0]["bbox"] = bbox
    _rewrite(copy, "val", "data", content)
    with pytest.raises(DataError, match=r"val_data.json: annotation 0: bbox .* is no box"):
        prepare("val", SETTINGS, copy, cache=tmp_path)


def test_names_wrong_settings_and_a_damaged_cache(release, tmp_path):
    with pytest.raises(DataError, match="unknown split 'dev'"):
        prepare("dev", SETTINGS, release, cache=tmp_path)
    for wrong, message in (
        ({"image_size": 8}, "not 8"),
        ({"num_views": 1}, "at least 2 views"),
        ({"num_frames": 0}, "0 frames"),
        ({"variation": "huge"}, "unknown test pairs 'huge'"),
    ):
        with pytest.raises(DataError, match=message):
            InterHandViewSettings(**wrong)
    anew = prepare("val", SETTINGS, release, cache=tmp_path)
    (path,) = (tmp_path / "interhand_views").glob("*.safetensors")
    path.write_bytes(b"half a file")
    assert torch.equal(prepare("val", SETTINGS, release, cache=tmp_path).image, anew.image)


def test_a_photograph_cut_to_its_joints_keeps_their_places(tmp_path):
    """A joint's colour in the photograph is its colour in the cut one, and the box fills what was asked."""
    frame = InterHand26M(write_capture(tmp_path / "capture"), "test").only("interacting")[0]
    image, camera = cropped_to_joints(frame, 96, around=1.3)
    joints = frame.sample.joints.flatten(0, 1)
    pixels = camera.project(joints[None])[0]
    low, high = pixels.amin(dim=0), pixels.amax(dim=0)
    assert float((high - low).max()) == pytest.approx(96 / 1.3, rel=1e-3)
    torch.testing.assert_close((low + high) / 2, torch.full((2,), 47.5), atol=0.01, rtol=0)
    whole = frame.sample.camera.project(joints).round().long()
    expected = frame.image()[whole[:, 1], whole[:, 0]].float()
    found = image[pixels[:, 1].round().long(), pixels[:, 0].round().long()].float()
    assert float((found - expected).abs().median()) < 25

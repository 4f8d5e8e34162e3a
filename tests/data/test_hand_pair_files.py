"""Pairs and keypoints from files of one's own: round trips, and the ways in which they can be wrong."""

import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz_targets import HOSTILE, mutate_bytes, mutate_json
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.hand_pair_files import (
    HandPairFile,
    KeypointFile,
    read_hand_pairs,
    read_keypoints,
    write_hand_pairs,
    write_keypoints,
)
from hands_lib.geometry.rotations import random_rotations
from hands_lib.hand.kinematics import forward_kinematics, mirror, random_pose
from hands_lib.hand.skeleton import JOINT_ORDERS, JOINTS, reorder

WHOLE_ORDERS = [name for name, order in JOINT_ORDERS.items() if set(JOINTS) <= set(order)]


def hands(frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    joints = forward_kinematics(random_pose(2 * frames, generator, dtype=torch.float64)).joints
    joints = joints @ random_rotations(2 * frames, generator, dtype=torch.float64).mT
    joints = (
        joints.unflatten(0, (frames, 2)) + 0.2 * torch.rand(frames, 2, 1, 3, generator=generator).double()
    )
    return torch.stack([joints[:, 0], mirror(joints[:, 1])], dim=1)


def pair_file(frames: int = 4, **changes) -> HandPairFile:
    joints = hands(frames)
    whole = torch.ones(frames, 2, dtype=torch.bool)
    return HandPairFile(
        **{"joints": joints, "valid": whole, "confidence": torch.ones(frames, 2, 21).double(), **changes}
    )


def keypoint_file(frames: int = 4, **changes) -> KeypointFile:
    points = 300 + 1000 * hands(frames)[..., :2]
    given = {
        "keypoints": points, "valid": torch.ones(frames, 2, dtype=torch.bool),
        "confidence": torch.ones(frames, 2, 21).double(), "width": 640, "height": 480,
    }  # fmt: skip
    return KeypointFile(**given | changes)


def content(frames: int = 4, unit: str = "m", order: str = "freihand") -> dict:
    """What a user would save; in the library's order."""
    scale = {"m": 1, "mm": 1000}[unit]
    return {"joints": scale * hands(frames).numpy(), "order": order, "unit": unit}


def save(path: Path, values: dict) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **values)
    else:
        plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}
        path.write_text(json.dumps(plain))
    return path


@pytest.fixture(params=[".npz", ".json"])
def path(request, tmp_path) -> Path:
    return tmp_path / f"mine{request.param}"


# --- round trips ---------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_pairs_come_back(tmp_path_factory, data):
    frames = data.draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    valid = torch.rand(frames, 2, generator=generator) < 0.8
    valid[0] = True
    confidence = torch.rand(frames, 2, 21, generator=generator).double() * valid[..., None]
    pairs = pair_file(
        frames,
        joints=torch.where(valid[..., None, None], hands(frames), 0),
        valid=valid,
        order=data.draw(st.sampled_from(WHOLE_ORDERS)),
        unit=data.draw(st.sampled_from(["m", "mm"])),
        confidence=confidence if data.draw(st.booleans()) else torch.ones_like(confidence),
        truth=hands(frames, seed=3) if data.draw(st.booleans()) else None,
        frame_rate=data.draw(st.sampled_from([None, 30.0, 23.976])),
        names=tuple(f"Bild ä{n}" for n in range(frames)) if data.draw(st.booleans()) else None,
    )
    path = tmp_path_factory.mktemp("trip") / f"pairs{data.draw(st.sampled_from(['.npz', '.json', '.NPZ']))}"
    write_hand_pairs(path, pairs)
    found = read_hand_pairs(path)
    assert torch.allclose(found.joints, pairs.joints, rtol=0, atol=1e-12)
    assert torch.equal(found.valid, valid)
    assert torch.equal(found.complete, valid.all(dim=1))
    assert torch.equal(found.confidence[valid], pairs.confidence[valid])
    assert (found.order, found.unit, found.frame_rate, found.names, found.source) == (
        pairs.order, pairs.unit, pairs.frame_rate, pairs.names, path,
    )  # fmt: skip
    assert (found.truth is None) == (pairs.truth is None)
    if pairs.truth is not None:
        assert torch.allclose(found.truth, pairs.truth, rtol=0, atol=1e-12)
    assert found.skipped.kept == int(valid.all(dim=1).sum())
    assert list(path.parent.iterdir()) == [path]


def test_keypoints_come_back(path):
    intrinsics = torch.tensor([[900.0, 0, 320], [0, 905, 240], [0, 0, 1]]).double()
    valid = torch.tensor([[True, True], [False, True], [True, True], [True, False]])
    keypoints = torch.where(valid[..., None, None], keypoint_file().keypoints, 0)
    confidence = torch.rand(4, 2, 21).double() * valid[..., None]
    written = keypoint_file(
        keypoints=keypoints, valid=valid, confidence=confidence, intrinsics=intrinsics, order="interhand26m"
    )
    write_keypoints(path, written)
    found = read_keypoints(path)
    for name in ("keypoints", "valid", "confidence", "intrinsics"):
        assert torch.equal(getattr(found, name), getattr(written, name)), name
    assert (found.width, found.height, found.order, found.source) == (640, 480, "interhand26m", path)
    assert str(found.skipped) == (
        "2 of 4 kept; left out: 1 with a right hand marked as not valid, "
        "1 with a left hand marked as not valid"
    )


def test_orders_and_units_are_those_of_the_file(path):
    """Row by row by name, and millimetres, against the numbers that were saved."""
    joints = hands(2)
    rows = [JOINTS.index(name) for name in JOINT_ORDERS["interhand26m"]]
    save(path, {"joints": 1000 * joints[:, :, rows].numpy(), "order": "interhand26m", "unit": "mm"})
    assert torch.allclose(read_hand_pairs(path).joints, joints, rtol=0, atol=1e-12)
    # Right and left by themselves, in MediaPipe's order, which is the library's.
    save(
        path, {"right": joints[:, 0].numpy(), "left": joints[:, 1].numpy(), "order": "freihand", "unit": "m"}
    )
    assert torch.equal(read_hand_pairs(path).joints, joints)


def test_joints_that_the_library_lacks_may_be_anything(path):
    names = JOINT_ORDERS["reinterhand"]
    joints = np.full((2, 2, len(names), 3), np.nan)
    for name in JOINTS:
        joints[:, :, names.index(name)] = hands(2)[:, :, JOINTS.index(name)]
    save(path, {"joints": joints, "order": "reinterhand", "unit": "m"})
    found = read_hand_pairs(path)
    assert torch.equal(found.joints, hands(2))
    write_hand_pairs(path.with_name(f"out{path.suffix}"), found)
    again = read_hand_pairs(path.with_name(f"out{path.suffix}"))
    assert torch.equal(again.joints, found.joints)
    assert again.order == "reinterhand"


def test_float32_and_column_order_are_fine(tmp_path):
    joints = np.asfortranarray(hands(3).numpy().astype(np.float32))
    np.savez_compressed(tmp_path / "a.npz", joints=joints, order=np.bytes_(b"halo"), unit="m", frame_rate=30)
    found = read_hand_pairs(tmp_path / "a.npz")
    assert torch.equal(found.joints.float(), hands(3).float())
    assert found.frame_rate == 30.0


# --- hands that are left out ---------------------------------------------------------------------------


def test_unusable_hands_are_counted_and_the_others_stay(path):
    values = content(9)
    joints = values["joints"]
    joints[1, 0] = np.nan
    joints[2, 1, 4, 2] = np.nan
    joints[3, 0] *= 30
    joints[4, 1, 6] = joints[4, 1, 5]
    knuckles = [JOINTS.index(f"{digit}_1") for digit in ("thumb", "index", "middle", "ring", "little")]
    for steps, base in enumerate(knuckles):
        joints[5, 0, base] = joints[5, 0, 0] + np.array([0.08 + 0.01 * steps, 0, 0])
    joints[6, 0] += 1e4
    values["valid"] = np.ones((9, 2), dtype=bool)
    values["valid"][7, 1] = False
    if path.suffix == ".npz":
        joints[8] = np.inf
    else:
        joints = joints.tolist()
        joints[1][0] = None
        joints[2][1][4] = None
        joints[8] = [None, None]
    found = read_hand_pairs(save(path, values | {"joints": joints}))
    faulty = [(1, 0), (2, 1), (3, 0), (4, 1), (5, 0), (6, 0), (7, 1), (8, 0), (8, 1)]
    expected = torch.ones(9, 2, dtype=torch.bool)
    expected[tuple(zip(*faulty, strict=True))] = False
    assert torch.equal(found.valid, expected)
    assert torch.equal(found.joints[expected], hands(9)[expected])
    assert found.joints[~expected].abs().max() == 0
    report = {reason: count for reason, count in found.skipped.reasons.items() if count}
    assert found.skipped.kept == 1
    eighth = "not finite in every joint" if path.suffix == ".npz" else "missing"
    assert report.pop(f"with a right hand {eighth}") == (1 if path.suffix == ".npz" else 2)
    assert report == {
        "with a left hand marked as not valid": 1,
        "with a left hand not finite in every joint": 1,
        "with a left hand with two neighbouring joints in one place": 1,
        "with a right hand of a size that no hand has": 1,
        "with a right hand with all knuckles on one line through the wrist": 1,
        "with a right hand farther than 100 m from the origin": 1,
    } | ({"with a right hand missing": 1} if path.suffix == ".npz" else {})


@pytest.mark.parametrize(("joint", "value"), [(8, 0.0), (8, -1.0), (6, 0.0), (5, 0.0), (4, 0.0)])
@pytest.mark.parametrize("place", [0.0, 0.6])
def test_a_number_that_fills_a_gap_is_no_joint(path, joint, value, place):
    """At 0 and far from it, at a tip, in the middle of a finger, at a knuckle, and at the thumb."""
    values = content()
    values["joints"] = values["joints"] - values["joints"][:, :1, :1] + place  # the right wrist at the origin
    values["joints"][1, 0, joint] = value
    found = read_hand_pairs(save(path, values))
    assert found.valid.tolist() == [[True, True], [False, True], [True, True], [True, True]]
    assert re.search(r"with a right hand (with a finger bone|with two neigh|of a size)", str(found.skipped))


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_keypoint_that_fills_a_gap_is_none(path, value):
    values = {"keypoints": keypoint_file().keypoints.numpy(), "order": "freihand", "image_size": [640, 480]}
    values["keypoints"][1, 0] = value
    values["keypoints"][2, 1, 7] = value
    found = read_keypoints(save(path, values))
    assert found.valid[1:3].tolist() == [[False, True], [True, False]]
    assert "which fills a gap" in str(found.skipped)


@pytest.mark.parametrize(
    ("rows", "declared", "said"),
    [
        ("interhand26m", "freihand", 'in the order "interhand26m" they are hands'),
        ("freihand", "ho3d", 'in the order "freihand" they are hands'),
        ("rhd", "freihand", 'in the order "rhd" they are hands'),
        ("ho3d", "interhand26m", 'in the order "ho3d" they are hands'),
    ],
)
def test_rows_in_another_order_are_named(path, rows, declared, said):
    values = content() | {"order": declared}
    values["joints"] = reorder(torch.from_numpy(values["joints"]), "hands", rows).numpy()
    with pytest.raises(DataError, match=said):
        read_hand_pairs(save(path, values))
    assert read_hand_pairs(save(path, values | {"order": rows})).complete.all()


def test_fingers_from_the_tip_are_refused_in_any_order(path):
    """Bases and tips exchanged: no order that is known has this."""
    values = content()
    exchanged = [0] + [4 * digit + 5 - joint for digit in range(5) for joint in (1, 3, 2, 4)]
    values["joints"] = values["joints"][:, :, exchanged]
    with pytest.raises(DataError, match="order"):
        read_hand_pairs(save(path, values))


@pytest.mark.parametrize("name", ["openpose", "OpenPose", "mediapipe", "freihand"])
def test_names_of_programs_are_orders(path, name):
    found = read_hand_pairs(save(path, content() | {"order": name}))
    assert found.order == "freihand"
    assert found.complete.all()


def test_truth_may_be_missing_in_part(path):
    truth = hands(4, seed=1).numpy()
    truth[2, 1, 7] = np.nan
    found = read_hand_pairs(save(path, content() | {"truth": truth}))
    assert found.truth[2, 1].isnan().all()
    assert torch.equal(found.truth[:2], hands(4, seed=1)[:2])


# --- errors --------------------------------------------------------------------------------------------

NAN = np.full((4, 2, 21, 3), np.nan)
ERRORS = {
    "no order": (lambda c: c.pop("order"), r"no key 'order'"),
    "unknown order": (lambda c: c.update(order="freihnad"), r"order is 'freihnad'.*'freihand'\? Known.*halo"),
    "orders without tips": (
        lambda c: c.update(order="mano", joints=c["joints"][:, :, :16]),
        r"order is 'mano', which has no thumb_4.*: all 21 joints are needed: add them.*ho3d",
    ),
    "order as a number": (lambda c: c.update(order=3), r"order is not a short text"),
    "unknown unit": (lambda c: c.update(unit="cm"), r"unit is 'cm'.*m, mm"),
    "millimetres as metres": (lambda c: c.update(joints=1000 * c["joints"]), r'palms of .* set unit to "mm"'),
    "metres as millimetres": (lambda c: c.update(unit="mm"), r'palms of .* mm.*set unit to "m"'),
    "no unit at all": (lambda c: c.update(joints=7 * c["joints"]), r"bring the hands to their size"),
    "mixed units": (
        lambda c: c["joints"].__setitem__((2, 1), 1000 * c["joints"][2, 1]),
        r"mixed units: the left palm of frame 2",
    ),
    "42 rows": (
        lambda c: c.update(joints=c["joints"].reshape(4, 42, 3)), r"\(4, 42, 3\).*\(frame, 2, 21, 3\)",
    ),
    "one frame": (lambda c: c.update(joints=c["joints"][0]), r"\(2, 21, 3\).*reshape"),
    "no frames": (lambda c: c.update(joints=c["joints"][:0]), r"joints"),
    "right alone": (lambda c: c.update(right=c.pop("joints")[:, 0]), r"right comes without left"),
    "both ways": (lambda c: c.update(right=c["joints"][:, 0]), r"joints stands beside right"),
    "uneven hands": (
        lambda c: c.update(right=c["joints"][:, 0], left=c.pop("joints")[:3, 1]),
        r"right has 4 frames, left 3",
    ),
    "unknown key": (lambda c: c.update(confidences=1), r"key 'confidences': did you mean 'confidence'"),
    "foreign key": (lambda c: c.update(zzz=1), r"unknown key 'zzz': remove it"),
    "keypoints": (lambda c: c.update(keypoints=c.pop("joints")[..., :2]), r"unknown key 'keypoints'"),
    "text for numbers": (lambda c: c.update(joints=c["joints"].astype(str)), r"joints is"),
    "confidence in percent": (lambda c: c.update(confidence=np.full((4, 2, 21), 99)), r"between 0 and 1"),
    "confidence of frames": (lambda c: c.update(confidence=np.ones(4)), r"confidence has shape \(4,\)"),
    "confidence NaN": (lambda c: c.update(confidence=NAN[..., 0]), r"confidence is not between"),
    "valid with numbers": (lambda c: c.update(valid=np.full((4, 2), 2)), r"valid holds more than true"),
    "frame rate": (lambda c: c.update(frame_rate=-1), r"frame_rate is not a positive number"),
    "frame rate as text": (lambda c: c.update(frame_rate="30"), r"frame_rate is not a positive number"),
    "names": (lambda c: c.update(names=["a", "b"]), r"names has 2 entries for 4 frames"),
    "one name": (lambda c: c.update(names="a"), r"names is not a list"),
    "long name": (lambda c: c.update(names=["a" * 999] * 4), r"names is not a short text"),
    "truth of other frames": (lambda c: c.update(truth=c["joints"][:3]), r"truth has shape \(3, 2, 21, 3\)"),
    "truth in other units": (lambda c: c.update(truth=1000 * c["joints"]), r"truth has palms.*\"mm\""),
    "nothing there": (lambda c: c.update(joints=NAN), r"no frame with two usable hands \(0 of 4 kept"),
    "one hand only": (
        lambda c: c["joints"].__setitem__((slice(None), 0), np.nan), r"4 with a right hand missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_a_wrong_file_of_pairs_is_one_clear_error(path, name):
    change, message = ERRORS[name]
    values = content()
    change(values)
    with pytest.raises(DataError, match=message) as error:
        read_hand_pairs(save(path, values))
    assert str(path) in str(error.value)


KEYPOINT_ERRORS = {
    "no size": (lambda c: c.pop("image_size"), r"no key 'image_size'"),
    "strange size": (lambda c: c.update(image_size=np.array([0.5, 480])), r"image_size is \[0.5, 480.0\]"),
    "shares": (lambda c: c.update(keypoints=c["keypoints"] / 1000), r"shares of the image.*multiply"),
    "far outside": (lambda c: c.update(keypoints=c["keypoints"] + 5000), r"4 with a right hand far outside"),
    "intrinsics of 1": (lambda c: c.update(intrinsics=np.eye(3)), r"intrinsics is .* in pixels"),
    "intrinsics transposed": (
        lambda c: c.update(intrinsics=np.array([[900.0, 0, 0], [0, 900, 0], [320, 240, 1]])),
        r"which no camera",
    ),
    "unit": (lambda c: c.update(unit="px"), r"unknown key 'unit'"),
}  # fmt: skip


@pytest.mark.parametrize("name", KEYPOINT_ERRORS)
def test_a_wrong_file_of_keypoints_is_one_clear_error(path, name):
    change, message = KEYPOINT_ERRORS[name]
    values = {
        "keypoints": keypoint_file().keypoints.numpy(), "order": "freihand",
        "image_size": np.array([640, 480]),
    }  # fmt: skip
    assert read_keypoints(save(path, values)).skipped.kept == 4
    change(values)
    with pytest.raises(DataError, match=message) as error:
        read_keypoints(save(path, values))
    assert str(path) in str(error.value)


# --- hostile files -------------------------------------------------------------------------------------


def npy(array, shape=None) -> bytes:
    """The bytes of an .npy, with another shape in its header if asked."""
    stream = io.BytesIO()
    array = np.asarray(array)
    header = np.lib.format.header_data_from_array_1_0(array) | ({"shape": shape} if shape else {})
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + array.tobytes()


def archive(path: Path, *entries: tuple[str, bytes], method=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in entries:
            file.writestr(name, data)
    return path


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "trace",))

    np.savez(tmp_path / "a.npz", **content() | {"names": np.array([Trap()], dtype=object)})
    with pytest.raises(DataError, match=r"a\.npz: names holds objects.*without Python objects"):
        read_hand_pairs(tmp_path / "a.npz")
    assert not (tmp_path / "trace").exists()


def test_what_a_header_declares_is_checked_before_it_is_believed(tmp_path):
    good = [(f"{key}.npy", npy(value)) for key, value in content().items()]
    huge = ("joints.npy", npy(np.zeros(3), shape=(10**12, 2, 21, 3)))
    with pytest.raises(DataError, match=r"joints declares shape \(1000000000000, .*not that long"):
        read_hand_pairs(archive(tmp_path / "huge.npz", huge, *good[1:]))
    with pytest.raises(DataError, match=r"declares shape \(-1"):
        read_hand_pairs(
            archive(tmp_path / "minus.npz", ("joints.npy", npy(np.zeros(3), (-1, -3))), *good[1:])
        )
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = archive(tmp_path / "twice.npz", *good, good[0])
    with pytest.raises(DataError, match=r"joints stands there twice"):
        read_hand_pairs(twice)
    bomb = ("joints.npy", npy(np.zeros(12_000_000)))
    assert archive(tmp_path / "bomb.npz", bomb, *good[1:]).stat().st_size < 200_000
    with pytest.raises(DataError, match=r"declares 96,[\d,]+ bytes of arrays in a file of"):
        read_hand_pairs(tmp_path / "bomb.npz")


def test_json_has_no_key_twice(tmp_path):
    path = save(tmp_path / "a.json", content())
    path.write_text(path.read_text().replace('"unit"', '"order"'))
    with pytest.raises(DataError, match=r"'order' stands there twice"):
        read_hand_pairs(path)
    path.write_text("[1, 2]")
    with pytest.raises(DataError, match="not one JSON object"):
        read_hand_pairs(path)


def names(path: Path, error: DataError) -> bool:
    assert str(path) in str(error)
    return True


@pytest.mark.parametrize("kind", [".npz", ".json"])
def test_damaged_files_end_in_an_error_that_names_them_or_change_nothing_unseen(tmp_path, kind):
    """Every outcome but a named error must be what the file now says, or leave hands out and say so."""
    intact, path = save(tmp_path / f"intact{kind}", full_content()).read_bytes(), tmp_path / f"a{kind}"
    generator = np.random.default_rng(0)
    refused = 0
    for number in range(150):
        if kind == ".json" and number % 2:
            values = json.loads(intact)
            mutate_json(values, generator)
            path.write_text(json.dumps(values))
        else:
            path.write_bytes(mutate_bytes(intact, generator))
        try:
            found = read_hand_pairs(path)
        except DataError as error:
            refused += names(path, error)
            continue
        assert found.joints.isfinite().all()
        assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
        assert found.skipped.kept == int(found.complete.sum()) > 0
        if kind == ".npz":  # checksums leave no damage unseen
            assert torch.equal(found.joints, hands(4))
    assert refused > 75


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("key", ["joints", "order", "confidence", "names", "frame_rate", "valid"])
def test_any_value_of_any_key_is_refused_or_understood(tmp_path, key, value):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(json.loads(save(path, full_content()).read_text()) | {key: value}))
    try:
        found = read_hand_pairs(path)
    except DataError as error:
        names(path, error)
    else:
        assert key == "frame_rate"
        assert found.frame_rate == value


def full_content() -> dict:
    given = {"confidence": np.full((4, 2, 21), 0.5), "valid": np.ones((4, 2), bool), "names": list("abcd")}
    return content() | given | {"truth": hands(4).numpy(), "frame_rate": 25.0}


# --- places --------------------------------------------------------------------------------------------


def test_the_input_is_never_written_to(path):
    save(path, content())
    before = path.read_bytes()
    found = read_hand_pairs(path)
    other = path.with_name(f"link{path.suffix}")
    other.symlink_to(path)
    for place in (path, other, path.parent / "." / path.name):
        with pytest.raises(DataError, match="the file that this was read from"):
            write_hand_pairs(place, found)
    write_hand_pairs(path.with_name(f"out{path.suffix}"), found)
    assert path.read_bytes() == before


def test_writing_is_all_or_nothing(path, monkeypatch):
    write_hand_pairs(path, pair_file())
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    monkeypatch.setattr(json, "dumps", full)
    with pytest.raises(MissingData, match="No space left"):
        write_hand_pairs(path, pair_file(2))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_places_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(MissingData, match=r"none\.npz is not there"):
        read_hand_pairs(tmp_path / "none.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(MissingData, match=r"folder\.npz cannot be read \(it is a folder"):
        read_hand_pairs(tmp_path / "folder.npz")
    with pytest.raises(DataError, match=r"a\.pkl is neither"):
        read_hand_pairs(tmp_path / "a.pkl")
    with pytest.raises(DataError, match=r"a\.txt is neither"):
        write_hand_pairs(tmp_path / "a.txt", pair_file())
    with pytest.raises(MissingData, match="cannot be written"):
        write_hand_pairs(tmp_path / "nowhere" / "a.npz", pair_file())
    broken = pair_file()
    broken.joints[1, 0, 3] = torch.nan
    with pytest.raises(DataError, match="joints of a valid hand are not finite"):
        write_hand_pairs(tmp_path / "a.npz", broken)
    marked = replace(broken, valid=torch.tensor([[True, True], [False, True], [True, True], [True, True]]))
    write_hand_pairs(tmp_path / "a.npz", marked)
    assert read_hand_pairs(tmp_path / "a.npz").skipped.kept == 3

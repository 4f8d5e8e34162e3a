"""Folders and files that cannot be used: every reader says so at once, with the file's name."""

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hand_object_sets import write_dexycb, write_ho3d
from mano_pickles import official_pickle
from PIL import Image
from small_sets import CAPTURE, write_freihand, write_reinterhand

import hands_lib
from hands_lib.data.dexycb import DexYCB
from hands_lib.data.errors import DataError
from hands_lib.data.freihand import FreiHand
from hands_lib.data.halo_sequence import read_halo_sequence
from hands_lib.data.hand_pair_files import read_hand_pairs, read_keypoints
from hands_lib.data.ho3d import HO3D
from hands_lib.data.images import read_image
from hands_lib.data.interhand26m import InterHand26M, splits_in
from hands_lib.data.manifest import UNUSABLE, check_command
from hands_lib.data.reinterhand import ReInterHand, captures_in
from hands_lib.hand.mano import ManoError, read_mano
from hands_lib.hand.mano_stand_in import stand_in

NOBODY = 65534
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "InterHand2.6M": (
        "annotations/test/InterHand2.6M_test_data.json",
        lambda root: InterHand26M(root),
    ),
    "its joints": ("annotations/test/InterHand2.6M_test_joint_3d.json", lambda root: InterHand26M(root)),
    "its splits": ("annotations/test/InterHand2.6M_test_data.json", splits_in),
    "FreiHAND": ("training_K.json", lambda root: FreiHand(root)),
    "Re:InterHand": (
        f"data/{CAPTURE}/Mugsy_cameras/cam_params.json",
        lambda root: ReInterHand(root, CAPTURE),
    ),
    "its captures": (f"data/{CAPTURE}/Mugsy_cameras/cam_params.json", captures_in),
    "its frames": (
        f"data/{CAPTURE}/orig_fits/right/Keypoints/keypoint-000000.json",
        lambda root: list(ReInterHand(root, CAPTURE)),
    ),
    "HO-3D": ("ho3d/train.txt", lambda root: HO3D(root / "ho3d")),
    "its metadata": ("ho3d/train/FX1/meta/0000.pkl", lambda root: HO3D(root / "ho3d")[0]),
    "its truth": ("ho3d/evaluation_xyz.json", lambda root: HO3D(root / "ho3d", "evaluation").truth()),
    "DexYCB": (
        "dexycb/20200709-subject-01/20200709_140000/meta.yml",
        lambda root: DexYCB(root / "dexycb"),
    ),
    "its labels": (
        "dexycb/20200709-subject-01/20200709_140000/836212060125/labels_000000.npz",
        lambda root: DexYCB(root / "dexycb")[0],
    ),
    "HALO": ("keypoints.npy", read_halo_sequence),
    "pairs": ("pairs.npz", lambda root: read_hand_pairs(root / "pairs.npz")),
    "keypoints": ("keypoints.json", lambda root: read_keypoints(root / "keypoints.json")),
    "image": ("image.png", lambda root: read_image(root / "image.png", 4, 4)),
    "MANO": ("MANO_RIGHT.pkl", lambda root: read_mano(root / "MANO_RIGHT.pkl", cache=root / "cache")),
}
LISTING = ("its splits", "its captures")  # they open no file


@pytest.fixture(scope="session")
def hand_object(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hand_object")
    write_ho3d(folder / "ho3d")
    write_dexycb(folder / "dexycb")
    return folder


@pytest.fixture
def root(copy, hand_object) -> Path:
    """Everything in one folder: no name stands for two data sets."""
    write_freihand(copy)
    write_reinterhand(copy)
    shutil.copytree(hand_object, copy, dirs_exist_ok=True)
    np.save(copy / "keypoints.npy", np.zeros((2, 21, 3), np.float32))
    np.savez(copy / "pairs.npz", joints=np.zeros((1, 2, 21, 3)), order="freihand", unit="m")
    (copy / "keypoints.json").write_text(json.dumps({"order": "freihand"}))
    (copy / "MANO_RIGHT.pkl").write_bytes(official_pickle(stand_in("right")))
    Image.new("RGB", (4, 4)).save(copy / "image.png")
    return copy


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Permissions mean nothing to the system's administrator, as whom tests may run."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(own)


def open_to_all(path: Path) -> None:
    for folder in [path, *path.parents]:
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)


@pytest.mark.parametrize("name", [name for name in READERS if name not in LISTING])
@pytest.mark.parametrize("shut", ["file", "folder", "search"])
def test_without_permission(root, name, shut):
    relative, read = READERS[name]
    path = root / relative
    open_to_all(root)
    place = path if shut == "file" else path.parent
    before = stat.S_IMODE(place.stat().st_mode)
    place.chmod(0o444 if shut == "search" else 0)
    try:
        with ordinary_user():
            try:
                read(root)
            except (DataError, ManoError) as error:
                message = str(error)
            else:
                pytest.fail("it was read")
    finally:
        place.chmod(before)
    assert str(place) in message
    assert "Permission denied" in message
    assert "look at its" in message or "again" in message or "name the official file" in message


@pytest.mark.parametrize("name", [name for name in READERS if name not in LISTING])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file(root, name, kind):
    relative, read = READERS[name]
    path = root / relative
    path.unlink()
    {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda p: os.symlink("/dev/zero", p)}[kind](path)
    with pytest.raises((DataError, ManoError)) as caught:
        read(root)
    assert str(path.parent) in str(caught.value)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("long", ["n" * 300, "/".join(["n" * 200] * 30)])
def test_names_that_are_too_long(tmp_path, name, long):
    with pytest.raises((DataError, ManoError)) as caught:
        READERS[name][1](tmp_path / long)
    assert "nnnnn" in str(caught.value)
    assert len(str(caught.value)) < 2 * len(str(tmp_path / long)) + 600


def test_names_that_are_not_utf_8(root, tmp_path, capfd):
    odd = tmp_path / os.fsdecode(b"h\xe4nde")
    root.rename(odd)
    assert len(InterHand26M(odd)) == 6
    assert len(FreiHand(odd)) == 3
    assert len(ReInterHand(odd, CAPTURE)) == 4
    assert read_mano(odd / "MANO_RIGHT.pkl", cache=tmp_path / "cache")
    os.rename(odd / "image.png", odd / os.fsdecode(b"bild\xff.png"))
    assert read_image(odd / os.fsdecode(b"bild\xff.png"), 4, 4).shape == (4, 4, 3)
    text, code = check_command("interhand26m", str(odd))
    assert code != UNUSABLE, text


@pytest.mark.parametrize(
    "name", ["interhand26m", "freihand", "reinterhand", "mano", "abc", "ho3d", "ho3d_v3", "dexycb"]
)
def test_the_check_says_what_it_may_not_look_at(root, name):
    open_to_all(root)
    root.chmod(0)
    try:
        with ordinary_user():
            text, code = check_command(name, str(root))
    finally:
        root.chmod(0o700)
    assert code == UNUSABLE
    assert str(root) in text


ALLOWED = {
    "Image.open(": {"data/images.py", "pages/pictures.py"},  # a person's; what the build has just drawn
    "np.load(": set(),
    "pickle.load": set(),
    "Unpickler": set(),
    "safetensors.torch import load": {"reproduce/weights.py"},  # after a look at the header and the hash
    "safe_open(": {"cache.py"},
    "torch.load(": {"reproduce/checkpoints.py", "metrics/image.py"},  # of weights alone
    "zipfile.ZipFile(": {"plain_files.py", "data/hand_object_results.py"},  # the second one only writes
}


@pytest.mark.parametrize("call", ALLOWED)
def test_files_are_opened_in_few_places(call):
    library = Path(hands_lib.__file__).parent
    texts = {path.relative_to(library).as_posix(): path.read_text() for path in library.rglob("*.py")}
    assert {name for name, text in texts.items() if call in text} == ALLOWED[call]
    assert texts["data/images.py"].count(", formats=FORMATS)") == texts["data/images.py"].count("Image.open(")
    for name in ALLOWED["torch.load("]:
        assert "weights_only=True" in texts[name]

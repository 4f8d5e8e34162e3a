import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from fuzz_targets import forged_yaml
from mano_pickles import calling, official_pickle

from hands_lib.data import manifest
from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.halo_sequence import FILE_NAME
from hands_lib.data.manifest import (
    MANIFEST_FOLDER,
    check,
    check_command,
    find_data,
    load_manifest,
    manifest_names,
    require_data,
    show_command,
)
from hands_lib.hand.mano_stand_in import stand_in
from hands_lib.reproduce.command import main

BOOK = Path(__file__).resolve().parents[2] / "book"


@pytest.fixture
def no_environment(monkeypatch):
    monkeypatch.delenv("HANDS_DATA", raising=False)


def test_there_is_a_manifest_for_every_reader():
    assert {"interhand26m", "halo_skeleton_sequence"} <= set(manifest_names())
    assert set(manifest._READERS) <= set(manifest_names())


@pytest.mark.parametrize("name", manifest_names())
def test_manifests_keep_to_the_schema(name):
    facts = load_manifest(name)
    assert facts.name == name
    for layout in facts.layouts:
        paths = [file.path for file in layout.files]
        assert len(set(paths)) == len(paths)
        assert any(file.required for file in layout.files)
    for chapter in facts.used_by:
        assert (BOOK / f"{chapter}.md").is_file(), f"{name}.yml: used_by names {chapter}"
    for line in (facts.homepage, facts.licence.name, facts.licence.terms, facts.folder):
        assert line in facts.origin_text()


def test_every_data_set_of_the_books_systems_has_a_manifest():
    assert set(manifest_names()) == {
        "interhand26m", "interhand26m_30fps", "reinterhand", "freihand", "ho3d", "ho3d_v3", "dexycb",
        "ycb_models", "mano", "bair", "kinetics600", "abc", "dtu", "scannet", "nerf_synthetic", "h3ds",
        "densepose_coco", "phoenix2014", "dsgs", "bobsl", "smile", "halo_skeleton_sequence",
    }  # fmt: skip


def test_the_licence_of_mano_and_smplx_is_said():
    text, code = show_command("mano")
    assert code == 0
    assert "non-commercial" in text
    assert "smplx" in text


@pytest.mark.parametrize("name", forged_yaml(MANIFEST_FOLDER / "mano.yml"))
def test_forged_manifests_are_one_error(tmp_path, monkeypatch, name):
    path = tmp_path / "mano.yml"
    path.write_bytes(forged_yaml(MANIFEST_FOLDER / "mano.yml")[name])
    monkeypatch.setattr(manifest, "MANIFEST_FOLDER", tmp_path)
    if name in ("an impossible date", "a date"):  # text, as every version is
        assert load_manifest("mano").version.startswith("2024")
        return
    with pytest.raises(DataError) as caught:
        load_manifest("mano")
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 700


def test_what_is_no_file_is_said_by_the_check(tmp_path):
    for side in ("RIGHT", "LEFT"):
        os.mkfifo(tmp_path / f"MANO_{side}.pkl")
    report = check("mano", tmp_path)
    assert [line.split(": ")[0] for line in report.corrupt[:2]] == ["MANO_RIGHT.pkl", "MANO_LEFT.pkl"]
    assert "it is a pipe" in report.text()
    long = tmp_path / ("n" * 300)
    assert main(["data", "check", "mano", "--root", str(long)]) == 1


def test_hidden_files_are_no_data(tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert check("abc", tmp_path).missing == ["the data: the folder is empty"]


@pytest.mark.parametrize("name", manifest_names())
def test_show_says_everything(name):
    text, code = show_command(name)
    facts = load_manifest(name)
    assert code == 0
    for part in (facts.title, facts.homepage, facts.units, facts.frames, facts.licence.terms, *facts.notes):
        assert part in text
    for layout in facts.layouts:
        for file in layout.files:
            assert file.path in text


def test_commands_print_and_end_with_their_codes(no_environment, generated, tmp_path, capsys):
    assert main(["data", "list"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table] == ["name", *manifest_names()]
    assert all(line.endswith("-") for line in table[1:])
    assert main(["data", "show", "mano"]) == 0
    assert "MANO_RIGHT.pkl" in capsys.readouterr().out
    assert main(["data", "show", "manno"]) == 2
    assert "did you mean mano" in capsys.readouterr().err
    assert main(["data", "check", "interhand26m", "--root", str(generated)]) == 0
    assert main(["data", "check", "interhand26m", "--root", str(tmp_path)]) == 1


def test_a_set_without_layout_is_only_looked_for(tmp_path):
    text, code = check_command("bair", str(tmp_path))
    assert code == 1
    assert "the folder is empty" in text
    (tmp_path / "softmotion30_44k").mkdir()
    text, code = check_command("bair", str(tmp_path))
    assert code == 0
    assert "1 file or folder" in text


def test_check_of_mano_reads_without_running(tmp_path):
    for side in ("right", "left"):
        (tmp_path / f"MANO_{side.upper()}.pkl").write_bytes(official_pickle(stand_in(side)))
    assert check_command("mano", str(tmp_path))[1] == 0
    (tmp_path / "MANO_LEFT.pkl").write_bytes(calling("os", "system", f"touch {tmp_path / 'trace'}"))
    text, code = check_command("mano", str(tmp_path))
    assert code == 1
    assert "names os.system" in text
    assert not (tmp_path / "trace").exists()


def test_facts_of_interhand26m():
    facts = load_manifest("interhand26m")
    assert facts.licence.name == "CC-BY-NC 4.0"
    assert [split.photographs for split in facts.splits.values()] == [1_361_062, 380_125, 849_160]
    assert list(facts.splits) == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("interhand", "did you mean interhand26m"),
        ("InterHand26M", "did you mean interhand26m"),
        ("halo", "did you mean halo_skeleton_sequence"),
        ("../interhand26m", "there are abc"),
        ("", "there are abc"),
    ],
)
def test_an_unknown_name_lists_and_suggests(name, hint):
    with pytest.raises(DataError, match=hint):
        load_manifest(name)
    text, code = check_command(name, None)
    assert code == 2
    assert hint in text


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder of manifests of our own; returns a function that adds one with changed lines."""
    source = (manifest.MANIFEST_FOLDER / "halo_skeleton_sequence.yml").read_text()
    monkeypatch.setattr(manifest, "MANIFEST_FOLDER", tmp_path)

    def add(old: str = "", new: str = "") -> None:
        assert old in source
        (tmp_path / "halo_skeleton_sequence.yml").write_text(source.replace(old, new))

    return add


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("homepage: https", "homepage: ftp", "homepage: String should match"),
        ("homepage:", "home:", "homepage: Field required"),
        ("units:", "unit: x\nunits:", "unit: Extra inputs"),
        (
            "path: keypoints.npy",
            "path: ../keypoints.npy",
            "layouts.0.files.0.path.*leaves the data set's folder",
        ),
        ("joint_order: halo", "joint_order: hello", "joint_order.*none of the joint orders"),
        ("size: 42968", "size: -1", "layouts.0.files.0.size"),
        ("sha256: 42bcf9d9", "sha256: 42BCF9", "layouts.0.files.0.sha256"),
        ("name: halo_skeleton_sequence", "name: halo", "says that its name is 'halo'"),
        ("name: halo_skeleton_sequence", "name: [", "is not YAML"),
        ("name: halo_skeleton_sequence", "name: !!python/object/apply:os.getcwd []", "has a tag"),
    ],
)
def test_a_broken_manifest_is_one_error_that_names_file_and_place(elsewhere, old, new, message):
    elsewhere(old, new)
    with pytest.raises(DataError, match=f"halo_skeleton_sequence.yml.*{message}"):
        load_manifest("halo_skeleton_sequence")


def test_outside_a_checkout_the_mend_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(manifest, "MANIFEST_FOLDER", tmp_path / "data_manifests")
    with pytest.raises(MissingData, match="must run from a checkout"):
        manifest_names()


def test_find_data_prefers_root_then_the_whole_set_then_a_sample(tmp_path, monkeypatch, no_environment):
    assert find_data("interhand26m") is None
    with pytest.raises(
        MissingData, match=r"(?s)no --root was given.*mks0601.github.io.*CC-BY-NC 4.0.*put it in"
    ):
        require_data("interhand26m")
    monkeypatch.setenv("HANDS_DATA", str(tmp_path))
    assert find_data("interhand26m") is None
    with pytest.raises(MissingData, match=r"(?s)no .*interhand26m and no .*interhand26m_sample.*CC-BY-NC"):
        require_data("interhand26m")
    sample = tmp_path / "interhand26m_sample"
    sample.mkdir()
    assert find_data("interhand26m") == require_data("interhand26m") == sample
    whole = tmp_path / "interhand26m"
    whole.mkdir()
    assert find_data("interhand26m") == whole
    assert find_data("interhand26m", sample) == sample
    with pytest.raises(MissingData, match="nowhere is not a folder"):
        find_data("interhand26m", tmp_path / "nowhere")
    monkeypatch.setenv("HANDS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(MissingData, match="HANDS_DATA names .*nowhere, which is no folder"):
        find_data("interhand26m")


def test_check_of_a_whole_capture(generated):
    text, code = check_command("interhand26m", str(generated))
    assert code == 0
    for line in (
        "layout: official", "annotations/test/InterHand2.6M_test_data.json",
        "6 photographs of 3 time steps, 4 hands, 83 valid joints", "not there, optional:",
        "https://mks0601.github.io/InterHand2.6M/", "CC-BY-NC 4.0", "complete: everything",
    ):  # fmt: skip
        assert line in text


def test_check_of_an_empty_folder_says_what_is_missing(tmp_path):
    text, code = check_command("interhand26m", str(tmp_path))
    assert code == 1
    for line in ("MISSING:", "annotations/test/InterHand2.6M_test_camera.json", "images/test", "get it at"):
        assert line in text


def test_check_without_any_folder_says_where_to_get_the_data(no_environment, tmp_path):
    for root in (None, str(tmp_path / "nowhere")):
        text, code = check_command("interhand26m", root)
        assert code == 1
        assert text.count("https://mks0601.github.io/InterHand2.6M/") == 1


def test_check_finds_missing_and_damaged_parts(copy):
    (copy / "annotations/test/InterHand2.6M_test_camera.json").unlink()
    report = check("interhand26m", copy)
    assert report.missing == ["annotations/test/InterHand2.6M_test_camera.json"]
    assert not report.ok


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda copy: next(copy.rglob("image202.jpg")).write_text("x"), "is not an image"),
        (lambda copy: next(copy.rglob("*_data.json")).write_text("{"), "is not complete JSON"),
        (lambda copy: next(copy.rglob("*_joint_3d.json")).write_text(""), "joint_3d.json: empty"),
    ],
    ids=["no image", "truncated", "empty"],
)
def test_check_reads_what_is_there(copy, damage, message):
    damage(copy)
    text, code = check_command("interhand26m", str(copy))
    assert code == 1
    assert message in text[text.index("CORRUPT:") :]


def test_check_of_a_part_of_the_release_is_partial_and_names_what_is_not_there(copy):
    next(copy.rglob("image202.jpg")).unlink()
    text, code = check_command("interhand26m", str(copy))
    assert code == 3
    partial = text[text.index("PARTIAL:") :]
    assert "test: 1 of 6 photographs are missing" in partial
    assert "test: Capture0/0002_lh: 1 of 2" in partial
    assert "CORRUPT" not in text


def test_known_sizes_and_hashes_are_compared(elsewhere, tmp_path):
    array = np.random.default_rng(0).normal(size=(170, 21, 3)).astype(np.float32)
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / FILE_NAME, array)
    raw = (folder / FILE_NAME).read_bytes()
    elsewhere()  # the published hash: our file has the published size, and other content
    assert check("halo_skeleton_sequence", folder).corrupt == [
        "keypoints.npy: its SHA-256 is not that of the manifest: get it again"
    ]
    published = load_manifest("halo_skeleton_sequence").layouts[0].files[0]
    assert len(raw) == published.size
    elsewhere(published.sha256, hashlib.sha256(raw).hexdigest())
    assert check("halo_skeleton_sequence", folder).contents == ["170 skeletons"]
    (folder / FILE_NAME).write_bytes(raw[:-1])
    report = check("halo_skeleton_sequence", folder)
    assert report.corrupt[0] == f"keypoints.npy: {len(raw) - 1} bytes instead of {len(raw)}: get it again"


# Real samples, on machines that have them, must be exactly the files that the manifests describe.
_BASE = Path(os.environ.get("HANDS_DATA", "") or "nowhere")
_REAL = [name for name in manifest_names() if _BASE.is_dir() and find_data(name)]


@pytest.mark.parametrize("name", ["generated", *_REAL])
def test_what_is_here_is_what_the_manifest_describes(name, generated):
    report = check("interhand26m", generated) if name == "generated" else check(name)
    assert report.ok, report.text()
    assert report.present

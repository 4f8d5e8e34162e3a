"""Run records: what is refused, what survives a crash, how damage is reported."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from toy import write_toy_book

from hands_lib.reproduce.methods import JOB, running_version
from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.records import (
    RESULTS,
    read_record,
    read_records,
    record_run,
    results_folder,
)
from hands_lib.reproduce.runs import Run


def record(root: Path | None, **changes: object) -> Path:
    identity = {
        "slug": "intersections",
        "table": "fit error",
        "variant": "custom mesh",
        "seed": 0,
        "profile": "cpu",
        "dataset": "InterHand2.6M sample",
        "dataset_version": "1.0",
        "config": {"steps": 3},
    }
    rest = {
        "protocol": "mean over joints",
        "metrics": {"fit_error_mean": 0.25},
        "units": "mm",
        "started": time.time() - 2,
        "root": root,
    }
    run = Run(**(identity | {name: value for name, value in changes.items() if name in identity}))
    return record_run(run, **(rest | {n: v for n, v in changes.items() if n not in identity}))


def test_round_trip(tmp_path: Path) -> None:
    path = record(tmp_path, metrics={"fit_error_mean": (0.25, "mm"), "hands": 12}, units={"hands": "1"})
    assert path.parent == tmp_path / "book" / "results" / "intersections"
    (found,) = read_records("intersections", tmp_path)
    assert found.metrics["fit_error_mean"].value == 0.25
    assert found.metrics["hands"].unit == "1"
    assert 2 <= found.wall_time < 60
    assert found.config == {"steps": 3}
    assert found.libraries.keys() >= {"python", "torch", "numpy"}
    assert found.created.tzinfo is not None


def test_smoke_records_are_named_so_that_git_ignores_them(tmp_path: Path) -> None:
    first = record(tmp_path, profile="smoke")
    assert first.name.startswith("smoke-fit_error-custom_mesh-interhand2_6m_sample-seed0-")
    assert record(tmp_path, profile="smoke", config={"steps": 4}) == first  # replaces its predecessor


def test_variants_that_differ_in_signs_alone_have_files_of_their_own(tmp_path: Path) -> None:
    assert record(tmp_path, profile="smoke", variant="q + p") != record(
        tmp_path, profile="smoke", variant="q + p'"
    )


def test_other_settings_are_another_record(tmp_path: Path) -> None:
    assert record(tmp_path) == record(tmp_path)
    assert record(tmp_path) != record(tmp_path, config={"steps": 4})
    assert len(read_records("intersections", tmp_path)) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"fit_error_mean": math.nan}}, "fit_error_mean.*nan is not a measurement"),
        ({"metrics": {"fit_error_mean": math.inf}}, "inf is not a measurement"),
        ({"metrics": {}}, "metrics"),
        ({"units": None}, "'fit_error_mean' has no unit"),
        (
            {"profile": "laptop"},
            "profile of a run of intersections: 'laptop'.* Known: cpu, gpu, paper, smoke",
        ),
        ({"config": {"path": Path("x")}}, "plain JSON"),
        ({"config": {"x": math.nan}}, "plain JSON"),
        ({"slug": "../elsewhere"}, "slug"),
        ({"dataset": ""}, "dataset"),
        ({"started": time.perf_counter()}, "cannot have started at.*time.time()"),
    ],
)
def test_refused_and_nothing_written(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        record(tmp_path, **changes)
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize(
    "damage", [lambda t: t[: len(t) // 2], lambda t: "", lambda t: "[]", lambda t: t.replace("0.25", "NaN")]
)
def test_damaged_file_is_named_with_the_mend(tmp_path: Path, damage) -> None:
    path = record(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ProjectError, match=rf"{path.name} is not a run record.*delete the file"):
        read_records(root=tmp_path)


def test_a_run_is_not_changed_from_outside() -> None:
    config = {"steps": 3, "widths": [8, 8]}
    run = Run("toy", "errors", "full", 0, "cpu", "line", "1", config)
    key = run.key("method")
    config["steps"] = 4
    config["widths"].append(8)
    assert run.key("method") == key
    assert run == Run("toy", "errors", "full", 0, "cpu", "line", "1", {"widths": [8, 8], "steps": 3})
    assert len({run, replace(run, seed=1), replace(run)}) == 2


def test_records_of_the_book_keep_their_names() -> None:
    """Another way to make keys would turn every committed record into one that nobody asks for."""
    names = {path.name for path in results_folder(find_root(Path(__file__).parent)).glob("*/[!s]*.json")}
    records = [r for r in read_records(root=find_root(Path(__file__).parent)) if r.profile != "smoke"]
    assert len(names) > 10
    assert {record.file_name for record in records} == names


def test_unknown_field_is_an_error(tmp_path: Path) -> None:
    path = record(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"surprise": 1}))
    with pytest.raises(ProjectError, match="surprise"):
        read_record(path)


def test_another_folder_for_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RESULTS, str(tmp_path / "elsewhere"))
    path = record(None)
    assert path.is_relative_to(tmp_path / "elsewhere")
    assert len(read_records("intersections")) == 1


def test_sources_edited_during_a_job_are_not_what_it_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that `hands` started loaded its code before; a person's kernel may have run the new cells."""
    chapter = write_toy_book(tmp_path) / "book" / "part" / "toy.md"
    text = chapter.read_text(encoding="utf-8")
    run = Run("toy", "errors", "base", 0, "cpu", "line", "1")
    by_hand = running_version(run, tmp_path)
    monkeypatch.setenv(JOB, json.dumps({"chapter": "part/toy", "parameters_hash": "0"}))
    by_job = running_version(run, tmp_path)
    chapter.write_text(text.replace("0.5 * gradient", "0.25 * gradient"), encoding="utf-8")
    assert running_version(run, tmp_path) == by_job == by_hand
    monkeypatch.delenv(JOB)
    assert running_version(run, tmp_path) != by_hand

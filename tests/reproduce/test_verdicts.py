"""Which records count, and the numbers behind verdicts."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from toy import write_toy_book

from hands_lib.reproduce import Run, compare, latest_record, read_records, record_run
from hands_lib.reproduce.command import main
from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.records import ALL_WEIGHTS_LIMIT, WEIGHTS_LIMIT, load_weights, weight_files
from hands_lib.reproduce.verdicts import effect_size, interval, sort_out


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_toy_book(tmp_path)


def measure(
    book: Path, variant: str, values: list[float], config: dict | None = None, **more: object
) -> list[Path]:
    return [
        record_run(
            Run(
                slug="toy",
                table="errors",
                variant=variant,
                seed=seed,
                profile="cpu",
                dataset="line",
                dataset_version="1",
                config=config or {},
            ),
            protocol="mean",
            metrics={"error": (value, "m")},
            started=time.time(),
            root=book,
            **more,
        )
        for seed, value in enumerate(values)
    ]


def change_the_method(book: Path) -> None:
    page = book / "book" / "part" / "toy.md"
    page.write_text(page.read_text().replace("0.5 * gradient", "0.4 * gradient"))


def test_an_earlier_method_is_shown_and_judged_no_more(book: Path) -> None:
    old = measure(book, "full", [1.0, 2.0, 3.0]) + measure(book, "base", [4.0, 5.0, 6.5])
    assert "reproduced" in repr(compare("toy", root=book))
    change_the_method(book)
    assert len(sort_out(read_records("toy", book), book).stale) == 6
    text = repr(compare("toy", root=book))
    assert "2 ± 1 m (stale)" in text
    assert "stale: 6 runs by an earlier version of the method" in text
    assert "only by an earlier version of the method" in text
    new = measure(book, "full", [0.5, 0.5, 0.5])
    assert all(path.is_file() for path in old)
    assert not set(old) & set(new)
    text = repr(compare("toy", root=book))
    assert "0.500 ± 0 m" in text
    assert "2 ± 1 m" not in text  # the present method has measured this row
    assert "5.17 ± 1.3 m (stale)" in text


def test_runs_with_other_settings_are_not_averaged(book: Path) -> None:
    measure(book, "full", [1.0, 2.0, 3.0])
    measure(book, "full", [100.0], config={"lr": 1})
    text = repr(compare("toy", root=book))
    assert "2 ± 1 m" in text
    assert "1 runs with other settings than most are not counted" in text


def test_a_repeated_run_is_one_record(book: Path) -> None:
    assert measure(book, "full", [1.0]) == measure(book, "full", [2.0])
    (record,) = read_records("toy", book)
    assert record.metrics["error"].value == 2.0


def test_hands_claims_prints_verdict_effect_and_place(book: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(book)
    assert main(["claims", "toy"]) == 0
    assert "NOT RUN" in capsys.readouterr().out
    measure(book, "full", [4.0, 5.0, 7.0])
    measure(book, "base", [1.0, 1.5, 2.0])
    assert main(["claims"]) == 0  # whatever the verdicts
    text = capsys.readouterr().out
    assert "NOT REPRODUCED  toy: A slope helps. (Table 1)" in text
    # by hand: differences -3, -3.5, -5; mean -3.83, deviation 1.04, d = -3.68
    assert "-3.83 ± 1.0 m lower [-5, -3], d = -3.7; line 1, cpu profile; mean" in text
    assert text.endswith("1 not reproduced\n")
    assert main(["claims", "toi"]) == 1


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=20), st.integers(1, 50))
def test_effect_size_has_no_unit(values: list[int], scale: int) -> None:
    """Scaling all differences leaves it, turning them round turns its sign."""
    differences = [float(v) for v in values]
    found = effect_size(differences)
    if len(set(values)) == 1:
        assert found is None
        return
    np.testing.assert_allclose(effect_size([scale * v for v in differences]), found, atol=1e-9)
    np.testing.assert_allclose(effect_size([-v for v in differences]), -found, atol=1e-9)


def test_effect_size_of_few() -> None:
    assert effect_size([1.0]) is None
    assert effect_size([1.0, 3.0]) == pytest.approx(2**0.5)


def test_interval_covers_the_mean_of_a_normal_sample_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    low, high = np.array([interval(list(rng.normal(0, 1, 30)), draws=500) for _ in range(300)]).T
    assert 0.89 < ((low < 0) & (high > 0)).mean() < 0.98


def trained(book: Path, value: float, **changes: object) -> Path:
    """A record of the toy system whose weights are one number."""
    run = Run("toy", "errors", "full", seed=0, profile="cpu", dataset="line", dataset_version="1")
    rest = {"protocol": "mean", "metrics": {"error": (value, "m")}, "started": time.time(), "root": book}
    return record_run(replace(run, **changes), **rest, weights={"net": torch.tensor([value])})


def date(path: Path, year: int) -> Path:
    path.write_text(re.sub(r'"created": "\d+', f'"created": "{year}', path.read_text()))
    return path


def test_the_weights_that_another_chapter_plays_with(book: Path) -> None:
    def latest(**asked: object) -> float:
        return load_weights(latest_record("toy", "errors", "full", root=book, **asked), book)["net"].item()

    with pytest.raises(ProjectError, match=r"are recorded; .* made by: hands sweep toy --profile cpu$"):
        latest()
    trained(book, 0.0, profile="smoke")
    trained(book, 1.0, variant="base")
    measure(book, "full", [2.0], config={"weights": False})
    with pytest.raises(ProjectError, match="no trained weights"):
        latest()

    date(trained(book, 3.0, config={"steps": 3}), 2024)
    date(trained(book, 4.0, config={"steps": 4}), 2026)
    date(trained(book, 5.0, config={"steps": 5}, seed=1), 2025)
    assert latest() == 4.0  # the newest
    assert latest(seed=1) == 5.0
    gpu = date(trained(book, 6.0, profile="gpu"), 2020)
    assert latest() == 6.0  # the largest profile
    assert latest(profiles=["cpu"]) == 4.0
    assert latest(profiles=["smoke"]) == 0.0

    change_the_method(book)
    with pytest.warns(UserWarning, match=rf"{gpu.name} is of an earlier .* made anew by: hands sweep"):
        assert latest() == 6.0
    date(trained(book, 7.0), 2019)
    assert latest() == 7.0  # of the present method
    for path in weight_files(book / "book" / "results"):
        path.unlink()
    with pytest.raises(ProjectError, match=r"\.json has lost its \.safetensors file"):
        latest()


def test_the_command_that_makes_a_table_names_its_chapter(book: Path) -> None:
    page = book / "book" / "part" / "toy.md"
    page.write_text(page.read_text().replace("\n---\n", "\nhands: {tables: [errors]}\n---\n", 1))
    with pytest.raises(ProjectError, match="made by: hands sweep toy --profile cpu$"):
        latest_record("toy", "errors", "full", root=book)
    with pytest.raises(ProjectError, match="nothing, as no chapter of toy has the profile gpu or paper"):
        latest_record("toy", "errors", "full", profiles=["gpu", "paper"], root=book)


def test_weights_lie_beside_the_record(book: Path) -> None:
    weights = {"net": torch.randn(3, 4, generator=torch.Generator().manual_seed(0))[:, ::2]}
    (path,) = measure(book, "full", [1.0], weights=weights)
    (record,) = read_records("toy", book)
    assert torch.equal(load_weights(record, book)["net"], weights["net"])
    file = path.with_suffix(".safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ProjectError, match="damaged or belongs to another run"):
        load_weights(record, book)
    file.unlink()
    with pytest.raises(ProjectError, match="cannot be read"):
        load_weights(record, book)
    (path,) = measure(book, "base", [1.0])
    with pytest.raises(ProjectError, match="has no weights"):
        load_weights(read_records("toy", book)[0], book)


def test_weights_that_are_too_large_do_not_cost_the_run(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = {"net": torch.zeros(WEIGHTS_LIMIT // 4 + 1)}
    with pytest.raises(
        ProjectError, match=r"is written, but without its weights: 5\.0 MB are more than 5 MB"
    ):
        measure(book, "full", [1.0], weights=large)
    assert read_records("toy", book)[0].weights_sha256 is None
    monkeypatch.setattr("hands_lib.reproduce.records.ALL_WEIGHTS_LIMIT", 1000)
    small = {"net": torch.zeros(150)}
    measure(book, "base", [1.0], weights=small)
    measure(book, "base", [1.0], weights=small)  # replaces its own, which does not count twice
    with pytest.raises(ProjectError, match="all weights below"):
        measure(book, "other", [1.0], weights=small)


def test_weights_in_the_repository_are_small_and_belong_to_records() -> None:
    folder = Path(__file__).resolve().parents[2] / "book" / "results"
    files = weight_files(folder)
    assert sum(file.stat().st_size for file in files) <= ALL_WEIGHTS_LIMIT
    assert [file for file in files if file.stat().st_size > WEIGHTS_LIMIT] == []
    assert [file for file in files if not file.with_suffix(".json").is_file()] == []


def test_plan_tells_what_is_missing_and_how_long_it_takes(book: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(book)
    preset = {"cpu": {"seeds": [0, 1], "steps": 5}}
    (book / "book" / "presets" / "toy.yml").write_text(yaml.safe_dump(preset))
    assert main(["plan", "toy"]) == 0
    assert "4 runs, 0 recorded; the other 4: unknown time" in capsys.readouterr().out
    assert main(["plan", "toy", "-p", "variants", "[full]", "-p", "seeds", "[3]"]) == 0
    assert "1 runs, 0 recorded" in capsys.readouterr().out
    assert main(["plan", "--profile", "cpu"]) == 0  # the whole book
    assert "4 runs" in capsys.readouterr().out
    assert main(["plan", "toy", "--profile", "smoke"]) == 0
    assert "smoke runs are made anew with every build" in capsys.readouterr().out
    # one of the four is recorded by this chapter with these parameters; it took 100 s
    import jupytext

    from hands_lib.reproduce.plan import parameters_hash
    from hands_lib.reproduce.records import JOB

    digest = parameters_hash(jupytext.read(book / "book" / "part" / "toy.md"), {"steps": 5})
    monkeypatch.setenv(JOB, f'{{"chapter": "part/toy", "parameters_hash": "{digest}"}}')
    path = measure(book, "full", [1.0])[0]
    path.write_text(path.read_text().replace('"wall_time": 0', '"wall_time": 100'))
    assert main(["plan", "toy"]) == 0
    assert "4 runs, 1 recorded; the other 3: about 5 min one by one" in capsys.readouterr().out
    # the job of another variant calls its row otherwise
    job = {"chapter": "part/toy", "parameters_hash": digest, "variant": "base"}
    monkeypatch.setenv(JOB, json.dumps(job))
    measure(book, "a row by the way", [1.0])
    assert main(["plan", "toy"]) == 0
    assert "4 runs, 2 recorded" in capsys.readouterr().out
    # or as another variant is called, whose own job is not done by that
    measure(book, "full", [1.0, 2.0], config={"longer": 2})
    monkeypatch.delenv(JOB)
    assert main(["plan", "toy"]) == 0
    assert "4 runs, 3 recorded" in capsys.readouterr().out


def test_seeds_in_the_same_state_share_a_line(book: Path) -> None:
    from hands_lib.reproduce.interactive import plan_table

    rows = plan_table("toy", "cpu", {"seeds": [0, 1, 2]}, book).rows
    assert [row[:3] for row in rows] == [("base", "0, 1, 2", "missing"), ("full", "0, 1, 2", "missing")]


def test_choose_runs_is_a_list_outside_and_widgets_inside_jupyterlab(book: Path, monkeypatch) -> None:
    import ipywidgets

    from hands_lib.reproduce import choose_runs
    from hands_lib.reproduce.interactive import LIVE

    monkeypatch.delenv(LIVE, raising=False)
    assert "toy, profile cpu: 0 of 2 runs recorded" in repr(choose_runs("toy", book))
    monkeypatch.setenv(LIVE, "toy.md")
    widgets = choose_runs("toy", book)
    assert isinstance(widgets, ipywidgets.VBox)
    _, profile, variants, (run, stop, _), _, shown = (getattr(w, "children", w) for w in widgets.children)
    assert profile.options == ("cpu",)
    assert [box.description for box in variants] == ["base", "full"]
    assert shown.value.count("missing") == 2
    variants[0].value = False
    assert shown.value.count("missing") == 1
    assert (run.disabled, stop.disabled) == (False, True)
    variants[1].value = False
    assert "Choose a variant" in shown.value
    assert run.disabled
    with pytest.raises(ProjectError, match="did you mean 'toy'"):
        choose_runs("toi", book)

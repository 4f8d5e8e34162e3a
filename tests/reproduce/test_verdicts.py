"""Which jobs count, and what `hands claims` says of them."""

import time
from pathlib import Path

import pytest
import yaml
from toy import commit, write_toy_book

from hands_lib.reproduce import Job, compare, read_lines, record_job
from hands_lib.reproduce.command import main
from hands_lib.reproduce.evidence import read_evidence


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_toy_book(tmp_path, steps=3)


SETTINGS = {"steps": 3, "pause": 0.0, "trouble": {}}


def measure(book: Path, row: str, values: list[float], **settings: object) -> list[Path]:
    found = []
    for seed, value in enumerate(values):
        job = Job("toy", "toy", row, seed, "cpu", dataset="line", parameters=SETTINGS | settings)
        rows = {"errors": {row: {"error": value}}}
        found.append(record_job(job, rows, protocol="mean", started=time.time(), root=book))
    return found


def test_another_version_is_shown_and_judged_no_more(book: Path) -> None:
    old = measure(book, "full", [1.0, 2.0, 3.0]) + measure(book, "base", [4.0, 5.0, 6.5])
    assert "\nREPRODUCED " in repr(compare("toy", root=book))
    (book / "book" / "versions.yml").write_text("toy/toy: {version: 2}\n")
    commit(book)
    assert sum(map(len, read_evidence("toy", book).lines["stale"].values())) == 6
    text = repr(compare("toy", root=book))
    assert "2 ± 1 (stale)" in text
    assert "stale: 6 jobs by another version of the chapter" in text
    assert "only by another version of the chapter" in text
    new = measure(book, "full", [0.5, 0.5, 0.5])
    assert all(path.is_file() for path in old)
    assert not set(old) & set(new)
    text = repr(compare("toy", root=book))
    assert "0.500 ± 0" in text
    assert "2 ± 1" not in text  # the present version has measured this row
    assert "5.17 ± 1.3 (stale)" in text


def test_jobs_with_other_settings_are_not_averaged(book: Path) -> None:
    """Those of the preset count, however many others there are; where none are its, those of most seeds."""
    measure(book, "full", [1.0, 2.0, 3.0])
    measure(book, "full", [100.0] * 5, steps=4)
    text = repr(compare("toy", root=book))
    assert "2 ± 1" in text
    assert "of other settings than the rest: 5 jobs" in text
    measure(book, "base", [7.0, 8.0], steps=5)
    measure(book, "base", [9.0], steps=6)
    assert "7.50 ± 0.71" in repr(compare("toy", root=book))


def test_a_job_made_again_counts_once(book: Path) -> None:
    assert measure(book, "full", [1.0]) == measure(book, "full", [2.0])
    (line,) = read_lines("toy", book)
    assert line.rows["errors"]["full"]["error"] == 2.0


def test_hands_claims_prints_verdict_effect_and_place(book: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(book)
    assert main(["claims", "toy"]) == 0
    assert "NOT MEASURED" in capsys.readouterr().out
    measure(book, "full", [4.0, 5.0, 7.0])
    measure(book, "base", [1.0, 1.5, 2.0])
    assert main(["claims"]) == 0  # whatever the verdicts
    text = capsys.readouterr().out
    assert "NOT REPRODUCED  toy: A slope helps. (Table 1)" in text
    # by hand: differences -3, -3.5, -5; mean -3.83, deviation 1.04, d = -3.68; t of two degrees of freedom is
    # 4.303, so that the interval reaches 4.303 x 1.04 / sqrt(3) = 2.59 to either side
    assert (
        "3.8 ± 1.0 m higher (worse), 95 %: 1.2 to 6.4 m higher, d = -3.7, 3 seeds; line 1, cpu profile; mean"
        in text
    )
    assert text.endswith("1 not reproduced\n")
    assert main(["claims", "toi"]) == 1


def test_hands_plan_says_which_seeds_would_decide(book: Path, monkeypatch, capsys) -> None:
    """By hand: differences 1, 2, 4 of mean 2.33 and deviation 1.53. Four seeds reach 3.182 x 1.53 / 2 = 2.43
    to either side, five 2.776 x 1.53 / sqrt(5) = 1.90, which is the first that leaves out 0."""
    monkeypatch.chdir(book)
    measure(book, "full", [1.0, 1.0, 1.0])
    measure(book, "base", [2.0, 3.0, 5.0])
    assert main(["plan", "--undecided"]) == 0
    text = capsys.readouterr().out
    assert "toy: A slope helps. (Table 1)" in text
    assert "3 seeds; 5 would decide if the effect stays as it is" in text
    assert main(["plan", "toy", "--undecided"]) == 0
    assert capsys.readouterr().out == text
    measure(book, "base", [2.0, 2.1, 2.2])
    assert main(["plan", "--undecided"]) == 0
    assert capsys.readouterr().out == "no claim is undecided\n"


def gated(book: Path, **gate: object) -> None:
    """The toy's claim, from now on with a gate."""
    path = book / "book" / "published" / "toy.yml"
    content = yaml.safe_load(path.read_text())
    content["claims"][0]["gate"] = {"otherwise": "the module did not learn"} | gate
    path.write_text(yaml.safe_dump(content))


ABOVE = {"kind": "threshold", "metric": "error", "rows": ["full"], "above": 3.0}


@pytest.mark.parametrize(
    ("full", "base", "ungated"),
    [([1.0, 2.0, 3.0], [4.0, 5.0, 6.5], "REPRODUCED"), ([1.0, 2.0, 2.5], [0.0, 0.9, 1.6], "NOT REPRODUCED")],
)
def test_behind_a_closed_gate_nothing_is_reproduced_and_nothing_refuted(
    book: Path, monkeypatch, capsys, full: list[float], base: list[float], ungated: str
) -> None:
    monkeypatch.chdir(book)
    measure(book, "full", full)
    measure(book, "base", base)
    main(["claims"])
    assert capsys.readouterr().out.startswith(f"{ungated} ")
    gated(book, test=ABOVE)  # its mean is below
    main(["claims"])
    text = capsys.readouterr().out
    assert text.startswith("UNDECIDED ")
    assert "not judged, as the module did not learn: full, error: " in text
    assert "(asked: above 3 m)" in text
    assert text.endswith("1 undecided\n")
    main(["plan", "--undecided"])  # more seeds of the rows would not open the gate
    assert capsys.readouterr().out == "no claim is undecided\n"
    shown = repr(compare("toy", root=book))
    assert "Not judged, as the module did not learn" in shown
    gated(book, test=ABOVE | {"above": -5.0})
    main(["claims"])
    assert capsys.readouterr().out.startswith(f"{ungated} ")


def test_a_gate_that_was_not_measured_or_is_open_lets_nothing_through(
    book: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(book)
    measure(book, "full", [1.0, 2.0, 3.0])
    measure(book, "base", [4.0, 5.0, 6.5])
    gated(book, test=ABOVE | {"rows": ["other"]})
    main(["claims"])
    text = capsys.readouterr().out
    assert text.startswith("UNDECIDED ")
    assert "other, error: not run" in text
    gated(book, test=ABOVE | {"above": 1.9})  # 2 +- 2.5: its interval contains both
    main(["claims"])
    assert capsys.readouterr().out.startswith("UNDECIDED ")
    gated(book, table="elsewhere", test=ABOVE)
    assert main(["claims"]) == 1
    assert "the gate of claim better names table 'elsewhere'" in capsys.readouterr().err

"""`hands same`: what counts as equal, what it writes, and that both sides run with their own sources."""

import io
import json
import os
import subprocess
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy import CHAPTER, PUBLISHED, commit, write_toy_book

from hands_lib import cache
from hands_lib.reproduce import same as module
from hands_lib.reproduce.chapters import Chapter, find_chapter, preset_parameters
from hands_lib.reproduce.jobs import ASKED, JobLine
from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.same import (
    SHOWN,
    Proof,
    alarms,
    differences,
    follow_parameters,
    hours,
    is_time,
    only_renamed,
    prove,
    same,
)
from hands_lib.reproduce.store import RESULTS, parse_line
from hands_lib.reproduce.versions import Entry, digest, read_versions, write_entry

METRICS = {
    "error": {"unit": "m"},
    "speed": {"unit": "pairs/s"},
    "seconds": {"unit": "s"},
    "load average": {"unit": "1"},
}


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (ASKED, RESULTS):
        monkeypatch.delenv(name, raising=False)
    root = write_toy_book(tmp_path / "checkout", steps=50)
    (root / "book" / "published" / "toy.yml").write_text(yaml.safe_dump(PUBLISHED | {"metrics": METRICS}))
    commit(root)
    return root


def line(error: float = 0.25, **changes: Any) -> JobLine:
    """Of a job of the toy chapter."""
    given = {
        "format": 1, "slug": "toy", "chapter": "toy", "job": "full", "seed": 0, "profile": "smoke",
        "version": 1, "commit": "0" * 40, "dataset": "line", "dataset_version": "1",
        "protocol": "mean", "seconds": 1.0,
        "device": "cpu", "libraries": {}, "created": "2026-01-01T00:00:00Z",
        "rows": {"errors": {"full": {"error": error}}},
    } | changes  # fmt: skip
    return JobLine.model_validate_json(json.dumps(given))


def page_of(book: Path) -> Path:
    return book / "book" / "part" / "toy.md"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# --- what counts as equal -------------------------------------------------------------------------------


def test_equal_to_the_last_bit(book: Path) -> None:
    assert differences([line(0.1)], [line(0.1, seconds=9.0, created="2026-01-02T00:00:00Z")], book) == []
    assert differences([line(0.1)], [line(0.1 + 2**-56)], book) == [
        "toy/toy, full, seed 0: errors | full | error: 0.1 -> 0.10000000000000002"
    ]
    assert differences([line(0.0)], [line(-0.0)], book) != []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rows": {"errors": {"full": {}, "base": {"error": 0.25}}}},
            "errors | base | error: nothing -> 0.25",
        ),
        ({"rows": {"errors": {"full": {"speed": 2.0}}}}, "errors | full | error: 0.25 -> nothing"),
        ({"examples": {"errors": {"full": {"error": [1.0, 2.0]}}}}, "error | example 1: 1.5 -> 2.0"),
        ({"examples": {"errors": {"full": {"error": [1.0]}}}}, "error | example 1: 1.5 -> nothing"),
        ({"weights": {"sha256": "b" * 64, "bytes": 8}}, f"weights: {'a' * 64} -> {'b' * 64}"),
        ({"dataset_version": "2"}, "data set: line 1 -> line 2"),
        ({"inputs": {"weights": "1"}}, "starts from: {} -> {'weights': '1'}"),
    ],
)
def test_whatever_differs_is_listed(book: Path, changes: dict[str, Any], message: str) -> None:
    about = {
        "weights": {"sha256": "a" * 64, "bytes": 8},
        "examples": {"errors": {"full": {"error": [1.0, 1.5]}}},
    }
    found = differences([line(**about)], [line(**about | changes)], book)
    assert any(text.endswith(message) for text in found), found


def test_a_job_of_one_side_alone_is_listed(book: Path) -> None:
    found = differences([line()], [line(), line(seed=1), line(job="base")], book)
    assert {text.partition(":")[0] for text in found} == {"toy/toy, full, seed 1", "toy/toy, base, seed 0"}
    assert all("nothing -> " in text for text in found)


def test_times_and_speeds_may_differ(book: Path) -> None:
    def timed(number: float) -> JobLine:
        columns = {"error": 0.5, "speed": number, "seconds": number, "load average": number}
        return line(rows={"errors": {"full": columns}}, examples={"errors": {"full": {"seconds": [number]}}})

    assert differences([timed(1)], [timed(2)], book) == []


@pytest.mark.parametrize("unit", ["s", "ms", "min", "1/s", "pairs/s", "steps/s", "ms/step/s"])
def test_units_of_time(unit: str) -> None:
    assert is_time(unit, "column")


@pytest.mark.parametrize("unit", ["m", "mm", "1", "%", "mm/s", "deg/s", "dB", "px", "", "steps", "1/m"])
def test_units_of_no_time(unit: str) -> None:
    assert not is_time(unit, "column")


# --- parameters with other names ------------------------------------------------------------------------

OLD = {"steps": 1000, "width": 8}
DEFAULT = {"steps": 3, "width": 4}


@pytest.mark.parametrize(
    ("new", "default", "equal"),
    [
        (OLD, DEFAULT, True),
        (OLD | {"rate": 0.1}, DEFAULT | {"rate": 0.1}, True),  # added, at its default
        (
            OLD | {"rate": 0.2},
            DEFAULT | {"rate": 0.1},
            False,
        ),  # added, and other than what the proof ran with
        ({"width": 8, "updates": 1000}, {"width": 4, "updates": 3}, True),  # renamed
        ({"width": 8, "updates": 900}, {"width": 4, "updates": 3}, False),
        ({"width": 8, "updates": 1000}, {"width": 4, "updates": 5}, False),
        ({"width": 8}, {"width": 4}, False),  # removed, though it was not at its default
        ({"steps": 2000, "width": 8}, DEFAULT, False),  # another preset
        ({"updates": 1000, "size": 8}, {"updates": 3, "size": 4}, True),
        ({"updates": 8, "size": 1000}, {"updates": 3, "size": 4}, False),
    ],
)
def test_only_renamed(new: dict[str, Any], default: dict[str, Any], equal: bool) -> None:
    assert only_renamed(OLD, new, DEFAULT, default) is equal
    assert only_renamed(new, OLD, default, DEFAULT) is equal


def test_removed_at_its_default() -> None:
    assert only_renamed({"steps": 9, "rate": 1}, {"steps": 9}, {"steps": 3, "rate": 1}, {"steps": 3})


def results(book: Path, *lines: JobLine) -> Path:
    path = book / "book" / "results" / "toy" / "toy.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{own.text}\n" for own in lines))
    return path


def presets_of(book: Path) -> dict[str, Any]:
    return {profile: preset_parameters("toy", "toy", profile, book) for profile in ("smoke", "cpu", "gpu")}


def test_lines_follow_a_parameter_that_got_another_name(book: Path) -> None:
    before = presets_of(book)
    assert before["cpu"] is not None
    edit(page_of(book), "steps", "updates")
    edit(page_of(book), "pause = 0.0", "width = 8\npause = 0.0")
    (book / "book" / "presets" / "toy.yml").write_text("cpu: {updates: 50}\n")
    after = presets_of(book)
    assert after["cpu"] == {k: v for k, v in before["cpu"].items() if k != "steps"} | {
        "updates": 50,
        "width": 8,
    }
    again = line(0.75, profile="cpu", seed=4, parameters=after["cpu"])
    others = [
        line(profile="cpu", seed=1, parameters=before["cpu"] | {"steps": 60}),  # asked for by hand
        line(profile="cpu", seed=2, parameters=before["cpu"], version=2),  # of another version
        line(profile="gpu", seed=3, parameters=before["cpu"]),
        again,
    ]
    own = [line(profile="cpu", seed=seed, parameters=before["cpu"]) for seed in (0, 4)]
    path = results(book, *own, *others)
    later = json.dumps(json.loads(own[0].text) | {"format": 2})
    path.write_text(path.read_text() + later + "\n")
    assert follow_parameters("toy", "toy", book, before, after) == [
        "cpu: 2 jobs have the new names of parameters"
    ]
    *found, last = path.read_text().splitlines()
    renamed = own[0].model_copy(update={"parameters": after["cpu"]})
    assert sorted(found) == sorted(own.text for own in [renamed, *others])  # `again` stands for the second
    assert last == later


def test_lines_of_another_preset_stay(book: Path) -> None:
    before = presets_of(book)
    (book / "book" / "presets" / "toy.yml").write_text("cpu: {steps: 60}\n")
    path = results(book, line(profile="cpu", parameters=before["cpu"]))
    text = path.read_text()
    assert follow_parameters("toy", "toy", book, before, presets_of(book)) == [
        "cpu: its preset asks for other work than before, so its jobs are to run again"
    ]
    assert path.read_text() == text
    assert follow_parameters("toy", "toy", book, before, before) == []


# --- the command, with proofs that are told -------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Proof]:
    """What `prove` finds: commit -> proof; filled by the tests. Nothing runs."""
    proofs: dict[str, Proof] = {}
    monkeypatch.setattr(module, "prove", lambda chapter, root, commit: proofs[commit])
    return proofs


def said(book: Path) -> tuple[int, str]:
    text = io.StringIO()
    with redirect_stdout(text):
        return same("toy", book), text.getvalue()


def entry(book: Path) -> Entry | None:
    return read_versions(book).get("toy/toy")


def proved(book: Path, version: int = 1) -> str:
    """The present sources are those of the version; returns their commit."""
    head = commit(book)
    write_entry(book, "toy", "toy", version, head, digest("toy", "toy", book))
    return head


def changed(book: Path) -> str:
    """An edit of the method, committed."""
    edit(page_of(book), "0.5 * gradient", "0.25 * 2 * gradient")
    return commit(book)


def test_the_first_time_there_is_nothing_to_compare(book: Path, told: dict[str, Proof]) -> None:
    head = commit(book)
    told[head] = Proof([line()], {})
    code, text = said(book)
    assert (code, "toy/toy, version 1: nothing to compare with" in text) == (0, True)
    assert entry(book) == Entry(version=1, proved_at=head, sources=digest("toy", "toy", book))


def test_a_version_that_was_raised_is_noted(book: Path, told: dict[str, Proof]) -> None:
    proved(book)
    head = changed(book)
    write_entry(book, "toy", "toy", 2)
    told[head] = Proof([line()], {})
    assert said(book)[0] == 0
    assert entry(book) == Entry(version=2, proved_at=head, sources=digest("toy", "toy", book))


def test_equal_numbers_keep_the_version(book: Path, told: dict[str, Proof]) -> None:
    old = proved(book, version=3)
    new = changed(book)
    before = {"smoke": {"steps": 3}, "cpu": {"steps": 50}}
    after = {"smoke": {"updates": 3}, "cpu": {"updates": 50}}
    path = results(book, line(profile="cpu", version=3, parameters={"steps": 50}))
    told |= {old: Proof([line()], before), new: Proof([line()], after)}
    code, text = said(book)
    assert code == 0
    assert "toy/toy, version 3: equal to the last bit" in text
    assert "1 jobs have the new names" in text
    assert entry(book) == Entry(version=3, proved_at=new, sources=digest("toy", "toy", book))
    assert parse_line(path.read_text()).parameters == {"updates": 50}


def test_a_new_job_changes_no_number_of_the_others(book: Path, told: dict[str, Proof]) -> None:
    before = proved(book)
    now = changed(book)
    told[before] = Proof([line()], presets_of(book))
    told[now] = Proof([line(), line(0.5, job="rule")], presets_of(book))
    code, text = said(book)
    assert code == 0
    assert "equal to the last bit" in text
    assert "new: rule, seed 0" in text
    again = proved(book)
    edit(page_of(book), "0.25 * 2 * gradient", "0.125 * 4 * gradient")
    last = commit(book)
    told[again] = told[now]
    told[last] = Proof([line()], presets_of(book))  # one that is gone is a difference
    code, text = said(book)
    assert code == 1
    assert "rule, seed 0: errors | full | error: 0.5 -> nothing" in text


def test_other_numbers_are_listed_and_nothing_is_written(book: Path, told: dict[str, Proof]) -> None:
    old = proved(book)
    new = changed(book)
    results(book, *(line(profile="cpu", seed=i, seconds=5400.0) for i in range(2)), line(version=7))
    before = [line(seed=i) for i in range(SHOWN + 5)]
    told |= {old: Proof(before, {}), new: Proof([line(0.5, seed=i) for i in range(SHOWN + 5)], {})}
    kept = entry(book)
    code, text = said(book)
    assert code == 1
    assert text.count("errors | full | error: 0.25 -> 0.5") == SHOWN
    assert "and 5 more" in text
    assert "write `toy/toy: {version: 2}` into book/versions.yml" in text
    assert "(3.0 hours of results go stale)" in text
    assert entry(book) == kept


def test_two_proofs_without_a_job_prove_nothing(book: Path, told: dict[str, Proof]) -> None:
    told[commit(book)] = Proof([], {})
    with pytest.raises(ProjectError, match=r"toy\.md: its smoke run records no job"):
        said(book)
    told[proved(book)] = Proof([], {})
    told[changed(book)] = Proof([], {})
    assert said(book)[0] == 1


def test_the_sources_have_to_be_committed(book: Path, told: dict[str, Proof]) -> None:
    proved(book)
    edit(page_of(book), "# Toy", "# A toy")
    with pytest.raises(ProjectError, match=r"book/part/toy\.md: not as in the commit; commit first"):
        said(book)


def test_a_commit_that_is_not_here(book: Path, told: dict[str, Proof]) -> None:
    """Rewritten history: the same sources are proved all the same, others cannot be."""
    head = commit(book)
    write_entry(book, "toy", "toy", 1, "0" * 40, digest("toy", "toy", book))
    assert said(book)[0] == 0
    assert entry(book) == Entry(version=1, proved_at=head, sources=digest("toy", "toy", book))
    write_entry(book, "toy", "toy", 1, "0" * 40, "0" * 16)
    with pytest.raises(ProjectError, match=r"proved at commit 0{12}, .* fetch it, or raise the version"):
        said(book)


def test_hours_are_those_of_results_of_the_present_version(book: Path) -> None:
    write_entry(book, "toy", "toy", 2)
    lines = [line(profile="cpu", version=version, seconds=1800.0) for version in (1, 2)]
    results(book, *lines, line(profile="gpu", version=2, seconds=3600.0))
    assert hours("toy", "toy", book) == 1.5


# --- the alarm ------------------------------------------------------------------------------------------


def test_alarms(book: Path) -> None:
    assert alarms(book) == ["toy/toy: book/versions.yml does not note its sources: `hands same toy`"]
    write_entry(book, "toy", "toy", 2)
    assert alarms(book) == ["toy/toy: book/versions.yml does not note its sources: `hands same toy`"]
    proved(book)
    assert alarms(book) == []
    edit(page_of(book), "# Toy", "# A toy")
    assert alarms(book) == []
    results(book, line(profile="cpu", seconds=9000.0))
    edit(page_of(book), "0.5 * gradient", "0.4 * gradient")
    [text] = alarms(book)
    assert "changed since version 1 was proved: cells tagged `method` of book/part/toy.md." in text
    assert "`hands same toy`" in text
    assert "{version: 2}" in text
    assert "(2.5 hours" in text


def test_a_chapter_without_variants_needs_an_entry_when_it_has_lines(book: Path) -> None:
    edit(page_of(book), 'variants = ["base", "full"]\n', "")
    assert alarms(book) == []
    results(book, line(profile="cpu"))
    assert alarms(book) == ["toy/toy: book/versions.yml does not note its sources: `hands same toy`"]


def test_entries_and_lines_of_nobody(book: Path) -> None:
    proved(book)
    write_entry(book, "toy", "speed", 2)
    results(book, line(profile="cpu")).rename(book / "book" / "results" / "toy" / "gone.jsonl")
    assert alarms(book) == [
        "book/results/toy/gone.jsonl: toy/gone is no chapter and no benchmark: rename or remove it",
        "book/versions.yml: toy/speed is no chapter and no benchmark: rename or remove it",
    ]
    for name in ("speed", "gone"):
        path = book / "benchmarks" / "toy" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert alarms(book) == []


# --- what runs ------------------------------------------------------------------------------------------

# A hands_lib that needs no kernel: its command records what it was started with.
LIBRARY = {
    "__init__.py": "",
    "reproduce/__init__.py": "",
    "reproduce/jobs.py": 'PROFILES = ("smoke", "cpu")\n',
    "reproduce/chapters.py": "def preset_parameters(*words):\n    return dict(words=list(map(str, words)))\n",
    "reproduce/command.py": """\
import json, os
from pathlib import Path

LINE = json.loads('''LINE''')
NUMBER = 0.25


def main(arguments):
    print("said by main")
    about = {"cwd": os.getcwd(), "arguments": arguments, "environment": dict(os.environ)}
    path = Path(os.environ["HANDS_RESULTS"], "runs", "done", "smoke-toy.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(LINE | {"config": about, "rows": {"errors": {"full": {"error": NUMBER}}}}))
    return 0
""",
}


def with_library(book: Path) -> Path:
    for name, text in LIBRARY.items():
        path = book / "hands_lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("'''LINE'''", f"'''{line().text}'''"))
    return book / "hands_lib" / "reproduce"


def work_trees(book: Path) -> list[str]:
    run = subprocess.run(["git", "worktree", "list"], cwd=book, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def test_each_side_runs_its_own_sources(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library = with_library(book)
    kept = results(book, line(profile="cpu"))
    old = commit(book)
    edit(library / "command.py", "NUMBER = 0.25", "NUMBER = 0.5")
    new = commit(book)
    edit(library / "command.py", "NUMBER = 0.5", "NUMBER = 0.75")  # not committed: no side's
    monkeypatch.setenv(ASKED, "{}")
    monkeypatch.setenv("PYTHONPATH", str(book / "other"))
    proofs = [prove(find_chapter("toy", book), book, commit) for commit in (old, new)]
    assert [proof.lines[0].rows["errors"]["full"]["error"] for proof in proofs] == [0.25, 0.5]
    seen = [proof.lines[0].config for proof in proofs]
    for about in seen:
        environment = about["environment"]
        tree = Path(about["cwd"])
        assert about["arguments"] == ["run", "part/toy"]
        assert environment["PYTHONPATH"].split(os.pathsep) == [str(tree), str(book / "other")]
        assert ASKED not in environment
        assert {environment[n] for n in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")} == {"1"}
        assert environment["PYTHONHASHSEED"] == "0"
        assert not tree.is_relative_to(book)
        assert not tree.exists()
    for name in (RESULTS, cache.ENVIRONMENT_VARIABLE):
        assert len({about["environment"][name] for about in seen}) == 2
    assert proofs[0].presets["cpu"] == {"words": ["toy", "toy", "cpu", seen[0]["cwd"]]}
    assert work_trees(book) == [work_trees(book)[0]]
    assert kept.read_text() == line(profile="cpu").text + "\n"
    assert f"toy at {old[:12]}: 1 jobs, " in capsys.readouterr().out


def test_results_of_earlier_chapters_are_there(book: Path) -> None:
    """Read from both sides, and safe from them."""
    library = with_library(book)
    edit(
        library / "command.py",
        "return 0",
        "kept = Path(os.environ['HANDS_RESULTS'], 'toy', 'toy.jsonl')\n"
        "    print(kept.read_text())\n    kept.unlink()\n    return 3",
    )
    kept = results(book, line(profile="cpu", protocol="an earlier chapter"))
    with pytest.raises(ProjectError, match=r"(?s)it does not run there.*an earlier chapter"):
        prove(find_chapter("toy", book), book, commit(book))
    assert kept.is_file()
    assert len(work_trees(book)) == 1


def test_a_side_that_imports_another_library_is_refused(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_library(book)
    hidden = "import sys\nsys.path = [path for path in sys.path if 'hands-same' not in path]\n"
    (book / "sitecustomize.py").write_text(hidden)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # nor from the working directory
    with pytest.raises(ProjectError, match=r"was imported, not .*hands_lib: is PYTHONPATH ignored"):
        prove(find_chapter("toy", book), book, commit(book))


def test_a_commit_from_before_jobs_cannot_be_run(book: Path) -> None:
    library = with_library(book)
    (library / "jobs.py").unlink()
    with pytest.raises(ProjectError, match=r"older than `hands same`"):
        prove(find_chapter("toy", book), book, commit(book))
    assert len(work_trees(book)) == 1


def test_a_book_in_a_folder_of_its_repository(tmp_path: Path) -> None:
    root = write_toy_book(tmp_path / "all" / "book one")
    with_library(root)
    (root / ".git").rename(tmp_path / "all" / ".git")
    commit(tmp_path / "all")
    found = prove(find_chapter("toy", root), root, "HEAD")
    assert found.lines[0].config["cwd"].endswith("/book one")


# The toy chapter without torch, which takes kernels most of their time
LIGHT = (
    CHAPTER.partition("\n```{code-cell} ipython3\nimport os")[0]
    + """
```{code-cell} ipython3
:tags: [method]

import time

from hands_lib.reproduce import Job, chapter_parameters, record_job

PARAMETERS = chapter_parameters("toy", globals())
for variant in variants:
    started, error = time.time(), 0.1
    for step in range(steps):
        error = error - 0.5 * error / len(variant)
    job = Job("toy", "toy", variant, 0, profile, dataset="line", parameters=PARAMETERS)
    columns = {"error": error, "seconds": time.time()}
    record_job(job, {"errors": {variant: columns}}, protocol="none", started=started)
```
"""
)


def test_real_runs(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three kernels: a product by a power of two in another order is the same number, one by 0.4 is not."""
    proofs: dict[str, Proof] = {}

    def once(chapter: Chapter, root: Path, commit: str) -> Proof:
        if commit not in proofs:
            proofs[commit] = prove(chapter, root, commit)
        return proofs[commit]

    monkeypatch.setattr(module, "prove", once)
    page_of(book).write_text(LIGHT)
    old = proved(book)
    edit(page_of(book), "0.5 * error", "0.25 * 2 * error")
    new = commit(book)
    assert said(book)[0] == 0
    noted = entry(book)
    assert noted == Entry(version=1, proved_at=new, sources=digest("toy", "toy", book))
    assert [len(proofs[name].lines) for name in (old, new)] == [2, 2]
    edit(page_of(book), "0.25 * 2 * error", "0.4 * error")
    commit(book)
    code, text = said(book)
    assert code == 1
    assert text.count("toy/toy, base, seed 0: errors | base | error: ") == 1
    assert text.count("toy/toy, full, seed 0: errors | full | error: ") == 1
    assert text.count(" -> ") == 2  # and nothing else
    assert entry(book) == noted
    assert not (book / "runs").exists()
    assert not (book / "_build").exists()

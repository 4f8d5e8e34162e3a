"""The command `hands`: what a person types, where they stand, and where the output goes."""

import errno
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hands_lib import cache
from hands_lib.data import manifest
from hands_lib.reproduce import plan, runner, store
from hands_lib.reproduce.command import main
from hands_lib.reproduce.project import FOLDERS, find_root

ROOT = find_root(Path(__file__).parent)


@pytest.fixture
def given(book: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The parameters of every run that `hands run small` would start; nothing runs."""
    page = book / "book" / "part" / "small.md"
    more = "margin = 0.5\ndata_root = ''\nnote = ''\n"
    page.write_text(page.read_text().replace("seed = 0\n", f"seed = 0\n{more}"))
    monkeypatch.chdir(book)
    seen: list[dict] = []

    def execute(chapter, root, target, parameters=None, **more: object) -> runner.Outcome:
        seen.append(parameters or {})
        return runner.Outcome(chapter, target, 0.0)

    monkeypatch.setattr(runner, "execute", execute)
    return seen


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["-p", "margin", "-1e-3"], {"margin": -0.001}),
        (["-p", "margin", "-.5"], {"margin": -0.5}),
        (["-p", "seed=3"], {"seed": 3}),
        (["-pseed=3"], {"seed": 3}),
        (["--parameter", "seed", "3"], {"seed": 3}),
        (["--parameter=seed=-3"], {"seed": -3}),
        (["-p", "seed", "3", "-p", "steps=4"], {"seed": 3, "steps": 4}),
        (["-p", "note", "--profile"], {"note": "--profile"}),
        (["-p", "note", "a=b"], {"note": "a=b"}),
        (["-p", "note=a=b"], {"note": "a=b"}),
        (["-p", "note="], {"note": ""}),
        (["-p", "note", ""], {"note": ""}),
        (["-p", "note", "/tmp/x/run #2"], {"note": "/tmp/x/run #2"}),
    ],
)
def test_parameters(given: list[dict], words: list[str], values: dict) -> None:
    assert main(["run", "small", *words]) == 0
    assert given == [values]


@pytest.mark.parametrize("words", [["-p"], ["-p", "seed"], ["-p", "3", "4"], ["-p", "=3"]])
def test_half_a_parameter_gets_an_example(given: list[dict], capsys, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "small", *words])
    assert caught.value.code == 2
    assert "give a name and a value, for example -p seed 3" in capsys.readouterr().err


def test_a_folder_means_what_the_shell_means(given: list[dict], book: Path, monkeypatch) -> None:
    """A chapter works in its own folder; a person stands elsewhere."""
    (book / "link").symlink_to(book / "book")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(book / "book")
    assert main(["run", "small", "-p", "data_root", "../link/../data"]) == 0
    assert main(["run", "small", "-p", "data_root=~/data"]) == 0
    assert main(["run", "small", "-p", "data_root="]) == 0
    expected = [f"{book}/book/../link/../data", "/home/me/data", ""]  # .. of a link is not of its name
    assert [values["data_root"] for values in given] == expected
    for name, text in zip(FOLDERS, ["../data", "~/results", "/x"], strict=True):
        monkeypatch.setenv(name, text)
    assert main(["list"]) == 0
    assert [os.environ[name] for name in FOLDERS] == [f"{book}/book/../data", "/home/me/results", "/x"]


def test_every_folder_is_known() -> None:
    assert set(FOLDERS) == {manifest.ENVIRONMENT_VARIABLE, store.RESULTS, cache.ENVIRONMENT_VARIABLE}


def test_list_command(book: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(book)
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "part/small",
        "A",
        "small",
        "chapter",
        "small",
        "smoke",
    ]


def test_errors_of_the_command_are_one_line(book: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(book / "book" / "part")  # works from below the root too
    assert main(["run", "smoll"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "hands: unknown chapter 'smoll'; did you mean 'small'? Known: small\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "smal"], "unknown chapter 'smal'; did you mean 'small'? Known: small"),
        (["run", "a_system"], "'a_system' is a system, no chapter: name one of small"),
        (["run", "small", "--profile", "smok"], "did you mean 'smoke'? Known: smoke"),
        (["run", "small", "--profile", "x"], "'x'. Known: smoke"),
        (["plan", "smal"], "unknown slug or chapter 'smal'; did you mean 'small'? Known: a_system, small"),
        (["plan", "small", "--profile", "smok"], "unknown profile of small: 'smok'; did you mean 'smoke'?"),
        (["plan", "--undecided", "a_sistem"], "unknown system 'a_sistem'; did you mean 'a_system'?"),
        (["claims", "asystem"], "unknown system 'asystem'; did you mean 'a_system'? Known: a_system"),
        (["claims", "x"], "unknown system 'x'. Known: a_system"),
    ],
)
def test_unknown_names_get_the_nearest_of_what_there_is(
    book: Path, monkeypatch, capsys, words: list[str], message: str
) -> None:
    page = book / "book" / "part" / "small.md"
    page.write_text(page.read_text().replace("\n---\n", "\nhands: {slug: a_system}\n---\n", 1))
    (book / "book" / "published").mkdir()
    (book / "book" / "published" / "a_system.yml").write_text("{}")
    monkeypatch.chdir(book)
    assert main(words) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lits"], "unknown COMMAND 'lits'; did you mean 'list'? Known: build, cache, claims"),
        (["data", "shw"], "unknown action 'shw'; did you mean 'show'? Known: check, list, show"),
        (["untangle", "a", "b", "--surface", "thick"], "unknown --surface 'thick'"),
    ],
)
def test_unknown_commands_get_the_nearest(capsys, words: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_chapter_stands_for_its_system(monkeypatch, capsys) -> None:
    from hands_lib.reproduce import tables

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(tables, "claims_page", lambda slug, root: f"claims of {slug}")
    assert main(["claims", "fusion"]) == 0
    assert main(["claims", "book/va_nerf/fusion.md"]) == 0
    assert main(["claims"]) == 0
    assert capsys.readouterr().out == "claims of va_nerf\nclaims of va_nerf\nclaims of None\n"


def test_plan_and_sweep_take_paths(book: Path, monkeypatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(plan, "plan_text", lambda name, *more: names.append(name))
    monkeypatch.setattr("hands_lib.reproduce.sweep.sweep", lambda name, *more: names.append(name) or 0)
    monkeypatch.chdir(book / "book" / "part")
    for words in (["plan", "small.md"], ["sweep", "../part/small.md"], ["plan", "part"]):
        assert main(words) == 0
    assert names == ["part/small", "part/small", "part"]


# --- where the output goes ------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_a_terminal_does_not_know(monkeypatch, encoding: str) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    monkeypatch.setattr("hands_lib.reproduce.tables.claims_page", lambda *about: "0.1 ± 0.2, 40° ≤ 手 \udcff")
    monkeypatch.chdir(ROOT)
    assert main(["claims"]) == 0
    said = {
        "ascii": "0.1 ? 0.2, 40? ? ? ?",
        "latin-1": "0.1 ± 0.2, 40° ? ? ?",
        "utf-8": "0.1 ± 0.2, 40° ≤ 手 ?",
    }
    assert written.getvalue().decode(encoding) == f"{said[encoding]}\n"


def hands(*words: str, **about: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "hands_lib", *words]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(command, cwd=ROOT, env=kept, stderr=subprocess.PIPE, text=True, **about)


@pytest.mark.parametrize("words", [["list"], ["--help"]])
def test_a_reader_who_has_enough_hears_no_complaint(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as nobody_reads:
        done = hands(*words, stdout=nobody_reads)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = hands("list", stdout=full)
    assert done.returncode == 1
    assert done.stderr == "hands: the output: No space left on device: mend this, and call again\n"


def test_a_file_that_cannot_be_read_is_one_line(book: Path, monkeypatch, capsys) -> None:
    def refuse(*about: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", "book/part/small.md")

    monkeypatch.setattr(plan, "plan_text", refuse)
    monkeypatch.chdir(book)
    assert main(["plan"]) == 1
    assert capsys.readouterr().err.startswith("hands: book/part/small.md: Permission denied")


def test_the_cache_is_listed_and_cleared(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(tmp_path))
    cache.made_once("toys", {"size": 3}, lambda: {"toy": torch.zeros(3)})
    assert main(["cache", "list"]) == 0
    assert re.search(r"^toys +1 entries", capsys.readouterr().out, re.M)
    assert main(["cache", "clear", "toy"]) == 1
    assert "has no kind 'toy'; there are: toys" in capsys.readouterr().err
    assert main(["cache", "clear"]) == 0
    assert "deleted 1 entries" in capsys.readouterr().out
    assert list(tmp_path.rglob("*.safetensors")) == []

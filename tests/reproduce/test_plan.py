"""What is recorded of a profile and what is missing, in a terminal and in JupyterLab."""

import shutil
import sys
import threading
import time
from pathlib import Path

import pytest
from toy import commit, write_toy_book

from hands_lib.reproduce import Job, choose_runs, record_job
from hands_lib.reproduce.chapters import preset_parameters
from hands_lib.reproduce.command import main
from hands_lib.reproduce.interactive import LIVE, RunChooser, plan_table
from hands_lib.reproduce.project import ProjectError


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_toy_book(tmp_path, seeds=[0, 1], steps=5)


def measure(book: Path, name: str, seed: int = 0, **settings: object) -> None:
    """A job of the cpu profile that took 100 s; its row is called otherwise than the job."""
    parameters = (preset_parameters("toy", "toy", "cpu", book) or {}) | settings
    job = Job("toy", "toy", name, seed, "cpu", dataset="line", parameters=parameters)
    rows = {"errors": {"a row by the way": {"error": 1.0}}}
    record_job(job, rows, protocol="mean", started=time.time() - 100, root=book)


def test_plan_tells_what_is_missing_and_how_long_it_takes(book: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(book)

    def plan(*more: str) -> str:
        assert main(["plan", *more]) == 0
        return capsys.readouterr().out

    assert "4 jobs, 0 recorded; the other 4: unknown time" in plan("toy")
    assert "1 jobs, 0 recorded" in plan("toy", "-p", "variants", "[full]", "-p", "seeds", "[3]")
    assert "4 jobs" in plan("--profile", "cpu")  # the whole book
    assert "smoke jobs are made anew with every build" in plan("toy", "--profile", "smoke")
    measure(book, "full")
    assert "4 jobs, 1 recorded; the other 3: about 5 min one by one" in plan("toy")
    assert "4 jobs, 0 recorded" in plan("toy", "-p", "steps", "6")
    measure(book, "base", steps=6)  # of other settings
    assert "4 jobs, 1 recorded" in plan("toy")
    assert "4 jobs, 1 recorded" in plan("toy", "-p", "steps", "6")
    measure(book, "base", seed=1)
    assert "4 jobs, 2 recorded" in plan("toy")
    (book / "book" / "versions.yml").write_text("toy/toy: {version: 2}\n")
    commit(book)
    text = plan("toy")
    assert "4 jobs, 0 recorded" in text
    assert text.count("missing (recorded by an earlier version)") == 2


def test_seeds_in_the_same_state_share_a_line(book: Path) -> None:
    rows = plan_table("toy", "cpu", {"seeds": [0, 1, 2]}, book).rows
    assert [row[:3] for row in rows] == [("base", "0, 1, 2", "missing"), ("full", "0, 1, 2", "missing")]
    measure(book, "full", seed=1)
    rows = plan_table("toy", "cpu", {}, book).rows
    assert rows[1:] == [("full", "0", "missing", "about 2 min"), ("full", "1", "recorded", "2 min")]


def test_choose_runs_is_a_list_outside_and_widgets_inside_jupyterlab(book: Path, monkeypatch) -> None:
    import ipywidgets

    monkeypatch.delenv(LIVE, raising=False)
    assert "toy, profile cpu: 0 of 4 jobs recorded" in repr(choose_runs("toy", book))
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


def run_to_its_end(chooser: RunChooser) -> None:
    chooser.run.click()
    chooser.follower.join(900)
    assert not chooser.follower.is_alive()


@pytest.mark.parametrize("sweep", ["true", "false"])
def test_buttons_are_free_again_when_runs_end(sweep: str, book: Path, monkeypatch) -> None:
    chooser = RunChooser("toy", book, ["cpu"])
    monkeypatch.setattr(sys, "executable", shutil.which(sweep))
    run_to_its_end(chooser)
    assert (chooser.run.disabled, chooser.stop.disabled, chooser.profile.disabled) == (False, True, False)
    assert chooser.bar.bar_style == {"true": "success", "false": "warning"}[sweep]


def test_what_cannot_be_followed_or_read_is_said_and_the_buttons_are_free(book: Path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("the file has gone")

    chooser = RunChooser("toy", book, ["cpu"])
    sweep = book / "a sweep"
    sweep.write_text("#!/bin/sh\necho '0 of 4 done, 1 running, 0 failed'\n")
    sweep.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(sweep))
    monkeypatch.setattr(chooser, "_show", fail)
    run_to_its_end(chooser)
    assert "cannot be followed: OSError: the file has gone" in chooser.said.value
    assert (chooser.run.disabled, chooser.stop.disabled) == (False, True)

    monkeypatch.undo()
    monkeypatch.setattr("hands_lib.reproduce.interactive.plan_table", fail)
    monkeypatch.setattr(sys, "executable", str(sweep))
    run_to_its_end(chooser)
    assert "cannot be read: OSError: the file has gone" in chooser.table.value
    assert (chooser.run.disabled, chooser.stop.disabled) == (False, True)


def test_an_earlier_look_does_not_undo_a_later_choice(book: Path, monkeypatch) -> None:
    """The thread that follows a sweep looks at the store while a person ticks a box: the last one counts."""
    chooser = RunChooser("toy", book, ["cpu"])
    looking, waiting, go_on = (threading.Event() for _ in range(3))
    real, lock = plan_table, chooser.one_at_a_time

    def slowly(*args: object) -> object:
        table = real(*args)
        if threading.current_thread() is first:
            looking.set()
            go_on.wait(900)
        return table

    class Telling:
        """The chooser's lock, which tells when the second thread asks for it."""

        def __enter__(self) -> None:
            if threading.current_thread() is not first:
                waiting.set()
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    monkeypatch.setattr("hands_lib.reproduce.interactive.plan_table", slowly)
    monkeypatch.setattr(chooser, "one_at_a_time", Telling())
    first = threading.Thread(target=chooser._refresh)
    first.start()
    assert looking.wait(900)
    second = threading.Thread(target=lambda: setattr(chooser.variants.children[0], "value", False))
    second.start()
    while second.is_alive() and not waiting.wait(0.05):
        pass  # it waits for the first; without a lock it would be over, and then undone
    go_on.set()
    first.join()
    second.join()
    assert chooser.table.value.count("missing") == 1

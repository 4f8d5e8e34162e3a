"""Executing chapters: reports of failures, what stays, what runs again."""

from pathlib import Path

import nbformat
import pytest

from hands_lib.reproduce.chapters import Chapter, find_chapter
from hands_lib.reproduce.command import main
from hands_lib.reproduce.runner import (
    execute,
    executed_path,
    is_current,
    publish,
    read_chapter,
    run_chapter,
    source_key,
)


@pytest.fixture
def chapter(book: Path) -> Chapter:
    return find_chapter("small", book)


def edit(chapter: Chapter, old: str, new: str) -> None:
    text = chapter.path.read_text()
    assert old in text
    chapter.path.write_text(text.replace(old, new))


def stream(path: Path) -> str:
    return "".join(o.text for c in nbformat.read(path, 4).cells for o in c.get("outputs", []) if "text" in o)


def test_cells_know_their_lines(book: Path, chapter: Chapter) -> None:
    lines = chapter.path.read_text().splitlines()
    cells = [cell for cell in read_chapter(chapter, book).cells if cell.cell_type == "code"]
    assert [cell.metadata["hands"]["cell"] for cell in cells] == [1, 2]
    for cell in cells:
        assert lines[cell.metadata["hands"]["line"] - 1] == cell.source.splitlines()[0]


def test_run_then_break_then_mend(
    book: Path, chapter: Chapter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """One story, as every kernel costs seconds: a good run, a failing one, the good output still there."""
    monkeypatch.chdir(book)
    assert main(["run", "small"]) == 0
    target = executed_path(chapter, book)
    assert stream(target) == "3\n"
    assert is_current(chapter, book)
    publish(run_chapter(chapter, book, "smoke", {}), book)
    assert (book / "_build" / "notebooks" / "book" / "part" / "small.ipynb").is_file()

    edit(chapter, "print(sum(numbers))", "def mean(values):\n    return sum(values) / 0\n\nmean(numbers)")
    assert not is_current(chapter, book)
    capsys.readouterr()
    assert main(["run", "small"]) == 1
    message = capsys.readouterr().err
    line = chapter.path.read_text().splitlines().index("    return sum(values) / 0") + 1
    assert message.startswith(f"book/part/small.md:{line}: cell 2 failed\n")
    assert "return sum(values) / 0" in message
    assert "ZeroDivisionError: division by zero" in message
    assert "papermill" not in message.lower()
    assert len(message.splitlines()) <= 4
    assert stream(target) == "3\n"
    assert target.with_suffix(".failed.ipynb").is_file()
    assert [p.name for p in target.parent.iterdir() if p.name.startswith(".")] == []


def test_run_with_parameters_goes_below_runs(book: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(book)
    assert main(["run", "small", "-p", "steps", "5", "-p", "seed", "2"]) == 0
    assert "runs/part/small/smoke-seed=2-steps=5.ipynb" in capsys.readouterr().out
    assert stream(book / "runs" / "part" / "small" / "smoke-seed=2-steps=5.ipynb") == "20\n"
    assert not executed_path(find_chapter("small", book), book).exists()


def test_syntax_error_and_a_dead_kernel_are_reported(book: Path, chapter: Chapter) -> None:
    edit(chapter, "print(sum(numbers))", "print(sum(numbers)")
    outcome = execute(chapter, book, book / "out.ipynb")
    line = chapter.path.read_text().splitlines().index("print(sum(numbers)") + 1
    assert outcome.failure is not None
    assert outcome.failure.startswith(f"book/part/small.md:{line}: cell 2 failed")
    assert "SyntaxError" in outcome.failure
    edit(chapter, "print(sum(numbers)", "import os; os._exit(1)")
    outcome = execute(chapter, book, book / "out.ipynb")
    assert outcome.failure is not None
    assert "book/part/small.md: its kernel died" in outcome.failure
    assert not (book / "out.ipynb").exists()


def test_key_follows_text_data_and_committed_numbers(
    book: Path, chapter: Chapter, tmp_path_factory, monkeypatch
) -> None:
    monkeypatch.delenv("HANDS_DATA", raising=False)
    keys = [source_key(chapter, book)]
    assert source_key(chapter, book) == keys[0]

    (book / "runs" / "done").mkdir(parents=True)
    (book / "runs" / "done" / "smoke-1.json").write_text("{}")
    assert source_key(chapter, book) == keys[0]  # written by the chapter itself
    (book / "book" / "results" / "s").mkdir(parents=True)
    (book / "book" / "results" / "s" / "chapter.jsonl").write_text("{}")
    keys.append(source_key(chapter, book))

    data = tmp_path_factory.mktemp("data")
    (data / "file").write_text("a")
    monkeypatch.setenv("HANDS_DATA", str(data))
    keys.append(source_key(chapter, book))
    (data / "file").write_text("ab")
    keys.append(source_key(chapter, book))
    chapter.path.write_text(chapter.path.read_text() + "\nMore.\n")
    keys.append(source_key(chapter, book))
    assert len(set(keys)) == len(keys)

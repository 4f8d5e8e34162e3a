"""Names, parameters and presets of chapters: what a person types, and what they typed wrong."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import commit, write_toy_book

from hands_lib.reproduce import Job, record_job
from hands_lib.reproduce.chapters import (
    chapter_parameters,
    find_chapter,
    list_chapters,
    parameter_values,
    parse_value,
    preset_parameters,
    read_presets,
    resolve_parameters,
    tagged_cells,
)
from hands_lib.reproduce.command import main
from hands_lib.reproduce.project import ProjectError, find_root, write_atomically


def resolve(book: Path, profile: str = "smoke", **given: object) -> dict:
    chapter = find_chapter("small", book)
    return resolve_parameters(chapter, book, profile, given)


def test_only_notebooks_are_chapters(book: Path) -> None:
    (chapter,) = list_chapters(book)
    assert (chapter.name, chapter.title, chapter.slug) == ("part/small", "A small chapter", "small")
    assert not chapter.back_matter


@pytest.mark.parametrize("name", ["small", "part/small", "book/part/small.md", "./book/part/small.md"])
def test_a_chapter_has_several_names(book: Path, name: str) -> None:
    assert find_chapter(name, book).stem == "small"


def test_unknown_chapter_suggests_the_nearest(book: Path) -> None:
    with pytest.raises(ProjectError, match=r"unknown chapter 'smal'; did you mean 'small'\?"):
        find_chapter("smal", book)


def test_page_that_does_not_exist(book: Path) -> None:
    (book / "_toc.yml").write_text("format: jb-book\nroot: book/gone\n")
    with pytest.raises(ProjectError, match="book/gone, which does not exist"):
        list_chapters(book)


def test_parameters_of_a_chapter(book: Path) -> None:
    assert parameter_values(find_chapter("small", book)) == {"profile": "smoke", "seed": 0, "steps": 3}


@pytest.mark.parametrize(
    "line", ["steps += 1", "steps: int", "a, b = 1, 2", "import os", "print(1)", "x.y = 1"]
)
def test_a_parameter_cell_assigns_and_does_nothing_else(book: Path, line: str) -> None:
    page = book / "book" / "part" / "small.md"
    page.write_text(page.read_text().replace("steps: int = 3", f"steps: int = 3\n{line}"))
    with pytest.raises(ProjectError, match=r"small\.md: its parameters are assigned one by one"):
        parameter_values(find_chapter("small", book))


def test_smoke_injects_nothing(book: Path) -> None:
    assert resolve(book) == {}


def test_misspelt_parameter_suggests_the_nearest(book: Path) -> None:
    with pytest.raises(ProjectError, match=r"unknown parameter .* 'step'; did you mean 'steps'\?"):
        resolve(book, step=4)


def test_preset_then_values_given_by_hand(book: Path) -> None:
    (book / "book" / "presets").mkdir()
    (book / "book" / "presets" / "small.yml").write_text("cpu: {steps: 100, seed: 1}\ngpu:\n")
    assert resolve(book, "cpu", seed=5) == {"profile": "cpu", "steps": 100, "seed": 5}
    assert resolve(book, "gpu") == {"profile": "gpu"}
    with pytest.raises(ProjectError, match="unknown profile .* Known: cpu, gpu, smoke"):
        resolve(book, "paper")


@pytest.mark.parametrize(
    ("text", "message"),
    [("cpu: 3\n", "expected profiles"), ("smoke: {steps: 1}\n", "own defaults"), ("cpu: [\n", "not YAML")],
)
def test_wrong_preset_names_the_file(book: Path, text: str, message: str) -> None:
    (book / "book" / "presets").mkdir()
    (book / "book" / "presets" / "small.yml").write_text(text)
    with pytest.raises(ProjectError, match=rf"small\.yml.*{message}"):
        read_presets(find_chapter("small", book), book)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 0.001),
        ("true", True),
        ("null", None),
        ("cpu", "cpu"),
        ("[1, two]", [1, "two"]),
        ("{a: 1}", {"a": 1}),
        ("'3'", "3"),
    ],
)
def test_values_of_the_command_line(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@given(st.floats(allow_nan=False) | st.integers(-(10**9), 10**9))
def test_numbers_survive_the_command_line(number: float) -> None:
    assert parse_value(repr(number)) == number


def test_a_value_that_is_no_yaml() -> None:
    with pytest.raises(ProjectError, match="quote it"):
        parse_value("[1, 2")


def test_list_command(book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
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


def test_root_is_found_from_below(book: Path) -> None:
    assert find_root(book / "book" / "part") == book.resolve()


def test_an_interrupted_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, "old")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


CELLS = """\
Text.

```{code-cell} ipython3
:tags: [method, hide-input]

a = 1
```

```{code-cell} ipython3
---
mystnb:
  image:
    alt: nothing
tags: [method]
---
b = 2
```

```{code-cell} ipython3
c = 3
```
"""


def test_tagged_cells() -> None:
    assert [cell.strip() for cell in tagged_cells(CELLS, "method")] == ["a = 1", "b = 2"]
    assert tagged_cells(CELLS, "other") == []


def write_header(page: Path, header: str) -> None:
    """What stands under `hands` in a page's header."""
    page.write_text(page.read_text().replace("\n---\n", f"\nhands: {header}\n---\n", 1))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{tables: errors}", r"small\.md: `hands: tables` .* give a list of names"),
        ("{table: [errors]}", r"unknown key under `hands` .*small\.md: 'table'; did you mean 'tables'"),
    ],
)
def test_a_wrong_header_is_named(book: Path, header: str, message: str) -> None:
    write_header(book / "book" / "part" / "small.md", header)
    with pytest.raises(ProjectError, match=message):
        list_chapters(book)


def test_a_chapter_records_the_tables_that_it_declares(tmp_path: Path) -> None:
    book = write_toy_book(tmp_path)
    write_header(book / "book" / "part" / "toy.md", "{tables: [errors]}")
    commit(book)
    job, rest = Job("toy", "toy", "full", 0, "cpu", "line"), {"protocol": "mean", "started": time.time()}
    record_job(job, {"errors": {"full": {"error": 1}}}, **rest, root=book)
    with pytest.raises(ProjectError, match=r"not declared in the header of .*toy\.md.* mean 'errors'"):
        record_job(job, {"error": {"full": {"error": 1}}}, **rest, root=book)


def test_what_identifies_the_jobs_of_a_chapter(book: Path) -> None:
    """The parameters as the kernel has them, besides those that say where, and those that a job names."""
    page = book / "book" / "part" / "small.md"
    more = "data_root = ''\ndevice = 'cpu'\nseeds = []\n"
    page.write_text(page.read_text().replace("seed = 0\n", f"seed = 0\n{more}"))
    elsewhere = {"data_root": "x", "device": "y", "os": Path}
    names = {"profile": "cpu", "seed": 3, "steps": 1e-3, "seeds": [1]} | elsewhere
    assert chapter_parameters("small", names, book) == {"seed": 3, "steps": 1e-3}
    with pytest.raises(ProjectError, match=r"small\.md: a parameter is no plain value"):
        chapter_parameters("small", names | {"steps": Path("x")}, book)
    (book / "book" / "presets").mkdir()
    (book / "book" / "presets" / "small.yml").write_text("cpu: {steps: 100, limits: {minutes: 3}}\n")
    assert preset_parameters("small", "small", "cpu", book) == {"seed": 0, "steps": 100}
    assert preset_parameters("small", "small", "gpu", book) is None
    assert preset_parameters("small", "a_benchmark", "cpu", book) is None

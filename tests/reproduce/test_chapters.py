"""Names, parameters and presets of chapters: what a person types, and what they typed wrong."""

import os
import time
from pathlib import Path

import pytest
from toy import commit, write_toy_book

from hands_lib.reproduce import Job, record_job
from hands_lib.reproduce.chapters import (
    chapter_parameters,
    find_chapter,
    list_chapters,
    parameter_values,
    preset_parameters,
    read_presets,
    resolve_parameters,
    tagged_cells,
)
from hands_lib.reproduce.plan import planned_jobs
from hands_lib.reproduce.project import ProjectError, find_root, write_atomically


def resolve(book: Path, profile: str = "smoke", **given: object) -> dict:
    chapter = find_chapter("small", book)
    return resolve_parameters(chapter, book, profile, given)


def add_parameters(book: Path, lines: str) -> None:
    page = book / "book" / "part" / "small.md"
    page.write_text(page.read_text().replace("steps: int = 3", f"steps: int = 3\n{lines}"))


def write_preset(book: Path, text: str | bytes) -> Path:
    path = book / "book" / "presets" / "small.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_only_notebooks_are_chapters(book: Path) -> None:
    (chapter,) = list_chapters(book)
    assert (chapter.name, chapter.title, chapter.slug) == ("part/small", "A small chapter", "small")
    assert not chapter.back_matter


@pytest.mark.parametrize("name", ["small", "part/small", "book/part/small.md", "./book/part/small.md"])
def test_a_chapter_has_several_names(book: Path, name: str) -> None:
    assert find_chapter(name, book).stem == "small"


@pytest.mark.parametrize("name", ["small.md", "../part/small.md", "../../linked/part/small.md", "../link.md"])
def test_a_path_means_what_the_shell_means(book: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (book / "linked").symlink_to(book / "book")
    (book / "book" / "link.md").symlink_to("part/small.md")
    monkeypatch.chdir(book / "book" / "part")
    assert find_chapter(name, book).stem == "small"
    assert find_chapter(str(Path.cwd() / name), book).stem == "small"


def test_unknown_chapter_suggests_the_nearest(book: Path) -> None:
    with pytest.raises(ProjectError, match=r"unknown chapter 'smal'; did you mean 'small'\?"):
        find_chapter("smal", book)
    with pytest.raises(ProjectError, match=r"unknown chapter 'x'\. Known: small$"):
        find_chapter("x", book)


def test_a_slug_names_its_chapters(book: Path) -> None:
    write_header(book / "book" / "part" / "small.md", "{slug: a_system}")
    with pytest.raises(ProjectError, match="'a_system' is a system, no chapter: name one of small"):
        find_chapter("a_system", book)


def test_a_name_of_two_chapters_is_no_name(book: Path) -> None:
    (book / "book" / "other").mkdir()
    (book / "book" / "other" / "small.md").write_text((book / "book" / "part" / "small.md").read_text())
    (book / "_toc.yml").write_text((book / "_toc.yml").read_text() + "    - file: book/other/small\n")
    with pytest.raises(ProjectError, match="'small' names several chapters: say part/small or other/small"):
        find_chapter("small", book)
    assert find_chapter("other/small", book).name == "other/small"


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
    add_parameters(book, line)
    with pytest.raises(ProjectError, match=r"small\.md: its parameters are assigned one by one"):
        parameter_values(find_chapter("small", book))


@pytest.mark.parametrize(
    "value", ["list(range(3))", "(1, 2)", "{1, 2}", "b'x'", "1e999", "{1: 2}", "seed + 1"]
)
def test_a_parameter_is_a_plain_value(book: Path, value: str) -> None:
    """Else nobody could tell the type of what replaces it, nor find the job that had it."""
    add_parameters(book, f"more = {value}")
    with pytest.raises(ProjectError, match=r"small\.md: .* is no plain value"):
        parameter_values(find_chapter("small", book))


def test_a_parameter_cell_that_is_no_python(book: Path) -> None:
    add_parameters(book, "sizes = [1, 2")
    with pytest.raises(ProjectError, match=r"small\.md: the cell of its parameters is no Python .*sizes"):
        parameter_values(find_chapter("small", book))


def test_smoke_injects_nothing(book: Path) -> None:
    assert resolve(book) == {}


def test_misspelt_parameter_suggests_the_nearest(book: Path) -> None:
    with pytest.raises(ProjectError, match=r"unknown parameter .* 'step'; did you mean 'steps'\?"):
        resolve(book, step=4)


def test_preset_then_values_given_by_hand(book: Path) -> None:
    write_preset(book, "cpu: {steps: 100, seed: 1}\ngpu:\n")
    assert resolve(book, "cpu", seed=5) == {"profile": "cpu", "steps": 100, "seed": 5}
    assert resolve(book, "gpu") == {"profile": "gpu"}
    with pytest.raises(ProjectError, match="unknown profile .* Known: cpu, gpu, smoke"):
        resolve(book, "paper")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cpu: 3\n", "expected profiles"),
        ("[cpu]\n", "expected profiles"),
        ("smoke: {steps: 1}\n", "own defaults"),
        ("cpu: [\n", "is not YAML"),
        ("cpu: {steps: 1, steps: 2}\n", "line 1: has the name 'steps' twice"),
        ("cpu: &all {steps: 1}\ngpu: *all\n", "line 2: has an alias"),
        ("cpu: {note: !!binary aGFuZHM=}\n", "line 1: has a tag"),
        ("cpu: " + "[" * 1000, "line 1: is more than 20 lists"),
        ("cpu: {}" + " " * 2**17, "has more than 65,536 characters"),
        ("cpu: {note: é}\n".encode("latin-1"), "is not UTF-8"),
        ("cpu: {steps: 1}\n".encode("utf-16"), "is not UTF-8"),
        ("cpu: {steps: 2.5}\n", "profile cpu: steps is 2.5; give a whole number, for example steps: 3"),
        ("cpu: {steps: [1]}\n", "profile cpu: steps is .*; give a whole number"),
        ("cpu: {steps: 2026-13-45}\n", "profile cpu: steps is '2026-13-45'; give a whole number"),
        ("cpu: {step: 1}\n", "profile cpu: 'step'; did you mean 'steps'"),
        ("cpu: {profile: gpu}\n", "'profile' is set by --profile"),
    ],
)
def test_wrong_preset_names_the_file(book: Path, text: str | bytes, message: str) -> None:
    write_preset(book, text)
    with pytest.raises(ProjectError, match=rf"small\.yml.*{message}") as caught:
        read_presets(find_chapter("small", book), book)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_no_preset(book: Path) -> None:
    os.mkfifo(write_preset(book, "").with_name("pipe"))
    write_preset(book, "").unlink()
    (book / "book" / "presets" / "small.yml").symlink_to("pipe")
    with pytest.raises(ProjectError, match=r"small\.yml is no file"):
        read_presets(find_chapter("small", book), book)


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        ('""', "12:30", "12:30"),
        ('""', "no", "no"),
        ('""', "2024", "2024"),
        ('""', "", ""),
        ('""', "/tmp/x/run #2", "/tmp/x/run #2"),
        ('""', "!!binary aGFuZHM=", "!!binary aGFuZHM="),
        ("0", "-3", -3),
        ("0.5", "-1e-3", -0.001),
        ("0.5", "2", 2.0),
        ("False", "true", True),
        ("[]", "[1, two]", [1, "two"]),
        ("[0.5]", "[1]", [1.0]),
        ('["a"]', "[b, no, 12:30]", ["b", "no", "12:30"]),
        ('["a"]', ["1e3", "\x7f"], ["1e3", "\x7f"]),  # of a program, not of a command line
        ("{}", "{a: 1}", {"a": 1}),
        ("{}", "{1: {2: 3}}", {"1": {"2": 3}}),
        ("None", "null", None),
    ],
)
def test_values_have_the_type_of_the_default(book: Path, default: str, text: object, value: object) -> None:
    add_parameters(book, f"more = {default}")
    assert repr(resolve(book, more=text)) == repr({"more": value})
    if isinstance(text, str) and " #" not in text and "!!" not in text:  # which need quotes in a file
        write_preset(book, f"cpu:\n  more: {text}\n")
        assert repr(resolve(book, "cpu")) == repr({"profile": "cpu", "more": value})


@pytest.mark.parametrize(
    ("default", "text", "message"),
    [
        ("200", "2026-01-01", "more is '2026-01-01'; give a whole number, for example -p more 200"),
        ("0", "nan", "give a whole number"),
        ("0", "3.5", "give a whole number"),
        ("0", "@x", "more is '@x'; give a whole number"),
        ("0.02", "nan", "give a finite number, for example -p more 0.02"),
        ("[32, 64, 128]", "32", r"give a list of whole numbers, for example -p more '\[32, 64\]'"),
        ('["a"]', "[[b]]", r"""give a list of text, for example -p more '\["a"\]'"""),
        ('["a"]', "[{b: 1}]", "give a list of text"),
        ('["a"]', "[!!binary aGFuZHM=]", "give a list of text"),
        ("{}", "!!binary aGFuZHM=", "give names with values"),
        ("{}", "{a: !!set {b}}", "give names with values"),
        ("None", "[1, 2", "give a plain value"),
        ("[]", "[" * 10**6, r"more is '\[{59}\.\.\.; give a list of plain values"),
        ("True", "1", "give true or false, for example -p more true"),
        ('"text"', ["a"], "give text, for example -p more text"),
        ("0", (1, 2), "give a whole number"),
        ("[0]", [1j], "give a list of whole numbers"),
    ],
)
def test_other_types_are_named_before_anything_runs(
    book: Path, default: str, text: object, message: str
) -> None:
    add_parameters(book, f"more = {default}")
    with pytest.raises(ProjectError, match=f"parameter of chapter part/small: .*{message}") as caught:
        resolve(book, more=text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_profile_is_no_value_given_by_hand(book: Path) -> None:
    with pytest.raises(ProjectError, match="'profile' is set by --profile"):
        resolve_parameters(find_chapter("small", book), book, "smoke", {"profile": "cpu"})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ('variants = "a"', "variants is 'a'; give a list of names"),
        ("variants = [['a']]", "give a list of names"),
        ("variants = [{'a': 1}]", "give a list of names"),
        ("variants = [1]", "give a list of names"),
        ("variants = ['']", "give a list of names"),
        ("variants = ['a', 'a']", "each entry once"),
        ("variants = [None]", "give a list of names"),
        ("seeds = 3", "seeds is 3; give a list of whole numbers"),
        ("seeds = [1.5]", "give a list of whole numbers"),
        ("seeds = [True]", "give a list of whole numbers"),
        ("seeds = ['0']", "give a list of whole numbers"),
        ("seeds = [1, 1]", "each entry once"),
    ],
)
def test_variants_are_names_and_seeds_numbers(book: Path, parameters: str, message: str) -> None:
    add_parameters(book, parameters)
    with pytest.raises(ProjectError, match=message):
        planned_jobs(find_chapter("small", book), book, "smoke", {})


def test_pages_not_in_utf_8_are_named(book: Path) -> None:
    page = book / "book" / "part" / "small.md"
    page.write_bytes(page.read_text().replace("between", "zwischen Händen").encode("latin-1"))
    with pytest.raises(ProjectError, match=r"small\.md is not UTF-8"):
        list_chapters(book)


def test_root_is_found_from_below(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_root(book / "book" / "part") == book.resolve()
    gone = book / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ProjectError, match="the working directory was removed"):
        find_root()


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
    with pytest.raises(
        ProjectError, match=r"page\.md: the options of a code cell, .*'tags: \[x'.*is not YAML"
    ):
        tagged_cells("\n```{code-cell} ipython3\n:tags: [x\n\na = 1\n```\n", "x", "page.md")


def write_header(page: Path, header: str) -> None:
    """What stands under `hands` in a page's header."""
    page.write_text(page.read_text().replace("\n---\n", f"\nhands: {header}\n---\n", 1))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{tables: errors}", r"small\.md: `hands: tables` .* give a list of names"),
        ("{table: [errors]}", r"unknown key under `hands` .*small\.md: 'table'; did you mean 'tables'"),
        ("3", r"small\.md: `hands` in its header is 3; give names with values"),
        ("{back_matter: 1}", r"small\.md: in its header, back_matter is 1; give true or false"),
        ("{slug: &a [*a]}", r"small\.md: its header line \d+: has an alias"),
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
    write_preset(book, "cpu: {steps: 100, limits: {minutes: 3}}\n")
    assert preset_parameters("small", "small", "cpu", book) == {"seed": 0, "steps": 100}
    assert preset_parameters("small", "small", "gpu", book) is None
    assert preset_parameters("small", "a_benchmark", "cpu", book) is None

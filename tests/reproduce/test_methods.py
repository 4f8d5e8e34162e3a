"""Versions of methods: what changes them and what does not."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hands_lib.reproduce import Run, methods, read_records, record_run
from hands_lib.reproduce.methods import code_only, method_version, method_versions, tagged_cells
from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.records import JOB

SOURCE = '''\
"""Header."""

import math  # why


def area(r):
    """Area of a circle,
    in square metres."""
    # a comment
    text = "# no comment"
    return math.pi * r**2, text
'''


def test_comments_and_docstrings_do_not_count() -> None:
    other = (
        SOURCE.replace("# why", "").replace("in square metres", "in m2").replace("    # a comment\n", "\n\n")
    )
    assert other != SOURCE
    assert code_only(other) == code_only(SOURCE)
    assert '"# no comment"' in code_only(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"), [("r**2", "r**3"), ("# no comment", "# no"), ("def area(r)", "def area(q)")]
)
def test_code_counts(old: str, new: str) -> None:
    assert code_only(SOURCE.replace(old, new)) != code_only(SOURCE)


def test_what_is_no_python_counts_as_it_is() -> None:
    assert code_only("%timeit f(x)  # why") == "%timeit f(x)  # why"


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


@pytest.fixture
def package(book: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library with a room for the slug `small`, and a module besides."""
    package = book / "hands_lib"
    (package / "methods" / "small").mkdir(parents=True)
    (package / "methods" / "small" / "losses.py").write_text("weight = 1\n")
    (package / "surface.py").write_text("size = 307\n")
    monkeypatch.setattr(methods, "PACKAGE", package)
    return package


def write_header(page: Path, header: str) -> None:
    """What stands under `hands` in a page's header."""
    lines = [line for line in page.read_text().splitlines(keepends=True) if not line.startswith("hands: ")]
    page.write_text("".join(lines).replace("\n---\n", f"\nhands: {header}\n---\n", 1))


def tag_cell(page: Path, code: str) -> None:
    page.write_text(page.read_text() + f"\n```{{code-cell}} ipython3\n:tags: [method]\n\n{code}\n```\n")


def second_chapter(book: Path, header: str) -> Path:
    """Another chapter of the slug `small`."""
    page = book / "book" / "part" / "second.md"
    page.write_text((book / "book" / "part" / "small.md").read_text())
    write_header(page, header)
    toc = book / "_toc.yml"
    toc.write_text(toc.read_text() + "    - file: book/part/second.md\n")
    return page


def test_room_cells_and_named_modules_make_the_version(book: Path, package: Path) -> None:
    page = book / "book" / "part" / "small.md"

    def version() -> str:
        return method_version("small", "errors", book)

    versions = [version()]
    (package / "methods" / "small" / "losses.py").write_text("weight = 2\n")
    versions.append(version())
    tag_cell(page, "lr = 1")
    versions.append(version())
    write_header(page, "{method: [hands_lib.surface]}")
    versions.append(version())
    (package / "surface.py").write_text("size = 699\n")
    versions.append(version())
    assert len(set(versions)) == len(versions)
    (package / "surface.py").write_text("size = 699  # vertices\n")
    page.write_text(page.read_text().replace("Text in between.", "More text."))
    assert version() == versions[-1]
    assert method_version("another", "errors", book) not in versions


def test_a_declared_table_goes_by_its_chapter_alone(book: Path, package: Path) -> None:
    """Table `speed` by a module of the room and a cell of its chapter; `errors` by all the rest."""
    (package / "methods" / "small" / "timing.py").write_text("repeats = 3\n")
    declared = second_chapter(
        book, "{slug: small, tables: [speed, memory], method: [hands_lib.methods.small.timing]}"
    )

    def versions() -> tuple[str, str, str]:
        found = method_versions([("small", "errors"), ("small", "speed"), ("small", "memory")], book)
        assert found["small", "speed"] == method_version("small", "speed", book)
        return found["small", "errors"], found["small", "speed"], found["small", "memory"]

    def changed() -> list[bool]:
        nonlocal before
        now = versions()
        different = [a != b for a, b in zip(before, now, strict=True)]
        before = now
        return different

    before = versions()
    assert before[1] == before[2] != before[0]
    (package / "methods" / "small" / "losses.py").write_text("weight = 2\n")
    assert changed() == [True, False, False]
    (package / "methods" / "small" / "timing.py").write_text("repeats = 5\n")
    assert changed() == [True, True, True]  # `errors` goes by the whole room
    tag_cell(declared, "warm_up = 1")
    assert changed() == [False, True, True]
    tag_cell(book / "book" / "part" / "small.md", "lr = 1")
    assert changed() == [True, False, False]
    write_header(declared, "{slug: small, tables: [speed], method: [hands_lib.methods.small.timing]}")
    assert changed() == [False, False, True]
    assert before[2] == before[0]  # nobody declares it any more


def test_a_chapter_that_declares_no_modules(book: Path, package: Path) -> None:
    """Its tables have a version too, which no edit of the library changes."""
    second_chapter(book, "{slug: small, tables: [size]}")
    version = method_version("small", "size", book)
    (package / "methods" / "small" / "losses.py").write_text("weight = 2\n")
    (package / "surface.py").write_text("size = 699\n")
    assert method_version("small", "size", book) == version == hashlib.sha256(b"").hexdigest()[:12]


def test_two_chapters_that_declare_one_table(book: Path, package: Path) -> None:
    write_header(book / "book" / "part" / "small.md", "{tables: [errors, speed]}")
    second_chapter(book, "{slug: small, tables: [speed]}")
    with pytest.raises(ProjectError, match=r"'speed' of small is declared by .*small\.md and .*second\.md"):
        method_version("small", "errors", book)
    assert method_version("another", "speed", book)


def test_a_chapter_records_what_it_declares(book: Path, package: Path, monkeypatch) -> None:
    write_header(book / "book" / "part" / "small.md", "{tables: [errors]}")
    monkeypatch.setenv(JOB, '{"chapter": "part/small"}')
    run = Run("small", "errors", "full", 0, "cpu", "line", "1")
    measured = {"protocol": "mean", "metrics": {"error": (1, "mm")}, "started": time.time(), "root": book}
    record_run(run, **measured)
    record_run(replace(run, slug="another", table="other"), **measured)
    with pytest.raises(ProjectError, match=r"not declared in the header of .*small\.md.* mean 'errors'"):
        record_run(replace(run, table="error"), **measured)
    assert {r.table for r in read_records("small", book)} == {"errors"}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{method: [hands_lib.surfaces]}", r"small\.md: its header names method 'hands_lib\.surfaces'"),
        ("{method: hands_lib.surface}", r"small\.md: `hands: method` .* give a list of names"),
        ("{tables: errors}", r"small\.md: `hands: tables` .* give a list of names"),
        ("{table: [errors]}", r"unknown key under `hands` .*small\.md: 'table'; did you mean 'tables'"),
    ],
)
def test_a_wrong_header_is_named(book: Path, package: Path, header: str, message: str) -> None:
    write_header(book / "book" / "part" / "small.md", header)
    with pytest.raises(ProjectError, match=message):
        method_version("small", "errors", book)

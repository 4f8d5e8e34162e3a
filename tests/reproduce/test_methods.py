"""Versions of methods: what changes them and what does not."""

from pathlib import Path

import pytest

from hands_lib.reproduce import methods
from hands_lib.reproduce.methods import code_only, method_version, tagged_cells
from hands_lib.reproduce.project import ProjectError

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


def test_room_cells_and_named_modules_make_the_version(book: Path, package: Path) -> None:
    page = book / "book" / "part" / "small.md"
    versions = [method_version("small", book)]
    (package / "methods" / "small" / "losses.py").write_text("weight = 2\n")
    versions.append(method_version("small", book))
    page.write_text(page.read_text() + "\n```{code-cell} ipython3\n:tags: [method]\n\nlr = 1\n```\n")
    versions.append(method_version("small", book))
    page.write_text(page.read_text().replace("\n---\n", "\nhands: {method: [hands_lib.surface]}\n---\n", 1))
    versions.append(method_version("small", book))
    (package / "surface.py").write_text("size = 699\n")
    versions.append(method_version("small", book))
    assert len(set(versions)) == len(versions)
    (package / "surface.py").write_text("size = 699  # vertices\n")
    page.write_text(page.read_text().replace("Text in between.", "More text."))
    assert method_version("small", book) == versions[-1]
    assert method_version("another", book) not in versions


def test_a_module_that_does_not_exist(book: Path, package: Path) -> None:
    page = book / "book" / "part" / "small.md"
    page.write_text(page.read_text().replace("\n---\n", "\nhands: {method: [hands_lib.surfaces]}\n---\n", 1))
    with pytest.raises(ProjectError, match=r"small\.md: its header names method 'hands_lib\.surfaces'"):
        method_version("small", book)

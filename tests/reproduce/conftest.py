"""A small book of one chapter, for tests that run or break chapters."""

from pathlib import Path

import pytest

CHAPTER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A small chapter

```{code-cell} ipython3
:tags: [parameters]

profile = "smoke"
seed = 0
steps: int = 3
```

Text in between.

```{code-cell} ipython3
---
mystnb:
  image:
    alt: nothing
---
numbers = [seed + i for i in range(steps)]

print(sum(numbers))
```
"""


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Root of a checkout with one chapter, `book/part/small.md`."""
    (tmp_path / "book" / "part").mkdir(parents=True)
    (tmp_path / "book" / "index.md").write_text("# Start\n")
    (tmp_path / "book" / "part" / "small.md").write_text(CHAPTER)
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nparts:\n  - chapters:\n    - file: book/part/small.md\n"
    )
    return tmp_path

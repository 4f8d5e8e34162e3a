"""What CONTRIBUTING.md tells a newcomer to do works as it stands there."""

import re
import shutil
from pathlib import Path

import nbformat

from hands_lib.reproduce.chapters import find_chapter
from hands_lib.reproduce.command import _parser
from hands_lib.reproduce.project import find_root
from hands_lib.reproduce.runner import run_chapter

ROOT = find_root(Path(__file__).parent)
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_first_chapter_runs_as_the_guide_says(tmp_path: Path) -> None:
    source, target = re.search(r"`cp (\S+) (\S+)`", GUIDE).groups()
    entry = re.search(r"`(- file: \S+)` in `_toc\.yml`", GUIDE)[1]
    (tmp_path / target).parent.mkdir(parents=True)
    shutil.copy(ROOT / source, tmp_path / target)
    (tmp_path / "book" / "index.md").write_text("# Start\n")
    (tmp_path / "_toc.yml").write_text(
        f"format: jb-book\nroot: book/index\nparts:\n  - chapters:\n    {entry}\n"
    )
    outcome = run_chapter(find_chapter("span", tmp_path), tmp_path, "smoke", {})
    assert outcome.failure is None
    cells = nbformat.read(outcome.notebook, 4).cells
    answer = next(cell for cell in cells if "answer" in cell.metadata.get("tags", []))
    assert "mm at rest" in answer.outputs[0].data["text/markdown"]


def test_every_command_and_place_that_the_guide_names_is_there() -> None:
    subcommands = next(a.choices for a in _parser()._actions if a.choices and "run" in a.choices)
    named = set(re.findall(r"\bhands (\w+)", GUIDE))
    assert named
    assert named <= set(subcommands)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    asked = set(re.findall(r"`make (\w+)`", GUIDE))
    assert asked
    assert asked <= set(targets)
    made = {"book/foundations/span.md", "_build/html/book/foundations/span.html"}
    places = set(re.findall(r"`((?:book|tests|hands_lib)/[\w/.]+)`", GUIDE)) - made
    assert [place for place in sorted(places) if not (ROOT / place).exists()] == []

"""How chapters are written: the result first, short cells, short lines, no identifiers in prose."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from hands_lib.reproduce.chapters import Chapter, list_chapters, preset_parameters
from hands_lib.reproduce.project import find_root
from hands_lib.reproduce.store import read_lines

ROOT = find_root(Path(__file__).parent)
CHAPTERS = [chapter for chapter in list_chapters(ROOT) if not chapter.back_matter]
LONGEST_CELL = 40  # lines: what a screen of a laptop shows
WIDEST = 120  # columns of prose
MOST_FUNCTIONS = 20  # in the cells of all chapters
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
FENCE = re.compile(r"^\s*(`{3,}|:{3,}|\${2})")


@dataclass(frozen=True)
class Cell:
    """A code cell: the line where its code starts, its options and its code."""

    line: int
    options: dict
    code: list[str]

    @property
    def tags(self) -> list[str]:
        return self.options.get("tags") or []

    @property
    def is_figure(self) -> bool:
        return "figure" in self.options.get("mystnb", {})


def taken_apart(text: str) -> tuple[list[Cell], list[tuple[int, str]]]:
    """Code cells, and numbered lines of prose: no code, no equations, no header of the page."""
    cells, prose = [], []
    lines = text.splitlines()
    start = lines.index("---", 1) + 1 if lines[0] == "---" else 0
    numbered = iter(enumerate(lines[start:], start + 1))
    within: list[str] = []  # fences of the directives around a line, such as an answer that folds
    for number, line in numbered:
        fence = FENCE.match(line)
        if line.startswith("```{code-cell}"):
            cells.append(_cell(number + 1, numbered))
        elif fence is None or line.count("$$") > 1:
            prose.append((number, line))
        elif "{" in line and "{math}" not in line:
            within.append(fence[1])
        elif line.strip() in within:
            within.remove(line.strip())
        else:
            for _, inside in numbered:  # code, or an equation
                if inside.strip().startswith(fence[1]):
                    break
    return cells, prose


def _cell(first: int, numbered: Iterator[tuple[int, str]]) -> Cell:
    body = []
    for _, line in numbered:
        if line.startswith("```"):
            break
        body.append(line)
    if body and body[0] == "---":
        end = body.index("---", 1)
        head, code = body[1:end], body[end + 1 :]
        skipped = end + 1
    else:
        head = [line[1:] for line in body if line.startswith(":")]
        skipped, code = len(head), body[len(head) :]
    while code and not code[0].strip():
        code, skipped = code[1:], skipped + 1
    return Cell(first + skipped, yaml.safe_load("\n".join(head)) or {}, code)


def plain(line: str) -> str:
    """A line without what names things of the code: spans of code, roles, equations, addresses, labels."""
    line = re.sub(r"\{[\w:-]+\}`[^`]*`|`[^`]*`|\$[^$]*\$|\]\([^)]*\)|<[^>]*>", " ", line)
    return "" if re.match(r"^\s*(\(.*\)=|:\w+:.*)$", line) else line


@pytest.fixture(params=CHAPTERS, ids=lambda chapter: chapter.stem)
def chapter(request: pytest.FixtureRequest) -> Chapter:
    return request.param


@pytest.fixture
def parts(chapter: Chapter) -> tuple[list[Cell], list[tuple[int, str]]]:
    return taken_apart(chapter.path.read_text(encoding="utf-8"))


def test_the_first_screen_has_the_answer_and_its_picture(chapter: Chapter) -> None:
    head, _, _ = chapter.path.read_text(encoding="utf-8").partition("\n## ")
    cells, _ = taken_apart(head)
    assert [cell.line for cell in cells if "answer" in cell.tags], (
        "no cell with the tag `answer` before `## `"
    )
    heroes = [cell.line for cell in cells if cell.is_figure and "hero" in cell.tags]
    assert heroes, "no figure with the tag `hero` before the first `## `"
    open_code = [c.line for c in cells if not {"hide-input", "remove-input", "hide-cell"} & set(c.tags)]
    assert open_code == [], "code in sight before the result"


def test_cells_fit_a_screen(parts: tuple) -> None:
    cells, _ = parts
    assert [(c.line, len(c.code)) for c in cells if len(c.code) > LONGEST_CELL] == []


def test_lines_of_prose_are_short(parts: tuple) -> None:
    _, prose = parts
    long = [(n, len(line)) for n, line in prose if len(line) > WIDEST and not line.lstrip().startswith("|")]
    assert long == []


def test_prose_has_words_not_identifiers(parts: tuple) -> None:
    _, prose = parts
    found = [(n, re.findall(r"\b[A-Za-z]\w*_\w+", plain(line))) for n, line in prose]
    assert [(n, words) for n, words in found if words] == []


def test_functions_stand_in_rooms_not_in_cells() -> None:
    """No test can import what a cell defines. What is left shows a loss or a loop, or draws one page."""
    found = []
    for chapter in CHAPTERS:
        cells, _ = taken_apart(chapter.path.read_text(encoding="utf-8"))
        for cell in cells:
            tree = ast.parse("\n".join(line for line in cell.code if not line.startswith(("%", "!"))))
            found += [(chapter.stem, n.name) for n in tree.body if isinstance(n, DEFINITIONS)]
    assert len(found) <= MOST_FUNCTIONS, found


def test_no_arguments_in_packs(parts: tuple) -> None:
    """`network(*sizes, **about)` hides what goes where; `*` over a list of equal things is fine."""
    cells, _ = parts
    packs = re.compile(r"\*\*(?!\{)(about|world|options|kwargs)\b|[(,] ?\*(about|world|options|args)\b")
    assert [(c.line + n, line) for c in cells for n, line in enumerate(c.code) if packs.search(line)] == []


def test_recorded_jobs_still_belong_to_the_parameters(chapter: Chapter) -> None:
    """A job's identity is all its parameters: a renamed or changed one would orphan every record."""
    own = [line for line in read_lines(chapter.slug, ROOT) if line.chapter == chapter.stem and line.is_result]
    for profile in {line.profile for line in own}:
        preset = preset_parameters(chapter.slug, chapter.stem, profile, ROOT)
        found = [line.parameters for line in own if line.profile == profile]
        assert preset in found


def test_taking_apart() -> None:
    text = (
        "---\na: 1\n---\n# T\n\n```{code-cell} ipython3\n:tags: [answer]\n\nx = 1\n```\n\n$$\na_b\n$$\n\n"
        "See `a_b` and c_d.\n\n```{dropdown} Answer\ne_f\n```\n\n```\ng_h\n```\nEnd.\n"
    )
    cells, prose = taken_apart(text)
    assert [(cell.line, cell.tags, cell.code) for cell in cells] == [(9, ["answer"], ["x = 1"])]
    words = [re.findall(r"\b[A-Za-z]\w*_\w+", plain(line)) for _, line in prose]
    assert sum(words, []) == ["c_d", "e_f"]
    assert prose[-1][1] == "End."

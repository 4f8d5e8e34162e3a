"""What a page reads like in JupyterLab, and that nothing of it is lost on the way back."""

import re
from pathlib import Path

import jupytext
import pytest

from hands_lib.pages.lab_view import LabView
from hands_lib.reproduce.chapters import book_pages, list_chapters
from hands_lib.reproduce.project import find_root

ROOT = find_root(Path(__file__).parent)
PAGE = ROOT / "book" / "va_nerf" / "fusion.md"
RAW = re.compile(r"\{[a-z:]+\}`|^\s*\([\w-]+\)=$|^\$\$ \(|^\s*```\{", re.MULTILINE)


@pytest.fixture(scope="module")
def view() -> LabView:
    return LabView(ROOT)


def markdown_cells(path: Path) -> list[str]:
    return [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("path", book_pages(ROOT), ids=lambda path: path.stem)
def test_every_cell_comes_back_letter_by_letter(path: Path, view: LabView) -> None:
    for text in markdown_cells(path):
        assert view.written(view.shown(text, path)) == text


@pytest.mark.parametrize("path", [c.path for c in list_chapters(ROOT)], ids=lambda path: path.stem)
def test_no_role_label_or_fence_is_left(path: Path, view: LabView) -> None:
    """Outside of comments and of the tooltips that say what a link was made from."""
    for text in markdown_cells(path):
        shown = re.sub(r"<!--.*?-->", "", view.shown(text, path))
        assert not RAW.search(shown), RAW.search(shown)


def test_links_say_where_they_lead(view: LabView) -> None:
    shown = view.shown(
        "By {cite:t}`huang2024vanerf` {cite:p}`romero2017mano,moon2020interhand`, see {ref}`units`.", PAGE
    )
    assert "[Huang et al. (2024)](https://arxiv.org/abs/2401.00979 " in shown
    assert "[(Romero et al., 2017; Moon et al., 2020)](../bibliography.md " in shown
    assert "[Units and number types](../notation.md " in shown


def test_what_is_typed_in_the_lab_stays(view: LabView) -> None:
    text = (
        "(a-label)=\n## A title\n\nSee {ref}`units`.\n\n$$\nx\n$$ (eq-x)\n\n```{dropdown} Answer\nYes.\n```"
    )
    shown = view.shown(text, PAGE)
    typed = (
        shown.replace("A title", "Another title").replace("Yes.", "No, {eq}`eq-x`.")
        + "\n\nMore [here](x.md)."
    )
    expected = (
        text.replace("A title", "Another title").replace("Yes.", "No, {eq}`eq-x`.") + "\n\nMore [here](x.md)."
    )
    assert view.written(typed) == expected


def test_titles_inside_tables_do_not_break_them(view: LabView) -> None:
    for row in (
        line for line in view.shown("| a {ref}`units` | b {cite:p}`romero2017mano` |", PAGE).split("\n")
    ):
        assert row.count("|") == 3

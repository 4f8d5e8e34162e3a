from docutils import nodes
from docutils.utils import new_document

from hands_lib.pages.first_screen import show_result_first


def cell(*tags: str, output: bool = False) -> nodes.container:
    parts = [nodes.container(classes=["cell_input"])]
    parts += [nodes.container(classes=["cell_output"])] if output else []
    return nodes.container("", *parts, classes=["cell", *(f"tag_{tag}" for tag in tags)])


def order(*children: nodes.Node) -> list[int]:
    """Where each of the children comes from, after the page was put in order."""
    page = new_document("page.md")
    page += nodes.section("", *children, ids=["page"])
    show_result_first(None, page)
    return [list(children).index(node) for node in page[0].children]


def test_what_runs_before_the_answer_is_shown_behind_the_picture() -> None:
    question, later = nodes.paragraph("", "Question."), nodes.section(ids=["later"])
    setup = [cell("parameters", "hide-input"), cell("hide-input"), cell("hide-cell")]
    answer, hero = cell("answer", output=True), cell("hero", "hide-input", output=True)
    assert order(question, *setup, answer, hero, later) == [0, 4, 5, 1, 2, 3, 6]


def test_without_a_picture_they_follow_the_answer() -> None:
    hero = nodes.section("", cell("hero", output=True), ids=["later"])
    assert order(cell("hide-input"), cell("answer", output=True), nodes.paragraph(), hero) == [1, 0, 2, 3]


def test_what_shows_something_stays() -> None:
    picture, open_code = cell("hide-input", output=True), cell()
    assert order(picture, open_code, cell("answer", output=True), cell("hero")) == [0, 1, 2, 3]


def test_a_page_without_an_answer_stays() -> None:
    assert order(cell("hide-input"), cell("hero", output=True)) == [0, 1]

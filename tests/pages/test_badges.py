from docutils import nodes

from hands_lib.pages.badges import add_badges


def page_of(*children: nodes.Node) -> nodes.document:
    from docutils.utils import new_document

    page = new_document("page.md")
    page.extend(children)
    return page


def cell(*tags: str) -> nodes.container:
    output = nodes.container(classes=["cell_output"])
    output += nodes.image(uri="picture.png")
    return nodes.container("", output, classes=["cell", *(f"tag_{tag}" for tag in tags)])


def badges(page: nodes.document) -> list[str]:
    add_badges(None, page)
    return [node.astext() for node in page.findall(nodes.paragraph)]


def test_a_tagged_cell_says_where_its_data_are_from() -> None:
    assert badges(page_of(cell("hide-input", "data-generated"))) == ["generated data"]
    assert badges(page_of(cell("data-real"))) == ["real data"]
    assert sorted(badges(page_of(cell("data-real", "data-generated")))) == ["generated data", "real data"]
    assert badges(page_of(cell("hide-input"))) == []


def test_the_badge_stands_above_the_picture() -> None:
    page = page_of(cell("data-real"))
    add_badges(None, page)
    output = next(node for node in page.findall(nodes.container) if "cell_output" in node["classes"])
    assert [type(node) for node in output] == [nodes.paragraph, nodes.image]


def test_a_markdown_figure_has_one_too() -> None:
    figure = nodes.figure("", nodes.image(uri="picture.png"), classes=["data-real"])
    assert badges(page_of(figure)) == ["real data"]

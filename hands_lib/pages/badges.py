"""Badges over pictures of data: "generated data" or "real data", in words.

A cell tagged `data-generated` or `data-real`, or a figure of Markdown with that class, gets one above its
picture. A cell with both tags gets both.
"""

from typing import Any

from docutils import nodes

BADGES = {"data-generated": "generated data", "data-real": "real data"}
OF_A_CELL = "tag_"  # how myst-nb writes a cell's tags as classes


def add_badges(app: Any, doctree: nodes.document) -> None:
    """Put the badges into a page that was just read (Sphinx event `doctree-read`)."""
    for tag, words in BADGES.items():
        for node in list(doctree.findall(nodes.Element)):
            classes = node.get("classes", [])
            if isinstance(node, nodes.figure) and tag in classes:
                node.parent.insert(node.parent.index(node), _badge(tag, words))
            elif "cell" in classes and f"{OF_A_CELL}{tag}" in classes:
                for output in node.findall(nodes.container):
                    if "cell_output" in output["classes"]:
                        output.insert(0, _badge(tag, words))


def _badge(tag: str, words: str) -> nodes.paragraph:
    return nodes.paragraph("", words, classes=["hands-badge", f"hands-badge-{tag}"])

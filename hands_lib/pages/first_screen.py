"""The first screen of a page: question, answer, picture. What has to run before the answer is shown below.

In its file, and so in a notebook, a chapter's cells stand in the order in which they run: parameters, imports
and data come before the answer. On the page these folded cells would push the picture off the first screen.
"""

from typing import Any

from docutils import nodes

FOLDED = {"tag_hide-input", "tag_hide-cell"}


def show_result_first(app: Any, doctree: nodes.document) -> None:
    """Move folded cells without output from before a page's answer to behind its first picture (Sphinx event
    `doctree-read`). Their order stays."""
    for answer in list(doctree.findall(_is_answer)):
        page = answer.parent
        before = page.children[: page.index(answer)]
        setup = [node for node in before if _is_folded(node)]
        behind = answer
        for node in page.children[page.index(answer) :]:
            if isinstance(node, nodes.section):
                break
            if isinstance(node, nodes.container) and "tag_hero" in node["classes"]:
                behind = node
        for node in setup:
            page.remove(node)
        place = page.index(behind) + 1
        page[place:place] = setup


def _is_answer(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and "tag_answer" in node["classes"]


def _is_folded(node: nodes.Node) -> bool:
    if not isinstance(node, nodes.container) or not FOLDED & set(node["classes"]):
        return False
    return not any("cell_output" in part["classes"] for part in node.findall(nodes.container))

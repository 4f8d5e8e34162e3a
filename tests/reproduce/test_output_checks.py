"""A page with a path of this machine, an endless line or a table with two equal rows is not built."""

import nbformat
import pytest

from hands_lib.reproduce.html_tables import HtmlTable
from hands_lib.reproduce.output_checks import faults


def page(*outputs):
    cell = nbformat.v4.new_code_cell("x", metadata={"hands": {"line": 7}}, outputs=list(outputs))
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("/etc/"), cell])


def printed(text):
    return nbformat.v4.new_output("stream", text=text)


def shown(**data):
    kinds = {"html": "text/html", "plain": "text/plain", "markdown": "text/markdown"}
    return nbformat.v4.new_output("display_data", {kinds[kind]: text for kind, text in data.items()})


@pytest.mark.parametrize(
    "output", [printed("ok\n" + "x" * 501), shown(plain="x" * 501), shown(markdown="x" * 501)]
)
def test_an_endless_line(tmp_path, output):
    (fault,) = faults(page(output), "book/page.md", tmp_path)
    assert fault.startswith("book/page.md:7: its output has a line of 501 characters")


def test_what_a_page_does_not_show_may_be_long(tmp_path):
    assert faults(page(shown(html="<p>short</p>", plain="x" * 900), printed("x" * 500)), "a", tmp_path) == []


def test_a_path_of_this_machine(tmp_path):
    (fault,) = faults(page(shown(html=f"<p>{tmp_path}/data/one.npz</p>")), "book/page.md", tmp_path / "data")
    assert "path of this machine" in fault
    (fault, *_) = faults(page(printed(f"{tmp_path}/one.npz is broken")), "book/page.md", tmp_path)
    assert "path of this machine" in fault
    picture = f"<img src='data:image/png;base64,AA{tmp_path}/AA'>".replace("-", "+").replace("_", "+")
    assert faults(page(shown(html=picture)), "a", tmp_path) == []


def test_a_table_that_says_the_same_twice(tmp_path):
    rows = [["apart", "3 %"], ["clasp", "3 %"], ["apart", "3 %"]]
    table = HtmlTable("Contact", ["interaction", "share"], rows)
    (fault,) = faults(page(shown(html=table._repr_html_())), "book/page.md", tmp_path)
    assert "two equal rows, 'apart | 3 %'" in fault
    once = HtmlTable("Contact", ["interaction", "share"], rows[:2])
    assert faults(page(shown(html=once._repr_html_() + once._repr_html_())), "a", tmp_path) == []

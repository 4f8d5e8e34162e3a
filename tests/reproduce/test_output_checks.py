"""Each fault is found, and what looks like one and is none passes."""

import tempfile

import nbformat.v4 as nb
import pytest

from hands_lib.reproduce.html_tables import HtmlTable
from hands_lib.reproduce.output_checks import LONGEST_LINE, output_faults


def printed(text: str, tags: tuple[str, ...] = ()) -> list[str]:
    cell = nb.new_code_cell(outputs=[nb.new_output("stream", text=text)], metadata={"tags": list(tags)})
    return output_faults(nb.new_notebook(cells=[cell]))


def displayed(**data: str) -> list[str]:
    bundle = {name.replace("_", "/"): text for name, text in data.items()}
    cell = nb.new_code_cell(outputs=[nb.new_output("display_data", data=bundle)])
    cell.metadata["hands"] = {"cell": 1, "line": 77}
    return output_faults(nb.new_notebook(cells=[nb.new_markdown_cell("a"), cell]))


def test_a_line_that_nobody_can_read() -> None:
    (fault,) = printed("short\n" + "x" * (LONGEST_LINE + 1))
    assert "code cell 1: prints a line of 501 characters" in fault
    assert printed("\n".join(["x" * LONGEST_LINE] * 9)) == []
    assert printed("x" * 9999, tags=("remove-output",)) == []
    assert displayed(text_html=f"<script>{'x' * 600}</script><p>a</p>") == []
    assert "line of 600" in displayed(text_html=f"<p>{'x' * 600}</p>", text_plain="p")[0]


@pytest.mark.parametrize(
    "text",
    [
        "/home/somebody/book/file.npz",
        "read '/tmp/xyz/picture.png'",
        "(/Users/me/data/a.json)",
        r"C:\Users\me\a.json",
        f"{tempfile.gettempdir()}/x",
    ],
)
def test_a_path_of_this_machine(text: str) -> None:
    (fault,) = printed(text)
    assert "shows the path" in fault


@pytest.mark.parametrize(
    "text",
    [
        "1/2 and 3/4",
        "book/results/x.jsonl",
        "https://example.org/home/page/x",
        "km/h",
        "~/book/a",
        "../tmp/a",
    ],
)
def test_what_only_looks_like_one(text: str) -> None:
    assert printed(text) == []


def test_the_data_folder_is_a_path_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDS_DATA", "/odd/place")
    assert "'/odd/place'" in printed("no file in /odd/place/freihand")[0]


def test_two_equal_rows() -> None:
    same = HtmlTable("t", ["pose", "mm"], [["apart", "1"], ["clasp", "2"], ["apart", "1"]])
    other = HtmlTable("t", ["pose", "mm"], [["apart", "1"], ["apart", "2"]])
    (fault,) = displayed(text_html=same._repr_html_(), text_plain="t")
    assert fault.startswith("line 77: a table has two equal rows (apart | 1)")
    assert displayed(text_html=other._repr_html_(), text_plain="t") == []
    assert displayed(text_html="<p>a</p><p>a</p>") == []
    two = other._repr_html_()
    assert displayed(text_html=two + two) == [], "rows of two tables"
    markdown = "| pose | mm |\n|---|---|\n| apart | 1 |\n| apart | 1 |\n"
    assert "two equal rows" in displayed(text_markdown=markdown)[0]


def test_text_beside_a_picture_is_not_shown() -> None:
    assert displayed(image_png="", text_plain="x" * 999) == []

"""What no output of a published chapter may hold: a line that nobody can read, a path of the machine that
executed it, a table in which two rows are the same."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

LONGEST_LINE = 500  # characters
NOT_SHOWN = {"remove-output", "remove-cell"}
OWN_LOOK = (
    "text/html",
    "text/markdown",
    "image/",
    "application/vnd.",
)  # of what is shown instead of its text
BLOCKS = {"td", "th", "p", "li", "div", "pre", "tr", "caption", "summary", "br", "h1", "h2", "h3", "h4"}
UNSEEN = {"script", "style", "template"}
# folders that only a machine has; a path may follow a space, a quote or a bracket, not a word or an address
MACHINE = (
    r"(?:home|root|tmp|var|usr|opt|mnt|media|srv|etc|work|workspace|scratch|private|Users|Volumes|content)"
)
A_PATH = re.compile(rf"(?<![\w.:/~<-])(?:/{MACHINE}/[\w.@+-]+[\w./@+-]*|[A-Z]:\\[\w.\\ -]+)")


class _Html(HTMLParser):
    """The text of an HTML output, line by line, and the rows of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.lines, self.tables, self._open, self._unseen = [""], [], [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._unseen = tag in UNSEEN
        if tag in BLOCKS:
            self.lines.append("")
        if tag == "table":
            self._open.append([])
            self.tables.append(self._open[-1])
        elif self._open and tag == "tr":
            self._open[-1].append([])
        elif self._open and self._open[-1] and tag in ("td", "th"):
            self._open[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._unseen = False
        if tag in BLOCKS:
            self.lines.append("")
        if tag == "table" and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        first, *more = data.split("\n")
        self.lines[-1] += first
        self.lines += more
        if self._open and self._open[-1] and self._open[-1][-1]:
            self._open[-1][-1][-1] += data


def _markdown_tables(text: str) -> Iterator[list[list[str]]]:
    table: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.strip().startswith("|"):
            table.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif table:
            yield [row for row in table if set("".join(row)) - set("-: ")]
            table = []


def _equal_row(tables: list[list[list[str]]]) -> str:
    """The first row that a table has twice; empty where none has."""
    for table in tables:
        seen = set()
        for row in table:
            key = tuple(" ".join(cell.split()) for cell in row)
            if len(key) > 1 and any(key) and key in seen:
                return " | ".join(key)
            seen.add(key)
    return ""


def _shown(output: Any) -> tuple[list[str], list[list[list[str]]]]:
    """Lines and tables of what a reader sees of an output."""
    if output.output_type == "stream":
        return output.text.splitlines(), []
    data = output.get("data", {})
    if "text/html" in data:
        page = _Html("".join(data["text/html"]))
        return page.lines, page.tables
    if "text/markdown" in data:
        text = "".join(data["text/markdown"])
        return text.splitlines(), list(_markdown_tables(text))
    if any(kind.startswith(OWN_LOOK) for kind in data):
        return [], []
    return "".join(data.get("text/plain", "")).splitlines(), []


def _own_places() -> list[str]:
    """Folders of this machine, longest first, whatever they are called."""
    places = {sys.prefix, tempfile.gettempdir(), os.getcwd(), str(Path.home())}
    if root := os.environ.get("HANDS_DATA"):
        places.add(str(Path(root).absolute()))
    return sorted((place for place in places if len(place) > 1), key=len, reverse=True)


def output_faults(notebook: Any) -> list[str]:
    """What is wrong with the outputs of an executed notebook, a line a fault: place, what it is, the mend.

    The place is the cell's line in the chapter where the notebook knows it (`hands` in the cell's metadata),
    else its number among the code cells.
    """
    faults, places = [], _own_places()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(cells, 1):
        if NOT_SHOWN & set(cell.metadata.get("tags", [])):
            continue
        known = cell.metadata.get("hands", {})
        place = f"line {known['line']}" if "line" in known else f"code cell {number}"
        for output in cell.get("outputs", []):
            lines, tables = _shown(output)
            longest = max(map(len, lines), default=0)
            if longest > LONGEST_LINE:
                faults.append(
                    f"{place}: prints a line of {longest:,} characters; print {LONGEST_LINE} at most"
                )
            found = next((place for line in lines for place in _paths(line, places)), None)
            if found:
                faults.append(f"{place}: shows the path {found!r}; show a name, or a path below the book")
            if row := _equal_row(tables):
                faults.append(f"{place}: a table has two equal rows ({row[:120]}); name what differs")
    return faults


def _paths(line: str, places: list[str]) -> Iterator[str]:
    yield from (place for place in places if re.search(rf"(?<![\w.:/~<-]){re.escape(place)}(?![\w.-])", line))
    yield from (found.group() for found in A_PATH.finditer(line))

"""What no page may show: a path of this machine, a line without end, a table that says a thing twice."""

import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

LONGEST_LINE = 500  # characters


def faults(notebook: Any, page: str, root: Path) -> list[str]:
    """What is wrong with the outputs of an executed chapter, one line for each fault.

    Args:
        notebook: with outputs; its code cells know their first line (`runner.read_chapter`).
        page: how a message names the chapter.
        root: of the checkout.
    """
    found = []
    for cell in notebook.cells:
        place = f"{page}:{cell.metadata.get('hands', {}).get('line', '?')}"
        for text in _texts(cell.get("outputs", [])):
            found += [f"{place}: {fault}" for fault in _of_text(text, root)]
    return found


def _texts(outputs: list[Any]) -> Iterator[str]:
    """What a page shows of outputs: printed text, and the richest text of what was displayed."""
    for output in outputs:
        if output.output_type == "stream":
            yield output.text
        data = output.get("data", {})
        kind = next((k for k in ("text/html", "text/markdown") if k in data), None)
        if kind or set(data) == {"text/plain"}:
            yield data[kind or "text/plain"]


def _of_text(text: str, root: Path) -> Iterator[str]:
    words = re.sub(r"base64,[\w+/=]+", "", text)  # a picture may spell anything
    if place := next((place for place in _places_here(root) if place in words), None):
        yield f"its output shows a path of this machine, {place}: show a name, or a path below the data"
    is_html = text.lstrip().startswith("<")
    longest = 0 if is_html else max(map(len, text.splitlines()), default=0)
    if longest > LONGEST_LINE:
        yield f"its output has a line of {longest} characters: say it in a sentence or a table"
    for row in _equal_rows(text) if is_html else ():
        yield f"its table has two equal rows, {row!r}: name what they differ in"


def _places_here(root: Path) -> list[str]:
    """Folders that only this machine has, as text."""
    places = [
        str(root),
        str(Path.home()),
        sys.prefix,
        tempfile.gettempdir(),
        os.environ.get("HANDS_DATA", ""),
    ]
    return sorted({f"{place.rstrip('/')}/" for place in places if len(place) > 2})


class _Rows(HTMLParser):
    """The texts of the cells of every row of every table body."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[list[list[str]]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tbody":
            self.bodies.append([])
        elif tag == "tr" and self.bodies:
            self.bodies[-1].append([])
        elif tag in ("td", "th") and self.bodies and self.bodies[-1]:
            self.bodies[-1][-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.bodies[-1][-1][-1] += data


def _equal_rows(html: str) -> list[str]:
    parser = _Rows()
    parser.feed(html)
    return [
        " | ".join(row).replace("\N{NO-BREAK SPACE}", " ")
        for body in parser.bodies
        for row, times in Counter(map(tuple, body)).items()
        if times > 1 and any(row)
    ]

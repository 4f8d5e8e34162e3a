"""Tables that a notebook, a page and a terminal can show. All that stands in them is text, never markup.

Their look is in `pages/static/hands-tables.css`, the filters of a long table in `hands-tables.js`.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Kind = Literal["plain", "published", "measured", "missing", "small"]
Mark = Literal["", "best", "second"]
HIDDEN = '<span class="hands-hidden">{}</span>'  # for those who hear the page


def plain(text: str) -> str:
    """For a terminal: what would break a line of it, or steer it, is a space."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def escape(text: str) -> str:
    """Text as HTML. A line may break behind the underscores of a name and before ±, not behind it, nor
    between a number and its %."""
    shown = html.escape(text).replace("± ", "±\N{NO-BREAK SPACE}").replace(" %", "\N{NO-BREAK SPACE}%")
    return shown.replace("_", "_<wbr>")


def attribute(text: str) -> str:
    return html.escape(text, quote=True)


@dataclass(frozen=True)
class Line:
    """One line of a cell. `heard` is read aloud and printed in a terminal in its place, where signs would say
    nothing there; `mark` is that of the best number of a column, and of the second best."""

    text: str
    kind: Kind = "plain"
    mark: Mark = ""
    heard: str = ""

    def html(self) -> str:
        text = escape(self.text)
        if self.heard:
            text = f'<span aria-hidden="true">{text}</span>{HIDDEN.format(escape(self.heard))}'
        if self.mark:
            tag = {"best": "strong", "second": "u"}[self.mark]
            text = f"<{tag}>{text}</{tag}>" + HIDDEN.format(f" ({self.mark})")
        if self.kind in ("published", "measured") and self.text != self.kind:
            text = HIDDEN.format(f"{self.kind} ") + text
        # a division: lines stay lines in a notebook too, which does not know our style sheet
        return text if self.kind == "plain" else f'<div class="hands-{self.kind}">{text}</div>'

    def __str__(self) -> str:
        return self.text + {"best": " (best)", "second": " (second)"}.get(self.mark, "")


@dataclass(frozen=True)
class Entry:
    """A cell of several lines: a published number above the measured ones."""

    lines: Sequence[Line]

    def html(self) -> str:
        # no space between: every line but the plain one is a block
        return "".join(line.html() for line in self.lines)

    def __str__(self) -> str:
        text = ""
        for line in self.lines:
            # lines of a page stand beside each other in a terminal
            text += (" | " if text and line.kind != "plain" else "") + str(line)
        return text


Cell = str | Entry


@dataclass(frozen=True)
class Group:
    """A heading between rows, over the whole width; without a title, a line. `of`: a filter's value for all
    rows below it."""

    title: str
    of: str = ""


Rows = Sequence[Sequence[Cell] | Group]


@runtime_checkable
class Part(Protocol):
    """What can stand on a page."""

    def _repr_html_(self) -> str: ...


@dataclass(frozen=True)
class HtmlTable:
    """A table with caption, header cells and notes that a notebook, a page and a terminal can show.

    A cell is text, or an `Entry` of several lines; a `Group` between rows is a heading of those below it.
    filters: columns by their head, for which the page offers a choice of one value; a name that is no head
    stands for the `of` of groups. Rows can be searched as well. Without scripts, all rows are there.
    """

    caption: str
    head: Sequence[Cell]
    rows: Rows
    empty: str = "nothing yet"
    notes: Sequence[str] = ()
    filters: Sequence[str] = ()
    look: str = ""  # a further class: `numbers` aligns them

    @property
    def lines(self) -> list[Sequence[Cell]]:
        """The rows without the headings between them."""
        return [row for row in self.rows if not isinstance(row, Group)]

    def _repr_html_(self) -> str:
        def cells(own: Sequence[Cell], opening: str) -> str:
            shown = (cell.html() if isinstance(cell, Entry) else escape(cell) for cell in own)
            return "".join(f"<{opening}>{text}</{opening[:2]}>" for text in shown)

        head = cells(self.head, 'th scope="col"')
        width = len(self.head)
        bodies: list[tuple[str, list[str]]] = [("", [])]
        for row in self.rows:
            if isinstance(row, Group):
                title = f'<th scope="rowgroup" colspan="{width}"><span>{escape(row.title)}</span></th>'
                of = f' data-of="{attribute(row.of)}"' if row.of else ""
                bodies.append((of, [f'<tr class="hands-group">{title}</tr>'] if row.title else []))
            else:
                line = cells(row[:1], 'th scope="row"') + cells(row[1:], "td")
                bodies[-1][1].append(f"<tr>{line}</tr>")
        if not self.rows:
            bodies[-1][1].append(f'<tr><td colspan="{width}">{html.escape(self.empty)}</td></tr>')
        body = "".join(f"<tbody{of}>{''.join(lines)}</tbody>" for of, lines in bodies if lines)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        notes = f'<div class="hands-notes">{notes}</div>' if notes else ""
        classes = ["hands-table"] + (["hands-table-many"] if len(self.head) > 5 else [])  # smaller type
        classes += [f"hands-table-{self.look}"] if self.look else []
        filters = f' data-filters="{attribute("|".join(self.filters))}"' if self.filters else ""
        # tabindex: a wide table scrolls, and must do so from the keyboard too
        return (
            f'<div class="{" ".join(classes)}"{filters}>'
            f'<div class="hands-scroll" role="region" tabindex="0" aria-label="{attribute(self.caption)}">'
            f"<table><caption><span>{html.escape(self.caption)}</span></caption>"
            f"<thead><tr>{head}</tr></thead>{body}</table></div>{notes}</div>"
        )

    def __repr__(self) -> str:
        rows = [[plain(str(cell)) for cell in row] for row in (self.head, *self.lines)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.head))]
        texts = ["  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        below = map(plain, self.notes)
        table = iter(texts[1:])
        body = [f"-- {plain(row.title)}" if isinstance(row, Group) else next(table) for row in self.rows]
        return "\n".join([plain(self.caption), texts[0], "-" * sum(widths), *(body or [self.empty]), *below])


@dataclass(frozen=True)
class Section:
    """Tables, or sections again, under a line that folds them away, from the keyboard too."""

    title: str
    parts: Sequence[Part]

    def _repr_html_(self) -> str:
        inside = "\n".join(part._repr_html_() for part in self.parts)
        return f"<details><summary>{html.escape(self.title)}</summary>\n{inside}\n</details>"

    def __repr__(self) -> str:
        return "\n\n".join([f"== {plain(self.title)} ==", *map(repr, self.parts)])


@dataclass(frozen=True)
class Page:
    """Several tables or sections shown one below the other."""

    tables: Sequence[Part]

    def _repr_html_(self) -> str:
        return "\n".join(table._repr_html_() for table in self.tables)

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.tables))

"""Tables that a notebook, a page and a terminal can show. All that stands in them is text, never markup."""

import html
from collections.abc import Sequence
from dataclasses import dataclass


def _plain(text: str) -> str:
    """For a terminal: what would break a line of it, or steer it, is a space."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


@dataclass(frozen=True)
class HtmlTable:
    """A table with caption, header cells and notes that a notebook, a page and a terminal can show."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str = "nothing yet"
    notes: Sequence[str] = ()

    def _repr_html_(self) -> str:
        def cells(texts: Sequence[str], opening: str) -> str:
            # a line may break behind the underscores of a metric's name and before ±, not behind it
            shown = (
                html.escape(t).replace("_", "_<wbr>").replace("± ", "±\N{NO-BREAK SPACE}") for t in texts
            )
            return "".join(f"<{opening}>{text}</{opening[:2]}>" for text in shown)

        head = cells(self.head, 'th scope="col"')
        lines = [cells(row[:1], 'th scope="row"') + cells(row[1:], "td") for row in self.rows]
        lines = lines or [f'<td colspan="{len(self.head)}">{html.escape(self.empty)}</td>']
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        # tabindex: a wide table scrolls, and must do so from the keyboard too
        label = html.escape(self.caption, quote=True)
        many = " hands-table-many" if len(self.head) > 5 else ""  # columns, in smaller type
        return (
            f'<div class="hands-table{many}" role="region" tabindex="0" aria-label="{label}"><table>'
            f"<caption>{html.escape(self.caption)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}</div>"
        )

    def __repr__(self) -> str:
        rows = [[_plain(text) for text in row] for row in (self.head, *self.rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.head))]
        lines = ["  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        below = map(_plain, self.notes)
        return "\n".join(
            [_plain(self.caption), lines[0], "-" * sum(widths), *(lines[1:] or [self.empty]), *below]
        )


@dataclass(frozen=True)
class Section:
    """Tables, or sections again, under a line that folds them away, from the keyboard too."""

    title: str
    parts: "Sequence[HtmlTable | Section]"
    unfolded: bool = False

    def _repr_html_(self) -> str:
        inside = "\n".join(part._repr_html_() for part in self.parts)
        opening = "<details open>" if self.unfolded else "<details>"
        return f"{opening}<summary>{html.escape(self.title)}</summary>\n{inside}\n</details>"

    def __repr__(self) -> str:
        return "\n\n".join([f"== {_plain(self.title)} ==", *map(repr, self.parts)])


@dataclass(frozen=True)
class Page:
    """Several tables or sections shown one below the other."""

    tables: Sequence[HtmlTable | Section]

    def _repr_html_(self) -> str:
        return "\n".join(table._repr_html_() for table in self.tables)

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.tables))

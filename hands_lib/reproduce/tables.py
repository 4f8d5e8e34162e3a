"""Published beside measured: the tables and verdicts that chapters and the results page show.

Which lines of jobs count stands in `evidence.py`, how claims are judged in `verdicts.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hands_lib.reproduce.evidence import Evidence, read_evidence
from hands_lib.reproduce.forest import forests
from hands_lib.reproduce.html_tables import HtmlTable, Page, Part, Section, attribute
from hands_lib.reproduce.measured import HOW, measured_tables, notes_on_lines
from hands_lib.reproduce.printed_table import printed_tables
from hands_lib.reproduce.project import nearest
from hands_lib.reproduce.published import Published, read_all_published, read_published
from hands_lib.reproduce.score import anchor, scores
from hands_lib.reproduce.verdicts import claims_text
from hands_lib.reproduce.wording import count


def own_title(published: Published, name: str) -> tuple[str, list[str], list[str]]:
    """Title, notes and order of the rows of a table of which the paper prints no number; its name where
    nobody gave it a title."""
    own = published.own_tables.get(name) or published.tables.get(name)
    return (own.title, [own.note] if own.note else [], own.order) if own else (name, [], [])


def tables_beyond(published: Published, evidence: Evidence) -> list[str]:
    """The tables of `own_tables`, then those that are in no file but in lines."""
    recorded = evidence.tables("counted", "stale", "other", "unfinished")
    beyond = [name for name in recorded if name not in published.tables]
    return list(dict.fromkeys([*published.own_tables, *beyond]))


def compare_table(published: Published, name: str, evidence: Evidence) -> list[HtmlTable | Section]:
    """One published table with the measured numbers in its cells, then, folded away, what was measured beyond
    its numbers. Of a table that the paper does not print, the measured numbers alone."""
    table = published.tables.get(name)
    if table is None or not table.cells:
        title, own_notes, order = own_title(published, name)
        beyond = ", not in the paper" if published.source else ""
        notes = [*notes_on_lines(evidence, name), *own_notes]
        caption = f"{title}: measured{beyond} ({HOW})"
        return [*measured_tables(published, name, evidence, caption, order=order, notes=notes)]
    shown: list[HtmlTable | Section] = [*printed_tables(published, name, evidence)]
    known = {(cell.row, cell.metric) for cell in table.cells}
    # a printed column with a gap has its measured number in the gap
    known |= {(row, metric) for row in table.rows for metric in table.columns}
    order = table.order or list(dict.fromkeys(cell.row for cell in table.cells))
    caption = f"{table.title}: measured beyond the printed numbers ({HOW})"
    beyond_print = measured_tables(published, name, evidence, caption, known, order)
    if beyond_print[0].rows:
        shown.append(Section("Measured beyond the printed numbers", beyond_print))
    return shown


def inconsistencies_table(published: Published) -> HtmlTable:
    """What a paper prints that does not agree with itself, its references or its code."""
    lines = [
        (entry.kind, entry.where, entry.printed, entry.follows + ("" if entry.verified else "*"))
        for entry in published.inconsistencies
    ]
    notes = ["* by released code or another page, not by the source text"]
    notes = notes if any(not entry.verified for entry in published.inconsistencies) else []
    head = ("kind", "place", "what is printed", "what follows from the rest")
    return HtmlTable(f"{published.title}: printed inconsistencies", head, lines, "none found", notes)


def compare(slug: str, table: str | None = None, root: Path | None = None) -> Page:
    """Published numbers of a system with the recorded ones, and the verdict on every claim.

    In a chapter: `compare("intersections", table="fit error")` as the last line of a cell. A table that the
    paper does not print is one of the file's `own_tables`, or one that is recorded.

    Raises:
        ProjectError: no published file for the slug, or no such table in it; suggests the nearest name.
    """
    published = read_published(slug, root)
    evidence = read_evidence(slug, root)
    known = [*published.tables, *tables_beyond(published, evidence)]
    if table is not None and table not in known:
        raise nearest(table, known, f"table of {slug}:")
    names = [table] if table else known
    shown = [part for name in names for part in compare_table(published, name, evidence)]
    return Page([*shown, *forests(published, evidence, table)[0]])


@dataclass(frozen=True)
class SystemPage:
    """What the book knows of one system; the score links to its `id`."""

    id: str
    parts: Sequence[Part]

    def _repr_html_(self) -> str:
        return f'<div id="{attribute(self.id)}">{Page(self.parts)._repr_html_()}</div>'

    def __repr__(self) -> str:
        return repr(Page(self.parts))


def _fold(published: Published, name: str, evidence: Evidence) -> Section:
    """One table of the results page: folded, as there are many."""
    table = published.tables.get(name)
    where = f"{table.where}: " if table and table.where else ""
    title = table.title if table else own_title(published, name)[0]
    return Section(f"{where}{title}", compare_table(published, name, evidence))


def system_page(slug: str, root: Path | None = None) -> SystemPage:
    """The results of one system: its claims, then folded away the targets of this book, every table, and what
    the paper prints that does not agree with itself.

    Raises:
        ProjectError: no published file for the slug, or the store cannot be read.
    """
    published = read_published(slug, root)
    evidence = read_evidence(slug, root)
    known = set(evidence.tables("counted", "stale", "unfinished"))
    parts: list[Part] = []
    found, _ = forests(published, evidence)
    for forest in found:
        of_paper = forest is found[0] and bool(published.claims)
        measured = any(row.verdict.parts for row in forest.rows)
        fold = Section(f"{forest.title} ({len(forest.rows)})", [forest])
        parts.append(forest if of_paper and measured else fold)
    ran = [name for name in published.tables if name in known]
    parts += [_fold(published, name, evidence) for name in ran]
    beyond = [_fold(published, name, evidence) for name in tables_beyond(published, evidence)]
    if beyond and published.source:
        beyond = [Section(f"Tables of this book beyond the paper ({len(beyond)})", beyond)]
    parts += beyond
    idle = [part for name in published.tables if name not in known
            for part in compare_table(published, name, evidence)]  # fmt: skip
    if idle:
        parts.append(Section(f"Printed numbers that were not measured ({count(len(idle), 'table')})", idle))
    if published.inconsistencies:
        title = f"What does not agree in the paper ({len(published.inconsistencies)})"
        parts.append(Section(title, [inconsistencies_table(published)]))
    return SystemPage(anchor(slug), parts)


def waiting_page(root: Path | None = None) -> Page:
    """The papers whose numbers are typed but which have no chapter yet, folded away one by one."""
    waiting = [one.published for one in scores(root).waiting]
    return Page(
        [
            Section(
                f"{own.title}: {count(len(own.claims), 'claim')}, {count(len(own.tables), 'table')}",
                [system_page(own.slug, root)],
            )
            for own in waiting
        ]
    )


def claims_page(slug: str | None, root: Path) -> str:
    """What `hands claims` prints.

    Raises:
        ProjectError: nothing is published for the slug, or the store cannot be read.
    """
    found = read_all_published(root) if slug is None else [read_published(slug, root)]
    return claims_text(found, {p.slug: read_evidence(p.slug, root) for p in found})

"""Published tables as the paper prints them: in every cell the published number, below it the measured one.

Numbers of the running text are no table of the paper: they stand as a list, or as rows by metrics where they
fill such a table.
"""

from collections.abc import Sequence

from hands_lib.reproduce.evidence import Evidence
from hands_lib.reproduce.html_tables import Cell as Shown
from hands_lib.reproduce.html_tables import Entry, Group, HtmlTable, Line, Mark
from hands_lib.reproduce.measured import (
    HOW,
    MARKED,
    Measured,
    Sources,
    best_two,
    head_of,
    measured,
    notes_on_lines,
)
from hands_lib.reproduce.published import Cell, Marks, Published, Table

_Place = tuple[str, str]  # row, metric
KEY = Entry([Line("published", "published"), Line("measured", "measured")])


class _Numbers:
    """The printed cells of a table, with what was measured in each."""

    def __init__(self, published: Published, name: str, evidence: Evidence, cells: Sequence[Cell]) -> None:
        self.published, self.name, self.evidence = published, name, evidence
        self.table = published.tables[name]
        self.cells = {(cell.row, cell.metric): cell for cell in cells}
        self.sources = Sources()
        self._measured: dict[_Place, list[Measured]] = {}
        self.marked = False

    def measured(self, place: _Place) -> list[Measured]:
        if place not in self._measured:
            own = measured(self.evidence, self.name, *place)
            self._measured[place] = own
            for one in own:
                self.sources.add(one)
        return self._measured[place]

    def unit(self, metric: str) -> str:
        """Of a column: that of most of its printed numbers."""
        printed = self.table.columns.get(metric)
        units = [cell.unit for cell in self.table.cells if cell.metric == metric]
        return printed.unit if printed else max(dict.fromkeys(units), key=units.count)

    def entry(self, place: _Place, unit: str, marks: dict[_Place, Mark], own: dict[_Place, Mark]) -> Shown:
        """The published number above the measured ones, or why nothing was measured."""
        cell, found = self.cells.get(place), self.measured(place)
        lines = []
        if cell is not None:
            text = cell.text + ("" if cell.unit in (unit, "1") else f" {cell.unit}")
            lines.append(Line(text + ("" if cell.verified else "*"), "published", marks.get(place, "")))
        elif found:
            lines.append(Line("–", "published", heard="nothing"))
        else:
            return "–"
        for one in found:
            with_unit = one.unit not in ("", unit)
            text = one.text(with_unit) + self.sources.fewer(one) + self.sources.number(one)
            lines.append(Line(text, "measured", own.get(place, "")))
        if not found:
            lines.append(Line(self.published.missing(self.name, *place) or "not run", "missing"))
        return Entry(lines)

    @property
    def rows(self) -> list[str]:
        """In the printed order."""
        return list(dict.fromkeys([*self.table.rows, *(row for row, _ in self.cells)]))

    def blocks(self) -> list[list[str]]:
        """Rows that are compared among themselves: of the file's groups, else as the paper marks its best
        numbers, else all."""
        if self.table.groups:
            return list(self.table.groups.values())
        marked = [check.rows for check in self.table.checks if isinstance(check, Marks) and check.rows]
        return [*map(list, dict.fromkeys(map(tuple, marked)))] or [list(self.rows)]

    def marks(self, metrics: Sequence[str]) -> tuple[dict[_Place, Mark], dict[_Place, Mark]]:
        """Best and second best, of the published numbers and of the results."""
        printed: dict[_Place, Mark] = {}
        own: dict[_Place, Mark] = {}
        for metric in metrics:
            better, unit = self.published.better(self.name, metric), self.unit(metric)
            for rows in self.blocks():
                cells = [self.cells[row, metric] for row in rows if (row, metric) in self.cells]
                numbers = {c.row: c.number for c in cells if c.unit == unit and c.number is not None}
                printed |= {(row, metric): mark for row, mark in best_two(numbers, better).items()}
                # a row of another unit is no rival; of several results, the first one's source counts
                found = [(row, m) for row in rows for m in self.measured((row, metric)) if not m.mark]
                results = [(row, m) for row, m in found if m.unit == ("" if unit == "1" else unit)]
                means = {row: m.mean for row, m in results if m.source == results[0][1].source}
                own |= {(row, metric): mark for row, mark in best_two(means, better).items()}
        self.marked = bool(printed or own)
        return printed, own

    def notes(self) -> list[str]:
        any_measured = any(self._measured.values())
        how = f"In every cell the published number, below it what this book measured ({HOW})."
        notes = [how] if any_measured else ["Published numbers; none of them was measured here."]
        notes += [(MARKED if any_measured else "Bold: best. Underlined: second best.")] if self.marked else []
        notes += self.sources.notes()
        return notes + notes_on_lines(self.evidence, self.name) + self.notes_on_print()

    def notes_on_print(self) -> list[str]:
        """What a reader must know of the published numbers, each thing once."""
        cells = self.cells.values()
        protocols = dict.fromkeys([self.table.protocol, *(cell.protocol for cell in cells)])
        notes = [f"Published protocol: {protocol}." for protocol in protocols if protocol]
        notes += [self.table.note] if self.table.note else []
        rows = ((self.published.row_name(self.name, cell.row), cell.note) for cell in cells if cell.note)
        notes += dict.fromkeys(f"{row}: {note}" for row, note in rows)
        if not all(cell.verified for cell in cells):
            notes.append("* second hand, or not yet compared with the printed paper")
        return notes


def _fills(cells: Sequence[Cell]) -> bool:
    """Whether numbers of the running text fill a table of rows by metrics, each metric of one unit."""
    rows, metrics = {cell.row for cell in cells}, {cell.metric for cell in cells}
    units = {(cell.metric, cell.unit) for cell in cells}
    return 3 * len(cells) >= 2 * len(rows) * len(metrics) and len(units) == len(metrics) and len(rows) > 1


def printed_tables(published: Published, name: str, evidence: Evidence) -> list[HtmlTable]:
    """A published table with measured numbers, and apart from it numbers of the running text beside it."""
    table = published.tables[name]
    printed = [cell for cell in table.cells if cell.printed_column]
    told = [cell for cell in table.cells if not cell.printed_column]
    found = []
    if printed:
        found.append(_grid(published, name, evidence, printed, table))
    if told:
        title = f"{table.title}: numbers of the text beside it" if printed else table.title
        grid = not printed and _fills(told)
        found.append(
            _grid(published, name, evidence, told, table) if grid
            else _list(published, name, evidence, told, title)
        )  # fmt: skip
    return found


def _caption(title: str, cells: Sequence[Cell], table: Table) -> str:
    places = list(dict.fromkeys(cell.where for cell in cells))
    where = table.where or (places[0] if len(places) == 1 else "")
    return f"{title} ({where})" if where else title


def _grid(
    published: Published, name: str, evidence: Evidence, cells: Sequence[Cell], table: Table
) -> HtmlTable:
    """Rows by metrics, in the printed order."""
    numbers = _Numbers(published, name, evidence, cells)
    rows = list(dict.fromkeys(table.rows if table.rows else (cell.row for cell in cells)))
    metrics = list(table.columns if table.rows else dict.fromkeys(cell.metric for cell in cells))
    for row in rows:  # how many sources there are is known before the first cell is made
        for metric in metrics:
            numbers.measured((row, metric))
    marks, own = numbers.marks(metrics)

    def head(metric: str) -> Entry:
        printed = table.columns[metric].label if metric in table.columns else ""
        return head_of(published, name, metric, numbers.unit(metric), printed)

    def entry(row: str, metric: str) -> Shown:
        return numbers.entry((row, metric), numbers.unit(metric), marks, own)

    notes = numbers.notes()
    rows_of: dict[str, dict[str, None]] = {}
    for cell in cells:
        rows_of.setdefault(cell.where, {})[published.row_name(name, cell.row)] = None
    if len(rows_of) > 1:
        notes += [f"{where}: {', '.join(own_rows)}" for where, own_rows in rows_of.items()]
    caption = _caption(table.title, cells, table)
    if table.transposed:
        body = [[head(metric), *(entry(row, metric) for row in rows)] for metric in metrics]
        names = [published.row_name(name, row) for row in rows]
        return HtmlTable(caption, [KEY, *names], body, notes=notes, look="numbers")
    body = []
    group_of = {own_rows[0]: title for title, own_rows in table.groups.items()}
    for row in rows:
        if row in group_of:  # a group that is named as its first row needs no heading
            body.append(Group("" if group_of[row] == row else group_of[row]))
        body.append([published.row_name(name, row), *(entry(row, metric) for metric in metrics)])
    return HtmlTable(caption, [KEY, *map(head, metrics)], body, notes=notes, look="numbers")


def _list(
    published: Published, name: str, evidence: Evidence, cells: Sequence[Cell], title: str
) -> HtmlTable:
    """A line for each number, with its place in the paper."""
    numbers = _Numbers(published, name, evidence, cells)
    for cell in cells:
        numbers.measured((cell.row, cell.metric))
    of_row: dict[str, list[Cell]] = {}
    for cell in cells:
        of_row.setdefault(cell.row, []).append(cell)
    body: list[Sequence[Shown] | Group] = []
    for row, own in of_row.items():
        if len(own) > 1:
            body.append(Group(published.row_name(name, row)))
        for cell in own:
            label = published.label(name, cell.metric).replace("_", " ")
            what = label if len(own) > 1 else f"{published.row_name(name, row)}: {label}"
            body.append([what, numbers.entry((row, cell.metric), "", {}, {}), cell.where])
    caption = _caption(title, cells, published.tables[name])
    return HtmlTable(caption, ["", KEY, "place"], body, notes=numbers.notes(), look="numbers")

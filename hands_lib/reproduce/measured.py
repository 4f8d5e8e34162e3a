"""What jobs measured in a cell of a table, and tables of measured numbers alone."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hands_lib.reproduce.evidence import Evidence, Kind, largest
from hands_lib.reproduce.html_tables import Cell, Entry, Group, HtmlTable, Line, Mark
from hands_lib.reproduce.jobs import SMOKE
from hands_lib.reproduce.published import Direction, Published
from hands_lib.reproduce.wording import count, spread

SMOKE_MARK, DIRTY_MARK, STALE_MARK = " (smoke)", " (dirty)", " (stale)"
NOTES = {
    SMOKE_MARK: "smoke: a short run that shows that the chapter works; not a result",
    DIRTY_MARK: "dirty: a run of sources that are in no commit; not a result",
}
MOST_COLUMNS = 8  # of metrics, side by side on a page
ARROWS: dict[Direction | None, str] = {"higher": "↑", "lower": "↓", None: ""}
HOW = "mean ± standard deviation over seeds"
MARKED = "Bold: best. Underlined: second best. By the mean: rows may lie within each other's spread."


@dataclass(frozen=True)
class Measured:
    """One cell by the lines that may be averaged: all of one profile, data set and protocol."""

    profile: str
    source: str  # data set and protocol
    commits: frozenset[str]
    seeds: int
    mean: float
    number: str
    unit: str
    mark: str  # of what is no result

    def text(self, with_unit: bool = True) -> str:
        return self.number + (f" {self.unit}" if self.unit and with_unit else "") + self.mark


def measured(evidence: Evidence, table: str, row: str, metric: str) -> list[Measured]:
    """What was measured in one cell, once for each data set and protocol. What another version of the chapter
    measured is shown only where the present one measured nothing, and what is unfinished only where there is
    no result."""
    found = []
    for kind in ("counted", "stale", "unfinished"):
        cells = evidence.cell(table, row, metric, kind)
        for group in largest(list(cells)) or (list(cells) if kind == "unfinished" else []):
            profile, dataset, version, protocol = group
            values = [line.rows[table][row][metric] for _, line in sorted(cells[group].items())]
            unit = evidence.unit(table, row, metric)
            mark = {"counted": "", "stale": STALE_MARK}.get(
                kind, SMOKE_MARK if profile == SMOKE else DIRTY_MARK
            )
            commits = frozenset(line.commit for line in cells[group].values())
            own = (len(values), float(np.mean(values)), spread(values), "" if unit == "1" else unit, mark)
            found.append(Measured(profile, f"{dataset} {version}; {protocol}", commits, *own))
        if kind == "counted" and found:
            break
    return found


def columns_of(
    evidence: Evidence, table: str, kinds: Sequence[Kind] = ("counted", "stale", "unfinished")
) -> dict[str, list[str]]:
    """Row -> metrics, in the order in which jobs recorded them."""
    found: dict[str, dict[str, None]] = {}
    for kind in kinds:
        for (_, row), lines in evidence.of_table(table, kind).items():
            for line in lines:
                found.setdefault(row, {}).update(dict.fromkeys(line.rows[table][row]))
    return {row: list(columns) for row, columns in found.items()}


def best_two(values: Mapping[str, float], better: Direction | None) -> dict[str, Mark]:
    """Which rows have the best number of a column, and of three rows or more the second best. Rows that are
    alike share a mark; where all are alike there is none."""
    levels = sorted(set(values.values()), reverse=better == "higher")
    if better is None or len(levels) < 2:
        return {}
    marks: dict[float, Mark] = {levels[0]: "best"}
    if len(values) > 2:
        marks[levels[1]] = "second"
    return {row: marks[value] for row, value in values.items() if value in marks}


def head_of(published: Published, table: str, metric: str, unit: str, printed: str = "") -> Entry:
    """A column's head: its name, unit and the better direction, and below a printed one what it means."""
    label = published.label(table, metric)
    arrow = ARROWS[published.better(table, metric)]
    lines = [Line(" ".join(filter(None, (printed or label, f"[{unit}]" if unit not in ("", "1") else ""))))]
    if arrow:
        better = published.better(table, metric)
        lines.append(Line(f"\N{NO-BREAK SPACE}{arrow}", heard=f" ({better} is better)"))
    if printed and label.casefold() != printed.casefold():
        lines.append(Line(label, "small"))
    return Entry(lines)


# --- notes -------------------------------------------------------------------------------------------------


def commits_text(commits: Iterable[str]) -> str:
    """`commit 5cc3b21`, `commits 0dd05a6, 5cc3b21`, or how many there are."""
    names = sorted({commit[:7] for commit in commits})
    if len(names) > 3:
        return f"{len(names)} commits"
    return f"{'commit' if len(names) == 1 else 'commits'} {', '.join(names)}"


def readable(source: str) -> str:
    """A data set and protocol as jobs recorded them, without the underscores of names."""
    return re.sub(r"(?<=\w)_(?=\w)", " ", source)


class Sources:
    """The data sets and protocols of a table's measured numbers, numbered as they come, for the notes."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[Measured]] = {}

    def add(self, cell: Measured) -> None:
        self._found.setdefault((cell.profile, cell.source), []).append(cell)

    @property
    def several(self) -> bool:
        return len(self._found) > 1

    def number(self, cell: Measured) -> str:
        """`[2]`; empty where all numbers have one source."""
        place = list(self._found).index((cell.profile, cell.source)) + 1
        return f" [{place}]" if self.several else ""

    def seeds(self, cell: Measured) -> int:
        """Of most numbers of the cell's source."""
        seeds = [one.seeds for one in self._found[cell.profile, cell.source]]
        return max(set(seeds), key=lambda n: (seeds.count(n), n))

    def fewer(self, cell: Measured) -> str:
        """`(n = 1)`, where a cell has another number of seeds than its source's others."""
        return "" if cell.seeds == self.seeds(cell) else f" (n = {cell.seeds})"

    def notes(self) -> list[str]:
        found = []
        for place, ((profile, source), cells) in enumerate(self._found.items(), 1):
            commits = sorted({commit for cell in cells for commit in cell.commits})
            own = (
                f"{profile} profile, n = {self.seeds(cells[0])}, {commits_text(commits)}: {readable(source)}"
            )
            found.append((f"[{place}] " if self.several else "Measured: ") + own)
        marks = {cell.mark for cells in self._found.values() for cell in cells}
        return found + [note for mark, note in NOTES.items() if mark in marks]


def notes_on_lines(evidence: Evidence, name: str) -> list[str]:
    """How many lines count for nothing."""
    stale, other = (
        len({id(line) for lines in evidence.of_table(name, kind).values() for line in lines})
        for kind in ("stale", "other")
    )
    notes = [f"stale: {count(stale, 'job')} by another version of the chapter; not counted"] if stale else []
    return notes + (
        [f"not counted, as of other settings than the rest: {count(other, 'job')}"] if other else []
    )


# --- tables ------------------------------------------------------------------------------------------------

_Key = tuple[str, str, str]  # row, profile, source


def measured_tables(
    published: Published,
    table: str,
    evidence: Evidence,
    caption: str,
    without: Container[tuple[str, str]] = (),
    order: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> list[HtmlTable]:
    """Measured numbers, rows by metrics, `without` those that stand in another table: a line for every row
    and its source. Metrics stand below each other where the rows are few, in several tables where they are
    too many for a page, and each number has a line of its own where most of a table would be empty."""
    columns = columns_of(evidence, table)
    metrics = list(dict.fromkeys(metric for own in columns.values() for metric in own))
    lines: dict[_Key, dict[str, Measured]] = {}
    for row in [*(name for name in order if name in columns), *sorted(columns.keys() - set(order))]:
        own = [
            (metric, m) for metric in metrics if metric in columns[row] and (row, metric) not in without
            for m in measured(evidence, table, row, metric)
        ]  # fmt: skip
        has_result = any(not m.mark for _, m in own)
        for metric, m in own:
            if not (has_result and m.mark in NOTES):  # what is no result adds no line to a measured row
                lines.setdefault((row, m.profile, m.source), {})[metric] = m
    if not lines:
        return [HtmlTable(caption, ["", "measured"], [], "not run", notes)]
    found = [metric for metric in metrics if any(metric in own for own in lines.values())]
    return _Grid(published, table, lines, found).tables(caption, notes)


class _Grid:
    """Lines of measured numbers as tables."""

    def __init__(
        self, published: Published, table: str, lines: Mapping[_Key, Mapping[str, Measured]],
        metrics: Sequence[str],
    ) -> None:  # fmt: skip
        self.published, self.table, self.lines, self.metrics = published, table, lines, metrics
        self.sources = Sources()
        for own in lines.values():
            for m in own.values():
                self.sources.add(m)
        self.units = {
            metric: {own[metric].unit for own in lines.values() if metric in own} for metric in metrics
        }
        self.marks = _marks(published, table, lines, metrics)

    def tables(self, caption: str, notes: Sequence[str]) -> list[HtmlTable]:
        below = [*self.sources.notes(), *([MARKED] if self.marks else []), *notes]
        numbers = sum(len(own) for own in self.lines.values())
        if 2 * numbers < len(self.lines) * len(self.metrics):
            return [HtmlTable(caption, ["", "measured"], self.one_by_one(), notes=below, look="numbers")]
        if len(self.metrics) > MOST_COLUMNS > len(self.lines) or len(self.metrics) > 2 * len(self.lines):
            rows = [[self.head(m), *(self.cell(line, m) for line in self.lines)] for m in self.metrics]
            head = ["", *map(self.name, self.lines)]
            return [HtmlTable(caption, head, rows, notes=below, look="numbers")]
        parts = range(0, len(self.metrics), MOST_COLUMNS)
        found = []
        for start in parts:
            metrics = self.metrics[start : start + MOST_COLUMNS]
            lines = [line for line, own in self.lines.items() if own.keys() & set(metrics)]
            rows = [[self.name(line), *(self.cell(line, m) for m in metrics)] for line in lines]
            of = f", {start // MOST_COLUMNS + 1} of {len(parts)}" if len(parts) > 1 else ""
            last = below if start == parts[-1] else []
            found.append(
                HtmlTable(caption + of, ["", *map(self.head, metrics)], rows, notes=last, look="numbers")
            )
        return found

    def one_by_one(self) -> list[Sequence[Cell] | Group]:
        rows: list[Sequence[Cell] | Group] = []
        for line, own in self.lines.items():
            if len(own) > 1:
                rows.append(Group(self.name(line)))
            for metric in own:
                label = self.published.label(self.table, metric)
                first = label if len(own) > 1 else f"{self.name(line)}: {label}"
                rows.append([first, self.cell(line, metric, with_unit=True)])
        return rows

    def cell(self, line: _Key, metric: str, with_unit: bool = False) -> Cell:
        m = self.lines[line].get(metric)
        if m is None:
            return "–"
        text = m.text(with_unit or len(self.units[metric]) > 1) + self.sources.fewer(m)
        return Entry([Line(text, mark=self.marks.get((line, metric), ""))])

    def head(self, metric: str) -> Entry:
        (unit, *others) = self.units[metric]
        return head_of(self.published, self.table, metric, "" if others else unit)

    def name(self, line: _Key) -> str:
        (m, *_) = self.lines[line].values()
        return self.published.row_name(self.table, line[0]) + self.sources.number(m)


def _marks(
    published: Published, table: str, lines: Mapping[_Key, Mapping[str, Measured]], metrics: Sequence[str]
) -> dict[tuple[_Key, str], Mark]:
    """Best and second best of every column, among the results of one source."""
    marks: dict[tuple[_Key, str], Mark] = {}
    for metric in metrics:
        for source in {line[1:] for line in lines}:
            own = {
                line[0]: found[metric].mean
                for line, found in lines.items()
                if line[1:] == source and metric in found and not found[metric].mark
            }
            for row, mark in best_two(own, published.better(table, metric)).items():
                marks[(row, *source), metric] = mark
    return marks

"""Published beside measured: the tables and verdicts that chapters and the back matter show.

Which lines of jobs count stands in `evidence.py`, how claims are judged in `verdicts.py`.
"""

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from hands_lib.reproduce.chapters import list_chapters
from hands_lib.reproduce.evidence import Evidence, Kind, largest, read_evidence
from hands_lib.reproduce.html_tables import HtmlTable, Page, Section
from hands_lib.reproduce.jobs import SMOKE, JobLine
from hands_lib.reproduce.printed_checks import holds_as_printed
from hands_lib.reproduce.project import find_root, nearest
from hands_lib.reproduce.published import (
    Cell,
    Claim,
    OwnClaim,
    Published,
    read_all_published,
    read_published,
)
from hands_lib.reproduce.store import read_lines
from hands_lib.reproduce.verdicts import Verdict, claims_text, count_answers, judge, said, spread
from hands_lib.reproduce.versions import version_of

HEAD = ("row", "metric", "published", "measured", "runs")
HOW = "(mean ± standard deviation over n seeds)"
SMOKE_MARK, DIRTY_MARK, STALE_MARK = " (smoke)", " (dirty)", " (stale)"
NOTES = {
    SMOKE_MARK: "smoke: a short run that shows that the chapter works; not a result",
    DIRTY_MARK: "dirty: a run of sources that are in no commit; not a result",
}
MOST_COLUMNS = 8  # of metrics, side by side on a page


@dataclass(frozen=True)
class _Measured:
    """One cell by the lines that may be averaged: all of one profile, data set and protocol."""

    profile: str
    source: str  # data set and protocol
    seeds: int
    number: str
    unit: str
    mark: str  # of what is no result

    def text(self, with_unit: bool = True) -> str:
        return self.number + (f" {self.unit}" if self.unit and with_unit else "") + self.mark


def measured(evidence: Evidence, table: str, row: str, metric: str) -> list[_Measured]:
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
            own = (len(values), spread(values), "" if unit == "1" else unit, mark)
            found.append(_Measured(profile, f"{dataset} {version}; {protocol}", *own))
        if kind == "counted" and found:
            break
    return found


def _runs(profile: str, seeds: int, source: str, sources: list[str]) -> str:
    """`cpu, n = 3 [1]`: the number is that of the source, which is added to `sources` where it is new."""
    if source not in sources:
        sources.append(source)
    return f"{profile}, n = {seeds} [{sources.index(source) + 1}]"


def _notes_on_runs(sources: Sequence[str], cells: Sequence[_Measured]) -> list[str]:
    marks = {cell.mark for cell in cells}
    numbered = [f"[{i}] {source}" for i, source in enumerate(sources, 1)]
    return numbered + [note for mark, note in NOTES.items() if mark in marks]


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


def _measured_table(
    caption: str,
    table: str,
    evidence: Evidence,
    without: Container[tuple[str, str]],
    order: Sequence[str],
    notes: Sequence[str],
) -> HtmlTable:
    """Measured numbers, rows by metrics, `without` those that stand in another table: a line for every row
    and its runs. Metrics stand below each other where they are too many or the rows too few, and each number
    has a line of its own where most of such a table would be empty."""
    columns = columns_of(evidence, table)
    metrics = list(dict.fromkeys(metric for own in columns.values() for metric in own))
    lines: dict[tuple[str, str, str], dict[str, _Measured]] = {}  # row, profile and source -> metric -> cell
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
        return HtmlTable(caption, [word for word in HEAD if word != "published"], [], "not run", notes)

    cells = [m for own in lines.values() for m in own.values()]
    units: dict[str, set[str]] = {}
    for own in lines.values():
        for metric, m in own.items():
            units.setdefault(metric, set()).add(m.unit)
    metrics = [metric for metric in metrics if metric in units]
    seeds = {line: max(m.seeds for m in own.values()) for line, own in lines.items()}
    sources: list[str] = []
    runs = {line: _runs(line[1], seeds[line], line[2], sources) for line in lines}
    below = _notes_on_runs(sources, cells)
    alike = len(set(runs.values())) == 1
    if alike:  # said once, below
        (_, profile, source), n = next(iter(seeds.items()))
        below[0] = f"{profile}, n = {n}: {source}"
    below += notes
    last = [] if alike else ["runs"]

    def text(line: tuple[str, str, str], metric: str, with_unit: bool) -> str:
        m = lines[line].get(metric)
        if m is None:
            return "-"
        return m.text(with_unit) + (f" (n = {m.seeds})" if m.seeds < seeds[line] else "")

    if 2 * len(cells) < len(lines) * len(metrics):
        body = [
            [line[0], metric, text(line, metric, with_unit=True), *([] if alike else [runs[line]])]
            for line, own in lines.items()
            for metric in own
        ]
        return HtmlTable(caption, ["row", "metric", "measured", *last], body, notes=below)
    heads = [
        metric + "".join(f" [{unit}]" for unit in units[metric] if unit and len(units[metric]) == 1)
        for metric in metrics
    ]
    heads += last
    grid = [
        [*(text(line, m, with_unit=len(units[m]) > 1) for m in metrics), *([] if alike else [runs[line]])]
        for line in lines
    ]
    rows = [row for row, *_ in lines]
    if len(metrics) > MOST_COLUMNS > len(lines) or len(metrics) > 2 * len(lines):
        turned = [[head, *column] for head, *column in zip(heads, *grid, strict=True)]
        return HtmlTable(caption, ["metric", *rows], turned, notes=below)
    body = [[row, *cells] for row, cells in zip(rows, grid, strict=True)]
    return HtmlTable(caption, ["row", *heads], body, notes=below)


def _cell_text(cell: Cell) -> str:
    unit = "" if cell.unit == "1" else f" {cell.unit}"
    return f"{cell.text}{unit} ({cell.where}){'' if cell.verified else '*'}"


def _notes_on_lines(evidence: Evidence, name: str) -> list[str]:
    """How many lines count for nothing."""
    stale, other = (
        len({id(line) for lines in evidence.of_table(name, kind).values() for line in lines})
        for kind in ("stale", "other")
    )
    notes = (
        [f"stale: {stale} jobs by another version of their chapter; they count for nothing"] if stale else []
    )
    return notes + ([f"{other} jobs with other settings than the others are not counted"] if other else [])


def compare_table(published: Published, name: str, evidence: Evidence) -> list[HtmlTable | Section]:
    """One published table with the measured numbers beside it, then, folded away, what was measured beyond
    its numbers. Of a table that the paper does not print, the measured numbers alone."""
    table = published.tables.get(name)
    of_all = _notes_on_lines(evidence, name)
    if table is None or not table.cells:
        title, own_notes, order = own_title(published, name)
        beyond = "beyond the paper, " if published.source else ""
        caption = f"{title}: {beyond}measured {HOW}"
        return [_measured_table(caption, name, evidence, {}, order, [*of_all, *own_notes])]
    known = {(cell.row, cell.metric): _cell_text(cell) for cell in table.cells}
    sources: list[str] = []
    beside, cells = [], []
    for (row, metric), printed in known.items():
        found = measured(evidence, name, row, metric)
        cells += found
        beside += [
            (row, metric, printed, m.text(), _runs(m.profile, m.seeds, m.source, sources)) for m in found
        ] or [(row, metric, printed, "not run", "")]
    caption = f"{table.title}: published and measured {HOW}"
    notes = [*_notes_on_runs(sources, cells), *of_all, *_published_notes(published, name)]
    shown: list[HtmlTable | Section] = [HtmlTable(caption, HEAD, beside, notes=notes)]
    caption = f"{table.title}: measured beyond the printed numbers {HOW}"
    order = table.order or list(dict.fromkeys(cell.row for cell in table.cells))
    beyond_print = _measured_table(caption, name, evidence, known, order, [])
    if beyond_print.rows:
        shown.append(Section("Measured beyond the printed numbers", [beyond_print]))
    return shown


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


def _published_notes(published: Published, name: str) -> list[str]:
    table = published.tables[name]
    protocols = dict.fromkeys([table.protocol, *(cell.protocol for cell in table.cells)])
    notes = [f"published protocol: {protocol}" for protocol in protocols if protocol]
    notes += [table.note] if table.note else []
    if not all(cell.verified for cell in table.cells):
        notes.append("* second hand, or not yet compared with the printed paper")
    return notes


def published_table(published: Published, name: str) -> HtmlTable:
    """A published table for which nothing ran, as the paper prints it: rows by metrics."""
    table = published.tables[name]
    rows = list(dict.fromkeys(cell.row for cell in table.cells))
    units = {cell.metric: cell.unit for cell in reversed(table.cells)}
    metrics = [metric for metric in dict.fromkeys(cell.metric for cell in table.cells)]
    places = list(dict.fromkeys(cell.where for cell in table.cells))
    place = f" ({table.where or places[0]})" if table.where or len(places) == 1 else ""
    caption = f"{table.title}{place}: published, not run"
    notes = _published_notes(published, name)
    empty = "no number is known"
    if 2 * len(table.cells) < len(rows) * len(metrics):  # mostly gaps: one line for each number
        lines = [(cell.row, cell.metric, _cell_text(cell)) for cell in table.cells]
        return HtmlTable(caption, ("row", "metric", "published"), lines, empty, notes)

    def text(row: str, metric: str) -> str:
        cell = table.cell(row, metric)
        if cell is None:
            return "-"
        unit = "" if cell.unit == units[metric] else f" {cell.unit}"
        return cell.text + unit + ("" if cell.verified else "*")

    head = ["row", *(m if units[m] == "1" else f"{m} [{units[m]}]" for m in metrics)]
    return HtmlTable(caption, head, [[row, *(text(row, m) for m in metrics)] for row in rows], empty, notes)


def inconsistencies_table(published: Published) -> HtmlTable:
    """What a paper prints that does not agree with itself, its references or its code."""
    lines = [
        (entry.kind, entry.where, entry.printed, entry.follows + ("" if entry.verified else "*"))
        for entry in published.inconsistencies
    ]
    notes = ["* by released code or another page, not by the source text"]
    notes = notes if any(not entry.verified for entry in published.inconsistencies) else []
    head = ("kind", "place", "what is printed", "what follows from the rest")
    return HtmlTable("Printed inconsistencies", head, lines, "none found", notes)


def claims_tables(
    published: Published, evidence: Evidence, table: str | None = None
) -> tuple[list[HtmlTable], list[Verdict]]:
    """The claims of a paper, whether they hold on its own printed numbers, and their verdicts; and apart from
    them the targets that this book sets itself. A table without any is left out. With them all verdicts."""
    words = {True: "holds", False: "does not hold", None: "not printed"}

    def of(title: str, head: Sequence[str], claims: Sequence[Claim], own: bool) -> HtmlTable:
        asked = [claim for claim in claims if table in (None, claim.table)]
        answers = [
            ((said(c), *(() if own else (c.where, words[holds_as_printed(c, published)]))), verdict)
            for c in asked
            for verdict in judge(c, evidence)
        ]
        verdicts.extend(verdict for _, verdict in answers)
        # what verdicts are judged on is long and mostly the same for all of them
        judged_on = list(dict.fromkeys(v.judged_on for _, v in answers if v.judged_on))
        marks = {text: f"[{i}]" for i, text in enumerate(judged_on, 1)} | {"": ""}
        alike = len(judged_on) < 2
        rows = [
            (*stated, v.answer, "; ".join(text for text in (v.text, v.decided_by) if text))
            + (() if alike else (marks[v.judged_on],))
            for stated, v in answers
        ]
        notes = [f"{'' if alike else marks[text] + ' '}judged on: {text}" for text in judged_on]
        head = (*head, "verdict", "effect and 95 % interval", *(() if alike else ("judged on",)))
        return HtmlTable(title, head, rows, notes=notes)

    verdicts: list[Verdict] = []
    claims = of("Claims and verdicts", ("claim", "place", "in print"), published.claims, own=False)
    title = "Targets of this book, which are no claims of the paper, and verdicts"
    targets = of(title, ("target",), published.own_claims, own=True)
    return [found for found in (claims, targets) if found.rows], verdicts


def compare(slug: str, table: str | None = None, root: Path | None = None) -> Page:
    """Published numbers of a system beside the recorded ones, and the verdict on every claim.

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
    return Page([*shown, *claims_tables(published, evidence, table)[0]])


def _of_system(prefix: str, part: HtmlTable | Section) -> HtmlTable | Section:
    """With the system's name before every caption: several of them stand on one page."""
    if isinstance(part, HtmlTable):
        return replace(part, caption=prefix + part.caption)
    return replace(part, parts=[_of_system(prefix, inner) for inner in part.parts])


def _system_section(published: Published, root: Path | None) -> Section:
    """A system: what ran in sight, what did not folded away; a system with no run is folded as a whole."""
    evidence = read_evidence(published.slug, root)
    known = set(evidence.tables("counted", "stale", "unfinished"))
    ran = [name for name in published.tables if name in known]
    idle = [name for name in published.tables if name not in known]
    beyond = tables_beyond(published, evidence)
    parts = [part for name in [*ran, *beyond] for part in compare_table(published, name, evidence)]
    tables, verdicts = claims_tables(published, evidence)
    parts += tables
    if idle:
        unmeasured = [published_table(published, name) for name in idle]
        # with nothing else to see, one fold is enough
        fold = [Section(f"Tables without a run: {len(idle)}", unmeasured)]
        parts = [*parts, *fold] if ran else [*unmeasured, *parts]
    if published.inconsistencies:
        found = inconsistencies_table(published)
        parts.append(Section(f"Printed inconsistencies: {len(published.inconsistencies)}", [found]))
    parts = [_of_system(f"{published.slug}: ", part) for part in parts]

    def answers(own: bool) -> str:
        return count_answers([v.answer for v in verdicts if isinstance(v.claim, OwnClaim) is own])

    words = [f"{len(ran)} of {len(published.tables)} tables with runs"] if published.tables else []
    words += [f"claims: {answers(own=False)}"] if published.claims else []
    words += [f"beyond the paper: {len(beyond)} tables"] if beyond and published.source else []
    words += [f"{len(beyond)} tables of this book"] if beyond and not published.source else []
    words += [f"targets of this book: {answers(own=True)}"] if published.own_claims else []
    return Section(f"{published.slug}: {'; '.join(words)}", parts, unfolded=bool(known))


def results_page(root: Path | None = None) -> Page:
    """Every table and every claim of every system: the page `book/results.md`."""
    # what is no paper's comes last
    systems = sorted(read_all_published(root), key=lambda published: not published.source)
    return Page([_system_section(published, root) for published in systems])


def status_page(root: Path | None = None) -> Page:
    """What ran where, when and for how long: the page `book/status.md`."""
    root = root or find_root()
    lines = []
    for chapter in list_chapters(root):
        if chapter.back_matter:
            continue
        path = (root / "_build" / "executed" / chapter.path.relative_to(root)).with_suffix(".ipynb")
        if not path.is_file():
            lines.append((chapter.title, "not run in this build", ""))
            continue
        found = json.loads(path.read_text(encoding="utf-8"))["metadata"]
        when = found["papermill"]["start_time"][:16].replace("T", " ")
        lines.append((chapter.title, when, f"{found['hands_seconds']:.0f} s"))
    build = HtmlTable("Chapters executed for this build", ("chapter", "started (UTC)", "took"), lines)
    return Page([build, runs_table(read_lines(root=root), root)])


def runs_table(lines: Sequence[JobLine], root: Path) -> HtmlTable:
    """One line for all seeds of a job that ran on one machine by one commit."""
    of_chapter: dict[tuple[str, str], int] = {}
    alike: dict[tuple[str, ...], list[JobLine]] = {}
    for line in lines:
        chapter = (line.slug, line.chapter)
        if chapter not in of_chapter:
            of_chapter[chapter] = version_of(*chapter, root)
        mark = STALE_MARK if line.is_result and line.version != of_chapter[chapter] else ""
        mark = " (dirty, not a result)" if line.dirty else " (not a result)" if not line.is_result else mark
        versions = [
            f"{name} {line.libraries[name]}" for name in ("python", "torch") if name in line.libraries
        ]
        own = (*chapter, line.job, f"{line.dataset} {line.dataset_version}", line.profile + mark)
        alike.setdefault((*own, line.device, ", ".join(versions), line.commit[:7]), []).append(line)
    rows = []
    for (*names, device, versions, commit), found in alike.items():
        seeds = sorted({line.seed for line in found})
        text = (
            ", ".join(map(str, seeds)) if len(seeds) < 6 else f"{len(seeds)} from {seeds[0]} to {seeds[-1]}"
        )
        took = f"{median(line.seconds for line in found):.1f} s"
        made = f"{max(line.created for line in found):%Y-%m-%d %H:%M}"
        rows.append((*names, text, made, took, device, versions, commit))
    head = ("system", "chapter", "job", "data set", "profile", "seeds", "made (UTC)", "took")
    head += ("on", "versions", "commit")
    notes = ["took: median of the seeds; made: the last of them"] if rows else []
    return HtmlTable("Recorded jobs", head, rows, empty="no job recorded yet", notes=notes)


def claims_page(slug: str | None, root: Path) -> str:
    """What `hands claims` prints.

    Raises:
        ProjectError: nothing is published for the slug, or the store cannot be read.
    """
    found = read_all_published(root) if slug is None else [read_published(slug, root)]
    return claims_text(found, {p.slug: read_evidence(p.slug, root) for p in found})

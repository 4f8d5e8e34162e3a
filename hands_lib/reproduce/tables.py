"""Published beside measured: the tables and verdicts that chapters and the back matter show.

Which records count, and how claims are judged, stands in `verdicts.py`.
"""

import html
import json
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from hands_lib.reproduce.project import ProjectError, find_root, nearest
from hands_lib.reproduce.published import (
    Cell,
    Claim,
    Published,
    holds_as_printed,
    read_all_published,
    read_published,
)
from hands_lib.reproduce.records import RunRecord, read_records
from hands_lib.reproduce.verdicts import (
    Evidence,
    claims_text,
    count_answers,
    groups,
    judge,
    largest,
    sort_out,
    spread,
    values_of,
)

# --- display -------------------------------------------------------------------------------------------


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
        rows = [list(self.head), *map(list, self.rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.head))]
        lines = ["  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(
            [self.caption, lines[0], "-" * sum(widths), *(lines[1:] or [self.empty]), *self.notes]
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
        return "\n\n".join([f"== {self.title} ==", *map(repr, self.parts)])


@dataclass(frozen=True)
class Page:
    """Several tables or sections shown one below the other."""

    tables: Sequence[HtmlTable | Section]

    def _repr_html_(self) -> str:
        return "\n".join(table._repr_html_() for table in self.tables)

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.tables))


# --- tables --------------------------------------------------------------------------------------------

HEAD = ("row", "metric", "published", "measured", "runs")
SMOKE, STALE = " (smoke)", " (stale)"
MOST_COLUMNS = 8  # of metrics, side by side on a page


@dataclass(frozen=True)
class _Measured:
    """One cell by the runs that may be averaged: all of one profile, data set and protocol."""

    profile: str
    source: str  # data set and protocol
    seeds: int
    number: str
    unit: str
    mark: str  # of a smoke or stale run

    def text(self, with_unit: bool = True) -> str:
        return self.number + (f" {self.unit}" if self.unit and with_unit else "") + self.mark


def _measured(
    row: str, metric: str, records: Sequence[RunRecord], stale: Sequence[RunRecord]
) -> list[_Measured]:
    """What was measured in one cell, once for each data set and protocol. What an earlier version of the
    method measured is shown only where the present one measured nothing, and a smoke run only where there is
    no result."""
    own = [r for r in records if r.variant == row and metric in r.metrics]
    best = largest(own)
    smoke = [] if best else [r for r in own if r.profile == "smoke"]
    old = [] if best else largest([r for r in stale if r.variant == row and metric in r.metrics])
    measured = []
    for mark, found in (("", best), (STALE, old), (SMOKE, smoke)):
        for (profile, dataset, version, protocol), group in groups(found).items():
            source = f"{dataset} {version}; {protocol}"
            units = {r.metrics[metric].unit for r in group}
            unit = "" if units == {"1"} else " / ".join(sorted(units))
            values = list(values_of(group, row, metric).values())
            measured.append(_Measured(profile, source, len(values), spread(values), unit, mark))
    return measured


def _runs(profile: str, seeds: int, source: str, sources: list[str]) -> str:
    """`cpu, n = 3 [1]`: the number is that of the source, which is added to `sources` where it is new."""
    if source not in sources:
        sources.append(source)
    return f"{profile}, n = {seeds} [{sources.index(source) + 1}]"


def _notes_on_runs(sources: Sequence[str], measured: Sequence[_Measured]) -> list[str]:
    notes = [f"[{i}] {source}" for i, source in enumerate(sources, 1)]
    if any(m.mark == SMOKE for m in measured):
        notes.append("smoke: a short run that shows that the chapter works; not a result")
    return notes


def _measured_table(
    caption: str,
    records: Sequence[RunRecord],
    stale: Sequence[RunRecord],
    without: Container[tuple[str, str]],
    order: Sequence[str],
    notes: Sequence[str],
) -> HtmlTable:
    """Measured numbers, rows by metrics, `without` those that stand in another table: a line for every row
    and its runs. Metrics stand below each other where they are too many or the rows too few, and each number
    has a line of its own where most of such a table would be empty."""
    both = [*records, *stale]
    names = {r.variant for r in both}
    metrics = list(dict.fromkeys(metric for r in both for metric in r.metrics))
    lines: dict[tuple[str, str, str], dict[str, _Measured]] = {}  # row, profile and source -> metric -> cell
    for row in [*(name for name in order if name in names), *sorted(names - set(order))]:
        own = [
            (metric, m) for metric in metrics if (row, metric) not in without
            for m in _measured(row, metric, records, stale)
        ]  # fmt: skip
        has_result = any(not m.mark for _, m in own)
        for metric, m in own:
            if not (has_result and m.mark == SMOKE):  # a smoke run adds no line to a measured row
                lines.setdefault((row, m.profile, m.source), {})[metric] = m
    if not lines:
        return HtmlTable(caption, [word for word in HEAD if word != "published"], [], "not run", notes)

    measured = [m for cells in lines.values() for m in cells.values()]
    units: dict[str, set[str]] = {}
    for cells in lines.values():
        for metric, m in cells.items():
            units.setdefault(metric, set()).add(m.unit)
    metrics = [metric for metric in metrics if metric in units]
    seeds = {line: max(m.seeds for m in cells.values()) for line, cells in lines.items()}
    sources: list[str] = []
    runs = {line: _runs(line[1], seeds[line], line[2], sources) for line in lines}
    below = _notes_on_runs(sources, measured)
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

    if 2 * len(measured) < len(lines) * len(metrics):
        body = [
            [line[0], metric, text(line, metric, with_unit=True), *([] if alike else [runs[line]])]
            for line, cells in lines.items()
            for metric in cells
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


def compare_table(published: Published, name: str, evidence: Evidence) -> list[HtmlTable | Section]:
    """One published table with the measured numbers beside it, then, folded away, what was measured beyond
    its numbers. Of a table that the paper does not print, the measured numbers alone."""
    table = published.tables.get(name)
    cells = table.cells if table else []
    own, stale, other = (
        [r for r in records if r.table == name]
        for records in (evidence.counted, evidence.stale, evidence.other_settings)
    )
    for cell in cells:
        for record in own:
            measured = record.metrics.get(cell.metric)
            if record.variant == cell.row and measured and measured.unit != cell.unit:
                raise ProjectError(
                    f"{published.slug}/{record.file_name}: {cell.metric} is in {measured.unit}, "
                    f"the published number in {cell.unit}: record it in {cell.unit}"
                )
    how = "(mean ± standard deviation over n seeds)"
    known = {(cell.row, cell.metric): _cell_text(cell) for cell in cells}
    of_all = []
    if stale:
        of_all.append(f"stale: {len(stale)} runs by an earlier version of the method; they count for nothing")
    if other:
        of_all.append(f"{len(other)} runs with other settings than most are not counted")
    if not cells:
        title, own_notes, order = own_title(published, name)
        caption = f"{title}: beyond the paper, measured {how}"
        return [_measured_table(caption, own, stale, known, order, [*of_all, *own_notes])]
    sources: list[str] = []
    beside, measured = [], []
    for (row, metric), printed in known.items():
        found = _measured(row, metric, own, stale)
        measured += found
        beside += [
            (row, metric, printed, m.text(), _runs(m.profile, m.seeds, m.source, sources)) for m in found
        ] or [(row, metric, printed, "not run", "")]
    notes = _notes_on_runs(sources, measured)
    caption = f"{table.title}: published and measured {how}"
    notes += [*of_all, *_published_notes(published, name)]
    shown: list[HtmlTable | Section] = [HtmlTable(caption, HEAD, beside, notes=notes)]
    caption = f"{table.title}: measured beyond the printed numbers {how}"
    order = table.order or list(dict.fromkeys(cell.row for cell in cells))
    beyond = _measured_table(caption, own, stale, known, order, [])
    if beyond.rows:
        shown.append(Section("Measured beyond the printed numbers", [beyond]))
    return shown


def own_title(published: Published, name: str) -> tuple[str, list[str], list[str]]:
    """Title, notes and order of the rows of a table of which the paper prints no number; its name where
    nobody gave it a title."""
    own = published.own_tables.get(name) or published.tables.get(name)
    return (own.title, [own.note] if own.note else [], own.order) if own else (name, [], [])


def tables_beyond(published: Published, records: Sequence[RunRecord]) -> list[str]:
    """The tables of `own_tables`, then those that are in no file but in the records."""
    recorded = sorted({record.table for record in records} - published.tables.keys())
    return list(dict.fromkeys([*published.own_tables, *recorded]))


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


def claims_tables(published: Published, evidence: Evidence, table: str | None = None) -> list[HtmlTable]:
    """The claims of a paper, whether they hold on its own printed numbers, and their verdicts; and apart from
    them the targets that this book sets itself. A table without any is left out."""
    words = {True: "holds", False: "does not hold", None: "not printed"}

    def of(title: str, head: Sequence[str], claims: Sequence[Claim], own: bool) -> HtmlTable:
        answers = [
            ((c.text, *(() if own else (c.where, words[holds_as_printed(c, published)]))), v)
            for c in claims
            for v in judge(c, evidence.counted, evidence.stale)
            if table in (None, c.table)
        ]
        # what verdicts are judged on is long and mostly the same for all of them
        judged_on = list(dict.fromkeys(v.judged_on for _, v in answers if v.judged_on))
        marks = {text: f"[{i}]" for i, text in enumerate(judged_on, 1)} | {"": ""}
        alike = len(judged_on) < 2
        rows = [(*said, v.answer, v.effect, *(() if alike else (marks[v.judged_on],))) for said, v in answers]
        notes = [f"{'' if alike else marks[text] + ' '}judged on: {text}" for text in judged_on]
        head = (*head, "verdict", "effect and 95 % interval", *(() if alike else ("judged on",)))
        return HtmlTable(title, head, rows, notes=notes)

    claims = of("Claims and verdicts", ("claim", "place", "in print"), published.claims, own=False)
    title = "Targets of this book, which are no claims of the paper, and verdicts"
    targets = of(title, ("target",), published.own_claims, own=True)
    return [found for found in (claims, targets) if found.rows]


def compare(slug: str, table: str | None = None, root: Path | None = None) -> Page:
    """Published numbers of a system beside the recorded ones, and the verdict on every claim.

    In a chapter: `compare("intersections", table="fit error")` as the last line of a cell. A table that the
    paper does not print is one of the file's `own_tables`, or one that is recorded.

    Raises:
        ProjectError: no published file for the slug, or no such table in it; suggests the nearest name.
    """
    published = read_published(slug, root)
    records = read_records(slug, root)
    known = [*published.tables, *tables_beyond(published, records)]
    if table is not None and table not in known:
        raise nearest(table, known, f"table of {slug}:")
    evidence = sort_out(records, root)
    names = [table] if table else known
    shown = [part for name in names for part in compare_table(published, name, evidence)]
    return Page([*shown, *claims_tables(published, evidence, table)])


def _of_system(prefix: str, part: HtmlTable | Section) -> HtmlTable | Section:
    """With the system's name before every caption: several of them stand on one page."""
    if isinstance(part, HtmlTable):
        return replace(part, caption=prefix + part.caption)
    return replace(part, parts=[_of_system(prefix, inner) for inner in part.parts])


def _system_section(published: Published, root: Path | None) -> Section:
    """A system: what ran in sight, what did not folded away; a system with no run is folded as a whole."""
    records = read_records(published.slug, root)
    evidence = sort_out(records, root)
    measured = {record.table for record in (*evidence.counted, *evidence.stale)}
    ran = [name for name in published.tables if name in measured]
    idle = [name for name in published.tables if name not in measured]
    prefix = f"{published.slug}: "
    beyond = tables_beyond(published, records)
    parts = [part for name in [*ran, *beyond] for part in compare_table(published, name, evidence)]

    def answers(claims: Sequence[Claim]) -> str:
        return count_answers([v.answer for c in claims for v in judge(c, evidence.counted, evidence.stale)])

    parts += claims_tables(published, evidence)
    if idle:
        tables = [published_table(published, name) for name in idle]
        # with nothing else to see, one fold is enough
        parts = [*parts, Section(f"Tables without a run: {len(idle)}", tables)] if ran else [*tables, *parts]
    if published.inconsistencies:
        found = inconsistencies_table(published)
        parts.append(Section(f"Printed inconsistencies: {len(published.inconsistencies)}", [found]))
    parts = [_of_system(prefix, part) for part in parts]
    title = f"{published.slug}: {len(ran)} of {len(published.tables)} tables with runs"
    title += f"; claims: {answers(published.claims)}" if published.claims else ""
    title += f"; beyond the paper: {len(beyond)} tables" if beyond else ""
    title += f"; targets of this book: {answers(published.own_claims)}" if published.own_claims else ""
    return Section(title, parts, unfolded=bool(measured))


def results_page(root: Path | None = None) -> Page:
    """Every table and every claim of every system: the page `book/results.md`."""
    return Page([_system_section(published, root) for published in read_all_published(root)])


def status_page(root: Path | None = None) -> Page:
    """What ran where, when and for how long: the page `book/status.md`."""
    from hands_lib.reproduce.chapters import list_chapters

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
    return Page([build, runs_table(read_records(root=root), root)])


def runs_table(records: Sequence[RunRecord], root: Path) -> HtmlTable:
    """One line for all seeds of a row that ran on one machine by one commit."""
    stale = set(map(id, sort_out(records, root).stale))
    lines: dict[tuple[str, ...], list[RunRecord]] = {}
    for r in records:
        profile = "smoke (not a result)" if r.profile == "smoke" else r.profile
        commit = r.git_commit[:7] + ("+changes" if r.git_commit.endswith("+changes") else "")
        versions = ", ".join(
            f"{name} {r.libraries[name]}" for name in ("python", "torch") if name in r.libraries
        )
        key = (r.slug, r.table, r.variant, f"{r.dataset} {r.dataset_version}")
        key += (profile + (" (stale)" if id(r) in stale else ""), r.device, versions, commit)
        lines.setdefault(key, []).append(r)
    rows = []
    for (*names, device, versions, commit), found in lines.items():
        seeds = sorted({r.seed for r in found})
        text = (
            ", ".join(map(str, seeds)) if len(seeds) < 6 else f"{len(seeds)} from {seeds[0]} to {seeds[-1]}"
        )
        took = f"{median(r.wall_time for r in found):.1f} s"
        made = f"{max(r.created for r in found):%Y-%m-%d %H:%M}"
        rows.append((*names, text, made, took, device, versions, commit))
    head = ("system", "table", "row", "data set", "profile", "seeds", "made (UTC)", "took")
    head += ("on", "versions", "commit")
    notes = ["took: median of the seeds; made: the last of them"] if rows else []
    return HtmlTable("Run records", head, rows, empty="no run recorded yet", notes=notes)


def claims_page(slug: str | None, root: Path) -> str:
    """What `hands claims` prints.

    Raises:
        ProjectError: nothing is published for the slug, or a record is damaged.
    """
    found = read_all_published(root) if slug is None else [read_published(slug, root)]
    return claims_text(found, {p.slug: sort_out(read_records(p.slug, root), root) for p in found})

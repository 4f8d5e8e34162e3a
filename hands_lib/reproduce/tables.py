"""Published beside measured: the tables and verdicts that chapters and the back matter show.

Verdicts are judged on records of the largest profile that ran, never on smoke runs, and separately for every
data set and protocol:

- reproduced: the claim holds, and so does it over the whole 95 % interval;
- not reproduced: it fails over the whole interval;
- inconclusive: the interval contains both, or there are too few seeds;
- not run: no record.
"""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from hands_lib.reproduce.project import ProjectError, find_root, nearest
from hands_lib.reproduce.published import (
    Cell,
    Claim,
    Comparison,
    Published,
    Ratio,
    Threshold,
    holds_as_printed,
    read_all_published,
    read_published,
    rows_of,
)
from hands_lib.reproduce.records import PROFILES, RunRecord, read_records

MIN_SEEDS = 3
Answer = Literal["reproduced", "not reproduced", "inconclusive", "not run"]


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
            return "".join(f"<{opening}>{html.escape(text)}</{opening[:2]}>" for text in texts)

        head = cells(self.head, 'th scope="col"')
        lines = [cells(row[:1], 'th scope="row"') + cells(row[1:], "td") for row in self.rows]
        lines = lines or [f'<td colspan="{len(self.head)}">{html.escape(self.empty)}</td>']
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        # tabindex: a wide table scrolls, and must do so from the keyboard too
        label = html.escape(self.caption, quote=True)
        return (
            f'<div class="hands-table" role="region" tabindex="0" aria-label="{label}"><table>'
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


# --- numbers -------------------------------------------------------------------------------------------


def interval(values: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean (percentiles; seeded draws, so that the answer repeats)."""
    sample = np.asarray(values, dtype=float)
    rng = np.random.default_rng(0)
    means = sample[rng.integers(0, len(sample), (draws, len(sample)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.3g}"


def _spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds; a single run has no spread."""
    mean = _number(float(np.mean(values)))
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.2g}"


def _largest(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records of the largest profile, smoke runs left out."""
    ran = [r for r in records if r.profile != "smoke"]
    best = max((PROFILES.index(r.profile) for r in ran), default=0)
    return [r for r in ran if PROFILES.index(r.profile) == best]


def _groups(records: Sequence[RunRecord]) -> dict[tuple[str, str, str, str], list[RunRecord]]:
    groups: dict[tuple[str, str, str, str], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(record.group, []).append(record)
    return groups


# --- verdicts ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim on one data set, with the effect and its 95 % interval."""

    claim: Claim
    answer: Answer
    effect: str = ""
    judged_on: str = ""
    numbers: dict[str, list[float]] = field(default_factory=dict)


def _values(records: Sequence[RunRecord], row: str, metric: str) -> dict[int, float]:
    """Seed -> value of one cell; of several runs of a seed the newest counts."""
    own = sorted((r for r in records if r.variant == row and metric in r.metrics), key=lambda r: r.created)
    return {r.seed: r.metrics[metric].value for r in own}


def _holds(low: float, high: float, test: Threshold) -> bool | None:
    """Whether a whole interval passes (True), a whole interval fails (False), or it straddles the bound."""
    if test.equals is not None:
        return low == high == test.equals
    if test.below is not None:
        return True if high < test.below else False if low >= test.below else None
    assert test.above is not None
    return True if low > test.above else False if high <= test.above else None


def _answer(holds: bool | None) -> Answer:
    return "inconclusive" if holds is None else "reproduced" if holds else "not reproduced"


def _judge_threshold(claim: Claim, test: Threshold, records: Sequence[RunRecord]) -> tuple[Answer, str]:
    values = {row: list(_values(records, row, test.metric).values()) for row in test.rows}
    if not all(values.values()):
        return "not run", ""
    intervals = {row: interval(sample) for row, sample in values.items()}
    unit = next(r.metrics[test.metric].unit for r in records if test.metric in r.metrics)
    unit = "" if unit == "1" else f" {unit}"
    effect = "; ".join(
        f"{row}: {_spread(sample)}{unit}"
        + (f" [{_number(intervals[row][0])}, {_number(intervals[row][1])}]" if len(sample) > 1 else "")
        for row, sample in values.items()
    )
    if not claim.deterministic and min(map(len, values.values())) < MIN_SEEDS:
        return "inconclusive", f"{effect} (fewer than {MIN_SEEDS} seeds)"
    each = [_holds(low, high, test) for low, high in intervals.values()]
    return _answer(False if False in each else None if None in each else True), effect


def _judge_comparison(claim: Claim, test: Comparison, records: Sequence[RunRecord]) -> tuple[Answer, str]:
    ours, theirs = (_values(records, row, test.metric) for row in (test.better, test.than))
    seeds = sorted(ours.keys() & theirs.keys())  # paired: the same seed, the same data
    if not seeds:
        return "not run", ""
    sign = 1 if test.direction == "higher" else -1
    gains = [sign * (ours[seed] - theirs[seed]) for seed in seeds]
    least = -test.margin  # how much worse still counts as no worse
    unit = next(r.metrics[test.metric].unit for r in records if test.metric in r.metrics)
    low, high = interval(gains)
    unit = "" if unit == "1" else f" {unit}"
    effect = f"{_spread(gains)}{unit} {test.direction} [{_number(low)}, {_number(high)}]"
    if not claim.deterministic and len(seeds) < MIN_SEEDS:
        return "inconclusive", f"{effect} (fewer than {MIN_SEEDS} paired seeds)"
    holds = low > 0 if test.margin == 0 else low >= least
    return _answer(True if holds else False if high < least else None), effect


def _judge_ratio(claim: Claim, test: Ratio, records: Sequence[RunRecord]) -> tuple[Answer, str]:
    ours, theirs = (_values(records, row, test.metric) for row in (test.of, test.over))
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return "not run", ""
    if any(theirs[seed] == 0 for seed in seeds):
        return "inconclusive", f"{test.metric} of {test.over} is 0: there is no ratio"
    ratios = [ours[seed] / theirs[seed] for seed in seeds]
    low, high = interval(ratios)
    effect = f"{_spread(ratios)} times [{_number(low)}, {_number(high)}]"
    if not claim.deterministic and len(seeds) < MIN_SEEDS:
        return "inconclusive", f"{effect} (fewer than {MIN_SEEDS} paired seeds)"
    bound = Threshold(kind="threshold", rows=["-"], metric=test.metric, below=test.below, above=test.above)
    return _answer(_holds(low, high, bound)), effect


def _judge_all(claim: Claim, records: Sequence[RunRecord]) -> tuple[Answer, str]:
    """A claim of several tests fails with one of them and holds with all; a test not run leaves it open."""
    found: list[tuple[Answer, str]] = []
    for test in claim.tests:
        if isinstance(test, Threshold):
            found.append(_judge_threshold(claim, test, records))
        elif isinstance(test, Ratio):
            found.append(_judge_ratio(claim, test, records))
        else:
            found.append(_judge_comparison(claim, test, records))
    answers = [answer for answer, _ in found]
    if len(found) == 1:
        return found[0]
    if set(answers) == {"not run"}:
        return "not run", ""
    open_tests = [
        f"{test.metric} of {' against '.join(rows_of(test))}: {effect or answer}"
        for test, (answer, effect) in zip(claim.tests, found, strict=True)
        if answer != "reproduced"
    ]
    more = [f"and {len(open_tests) - 3} more"] if len(open_tests) > 3 else []
    effect = "; ".join([f"{answers.count('reproduced')} of {len(answers)} hold", *open_tests[:3], *more])
    if "not reproduced" in answers:
        return "not reproduced", effect
    return ("reproduced" if set(answers) == {"reproduced"} else "inconclusive"), effect


def judge(claim: Claim, records: Sequence[RunRecord]) -> list[Verdict]:
    """One verdict for every data set and protocol that the claim was measured on; one `not run` if none."""
    wanted = {(row, test.metric) for test in claim.tests for row in rows_of(test)}
    own = [r for r in records if r.table == claim.table and any((r.variant, m) in wanted for m in r.metrics)]
    verdicts = []
    for (profile, dataset, version, protocol), group in _groups(_largest(own)).items():
        answer, effect = _judge_all(claim, group)
        judged_on = f"{dataset} {version}, {profile} profile; {protocol}"
        verdicts.append(Verdict(claim, answer, effect, judged_on))
    return [v for v in verdicts if v.answer != "not run"] or [
        Verdict(claim, "not run", "", "only a smoke run so far" if own else "")
    ]


# --- tables --------------------------------------------------------------------------------------------

HEAD = ("row", "metric", "published", "measured", "runs")


def _measured_lines(
    row: str, metric: str, published: str, records: Sequence[RunRecord], sources: list[str]
) -> list[tuple[str, ...]]:
    """Lines of one cell, one for each data set and protocol, whose notes are added to `sources`."""
    own = [r for r in records if r.variant == row and metric in r.metrics]
    smoke = [r for r in own if r.profile == "smoke"]
    lines = []
    for (profile, dataset, version, protocol), group in _groups([*_largest(own), *smoke]).items():
        source = f"{dataset} {version}; {protocol}"
        if source not in sources:
            sources.append(source)
        units = {r.metrics[metric].unit for r in group}
        unit = "" if units == {"1"} else " " + " / ".join(sorted(units))
        number = _spread(list(_values(group, row, metric).values())) + unit
        number += " (smoke)" if profile == "smoke" else ""
        runs = f"{profile}, n = {len({r.seed for r in group})} [{sources.index(source) + 1}]"
        lines.append((row, metric, published, number, runs))
    return lines or [(row, metric, published, "not run", "")]


def _cell_text(cell: Cell) -> str:
    unit = "" if cell.unit == "1" else f" {cell.unit}"
    return f"{cell.text}{unit} ({cell.where}){'' if cell.verified else '*'}"


def compare_table(published: Published, name: str, records: Sequence[RunRecord]) -> HtmlTable:
    """One published table with the measured numbers beside it; what was measured beyond it comes after it."""
    table = published.tables[name]
    own = [r for r in records if r.table == name]
    lines: list[tuple[str, ...]] = []
    sources: list[str] = []
    for cell in table.cells:
        for record in own:
            measured = record.metrics.get(cell.metric)
            if record.variant == cell.row and measured and measured.unit != cell.unit:
                raise ProjectError(
                    f"{published.slug}/{record.file_name}: {cell.metric} is in {measured.unit}, "
                    f"the published number in {cell.unit}: record it in {cell.unit}"
                )
        lines += _measured_lines(cell.row, cell.metric, _cell_text(cell), own, sources)
    known = {(cell.row, cell.metric) for cell in table.cells}
    for row, metric in sorted({(r.variant, m) for r in own for m in r.metrics} - known):
        lines += _measured_lines(row, metric, "-", own, sources)
    notes = [f"[{i}] {source}" for i, source in enumerate(sources, 1)]
    if any("(smoke)" in line[3] for line in lines):
        notes.append("smoke: a short run that shows that the chapter works; not a result")
    notes += _published_notes(published, name)
    caption = f"{table.title}: published and measured (mean ± standard deviation over n seeds)"
    return HtmlTable(caption, HEAD, lines, notes=notes)


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


def claims_table(published: Published, records: Sequence[RunRecord], table: str | None = None) -> HtmlTable:
    """The claims of a paper, whether they hold on its own printed numbers, and their verdicts."""
    lines = []
    words = {True: "holds", False: "does not hold", None: "not printed"}
    for claim in published.claims:
        if table in (None, claim.table):
            printed = words[holds_as_printed(claim, published)]
            lines += [
                (claim.text, claim.where, printed, v.answer, v.effect, v.judged_on)
                for v in judge(claim, records)
            ]
    head = ("claim", "place", "in print", "verdict", "effect and 95 % interval", "judged on")
    return HtmlTable("Claims and verdicts", head, lines, empty="the paper claims nothing about this table")


def compare(slug: str, table: str | None = None, root: Path | None = None) -> Page:
    """Published numbers of a system beside the recorded ones, and the verdict on every claim.

    In a chapter: `compare("intersections", table="fit error")` as the last line of a cell.

    Raises:
        ProjectError: no published file for the slug, or no such table in it; suggests the nearest name.
    """
    published = read_published(slug, root)
    if table is not None and table not in published.tables:
        raise nearest(table, published.tables, f"table of {slug}:")
    records = read_records(slug, root)
    names = [table] if table else list(published.tables)
    shown = [compare_table(published, name, records) for name in names]
    if any(table in (None, claim.table) for claim in published.claims):
        shown.append(claims_table(published, records, table))
    return Page(shown)


def _system_section(published: Published, root: Path | None) -> Section:
    """A system: what ran in sight, what did not folded away; a system with no run is folded as a whole."""
    records = read_records(published.slug, root)
    measured = {record.table for record in records}
    ran = [name for name in published.tables if name in measured]
    idle = [name for name in published.tables if name not in measured]
    prefix = f"{published.slug}: "
    parts: list[HtmlTable | Section] = [compare_table(published, name, records) for name in ran]
    answers = [verdict.answer for claim in published.claims for verdict in judge(claim, records)]
    if published.claims:
        parts.append(claims_table(published, records))
    parts = [replace(t, caption=prefix + t.caption) if isinstance(t, HtmlTable) else t for t in parts]
    if idle:
        tables = [published_table(published, name) for name in idle]
        tables = [replace(t, caption=prefix + t.caption) for t in tables]
        # with nothing else to see, one fold is enough
        parts = [*parts, Section(f"Tables without a run: {len(idle)}", tables)] if ran else [*tables, *parts]
    if published.inconsistencies:
        found = inconsistencies_table(published)
        found = replace(found, caption=prefix + found.caption)
        parts.append(Section(f"Printed inconsistencies: {len(published.inconsistencies)}", [found]))
    counts = [f"{answers.count(a)} {a}" for a in get_args(Answer) if a in answers]
    title = f"{published.slug}: {len(ran)} of {len(published.tables)} tables with runs"
    title += f"; claims: {', '.join(counts)}" if counts else ""
    return Section(title, parts, unfolded=bool(ran))


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
    head = ("system", "table", "row", "data set", "profile", "seed", "made (UTC)", "took", "on", "commit")
    runs = [
        (
            r.slug,
            r.table,
            r.variant,
            f"{r.dataset} {r.dataset_version}",
            "smoke (not a result)" if r.profile == "smoke" else r.profile,
            str(r.seed),
            f"{r.created:%Y-%m-%d %H:%M}",
            f"{r.wall_time:.1f} s",
            r.device,
            r.git_commit[:7] + ("+changes" if r.git_commit.endswith("+changes") else ""),
        )
        for r in read_records(root=root)
    ]
    return Page([build, HtmlTable("Run records", head, runs, empty="no run recorded yet")])

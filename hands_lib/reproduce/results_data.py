"""The results as data: every table, claim and verdict of the book in one JSON file, with its schema.

What a page shows as text stands here as numbers with units. Smoke and dirty jobs are left out: they are no
results, and every build makes them anew.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hands_lib.reproduce.evidence import Evidence, Kind, largest, read_evidence
from hands_lib.reproduce.measured import columns_of
from hands_lib.reproduce.papers import paper_of
from hands_lib.reproduce.printed_checks import holds_as_printed
from hands_lib.reproduce.project import write_atomically
from hands_lib.reproduce.published import Claim, OwnClaim, Published, Table, read_all_published
from hands_lib.reproduce.score import gaps
from hands_lib.reproduce.tables import tables_beyond
from hands_lib.reproduce.verdicts import Answer, Standing, Verdict, judge, standing_of
from hands_lib.reproduce.versions import version_of
from hands_lib.reproduce.wording import standard_deviation

FORMAT = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class PrintedNumber(_Model):
    text: str = Field(description="as it is printed: 12.10, < 0.5, 94 ± 2")
    number: float | None = Field(description="none for a bound or a range")
    place: str = Field(description="table, figure or section of the paper, down to row and column")
    protocol: str
    note: str
    verified: bool = Field(description="compared digit by digit with the source text")


class MeasuredNumber(_Model):
    """All seeds of one profile, data set and protocol."""

    profile: str
    dataset: str
    dataset_version: str
    protocol: str
    stale: bool = Field(description="made by another version of the chapter: it counts for nothing")
    chapter: str
    job: str
    commits: list[str]
    values: dict[int, float] = Field(description="seed -> number")
    mean: float
    standard_deviation: float | None = Field(description="over seeds; none for a single one")


class ResultCell(_Model):
    row: str
    column: str
    unit: str = Field(description='"1" for a plain number')
    printed: PrintedNumber | None
    measured: list[MeasuredNumber]


class ResultColumn(_Model):
    label: str
    unit: str | None = Field(description="of most rows; none where every cell has its own")
    better: Literal["lower", "higher"] | None


class ResultTable(_Model):
    name: str
    title: str
    where: str = Field(description="the printed table; empty where no paper prints it")
    note: str
    beyond_the_paper: bool
    columns: dict[str, ResultColumn]
    rows: list[str]
    cells: list[ResultCell]


class EffectData(_Model):
    """A mean over seeds with its 95 % interval, which a single seed has not; d: paired effect size."""

    mean: float
    low: float | None
    high: float | None
    unit: str
    d: float | None


class PartData(_Model):
    """One test of a claim, on one row or on two of the same seeds."""

    metric: str
    row: str = Field(description="or: row against row")
    answer: Answer
    seeds: int
    examples: int = Field(description="of every seed, where the interval knows them; else 0")
    effect: EffectData | None
    text: str


class VerdictData(_Model):
    answer: Answer
    standing: Standing = Field(
        description="the answer, with what was not measured apart from what is undecided"
    )
    judged_on: str
    text: str
    decided_by: str = Field(description="of several tests, the one that decides")
    gated: str = Field(description="why the claim is not judged; empty where it is")
    parts: list[PartData]


class ClaimData(_Model):
    id: str
    text: str
    region: str
    where: str
    table: str
    of_this_book: bool = Field(description="a target of this book, which is no claim of the paper")
    holds_in_print: bool | None = Field(description="on the paper's own numbers; none where it prints none")
    standing: Standing = Field(description="over all data sets: reproduced only if it is so on each")
    verdicts: list[VerdictData]


class GapData(_Model):
    """How much smaller an experiment is here than in the paper, in words."""

    what: str
    paper: str
    here: str


class SystemData(_Model):
    slug: str
    name: str = Field(description="what readers know it by")
    title: str = Field(description="of the paper; empty where there is none")
    authors: list[str] = Field(description="last names")
    year: str
    scale: list[GapData]
    source: str = Field(description="key in book/references.bib; empty where there is no paper")
    note: str
    versions: dict[str, int] = Field(description="chapter -> its present version")
    tables: list[ResultTable]
    claims: list[ClaimData]


class Results(_Model):
    """Published and measured numbers of the book, and what they say about the claims."""

    format: Literal[1]
    systems: list[SystemData]


def _measured(evidence: Evidence, table: str, row: str, column: str) -> list[MeasuredNumber]:
    kinds: tuple[Kind, ...] = ("counted", "stale")
    found = []
    for kind in kinds:
        cells = evidence.cell(table, row, column, kind)
        for profile, dataset, version, protocol in largest(list(cells)) if kind == "counted" else cells:
            lines = cells[profile, dataset, version, protocol]
            values = {seed: line.rows[table][row][column] for seed, line in sorted(lines.items())}
            one = next(iter(lines.values()))
            numbers = list(values.values())
            found.append(
                MeasuredNumber(
                    profile=profile,
                    dataset=dataset,
                    dataset_version=version,
                    protocol=protocol,
                    stale=kind == "stale",
                    chapter=one.chapter,
                    job=one.job,
                    commits=sorted({line.commit for line in lines.values()}),
                    values=values,
                    mean=float(np.mean(numbers)),
                    standard_deviation=standard_deviation(numbers) if len(numbers) > 1 else None,
                )
            )
    return found


def _table(published: Published, name: str, evidence: Evidence) -> ResultTable:
    own = published.tables.get(name) or published.own_tables.get(name)
    printed = own.cells if isinstance(own, Table) else []
    recorded = columns_of(evidence, name, ("counted", "stale"))
    places = dict.fromkeys((cell.row, cell.metric) for cell in printed)
    places |= dict.fromkeys((row, column) for row, columns in sorted(recorded.items()) for column in columns)
    cells = [
        ResultCell(
            row=row,
            column=column,
            unit=evidence.unit(name, row, column),
            printed=own.cell(row, column) if isinstance(own, Table) else None,
            measured=_measured(evidence, name, row, column),
        )
        for row, column in places
    ]
    order = own.order if own else []
    rows = dict.fromkeys([*order, *(cell.row for cell in printed), *sorted(recorded)])
    return ResultTable(
        name=name,
        title=own.title if own else name,
        where=own.where if isinstance(own, Table) else "",
        note=own.note if own else "",
        beyond_the_paper=not isinstance(own, Table),
        columns={
            column: ResultColumn(
                label=published.label(name, column),
                unit=published.unit(name, "", column),
                better=published.better(name, column),
            )
            for column in dict.fromkeys(column for _, column in places)
        },
        rows=[row for row in rows if row in {row for row, _ in places}],
        cells=cells,
    )


def _claim(claim: Claim, published: Published, verdicts: Sequence[Verdict]) -> ClaimData:
    own = isinstance(claim, OwnClaim)
    return ClaimData(
        id=claim.id,
        text=claim.text,
        region=claim.region,
        where=claim.where,
        table=claim.table,
        of_this_book=own,
        holds_in_print=None if own else holds_as_printed(claim, published),
        standing=standing_of(verdicts),
        verdicts=[VerdictData.model_validate(verdict) for verdict in verdicts],
    )


def _system(published: Published, root: Path) -> SystemData:
    evidence = read_evidence(published.slug, root)
    results = [
        line
        for kind in ("counted", "stale", "other")
        for own in evidence.lines[kind].values()
        for line in own
    ]
    names = [*published.tables, *tables_beyond(published, evidence)]
    paper = paper_of(published, root) if published.source else None
    return SystemData(
        slug=published.slug,
        name=published.title,
        title=paper.title if paper else "",
        authors=list(paper.authors) if paper else [],
        year=paper.year if paper else "",
        scale=[GapData.model_validate(gap) for gap in gaps(published.scale, published, evidence, root)],
        source=published.source,
        note=published.note,
        versions={
            chapter: version_of(published.slug, chapter, root)
            for chapter in sorted({line.chapter for line in results})
        },
        tables=[_table(published, name, evidence) for name in names],
        claims=[
            _claim(claim, published, judge(claim, evidence))
            for claim in (*published.claims, *published.own_claims)
        ],
    )


def results(root: Path) -> Results:
    """Everything that `results.json` holds.

    Raises:
        ProjectError: a published file or the store cannot be read.
    """
    return Results(
        format=FORMAT, systems=[_system(published, root) for published in read_all_published(root)]
    )


def write_results(root: Path, folder: Path) -> None:
    """Write `results.json` and `results.schema.json`: the same bytes for the same lines and files."""
    schema = Results.model_json_schema(mode="serialization")
    for name, content in (("results", results(root).model_dump(mode="json")), ("results.schema", schema)):
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / f"{name}.json", text + "\n")

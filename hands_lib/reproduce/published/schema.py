"""One published file: the tables, claims and inconsistencies of a system."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Literal

from pydantic import Field, model_validator

from hands_lib.reproduce.published.checks import Check, Marks, Order, Place
from hands_lib.reproduce.published.claims import Claim, OwnClaim
from hands_lib.reproduce.published.numbers import Cell, Direction, StrictModel
from hands_lib.reproduce.published.tables import (
    Column,
    Metric,
    Metrics,
    OwnTable,
    Table,
    metric_of,
    places_of,
    readable,
)


class Inconsistency(StrictModel):
    """Something a paper prints that does not agree with itself, with its references or with its own code.

    printed: what stands where. follows: what the paper's own numbers (or the code) say. check: the arithmetic
    that fails as printed, so that the entry itself is tested; claims: those its cells contradict.
    verified: false where what it is compared with is not the source text (released code, for example).
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    kind: Literal["arithmetic", "text and table", "two tables", "wording", "reference", "released code"]
    where: str
    printed: str
    follows: str
    verified: bool = True
    check: Check | None = None
    claims: list[str] = []


class Scale(StrictModel):
    """How large an experiment is in the paper and in this book, in words.

    Numbers are not typed twice: `{table / row / metric}` stands for a printed cell in `paper` and for the
    measured one in `here`, `{chapter.parameter}` in `here` for a setting of the largest profile that was run
    (`{chapter.parameter.0}` for the first of a list).
    """

    what: str
    paper: str = "not known"
    here: str


class Published(StrictModel):
    """One file: the tables, claims and inconsistencies of one system, and what this book adds: tables beyond
    the paper and targets of its own, which are always shown as such, and units of what it measures. A system
    of no paper has no `source`, and own tables alone. `name` is what everybody calls it; `paper` the key of
    the paper itself, where `source`, from which the numbers are typed, is a summary of it."""

    slug: str
    name: str = ""
    source: str = Field(default="", description="key in book/references.bib")
    paper: str = Field(default="", description="key in book/references.bib")
    scale: list[Scale] = []
    note: str = ""
    metrics: Metrics = {}
    tables: dict[str, Table] = {}
    claims: list[Claim] = []
    inconsistencies: list[Inconsistency] = []
    own_tables: dict[str, OwnTable] = {}
    own_claims: list[OwnClaim] = []

    @model_validator(mode="after")
    def _claims_fit(self) -> "Published":
        if self.tables and not self.source:
            raise ValueError("tables of a paper, but no `source`: add its key in book/references.bib")
        ids = [claim.id for claim in (*self.claims, *self.own_claims)]
        if len(set(ids)) < len(ids):
            raise ValueError("two claims share an id")
        twice = self.tables.keys() & self.own_tables.keys()
        if twice:
            raise ValueError(f"own_tables has {sorted(twice)}, which the paper prints: name it otherwise")
        for claim in self.claims:
            if claim.table not in self.tables:
                raise ValueError(f"claim {claim.id} names table {claim.table!r}, which is not in the file")
        for claim in self.own_claims:
            if claim.table not in self.tables | self.own_tables:
                raise ValueError(f"own claim {claim.id} names table {claim.table!r}, not in the file")
        for claim in (*self.claims, *self.own_claims):
            if claim.before and claim.before.table not in self.tables | self.own_tables:
                raise ValueError(
                    f"the gate of claim {claim.id} names table {claim.before.table!r}, not in the file"
                )
        entries = [entry.id for entry in self.inconsistencies]
        if len(set(entries)) < len(entries):
            raise ValueError("two inconsistencies share an id")
        for entry in self.inconsistencies:
            for name in entry.claims:
                if name not in ids:
                    raise ValueError(f"inconsistency {entry.id} names claim {name!r}, which is not there")
        return self

    @model_validator(mode="after")
    def _places_fit(self) -> "Published":
        checks = [(f"table {name}", name, check) for name, t in self.tables.items() for check in t.checks]
        checks += [(f"inconsistency {e.id}", "", e.check) for e in self.inconsistencies if e.check]
        for owner, table, check in checks:
            if not table and isinstance(check, Marks | Order):
                raise ValueError(f"{owner}: a check of kind {check.kind} belongs to a table")
            for place in places_of(check, self.tables[table] if table else None):
                there = place.within(table)
                if there.table not in self.tables:
                    raise ValueError(f"{owner}: a {check.kind} check names an unknown table: {there.table!r}")
                if self.tables[there.table].cell(there.row, there.metric) is None:
                    known = [f"{c.row} / {c.metric}" for c in self.tables[there.table].cells]
                    close = get_close_matches(f"{there.row} / {there.metric}", known, n=1, cutoff=0)
                    raise ValueError(
                        f"{owner}: a {check.kind} check names {there.row} / {there.metric}, which is no cell "
                        f"of {there.table}; did you mean {close[0]}?"
                    )
        return self

    def cell(self, place: Place) -> Cell:
        found = self.tables[place.table].cell(place.row, place.metric)
        assert found is not None, place  # the schema has seen to it
        return found

    @property
    def cells(self) -> Iterator[Cell]:
        return (cell for table in self.tables.values() for cell in table.cells)

    def unit(self, table: str, row: str, column: str) -> str | None:
        """Of a number: as the paper prints this cell; else as the table's `metrics` say, as the paper prints
        the column, or as the file's `metrics` say. None where none of them knows it."""
        printed = self.tables.get(table)
        cell = printed.cell(row, column) if printed else None
        found = self._metrics_of(table, column)
        return cell.unit if cell else found[0].unit if found else None

    def better(self, table: str, column: str) -> Direction | None:
        """Which direction is better, if somebody says so."""
        return next((found.better for found in self._metrics_of(table, column) if found.better), None)

    def label(self, table: str, column: str) -> str:
        """A column's name for people: of `metrics`, else what the paper prints above it, else its own.

        The label of a pattern names all columns that fit it, so what the `*` stands for is said as well.
        """
        own: Table | OwnTable | None = self.tables.get(table) or self.own_tables.get(table)
        for metrics in (own.metrics if own else {}, self.metrics):
            pattern, metric = metric_of(metrics, column)
            if metric is not None and metric.label:
                special = readable(column, pattern)
                return f"{metric.label}, {special}" if special else metric.label
        printed = own.columns.get(column) if isinstance(own, Table) else None
        return printed.label if printed and printed.label else column.replace("_", " ")

    def missing(self, table: str, row: str, column: str) -> str:
        """Why the book does not measure a number, in two or three words; empty where nobody says so."""
        printed = self.tables.get(table)
        of_row = printed.missing.get(row, printed.missing.get("*", "")) if printed else ""
        return of_row or next((own.missing for own in self._metrics_of(table, column) if own.missing), "")

    def row_name(self, table: str, row: str) -> str:
        """A row's name for people."""
        own = self.tables.get(table) or self.own_tables.get(table)
        return own.names.get(row, row) if own else row

    @property
    def title(self) -> str:
        """What a reader knows the system by."""
        return self.name or self.slug

    def _metrics_of(self, table: str, column: str) -> "list[Metric | Column]":
        own: Table | OwnTable | None = self.tables.get(table) or self.own_tables.get(table)
        printed = own.columns.get(column) if isinstance(own, Table) else None
        found = [
            metric_of(own.metrics, column)[1] if own else None,
            printed,
            metric_of(self.metrics, column)[1],
        ]
        return [metric for metric in found if metric]

"""What the papers say: tables typed from the text, each number with its place, and claims as tests on them;
and the units of everything that is measured.

The files are `book/published/<slug>.yml`; the models below are their schema. A printed table is typed as it
is printed, as `columns` and `rows`; numbers of the running text, of captions and of figures are typed one by
one as `cells`. Both become cells. A number keeps the digits it was typed with: `12.10` stays `12.10`.

Lines of jobs have numbers without units: `metrics`, of the file or of one table, name the unit of each
measured column once, and which direction is better; `unit_of` finds it.

Three things guard the typing where the papers themselves are not at hand: `checks` are what the printed
numbers must satisfy among themselves (percentages, means, best marks, one number in two places; tested in
`printed_checks.py`), `total` is the sum of a printed table's numbers, taken from the source text, and every
claim is tested on the printed cells. What a paper prints that does not agree with itself is an entry of
`inconsistencies`, not a silent correction.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from hands_lib.reproduce.project import ProjectError, find_root

Direction = Literal["lower", "higher"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# --- numbers -------------------------------------------------------------------------------------------


class Bound(_Model):
    """A published bound or a rounded number: "less than 0.5", "more than 100", "about 5"."""

    less_than: float | None = None
    more_than: float | None = None
    about: float | None = None

    @model_validator(mode="after")
    def _one(self) -> "Bound":
        if sum(v is not None for v in (self.less_than, self.more_than, self.about)) != 1:
            raise ValueError("give exactly one of less_than, more_than, about")
        return self


class Spread(_Model):
    """A published mean with its ± (what the ± is, the paper says or the cell's note does)."""

    mean: float
    spread: float


class Range(_Model):
    """A published range, both ends included."""

    lowest: float
    highest: float

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.lowest >= self.highest:
            raise ValueError("lowest must be below highest: swap them")
        return self


def _plain(value: Any) -> Any:
    """Decimals (as the file reader gives them) to floats, down through dicts."""
    if isinstance(value, Decimal):
        return float(value)
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _kind_of_number(value: Any) -> str:
    """Which of the forms of a number is meant, so that an error speaks of that one alone."""
    if not isinstance(value, dict):
        return {Bound: "bound", Spread: "spread", Range: "range"}.get(type(value), "number")
    if value.keys() & {"mean", "spread"}:
        return "spread"
    return "range" if value.keys() & {"lowest", "highest"} else "bound"


Number = Annotated[
    Annotated[float, Tag("number")]
    | Annotated[Bound, Tag("bound")]
    | Annotated[Spread, Tag("spread")]
    | Annotated[Range, Tag("range")],
    Discriminator(_kind_of_number),
]


def _decimals(value: Any) -> int | None:
    """Digits after the point of a number as it was typed; None for a float, which has forgotten them."""
    if isinstance(value, dict):
        found = [_decimals(v) for v in value.values()]
        return None if None in found or not found else max(d for d in found if d is not None)
    if isinstance(value, Decimal):
        return max(0, -int(value.as_tuple().exponent))
    return None


# --- tables --------------------------------------------------------------------------------------------


class Cell(_Model):
    """One published number. `where` is the table, figure or section it stands in.

    `verified` says that the re-typing check compared the number digit by digit with the source text; it is
    false where the source is second hand. `near` is a word or two of the source beside a number of the
    running text, by which the check finds it; `printed` is its spelling there if it is not the plain number.
    """

    row: str
    metric: str
    unit: str
    value: Number
    where: str
    verified: bool
    note: str = ""
    protocol: str = ""
    near: str = ""
    printed: str = ""
    printed_row: str = ""
    printed_column: str = ""
    decimals: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _digits(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "value" not in data:
            return data
        typed = data["value"]
        return {"decimals": _decimals(typed)} | data | {"value": _plain(typed)}

    def _digit_text(self, value: float) -> str:
        # a printed table keeps its digits; "4.0" of a sentence is shown as 4
        if self.decimals is None or not self.printed_column:
            return f"{value:,.10g}"
        return f"{value:,.{self.decimals}f}"

    @property
    def text(self) -> str:
        """The number as a reader expects it: `< 0.5`, `about 5`, `307`, `94 ± 2`."""
        if isinstance(self.value, Bound):
            words = {"less_than": "< ", "more_than": "> ", "about": "about "}
            return next(f"{words[k]}{v:,.10g}" for k, v in self.value if v is not None)
        if isinstance(self.value, Spread):
            return f"{self._digit_text(self.value.mean)} ± {self._digit_text(self.value.spread)}"
        if isinstance(self.value, Range):
            return f"{self.value.lowest:,.10g} to {self.value.highest:,.10g}"
        return self._digit_text(self.value)

    @property
    def number(self) -> float | None:
        """The number to calculate with; None for a bound or a range."""
        if isinstance(self.value, Spread):
            return self.value.mean
        return None if isinstance(self.value, Bound | Range) else self.value

    @property
    def place(self) -> str:
        """Where the number stands, down to row and column."""
        row = f", row {self.printed_row!r}" if self.printed_row else ""
        column = f", column {self.printed_column!r}" if self.printed_column else ""
        return f"{self.where}{row}{column}"


class Metric(_Model):
    """What is measured under one name, or under all names that fit a pattern such as `*_mpjpe`: the unit of
    its numbers (`"1"` for plain ones), which direction is better, if either, a name for people, and in two
    or three words why the book does not measure it, where it does not (`missing`)."""

    unit: str = Field(min_length=1)
    better: Direction | None = None
    label: str = ""
    missing: str = ""


Metrics = dict[str, Metric]


def _metric_of(metrics: Metrics, name: str) -> tuple[str, Metric | None]:
    """The name or pattern under which a metric stands, and the metric: the exact name goes before patterns,
    of which the first one counts."""
    if name in metrics:
        return name, metrics[name]
    found = ((pattern, metric) for pattern, metric in metrics.items() if fnmatchcase(name, pattern))
    return next(found, (name, None))


def _readable(name: str, pattern: str) -> str:
    """What the stars of a pattern stand for in a name, as words; nothing where the pattern is the name."""
    if name == pattern:
        return ""
    fixed = [re.escape(part) for part in pattern.split("*")]
    parts = re.fullmatch("(.*)".join(fixed), name)
    words = " ".join(parts.groups()) if parts else name
    return " ".join(words.replace("_", " ").replace(",", " ").split())


class Column(_Model):
    """A printed column: its heading, the unit of its numbers, and which direction is better, if either.
    `missing` as for a metric."""

    label: str
    unit: str
    better: Direction | None = None
    missing: str = ""


class Row(_Model):
    """A printed row. `label` is its printed heading where the book names the row otherwise, `occurrence`
    which of several rows with that heading it is. A value that the paper leaves out is null."""

    values: list[Any]
    label: str = ""
    occurrence: int | None = None
    unit: str = ""
    note: str = ""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"values": data} if isinstance(data, list) else data


class Place(_Model):
    """A cell named by (row, metric), or by (table, row, metric) where it stands in another table."""

    table: str = ""
    row: str
    metric: str

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, list) and len(data) in (2, 3):
            return dict(zip(("table", "row", "metric")[-len(data) :], map(str, data), strict=True))
        if isinstance(data, list):
            raise ValueError("name a cell as [row, metric] or [table, row, metric]")
        return data

    def within(self, table: str) -> "Place":
        return self if self.table else Place(table=table, row=self.row, metric=self.metric)


class Arithmetic(_Model):
    """The `printed` cell is the mean, sum, product or ratio of the cells `of`, or the decrease in % from the
    first to the second, as far as the printed digits tell. `within` allows more, for words like "about"."""

    kind: Literal["mean", "sum", "product", "ratio", "decrease"]
    of: list[Place] = Field(min_length=2)
    printed: Place
    within: float = 0.0

    @model_validator(mode="after")
    def _two(self) -> "Arithmetic":
        if self.kind in ("ratio", "decrease") and len(self.of) != 2:
            raise ValueError(f"a {self.kind} needs exactly two cells in `of`")
        return self


class Same(_Model):
    """One number printed in several places, perhaps with different numbers of digits."""

    kind: Literal["same"]
    of: list[Place] = Field(min_length=2)


class Marks(_Model):
    """The rows that the paper prints as best (bold) and second best (underlined) are those by the numbers.
    A column in which the paper marks nothing is not checked: leave it out."""

    kind: Literal["marks"]
    metric: str
    direction: Direction
    best: list[str] = Field(min_length=1)
    second: list[str] = []
    rows: list[str] = Field(default=[], description="rows that are compared (default: all of the table)")


class Order(_Model):
    """The rows stand in falling (rising) order of a metric."""

    kind: Literal["order"]
    metric: str
    direction: Literal["falling", "rising"]
    rows: list[str] = Field(min_length=2)


Check = Annotated[Arithmetic | Same | Marks | Order, Field(discriminator="kind")]


class Table(_Model):
    """A published table (`columns` and `rows`), or numbers of the running text put side by side (`cells`).

    where: the printed table's name, which is the `where` of its cells. protocol: how the numbers were
    measured, as far as the paper says. verified: for all cells of `rows`. skip: printed columns that stand
    before the first column typed here. transposed: the paper prints metrics as rows. total: the sum of the
    printed numbers, taken from the source text by the re-typing check. groups: blocks of rows, which are
    compared among themselves, by their heading; names: what a row is called on a page, where its key is
    short. missing: row -> why the book does not measure it; `*` for all other rows.
    """

    title: str
    where: str = ""
    protocol: str = ""
    note: str = ""
    verified: bool = False
    columns: dict[str, Column] = {}
    rows: dict[str, Row] = {}
    skip: int = 0
    transposed: bool = False
    total: Decimal | None = None
    cells: list[Cell] = []
    checks: list[Check] = []
    metrics: Metrics = Field(default={}, description="of this table's columns, where the file's do not fit")
    order: list[str] = Field(default=[], description="measured rows as they are shown; others follow by name")
    groups: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    missing: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _to_cells(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not data.get("rows"):
            return data
        if not isinstance(data["rows"], dict) or not isinstance(data.get("columns"), dict):
            raise ValueError(
                "rows and columns are mappings: `rows: {NAME: [...]}`, `columns: {METRIC: {...}}`"
            )
        if not data.get("where"):
            raise ValueError("where is missing: name the printed table, as in `where: Table 1`")
        columns = {key: Column.model_validate(column) for key, column in data["columns"].items()}
        rows = {key: Row.model_validate(row) for key, row in data["rows"].items()}
        cells = []
        for name, row in rows.items():
            if len(row.values) != len(columns):
                raise ValueError(
                    f"row {name!r} has {len(row.values)} values, the table has {len(columns)} columns: "
                    "write null where the paper prints none"
                )
            for (metric, column), value in zip(columns.items(), row.values, strict=True):
                if value is None:
                    continue
                try:
                    cell = Cell.model_validate(
                        {
                            "row": name,
                            "metric": metric,
                            "unit": row.unit or column.unit,
                            "value": value,
                            "where": data["where"],
                            "verified": data.get("verified", False),
                            "note": row.note,
                            "protocol": data.get("protocol", ""),
                            "printed_row": row.label or name,
                            "printed_column": column.label,
                        }
                    )
                except ValidationError as error:
                    why = error.errors()[0]["msg"].removeprefix("Value error, ")
                    raise ValueError(f"row {name!r}, column {metric!r}: {why}, not {value!r}") from error
                cells.append(cell)
        return data | {"cells": [*cells, *data.get("cells", [])]}

    @model_validator(mode="after")
    def _each_once(self) -> "Table":
        places = [(cell.row, cell.metric) for cell in self.cells]
        twice = {place for place in places if places.count(place) > 1}
        if twice:
            raise ValueError(f"given more than once: {sorted(twice)}")
        if not self.cells and not self.note:
            raise ValueError("no cell: type `rows` or `cells`, or say in `note` why no number is known")
        return self

    @model_validator(mode="after")
    def _rows_fit(self) -> "Table":
        rows = {cell.row for cell in self.cells} | set(self.order)
        grouped = [row for own in self.groups.values() for row in own]
        for key, named in (("groups", grouped), ("names", self.names), ("missing", self.missing)):
            unknown = sorted(set(named) - rows - ({"*"} if key == "missing" else set()))
            if unknown:
                raise ValueError(f"{key} names row {unknown[0]!r}, which the table has not")
        if grouped and sorted(grouped) != sorted({cell.row for cell in self.cells}):
            raise ValueError("groups: name every row of the table once")
        return self

    def cell(self, row: str, metric: str) -> Cell | None:
        return next((c for c in self.cells if (c.row, c.metric) == (row, metric)), None)


def places_of(check: Arithmetic | Same | Marks | Order, table: Table | None) -> list[Place]:
    """The cells that a check looks at."""
    if isinstance(check, Arithmetic):
        return [*check.of, check.printed]
    if isinstance(check, Same):
        return list(check.of)
    if isinstance(check, Order):
        return [Place(row=row, metric=check.metric) for row in check.rows]
    assert table is not None
    rows = check.rows or [cell.row for cell in table.cells if cell.metric == check.metric]
    return [Place(row=row, metric=check.metric) for row in dict.fromkeys([*rows, *check.best, *check.second])]


# --- claims --------------------------------------------------------------------------------------------


class Threshold(_Model):
    """Every row's mean of `metric` is below (above) a number, or equal to it."""

    kind: Literal["threshold"]
    rows: list[str] = Field(min_length=1)
    metric: str
    below: float | None = None
    above: float | None = None
    equals: float | None = None

    @model_validator(mode="after")
    def _one(self) -> "Threshold":
        if sum(v is not None for v in (self.below, self.above, self.equals)) != 1:
            raise ValueError("give exactly one of below, above, equals")
        return self


class Comparison(_Model):
    """Over seeds, `metric` of row `better` is lower (higher) than that of row `than`. `margin` is how much
    worse it may be, in the metric's unit, where the paper claims no more than "as good as"."""

    kind: Literal["comparison"]
    metric: str
    better: str
    than: str
    direction: Direction
    margin: float = Field(default=0.0, ge=0)


class Ratio(_Model):
    """Over seeds, `metric` of row `of` divided by that of row `over` is below (above) a number: "17 times
    smaller" is a ratio above 17, "at least 10 % fewer" one below 0.9."""

    kind: Literal["ratio"]
    metric: str
    of: str
    over: str
    below: float | None = None
    above: float | None = None

    @model_validator(mode="after")
    def _one(self) -> "Ratio":
        if (self.below is None) == (self.above is None):
            raise ValueError("give exactly one of below, above")
        return self


Single = Annotated[Threshold | Comparison | Ratio, Field(discriminator="kind")]


class AllOf(_Model):
    """Several tests that the claim needs together: better than each of these rows, in each metric."""

    kind: Literal["all"]
    tests: list[Single] = Field(min_length=2)


class Gate(_Model):
    """What has to hold before a claim is judged at all: the module that the claim is about does its job, or
    a baseline is no worse than a rule without learning. Where it does not hold, the claim is neither
    reproduced nor not reproduced, and `otherwise` says why. `table`: where it is measured, if not in the
    claim's own table."""

    otherwise: str = Field(min_length=1, description="why nothing is judged where the gate does not hold")
    table: str = ""
    test: Annotated[Threshold | Comparison | Ratio | AllOf, Field(discriminator="kind")]


class Claim(_Model):
    """A statement of the paper, in our words. `deterministic` claims need one seed, all others three or more.
    `region` says what pixels, joints or pairs its numbers are about, where the text alone would mislead."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    text: str
    where: str
    table: str
    test: Annotated[Threshold | Comparison | Ratio | AllOf, Field(discriminator="kind")]
    deterministic: bool = False
    region: str = ""
    note: str = Field(default="", description="the one caveat that a reader of the verdict needs")
    gate: Gate | None = None

    @property
    def tests(self) -> "Sequence[Threshold | Comparison | Ratio]":
        """The single tests, one or several."""
        return self.test.tests if isinstance(self.test, AllOf) else [self.test]

    @property
    def before(self) -> "Claim | None":
        """Its gate as a claim on the table where it is measured."""
        if self.gate is None:
            return None
        own = {"table": self.gate.table or self.table, "test": self.gate.test, "gate": None}
        return self.model_copy(update=own)


def rows_of(test: Threshold | Comparison | Ratio) -> list[str]:
    """The rows that a test looks at."""
    if isinstance(test, Threshold):
        return list(test.rows)
    return [test.better, test.than] if isinstance(test, Comparison) else [test.of, test.over]


class OwnTable(_Model):
    """A table that no paper prints: what this book measures beyond it."""

    title: str
    note: str = ""
    metrics: Metrics = {}
    order: list[str] = Field(default=[], description="rows as they are shown; others follow by name")
    names: dict[str, str] = Field(default={}, description="what rows are called on a page")


class OwnClaim(Claim):
    """What this book expects of its own runs, judged as the paper's claims are. It is not the paper's."""

    where: str = "target of this book"


class Inconsistency(_Model):
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


class Scale(_Model):
    """How large an experiment is in the paper and in this book, in words.

    Numbers are not typed twice: `{table / row / metric}` stands for a printed cell in `paper` and for the
    measured one in `here`, `{chapter.parameter}` in `here` for a setting of the largest profile that was run
    (`{chapter.parameter.0}` for the first of a list).
    """

    what: str
    paper: str = "not known"
    here: str


class Published(_Model):
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
            pattern, metric = _metric_of(metrics, column)
            if metric is not None and metric.label:
                special = _readable(column, pattern)
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
            _metric_of(own.metrics, column)[1] if own else None,
            printed,
            _metric_of(self.metrics, column)[1],
        ]
        return [metric for metric in found if metric]


# --- files ---------------------------------------------------------------------------------------------


class PublishedReader(yaml.SafeLoader):
    """YAML whose numbers keep their digits, and which refuses a key given twice (YAML drops the first)."""

    def _number(self, node: yaml.ScalarNode) -> Decimal:
        return Decimal(self.construct_scalar(node).replace("_", ""))

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: {key.value!r} is given twice: rename or remove one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:int"):
    PublishedReader.add_constructor(_tag, PublishedReader._number)

_KEYS = {
    key
    for model in (Published, Scale, Table, OwnTable, Metric, Column, Row, Cell, Claim, Inconsistency)
    + (Bound, Spread, Range, Threshold, Comparison, Ratio, AllOf, Arithmetic, Same, Marks, Order)
    for key in model.model_fields
}


def _entry(location: Sequence[int | str], raw: Any) -> str:
    """The place of an error in words a person finds: list entries by their id or row, not by number."""
    words: list[str] = []
    before = 0  # cells that stand in the list before those of the file, because they come from `rows`
    for step in location:
        step = step - before if isinstance(step, int) else step
        known = step in raw if isinstance(raw, dict) else isinstance(step, int) and isinstance(raw, list)
        if not known:
            if (
                isinstance(step, str)
                and step[:1].islower()
                and step not in ("number", "bound", "spread", "range")
            ):
                words.append(step)  # a missing key, or the kind of a test
            continue
        if step == "cells" and isinstance(raw, dict):
            values = [row["values"] if isinstance(row, dict) else row for row in raw.get("rows", {}).values()]
            before = sum(value is not None for row in values for value in row)
        else:
            before = 0
        raw = raw[step] if isinstance(raw, dict) or 0 <= step < len(raw) else None
        name = None
        if isinstance(raw, dict) and isinstance(step, int):
            name = raw.get("id") or (
                f"{raw['row']} / {raw.get('metric')}" if "row" in raw else raw.get("kind")
            )
        words.append(f"{name} (entry {step + 1})" if name else str(step))
    return " > ".join(words) or "file"


def _problems(error: ValidationError, raw: Any) -> str:
    texts = []
    for found in error.errors()[:5]:
        text = found["msg"].removeprefix("Value error, ")
        if found["type"] == "extra_forbidden":
            key = str(found["loc"][-1])
            close = get_close_matches(key, _KEYS, n=1)
            text = f"unknown key {key!r}" + (f": did you mean {close[0]!r}?" if close else ": remove it")
        elif found["type"] == "missing":
            text = f"missing: add `{found['loc'][-1]}: ...`"
        elif found["type"] == "string_type":
            text = f"{found['input']} is read as a number or a list: put it in quotes"
        texts.append(f"{_entry(found['loc'], raw)}: {text}")
    return "; ".join(texts)


def published_path(slug: str, root: Path | None = None) -> Path:
    return (root or find_root()) / "book" / "published" / f"{slug}.yml"


def read_published(slug: str, root: Path | None = None) -> Published:
    """The published numbers of one system; a file that did not change is read once.

    Raises:
        ProjectError: no such file, not YAML, or against the schema; names the file and the place in it.
    """
    path = published_path(slug, root)
    try:
        changed = path.stat().st_mtime_ns
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yml"))) or "none"
        raise ProjectError(f"{path} does not exist; published numbers are there for: {known}") from None
    return _read(path, changed)


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> Published:
    raw: Any = None
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=PublishedReader)
        found = Published.model_validate(raw)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} is not YAML ({error}): mend it") from error
    except ValidationError as error:
        raise ProjectError(f"{path}: {_problems(error, raw)}") from error
    if found.slug != path.stem:
        raise ProjectError(f"{path}: its slug is {found.slug!r}; name file and slug alike")
    return found


def read_all_published(root: Path | None = None) -> list[Published]:
    """Every published file, by slug."""
    folder = published_path("x", root).parent
    return [read_published(path.stem, root) for path in sorted(folder.glob("*.yml"))]


def unit_of(slug: str, table: str, row: str, column: str, root: Path | None = None) -> str:
    """The unit of a measured number (`mm`, `hands/s`, `1` for a plain number ...), see `Published.unit`.

    Raises:
        ProjectError: nobody says it; names the file and the line to add.
    """
    unit = read_published(slug, root).unit(table, row, column)
    if unit is None:
        raise ProjectError(
            f"{published_path(slug, root)}: no unit for column {column!r} (table {table!r}, row {row!r}): "
            f'add `{column}: {{unit: ...}}` to `metrics` of the file or of the table; "1" for a plain number'
        )
    return unit


def better_of(slug: str, table: str, column: str, root: Path | None = None) -> Direction | None:
    """Whether lower or higher numbers of a column are better; None where nobody says so."""
    return read_published(slug, root).better(table, column)

"""Tables: what the paper prints, what this book adds, and what its columns measure."""

import re
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field, ValidationError, model_validator

from hands_lib.reproduce.published.checks import Arithmetic, Check, Marks, Order, Place, Same
from hands_lib.reproduce.published.numbers import Cell, Direction, StrictModel


class Metric(StrictModel):
    """What is measured under one name, or under all names that fit a pattern such as `*_mpjpe`: the unit of
    its numbers (`"1"` for plain ones), which direction is better, if either, a name for people, and in two
    or three words why the book does not measure it, where it does not (`missing`)."""

    unit: str = Field(min_length=1)
    better: Direction | None = None
    label: str = ""
    missing: str = ""


Metrics = dict[str, Metric]


def metric_of(metrics: Metrics, name: str) -> tuple[str, Metric | None]:
    """The name or pattern under which a metric stands, and the metric: the exact name goes before patterns,
    of which the first one counts."""
    if name in metrics:
        return name, metrics[name]
    found = ((pattern, metric) for pattern, metric in metrics.items() if fnmatchcase(name, pattern))
    return next(found, (name, None))


def readable(name: str, pattern: str) -> str:
    """What the stars of a pattern stand for in a name, as words; nothing where the pattern is the name."""
    if name == pattern:
        return ""
    fixed = [re.escape(part) for part in pattern.split("*")]
    parts = re.fullmatch("(.*)".join(fixed), name)
    words = " ".join(parts.groups()) if parts else name
    return " ".join(words.replace("_", " ").replace(",", " ").split())


class Column(StrictModel):
    """A printed column: its heading, the unit of its numbers, and which direction is better, if either.
    `missing` as for a metric."""

    label: str
    unit: str
    better: Direction | None = None
    missing: str = ""


class Row(StrictModel):
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


class Table(StrictModel):
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


class OwnTable(StrictModel):
    """A table that no paper prints: what this book measures beyond it."""

    title: str
    note: str = ""
    metrics: Metrics = {}
    order: list[str] = Field(default=[], description="rows as they are shown; others follow by name")
    names: dict[str, str] = Field(default={}, description="what rows are called on a page")

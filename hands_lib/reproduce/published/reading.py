"""Reading `book/published/<slug>.yml`, with errors that name the place in the file."""

from collections.abc import Sequence
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.published.checks import Arithmetic, Marks, Order, Same
from hands_lib.reproduce.published.claims import AllOf, Claim, Comparison, Gate, Ratio, Threshold
from hands_lib.reproduce.published.numbers import Bound, Cell, Direction, Range, Spread
from hands_lib.reproduce.published.schema import Inconsistency, Published, Scale
from hands_lib.reproduce.published.tables import Column, Metric, OwnTable, Row, Table


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
    + (Bound, Spread, Range, Threshold, Comparison, Ratio, AllOf, Gate, Arithmetic, Same, Marks, Order)
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

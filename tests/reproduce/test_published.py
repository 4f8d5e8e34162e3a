"""The published files hold together: schema, checks among the printed numbers, claims, inconsistencies."""

from copy import deepcopy
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.reproduce.printed_checks import (
    check_fails,
    failing_checks,
    holds_as_printed,
    places_checked,
)
from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.published import (
    Cell,
    Published,
    PublishedReader,
    better_of,
    published_path,
    read_all_published,
    read_published,
    unit_of,
)
from hands_lib.reproduce.store import read_lines

SYSTEMS = {
    "va_nerf",
    "intersections",
    "refinement",
    "hand_object",
    "latent_video",
    "sharp_features",
    "point_graphics",
    "dense_pose",
    "head_portraits",
}

# --- the files of the book -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def book() -> dict[str, Published]:
    """Those of papers."""
    return {found.slug: found for found in read_all_published() if found.source}


def test_every_system_has_its_published_numbers_and_claims(book: dict[str, Published]) -> None:
    assert set(book) == SYSTEMS
    assert all(found.tables and found.claims for found in book.values())


def test_printed_numbers_agree_or_are_entries(book: dict[str, Published]) -> None:
    """Percentages, means, marks, orders and totals hold; what does not is an inconsistency, and only that."""
    assert [text for found in book.values() for text in failing_checks(found)] == []


def test_every_printed_table_has_the_total_of_its_source(book: dict[str, Published]) -> None:
    without = [
        (slug, name)
        for slug, found in book.items()
        for name, table in found.tables.items()
        if table.rows and table.total is None
    ]
    assert without == []


def test_verified_numbers_can_be_found_in_their_source(book: dict[str, Published]) -> None:
    """A verified number of the running text names the words that it stands beside."""
    lost = [
        cell.place
        for found in book.values()
        for cell in found.cells
        if cell.verified and not cell.printed_column and not cell.near
    ]
    assert lost == []


def test_second_hand_numbers_are_not_called_verified(book: dict[str, Published]) -> None:
    assert not any(cell.verified for cell in book["refinement"].cells)
    assert not any(cell.verified for cell in book["hand_object"].tables["predecessors"].cells)


def test_claims_use_metrics_that_are_printed_or_listed_here(book: dict[str, Published]) -> None:
    """A row or metric that the paper does not print is one that the book measures, or a misspelt one: claims
    on a metric that their table does not print are listed here, so that a slip is noticed."""
    half = {
        (slug, claim.id)
        for slug, found in book.items()
        for claim in found.claims
        for test in claim.tests
        if found.tables[claim.table].cells
        and holds_as_printed(claim, found) is None
        and not {cell.metric for cell in found.tables[claim.table].cells} & {test.metric}
    }
    assert half == {("intersections", "watertight"), ("intersections", "error-no-higher")}


def _mutants() -> list[tuple[str, str, str]]:
    return [
        (found.slug, name, row)
        for found in read_all_published()
        for name, table in found.tables.items()
        for row in table.rows
    ]


@settings(deadline=None)  # a busy machine is no wrong digit
@given(place=st.sampled_from(_mutants()), pick=st.integers(0, 7), digit=st.integers(1, 9))
def test_a_changed_digit_of_a_printed_table_is_noticed(
    place: tuple[str, str, str], pick: int, digit: int
) -> None:
    """Any printed row, any of its numbers, any change of the last digit: some check says so."""
    slug, name, row = place
    raw = _raw(slug)
    values = raw["tables"][name]["rows"][row]
    values = values if isinstance(values, list) else values["values"]
    where = [i for i, value in enumerate(values) if isinstance(value, Decimal)]
    if not where:
        return  # means with spreads only; the totals hold them too, see the next test
    i = where[pick % len(where)]
    step = Decimal(1).scaleb(int(values[i].as_tuple().exponent))
    last = int(values[i] / step) % 10
    values[i] += ((last + digit) % 10 - last) * step
    assert failing_checks(Published.model_validate(raw)) != []


def test_a_changed_spread_is_noticed() -> None:
    raw = _raw("latent_video")
    raw["tables"]["bair"]["rows"]["LVT, n_c = 4"]["values"][1]["spread"] = Decimal("2.8")
    assert failing_checks(Published.model_validate(raw)) != []


@cache
def _typed(slug: str) -> dict:
    return yaml.load(published_path(slug).read_text(encoding="utf-8"), Loader=PublishedReader)


def _raw(slug: str) -> dict:
    return deepcopy(_typed(slug))


def test_two_swapped_numbers_are_noticed_where_checks_reach(book: dict[str, Published]) -> None:
    """A total does not see a swap of two rows; the other checks do, where they reach. More than half of the
    numbers of printed tables are reached, so that this stays true."""
    printed = {
        (slug, name, cell.row, cell.metric)
        for slug, found in book.items()
        for name, table in found.tables.items()
        for cell in table.cells
        if cell.printed_column
    }
    reached = {(slug, *place) for slug, found in book.items() for place in places_checked(found)}
    assert len(printed & reached) > len(printed) / 2


def test_every_recorded_number_has_a_unit() -> None:
    lines = read_lines()
    units = {
        unit_of(line.slug, table, row, column)
        for line in lines
        for table, rows in line.rows.items()
        for row, columns in rows.items()
        for column in columns
    }
    assert {"mm", "1", "dB", "ms"} <= units


def test_own_tables_are_of_this_book_alone() -> None:
    """A file of no paper prints no number of one."""
    own = [found for found in read_all_published() if not found.source]
    assert [found.slug for found in own] == ["geometry"]
    assert all(found.own_tables and not found.tables and not found.claims for found in own)


# --- the schema ----------------------------------------------------------------------------------------

TEXT = """
slug: system
source: key
tables:
  errors:
    title: Errors
    where: Table 1
    protocol: test set
    verified: true
    total: 100.70
    columns:
      error: {label: Err., unit: mm, better: lower}
      share: {label: "%", unit: "%"}
    rows:
      base: [20.00, 50]
      ours: {label: Ours, values: [{mean: 10.0, spread: 0.2}, null]}
      decrease: {label: "%", unit: "%", values: [20.5, null]}
    cells:
      - {row: text, metric: error, unit: mm, value: {less_than: 11}, where: Section 1, verified: true}
    checks:
      - {kind: marks, metric: error, direction: lower, best: [ours], rows: [base, ours]}
claims:
  - id: better
    text: Ours is better.
    where: Section 1
    table: errors
    test:
      kind: all
      tests:
        - {kind: comparison, metric: error, better: ours, than: base, direction: lower}
        - {kind: ratio, metric: error, of: base, over: ours, above: 1.5}
  - id: twice
    text: Ours is more than twice as good.
    where: Section 1
    table: errors
    test: {kind: ratio, metric: error, of: base, over: ours, above: 2}
  - id: below
    text: The error is below 12 mm.
    where: Section 1
    table: errors
    test: {kind: threshold, rows: [ours, text], metric: error, below: 12}
  - id: unprinted
    text: Ours is smaller.
    where: Section 1
    table: errors
    test: {kind: comparison, metric: size, better: ours, than: base, direction: lower}
inconsistencies:
  - id: factor
    kind: text and table
    where: Section 1
    printed: more than twice
    follows: 20.00 / 10.0 is twice
    claims: [twice]
  - id: percent
    kind: arithmetic
    where: Table 1
    printed: 20.5 %
    follows: 50 %
    check:
      kind: decrease
      of: [[errors, base, error], [errors, ours, error]]
      printed: [errors, decrease, error]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "book" / "published").mkdir(parents=True)
    write(tmp_path, TEXT)
    return tmp_path


def write(root: Path, text: str) -> None:
    (root / "book" / "published" / "system.yml").write_text(text, encoding="utf-8")


def test_a_printed_table_becomes_cells_that_keep_their_digits(root: Path) -> None:
    found = read_published("system", root)
    cells = {(c.row, c.metric): c for c in found.tables["errors"].cells}
    assert {place: c.text for place, c in cells.items()} == {
        ("base", "error"): "20.00",
        ("base", "share"): "50",
        ("ours", "error"): "10.0 ± 0.2",
        ("decrease", "error"): "20.5",
        ("text", "error"): "< 11",
    }
    assert cells["decrease", "error"].unit == "%"
    assert cells["ours", "error"].place == "Table 1, row 'Ours', column 'Err.'"
    assert cells["ours", "error"].verified
    assert cells["ours", "error"].protocol == "test set"
    assert failing_checks(found) == []


def test_claims_on_the_printed_cells(root: Path) -> None:
    found = read_published("system", root)
    answers = {claim.id: holds_as_printed(claim, found) for claim in found.claims}
    assert answers == {"better": True, "twice": False, "below": True, "unprinted": None}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("total: 100.70", "total: 100.71", "sum to 100.70"),
        ("best: [ours]", "best: [base]", "best is"),
        ("above: 2}", "above: 1.9}", "claim twice: the paper's own cells agree"),
        ("claims: [twice]", "claims: []", "claim twice: the paper's own cells contradict"),
        ("values: [20.5, null]", "values: [50.0, null]", "inconsistency percent: its numbers agree"),
    ],
)
def test_what_does_not_hold_is_named(root: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    write(root, TEXT.replace(old, new))
    assert message in "; ".join(failing_checks(read_published("system", root)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[20.00, 50]", "[20.00]", "tables > errors.*row 'base' has 1 values.*write null"),
        ("[20.00, 50]", "[20.00, many]", "row 'base', column 'share': .*valid number.*not 'many'"),
        ("    where: Table 1\n", "", "tables > errors: where is missing: name the printed table"),
        ("      ours: {label", "      base: {label", "line 16: 'base' is given twice"),
        (
            "title: Errors",
            "titel: Errors",
            "tables > errors > titel: unknown key 'titel': did you mean 'title'",
        ),
        ("    title: Errors\n", "", "tables > errors > title: missing: add `title: ...`"),
        ("best: [ours]", "best: [our]", "no cell of errors; did you mean ours / error"),
        ("[errors, ours, error]]", "[error, ours, error]]", "inconsistency percent.*unknown table: 'error'"),
        ("[errors, ours, error]]", "[ours]]", r"name a cell as \[row, metric\]"),
        ("claims: [twice]", "claims: [thrice]", "inconsistency factor names claim 'thrice'"),
        ("id: percent", "id: factor", "two inconsistencies share an id"),
        ("above: 2}", "above: 2, below: 1}", r"claims > twice \(entry 2\).*exactly one of below, above"),
        ("kind: arithmetic", "kind: slip", r"percent \(entry 2\) > kind.*'arithmetic'"),
        ("{less_than: 11}", "{lowest: 3, highest: 2}", "text / error.*lowest must be below highest"),
        ("printed: 20.5 %", "printed: 20.5", r"percent \(entry 2\) > printed.*put it in quotes"),
        ("slug: system", "slug: other", "name file and slug alike"),
        ("slug: system", "slug: [system", "not YAML"),
        ("source: key\n", "", "tables of a paper, but no `source`: add its key"),
        (
            "error: {label: Err., unit: mm",
            "error: {label: Err., units: mm",
            "unknown key 'units': did you mean 'unit'",
        ),
    ],
)
def test_a_wrong_entry_is_named_with_its_mend(root: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    write(root, TEXT.replace(old, new, 1))
    with pytest.raises(ProjectError, match=rf"(?s)system\.yml.*{message}"):
        read_published("system", root)


def test_a_table_without_numbers_says_why(root: Path) -> None:
    empty = TEXT.replace("claims:\n  - id: better", "  empty:\n    title: Unknown\nclaims:\n  - id: better")
    write(root, empty)
    with pytest.raises(ProjectError, match="tables > empty: no cell.*say in `note` why"):
        read_published("system", root)
    write(root, empty.replace("title: Unknown", "title: Unknown\n    note: the tables are not public"))
    assert read_published("system", root).tables["empty"].cells == []


# --- units ---------------------------------------------------------------------------------------------

METRICS = """
metrics:
  "*_error": {unit: px, better: lower}
  "*": {unit: "1"}
  seconds: {unit: s, better: lower, label: time of a picture}
own_tables:
  speed:
    title: Speed
    metrics: {seconds: {unit: ms}}
"""


@pytest.mark.parametrize(
    ("table", "row", "column", "unit", "better"),
    [
        ("errors", "ours", "error", "mm", "lower"),  # as its column is printed
        ("errors", "decrease", "error", "%", "lower"),  # as the cell is printed
        ("errors", "measured only", "error", "mm", "lower"),
        ("errors", "measured only", "share", "%", None),
        ("errors", "ours", "seconds", "s", "lower"),  # an exact name goes before patterns
        ("errors", "ours", "left_error", "px", "lower"),  # of the patterns, the first
        ("errors", "ours", "anything", "1", None),
        ("speed", "ours", "seconds", "ms", "lower"),  # the table's unit; a direction that only the file has
        ("in no file", "ours", "seconds", "s", "lower"),
    ],
)
def test_units_and_directions(
    root: Path, table: str, row: str, column: str, unit: str, better: str | None
) -> None:
    write(root, TEXT + METRICS)
    assert unit_of("system", table, row, column, root) == unit
    assert better_of("system", table, column, root) == better


def test_names_for_people(root: Path) -> None:
    write(root, TEXT + METRICS)
    found = read_published("system", root)
    columns = ("error", "seconds", "anything")
    assert [found.label("errors", column) for column in columns] == ["Err.", "time of a picture", "anything"]


def test_a_number_without_a_unit_is_refused_with_the_line_to_add(root: Path) -> None:
    with pytest.raises(
        ProjectError, match=r"system\.yml: no unit for column 'size'.*add `size: \{unit: \.\.\.\}`"
    ):
        unit_of("system", "errors", "ours", "size", root)


def test_a_file_is_read_again_when_it_changed(root: Path) -> None:
    assert read_published("system", root) is read_published("system", root)
    write(root, TEXT.replace("unit: mm", "unit: cm"))
    assert unit_of("system", "errors", "ours", "error", root) == "cm"


# --- arithmetic on printed digits ----------------------------------------------------------------------


def numbers(kind: str, inputs: list[str], printed: object, within: float = 0.0) -> str:
    """Why a check of one kind fails on these numbers, typed with these digits."""
    cells = [
        {"row": str(i), "metric": "m", "unit": "1", "value": value, "where": "text", "verified": True}
        for i, value in enumerate([*map(Decimal, inputs), printed])
    ]
    check = {"kind": kind, "within": within} if kind != "same" else {"kind": kind}
    places = [[str(i), "m"] for i in range(len(inputs))]
    last = [str(len(inputs)), "m"]
    check |= {"of": [*places, last]} if kind == "same" else {"of": places, "printed": last}
    table = {"title": "t", "cells": cells, "checks": [check]}
    found = Published.model_validate({"slug": "s", "source": "k", "tables": {"t": table}})
    return check_fails(found, "t", found.tables["t"].checks[0])


@pytest.mark.parametrize(
    ("kind", "inputs", "printed", "holds"),
    [
        ("decrease", ["200", "150"], Decimal("25.0"), True),
        ("decrease", ["20771", "17835"], Decimal("14.13"), False),  # 14.1351
        ("decrease", ["20771", "17835"], Decimal("14.14"), True),
        ("mean", ["1.00", "1.01"], Decimal("1.00"), True),  # 1.005 may round either way
        ("mean", ["1.00", "1.01"], Decimal("1.01"), True),
        ("mean", ["1.00", "1.01"], Decimal("1.02"), False),
        ("sum", ["1.5", "2.5"], Decimal("4.0"), True),
        ("sum", ["1.5", "2.5"], Decimal("4.3"), False),
        ("product", ["20", "5"], Decimal("100"), True),
        ("product", ["20", "5"], Decimal("101"), False),
        ("ratio", ["13.23", "4.19"], {"more_than": Decimal("3")}, True),
        ("ratio", ["13.23", "4.19"], {"more_than": Decimal("4")}, False),
        ("ratio", ["1", "4"], {"less_than": Decimal("0.3")}, True),
        ("ratio", ["1", "2"], {"less_than": Decimal("0.3")}, False),
        ("ratio", ["1", "3"], {"about": Decimal("0.3")}, True),
        ("same", ["49.512"], Decimal("49.5"), True),
        ("same", ["56.370"], Decimal("56.371"), False),
        ("same", ["12"], Decimal("12"), True),
    ],
)
def test_arithmetic_on_printed_digits(kind: str, inputs: list[str], printed: object, holds: bool) -> None:
    assert (numbers(kind, inputs, printed) == "") is holds


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=2), st.integers(0, 4))
def test_a_decrease_rounded_to_any_digit_agrees_and_one_digit_off_does_not(
    pair: list[int], digits: int
) -> None:
    """Whatever counts, a percentage rounded by Decimal is accepted, and refused one unit of it higher."""
    first, second = Decimal(max(pair)), Decimal(min(pair))
    unit = Decimal(1).scaleb(-digits)
    printed = (100 * (first - second) / first).quantize(unit)
    assert numbers("decrease", [str(first), str(second)], printed) == ""
    off = printed + 2 * unit
    assert "the decrease is" in numbers("decrease", [str(first), str(second)], off)


def test_numbers_of_sentences_are_shown_plainly() -> None:
    def text(value: object) -> str:
        return Cell(row="r", metric="m", unit="1", value=value, where="w", verified=True).text

    assert [text(v) for v in (125000.0, 4.0, 0.00001)] == ["125,000", "4", "1e-05"]
    assert text({"lowest": 80, "highest": 140}) == "80 to 140"
    assert text({"more_than": 15}) == "> 15"

"""What the printed numbers must satisfy among themselves, and whether claims hold on them.

Percentages, means, best marks, orders, one number in two places, totals of tables: so that a number that was
typed or changed wrongly is noticed without the papers at hand.
"""

from collections.abc import Sequence
from decimal import Decimal

from hands_lib.reproduce.published import (
    Arithmetic,
    Bound,
    Cell,
    Claim,
    Comparison,
    Marks,
    Order,
    Published,
    Range,
    Ratio,
    Same,
    Spread,
    Table,
    Threshold,
    places_of,
    rows_of,
)


def places_checked(published: Published) -> set[tuple[str, str, str]]:
    """(table, row, metric) of every cell that some check looks at."""
    return {
        (there.table, there.row, there.metric)
        for name, table in published.tables.items()
        for check in table.checks
        for there in (place.within(name) for place in places_of(check, table))
    }


def _rounding(cell: Cell) -> float:
    """Half a unit of the last printed digit; whole numbers are counts, which are exact."""
    return 0.5 * 10.0**-cell.decimals if cell.decimals else 0.0


def _interval(cell: Cell) -> tuple[float, float]:
    """All that the printed digits leave open."""
    value = cell.number
    if value is None:
        raise ValueError(f"{cell.place}: {cell.text} is no number to calculate with")
    return value - _rounding(cell), value + _rounding(cell)


def _computed(check: Arithmetic, cells: Sequence[Cell]) -> tuple[float, float]:
    lows, highs = zip(*map(_interval, cells), strict=True)
    if check.kind in ("mean", "sum"):
        share = len(cells) if check.kind == "mean" else 1
        return sum(lows) / share, sum(highs) / share
    if check.kind == "product":
        low = high = 1.0
        for a, b in zip(lows, highs, strict=True):
            low, high = low * a, high * b
        return low, high
    if check.kind == "ratio":
        return lows[0] / highs[1], highs[0] / lows[1]
    return 100 * (1 - highs[1] / lows[0]), 100 * (1 - lows[1] / highs[0])


def _agrees(low: float, high: float, printed: Cell, within: float) -> bool:
    tiny = 1e-9 * max(1.0, abs(high))
    value = printed.value
    if isinstance(value, Bound) and value.less_than is not None:
        return low - within < value.less_than
    if isinstance(value, Bound) and value.more_than is not None:
        return high + within > value.more_than
    target = value.about if isinstance(value, Bound) else printed.number
    if target is None:
        raise ValueError(f"{printed.place}: {printed.text} is no number to compare with")
    # a printed whole number that was calculated is rounded, although a counted one is exact
    half = 0.5 * 10.0 ** -(printed.decimals or 0) + within
    return low - half - tiny <= target <= high + half + tiny


def check_fails(published: Published, table: str, check: Arithmetic | Same | Marks | Order) -> str:
    """Why a check does not hold on the printed numbers; empty if it holds."""
    if isinstance(check, Arithmetic):
        cells = [published.cell(place.within(table)) for place in check.of]
        printed = published.cell(check.printed.within(table))
        low, high = _computed(check, cells)
        if _agrees(low, high, printed, check.within):
            return ""
        return f"{printed.place} prints {printed.text}; the {check.kind} is {low:.6g} to {high:.6g}"
    if isinstance(check, Same):
        cells = [published.cell(place.within(table)) for place in check.of]
        spans = [_interval(cell) for cell in cells]
        exact = len({cell.number for cell in cells}) == 1
        if exact or max(low for low, _ in spans) < min(high for _, high in spans) - 1e-12:
            return ""
        return "not the same number: " + "; ".join(f"{cell.place}: {cell.text}" for cell in cells)
    own = published.tables[table]
    numbers = {
        place.row: number
        for place in places_of(check, own)
        if (number := published.cell(place.within(table)).number) is not None
    }
    if isinstance(check, Order):
        values = [numbers[row] for row in check.rows]
        rising = check.direction == "rising"
        wrong = [
            f"{a} ({numbers[a]:g}), {b} ({numbers[b]:g})"
            for a, b, x, y in zip(check.rows, check.rows[1:], values, values[1:], strict=False)
            if (x > y if rising else x < y)
        ]
        return f"{own.where}, {check.metric}: not {check.direction} at {'; '.join(wrong)}" if wrong else ""
    levels = sorted(set(numbers.values()), reverse=check.direction == "higher")
    marked = [("best", levels[0], check.best)] + (
        [("second", levels[1], check.second)] if check.second else []
    )
    for word, value, rows in marked:
        found = {row for row, number in numbers.items() if number == value}
        if found != set(rows):
            return f"{own.where}, {check.metric}: {word} is {sorted(found)}, marked is {sorted(rows)}"
    return ""


def failing_checks(published: Published) -> list[str]:
    """What is wrong with the typed numbers: failing checks, differing totals, inconsistencies that agree."""
    wrong = []
    for name, table in published.tables.items():
        found = [check_fails(published, name, check) for check in table.checks]
        wrong += [f"{published.slug}.yml, table {name!r}: {text}" for text in found if text]
        total = sum_of_digits(table)
        if table.total is not None and table.total != total:
            wrong.append(
                f"{published.slug}.yml, table {name!r}: the numbers sum to {total}, those of the source "
                f"text to {table.total}: a number was typed or changed wrongly"
            )
    for entry in published.inconsistencies:
        if entry.check and not check_fails(published, "", entry.check):
            wrong.append(f"{published.slug}.yml, inconsistency {entry.id}: its numbers agree")
    contradicted = {name for entry in published.inconsistencies for name in entry.claims}
    for claim in published.claims:
        if (holds_as_printed(claim, published) is False) != (claim.id in contradicted):
            wrong.append(
                f"{published.slug}.yml, claim {claim.id}: the paper's own cells "
                + ("agree, but an inconsistency names it" if claim.id in contradicted else "contradict it")
            )
    return wrong


def sum_of_digits(table: Table) -> Decimal:
    """The sum of all numbers of a printed table with the digits as typed (a ± counts too)."""
    total = Decimal(0)
    for row in table.rows.values():
        for value in row.values:
            for number in value.values() if isinstance(value, dict) else [value]:
                total += number if isinstance(number, Decimal) else Decimal(str(number or 0))
    return total


def holds_as_printed(claim: Claim, published: Published) -> bool | None:
    """Whether a claim holds on the paper's own cells; None where the paper does not print them."""
    answers = [_test_holds(test, published.tables[claim.table]) for test in claim.tests]
    return False if False in answers else None if None in answers else True


def _test_holds(test: Threshold | Comparison | Ratio, table: Table) -> bool | None:
    cells = [table.cell(row, test.metric) for row in rows_of(test)]
    numbers = [None if cell is None else cell.number for cell in cells]
    if isinstance(test, Threshold):
        return _threshold_holds(test, [None if cell is None else cell.value for cell in cells])
    first, second = numbers
    if first is None or second is None:
        return None
    if isinstance(test, Ratio):
        return first / second < test.below if test.below is not None else first / second > (test.above or 0)
    gain = first - second if test.direction == "higher" else second - first
    return gain > 0 if test.margin == 0 else gain >= -test.margin - 1e-12


def _threshold_holds(test: Threshold, values: Sequence[float | Bound | Spread | Range | None]) -> bool | None:
    answers: list[bool | None] = []
    for value in values:
        if isinstance(value, Bound):
            # "less than 0.5" answers "below 0.5"; other bounds leave the test open
            under = None not in (test.below, value.less_than) and (value.less_than or 0) <= (test.below or 0)
            over = None not in (test.above, value.more_than) and (value.more_than or 0) >= (test.above or 0)
            answers.append(True if under or over else None)
            continue
        number = value.mean if isinstance(value, Spread) else None if isinstance(value, Range) else value
        if number is None:
            answers.append(None)
        elif test.equals is not None:
            answers.append(number == test.equals)
        else:
            answers.append(number < test.below if test.below is not None else number > (test.above or 0))
    return False if False in answers else None if None in answers else True

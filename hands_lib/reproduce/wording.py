"""Numbers, effects and bounds in words that a reader understands without knowing how a test is computed.

A change always says which way it goes and whether that is what the claim wants: "0.08 dB lower (worse)",
never "-0.08 dB higher".
"""

from collections.abc import Sequence

import numpy as np

from hands_lib.reproduce.published import Comparison, Direction, Ratio, Threshold

Array = np.ndarray  # of float64
Test = Threshold | Comparison | Ratio
OTHER_WAY: dict[Direction, Direction] = {"lower": "higher", "higher": "lower"}


def number(value: float, digits: int = 3) -> str:
    """Three digits, zeros at the end too, or all of a whole number; thousands written out."""
    if value == int(value) and abs(value) < 1e9:
        return f"{value:,.0f}"
    rounded = float(f"{value:.{digits}g}")
    if 10**digits <= abs(rounded) < 1e9:
        return f"{rounded:,.0f}"
    return f"{value:#.{digits}g}".removesuffix(".")


def standard_deviation(values: Sequence[float] | Array) -> float:
    """Over seeds; what rounding alone makes is none."""
    tiny = 1e-12 * abs(float(np.mean(values)))
    return 0.0 if np.ptp(values) <= tiny else float(np.std(values, ddof=1))


def spread(values: Sequence[float] | Array) -> str:
    """Mean ± standard deviation over seeds; a single seed has no spread."""
    mean = number(float(np.mean(values)))
    return mean if len(values) == 1 else f"{mean} ± {number(standard_deviation(values), 2)}"


def count(n: int, word: str) -> str:
    """`1 claim`, `3 claims`."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def _with_unit(text: str, unit: str) -> str:
    return text if unit in ("", "1") else f"{text} {unit}"


def _from_to(low: str, high: str, low_way: str, high_way: str) -> str:
    """`3.5 to 4.7 dB higher`, or `0.2 dB lower to 0.1 dB higher` where the ends lie on different sides."""
    if low_way == high_way:
        same = [low, high]
        # a shared unit is said once
        first, _, unit = low.partition(" ")
        if unit and high.endswith(f" {unit}"):
            same[0] = first
        return f"{same[0]} to {same[1]} {low_way}".rstrip()
    return f"{low} {low_way}".rstrip() + f" to {high} {high_way}".rstrip()


def change(difference: float, unit: str = "", digits: int = 2) -> tuple[str, str]:
    """How far one row lies from another, and on which side: `("0.077 dB", "lower")`."""
    if difference == 0:
        return "no difference", ""
    return _with_unit(number(abs(difference), digits), unit), "higher" if difference > 0 else "lower"


def ratio(value: float) -> tuple[str, str]:
    """A ratio below 2 as a change in percent, others as they are: `("12.4 %", "lower")`, or
    `("17.8 times", "")`."""
    if value >= 2 or value < 0:
        return f"{number(value)} times", ""
    if value == 1:
        return "no difference", ""
    # what binary fractions add to 1 - 0.85 is not said
    percent = round(100 * abs(value - 1), 10)
    return f"{number(percent)} %", "higher" if value > 1 else "lower"


def comparison_words(gain: float, low: float | None, high: float | None, spread_of: float | None,
                     unit: str, direction: Direction) -> str:  # fmt: skip
    """A comparison of two rows in words.

    Args:
        gain: mean advantage, above 0 where the row that should be better is better.
        low, high: its 95 % interval, if there is one.
        spread_of: its standard deviation over seeds, if there are several.
        unit: of all of them.
        direction: of the metric that the claim takes for better.
    """
    sign = 1 if direction == "higher" else -1
    size, way = change(sign * gain, unit)
    text = size
    if way:
        if spread_of is not None:
            size = _with_unit(f"{number(abs(gain), 2)} ± {number(spread_of, 2)}", unit)
        text = f"{size} {way} ({'better' if way == direction else 'worse'})"
    if low is not None and high is not None:
        ends = sorted((sign * low, sign * high))
        (a, a_way), (b, b_way) = (change(end, unit) for end in ends)
        if a_way == b_way == "lower":  # the smaller change first
            a, b = b, a
        text += f", 95 %: {_from_to(a, b, a_way, b_way)}"
    return text


def threshold_words(values: Sequence[float] | Array, low: float | None, high: float | None, unit: str) -> str:
    """One row's mean with its interval."""
    text = _with_unit(spread(values), unit)
    if low is not None and high is not None:
        text += f", 95 %: {number(low)} to {_with_unit(number(high), unit)}"
    return text


def ratio_words(value: float, low: float | None, high: float | None) -> str:
    """The ratio of two rows with its interval."""
    size, way = ratio(value)
    text = f"{size} {way}".rstrip()
    if low is not None and high is not None:
        (a, a_way), (b, b_way) = ratio(low), ratio(high)
        if a_way == b_way == "lower":
            a, b = b, a
        text += f", 95 %: {_from_to(a, b, a_way, b_way)}"
    return text


def claimed(test: Test, unit: str = "") -> str:
    """What a test asks for: `above 75 %`, `more than 15 % lower`, `higher`."""
    if isinstance(test, Comparison):
        if test.margin:
            worse = _with_unit(number(test.margin), unit)
            return f"{test.direction}, or at most {worse} {OTHER_WAY[test.direction]}"
        return test.direction
    if isinstance(test, Threshold) and test.equals is not None:
        return _with_unit(f"exactly {number(test.equals)}", unit)
    word, bound = ("below", test.below) if test.below is not None else ("above", test.above)
    assert bound is not None
    if isinstance(test, Threshold):
        return _with_unit(f"{word} {number(bound)}", unit)
    size, way = ratio(bound)
    if not way:
        return f"{word} {size}" if size != "no difference" else word.replace("below", "lower")
    more = (way == "lower") == (word == "below")
    return f"{'more' if more else 'less'} than {size} {way}"

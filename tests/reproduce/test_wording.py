"""Effects in words: the sign is always the one that the words say."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands_lib.reproduce.published import Comparison, Ratio, Threshold
from hands_lib.reproduce.wording import claimed, comparison_words, ratio_words, threshold_words

NUMBERS = st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-6)
WIDTHS = st.floats(1e-6, 1e6)
DIRECTIONS = st.sampled_from(["lower", "higher"])


def read(text: str) -> float:
    """`0.08 dB lower` as a signed number."""
    found = re.fullmatch(r"([\d.,e+-]+)(?: ± \S+)?(?: \S+)? (lower|higher)(?: \((?:better|worse)\))?", text)
    assert found, text
    return float(found[1].replace(",", "")) * (-1 if found[2] == "lower" else 1)


@given(ours=NUMBERS, theirs=NUMBERS, direction=DIRECTIONS)
def test_which_row_is_better_is_said_as_it_is(ours: float, theirs: float, direction: str) -> None:
    """From the two numbers alone: lower or higher as they compare, better as the claim wants."""
    gain = ours - theirs if direction == "higher" else theirs - ours
    text = comparison_words(gain, None, None, None, "dB", direction)
    if ours == theirs:
        assert text == "no difference"
        return
    assert ("lower" in text) is (ours < theirs)
    assert ("(better)" in text) is ((ours < theirs) is (direction == "lower"))
    assert ("(worse)" in text) is ("(better)" not in text)
    assert not text.startswith("-")
    assert read(text) == pytest.approx(ours - theirs, rel=0.06)


@given(gain=NUMBERS, half=WIDTHS, direction=DIRECTIONS)
def test_ends_of_an_interval_are_said_on_their_side(gain: float, half: float, direction: str) -> None:
    low, high = gain - half, gain + half
    text = comparison_words(gain, low, high, None, "mm", direction).partition(", 95 %: ")[2]
    sign = 1 if direction == "higher" else -1
    ends = sorted((sign * low, sign * high))
    if 0 in ends:
        return
    if low * high > 0:  # one word for both ends, the smaller change first
        first, second, word = re.fullmatch(r"(\S+) to (\S+) mm (lower|higher)", text).groups()
        sizes = [float(part.replace(",", "")) for part in (first, second)]
        assert sizes == pytest.approx(sorted(map(abs, ends)), rel=0.06)
        assert word == ("higher" if ends[0] > 0 else "lower")
    else:
        first, second = text.split(" to ")
        assert [read(first), read(second)] == pytest.approx(ends, rel=0.06)


@given(value=st.floats(0.001, 1.999), low=st.floats(0.5, 0.999), high=st.floats(1.001, 1.5))
def test_a_ratio_is_a_change_in_percent(value: float, low: float, high: float) -> None:
    text, _, ends = ratio_words(value, low, high).partition(", 95 %: ")
    if value == 1:
        assert text == "no difference"
    else:
        assert read(text) == pytest.approx(100 * (value - 1), rel=0.006, abs=1e-8)
    first, second = ends.split(" to ")
    assert read(first) == pytest.approx(100 * (low - 1), rel=0.006)
    assert read(second) == pytest.approx(100 * (high - 1), rel=0.006)


def test_examples_by_hand() -> None:
    words = comparison_words(-0.077, -0.245, 0.091, 0.068, "dB", "higher")
    assert words == "0.077 ± 0.068 dB lower (worse), 95 %: 0.24 dB lower to 0.091 dB higher"
    words = comparison_words(2.31, 2.09, 2.53, 0.09, "mm", "lower")
    assert words == "2.3 ± 0.090 mm lower (better), 95 %: 2.1 to 2.5 mm lower"
    assert ratio_words(0.876, 0.828, 0.926) == "12.4 % lower, 95 %: 7.40 to 17.2 % lower"
    assert ratio_words(17.83, 17.0, 18.5) == "17.8 times, 95 %: 17 to 18.5 times"
    assert threshold_words([0.6, 0.8], 0.1, 1.3, "%") == "0.700 ± 0.14 %, 95 %: 0.100 to 1.30 %"


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (Threshold(kind="threshold", rows=["a"], metric="m", below=0.5), "below 0.500 mm"),
        (Threshold(kind="threshold", rows=["a"], metric="m", equals=307.0), "exactly 307 mm"),
        (Ratio(kind="ratio", metric="m", of="a", over="b", below=0.85), "more than 15 % lower"),
        (Ratio(kind="ratio", metric="m", of="a", over="b", below=1.02), "less than 2 % higher"),
        (Ratio(kind="ratio", metric="m", of="a", over="b", above=0.9), "less than 10 % lower"),
        (Ratio(kind="ratio", metric="m", of="a", over="b", above=1.25), "more than 25 % higher"),
        (Ratio(kind="ratio", metric="m", of="a", over="b", above=17.0), "above 17 times"),
        (Ratio(kind="ratio", metric="m", of="a", over="b", below=1.0), "lower"),
        (Comparison(kind="comparison", metric="m", better="a", than="b", direction="lower"), "lower"),
        (
            Comparison(kind="comparison", metric="m", better="a", than="b", direction="lower", margin=0.1),
            "lower, or at most 0.100 mm higher",
        ),
    ],
)
def test_what_is_claimed(test: Threshold | Comparison | Ratio, words: str) -> None:
    assert claimed(test, "mm") == words

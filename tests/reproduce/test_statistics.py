"""Intervals against textbook values, scipy and simulation: the test of a statistic is its coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from hands_lib.reproduce.statistics import (
    DISTRIBUTIONS,
    MOST_SEEDS,
    QUANTITIES,
    coverage,
    effect_size,
    interval,
    seeds_to_decide,
    two_level,
)

DIFFERENCE, MEAN = QUANTITIES
finite = st.floats(-1e3, 1e3)


def test_interval_of_a_textbook() -> None:
    """Of 1, 2, 3: mean 2, standard error 1 / sqrt(3), and 4.303 from the table of t with two degrees."""
    assert_allclose(interval([1.0, 2.0, 3.0]), 2 + np.array([-1, 1]) * 4.302653 / 3**0.5, rtol=1e-6)


@given(st.lists(finite, min_size=2, max_size=12), st.sampled_from([0.9, 0.95, 0.99]))
def test_interval_agrees_with_that_of_scipy(values: list[float], confidence: float) -> None:
    if np.ptp(values) < 1e-6:
        return
    expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert_allclose(interval(values, confidence), expected, rtol=1e-9, atol=1e-9)


def test_one_value_has_no_interval_and_alike_ones_a_point() -> None:
    assert interval([3.0]) is None
    assert two_level([[1.0, 2.0]]) is None
    assert interval([0.1] * 3) == (0.1, 0.1)  # their sum over three is another number
    assert two_level([[1.0, 2.0]] * 3) != (1.5, 1.5)  # the examples differ
    with pytest.raises(ValueError, match="no values"):
        interval([])
    with pytest.raises(ValueError, match="seeds by examples"):
        two_level([1.0, 2.0])


@given(st.lists(finite, min_size=2, max_size=6), st.floats(0.1, 10), finite)
def test_interval_moves_and_stretches_with_the_values(
    values: list[float], scale: float, shift: float
) -> None:
    moved = interval([scale * v + shift for v in values])
    expected = [scale * end + shift for end in interval(values)]
    assert_allclose(moved, expected, atol=1e-6 * (1 + abs(shift) + scale * np.abs(values).max()))


# --- seeds and examples ----------------------------------------------------------------------------------


def test_two_levels_by_hand() -> None:
    """Seeds of mean 0 and 2, two examples of mean 0 and 2: each variance is 2 / 2, the sum 2; Welch and
    Satterthwaite give 2 degrees of freedom. That is narrower than the seeds alone with their one degree."""
    sample = np.array([[-1.0, 1.0], [1.0, 3.0]])
    assert_allclose(two_level(sample), interval(sample.mean(axis=1)))
    more = np.concatenate(
        [sample, sample, sample]
    )  # six seeds: variance 1.2 / 6 by five degrees, and 2 / 2 by one
    of_seeds, of_examples = 1.2 / 6, 1.0
    freedom = (of_seeds + of_examples) ** 2 / (of_seeds**2 / 5 + of_examples**2 / 1)
    half = stats.t.ppf(0.975, freedom) * (of_seeds + of_examples) ** 0.5
    assert_allclose(two_level(more), (1 - half, 1 + half))


@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(2, 30), st.floats(0, 3), st.floats(0, 3))
def test_two_levels_are_never_narrower_than_the_seeds_alone(
    number: int, seeds: int, examples: int, between: float, among: float
) -> None:
    rng = np.random.default_rng(number)
    sample = rng.normal(0, 1, (seeds, examples)) + rng.normal(0, between, (seeds, 1))
    sample += rng.normal(0, among, (1, examples))
    (low, high), (least, most) = two_level(sample), interval(sample.mean(axis=1))
    assert low <= least + 1e-9
    assert high >= most - 1e-9
    assert_allclose(low + high, 2 * sample.mean(), atol=1e-9)


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_two_levels_cover_what_seeds_alone_do_not(seeds: int) -> None:
    """Examples that differ more than seeds: another test set would say something else, and the interval must
    know. 2,000 draws tell a coverage to about 0.5 %."""
    rng = np.random.default_rng(seeds)
    held, alone = 0, 0
    for _ in range(2000):
        sample = rng.normal(0, 0.3, (seeds, 1)) + rng.normal(0, 3, (1, 30)) + rng.normal(0, 1, (seeds, 30))
        (low, high), (least, most) = two_level(sample), interval(sample.mean(axis=1))
        held += low <= 0 <= high
        alone += least <= 0 <= most
    assert held / 2000 >= 0.93
    assert alone / 2000 < 0.8


# --- coverage --------------------------------------------------------------------------------------------


def test_the_distributions_have_mean_zero_and_the_shape_of_their_name() -> None:
    rng = np.random.default_rng(0)
    found = {name: draw(rng, (10**6,)) for name, draw in DISTRIBUTIONS.items()}
    assert_allclose([values.mean() for values in found.values()], 0, atol=0.01)
    skewness = {name: stats.skew(values) for name, values in found.items()}
    assert abs(skewness["normal"]) < 0.02
    assert skewness["skewed"] == pytest.approx(2, abs=0.05)  # of an exponential
    assert stats.kurtosis(found["heavy-tailed"]) > 20


@pytest.mark.parametrize("seeds", [3, 5, 8])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_paired_differences_are_covered(distribution: str, seeds: int) -> None:
    """Nominal 95 %, at least 93 %: 400,000 draws tell it to 0.04 %."""
    assert coverage(distribution, seeds, 400_000, np.random.default_rng(0), DIFFERENCE) >= 0.93


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_one_row_is_covered_unless_it_is_strongly_skewed(seeds: int) -> None:
    """What the module and the page say of skewed rows stays true: about 89 %."""
    found = {name: coverage(name, seeds, 400_000, np.random.default_rng(0), MEAN) for name in DISTRIBUTIONS}
    assert found["normal"] == pytest.approx(0.95, abs=0.005)
    assert found["heavy-tailed"] >= 0.95
    assert 0.88 <= found["skewed"] <= 0.90


def test_coverage_counts_as_the_interval_does() -> None:
    """Draw by draw, the slow obvious way."""
    rng = np.random.default_rng(5)
    values = DISTRIBUTIONS["skewed"](rng, (2000, 4))
    held = sum(low <= 0 <= high for low, high in map(interval, values))
    assert coverage("skewed", 4, 2000, np.random.default_rng(5), MEAN) == held / 2000


def test_the_bootstrap_of_three_seeds_is_why() -> None:
    """Its percentile interval, by which verdicts were judged once, holds 75 of 100 times."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (4000, 3))
    draws = values[:, rng.integers(0, 3, (500, 3))].mean(axis=2)
    low, high = np.percentile(draws, [2.5, 97.5], axis=1)
    assert ((low < 0) & (high > 0)).mean() == pytest.approx(0.75, abs=0.03)


# --- effect size, seeds that would decide ----------------------------------------------------------------


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=20), st.integers(1, 50))
def test_effect_size_has_no_unit(values: list[int], scale: int) -> None:
    """Scaling all differences leaves it, turning them round turns its sign."""
    differences = [float(v) for v in values]
    found = effect_size(differences)
    if len(set(values)) == 1:
        assert found is None
        return
    assert_allclose(effect_size([scale * v for v in differences]), found, atol=1e-9)
    assert_allclose(effect_size([-v for v in differences]), -found, atol=1e-9)


def test_effect_size_of_few() -> None:
    assert effect_size([1.0]) is None
    assert effect_size([1.0, 3.0]) == pytest.approx(2**0.5)


def slowly(mean: float, deviation: float) -> int | None:
    """The first number of seeds whose interval leaves out 0, one after the other."""
    for seeds in range(2, MOST_SEEDS + 1):
        if stats.t.ppf(0.975, seeds - 1) * deviation / seeds**0.5 < abs(mean):
            return seeds
    return None


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=6, unique=True), st.integers(-50, 50))
def test_seeds_that_would_decide(values: list[int], bound: int) -> None:
    deviation = float(np.std(values, ddof=1))
    assert seeds_to_decide(values, float(bound)) == slowly(float(np.mean(values)) - bound, deviation)


def test_seeds_do_not_decide_what_examples_leave_open() -> None:
    """Without spread between seeds, more of them change nothing; of one seed nobody knows."""
    assert seeds_to_decide(np.array([[-1.0, 1.5]] * 3), 0.0) is None
    assert seeds_to_decide([0.0, 2.0], 1.0) is None
    assert seeds_to_decide([5.0], 0.0) is None
    assert seeds_to_decide([1.0, 1.0], 0.0) == 2

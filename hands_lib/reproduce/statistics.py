"""What few seeds can say: intervals of a mean by Student's t, effect sizes, how often intervals are right.

A verdict is judged on three to eight numbers. The bootstrap draws from these few again and again and never
sees a value outside them, so that its "95 %" holds 75 of 100 times with three seeds; Student's t knows how
little three numbers say of their own spread. `coverage` measures by simulation how often the interval holds:
95 of 100 times for normal data, 93 or more for paired differences of skewed or heavy-tailed data. It is short
of that for the mean of one strongly skewed row (88 to 90), which no interval of three numbers can mend: they
do not show the skewness. A verdict on one row against a number is that much less certain where its spread is
large and lopsided.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
MOST_SEEDS = 1000  # `seeds_to_decide` looks no further

Array = np.ndarray  # of float64
Numbers = int | float | np.ndarray
Values = Sequence | np.ndarray  # by seed, or by seed and example


def _t(freedom: Numbers, confidence: float) -> Numbers:
    """How many standard errors an interval reaches to either side."""
    return stdtrit(freedom, (1 + confidence) / 2)


def _variances(values: Array) -> tuple[float, float, int]:
    """Variance between seeds; variance of the mean that comes from examples; how many examples (1: none)."""
    seeds = values if values.ndim == 1 else values.mean(axis=1)
    between = float(np.var(seeds, ddof=1)) if np.ptp(seeds) > 0 else 0.0
    if values.ndim == 1 or values.shape[1] < 2:
        return between, 0.0, 1
    return between, float(np.var(values.mean(axis=0), ddof=1)) / values.shape[1], values.shape[1]


def _half_width(
    between: Numbers, of_examples: float, seeds: Numbers, examples: int, confidence: float
) -> Numbers:
    """Of the interval that so many seeds give."""
    of_seeds = between / seeds
    alone = _t(seeds - 1, confidence) * np.sqrt(of_seeds)
    both = of_seeds + of_examples
    if of_examples == 0:
        return alone
    # Welch and Satterthwaite: as many degrees of freedom as the sum of the two variances is known with
    freedom = both**2 / (of_seeds**2 / (seeds - 1) + of_examples**2 / (examples - 1))
    return np.maximum(alone, _t(freedom, confidence) * np.sqrt(both))


def interval(values: Values, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Interval of the mean, by Student's t.

    Args:
        values: one number for each seed; or seeds by examples, see `two_level`.

    Returns:
        Lowest and highest mean; None for a single seed, which says nothing of its spread; of seeds that are
        all alike, a point.

    Raises:
        ValueError: no value.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0:
        raise ValueError("an interval of no values: leave out what was not run")
    if len(sample) < 2:
        return None
    between, of_examples, examples = _variances(sample)
    half = float(_half_width(between, of_examples, len(sample), examples, confidence))
    # a sum of equal numbers, divided by their number, may differ in the last bit
    mean = float(sample.mean() if half else np.mean(sample[0]))
    return mean - half, mean + half


def two_level(differences: Values, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Interval of the mean where every seed was measured on the same examples: what other seeds and other
    examples would change.

    The variance of the mean is that between seeds, divided by their number, and that between examples (of
    their means over seeds), divided by theirs; the interval is never narrower than the seeds alone make it.

    Args:
        differences: seeds by examples; examples in the same order for every seed.
    """
    sample = np.asarray(differences, dtype=float)
    if sample.ndim != 2:
        raise ValueError(f"differences are seeds by examples, not of shape {sample.shape}")
    return interval(sample, confidence)


def effect_size(differences: Sequence[float] | Array) -> float | None:
    """Mean over standard deviation of paired differences (Cohen's d); None for one pair, or where all are
    alike."""
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None
    return float(np.mean(differences) / np.std(differences, ddof=1))


def seeds_to_decide(differences: Values, bound: float, confidence: float = CONFIDENCE) -> int | None:
    """The smallest number of seeds whose interval would leave out `bound`, if mean and spread stay.

    Args:
        differences: as for `interval`.

    Returns:
        None above 1,000 seeds, and where one seed says nothing of the spread.
    """
    sample = np.asarray(differences, dtype=float)
    if len(sample) < 2:
        return None
    seeds = np.arange(2, MOST_SEEDS + 1)
    between, of_examples, examples = _variances(sample)
    enough = _half_width(between, of_examples, seeds, examples, confidence) < abs(sample.mean() - bound)
    return int(seeds[enough.argmax()]) if enough.any() else None


# --- how often the intervals are right --------------------------------------------------------------------

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

DISTRIBUTIONS: dict[str, Draw] = {  # all of mean 0
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "skewed": lambda rng, shape: rng.standard_exponential(shape) - 1,  # skewness 2
    "heavy-tailed": lambda rng, shape: rng.standard_t(3, shape),  # its variance is finite, its kurtosis not
}
QUANTITIES = ("difference of two rows", "mean of one row")


def coverage(
    distribution: str,
    seeds: int,
    draws: int,
    rng: np.random.Generator,
    quantity: str = QUANTITIES[0],
    confidence: float = CONFIDENCE,
) -> float:
    """How often `interval` holds the true mean, by simulation.

    Args:
        distribution: of a row's values over seeds: one of `DISTRIBUTIONS`.
        draws: simulated experiments.
        quantity: of two rows, the first is twice as spread as the second; were both alike, a skewed pair
            would have symmetric differences, which flatters the interval.
    """
    draw = DISTRIBUTIONS[distribution]
    values = draw(rng, (draws, seeds))
    if quantity == QUANTITIES[0]:
        values = 2 * values - draw(rng, (draws, seeds))
    half = _half_width(values.var(axis=1, ddof=1), 0.0, seeds, 1, confidence)
    return float((np.abs(values.mean(axis=1)) <= half).mean())

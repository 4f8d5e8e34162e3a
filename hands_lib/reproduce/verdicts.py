"""Verdicts: what the records say about a paper's claims.

Judged on records of the largest profile that ran, never on smoke runs nor on records of an earlier version of
the method, and separately for every data set and protocol:

- reproduced: the claim holds, and so does it over the whole 95 % interval;
- not reproduced: it fails over the whole interval;
- inconclusive: the interval contains both, or there are too few seeds;
- not run: no record.

Two rows are compared seed by seed, as both see the same data under one seed: the interval is that of the mean
difference (bootstrap over seeds), and the effect size d is the mean difference in units of its standard
deviation over seeds (Cohen's d of paired samples).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from hands_lib.reproduce.methods import method_versions
from hands_lib.reproduce.published import Claim, Comparison, OwnClaim, Published, Ratio, Threshold, rows_of
from hands_lib.reproduce.records import RunRecord
from hands_lib.reproduce.runs import PROFILES

MIN_SEEDS = 3
Answer = Literal["reproduced", "not reproduced", "inconclusive", "not run"]


# --- which records count -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """The records of one or more systems, sorted out.

    counted: those that tables and verdicts are made of. stale: made by an earlier version of the method.
    other_settings: of the present method, but with other settings than most runs of the same row.
    """

    counted: Sequence[RunRecord] = ()
    stale: Sequence[RunRecord] = ()
    other_settings: Sequence[RunRecord] = ()


def sort_out(records: Sequence[RunRecord], root: Path | None = None) -> Evidence:
    """Runs of one row are averaged only if their settings are the same: the settings with most seeds count,
    of equally many the ones recorded last. Smoke runs replace each other and are never stale."""
    versions = method_versions({(r.slug, r.table) for r in records}, root)
    stale = [r for r in records if r.profile != "smoke" and r.method_version != versions[r.slug, r.table]]
    old = set(map(id, stale))
    rows: dict[tuple, dict[str, list[RunRecord]]] = {}
    for record in records:
        if id(record) not in old:
            row = (record.slug, record.table, record.variant, *record.group)
            rows.setdefault(row, {}).setdefault(record.config_hash, []).append(record)
    counted, other = [], []
    for settings in rows.values():
        best = max(
            settings, key=lambda h: (len({r.seed for r in settings[h]}), max(r.created for r in settings[h]))
        )
        for config_hash, found in settings.items():
            (counted if config_hash == best else other).extend(found)
    return Evidence(counted, stale, other)


def largest(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records of the largest profile, smoke runs left out."""
    ran = [r for r in records if r.profile != "smoke"]
    best = max((PROFILES.index(r.profile) for r in ran), default=0)
    return [r for r in ran if PROFILES.index(r.profile) == best]


def groups(records: Sequence[RunRecord]) -> dict[tuple[str, str, str, str], list[RunRecord]]:
    """Runs that may be averaged or compared: same profile, data set, its version, and protocol."""
    found: dict[tuple[str, str, str, str], list[RunRecord]] = {}
    for record in records:
        found.setdefault(record.group, []).append(record)
    return found


def values_of(records: Sequence[RunRecord], row: str, metric: str) -> dict[int, float]:
    """Seed -> value of one cell; of several runs of a seed the newest counts."""
    own = sorted((r for r in records if r.variant == row and metric in r.metrics), key=lambda r: r.created)
    return {r.seed: r.metrics[metric].value for r in own}


# --- numbers -------------------------------------------------------------------------------------------


def interval(values: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean (percentiles; seeded draws, so that the answer repeats)."""
    sample = np.asarray(values, dtype=float)
    rng = np.random.default_rng(0)
    means = sample[rng.integers(0, len(sample), (draws, len(sample)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def effect_size(differences: Sequence[float]) -> float | None:
    """Mean over standard deviation of paired differences; None for one pair, or where all are alike."""
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None
    return float(np.mean(differences) / np.std(differences, ddof=1))


def number(value: float, digits: int = 3) -> str:
    """Three digits, zeros at the end too, or all of a whole number; thousands written out."""
    if value == int(value) and abs(value) < 1e9:
        return f"{value:,.0f}"
    rounded = float(f"{value:.{digits}g}")
    if 10**digits <= abs(rounded) < 1e9:
        return f"{rounded:,.0f}"
    return f"{value:#.{digits}g}".removesuffix(".")


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds; a single run has no spread."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return number(mean)
    deviation = 0.0 if np.ptp(values) <= 1e-12 * abs(mean) else float(np.std(values, ddof=1))
    return f"{number(mean)} ± {number(deviation, 2)}"


def _measured(values: Sequence[float], unit: str, differences: Sequence[float] | None = None) -> str:
    """`0.4 ± 0.1 mm [0.3, 0.5], d = 4`."""
    text = spread(values) + unit
    if len(values) > 1:
        low, high = interval(values)
        text += f" [{number(low)}, {number(high)}]"
    d = None if differences is None else effect_size(differences)
    return text if d is None else f"{text}, d = {number(d, 2)}"


def _unit(records: Sequence[RunRecord], metric: str) -> str:
    unit = next(r.metrics[metric].unit for r in records if metric in r.metrics)
    return "" if unit == "1" else f" {unit}"


# --- verdicts ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim on one data set, with the effect, its 95 % interval and its size."""

    claim: Claim
    answer: Answer
    effect: str = ""
    judged_on: str = ""
    numbers: dict[str, list[float]] = field(default_factory=dict)


def _holds(low: float, high: float, test: Threshold | Ratio) -> bool | None:
    """Whether a whole interval passes (True), a whole interval fails (False), or it straddles the bound."""
    if isinstance(test, Threshold) and test.equals is not None:
        return low == high == test.equals
    if test.below is not None:
        return True if high < test.below else False if low >= test.below else None
    assert test.above is not None
    return True if low > test.above else False if high <= test.above else None


def _answer(holds: bool | None) -> Answer:
    return "inconclusive" if holds is None else "reproduced" if holds else "not reproduced"


def _judge_threshold(claim: Claim, test: Threshold, records: Sequence[RunRecord]) -> tuple[Answer, str]:
    samples = {row: list(values_of(records, row, test.metric).values()) for row in test.rows}
    if not all(samples.values()):
        return "not run", ""
    unit = _unit(records, test.metric)
    effect = "; ".join(f"{row}: {_measured(sample, unit)}" for row, sample in samples.items())
    if not claim.deterministic and min(map(len, samples.values())) < MIN_SEEDS:
        return "inconclusive", f"{effect} (fewer than {MIN_SEEDS} seeds)"
    each = [_holds(*interval(sample), test) for sample in samples.values()]
    return _answer(False if False in each else None if None in each else True), effect


def _judge_pairs(claim: Claim, test: Comparison | Ratio, records: Sequence[RunRecord]) -> tuple[Answer, str]:
    comparison = isinstance(test, Comparison)
    ours, theirs = (values_of(records, row, test.metric) for row in rows_of(test))
    seeds = sorted(ours.keys() & theirs.keys())  # paired: the same seed, the same data
    if not seeds:
        return "not run", ""
    if isinstance(test, Comparison):
        sign = 1 if test.direction == "higher" else -1
        found = [sign * (ours[seed] - theirs[seed]) for seed in seeds]
        effect = _measured(found, f"{_unit(records, test.metric)} {test.direction}", found)
    elif any(theirs[seed] == 0 for seed in seeds):
        return "inconclusive", f"{test.metric} of {test.over} is 0: there is no ratio"
    else:
        found = [ours[seed] / theirs[seed] for seed in seeds]
        effect = _measured(found, " times", [ours[seed] - theirs[seed] for seed in seeds])
    if not claim.deterministic and len(seeds) < MIN_SEEDS:
        return "inconclusive", f"{effect} (fewer than {MIN_SEEDS} paired seeds)"
    low, high = interval(found)
    if not comparison:
        return _answer(_holds(low, high, test)), effect
    least = -test.margin  # how much worse still counts as no worse
    holds = low > 0 if test.margin == 0 else low >= least
    fails = high <= 0 if test.margin == 0 else high < least
    return _answer(True if holds else False if fails else None), effect


def _judge_all(claim: Claim, records: Sequence[RunRecord]) -> tuple[Answer, str]:
    """A claim of several tests fails with one of them and holds with all; a test not run leaves it open."""
    found = [
        _judge_threshold(claim, test, records)
        if isinstance(test, Threshold)
        else _judge_pairs(claim, test, records)
        for test in claim.tests
    ]
    answers = [answer for answer, _ in found]
    if len(found) == 1:
        return found[0]
    if set(answers) == {"not run"}:
        return "not run", ""
    open_tests = [
        f"{test.metric} of {' against '.join(rows_of(test))}: {effect or answer}"
        for test, (answer, effect) in zip(claim.tests, found, strict=True)
        if answer != "reproduced"
    ]
    more = [f"and {len(open_tests) - 3} more"] if len(open_tests) > 3 else []
    effect = "; ".join([f"{answers.count('reproduced')} of {len(answers)} hold", *open_tests[:3], *more])
    if "not reproduced" in answers:
        return "not reproduced", effect
    return ("reproduced" if set(answers) == {"reproduced"} else "inconclusive"), effect


def judge(claim: Claim, records: Sequence[RunRecord], stale: Sequence[RunRecord] = ()) -> list[Verdict]:
    """One verdict for every data set and protocol that the claim was measured on; one `not run` if none."""
    wanted = {(row, test.metric) for test in claim.tests for row in rows_of(test)}

    def about(records: Sequence[RunRecord]) -> list[RunRecord]:
        return [
            r for r in records if r.table == claim.table and any((r.variant, m) in wanted for m in r.metrics)
        ]

    own = about(records)
    verdicts = []
    for (profile, dataset, version, protocol), group in groups(largest(own)).items():
        answer, effect = _judge_all(claim, group)
        judged_on = f"{dataset} {version}, {profile} profile; {protocol}"
        verdicts.append(Verdict(claim, answer, effect, judged_on))
    why = "only a smoke run so far" if own else ""
    why = "only by an earlier version of the method" if about(stale) else why
    return [v for v in verdicts if v.answer != "not run"] or [Verdict(claim, "not run", "", why)]


def claims_text(published: Sequence[Published], evidence: dict[str, Evidence]) -> str:
    """What `hands claims` prints: every claim with its verdict, and how many of each there are."""
    lines: list[str] = []
    answers: list[Answer] = []
    targets: list[Answer] = []
    for system in published:
        own = evidence[system.slug]
        for claim in (*system.claims, *system.own_claims):
            for verdict in judge(claim, own.counted, own.stale):
                (targets if isinstance(claim, OwnClaim) else answers).append(verdict.answer)
                lines.append(f"{verdict.answer.upper():<15} {system.slug}: {claim.text} ({claim.where})")
                details = "; ".join(text for text in (verdict.effect, verdict.judged_on) if text)
                lines += [f"{'':<15} {details}"] if details else []
    lines.append(count_answers(answers) or "no claim is written down")
    return "\n".join(lines + ([f"targets of this book: {count_answers(targets)}"] if targets else []))


def count_answers(answers: Sequence[Answer]) -> str:
    """`3 reproduced, 1 not run`."""
    return ", ".join(f"{answers.count(a)} {a}" for a in get_args(Answer) if a in answers)

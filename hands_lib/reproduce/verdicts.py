"""Verdicts: what the lines of jobs say about a paper's claims.

Judged on the largest profile that ran, never on smoke jobs, on dirty ones or on those of another version of
their chapter (`evidence.py`), and separately for every data set and protocol:

- reproduced: the claim holds, and so does it over the whole 95 % interval;
- not reproduced: it fails over the whole interval;
- inconclusive: the interval contains both, there are too few seeds, or the claim's gate does not hold;
- not run: no line.

A gate (`published.Gate`) is judged by the same rules on the same lines, and holds only over its whole
interval: a module that did not learn says nothing about a claim on it, whichever way the numbers fall.

Two rows are compared seed by seed, as both see the same data under one seed: the interval is that of the mean
difference (Student's t, `statistics.py`), or of the mean logarithm of a ratio. Where every seed of both rows
has the scores of single examples, the interval also says what other examples would change. The effect size d
is the mean difference in units of its standard deviation over seeds (Cohen's d of paired samples).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal, get_args

import numpy as np

from hands_lib.reproduce.evidence import Evidence, Group, Kind, largest, read_evidence
from hands_lib.reproduce.jobs import JobLine
from hands_lib.reproduce.plan import duration
from hands_lib.reproduce.published import (
    Claim,
    Comparison,
    OwnClaim,
    Published,
    Ratio,
    Threshold,
    read_all_published,
    read_published,
    rows_of,
)
from hands_lib.reproduce.statistics import MOST_SEEDS, Array, effect_size, interval, seeds_to_decide
from hands_lib.reproduce.wording import (
    Test,
    claimed,
    comparison_words,
    number,
    ratio_words,
    standard_deviation,
    threshold_words,
)

MIN_SEEDS = 3
Answer = Literal["reproduced", "not reproduced", "inconclusive", "not run"]
Standing = Literal["reproduced", "not reproduced", "undecided", "not measured"]
Interval = Callable[[Array], tuple[float, float] | None]


# --- one test on one sample ------------------------------------------------------------------------------


def by_seed(values: Array) -> Array:
    """Means over examples, where there are any."""
    return values if values.ndim == 1 else values.mean(axis=1)


@dataclass(frozen=True)
class Effect:
    """A mean over seeds with its 95 % interval, which a single seed has not. A ratio's mean is geometric, its
    unit `times`. d: effect size of paired rows."""

    mean: float
    low: float | None
    high: float | None
    unit: str
    d: float | None = None


@dataclass(frozen=True)
class Part:
    """One test of a claim, on one row or two.

    row: the row's name, or `row against row`. text: what was measured and how surely, `plain` of it without
    the statistics. clearance: how far the mean lies on the right side of the bound, in half-widths of the
    interval. needed: of an open part, the seeds that would decide it if mean and spread stay as they are;
    None: too many. label: the metric's name for people. wanted: what the test asks for, in words.
    """

    metric: str
    row: str
    answer: Answer
    text: str = ""
    seeds: int = 0
    examples: int = 0
    effect: Effect | None = None
    clearance: float = 0.0
    needed: int | None = None
    lines: Sequence[JobLine] = ()
    label: str = ""
    wanted: str = ""
    plain: str = ""

    @property
    def words(self) -> str:
        return f"{self.row}, {self.label or self.metric}: {self.text or self.answer}"


def _bound(test: Test) -> tuple[int, float | None]:
    """1 where the test holds above it, -1 where below; of a comparison, that of the gain."""
    if isinstance(test, Comparison):
        return 1, -test.margin
    return (-1, test.below) if test.below is not None else (1, test.above)


def _answer(low: float, high: float, test: Test) -> Answer:
    """Whether a whole interval passes, a whole interval fails, or it contains both."""
    if isinstance(test, Threshold) and test.equals is not None:
        return "reproduced" if low == high == test.equals else "not reproduced"
    sign, bound = _bound(test)
    assert bound is not None
    least, most = sorted((sign * (low - bound), sign * (high - bound)))
    # as much worse as the margin is no worse; any other bound has to be passed
    if least > 0 or (least == 0 and isinstance(test, Comparison) and test.margin):
        return "reproduced"
    if most < 0 or (most == 0 and not (isinstance(test, Comparison) and test.margin)):
        return "not reproduced"
    return "inconclusive"


@dataclass(frozen=True)
class _Judge:
    """Of one claim on one group of lines."""

    claim: Claim
    evidence: Evidence
    group: Group
    interval: Interval
    logarithms: bool

    def sample(self, row: str, column: str, lines: Sequence[JobLine]) -> Array:
        """Seeds; or seeds by examples, where every seed has as many and their mean is the number itself."""
        table = self.claim.table
        values = np.array([line.rows[table][row][column] for line in lines])
        examples = [line.examples.get(table, {}).get(row, {}).get(column, []) for line in lines]
        if len({len(own) for own in examples}) > 1 or not examples[0]:
            return values
        means = np.mean(examples, axis=1)
        kept = 1e-4 * float(np.abs(examples).max())  # examples have five digits
        return (
            np.array(examples) + (values - means)[:, None] if np.allclose(means, values, 0, kept) else values
        )

    def parts(self, test: Test) -> list[Part]:
        """Of every row, or of the pair of rows; one part that was not run where something is missing."""
        label = self.evidence.label(self.claim.table, test.metric)
        return [replace(part, label=label) for part in self._parts(test)]

    def _parts(self, test: Test) -> list[Part]:
        rows, table = rows_of(test), self.claim.table
        found = [self.evidence.cell(table, row, test.metric).get(self.group, {}) for row in rows]
        unit = "" if not found[0] else self.evidence.unit(table, rows[0], test.metric)
        seeds = sorted(found[0].keys() & found[-1].keys())  # paired: the same seed, the same data
        if not seeds or not all(found):
            return [Part(test.metric, " against ".join(rows), "not run")]
        if isinstance(test, Threshold):
            samples = [[own[seed] for seed in sorted(own)] for own in found]
            return [
                self.part(test, row, self.sample(row, test.metric, lines), unit, lines)
                for row, lines in zip(rows, samples, strict=True)
            ]
        pair = [[own[seed] for seed in seeds] for own in found]
        ours, theirs = (self.sample(row, test.metric, own) for row, own in zip(rows, pair, strict=True))
        if ours.shape != theirs.shape:
            ours, theirs = by_seed(ours), by_seed(theirs)
        return [self.of_pair(test, ours, theirs, unit, [*pair[0], *pair[1]])]

    def of_pair(
        self, test: Comparison | Ratio, ours: Array, theirs: Array, unit: str, lines: Sequence[JobLine]
    ) -> Part:
        rows, a, b = " against ".join(rows_of(test)), by_seed(ours), by_seed(theirs)
        if isinstance(test, Comparison):
            gain = (ours - theirs) * (1 if test.direction == "higher" else -1)
            return self.part(test, rows, gain, unit, lines, by_seed(gain))
        if (b == 0).any():
            text = f"that of {test.over} is 0: there is no ratio"
            return Part(test.metric, rows, "inconclusive", text, len(b), lines=lines)
        # where nothing is left of something there is a ratio, but no logarithm
        if not self.logarithms or (a / b <= 0).any():
            return self.part(test, rows, a / b, "times", lines, a - b)
        logarithms = np.log(a / b)
        if ours.ndim == 2:  # to first order, what an example adds to the logarithm
            logarithms = logarithms[:, None] + ours / a[:, None] - theirs / b[:, None]
        return self.part(test, rows, logarithms, "times", lines, a - b, logarithms=True)

    def part(
        self, test: Test, row: str, values: Array, unit: str, lines: Sequence[JobLine],
        differences: Array | None = None, logarithms: bool = False,
    ) -> Part:  # fmt: skip
        """Judge one sample: seeds, or seeds by examples."""
        seeds, examples = len(values), values.shape[1] if values.ndim == 2 else 0
        mean, ends = float(values.mean()), self.interval(values)
        if ends is None and self.claim.deterministic:
            ends = mean, mean
        plain: Callable[[float], float] = math.exp if logarithms else float
        low, high = (plain(end) for end in ends) if ends else (None, None)
        d = None if differences is None else effect_size(differences)
        way = test.direction if isinstance(test, Comparison) else ""
        effect = Effect(
            plain(mean), low, high, " ".join(filter(None, ("" if unit == "1" else unit, way))) or "1", d
        )

        ends_shown = (low, high) if seeds > 1 else (None, None)
        if isinstance(test, Comparison):
            of_seeds = standard_deviation(by_seed(values)) if seeds > 1 else None
            points = "% points" if unit == "%" else unit
            text = comparison_words(mean, *ends_shown, of_seeds, points, test.direction)
        elif isinstance(test, Ratio):
            text = ratio_words(effect.mean, *ends_shown)
        else:
            text = threshold_words(by_seed(values), *ends_shown, unit)
        plain_text = text
        text += "" if d is None else f", d = {number(d, 2)}"
        text += f", {seeds} seeds" if seeds > 1 else ""
        text += f" of {examples} examples" if examples else ""
        answer: Answer = "inconclusive"
        if low is None or high is None or (seeds < MIN_SEEDS and not self.claim.deterministic):
            text += f" (fewer than {MIN_SEEDS} {'' if differences is None else 'paired '}seeds)"
        else:
            answer = _answer(low, high, test)

        clearance, needed = 0.0, None
        sign, bound = _bound(test)
        if bound is not None:
            bound = math.log(bound) if logarithms else bound
            beyond, half = sign * (mean - bound), (ends[1] - ends[0]) / 2 if ends else 0.0
            clearance = beyond / half if half else math.copysign(math.inf, beyond)
            if answer == "inconclusive":
                needed = MIN_SEEDS if seeds < 2 else seeds_to_decide(values, bound)
        own = (answer, text, seeds, examples, effect, clearance, needed and max(needed, MIN_SEEDS), lines)
        return Part(test.metric, row, *own, wanted=claimed(test, unit), plain=plain_text)


# --- verdicts ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim on one data set, with what it was judged on. Of several parts, seeds, examples
    and effect are those of the one that decides, which `decided_by` names in words. `gated` says why the
    claim is not judged, where its gate does not hold; `parts` then still say what was measured."""

    claim: Claim
    answer: Answer
    text: str = ""
    judged_on: str = ""
    parts: Sequence[Part] = ()
    decided_by: str = ""
    seeds: int = 0
    examples: int = 0
    effect: Effect | None = None
    deciding: Part | None = None
    gated: str = ""

    @property
    def standing(self) -> Standing:
        """The answer as a reader needs it: what is open because a part was never measured is told apart from
        what the measurements leave open."""
        if self.answer == "inconclusive":
            answers = {part.answer for part in self.parts}
            undecided = "inconclusive" in answers or bool(self.gated and "not run" not in answers)
            return "undecided" if undecided else "not measured"
        return "not measured" if self.answer == "not run" else self.answer


def _verdict(judge: _Judge) -> Verdict | None:
    """None where nothing was run. A claim of several tests fails with one of them and holds with all; a test
    that was not run leaves it open."""
    tests = [judge.parts(test) for test in judge.claim.tests]
    parts = [part for own in tests for part in own]
    answers = {part.answer for part in parts}
    if answers == {"not run"}:
        return None
    answer: Answer = "reproduced" if answers == {"reproduced"} else "inconclusive"
    answer = "not reproduced" if "not reproduced" in answers else answer
    # a failing part decides, else one that is open, else the one that holds most narrowly
    order = ("not reproduced", "inconclusive", "not run", "reproduced")
    one = min(parts, key=lambda part: (order.index(part.answer), part.clearance))
    text = one.text
    if len(tests) > 1:
        holding = sum({part.answer for part in own} == {"reproduced"} for own in tests)
        text = f"{holding} of {len(tests)} parts hold"
        unmeasured = sum(part.answer == "not run" for part in parts)
        text += f", {unmeasured} not measured" if unmeasured else ""
    elif isinstance(judge.claim.test, Threshold):
        text = "; ".join(f"{part.row}: {part.text}" for part in parts)
    word = {"reproduced": "closest", "not reproduced": "fails", "inconclusive": "open"}[answer]
    decided_by = f"{word}: {one.words}" if len(tests) > 1 else ""
    if len(tests) > 1 and one.answer == "not run":
        labels = dict.fromkeys(part.label for part in parts if part.answer == "not run")
        decided_by = f"not measured: {', '.join(labels)}"
    profile, dataset, version, protocol = judge.group
    judged_on = f"{dataset} {version}, {profile} profile; {protocol}"
    gated = _gated(judge)
    own = (judged_on, parts, decided_by, one.seeds, one.examples, one.effect, one, gated)
    return Verdict(judge.claim, "inconclusive" if gated else answer, text, *own)


def _gated(judge: _Judge) -> str:
    """Why a claim is not judged on these lines; empty where its gate holds, or where it has none."""
    before = judge.claim.before
    if judge.claim.gate is None or before is None:
        return ""
    own = replace(judge, claim=before)
    closed = [part for test in before.tests for part in own.parts(test) if part.answer != "reproduced"]
    if not closed:
        return ""
    one = min(closed, key=lambda part: (part.answer != "not run", part.clearance))
    asked = f" (asked: {one.wanted})" if one.wanted else ""
    return f"{judge.claim.gate.otherwise}: {one.row}, {one.label}: {one.plain or one.answer}{asked}"


def judge(
    claim: Claim,
    evidence: Evidence,
    interval: Interval = interval,
    ratios: Literal["logarithms", "plain"] = "logarithms",
) -> list[Verdict]:
    """One verdict for every data set and protocol that the claim was measured on; one `not run` if none.

    Args:
        interval: of a mean, from its values by seed, or by seed and example; None where there is none.
        ratios: what the mean of a ratio is taken of.
    """
    wanted = dict.fromkeys((row, test.metric) for test in claim.tests for row in rows_of(test))

    def groups(kind: Kind) -> list[Group]:
        return sorted({group for cell in wanted for group in evidence.cell(claim.table, *cell, kind)})

    on = largest(groups("counted"))
    found = [_verdict(_Judge(claim, evidence, group, interval, ratios == "logarithms")) for group in on]
    verdicts = [verdict for verdict in found if verdict]
    if verdicts:
        return verdicts
    why = "only a smoke run so far" if groups("unfinished") else ""
    why = "only from sources that are in no commit" if largest(groups("unfinished")) else why
    why = "only by another version of the chapter" if groups("stale") else why
    return [Verdict(claim, "not run", judged_on=why)]


STANDINGS: tuple[Standing, ...] = get_args(Standing)


def standing_of(verdicts: Sequence[Verdict]) -> Standing:
    """Of a claim that was judged on several data sets: reproduced only if it is so on all of them."""
    found = {verdict.standing for verdict in verdicts}
    order: tuple[Standing, ...] = ("not reproduced", "undecided", "not measured", "reproduced")
    return next(one for one in order if one in found)


def said(claim: Claim) -> str:
    """A claim, and what it is about."""
    return claim.text + (f" [{claim.region}]" if claim.region else "")


def count_standings(standings: Sequence[Standing]) -> str:
    """`3 reproduced, 1 not measured`."""
    return ", ".join(f"{standings.count(one)} {one}" for one in STANDINGS if one in standings)


def claims_text(published: Sequence[Published], evidence: Mapping[str, Evidence]) -> str:
    """What `hands claims` prints: every claim with its verdict, and how many of each there are."""
    lines: list[str] = []
    claims: list[Standing] = []
    targets: list[Standing] = []
    for system in published:
        for claim in (*system.claims, *system.own_claims):
            for verdict in judge(claim, evidence[system.slug]):
                (targets if isinstance(claim, OwnClaim) else claims).append(verdict.standing)
                lines.append(f"{verdict.standing.upper():<15} {system.title}: {said(claim)} ({claim.where})")
                gated = f"not judged, as {verdict.gated}" if verdict.gated else ""
                said_of_it = (gated, verdict.text, verdict.decided_by, verdict.judged_on)
                details = [text for text in said_of_it if text]
                lines += [f"{'':<15} {'; '.join(details)}"] if details else []
    lines.append(count_standings(claims) or "no claim is written down")
    return "\n".join(lines + ([f"targets of this book: {count_standings(targets)}"] if targets else []))


# --- what is open ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Undecided:
    """A verdict that is open because its interval contains both, or for want of seeds.

    needed: seeds that would decide if the effect stays as it is; None: more than 1,000. seconds: what one
    seed of each job of the rows takes, by system, chapter and job: one that serves several rows is one.
    """

    verdict: Verdict
    seeds: int
    needed: int | None
    seconds: Mapping[tuple[str, str, str], float]

    @property
    def missing(self) -> int:
        return max((self.needed or 0) - self.seeds, 0)

    @property
    def minutes(self) -> float | None:
        """That the missing seeds take, one job at a time."""
        return None if self.needed is None else self.missing * sum(self.seconds.values()) / 60


def undecided(published: Published, evidence: Evidence) -> list[Undecided]:
    """The claims of the paper and of the book that more seeds could decide, in their order."""
    found = []
    for claim in (*published.claims, *published.own_claims):
        for verdict in judge(claim, evidence):
            parts = [part for part in verdict.parts if part.answer == "inconclusive" and part.effect]
            # one part that fails decides for all; else each has to hold
            failing = [part for part in parts if part.clearance < 0 and part.needed]
            complete = all(part.answer != "not run" for part in verdict.parts)
            open_ = verdict.answer == "inconclusive" and not verdict.gated
            if open_ and parts and (failing or complete):
                chosen = [min(failing, key=lambda part: part.needed or 0)] if failing else parts
                needed = [part.needed for part in chosen if part.needed]
                jobs: dict[tuple[str, str, str], dict[int, float]] = {}
                for line in (line for part in chosen for line in part.lines):
                    jobs.setdefault((line.slug, line.chapter, line.job), {})[line.seed] = line.seconds
                most = max(needed) if len(needed) == len(chosen) else None
                seconds = {job: median(own.values()) for job, own in jobs.items()}
                found.append(Undecided(verdict, min(part.seeds for part in chosen), most, seconds))
    return found


def undecided_text(root: Path, slug: str | None = None) -> str:
    """What `hands plan --undecided` prints.

    Raises:
        ProjectError: nothing is published for the slug, or the store cannot be read.
    """
    lines = []
    missing: dict[tuple[str, str, str], float] = {}  # of all claims together
    for system in read_all_published(root) if slug is None else [read_published(slug, root)]:
        for one in undecided(system, read_evidence(system.slug, root)):
            lines.append(f"{system.title}: {said(one.verdict.claim)} ({one.verdict.claim.where})")
            lines.append(f"    {one.verdict.decided_by or one.verdict.text}")
            cost = f"more than {MOST_SEEDS:,} would decide if the effect stays as it is"
            if one.minutes is not None:
                cost = f"{one.needed} would decide if the effect stays as it is"
                cost += f": about {duration(60 * one.minutes)} more"
                for job, seconds in one.seconds.items():
                    missing[job] = max(missing.get(job, 0.0), seconds * one.missing)
            lines.append(f"    {one.verdict.judged_on.split(';')[0]}: {one.seeds} seeds; {cost}")
    last = (
        f"{len(lines) // 3} undecided; what would decide takes about {duration(sum(missing.values()))} in all"
    )
    return "\n".join([*lines, last if lines else "no claim is undecided"])

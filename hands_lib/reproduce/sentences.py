"""What a sentence of a chapter says about recorded jobs: their numbers in words, never typed in.

A chapter's first cell answers its question with them:

    error = answer_of("intersections", "fit error", "custom mesh", "fit_error_mean")
    show_answer(f"Yes: {error} on average.")
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hands_lib.reproduce.evidence import read_evidence
from hands_lib.reproduce.project import nearest
from hands_lib.reproduce.published import read_published
from hands_lib.reproduce.recorded import Recorded, recorded
from hands_lib.reproduce.verdicts import count_standings, judge, standing_of
from hands_lib.reproduce.wording import change, number, spread

NOT_RUN = "(not run yet)"
NO_RESULT = " (a smoke run, not a result)"
PLAIN = {
    "reproduced": "holds",
    "not reproduced": "does not hold",
    "inconclusive": "undecided",
    "not run": "not run yet",
}
WORDS = {"%": " %", "1": "", "cm3": " cm³", "deg": "°"}  # units as a sentence writes them


def _unit(found: Recorded, row: str, column: str) -> str:
    unit = found.evidence.unit(found.table, row, column)
    return WORDS.get(unit, f" {unit}")


def _caveat(found: Recorded) -> str:
    return NO_RESULT if found.is_smoke else ""


def _signed(text: str) -> str:
    """With a minus sign in front, which no line breaks behind, in the place of a hyphen."""
    return re.sub(r"^-", "\N{MINUS SIGN}", text)


def answer_of(
    slug: str, table: str, row: str, column: str, dataset: str | None = None, root: Path | None = None
) -> str:
    """`64.6 ± 0.19 %`: mean and standard deviation over the seeds, with the unit.

    Of the largest profile that ran, and of the first data set by name unless one is given. Where only a
    smoke run is there the words say so; where nothing is, they are `(not run yet)`.

    Raises:
        ProjectError: something in the store cannot be read, or nothing is published for `slug`.
    """
    found = recorded(slug, table, root)
    values = list(found.by_seed(row, column, dataset).values())
    if not values:
        return NOT_RUN
    said = _signed(spread(values)).removesuffix(" ± 0")  # what no seed changes has no spread to tell
    return f"{said}{_unit(found, row, column)}{_caveat(found)}"


def change_of(
    slug: str, table: str, row: str, than: str, column: str, share: bool = False, root: Path | None = None
) -> str:
    """`0.0770 dB lower`: the mean difference of two rows over the seeds that both have, without a sign.

    Args:
        share: the difference as a share of the row `than`: `18.5 % lower`.

    Raises:
        ProjectError: something in the store cannot be read, or nothing is published for `slug`.
    """
    found = recorded(slug, table, root)
    ours, theirs = found.by_seed(row, column), found.by_seed(than, column)
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return NOT_RUN
    before = float(np.mean([theirs[seed] for seed in both]))
    difference = float(np.mean([ours[seed] - theirs[seed] for seed in both]))
    if not difference:
        return f"the same{_caveat(found)}"
    size, way = change(100 * difference / abs(before) if share else difference, digits=3)
    return f"{size}{' %' if share else _unit(found, row, column)} {way}{_caveat(found)}"


def range_of(values: Iterable[float], unit: str = "") -> str:
    """`3.80 to 8.10 %`: the least and the greatest of the numbers that were measured."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return NOT_RUN
    ends = dict.fromkeys((_signed(number(min(known))), _signed(number(max(known)))))
    return " to ".join(ends) + WORDS.get(unit, f" {unit}" if unit else "")


def verdicts_of(slug: str, table: str | None = None, root: Path | None = None) -> str:
    """`2 reproduced, 1 undecided`: the claims of the paper on one table, or on all, with this answer.

    Raises:
        ProjectError: something in the store cannot be read, or nothing is published for `slug`.
    """
    evidence = read_evidence(slug, root)
    claims = [claim for claim in read_published(slug, root).claims if table in (None, claim.table)]
    return count_standings([standing_of(judge(claim, evidence)) for claim in claims])


def verdict_of(slug: str, claim: str, root: Path | None = None) -> str:
    """`holds`, `does not hold`, `undecided` or `not run yet`: one claim of the paper or target of this book.

    Args:
        claim: its `id` in the published file.

    Raises:
        ProjectError: something in the store cannot be read, or there is no such claim.
    """
    published = read_published(slug, root)
    claims = {one.id: one for one in (*published.claims, *published.own_claims)}
    if claim not in claims:
        raise nearest(claim, list(claims), f"claim of {slug}:")
    verdicts = judge(claims[claim], read_evidence(slug, root))
    return " and ".join(dict.fromkeys(PLAIN[verdict.answer] for verdict in verdicts))


@dataclass(frozen=True)
class Answer:
    """A paragraph of Markdown that a notebook and a page show."""

    text: str

    def _repr_markdown_(self) -> str:
        return f"**Answer.** {self.text}"

    def __repr__(self) -> str:
        return f"Answer. {self.text}"


def show_answer(sentence: str) -> Answer:
    """The answer to a chapter's question, as the last line of a cell with the tag `answer`.

    A mean of nothing, `nan`, reads `(not run yet)`: a chapter also runs where its jobs are still to be made.
    """
    return Answer(re.sub(r"\bnan\b", NOT_RUN, sentence))

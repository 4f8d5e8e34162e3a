"""Claims with their verdicts, one below the other, as a meta-analysis prints them: a forest plot.

Claims of one paper are about decibels, millimetres, counts and ratios, which no axis has in common. Hence the
axis is where the verdict lies: the distance of the measured effect from the bound of the claim, in
half-widths of its 95 % interval. An interval that crosses the bound is undecided; everything right of the
bound speaks for the claim. The effect in its own unit stands beside it in words. The drawing needs no script,
and is hidden from those who hear the page, as the words beside it say all that it shows.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hands_lib.reproduce.evidence import Evidence
from hands_lib.reproduce.html_tables import HIDDEN, escape, plain
from hands_lib.reproduce.measured import readable
from hands_lib.reproduce.printed_checks import holds_as_printed
from hands_lib.reproduce.published import Claim, OwnClaim, Published, Threshold
from hands_lib.reproduce.verdicts import Part, Standing, Verdict, judge
from hands_lib.reproduce.wording import count, number

SIGNS: dict[Standing, str] = {
    "reproduced": "✓",
    "not reproduced": "✗",
    "undecided": "?",
    "not measured": "–",
}
FARTHEST = 15.0  # half-widths; what lies beyond is drawn at the edge
WIDTH, HEIGHT, MARGIN = 200.0, 24.0, 8.0  # of a drawing, in its own units
AXIS = (
    "Plot: distance of the measured effect from the bound of the claim, in half-widths of its 95 % interval; "
    "the axis is linear near the bound and logarithmic far from it. A bar that crosses the line is "
    "undecided. Square: the part that decides; dots: the other parts of the claim."
)


def sign(found: Standing) -> str:
    """Of a verdict; not read aloud, as the word stands beside it."""
    return f'<span aria-hidden="true">{SIGNS[found]}</span>'


def chip(found: Standing) -> str:
    """A verdict as sign, colour and word."""
    return f'<span class="hands-verdict hands-{found.replace(" ", "-")}">{sign(found)} {found}</span>'


def position(distance: float) -> float:
    """Where a distance from the bound is drawn, from left to right."""
    inside = max(-FARTHEST, min(FARTHEST, distance))
    return WIDTH / 2 + (WIDTH / 2 - MARGIN) * math.asinh(inside) / math.asinh(FARTHEST)


def _distance(part: Part) -> float | None:
    """None of a part without an interval."""
    if part.effect is None or part.effect.low is None:
        return None
    if part.clearance == 0 and part.effect.low == part.effect.high:  # equal to a number, or not
        return math.inf if part.answer == "reproduced" else -math.inf
    return part.clearance


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Row:
    """One verdict: what was claimed where, what was measured, and the one caveat."""

    claim: str
    where: str
    verdict: Verdict
    caveat: str

    @property
    def standing(self) -> Standing:
        return self.verdict.standing

    @property
    def found(self) -> str:
        """What was measured, in words; before that, why it decides nothing where the gate is closed."""
        gated = self.verdict.gated
        return f"Not judged, as {gated}. {_sentence(self._measured)}" if gated else self._measured

    @property
    def _measured(self) -> str:
        verdict = self.verdict
        if verdict.answer == "not run":
            return verdict.judged_on
        one = verdict.deciding
        if one is not None and one.answer == "not run":
            return f"{verdict.text} ({verdict.decided_by.partition(': ')[2]})"
        if one is None or not one.plain:
            return ". ".join(_sentence(text) for text in (verdict.text, verdict.decided_by) if text)
        asked = f" (claimed: {one.wanted})" if one.wanted not in ("", "lower", "higher") else ""
        if len(verdict.claim.tests) > 1:
            word = verdict.decided_by.partition(":")[0]
            return f"{verdict.text}. {_sentence(word)}: {one.row}, {one.label}: {one.plain}{asked}"
        several = len(verdict.parts) > 1 and isinstance(verdict.claim.test, Threshold)
        return (verdict.text if several else one.plain) + asked

    @property
    def sureness(self) -> str:
        """What the words rest on: seeds, examples, effect size."""
        one = self.verdict.deciding
        if one is None or one.effect is None:
            return ""
        seeds = count(one.seeds, "seed") + (f" of {one.examples:,} examples" if one.examples else "")
        return seeds + ("" if one.effect.d is None else f", effect size d = {number(abs(one.effect.d), 2)}")

    @property
    def below(self) -> list[str]:
        return [text for text in (self.sureness, self.caveat) if text]

    def html(self) -> str:
        below = "".join(f'<div class="hands-small">{escape(text)}</div>' for text in self.below)
        where = f'<div class="hands-small">{escape(self.where)}</div>' if self.where else ""
        return (
            f'<tr><th scope="row">{escape(self.claim)}{where}</th><td>{self.drawing()}</td>'
            f"<td>{chip(self.standing)} {escape(self.found)}{below}</td></tr>"
        )

    def drawing(self) -> str:
        """An inline picture of the verdict's parts."""
        middle, centre = HEIGHT / 2, WIDTH / 2
        # colours of the style sheet, and of the text where there is none, as in a notebook
        line, ring = 'stroke="currentColor"', 'stroke="currentColor" fill="none"'
        shapes = [
            f'<line class="hands-bound" {line} x1="{centre:g}" x2="{centre:g}" y1="0" y2="{HEIGHT:g}"/>'
        ]
        deciding: list[str] = []
        for part in self.verdict.parts:
            distance = _distance(part)
            if distance is None:
                continue
            x = position(distance)
            if part is not self.verdict.deciding:
                shapes.append(f'<circle class="hands-other" {ring} cx="{x:.1f}" cy="{middle:g}" r="2.5"/>')
                continue
            if math.isfinite(distance):
                ends = f'x1="{position(distance - 1):.1f}" x2="{position(distance + 1):.1f}"'
                deciding.append(
                    f'<line class="hands-interval" {line} {ends} y1="{middle:g}" y2="{middle:g}"/>'
                )
            deciding.append(
                f'<rect fill="currentColor" x="{x - 4:.1f}" y="{middle - 4:g}" width="8" height="8"/>'
            )
        name = self.standing.replace(" ", "-")
        return (
            f'<svg class="hands-forest-plot hands-{name}" width="{WIDTH:g}" '
            f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}" '
            f'aria-hidden="true" focusable="false">{"".join([*shapes, *deciding])}</svg>'
        )


@dataclass(frozen=True)
class Forest:
    """The claims of a paper, or of one of its tables, in its order."""

    title: str
    rows: Sequence[Row]

    @property
    def notes(self) -> list[str]:
        judged_on = dict.fromkeys(row.verdict.judged_on for row in self.rows if row.verdict.parts)
        drawn = any(_distance(part) is not None for row in self.rows for part in row.verdict.parts)
        return [AXIS if drawn else "", *(f"Judged on {readable(text)}." for text in judged_on if text)]

    def _repr_html_(self) -> str:
        lines = "".join(row.html() for row in self.rows)
        heads = [
            "claim",
            f'<span aria-hidden="true">fails ← bound → holds</span>{HIDDEN.format("plot, see the words")}',
            "verdict and effect",
        ]
        head = "".join(f'<th scope="col">{text}</th>' for text in heads)
        axis, *judged_on = self.notes
        notes = f"<p>{escape(axis)}</p>" if axis else ""
        if judged_on:
            fold = "".join(f"<p>{escape(note)}</p>" for note in judged_on)
            notes += f"<details><summary>Data, profile and protocol</summary>{fold}</details>"
        return (
            f'<div class="hands-table hands-forest"><table>'
            f"<caption>{html.escape(self.title)}</caption><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
            f'<div class="hands-notes">{notes}</div></div>'
        )

    def __repr__(self) -> str:
        lines = [plain(self.title)]
        for row in self.rows:
            where = f" ({row.where})" if row.where else ""
            lines.append(f"{row.standing.upper():<15} {plain(row.claim + where)}")
            lines += [f"{'':<15} {plain(text)}" for text in (row.found, *row.below) if text]
        return "\n".join([*lines, *map(plain, self.notes[1:])])


def _rows(claims: Sequence[Claim], published: Published, verdicts: dict[str, list[Verdict]]) -> list[Row]:
    rows = []
    for claim in claims:
        own = isinstance(claim, OwnClaim)
        printed = None if own else holds_as_printed(claim, published)
        contradicted = "the paper's own numbers contradict it" if printed is False else ""
        mind = claim.note or contradicted
        caveat = f"Mind: {mind}." if mind else f"Measured on {claim.region}." if claim.region else ""
        where = "" if own else claim.where
        for verdict in verdicts[claim.id]:
            several = len(verdicts[claim.id]) > 1
            on = verdict.judged_on.split(",")[0] if several else ""
            rows.append(Row(claim.text, ", ".join(filter(None, (where, on))), verdict, caveat))
    return rows


def forests(
    published: Published, evidence: Evidence, table: str | None = None
) -> tuple[list[Forest], dict[str, list[Verdict]]]:
    """The claims of a paper, and apart from them the targets that this book sets itself; one without any is
    left out. With them all verdicts, by the claim's id."""
    claims = [claim for claim in published.claims if table in (None, claim.table)]
    targets = [claim for claim in published.own_claims if table in (None, claim.table)]
    verdicts = {claim.id: judge(claim, evidence) for claim in (*claims, *targets)}
    found = [
        Forest(f"{published.title}: claims of the paper", _rows(claims, published, verdicts)),
        Forest("Targets of this book, which are no claims of the paper", _rows(targets, published, verdicts)),
    ]
    return [forest for forest in found if forest.rows], verdicts

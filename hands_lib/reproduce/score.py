"""The score of the book: a line for each paper with what became of its claims, and how much smaller than the
paper's the experiments of this book are."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hands_lib.reproduce.chapters import Chapter, list_chapters, preset_parameters
from hands_lib.reproduce.evidence import Evidence, read_evidence
from hands_lib.reproduce.forest import sign
from hands_lib.reproduce.html_tables import attribute, escape, plain
from hands_lib.reproduce.jobs import PROFILES
from hands_lib.reproduce.measured import measured
from hands_lib.reproduce.papers import Paper, paper_of
from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.published import Published, Scale, published_path, read_all_published
from hands_lib.reproduce.verdicts import STANDINGS, Standing, count_standings, judge, standing_of
from hands_lib.reproduce.wording import count, number

PAGE = "results.html"  # beside the front page; the links of a score lead there


def anchor(slug: str) -> str:
    """Id of a system's part of the results page."""
    return f"claims-{slug.replace('_', '-')}"


@dataclass(frozen=True)
class Gap:
    """One line of what is smaller here than in the paper."""

    what: str
    paper: str
    here: str


@dataclass(frozen=True)
class PaperScore:
    """One paper: how many of its claims stand how, and where to read on."""

    published: Published
    paper: Paper
    standings: Sequence[Standing]  # of its claims
    gaps: Sequence[Gap]
    chapters: Sequence[Chapter]

    @property
    def counts(self) -> dict[Standing, int]:
        """In the order of a bar, those without a claim left out."""
        return {one: n for one in STANDINGS if (n := self.standings.count(one))}

    @property
    def words(self) -> str:
        """`8 claims: 6 undecided, 2 not measured`."""
        return f"{count(len(self.standings), 'claim')}: {count_standings(self.standings)}"

    def bar(self) -> str:
        names = {one: f"hands-{one.replace(' ', '-')}" for one in self.counts}
        shares = "".join(
            f'<span class="{names[one]}" style="flex-grow:{n}"></span>' for one, n in self.counts.items()
        )
        legend = "".join(
            f'<li class="hands-verdict {names[one]}">{sign(one)} {n} {one}</li>'
            for one, n in self.counts.items()
        )
        return (
            f'<div class="hands-bar" aria-hidden="true">{shares}</div>'
            f'<ul class="hands-legend" aria-label="{attribute(self.words)}">{legend}</ul>'
        )

    def _repr_html_(self) -> str:
        own = self.published
        claims = f"{PAGE}#{anchor(own.slug)}"
        gaps = "".join(
            f"<div><dt>{escape(gap.what)}</dt> "
            f'<dd><span class="hands-tag">paper</span> {escape(gap.paper)}</dd> '
            f'<dd><span class="hands-tag">here</span> {escape(gap.here)}</dd></div>'
            for gap in self.gaps
        )
        chapters = ", ".join(
            f'<a href="{attribute(chapter.name)}.html">{escape(chapter.title)}</a>'
            for chapter in self.chapters
        )
        left = (
            f'<p class="hands-paper-name"><a href="{claims}">{escape(own.title)}</a></p>'
            f'<p class="hands-small">{escape(self.paper.title)}. {escape(self.paper.by)}.</p>'
            f'<p class="hands-small">Chapters: {chapters}.</p>'
        )
        right = (
            f'<p class="hands-paper-claims"><a href="{claims}">{count(len(self.standings), "claim")} of the '
            f"paper</a></p>{self.bar()}" + (f"<dl>{gaps}</dl>" if gaps else "")
        )
        return f'<article class="hands-paper"><div>{left}</div><div>{right}</div></article>'

    def __repr__(self) -> str:
        lines = [f"{self.published.title}: {self.paper.title}. {self.paper.by}.", f"  {self.words}"]
        lines += [f"  {gap.what}: {gap.paper} (paper); {gap.here} (here)" for gap in self.gaps]
        return "\n".join(map(plain, lines))


@dataclass(frozen=True)
class Score:
    """All papers that have a chapter, then in short those that have none."""

    papers: Sequence[PaperScore]
    waiting: Sequence[PaperScore]

    def _repr_html_(self) -> str:
        shown = "".join(paper._repr_html_() for paper in self.papers)
        waiting = ""
        if self.waiting:
            names = "; ".join(
                f'<a href="{PAGE}#{anchor(one.published.slug)}">{escape(one.published.title)}</a> '
                f"({escape(one.paper.by)}; {html.escape(count(len(one.standings), 'claim'))})"
                for one in self.waiting
            )
            waiting = f'<p class="hands-small">No chapter yet, printed numbers only: {names}.</p>'
        return f'<div class="hands-score">{shown}{waiting}</div>'

    def __repr__(self) -> str:
        waiting = [f"No chapter yet: {one.published.title}, {one.words}" for one in self.waiting]
        return "\n".join([*map(repr, self.papers), *waiting])


# --- scale -------------------------------------------------------------------------------------------------


def _profile(evidence: Evidence, stem: str) -> str | None:
    """The largest profile that a chapter's results are of."""
    lines = (line for own in evidence.lines["counted"].values() for line in own)
    found = {line.profile for line in lines if line.chapter == stem}
    return max(found, key=PROFILES.index, default=None)


def _shown(value: Any) -> str:
    return number(float(value)) if isinstance(value, int | float) else str(value)


def _place(text: str) -> tuple[str, str, str]:
    """`table / row / metric`."""
    table, row, metric = [*map(str.strip, text.split("/")), "", ""][:3]
    return table, row, metric


def _here(text: str, published: Published, evidence: Evidence, root: Path) -> str:
    """`here` of a scale, with the settings of the results that count.

    Raises:
        ProjectError: the chapter has no such setting.
    """

    def setting(match: re.Match[str]) -> str:
        if "/" in match[1]:
            found = measured(evidence, *_place(match[1]))
            return number(found[0].mean) if found else "not run"
        stem, name, *place = match[1].split(".")
        profile = _profile(evidence, stem)
        if profile is None:
            return "not run"
        values: Any = preset_parameters(published.slug, stem, profile, root) or {}
        try:
            value = values[name]
            return _shown(value[int(place[0])] if place else value)
        except (KeyError, IndexError, ValueError):
            raise ProjectError(
                f"{published_path(published.slug, root)}: scale: {{{match[1]}}} is no setting of profile "
                f"{profile} of chapter {stem}: name one as {{chapter.parameter}}"
            ) from None

    return re.sub(r"\{([^{}]+)\}", setting, text)


def _in_paper(text: str, published: Published, root: Path) -> str:
    """`paper` of a scale, with the printed numbers.

    Raises:
        ProjectError: the file has no such cell.
    """

    def printed(match: re.Match[str]) -> str:
        table, row, metric = _place(match[1])
        cell = published.tables[table].cell(row, metric) if table in published.tables else None
        if cell is None:
            raise ProjectError(
                f"{published_path(published.slug, root)}: scale: {{{match[1]}}} is no printed cell: name one "
                "as {table / row / metric}"
            )
        return cell.text

    return re.sub(r"\{([^{}]+)\}", printed, text)


def gaps(scale: Sequence[Scale], published: Published, evidence: Evidence, root: Path) -> list[Gap]:
    """How far the experiments of the book are from those of the paper, in words."""
    return [
        Gap(one.what, _in_paper(one.paper, published, root), _here(one.here, published, evidence, root))
        for one in scale
    ]


def paper_score(published: Published, root: Path) -> PaperScore:
    evidence = read_evidence(published.slug, root)
    standings = [standing_of(judge(claim, evidence)) for claim in published.claims]
    chapters = [c for c in list_chapters(root) if c.slug == published.slug and not c.back_matter]
    own = gaps(published.scale, published, evidence, root)
    return PaperScore(published, paper_of(published, root), standings, own, chapters)


def scores(root: Path | None = None) -> Score:
    """The score of every paper: the front page, and the top of the results page.

    Raises:
        ProjectError: a published file, the store or the bibliography cannot be read.
    """
    root = root or find_root()
    papers = [paper_score(published, root) for published in read_all_published(root) if published.source]
    order = {chapter.slug: place for place, chapter in enumerate(list_chapters(root))}
    papers.sort(key=lambda one: order.get(one.published.slug, len(order)))
    return Score([one for one in papers if one.chapters], [one for one in papers if not one.chapters])

"""The score of papers, the gap in scale, and the forest plot."""

import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from job_lines import add_line, job_line

from hands_lib.reproduce.chapters import list_chapters
from hands_lib.reproduce.evidence import read_evidence
from hands_lib.reproduce.forest import WIDTH, forests, position
from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.published import read_all_published, read_published
from hands_lib.reproduce.score import Score, anchor, paper_score, scores
from hands_lib.reproduce.tables import system_page
from hands_lib.reproduce.verdicts import STANDINGS, judge

ROOT = find_root(Path(__file__).parent)


@pytest.fixture(scope="module")
def score() -> Score:
    """Of this book: it judges every claim."""
    return scores(ROOT)


def test_a_paper_counts_each_of_its_claims_once(score: Score) -> None:
    for paper in (*score.papers, *score.waiting):
        assert sum(paper.counts.values()) == len(paper.published.claims)
        assert list(paper.counts) == [one for one in STANDINGS if one in paper.counts]
        html = paper._repr_html_()
        for one, n in paper.counts.items():  # in the bar's words, and in the text alternative
            assert f"{n} {one}</li>" in html
            assert f"{n} {one}" in paper.words
        assert f'aria-label="{paper.words}"' in html


def test_papers_with_chapters_come_in_their_order_and_none_is_left_out(score: Score) -> None:
    found = score
    slugs = [paper.published.slug for paper in found.papers]
    chapters = [c.slug for c in list_chapters(ROOT) if c.slug in slugs]
    assert slugs == list(dict.fromkeys(chapters))
    waiting = {paper.published.slug for paper in found.waiting}
    assert {*slugs, *waiting} == {p.slug for p in read_all_published(ROOT) if p.source}
    assert not waiting & {c.slug for c in list_chapters(ROOT)}


def test_what_was_not_measured_is_told_apart_from_what_is_undecided() -> None:
    """By the parts alone: undecided needs a part that was measured and whose interval contains both, or a
    closed gate."""
    for published in read_all_published(ROOT):
        evidence = read_evidence(published.slug, ROOT)
        for claim in (*published.claims, *published.own_claims):
            for verdict in judge(claim, evidence):
                answers = [part.answer for part in verdict.parts]
                expected = "reproduced"
                if "not run" in answers or not answers:
                    expected = "not measured"
                if "inconclusive" in answers:
                    expected = "undecided"
                if "not reproduced" in answers:
                    expected = "not reproduced"
                if verdict.gated and expected in ("reproduced", "not reproduced"):
                    expected = "not measured" if "not run" in answers else "undecided"
                assert verdict.standing == expected, claim.id


def test_results_page_has_a_heading_and_a_cell_for_every_system_with_a_chapter_or_own_tables(
    score: Score,
) -> None:
    text = (ROOT / "book" / "results.md").read_text()
    shown = re.findall(r"## (.+)\n(?:(?!## ).*\n)*?system_page\(\"(\w+)\"\)", text)
    waiting = {paper.published.slug for paper in score.waiting}
    expected = {(p.title, p.slug) for p in read_all_published(ROOT) if p.slug not in waiting}
    assert set(shown) == expected
    assert "waiting_page()" in text


def test_every_link_of_the_score_leads_to_a_part_of_the_results(score: Score) -> None:
    ids = set()
    for published in read_all_published(ROOT):
        ids |= set(re.findall(r' id="([^"]+)"', system_page(published.slug, ROOT)._repr_html_()))
    links = re.findall(r'href="results\.html#([^"]+)"', score._repr_html_())
    assert links
    assert set(links) <= ids
    for name in re.findall(r'href="([^"#]+)\.html"', score._repr_html_()):
        assert (ROOT / "book" / f"{name}.md").is_file()
    assert anchor("va_nerf") == "claims-va-nerf"


# --- scale -----------------------------------------------------------------------------------------------

CHAPTER = """---
jupytext: {}
hands: {slug: system}
---
# A chapter

```{code-cell} ipython3
:tags: [parameters]

profile = "smoke"
steps = 3
sizes = [1, 2]
```
"""
FILE = {
    "slug": "system",
    "name": "System",
    "source": "key",
    "tables": {
        "errors": {
            "title": "Errors",
            "where": "Table 1",
            "columns": {"error": {"label": "Err.", "unit": "mm", "better": "lower"}},
            "rows": {"ours": [1234.5]},
        }
    },
    "claims": [
        {
            "id": "low",
            "text": "Low <error>.",
            "where": "Table 1",
            "table": "errors",
            "test": {"kind": "threshold", "rows": ["ours"], "metric": "error", "below": 9.0},
        }
    ],
    "scale": [
        {"what": "Steps", "paper": "{errors / ours / error} mm", "here": "{chapter.steps}, {chapter.sizes.1}"}
    ],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    book = tmp_path / "book"
    (book / "published").mkdir(parents=True)
    (book / "presets").mkdir()
    (book / "index.md").write_text("# Start\n")
    (book / "chapter.md").write_text(CHAPTER)
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters: [{file: book/chapter}]\n"
    )
    (book / "presets" / "chapter.yml").write_text("cpu: {steps: 7000}\ngpu: {steps: 9}\n")
    (book / "references.bib").write_text("@misc{key, author = {A, B.}, title = {T}, year = {2020}}\n")
    (book / "published" / "system.yml").write_text(yaml.safe_dump(FILE))
    return tmp_path


def with_scale(root: Path, **changed: str) -> None:
    file = FILE | {"scale": [FILE["scale"][0] | changed]}
    (root / "book" / "published" / "system.yml").write_text(yaml.safe_dump(file))


def measure(root: Path, values: list[float], profile: str = "cpu") -> None:
    for seed, value in enumerate(values):
        add_line(
            root, job_line("system", "ours", seed, {"errors": {"ours": {"error": value}}}, profile=profile)
        )


def test_the_gap_in_scale_is_that_of_the_runs_that_count(root: Path) -> None:
    def gap() -> tuple[str, str]:
        (one,) = paper_score(read_published("system", root), root).gaps
        return one.paper, one.here

    assert gap() == ("1,234.5 mm", "not run, not run")
    measure(root, [1.0, 2.0, 3.0])
    assert gap() == ("1,234.5 mm", "7,000, 2")
    measure(root, [1.0], profile="gpu")
    assert gap() == ("1,234.5 mm", "9, 2")
    with_scale(root, here="{errors / ours / error} mm")
    assert gap() == ("1,234.5 mm", "1 mm")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"here": "{chapter.stpes}"}, r"\{chapter.stpes\} is no setting of profile cpu of chapter chapter"),
        ({"here": "{chapter.sizes.2}"}, r"\{chapter.sizes.2\} is no setting"),
        ({"paper": "{errors / theirs / error}"}, "is no printed cell: name one as"),
    ],
)
def test_a_scale_that_names_nothing_is_said(root: Path, changed: dict, message: str) -> None:
    measure(root, [1.0])
    with_scale(root, **changed)
    with pytest.raises(ProjectError, match=rf"system\.yml: scale: .*{message}"):
        paper_score(read_published("system", root), root)


def test_a_paper_that_the_bibliography_does_not_know(root: Path) -> None:
    (root / "book" / "references.bib").write_text("@misc{keys, title = {T}}\n")
    with pytest.raises(ProjectError, match="did you mean 'keys'"):
        scores(root)
    (root / "book" / "references.bib").write_text("@misc{key, title = {T}\n@")
    with pytest.raises(ProjectError, match=r"references\.bib is no BibTeX"):
        scores(root)
    (root / "book" / "references.bib").unlink()
    with pytest.raises(ProjectError, match=r"references\.bib does not exist"):
        scores(root)


# --- forest ----------------------------------------------------------------------------------------------


@given(a=st.floats(-1e4, 1e4), b=st.floats(-1e4, 1e4))
def test_the_axis_keeps_order_and_side(a: float, b: float) -> None:
    assert (position(a) <= position(b)) or a > b
    assert (position(a) > WIDTH / 2) is (a > 0 and position(a) != WIDTH / 2)
    assert position(-a) + position(a) == pytest.approx(WIDTH)
    assert 0 < position(math.inf) < WIDTH


def drawn(root: Path) -> tuple[str, float, list[float]]:
    """Standing, where the square stands and where the interval ends, in parts of the plot's half width."""
    published = read_published("system", root)
    ((row,), *_) = (forest.rows for forest in forests(published, read_evidence("system", root))[0])
    picture = row.drawing()
    square = float(re.search(r'<rect [^>]*x="([\d.]+)"', picture)[1]) + 4
    ends = re.search(r'class="hands-interval" [^>]*x1="([\d.]+)" x2="([\d.]+)"', picture)
    return row.standing, square - WIDTH / 2, [float(end) - WIDTH / 2 for end in ends.groups()] if ends else []


@pytest.mark.parametrize(
    ("values", "standing"),
    [([1.0, 2.0, 3.0], "reproduced"), ([7.0, 8.5, 8.0], "undecided"), ([20.0, 20.5, 21.0], "not reproduced")],
)
def test_an_undecided_interval_crosses_the_bound_and_no_other_does(
    root: Path, values: list[float], standing: str
) -> None:
    measure(root, values)
    found, square, (low, high) = drawn(root)
    assert found == standing
    assert low < square < high
    assert (low < 0 < high) is (standing == "undecided")
    assert (square > 0) is (sum(values) / 3 < 9)


def test_all_that_the_drawing_shows_stands_in_words(root: Path) -> None:
    measure(root, [20.0, 20.5, 21.0])
    text = system_page("system", root)._repr_html_()
    assert "Low <error>" not in text
    assert "Low &lt;error&gt;." in text
    assert "20.5 ± 0.50 mm, 95 %: 19.3 to 21.7 mm (claimed: below 9 mm)" in text.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert "not reproduced</span>" in text
    assert "System: claims of the paper" in text

"""Verdicts on claims of several tests, and the results page with many systems of which few ran."""

import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hands_lib.reproduce.published import published_path, read_published
from hands_lib.reproduce.records import read_records, record_run
from hands_lib.reproduce.runs import Run
from hands_lib.reproduce.tables import Section, results_page
from hands_lib.reproduce.verdicts import Verdict, judge

TEXT = """
slug: system
source: key
tables:
  errors:
    title: Errors
    where: Table 1
    protocol: test set
    columns:
      error: {label: Err., unit: mm, better: lower}
      steps: {label: Steps, unit: 1/s, better: higher}
    rows:
      base: [20.0, 10]
      ours: [12.0, null]
  speed:
    title: Speed
    cells:
      - {row: ours, metric: rate, unit: 1/s, value: {about: 22}, where: Section 1, verified: false}
claims:
  - id: both
    text: Ours is better and faster.
    where: Section 1
    table: errors
    test:
      kind: all
      tests:
        - {kind: comparison, metric: error, better: ours, than: base, direction: lower}
        - {kind: comparison, metric: steps, better: ours, than: base, direction: higher}
  - id: ratio
    text: The error is below 0.8 of the baseline's.
    where: Section 1
    table: errors
    test: {kind: ratio, metric: error, of: ours, over: base, below: 0.8}
  - id: no-worse
    text: The error is at most 1 mm higher.
    where: Section 1
    table: errors
    test: {kind: comparison, metric: error, better: ours, than: base, direction: lower, margin: 1}
inconsistencies:
  - {id: slip, kind: wording, where: Section 1, printed: steps, follows: steps a second}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    published_path("system", tmp_path).parent.mkdir(parents=True)
    published_path("system", tmp_path).write_text(TEXT, encoding="utf-8")
    other = TEXT.replace("slug: system", "slug: other").replace("Errors", "<Errors>")
    published_path("other", tmp_path).write_text(other, encoding="utf-8")
    return tmp_path


def measure(root: Path, row: str, metric: str, values: list[float]) -> None:
    for seed, value in enumerate(values):
        run = Run(
            slug="system",
            table="errors",
            variant=row,
            seed=seed,
            profile="cpu",
            dataset=f"world of {metric}" if metric == "other" else "world",
            dataset_version="1",
            config={"metric": metric},
        )
        record_run(
            run,
            protocol="mean",
            metrics={metric: (value, "mm" if metric == "error" else "1/s")},
            started=time.time(),
            root=root,
        )


def verdict(root: Path, name: str) -> Verdict:
    (claim,) = [c for c in read_published("system", root).claims if c.id == name]
    (found,) = judge(claim, read_records("system", root))
    return found


@pytest.mark.parametrize(
    ("ours", "steps", "answer", "effect"),
    [
        ([5.0, 5.1, 5.2], [30.0, 31.0, 32.0], "reproduced", "2 of 2 hold"),
        ([5.0, 5.1, 5.2], [10.0, 11.0, 12.0], "not reproduced", "1 of 2 hold; steps of ours against base"),
        ([5.0, 5.1, 5.2], [19.0, 21.0, 20.0], "inconclusive", "1 of 2 hold"),
        ([5.0, 5.1, 5.2], [], "inconclusive", "not run"),
        ([30.0, 31.0, 32.0], [], "not reproduced", "0 of 2 hold"),
        ([], [], "not run", ""),
    ],
)
def test_a_claim_of_several_tests(root: Path, ours: list, steps: list, answer: str, effect: str) -> None:
    measure(root, "base", "error", [20.0, 20.1, 20.2])
    measure(root, "base", "steps", [20.0, 20.0, 20.0])
    measure(root, "ours", "error", ours)
    measure(root, "ours", "steps", steps)
    found = verdict(root, "both")
    assert found.answer == answer
    assert effect in found.effect


@pytest.mark.parametrize(
    ("ours", "answer"),
    [
        ([14.0, 14.5, 15.0], "reproduced"),
        ([17.0, 18.0, 19.0], "not reproduced"),
        ([15.0, 16.0, 17.0], "inconclusive"),
        ([14.0, 14.5], "inconclusive"),
        ([], "not run"),
    ],
)
def test_ratio_over_paired_seeds(root: Path, ours: list, answer: str) -> None:
    measure(root, "base", "error", [20.0, 20.0, 20.0])
    measure(root, "ours", "error", ours)
    assert verdict(root, "ratio").answer == answer


def test_no_ratio_to_nothing(root: Path) -> None:
    measure(root, "base", "error", [0.0, 1.0, 2.0])
    measure(root, "ours", "error", [1.0, 1.0, 1.0])
    assert verdict(root, "ratio").answer == "inconclusive"
    assert "error of base is 0" in verdict(root, "ratio").effect


@pytest.mark.parametrize(
    ("ours", "answer"),
    [
        ([20.5, 20.6, 20.7], "reproduced"),
        ([21.5, 21.6, 21.7], "not reproduced"),
        ([20.5, 21.0, 21.5], "inconclusive"),
    ],
)
def test_margin_of_no_worse(root: Path, ours: list, answer: str) -> None:
    measure(root, "base", "error", [20.0, 20.0, 20.0])
    measure(root, "ours", "error", ours)
    assert verdict(root, "no-worse").answer == answer


class _Outline(HTMLParser):
    """Depth of folding and captions of tables."""

    def __init__(self) -> None:
        super().__init__()
        self.folds: list[bool] = []
        self.captions: dict[str, bool] = {}
        self.tag = ""
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tag = tag
        self.tags.append(tag)
        if tag == "details":
            self.folds.append(("open", None) in attrs)

    def handle_endtag(self, tag: str) -> None:
        self.tag = ""
        if tag == "details":
            self.folds.pop()

    def handle_data(self, data: str) -> None:
        if self.tag == "caption":
            self.captions[data.split(":")[0] + ":" + data.split(":")[1][:7]] = all(self.folds)


def test_what_ran_is_in_sight_and_what_did_not_is_folded(root: Path) -> None:
    measure(root, "ours", "error", [5.0, 5.1, 5.2])
    outline = _Outline()
    outline.feed(results_page(root)._repr_html_())
    assert outline.captions == {
        "other: <Error": False,
        "other: Speed ": False,
        "other: Claims": False,
        "other: Printe": False,
        "system: Errors": True,
        "system: Claims": True,
        "system: Speed ": False,
        "system: Printe": False,
    }
    assert outline.folds == []
    assert outline.tags.count("summary") == outline.tags.count("details") == 5
    assert "errors" not in outline.tags


def test_summary_lines_say_what_is_inside(root: Path) -> None:
    measure(root, "ours", "error", [5.0, 5.1, 5.2])
    first, second = results_page(root).tables
    assert isinstance(first, Section)
    assert isinstance(second, Section)
    assert first.title == "other: 0 of 2 tables with runs; claims: 3 not run"
    assert second.title.startswith("system: 1 of 2 tables with runs; claims: ")


def test_a_table_without_runs_is_shown_as_printed(root: Path) -> None:
    lines = repr(results_page(root)).splitlines()
    start = lines.index("other: <Errors> (Table 1): published, not run")
    head, _, base, ours, protocol = lines[start + 1 : start + 6]
    assert head.split("  ")[0] == "row"
    assert "error [mm]" in head
    assert base.split() == ["base", "20.0*", "10*"]
    assert ours.split() == ["ours", "12.0*", "-"]
    assert protocol == "published protocol: test set"
    assert "about 22*" in "\n".join(lines)
    assert "steps a second" in "\n".join(lines)

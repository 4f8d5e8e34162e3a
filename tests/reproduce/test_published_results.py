"""Verdicts of one test and of several, what they are judged on and what is open; the page of all results."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from job_lines import add_line, job_line
from scipy import stats

from hands_lib.reproduce.command import main
from hands_lib.reproduce.evidence import read_evidence
from hands_lib.reproduce.published import published_path, read_published
from hands_lib.reproduce.tables import claims_page, system_page
from hands_lib.reproduce.verdicts import Verdict, judge, undecided, undecided_text

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
  - id: low
    text: The error is below 10 mm.
    region: the pixels of hands
    where: Section 1
    table: errors
    test: {kind: threshold, rows: [ours], metric: error, below: 10}
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


def measure(root: Path, row: str, metric: str, values: list[float], seconds: float = 60.0) -> None:
    for seed, value in enumerate(values):
        rows = {"errors": {row: {metric: value}}}
        add_line(root, job_line("system", f"{metric} of {row}", seed, rows, seconds=seconds))


def measure_examples(root: Path, row: str, scores: np.ndarray) -> None:
    """scores: seeds by examples."""
    for seed, own in enumerate(scores):
        rows, examples = ({"errors": {row: {"error": v}}} for v in (float(own.mean()), own.tolist()))
        add_line(root, job_line("system", row, seed, rows, examples=examples))


def verdict(root: Path, name: str, **rule: object) -> Verdict:
    (claim,) = [c for c in read_published("system", root).claims if c.id == name]
    (found,) = judge(claim, read_evidence("system", root), **rule)
    return found


@pytest.mark.parametrize(
    ("ours", "steps", "answer", "text", "decided_by"),
    [
        # gains of the error are all 15 mm, a point; those of the steps have an interval
        (
            [5.0, 5.1, 5.2],
            [30.0, 31.0, 32.0],
            "reproduced",
            "2 of 2 parts hold",
            "closest: ours against base, Steps: 11 ± 1 1/s higher (better), 95 %: ",
        ),
        (
            [5.0, 5.1, 5.2],
            [10.0, 11.0, 12.0],
            "not reproduced",
            "1 of 2 parts hold",
            "fails: ours against base, Steps: 9 ± 1 1/s lower (worse), 95 %: ",
        ),
        (
            [5.0, 5.1, 5.2],
            [19.0, 21.0, 20.0],
            "inconclusive",
            "1 of 2 parts hold",
            "open: ours against base, Steps: no difference, 95 %: ",
        ),
        (
            [5.0, 5.1, 5.2],
            [],
            "inconclusive",
            "1 of 2 parts hold, 1 not measured",
            "not measured: Steps",
        ),
        (
            [30.0, 31.0, 32.0],
            [],
            "not reproduced",
            "0 of 2 parts hold, 1 not measured",
            "fails: ours against base, Err.: 11 ± 0.90 mm higher (worse), 95 %: ",
        ),
        ([], [], "not run", "", ""),
    ],
)
def test_a_claim_of_several_tests(
    root: Path, ours: list, steps: list, answer: str, text: str, decided_by: str
) -> None:
    measure(root, "base", "error", [20.0, 20.1, 20.2])
    measure(root, "base", "steps", [20.0, 20.0, 20.0])
    measure(root, "ours", "error", ours)
    measure(root, "ours", "steps", steps)
    found = verdict(root, "both")
    assert (found.answer, found.text) == (answer, text)
    assert found.decided_by.startswith(decided_by)
    assert bool(found.decided_by) is bool(decided_by)


@pytest.mark.parametrize(
    ("ours", "answer"),
    [
        ([14.0, 14.1, 14.2], "reproduced"),
        ([12.0, 14.0, 15.5], "inconclusive"),  # all below 16, as a bootstrap of three would say
        ([17.0, 17.2, 17.4], "not reproduced"),
        ([15.0, 16.0, 17.0], "inconclusive"),
        ([14.0, 14.5], "inconclusive"),
        ([], "not run"),
    ],
)
def test_ratio_over_paired_seeds(root: Path, ours: list, answer: str) -> None:
    measure(root, "base", "error", [20.0, 20.0, 20.0])
    measure(root, "ours", "error", ours)
    assert verdict(root, "ratio").answer == answer


@pytest.mark.parametrize(
    ("ours", "answer"),
    [
        ([20.5, 20.6, 20.7], "reproduced"),
        ([21.5, 21.6, 21.7], "not reproduced"),
        ([21.0, 21.0, 21.0], "reproduced"),  # as much worse as the margin is no worse
        ([20.5, 21.0, 21.5], "inconclusive"),
    ],
)
def test_margin_of_no_worse(root: Path, ours: list, answer: str) -> None:
    measure(root, "base", "error", [20.0, 20.0, 20.0])
    measure(root, "ours", "error", ours)
    assert verdict(root, "no-worse").answer == answer


def test_no_ratio_to_nothing(root: Path) -> None:
    measure(root, "base", "error", [0.0, 1.0, 2.0])
    measure(root, "ours", "error", [1.0, 1.0, 1.0])
    assert verdict(root, "ratio").answer == "inconclusive"
    assert "that of base is 0" in verdict(root, "ratio").text


def test_a_ratio_is_judged_on_logarithms(root: Path) -> None:
    """Mean and interval are those of the logarithms, taken back; turned round, all of it turns round."""
    ours, base = np.array([10.0, 12.0, 15.0]), np.array([20.0, 18.0, 19.0])
    measure(root, "base", "error", base.tolist())
    measure(root, "ours", "error", ours.tolist())
    logs = np.log(ours / base)
    ends = np.exp(stats.ttest_1samp(logs, 0).confidence_interval(0.95))
    effect = verdict(root, "ratio").effect
    np.testing.assert_allclose([effect.mean, effect.low, effect.high], [np.exp(logs.mean()), *ends])
    assert effect.unit == "times"
    (claim,) = [c for c in read_published("system", root).claims if c.id == "ratio"]
    turned = claim.test.model_copy(update={"of": "base", "over": "ours"})
    (other,) = judge(claim.model_copy(update={"test": turned}), read_evidence("system", root))
    np.testing.assert_allclose([other.effect.high, other.effect.low], [1 / effect.low, 1 / effect.high])


def test_what_is_just_as_good_is_not_better(root: Path) -> None:
    """A bound has to be passed; only a margin includes its end."""
    measure(root, "base", "steps", [20.0, 21.0, 22.0])
    measure(root, "ours", "steps", [20.0, 21.0, 22.0])
    measure(root, "ours", "error", [10.0, 10.0, 10.0])
    assert verdict(root, "both").parts[1].answer == "not reproduced"
    assert verdict(root, "low").answer == "not reproduced"


def test_nothing_left_is_a_ratio_too(root: Path) -> None:
    measure(root, "base", "error", [20.0, 21.0, 22.0])
    measure(root, "ours", "error", [0.0, 0.0, 0.0])
    assert verdict(root, "ratio").answer == "reproduced"
    assert verdict(root, "ratio").effect.mean == 0


def test_another_rule_may_be_given(root: Path) -> None:
    """As the verdicts before Student's t were judged: the range of three seeds, plain ratios."""
    measure(root, "base", "error", [20.0, 20.0, 20.0])
    measure(root, "ours", "error", [12.0, 14.0, 15.5])
    rule = {"interval": lambda values: (values.min(), values.max()), "ratios": "plain"}
    found = verdict(root, "ratio", **rule)
    assert found.answer == "reproduced"
    assert (found.effect.low, found.effect.high) == (0.6, 0.775)


def test_a_verdict_says_what_it_was_judged_on(root: Path) -> None:
    """By hand: gains -3, -3.5, -5; mean -3.83, deviation 1.04, d -3.68, t of two degrees 4.303."""
    measure(root, "base", "error", [1.0, 1.5, 2.0])
    measure(root, "ours", "error", [4.0, 5.0, 7.0])
    found = verdict(root, "no-worse")
    assert (found.answer, found.seeds, found.examples) == ("not reproduced", 3, 0)
    assert found.text == "3.8 ± 1.0 mm higher (worse), 95 %: 1.2 to 6.4 mm higher, d = -3.7, 3 seeds"
    assert found.judged_on == "world 1, cpu profile; mean"
    assert found.effect.d == pytest.approx(-3.83333 / 1.04083, rel=1e-4)
    text = claims_page("system", root)
    assert "system: The error is below 10 mm. [the pixels of hands] (Section 1)" in text
    assert "ours: 5.33 ± 1.5 mm, 95 %: 1.54 to 9.13 mm, 3 seeds" in text


# --- examples --------------------------------------------------------------------------------------------


def test_examples_widen_what_seeds_alone_would_decide(root: Path) -> None:
    """Three seeds agree, but on few examples that differ widely: another test set might say the contrary."""
    rng = np.random.default_rng(0)
    base = 20 + rng.normal(0, 0.001, (3, 8))
    gain = 0.5 + np.resize([-2.0, 2.0], 8) + rng.normal(0, 0.001, (3, 8))
    measure_examples(root, "base", base)
    measure_examples(root, "ours", base - 1 - gain)
    (claim,) = [c for c in read_published("system", root).claims if c.id == "no-worse"]
    strict = claim.model_copy(update={"test": claim.test.model_copy(update={"margin": 0.0})})
    (found,) = judge(strict, read_evidence("system", root))
    assert (found.seeds, found.examples) == (3, 8)
    assert found.text.endswith("3 seeds of 8 examples")
    differences = 1 + gain
    half = stats.t.ppf(0.975, 7) * (differences.mean(axis=0).std(ddof=1) / 8**0.5)
    np.testing.assert_allclose(found.effect.high - found.effect.mean, half, rtol=1e-2)
    (alone,) = judge(
        strict, read_evidence("system", root), lambda v: (v.mean(axis=1).min(), v.mean(axis=1).max())
    )
    assert (found.answer, alone.answer) == ("inconclusive", "reproduced")


def test_a_ratio_knows_its_examples_to_first_order(root: Path) -> None:
    """Against a bootstrap of the examples of one pair of means, the slow way."""
    rng = np.random.default_rng(1)
    base = np.tile(rng.normal(20, 2, 60), (3, 1)) + rng.normal(0, 1e-4, (3, 60))
    ours = 0.7 * base + np.tile(rng.normal(0, 1, 60), (3, 1))
    measure_examples(root, "base", base)
    measure_examples(root, "ours", ours)
    effect = verdict(root, "ratio").effect
    drawn = rng.integers(0, 60, (20_000, 60))
    ratios = ours[0][drawn].mean(axis=1) / base[0][drawn].mean(axis=1)
    # the bootstrap has no t: 2.001 standard errors of 59 degrees where it has 1.96
    np.testing.assert_allclose(np.log(effect.high / effect.low) / 2 / 2.001, np.log(ratios).std(), rtol=0.05)


@pytest.mark.parametrize("scores", [[30.0] * 4, [4.0] * 3, []])
def test_examples_that_are_not_those_of_the_number_are_left_out(root: Path, scores: list) -> None:
    """Of another quantity, of another length than those of other seeds, or of some seeds alone."""
    for seed in range(3):
        own = scores if seed == 2 else [4.0, 6.0, 4.0, 6.0]
        examples = {"errors": {"ours": {"error": own}}} if own else {}
        add_line(root, job_line("system", "a", seed, {"errors": {"ours": {"error": 5.0}}}, examples=examples))
    assert verdict(root, "low").examples == 0


# --- what is open ----------------------------------------------------------------------------------------


def test_what_is_undecided_and_what_it_would_take(root: Path) -> None:
    """Gains of the ratio's logarithms and of the error; one seed of both rows takes 2 + 1 minutes."""
    measure(root, "base", "error", [20.0, 20.0, 20.0], seconds=60)
    measure(root, "ours", "error", [14.0, 16.0, 17.5], seconds=120)
    published, evidence = read_published("system", root), read_evidence("system", root)
    found = {one.verdict.claim.id: one for one in undecided(published, evidence)}
    assert found.keys() == {"ratio"}  # `both` is open since steps were not run: no seeds of these would help
    logs = np.log(np.array([14.0, 16.0, 17.5]) / 20)
    half = [stats.t.ppf(0.975, n - 1) * logs.std(ddof=1) / n**0.5 for n in range(2, 2000)]
    needed = next((n for n, h in enumerate(half, 2) if h < abs(logs.mean() - np.log(0.8))), None)
    assert (found["ratio"].seeds, found["ratio"].needed) == (3, needed if needed and needed <= 1000 else None)
    measure(root, "ours", "steps", [19.0, 21.0, 22.0], seconds=60)
    measure(root, "base", "steps", [20.0, 20.0, 20.0], seconds=60)
    text = undecided_text(root, "system")
    assert "system: Ours is better and faster. (Section 1)" in text
    assert "open: ours against base, Steps: 0.67 ± 1.5 1/s higher (better)" in text


def test_one_job_of_several_rows_costs_once(root: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for seed, error in enumerate([14.0, 14.6, 16.2]):
        rows = {"errors": {"base": {"error": 20.0}, "ours": {"error": error}}}
        add_line(root, job_line("system", "both rows", seed, rows, seconds=600))
    (one,) = undecided(read_published("system", root), read_evidence("system", root))
    assert one.needed is not None
    assert one.minutes == 10 * (one.needed - 3)
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    monkeypatch.chdir(root)
    assert main(["plan", "--undecided", "system"]) == 0
    told = capsys.readouterr().out
    assert f"world 1, cpu profile: 3 seeds; {one.needed} would decide if the effect stays as it is" in told
    assert told.splitlines()[-1].startswith("1 undecided; what would decide takes about ")


def test_two_seeds_are_open_until_there_are_three(root: Path) -> None:
    measure(root, "base", "error", [20.0, 20.0])
    measure(root, "ours", "error", [14.0, 14.1])
    found = verdict(root, "ratio")
    assert found.answer == "inconclusive"
    assert found.text.endswith("2 seeds (fewer than 3 paired seeds)")
    assert {
        one.needed for one in undecided(read_published("system", root), read_evidence("system", root))
    } == {3}


# --- the page --------------------------------------------------------------------------------------------


class _Outline(HTMLParser):
    """Captions of tables, with whether they are in sight when the page opens, and all tags."""

    def __init__(self) -> None:
        super().__init__()
        self.folds: list[bool] = []
        self.captions: dict[str, bool] = {}
        self.in_caption = False
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.in_caption |= tag == "caption"
        self.tags.append(tag)
        if tag == "details":
            self.folds.append(("open", None) in attrs)

    def handle_endtag(self, tag: str) -> None:
        self.in_caption &= tag != "caption"
        if tag == "details":
            self.folds.pop()

    def handle_data(self, data: str) -> None:
        if self.in_caption:
            self.captions[data] = all(self.folds)


def test_measured_claims_are_in_sight_and_tables_are_folded(root: Path) -> None:
    measure(root, "ours", "error", [5.0, 5.1, 5.2])
    measure(root, "base", "error", [9.0, 9.1, 9.2])
    outline = _Outline()
    outline.feed(system_page("system", root)._repr_html_())
    assert outline.captions == {
        "system: claims of the paper": True,
        "Errors (Table 1)": False,
        "Speed (Section 1)": False,
        "system: printed inconsistencies": False,
    }
    assert outline.folds == []
    assert outline.tags.count("summary") == outline.tags.count("details")


def test_a_system_without_runs_is_folded_as_a_whole(root: Path) -> None:
    outline = _Outline()
    outline.feed(system_page("other", root)._repr_html_())
    assert set(outline.captions.values()) == {False}
    assert "<Errors> (Table 1)" in outline.captions
    assert "errors" not in outline.tags


def test_a_table_without_runs_is_shown_as_printed(root: Path) -> None:
    lines = repr(system_page("other", root)).splitlines()
    start = lines.index("<Errors> (Table 1)")
    head, _, base, ours, *notes = lines[start + 1 : start + 9]
    assert head.split("  ")[0] == "published | measured"
    assert "Err. [mm] ↓" in head
    assert base.split("  ")[0] == "base"
    assert "20.0* | not run" in base
    assert "12.0* (best) | not run" in ours
    assert ours.endswith("–")
    assert "Published protocol: test set." in notes
    assert "about 22" in "\n".join(lines)
    assert "steps a second" in "\n".join(lines)

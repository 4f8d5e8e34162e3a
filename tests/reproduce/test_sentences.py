"""Recorded numbers in words: a sentence says what the store says, and when it says nothing."""

import pytest
from job_lines import add_line, job_line

from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.sentences import (
    answer_of,
    change_of,
    range_of,
    show_answer,
    verdict_of,
    verdicts_of,
)

PUBLISHED = """\
slug: system
source: someone
metrics: {error: {unit: mm, better: lower, label: error}}
tables:
  errors:
    title: Errors
    cells: [{row: one, metric: error, unit: mm, value: 1, where: Section 1, near: error, verified: true}]
claims:
  - id: small
    text: The error is small.
    where: Section 1
    table: errors
    test: {kind: threshold, rows: [one], metric: error, below: 10}
"""


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "book" / "published"
    folder.mkdir(parents=True)
    (folder / "system.yml").write_text(PUBLISHED, encoding="utf-8")
    return tmp_path


def record(root, row, errors, profile="cpu", **about):
    for seed, error in enumerate(errors):
        rows = {"errors": {row: {"error": error}}}
        add_line(root, job_line("system", row, seed, rows, profile=profile, **about))


def test_mean_and_spread_with_the_unit(root):
    record(root, "one", (1.0, 2.0, 6.0))
    assert answer_of("system", "errors", "one", "error", root=root) == "3 ± 2.6 mm"


def test_a_smoke_run_is_called_so_and_nothing_is_not_run(root):
    assert answer_of("system", "errors", "one", "error", root=root) == "(not run yet)"
    assert change_of("system", "errors", "one", "two", "error", root=root) == "(not run yet)"
    record(root, "one", (1.0,), profile="smoke")
    assert answer_of("system", "errors", "one", "error", root=root) == "1 mm (a smoke run, not a result)"


def test_a_change_has_a_word_in_place_of_a_sign(root):
    record(root, "one", (1.0, 2.0))
    record(root, "two", (2.0, 2.0, 90.0))  # a seed that the other row lacks does not count
    assert change_of("system", "errors", "one", "two", "error", root=root) == "0.500 mm lower"
    assert change_of("system", "errors", "two", "one", "error", share=True, root=root) == "33.3 % higher"
    assert change_of("system", "errors", "one", "one", "error", root=root) == "the same"


def test_of_one_data_set(root):
    record(root, "one", (1.0,), dataset="a world")
    record(root, "one", (5.0,), dataset="the world")
    assert answer_of("system", "errors", "one", "error", dataset="the world", root=root) == "5 mm"
    assert answer_of("system", "errors", "one", "error", dataset="no world", root=root) == "(not run yet)"


def test_verdicts_in_words(root):
    assert verdicts_of("system", "errors", root) == "1 not measured"
    record(root, "one", (1.0, 2.0, 1.5))
    assert verdicts_of("system", root=root) == "1 reproduced"
    assert verdicts_of("system", "another table", root) == ""


def test_one_verdict_in_a_word(root):
    assert verdict_of("system", "small", root) == "not run yet"
    record(root, "one", (1.0, 2.0, 1.5))
    assert verdict_of("system", "small", root) == "holds"
    with pytest.raises(ProjectError, match="claim of system: .smal.; did you mean .small"):
        verdict_of("system", "smal", root)


def test_a_range_is_of_what_was_measured():
    nan = float("nan")
    assert range_of([3.8, nan, 8.1], "%") == "3.80 to 8.10 %"
    assert range_of([2.0, 2.0]) == "2"
    assert range_of([nan]) == "(not run yet)"
    assert range_of([-2.0, 1e-7]) == "\N{MINUS SIGN}2 to 1.00e-07"


def test_an_answer_says_so_where_nothing_was_run():
    answer = show_answer(f"A banana of {float('nan'):.0%} or {float('nan'):.2f} mm.")
    assert answer.text == "A banana of (not run yet)% or (not run yet) mm."
    assert answer._repr_markdown_().startswith("**Answer.** A banana")

"""Published tables, comparison and verdicts."""

import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from hands_lib.reproduce.records import read_records, record_run
from hands_lib.reproduce.runs import Run

from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.published import Published, read_all_published, read_published
from hands_lib.reproduce.tables import Section, claims_page, compare, results_page
from hands_lib.reproduce.verdicts import Verdict, interval, judge, spread

PUBLISHED = {
    "slug": "system",
    "source": "key",
    "tables": {
        "errors": {
            "title": "Errors",
            "cells": [
                {
                    "row": "ours",
                    "metric": "error",
                    "unit": "mm",
                    "value": 4.0,
                    "where": "Table 1",
                    "verified": True,
                },
                {
                    "row": "base",
                    "metric": "error",
                    "unit": "mm",
                    "value": {"about": 5},
                    "where": "text",
                    "verified": False,
                },
            ],
        }
    },
    "claims": [
        {
            "id": "better",
            "text": "Ours is better.",
            "where": "Table 1",
            "table": "errors",
            "test": {
                "kind": "comparison",
                "metric": "error",
                "better": "ours",
                "than": "base",
                "direction": "lower",
            },
        },
        {
            "id": "below",
            "text": "Ours is below 4.5.",
            "where": "Table 1",
            "table": "errors",
            "test": {"kind": "threshold", "rows": ["ours"], "metric": "error", "below": 4.5},
        },
    ],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "book" / "published").mkdir(parents=True)
    (tmp_path / "book" / "published" / "system.yml").write_text(yaml.safe_dump(PUBLISHED))
    return tmp_path


def measure(root: Path, row: str, values: list[float], profile: str = "cpu", unit: str = "mm") -> None:
    for seed, value in enumerate(values):
        run = Run(
            slug="system",
            table="errors",
            variant=row,
            seed=seed,
            profile=profile,
            dataset="world",
            dataset_version="1",
        )
        record_run(
            run,
            protocol="mean",
            metrics={"error": (value, unit)},
            started=time.time(),
            root=root,
        )


def verdict(root: Path, name: str) -> Verdict:
    published = read_published("system", root)
    (claim,) = [c for c in published.claims if c.id == name]
    (found,) = judge(claim, read_records("system", root))
    return found


def test_nothing_measured_is_not_run(root: Path) -> None:
    assert verdict(root, "better").answer == "not run"
    text = repr(compare("system", root=root))
    assert "about 5 mm (text)*" in text
    assert "not yet compared with the printed paper" in text
    assert "4 mm (Table 1)" in text
    assert text.count("not run") == 4


def test_a_smoke_run_is_never_judged(root: Path) -> None:
    measure(root, "ours", [1.0, 1.1, 1.2], profile="smoke")
    measure(root, "base", [9.0, 9.1, 9.2], profile="smoke")
    assert verdict(root, "better").answer == "not run"
    assert verdict(root, "below").answer == "not run"
    assert "1.10 ± 0.10 mm (smoke)" in repr(compare("system", root=root))
    assert "not a result" in repr(compare("system", root=root))


def test_a_result_takes_the_place_of_a_smoke_run(root: Path) -> None:
    measure(root, "ours", [1.0], profile="smoke")
    measure(root, "ours", [4.0, 4.2], profile="cpu")
    text = repr(compare("system", root=root))
    assert "4.10 ± 0.14 mm" in text
    assert "(smoke)" not in text


def test_what_the_paper_does_not_print_is_folded_away(root: Path) -> None:
    measure(root, "ours", [4.0])
    measure(root, "another", [7.0])
    beside, beyond, *_ = compare("system", table="errors", root=root).tables
    assert "another" not in repr(beside)
    assert isinstance(beyond, Section)
    assert re.search(r"^row +error \[mm\]$", repr(beyond), re.M)
    assert re.search(r"^another +7$", repr(beyond), re.M)
    assert "ours" not in repr(beyond)


@pytest.mark.parametrize(
    ("ours", "base", "answer"),
    [
        ([4.0, 4.1, 3.9], [5.0, 5.1, 5.2], "reproduced"),
        ([6.0, 6.1, 6.2], [5.0, 5.1, 5.2], "not reproduced"),
        ([4.0, 6.0, 5.0], [5.0, 5.0, 5.0], "inconclusive"),
        ([4.0, 4.0], [5.0, 5.0], "inconclusive"),
        ([4.0, 4.0, 4.0], [], "not run"),
    ],
)
def test_comparison_over_paired_seeds(root: Path, ours: list, base: list, answer: str) -> None:
    measure(root, "ours", ours)
    measure(root, "base", base)
    assert verdict(root, "better").answer == answer


def test_pairing_sees_through_a_large_common_spread(root: Path) -> None:
    """Seeds differ by 10, ours is better by 0.1 in each: unpaired means would say nothing."""
    base = [10.0, 20.0, 30.0, 40.0]
    measure(root, "base", base)
    measure(root, "ours", [b - 0.1 - 0.01 * i for i, b in enumerate(base)])
    assert verdict(root, "better").answer == "reproduced"


@pytest.mark.parametrize(
    ("values", "answer"),
    [([4.0, 4.1, 4.2], "reproduced"), ([4.0, 4.6, 5.0], "inconclusive"), ([5.0, 5.1, 4.9], "not reproduced")],
)
def test_threshold(root: Path, values: list[float], answer: str) -> None:
    measure(root, "ours", values)
    assert verdict(root, "below").answer == answer


def test_the_largest_profile_is_judged(root: Path) -> None:
    measure(root, "ours", [9.0, 9.0, 9.0], profile="cpu")
    measure(root, "ours", [4.0, 4.0, 4.0], profile="gpu")
    found = verdict(root, "below")
    assert found.answer == "reproduced"
    assert "gpu profile" in found.judged_on


def test_units_are_not_mixed_up(root: Path) -> None:
    measure(root, "ours", [0.004], unit="m")
    with pytest.raises(ProjectError, match="error is in m, the published number in mm"):
        compare("system", root=root)


def test_interval_agrees_with_the_normal_one() -> None:
    """For many normal draws the bootstrap interval is mean ± 1.96 standard errors."""
    sample = np.random.default_rng(0).normal(3, 2, 400)
    expected = sample.mean() + np.array([-1.96, 1.96]) * sample.std() / 20
    np.testing.assert_allclose(interval(list(sample)), expected, atol=0.02)


def add_own(root: Path) -> None:
    """A table and two targets of the book's own, beside the paper's."""
    target = {"text": "Untangling helps.", "table": "untangled"}
    test = {
        "kind": "comparison",
        "metric": "points",
        "better": "with",
        "than": "without",
        "direction": "lower",
    }
    found = PUBLISHED | {
        "own_tables": {"untangled": {"title": "Points inside", "note": "Our <own> test."}},
        "own_claims": [
            target | {"id": "untangling", "test": test},
            {
                "id": "low",
                "text": "Ours is low.",
                "table": "errors",
                "test": {"kind": "threshold", "rows": ["ours"], "metric": "error", "below": 9},
            },
        ],
    }
    (root / "book" / "published" / "system.yml").write_text(yaml.safe_dump(found))


def test_what_is_measured_beyond_the_paper(root: Path) -> None:
    """Own tables show no published column, own targets stand apart and are counted apart."""
    add_own(root)
    text = repr(compare("system", "untangled", root=root))
    assert "Points inside: beyond the paper, measured" in text
    assert "not run" in text
    assert "published" not in text
    for seed in range(3):
        for variant, points in (("without", 30.0), ("with", 3.0)):
            run = Run("system", "untangled", variant, seed, "cpu", "world", "1")
            metrics = {"points": (points + seed, "1"), "moved": (1.0, "mm")}
            record_run(run, protocol="mean", metrics=metrics, started=time.time(), root=root)
    text = repr(compare("system", "untangled", root=root))
    assert re.search(r"^row +points +moved \[mm\]$", text, re.M)  # as the record has them
    assert re.search(r"^without +31 ± 1 +1 ± 0$", text, re.M)
    assert "cpu, n = 3: world 1; mean" in text  # once for all rows
    assert text.index("\nwith ") < text.index("\nwithout ")  # by name, where no order is given
    assert "Our <own> test." in text
    assert "Targets of this book, which are no claims of the paper" in text
    assert re.search(r"^Untangling helps\. +reproduced", text, re.M)
    assert "Claims and verdicts" not in text  # the paper claims nothing about it

    measure(root, "ours", [1.0, 1.1, 1.2])
    text = repr(compare("system", "errors", root=root))
    assert re.search(r"^Ours is low\. +reproduced", text, re.M)
    page = repr(results_page(root))
    assert (
        "system: 1 of 1 tables with runs; claims: 1 reproduced, 1 not run; beyond the paper: 1 tables" in page
    )
    assert "targets of this book: 2 reproduced" in page
    assert "<own>" not in results_page(root)._repr_html_()
    told = claims_page("system", root)
    assert "REPRODUCED      system: Untangling helps. (target of this book)" in told
    assert told.endswith("1 reproduced, 1 not run\ntargets of this book: 2 reproduced")


def record_own(root: Path, row: str, metrics: dict, seeds: int = 3, **other: str) -> None:
    about = {"profile": "cpu", "dataset": "world", "dataset_version": "1"} | other
    for seed in range(seeds):
        run = Run(slug="system", table="untangled", variant=row, seed=seed, **about)
        record_run(run, protocol="mean", metrics=metrics, started=time.time(), root=root)


def own_lines(root: Path) -> list[list[str]]:
    """Head and lines of the table, its notes left out."""
    (shown, *_) = compare("system", "untangled", root=root).tables
    return [list(shown.head), *map(list, shown.rows)]


def test_measured_rows_stand_in_the_order_that_the_file_gives(root: Path) -> None:
    add_own(root)
    path = root / "book" / "published" / "system.yml"
    found = yaml.safe_load(path.read_text())
    found["own_tables"]["untangled"]["order"] = ["without", "never recorded", "with"]
    path.write_text(yaml.safe_dump(found))
    for row in ("another", "with", "without"):
        record_own(root, row, {"points": (1.0, "1")})
    assert [line[0] for line in own_lines(root)] == ["row", "without", "with", "another"]


def test_measured_rows_of_different_runs_say_so(root: Path) -> None:
    """Runs are named for each row where they differ, a cell of fewer seeds says so, and units stand in the
    cells where a column has several."""
    record_own(root, "all", {"points": (2.0, "1"), "moved": (1.0, "mm")})
    record_own(root, "fewer", {"points": (3.0, "1")})
    again = {"points": (3.0, "1"), "moved": (1.0, "cm")}  # by the same names, for two of the seeds
    record_own(root, "fewer", again, seeds=2)
    record_own(root, "other", {"points": (4.0, "1")}, dataset="dome")
    assert own_lines(root) == [
        ["row", "points", "moved", "runs"],
        ["all", "2 ± 0", "1 ± 0 mm", "cpu, n = 3 [1]"],
        ["fewer", "3 ± 0", "1 ± 0 cm (n = 2)", "cpu, n = 3 [1]"],
        ["other", "4 ± 0", "-", "cpu, n = 3 [2]"],
    ]


def test_few_rows_of_many_metrics_stand_side_by_side(root: Path) -> None:
    metrics = {f"error_{n}": (float(n), "mm") for n in range(1, 6)}
    for row in ("one", "two"):
        record_own(root, row, metrics)
    head, *lines = own_lines(root)
    assert head == ["metric", "one", "two"]
    assert lines == [[f"error_{n} [mm]", f"{n} ± 0", f"{n} ± 0"] for n in range(1, 6)]


def test_a_table_that_would_be_mostly_empty_has_a_line_for_each_number(root: Path) -> None:
    for n in range(4):
        record_own(root, f"row {n}", {f"error_{n}": (float(n), "mm")})
    head, *lines = own_lines(root)
    assert head == ["row", "metric", "measured"]
    assert lines == [[f"row {n}", f"error_{n}", f"{n} ± 0 mm"] for n in range(4)]


def test_a_smoke_run_adds_no_line_to_a_measured_row(root: Path) -> None:
    """What only a smoke run knows of a row is not shown beside its results."""
    record_own(root, "ours", {"points": (2.0, "1")})
    record_own(root, "ours", {"points": (9.0, "1"), "seconds": (1.0, "s")}, seeds=1, profile="smoke")
    assert own_lines(root) == [["row", "points"], ["ours", "2 ± 0"]]
    record_own(root, "only smoke", {"points": (9.0, "1")}, seeds=1, profile="smoke")
    assert ["only smoke", "9 (smoke)", "smoke, n = 1 [1]"] in own_lines(root)


def test_notes_are_those_of_the_lines_that_are_shown(root: Path) -> None:
    """A smoke run that is left out leaves no note behind, and no gap in the numbers of the others."""
    record_own(root, "first", {"points": (2.0, "1")})
    record_own(root, "first", {"seconds": (1.0, "s")}, seeds=1, profile="smoke", dataset="dome")
    record_own(root, "second", {"points": (2.0, "1")}, dataset="field")
    (shown, *_) = compare("system", "untangled", root=root).tables
    assert [row[-1] for row in shown.rows] == ["cpu, n = 3 [1]", "cpu, n = 3 [2]"]
    assert list(shown.notes) == ["[1] world 1; mean", "[2] field 1; mean"]


def test_order_of_the_book_names_rows_that_were_recorded() -> None:
    for published in read_all_published():
        own = {(r.table, r.variant) for r in read_records(published.slug) if r.profile != "smoke"}
        tables = {**published.tables, **published.own_tables}
        named = {(name, row) for name, table in tables.items() for row in table.order}
        assert named <= own


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([2.0], "2"),
        ([1234567.0], "1,234,567"),  # a count keeps its digits
        ([1234.5, 1834.5], "1,530 ± 420"),
        ([28.04, 27.96, 28.0], "28 ± 0.040"),
        ([119.4, 238.8], "179 ± 84"),
        ([0.1242, 0.1244], "0.124 ± 0.00014"),
        ([2.9680001] * 2, "2.97 ± 0"),
        ([0.1 + 0.2, 0.3, 0.3], "0.300 ± 0"),  # rounding of sums is no spread
        ([1e12, 3e12], "2.00e+12 ± 1.4e+12"),
    ],
)
def test_numbers_are_written_for_readers(values: list[float], text: str) -> None:
    assert spread(values) == text


def test_a_recorded_table_that_no_file_knows(root: Path) -> None:
    run = Run("system", "ablation", "ours", 0, "cpu", "world", "1")
    record_run(run, protocol="mean", metrics={"error": (1.0, "m")}, started=time.time(), root=root)
    assert "ablation: beyond the paper, measured" in repr(compare("system", "ablation", root=root))
    assert "system: ablation: beyond the paper, measured" in repr(results_page(root))
    with pytest.raises(ProjectError, match="did you mean 'ablation'"):
        compare("system", "ablations", root=root)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("own_tables", {"errors": {"title": "x"}}, "the paper prints: name it otherwise"),
        ("own_tables", {}, "names table 'untangled', not in the file"),
        ("own_tables", {"untangled": {"titel": "x"}}, "unknown key 'titel': did you mean 'title'"),
    ],
)
def test_wrong_own_tables_are_named(root: Path, key: str, value: object, message: str) -> None:
    add_own(root)
    path = root / "book" / "published" / "system.yml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {key: value}))
    with pytest.raises(ProjectError, match=rf"(?s)system\.yml.*{message}"):
        read_published("system", root)


def test_ids_of_claims_and_targets_differ(root: Path) -> None:
    add_own(root)
    path = root / "book" / "published" / "system.yml"
    path.write_text(path.read_text().replace("id: untangling", "id: better"))
    with pytest.raises(ProjectError, match="two claims share an id"):
        read_published("system", root)


def test_unknown_table_and_system(root: Path) -> None:
    with pytest.raises(ProjectError, match="did you mean 'errors'"):
        compare("system", "error", root=root)
    with pytest.raises(ProjectError, match="published numbers are there for: system"):
        compare("sistem", root=root)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("tables", "errors", "cells", 0, "value"), {"about": 1, "less_than": 2}, "exactly one"),
        (("tables", "errors", "cells", 1, "row"), "ours", "more than once"),
        (("claims", 0, "table"), "other", "not in the file"),
        (("claims", 1, "id"), "better", "share an id"),
        (("claims", 1, "test", "above"), 1.0, "exactly one"),
        (("tables", "errors", "cells", 0, "wehre"), "x", "wehre"),
    ],
)
def test_wrong_published_file_is_named(root: Path, path: tuple, value: object, message: str) -> None:
    found = yaml.safe_load(yaml.safe_dump(PUBLISHED))
    place = found
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (root / "book" / "published" / "system.yml").write_text(yaml.safe_dump(found))
    with pytest.raises(ProjectError, match=rf"(?s)system\.yml.*{message}"):
        read_published("system", root)


def test_schema_holds_every_kind_of_number() -> None:
    cells = Published.model_validate(PUBLISHED).tables["errors"].cells
    assert [cell.text for cell in cells] == ["4", "about 5"]


class _Checker(HTMLParser):
    """Collects tags; text of a script would be markup that was not escaped."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)


def test_html_is_escaped_and_has_captions(root: Path) -> None:
    measure(root, "<script>", [1.0])
    checker = _Checker()
    checker.feed(results_page(root)._repr_html_())
    assert "script" not in checker.tags
    assert checker.tags.count("caption") == checker.tags.count("table") == 3


def test_numbers_of_the_book_are_readable() -> None:
    found = {p.slug: p for p in read_all_published()}
    cells = {(c.row, c.metric): c.text for c in found["intersections"].tables["fit error"].cells}
    assert cells["custom mesh", "fit_error_mean"] == "< 0.5"

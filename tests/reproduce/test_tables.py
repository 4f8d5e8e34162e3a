"""Published tables, comparison and verdicts."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from job_lines import COMMIT, add_line, job_line

from hands_lib.reproduce.evidence import read_evidence
from hands_lib.reproduce.html_tables import Group, Section
from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.published import Published, read_all_published, read_published
from hands_lib.reproduce.status import jobs_table, summary_table
from hands_lib.reproduce.store import read_lines
from hands_lib.reproduce.tables import claims_page, compare, system_page
from hands_lib.reproduce.verdicts import Verdict, judge
from hands_lib.reproduce.wording import spread

PUBLISHED = {
    "slug": "system",
    "source": "key",
    "metrics": {
        "error": {"unit": "mm", "better": "lower"},
        "error_*": {"unit": "mm"},
        "points": {"unit": "1"},
        "moved": {"unit": "mm"},
        "seconds": {"unit": "s"},
    },
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
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (tmp_path / "book" / "index.md").write_text("# Start\n")
    return tmp_path


def measure(root: Path, row: str, values: list[float], profile: str = "cpu", **about: object) -> None:
    for seed, value in enumerate(values):
        rows = {"errors": {row: {"error": value}}}
        add_line(root, job_line("system", row, seed, rows, profile=profile, **about))


def verdict(root: Path, name: str) -> Verdict:
    published = read_published("system", root)
    (claim,) = [c for c in published.claims if c.id == name]
    (found,) = judge(claim, read_evidence("system", root))
    return found


def test_nothing_measured_is_not_run(root: Path) -> None:
    assert verdict(root, "better").answer == "not run"
    text = repr(compare("system", root=root))
    assert re.search(r"^base +about 5\* \| not run$", text, re.M)
    assert "not yet compared with the printed paper" in text
    assert re.search(r"^ours +4 \| not run$", text, re.M)
    assert text.count("NOT MEASURED") == 2


def test_a_smoke_run_is_never_judged(root: Path) -> None:
    measure(root, "ours", [1.0, 1.1, 1.2], profile="smoke")
    measure(root, "base", [9.0, 9.1, 9.2], profile="smoke")
    assert verdict(root, "better").answer == "not run"
    assert verdict(root, "below").answer == "not run"
    assert "1.10 ± 0.10 (smoke)" in repr(compare("system", root=root))
    assert "not a result" in repr(compare("system", root=root))


def test_a_result_takes_the_place_of_a_smoke_run(root: Path) -> None:
    measure(root, "ours", [1.0], profile="smoke")
    measure(root, "ours", [4.0, 4.2], profile="cpu")
    text = repr(compare("system", root=root))
    assert "4.10 ± 0.14" in text
    assert "(smoke)" not in text


def test_what_the_paper_does_not_print_is_folded_away(root: Path) -> None:
    measure(root, "ours", [4.0])
    measure(root, "another", [7.0])
    beside, beyond, *_ = compare("system", table="errors", root=root).tables
    assert "another" not in repr(beside)
    assert isinstance(beyond, Section)
    assert re.search(r"^ +error \[mm\] ↓$", repr(beyond), re.M)
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
    assert "Points inside: measured, not in the paper" in text
    assert "not run" in text
    assert "published" not in text
    for seed in range(3):  # both rows by one job
        rows = {
            "without": {"points": 30.0 + seed, "moved": 1.0},
            "with": {"points": 3.0 + seed, "moved": 1.0},
        }
        add_line(root, job_line("system", "untangling", seed, {"untangled": rows}))
    text = repr(compare("system", "untangled", root=root))
    assert re.search(r"^ +points +moved \[mm\]$", text, re.M)  # as the record has them
    assert re.search(r"^without +31 ± 1 +1 ± 0$", text, re.M)
    assert text.count("Measured: cpu profile, n = 3, commit 0123456: world 1; mean") == 1  # for all rows
    assert text.index("\nwith ") < text.index("\nwithout ")  # by name, where no order is given
    assert "Our <own> test." in text
    assert "Targets of this book, which are no claims of the paper" in text
    assert "\nREPRODUCED      Untangling helps.\n" in text
    assert "claims of the paper\n" not in text.replace("no claims of the paper\n", "")  # it claims nothing

    measure(root, "ours", [1.0, 1.1, 1.2])
    text = repr(compare("system", "errors", root=root))
    assert "\nREPRODUCED      Ours is low.\n" in text
    page = repr(system_page("system", root))
    assert "== Tables of this book beyond the paper (1) ==" in page
    assert "== Targets of this book, which are no claims of the paper (2) ==" in page
    assert "<own>" not in system_page("system", root)._repr_html_()
    told = claims_page("system", root)
    assert "REPRODUCED      system: Untangling helps. (target of this book)" in told
    assert told.endswith("1 reproduced, 1 not measured\ntargets of this book: 2 reproduced")


def record_own(root: Path, row: str, metrics: dict, seeds: int = 3, **about: object) -> None:
    for seed in range(seeds):
        name = f"{row} {' '.join(metrics)}"
        add_line(root, job_line("system", name, seed, {"untangled": {row: metrics}}, **about))


def own_lines(root: Path) -> list[list[str]]:
    """Head and lines of the table, its notes left out."""
    (shown, *_) = compare("system", "untangled", root=root).tables
    return [[str(cell) for cell in row] for row in (shown.head, *shown.lines)]


def test_measured_rows_stand_in_the_order_that_the_file_gives(root: Path) -> None:
    add_own(root)
    path = root / "book" / "published" / "system.yml"
    found = yaml.safe_load(path.read_text())
    found["own_tables"]["untangled"]["order"] = ["without", "never recorded", "with"]
    path.write_text(yaml.safe_dump(found))
    for row in ("another", "with", "without"):
        record_own(root, row, {"points": 1.0})
    assert [line[0] for line in own_lines(root)] == ["", "without", "with", "another"]


def test_measured_rows_of_different_runs_say_so(root: Path) -> None:
    """Sources are numbered where they differ, and a cell of fewer seeds says so."""
    record_own(root, "all", {"points": 2.0, "moved": 1.0})
    record_own(root, "fewer", {"points": 3.0})
    record_own(root, "fewer", {"moved": 1.0}, seeds=2)
    record_own(root, "other", {"points": 4.0}, dataset="dome")
    assert own_lines(root) == [
        ["", "points", "moved [mm]"],
        ["all [1]", "2 ± 0", "1 ± 0"],
        ["fewer [1]", "3 ± 0", "1 ± 0 (n = 2)"],
        ["other [2]", "4 ± 0", "–"],
    ]


def test_few_rows_of_many_metrics_stand_side_by_side(root: Path) -> None:
    metrics = {f"error_{n}": float(n) for n in range(1, 6)}
    for row in ("one", "two"):
        record_own(root, row, metrics)
    head, *lines = own_lines(root)
    assert head == ["", "one", "two"]
    assert lines == [[f"error {n} [mm]", f"{n} ± 0", f"{n} ± 0"] for n in range(1, 6)]


def test_a_table_that_would_be_mostly_empty_has_a_line_for_each_number(root: Path) -> None:
    for n in range(4):
        record_own(root, f"row {n}", {f"error_{n}": float(n)})
    head, *lines = own_lines(root)
    assert head == ["", "measured"]
    assert lines == [[f"row {n}: error {n}", f"{n} ± 0 mm"] for n in range(4)]


def test_a_smoke_run_adds_no_line_to_a_measured_row(root: Path) -> None:
    """What only a smoke run knows of a row is not shown beside its results."""
    record_own(root, "ours", {"points": 2.0})
    record_own(root, "ours", {"points": 9.0, "seconds": 1.0}, seeds=1, profile="smoke")
    assert own_lines(root) == [["", "points"], ["ours", "2 ± 0"]]
    record_own(root, "only smoke", {"points": 9.0}, seeds=1, profile="smoke")
    assert ["only smoke [1]", "9 (smoke)"] in own_lines(root)


def test_notes_are_those_of_the_lines_that_are_shown(root: Path) -> None:
    """A smoke run that is left out leaves no note behind, and no gap in the numbers of the others."""
    record_own(root, "first", {"points": 2.0})
    record_own(root, "first", {"seconds": 1.0}, seeds=1, profile="smoke", dataset="dome")
    record_own(root, "second", {"points": 2.0}, dataset="field")
    (shown, *_) = compare("system", "untangled", root=root).tables
    assert [row[0] for row in shown.rows] == ["first [1]", "second [2]"]
    runs = "cpu profile, n = 3, commit 0123456"
    assert list(shown.notes) == [f"[1] {runs}: world 1; mean", f"[2] {runs}: field 1; mean"]


def test_order_of_the_book_names_rows_that_were_recorded() -> None:
    for published in read_all_published():
        lines = [line for line in read_lines(published.slug) if line.is_result]
        own = {(table, row) for line in lines for table, rows in line.rows.items() for row in rows}
        tables = {**published.tables, **published.own_tables}
        assert {(name, row) for name, table in tables.items() for row in table.order} <= own


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
    add_line(root, job_line("system", "ours", 0, {"ablation": {"ours": {"error": 1.0}}}))
    assert "ablation: measured, not in the paper" in repr(compare("system", "ablation", root=root))
    assert "ablation: measured, not in the paper" in repr(system_page("system", root))
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


HOSTILE = [
    "<script>",
    "a | b",
    "\"quoted\" & 'so'",
    "two\nlines\ttab",
    "\x1b[31mred",
    "](javascript:x)",
    "$x$",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_comes_from_data_is_text(root: Path, name: str) -> None:
    """Names of rows, jobs, data sets and protocols: no tag is made of them, and no line of a terminal."""
    about = {"dataset": name, "protocol": name, "dataset_version": name}
    for seed, value in enumerate([1.0, 2.0, 3.0]):
        add_line(
            root,
            job_line(
                "system",
                name,
                seed,
                {"errors": {name: {"error": value}}, name: {"ours": {"error": 1.0}}},
                **about,
            ),
        )
    for page in (
        system_page("system", root),
        compare("system", root=root),
        jobs_table(read_lines("system", root), root),
    ):
        checker = _Checker()
        checker.feed(page._repr_html_())
        assert set(checker.tags) <= {
            *(
                "details",
                "summary",
                "div",
                "table",
                "caption",
                "thead",
                "tbody",
                "tr",
                "th",
                "td",
                "p",
                "wbr",
            ),
            *("span", "strong", "u", "svg", "line", "circle", "rect"),
        }
        assert checker.tags.count("caption") == checker.tags.count("table")
        own = "".join(letter if letter.isprintable() else " " for letter in name)
        assert sum(own in line for line in repr(page).splitlines()) >= 1
        assert name.isprintable() or name not in repr(page)


def test_jobs_are_listed_with_what_they_are_worth(root: Path) -> None:
    (root / "book" / "versions.yml").write_text("system/old: {version: 2}\n")
    rows = {"errors": {"ours": {"error": 1.0}}}
    for seed in range(7):
        add_line(root, job_line("system", "ours", seed, rows, seconds=10.0 * seed))
    add_line(root, job_line("system", "ours", 0, rows, chapter="old"))
    add_line(root, job_line("system", "ours", 0, rows, profile="smoke"))
    add_line(root, job_line("system", "ours", 0, rows, dirty=True))
    shown = jobs_table(read_lines("system", root), root)
    found: dict[tuple[str, str], tuple] = {}
    for row in shown.rows:
        if isinstance(row, Group):
            group = row.title
        else:
            found[group, row[2]] = (row[3], row[5], row[-1])
    assert found == {
        ("system: benchmark of chapter", "cpu"): ("7 from 0 to 6", "30 s", COMMIT[:7]),
        ("system: benchmark of old", "cpu (stale)"): ("0", "60 s", COMMIT[:7]),
        ("system: benchmark of chapter", "smoke (not a result)"): ("0", "60 s", COMMIT[:7]),
        ("system: benchmark of chapter", "cpu (dirty, not a result)"): ("0", "60 s", COMMIT[:7]),
    }
    summary = summary_table([line for line in read_lines("system", root) if not line.dirty], root)
    assert [tuple(row[1:4]) for row in summary.rows] == [
        ("cpu", "7", "4 min"),
        ("cpu (stale)", "1", "60 s"),
        ("smoke (not a result)", "1", "60 s"),
    ]


def test_stale_and_dirty_jobs_are_shown_where_there_is_nothing_else(root: Path) -> None:
    (root / "book" / "versions.yml").write_text("system/chapter: {version: 2}\n")
    measure(root, "ours", [1.0, 2.0, 3.0])
    measure(root, "base", [7.0], dirty=True, version=2)
    text = repr(compare("system", root=root))
    assert "2 ± 1 (stale)" in text
    assert "stale: 3 jobs by another version of the chapter" in text
    assert "7 (dirty)" in text
    assert "dirty: a run of sources that are in no commit; not a result" in text
    assert "only by another version of the chapter" in text
    assert "REPRODUCED" not in text
    measure(root, "ours", [5.0, 5.0, 5.0], version=2)
    text = repr(compare("system", root=root))
    assert "5 ± 0" in text
    assert "(stale)" not in text


def test_jobs_with_other_settings_are_counted_out_and_said_so(root: Path) -> None:
    measure(root, "ours", [1.0, 2.0, 3.0])
    measure(root, "ours", [100.0], parameters={"steps": 1})
    text = repr(compare("system", root=root))
    assert "2 ± 1" in text
    assert "not counted, as of other settings than the rest: 1 job" in text


def test_a_system_of_no_paper(root: Path) -> None:
    path = root / "book" / "published" / "speed.yml"
    path.write_text("slug: speed\nmetrics: {'*': {unit: ms}}\nown_tables: {race: {title: A race}}\n")
    add_line(root, job_line("speed", "peers", 0, {"race": {"10 faces": {"ours": 1.5, "theirs": 3.0}}}))
    text = repr(system_page("speed", root))
    assert text.startswith("== A race ==")
    assert "A race: measured (" in text
    assert re.search(r"^10 faces +1\.50 +3$", text, re.M)


def test_numbers_of_the_book_are_readable() -> None:
    found = {p.slug: p for p in read_all_published()}
    cells = {(c.row, c.metric): c.text for c in found["intersections"].tables["fit error"].cells}
    assert cells["custom mesh", "fit_error_mean"] == "< 0.5"

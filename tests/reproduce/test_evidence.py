"""Which lines count: never smoke, dirty or other versions, one set of settings a row, whatever the order."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from job_lines import add_line, job_line

from hands_lib.reproduce.evidence import Evidence, read_evidence, sort_out
from hands_lib.reproduce.jobs import JobLine

TABLE, ROW = "errors", "ours"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "book" / "published").mkdir(parents=True)
    return tmp_path


def line(seed: int, value: float, job: str = "ours", column: str = "error", **about: object) -> JobLine:
    return job_line("system", job, seed, {TABLE: {ROW: {column: value}}}, **about)


def values(evidence: Evidence, column: str = "error", kind: str = "counted") -> dict[int, float]:
    (found,) = evidence.cell(TABLE, ROW, column, kind).values() or [{}]
    return {seed: one.rows[TABLE][ROW][column] for seed, one in found.items()}


def test_smoke_and_dirty_jobs_are_unfinished(root: Path) -> None:
    lines = [line(0, 1.0), line(1, 2.0, profile="smoke"), line(2, 3.0, dirty=True)]
    for one in lines:
        add_line(root, one)
    evidence = read_evidence("system", root)
    assert values(evidence) == {0: 1.0}
    assert {one.seed for one in evidence.lines["unfinished"][TABLE, ROW]} == {1, 2}


def test_lines_of_another_version_are_stale(root: Path) -> None:
    (root / "book" / "versions.yml").write_text(yaml.safe_dump({"system/chapter": {"version": 2}}))
    evidence = sort_out("system", [line(0, 1.0), line(1, 2.0, version=2)], root)
    assert values(evidence) == {1: 2.0}
    assert values(evidence, kind="stale") == {0: 1.0}


def test_of_settings_those_of_the_preset_count_then_those_with_most_seeds(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [line(seed, 1.0, parameters={"steps": 9}) for seed in (0, 1)]
    many = [line(seed, 2.0, parameters={"steps": 5}) for seed in (0, 1, 2)]
    evidence = sort_out("system", few + many, root)
    assert values(evidence) == dict.fromkeys((0, 1, 2), 2.0)
    assert evidence.lines["other"][TABLE, ROW] == few
    preset = {"steps": 9}
    monkeypatch.setattr("hands_lib.reproduce.evidence.preset_parameters", lambda *asked: preset)
    assert values(sort_out("system", few + many, root)) == {0: 1.0, 1: 1.0}
    preset = {"steps": 1}  # nobody's: the seeds decide again
    assert values(sort_out("system", few + many, root)) == dict.fromkeys((0, 1, 2), 2.0)


def test_what_a_job_started_from_is_a_setting(root: Path) -> None:
    lines = [line(seed, 1.0, inputs={"network": "a"}) for seed in (0, 1)]
    lines += [line(0, 5.0, inputs={"network": "b"})]
    evidence = sort_out("system", lines, root)
    assert values(evidence) == {0: 1.0, 1: 1.0}
    assert len(evidence.lines["other"][TABLE, ROW]) == 1


def test_a_row_has_one_set_of_settings_on_each_data_set(root: Path) -> None:
    lines = [line(0, 1.0, parameters={"steps": 1}), line(0, 2.0, parameters={"steps": 2}, dataset="dome")]
    found = sort_out("system", lines, root).cell(TABLE, ROW, "error")
    assert [group[1] for group in found] == ["dome", "world"]


def test_a_table_may_be_about_another_data_set(root: Path) -> None:
    one = line(0, 1.0, dataset_of={TABLE: ("dome", "7")})
    assert list(sort_out("system", [one], root).cell(TABLE, ROW, "error")) == [("cpu", "dome", "7", "mean")]


def test_of_two_jobs_that_measure_a_cell_the_one_with_most_seeds_counts(root: Path) -> None:
    lines = [line(0, 1.0, job="b"), line(0, 2.0, job="c"), line(1, 2.0, job="c"), line(0, 3.0, job="d")]
    evidence = sort_out("system", [*lines, line(0, 4.0, job="a", column="size")], root)
    assert values(evidence) == {0: 2.0, 1: 2.0}  # never seed 0 of one and seed 1 of another
    assert values(evidence, "size") == {0: 4.0}
    assert values(sort_out("system", [lines[0], lines[3]], root)) == {0: 1.0}  # by name


@given(st.permutations(range(8)))
def test_the_order_of_lines_decides_nothing(order: list[int]) -> None:
    lines = [
        line(seed, float(10 * steps + seed + number), job, parameters={"steps": steps})
        for number, job in enumerate(("a", "b"))
        for steps in (1, 2)
        for seed in (0, 1)
    ]
    root = Path(__file__).parent
    first, other = (sort_out("system", own, root) for own in (lines, [lines[i] for i in order]))
    assert values(first) == values(other)
    for kind in first.lines:
        assert {p: {x.key for x in own} for p, own in first.lines[kind].items()} == {
            p: {x.key for x in own} for p, own in other.lines[kind].items()
        }

"""What figures are drawn from: the largest profile and the present version; smoke where nothing else is."""

import math

import pytest
from job_lines import add_line, job_line

from hands_lib.reproduce.recorded import recorded


@pytest.fixture
def root(tmp_path):
    (tmp_path / "book").mkdir()
    return tmp_path


def record(root, row, error, seed=0, profile="cpu", table="errors", **about):
    rows = {table: {row: {"error": error}}}
    add_line(root, job_line("system", f"{row} of {table}", seed, rows, profile=profile, **about))


def test_mean_and_range_over_seeds(root):
    for seed, error in enumerate((1.0, 2.0, 6.0)):
        record(root, "one", error, seed)
    found = recorded("system", "errors", root)
    assert found.values("one", "error") == [1.0, 2.0, 6.0]
    assert found.mean("one", "error") == 3.0
    bars = found.bars(["one"], "error")
    assert bars == {"y": [3.0], "error_y": {"array": [3.0], "arrayminus": [2.0]}}
    assert found.profile == "cpu profile"
    assert (found.rows, found.metrics("one")) == (["one"], ["error"])


def test_smoke_counts_only_where_there_is_nothing_else(root):
    record(root, "one", 9.0, profile="smoke")
    assert recorded("system", "errors", root).profile == "a smoke run, not a result"
    record(root, "one", 1.0)
    assert recorded("system", "errors", root).values("one", "error") == [1.0]


def test_rows_that_did_not_run_leave_a_gap(root):
    record(root, "one", 1.0)
    record(root, "one", 5.0, table="another")
    found = recorded("system", "errors", root)
    assert found.values("two", "error") == []
    assert math.isnan(found.mean("two", "error"))
    assert math.isnan(found.bars(["one", "two"], "error")["y"][1])
    assert recorded("system", "nothing", root).profile == "not run"


def test_one_data_set_at_a_time(root):
    """Numbers on two data sets are no two seeds of one."""
    record(root, "one", 1.0)
    record(root, "one", 5.0, seed=1, dataset="another world")
    assert recorded("system", "errors", root).values("one", "error") == [5.0]


def test_a_dirty_job_is_in_no_figure(root):
    record(root, "one", 1.0, dirty=True)
    assert recorded("system", "errors", root).profile == "not run"


def test_one_profile_at_a_time(root):
    for row, error, profile in (("one", 1.0, "cpu"), ("one", 7.0, "gpu"), ("two", 2.0, "cpu")):
        record(root, row, error, profile=profile)
    found = recorded("system", "errors", root)
    assert (found.profile, found.rows) == ("gpu profile", ["one"])
    assert found.values("one", "error") == [7.0]
    assert found.values("two", "error") == []

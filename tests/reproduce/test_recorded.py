"""What figures are drawn from: the largest profile and the present method; smoke where nothing else is."""

import math
import time

import pytest

from hands_lib.reproduce import Run, record_run
from hands_lib.reproduce.recorded import recorded


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDS_RESULTS", str(tmp_path))
    return tmp_path


def record(row, error, seed=0, profile="cpu", table="errors"):
    run = Run("intersections", table, row, seed, profile, "toy", "1")
    record_run(run, protocol="toy", metrics={"error": (error, "mm")}, started=time.time())


def test_mean_and_range_over_seeds(folder):
    for seed, error in enumerate((1.0, 2.0, 6.0)):
        record("one", error, seed)
    found = recorded("intersections", "errors")
    assert found.values("one", "error") == [1.0, 2.0, 6.0]
    assert found.mean("one", "error") == 3.0
    bars = found.bars(["one"], "error")
    assert bars == {"y": [3.0], "error_y": {"array": [3.0], "arrayminus": [2.0]}}
    assert found.profile == "cpu profile"
    assert (found.rows, found.metrics("one")) == (["one"], ["error"])


def test_smoke_counts_only_where_there_is_nothing_else(folder):
    record("one", 9.0, profile="smoke")
    assert recorded("intersections", "errors").profile == "a smoke run, not a result"
    record("one", 1.0)
    assert recorded("intersections", "errors").values("one", "error") == [1.0]


def test_rows_that_did_not_run_leave_a_gap(folder):
    record("one", 1.0)
    record("one", 5.0, table="another")
    found = recorded("intersections", "errors")
    assert found.values("two", "error") == []
    assert math.isnan(found.mean("two", "error"))
    assert math.isnan(found.bars(["one", "two"], "error")["y"][1])
    assert recorded("intersections", "nothing").profile == "not run"

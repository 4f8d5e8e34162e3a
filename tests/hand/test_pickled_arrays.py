"""Oracles: NumPy's and SciPy's own pickles; hostile ones against limits of memory that the system keeps."""

import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile_pickles import hostile_pickles
from scipy import sparse

from hands_lib.hand.pickled_arrays import ForbiddenNameError, PickledArraysError, array_of, read_pickle

KINDS = ("csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array", "coo_array")


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_are_those_of_numpys_own_pickles(protocol):
    generator = np.random.default_rng(0)
    given = {
        "rows": generator.standard_normal((3, 4, 5)),
        "columns": np.asfortranarray(generator.standard_normal((3, 4))),
        "single": generator.standard_normal(7).astype(np.float32),
        "big-endian": np.arange(5, dtype=">i4"),
        "unsigned": np.array([0, 2**32 - 1], np.uint32),
        "flags": np.array([True, False]),
        "nothing": np.zeros((0, 3)),
        "number": np.float64(1.5),
        "whole number": np.int64(-3),
    }
    found = read_pickle(pickle.dumps({**given, "name": "é", "list": [1, 2.5, None, -(2**40)]}, protocol))
    for name, value in given.items():
        array = array_of(found[name])
        assert np.array_equal(array, value), name
        assert array.dtype.kind == value.dtype.kind
    assert found["name"] == "é"
    assert found["list"] == [1, 2.5, None, -(2**40)]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_sparse_matrices_are_written_out(protocol, kind):
    generator = np.random.default_rng(1)
    dense = generator.standard_normal((16, 30)) * (generator.random((16, 30)) < 0.2)
    given = getattr(sparse, kind)(dense)
    assert np.array_equal(array_of(read_pickle(pickle.dumps({"a": given}, protocol))["a"]), dense)


def test_entries_of_a_matrix_that_stand_there_twice_are_added():
    given = sparse.coo_matrix((np.array([1.0, 2.0]), ([0, 0], [1, 1])), shape=(2, 2))
    assert np.array_equal(array_of(read_pickle(pickle.dumps({"a": given}))["a"]), given.toarray())


@pytest.mark.parametrize("name", hostile_pickles())
def test_hostile_pickles_are_refused_in_one_short_sentence(name):
    with pytest.raises(PickledArraysError) as caught:
        {key: array_of(value) for key, value in read_pickle(hostile_pickles()[name]).items()}
    assert 0 < len(str(caught.value)) <= 300


# Without the limit the unpickler of Python would take tens of gigabytes for some of these.
_UNDER_LIMITS = """
import resource, sys
import numpy as np
from scipy import sparse
from hostile_pickles import hostile_pickles
from hands_lib.hand.pickled_arrays import PickledArraysError, array_of, read_pickle
pickles = hostile_pickles()
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = {name: getattr(sparse.csc_matrix, name) for name in dir(sparse.csc_matrix)}
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for raw in pickles.values():
    try:
        for value in read_pickle(raw).values():
            array_of(value)
    except PickledArraysError:
        continue
    sys.exit("a hostile pickle was read")
assert before == {name: getattr(sparse.csc_matrix, name) for name in dir(sparse.csc_matrix)}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used)
"""


def test_hostile_pickles_take_no_memory_and_change_no_class():
    tests = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", _UNDER_LIMITS], capture_output=True, text=True, cwd=tests, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 300_000  # kilobytes


def test_a_damaged_matrix_is_refused():
    good = sparse.csc_matrix(np.eye(3))
    for part, wrong in (
        ("indices", np.array([0, 1, 3], np.int32)),
        ("indices", np.array([0, 1, -1], np.int32)),
        ("indptr", np.array([0, 2, 1, 3], np.int32)),
        ("indptr", np.array([0, 1, 2], np.int32)),
        ("data", np.ones(2)),
    ):
        bad = good.copy()
        setattr(bad, part, wrong)
        found = read_pickle(pickle.dumps({"a": bad}))
        with pytest.raises(PickledArraysError):
            array_of(found["a"])


def test_a_forbidden_name_is_said_and_cut():
    with pytest.raises(ForbiddenNameError, match=r"^posix\.system$"):
        read_pickle(b"cposix\nsystem\n(S'true'\ntR.")
    with pytest.raises(ForbiddenNameError) as caught:
        read_pickle(b"\x8c\x02os" + b"X" + struct.pack("<I", 10**6) + b"x" * 10**6 + b"\x93.")
    assert len(str(caught.value)) <= 200

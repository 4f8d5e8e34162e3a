"""A small part of `python tests/data/fuzz.py`; the whole of it is some thousand files."""

from fuzz import run
from fuzz_targets import make_targets

KINDS = 21


def test_damaged_files_end_in_a_named_error_or_a_counted_skip():
    outcomes, faults = run(10 * KINDS, seed=1)
    assert faults == []
    assert sum(outcomes.values()) == 10 * KINDS
    refused = {kind for kind, outcome in outcomes if outcome in ("named error", "made again")}
    assert len(refused) == KINDS, outcomes


def test_every_kind_of_file_is_damaged(tmp_path):
    targets = make_targets(tmp_path)
    assert len({target.kind for target in targets}) == KINDS
    assert all(target.read() in ("harmless", "made again", "counted skip") for target in targets)

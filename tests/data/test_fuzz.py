"""A small part of `python tests/data/fuzz.py`; the whole of it is 2,000 files."""

from fuzz import run


def test_damaged_files_end_in_a_named_error_or_a_counted_skip():
    outcomes, faults = run(100, seed=1)
    assert faults == []
    assert sum(outcomes.values()) == 100
    refused = {kind: outcomes[kind, "named error"] for kind in ("annotation", "image", "pickle")}
    assert all(count >= 3 for count in refused.values()), outcomes

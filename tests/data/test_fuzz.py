"""A small part of `python tests/data/fuzz.py`; the whole of it is 2,000 files."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fuzz import run


def test_damaged_files_end_in_a_named_error_or_a_counted_skip():
    outcomes, faults = run(160, seed=1)
    assert faults == []
    assert sum(outcomes.values()) == 160
    refused = {kind: outcomes[kind, "named error"] for kind in ("annotation", "image", "pickle")}
    assert all(count >= 5 for count in refused.values()), outcomes

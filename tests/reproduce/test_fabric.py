"""One run on several processes: what `book/scaling.md` shows trains as one process with the joined batch."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "book" / "scaling.md"


def page_code() -> str:
    found = re.search(r"```python\n(# fabric_pattern\.py\n.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert found
    return found[1]


def test_two_gloo_processes_train_as_one_with_the_joined_batch(tmp_path: Path) -> None:
    names: dict = {"__name__": "page"}
    exec(page_code(), names)
    alone = names["train"](names["Fabric"](accelerator="cpu", devices=1))

    script = tmp_path / "fabric_pattern.py"
    script.write_text(page_code())
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = [sys.executable, str(script), "2", str(tmp_path / "losses")]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 processes" in done.stderr
    assert "gloo" in done.stderr
    first, second = (json.loads(path.read_text()) for path in sorted(tmp_path.glob("losses.*.json")))

    assert first == second  # what both report is the mean over both
    assert len(alone) == 12
    assert alone[-1] < 0.5 * alone[0]  # it does train
    assert first == pytest.approx(alone, rel=1e-12)  # float64: only the order of sums differs

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hands_lib.data.generated_capture import write_capture

SAMPLE = Path(os.environ["HANDS_DATA"], "interhand26m_sample") if os.environ.get("HANDS_DATA") else None
HAS_SAMPLE = SAMPLE is not None and SAMPLE.is_dir()


@pytest.fixture(scope="session")
def generated(tmp_path_factory) -> Path:
    """The generated capture; read-only by agreement."""
    return write_capture(tmp_path_factory.mktemp("captures") / "generated", seed=0)


@pytest.fixture(scope="session", params=["generated", *(["sample"] if HAS_SAMPLE else [])])
def capture(request, generated) -> Path:
    """Every capture that this machine has: the generated one always, the real sample where it is."""
    return SAMPLE if request.param == "sample" else generated


@pytest.fixture
def copy(generated, tmp_path) -> Path:
    """A generated capture to damage."""
    return Path(shutil.copytree(generated, tmp_path / "copy"))


@pytest.fixture
def edit(copy) -> Callable[[str, Callable[[dict], object]], Path]:
    """`edit(kind, change)` rewrites one JSON of the copy and returns its path."""

    def apply(kind: str, change: Callable[[dict], object]) -> Path:
        path = copy / "annotations" / "test" / f"InterHand2.6M_test_{kind}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return path

    return apply

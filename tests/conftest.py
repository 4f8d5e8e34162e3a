"""Fixtures that tests of the executed and the built book share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from hands_lib.reproduce.project import find_root
from hands_lib.reproduce.runner import build_book

ROOT = find_root(Path(__file__).parent)
# a busy machine is no wrong result
settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")


@pytest.fixture(scope="session")
def site() -> Path:
    """Folder of the built book, brought up to date first; `make test` has a part of its own for that."""
    if "HANDS_BOOK_IS_BUILT" not in os.environ:
        return build_book(ROOT).parent
    built = ROOT / "_build" / "html"
    if not (built / "index.html").is_file():
        pytest.fail("the book was not built: see the failure of the part `book`")
    return built

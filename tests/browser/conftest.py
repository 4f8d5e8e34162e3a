"""A server for the built book, and the system's Chromium to look at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from hands_lib.reproduce.chromium import FLAGS, find_chromium
from hands_lib.reproduce.pdf import served


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """A plain file server for the site."""
    with served(site) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        yield browser
        browser.close()

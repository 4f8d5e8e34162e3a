"""A server for the built book, and the system's Chromium to look at it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from visits import LIMIT

from hands_lib.reproduce.chromium import FLAGS, find_chromium
from hands_lib.reproduce.pdf import served


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """A plain file server for the site."""
    with served(site) as address:
        yield address


def patient(make: Callable[..., Any]) -> Callable[..., Any]:
    """Makes pages or contexts that wait for whatever comes: none of them knows how busy the machine is."""

    def made(**options: Any) -> Any:
        page = make(**options)
        page.set_default_timeout(LIMIT)
        return page

    return made


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        expect.set_options(timeout=LIMIT)
        browser.new_page, browser.new_context = map(patient, (browser.new_page, browser.new_context))
        yield browser
        browser.close()

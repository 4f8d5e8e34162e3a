"""Scores, forest plots, printed tables and filters of the built book, on a laptop and on a phone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from visits import violations

RESULTS, STATUS, FRONT = "book/results.html", "book/status.html", "book/index.html"
LAPTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
UNFOLD = "document.querySelectorAll('.bd-article details').forEach((fold) => { fold.open = true; })"


@pytest.fixture
def laptop(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport=LAPTOP)
    yield page
    page.close()


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport=PHONE, has_touch=True)
    yield page
    page.close()


@pytest.mark.parametrize(("theme", "size"), [("light", LAPTOP), ("dark", PHONE)], ids=["laptop", "phone"])
@pytest.mark.parametrize("name", [FRONT, RESULTS, STATUS])
def test_nothing_stands_in_a_reader_s_way(
    name: str, theme: str, size: dict, address: str, browser: Browser
) -> None:
    """Axe, with every fold open; `test_pages.py` has the pages as they open, in both themes."""
    context = browser.new_context(color_scheme=theme, viewport=size)
    page = context.new_page()
    page.goto(f"{address}/{name}", wait_until="load")
    page.evaluate(UNFOLD)
    wrong = violations(page)
    width = page.evaluate("document.documentElement.scrollWidth")
    context.close()
    assert wrong == []
    assert width <= size["width"], "the page scrolls sideways"


def test_any_paper_s_claims_are_two_clicks_and_three_screens_away(laptop: Page, address: str) -> None:
    laptop.goto(f"{address}/{FRONT}", wait_until="load")
    links = laptop.locator(".hands-paper-name a")
    assert links.count() >= 3
    top = laptop.evaluate("document.querySelector('.hands-paper').getBoundingClientRect().top")
    assert top < LAPTOP["height"], "the score is on the first screen"
    for place in range(links.count()):
        laptop.goto(f"{address}/{FRONT}", wait_until="load")
        links.nth(place).click()
        laptop.wait_for_url("**/results.html#*")
        anchor = laptop.evaluate("location.hash")
        claims = laptop.locator(f"{anchor} .hands-forest").first
        assert claims.is_visible()
        box = claims.bounding_box()
        assert box is not None
        assert box["height"] <= 3 * LAPTOP["height"], anchor


def test_every_paper_has_a_heading_in_the_contents(laptop: Page, address: str) -> None:
    laptop.goto(f"{address}/{FRONT}", wait_until="load")
    names = laptop.locator(".hands-paper-name a").all_inner_texts()
    laptop.goto(f"{address}/{RESULTS}", wait_until="load")
    contents = laptop.locator(".page-toc a").evaluate_all("all => all.map((a) => a.textContent.trim())")
    assert set(names) <= set(contents)


def test_verdicts_are_signs_and_words_too(laptop: Page, address: str) -> None:
    laptop.goto(f"{address}/{RESULTS}", wait_until="load")
    laptop.evaluate(UNFOLD)
    texts = laptop.locator(".hands-forest .hands-verdict").all_inner_texts()
    words = {"✓ reproduced", "✗ not reproduced", "? undecided", "– not measured"}
    assert set(map(str.strip, texts)) == words


@pytest.mark.parametrize("name", [FRONT, RESULTS, STATUS])
def test_no_raw_name_of_a_system_is_read(name: str, laptop: Page, address: str) -> None:
    laptop.goto(f"{address}/{name}", wait_until="load")
    laptop.evaluate(UNFOLD)
    shown = ".hands-forest, .hands-score, .hands-table table, .bd-article summary, .bd-article h2"
    for text in laptop.locator(shown).all_inner_texts():
        assert "va_nerf" not in text
        assert "hand_object" not in text


def test_a_printed_table_fits_a_laptop(laptop: Page, address: str) -> None:
    """Wide tables of what was measured beyond it scroll inside themselves."""
    laptop.goto(f"{address}/{RESULTS}", wait_until="load")
    laptop.evaluate(UNFOLD)
    printed = laptop.evaluate(
        """() => [...document.querySelectorAll('.hands-scroll')]
            .filter((own) => own.querySelector('thead .hands-published'))
            .map((own) => [own.getAttribute('aria-label'), own.scrollWidth - own.clientWidth])"""
    )
    assert len(printed) > 20
    assert [name for name, beyond in printed if beyond > 1] == []


def test_the_first_column_stays_in_sight_on_a_phone(phone: Page, address: str) -> None:
    phone.goto(f"{address}/{RESULTS}", wait_until="load")
    phone.evaluate(UNFOLD)
    found = phone.evaluate(
        """() => {
            const all = [...document.querySelectorAll('.hands-scroll')];
            return all.filter((one) => one.scrollWidth > one.clientWidth + 60).map((one) => {
                const row = one.querySelector('tbody tr:not(.hands-group)');
                const left = () => [0, 1].map((place) => row.cells[place].getBoundingClientRect().left);
                const before = left();
                one.scrollLeft = 50;
                return [before, left(), one.querySelector('caption > span').getBoundingClientRect().left];
            });
        }"""
    )
    assert len(found) > 5
    for (first, second), (first_after, second_after), caption in found:
        assert first_after == pytest.approx(first, abs=1)
        assert second_after == pytest.approx(second - 50, abs=1)
        assert caption >= 0


def rows_in_sight(page: Page) -> int:
    return page.locator("[data-filters] tbody tr:not(.hands-group):visible").count()


def test_jobs_are_filtered_from_the_keyboard(laptop: Page, address: str) -> None:
    laptop.goto(f"{address}/{STATUS}", wait_until="load")
    all_rows = rows_in_sight(laptop)
    count = laptop.locator(".hands-filters output")
    assert count.get_attribute("aria-live") == "polite"
    assert count.inner_text() == f"{all_rows} of {all_rows} rows"
    laptop.locator(".hands-filters select").first.focus()
    laptop.keyboard.type("VA")
    assert laptop.locator(".hands-filters select").first.input_value() == "VA-NeRF"
    of_system = rows_in_sight(laptop)
    assert 0 < of_system < all_rows
    assert count.inner_text() == f"{of_system} of {all_rows} rows"
    groups = laptop.locator("[data-filters] .hands-group:visible").all_inner_texts()
    assert groups
    assert all(text.startswith("VA-NeRF: ") for text in groups)
    laptop.keyboard.press("Tab")  # to the profile
    laptop.keyboard.type("cpu")
    of_profile = rows_in_sight(laptop)
    assert 0 < of_profile <= of_system
    laptop.keyboard.press("Tab")
    laptop.keyboard.type("nothing is called so")
    assert rows_in_sight(laptop) == 0
    assert count.inner_text() == f"0 of {all_rows} rows"
    assert laptop.locator("[data-filters] .hands-group:visible").count() == 0


def test_without_scripts_every_job_is_there(address: str, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{STATUS}", wait_until="load")
    rows = page.locator("[data-filters] tbody tr:not(.hands-group)")
    assert page.locator(".hands-filters").count() == 0
    assert rows.count() > 50
    assert rows.last.is_visible()
    context.close()

"""The search finds what a reader looks for."""

import pytest
from playwright.sync_api import Browser


@pytest.mark.parametrize(
    ("words", "chapters"),
    [
        ("VA-NeRF", ["va_nerf/adversarial", "va_nerf/comparison", "va_nerf/fusion", "va_nerf/play"]),
        ("VAFF", ["va_nerf/fusion"]),
        ("VGAL", ["va_nerf/adversarial"]),
        ("DIR", ["refinement/method", "refinement/stages"]),
        ("occupancy", ["intersections/occupancy"]),
        ("untangle", ["intersections/untangle"]),
    ],
)
def test_search_finds_the_chapters_of_a_method_first(
    words: str, chapters: list[str], address: str, browser: Browser
) -> None:
    page = browser.new_page()
    page.goto(f"{address}/search.html?q={words}")
    page.wait_for_function("document.querySelectorAll('ul.search li a').length >= 2")
    # results come one by one, in their order
    page.wait_for_function("n => document.querySelectorAll('ul.search li').length >= n", arg=len(chapters))
    links = page.locator("ul.search li a").evaluate_all("all => all.map((a) => a.pathname)")
    page.close()
    found = [link.removeprefix("/book/").removesuffix(".html") for link in links]
    assert set(found[: len(chapters)]) == set(chapters), found[:6]

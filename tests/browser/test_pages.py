"""Every built page, as readers meet it: on a laptop by day, in the dark, and on a phone.

Each visit makes all the checks of its page and says what each of them found.
"""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from reading import LAPTOP, PHONE, read
from visits import Heard, draw_figures, open_page, reach_by_tab, sideways, violations

from hands_lib.reproduce.chapters import book_pages, list_chapters
from hands_lib.reproduce.project import find_root

ROOT = find_root(Path(__file__).parent)
PAGES = [path.relative_to(ROOT).with_suffix(".html").as_posix() for path in book_pages(ROOT)]
GENERATED = ["genindex.html", "search.html?q=hand"]
CHAPTERS = {c.path.relative_to(ROOT).with_suffix(".html").as_posix(): c for c in list_chapters(ROOT)}
SCREENS, CODE = 1.0, 0.25  # down to the result; the share of a page that code may take
MEGABYTES = 4.3  # 4 are the goal: theme and formulas have 2.6 of them, curves 1.5
HEAVY = {"method": 5.1}  # its pictures of planes stand in the page
Report = dict[str, object]  # check -> what it found wrong; empty where nothing is


def verdict(report: Report, record_property) -> None:
    """Fails with what was found, under the names of the checks; the report of the tests counts them."""
    record_property("checks", ", ".join(report))
    wrong = {check: found for check, found in report.items() if found}
    assert not wrong, json.dumps(wrong, indent=1)


def result_first(name: str, page: Page, heard: Heard) -> Report:
    """Of a chapter: the result on the first screen, little code, few bytes where nothing is in 3D."""
    chapter = CHAPTERS.get(name)
    if chapter is None or chapter.back_matter:
        return {}
    found = read(page, heard)
    down = {"result": found.result, "figure": found.figure, "picture": found.picture, "answer": found.answer}
    heavy = not found.has_3d and found.megabytes > HEAVY.get(chapter.stem, MEGABYTES)
    return {
        **{f"{what} on the first screen": [place] * (place > SCREENS) for what, place in down.items()},
        "code": [share for share in (found.code, found.code_of_page) if share > CODE],
        "megabytes": found.megabytes if heavy else 0,
    }


def of_a_chapter(name: str, page: Page) -> Report:
    """The menu offers the notebook, with outputs; every visible cell of code can be copied."""
    if name not in CHAPTERS:
        return {}
    notebook = ["the menu has none"]
    for link in page.locator("a.btn-download-notebook-button").all()[:1]:
        reply = page.request.get(link.evaluate("e => e.href"))
        outputs = any(cell.get("outputs") for cell in json.loads(reply.text())["cells"])
        notebook = [] if outputs else [f"{reply.url} has no outputs"]
    cells = page.locator(".cell_input pre").count()
    if cells:
        page.wait_for_selector("button.copybtn", state="attached")
    return {
        "notebook": notebook,
        "copy buttons": max(0, cells - page.locator("button.copybtn").count()),
    }


def look_at(page: Page, heard: Heard, theme: str) -> Report:
    """What holds for every page in both themes, with its figures drawn."""
    return {
        "theme": [] if page.evaluate("document.documentElement.dataset.theme") == theme else f"not {theme}",
        "undrawn": draw_figures(page),
        "axe": violations(page),
        "outside": heard.outside,
        "console": heard.wrong,
    }


@pytest.mark.parametrize("name", [*PAGES, *GENERATED])
def test_page_on_a_laptop(name: str, address: str, browser: Browser, record_property) -> None:
    context = browser.new_context(color_scheme="light", viewport=LAPTOP)
    page = context.new_page()
    heard = Heard(page, address)
    open_page(page, f"{address}/{name}")
    report = {"sideways": sideways(page), **result_first(name, page, heard)}
    report |= look_at(page, heard, "light") | of_a_chapter(name, page)
    report["out of the tabulator's reach"], report["without a name"] = reach_by_tab(page)
    context.close()
    verdict(report, record_property)


@pytest.mark.parametrize("name", [*PAGES, *GENERATED])
def test_page_in_the_dark(name: str, address: str, browser: Browser, record_property) -> None:
    context = browser.new_context(color_scheme="dark", viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    heard = Heard(page, address)
    open_page(page, f"{address}/{name}")
    report = look_at(page, heard, "dark")
    context.close()
    verdict(report, record_property)


@pytest.mark.parametrize("name", PAGES)
def test_page_on_a_phone(name: str, address: str, browser: Browser, record_property) -> None:
    """Nothing makes the whole page wider than the screen, and axe finds nothing there either."""
    context = browser.new_context(viewport=PHONE)
    page = context.new_page()
    open_page(page, f"{address}/{name}")
    report = {"sideways": max(0, sideways(page)), "axe": violations(page)}
    context.close()
    verdict(report, record_property)


def test_figures_follow_a_change_of_theme(address: str, browser: Browser) -> None:
    """Switching the theme recolours the text of a drawn figure."""
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    for name in PAGES:
        open_page(page, f"{address}/{name}")
        if page.locator(".hands-figure[data-kind=plotly]").count():
            break
    else:
        pytest.fail("no page has a plotly figure")
    figure = page.locator(".hands-figure[data-kind=plotly]").first
    figure.scroll_into_view_if_needed()
    page.wait_for_function("e => e.dataset.drawn", arg=figure.element_handle())
    figure = figure.locator(".hands-plot")
    colour = "e => e._fullLayout.font.color"
    light = figure.evaluate(colour)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_function(
        "([e, old]) => e._fullLayout.font.color !== old", arg=[figure.element_handle(), light]
    )
    dark = figure.evaluate(colour)
    expected = page.evaluate(
        "getComputedStyle(document.documentElement).getPropertyValue('--pst-color-text-base').trim()"
    )
    context.close()
    assert dark == expected != light


def test_site_works_without_any_service(site: Path) -> None:
    """No page names a script, style, image or frame of another host."""
    for path in sorted(site.rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        for tag in ("<script", "<link", "<img", "<iframe"):
            for part in text.split(tag)[1:]:
                head = part.split(">", 1)[0]
                assert 'src="http' not in head, (path.name, head[:200])
                assert not (tag == "<link" and 'href="http' in head and 'rel="stylesheet"' in head), (
                    path.name,
                    head[:200],
                )

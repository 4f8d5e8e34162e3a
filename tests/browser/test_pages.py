"""Every built page, light and dark, as a reader's browser sees it."""

import io
import json
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page

from hands_lib.reproduce.chapters import book_pages, list_chapters
from hands_lib.reproduce.project import find_root

ROOT = find_root(Path(__file__).parent)
PAGES = [path.relative_to(ROOT).with_suffix(".html").as_posix() for path in book_pages(ROOT)]
LIMIT = 120_000  # ms; a busy machine draws WebGL in software
GENERATED = ["genindex.html", "search.html?q=hand"]
LEVELS = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "preload": False,  # it would fetch what style sheets import, from a wrong address
}


def has_drawing(png: bytes) -> bool:
    """Whether a screenshot shows more than a flat background: a share of other pixels, in several colours."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels // 8, axis=0, return_counts=True)
    return len(colours) >= 12 and 1 - counts.max() / counts.sum() > 0.005


def draw_figures(page: Page) -> list[str]:
    """Scroll every interactive figure into view; return a complaint for each that shows nothing."""
    complaints = []
    figures = page.locator(".hands-figure")
    for i in range(figures.count()):
        figure = figures.nth(i)
        name = figure.get_attribute("aria-label") or f"figure {i + 1}"
        figure.evaluate(
            "e => { for (let p = e; p; p = p.parentElement) if (p.tagName === 'DETAILS') p.open = true; }"
        )
        figure.scroll_into_view_if_needed()
        try:
            page.wait_for_function("e => e.dataset.drawn", arg=figure.element_handle(), timeout=LIMIT)
        except Exception as error:
            complaints.append(f"{name}: not drawn after {LIMIT / 1000:.0f} s ({type(error).__name__})")
            continue
        for _ in range(20):  # a frame may still be on its way to the screen
            if has_drawing(figure.screenshot()):
                break
            page.wait_for_timeout(300)
        else:
            complaints.append(f"{name}: nothing but background")
    return complaints


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES, *GENERATED])
def test_page(name: str, theme: str, address: str, browser: Browser) -> None:
    context = browser.new_context(color_scheme=theme, viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(LIMIT)
    outside: list[str] = []
    wrong: list[str] = []
    host = urlsplit(address).netloc
    page.on(
        "request",
        lambda r: (
            outside.append(r.url)
            if urlsplit(r.url).scheme.startswith("http") and urlsplit(r.url).netloc != host
            else None
        ),
    )
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.goto(f"{address}/{name}", wait_until="networkidle")
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    undrawn = draw_figures(page)
    found = Axe().run(page, options=LEVELS).response["violations"]
    violations = [
        f"{v['id']}: {node['target']} {node.get('failureSummary', '')[:200]}"
        for v in found
        for node in v["nodes"][:3]
    ]
    context.close()
    report = {"outside": outside, "console": wrong, "undrawn": undrawn, "axe": violations}
    assert not any(report.values()), json.dumps(report, indent=1)


def test_figures_follow_a_change_of_theme(address: str, browser: Browser) -> None:
    """Switching the theme recolours the text of a drawn figure."""
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    for name in PAGES:
        page.goto(f"{address}/{name}", wait_until="networkidle")
        if page.locator(".hands-figure[data-kind=plotly]").count():
            break
    else:
        pytest.fail("no page has a plotly figure")
    figure = page.locator(".hands-figure[data-kind=plotly]").first
    figure.scroll_into_view_if_needed()
    page.wait_for_function("e => e.dataset.drawn", arg=figure.element_handle(), timeout=LIMIT)
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


@pytest.mark.parametrize("chapter", list_chapters(ROOT), ids=lambda c: c.stem)
def test_chapter_is_offered_as_a_notebook(chapter, site: Path, address: str, browser: Browser) -> None:
    """The download menu has the .ipynb, and it holds outputs."""
    page = browser.new_page()
    page.goto(f"{address}/{chapter.path.relative_to(ROOT).with_suffix('.html').as_posix()}")
    link = page.locator("a.btn-download-notebook-button").first.get_attribute("href")
    assert link is not None
    reply = page.request.get(page.evaluate("href => new URL(href, location).href", link))
    cells = json.loads(reply.text())["cells"]
    page.close()
    assert any(cell.get("outputs") for cell in cells)


def test_copy_buttons(address: str, browser: Browser) -> None:
    """Every visible code cell of every chapter has one."""
    page = browser.new_page()
    for chapter in list_chapters(ROOT):
        page.goto(
            f"{address}/{chapter.path.relative_to(ROOT).with_suffix('.html').as_posix()}",
            wait_until="domcontentloaded",
        )
        cells = page.locator(".cell_input pre").count()
        if cells:
            page.wait_for_selector("button.copybtn", state="attached")
        assert page.locator("button.copybtn").count() >= cells
    page.close()


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

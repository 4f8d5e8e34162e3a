"""What a test looks at on a page of the built book while it is open.

A page takes seconds of computing to load, to draw and to be searched by axe. So one visit serves every check
of one theme and one size, and what a check finds stands under its own name.
"""

import io
from urllib.parse import urlsplit

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page

LIMIT = 600_000  # ms; only what never comes takes so long, however busy the machine is
FRAMES = 100  # that a drawing may need on its way to the screen
LEVELS = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "resultTypes": ["violations"],  # every rule is applied; only the report leaves out what is in order
    "preload": False,  # it would fetch what style sheets import, from a wrong address
}
CONTROLS = ".hands-figure :is(button, select, input, .hands-solid)"
NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def open_page(page: Page, place: str) -> None:
    """Loads a page until its scripts have run and its formulas stand. Not until the network is idle: that is
    half a second without a request, which a busy machine has in the middle of loading."""
    page.goto(place, wait_until="load")
    page.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise; }")


class Heard:
    """What a page asks for and complains about, from the moment that this listens.

    outside: addresses of other hosts; wrong: errors of the console, of scripts and of answers; sizes: bytes
    of each answer.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.outside: list[str] = []
        self.wrong: list[str] = []
        self.sizes: dict[str, int] = {}
        self._host = urlsplit(address).netloc
        page.on("request", self._request)
        page.on("response", self._response)
        page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: self.wrong.append(str(e)))

    def _request(self, request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme.startswith("http") and parts.netloc != self._host:
            self.outside.append(request.url)

    def _response(self, response) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.status} {response.url}")
        if response.ok:
            self.sizes[response.url] = int(response.headers.get("content-length", 0))


def has_drawing(png: bytes) -> bool:
    """Whether a screenshot shows more than a flat background: a share of other pixels, in several colours."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3) // 8
    codes = pixels.astype(np.int32) @ np.array([1024, 32, 1])
    counts = np.bincount(codes)
    return np.count_nonzero(counts) >= 12 and 1 - counts.max() / counts.sum() > 0.005


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
        if figure.get_attribute("data-drawn") != "true":
            complaints.append(f"{name}: could not be drawn")
        for _ in range(FRAMES):
            if has_drawing(figure.screenshot()):
                break
            page.evaluate(NEXT_FRAME)
        else:
            complaints.append(f"{name}: nothing but background")
    return complaints


def violations(page: Page) -> list[str]:
    """What axe finds on the page as it is."""
    found = Axe().run(page, options=LEVELS).response["violations"]
    return [
        f"{v['id']}: {node['target']} {node.get('failureSummary', '')[:200]}"
        for v in found
        for node in v["nodes"][:3]
    ]


def sideways(page: Page) -> int:
    """Pixels that the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def reach_by_tab(page: Page) -> tuple[list[str], list[str]]:
    """(controls of the figures that the tabulator does not reach, controls without a name)."""
    if page.locator(".hands-figure").count() == 0:
        return [], []
    page.evaluate(
        """(controls) => {
          window.reached = new Set();
          addEventListener('focusin', (event) => window.reached.add(event.target));
          const first = document.querySelector('.hands-figure');
          const before = document.createElement('button');  // start right before the first figure
          first.before(before);
          before.focus();
          window.wanted = [...document.querySelectorAll(controls)].filter((e) => e.checkVisibility());
        }""",
        CONTROLS,
    )
    if page.evaluate("wanted.length") == 0 and page.locator(CONTROLS).count() > 0:
        return ["none of the controls can be seen"], []
    pressed = 0
    while pressed < 400 and (left := page.evaluate("wanted.filter((e) => !reached.has(e)).length")):
        for _ in range(left):
            page.keyboard.press("Tab")
        pressed += left
    return (
        page.evaluate("wanted.filter((e) => !reached.has(e)).map((e) => e.outerHTML.slice(0, 120))"),
        page.evaluate(
            "wanted.filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent))"
            ".map((e) => e.outerHTML.slice(0, 120))"
        ),
    )

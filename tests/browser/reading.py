"""How a page of the built book reads on a laptop and on a phone, in numbers.

`python tests/browser/reading.py _build/html` prints a line for every page below its `book` folder.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from visits import LIMIT, Heard, open_page, sideways

from hands_lib.reproduce.chromium import FLAGS, find_chromium
from hands_lib.reproduce.pdf import served

LAPTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
# Heights in pixels of the page as it comes: what is folded is not seen.
MEASURE = """() => {
  const article = document.querySelector('.bd-article');
  const top = article.getBoundingClientRect().top + scrollY;
  const seen = (e) => e.checkVisibility() && e.getBoundingClientRect().height > 24;
  const places = (names) => Array.from(article.querySelectorAll(names)).filter(seen)
    .map((e) => e.getBoundingClientRect().top + scrollY);
  const first = (names) => Math.min(...places(names), Infinity);
  const pictures = '.hands-figure, .cell_output img, .cell_output canvas, figure img, .hands-live';
  const code = Array.from(article.querySelectorAll('.cell_input, .cell_output .highlight-python')).filter(
    (e) => seen(e) && !e.parentElement.closest('.cell_input, .highlight-python'));
  const height = article.getBoundingClientRect().height;
  return {
    figure: first(pictures),
    result: first(pictures + ', .cell_output table, .hands-table, [class*="verdict"]'),
    code: code.reduce((sum, e) => sum + e.getBoundingClientRect().height, 0) / height,
    screens: height,
    answer: (article.querySelector('.cell.tag_answer')?.getBoundingClientRect().bottom ?? Infinity) + scrollY,
    picture: (article.querySelector('figure')?.getBoundingClientRect().top ?? Infinity) + scrollY,
    codeOfPage: Array.from(article.querySelectorAll('div.highlight')).filter((e) => e.checkVisibility())
      .reduce((sum, e) => sum + e.getBoundingClientRect().height, 0) / document.documentElement.scrollHeight,
    has3d: !!document.querySelector('.hands-living') ||
      Array.from(document.querySelectorAll('.hands-figure')).some((e) =>
      e.dataset.kind === 'k3d' || e.querySelector('.hands-solid') ||
      /"type":"(mesh3d|scatter3d|surface|cone|isosurface|volume)"/.test(e.textContent)),
  };
}"""


@dataclass(frozen=True)
class Reading:
    """Of one page: screens (of a laptop) down to the first result, to the first figure, to the end of the
    answer and to the first captioned figure, infinite where there is none; share of the article's height that
    is visible code, and of the page's; height; megabytes that a reader of all of it loads."""

    result: float
    figure: float
    answer: float
    picture: float
    code: float
    code_of_page: float
    screens: float
    megabytes: float
    has_3d: bool


def read(page: Page, heard: Heard) -> Reading:
    """An open page of a laptop's size, which `heard` has listened to since before it came."""
    found = page.evaluate(MEASURE)
    _draw_one_of_each_kind(page)
    screen = LAPTOP["height"]
    down = {
        name: found[name] / screen if found[name] is not None else float("inf")
        for name in ("result", "figure", "answer", "picture")
    }
    return Reading(
        **down,
        code=found["code"],
        code_of_page=found["codeOfPage"],
        screens=found["screens"] / screen,
        megabytes=sum(heard.sizes.values()) / 1e6,
        has_3d=found["has3d"],
    )


def _draw_one_of_each_kind(page: Page) -> None:
    """So that every script that the page's figures need has been loaded."""
    kinds = set()
    for figure in page.locator(".hands-figure").all():
        kind = figure.get_attribute("data-kind")
        if kind not in kinds and figure.is_visible():
            kinds.add(kind)
            figure.scroll_into_view_if_needed()
            page.wait_for_function("e => e.dataset.drawn", arg=figure.element_handle())


def main() -> None:
    """Print the numbers of every page of a site."""
    site = Path(sys.argv[1])
    print(f"{'page':34}{'result':>8}{'figure':>8}{'code':>7}{'screens':>9}{'MB':>7}  3D  wider than a phone")
    with served(site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        for path in sorted((site / "book").rglob("*.html")):
            name = path.relative_to(site).as_posix()
            page = browser.new_page(viewport=LAPTOP)
            page.set_default_timeout(LIMIT)
            heard = Heard(page, address)
            open_page(page, f"{address}/{name}")
            found = read(page, heard)
            page.set_viewport_size(PHONE)
            first = f"{found.result:8.2f}{found.figure:8.2f}{found.code:7.0%}{found.screens:9.1f}"
            rest = f"{found.megabytes:7.2f}  {'3D' if found.has_3d else '- '}  {sideways(page)} px"
            page.close()
            print(f"{name[5:-5]:34}{first}{rest}", flush=True)
        browser.close()


if __name__ == "__main__":
    main()

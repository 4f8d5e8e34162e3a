"""The first screen of a laptop holds answer and picture of every chapter; code takes little of its height."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from hands_lib.reproduce.chapters import Chapter, list_chapters
from hands_lib.reproduce.project import find_root

CHAPTERS = [c for c in list_chapters(find_root(Path(__file__).parent)) if not c.back_matter]
LAPTOP = {"width": 1440, "height": 900}
MOST_CODE = 0.25  # share of a page's height

MEASURE = """() => {
  const article = document.querySelector("article");
  const place = e => e ? e.getBoundingClientRect() : {top: Infinity, bottom: Infinity};
  const code = [...article.querySelectorAll("div.highlight")].filter(e => e.checkVisibility());
  return {
    answer: place(article.querySelector(".cell.tag_answer")).bottom + scrollY,
    figure: place(article.querySelector("figure")).top + scrollY,
    code: code.reduce((sum, e) => sum + place(e).height, 0) / document.documentElement.scrollHeight,
    wide: Math.max(0, document.documentElement.scrollWidth - innerWidth),
  };
}"""


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_answer_and_picture_on_the_first_screen(chapter: Chapter, address: str, browser: Browser) -> None:
    page = browser.new_page(viewport=LAPTOP)
    page.goto(f"{address}/book/{chapter.name}.html", timeout=180_000)
    found = page.evaluate(MEASURE)
    page.close()
    assert found["answer"] < LAPTOP["height"]
    assert found["figure"] < LAPTOP["height"]
    assert found["code"] <= MOST_CODE
    assert found["wide"] == 0

"""Pages on paper: one page from dark mode, and the whole book as a PDF."""

import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pypdf
import pypdfium2
import pytest
from playwright.sync_api import Browser
from test_pages import ROOT
from visits import open_page

from hands_lib.reproduce import pdf
from hands_lib.reproduce.project import ProjectError

LONG_LINE = "a" * 60 + " = " + "b" * 400  # in a cell, without a place to break
WIDE = "<table><tr>" + "".join(f"<td>column{i:03}</td>" for i in range(40)) + "</tr></table>"
FORMULA = "\\[" + " + ".join(f"x_{{{i}}}" for i in range(60)) + "\\]"
ADD = """async ([line, table, formula]) => {
  const article = document.querySelector('.bd-article');
  article.insertAdjacentHTML('beforeend',
    '<div class="cell_input"><div class="highlight"><pre>' + line + '</pre></div></div>' + table
    + '<details class="dropdown"><summary>Answer</summary><p>unfolded words</p></details>'
    + '<div class="math">' + formula + '</div>');
  await MathJax.startup.promise;
  await MathJax.typesetPromise([article.lastElementChild]);
  return article.lastElementChild.querySelectorAll('mjx-container').length;
}"""


@pytest.fixture(scope="module")
def printed(address: str, browser: Browser) -> bytes:
    """A page as a reader prints it in dark mode, with what is too wide for paper added."""
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    open_page(page, f"{address}/book/notation.html")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate(ADD, [LONG_LINE, WIDE, FORMULA]) == 1
    content = page.pdf(format="A4", print_background=True)
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")  # and is given back as it was
    assert page.locator("details.dropdown").evaluate("e => e.open") is False
    context.close()
    return content


def words(content: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)


def test_paper_is_white_and_letters_are_dark(printed: bytes) -> None:
    picture = np.asarray(pypdfium2.PdfDocument(printed)[0].render(scale=1).to_pil().convert("L"))
    assert np.median(picture) == 255
    assert np.quantile(picture, 0.005) < 80


def test_nothing_of_a_page_is_cut_off(printed: bytes) -> None:
    """A line of code that breaks nowhere, a wide table, a formula of sixty terms."""
    text = words(printed)
    assert text.replace("\n", "").count("b" * 400) == 1
    assert "column039" in text.replace("\n", "")
    document = pypdfium2.PdfDocument(printed)
    for sheet in document:
        box = np.asarray(sheet.render(scale=1).to_pil().convert("L"))
        assert (box[:, -40:] > 200).all(), "ink in the margin at the right"


def test_what_was_folded_is_printed_and_what_works_on_screens_only_is_not(printed: bytes) -> None:
    text = words(printed)
    assert "unfolded words" in text
    assert "Search" not in text
    assert text.count("Notation and conventions") == 2  # the title, and how it is cited; no sidebar


def test_a_book_of_three_pages(site: Path, tmp_path: Path) -> None:
    """Title page, contents with the numbers that stand on the sheets, links inside, an outline."""
    small = tmp_path / "checkout"
    (small / "_build").mkdir(parents=True)
    (small / "_build" / "html").symlink_to(site)
    shutil.copytree(ROOT / "book", small / "book", ignore=shutil.ignore_patterns("results"))
    shutil.copy(ROOT / "CITATION.cff", small)
    toc = "format: jb-book\nroot: book/index.md\nparts:\n  - caption: Few\n    chapters:\n"
    files = "".join(f"      - file: book/{name}.md\n" for name in ("notation", "bibliography"))
    (small / "_toc.yml").write_text(toc + files)
    with ThreadPoolExecutor(1) as own:  # in this one, the browser of the other tests is at work
        book = own.submit(pdf.print_book, small, tmp_path / "book.pdf").result()
    reader = pypdf.PdfReader(book.path)
    assert len(reader.pages) == book.sheets
    labels = list(reader.page_labels)
    assert labels[:3] == ["i", "ii", "1"]
    contents = reader.pages[1].extract_text()
    for title in ("Notation and conventions", "Bibliography"):
        entry = next(item for item in reader.outline if isinstance(item, dict) and item.title == title)
        sheet = reader.get_destination_page_number(entry)
        assert title in reader.pages[sheet].extract_text()
        assert labels[sheet] in reader.pages[sheet].extract_text().split("\n")  # as the foot of it
        assert contents.split(title)[1].split()[0] == labels[sheet]
    links = [link.get_object() for sheet in reader.pages for link in sheet.get("/Annots", [])]
    assert sum("/Dest" in link for link in links) > 10
    outside = [str(link["/A"]["/URI"]) for link in links if "/A" in link]
    assert any(goal.startswith("https://doi.org/") for goal in outside)
    assert not any("127.0.0.1" in goal for goal in outside)


def test_without_chromium_or_a_built_page_it_says_so(tmp_path: Path, site: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProjectError, match="no Chromium on this machine.*apt-get install chromium"):
        pdf.print_book(ROOT, tmp_path / "book.pdf")
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    shutil.copytree(ROOT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("results"))
    with pytest.raises(ProjectError, match="is not built: run `hands build` first"):
        pdf.print_book(tmp_path, tmp_path / "book.pdf")

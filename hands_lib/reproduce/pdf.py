"""The whole book as one PDF: the built pages, printed by the system's Chromium and joined in reading order.

The pages print themselves (`pages/static/hands-print.*`). What only a book has is made here: a title page,
contents, page numbers that run through, an outline, and links between chapters that stay inside the file.
"""

import functools
import html
import http.server
import io
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

from tqdm import tqdm

from hands_lib.reproduce.chapters import book_pages, book_parts
from hands_lib.reproduce.chromium import FLAGS, find_chromium
from hands_lib.reproduce.citation import BookCitation, book_citation
from hands_lib.reproduce.project import ProjectError, replacing

PATIENCE = 120_000  # milliseconds for anything that a page still has to do, on a slow machine
SHARPNESS = 2  # pixels of a figure's picture for each of the page's
# Pictures and formulas are there, and every name of the page is one that links of other pages can find.
READY = """async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise;
  const names = document.createElement('nav');
  names.hidden = true;
  for (const named of document.querySelectorAll('.bd-article [id]')) {
    const link = document.createElement('a');
    link.href = '#' + encodeURIComponent(named.id);
    names.append(link);
  }
  document.body.append(names);
  await Promise.all(Array.from(document.querySelectorAll('.bd-article img'), (image) => {
    image.loading = 'eager';
    return image.decode().catch(() => {});
  }));
}"""
UNFOLD = "e => { for (let p = e; p; p = p.parentElement) if (p.tagName === 'DETAILS') p.open = true; }"
REPLACE = """(e, [picture, alt]) => {
  const image = new Image();
  image.src = picture;
  image.alt = alt;
  e.replaceWith(image);
  return image.decode();
}"""
FRONT = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
@page {{ size: A4; margin: 25mm 22mm; }}
body {{ font: 11pt/1.45 sans-serif; color: #111; margin: 0; }}
header {{ break-after: page; text-align: center; padding-top: 45mm; }}
header h1 {{ font-size: 30pt; line-height: 1.15; font-weight: 600; margin: 0 0 8mm; }}
header img {{ width: 100%; margin: 14mm 0; }}
header p {{ margin: 1mm 0; }}
h2 {{ font-size: 20pt; font-weight: 600; margin: 0 0 6mm; }}
h3 {{ font-size: 11pt; margin: 6mm 0 1mm; break-after: avoid; }}
ol {{ list-style: none; margin: 0; padding: 0; }}
li a {{ display: flex; color: inherit; text-decoration: none; gap: 2mm; }}
li i {{ flex: 1; border-bottom: 1px dotted #888; margin-bottom: 1.3mm; }}
</style></head><body>
<header><h1>{title}</h1><p>{authors}</p>{picture}<p>Version {version}, {date}</p><p>{source}</p></header>
<h2>Contents</h2>{contents}</body></html>"""


@dataclass
class Printed:
    """One page of the site on paper. `first` is the number of its first sheet, counted from 1."""

    address: str
    title: str
    content: bytes
    first: int
    sheets: int
    names: dict[str, tuple[int, float]] = field(default_factory=dict)  # -> sheet of this page, height on it


@dataclass(frozen=True)
class Book:
    """The file that was written."""

    path: Path
    sheets: int
    figures: int
    megabytes: float


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address of a file server for a folder, on this machine alone."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def print_book(root: Path, target: Path) -> Book:
    """Write the built book as one PDF.

    Args:
        root: the checkout; `_build/html` holds the site.
        target: the file to write.

    Raises:
        ProjectError: there is no Chromium, a page is not built, or a page cannot be printed.
    """
    from playwright.sync_api import Error, sync_playwright

    site = root / "_build" / "html"
    pages = {path.relative_to(root).with_suffix(".html").as_posix(): path for path in book_pages(root)}
    missing = [name for name in pages if not (site / name).is_file()]
    if missing:
        raise ProjectError(f"{', '.join(missing[:3])} is not built: run `hands build` first")
    browser_path, printed, figures = find_chromium(), [], 0
    with served(site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
        view = browser.new_page(device_scale_factor=SHARPNESS, color_scheme="light")
        view.set_default_timeout(PATIENCE)
        first = 1
        for name in tqdm(pages, desc="pages", unit="page", disable=not sys.stderr.isatty()):
            try:
                page, drawn = _print_page(view, f"{address}/{name}", first)
            except Error as error:
                raise ProjectError(f"{name} cannot be printed: {error.message.splitlines()[0]}") from error
            printed.append(page)
            figures += drawn
            first += page.sheets
        view.set_content(_front_matter(root, address, printed, book_citation(root)), wait_until="load")
        front = view.pdf(format="A4", print_background=True, prefer_css_page_size=True, tagged=True)
        browser.close()
    sheets = _join(front, printed, address, book_citation(root), target)
    return Book(target, sheets, figures, target.stat().st_size / 1e6)


def _print_page(view: Any, address: str, first: int) -> tuple[Printed, int]:
    """One page, its sheets numbered from `first`, and how many figures it has."""
    from pypdf import PdfReader

    view.goto(address, wait_until="load")
    view.evaluate(READY)
    figures = _draw_figures(view)
    view.add_style_tag(content=f"@page:first {{ counter-set: page {first}; }}")
    content = view.pdf(
        format="A4", print_background=True, prefer_css_page_size=False, outline=True, tagged=True
    )
    reader = PdfReader(io.BytesIO(content))
    title = view.locator(".bd-article h1").first.evaluate("e => e.firstChild.textContent.trim()")
    page = Printed(address, title, content, first, len(reader.pages))
    for name, place in reader.named_destinations.items():
        sheet = reader.get_destination_page_number(place)
        if sheet is not None:
            page.names[unquote(name.removeprefix("/"))] = (sheet, float(place.top or 0))
    return page, figures


def _draw_figures(view: Any) -> int:
    """Replace each live figure that brings no picture for paper along by one; returns the number of all."""
    figures = view.locator(".hands-figure")
    total = figures.count()
    for live in view.locator(".hands-figure:not(:has(img.hands-still))").element_handles():
        live.evaluate(UNFOLD)
        live.scroll_into_view_if_needed()
        view.wait_for_function("e => e.dataset.drawn", arg=live)
        encoded = _data_address(live.screenshot(animations="disabled"))
        live.evaluate(REPLACE, [encoded, live.get_attribute("aria-label") or ""])
    return total


def _data_address(png: bytes) -> str:
    import base64

    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _front_matter(root: Path, address: str, printed: Sequence[Printed], book: BookCitation) -> str:
    """Title page and contents, with the numbers of the sheets."""
    by_address = {page.address: page for page in printed}
    contents = []
    for caption, paths in book_parts(root):
        contents += [f"<h3>{html.escape(caption)}</h3>"] if caption else []
        rows = ""
        for path in paths:
            page = by_address[f"{address}/{path.relative_to(root).with_suffix('.html').as_posix()}"]
            rows += (
                f'<li><a href="{html.escape(page.address)}"><span>{html.escape(page.title)}</span><i></i>'
                f"<span>{page.first}</span></a></li>"
            )
        contents.append(f"<ol>{rows}</ol>")
    picture = root / "book" / "_static" / "hands.png"
    image = f'<img alt="" src="{_data_address(picture.read_bytes())}">' if picture.is_file() else ""
    return FRONT.format(
        title=html.escape(book.title),
        authors=html.escape(book.authors),
        picture=image,
        version=html.escape(book.version),
        date=html.escape(book.date),
        source=html.escape(book.source),
        contents="".join(contents),
    )


def _join(front: bytes, printed: Sequence[Printed], address: str, book: BookCitation, target: Path) -> int:
    """One file of all sheets; returns how many it has."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter()
    writer.append(io.BytesIO(front), import_outline=False)
    before = len(writer.pages)
    for page in printed:
        writer.append(io.BytesIO(page.content))
    places = {page.address: (before + page.first - 1, page.names) for page in printed}
    owners = [None] * before + [page.address for page in printed for _ in range(page.sheets)]
    for sheet, owner in zip(writer.pages, owners, strict=True):
        _keep_links_inside(writer, sheet, owner, address, places)
    writer.set_page_label(0, before - 1, style="/r")
    writer.set_page_label(before, len(writer.pages) - 1, style="/D", start=1)
    writer.add_metadata(
        {"/Title": book.title, "/Author": book.authors, "/Subject": f"version {book.version}"}
    )
    writer.page_mode = "/UseOutlines"
    writer.compress_identical_objects(remove_duplicates=True, remove_unreferenced=True)
    with replacing(target) as temporary:
        writer.write(temporary)
    return len(PdfReader(target).pages)


def _keep_links_inside(
    writer: Any,
    sheet: Any,
    owner: str | None,
    address: str,
    places: dict[str, tuple[int, dict[str, tuple[int, float]]]],
) -> None:
    """Turn links to the site's pages into links to sheets; take out those to what the file does not hold."""
    from pypdf.generic import ArrayObject, FloatObject, NameObject, NullObject

    kept = ArrayObject()
    for reference in sheet.get("/Annots", ArrayObject()):
        link = reference.get_object()
        goal = link.get("/A", {}).get("/URI")
        if link.get("/Subtype") == "/Link" and "/Dest" in link and owner is not None:
            goal = f"{owner}#{str(link['/Dest']).removeprefix('/')}"
        if goal is None or not str(goal).startswith(address):
            kept.append(reference)
            continue
        page, name = urldefrag(str(goal))
        if page not in places:
            continue
        first, names = places[page]
        number, top = names.get(unquote(name), (0, None))
        there = writer.pages[first + number].indirect_reference
        height = NullObject() if top is None else FloatObject(top)
        link.pop("/A", None)
        link[NameObject("/Dest")] = ArrayObject(
            [there, NameObject("/XYZ"), NullObject(), height, NullObject()]
        )
        kept.append(reference)
    if "/Annots" in sheet:
        sheet[NameObject("/Annots")] = kept

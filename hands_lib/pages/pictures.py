"""A picture of every interactive figure, for paper and for pages without scripts.

The system's Chromium draws each figure as the page would, in light colours, and takes its picture. A picture
is named by what it shows and by the scripts that drew it, and kept in the build folder: only what is new is
drawn. Without a Chromium there are no pictures, and the pages print what the figure shows in words.
"""

import hashlib
import io
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template

from PIL import Image

from hands_lib.pages.figure_outputs import HandsFigure
from hands_lib.pages.libraries import libraries_of
from hands_lib.reproduce.chromium import FLAGS, find_chromium
from hands_lib.reproduce.project import ProjectError, replacing

WIDTH, SHARPNESS = 760, 2  # pixels of the page, and of the picture for each of them
PATIENCE = 120_000  # milliseconds for one figure
AT_ONCE = 8  # figures drawn by one page: a browser keeps 16 contexts of WebGL alive
OWN_FILES = "--allow-file-access-from-files"  # the page loads scripts that lie beside it
PAGE = Path(__file__).with_name("picture.html")
INSERT = """async ([text, patience]) => {
  const main = document.querySelector('main');
  main.innerHTML = text;
  const late = new Promise((over) => setTimeout(over, patience));
  await Promise.race([window.showHandsFigure(main.firstElementChild), late]);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return main.firstElementChild.dataset.drawn;
}"""


def picture_name(figure: HandsFigure, drawing: str) -> str:
    """File of the figure's picture among those kept; `drawing` is the digest of what draws it."""
    return f"{figure.key}-{drawing}.png"


def make_pictures(
    figures: Iterable[HandsFigure],
    own: Iterable[Path],
    parts: Path,
    kept: Path,
    target: Path,
) -> list[str]:
    """Put a picture of each figure into `target`, drawn anew where `kept` has none.

    Args:
        figures: all figures of the book.
        own: the book's scripts and styles that draw them.
        parts: folder of the parts of plotly.
        kept: pictures of earlier builds; those of no figure any more are removed.
        target: a folder of the site.

    Returns:
        What the reader of the build should know: how many were drawn in how many seconds, which failed, or
        that no browser was found.
    """
    own = sorted(own)
    drawing = hashlib.sha256(b"".join(path.read_bytes() for path in own)).hexdigest()[:12]
    wanted = {picture_name(figure, drawing): figure for figure in figures}
    kept.mkdir(parents=True, exist_ok=True)
    missing = {name: figure for name, figure in wanted.items() if not (kept / name).is_file()}
    said = _draw(missing, own, parts, kept) if missing else []
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in kept.glob("*.png"):
        if path.name not in wanted:
            path.unlink()
        else:
            shutil.copyfile(path, target / f"{wanted[path.name].key}.png")
    return said


def _draw(missing: Mapping[str, HandsFigure], own: list[Path], parts: Path, kept: Path) -> list[str]:
    try:
        browser = find_chromium()
    except ProjectError as missing_browser:
        return [f"{len(missing)} figures have no picture for paper: {missing_browser}"]
    from playwright.sync_api import sync_playwright  # costs half a second, and only here

    start, failed = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        for path in own:
            shutil.copyfile(path, folder / path.name)
        for file, path in libraries_of((figure.library(parts) for figure in missing.values()), parts).items():
            shutil.copyfile(path, folder / file)
        styles = "".join(f'<link rel="stylesheet" href="{p.name}">' for p in own if p.suffix == ".css")
        scripts = "".join(f'<script src="{p.name}"></script>' for p in own if p.suffix == ".js")
        page_file = folder / "page.html"
        text = Template(PAGE.read_text(encoding="utf-8"))
        page_file.write_text(text.substitute(width=WIDTH, styles=styles, scripts=scripts), encoding="utf-8")
        chromium = playwright.chromium.launch(executable_path=browser, args=[*FLAGS, OWN_FILES])
        page = chromium.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=SHARPNESS)
        page.set_default_timeout(PATIENCE)
        for number, (picture, figure) in enumerate(missing.items()):
            if number % AT_ONCE == 0:
                page.goto(page_file.as_uri())
            if page.evaluate(INSERT, [figure.division(figure.library(parts)), PATIENCE]) == "true":
                _save(page.locator(".hands-figure").screenshot(animations="disabled"), kept / picture)
            else:
                failed.append(f"no picture of a figure could be drawn: {figure['alt'][:120]}")
        chromium.close()
    return [
        *failed,
        f"{len(missing) - len(failed)} pictures of figures in {time.perf_counter() - start:.0f} s",
    ]


def _save(screenshot: bytes, target: Path) -> None:
    """As a PNG of 256 colours: a third of the bytes."""
    picture = (
        Image.open(io.BytesIO(screenshot)).convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    )
    with replacing(target) as temporary:
        picture.save(temporary, format="PNG", optimize=True)

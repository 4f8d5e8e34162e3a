"""Files that a site needs beside its pages: our scripts and styles, the figures' libraries, MathJax.

MathJax comes from the sphinx-mathjax-offline package; only the parts that a browser can ask for are copied.
"""

import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from sphinx.util import logging

from hands_lib.pages.figure_outputs import LIBRARIES, PICTURES, HandsFigure, figures_of, kept
from hands_lib.pages.libraries import PARTS, WHOLE, fetch_parts, libraries_of
from hands_lib.pages.pictures import make_pictures
from hands_lib.reproduce.project import replacing

OF_FIGURES = "hands-figures.css", "hands-figures.js", "hands-stage.js"
SAID = "figures: "  # begins what `hands build` repeats of Sphinx's log
logger = logging.getLogger(__name__)

# tex-chtml.js and what it can load: TeX packages, fonts, its menu, reading aloud
MATHJAX = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts", "ui", "a11y", "sre")


def own_files() -> list[Path]:
    """The scripts and styles of `static`, which every page loads."""
    return sorted(path for path in Path(__file__).with_name("static").iterdir() if path.is_file())


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file or a folder, but not what is there already, newer and of the same size. A full disk leaves
    no half file."""
    if source.is_dir():
        for path in source.iterdir():
            copy_whole(path, target / path.name)
        return
    new, old = source.stat(), target.stat() if target.is_file() else None
    if old is None or old.st_size != new.st_size or old.st_mtime < new.st_mtime:
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)


def mathjax_folder() -> Path:
    """The MathJax that the sphinx-mathjax-offline package carries."""
    for file in metadata.files("sphinx-mathjax-offline") or []:
        if file.name == "tex-chtml.js":
            return Path(file.locate()).parent
    raise FileNotFoundError("tex-chtml.js is not in sphinx-mathjax-offline: reinstall it from the lock")


def find_libraries(app: Any) -> None:
    """Before anything is read: which scripts can draw figures (Sphinx event `builder-inited`)."""
    for text in fetch_parts(kept(app, LIBRARIES)):
        logger.info(f"{SAID}{text}")


def picture_figures(app: Any, env: Any) -> None:
    """When all pages are read: a picture of every figure (Sphinx event `env-updated`)."""
    if app.builder.format != "html":
        return
    own = [path for path in own_files() if path.name in OF_FIGURES]
    figures = figures_of(env)
    target = Path(app.outdir, "_static", PICTURES)
    for text in make_pictures(figures, own, kept(app, LIBRARIES), kept(app, PICTURES), target):
        logger.info(f"{SAID}{text}")


def scripts_of_figures(app: Any, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """A page with a figure loads the scripts that draw it (Sphinx event `html-page-context`)."""
    if doctree is not None and next(doctree.findall(HandsFigure), None) is not None:
        for name in OF_FIGURES:
            if name.endswith(".js"):
                app.add_js_file(name, loading_method="defer")


def copy_libraries(app: Any, exception: Exception | None) -> None:
    """When all pages are written: scripts, styles, the libraries that some figure needs, MathJax."""
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    folder = kept(app, LIBRARIES)
    libraries = {figure.library(folder) for figure in figures_of(app.env)}
    for name, source in libraries_of(libraries, folder).items():
        copy_whole(source, static / name)
    for name in {*WHOLE, *PARTS} - libraries:  # of an earlier build
        (static / name).unlink(missing_ok=True)
    for source in own_files():
        copy_whole(source, static / source.name)
    folder = mathjax_folder()
    for name in MATHJAX:
        if (folder / name).exists():
            copy_whole(folder / name, static / "mathjax" / name)

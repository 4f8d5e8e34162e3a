"""Files that a site needs beside its pages: our scripts and styles, the figures' libraries, MathJax.

MathJax comes from the sphinx-mathjax-offline package; only the parts that a browser can ask for are copied.
"""

import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from hands_lib.pages.figure_outputs import LIBRARIES
from hands_lib.reproduce.project import replacing

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


def copy_libraries(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    for name, source in LIBRARIES.items():
        copy_whole(source, static / name)
    for source in own_files():
        copy_whole(source, static / source.name)
    folder = mathjax_folder()
    for name in MATHJAX:
        if (folder / name).exists():
            copy_whole(folder / name, static / "mathjax" / name)

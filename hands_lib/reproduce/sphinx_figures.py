"""Sphinx side of the book: interactive figures, math and downloads without any request to another host.

- plotly and k3d outputs become `<div class="hands-figure">` with their data inside; `hands-figures.js` draws
  them from the JavaScript that ships in the two Python packages, when they come near the viewport.
- MathJax comes from the sphinx-mathjax-offline package; only the parts that a browser can ask for are copied.
- Every chapter offers its executed notebook for download.
"""

import html
import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import k3d
import plotly
from docutils import nodes

from hands_lib.reproduce.project import replacing

PLOTLY = "application/vnd.plotly.v1+json"
K3D = "application/vnd.hands.k3d-snapshot+json"
OWN = ("hands-figures.js", "hands-figures.css")
LIBRARIES = {
    "plotly.min.js": Path(plotly.__file__).parent / "package_data" / "plotly.min.js",
    "standalone.js": Path(k3d.__file__).parent / "static" / "standalone.js",  # k3d looks for this name
}
# tex-chtml.js and what it can load: TeX packages, fonts, its menu, reading aloud
MATHJAX = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts", "ui", "a11y", "sre")


class _Figure:
    """A `myst_nb.mime_renderers` plugin: one output as a division that JavaScript fills."""

    kind = mime = ""

    @classmethod
    def handle_mime(cls, renderer: Any, data: Any, inline: bool) -> list[nodes.Node] | None:
        if inline or data.mime_type != cls.mime:
            return None
        content = data.content
        height = content.get("layout", content).get("height") or 450
        image = data.cell_metadata.get("mystnb", {}).get("image", {})
        alt = html.escape(image.get("alt") or content.get("alt") or "Interactive figure", quote=True)
        body = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
        text = (
            f'<div class="hands-figure" data-kind="{cls.kind}" role="figure" aria-label="{alt}" '
            f'style="height:{int(height)}px"><script type="application/json">{body}</script>'
            f"<noscript>{alt} (this figure needs JavaScript)</noscript></div>"
        )
        return [nodes.raw(text=text, format="html", classes=["output", "hands-output"])]


class PlotlyFigure(_Figure):
    """plotly's own JSON, as Jupyter stores it."""

    kind, mime = "plotly", PLOTLY
    mime_priority_overrides = (("*", PLOTLY, 1),)


class K3dFigure(_Figure):
    """A binary snapshot made by `hands_lib.figures.show_k3d`."""

    kind, mime = "k3d", K3D
    mime_priority_overrides = (("*", K3D, 1),)


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, but not what is there already, newer and of the same size. A full disk leaves
    no half file."""
    if source.is_dir():
        for path in source.iterdir():
            _copy(path, target / path.name)
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
        _copy(source, static / name)
    for name in OWN:
        _copy(Path(__file__).parent / name, static / name)
    folder = mathjax_folder()
    for name in MATHJAX:
        if (folder / name).exists():
            _copy(folder / name, static / "mathjax" / name)


def offer_notebook(app: Any, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Put the executed notebook beside the page's source and tell the theme's download menu about it."""
    if doctree is None or not str(context.get("sourcename", "")).endswith(".md"):
        return
    build = Path(app.outdir).parent
    for folder in ("notebooks", "jupyter_execute"):  # ours; else Sphinx's own, which has no outputs
        notebook = build / folder / f"{pagename}.ipynb"
        if notebook.is_file():
            target = Path(app.outdir, "_sources", f"{pagename}.ipynb")
            _copy(notebook, target)
            context["ipynb_source"] = f"{pagename}.ipynb"
            return


def listed_citations(app: Any, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """docutils gives the entries of a citation list a role that ARIA has withdrawn; they are list items."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def one_of_each_script(app: Any, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Two of the theme's extensions add the same inline script twice; declaring its constant again fails."""
    seen, kept = set(), []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body")
        if body is None or body not in seen:
            kept.append(script)
        seen.add(body)
    context["script_files"] = kept


def setup(app: Any) -> dict[str, Any]:
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    for name in OWN:  # Sphinx wants the files it adds to exist while it writes pages, for their checksum
        _copy(Path(__file__).parent / name, Path(app.outdir, "_static", name))
    app.add_js_file("hands-figures.js", loading_method="defer")
    app.add_css_file("hands-figures.css")
    app.connect("html-page-context", offer_notebook, priority=400)  # before the theme builds its menu
    app.connect("html-page-context", listed_citations)
    app.connect("html-page-context", one_of_each_script, priority=900)
    app.connect("build-finished", copy_libraries)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

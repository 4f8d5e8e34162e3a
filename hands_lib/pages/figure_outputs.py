"""Interactive figures as outputs of a page, without any request to another host.

plotly and k3d outputs become a `HandsFigure` in the document; on a page it is a division with the figure's
data and its picture. `static/hands-figures.js` draws it when it comes near the viewport; the picture stands
before that, where no script runs, and on paper. The two classes at the end are entry points of myst-nb.
"""

import hashlib
import html
import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.osutil import relative_uri

from hands_lib.pages.libraries import K3D_FILE, plotly_file

PLOTLY = "application/vnd.plotly.v1+json"
K3D = "application/vnd.hands.k3d-snapshot+json"
PICTURES, LIBRARIES = "pictures", "libraries"  # folders that a later build uses again


class HandsFigure(nodes.General, nodes.Element):
    """A figure that a script draws: `kind`, its data `body` (JSON), `alt` and its `height` in pixels."""

    @property
    def key(self) -> str:
        """Names the figure's picture: the digest of all that it shows."""
        return hashlib.sha256(f"{self['kind']} {self['body']}".encode()).hexdigest()[:24]

    def library(self, folder: Path) -> str:
        """The script that draws it, a file of _static; `folder` holds the parts of plotly."""
        return K3D_FILE if self["kind"] == "k3d" else plotly_file(self["traces"], folder)

    def division(self, library: str, picture: str = "") -> str:
        """The figure as HTML; `library` draws it, and `picture` stands for it until then."""
        alt = html.escape(self["alt"], quote=True)
        body = self["body"].replace("<", "\\u003c")
        return (
            f'<div class="hands-figure" data-kind="{self["kind"]}" data-library="{library}" '
            f'role="group" aria-label="{alt}" style="--hands-height:{self["height"]}px">{picture}'
            f'<script type="application/json">{body}</script></div>'
        )


def write_figure(writer: Any, node: HandsFigure) -> None:
    """The visitor of Sphinx's HTML writer. Without a picture the words stand in its place."""
    alt = html.escape(node["alt"], quote=True)
    name = f"{PICTURES}/{node.key}.png"
    if Path(writer.builder.outdir, "_static", name).is_file():
        page = writer.builder.get_target_uri(writer.builder.current_docname)
        source = relative_uri(page, f"_static/{name}")
        # not `loading="lazy"`: what a browser has not loaded it does not print
        picture = f'<img class="hands-still" src="{source}" alt="{alt}" fetchpriority="low" decoding="async">'
    else:
        picture = f'<p class="hands-still">{alt}</p>'
    library = node.library(kept(writer.builder, LIBRARIES))
    writer.body.append(node.division(library, picture))
    raise nodes.SkipNode


def skip_figure(writer: Any, node: HandsFigure) -> None:
    """The visitor of every other writer."""
    raise nodes.SkipNode


def kept(builder: Any, name: str) -> Path:
    """A folder beside the site, for what later builds use again."""
    return Path(builder.outdir).parent / name


def figures_of(env: Any) -> list[HandsFigure]:
    """All figures of a book that Sphinx has read."""
    return [node for name in sorted(env.found_docs) for node in env.get_doctree(name).findall(HandsFigure)]


class _Figure:
    """A `myst_nb.mime_renderers` plugin: one output as a `HandsFigure`."""

    kind = mime = ""

    @classmethod
    def handle_mime(cls, renderer: Any, data: Any, inline: bool) -> list[nodes.Node] | None:
        if inline or data.mime_type != cls.mime:
            return None
        content = data.content
        image = data.cell_metadata.get("mystnb", {}).get("image", {})
        node = HandsFigure(
            kind=cls.kind,
            body=json.dumps(content, separators=(",", ":")),
            alt=image.get("alt") or content.get("alt") or "Interactive figure",
            height=int(content.get("layout", content).get("height") or 450),
            traces=sorted({trace.get("type", "scatter") for trace in content.get("data", [])}),
        )
        return [nodes.container("", node, classes=["output", "hands-output"])]


class PlotlyFigure(_Figure):
    """plotly's own JSON, as Jupyter stores it."""

    kind, mime = "plotly", PLOTLY
    mime_priority_overrides = (("*", PLOTLY, 1),)


class K3dFigure(_Figure):
    """A binary snapshot made by `hands_lib.figures.show_k3d`."""

    kind, mime = "k3d", K3D
    mime_priority_overrides = (("*", K3D, 1),)

"""Interactive figures as outputs of a page, without any request to another host.

plotly and k3d outputs become `<div class="hands-figure">` with their data inside; `static/hands-figures.js`
draws them from the JavaScript that ships in the two Python packages, when they come near the viewport.
The two classes are entry points of myst-nb.
"""

import html
import json
from pathlib import Path
from typing import Any

import k3d
import plotly
from docutils import nodes

PLOTLY = "application/vnd.plotly.v1+json"
K3D = "application/vnd.hands.k3d-snapshot+json"
LIBRARIES = {
    "plotly.min.js": Path(plotly.__file__).parent / "package_data" / "plotly.min.js",
    "standalone.js": Path(k3d.__file__).parent / "static" / "standalone.js",  # k3d looks for this name
}


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

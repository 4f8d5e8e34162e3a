"""What a cell shows besides a plotly figure: k3d snapshots, figures that are drawn anew, source code."""

import base64
import inspect
import json
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from IPython.display import display

from hands_lib.figures.palette import MIDDLE_GREY

K3D_SNAPSHOT = "application/vnd.hands.k3d-snapshot+json"


def show_k3d(plot: Any, alt: str, title: str = "", meta: Mapping[str, Any] | None = None) -> None:
    """Show a k3d plot: live in Jupyter, as a snapshot that the built book draws without a kernel.

    Args:
        plot: a `k3d.plot(...)`.
        alt: what the figure shows, in a sentence, for readers who do not see it.
        title: stands above the figure in the built book.
        meta: `unit` of a length, `bounds` of what the camera is fitted to, the `views` offered and the `view`
            shown first, `levels` that a control changes; see `level_figure`, which makes all of it.
    """
    plot.background_color = -1  # transparent: the page's colour
    plot.grid_color = plot.label_color = MIDDLE_GREY
    bundle = plot._repr_mimebundle_()
    bundle = dict(bundle[0] if isinstance(bundle, tuple) else bundle or {})
    snapshot = base64.b64encode(plot.get_binary_snapshot()).decode("ascii")
    bundle[K3D_SNAPSHOT] = {"snapshot": snapshot, "height": plot.height, "alt": alt, "title": title}
    bundle[K3D_SNAPSHOT]["meta"] = dict(meta or {})
    bundle["text/plain"] = alt
    display(bundle, raw=True)


class LiveFigure:
    """A figure on the page that can be drawn anew while a cell is running."""

    def __init__(self) -> None:
        self._display = display(_as_data(go.Figure()), raw=True, display_id=True)

    def update(self, figure: go.Figure) -> None:
        """Puts `figure` in the place of the last one."""
        if self._display is not None:  # outside of a notebook nothing can be replaced
            self._display.update(_as_data(figure), raw=True)


def _as_data(figure: go.Figure) -> dict[str, Any]:
    """What a page can replace; a figure object would be appended."""
    return {"application/vnd.plotly.v1+json": json.loads(figure.to_json())}


def show_source(*objects: Callable[..., Any] | type) -> None:
    """Show the source of functions or classes of `hands_lib`: the code that runs, not a copy of it.

    Raises:
        TypeError: an object has no Python source (a built-in, or a value rather than a function).
    """
    for thing in objects:
        thing = inspect.unwrap(thing)
        source = textwrap.dedent(inspect.getsource(thing)).rstrip()
        file = Path(inspect.getsourcefile(thing) or "")
        place = "/".join(file.parts[file.parts.index("hands_lib") :]) if "hands_lib" in file.parts else ""
        text = f"```python\n{source}\n```"
        display({"text/markdown": f"`{place}`\n\n{text}" if place else text, "text/plain": source}, raw=True)

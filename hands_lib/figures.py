"""Plot functions that several chapters share.

Importing this module makes "hands" plotly's default template: colours that people with any colour vision
can tell apart, thin margins, a white panel (in the built book the page's own theme sets background and text).
Needs the book's packages.
"""

import base64
import inspect
import json
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import torch
from IPython.display import display
from jaxtyping import Float, Int
from matplotlib.colors import to_rgb
from torch import Tensor

from hands_lib.geometry.normals import vertex_normals
from hands_lib.geometry.raster import rasterize
from hands_lib.hand.skeleton import DIGITS
from hands_lib.structures import Camera, Mesh

K3D_SNAPSHOT = "application/vnd.hands.k3d-snapshot+json"
RIGHT, LEFT = "#D55E00", "#0072B2"  # Okabe and Ito: right hands are vermilion, left hands blue
SKIN = "#C99072"  # a hand alone
COLOURS = [LEFT, RIGHT, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F"]
MIDDLE_GREY = 0x7A7A7A  # legible on white and on the dark theme

_axis3d = {"backgroundcolor": "white", "gridcolor": "#d0d0d0", "zerolinecolor": "#b0b0b0"}
_axis2d = {"gridcolor": "#d8d8d8", "zerolinecolor": "#b0b0b0", "automargin": True}
pio.templates["hands"] = go.layout.Template(
    layout={
        "colorway": COLOURS,
        "font": {"color": "#222832", "size": 13},
        "margin": {"l": 10, "r": 10, "t": 30, "b": 10},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "xaxis": _axis2d,
        "yaxis": _axis2d,
        "scene": {
            "aspectmode": "data",
            "xaxis": _axis3d,
            "yaxis": _axis3d,
            "zaxis": _axis3d,
        },
        "legend": {"itemsizing": "constant"},
        "hovermode": "closest",
        "uirevision": "keep",  # a reader's view survives a change of theme
    }
)
pio.templates.default = "hands"


def show_k3d(plot: Any, alt: str) -> None:
    """Show a k3d plot: live in Jupyter, as a snapshot that the built book draws without a kernel.

    Args:
        plot: a `k3d.plot(...)`.
        alt: what the figure shows, in a sentence, for readers who do not see it.
    """
    plot.background_color = -1  # transparent: the page's colour
    plot.grid_color = plot.label_color = MIDDLE_GREY
    bundle = plot._repr_mimebundle_()
    bundle = dict(bundle[0] if isinstance(bundle, tuple) else bundle or {})
    snapshot = base64.b64encode(plot.get_binary_snapshot()).decode("ascii")
    bundle[K3D_SNAPSHOT] = {"snapshot": snapshot, "height": plot.height, "alt": alt}
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


# --- hands -------------------------------------------------------------------------------------------

DIGIT_COLOURS = ("#D55E00", "#B08A00", "#009E73", "#0072B2", "#B0508F")  # thumb to little finger


def skeleton_traces(
    joints: Float[Tensor, "21 3"], name: str = "skeleton", colour: str | None = None
) -> list[go.Scatter3d]:
    """One line through the wrist and the joints of each digit, in `colour` or in one colour a digit.

    Joints in metres in the library's order; drawn in millimetres.
    """
    points = 1000 * joints.detach().cpu()
    traces = []
    for digit, digit_name in enumerate(DIGITS):
        chain = points[[0, *range(1 + 4 * digit, 5 + 4 * digit)]].numpy()
        shade = colour or DIGIT_COLOURS[digit]
        traces.append(
            go.Scatter3d(
                x=chain[:, 0], y=chain[:, 1], z=chain[:, 2], mode="lines+markers",
                line={"width": 6, "color": shade}, marker={"size": 4, "color": shade},
                name=digit_name if colour is None else name, legendgroup=name if colour else digit_name,
                showlegend=colour is None or digit == 0,
                text=["wrist", *(f"{digit_name} {joint}" for joint in range(1, 5))],
                hovertemplate="%{text}<br>%{x:.1f}, %{y:.1f}, %{z:.1f} mm<extra></extra>",
            )
        )  # fmt: skip
    return traces


def mesh_trace(
    vertices: Float[Tensor, "vertex 3"],
    faces: Int[Tensor, "face 3"],
    name: str = "surface",
    colour: str = SKIN,
    opacity: float = 1.0,
) -> go.Mesh3d:
    """A shaded surface; vertices in metres, drawn in millimetres."""
    x, y, z = (1000 * vertices.detach().cpu()).numpy().astype("float32").T
    i, j, k = faces.cpu().numpy().astype("int16" if len(vertices) < 2**15 else "int32").T
    return go.Mesh3d(
        x=x, y=y, z=z, i=i, j=j, k=k, color=colour, opacity=opacity, name=name, showlegend=True,
        flatshading=False, hoverinfo="name",
        lighting={"ambient": 0.55, "diffuse": 0.7, "specular": 0.15, "roughness": 0.7, "fresnel": 0.1},
        lightposition={"x": -500, "y": 800, "z": 1500},
    )  # fmt: skip


def wireframe_trace(
    vertices: Float[Tensor, "vertex 3"], faces: Int[Tensor, "face 3"], colour: str = "#444444"
) -> go.Scatter3d:
    """The edges of a mesh as thin lines; vertices in metres, drawn in millimetres."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).cpu()
    edges = edges[edges[:, 0] < edges[:, 1]]  # each edge belongs to two faces, once in each direction
    ends = 1000 * vertices.detach().cpu()[edges]
    gaps = torch.full_like(ends[:, :1], float("nan"))  # lifts the pen between edges
    x, y, z = torch.cat([ends, gaps], dim=1).flatten(0, 1).numpy().astype("float32").T
    return go.Scatter3d(
        x=x, y=y, z=z, mode="lines", line={"width": 1.5, "color": colour}, name="edges", hoverinfo="skip",
        showlegend=True,
    )  # fmt: skip


def points_trace(
    points: Float[Tensor, "point 3"], name: str, colour: str = "#000000", size: float = 3
) -> go.Scatter3d:
    """A point cloud; metres, drawn in millimetres."""
    x, y, z = (1000 * points.detach().cpu()).numpy().astype("float32").T
    return go.Scatter3d(
        x=x, y=y, z=z, mode="markers", marker={"size": size, "color": colour}, name=name, showlegend=True,
        hovertemplate="%{x:.1f}, %{y:.1f}, %{z:.1f} mm<extra></extra>",
    )  # fmt: skip


# Where the viewer stands, in plotly's units of the scene, and what points up in the picture.
VIEWS = {
    "back of the hand": {"eye": {"x": 0.0, "y": -0.4, "z": 2.1}, "up": {"x": 0, "y": 1, "z": 0}},
    "palm": {"eye": {"x": 0.0, "y": -0.4, "z": -2.1}, "up": {"x": 0, "y": 1, "z": 0}},
    "thumb side": {"eye": {"x": -2.0, "y": 0.0, "z": 0.7}, "up": {"x": 0, "y": 1, "z": 0}},
    # Cameras look along +z with y down: the viewer stands behind the camera and sees the image upright.
    "camera": {"eye": {"x": 0.0, "y": 0.0, "z": -2.1}, "up": {"x": 0, "y": -1, "z": 0}},
}


def hand_figure(
    traces: Sequence,
    title: str,
    view: str = "back of the hand",
    frames: Sequence[tuple[str, Sequence]] = (),
    frame_label: str = "",
    start: int = 0,
    height: int = 560,
) -> go.Figure:
    """An interactive 3D figure with equal axes in millimetres.

    `traces` stand still. `frames` are (label, traces) pairs for a slider with a Play button, of which number
    `start` is shown first. The axes cover everything that any frame draws, so that nothing jumps.
    """
    drawn = [trace for _, shown in frames for trace in shown] + list(traces)
    low = [min(float(np.nanmin(trace[axis])) for trace in drawn if len(trace[axis])) for axis in "xyz"]
    high = [max(float(np.nanmax(trace[axis])) for trace in drawn if len(trace[axis])) for axis in "xyz"]
    axes = {
        f"{axis}axis": {"title": {"text": f"{axis} (mm)"}, "range": [low[n] - 5, high[n] + 5]}
        for n, axis in enumerate("xyz")
    }
    first = list(frames[start][1]) if frames else []
    figure = go.Figure(
        data=[*first, *traces],
        frames=[
            go.Frame(data=list(shown), name=label, traces=list(range(len(shown)))) for label, shown in frames
        ],
    )
    figure.update_layout(
        title={"text": title},
        height=height + (100 if frames else 0),
        margin={"l": 0, "r": 0, "t": 48, "b": 64 if frames else 0},
        scene={"aspectmode": "data", "camera": VIEWS[view], **axes},
        legend={"itemsizing": "constant", "x": 0.0, "y": 0.98},
    )
    if frames:
        still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
        play = {**still, "fromcurrent": True, "frame": {"duration": 60, "redraw": True}}
        steps = [{"label": label, "method": "animate", "args": [[label], still]} for label, _ in frames]
        slider = {
            "steps": steps, "active": start % len(frames), "currentvalue": {"prefix": frame_label},
            "x": 0.2, "len": 0.78, "pad": {"t": 10},
        }  # fmt: skip
        buttons = {
            "type": "buttons", "direction": "left", "showactive": False, "x": 0.0, "y": 0.0,
            "xanchor": "left", "yanchor": "top", "pad": {"t": 44, "l": 4},
            "buttons": [
                {"label": "Play", "method": "animate", "args": [None, play]},
                {"label": "Pause", "method": "animate", "args": [[None], still]},
            ],
        }  # fmt: skip
        figure.update_layout(sliders=[slider], updatemenus=[buttons])
    return figure


def shaded_overlay(
    meshes: Sequence[tuple[Mesh, str]], camera: Camera, opacity: float = 0.75
) -> Float[np.ndarray, "height width 4"]:
    """Surfaces as the camera sees them, to be laid over its photograph: red, green, blue, opacity in [0, 1].

    Each mesh (world, metres) comes with its colour; where several are seen the nearest wins. Brightness is
    that of a lamp at the camera.
    """
    picture = torch.zeros(camera.height, camera.width, 4)
    nearest = torch.full((camera.height, camera.width), torch.inf)
    for mesh, colour in meshes:
        mesh = Mesh(mesh.vertices.detach().float().cpu(), mesh.faces.cpu())
        seen = rasterize(mesh, camera)
        normals = vertex_normals(Mesh(camera.transform(mesh.vertices), mesh.faces))
        towards_lamp = -torch.nn.functional.normalize(seen.interpolate(mesh.faces, normals), dim=-1)[..., 2]
        shade = (0.35 + 0.65 * towards_lamp.clamp(min=0))[..., None] * torch.tensor(to_rgb(colour))
        layer = torch.cat([shade, torch.full_like(shade[..., :1], opacity)], dim=-1)
        in_front = seen.foreground & (seen.depth < nearest)
        picture[in_front] = layer[in_front]
        nearest[in_front] = seen.depth[in_front]
    return picture.numpy()

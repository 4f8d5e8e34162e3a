"""Hands in 3D: traces in millimetres, and the figure that shows them."""

from collections.abc import Sequence

import k3d
import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.figures.outputs import show_k3d
from hands_lib.figures.palette import DIGIT_COLOURS, INK, MIDDLE_GREY, SKIN, WIRE
from hands_lib.hand.skeleton import DIGITS
from hands_lib.structures import Mesh


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
        lighting={"ambient": 0.4, "diffuse": 0.65, "specular": 0.1, "roughness": 0.7, "fresnel": 0.1},
    )  # fmt: skip


def wireframe_trace(
    vertices: Float[Tensor, "vertex 3"], faces: Int[Tensor, "face 3"], colour: str = WIRE
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
    points: Float[Tensor, "point 3"], name: str, colour: str = INK, size: float = 3
) -> go.Scatter3d:
    """A point cloud; metres, drawn in millimetres. Black points get a white rim, for dark pages."""
    rim = {"color": "white", "width": 1} if colour == INK else {}
    x, y, z = (1000 * points.detach().cpu()).numpy().astype("float32").T
    return go.Scatter3d(
        x=x, y=y, z=z, mode="markers", marker={"size": size, "color": colour, "line": rim}, name=name,
        showlegend=True,
        hovertemplate="%{x:.1f}, %{y:.1f}, %{z:.1f} mm<extra></extra>",
    )  # fmt: skip


# Where the viewer stands, in plotly's units of the scene, and what points up in the picture.
_FINGERS_UP, _Y_DOWN = {"x": 0, "y": 1, "z": 0}, {"x": 0, "y": -1, "z": 0}
HAND_VIEWS = {  # of a hand in its own coordinates: fingers along y, the back towards z
    "back of the hand": {"eye": {"x": 0.0, "y": -0.4, "z": 2.1}, "up": _FINGERS_UP},
    "palm": {"eye": {"x": 0.0, "y": -0.4, "z": -2.1}, "up": _FINGERS_UP},
    "thumb side": {"eye": {"x": -2.0, "y": 0.0, "z": 0.7}, "up": _FINGERS_UP},
    "finger tips": {"eye": {"x": 0.0, "y": 2.1, "z": 0.0}, "up": {"x": 0, "y": 0, "z": 1}},
}
CAMERA_VIEWS = {  # cameras look along +z with y down: the viewer stands behind the camera, the image upright
    "camera": {"eye": {"x": 0.0, "y": 0.0, "z": -2.1}, "up": _Y_DOWN},
    "from the left": {"eye": {"x": -2.1, "y": 0.0, "z": 0.0}, "up": _Y_DOWN},
    "from above": {"eye": {"x": 0.0, "y": -2.1, "z": 0.0}, "up": {"x": 0, "y": 0, "z": 1}},
    "from behind": {"eye": {"x": 0.0, "y": 0.0, "z": 2.1}, "up": _Y_DOWN},
}
LAMP = {"x": -6000, "y": 8000, "z": -20}  # above the viewer's left shoulder, in plotly's picture coordinates
FLAT = {"type": "orthographic"}  # a millimetre is as long in front as behind, so that a scale bar is true


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

    In the built book the page fits the camera to what is drawn, puts a scale bar in the place of the axes and
    offers views and frames as native controls. JupyterLab shows axes, slider and buttons of plotly.

    Args:
        traces: what stands still.
        view: where the viewer stands at first, a name in `HAND_VIEWS` or `CAMERA_VIEWS`; the others of the
            same table are offered beside it.
        frames: (label, traces) pairs for a slider with a Play button. The axes cover everything that any
            frame draws, so that nothing jumps.
        frame_label: stands before the label of the frame that is shown.
        start: the frame that is shown first.
        height: in pixels.

    Raises:
        KeyError: no such view.
    """
    views = CAMERA_VIEWS if view in CAMERA_VIEWS else HAND_VIEWS
    drawn = [trace for _, shown in frames for trace in shown] + list(traces)
    low = [min(float(np.nanmin(trace[axis])) for trace in drawn if len(trace[axis])) for axis in "xyz"]
    high = [max(float(np.nanmax(trace[axis])) for trace in drawn if len(trace[axis])) for axis in "xyz"]
    axes = {
        f"{axis}axis": {"title": {"text": f"{axis} (mm)"}, "range": [low[n] - 5, high[n] + 5]}
        for n, axis in enumerate("xyz")
    }
    for trace in drawn:
        if "lightposition" in trace:
            trace.lightposition = LAMP
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
        scene={"aspectmode": "data", "camera": {**views[view], "projection": FLAT}, **axes},
        legend={"itemsizing": "constant", "x": 0.0, "y": 0.98},
        meta={"unit": "mm", "view": view, "views": views},
    )
    if frames:
        figure.update_layout(**_player([label for label, _ in frames], frame_label, start))
    return figure


def _player(labels: Sequence[str], prefix: str, start: int) -> dict:
    """plotly's slider and buttons for frames, below the figure."""
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    play = {**still, "fromcurrent": True, "frame": {"duration": 60, "redraw": True}}
    slider = {
        "steps": [{"label": label, "method": "animate", "args": [[label], still]} for label in labels],
        "active": start % len(labels), "currentvalue": {"prefix": prefix},
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
    return {"sliders": [slider], "updatemenus": [buttons]}


def level_figure(
    values: Float[np.ndarray, "z y x"],
    lower: Sequence[float],
    upper: Sequence[float],
    title: str,
    alt: str,
    levels: Sequence[tuple[str, float]],
    level_label: str,
    start: float,
    mesh: Mesh | None = None,
    view: str = "back of the hand",
    height: int = 560,
) -> None:
    """Show a level set of a field on a regular grid: the reader chooses the level, and k3d computes it.

    Args:
        values: the field at the grid's points, indexed z, y, x.
        lower: first point of the grid, (x, y, z) in metres.
        upper: last point of the grid, in metres.
        title: of the figure.
        alt: what it shows, in a sentence.
        levels: (words, value) of every step of the control; those that the field has nowhere are left out.
        level_label: what the control chooses.
        start: the level that is shown first, or the nearest to it that the field has.
        mesh: a surface to draw as a wire frame, in metres.
        view: as in `hand_figure`.
        height: in pixels.

    Raises:
        ValueError: the field has none of the levels anywhere.
    """
    lowest, highest = float(values.min()), float(values.max())
    steps = [{"label": words, "value": value} for words, value in levels if lowest < value < highest]
    if not steps:
        raise ValueError(
            f"the field has none of these levels: it lies between {lowest:.3g} and {highest:.3g}"
        )
    active = min(range(len(steps)), key=lambda n: abs(steps[n]["value"] - start))
    low, high = (1000 * np.asarray(corner, dtype=np.float32) for corner in (lower, upper))
    plot = k3d.plot(
        height=height, grid_visible=False, menu_visibility=False, camera_auto_fit=False, axes_helper=0
    )
    surface = k3d.marching_cubes(
        values.astype(np.float32), level=steps[active]["value"], color=int(SKIN[1:], 16), opacity=0.6,
        flat_shading=False, name=level_label, compression_level=9,
        bounds=np.stack([low, high], axis=1).flatten(),
    )  # fmt: skip
    plot += surface
    if mesh is not None:
        vertices = (1000 * mesh.vertices.detach().cpu()).numpy().astype(np.float32)
        low, high = vertices.min(axis=0), vertices.max(axis=0)  # the camera is fitted to the surface
        faces = mesh.faces.cpu().numpy().astype(np.uint32)
        plot += k3d.mesh(
            vertices, faces, wireframe=True, color=MIDDLE_GREY, name="surface", compression_level=9
        )
    views = CAMERA_VIEWS if view in CAMERA_VIEWS else HAND_VIEWS
    control = {"label": level_label, "object": level_label, "attribute": "level", "steps": steps}
    control["active"] = active
    meta = {"unit": "mm", "view": view, "views": views, "levels": [control]}
    show_k3d(plot, alt, title=title, meta=meta | {"bounds": [low.tolist(), high.tolist()]})

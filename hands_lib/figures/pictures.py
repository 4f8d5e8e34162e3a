"""Figures that are made of small pictures: what a camera saw beside what a network made of it.

A grid that stands still is plain HTML: it wraps on a phone, prints, and costs a few kilobytes. One that moves
is a plotly figure with a slider. Colours of hands are those of `hands_lib.figures`.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import plotly.graph_objects as go
import torch
from PIL import Image
from plotly.subplots import make_subplots
from torch import Tensor

from hands_lib.figures.palette import COLOURS, LEFT, RIGHT
from hands_lib.hand.skeleton import EDGES

STILL = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}  # a step of a slider, at once
CELL = 76  # pixels: the least width of a picture on a phone, then the grid scrolls


def as_bytes(colours: Tensor) -> Tensor:
    """Colours in [0, 1], of any shape, as bytes on the CPU."""
    return (255 * colours.detach().float().clamp(0, 1)).round().byte().cpu()


def png_source(picture: Tensor) -> str:
    """A picture, (height, width, 3) or (height, width), bytes or colours in [0, 1], as a `data:` address."""
    picture = picture if picture.dtype == torch.uint8 else as_bytes(picture)
    file = BytesIO()
    Image.fromarray(picture.cpu().numpy()).save(file, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def jpeg_source(picture: Tensor, quality: int = 85) -> str:
    """As `png_source`, smaller and not exact: for what looks like a photograph."""
    picture = picture if picture.dtype == torch.uint8 else as_bytes(picture)
    file = BytesIO()
    Image.fromarray(picture.cpu().numpy()).save(file, format="jpeg", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


@dataclass(frozen=True)
class DataBadge:
    """Whether the pictures below are of real hands, where that depends on the data at hand. Elsewhere a tag
    of the cell says it."""

    real: bool

    def _repr_html_(self) -> str:
        kind = "real" if self.real else "generated"
        return f'<p class="hands-badge hands-badge-data-{kind}">{kind} data</p>'

    def __repr__(self) -> str:
        return f"{'real' if self.real else 'generated'} data"


@dataclass(frozen=True)
class PictureGrid:
    """Pictures in rows and columns with their names, as HTML.

    columns  name -> pictures from top to bottom, (row, height, width, 3) or (row, height, width)
    title    above the grid
    rows     names of the rows; empty: they have none
    largest  width of a picture at most, in pixels of the page
    """

    columns: Mapping[str, Tensor]
    title: str
    rows: Sequence[str] = ()
    largest: int = 210

    def _repr_html_(self) -> str:
        names, label = list(self.columns), html.escape(self.title, quote=True)
        count = len(next(iter(self.columns.values()), ()))
        first = "minmax(3em, auto) " if self.rows else ""
        cells = ["<span></span>"] if self.rows else []
        cells += [f'<span style="text-align:center">{html.escape(name)}</span>' for name in names]
        for n in range(count):
            own = self.rows[n] if self.rows else str(n + 1)
            cells += [f'<span style="align-self:center">{html.escape(own)}</span>'] if self.rows else []
            for name in names:
                alt = html.escape(f"{name}, {own}", quote=True)
                source = png_source(self.columns[name][n])
                cells.append(
                    f'<img src="{source}" alt="{alt}" style="width:100%;image-rendering:pixelated;margin:0">'
                )
        grid = "display:grid;gap:4px;align-items:end;font-size:.85em;line-height:1.2;overflow-wrap:anywhere;"
        grid += f"grid-template-columns:{first}repeat({len(names)},minmax({CELL}px,{self.largest}px))"
        return (
            f'<div role="region" tabindex="0" aria-label="{label}" style="overflow-x:auto">'
            f'<p style="margin:0 0 .4em"><strong>{html.escape(self.title)}</strong></p>'
            f'<div style="{grid}">{"".join(cells)}</div></div>'
        )

    def __repr__(self) -> str:
        return f"{self.title}: {', '.join(self.columns)}"


def stepped_pictures(
    steps: Sequence[Tensor],
    names: Sequence[Sequence[str]],
    title: str,
    labels: Sequence[str],
    prefix: str,
    rows: Sequence[str] = (),
) -> go.Figure:
    """Grids of pictures, one at a time; a slider moves from each to the next.

    Args:
        steps: colours in [0, 1], each (row, column, height, width, 3); all of one shape.
        names: of the columns, at every step.
        labels: of the steps, on the slider.
        prefix: before the label in the slider's line.
        rows: names of the rows; empty: they have none.
    """
    down, across, side = steps[0].shape[:3]
    images = [
        go.Image(source=png_source(step.permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)),
                 zsmooth=False, hoverinfo="skip")
        for step in steps
    ]  # fmt: skip
    plain = {"showgrid": False, "zeroline": False, "ticks": "", "constrain": "domain"}
    middle = [(n + 0.5) * side - 0.5 for n in range(max(across, down))]
    x = plain | {"tickvals": middle[:across], "ticktext": names[0], "side": "top"}
    y = plain | {"tickvals": middle[:down], "ticktext": list(rows) or [""] * down, "tickangle": -90}
    figure = go.Figure(images[0])
    figure.frames = [
        go.Frame(data=[image], name=label, layout={"xaxis": {"ticktext": own}})
        for image, label, own in zip(images, labels, names, strict=True)
    ]
    entries = [{"label": label, "method": "animate", "args": [[label], STILL]} for label in labels]
    slider = {"currentvalue": {"prefix": prefix}, "steps": entries, "pad": {"t": 20}, "x": 0.03, "len": 0.94}
    return figure.update_layout(
        title={"text": title, "x": 0.02},
        height=190 + down * min(210, 760 // across),
        margin={"l": 10, "r": 10, "t": 90, "b": 10},
        xaxis=x,
        yaxis=y,
        sliders=[slider],
    )


def _skeleton(joints: Tensor, colour: str, name: str, legend: bool) -> go.Scatter:
    """Bones of one hand in a picture; joints in [-1, 1], (21, 2), x to the right and y down."""
    lines = torch.full((len(EDGES), 3, 2), torch.nan)  # the pen is lifted between bones
    lines[:, :2] = joints.float().cpu()[torch.tensor(EDGES)]
    x, y = lines.flatten(0, 1).T.tolist()
    return go.Scatter(
        x=x, y=y, mode="lines", line={"color": colour, "width": 2.5}, name=name, legendgroup=name,
        showlegend=legend, hoverinfo="skip",
    )  # fmt: skip


def skeleton_stages(
    images: Tensor,
    joints_uv: Tensor,
    true_uv: Tensor,
    stages: Sequence[str],
    title: str,
    width: int = 4,
) -> go.Figure:
    """Estimated skeletons over their pictures, stage by stage; a slider moves through the stages.

    Args:
        images: bytes, (picture, 3, height, width).
        joints_uv: estimates in [-1, 1], (stage, picture, hand, joint, 2); hands are right, then left.
        true_uv: the same of the truth, (picture, hand, joint, 2).
        stages: names of the stages.
        width: pictures in a row.
    """
    count = len(images)
    down = -(-count // width)
    figure = make_subplots(down, width, horizontal_spacing=0.01, vertical_spacing=0.02)
    places = [(n // width + 1, n % width + 1) for n in range(count)]
    for n, (row, col) in enumerate(places):
        source = png_source(images[n].movedim(0, -1))
        image = {"source": source, "x": -1, "y": -1, "sizex": 2, "sizey": 2, "sizing": "stretch"}
        figure.add_layout_image(image | {"layer": "below"}, row=row, col=col)
        x, y = true_uv[n].flatten(0, 1).float().T.tolist()
        marker = {"size": 5, "color": "white", "line": {"width": 1, "color": "black"}}
        truth = {"mode": "markers", "marker": marker, "name": "true joints", "legendgroup": "true joints"}
        figure.add_scatter(x=x, y=y, showlegend=n == 0, hoverinfo="skip", **truth, row=row, col=col)

    def drawn(stage: int) -> list[go.Scatter]:
        sides = (("right hand", RIGHT), ("left hand", LEFT))
        return [
            _skeleton(joints_uv[stage, n, side], colour, name, n == 0)
            for n in range(count)
            for side, (name, colour) in enumerate(sides)
        ]

    for n, trace in enumerate(drawn(0)):
        row, col = places[n // 2]
        figure.add_trace(trace, row=row, col=col)
    moving = list(range(count, 3 * count))
    figure.frames = [
        go.Frame(data=[{"x": t.x, "y": t.y} for t in drawn(n)], name=name, traces=moving)
        for n, name in enumerate(stages)
    ]
    entries = [{"label": name, "method": "animate", "args": [[name], STILL]} for name in stages]
    figure.update_xaxes(visible=False, range=[-1, 1], constrain="domain")
    figure.update_yaxes(visible=False, range=[1, -1])
    for n in range(count):
        figure.update_yaxes(scaleanchor="x" if n == 0 else f"x{n + 1}", row=places[n][0], col=places[n][1])
    return figure.update_layout(
        title={"text": title, "x": 0.02},
        height=190 + 190 * down,
        margin={"l": 10, "r": 10, "t": 80, "b": 10},
        legend={"orientation": "h", "x": 0.02, "y": 1.02, "yanchor": "bottom"},
        sliders=[{"currentvalue": {"prefix": ""}, "steps": entries, "pad": {"t": 10}, "x": 0.1, "len": 0.8}],
    )


TERMS = ("φ", "k(q)", "m(p)", "n(p′)", "g right", "g left")  # of VA-NeRF's fused feature
PLACES = ("q", "p", "p′")


def _rgb(colour: Tensor) -> str:
    return f"rgb{tuple(as_bytes(colour).tolist())}"


def query_figure(shown: Mapping[str, Tensor], title: str) -> go.Figure:
    """What a query point of VA-NeRF looks at; a slider moves from point to point.

    Args:
        shown: what the chapter's job kept. picture: bytes, (side, side, 3). pixels: of q, p and p',
            (3, point, 2). seen: whether the camera sees them, (point, 3). weights: of the terms, (point, 6).
            fused and true: colours in [0, 1], (point, 3).
    """
    side = len(shown["picture"])

    def traces(n: int) -> list[Any]:
        x, y = shown["pixels"][:, n].T.tolist()
        shapes = zip(("circle", "square", "diamond"), shown["seen"][n], strict=True)
        marker = {"symbol": [name if seen else f"{name}-open" for name, seen in shapes], "size": 13}
        marker |= {"color": ["#E69F00", "#56B4E9", "#CC79A7"], "line": {"width": 2}}
        colours = {"color": [_rgb(shown[name][n]) for name in ("fused", "true")]}
        return [
            go.Scatter(x=x, y=y, mode="markers+text", text=PLACES, textfont={"color": "white"}, marker=marker,
                       textposition=["top left", "bottom right", "top right"], showlegend=False),
            go.Bar(x=TERMS, y=shown["weights"][n].tolist(), marker={"color": COLOURS[6]}, showlegend=False,
                   xaxis="x2", yaxis="y2"),
            go.Bar(x=["fused", "true"], y=[1, 1], marker=colours, showlegend=False, xaxis="x3", yaxis="y3"),
        ]  # fmt: skip

    names = ("where it looks", "how much each place counts", "colour")
    figure = make_subplots(1, 3, column_widths=[0.45, 0.35, 0.2], subplot_titles=names)
    box = {"x": -0.5, "y": -0.5, "sizex": side, "sizey": side, "sizing": "stretch"}
    source = png_source(shown["picture"])
    figure.add_layout_image(box, source=source, xref="x", yref="y", layer="below")
    for n, trace in enumerate(traces(0)):
        figure.add_trace(trace, row=1, col=n + 1)
    labels = [str(n + 1) for n in range(len(shown["fused"]))]
    figure.frames = [go.Frame(data=traces(n), name=label, traces=[0, 1, 2]) for n, label in enumerate(labels)]
    entries = [{"label": label, "method": "animate", "args": [[label], STILL]} for label in labels]
    return figure.update_layout(
        title=title,
        height=410,
        margin={"t": 90},
        xaxis={"visible": False, "range": [-0.5, side - 0.5]},
        yaxis={"visible": False, "range": [side - 0.5, -0.5], "scaleanchor": "x"},
        yaxis2={"title": "weight", "range": [0, 1]},
        yaxis3={"visible": False},
        sliders=[{"currentvalue": {"prefix": "query point "}, "steps": entries}],
    )

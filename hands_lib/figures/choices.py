"""What a reader chooses from: menus over the traces of one figure, and arrows at the joints."""

from collections.abc import Callable, Sequence

import plotly.graph_objects as go
import torch
from jaxtyping import Float
from torch import Tensor

_HEAD = 6.0  # mm: heads are all alike, whatever the shaft


def with_menu(
    figure: go.Figure,
    labels: Sequence[str],
    titles: Sequence[str],
    visible: Callable[[int], Sequence[bool]],
) -> go.Figure:
    """The figure with a menu above it: entry n has `labels[n]`, gives the figure `titles[n]`, and shows the
    traces of `visible(n)`. The first entry is shown at first."""
    for trace, on in zip(figure.data, visible(0), strict=True):
        trace.visible = on
    entries = [
        {
            "label": label,
            "method": "update",
            "args": [{"visible": list(visible(n))}, {"title.text": title}],
        }
        for n, (label, title) in enumerate(zip(labels, titles, strict=True))
    ]
    menu = {
        "name": "variant", "x": 1.0, "y": 1.02, "xanchor": "right", "yanchor": "bottom", "buttons": entries
    }  # fmt: skip
    return figure.update_layout(margin={"t": 90, "b": 60}, updatemenus=[menu])


def arrow_traces(
    start: Float[Tensor, "arrow 3"],
    shaft: Float[Tensor, "arrow 3"],
    colour: str,
    name: str,
    shortest: float = 0.001,
) -> list[go.Scatter3d | go.Cone]:
    """Arrows in space, metres, drawn in millimetres; those shorter than `shortest` are left out."""
    long = shaft.norm(dim=-1) > shortest
    start, shaft = 1000 * start[long], 1000 * shaft[long]
    end = start + shaft
    gap = torch.full_like(end, torch.nan)  # lifts the pen between shafts
    x, y, z = torch.stack([start, end, gap], dim=1).flatten(0, 1).T
    line = go.Scatter3d(
        x=x, y=y, z=z, mode="lines", line={"width": 8, "color": colour}, name=name, hoverinfo="skip"
    )
    u, v, w = _HEAD * torch.nn.functional.normalize(shaft, dim=-1).T
    x, y, z = end.T
    head = go.Cone(
        x=x, y=y, z=z, u=u, v=v, w=w, anchor="cm", sizemode="raw", sizeref=1, showscale=False,
        colorscale=[[0, colour], [1, colour]], hoverinfo="skip", name=name,
    )  # fmt: skip
    return [line, head]

"""Slices through a probability, with the outline of what is true."""

import plotly.graph_objects as go
import torch
from jaxtyping import Bool, Float
from torch import Tensor


def slice_figure(
    probability: Float[Tensor, "slice row column"],
    true: Bool[Tensor, "slice row column"],
    x: Float[Tensor, " column"],
    y: Float[Tensor, " row"],
    levels: Float[Tensor, " slice"],
    title: str,
) -> go.Figure:
    """Every slice as a map of percent, with the outline as the level between inside and outside; a slider
    chooses the slice by its height. Places in metres, drawn in millimetres. The middle slice is first."""
    middle, traces = len(levels) // 2, []
    for number, (inside, outline) in enumerate(zip(probability, true, strict=True)):
        axes = {"x": 1000 * x.numpy(), "y": 1000 * y.numpy(), "visible": number == middle}
        traces.append(
            go.Heatmap(
                **axes, z=(100 * inside).round().to(torch.uint8).numpy(), zmin=0, zmax=100,
                colorscale="Blues", colorbar={"title": {"text": "%"}},
                hovertemplate="%{x:.0f}, %{y:.0f} mm: %{z} %<extra></extra>",
            )
        )  # fmt: skip
        traces.append(
            go.Contour(
                **axes, z=outline.to(torch.uint8).numpy(), showscale=False,
                contours={"start": 0.5, "end": 0.5, "size": 1, "coloring": "none"},
                line={"color": "black", "width": 2}, hoverinfo="skip",
            )
        )  # fmt: skip
    steps = [
        {
            "label": f"{1000 * level:.0f}",
            "method": "update",
            "args": [{"visible": [n // 2 == at for n in range(len(traces))]}],
        }
        for at, level in enumerate(levels.tolist())
    ]
    place = {"active": middle, "currentvalue": {"prefix": "z (mm): "}, "pad": {"t": 40}}
    return go.Figure(traces).update_layout(
        title={"text": title}, height=640,
        margin={"l": 60, "t": 50, "b": 50}, xaxis_title="x (mm)",
        yaxis={"title": "y (mm)", "scaleanchor": "x"}, sliders=[{"steps": steps, **place}],
    )  # fmt: skip

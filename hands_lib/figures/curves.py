"""Curves of a training while it goes."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from hands_lib.figures.palette import COLOURS


def training_curves(curves: Mapping[str, Sequence[tuple[int, float, float]]]) -> go.Figure:
    """Of every run by its name: (steps done, cross-entropy in nats a point, IoU). Cross-entropies are solid
    and belong to the left axis, IoUs dotted and belong to the right one."""
    figure = go.Figure()
    for number, (name, curve) in enumerate(curves.items()):
        steps, entropies, ious = zip(*curve, strict=True) if curve else ((), (), ())
        colour = COLOURS[number % len(COLOURS)]
        figure.add_scatter(x=steps, y=entropies, name=name, legendgroup=name, line={"color": colour})
        figure.add_scatter(
            x=steps, y=ious, name=name, legendgroup=name, yaxis="y2", showlegend=False,
            line={"color": colour, "dash": "dot"},
        )  # fmt: skip
    return figure.update_layout(
        title={"text": "Training (solid: nats a point; dotted: IoU)"},
        height=420, margin={"l": 60, "r": 60, "t": 50, "b": 50}, xaxis_title="step",
        yaxis={"title": "cross-entropy (nats)", "rangemode": "tozero"},
        yaxis2={"title": "IoU", "side": "right", "range": [0, 1], "dtick": 0.2},
        yaxis2_overlaying="y", yaxis2_tickmode="linear", yaxis2_showgrid=False,
        legend={"x": 1.12},
    )  # fmt: skip

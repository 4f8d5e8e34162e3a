"""Curves of trainings that are drawn while they run."""

from collections.abc import Callable, Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from hands_lib.figures.outputs import LiveFigure
from hands_lib.figures.palette import COLOURS

Curve = list[tuple[int, float]]  # step, error


class TrainingCurves:
    """The error curves of a chapter's trainings; beside them the newest strip of pictures, if one is given.

    drawn  whether anything is shown; a run of a handful of steps has no curve
    strip  what the strip shows, from left to right; empty: no strip
    """

    def __init__(self, drawn: bool, strip: str = "") -> None:
        self.curves: dict[str, Curve] = {}
        self._strip = strip
        self._live = LiveFigure() if drawn else None

    def add(self, name: str, curve: Curve, strip: Callable[[], Tensor] | None = None) -> None:
        """The present curve of a training. `strip` makes a picture, (height, width, 3) in [0, 1], and is
        called only if it is shown."""
        self.curves[name] = curve
        if self._live is not None:
            self._live.update(self.figure(strip() if strip and self._strip else None))

    def figure(self, strip: Tensor | None = None) -> go.Figure:
        if strip is None:
            figure = go.Figure()
        else:
            titles = ("", self._strip)
            figure = make_subplots(1, 2, column_widths=[0.55, 0.45], subplot_titles=titles)
            figure.add_image(z=(255 * strip).byte().cpu().numpy(), row=1, col=2)
        place = {} if strip is None else {"row": 1, "col": 1}
        for name, points in self.curves.items():
            x, y = zip(*points, strict=True)
            figure.add_scatter(x=x, y=y, name=name, **place)
        names = {"xaxis_title": "step", "yaxis_title": "mean absolute difference"}
        figure.update_layout(title={"text": "Training", "x": 0.02}, height=380, **names)
        return figure


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

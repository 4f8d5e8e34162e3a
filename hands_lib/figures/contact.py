"""Where two hands touch, and where one is inside the other: coloured surfaces for `hand_figure`."""

from collections.abc import Sequence

import plotly.graph_objects as go
import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.figures.hands import mesh_trace
from hands_lib.figures.palette import INK, LEFT, RIGHT
from hands_lib.geometry.distance import signed_distance
from hands_lib.structures import Mesh

DEEP = 2e-4
"""Metres inside the other hand from which a vertex is shown as inside: less is what rounding leaves."""
_FARTHEST = 30  # mm, where the scale of distances ends
_SCALES = {
    RIGHT: [[0, "#ffffff"], [0.07, "#f2c14e"], [0.5, RIGHT], [1, "#a04600"]],
    LEFT: [[0, "#ffffff"], [0.07, "#9bd0f0"], [0.5, LEFT], [1, "#00548a"]],
}


def penetration_traces(right: Mesh, left: Mesh, opacity: float = 0.65) -> list[go.Mesh3d]:
    """Both hands in their colours; what lies deeper than `DEEP` inside the other one is black. Metres."""
    traces = []
    for mesh, other, name, colour in ((right, left, "right", RIGHT), (left, right, "left", LEFT)):
        distance = signed_distance(mesh.vertices[None], Mesh(other.vertices[None], other.faces)).distance[0]
        shades = [INK if inside else colour for inside in (distance < -DEEP).tolist()]
        trace = mesh_trace(mesh.vertices, mesh.faces, name, colour, opacity)
        traces.append(trace.update(color=None, vertexcolor=shades))
    return traces


def distance_traces(hands: Sequence[Mesh], distances: Sequence[Float[Tensor, " vertex"]]) -> list[go.Mesh3d]:
    """The right and the left hand, coloured by how far each vertex is from the other one (metres); white
    touches. The scale ends at 30 mm and stands beside the figure once."""
    traces = []
    sides = (("right hand", RIGHT), ("left hand", LEFT))
    for mesh, distance, (name, colour) in zip(hands, distances, sides, strict=True):
        trace = mesh_trace(mesh.vertices, mesh.faces, name, colour)
        trace.update(
            color=None,
            intensity=(1000 * torch.as_tensor(distance)).numpy(),
            cmin=0,
            cmax=_FARTHEST,
            colorscale=_SCALES[colour],
            showscale=colour == RIGHT,
            colorbar={"title": {"text": "mm"}, "len": 0.6},
            hoverinfo=None,
            hovertemplate="%{intensity:.1f} mm<extra>" + name + "</extra>",
        )
        traces.append(trace)
    return traces

"""Plot functions that several chapters share. Needs the book's packages.

Importing this package makes "hands" plotly's default template.
"""

from hands_lib.figures.hands import (
    CAMERA_VIEWS,
    HAND_VIEWS,
    hand_figure,
    level_figure,
    mesh_trace,
    points_trace,
    skeleton_traces,
    wireframe_trace,
)
from hands_lib.figures.outputs import K3D_SNAPSHOT, LiveFigure, show_k3d, show_source
from hands_lib.figures.overlay import shaded_overlay
from hands_lib.figures.palette import (
    COLOURS,
    DIGIT_COLOURS,
    ESTIMATE,
    INK,
    LEFT,
    LEFT_PALE,
    MIDDLE_GREY,
    RIGHT,
    RIGHT_PALE,
    SKIN,
    TRUTH,
    WIRE,
)

__all__ = [
    "CAMERA_VIEWS",
    "COLOURS",
    "DIGIT_COLOURS",
    "ESTIMATE",
    "HAND_VIEWS",
    "INK",
    "K3D_SNAPSHOT",
    "LEFT",
    "LEFT_PALE",
    "MIDDLE_GREY",
    "RIGHT",
    "RIGHT_PALE",
    "SKIN",
    "TRUTH",
    "WIRE",
    "LiveFigure",
    "hand_figure",
    "level_figure",
    "mesh_trace",
    "points_trace",
    "shaded_overlay",
    "show_k3d",
    "show_source",
    "skeleton_traces",
    "wireframe_trace",
]

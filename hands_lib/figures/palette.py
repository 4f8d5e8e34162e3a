"""The colours of the book, and plotly's default template made of them.

Importing this module makes "hands" plotly's default template: colours that people with any colour vision
can tell apart, thin margins, a white panel (in the built book the page's own theme sets background and text).
"""

import plotly.graph_objects as go
import plotly.io as pio

RIGHT, LEFT = "#D55E00", "#0072B2"  # Okabe and Ito: right hands are vermilion, left hands blue
RIGHT_PALE, LEFT_PALE = "#EDA06A", "#63ACDC"  # what belongs to a hand: its cloud of points, its arrows
TRUTH, ESTIMATE = "#009E73", "#B0508F"  # what is annotated or known, what a method says
SKIN = "#C99072"  # a hand alone
INK = "#000000"  # marks, which get a white rim where the page may be dark
WIRE = "#7A7A7A"  # edges of a mesh
COLOURS = [LEFT, RIGHT, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F"]
DIGIT_COLOURS = ("#D55E00", "#B08A00", "#009E73", "#0072B2", "#B0508F")  # thumb to little finger
MIDDLE_GREY = 0x7A7A7A  # k3d takes numbers; legible on white and on the dark theme

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

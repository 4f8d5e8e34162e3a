"""Figures that compute in the page, with the book's own networks: "living" figures.

export.py    a torch module -> ONNX -> a graph in JSON
graphs.py    what the figures compute, as torch modules
figures.py   the three figures, as cells of chapters make them
site.py      their scripts and their data in the built site
static/      hands-graph.js runs graphs; hands-living.js draws the figures
"""

from hands_lib.pages.living.figures import drag_figure, look_figure, stages_figure

__all__ = ["drag_figure", "look_figure", "stages_figure"]

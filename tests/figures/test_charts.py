"""Figures that chapters choose from: what is visible, where things stand, in which unit."""

import torch

from hands_lib.figures import points_trace
from hands_lib.figures.choices import arrow_traces, with_menu
from hands_lib.figures.curves import training_curves
from hands_lib.figures.hands import hand_figure
from hands_lib.figures.slices import slice_figure


def test_a_menu_shows_what_its_entry_says():
    clouds = [points_trace(torch.rand(3, 3), f"cloud {n}") for n in range(3)]
    figure = with_menu(
        hand_figure(clouds, "first"), ["a", "b"], ["first", "second"], lambda n: [m != n for m in range(3)]
    )
    assert [trace.visible for trace in figure.data] == [False, True, True]
    entries = figure.layout.updatemenus[0].buttons
    assert [entry.label for entry in entries] == ["a", "b"]
    assert entries[1].args[0]["visible"] == [True, False, True]
    assert entries[1].args[1]["title.text"] == "second"


def test_arrows_are_as_long_as_what_they_show():
    start = torch.tensor([[0.0, 0, 0], [0.01, 0, 0]])
    shaft = torch.tensor([[0.0, 0.02, 0], [0, 0, 0.0005]])  # the second is too short to be seen
    line, head = arrow_traces(start, shaft, "#000000", "push")
    assert [list(line[axis][:2]) for axis in "xyz"] == [[0, 0], [0, 20], [0, 0]]
    assert [float(head[axis][0]) for axis in "xyz"] == [0, 20, 0]
    assert len(head.x) == 1
    assert float(head.v[0]) > 0


def test_a_slider_shows_one_slice_at_a_time():
    probability = torch.rand(4, 5, 6)
    figure = slice_figure(
        probability,
        probability > 0.5,
        torch.arange(6) / 100,
        torch.arange(5) / 100,
        torch.arange(4) / 50,
        "p",
    )
    assert [trace.visible for trace in figure.data] == [False] * 4 + [True] * 2 + [False] * 2
    steps = figure.layout.sliders[0].steps
    assert [step.label for step in steps] == ["0", "20", "40", "60"]
    for number, step in enumerate(steps):
        assert step.args[0]["visible"] == [n // 2 == number for n in range(8)]
    assert figure.data[0].z.max() <= 100
    assert list(figure.data[0].x) == [0, 10, 20, 30, 40, 50]


def test_curves_of_runs_that_began_and_that_did_not():
    figure = training_curves({"a": [(10, 0.6, 0.1), (20, 0.4, 0.3)], "b": []})
    solid, dotted, *none = figure.data
    assert (list(solid.x), list(solid.y), list(dotted.y)) == ([10, 20], [0.6, 0.4], [0.1, 0.3])
    assert (dotted.yaxis, dotted.showlegend) == ("y2", False)
    assert solid.line.color == dotted.line.color != none[0].line.color

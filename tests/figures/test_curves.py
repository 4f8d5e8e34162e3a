import numpy as np
import torch

from hands_lib.figures.curves import TrainingCurves


def test_curves_are_drawn_as_they_come():
    curves = TrainingCurves(drawn=False, strip="input, now")
    asked = []
    curves.add("a", [(1, 0.5)], strip=lambda: asked.append("a"))
    curves.add("a", [(1, 0.5), (2, 0.25)], strip=lambda: asked.append("a"))
    curves.add("b", [(1, 0.75)])
    assert asked == []  # nothing is shown, so nothing is rendered
    figure = curves.figure()
    assert [(one.name, one.x, one.y) for one in figure.data] == [
        ("a", (1, 2), (0.5, 0.25)),
        ("b", (1,), (0.75,)),
    ]


def test_a_strip_stands_beside_the_curves():
    curves = TrainingCurves(drawn=False, strip="input, now")
    curves.add("a", [(1, 0.5)])
    image, line = curves.figure(torch.tensor([[[0.0, 0.5, 1.0]]])).data
    assert np.array_equal(image.z, [[[0, 127, 255]]])
    assert line.x == (1,)
    assert (image.xaxis, line.xaxis) == ("x2", "x")

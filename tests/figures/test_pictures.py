"""Figures of small pictures: every picture is there as it was, and every word of a grid is text."""

import base64
import re
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from hands_lib.figures.pictures import DataBadge, PictureGrid, query_figure, skeleton_stages, stepped_pictures


def decoded(source: str) -> torch.Tensor:
    """The bytes of a picture behind its `data:` address."""
    picture = Image.open(BytesIO(base64.b64decode(source.split(",", 1)[1])))
    return torch.from_numpy(np.array(picture)).reshape(*picture.size[::-1], -1)


def test_a_grid_has_every_picture_with_its_name() -> None:
    chance = torch.Generator().manual_seed(0)
    colours = torch.randint(0, 256, (2, 4, 6, 3), dtype=torch.uint8, generator=chance)
    grid = PictureGrid({"input": colours, "V <b>": colours[..., 0]}, "Maps & more", rows=["one", "two"])
    html = grid._repr_html_()
    found = [decoded(source) for source in re.findall(r'src="([^"]*)"', html)]
    assert [picture.shape[-1] for picture in found] == [3, 1, 3, 1]
    assert torch.equal(found[2], colours[1])
    assert torch.equal(found[3][..., 0], colours[1, ..., 0])
    assert re.findall(r'alt="([^"]*)"', html) == [
        "input, one", "V &lt;b&gt;, one", "input, two", "V &lt;b&gt;, two",
    ]  # fmt: skip
    assert "<b>" not in html
    assert "Maps &amp; more" in html
    assert repr(grid) == "Maps & more: input, V <b>"


def test_a_badge_says_what_the_data_are() -> None:
    assert "real data" in DataBadge(real=True)._repr_html_()
    assert "hands-badge-data-generated" in DataBadge(real=False)._repr_html_()
    assert repr(DataBadge(real=False)) == "generated data"


def test_a_slider_moves_through_the_steps() -> None:
    steps = [torch.full((1, 2, 3, 3, 3), value) for value in (0.0, 1.0)]
    figure = stepped_pictures(steps, [["a", "b"], ["a", "c"]], "Walk", ["0°", "90°"], "turned by ")
    assert [step.label for step in figure.layout.sliders[0].steps] == ["0°", "90°"]
    assert decoded(figure.frames[1].data[0].source).shape == (3, 6, 3)
    assert decoded(figure.frames[1].data[0].source).min() == 255
    assert figure.frames[1].layout.xaxis.ticktext == ("a", "c")


def test_skeletons_of_every_stage_lie_where_they_are_said_to_be() -> None:
    chance = torch.Generator().manual_seed(0)
    images = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    joints = torch.rand(2, 3, 2, 21, 2, generator=chance)
    figure = skeleton_stages(images, joints, joints[0], ["first", "second"], "Stages", width=2)
    assert len(figure.layout.images) == 3
    assert len(figure.data) == 3 + 3 * 2  # true joints, and two hands a picture
    last = figure.frames[1].data[2 * 2 + 1]  # third picture, left hand
    assert [frame.name for frame in figure.frames] == ["first", "second"]
    assert abs(last.x[0] - joints[1, 2, 1, 0, 0]) < 1e-6  # the first bone begins at the wrist


def test_what_is_hidden_has_an_open_marker() -> None:
    shown = {
        "picture": torch.zeros(4, 4, 3, dtype=torch.uint8),
        "pixels": torch.zeros(3, 2, 2),
        "seen": torch.tensor([[True, False, True], [True, True, True]]),
        "weights": torch.full((2, 6), 0.5),
        "fused": torch.ones(2, 3),
        "true": torch.zeros(2, 3),
    }
    figure = query_figure(shown, "Query")
    assert figure.data[0].marker.symbol == ("circle", "square-open", "diamond")
    assert figure.frames[1].data[0].marker.symbol == ("circle", "square", "diamond")
    assert figure.data[2].marker.color == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")

"""What is drawn over photographs, and labels as colours, where the answer is known."""

import matplotlib.pyplot as plt
import pytest
import torch

from hands_lib.figures.label_panels import PANELS, label_panels, with_joints
from hands_lib.figures.palette import DIGIT_COLOURS
from hands_lib.figures.photographs import draw_digits, photograph_axes, picture_axes
from hands_lib.figures.pictures import jpeg_source, png_source
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs
from hands_lib.worlds.ring_views import seen_from_a_ring


@pytest.fixture(autouse=True)
def nothing_left_open():
    yield
    plt.close("all")


def test_joints_that_are_not_known_are_not_drawn():
    _, axes = plt.subplots()
    pixels, valid = torch.rand(21, 2), torch.ones(21, dtype=torch.bool)
    valid[[0, 7]] = False
    draw_digits(axes, pixels, valid, "s")
    assert [len(line.get_xdata()) for line in axes.lines] == [4, 3, 4, 4, 4]
    assert [line.get_color() for line in axes.lines] == list(DIGIT_COLOURS)
    assert list(axes.lines[1].get_xdata()) == pixels[[5, 6, 8], 0].tolist()


def test_photographs_are_cut_to_their_hands():
    image, box = torch.zeros(100, 200, 3, dtype=torch.uint8), torch.tensor([20.0, 30.0, 60.0, 40.0])
    grid = photograph_axes([image, image], [box, box], ["a", "b"], rows=2)
    assert grid.shape == (2, 2)
    low, high = grid[1, 0].get_xlim()
    assert (low + high) / 2 == pytest.approx(50)
    assert high - low == pytest.approx(1.3 * 60)
    bottom, top = grid[1, 0].get_ylim()
    assert bottom > top  # v grows downwards
    assert grid[0, 1].get_title() == "b"


def test_pictures_stand_in_rows():
    pictures = [torch.full((4, 6, 3), n, dtype=torch.uint8) for n in range(6)]
    axes = picture_axes(pictures, columns=3, height=2.0)
    shown = axes.images[0].get_array()
    assert shown.shape == (8, 18, 3)
    assert int(shown[5, 13, 0]) == 5


def test_all_labels_side_by_side():
    people = sample_identities(1, 0)
    pair, _ = sample_pairs(1, people, torch.Generator().manual_seed(0), ("clasp",))
    moment, views = seen_from_a_ring(pair.pose[0], people[0], 2, 32, seed=0)
    panels = label_panels(moment, views).unflatten(2, (len(PANELS), 32)).movedim(2, 0)
    assert torch.equal(panels[0], views.image)
    background = views.hand == 0
    for panel in (panels[1], panels[3], panels[4]):
        assert bool((panel[background] == 255).all())
    assert int(panels[2][background].max()) == 0
    own = (views.hand == 1) | (views.hand == 2)
    assert int(panels[2][own].min()) >= 38  # 15 % of 255 at the farthest point
    assert int(panels[2][own].max()) == 255


def test_a_dot_stands_at_its_joint():
    picture = torch.full((20, 20, 3), 200, dtype=torch.uint8)
    joints = torch.full((2, 21, 2), 100.0)  # outside
    joints[0, 0], joints[1, 0] = torch.tensor([5.0, 9.0]), torch.tensor([0.0, 0.0])
    drawn = with_joints(picture, joints)
    assert drawn[9, 5].tolist() == [230, 110, 20]
    assert drawn[0, 0].tolist() == [40, 150, 230]
    assert drawn[15, 15].tolist() == [90, 90, 90]
    assert int((drawn != 90).any(dim=-1).sum()) == 9 + 4  # the second dot is cut by the border


def test_a_jpeg_is_smaller_than_a_png():
    noise = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
    address = jpeg_source(noise)
    assert address.startswith("data:image/jpeg;base64,")
    assert len(address) < len(png_source(noise))

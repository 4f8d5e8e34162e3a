"""Two closed surfaces, against boxes and balls of which everything is known."""

import math

import pytest
import torch
from solids import ball, box

from hands_lib.geometry.contact import clearance, meet, meeting_parts, room_along, shared_volume
from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.structures import Mesh

TURN = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.9], dtype=torch.float64))


def at(mesh: Mesh, *places: tuple[float, float, float], turn: torch.Tensor | None = None) -> Mesh:
    """A copy of the mesh at each place, all of them turned about the origin."""
    vertices = mesh.vertices + torch.tensor(places, dtype=mesh.vertices.dtype)[:, None]
    return Mesh(vertices if turn is None else vertices @ turn.T, mesh.faces)


CASES = {
    "apart": ((3.0, 0.1, 0.2), False),
    "nearly": ((2.0001, 0.3, 0.2), False),
    "crossing": ((1.7, 0.4, 0.2), True),
    "a corner": ((1.9, 1.9, 1.9), True),
    "only their bounding boxes, turned": ((1.5, 2.2, 0.1), False),
}


@pytest.mark.parametrize("turn", [None, TURN])
def test_boxes_meet_where_they_overlap(turn) -> None:
    cube = box(2, 2, 2, dtype=torch.float64)
    places = [place for place, _ in CASES.values()]
    first = at(cube, *[(0.0, 0.0, 0.0)] * len(places), turn=turn)
    second = at(cube, *places, turn=turn)
    expected = [overlaps for _, overlaps in CASES.values()]
    assert meet(first, second).tolist() == expected
    assert meet(second, first).tolist() == expected


def test_a_surface_inside_another_meets_it_without_a_crossing() -> None:
    small, large = at(box(1, 1, 1), (0.1, 0, 0)), at(box(4, 4, 4), (0.0, 0, 0))
    part = torch.zeros(12, dtype=torch.long)
    assert not meeting_parts(small, large, part, 1).any()
    assert meet(small, large).all()
    assert meet(large, small).all()


def test_the_parts_that_meet_are_those_that_face_each_other() -> None:
    cube = box(2, 2, 2, dtype=torch.float64)
    # A part for each of the six sides: the axis and the sign of the face's normal.
    corners = cube.vertices[cube.faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    axis = normals.abs().argmax(dim=-1)
    part = 2 * axis + (normals.gather(1, axis[:, None])[:, 0] > 0).long()
    # The corner of the second cube at (+, +, +) lies in the first one's corner at (-, -, -).
    hits = meeting_parts(at(cube, (0.0, 0, 0)), at(cube, (-1.5, -1.6, -1.7)), part, 6)
    assert hits.tolist() == [[[True, False] * 3, [False, True] * 3]]


def test_shared_volume_of_boxes_is_that_of_a_box() -> None:
    cube = box(2, 2, 2, dtype=torch.float64)
    places = [(1.5, 0.5, -1.0), (0.0, 0.0, 0.0), (3.0, 0.0, 0.0)]
    found = shared_volume(at(cube, *[(0.0, 0, 0)] * 3), at(cube, *places), resolution=10)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.tensor([0.5 * 1.5 * 1.0, 8.0, 0.0], dtype=torch.float64))
    centimetres = shared_volume(at(cube, (0.0, 0, 0)), at(cube, places[0]), resolution=10, unit=1e6)
    assert centimetres.item() == pytest.approx(750_000)


@pytest.mark.parametrize("distance", [0.4, 1.0, 1.6])
def test_shared_volume_of_balls_is_a_lens(distance) -> None:
    sphere = ball(dtype=torch.float64)
    found = shared_volume(at(sphere, (0.0, 0, 0)), at(sphere, (distance, 0, 0))).item()
    lens = math.pi * (2 - distance) ** 2 * (distance**2 + 4 * distance) / (12 * distance)
    # Balls of 1,280 flat faces lie a little within round ones, which a thin lens feels most.
    assert 0.95 * lens < found < 1.01 * lens


@pytest.mark.parametrize("turn", [None, TURN])
def test_room_along_an_axis_is_what_is_left_between_balls(turn) -> None:
    """The second ball comes along +z, aside by `aside`: it may go on until the centres are 2 apart."""
    asides, below = [0.0, 0.5, 1.2], 5.0
    first = at(ball(dtype=torch.float64), *[(0.0, 0, 0)] * 3, turn=turn)
    second = at(ball(dtype=torch.float64), *[(aside, 0, -below) for aside in asides], turn=turn)
    view = torch.eye(3, dtype=torch.float64) if turn is None else turn.T.contiguous()
    room = room_along(first, second, view, cell=0.01)
    expected = [below - math.sqrt(4 - aside**2) for aside in asides]
    # A ball of 1,280 faces lies a little within the round one.
    assert room.tolist() == pytest.approx(expected, abs=0.03)
    assert (room > torch.tensor(expected) - 1e-3).all()


def test_room_is_negative_within_and_infinite_beside() -> None:
    cube = box(2, 2, 2, dtype=torch.float64)
    view = torch.eye(3, dtype=torch.float64)
    second = at(cube, (0.0, 0, -1.5), (2.5, 0, -5.0))
    room = room_along(at(cube, *[(0.0, 0, 0)] * 2), second, view, cell=0.05)
    assert room[0].item() == pytest.approx(-0.5, abs=1e-6)
    assert room[1].isinf()


def test_clearance_is_signed_and_of_both() -> None:
    small, large = at(box(1, 1, 1), (0.0, 0, 0)), at(box(4, 4, 4), (0.0, 0, 0))
    found = clearance(small, large)
    assert found.shape == (1, 2, 8)
    torch.testing.assert_close(found[0, 0], torch.full((8,), -1.5))
    torch.testing.assert_close(found[0, 1], torch.full((8,), 1.5 * math.sqrt(3)))

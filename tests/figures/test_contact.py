"""Colours of touching and intersecting surfaces, on two boxes whose distances are known."""

import torch
import trimesh

from hands_lib.figures import LEFT, RIGHT
from hands_lib.figures.contact import distance_traces, penetration_traces
from hands_lib.structures import Mesh


def box(shift):
    solid = trimesh.creation.box((0.1, 0.1, 0.1))
    vertices = torch.from_numpy(solid.vertices).float() + torch.tensor(shift)
    return Mesh(vertices, torch.from_numpy(solid.faces).long())


def test_what_is_inside_the_other_is_black():
    right, left = penetration_traces(box([0.0, 0.0, 0.0]), box([0.06, 0.06, 0.06]))
    assert (right.name, left.name) == ("right", "left")
    # one corner of each box lies in the other
    assert sorted(set(right.vertexcolor)) == ["#000000", RIGHT]
    assert right.vertexcolor.count("#000000") == left.vertexcolor.count("#000000") == 1
    inner = right.vertexcolor.index("#000000")
    assert [right.x[inner], right.y[inner], right.z[inner]] == [50, 50, 50]
    apart = penetration_traces(box([0.0, 0.0, 0.0]), box([0.2, 0.0, 0.0]))
    assert [set(trace.vertexcolor) for trace in apart] == [{RIGHT}, {LEFT}]


def test_distances_are_in_millimetres_with_one_scale():
    hands = box([0.0, 0.0, 0.0]), box([0.2, 0.0, 0.0])
    distances = torch.linspace(0, 0.05, 8), torch.zeros(8)
    right, left = distance_traces(hands, distances)
    assert abs(max(right.intensity) - 50) < 1e-3
    assert set(left.intensity) == {0}
    assert (right.showscale, left.showscale) == (True, False)
    assert right.colorscale[0][1] == left.colorscale[0][1] == "#ffffff"

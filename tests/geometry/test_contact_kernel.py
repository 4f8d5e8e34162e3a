import numpy as np
import pytest

from hands_lib.geometry.kernels.contact import crossings, faces_meet, sweep


def _cube(centre, half=0.5):
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half + centre
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    return corners, faces


def _meet_slowly(first, second):
    """Every edge against the other triangle, by solving for where the line meets the plane."""
    for (p, q), triangle in [
        ((one[i], one[(i + 1) % 3]), other)
        for one, other in ((first, second), (second, first))
        for i in range(3)
    ]:
        a, b, c = triangle
        along, u, v = np.linalg.solve(np.stack([p - q, b - a, c - a], axis=1), p - a)
        if 0 <= along <= 1 and u >= 0 and v >= 0 and u + v <= 1:
            return True
    return False


def test_triangles_meet_where_a_slow_test_says_so():
    triangles = np.random.default_rng(0).normal(size=(4000, 2, 3, 3))
    found = np.array([faces_meet(*(tuple(p) for p in (*one, *two))) for one, two in triangles])
    slow = np.array([_meet_slowly(one, two) for one, two in triangles])
    assert 500 < slow.sum() < 3500
    np.testing.assert_array_equal(found, slow)


@pytest.mark.parametrize(
    "second",
    [
        [(0.2, 0.2, 0.0), (0.2, 0.2, 1.0), (0.9, 0.9, 1.0)],  # a corner on the face
        [(1.0, 0.0, 0.0), (2.0, 0.0, 1.0), (2.0, 1.0, 1.0)],  # a corner on a corner
        [(0.1, 0.1, 0.0), (0.3, 0.1, 0.0), (0.1, 0.3, 0.0)],  # in one plane, one inside the other
    ],
)
def test_a_touch_counts_as_a_meeting(second):
    assert faces_meet((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), *second)


@pytest.mark.parametrize(("shift", "meets"), [(0.9, True), (0.999999, True), (1.000001, False), (3.0, False)])
def test_cubes_meet_up_to_their_faces(shift, meets):
    right, faces = _cube((0.0, 0.0, 0.0))
    left, _ = _cube((shift, 0.1, 0.07))
    part = np.arange(len(faces)) // 2  # the six sides
    hits = np.zeros((2, 1, 6), dtype=bool)
    crossings(0, 1, right[None], left[None], faces, faces, part, *hits)
    assert bool(hits[0].any()) == bool(hits[1].any()) == meets


def test_the_sweep_ends_at_the_first_contact():
    right, faces = _cube((0.0, 0.0, 5.0))
    left, _ = _cube((0.3, -0.4, 0.0))
    aside, _ = _cube((1.2, 0.0, 0.0))
    room = np.empty(2)
    sweep(0, 2, np.stack([right, right]), np.stack([left, aside]), faces, faces, 0.01, room)
    assert room[0] == pytest.approx(4.0)
    assert np.isinf(room[1])

import pytest
import torch

from hands_lib.geometry.closed_surface import closed_surface_report, enclosed_volume
from hands_lib.structures import Mesh

# The unit cube: 8 vertices, 12 faces, volume 1. Vertex number = 4 x + 2 y + z.
CUBE_VERTICES = torch.tensor([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
CUBE_FACES = torch.tensor(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]
)  # fmt: skip


def cube() -> Mesh:
    return Mesh(CUBE_VERTICES, CUBE_FACES)


def test_a_cube_is_closed_and_has_volume_one():
    report = closed_surface_report(cube())
    assert report.is_closed
    assert (report.num_vertices, report.num_faces, report.euler_characteristic) == (8, 12, 2)
    assert report.volume.item() == pytest.approx(1.0)


def test_volume_ignores_where_the_mesh_is_and_turns_sign_with_the_winding():
    moved = Mesh(CUBE_VERTICES.double() * 2 + 100, CUBE_FACES)
    assert enclosed_volume(moved).item() == pytest.approx(8.0)
    assert enclosed_volume(Mesh(CUBE_VERTICES, CUBE_FACES.flip(-1))).item() == pytest.approx(-1.0)


def test_a_missing_face_opens_three_edges_and_three_rings():
    report = closed_surface_report(Mesh(CUBE_VERTICES, CUBE_FACES[1:]))
    assert report.num_open_edges == 3
    assert report.num_broken_rings == 3
    assert not report.is_closed


def test_a_turned_face_is_an_open_edge():
    faces = CUBE_FACES.clone()
    faces[0] = faces[0].flip(0)
    assert closed_surface_report(Mesh(CUBE_VERTICES, faces)).num_open_edges > 0


def test_two_cubes_that_share_a_corner_break_its_ring():
    # The second cube reuses vertex 7 of the first as its own vertex 0.
    other = torch.where(CUBE_FACES == 0, 7, CUBE_FACES + 7)
    vertices = torch.cat([CUBE_VERTICES, CUBE_VERTICES[1:] + 1])
    report = closed_surface_report(Mesh(vertices, torch.cat([CUBE_FACES, other])))
    assert report.num_open_edges == 0
    assert report.num_broken_rings == 1


def test_an_unused_vertex_is_a_broken_ring():
    vertices = torch.cat([CUBE_VERTICES, torch.zeros(1, 3)])
    assert closed_surface_report(Mesh(vertices, CUBE_FACES)).num_broken_rings == 1


def test_batches_have_a_volume_each():
    scale = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    assert enclosed_volume(Mesh(CUBE_VERTICES * scale, CUBE_FACES)).tolist() == pytest.approx(
        [1, 8, 27], rel=1e-5
    )


def test_a_face_beyond_the_vertices_is_named():
    with pytest.raises(ValueError, match="0 to 8, but there are 8"):
        closed_surface_report(Mesh(CUBE_VERTICES, torch.cat([CUBE_FACES, torch.tensor([[0, 1, 8]])])))

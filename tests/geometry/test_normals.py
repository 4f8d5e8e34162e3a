import torch

from hands_lib.geometry.normals import face_area_vectors, vertex_normals
from hands_lib.structures import Mesh

OCTAHEDRON = Mesh(
    torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]),
    torch.tensor([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]),
)


def test_a_face_is_as_long_as_its_area():
    triangle = Mesh(torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 3, 0]]), torch.tensor([[0, 1, 2]]))
    assert torch.equal(face_area_vectors(triangle), torch.tensor([[0.0, 0.0, 3.0]]))


def test_normals_of_an_octahedron_are_its_vertices():
    assert torch.allclose(vertex_normals(OCTAHEDRON), OCTAHEDRON.vertices, atol=1e-6)


def test_the_area_vectors_of_a_closed_surface_cancel_also_in_batches():
    generator = torch.Generator().manual_seed(0)
    moved = OCTAHEDRON.vertices + 0.2 * torch.randn(3, 6, 3, generator=generator)
    assert face_area_vectors(Mesh(moved, OCTAHEDRON.faces)).sum(dim=-2).abs().max() < 1e-5
    assert vertex_normals(Mesh(moved, OCTAHEDRON.faces)).shape == (3, 6, 3)


def test_a_vertex_without_faces_has_no_normal():
    lonely = Mesh(torch.cat([OCTAHEDRON.vertices, torch.ones(1, 3)]), OCTAHEDRON.faces)
    assert torch.equal(vertex_normals(lonely)[-1], torch.zeros(3))

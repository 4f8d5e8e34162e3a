"""Normals of triangle meshes, outwards where faces turn counter-clockwise seen from outside. Unit length."""

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.structures import Mesh


def face_area_vectors(mesh: Mesh) -> Float[Tensor, "*batch face 3"]:
    """Normal of each face, as long as the face's area."""
    a, b, c = mesh.vertices[..., mesh.faces, :].unbind(dim=-2)
    return torch.linalg.cross(b - a, c - a) / 2


def vertex_normals(mesh: Mesh) -> Float[Tensor, "*batch vertex 3"]:
    """Mean of the normals of a vertex's faces, weighted by area. Zero for a vertex without faces."""
    areas = face_area_vectors(mesh)
    sums = torch.zeros_like(mesh.vertices)
    for corner in range(3):
        sums = sums.index_add(-2, mesh.faces[:, corner], areas)
    return torch.nn.functional.normalize(sums, dim=-1)

"""Signed distances below a limit, between many pairs of a cloud and a mesh with a topology of its own.

A loss that pushes surfaces apart asks for points that are inside, one that draws them together for those that
are near: few of all. Here only these are measured, exactly, and only these enter the graph.

Units   whatever the coordinates are in (metres in this library)
Sign    negative inside, positive outside
Ragged  meshes of one batch are padded to one size: `PaddedMeshes`

Gradients are those of `geometry.distance`: of a point away from the surface, of the closest face's corners
the opposite, shared by barycentrics.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.kernels import dense, limited
from hands_lib.geometry.kernels.threads import for_ranges
from hands_lib.geometry.meshes import GeometryError, check_closed, check_finite, check_mesh, is_closed
from hands_lib.structures import Mesh, TensorFields


@dataclass(frozen=True)
class PaddedMeshes(TensorFields):
    """Closed meshes of different topologies, one a row. What is added to make them equally long does not
    count: vertices behind the last one that a face names, and faces (0, 0, 0)."""

    vertices: Float[Tensor, "*batch vertex 3"]
    faces: Int[Tensor, "*batch face 3"]


def padded_meshes(meshes: Sequence[Mesh]) -> PaddedMeshes:
    """Single meshes, each closed and without vertices that no face names.

    Raises:
        GeometryError: for one that is not; ValueError where there is none.
    """
    if not meshes:
        raise ValueError("nothing to pad: give at least one mesh")
    for mesh in meshes:
        check_mesh(mesh)
        check_closed(mesh)
        if mesh.vertices.ndim != 2 or len(mesh.faces.unique()) != len(mesh.vertices):
            raise GeometryError(
                "meshes to pad are single ones whose vertices all belong to a face; "
                "geometry.parts.weld_vertices(mesh) takes the others out"
            )
    like = meshes[0]
    longest = max(len(mesh.vertices) for mesh in meshes), max(len(mesh.faces) for mesh in meshes)
    vertices = like.vertices.new_zeros(len(meshes), longest[0], 3)
    faces = like.faces.new_zeros(len(meshes), longest[1], 3).long()
    for row, mesh in enumerate(meshes):
        vertices[row] = mesh.vertices[0]  # where the mesh is, for whoever takes a bounding box
        vertices[row, : len(mesh.vertices)] = mesh.vertices
        faces[row, : len(mesh.faces)] = mesh.faces
    return PaddedMeshes(vertices, faces)


@dataclass(frozen=True)
class LimitedDistance(TensorFields):
    """The points whose signed distance is below the limit, in any number."""

    distance: Float[Tensor, " found"]
    """Differentiable with respect to points and vertices."""
    item: Int[Tensor, " found"]
    """Number of the cloud (and mesh), rising;"""
    point: Int[Tensor, " found"]
    """and of the point in it."""


def counted_vertices(
    vertices: Float[Tensor, "batch vertex 3"], faces: Int[Tensor, "*maybe_batch face 3"]
) -> Int[Tensor, " batch"]:
    """How many vertices of each mesh count: all where the topology is shared, else up to the last named."""
    if faces.ndim == 2:
        return torch.full((len(vertices),), vertices.shape[1], device=faces.device)
    return faces.flatten(1).amax(dim=1) + 1


def signed_distance_below(
    limit: float,
    points: Float[Tensor, "batch point 3"],
    num_points: Int[Tensor, " batch"],
    vertices: Float[Tensor, "batch vertex 3"],
    faces: Int[Tensor, "*maybe_batch face 3"],
    backend: str | None = None,
) -> LimitedDistance:
    """Of the first `num_points` points of each cloud those that are nearer to its mesh than `limit`.

    limit       negative: deeper than -limit; 0: all that are inside; positive: nearer outside as well;
                math.inf: all
    faces       of one topology, or padded as in `PaddedMeshes` (whose constructor sees that they are closed)
    backend     "numba" on the CPU, "torch" elsewhere

    Raises:
        GeometryError: for shapes and types that do not fit, coordinates that are not finite, or a shared
            topology that is not closed.
    """
    _check(points, num_points, vertices, faces)
    num_vertices = counted_vertices(vertices, faces)
    own = faces[None] if faces.ndim == 2 else faces
    real = (own[..., 0] != own[..., 1]).long()
    num_faces = (real * torch.arange(1, own.shape[1] + 1, device=own.device)).amax(dim=1)
    num_faces = num_faces.expand(len(vertices)).contiguous()
    name = backend or ("numba" if points.device.type == "cpu" else "torch")
    search = {"numba": _search_numba, "torch": _search_torch}[name]
    with torch.no_grad():
        item, point, chosen, weights, direction = search(
            limit, points, num_points, vertices, num_vertices, own.long(), num_faces
        )
    corner = own[item if faces.ndim == 3 else torch.zeros_like(item), chosen].long()
    corners = vertices[item[:, None], corner]
    # The distance to a fixed place of the face, along a fixed direction: its value and its gradient are those
    # of the distance to the closest point.
    away = points[item, point] - (weights[..., None] * corners).sum(dim=1)
    return LimitedDistance((direction * away).sum(dim=-1), item, point)


def _check(points: Tensor, num_points: Tensor, vertices: Tensor, faces: Tensor) -> None:
    for name, value in (("points", points), ("vertices", vertices)):
        if value.ndim != 3 or value.shape[-1] != 3 or value.dtype not in (torch.float32, torch.float64):
            raise GeometryError(
                f"{name} must be float32 or float64 of shape (batch, number, 3), "
                f"not {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
            )
        check_finite(value, name)
    batch, fits = len(points), faces.ndim == 2 or len(faces) == len(points)
    if len(vertices) != batch or len(num_points) != batch or not fits or points.dtype != vertices.dtype:
        raise GeometryError(
            f"{batch} clouds ({points.dtype}) need as many counts and meshes of their type, not "
            f"{len(num_points)} and {len(vertices)} ({vertices.dtype}), with faces of one topology (face, 3) "
            f"or of each (batch, face, 3), not {tuple(faces.shape)}"
        )
    if faces.ndim == 2 and not is_closed(faces):
        raise GeometryError("the mesh is not closed, so it has no inside: close its holes, weld its seams")


def _search_numba(limit, points, num_points, vertices, num_vertices, faces, num_faces):
    batch, length = points.shape[:2]
    distance, chosen = points.new_empty(batch, length), torch.empty(batch, length, dtype=torch.long)
    weights, direction = torch.empty_like(points), torch.empty_like(points)
    tensors = points, num_points.long(), vertices, num_vertices, faces, num_faces
    arrays = [tensor.detach().contiguous().numpy() for tensor in tensors]
    results = [tensor.numpy() for tensor in (distance, chosen, weights.contiguous(), direction.contiguous())]
    for_ranges(
        lambda start, stop: limited.distances_below(start, stop, limit, *arrays, *results), batch, grain=2
    )
    item, point = (distance < math.inf).nonzero().unbind(dim=1)
    return item, point, chosen[item, point], weights[item, point], direction[item, point]


def _search_torch(limit, points, num_points, vertices, num_vertices, faces, num_faces):
    """Every point against every face, mesh by mesh: the reference, for any device."""
    rows = []
    for item in range(len(points)):
        its = faces[item if len(faces) > 1 else 0, : num_faces[item]]
        cloud, mesh = (
            points[item : item + 1, : num_points[item]],
            vertices[item : item + 1, : num_vertices[item]],
        )
        face = dense.closest_faces(cloud, mesh, its)
        winding = dense.winding_numbers(cloud, mesh, its).round().long()
        distance, face, weights, direction = (
            value[0] for value in dense.measure_faces(cloud, mesh, its, face, winding)
        )
        below = (distance < limit).nonzero().flatten()
        rows.append((torch.full_like(below, item), below, face[below], weights[below], direction[below]))
    return tuple(torch.cat(values) for values in zip(*rows, strict=True))

"""Distance of points to the surface of a mesh, and on which side they are.

Units   whatever the coordinates are in (metres in this library); no tolerance depends on the scale
Sign    negative inside, positive outside

The search runs in compiled loops and leaves no graph. Gradients are those of the distance to the closest
point: with respect to a point the unit vector away from the surface, with respect to the corners of the
closest face the opposite, in proportion to the barycentrics. This is exact wherever the distance is
differentiable; where two closest points compete, it is the gradient of one of them; on the surface it is the
normal of the face.

Two hands are asked one by one and combined with `torch.minimum`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.kernels import closest, dense
from hands_lib.geometry.kernels.threads import for_ranges
from hands_lib.geometry.meshes import GeometryError, check_closed, check_mesh, check_points, matched_batches
from hands_lib.structures import Mesh, TensorFields

Backend = Literal["numba", "triton", "torch"]


@dataclass(frozen=True)
class SurfaceDistance(TensorFields):
    """Where the surface is closest to each point."""

    distance: Float[Tensor, "*batch point"]
    """Metres. Differentiable with respect to points and vertices."""
    face: Int[Tensor, "*batch point"]
    """Index of a face that holds the closest point; on an edge or a vertex any of its faces."""
    barycentrics: Float[Tensor, "*batch point 3"]
    """Of the closest point in that face; without gradient."""

    def closest_points(self, mesh: Mesh) -> Float[Tensor, "*batch point 3"]:
        """The closest points themselves. Differentiable with respect to the vertices."""
        corners = corners_of(mesh.vertices, mesh.faces, self.face)
        return (self.barycentrics[..., None] * corners).sum(dim=-2)


def corners_of(
    values: Float[Tensor, "*values_batch vertex channel"],
    faces: Int[Tensor, "face 3"],
    face: Int[Tensor, "*batch point"],
) -> Float[Tensor, "*batch point 3 channel"]:
    """Values of the vertices at the three corners of the face of each point. Batches broadcast to that of
    `face`."""
    index = faces.long()[face].flatten(start_dim=-2)[..., None]
    values = values.expand(*face.shape[:-1], *values.shape[-2:])
    return values.gather(-2, index.expand(*index.shape[:-1], values.shape[-1])).unflatten(-2, (-1, 3))


def signed_distance(
    points: Float[Tensor, "*points_batch point 3"], mesh: Mesh, backend: Backend | None = None
) -> SurfaceDistance:
    """Distance to a closed mesh, negative inside.

    The sign is that of the winding number (`inside.inside`), which is right also where parts of the mesh
    overlap. The batch dimensions of points and mesh broadcast.

    Raises:
        GeometryError: for a mesh that is open, inside out, empty or not finite, or points that do not fit it.
    """
    check_mesh(mesh)
    check_closed(mesh)
    return _distance(points, mesh, True, backend)


def unsigned_distance(
    points: Float[Tensor, "*points_batch point 3"], mesh: Mesh, backend: Backend | None = None
) -> SurfaceDistance:
    """Distance to any mesh, open ones too; never negative. Otherwise as `signed_distance`."""
    check_mesh(mesh)
    return _distance(points, mesh, False, backend)


def chosen_version(backend: str | None, default: str, versions: dict[str, Callable], device: torch.device):
    """The function among `versions` that was asked for, or the default one.

    Raises:
        GeometryError: for a back end that does not exist or does not run on the device.
    """
    name = backend or default
    if name not in versions:
        raise GeometryError(f"there is no backend {name!r} here, only {', '.join(map(repr, versions))}")
    if name == "numba" and device.type != "cpu":
        raise GeometryError(f'backend "numba" runs on the CPU, but the tensors are on {device}')
    return versions[name]


def natural_backend(device: torch.device) -> Backend:
    """Numba on the CPU, Triton on CUDA, torch elsewhere."""
    return {"cpu": "numba", "cuda": "triton"}.get(device.type, "torch")


def _distance(points: Tensor, mesh: Mesh, signed: bool, backend: Backend | None) -> SurfaceDistance:
    check_points(points, mesh)
    flat_points, vertices, shape = matched_batches(points, mesh)
    versions = {"numba": _search_numba, "triton": _search_triton, "torch": _search_torch}
    search = chosen_version(backend, natural_backend(points.device), versions, points.device)
    distance, face, barycentrics = _ClosestPoint.apply(
        flat_points, vertices, mesh.faces.long(), signed, search
    )
    return SurfaceDistance(distance.view(shape), face.view(shape), barycentrics.view(*shape, 3))


class _ClosestPoint(torch.autograd.Function):
    """The search, with the gradient of the distance to the point that it found."""

    @staticmethod
    def forward(ctx, points, vertices, faces, signed, search):
        distance, face, barycentrics, direction = search(points, vertices, faces, signed)
        ctx.save_for_backward(vertices, faces, face, barycentrics, direction)
        ctx.mark_non_differentiable(face, barycentrics)
        return distance, face, barycentrics

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad, _grad_face, _grad_barycentrics):
        vertices, faces, face, barycentrics, direction = ctx.saved_tensors
        pull = grad[..., None] * direction
        grad_vertices = None
        if ctx.needs_input_grad[1]:
            corner = faces[face].flatten(start_dim=1)
            pushed = -(barycentrics[..., None] * pull[..., None, :]).flatten(1, 2)
            grad_vertices = torch.zeros_like(vertices)
            grad_vertices.scatter_add_(1, corner[..., None].expand_as(pushed), pushed)
        return pull, grad_vertices, None, None, None


def _search_numba(points, vertices, faces, signed):
    """Arrays of shape (batch, point, ...), all contiguous."""
    distance = points.new_empty(points.shape[:2])
    face = torch.empty(points.shape[:2], dtype=torch.long)
    barycentrics, direction = torch.empty_like(points), torch.empty_like(points)
    order = torch.empty(points.shape[:2], dtype=torch.int32)
    tiles = -(-points.shape[1] // closest.TILE)
    if points.numel() == 0:
        return distance, face, barycentrics, direction
    arrays = [tensor.detach().numpy() for tensor in (points, order, vertices, faces)]
    results = [tensor.numpy() for tensor in (distance, face, barycentrics, direction)]

    def sort_clouds(start: int, stop: int) -> None:
        for index in range(start, stop):
            closest.spatial_order(arrays[0][index], arrays[1][index])

    def search(start: int, stop: int) -> None:
        closest.closest_faces(start, stop, *arrays, signed, *results)

    for_ranges(sort_clouds, len(points), grain=-(-50_000 // points.shape[1]))
    for_ranges(search, len(points) * tiles, grain=-(-20_000 // len(faces)))
    return distance, face, barycentrics, direction


def _search_triton(points, vertices, faces, signed):
    from hands_lib.geometry.kernels import cuda

    face = cuda.closest_faces(points, vertices, faces)
    winding = cuda.winding_numbers(points, vertices, faces) if signed else None
    return dense.measure_faces(points, vertices, faces, face, winding)


def _search_torch(points, vertices, faces, signed):
    face = dense.closest_faces(points, vertices, faces)
    winding = dense.winding_numbers(points, vertices, faces).round().long() if signed else None
    return dense.measure_faces(points, vertices, faces, face, winding)

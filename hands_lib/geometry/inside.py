"""Which points are inside a closed mesh: single points, points of a regular grid, points inside both of two hands.

Inside means that the winding number is positive. On a closed mesh that is what one expects, and it stays so where
parts of the surface overlap (a finger that pokes through another of the same hand: winding number 2), where the
parity of ray crossings says outside. Points exactly on the surface are divided between the two sides like pixels
on an edge: see `kernels.crossings`.

Units are whatever the coordinates are in (metres in this library); no tolerance depends on the scale.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry.distance import Backend
from hands_lib.geometry.kernels import closest, crossings, dense
from hands_lib.geometry.kernels.threads import for_ranges
from hands_lib.geometry.meshes import GeometryError, check_closed, check_finite, check_mesh, check_points, matched_batches
from hands_lib.structures import Mesh


def inside(
    points: Float[Tensor, "*points_batch point 3"], mesh: Mesh, backend: Backend | None = None
) -> Bool[Tensor, "*batch point"]:
    """Whether each point is inside. The batch dimensions of points and mesh broadcast.

    Raises:
        GeometryError: for a mesh that is open, inside out, empty or not finite, or points that do not fit it.
    """
    return winding_number(points, mesh, backend) > 0


def winding_number(
    points: Float[Tensor, "*points_batch point 3"], mesh: Mesh, backend: Backend | None = None
) -> Int[Tensor, "*batch point"]:
    """How often the closed surface encloses each point. Otherwise as `inside`."""
    check_mesh(mesh)
    check_closed(mesh)
    check_points(points, mesh)
    flat_points, vertices, shape = matched_batches(points.detach(), mesh)
    backend = backend or ("triton" if points.is_cuda else "numba")
    if backend == "torch":
        return dense.winding_numbers(flat_points, vertices, mesh.faces).round().long().view(shape)
    if backend == "triton":
        from hands_lib.geometry.kernels import cuda

        return cuda.winding_numbers(flat_points, vertices, mesh.faces).view(shape)
    return _winding_numba(flat_points, vertices.detach(), mesh.faces).view(shape)


def _winding_numba(points: Tensor, vertices: Tensor, faces: Tensor) -> Tensor:
    winding = torch.empty(points.shape[:2], dtype=torch.long)
    if points.numel() == 0:
        return winding
    order = torch.empty(points.shape[:2], dtype=torch.int32)
    arrays = [tensor.numpy() for tensor in (points, order, vertices, faces)]
    tiles = -(-points.shape[1] // closest.TILE)

    def sort_clouds(start: int, stop: int) -> None:
        for index in range(start, stop):
            closest.spatial_order(arrays[0][index], arrays[1][index])

    def count(start: int, stop: int) -> None:
        crossings.winding_numbers(start, stop, closest.TILE, *arrays, winding.numpy())

    for_ranges(sort_clouds, len(points), grain=-(-50_000 // points.shape[1]))
    for_ranges(count, len(points) * tiles, grain=-(-100_000 // len(faces)))
    return winding

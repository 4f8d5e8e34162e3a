"""Which points are inside a closed mesh: single points, a regular grid's, those inside both of two hands.

Inside means that the winding number is positive. On a closed mesh that is what one expects, and it stays so
where parts of the surface overlap (a finger that pokes through another of the same hand: winding number 2),
where the parity of ray crossings says outside. Points exactly on the surface are divided between the two
sides like pixels on an edge: see `kernels.crossings`.

Units are whatever the coordinates are in (metres in this library); no tolerance depends on the scale.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry.distance import Backend, chosen_version, natural_backend
from hands_lib.geometry.kernels import closest, crossings, dense
from hands_lib.geometry.kernels.threads import for_ranges
from hands_lib.geometry.meshes import (
    GeometryError,
    check_closed,
    check_finite,
    check_mesh,
    check_points,
    matched_batches,
)
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
    versions = {"numba": _winding_numba, "triton": _winding_triton, "torch": _winding_torch}
    count = chosen_version(backend, natural_backend(points.device), versions, points.device)
    return count(flat_points, vertices.detach(), mesh.faces.long()).view(shape)


def _winding_torch(points: Tensor, vertices: Tensor, faces: Tensor) -> Tensor:
    return dense.winding_numbers(points, vertices, faces).round().long()


def _winding_triton(points: Tensor, vertices: Tensor, faces: Tensor) -> Tensor:
    from hands_lib.geometry.kernels import cuda

    return cuda.winding_numbers(points, vertices, faces)


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


def grid_points(
    lower: Float[Tensor, "*batch 3"], upper: Float[Tensor, "*batch 3"], resolution: int = 50
) -> Float[Tensor, "*batch x y z 3"]:
    """The points of a regular grid from `lower` to `upper`, both included."""
    x, y, z = _grid_axes(lower, upper, resolution).unbind(dim=-2)
    shape = (*x.shape[:-1], resolution, resolution, resolution)
    columns = (x[..., :, None, None], y[..., None, :, None], z[..., None, None, :])
    return torch.stack([values.expand(shape) for values in columns], dim=-1)


def grid_occupancy(
    mesh: Mesh,
    resolution: int = 50,
    bounds: tuple[Float[Tensor, "*bounds_batch 3"], Float[Tensor, "*bounds_batch 3"]] | None = None,
    backend: Literal["numba", "torch"] | None = None,
) -> Bool[Tensor, "*batch x y z"]:
    """Whether the `grid_points` between `bounds` (by default the mesh's bounding box) are inside.

    The default is the grid of 125,000 points that span the mesh of "Two Hands Are Better Than One", III. The
    answer is that of `inside` for the same points, at a small part of its cost; batches of meshes and bounds
    broadcast.

    Raises:
        GeometryError: for a mesh that is open, inside out, empty or not finite, or bounds that do not fit it.
    """
    check_mesh(mesh)
    check_closed(mesh)
    if resolution < 1:
        raise GeometryError(f"a grid has at least 1 point a side, not {resolution}")
    vertices = mesh.vertices.detach()
    if bounds is None:
        bounds = bounding_box(vertices)
    for name, bound in zip(("the lower bounds", "the upper bounds"), bounds, strict=True):
        check_points(bound.detach()[..., None, :], mesh)
        check_finite(bound, name)
    if (bounds[0] > bounds[1]).any():
        raise GeometryError("the lower bounds of a grid are above its upper bounds")
    batch = torch.broadcast_shapes(vertices.shape[:-2], bounds[0].shape[:-1], bounds[1].shape[:-1])
    vertices = vertices.expand(*batch, *vertices.shape[-2:]).reshape(-1, *vertices.shape[-2:])
    axes = _grid_axes(*(bound.detach() for bound in bounds), resolution)
    axes = axes.expand(*batch, 3, resolution).reshape(-1, 3, resolution)
    default = "numba" if vertices.device.type == "cpu" else "torch"
    versions = {"numba": _grid_numba, "torch": _grid_torch}
    occupancy = chosen_version(backend, default, versions, vertices.device)
    occupied = occupancy(axes, vertices, mesh.faces.long())
    return occupied.view(*batch, resolution, resolution, resolution)


def count_inside_both(first: Mesh, second: Mesh, resolution: int = 50) -> Int[Tensor, "*batch"]:
    """How many points of one grid that spans both meshes are inside both.

    Pairs whose bounding boxes do not meet have none; only the others are looked at.

    Raises:
        GeometryError: as `grid_occupancy`, for either mesh, or if their batches differ.
    """
    for mesh in (first, second):
        check_mesh(mesh)
        check_closed(mesh)
    batch = first.vertices.shape[:-2]
    if batch != second.vertices.shape[:-2]:
        raise GeometryError(
            f"pairs need equal batches, not {tuple(batch)} and {tuple(second.vertices.shape[:-2])}"
        )
    vertices = [mesh.vertices.detach().reshape(-1, *mesh.vertices.shape[-2:]) for mesh in (first, second)]
    (lower_first, upper_first), (lower_second, upper_second) = (bounding_box(own) for own in vertices)
    meet = (torch.maximum(lower_first, lower_second) <= torch.minimum(upper_first, upper_second)).all(dim=-1)
    counts = torch.zeros(len(meet), dtype=torch.long, device=meet.device)
    bounds = torch.minimum(lower_first, lower_second)[meet], torch.maximum(upper_first, upper_second)[meet]
    occupied = [
        grid_occupancy(Mesh(own[meet], mesh.faces), resolution, bounds)
        for own, mesh in zip(vertices, (first, second), strict=True)
    ]
    counts[meet] = (occupied[0] & occupied[1]).sum(dim=(-1, -2, -3))
    return counts.view(batch)


def bounding_box(
    vertices: Float[Tensor, "*batch vertex 3"],
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3"]]:
    """Lowest and highest coordinates."""
    return vertices.amin(dim=-2), vertices.amax(dim=-2)


def _grid_axes(lower: Tensor, upper: Tensor, resolution: int) -> Float[Tensor, "*batch 3 resolution"]:
    steps = torch.linspace(0, 1, resolution, dtype=lower.dtype, device=lower.device)
    return lower[..., None] + (upper - lower)[..., None] * steps


def _grid_numba(axes: Tensor, vertices: Tensor, faces: Tensor) -> Tensor:
    resolution = axes.shape[-1]
    occupied = torch.empty(len(vertices), resolution, resolution, resolution, dtype=torch.bool)
    arrays = [tensor.contiguous().numpy() for tensor in (axes, vertices, faces)]

    def count(start: int, stop: int) -> None:
        crossings.grid_occupancies(start, stop, *arrays, occupied.numpy())

    for_ranges(count, len(vertices), grain=2)
    return occupied


def _grid_torch(axes: Tensor, vertices: Tensor, faces: Tensor) -> Tensor:
    """The same columns in torch: each face is expanded to the columns inside its box; the crossings of a
    column are added at their heights, and a running sum from the top gives the winding numbers."""
    resolution, device = axes.shape[-1], axes.device
    axes = axes.double()
    corners = vertices.double()[:, faces]
    lower, upper = corners.amin(dim=2), corners.amax(dim=2)
    planes = axes[:, 0].contiguous(), axes[:, 1].contiguous()
    first = [torch.searchsorted(planes[k], lower[..., k].contiguous()).flatten() for k in (0, 1)]
    end = [torch.searchsorted(planes[k], upper[..., k].contiguous(), right=True).flatten() for k in (0, 1)]
    width = end[1] - first[1]
    count = (end[0] - first[0]) * width
    which = torch.repeat_interleave(count)
    step = torch.arange(len(which), device=device) - (count.cumsum(0) - count)[which]
    column_x, column_y = first[0][which] + step // width[which], first[1][which] + step % width[which]
    mesh = which // len(faces)
    x, y = axes[mesh, 0, column_x], axes[mesh, 1, column_y]

    edges = dense.projected_edges(vertices, faces)
    left = dense.left_of(tuple(values.flatten(0, 1)[which] for values in edges), x[:, None], y[:, None])
    crossing = left.all(dim=1).long() - (~left).all(dim=1).long()
    a, b, c = corners.flatten(0, 1)[which].unbind(dim=1)
    normal = torch.linalg.cross(b - a, c - a)
    crossing = crossing.where(normal[:, 2] != 0, 0)
    height = a[:, 2] - ((x - a[:, 0]) * normal[:, 0] + (y - a[:, 1]) * normal[:, 1]) / normal[:, 2].where(
        crossing != 0, 1
    )
    zs = axes[:, 2]
    span = (zs[:, -1] - zs[:, 0])[mesh]
    guess = (height - zs[mesh, 0]) / span.where(span > 0, 1) * (resolution - 1)
    # How many points of the column lie below the crossing: the guess is off by rounding, one at most.
    below = guess.ceil().clamp(0, resolution).long()
    below = below - ((below > 0) & (zs[mesh, (below - 1).clamp(min=0)] >= height)).long()
    below = below + ((below < resolution) & (zs[mesh, below.clamp(max=resolution - 1)] < height)).long()
    slots = ((mesh * resolution + column_x) * resolution + column_y) * (resolution + 1) + below
    counts = torch.zeros(len(vertices) * resolution**2 * (resolution + 1), dtype=torch.int32, device=device)
    counts.index_add_(0, slots, crossing.int())
    counts = counts.view(-1, resolution, resolution, resolution + 1)
    return counts.flip(-1).cumsum(-1, dtype=torch.int32).flip(-1)[..., 1:] > 0

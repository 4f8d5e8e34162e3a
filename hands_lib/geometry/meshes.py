"""What the geometry functions ask of a mesh, and the errors when it is not given."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.parts import inverted_parts, weld_vertices
from hands_lib.structures import Mesh


class GeometryError(ValueError):
    """A mesh, a cloud of points or a camera that a geometric question has no answer for."""


def check_mesh(mesh: Mesh) -> None:
    """Refuses shapes that do not fit, faces that index past the vertices, and vertices that are not finite.

    Raises:
        GeometryError: naming the first offender.
    """
    vertices, faces = mesh.vertices, mesh.faces
    _check_coordinates(vertices, "vertices")
    if faces.ndim != 2 or faces.shape[-1] != 3 or faces.is_floating_point() or faces.dtype == torch.bool:
        raise GeometryError(
            f"faces must be integers of shape (face, 3), not {faces.dtype} {tuple(faces.shape)}"
        )
    if faces.device != vertices.device:
        raise GeometryError(
            f"vertices are on {vertices.device} but faces on {faces.device}; move the mesh as one"
        )
    if len(faces) == 0:
        raise GeometryError("the mesh has no faces")
    lowest, highest = (int(bound) for bound in faces.aminmax())
    if lowest < 0 or highest >= vertices.shape[-2]:
        offender = lowest if lowest < 0 else highest
        raise GeometryError(
            f"a face names vertex {offender}, but there are vertices 0 to {vertices.shape[-2] - 1}"
        )
    check_finite(vertices, "vertices")


def _check_coordinates(values: Tensor, name: str) -> None:
    if values.ndim < 2 or values.shape[-1] != 3 or values.dtype not in (torch.float32, torch.float64):
        raise GeometryError(
            f"{name} must be float32 or float64 of shape (..., number, 3), "
            f"not {str(values.dtype).removeprefix('torch.')} {tuple(values.shape)}"
        )


def check_finite(values: Tensor, name: str) -> None:
    """Raises GeometryError with the index of the first NaN or infinite value."""
    values = values.detach()
    # A sum is finite unless a term is not (or it overflows): one pass, enough nearly always. NumPy's on the
    # CPU, because torch would wake all its threads for it.
    with np.errstate(all="ignore"):
        total = values.numpy().sum() if values.device.type == "cpu" else values.sum().item()
    if not math.isfinite(total):
        offenders = (~torch.isfinite(values)).nonzero()
        if len(offenders):
            where = tuple(offenders[0].tolist())
            raise GeometryError(f"{name} contain {values[where].item()} at index {where}")


def check_points(points: Tensor, mesh: Mesh) -> None:
    """Refuses points that do not fit the mesh in shape, device or dtype, or are not finite."""
    _check_coordinates(points, "points")
    if points.device != mesh.vertices.device:
        raise GeometryError(
            f"points are on {points.device} but the mesh on {mesh.vertices.device}; move one with .to()"
        )
    if points.dtype != mesh.vertices.dtype:
        raise GeometryError(
            f"points are {points.dtype} but vertices {mesh.vertices.dtype}; convert one with .to()"
        )
    check_finite(points, "points")


def boundary_edges(faces: Int[Tensor, "face 3"]) -> Int[Tensor, "edge 2"]:
    """Edges that the faces do not run along equally often in both directions; of a closed mesh, none."""
    directed = torch.stack([faces, faces.roll(-1, dims=1)], dim=-1).reshape(-1, 2).long()
    undirected, where = directed.sort(dim=1).values.unique(dim=0, return_inverse=True)
    surplus = torch.zeros(len(undirected), dtype=torch.long, device=faces.device)
    surplus.index_add_(0, where, (directed[:, 1] - directed[:, 0]).sign())
    forward, backward = undirected[surplus > 0], undirected[surplus < 0].flip(1)
    return torch.cat([forward, backward])


def is_closed(faces: Int[Tensor, "face 3"]) -> bool:
    """Whether every directed edge has its twin, so that the surface divides space into inside and outside."""
    start, end = faces.long().flatten(), faces.long().roll(-1, dims=1).flatten()
    base = faces.max() + 1
    return torch.equal((start * base + end).sort().values, (end * base + start).sort().values)


def check_closed(mesh: Mesh) -> None:
    """Refuses meshes without an inside: with holes or seams, with neighbouring faces that turn in opposite
    directions, or with a part that is turned inside out (a cavity within another part may be).

    Raises:
        GeometryError: with the number of open edges, or the part, and the mend.
    """
    if not is_closed(mesh.faces):
        edges = boundary_edges(mesh.faces)
        raise GeometryError(
            f"the mesh is not closed, so it has no inside: {len(edges)} edges lack the face on their other "
            f"side, or it turns the wrong way, the first from vertex {edges[0, 0]} to {edges[0, 1]}; "
            + _mend(mesh, edges)
        )
    inverted, label = inverted_parts(mesh)
    if inverted.any():
        inverted = inverted.reshape(-1, inverted.shape[-1])
        meshes, number = int(inverted.any(dim=1).sum()), int(inverted.any(dim=0).nonzero()[0])
        own = label == number
        if bool(own.all()):
            which, mend = f"{meshes} of {len(inverted)} meshes are", "reverse their faces, faces.flip(-1)"
        else:
            first = int(own.nonzero()[0])
            which = f"part {number + 1} of {inverted.shape[1]}, {int(own.sum())} faces from face {first}, is"
            mend = "reverse the faces of this part (geometry.parts.face_parts), faces.flip(-1)"
        raise GeometryError(f"{which} inside out: {mend}")


def _mend(mesh: Mesh, edges: Int[Tensor, "edge 2"]) -> str:
    """What closes an open mesh: welding where vertices stand in one place, else faces."""
    single = Mesh(mesh.vertices.detach().reshape(-1, *mesh.vertices.shape[-2:])[0], mesh.faces)
    welded = weld_vertices(single)
    fewer = len(mesh.faces.unique()) - len(welded.vertices)
    if fewer and len(boundary_edges(welded.faces)) < len(edges):
        after = "" if is_closed(welded.faces) else "; then close what is still open"
        return (
            f"it has seams, {fewer} vertices stand where another one stands: "
            f"weld them, geometry.parts.weld_vertices(mesh){after}"
        )
    return "close holes with a fan of faces"


def matched_batches(
    points: Float[Tensor, "*points_batch point 3"], mesh: Mesh
) -> tuple[Float[Tensor, "mesh sample 3"], Float[Tensor, "mesh vertex 3"], torch.Size]:
    """Points and vertices of each mesh with one batch dimension, contiguous, and the shape of the answer.

    A single mesh under a batch of points is not repeated: its points become one long list.
    """
    try:
        batch = torch.broadcast_shapes(points.shape[:-2], mesh.vertices.shape[:-2])
    except RuntimeError:
        raise GeometryError(
            f"points come in batches of {tuple(points.shape[:-2])}, "
            f"meshes in batches of {tuple(mesh.vertices.shape[:-2])}"
        ) from None
    shape = torch.Size([*batch, points.shape[-2]])
    vertices = mesh.vertices
    if vertices.shape[:-2].numel() == 1:
        flat_points = points.expand(*shape, 3).reshape(1, shape.numel(), 3)
        return flat_points.contiguous(), vertices.reshape(1, -1, 3).contiguous(), shape
    vertices = vertices.expand(*batch, *vertices.shape[-2:]).flatten(0, -3)
    return points.expand(*shape, 3).flatten(0, -3).contiguous(), vertices.contiguous(), shape

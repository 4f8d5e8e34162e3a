"""Whether a triangle mesh is a closed surface, and what volume it encloses.

Convention  faces turn counter-clockwise seen from outside, so that a proper mesh has positive volume
Units       of the vertices; the volume in their cube
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.structures import Mesh


@dataclass(frozen=True)
class ClosedSurfaceReport:
    """A closed surface without handles has no open edges, no broken rings, and Euler characteristic 2."""

    num_vertices: int
    num_faces: int
    num_open_edges: int
    """Directed edges that do not occur exactly once, or whose reverse does not."""
    euler_characteristic: int
    num_broken_rings: int
    """Vertices whose faces do not form one single ring around them; unused vertices count."""
    volume: Float[Tensor, "*batch"]

    @property
    def is_closed(self) -> bool:
        return self.num_open_edges == 0 and self.num_broken_rings == 0


def enclosed_volume(mesh: Mesh) -> Float[Tensor, "*batch"]:
    """Signed volume by the divergence theorem: tetrahedra from the mean vertex to every face.

    For a closed mesh the reference point cancels out; the mean vertex keeps rounding small. Differentiable.
    """
    vertices = mesh.vertices - mesh.vertices.mean(dim=-2, keepdim=True)
    a, b, c = vertices[..., mesh.faces, :].unbind(dim=-2)
    return (torch.linalg.cross(a, b) * c).sum(dim=-1).sum(dim=-1) / 6


def closed_surface_report(mesh: Mesh) -> ClosedSurfaceReport:
    """Counts on the faces; the volume for each mesh of the batch.

    Raises ValueError where a face names a vertex that does not exist.
    """
    num_vertices = mesh.vertices.shape[-2]
    faces = mesh.faces
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < num_vertices:
        named = f"{int(faces.min())} to {int(faces.max())}"
        raise ValueError(f"faces name vertices {named}, but there are {num_vertices} vertices")
    start = faces.flatten()
    end = faces.roll(-1, dims=1).flatten()
    forward, counts = torch.unique(start * num_vertices + end, return_counts=True)
    backward = torch.unique(end * num_vertices + start)
    num_open = int((counts > 1).sum() + (~torch.isin(forward, backward)).sum())
    num_edges = len(torch.unique(torch.minimum(start, end) * num_vertices + torch.maximum(start, end)))
    return ClosedSurfaceReport(
        num_vertices=num_vertices,
        num_faces=len(faces),
        num_open_edges=num_open,
        euler_characteristic=num_vertices - num_edges + len(faces),
        num_broken_rings=num_vertices - _num_single_rings(faces, num_vertices),
        volume=enclosed_volume(mesh),
    )


def _num_single_rings(faces: Int[Tensor, "face 3"], num_vertices: int) -> int:
    """How many vertices have exactly one closed ring of faces.

    Around a vertex each face leads from its second corner to its third. Corners of a vertex are chained by
    these steps; the ring is single if a walk returns to its start after every face of the vertex, and
    not before. All walks run together.
    """
    corner = torch.arange(3 * len(faces), device=faces.device)
    hub = faces.flatten()
    first = faces.roll(-1, dims=1).flatten()  # the corner after the hub
    last = faces.roll(-2, dims=1).flatten()
    key_first = hub * num_vertices + first
    key_last = hub * num_vertices + last
    order = torch.argsort(key_first)
    position = torch.searchsorted(key_first[order], key_last).clamp(max=max(len(order) - 1, 0))
    following = order[position]
    open_end = key_first[following] != key_last  # no face continues here
    degree = torch.bincount(hub, minlength=num_vertices)
    start = torch.full((num_vertices,), -1, device=faces.device, dtype=torch.long).scatter(0, hub, corner)
    used = start >= 0
    good = used.clone()
    place, length = start.clone(), torch.zeros_like(degree)
    for step in range(1, int(degree.max()) + 1 if len(faces) else 0):
        walking = good & (length == 0)
        good &= ~(walking & open_end[place.clamp(min=0)])
        place = torch.where(walking, following[place.clamp(min=0)], place)
        length = torch.where(walking & (place == start), step, length)
    return int((good & (length == degree)).sum())

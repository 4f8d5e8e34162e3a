"""Connected parts of a mesh: which there are, what each encloses, which of them are turned inside out.

A closed mesh may have several: two hands, a wall around a cavity. A part that is turned inside out takes
solid away. Within another part that is a cavity; anywhere else it is a mistake, and answers about inside and
outside would be wrong there.

Units are whatever the coordinates are in; volumes in their cube.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry.kernels import dense, parts
from hands_lib.structures import Mesh


def face_parts(faces: Int[Tensor, "face 3"]) -> Int[Tensor, " face"]:
    """The part of every face, from 0 in the order of their first faces. Sharing a vertex makes them one."""
    own = faces.long().cpu().contiguous()
    label = torch.empty(len(own), dtype=torch.long)
    if len(own):
        parts.label_parts(own.numpy(), int(own.max()) + 1, label.numpy())
    return label.to(faces.device)


def part_volumes(
    mesh: Mesh, label: Int[Tensor, " face"]
) -> tuple[Float[Tensor, "*batch part"], Float[Tensor, "*batch part"]]:
    """Signed volume of every part, and the volume below which it may be rounding alone: area times what the
    coordinates are rounded to."""
    vertices, faces = mesh.vertices.detach(), mesh.faces.long()
    batch, num_parts = vertices.shape[:-2], int(label.max()) + 1
    flat = vertices.reshape(batch.numel(), *vertices.shape[-2:])
    if flat.device.type == "cpu":
        found = torch.zeros(3, len(flat), num_parts, dtype=torch.double)
        arrays = (flat.contiguous().numpy(), faces.contiguous().numpy(), label.numpy(), *found.numpy())
        parts.part_volumes(*arrays)
        volume, area, reach = found
    else:
        first = torch.full((num_parts,), len(faces), device=faces.device).scatter_reduce(
            0, label, torch.arange(len(faces), device=faces.device), "amin"
        )
        corners = flat.double()[:, faces] - flat.double()[:, faces[first, 0]][:, label, None]
        a, b, c = corners.unbind(dim=2)
        normal = torch.linalg.cross(b - a, c - a)
        zero = corners.new_zeros(len(flat), num_parts)
        where = label.expand(len(flat), -1)
        volume = zero.scatter_add(1, where, (a * torch.linalg.cross(b, c)).sum(dim=-1) / 6)
        area = zero.scatter_add(1, where, normal.norm(dim=-1) / 2)
        reach = zero.scatter_reduce(1, where, corners.abs().amax(dim=(2, 3)), "amax")
    farthest = flat.abs().amax(dim=(1, 2)).double()[:, None]
    rounding = area * (reach * 1e-6 + farthest * 2 * torch.finfo(vertices.dtype).eps)
    return volume.view(*batch, num_parts), rounding.view(*batch, num_parts)


def inverted_parts(mesh: Mesh) -> tuple[Bool[Tensor, "*batch part"], Int[Tensor, " face"]]:
    """Which parts of a closed mesh are turned inside out and are no cavity of another one, and the part of
    every face. A surface without volume is on neither side: it is none."""
    label = face_parts(mesh.faces)
    volume, rounding = part_volumes(mesh, label)
    inverted = volume < -rounding
    if inverted.shape[-1] > 1:
        for part in inverted.reshape(-1, inverted.shape[-1]).any(dim=0).nonzero().flatten().tolist():
            others = mesh.faces.long()[label != part]
            vertices = mesh.vertices.detach().reshape(-1, *mesh.vertices.shape[-2:]).double()
            point = vertices[:, mesh.faces[label == part][:1, 0].long()]
            around = dense.winding_numbers(point, vertices, others).round()[:, 0] > 0
            inverted[..., part] &= ~around.view(inverted.shape[:-1])
    return inverted, label


def weld_vertices(mesh: Mesh, tolerance: float = 0.0) -> Mesh:
    """One vertex in the place of all that stand where it stands, without those that no face uses.

    Textured scans have several where two pieces of their texture meet: they look closed and are not. Faces
    that lose their area go.

    Args:
        mesh: a single one.
        tolerance: coordinates are rounded to multiples of it before they are compared, in their unit; 0 welds
            what is equal.

    Raises:
        ValueError: a batch of meshes, or a negative tolerance.
    """
    if mesh.vertices.ndim != 2 or tolerance < 0:
        raise ValueError(
            f"welding takes one mesh and a tolerance of at least 0, not {tuple(mesh.vertices.shape)} "
            f"vertices and {tolerance}"
        )
    used, faces = mesh.faces.long().unique(return_inverse=True)
    vertices = mesh.vertices[used]
    places = vertices if tolerance == 0 else (vertices / tolerance).round()
    different, which = places.unique(dim=0, return_inverse=True)
    first = torch.full((len(different),), len(vertices), device=vertices.device)
    first = first.scatter_reduce(0, which, torch.arange(len(vertices), device=vertices.device), "amin")
    faces = which[faces]
    whole = (faces != faces.roll(1, dims=1)).all(dim=1)
    return Mesh(vertices[first], faces[whole].to(mesh.faces.dtype))

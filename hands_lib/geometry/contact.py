"""Two closed surfaces: do they meet, where, what do they share, and how far may one move before they meet?

Units are whatever the coordinates are in (metres in this library); no tolerance depends on the scale. Batches
of both surfaces belong together: entry n of one is asked against entry n of the other. The compiled tests run
on the CPU; tensors on another device are brought there and back.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.inside import bounding_box, grid_occupancy, inside
from hands_lib.geometry.kernels import contact
from hands_lib.geometry.kernels.threads import for_ranges
from hands_lib.structures import Mesh


def meeting_parts(
    first: Mesh, second: Mesh, part: Int[Tensor, " face"], num_parts: int
) -> Bool[Tensor, "pair 2 part"]:
    """Which parts of each surface meet the other surface: a face of theirs has a point in common with one of
    its faces. Index 0 is the first surface.

    part  0 to num_parts - 1: to which part a face belongs, for both surfaces, whose faces correspond
    """
    device = first.vertices.device
    vertices = [_array(mesh.vertices) for mesh in (first, second)]
    faces = [_array(mesh.faces) for mesh in (first, second)]
    hits = [np.zeros((len(own), num_parts), dtype=bool) for own in vertices]
    parts = _array(part)

    def search(start: int, stop: int) -> None:
        contact.crossings(start, stop, *vertices, *faces, parts, *hits)

    for_ranges(search, len(vertices[0]), grain=4)
    return torch.from_numpy(np.stack(hits, axis=1)).to(device)


def meet(first: Mesh, second: Mesh) -> Bool[Tensor, " pair"]:
    """Whether two closed surfaces, each in one piece, have a point in common, or one lies inside the other:
    an edge of one meets a face of the other; else they are apart or nested, and one vertex of each tells.
    Two faces in one plane whose bounding boxes overlap count as meeting."""
    one_part = torch.zeros(len(first.faces), dtype=torch.long)
    found = meeting_parts(first, second, one_part, 1).flatten(1).any(dim=1)
    for own, other in ((first, second), (second, first)):
        rest = ~found
        if bool(rest.any()):
            found[rest] = inside(own.vertices[rest, :1], other[rest])[:, 0]
    return found


def clearance(first: Mesh, second: Mesh) -> Float[Tensor, "*batch 2 vertex"]:
    """Signed distance of the vertices of each surface to the other one, negative inside it."""
    to_second = signed_distance(first.vertices, second).distance
    to_first = signed_distance(second.vertices, first).distance
    return torch.stack([to_second, to_first], dim=-2)


def shared_volume(
    first: Mesh, second: Mesh, resolution: int = 48, unit: float = 1.0
) -> Float[Tensor, " pair"]:
    """Volume inside both closed surfaces, float64: cells of a grid over what their bounding boxes share, with
    `resolution` cells along each side of that box.

    unit  of the result, in those of a cube of side 1: 1e6 for cm^3 where coordinates are metres
    """
    boxes = [bounding_box(mesh.vertices.detach()) for mesh in (first, second)]
    low = torch.maximum(boxes[0][0], boxes[1][0])
    high = torch.minimum(boxes[0][1], boxes[1][1])
    rows = (low < high).all(dim=-1).nonzero()[:, 0]
    volume = torch.zeros(len(low), dtype=torch.float64, device=low.device)
    if len(rows) == 0:
        return volume
    # Points in the middles of the cells: each stands for its cell.
    cell = (high[rows] - low[rows]) / resolution
    bounds = low[rows] + cell / 2, high[rows] - cell / 2
    within = [grid_occupancy(mesh[rows], resolution, bounds) for mesh in (first, second)]
    count = (within[0] & within[1]).sum(dim=(1, 2, 3))
    volume[rows] = unit * count * cell.double().prod(dim=-1)
    return volume


def room_along(first: Mesh, second: Mesh, view: Float[Tensor, "3 3"], cell: float) -> Float[Tensor, " pair"]:
    """How far the second surface may move along an axis before it meets the first, coming from far: negative
    where it has to go back, infinite where it would pass.

    view  rows: two directions that span the height maps of both surfaces, then the axis; orthonormal, of
          either handedness
    cell  of the height maps. The result may be too large by a part of it times the slope of the surfaces
    """
    both = torch.stack([first.vertices.detach(), second.vertices.detach()], dim=1)
    seen = both.double() @ view.to(both.device, torch.float64).mT
    arrays = [_array(seen[:, index]) for index in (0, 1)]
    faces = [_array(mesh.faces) for mesh in (first, second)]
    room = np.empty(len(seen))

    def search(start: int, stop: int) -> None:
        contact.sweep(start, stop, *arrays, *faces, cell, room)

    for_ranges(search, len(seen), grain=4)
    return torch.from_numpy(room).to(both)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().contiguous().numpy()

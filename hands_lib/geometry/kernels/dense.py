"""Every point against every face, in plain torch on any device: slow, obvious, and the reference of the fast
ones.

Points (batch, point, 3), vertices (batch, vertex, 3) and faces (face, 3) as the compiled loops take them.
Everything is computed in float64. Points are taken in chunks, so that the temporaries fit into a cache.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Point-face pairs handled at once.
CHUNK = 200_000


def _corners(vertices: Float[Tensor, "batch vertex 3"], faces: Int[Tensor, "face 3"]) -> tuple[Tensor, ...]:
    return vertices.double()[:, faces.long()].unbind(dim=2)


def _chunks(points: Tensor, faces: Tensor) -> tuple[Tensor, ...]:
    return points.detach().double().split(max(1, CHUNK // (len(faces) * max(1, len(points)))), dim=1)


def _on_segment(point: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to a segment, and where on it the closest point is (0 at the start, 1 at the end)."""
    along, to_point = end - start, point - start
    squared = along.square().sum(dim=-1)
    where = ((to_point * along).sum(dim=-1) / squared.clamp(min=torch.finfo(squared.dtype).tiny)).clamp(0, 1)
    return (to_point - where[..., None] * along).square().sum(dim=-1), where


def closest_on_faces(
    point: Float[Tensor, "*batch 3"], a: Float[Tensor, "*batch 3"], b: Float[Tensor, "*batch 3"],
    c: Float[Tensor, "*batch 3"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch 3"]]:  # fmt: skip
    """Squared distance to the triangle a, b, c and the barycentrics of its closest point.

    The point's projection where that is inside, else the closest of the closest points of the edges. A face
    without area counts as its edges.
    """
    normal = torch.linalg.cross(b - a, c - a)
    weights = torch.stack(
        [
            (torch.linalg.cross(c - b, point - b) * normal).sum(dim=-1),
            (torch.linalg.cross(a - c, point - c) * normal).sum(dim=-1),
            (torch.linalg.cross(b - a, point - a) * normal).sum(dim=-1),
        ],
        dim=-1,
    )
    total = weights.sum(dim=-1)
    inside = (weights >= 0).all(dim=-1) & (total > 0)
    weights = weights / torch.where(inside, total, 1)[..., None]
    height = ((point - a) * normal).sum(dim=-1).square() / normal.square().sum(dim=-1).where(inside, 1)

    squared, where = zip(*(_on_segment(point, *ends) for ends in ((a, b), (b, c), (c, a))), strict=True)
    zero = torch.zeros_like(where[0])
    on_edges = torch.stack(
        [
            torch.stack([1 - where[0], where[0], zero], dim=-1),
            torch.stack([zero, 1 - where[1], where[1]], dim=-1),
            torch.stack([where[2], zero, 1 - where[2]], dim=-1),
        ],
        dim=-2,
    )
    outline, edge = torch.stack(squared, dim=-1).min(dim=-1)
    on_edge = on_edges.gather(-2, edge[..., None, None].expand(*edge.shape, 1, 3)).squeeze(-2)
    return torch.where(inside, height, outline), torch.where(inside[..., None], weights, on_edge)


def closest_faces(
    points: Float[Tensor, "batch point 3"],
    vertices: Float[Tensor, "batch vertex 3"],
    faces: Int[Tensor, "face 3"],
) -> Int[Tensor, "batch point"]:
    """Index of the closest face of each point; of several, the lowest."""
    a, b, c = (corner[:, None] for corner in _corners(vertices.detach(), faces))
    found = [closest_on_faces(*torch.broadcast_tensors(chunk[:, :, None], a, b, c))[0].argmin(dim=-1)
             for chunk in _chunks(points, faces)]  # fmt: skip
    return torch.cat(found, dim=1)


def measure_faces(
    points: Float[Tensor, "batch point 3"],
    vertices: Float[Tensor, "batch vertex 3"],
    faces: Int[Tensor, "face 3"],
    face: Int[Tensor, "batch point"],
    winding: Int[Tensor, "batch point"] | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distance to the given face of each point (negative where the winding number is positive), the face,
    barycentrics of the closest point and gradient of the distance, in the dtype of the points."""
    batch = torch.arange(len(points), device=points.device)[:, None, None]
    a, b, c = vertices.detach().double()[batch, faces.long()[face]].unbind(dim=2)
    point = points.detach().double()
    _, weights = closest_on_faces(point, a, b, c)
    rest = (point - a) - weights[..., 1:2] * (b - a) - weights[..., 2:] * (c - a)
    away = rest.norm(dim=-1)
    sign = torch.ones_like(away) if winding is None else torch.where(winding > 0, -1.0, 1.0).to(away)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1, eps=0)
    on_surface = (away == 0)[..., None]
    outwards = sign[..., None] * rest / torch.where(on_surface, 1, away[..., None])
    direction = torch.where(on_surface, normal.nan_to_num(0), outwards)
    return (sign * away).to(points), face, weights.to(points), direction.to(points)


def winding_numbers(
    points: Float[Tensor, "batch point 3"],
    vertices: Float[Tensor, "batch vertex 3"],
    faces: Int[Tensor, "face 3"],
) -> Float[Tensor, "batch point"]:
    """Solid angle of the surface over 4 pi: an integer off a closed mesh (van Oosterom and Strackee,
    1983)."""
    corners = [corner[:, None] for corner in _corners(vertices.detach(), faces)]
    found = []
    for chunk in _chunks(points, faces):
        a, b, c = (corner - chunk[:, :, None] for corner in corners)
        length_a, length_b, length_c = (side.norm(dim=-1) for side in (a, b, c))
        volume = (a * torch.linalg.cross(b, c)).sum(dim=-1)
        plane = (
            length_a * length_b * length_c
            + (a * b).sum(dim=-1) * length_c
            + (b * c).sum(dim=-1) * length_a
            + (c * a).sum(dim=-1) * length_b
        )
        found.append(torch.atan2(volume, plane).sum(dim=-1) / (2 * math.pi))
    return torch.cat(found, dim=1)


def edge_vectors(a: Tensor, b: Tensor, c: Tensor) -> list[Tensor]:
    """`zbuffer._edge_vectors` of faces with the homogeneous corners a, b and c.

    Written out, because `torch.linalg.cross` may round differently from the compiled loops.
    """
    edges = [
        torch.stack(
            [
                p[..., 1] * q[..., 2] - p[..., 2] * q[..., 1],
                p[..., 2] * q[..., 0] - p[..., 0] * q[..., 2],
                p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0],
            ],
            dim=-1,
        )
        for p, q in ((b, c), (c, a), (a, b))
    ]
    across = edges[0]
    turn = (a[..., 0] * across[..., 0] + a[..., 1] * across[..., 1] + a[..., 2] * across[..., 2]).sign()
    return [turn[..., None] * edge for edge in edges]


def occluded(
    rays: Float[Tensor, "batch point 3"],
    ray_depths: Float[Tensor, "batch point"],
    owners: Int[Tensor, "point"],
    homogeneous: Float[Tensor, "batch vertex 3"],
    depths: Float[Tensor, "batch vertex"],
    faces: Int[Tensor, "face 3"],
    near: float,
    slack: float,
) -> Bool[Tensor, "batch point"]:
    """Whether a face stands between the camera and each point: `zbuffer.occluded`, pair by pair."""
    faces = faces.long()
    a, b, c = homogeneous[:, None, faces].unbind(dim=3)
    edges = edge_vectors(a, b, c)
    size = max(1, CHUNK // (len(faces) * max(1, len(rays))))
    found = []
    for ray, depth, owner in zip(
        rays.split(size, 1), ray_depths.split(size, 1), owners.split(size), strict=True
    ):
        x, y, w = ray[:, :, None].unbind(dim=-1)
        sides = [x * edge[..., 0] + y * edge[..., 1] + w * edge[..., 2] for edge in edges]
        total = sides[0] + sides[1] + sides[2]
        z = depths[:, None, faces].unbind(dim=-1)
        face_depth = sides[0] * z[0] + sides[1] * z[1] + sides[2] * z[2]
        sides = torch.stack(sides, dim=-1)
        met = (sides >= 0).all(dim=-1) & (total > 0)
        face_depth = face_depth / total.where(met, 1)
        between = (face_depth > near) & (face_depth < depth[..., None] * (1 - slack))
        own = (owner[:, None, None] == faces).any(dim=-1)
        found.append((met & between & ~own).any(dim=-1))
    return torch.cat(found, dim=1)


def projected_edges(
    vertices: Float[Tensor, "batch vertex 3"], faces: Int[Tensor, "face 3"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The edges of every face as `crossings` takes them, each of shape (batch, face, edge): x, y of the end
    with the lower index and the vector to the other end stacked last, whether the edge is turned round, and
    whether a tie counts as left."""
    faces = faces.long()
    start, end = faces, faces.roll(-1, dims=1)
    flat = vertices.double()[..., :2]
    low, high = flat[:, torch.minimum(start, end)], flat[:, torch.maximum(start, end)]
    along = high - low
    tie = (along[..., 1] < 0) | ((along[..., 1] == 0) & (along[..., 0] > 0))
    return low, along, (start > end).expand(tie.shape), tie


def left_of(
    edges: tuple[Tensor, Tensor, Tensor, Tensor], x: Tensor, y: Tensor
) -> Bool[Tensor, "*batch edge"]:
    """Whether (x, y) is left of each edge as its face runs along it."""
    low, along, turned, tie = edges
    forward, sideways = along[..., 0] * (y - low[..., 1]), along[..., 1] * (x - low[..., 0])
    return ((forward > sideways) | ((forward == sideways) & tie)) ^ turned

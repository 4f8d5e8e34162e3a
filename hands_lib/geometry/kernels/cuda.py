"""Closest faces and winding numbers on a GPU (Triton): every point against every face, in registers.

The loops are those of `closest` and `crossings`, without their pruning: a thread holds a few points and walks
through the faces, whose numbers arrive as broadcasts from the cache, so memory hardly matters and the cost is
that of the instructions. The search is float32 relative to the mesh's centre, the crossings are float64; the
caller evaluates the distance to the chosen face in float64. One launch serves a batch of meshes.

Arguments are those of `dense`: points (batch, point, 3), vertices (batch, vertex, 3), faces (face, 3).
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.kernels import dense

FRAME = tl.constexpr(23)
EDGES = tl.constexpr(27)


@triton.jit
def _search(points, frames, chosen, num_points, num_faces, BLOCK: tl.constexpr):
    mesh = tl.program_id(1).to(tl.int64)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < num_points
    points += mesh * num_points * 3
    frames += mesh * num_faces * FRAME
    x = tl.load(points + index * 3, mask=exists, other=0.0)
    y = tl.load(points + index * 3 + 1, mask=exists, other=0.0)
    z = tl.load(points + index * 3 + 2, mask=exists, other=0.0)
    best = tl.full([BLOCK], float("inf"), tl.float32)
    face_of = tl.zeros([BLOCK], tl.int32)
    for face in range(num_faces):
        frame = frames + face * FRAME
        u = x * tl.load(frame) + y * tl.load(frame + 1) + z * tl.load(frame + 2) + tl.load(frame + 3)
        v = x * tl.load(frame + 4) + y * tl.load(frame + 5) + z * tl.load(frame + 6) + tl.load(frame + 7)
        height = (
            x * tl.load(frame + 8) + y * tl.load(frame + 9) + z * tl.load(frame + 10) + tl.load(frame + 11)
        )
        dx1, dy1 = tl.load(frame + 13), tl.load(frame + 14)
        dx2, dy2 = tl.load(frame + 18), tl.load(frame + 19)
        s1 = u * dx1 + v * dy1 + tl.load(frame + 15)
        w1 = v * dx1 - u * dy1 + tl.load(frame + 16)
        s2 = u * dx2 + v * dy2 + tl.load(frame + 20)
        w2 = v * dx2 - u * dy2 + tl.load(frame + 21)
        inside = tl.minimum(v, tl.minimum(w1, w2)) >= 0.0
        s0 = u - tl.minimum(tl.maximum(u, 0.0), tl.load(frame + 12))
        s1 -= tl.minimum(tl.maximum(s1, 0.0), tl.load(frame + 17))
        s2 -= tl.minimum(tl.maximum(s2, 0.0), tl.load(frame + 22))
        outline = tl.minimum(s0 * s0 + v * v, tl.minimum(s1 * s1 + w1 * w1, s2 * s2 + w2 * w2))
        squared = height * height + tl.where(inside, 0.0, outline)
        closer = squared < best
        best = tl.where(closer, squared, best)
        face_of = tl.where(closer, face, face_of)
    tl.store(chosen + mesh * num_points + index, face_of, mask=exists)


@triton.jit
def _side(edge, x, y):
    """1 where (x, y) is left of the edge as its face runs along it, -1 where it is right of it."""
    forward = tl.load(edge + 2) * (y - tl.load(edge + 1))
    sideways = tl.load(edge + 3) * (x - tl.load(edge))
    side = tl.where(forward > sideways, 1.0, tl.where(forward < sideways, -1.0, tl.load(edge + 5)))
    return side * tl.load(edge + 4)


@triton.jit
def _count(points, edges, winding, num_points, num_faces, BLOCK: tl.constexpr):
    mesh = tl.program_id(1).to(tl.int64)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = index < num_points
    points += mesh * num_points * 3
    edges += mesh * num_faces * EDGES
    x = tl.load(points + index * 3, mask=exists, other=0.0)
    y = tl.load(points + index * 3 + 1, mask=exists, other=0.0)
    z = tl.load(points + index * 3 + 2, mask=exists, other=0.0)
    total = tl.zeros([BLOCK], tl.int32)
    for face in range(num_faces):
        edge = edges + face * EDGES
        sides = _side(edge, x, y) + _side(edge + 6, x, y) + _side(edge + 12, x, y)
        crossing = tl.where(sides > 2.5, 1, tl.where(sides < -2.5, -1, 0))
        ax, ay, az = tl.load(edge + 18) - x, tl.load(edge + 19) - y, tl.load(edge + 20) - z
        bx, by, bz = tl.load(edge + 21) - x, tl.load(edge + 22) - y, tl.load(edge + 23) - z
        cx, cy, cz = tl.load(edge + 24) - x, tl.load(edge + 25) - y, tl.load(edge + 26) - z
        below = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
        total += tl.where(tl.where(crossing > 0, below, -below) > 0.0, crossing, 0)
    tl.store(winding + mesh * num_points + index, total, mask=exists)


def _launch(kernel, points: Tensor, table: Tensor, num_faces: int) -> Int[Tensor, "batch point"]:
    batch, num_points, _ = points.shape
    result = torch.zeros(batch, num_points, dtype=torch.int32, device=points.device)
    # Four points a thread share the loads of a face; small clouds need the threads more.
    block = 512 if batch * num_points >= 1 << 17 else 128
    if result.numel():
        kernel[(triton.cdiv(num_points, block), batch)](
            points.contiguous(),
            table.contiguous(),
            result,
            num_points,
            num_faces,
            BLOCK=block,
            num_warps=4,
            enable_fp_fusion=True,
        )
    return result.long()


def closest_faces(
    points: Float[Tensor, "batch point 3"],
    vertices: Float[Tensor, "batch vertex 3"],
    faces: Int[Tensor, "face 3"],
) -> Int[Tensor, "batch point"]:
    """Index of the closest face of each point, up to rounding by about 1e-7 of the mesh's size."""
    centre = vertices.double().mean(dim=1, keepdim=True)
    relative = (points.double() - centre).float()
    frames = face_frames(vertices.double() - centre, faces).float()
    return _launch(_search, relative, frames, len(faces))


def winding_numbers(
    points: Float[Tensor, "batch point 3"],
    vertices: Float[Tensor, "batch vertex 3"],
    faces: Int[Tensor, "face 3"],
) -> Int[Tensor, "batch point"]:
    """How often the closed surface encloses each point."""
    low, along, turned, tie = dense.projected_edges(vertices, faces)
    signs = 1 - 2 * turned.double(), 2 * tie.double() - 1
    edges = torch.cat([low, along, *(sign[..., None] for sign in signs)], dim=-1)
    table = torch.cat([edges.flatten(-2), vertices.double()[:, faces.long()].flatten(-2)], dim=-1)
    return _launch(_count, points.double(), table, len(faces))


def face_frames(
    vertices: Float[Tensor, "batch vertex 3"], faces: Int[Tensor, "face 3"]
) -> Float[Tensor, "batch face 23"]:
    """The table of `closest.prepare_search` in torch."""
    corners = vertices[:, faces.long()]
    longest = (corners.roll(-1, dims=2) - corners).norm(dim=-1).argmax(dim=-1)
    turn = (longest[..., None] + torch.arange(3, device=faces.device)) % 3
    a, b, c = corners.gather(2, turn[..., None].expand_as(corners)).unbind(dim=2)
    size = (b - a).norm(dim=-1, keepdim=True)
    x_axis = torch.where(size > 0, (b - a) / size, torch.eye(3, dtype=a.dtype, device=a.device)[0])
    third = c - a
    along = (third * x_axis).sum(dim=-1, keepdim=True)
    across = third - along * x_axis
    height = across.norm(dim=-1, keepdim=True)
    without_area = height <= 1e-12 * size
    helper = torch.eye(3, dtype=a.dtype, device=a.device)[(x_axis[..., 2].abs() < 0.5).long() * 2]
    across = torch.where(without_area, torch.linalg.cross(x_axis, helper), across)
    height = height.where(~without_area, 0)
    y_axis = torch.nn.functional.normalize(across, dim=-1, eps=0)
    normal = torch.linalg.cross(x_axis, y_axis)
    parts = []
    for axis in (x_axis, y_axis, normal):
        parts += [axis, -(a * axis).sum(dim=-1, keepdim=True)]
    parts.append(size)
    zero = torch.zeros_like(size)
    for (from_x, from_y), (dx, dy) in (
        ((size, zero), (along - size, height)),
        ((along, height), (-along, -height)),
    ):
        side = torch.hypot(dx, dy)
        dx, dy = torch.where(side > 0, dx / side, 1.0), torch.where(side > 0, dy / side, 0.0)
        inwards = (from_x * dy - from_y * dx).masked_fill(without_area, -torch.inf)
        parts += [dx, dy, -(from_x * dx + from_y * dy), inwards, side]
    return torch.cat(parts, dim=-1)

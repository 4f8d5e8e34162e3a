"""Vertices from a skeleton on the CPU, and their adjoint: the sum of `evaluation`, compiled with Numba.

Hands go through the loops sixteen at a time, see `hand.lanes`. A second derivative is asked of plain
torch: the backward pass then differentiates `evaluation`.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hands_lib.geometry.kernels.threads import compiled
from hands_lib.hand.lanes import FAST, LANES, MATRIX, POINT, POSITIVE, hand_rows, load, run_tiles, store
from hands_lib.hand.surface import evaluation
from hands_lib.hand.surface.template import template
from hands_lib.hand.surface.topology import SurfaceParameters

_JOINTS, _FRAMES, _STATIONS = 21, 21, 23


@cache
def _tables(parameters: SurfaceParameters, dtype: torch.dtype) -> tuple[NDArray, ...]:
    """The template as the loops read it, in the order of their arguments.

    What belongs to vertex v lies between starts[v] and starts[v + 1]; indices are those of a tile's flat
    arrays; terms with the same thickness share a row of it.
    """
    full = template(parameters)
    floats = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
    weights = full.joint_weights.numpy()
    vertex, joint = np.nonzero(weights)
    used = (full.offset != 0).any(dim=-1).numpy()
    stations = torch.cat([full.size[..., None], full.station, full.station_share[..., None]], dim=-1).numpy()
    thickness, row = np.unique(stations[used], axis=0, return_inverse=True)
    terms = np.stack([full.frame.numpy()[used] * MATRIX, row.ravel() * POINT], axis=-1)

    def starts(counts):
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    return (
        full.blended.numpy() * MATRIX, full.blend_share.numpy().astype(floats),
        thickness[:, :3].astype(np.int64) * LANES, thickness[:, 3].astype(floats),
        full.rest_sizes.numpy().astype(floats),
        starts(np.bincount(vertex, minlength=len(weights))), joint * POINT,
        weights[vertex, joint].astype(floats),
        starts(used.sum(axis=1)), terms, full.offset.numpy()[used].astype(floats),
    )  # fmt: skip


@compiled(fastmath=FAST)
def _blend(frames, p, q, share, r):
    """Frame r between frames p and q."""
    p, q, r = p & POSITIVE, q & POSITIVE, r & POSITIVE
    one = frames.dtype.type(1)
    b, a = share, one - share
    for h in range(LANES):
        x0 = a * frames[p + h] + b * frames[q + h]
        x1 = a * frames[p + 48 + h] + b * frames[q + 48 + h]
        x2 = a * frames[p + 96 + h] + b * frames[q + 96 + h]
        y0 = a * frames[p + 16 + h] + b * frames[q + 16 + h]
        y1 = a * frames[p + 64 + h] + b * frames[q + 64 + h]
        y2 = a * frames[p + 112 + h] + b * frames[q + 112 + h]
        scale = one / np.sqrt(y0 * y0 + y1 * y1 + y2 * y2)
        y0, y1, y2 = y0 * scale, y1 * scale, y2 * scale
        along = x0 * y0 + x1 * y1 + x2 * y2
        x0, x1, x2 = x0 - along * y0, x1 - along * y1, x2 - along * y2
        scale = one / np.sqrt(x0 * x0 + x1 * x1 + x2 * x2)
        x0, x1, x2 = x0 * scale, x1 * scale, x2 * scale
        frames[r + h], frames[r + 48 + h], frames[r + 96 + h] = x0, x1, x2
        frames[r + 16 + h], frames[r + 64 + h], frames[r + 112 + h] = y0, y1, y2
        frames[r + 32 + h] = x1 * y2 - x2 * y1
        frames[r + 80 + h] = x2 * y0 - x0 * y2
        frames[r + 128 + h] = x0 * y1 - x1 * y0


@compiled(fastmath=FAST)
def _blend_adjoint(frames, grads, p, q, share, r, t):
    """Writes the gradients of the mixed columns to t, as x0 x1 x2 y0 y1 y2."""
    p, q, r = p & POSITIVE, q & POSITIVE, r & POSITIVE
    one = frames.dtype.type(1)
    b, a = share, one - share
    for h in range(LANES):
        v0 = a * frames[p + h] + b * frames[q + h]
        v1 = a * frames[p + 48 + h] + b * frames[q + 48 + h]
        v2 = a * frames[p + 96 + h] + b * frames[q + 96 + h]
        y0 = a * frames[p + 16 + h] + b * frames[q + 16 + h]
        y1 = a * frames[p + 64 + h] + b * frames[q + 64 + h]
        y2 = a * frames[p + 112 + h] + b * frames[q + 112 + h]
        y_scale = one / np.sqrt(y0 * y0 + y1 * y1 + y2 * y2)
        y0, y1, y2 = y0 * y_scale, y1 * y_scale, y2 * y_scale
        along = v0 * y0 + v1 * y1 + v2 * y2
        x0, x1, x2 = v0 - along * y0, v1 - along * y1, v2 - along * y2
        x_scale = one / np.sqrt(x0 * x0 + x1 * x1 + x2 * x2)
        x0, x1, x2 = x0 * x_scale, x1 * x_scale, x2 * x_scale
        z0, z1, z2 = grads[r + 32 + h], grads[r + 80 + h], grads[r + 128 + h]
        # z is x cross y
        gx0 = grads[r + h] + y1 * z2 - y2 * z1
        gx1 = grads[r + 48 + h] + y2 * z0 - y0 * z2
        gx2 = grads[r + 96 + h] + y0 * z1 - y1 * z0
        gy0 = grads[r + 16 + h] + z1 * x2 - z2 * x1
        gy1 = grads[r + 64 + h] + z2 * x0 - z0 * x2
        gy2 = grads[r + 112 + h] + z0 * x1 - z1 * x0
        # x is normalised, after its part along y was taken off
        dot = gx0 * x0 + gx1 * x1 + gx2 * x2
        gx0, gx1, gx2 = (gx0 - dot * x0) * x_scale, (gx1 - dot * x1) * x_scale, (gx2 - dot * x2) * x_scale
        dot = gx0 * y0 + gx1 * y1 + gx2 * y2
        gy0 -= along * gx0 + dot * v0
        gy1 -= along * gx1 + dot * v1
        gy2 -= along * gx2 + dot * v2
        t[h], t[16 + h], t[32 + h] = gx0 - dot * y0, gx1 - dot * y1, gx2 - dot * y2
        # y is normalised
        dot = gy0 * y0 + gy1 * y1 + gy2 * y2
        t[48 + h], t[64 + h] = (gy0 - dot * y0) * y_scale, (gy1 - dot * y1) * y_scale
        t[80 + h] = (gy2 - dot * y2) * y_scale


@compiled(fastmath=FAST)
def _add_columns(grads, p, t, factor):
    p = p & POSITIVE
    for h in range(LANES):
        grads[p + h] += factor * t[h]
        grads[p + 48 + h] += factor * t[16 + h]
        grads[p + 96 + h] += factor * t[32 + h]
        grads[p + 16 + h] += factor * t[48 + h]
        grads[p + 64 + h] += factor * t[64 + h]
        grads[p + 112 + h] += factor * t[80 + h]


@compiled(fastmath=FAST)
def _add_length(joints, p, q, factor, sizes, s):
    p, q, s = p & POSITIVE, q & POSITIVE, s & POSITIVE
    for h in range(LANES):
        x = joints[q + h] - joints[p + h]
        y = joints[q + 16 + h] - joints[p + 16 + h]
        z = joints[q + 32 + h] - joints[p + 32 + h]
        sizes[s + h] += factor * np.sqrt(x * x + y * y + z * z)


@compiled(fastmath=FAST)
def _length_adjoint(joints, p, q, factor, size_grads, s, grads, t):
    p, q, s = p & POSITIVE, q & POSITIVE, s & POSITIVE
    one = joints.dtype.type(1)
    for h in range(LANES):
        x = joints[q + h] - joints[p + h]
        y = joints[q + 16 + h] - joints[p + 16 + h]
        z = joints[q + 32 + h] - joints[p + 32 + h]
        length = np.sqrt(x * x + y * y + z * z)
        scale = factor * size_grads[s + h] / (length if length > 0 else one)
        t[h], t[16 + h], t[32 + h] = scale * x, scale * y, scale * z
    for i in range(POINT):
        grads[q + i] += t[i]
    for i in range(POINT):
        grads[p + i] -= t[i]


@compiled(fastmath=FAST)
def _measure(joints, rest_sizes, sizes):
    """Relative sizes of digits and palm."""
    half = rest_sizes.dtype.type(0.5)
    sizes[:] = 0
    palm = 5 * LANES
    for digit in range(1, 5):
        _add_length(joints, 0, (4 * digit + 1) * POINT, half * half / rest_sizes[5], sizes, palm)
    for digit in range(5):
        own = digit * LANES
        for joint in range(4 * digit + 1, 4 * digit + 4):
            _add_length(joints, joint * POINT, (joint + 1) * POINT, half / rest_sizes[digit], sizes, own)
        for h in range(LANES):
            sizes[own + h] += half * sizes[palm + h]


@compiled(fastmath=FAST)
def _measure_adjoint(joints, rest_sizes, size_grads, grads, t):
    half = rest_sizes.dtype.type(0.5)
    palm = 5 * LANES
    for digit in range(5):
        for h in range(LANES):
            size_grads[palm + h] += half * size_grads[digit * LANES + h]
    for digit in range(1, 5):
        factor = half * half / rest_sizes[5]
        _length_adjoint(joints, 0, (4 * digit + 1) * POINT, factor, size_grads, palm, grads, t)
    for digit in range(5):
        factor = half / rest_sizes[digit]
        for joint in range(4 * digit + 1, 4 * digit + 4):
            start, end = joint * POINT, (joint + 1) * POINT
            _length_adjoint(joints, start, end, factor, size_grads, digit * LANES, grads, t)


@compiled(fastmath=FAST)
def _add_weighted(target, p, source, q, weight):
    p, q = p & POSITIVE, q & POSITIVE
    for i in range(POINT):
        target[p + i] += weight * source[q + i]


@compiled(fastmath=FAST)
def _thickness(sizes, s, wide, deep, low, high, share, rows, r):
    """Row r of what offsets are multiplied with, along x, y and z."""
    s, low, high, r = s & POSITIVE, low & POSITIVE, high & POSITIVE, r & POSITIVE
    b, a = share, sizes.dtype.type(1) - share
    for h in range(LANES):
        rows[r + h] = sizes[s + h] * (a * wide[low + h] + b * wide[high + h])
        rows[r + 16 + h] = sizes[s + h]
        rows[r + 32 + h] = sizes[s + h] * (a * deep[low + h] + b * deep[high + h])


@compiled(fastmath=FAST)
def _thickness_adjoint(sizes, size_grads, s, wide, deep, low, high, share, grads, r, wide_grads, deep_grads):
    b, a = share, sizes.dtype.type(1) - share
    for h in range(LANES):
        gx, gy, gz, size = grads[r + h], grads[r + 16 + h], grads[r + 32 + h], sizes[s + h]
        x, z = a * wide[low + h] + b * wide[high + h], a * deep[low + h] + b * deep[high + h]
        size_grads[s + h] += gx * x + gy + gz * z
        wide_grads[low + h] += a * gx * size
        wide_grads[high + h] += b * gx * size
        deep_grads[low + h] += a * gz * size
        deep_grads[high + h] += b * gz * size


@compiled(fastmath=FAST)
def _add_turned(frames, f, x, y, z, rows, r, out, v):
    f, r, v = f & POSITIVE, r & POSITIVE, v & POSITIVE
    for h in range(LANES):
        dx, dy, dz = x * rows[r + h], y * rows[r + 16 + h], z * rows[r + 32 + h]
        out[v + h] += frames[f + h] * dx + frames[f + 16 + h] * dy + frames[f + 32 + h] * dz
        out[v + 16 + h] += frames[f + 48 + h] * dx + frames[f + 64 + h] * dy + frames[f + 80 + h] * dz
        out[v + 32 + h] += frames[f + 96 + h] * dx + frames[f + 112 + h] * dy + frames[f + 128 + h] * dz


@compiled(fastmath=FAST)
def _turned_adjoint(frames, f, x, y, z, rows, r, out_grads, v, frame_grads, row_grads):
    f, r, v = f & POSITIVE, r & POSITIVE, v & POSITIVE
    for h in range(LANES):
        dx, dy, dz = x * rows[r + h], y * rows[r + 16 + h], z * rows[r + 32 + h]
        g0, g1, g2 = out_grads[v + h], out_grads[v + 16 + h], out_grads[v + 32 + h]
        frame_grads[f + h] += g0 * dx
        frame_grads[f + 16 + h] += g0 * dy
        frame_grads[f + 32 + h] += g0 * dz
        frame_grads[f + 48 + h] += g1 * dx
        frame_grads[f + 64 + h] += g1 * dy
        frame_grads[f + 80 + h] += g1 * dz
        frame_grads[f + 96 + h] += g2 * dx
        frame_grads[f + 112 + h] += g2 * dy
        frame_grads[f + 128 + h] += g2 * dz
    for h in range(LANES):
        g0, g1, g2 = out_grads[v + h], out_grads[v + 16 + h], out_grads[v + 32 + h]
        row_grads[r + h] += x * (frames[f + h] * g0 + frames[f + 48 + h] * g1 + frames[f + 96 + h] * g2)
        row_grads[r + 16 + h] += y * (
            frames[f + 16 + h] * g0 + frames[f + 64 + h] * g1 + frames[f + 112 + h] * g2
        )
        row_grads[r + 32 + h] += z * (
            frames[f + 32 + h] * g0 + frames[f + 80 + h] * g1 + frames[f + 128 + h] * g2
        )


@compiled(fastmath=FAST)
def _prepare(
    joints, root, bones, widths, depths, blended, blend_share, thickness, thickness_share, rest_sizes, first,
    lanes_joints, frames, wide, deep, sizes, rows,
):  # fmt: skip
    """Loads one tile, and what many vertices share: frames between bones, sizes, rows of thickness."""
    load(lanes_joints, joints, first)
    load(frames, root, first)
    load(frames[MATRIX:], bones, first)
    load(wide, widths, first)
    load(deep, depths, first)
    for k in range(len(blended)):
        _blend(frames, blended[k, 0], blended[k, 1], blend_share[k], (_FRAMES + k) * MATRIX)
    _measure(lanes_joints, rest_sizes, sizes)
    for k in range(len(thickness)):
        size, low, high = thickness[k, 0], thickness[k, 1], thickness[k, 2]
        _thickness(sizes, size, wide, deep, low, high, thickness_share[k], rows, k * POINT)


@compiled(fastmath=FAST)
def _forward(
    joints, root, bones, widths, depths, blended, blend_share, thickness, thickness_share, rest_sizes,
    joint_starts, joint_index, joint_weights, term_starts, terms, offsets, vertices, first_tile, last_tile,
):  # fmt: skip
    num, dtype = len(joint_starts) - 1, vertices.dtype
    lanes_joints, sizes = np.empty(_JOINTS * POINT, dtype), np.empty(6 * LANES, dtype)
    frames, rows = (
        np.empty((_FRAMES + len(blended)) * MATRIX, dtype),
        np.empty(len(thickness) * POINT, dtype),
    )
    wide, deep = np.empty(_STATIONS * LANES, dtype), np.empty(_STATIONS * LANES, dtype)
    out = np.empty(num * POINT, dtype)
    for tile in range(first_tile, last_tile):
        _prepare(
            joints, root, bones, widths, depths, blended, blend_share, thickness, thickness_share, rest_sizes,
            tile * LANES, lanes_joints, frames, wide, deep, sizes, rows,
        )  # fmt: skip
        out[:] = 0
        for v in range(num):
            for k in range(joint_starts[v], joint_starts[v + 1]):
                _add_weighted(out, v * POINT, lanes_joints, joint_index[k], joint_weights[k])
            for k in range(term_starts[v], term_starts[v + 1]):
                x, y, z = offsets[k, 0], offsets[k, 1], offsets[k, 2]
                _add_turned(frames, terms[k, 0], x, y, z, rows, terms[k, 1], out, v * POINT)
        store(out, vertices, tile * LANES)


@compiled(fastmath=FAST)
def _backward(
    joints, root, bones, widths, depths, blended, blend_share, thickness, thickness_share, rest_sizes,
    joint_starts, joint_index, joint_weights, term_starts, terms, offsets, grad, grad_joints, grad_root,
    grad_bones, grad_widths, grad_depths, first_tile, last_tile,
):  # fmt: skip
    num, dtype = len(joint_starts) - 1, grad.dtype
    lanes_joints, sizes = np.empty(_JOINTS * POINT, dtype), np.empty(6 * LANES, dtype)
    frames, rows = (
        np.empty((_FRAMES + len(blended)) * MATRIX, dtype),
        np.empty(len(thickness) * POINT, dtype),
    )
    wide, deep = np.empty(_STATIONS * LANES, dtype), np.empty(_STATIONS * LANES, dtype)
    g, t = np.empty(num * POINT, dtype), np.empty(6 * LANES, dtype)
    g_joints, g_sizes, g_frames = np.empty_like(lanes_joints), np.empty_like(sizes), np.empty_like(frames)
    g_wide, g_deep, g_rows = np.empty_like(wide), np.empty_like(deep), np.empty_like(rows)
    for tile in range(first_tile, last_tile):
        first = tile * LANES
        _prepare(
            joints, root, bones, widths, depths, blended, blend_share, thickness, thickness_share, rest_sizes,
            first, lanes_joints, frames, wide, deep, sizes, rows,
        )  # fmt: skip
        load(g, grad, first)
        for sums in (g_joints, g_sizes, g_frames, g_wide, g_deep, g_rows):
            sums[:] = 0
        for v in range(num):
            for k in range(joint_starts[v], joint_starts[v + 1]):
                _add_weighted(g_joints, joint_index[k], g, v * POINT, joint_weights[k])
            for k in range(term_starts[v], term_starts[v + 1]):
                x, y, z = offsets[k, 0], offsets[k, 1], offsets[k, 2]
                _turned_adjoint(
                    frames, terms[k, 0], x, y, z, rows, terms[k, 1], g, v * POINT, g_frames, g_rows
                )
        for k in range(len(thickness)):
            size, low, high = thickness[k, 0], thickness[k, 1], thickness[k, 2]
            _thickness_adjoint(
                sizes,
                g_sizes,
                size,
                wide,
                deep,
                low,
                high,
                thickness_share[k],
                g_rows,
                k * POINT,
                g_wide,
                g_deep,
            )
        _measure_adjoint(lanes_joints, rest_sizes, g_sizes, g_joints, t)
        for k in range(len(blended)):
            p, q, share = blended[k, 0], blended[k, 1], blend_share[k]
            _blend_adjoint(frames, g_frames, p, q, share, (_FRAMES + k) * MATRIX, t)
            _add_columns(g_frames, p, t, blend_share.dtype.type(1) - share)
            _add_columns(g_frames, q, t, share)
        store(g_joints, grad_joints, first)
        store(g_frames, grad_root, first)
        store(g_frames[MATRIX:], grad_bones, first)
        store(g_wide, grad_widths, first)
        store(g_deep, grad_depths, first)


def surface_vertices(
    joints: Float[Tensor, "*batch 21 3"],
    root: Float[Tensor, "*batch 3 3"],
    bones: Float[Tensor, "*batch 5 4 3 3"],
    widths: Float[Tensor, "*batch 23"],
    depths: Float[Tensor, "*batch 23"],
    parameters: SurfaceParameters,
) -> Float[Tensor, "*batch vertex 3"]:
    """`evaluation.surface_vertices` for tensors on the CPU, all float32 or all float64."""
    return _Surface.apply(joints, root, bones, widths, depths, parameters)


class _Surface(torch.autograd.Function):
    @staticmethod
    def forward(ctx, joints, root, bones, widths, depths, parameters):
        ctx.save_for_backward(joints, root, bones, widths, depths)
        ctx.parameters = parameters
        batch, num = joints.shape[:-2], joints.shape[:-2].numel()
        vertices = joints.new_empty(*batch, parameters.num_vertices, 3)
        inputs = [hand_rows(tensor, num) for tensor in (joints, root, bones, widths, depths)]
        arguments = (*inputs, *_tables(parameters, joints.dtype), hand_rows(vertices, num))
        run_tiles(_forward, arguments, num)
        return vertices

    @staticmethod
    def backward(ctx, grad):
        inputs = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated again
            plain = template(ctx.parameters).to(grad.dtype)
            vertices = evaluation.surface_vertices(*inputs, plain)
            wanted = [tensor for tensor, needed in zip(inputs, ctx.needs_input_grad, strict=False) if needed]
            found = iter(torch.autograd.grad(vertices, wanted, grad, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:5]), None
        num = grad.shape[:-2].numel()
        grads = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in inputs]
        arguments = (
            *(hand_rows(tensor, num) for tensor in inputs),
            *_tables(ctx.parameters, grad.dtype),
            *(hand_rows(tensor, num) for tensor in (grad, *grads)),
        )
        run_tiles(_backward, arguments, num)
        return *grads, None

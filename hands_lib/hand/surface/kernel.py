"""Vertices from a skeleton on the CPU, and their adjoint: the sum of `evaluation`, compiled with Numba.

Sixteen hands go side by side through every step, one in each lane of the vector registers, so that a step is a
few instructions for all of them. All arrays of such a tile are flat, with the lanes innermost, and the loops
over lanes are short and read from few arrays: only then does the compiler vectorise them. A last tile that is
not full repeats its last hand.

A second derivative is asked of plain torch: the backward pass then differentiates `evaluation`.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hands_lib.geometry.kernels.threads import compiled, for_ranges
from hands_lib.hand.surface import evaluation
from hands_lib.hand.surface.template import template
from hands_lib.hand.surface.topology import SurfaceParameters

_LANES = 16
_MATRIX = 9 * _LANES
_POINT = 3 * _LANES
_GRAIN = 4  # tiles worth a thread of their own


@dataclass(frozen=True)
class _Tables:
    """The template as the loops read it: what belongs to vertex v lies between starts[v] and starts[v + 1]."""

    blended: NDArray
    blend_share: NDArray
    joint_starts: NDArray
    joints: NDArray
    joint_weights: NDArray
    term_starts: NDArray
    terms: NDArray
    """frame, size, lower station, upper station"""
    offsets: NDArray
    """x, y, z, share of the upper station"""
    rest_sizes: NDArray

    def arguments(self) -> tuple[NDArray, ...]:
        return (
            self.blended, self.blend_share, self.joint_starts, self.joints, self.joint_weights,
            self.term_starts, self.terms, self.offsets, self.rest_sizes,
        )  # fmt: skip


@cache
def _tables(parameters: SurfaceParameters, dtype: torch.dtype) -> _Tables:
    full = template(parameters)
    floats = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
    weights = full.joint_weights.numpy()
    vertex, joint = np.nonzero(weights)
    used = (full.offset != 0).any(dim=-1).numpy()
    terms = torch.cat([full.frame[..., None], full.size[..., None], full.station], dim=-1).numpy()
    offsets = torch.cat([full.offset, full.station_share[..., None]], dim=-1).numpy()

    def starts(counts):
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    return _Tables(
        full.blended.numpy(), full.blend_share.numpy().astype(floats),
        starts(np.bincount(vertex, minlength=len(weights))), joint, weights[vertex, joint].astype(floats),
        starts(used.sum(axis=1)), np.ascontiguousarray(terms[used]), offsets[used].astype(floats),
        full.rest_sizes.numpy().astype(floats),
    )  # fmt: skip


@compiled(inline="always")
def _part(array, index, size):
    return array[index * size : (index + 1) * size]


@compiled()
def _load(lanes, rows, first):
    """Values of sixteen hands, from one row per hand to one column per hand."""
    last = len(rows) - 1
    for h in range(_LANES):
        row = rows[min(first + h, last)]
        for i in range(len(row)):
            lanes[i * _LANES + h] = row[i]


@compiled()
def _store(lanes, rows, first):
    for h in range(min(_LANES, len(rows) - first)):
        row = rows[first + h]
        for i in range(len(row)):
            row[i] = lanes[i * _LANES + h]


@compiled()
def _blend(first, second, share, out):
    one = share.dtype.type(1)
    b = share[0]
    a = one - b
    for h in range(_LANES):
        x0, x1, x2 = (a * first[h] + b * second[h], a * first[48 + h] + b * second[48 + h],
                      a * first[96 + h] + b * second[96 + h])  # fmt: skip
        y0, y1, y2 = (a * first[16 + h] + b * second[16 + h], a * first[64 + h] + b * second[64 + h],
                      a * first[112 + h] + b * second[112 + h])  # fmt: skip
        scale = one / np.sqrt(y0 * y0 + y1 * y1 + y2 * y2)
        y0, y1, y2 = y0 * scale, y1 * scale, y2 * scale
        along = x0 * y0 + x1 * y1 + x2 * y2
        x0, x1, x2 = x0 - along * y0, x1 - along * y1, x2 - along * y2
        scale = one / np.sqrt(x0 * x0 + x1 * x1 + x2 * x2)
        x0, x1, x2 = x0 * scale, x1 * scale, x2 * scale
        out[h], out[48 + h], out[96 + h] = x0, x1, x2
        out[16 + h], out[64 + h], out[112 + h] = y0, y1, y2
        out[32 + h], out[80 + h], out[128 + h] = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0


@compiled()
def _blend_adjoint(first, second, share, grad, t):
    """Writes the gradients of the mixed x and y columns to t, as x0 x1 x2 y0 y1 y2; `grad` is the result's."""
    one = share.dtype.type(1)
    b = share[0]
    a = one - b
    for h in range(_LANES):
        v0, v1, v2 = (a * first[h] + b * second[h], a * first[48 + h] + b * second[48 + h],
                      a * first[96 + h] + b * second[96 + h])  # fmt: skip
        y0, y1, y2 = (a * first[16 + h] + b * second[16 + h], a * first[64 + h] + b * second[64 + h],
                      a * first[112 + h] + b * second[112 + h])  # fmt: skip
        y_scale = one / np.sqrt(y0 * y0 + y1 * y1 + y2 * y2)
        y0, y1, y2 = y0 * y_scale, y1 * y_scale, y2 * y_scale
        along = v0 * y0 + v1 * y1 + v2 * y2
        x0, x1, x2 = v0 - along * y0, v1 - along * y1, v2 - along * y2
        x_scale = one / np.sqrt(x0 * x0 + x1 * x1 + x2 * x2)
        x0, x1, x2 = x0 * x_scale, x1 * x_scale, x2 * x_scale
        z0, z1, z2 = grad[32 + h], grad[80 + h], grad[128 + h]
        # z = x cross y
        gx0, gx1, gx2 = (grad[h] + y1 * z2 - y2 * z1, grad[48 + h] + y2 * z0 - y0 * z2,
                         grad[96 + h] + y0 * z1 - y1 * z0)  # fmt: skip
        gy0, gy1, gy2 = (grad[16 + h] + z1 * x2 - z2 * x1, grad[64 + h] + z2 * x0 - z0 * x2,
                         grad[112 + h] + z0 * x1 - z1 * x0)  # fmt: skip
        # x is normalised, after the part along y was taken off
        dot = gx0 * x0 + gx1 * x1 + gx2 * x2
        gx0, gx1, gx2 = (gx0 - dot * x0) * x_scale, (gx1 - dot * x1) * x_scale, (gx2 - dot * x2) * x_scale
        dot = gx0 * y0 + gx1 * y1 + gx2 * y2
        gy0, gy1, gy2 = (gy0 - along * gx0 - dot * v0, gy1 - along * gx1 - dot * v1,
                         gy2 - along * gx2 - dot * v2)  # fmt: skip
        t[h], t[16 + h], t[32 + h] = gx0 - dot * y0, gx1 - dot * y1, gx2 - dot * y2
        # y is normalised
        dot = gy0 * y0 + gy1 * y1 + gy2 * y2
        t[48 + h], t[64 + h], t[80 + h] = (
            (gy0 - dot * y0) * y_scale, (gy1 - dot * y1) * y_scale, (gy2 - dot * y2) * y_scale)  # fmt: skip


@compiled()
def _add_columns(target, t, factor):
    f = factor[0]
    for h in range(_LANES):
        target[h] += f * t[h]
        target[48 + h] += f * t[16 + h]
        target[96 + h] += f * t[32 + h]
        target[16 + h] += f * t[48 + h]
        target[64 + h] += f * t[64 + h]
        target[112 + h] += f * t[80 + h]


@compiled()
def _add_length(a, b, factor, size):
    f = factor[0]
    for h in range(_LANES):
        x, y, z = b[h] - a[h], b[16 + h] - a[16 + h], b[32 + h] - a[32 + h]
        size[h] += f * np.sqrt(x * x + y * y + z * z)


@compiled()
def _length_adjoint(a, b, factor, grad, t):
    """The gradient of a bone's end, to t; its start's is the opposite."""
    f = factor[0]
    for h in range(_LANES):
        x, y, z = b[h] - a[h], b[16 + h] - a[16 + h], b[32 + h] - a[32 + h]
        scale = f * grad[h] / np.sqrt(x * x + y * y + z * z)
        t[h], t[16 + h], t[32 + h] = scale * x, scale * y, scale * z


@compiled()
def _add(target, t):
    for i in range(_POINT):
        target[i] += t[i]


@compiled()
def _subtract(target, t):
    for i in range(_POINT):
        target[i] -= t[i]


@compiled()
def _palm_factor(rest_sizes):
    """What a metre of one metacarpal adds to the palm's relative size."""
    quarter = rest_sizes.dtype.type(0.25)
    return np.array([quarter / rest_sizes[5]])


@compiled()
def _measure(joints, rest_sizes, sizes):
    """Relative sizes of digits and palm."""
    half = rest_sizes.dtype.type(0.5)
    sizes[:] = 0
    wrist, palm = _part(joints, 0, _POINT), _part(sizes, 5, _LANES)
    factor = _palm_factor(rest_sizes)
    for digit in range(1, 5):
        _add_length(wrist, _part(joints, 4 * digit + 1, _POINT), factor, palm)
    for digit in range(5):
        own = _part(sizes, digit, _LANES)
        factor[0] = half / rest_sizes[digit]
        for joint in range(4 * digit + 1, 4 * digit + 4):
            _add_length(_part(joints, joint, _POINT), _part(joints, joint + 1, _POINT), factor, own)
        for h in range(_LANES):
            own[h] += half * palm[h]


@compiled()
def _measure_adjoint(joints, rest_sizes, size_grads, joint_grads, t):
    half = rest_sizes.dtype.type(0.5)
    palm, factor = _part(size_grads, 5, _LANES), _palm_factor(rest_sizes)
    for digit in range(5):
        own = _part(size_grads, digit, _LANES)
        for h in range(_LANES):
            palm[h] += half * own[h]
    for digit in range(1, 5):
        end = 4 * digit + 1
        _length_adjoint(_part(joints, 0, _POINT), _part(joints, end, _POINT), factor, palm, t)
        _add(_part(joint_grads, end, _POINT), t)
        _subtract(_part(joint_grads, 0, _POINT), t)
    for digit in range(5):
        own = _part(size_grads, digit, _LANES)
        factor[0] = half / rest_sizes[digit]
        for start in range(4 * digit + 1, 4 * digit + 4):
            _length_adjoint(_part(joints, start, _POINT), _part(joints, start + 1, _POINT), factor, own, t)
            _add(_part(joint_grads, start + 1, _POINT), t)
            _subtract(_part(joint_grads, start, _POINT), t)


@compiled()
def _add_weighted(target, source, weight):
    w = weight[0]
    for i in range(_POINT):
        target[i] += w * source[i]


@compiled()
def _thicken(offset, size, wide_low, wide_high, deep_low, deep_high, t):
    """To t: multiplied offset x y z, and what the size multiplies of x, y and z."""
    x, y, z, b = offset[0], offset[1], offset[2], offset[3]
    a = offset.dtype.type(1) - b
    for h in range(_LANES):
        wide, deep = a * wide_low[h] + b * wide_high[h], a * deep_low[h] + b * deep_high[h]
        t[48 + h], t[64 + h], t[80 + h] = wide * x, y, deep * z
        t[h], t[16 + h], t[32 + h] = size[h] * t[48 + h], size[h] * t[64 + h], size[h] * t[80 + h]


@compiled()
def _add_turned(frame, t, out):
    for h in range(_LANES):
        x, y, z = t[h], t[16 + h], t[32 + h]
        out[h] += frame[h] * x + frame[16 + h] * y + frame[32 + h] * z
        out[16 + h] += frame[48 + h] * x + frame[64 + h] * y + frame[80 + h] * z
        out[32 + h] += frame[96 + h] * x + frame[112 + h] * y + frame[128 + h] * z


@compiled()
def _frame_adjoint(grad, t, frame_grad):
    for h in range(_LANES):
        x, y, z = t[h], t[16 + h], t[32 + h]
        g0, g1, g2 = grad[h], grad[16 + h], grad[32 + h]
        frame_grad[h] += g0 * x
        frame_grad[16 + h] += g0 * y
        frame_grad[32 + h] += g0 * z
        frame_grad[48 + h] += g1 * x
        frame_grad[64 + h] += g1 * y
        frame_grad[80 + h] += g1 * z
        frame_grad[96 + h] += g2 * x
        frame_grad[112 + h] += g2 * y
        frame_grad[128 + h] += g2 * z


@compiled()
def _offset_adjoint(frame, grad, t):
    """To t, over the offset: its gradient."""
    for h in range(_LANES):
        g0, g1, g2 = grad[h], grad[16 + h], grad[32 + h]
        t[h] = frame[h] * g0 + frame[48 + h] * g1 + frame[96 + h] * g2
        t[16 + h] = frame[16 + h] * g0 + frame[64 + h] * g1 + frame[112 + h] * g2
        t[32 + h] = frame[32 + h] * g0 + frame[80 + h] * g1 + frame[128 + h] * g2


@compiled()
def _size_adjoint(t, size_grad):
    for h in range(_LANES):
        size_grad[h] += t[h] * t[48 + h] + t[16 + h] * t[64 + h] + t[32 + h] * t[80 + h]


@compiled()
def _multiplier_adjoint(t, size, offset, low_grad, high_grad, b):
    a = offset.dtype.type(1) - b
    for h in range(_LANES):
        g = t[h] * size[h] * offset[0]
        low_grad[h] += a * g
        high_grad[h] += b * g


@compiled()
def _prepare(bones, first, blended, blend_share, frames, lanes_joints, joints, rest_sizes, sizes):
    """Loads one tile: the frames of the bones and between them, the joints, the sizes."""
    _load(frames, bones, first)
    for k in range(len(blended)):
        _blend(
            _part(frames, blended[k, 0], _MATRIX), _part(frames, blended[k, 1], _MATRIX),
            blend_share[k : k + 1], _part(frames, 21 + k, _MATRIX),
        )  # fmt: skip
    _load(lanes_joints, joints, first)
    _measure(lanes_joints, rest_sizes, sizes)


@compiled()
def _forward(
    joints, bones, widths, depths, blended, blend_share, joint_starts, joint_index, joint_weights, term_starts,
    terms, offsets, rest_sizes, vertices, first_tile, last_tile,
):  # fmt: skip
    num = len(joint_starts) - 1
    dtype = vertices.dtype
    lanes_joints, sizes = np.empty(21 * _POINT, dtype), np.empty(6 * _LANES, dtype)
    frames, t = np.empty((21 + len(blended)) * _MATRIX, dtype), np.empty(6 * _LANES, dtype)
    wide, deep = np.empty(23 * _LANES, dtype), np.empty(23 * _LANES, dtype)
    out = np.empty(num * _POINT, dtype)
    for tile in range(first_tile, last_tile):
        first = tile * _LANES
        _prepare(bones, first, blended, blend_share, frames, lanes_joints, joints, rest_sizes, sizes)
        _load(wide, widths, first)
        _load(deep, depths, first)
        out[:] = 0
        for v in range(num):
            vertex = _part(out, v, _POINT)
            for k in range(joint_starts[v], joint_starts[v + 1]):
                _add_weighted(vertex, _part(lanes_joints, joint_index[k], _POINT), joint_weights[k : k + 1])
            for k in range(term_starts[v], term_starts[v + 1]):
                frame, size, low, high = terms[k]
                _thicken(
                    offsets[k], _part(sizes, size, _LANES), _part(wide, low, _LANES), _part(wide, high, _LANES),
                    _part(deep, low, _LANES), _part(deep, high, _LANES), t,
                )  # fmt: skip
                _add_turned(_part(frames, frame, _MATRIX), t, vertex)
        _store(out, vertices, first)


@compiled()
def _backward(
    joints, bones, widths, depths, blended, blend_share, joint_starts, joint_index, joint_weights, term_starts,
    terms, offsets, rest_sizes, grad, grad_joints, grad_bones, grad_widths, grad_depths, first_tile, last_tile,
):  # fmt: skip
    num = len(joint_starts) - 1
    dtype = grad.dtype
    one = blend_share.dtype.type(1)
    lanes_joints, sizes = np.empty(21 * _POINT, dtype), np.empty(6 * _LANES, dtype)
    frames, t = np.empty((21 + len(blended)) * _MATRIX, dtype), np.empty(6 * _LANES, dtype)
    wide, deep = np.empty(23 * _LANES, dtype), np.empty(23 * _LANES, dtype)
    g = np.empty(num * _POINT, dtype)
    g_joints, g_sizes, g_frames = np.empty_like(lanes_joints), np.empty_like(sizes), np.empty_like(frames)
    g_wide, g_deep = np.empty_like(wide), np.empty_like(deep)
    for tile in range(first_tile, last_tile):
        first = tile * _LANES
        _prepare(bones, first, blended, blend_share, frames, lanes_joints, joints, rest_sizes, sizes)
        _load(wide, widths, first)
        _load(deep, depths, first)
        _load(g, grad, first)
        g_joints[:] = 0
        g_sizes[:] = 0
        g_frames[:] = 0
        g_wide[:] = 0
        g_deep[:] = 0
        for v in range(num):
            vertex = _part(g, v, _POINT)
            for k in range(joint_starts[v], joint_starts[v + 1]):
                _add_weighted(_part(g_joints, joint_index[k], _POINT), vertex, joint_weights[k : k + 1])
            for k in range(term_starts[v], term_starts[v + 1]):
                frame, size, low, high = terms[k]
                lanes_size, share = _part(sizes, size, _LANES), offsets[k, 3]
                _thicken(
                    offsets[k], lanes_size, _part(wide, low, _LANES), _part(wide, high, _LANES),
                    _part(deep, low, _LANES), _part(deep, high, _LANES), t,
                )  # fmt: skip
                _frame_adjoint(vertex, t, _part(g_frames, frame, _MATRIX))
                _offset_adjoint(_part(frames, frame, _MATRIX), vertex, t)
                _size_adjoint(t, _part(g_sizes, size, _LANES))
                _multiplier_adjoint(
                    t[:16], lanes_size, offsets[k, 0:1], _part(g_wide, low, _LANES), _part(g_wide, high, _LANES),
                    share,
                )  # fmt: skip
                _multiplier_adjoint(
                    t[32:48], lanes_size, offsets[k, 2:3], _part(g_deep, low, _LANES),
                    _part(g_deep, high, _LANES), share,
                )  # fmt: skip
        _measure_adjoint(lanes_joints, rest_sizes, g_sizes, g_joints, t)
        for k in range(len(blended)):
            share = blend_share[k : k + 1]
            low, high = blended[k, 0], blended[k, 1]
            _blend_adjoint(
                _part(frames, low, _MATRIX), _part(frames, high, _MATRIX), share,
                _part(g_frames, 21 + k, _MATRIX), t,
            )  # fmt: skip
            _add_columns(_part(g_frames, low, _MATRIX), t, one - share)
            _add_columns(_part(g_frames, high, _MATRIX), t, share)
        _store(g_joints, grad_joints, first)
        _store(g_frames, grad_bones, first)
        _store(g_wide, grad_widths, first)
        _store(g_deep, grad_depths, first)


def serves(*inputs: Tensor) -> bool:
    """Whether the kernel can take these tensors: on the CPU, all in one of the two dtypes it knows."""
    dtype = inputs[0].dtype
    return dtype in (torch.float32, torch.float64) and all(
        tensor.device.type == "cpu" and tensor.dtype == dtype for tensor in inputs
    )


def surface_vertices(
    joints: Float[Tensor, "*batch 21 3"],
    bones: Float[Tensor, "*batch 21 3 3"],
    widths: Float[Tensor, "*batch 23"],
    depths: Float[Tensor, "*batch 23"],
    parameters: SurfaceParameters,
) -> Float[Tensor, "*batch vertex 3"]:
    """`evaluation.surface_vertices` for tensors that the kernel `serves`."""
    return _Surface.apply(joints, bones, widths, depths, parameters)


def _rows(tensor: Tensor, num: int) -> NDArray:
    return tensor.detach().reshape(num, -1).contiguous().numpy()


class _Surface(torch.autograd.Function):
    @staticmethod
    def forward(ctx, joints, bones, widths, depths, parameters):
        ctx.save_for_backward(joints, bones, widths, depths)
        ctx.parameters = parameters
        batch, num = joints.shape[:-2], joints.shape[:-2].numel()
        vertices = joints.new_empty(*batch, parameters.num_vertices, 3)
        inputs = [_rows(tensor, num) for tensor in (joints, bones, widths, depths)]
        arguments = (*inputs, *_tables(parameters, joints.dtype).arguments(), _rows(vertices, num))
        for_ranges(lambda start, stop: _forward(*arguments, start, stop), -(-num // _LANES), _GRAIN)
        return vertices

    @staticmethod
    def backward(ctx, grad):
        inputs = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated again
            plain = template(ctx.parameters).to(grad.dtype)
            vertices = evaluation.surface_vertices(*inputs, plain)
            wanted = [tensor for tensor, needed in zip(inputs, ctx.needs_input_grad, strict=False) if needed]
            found = iter(torch.autograd.grad(vertices, wanted, grad, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:4]), None
        num = grad.shape[:-2].numel()
        grads = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in inputs]
        arguments = (
            *(_rows(tensor, num) for tensor in inputs),
            *_tables(ctx.parameters, grad.dtype).arguments(),
            *(_rows(tensor, num) for tensor in (grad, *grads)),
        )
        for_ranges(lambda start, stop: _backward(*arguments, start, stop), -(-num // _LANES), _GRAIN)
        return *grads, None

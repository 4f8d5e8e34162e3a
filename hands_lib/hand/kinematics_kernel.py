"""Forward kinematics on the CPU, and its adjoint: the chain of `kinematics`, compiled with Numba.

Hands go through the loops sixteen at a time, see `hand.lanes`. A second derivative is asked of the plain
version.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hands_lib.geometry.kernels.threads import compiled
from hands_lib.hand.lanes import FAST, LANES, MATRIX, POINT, POSITIVE, hand_rows, load, run_tiles, store


@compiled(fastmath=FAST)
def _joint(cos, sin, bone, out):
    """kinematics.joint_rotation"""
    a = (bone * POINT) & POSITIVE
    for h in range(LANES):
        cos_f, cos_a, cos_t = cos[a + h], cos[a + 16 + h], cos[a + 32 + h]
        sin_f, sin_a, sin_t = sin[a + h], sin[a + 16 + h], sin[a + 32 + h]
        out[h], out[16 + h], out[32 + h] = cos_a * cos_t, -sin_a, cos_a * sin_t
        out[48 + h] = cos_f * sin_a * cos_t - sin_f * sin_t
        out[64 + h] = cos_f * cos_a
        out[80 + h] = cos_f * sin_a * sin_t + sin_f * cos_t
        out[96 + h] = -sin_f * sin_a * cos_t - cos_f * sin_t
        out[112 + h] = -sin_f * cos_a
        out[128 + h] = cos_f * cos_t - sin_f * sin_a * sin_t


@compiled(fastmath=FAST)
def _joint_adjoint(grad, turn, cos, sin, bone, out):
    """Each row below turns into the next as flexion grows, each column mixes with the others as twist and
    abduction do, so that the derivatives are made of the rotation's own entries."""
    a = (bone * POINT) & POSITIVE
    for h in range(LANES):
        g00, g01, g02 = grad[h], grad[16 + h], grad[32 + h]
        g10, g11, g12 = grad[48 + h], grad[64 + h], grad[80 + h]
        g20, g21, g22 = grad[96 + h], grad[112 + h], grad[128 + h]
        r00, r01, r02 = turn[h], turn[16 + h], turn[32 + h]
        r10, r11, r12 = turn[48 + h], turn[64 + h], turn[80 + h]
        r20, r21, r22 = turn[96 + h], turn[112 + h], turn[128 + h]
        cos_t, sin_t = cos[a + 32 + h], sin[a + 32 + h]
        out[a + h] = g10 * r20 + g11 * r21 + g12 * r22 - g20 * r10 - g21 * r11 - g22 * r12
        out[a + 16 + h] = (
            (cos_t * g00 + sin_t * g02) * r01 - g01 * (cos_t * r00 + sin_t * r02)
            + (cos_t * g10 + sin_t * g12) * r11 - g11 * (cos_t * r10 + sin_t * r12)
            + (cos_t * g20 + sin_t * g22) * r21 - g21 * (cos_t * r20 + sin_t * r22)
        )  # fmt: skip
        out[a + 32 + h] = g02 * r00 + g12 * r10 + g22 * r20 - g00 * r02 - g10 * r12 - g20 * r22


@compiled(fastmath=FAST)
def _times(left, p, right, out, q):
    """Product of two tiles of matrices."""
    p, q = p & POSITIVE, q & POSITIVE
    for h in range(LANES):
        for row in range(0, MATRIX, POINT):
            a, b, c = left[p + row + h], left[p + row + 16 + h], left[p + row + 32 + h]
            out[q + row + h] = a * right[h] + b * right[48 + h] + c * right[96 + h]
            out[q + row + 16 + h] = a * right[16 + h] + b * right[64 + h] + c * right[112 + h]
            out[q + row + 32 + h] = a * right[32 + h] + b * right[80 + h] + c * right[128 + h]


@compiled(fastmath=FAST)
def _times_transposed(left, p, right, out):
    p = p & POSITIVE
    for h in range(LANES):
        for row in range(0, MATRIX, POINT):
            a, b, c = left[p + row + h], left[p + row + 16 + h], left[p + row + 32 + h]
            out[row + h] = a * right[h] + b * right[16 + h] + c * right[32 + h]
            out[row + 16 + h] = a * right[48 + h] + b * right[64 + h] + c * right[80 + h]
            out[row + 32 + h] = a * right[96 + h] + b * right[112 + h] + c * right[128 + h]


@compiled(fastmath=FAST)
def _transposed_times(left, right, p, out):
    p = p & POSITIVE
    for h in range(LANES):
        for row in range(0, POINT, LANES):
            a, b, c = left[row + h], left[row + 48 + h], left[row + 96 + h]
            out[3 * row + h] = a * right[p + h] + b * right[p + 48 + h] + c * right[p + 96 + h]
            out[3 * row + 16 + h] = a * right[p + 16 + h] + b * right[p + 64 + h] + c * right[p + 112 + h]
            out[3 * row + 32 + h] = a * right[p + 32 + h] + b * right[p + 80 + h] + c * right[p + 128 + h]


@compiled(fastmath=FAST)
def _times_constant(left, p, right, out):
    """Product with one matrix for all hands."""
    p = p & POSITIVE
    r00, r01, r02 = right[0, 0], right[0, 1], right[0, 2]
    r10, r11, r12 = right[1, 0], right[1, 1], right[1, 2]
    r20, r21, r22 = right[2, 0], right[2, 1], right[2, 2]
    for h in range(LANES):
        for row in range(0, MATRIX, POINT):
            a, b, c = left[p + row + h], left[p + row + 16 + h], left[p + row + 32 + h]
            out[row + h] = a * r00 + b * r10 + c * r20
            out[row + 16 + h] = a * r01 + b * r11 + c * r21
            out[row + 32 + h] = a * r02 + b * r12 + c * r22


@compiled(fastmath=FAST)
def _copy(source, p, out):
    p = p & POSITIVE
    for i in range(MATRIX):
        out[i] = source[p + i]


@compiled(fastmath=FAST)
def _add(target, p, source):
    p = p & POSITIVE
    for i in range(MATRIX):
        target[p + i] += source[i]


@compiled(fastmath=FAST)
def _extend(joints, start, end, rotations, r, lengths, bone):
    start, end, r, bone = start & POSITIVE, end & POSITIVE, r & POSITIVE, (bone * LANES) & POSITIVE
    for h in range(LANES):
        length = lengths[bone + h]
        x, y, z = joints[start + h], joints[start + 16 + h], joints[start + 32 + h]
        joints[end + h] = x + length * rotations[r + 16 + h]
        joints[end + 16 + h] = y + length * rotations[r + 64 + h]
        joints[end + 32 + h] = z + length * rotations[r + 112 + h]


@compiled(fastmath=FAST)
def _extend_adjoint(g_joints, start, end, rotations, r, lengths, bone, g_rotations, g_lengths):
    start, end, r, bone = start & POSITIVE, end & POSITIVE, r & POSITIVE, (bone * LANES) & POSITIVE
    for h in range(LANES):
        g_lengths[bone + h] = (
            g_joints[end + h] * rotations[r + 16 + h]
            + g_joints[end + 16 + h] * rotations[r + 64 + h]
            + g_joints[end + 32 + h] * rotations[r + 112 + h]
        )
    for h in range(LANES):
        length = lengths[bone + h]
        g_rotations[r + 16 + h] += length * g_joints[end + h]
        g_rotations[r + 64 + h] += length * g_joints[end + 16 + h]
        g_rotations[r + 112 + h] += length * g_joints[end + 32 + h]
    for i in range(POINT):
        g_joints[start + i] += g_joints[end + i]


@compiled(fastmath=FAST)
def _forward(
    translation,
    root,
    cosines,
    sines,
    bone_lengths,
    metacarpals,
    digits,
    joints,
    rotations,
    first_tile,
    last_tile,
):
    """metacarpals, digits: (5, 3, 3), hand_from_metacarpal and metacarpal_from_digit at rest."""
    dtype = joints.dtype
    before, turn = np.empty(MATRIX, dtype), np.empty(MATRIX, dtype)
    lanes_root, lanes_rotations = np.empty(MATRIX, dtype), np.empty(20 * MATRIX, dtype)
    lanes_joints, lengths = np.empty(21 * POINT, dtype), np.empty(20 * LANES, dtype)
    cos, sin = np.empty(20 * POINT, dtype), np.empty(20 * POINT, dtype)
    for tile in range(first_tile, last_tile):
        first = tile * LANES
        load(lanes_joints, translation, first)
        load(lanes_root, root, first)
        load(cos, cosines, first)
        load(sin, sines, first)
        load(lengths, bone_lengths, first)
        for bone in range(20):
            digit, number = bone // 4, bone % 4
            if number == 0:
                _times_constant(lanes_root, 0, metacarpals[digit], before)
            elif number == 1:
                _times_constant(lanes_rotations, (bone - 1) * MATRIX, digits[digit], before)
            else:
                _copy(lanes_rotations, (bone - 1) * MATRIX, before)
            _joint(cos, sin, bone, turn)
            _times(before, 0, turn, lanes_rotations, bone * MATRIX)
            start = bone if number > 0 else 0
            _extend(
                lanes_joints, start * POINT, (bone + 1) * POINT, lanes_rotations, bone * MATRIX, lengths, bone
            )
        store(lanes_joints, joints, first)
        store(lanes_rotations, rotations, first)


@compiled(fastmath=FAST)
def _backward(
    cosines, sines, bone_lengths, rotations, metacarpals, digits, grad_joints, grad_rotations,
    grad_translation, grad_root, grad_angles, grad_lengths, first_tile, last_tile,
):  # fmt: skip
    """metacarpals, digits: the transposes of the forward pass's."""
    dtype = cosines.dtype
    before, turn = np.empty(MATRIX, dtype), np.empty(MATRIX, dtype)
    g_turn, g_before, t = np.empty(MATRIX, dtype), np.empty(MATRIX, dtype), np.empty(MATRIX, dtype)
    lanes_rotations, lengths = np.empty(20 * MATRIX, dtype), np.empty(20 * LANES, dtype)
    cos, sin = np.empty(20 * POINT, dtype), np.empty(20 * POINT, dtype)
    g_joints, g_rotations = np.empty(21 * POINT, dtype), np.empty(20 * MATRIX, dtype)
    g_root, g_lengths, g_angles = np.empty(MATRIX, dtype), np.empty_like(lengths), np.empty_like(cos)
    for tile in range(first_tile, last_tile):
        first = tile * LANES
        load(cos, cosines, first)
        load(sin, sines, first)
        load(lengths, bone_lengths, first)
        load(lanes_rotations, rotations, first)
        load(g_joints, grad_joints, first)
        load(g_rotations, grad_rotations, first)
        g_root[:] = 0
        for bone in range(19, -1, -1):
            digit, number = bone // 4, bone % 4
            start = bone if number > 0 else 0
            _extend_adjoint(
                g_joints, start * POINT, (bone + 1) * POINT, lanes_rotations, bone * MATRIX, lengths, bone,
                g_rotations, g_lengths,
            )  # fmt: skip
            _joint(cos, sin, bone, turn)
            _times_transposed(lanes_rotations, bone * MATRIX, turn, before)
            _transposed_times(before, g_rotations, bone * MATRIX, g_turn)
            _joint_adjoint(g_turn, turn, cos, sin, bone, g_angles)
            _times_transposed(g_rotations, bone * MATRIX, turn, g_before)
            if number == 0:
                _times_constant(g_before, 0, metacarpals[digit], t)
                _add(g_root, 0, t)
            elif number == 1:
                _times_constant(g_before, 0, digits[digit], t)
                _add(g_rotations, (bone - 1) * MATRIX, t)
            else:
                _add(g_rotations, (bone - 1) * MATRIX, g_before)
        store(g_joints[:POINT], grad_translation, first)
        store(g_root, grad_root, first)
        store(g_angles, grad_angles, first)
        store(g_lengths, grad_lengths, first)


class Chain(torch.autograd.Function):
    """`kinematics.bone_chain` for tensors on the CPU, all float32 or all float64.

    apply(translation, root, angles, lengths, metacarpals, digits, plain) -> joints, rotations

    metacarpals, digits   (5 3 3), hand_from_metacarpal and metacarpal_from_digit at rest
    plain                 bone_chain itself
    """

    @staticmethod
    def forward(
        ctx, translation: Tensor, root: Tensor, angles: Tensor, lengths: Tensor,
        metacarpals: Tensor, digits: Tensor, plain: Callable,
    ):  # fmt: skip
        batch, num = lengths.shape[:-2], lengths.shape[:-2].numel()
        cos, sin = angles.cos(), angles.sin()
        joints, rotations = lengths.new_empty(*batch, 21, 3), lengths.new_empty(*batch, 5, 4, 3, 3)
        ctx.save_for_backward(translation, root, angles, lengths, cos, sin, rotations)
        ctx.constants, ctx.plain = (metacarpals, digits), plain
        run_tiles(
            _forward,
            (
                *(hand_rows(tensor, num) for tensor in (translation, root, cos, sin, lengths)),
                *_matrices(metacarpals, digits),
                *(hand_rows(tensor, num) for tensor in (joints, rotations)),
            ),
            num,
        )
        return joints, rotations

    @staticmethod
    def backward(ctx, grad_joints: Tensor, grad_rotations: Tensor):
        *inputs, cos, sin, rotations = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated again
            needed = ctx.needs_input_grad[:4]
            wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
            found = torch.autograd.grad(
                ctx.plain(*inputs),
                wanted,
                (grad_joints, grad_rotations),
                create_graph=True,
                allow_unused=True,
            )
            results = iter(found)
            return *(next(results) if need else None for need in needed), None, None, None
        num = grad_joints.shape[:-2].numel()
        grads = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in inputs]
        run_tiles(
            _backward,
            (
                *(hand_rows(tensor, num) for tensor in (cos, sin, inputs[3], rotations)),
                *_matrices(*(constant.mT for constant in ctx.constants)),
                *(hand_rows(tensor, num) for tensor in (grad_joints, grad_rotations, *grads)),
            ),
            num,
        )
        return *grads, None, None, None


def _matrices(*constants: Tensor) -> list[NDArray]:
    return [constant.contiguous().numpy() for constant in constants]

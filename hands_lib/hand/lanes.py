"""Sixteen hands side by side: what the compiled loops over hands share.

A tile of sixteen hands goes through every step together, one hand in each lane of the vector registers, so
that a step is a few instructions for all of them. All arrays of a tile are flat with the lanes innermost:
value i of hand h stands at 16 i + h. Loops over lanes are short and read from few arrays; only then does the
compiler vectorise them. A last tile that is not full repeats its last hand.
"""

import torch
from numpy.typing import NDArray
from torch import Tensor

from hands_lib.geometry.kernels.threads import compiled, for_ranges

LANES = 16
MATRIX, POINT = 9 * LANES, 3 * LANES
FAST = {"contract"}  # a * b + c in one instruction
# Loops over lanes index from an offset that the compiler must know not to be negative, or it guards every
# access and does not vectorise. `& POSITIVE` tells it so.
POSITIVE = 0x7FFFFFFF
_GRAIN = 4  # tiles worth a thread of their own


@compiled()
def load(lanes, rows, first):
    """From one row per hand, from hand `first` on, to one column per hand."""
    last = len(rows) - 1
    for h in range(LANES):
        row = rows[min(first + h, last)]
        for i in range(len(row)):
            lanes[i * LANES + h] = row[i]


@compiled()
def store(lanes, rows, first):
    for h in range(min(LANES, len(rows) - first)):
        row = rows[first + h]
        for i in range(len(row)):
            row[i] = lanes[i * LANES + h]


def hand_rows(tensor: Tensor, num: int) -> NDArray:
    """The tensor as one row of numbers per hand; a view where its memory allows one."""
    return tensor.detach().reshape(num, tensor.numel() // max(num, 1)).contiguous().numpy()


def run_tiles(loop, arguments: tuple[NDArray, ...], num: int) -> None:
    """Calls `loop(*arguments, first_tile, last_tile)` until `num` hands are done, on several threads."""
    for_ranges(lambda start, stop: loop(*arguments, start, stop), -(-num // LANES), _GRAIN)


def served(*inputs: Tensor) -> bool:
    """Whether compiled loops can take these tensors: on the CPU, all of one of the two dtypes they know, and
    no stand-ins for tensors (an export has those), for which the reference is taken."""
    dtype = inputs[0].dtype
    return dtype in (torch.float32, torch.float64) and all(
        tensor.device.type == "cpu" and tensor.dtype == dtype and type(tensor) in (Tensor, torch.nn.Parameter)
        for tensor in inputs
    )

"""What `untangle` asks of two surfaces: do they meet, what volume do they share, how do they come apart.

Units   metres; volumes in cm^3
Frames  as `untangle_steps`: each hand in its own right-handed world, the left one mirrored

The compiled tests run on the CPU; tensors on another device are brought there and back.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.geometry.inside import bounding_box, grid_occupancy, inside
from hands_lib.geometry.kernels.threads import for_ranges
from hands_lib.hand.kinematics import mirror
from hands_lib.hand.surface import surface_topology
from hands_lib.structures import Mesh
from hands_lib.worlds import contact_kernel

NUM_DIRECTIONS = 32
_CELL = 0.0014  # metres, of the height maps along a direction
_CLEAR = 1e-4  # metres left between pushed hands
_BACK_OFFS = 12


def exact_intersections(vertices: Float[Tensor, "pair 2 vertex 3"]) -> Bool[Tensor, " pair"]:
    """Whether two closed plain surfaces have a point in common: an edge of one meets a face of the other, or
    one lies inside the other."""
    device = vertices.device
    vertices = vertices.detach().cpu()
    faces = surface_topology("plain").faces
    both = left_mirrored(vertices)
    part = np.zeros(len(faces), dtype=np.int64)
    right, left = (both[:, hand].contiguous().numpy() for hand in (0, 1))
    windings = faces.contiguous().numpy(), faces.flip(-1).contiguous().numpy()
    hits = [np.zeros((len(vertices), 1), dtype=bool) for _ in range(2)]

    def search(start: int, stop: int) -> None:
        contact_kernel.crossings(start, stop, right, left, *windings, part, *hits)

    for_ranges(search, len(vertices), grain=4)
    meet = torch.from_numpy(hits[0][:, 0].copy())
    rest = ~meet
    if bool(rest.any()):
        # Surfaces without a crossing are apart or nested: one vertex of each tells.
        meet[rest] = (
            inside(mirror(vertices[rest, :, :1]).flip(1), Mesh(vertices[rest], faces)).flatten(1).any(1)
        )
    return meet.to(device)


def left_mirrored(vertices: Float[Tensor, "pair 2 point 3"]) -> Float[Tensor, "pair 2 point 3"]:
    """From one common world to a right-handed world for each hand, and back: the left one is mirrored."""
    return torch.stack([vertices[:, 0], mirror(vertices[:, 1])], dim=1)


def shared_volume(vertices: Float[Tensor, "pair 2 vertex 3"], resolution: int = 48) -> Float[Tensor, " pair"]:
    """Volume inside both plain surfaces, cm^3, float64: cells of a grid over what their boxes share, whose
    side is at most 1/48 of that box."""
    both = left_mirrored(vertices.detach())
    low, high = bounding_box(both)
    low, high = low.amax(dim=1), high.amin(dim=1)
    rows = (low < high).all(dim=-1).nonzero()[:, 0]
    volume = torch.zeros(len(vertices), dtype=torch.float64, device=vertices.device)
    if len(rows) == 0:
        return volume
    # Points in the middles of the cells: each stands for its cell.
    cell = (high[rows] - low[rows]) / resolution
    bounds = low[rows] + cell / 2, high[rows] - cell / 2
    faces = surface_topology("plain").faces.to(vertices.device)
    occupied = [
        grid_occupancy(Mesh(both[rows, hand], turned), resolution, bounds)
        for hand, turned in enumerate((faces, faces.flip(-1)))
    ]
    count = (occupied[0] & occupied[1]).sum(dim=(1, 2, 3))
    volume[rows] = 1e6 * count * cell.double().prod(dim=-1)
    return volume


def directions(like: Tensor) -> Float[Tensor, "direction 3"]:
    """Unit vectors spread evenly over the sphere, in opposite pairs whose mirror images belong to them."""
    num = NUM_DIRECTIONS // 4
    row = torch.arange(num, dtype=torch.float64) + 0.5
    height, turn = 1 - row / num, math.pi * (1 + math.sqrt(5)) * row
    radius = (1 - height.square()).sqrt()
    half = torch.stack([radius * turn.cos(), height, radius * turn.sin()], dim=-1)
    half = torch.cat([half, mirror(half)])
    return torch.cat([half, -half]).to(like)


def push_apart(
    vertices: Float[Tensor, "pair 2 vertex 3"], share: Float[Tensor, "pair 2"], longest: float
) -> tuple[Float[Tensor, "pair 2 3"], Bool[Tensor, " pair"]]:
    """Translations of the hands, each in its own world, that take the surfaces apart; and where they do.

    Of `directions` the one in which the left hand has the least way to where it no longer meets the right
    one, coming from far. `share` says which part of the way each hand goes. Nothing moves where the way would
    be longer than `longest`, metres.
    """
    device = vertices.device
    vertices, share = vertices.detach().cpu(), share.detach().cpu()
    both = left_mirrored(vertices)
    axes = directions(both)
    room = torch.stack([_room(both, axis) for axis in axes])  # negative: has to go back by that much
    way, best = (-room).clamp(min=0).min(dim=0)
    way, axis = way + _CLEAR, -axes[best]
    pushed = way <= longest
    shift = torch.zeros(len(vertices), 2, 3, dtype=vertices.dtype)
    waiting, back_off = pushed.nonzero()[:, 0], 2 * _CLEAR
    for _ in range(_BACK_OFFS):  # height maps miss a little between their cells
        if len(waiting) == 0:
            break
        step = way[waiting, None, None] * axis[waiting, None] * share[waiting, :, None]
        shift[waiting] = torch.stack([-step[:, 0], mirror(step[:, 1])], dim=1)
        meet = exact_intersections(vertices[waiting] + shift[waiting][:, :, None])
        waiting = waiting[meet]
        way[waiting] = way[waiting] + back_off
        back_off = 1.5 * back_off
    pushed[waiting] = False
    shift[~pushed] = 0
    return shift.to(device), pushed.to(device)


def _room(both: Float[Tensor, "pair 2 vertex 3"], axis: Float[Tensor, "3"]) -> Float[Tensor, " pair"]:
    """How far the left hands may move along the axis before they meet the right ones, coming from far."""
    across = torch.linalg.svd(axis[None].double()).Vh[1:]
    frame = torch.cat([across, axis[None].double()])  # handedness does not matter to height maps
    seen = both.double() @ frame.mT
    faces = surface_topology("plain").faces
    windings = faces.contiguous().numpy(), faces.flip(-1).contiguous().numpy()
    right, left = (seen[:, hand].contiguous().numpy() for hand in (0, 1))
    room = np.empty(len(seen))

    def search(start: int, stop: int) -> None:
        contact_kernel.sweep(start, stop, right, left, *windings, _CELL, room)

    for_ranges(search, len(seen), grain=4)
    return torch.from_numpy(room).to(both)

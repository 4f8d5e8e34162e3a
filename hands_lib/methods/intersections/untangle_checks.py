"""What `untangle` asks of two surfaces: do they meet, what volume do they share, how do they come apart?

Units   metres; volumes in cm^3
Frames  as `untangle_steps`: each hand in its own right-handed world, the left one mirrored
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.geometry import contact
from hands_lib.hand.kinematics import mirror
from hands_lib.hand.pairs import intersecting, left_mirrored, pair_meshes

NUM_DIRECTIONS = 32
_CELL = 0.0014  # metres, of the height maps along a direction
_CLEAR = 1e-4  # metres left between pushed hands
_BACK_OFFS = 12


def exact_intersections(vertices: Float[Tensor, "pair 2 vertex 3"]) -> Bool[Tensor, " pair"]:
    """Whether two closed plain surfaces have a point in common: an edge of one meets a face of the other, or
    one lies inside the other."""
    return intersecting(left_mirrored(vertices), "plain")


def shared_volume(vertices: Float[Tensor, "pair 2 vertex 3"]) -> Float[Tensor, " pair"]:
    """Volume inside both plain surfaces, cm^3, float64: see `geometry.contact.shared_volume`."""
    return contact.shared_volume(*pair_meshes(left_mirrored(vertices), "plain"), unit=1e6)


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
    view = torch.cat([across, axis[None].double()])
    return contact.room_along(*pair_meshes(both, "plain"), view, _CELL)

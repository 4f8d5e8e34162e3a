"""Vertices from a skeleton, in plain torch: any device, any derivative. The reference of `kernel`.

Units  metres
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.hand.surface.template import Template, blend_frames


def surface_vertices(
    joints: Float[Tensor, "*batch 21 3"],
    root: Float[Tensor, "*batch 3 3"],
    bones: Float[Tensor, "*batch 5 4 3 3"],
    widths: Float[Tensor, "*batch 23"],
    depths: Float[Tensor, "*batch 23"],
    template: Template,
) -> Float[Tensor, "*batch vertex 3"]:
    """The sum that `Template` states.

    root, bones     world_from_hand, world_from_bone
    widths, depths  multipliers of the offsets along x and along z, by station
    """
    bones = torch.cat([root[..., None, :, :], bones.flatten(-4, -3)], dim=-3)
    first, second = template.blended.unbind(dim=-1)
    blended = blend_frames(bones[..., first, :, :], bones[..., second, :, :], template.blend_share)
    frames = torch.cat([bones, blended], dim=-3)
    low, high = template.station.unbind(dim=-1)
    wide = torch.lerp(widths[..., low], widths[..., high], template.station_share)
    deep = torch.lerp(depths[..., low], depths[..., high], template.station_share)
    sizes = relative_sizes(joints, template)[..., template.size]
    offsets = torch.stack([wide * sizes, sizes, deep * sizes], dim=-1) * template.offset
    turned = (frames[..., template.frame, :, :] @ offsets[..., None])[..., 0]
    return template.joint_weights @ joints + turned.sum(dim=-2)


def relative_sizes(joints: Float[Tensor, "*batch 21 3"], template: Template) -> Float[Tensor, "*batch 6"]:
    """How large the digits and the palm are against the rest hand; the scale of their thickness.

    A digit's thickness follows half its own length and half the palm's size: a child's hand is thinner all
    over, while an unusual estimate of one digit's length changes that digit's thickness by half as much.
    """
    digits = joints[..., 1:, :].unflatten(-2, (5, 4))
    length = (digits[..., 1:, :] - digits[..., :-1, :]).norm(dim=-1).sum(dim=-1)
    palm = (digits[..., 1:, 0, :] - joints[..., :1, :]).norm(dim=-1).mean(dim=-1, keepdim=True)
    length, palm = length / template.rest_sizes[:5], palm / template.rest_sizes[5:]
    return torch.cat([(length + palm) / 2, palm], dim=-1)

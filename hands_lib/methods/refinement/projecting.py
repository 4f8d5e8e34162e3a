"""Multi-plane feature projecting (MFP): joint features drawn into the picture so that nothing is mixed up.

Every bone owns a plane of the picture. A pixel p nearer than `half_width` to the bone (a, b) carries

    w_a f_a + w_b f_b,    w_a = 1 - |p - a| / (|p - a| + |p - b|),    w_b = 1 - |p - b| / (|p - a| + |p - b|),

and every other pixel 0. Where bones cross in the picture, their features lie one above the other on planes of
their own; the convolution that follows learns what to make of them. On one shared plane they would be added.

Units   uv in [-1, 1]; `half_width` is a part of the picture's side
Source  Ren et al., DIR; the distances are those of the released code in pixels: 1 of 16, then 2 of 32

Everything here is a sum of rank-one pieces: an ELEMENT is one feature vector with one map of weights, and
belongs to one plane. A bone has two elements, its ends; a joint splat has one. Two consequences:

    planes     all planes in one batched product, without a loop over bones
    convolve   their convolution, without ever making them: with K the kernel of plane p,
               (K * planes)(x) = sum over elements of (K[p] f) * w: at the paper's size 30 times fewer
               products than with 2,560 channels
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hands_lib.hand.skeleton import EDGES, NUM_JOINTS

PROJECTIONS = ("bones", "hands", "shared", "joints", "none")


@dataclass(frozen=True)
class Layout:
    """Which element belongs to which joint. Joints are numbered 0 to 41, right hand first; the elements of
    one plane lie side by side, equally many for every plane."""

    joint: Int[Tensor, " element"]
    num_planes: int
    bones: bool
    """Whether elements are the ends of bones, two in turn; else each is a joint."""

    @property
    def per_plane(self) -> int:
        return len(self.joint) // self.num_planes


def layout(projection: str) -> Layout:
    """The planes of a way of projecting: one a bone and hand (40), one a hand, one for all, one a joint (42).

    Raises ValueError for any other name, and for "none", which has no planes.
    """
    if projection not in PROJECTIONS[:-1]:
        raise ValueError(f"no planes for projection {projection!r}: one of {', '.join(PROJECTIONS[:-1])}")
    if projection == "joints":
        return Layout(torch.arange(2 * NUM_JOINTS), 2 * NUM_JOINTS, bones=False)
    edges = torch.tensor(EDGES)
    ends = torch.cat([edges, edges + NUM_JOINTS]).flatten()
    return Layout(ends, {"bones": 2 * len(EDGES), "hands": 2, "shared": 1}[projection], bones=True)


def pixel_centres(size: int, like: Tensor) -> Float[Tensor, "pixel 2"]:
    """uv of the pixel centres of a square picture, row by row."""
    along = (2 * torch.arange(size, dtype=like.dtype, device=like.device) + 1) / size - 1
    v, u = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([u, v], dim=-1).flatten(0, 1)


def bone_weights(
    ends: Float[Tensor, "*batch bone 2 2"],
    size: int,
    half_width: float,
    pointlike: Literal["disc", "dropped"] = "disc",
) -> Float[Tensor, "*batch bone 2 pixel"]:
    """w_a and w_b of every bone at every pixel; 0 at `half_width` (of the picture's side) and beyond.

    ends       uv of the two ends of the bones; they may lie outside the picture
    pointlike  a bone that points at the camera has no length in the picture. "disc" is the limit of ever
               shorter bones: a disc in which both ends weigh one half. The released code divides by the
               length there and draws nothing: "dropped". Either way gradients stay finite.
    """
    u, v = pixel_centres(size, ends).unbind(dim=-1)
    tiny = torch.finfo(ends.dtype).tiny
    # One tensor for u and one for v, each (bone, 2, pixel): nothing large has a last dimension of 2.
    from_u, from_v = u - ends[..., :1], v - ends[..., 1:]
    bone_u, bone_v = (ends[..., 1, :] - ends[..., 0, :])[..., None].unbind(dim=-2)
    length_squared = bone_u.square() + bone_v.square()
    along = (from_u[..., 0, :] * bone_u + from_v[..., 0, :] * bone_v) / length_squared.clamp(min=tiny)
    along = along.clamp(0, 1)
    away_u, away_v = from_u[..., 0, :] - along * bone_u, from_v[..., 0, :] - along * bone_v
    near = away_u.square() + away_v.square() < (2 * half_width) ** 2
    if pointlike == "dropped":
        near = near & (length_squared > 0)
    # The clamp keeps the root's gradient finite on a joint; where both ends are there, it gives 1/2 and 1/2.
    to_end = (from_u.square() + from_v.square()).clamp(min=tiny).sqrt()
    weight = 1 - to_end / to_end.sum(dim=-2, keepdim=True)
    return torch.where(near[..., None, :], weight, 0.0)


def splat_weights(
    joints: Float[Tensor, "*batch joint 2"], size: int, half_width: float
) -> Float[Tensor, "*batch joint pixel"]:
    """1 at pixels nearer than `half_width` (of the picture's side) to a joint, else 0."""
    u, v = pixel_centres(size, joints).unbind(dim=-1)
    distance_squared = (u - joints[..., :1]).square() + (v - joints[..., 1:]).square()
    return (distance_squared < (2 * half_width) ** 2).to(joints)


def element_weights(
    joints_uv: Float[Tensor, "batch 42 2"], arrangement: Layout, size: int, half_width: float
) -> Float[Tensor, "batch element pixel"]:
    """The map of every element of a layout."""
    at = joints_uv[:, arrangement.joint.to(joints_uv.device)]
    if not arrangement.bones:
        return splat_weights(at, size, half_width)
    return bone_weights(at.unflatten(1, (-1, 2)), size, half_width).flatten(1, 2)


def planes(
    features: Float[Tensor, "batch 42 channel"],
    weights: Float[Tensor, "batch element pixel"],
    arrangement: Layout,
) -> Float[Tensor, "batch plane channel pixel"]:
    """All planes in one product; elements of the same plane are added."""
    own = features[:, arrangement.joint.to(features.device)]
    batch, shape = len(own), (-1, arrangement.per_plane)
    left = own.unflatten(1, shape).flatten(0, 1).mT
    right = weights.unflatten(1, shape).flatten(0, 1)
    return torch.bmm(left, right).unflatten(0, (batch, arrangement.num_planes))


def convolve(
    features: Float[Tensor, "batch 42 channel"],
    weights: Float[Tensor, "batch element pixel"],
    arrangement: Layout,
    kernel: Float[Tensor, "out projected rows columns"],
) -> Float[Tensor, "batch out height width"]:
    """The convolution (same size, odd kernel, zeros around) of `planes`, which are never made.

    Equal to conv2d(planes(...)) up to rounding; a test holds them against each other.
    """
    size, reach = round(weights.shape[-1] ** 0.5), kernel.shape[-1]
    own = features[:, arrangement.joint.to(features.device)]
    kernels = kernel.view(len(kernel), arrangement.num_planes, features.shape[-1], reach * reach)
    # K[p] f of every element and kernel place, then one product with the shifted weight maps.
    small = torch.einsum("opck,bpec->bopek", kernels, own.unflatten(1, (-1, arrangement.per_plane)))
    shifted = nn.functional.unfold(weights.unflatten(-1, (size, size)), reach, padding=reach // 2)
    return torch.bmm(small.flatten(2), shifted).unflatten(-1, (size, size))

"""The closed surface of a hand on top of its skeleton."""

from dataclasses import dataclass, fields
from functools import cache
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.hand.kinematics import Skeleton, mirror
from hands_lib.hand.surface.template import Template, blend_frames, template
from hands_lib.hand.surface.topology import (
    PARTS, SURFACES, Detail, SurfaceParameters, SurfaceTopology, topology,
)  # fmt: skip
from hands_lib.structures import Mesh, TensorFields


@dataclass(frozen=True)
class HandShape(TensorFields):
    """Multipliers of the surface's thickness; one is the rest hand."""

    digit_width: Float[Tensor, "*batch 5 4"]
    digit_depth: Float[Tensor, "*batch 5 4"]
    palm_width: Float[Tensor, "*batch 3"]
    palm_depth: Float[Tensor, "*batch 3"]

    @classmethod
    def rest(cls, *batch: int, like: Tensor | None = None) -> Self:
        options = {} if like is None else {"dtype": like.dtype, "device": like.device}
        return cls(*(torch.ones(*batch, *size, **options) for size in ((5, 4), (5, 4), (3,), (3,))))


def surface_topology(detail: Detail = "plain") -> SurfaceTopology:
    return topology(SURFACES[detail])


def hand_vertices(skeleton: Skeleton, shape: HandShape | None = None, detail: Detail = "plain"):
    parameters = SURFACES[detail]
    t = template(parameters)
    like = skeleton.joints
    joints, batch = skeleton.joints, skeleton.joints.shape[:-2]
    rotations = torch.cat([skeleton.root_rotation[..., None, :, :], skeleton.bone_rotations.flatten(-4, -3)], dim=-3)
    first, second = t.frame_bones.unbind(dim=-1)
    frames = blend_frames(rotations[..., first, :, :], rotations[..., second, :, :], t.frame_blend)
    digits = joints[..., 1:, :].unflatten(-2, (5, 4))
    bones = torch.cat([digits[..., :1, :] - joints[..., None, :1, :], digits[..., 1:, :] - digits[..., :-1, :]], dim=-2)
    lengths = bones.norm(dim=-1)
    palm = lengths[..., 1:, 0].mean(dim=-1, keepdim=True) / t.rest_palm_size
    own = lengths[..., 1:].sum(dim=-1) / t.rest_digit_sizes.to(like)
    scales = torch.cat([(own + palm) / 2, palm], dim=-1)
    size = scales[..., t.term_scale]
    if shape is None:
        shape = HandShape.rest(like=like)
    wide = torch.cat([shape.digit_width.flatten(-2), shape.palm_width], dim=-1)
    deep = torch.cat([shape.digit_depth.flatten(-2), shape.palm_depth], dim=-1)
    low, high = t.term_stations.unbind(dim=-1)
    mix = t.term_station_blend.to(like)
    x, z = (torch.lerp(m[..., low], m[..., high], mix) for m in (wide, deep))
    x, z = torch.broadcast_tensors(x, z)
    offsets = torch.stack([x, torch.ones_like(x), z], dim=-1) * t.term_offset.to(like) * size[..., None]
    vertices = (frames[..., t.term_frame, :, :] @ offsets[..., None])[..., 0].sum(dim=-2)
    return t.joint_weights.to(like) @ joints + vertices


def hand_surface(skeleton: Skeleton, shape: HandShape | None = None, detail: Detail = "plain") -> Mesh:
    return Mesh(hand_vertices(skeleton, shape, detail), surface_topology(detail).faces)


def mirror_mesh(mesh: Mesh) -> Mesh:
    return Mesh(mirror(mesh.vertices), mesh.faces.flip(-1))

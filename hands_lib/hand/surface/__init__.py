"""The closed surface of a hand on top of its skeleton.

Chapter  book/foundations/hand_model.md
Source   Ivashechkin et al., "Two Hands Are Better Than One", Sec. II-A
Units    metres
Frame    the skeleton's; faces turn counter-clockwise seen from outside

`topology` joins the vertices, `template` says where they lie at rest and which bones carry them, `evaluation`
moves them with a skeleton, `kernel` does the same fast on the CPU. A skeleton never needs its surface: what
asks only for joints calls `kinematics.forward_kinematics` and computes nothing of this.

The tip joints lie inside the surface, 1.6 mm before its end on a hand of the rest size.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.hand import lanes
from hands_lib.hand.kinematics import Skeleton, mirror
from hands_lib.hand.surface import kernel
from hands_lib.hand.surface.evaluation import surface_vertices
from hands_lib.hand.surface.template import DIGIT_STATIONS, PALM_STATIONS, Template, template
from hands_lib.hand.surface.topology import (
    PARTS,
    SURFACES,
    Detail,
    SurfaceParameters,
    SurfaceTopology,
    topology,
)
from hands_lib.structures import Mesh, TensorFields

__all__ = [
    "PARTS",
    "SURFACES",
    "Detail",
    "HandShape",
    "SurfaceParameters",
    "SurfaceTopology",
    "hand_surface",
    "mirror_mesh",
    "prepare_surface",
    "surface_topology",
]

_THIN = 0.85


@dataclass(frozen=True)
class HandShape(TensorFields):
    """Thickness as multipliers of the rest hand's, at stations; between two stations it changes linearly.

    All of it already grows with the skeleton: a digit's with half its own length and half the palm's.
    """

    digit_width: Float[Tensor, "*batch 5 4"]
    """From the radial to the ulnar side, at base, middle joint, distal joint and tip of every digit."""
    digit_depth: Float[Tensor, "*batch 5 4"]
    """From back to palm, at the same stations."""
    palm_width: Float[Tensor, "*batch 3"]
    """Of the flesh beside the metacarpals, at wrist, middle of the palm and knuckles."""
    palm_depth: Float[Tensor, "*batch 3"]

    @classmethod
    def rest(cls, *batch: int, like: Tensor | None = None) -> "HandShape":
        """All ones, in the dtype and on the device of `like`."""
        options = {} if like is None else {"dtype": like.dtype, "device": like.device}
        digits, palm = (*batch, 5, DIGIT_STATIONS), (*batch, PALM_STATIONS)
        return cls(*(torch.ones(shape, **options) for shape in (digits, digits, palm, palm)))

    @classmethod
    def thin(cls, *batch: int, like: Tensor | None = None) -> "HandShape":
        """Fingers 15 % thinner. The paper chose its fingers thin on purpose (Sec. III-B), so that what counts
        as an intersection surely is one; by how much it does not say."""
        rest = cls.rest(*batch, like=like)
        return cls(_THIN * rest.digit_width, _THIN * rest.digit_depth, rest.palm_width, rest.palm_depth)


def surface_topology(detail: Detail = "plain") -> SurfaceTopology:
    """Faces and named places of the plain (307 vertices) or refined (699 vertices) surface, on the CPU.

    Computed once and shared: do not write into its tensors. Raises ValueError for an unknown detail.
    """
    return topology(_parameters(detail))


def hand_surface(skeleton: Skeleton, shape: HandShape | None = None, detail: Detail = "plain") -> Mesh:
    """The closed surface around a right hand's skeleton. Differentiable in all of skeleton and shape.

    shape   thickness; None is the rest hand's
    detail  "plain" for 307 vertices and 610 faces, "refined" for 699 and 1394

    A left hand's is `mirror_mesh` of this. Raises ValueError for an unknown detail.
    """
    parameters, like = _parameters(detail), skeleton.joints
    shape = HandShape.rest(like=like) if shape is None else shape
    batch = torch.broadcast_shapes(like.shape[:-2], shape.palm_width.shape[:-1])
    widths, depths = (
        torch.cat([digits.flatten(-2), palm], dim=-1).expand(*batch, -1)
        for digits, palm in ((shape.digit_width, shape.palm_width), (shape.digit_depth, shape.palm_depth))
    )
    root, bones = (
        skeleton.root_rotation.expand(*batch, 3, 3),
        skeleton.bone_rotations.expand(*batch, 5, 4, 3, 3),
    )
    inputs = (like.expand(*batch, 21, 3), root, bones, widths, depths)
    if lanes.served(*inputs):
        vertices = kernel.surface_vertices(*inputs, parameters)
    else:
        vertices = surface_vertices(*inputs, _template(parameters, like.dtype, like.device))
    return Mesh(vertices, _faces(parameters, like.device))


def prepare_surface(detail: Detail, like: Tensor) -> None:
    """Makes what `hand_surface` keeps for a detail, in the dtype and on the device of `like`: an export of it
    cannot see that being made. Raises ValueError for an unknown detail."""
    parameters = _parameters(detail)
    _template(parameters, like.dtype, like.device)
    _faces(parameters, like.device)


def mirror_mesh(mesh: Mesh) -> Mesh:
    """The mesh of the other hand: x -> -x, and the winding turned so that faces still look outwards."""
    return Mesh(mirror(mesh.vertices), mesh.faces.flip(-1))


def _parameters(detail: str) -> SurfaceParameters:
    if detail not in SURFACES:
        raise ValueError(f"unknown detail {detail!r} of the hand surface; known are {', '.join(SURFACES)}")
    return SURFACES[detail]


@cache
def _template(parameters: SurfaceParameters, dtype: torch.dtype, device: torch.device) -> Template:
    return template(parameters).to(device).to(dtype)


@cache
def _faces(parameters: SurfaceParameters, device: torch.device) -> Tensor:
    return topology(parameters).faces.to(device)

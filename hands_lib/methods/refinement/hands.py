"""From 64 numbers a hand to its joints and surface, in space and in the picture.

Units, frames, order and the meaning of a left hand's numbers: see the room's header.

The 64 numbers: 6 for the wrist's rotation (its first two columns before they are made orthonormal), 45 for
the fingers, 10 for the build, and 3 for a weak-perspective camera (scale, shift in u, shift in v). With MANO,
as in the released code, the 45 are coefficients of its pose space and the 10 its shape coefficients. The
project's own hand takes as many numbers for the same parts: the network does not know which hand it has.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hands_lib.hand.numbers import (  # noqa: F401, the room's own names for them
    NUM_BUILD,
    NUM_POSE,
    NUM_ROTATION,
    KinematicHands,
    ManoHands,
    rotation_from_columns,
)
from hands_lib.structures import TensorFields

UNIT = 0.15
"""Metres: lengths inside the network are in this unit."""
NUM_CAMERA = 3
NUM_PARAMETERS = NUM_ROTATION + NUM_POSE + NUM_BUILD + NUM_CAMERA
START = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, *(0.0,) * (NUM_POSE + NUM_BUILD), 1.0, 0.0, 0.0)
"""An unturned mean hand in the middle of the picture: what a new network says of every picture."""


@dataclass(frozen=True)
class Estimate(TensorFields):
    """Two hands as one stage of the network gives them."""

    parameters: Float[Tensor, "batch 2 64"]
    offset: Float[Tensor, "batch 3"]
    """Right wrist minus left wrist, metres."""
    joints: Float[Tensor, "batch 2 21 3"]
    """Metres, about the hand's own wrist, camera axes."""
    vertices: Float[Tensor, "batch 2 vertex 3"]
    joints_uv: Float[Tensor, "batch 2 21 2"]
    vertices_uv: Float[Tensor, "batch 2 vertex 2"]

    def detached(self) -> "Estimate":
        """The same numbers without their history: what a stage hands to the next one."""
        return self.map(Tensor.detach)

    def together(self) -> Float[Tensor, "batch 2 21 3"]:
        """Joints of both hands in one frame, metres: the origin is the right wrist."""
        wrists = torch.stack([torch.zeros_like(self.offset), -self.offset], dim=1)
        return self.joints + wrists[:, :, None]


def joints_alone(joints: Float[Tensor, "batch 2 21 3"]) -> Estimate:
    """Joints of both hands in one frame, metres, as an estimate without numbers, surface or place in the
    picture (uv are 0)."""
    blank = joints.new_zeros(len(joints), 2, NUM_PARAMETERS)
    empty = joints.new_zeros(len(joints), 2, 0, 3)
    wrists = joints[:, :, :1]
    offset = (wrists[:, 0] - wrists[:, 1])[:, 0]
    nowhere = torch.zeros_like(joints[..., :2])
    return Estimate(blank, offset, joints - wrists, empty, nowhere, empty[..., :2])


def decode(
    parameters: Float[Tensor, "batch 2 64"], offset: Float[Tensor, "batch 3"], hands: nn.Module
) -> Estimate:
    """Both hands from their numbers. `hands`: `KinematicHands`, `ManoHands`, or anything with their forward.

    uv = s xyz[:2] / UNIT + t, all of it in the mirrored picture for the left hand.
    """
    columns, pose, build, camera = parameters.split([NUM_ROTATION, NUM_POSE, NUM_BUILD, NUM_CAMERA], dim=-1)
    joints, vertices = hands(pose, build)
    points = torch.cat([joints, vertices], dim=-2) @ rotation_from_columns(columns).mT
    uv = camera[..., None, :1] * points[..., :2] / UNIT + camera[..., None, 1:]
    sides = points.new_tensor([1.0, -1.0])[:, None]
    points = torch.cat([points[..., :1] * sides[..., None], points[..., 1:]], dim=-1)
    uv = torch.cat([uv[..., :1] * sides[..., None], uv[..., 1:]], dim=-1)
    return Estimate(
        parameters, offset, points[..., :21, :], points[..., 21:, :], uv[..., :21, :], uv[..., 21:, :]
    )


def faces_of(hands: nn.Module) -> Int[Tensor, "2 face 3"]:
    """Faces of the right and of the left surface; both turn counter-clockwise seen from outside."""
    return hands.faces

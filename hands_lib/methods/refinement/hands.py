"""From 64 numbers a hand to its joints and surface, in space and in the picture.

Units, frames, order and the meaning of a left hand's numbers: see the room's header.

The 64 numbers: 6 for the wrist's rotation (its first two columns before they are made orthonormal), 45 for
the fingers, 10 for the build, and 3 for a weak-perspective camera (scale, shift in u, shift in v). With MANO,
as in the released code, the 45 are coefficients of its pose space and the 10 its shape coefficients. The
project's own hand takes as many numbers for the same parts: the network does not know which hand it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hands_lib.hand.kinematics import DEFAULT_LIMITS, forward_kinematics, mirror, rest_pose
from hands_lib.hand.mano import ManoHand
from hands_lib.hand.pairs import pair_faces
from hands_lib.hand.surface import HandShape, hand_surface
from hands_lib.hand.surface.topology import Detail
from hands_lib.structures import TensorFields

UNIT = 0.15
"""Metres: lengths inside the network are in this unit."""
NUM_ROTATION, NUM_POSE, NUM_BUILD, NUM_CAMERA = 6, 45, 10, 3
NUM_PARAMETERS = NUM_ROTATION + NUM_POSE + NUM_BUILD + NUM_CAMERA
START = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, *(0.0,) * (NUM_POSE + NUM_BUILD), 1.0, 0.0, 0.0)
"""An unturned mean hand in the middle of the picture: what a new network says of every picture."""

# One unit of a build number: about a standard deviation among adults (relative, as logarithms).
_SIZE, _DIGIT, _PALM, _WIDTH, _DEPTH = 0.08, 0.05, 0.05, 0.06, 0.06


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


class KinematicHands(nn.Module):
    """The project's own hand: joint angles, ten numbers of build, the closed surface.

    The 45 numbers are flexion, abduction and twist of the 15 joints, in half ranges about the middle of
    `DEFAULT_LIMITS`; nothing clamps them, as nothing clamps MANO's. The build is size, length of the five
    digits, length of the palm, width and depth of the digits, thickness of the palm.
    """

    def __init__(self, detail: Detail = "refined"):
        super().__init__()
        self.detail: Detail = detail
        self.register_buffer("faces", pair_faces(detail), persistent=False)
        lower, upper = DEFAULT_LIMITS.joint_lower.float(), DEFAULT_LIMITS.joint_upper.float()
        self.register_buffer("middle", (lower + upper) / 2, persistent=False)
        self.register_buffer("half_range", (upper - lower) / 2, persistent=False)

    def forward(
        self, pose: Float[Tensor, "*batch 2 45"], build: Float[Tensor, "*batch 2 10"]
    ) -> tuple[Float[Tensor, "*batch 2 21 3"], Float[Tensor, "*batch 2 vertex 3"]]:
        """Joints and surface of RIGHT hands at the origin, unturned, metres; index 1 stands for the mirrored
        left hand."""
        size, digits, palm, width, depth, flesh = build.split([1, 5, 1, 1, 1, 1], dim=-1)
        factors = torch.cat(
            [
                (_SIZE * size + _PALM * palm)[..., None].expand(*digits.shape, 1),
                (_SIZE * size + _DIGIT * digits)[..., None].expand(*digits.shape, 3),
            ],
            dim=-1,
        ).exp()
        rest = rest_pose(*build.shape[:-1], like=build)
        skeleton = forward_kinematics(
            replace(
                rest,
                joint_angles=self.middle + self.half_range * pose.unflatten(-1, (5, 3, 3)),
                bone_lengths=rest.bone_lengths * factors,
            )
        )
        shape = HandShape.rest(*build.shape[:-1], like=build)
        shape = HandShape(
            shape.digit_width * (_WIDTH * width)[..., None].exp(),
            shape.digit_depth * (_DEPTH * depth)[..., None].exp(),
            shape.palm_width,
            shape.palm_depth * (_DEPTH * flesh).exp(),
        )
        return skeleton.joints, hand_surface(skeleton, shape, self.detail).vertices


class ManoHands(nn.Module):
    """MANO through `hand.mano`, from a reader's own files: 45 pose coefficients, 10 shape coefficients.

    right, left   arrays as `hand.mano.read_mano` gives them; the left ones after `fix_left_shape` where the
                  data set's convention says so

    Raises ManoError where arrays do not have MANO's shapes, ImportError where smplx is not installed.
    """

    def __init__(
        self, right: Mapping[str, np.ndarray], left: Mapping[str, np.ndarray], tips: str = "manopth"
    ):
        super().__init__()
        options = {"flat_hand_mean": False, "tips": tips, "components": NUM_POSE}
        self.hands = nn.ModuleList([ManoHand(right, "right", **options), ManoHand(left, "left", **options)])
        faces = torch.stack([self.hands[0].faces, self.hands[1].faces])
        self.register_buffer("faces", faces, persistent=False)

    def forward(
        self, pose: Float[Tensor, "*batch 2 45"], build: Float[Tensor, "*batch 2 10"]
    ) -> tuple[Float[Tensor, "*batch 2 21 3"], Float[Tensor, "*batch 2 778 3"]]:
        """As `KinematicHands.forward`."""
        surfaces = []
        for side, hand in enumerate(self.hands):
            fingers, betas = pose[..., side, :].flatten(0, -2), build[..., side, :].flatten(0, -2)
            still = torch.zeros_like(betas[:, :3])
            posed = hand(torch.cat([still, fingers], dim=-1), betas, still)
            points = torch.cat([posed.joints, posed.vertices], dim=1) - posed.joints[:, :1]
            surfaces.append(mirror(points) if side == 1 else points)
        points = torch.stack(surfaces, dim=1).unflatten(0, pose.shape[:-2])
        return points[..., :21, :], points[..., 21:, :]


def rotation_from_columns(columns: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """The given two columns made orthonormal, the first before the second (Gram and Schmidt)."""
    first = nn.functional.normalize(columns[..., :3], dim=-1)
    second = columns[..., 3:] - (first * columns[..., 3:]).sum(dim=-1, keepdim=True) * first
    second = nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


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

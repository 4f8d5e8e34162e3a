"""Hands from numbers that a network says: 45 for the fingers and 10 for the build.

Units    metres, radians; the numbers have no unit
Frames   RIGHT hands at the origin, unturned (`hand.kinematics`)

The 45 numbers and the 10 are either those of the project's own hand or MANO's: a network takes as many for
the same parts, and does not know which hand it has.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hands_lib.hand.kinematics import DEFAULT_LIMITS, forward_kinematics, mirror, rest_pose
from hands_lib.hand.mano import ManoHand
from hands_lib.hand.pairs import pair_faces
from hands_lib.hand.surface import HandShape, hand_surface
from hands_lib.hand.surface.topology import Detail

NUM_ROTATION, NUM_POSE, NUM_BUILD = 6, 45, 10

# One unit of a build number: about a standard deviation among adults (relative, as logarithms).
_SIZE, _DIGIT, _PALM, _WIDTH, _DEPTH = 0.08, 0.05, 0.05, 0.06, 0.06


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
        self, pose: Float[Tensor, "*batch hand 45"], build: Float[Tensor, "*batch hand 10"]
    ) -> tuple[Float[Tensor, "*batch hand 21 3"], Float[Tensor, "*batch hand vertex 3"]]:
        """Joints and surface of RIGHT hands at the origin, unturned, metres; of two, index 1 stands for the
        mirrored left hand."""
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
        self, pose: Float[Tensor, "*batch hand 45"], build: Float[Tensor, "*batch hand 10"]
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

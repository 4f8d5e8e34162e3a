"""Grasps let go: the pieces of hand and object that a simulator knows, and a control that holds less.

Chapter  book/hand_object/grasp_physics.md
Units    metres; results as `metrics.simulation`
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.hand.kinematics import forward_kinematics, rest_pose
from hands_lib.hand.surface import hand_surface, surface_topology
from hands_lib.metrics.simulation import Drops, convex_pieces, drop
from hands_lib.structures import HandPose
from hands_lib.worlds.grasps import hand_regions
from hands_lib.worlds.objects import ObjectShape

_TIPS = [4, 8, 12, 16, 20]


@cache
def hand_pieces() -> tuple[Int[Tensor, " vertex"], ...]:
    """Vertices of the refined surface whose convex hulls together are about the hand: fifteen phalanges, and
    the palm in five columns, one along every metacarpal. A piece takes the next ring of its neighbour, so
    that there is no gap between them."""
    topology, skeleton = surface_topology("refined"), forward_kinematics(rest_pose(like=torch.zeros(())))
    rest = hand_surface(skeleton, detail="refined").vertices
    steps = torch.linspace(0.2, 1, 9)[:, None, None]
    bones = torch.lerp(skeleton.joints[:1], skeleton.joints[[1, 5, 9, 13, 17]], steps)
    column = torch.cdist(rest, bones.flatten(0, 1)).view(len(rest), 9, 5).amin(dim=1).argmin(dim=1)
    piece = torch.where(hand_regions() == 0, column, 4 + hand_regions())
    of_face = piece[topology.faces].amin(dim=1)
    return tuple(topology.faces[of_face == number].unique() for number in range(20))


def drop_grasps(
    hand: Float[Tensor, "grasp vertex 3"],
    shapes: Sequence[ObjectShape],
    shape: Int[Tensor, " grasp"],
    world_from_object: Float[Tensor, "grasp 4 4"],
    seconds: float = 0.5,
) -> Drops:
    """What becomes of the objects when all that holds them is the hand.

    Raises SimulationError where the extra `simulation` is not installed.
    """
    held = {number: convex_pieces(shapes[number].mesh) for number in shape.unique().tolist()}
    hands = [[own[piece].double().numpy() for piece in hand_pieces()] for own in hand.detach()]
    return drop(hands, [held[number] for number in shape.tolist()], world_from_object, seconds)


def opened_by(pose: HandPose, opened: Float[Tensor, "batch 5 3 3"], distance: float) -> HandPose:
    """Hands whose digits went back towards their `opened` angles until the tips moved by `distance` metres,
    or as far as that goes: a control that holds less than what it was."""
    joints = forward_kinematics(pose).joints[:, _TIPS]
    away = forward_kinematics(replace(pose, joint_angles=opened)).joints[:, _TIPS]
    share = (distance / (away - joints).norm(dim=-1).clamp(min=1e-9)).clamp(max=1)
    return replace(pose, joint_angles=torch.lerp(pose.joint_angles, opened, share[..., None, None]))

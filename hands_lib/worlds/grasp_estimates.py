"""Grasps as an estimator would give them, with errors of a chosen size, and how near they are to the truth.

Chapter  book/hand_object/grasp_physics.md
Units    metres, radians; millimetres and percent in scores
Frames   world
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.limited_distance import counted_vertices, padded_meshes, signed_distance_below
from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.surface import HandShape, surface_topology
from hands_lib.structures import HandPose, TensorFields
from hands_lib.worlds.estimates import mean_joint_error, perturb
from hands_lib.worlds.grasps import GraspContact, Grasps, hand_in_frame, right_hands
from hands_lib.worlds.identities import Identities
from hands_lib.worlds.objects import ObjectShape

TYPICAL = 0.009
"""Metres: a mean joint error as methods print it; the object's error grows with it."""
_SHIFT, _TURN = 0.004, 0.05  # deviations of the object's typical error, metres and radians along each axis
_NEAR = 0.05  # metres: farther away no distance is needed


@dataclass(frozen=True)
class GraspScene(TensorFields):
    """Hands and padded objects of one batch."""

    pose: HandPose
    shape: HandShape
    hand: Float[Tensor, "grasp vertex 3"]
    object: Float[Tensor, "grasp object_vertex 3"]
    faces: Int[Tensor, "grasp face 3"]
    """Padded as in `PaddedMeshes`."""
    world_from_object: Float[Tensor, "grasp 4 4"]


def scene_of(grasps: Grasps, shapes: Sequence[ObjectShape], people: Identities) -> GraspScene:
    """The true one; `shape` and `identity` of the grasps number the rows of both."""
    hand_shape = right_hands(people[grasps.identity].shape)
    templates = padded_meshes([shape.mesh for shape in shapes])[grasps.shape]
    pose = grasps.world_from_object
    return GraspScene(
        grasps.pose,
        hand_shape,
        hand_in_frame(grasps.pose, hand_shape),
        templates.vertices @ pose[:, :3, :3].mT + pose[:, None, :3, 3],
        templates.faces,
        pose,
    )


def estimated_scene(truth: GraspScene, joint_error: float, generator: torch.Generator) -> GraspScene:
    """With a mean joint error of exactly `joint_error` metres in every hand, and an error of the object's
    pose that grows with it."""
    size, num = joint_error / TYPICAL, len(truth.hand)
    pose = perturb(truth.pose, joint_error, generator)
    turn = axis_angle_to_matrix(size * _TURN * torch.randn(num, 3, generator=generator))
    shift = size * _SHIFT * torch.randn(num, 3, generator=generator)
    moved = torch.eye(4).repeat(num, 1, 1)
    moved[:, :3, :3] = turn @ truth.world_from_object[:, :3, :3]
    moved[:, :3, 3] = truth.world_from_object[:, :3, 3] + shift
    middle = truth.world_from_object[:, None, :3, 3]
    held = (truth.object - middle) @ turn.mT + middle + shift[:, None]
    return GraspScene(pose, truth.shape, hand_in_frame(pose, truth.shape), held, truth.faces, moved)


def contact_of(
    hand: Float[Tensor, "grasp vertex 3"],
    held: Float[Tensor, "grasp object_vertex 3"],
    faces: Int[Tensor, "grasp face 3"],
) -> GraspContact:
    """Signed distances both ways between hands and padded objects; infinite beyond 5 cm and for padding."""
    topology = surface_topology("refined").faces
    found = []
    for points, its, vertices, other in ((hand, topology, held, faces), (held, faces, hand, topology)):
        number = counted_vertices(points, its)
        near = signed_distance_below(_NEAR, points, number, vertices, other)
        every = points.new_full(points.shape[:2], math.inf)
        found.append(every.index_put((near.item, near.point), near.distance))
    return GraspContact(*found)


def scene_scores(
    pose: HandPose, contact: GraspContact, truth: GraspScene, true_contact: GraspContact
) -> dict[str, float]:
    """Means over a batch: joint_error, penetration (deepest vertex of either; mm), mean_depth (of all hand
    vertices, mm), deeper (% of pairs deeper than 2 mm), regions (of sixteen, in contact), contact_f1 (of
    these regions against the true ones, %), touching (% of pairs nearer than 2 mm)."""
    regions, expected = contact.regions, true_contact.regions
    both = (regions & expected).sum().item()
    return {
        "joint_error": 1000 * mean_joint_error(pose, truth.pose).mean().item(),
        "penetration": 1000 * contact.penetration.mean().item(),
        "mean_depth": 1000 * (-contact.hand).clamp(min=0).mean().item(),
        "deeper": 100 * (contact.penetration > 0.002).float().mean().item(),
        "regions": regions.sum(dim=1).float().mean().item(),
        "contact_f1": 200 * both / max(int(regions.sum() + expected.sum()), 1),
        "touching": 100 * (contact.hand.amin(dim=1) < 0.002).float().mean().item(),
    }

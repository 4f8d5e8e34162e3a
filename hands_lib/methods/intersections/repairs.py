"""Ways to take intersecting hands apart beside `untangle`, and one measure for all of them.

Chapter  book/intersections/untangle.md
Source   goes beyond Ivashechkin et al., "Two Hands Are Better Than One"; their way, a network that is
         fine-tuned with Eq. 1, is among those that are compared
Units    metres in, millimetres and percent out
Frames   joints as `untangle` takes them; surfaces as `untangle_steps` has them: each hand a right one

Whatever made the joints, intersections are counted on thin surfaces that are fitted to them.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.rotations import cross_product_matrix
from hands_lib.hand.inverse_kinematics import bone_lengths_of, inverse_kinematics
from hands_lib.hand.kinematics import clamp_to_limits, forward_kinematics, mirror
from hands_lib.hand.pairs import left_mirrored
from hands_lib.hand.surface import HandShape, hand_surface, surface_topology
from hands_lib.methods.intersections.estimator_training import predict
from hands_lib.methods.intersections.estimators import centred
from hands_lib.methods.intersections.untangle_checks import (
    exact_intersections,
    shared_volume,
)
from hands_lib.structures import Mesh


def thin_surfaces(joints: Float[Tensor, "pair 2 21 3"]) -> Float[Tensor, "pair 2 307 3"]:
    """Vertices of the thin plain surface on the pose nearest to the joints, with their bone lengths."""
    exact = joints.double()
    fit = inverse_kinematics(left_mirrored(exact), bone_lengths=bone_lengths_of(exact))
    skeleton = forward_kinematics(fit.pose.to(torch.float32))
    return hand_surface(skeleton, HandShape.thin(like=skeleton.joints)).vertices


def plain_penalty(
    joints: Float[Tensor, "pair 2 21 3"],
    steps: int,
    stiffness: float = 100.0,
    learning_rate: float = 2e-3,
) -> Float[Tensor, "pair 2 21 3"]:
    """What one would write first: Adam over the poses of both hands, on the squared distance to the joints
    plus the squared depth of every vertex inside the other hand. No growth, no second way, no exact end.
    """
    own = left_mirrored(joints)
    start = inverse_kinematics(own, bone_lengths=bone_lengths_of(own)).pose
    turn = torch.zeros_like(start.root_translation).requires_grad_(True)
    place = torch.zeros_like(turn).requires_grad_(True)
    angles = start.joint_angles.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([turn, place, angles], lr=learning_rate)
    faces = surface_topology("plain").faces.to(joints.device)

    def skeleton_now():
        rotation = torch.linalg.matrix_exp(cross_product_matrix(turn)) @ start.root_rotation
        translation = start.root_translation + place
        return forward_kinematics(
            replace(start, root_rotation=rotation, root_translation=translation, joint_angles=angles)
        )

    for _ in tqdm(range(steps), desc="plain penalty", delay=5):
        skeleton = skeleton_now()
        vertices = hand_surface(skeleton, HandShape.thin(like=joints)).vertices
        depth = -signed_distance(mirror(vertices).flip(1), Mesh(vertices, faces)).distance
        loss = (skeleton.joints - own).square().sum()
        loss = loss + stiffness * depth.clamp(min=0).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            angles.copy_(clamp_to_limits(replace(start, joint_angles=angles)).joint_angles)
    return left_mirrored(skeleton_now().joints.detach())


def pushed_by_a_penalty(joints: Float[Tensor, "pair 2 21 3"], steps: int) -> Float[Tensor, "pair 2 21 3"]:
    """`plain_penalty` on the pairs that intersect; the others have no penalty, and stay as they are."""
    meets = exact_intersections(thin_surfaces(joints))
    result = joints.clone()
    if bool(meets.any()):
        result[meets] = plain_penalty(joints[meets], steps)
    return result


def said_in_place(network: nn.Module, joints: Float[Tensor, "pair 2 21 3"]) -> Float[Tensor, "pair 2 21 3"]:
    """What a 3D-to-3D network says of joints, where they stand: its answer is about the middle of a pair."""
    return predict(network, joints).joints + (joints - centred(joints))


def repair_scores(
    joints: Float[Tensor, "pair 2 21 3"],
    given: Float[Tensor, "pair 2 21 3"],
    truth: Float[Tensor, "pair 2 21 3"],
) -> dict[str, float]:
    """What became of the `given` pairs: how much less volume they share (percent of all that was shared,
    negative where it is more), how many still intersect (percent), and errors and ways of the joints (mm).

    Raises:
        ValueError: the given pairs share no volume, so there is nothing to repair.
    """
    surfaces = thin_surfaces(joints)
    before, after = (shared_volume(s).sum() for s in (thin_surfaces(given), surfaces))
    if not before > 0:
        raise ValueError(f"none of {len(given)} pairs shares volume: nothing can be removed")
    way = 1000 * (joints - given).norm(dim=-1)
    old, new = (1000 * (j - truth).norm(dim=-1).mean() for j in (given, joints))
    return {
        "volume_removed": 100 * float(1 - after / before),
        "pairs_intersecting": 100 * float(exact_intersections(surfaces).double().mean()),
        "mpjpe_before": float(old),
        "mpjpe": float(new),
        "mpjpe_change": float(new - old),
        "mean_displacement": float(way.mean()),
        "max_displacement": float(way.max()),
    }

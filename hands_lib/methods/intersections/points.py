"""The points of a hand at which intersections are tested (Sec. II-C, Fig. 3).

Chapter  book/intersections/loss.md
Source   Ivashechkin et al., "Two Hands Are Better Than One", Sec. II-C
Units    metres
Frame    any world; functions of ONE hand take right hands: a left hand is reflected first, and its points
         are reflected back

Point sets, in this order where they have several parts:

sparse                21: the joints
dense                121: the joints and, on each of the 20 edges, five points at j/6 of its length
mesh                 328: the joints and the 307 vertices of the thin plain surface
mesh without joints  307: the vertices alone. The paper says "skeleton with mesh surface points" below Fig. 3
                     and "the whole hand mesh surface" in the text; `mesh` follows the figure

A surface needs to know how the bones are turned about themselves, which joints alone do not say. Where they
come from forward kinematics, give its `Skeleton`. Where there are joints only, `skeleton_of_joints` takes the
turns from inverse kinematics; this is the book's reconstruction, the paper does not say what it does.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.geometry.rotations import cross_product_matrix
from hands_lib.hand.inverse_kinematics import inverse_kinematics
from hands_lib.hand.kinematics import Skeleton, forward_kinematics, mirror
from hands_lib.hand.skeleton import EDGES, NUM_JOINTS
from hands_lib.hand.surface import HandShape, hand_surface

NUM_POINTS = {"sparse": 21, "dense": 121, "mesh": 328, "mesh without joints": 307}
POINT_SETS = tuple(NUM_POINTS)
POINTS_ON_AN_EDGE = 5

reflect = mirror
"""The bar of Eq. 1, "flipped along the x-axis": x -> -x. It turns left hands into right ones and back."""

_BASE_JOINTS = [1, 5, 9, 13, 17]


def dense_points(joints: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch 121 3"]:
    """The joints, then five points on each edge, edge by edge from parent to child."""
    parent, child = (joints[..., list(ends), :] for ends in zip(*EDGES, strict=True))
    steps = torch.arange(1, POINTS_ON_AN_EDGE + 1, dtype=joints.dtype, device=joints.device)
    share = (steps / (POINTS_ON_AN_EDGE + 1))[:, None]
    between = parent[..., None, :] + share * (child - parent)[..., None, :]
    return torch.cat([joints, between.flatten(-3, -2)], dim=-2)


def surface_points(skeleton: Skeleton) -> Float[Tensor, "*batch 307 3"]:
    """The vertices of the thin plain surface of right hands."""
    return hand_surface(skeleton, HandShape.thin(like=skeleton.joints)).vertices


def hand_points(
    joints: Float[Tensor, "*batch 21 3"], point_set: str, skeleton: Skeleton | None = None
) -> Float[Tensor, "*batch point 3"]:
    """The point set of right hands; differentiable in joints and skeleton.

    skeleton  of the same hands, for the surface; None takes it from the joints (`skeleton_of_joints`)

    Raises ValueError for an unknown point set, joints that are not 21 points, and, where a surface is asked
    for without a skeleton, for joints that inverse kinematics refuses.
    """
    if point_set not in POINT_SETS:
        raise ValueError(f"unknown point set {point_set!r}; known are {', '.join(POINT_SETS)}")
    if joints.shape[-2:] != (NUM_JOINTS, 3):
        raise ValueError(f"joints must have shape (..., 21, 3), but have {tuple(joints.shape)}")
    if point_set == "sparse":
        return joints
    if point_set == "dense":
        return dense_points(joints)
    surface = surface_points(skeleton_of_joints(joints) if skeleton is None else skeleton)
    return surface if point_set == "mesh without joints" else torch.cat([joints, surface], dim=-2)


def skeleton_of_joints(joints: Float[Tensor, "*batch 21 3"], num_refinements: int = 0) -> Skeleton:
    """A skeleton with exactly these joints of right hands, differentiable in them.

    The turns of bones about themselves and of the hand are those of the fitted pose; then every bone is
    turned along its own two joints, whatever the fit left over. For joints that a hand can have this is the
    fit itself.

    Derivatives: inverse kinematics has none, so that the hand's turn is continued by the rigid motion that
    fits the motion of the palm, and each bone by the shortest turn beyond it. Thus a rigid motion of all
    joints moves the whole surface rigidly, to first order. Not contained: that bending a finger may twist it.

    num_refinements  of the fit. The closed form (0) is enough here, since joints are met anyway

    Raises ValueError for joints that inverse kinematics refuses.
    """
    held = joints.detach()
    fitted = forward_kinematics(inverse_kinematics(held, num_refinements=num_refinements).pose)
    turn = _palm_turn(joints, held)
    bones = turn[..., None, None, :, :] @ fitted.bone_rotations
    directions = torch.stack([joints[..., c, :] - joints[..., p, :] for p, c in EDGES], dim=-2)
    directions = torch.nn.functional.normalize(directions, dim=-1).unflatten(-2, (5, 4))
    return Skeleton(joints, _shortest_turn(bones[..., 1], directions) @ bones, turn @ fitted.root_rotation)


def _palm_turn(moved: Tensor, held: Tensor) -> Float[Tensor, "*batch 3 3"]:
    """The identity, with the derivative of the rotation that best carries the palm from `held` to `moved`."""
    arms = held[..., _BASE_JOINTS, :] - held[..., :1, :]
    motion = moved[..., _BASE_JOINTS, :] - moved[..., :1, :] - arms
    identity = torch.eye(3, dtype=held.dtype, device=held.device)
    inertia = arms.square().sum(dim=(-1, -2))[..., None, None] * identity - arms.mT @ arms
    moment = torch.linalg.cross(arms, motion).sum(dim=-2)
    return identity + cross_product_matrix(torch.linalg.solve(inertia, moment))


def _shortest_turn(start: Tensor, end: Tensor) -> Float[Tensor, "*batch 3 3"]:
    """The rotation about the common normal that takes one unit vector to another."""
    cross = cross_product_matrix(torch.linalg.cross(start, end))
    cosine = (start * end).sum(dim=-1)[..., None, None]
    # Opposite directions have no shortest turn; a fitted bone is never that far from its joints.
    identity = torch.eye(3, dtype=start.dtype, device=start.device)
    return identity + cross + cross @ cross / (1 + cosine).clamp(min=1e-3)

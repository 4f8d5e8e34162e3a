"""Settling: a hand and an object that were estimated apart, moved until they touch and do not share space.

Nothing is learned here: it is the rule that a loss on contact and penetration has to beat. All pairs of a
batch are moved together by Adam.

Units    metres and radians; millimetres inside the energy
Frames   hand and object in one frame, any; right hands (a left one mirrored with its object)

The energy of a pair, with phi the signed distance (negative inside), tau a tolerance and the parts of the
hand palm and digits:

    penetration   mean_v relu(-(phi_O(v) + tau)) + mean_u relu(-(phi_H(u) + tau)): the hinge of `physics`
    contact       mean over the parts that are nearer than `reach`: relu(least phi_O of the part)
    stay          squares of what was changed, each against its own deviation
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.limited_distance import counted_vertices, signed_distance_below
from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.kinematics import DEFAULT_LIMITS, clamp_to_limits, forward_kinematics
from hands_lib.hand.surface import HandShape, hand_surface, surface_topology
from hands_lib.methods.hand_object.physics import TOLERANCE, hinge
from hands_lib.structures import HandPose, TensorFields

_PARTS = 6  # palm and five digits


@dataclass(frozen=True)
class SettlingSettings:
    """Weights of the energy, and how long is searched."""

    penetration: float = 10.0
    """Of a millimetre of the mean hinge: few vertices are deep, so that it is small."""
    contact: float = 0.3
    """Of a millimetre of the parts' mean gap."""
    stay: float = 0.1
    reach: float = 0.012
    """Metres: parts that are farther away are not drawn to the object."""
    tolerance: float = TOLERANCE
    shift: float = 0.006
    """Deviation of wrist and object, metres;"""
    turn: float = 0.06
    """of both in radians about each axis;"""
    bend: float = 0.12
    """and of every flexion and abduction, radians."""
    steps: int = 60
    rate: float = 0.08
    """In units of these deviations."""

    def __post_init__(self) -> None:
        least = min(self.penetration, self.contact, self.stay, self.reach)
        if (
            least < 0
            or min(self.tolerance, self.shift, self.turn, self.bend, self.rate) <= 0
            or self.steps < 0
        ):
            raise ValueError(f"weights, reach and steps are not negative, all else is positive: {self}")


@dataclass(frozen=True)
class Settled(TensorFields):
    """Where hand and object came to lie."""

    pose: HandPose
    rotation: Float[Tensor, "batch 3 3"]
    """Of the object about its middle, the mean of its vertices;"""
    translation: Float[Tensor, "batch 3"]
    """and its shift, metres."""
    middle: Float[Tensor, "batch 3"]
    hand: Float[Tensor, "batch vertex 3"]
    object: Float[Tensor, "batch object_vertex 3"]

    def moved(self, frame_from_object: Float[Tensor, "batch 4 4"]) -> Float[Tensor, "batch 4 4"]:
        """The object's poses, given those that it had before."""
        pose = frame_from_object.clone()
        pose[:, :3, :3] = self.rotation @ frame_from_object[:, :3, :3]
        offset = (frame_from_object[:, :3, 3] - self.middle)[..., None]
        pose[:, :3, 3] = (self.rotation @ offset)[..., 0] + self.middle + self.translation
        return pose


def settle(
    pose: HandPose,
    shape: HandShape,
    object_vertices: Float[Tensor, "batch object_vertex 3"],
    object_faces: Int[Tensor, "*maybe_batch object_face 3"],
    settings: SettlingSettings | None = None,
) -> Settled:
    """Move every hand (wrist and joints within their limits) and object (rigidly) down its energy.

    shape           of each hand, as `hand_surface` takes it
    object_faces    of one object for all, or padded (`geometry.limited_distance.PaddedMeshes`)

    Raises GeometryError for meshes that do not fit, or are not finite.
    """
    settings = settings or SettlingSettings()
    like, num = pose.root_translation, len(pose.root_translation)
    topology = surface_topology("refined")
    part, faces = topology.part.to(like.device), topology.faces.to(like.device)
    counted = counted_vertices(object_vertices, object_faces)
    real = torch.arange(object_vertices.shape[1], device=like.device) < counted[:, None]
    middle = (object_vertices * real[..., None]).sum(dim=1, keepdim=True) / counted[:, None, None]
    # Hand and object: shift, turn; then flexion and abduction of fifteen joints. In units of deviations.
    free = like.new_zeros(num, 2 * 6 + 30).requires_grad_()

    def moved() -> tuple[HandPose, Tensor, Tensor]:
        shift, turn = settings.shift * free[:, 0:3], axis_angle_to_matrix(settings.turn * free[:, 3:6])
        its_shift, its_turn = (
            settings.shift * free[:, 6:9],
            axis_angle_to_matrix(settings.turn * free[:, 9:12]),
        )
        angles = settings.bend * free[:, 12:].view(num, 5, 3, 2)
        changed = replace(
            pose,
            root_translation=pose.root_translation + shift,
            root_rotation=turn @ pose.root_rotation,
            joint_angles=pose.joint_angles + torch.nn.functional.pad(angles, (0, 1)),
        )
        return clamp_to_limits(changed, DEFAULT_LIMITS), its_turn, its_shift

    def surfaces() -> tuple[HandPose, Tensor, Tensor, Tensor, Tensor]:
        changed, turn, shift = moved()
        hand = hand_surface(forward_kinematics(changed), shape, detail="refined").vertices
        held = (object_vertices - middle) @ turn.mT + middle + shift[:, None]
        return changed, turn, shift, hand, held

    optimizer = torch.optim.Adam([free], lr=settings.rate, betas=(0.9, 0.95))
    for _ in range(settings.steps):
        _, _, _, hand, held = surfaces()
        energy = settle_energy(hand, held, faces, object_faces, part, settings)
        energy = energy.sum() + settings.stay * free.square().sum() / free.shape[1]
        (free.grad,) = torch.autograd.grad(energy, free)
        optimizer.step()
    with torch.no_grad():
        changed, turn, its_shift, hand, held = surfaces()
        return Settled(changed, turn, its_shift, middle[:, 0], hand, held)


def settle_energy(
    hand: Float[Tensor, "batch vertex 3"],
    held: Float[Tensor, "batch object_vertex 3"],
    hand_faces: Int[Tensor, "face 3"],
    object_faces: Int[Tensor, "*maybe_batch object_face 3"],
    part: Int[Tensor, " vertex"],
    settings: SettlingSettings,
) -> Float[Tensor, " batch"]:
    """Weighted penetration and contact of every pair, by millimetres; `part` of a vertex from 0 to 5."""
    num, tolerance = len(hand), settings.tolerance
    counts = counted_vertices(hand, hand_faces), counted_vertices(held, object_faces)
    near = signed_distance_below(settings.reach, hand, counts[0], held, object_faces)
    deep = signed_distance_below(-tolerance, held, counts[1], hand, hand_faces)
    penetration = hand.new_zeros(num)
    for found, number in ((near, counts[0]), (deep, counts[1])):
        penetration = penetration.index_add(0, found.item, hinge(found, number, tolerance))
    least = hand.new_full((num * _PARTS,), settings.reach)
    where = near.item * _PARTS + part[near.point]
    least = least.scatter_reduce(0, where, near.distance, "amin").view(num, _PARTS)
    drawn = least < settings.reach
    gap = (least.relu() * drawn).sum(dim=1) / drawn.sum(dim=1).clamp(min=1)
    return 1000 * (settings.penetration * penetration + settings.contact * gap)

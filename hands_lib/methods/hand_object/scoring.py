"""What estimates are worth: hand, object, and how the two meet, picture by picture.

Units     millimetres; shares from 0 to 1; contact in percent
Protocol  hands about their wrist, unscaled; and after the best similarity (Procrustes, mirror images allowed,
          as HO-3D's program). The wrist's place in the camera's frame is given to every row. Objects: the
          pose nearest to the estimate among those that look the same

The abstract names eight quantities: joint and mesh error, object centre error, closest point distance, ADD is
ours beside it, penetration depth, contact ratio, speed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.geometry.alignment import nearest_rotation
from hands_lib.geometry.limited_distance import signed_distance_below
from hands_lib.hand.surface import surface_topology
from hands_lib.methods.hand_object.examples import Examples, Templates, canonical, placed
from hands_lib.methods.hand_object.network import Prediction
from hands_lib.methods.hand_object.pnp import weighted_pnp
from hands_lib.metrics.hand_object import similarity_aligned
from hands_lib.structures import TensorFields

NEAR = 0.005
"""Metres: a hand that is nearer touches (GraspTTA)."""
HIDDEN = ("least hidden third", "middle third", "most hidden third")


@dataclass(frozen=True)
class Estimate(TensorFields):
    """A hand and an object's pose, however they were found; about the wrist."""

    joints: Float[Tensor, "batch 21 3"]
    vertices: Float[Tensor, "batch vertex 3"]
    rotation: Float[Tensor, "batch 3 3"]
    translation: Float[Tensor, "batch 3"]


def estimate_of(
    found: Prediction, target: Examples, templates: Templates, pose: str = "regressed"
) -> Estimate:
    """A network's estimate. With `pose="points"` the object is where its control points are seen: weighted
    PnP, which needs the camera, and the wrist's place to speak about the wrist."""
    if pose == "regressed":
        return Estimate(found.joints, found.vertices, found.rotation, found.translation)
    size = target.image.shape[-1]
    pixels = ((found.control_uv + 1) * size - 1) / 2
    weights = found.confidence.clamp(min=1e-3)
    rotation, there = weighted_pnp(templates.control[target.shape], pixels, weights, target.intrinsics)
    return Estimate(found.joints, found.vertices, rotation, there - target.wrist)


def true_estimate(target: Examples) -> Estimate:
    """The oracle: nothing is wrong, so what it scores is the world's own contact."""
    return Estimate(target.joints, target.vertices, target.rotation, target.translation)


def constant_estimate(learned: Examples, templates: Templates, num: int) -> Estimate:
    """The mean of what is learned from, `num` times: a row without learning that sees no picture."""
    turns = canonical(learned.rotation, templates.symmetries[learned.shape])
    means = (learned.joints, learned.vertices, turns, learned.translation)
    joints, vertices, turn, translation = (values.mean(dim=0) for values in means)
    found = (joints, vertices, nearest_rotation(turn), translation)
    return Estimate(*(value.expand(num, *value.shape) for value in found))


@torch.no_grad()
def scores(found: Estimate, target: Examples, templates: Templates) -> dict[str, Float[Tensor, " batch"]]:
    """Every quantity of every picture."""

    def mean(a: Tensor, b: Tensor) -> Tensor:
        return 1000 * torch.linalg.vector_norm(a - b, dim=-1).mean(dim=1)

    own = templates.vertices[target.shape]
    real = torch.arange(own.shape[1], device=own.device) < templates.num_vertices[target.shape][:, None]
    return {
        "hand_joint_error": mean(found.joints, target.joints),
        "hand_joint_error_aligned": mean(similarity_aligned(found.joints, target.joints), target.joints),
        "hand_mesh_error": mean(found.vertices, target.vertices),
        "hand_mesh_error_aligned": mean(similarity_aligned(found.vertices, target.vertices), target.vertices),
        "object_centre_error": 1000
        * torch.linalg.vector_norm(found.translation - target.translation, dim=-1),
        **_object_errors(found, target, templates, own, real),
        **_interaction(found, target, templates, own),
    }


def _object_errors(
    found: Estimate, target: Examples, templates: Templates, own: Tensor, real: Bool[Tensor, "batch vertex"]
) -> dict[str, Tensor]:
    """ADD of the nearest pose that looks the same, over the template's vertices; ADD-S of every fourth of
    them to all."""
    same = target.rotation[:, None] @ templates.symmetries[target.shape]
    # Nearest by the box's points: 21 instead of 1,000 for every symmetry.
    control = templates.control[target.shape]
    ours = placed(control, found.rotation, found.translation)
    off = (control[:, None] @ same.mT + target.translation[:, None, None] - ours[:, None]).norm(dim=-1)
    best = same[torch.arange(len(same)), off.mean(dim=-1).argmin(dim=1)]
    ours, theirs = placed(own, found.rotation, found.translation), placed(own, best, target.translation)
    few, asked = ours[:, ::4], real[:, ::4]
    count = real.sum(dim=1)
    add = torch.where(real, (ours - theirs).norm(dim=-1), 0).sum(dim=1) / count
    nearest = []
    for some in torch.arange(len(own)).split(32):
        away = torch.cdist(few[some], theirs[some]).masked_fill_(~real[some][:, None], torch.inf)
        nearest.append(torch.where(asked[some], away.amin(dim=2), 0).sum(dim=1) / asked[some].sum(dim=1))
    return {"add": 1000 * add, "closest_point_distance": 1000 * torch.cat(nearest)}


def _interaction(found: Estimate, target: Examples, templates: Templates, own: Tensor) -> dict[str, Tensor]:
    """Depth of hand vertices in the object (greatest, and the mean over all of them), contact."""
    held = placed(own, found.rotation, found.translation).contiguous()
    num, points = len(own), found.vertices.shape[1]
    near = signed_distance_below(
        NEAR,
        found.vertices.contiguous(),
        torch.full((num,), points),
        held,
        templates.faces[target.shape],
    )
    depth = (-near.distance).clamp(min=0)
    zero = depth.new_zeros(num)
    touched = zero.index_add(0, near.item, torch.ones_like(depth))
    return {
        "penetration_depth": 1000 * zero.scatter_reduce(0, near.item, depth, "amax"),
        "penetration_mean": 1000 * zero.index_add(0, near.item, depth) / points,
        "contact_ratio": 100 * (touched > 0).to(zero),
        "inside_ratio": 100 * (zero.index_add(0, near.item, depth) > 0).to(zero),
    }


def row_of(measured: Mapping[str, Tensor], where: Tensor | None = None) -> dict[str, float]:
    """Means over the pictures, or over some of them."""
    return {name: float((v if where is None else v[where]).mean()) for name, v in measured.items()}


def thirds(hidden: Float[Tensor, " batch"]) -> dict[str, Bool[Tensor, " batch"]]:
    """Pictures by how much of the hand is hidden, in three parts of (nearly) equal size."""
    place = hidden.argsort(stable=True).argsort()
    return {name: (3 * place) // len(hidden) == n for n, name in enumerate(HIDDEN)}


def hand_faces() -> Tensor:
    """Of the project's refined hand."""
    return surface_topology("refined").faces

"""Everything the network is trained on, with the weights of the released code.

Units, frames and order: see the room's header. Lengths in space enter in `hands.UNIT`, lengths in the picture
as uv. A term over both hands is the sum of the two hands' means.
Source  Ren et al., DIR, and its released code. Reconstructed: edges and normals are compared as in Moon and
        Lee, "Pose2Mesh"; the code's Lovasz term is Berman et al., "The Lovasz-Softmax loss".

There is no loss on the 64 numbers themselves, and none against intersections. The latter is an extension:
`total_loss` takes any function of joints that says how much two hands intersect.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hands_lib.methods.refinement.hands import UNIT, Estimate
from hands_lib.methods.refinement.network import Prediction
from hands_lib.structures import TensorFields

_BETA = 0.01  # below it the smooth L1 loss is a parabola
CLASS_WEIGHTS = (0.1, 0.45, 0.45)  # neither hand, right, left


Collision = Callable[[Float[Tensor, "batch 2 21 3"]], Float[Tensor, " batch"]]


@dataclass(frozen=True)
class LossWeights:
    """The first six count for every estimate (initial and refined), the last three once."""

    joints_uv: float = 10.0
    vertices_uv: float = 10.0
    joints: float = 10.0
    vertices: float = 10.0
    offset: float = 10.0
    edges: float = 1.0
    normals: float = 0.1
    hand_entropy: float = 0.1
    hand_lovasz: float = 0.1
    correspondence: float = 1.0
    collision: float = 1.0
    """Extension: of the last estimate's intersections, where a collision term is given."""
    lovasz_on_logits: bool = False
    """Released code: the Lovasz term sees raw logits. The paper it cites defines it on probabilities."""


@dataclass(frozen=True)
class Targets(TensorFields):
    """What is known of a batch of pictures."""

    joints: Float[Tensor, "batch 2 21 3"]
    """Metres, about the hand's own wrist, camera axes."""
    vertices: Float[Tensor, "batch 2 vertex 3"]
    joints_uv: Float[Tensor, "batch 2 21 2"]
    vertices_uv: Float[Tensor, "batch 2 vertex 2"]
    offset: Float[Tensor, "batch 3"]
    """Right wrist minus left wrist, metres."""
    hand: Int[Tensor, "batch height width"]
    """0 neither hand, 1 right, 2 left."""
    correspondence: Float[Tensor, "batch 3 height width"]
    """Place of the seen point on the rest hand in [0, 1]; 0 where no hand is seen."""


def smooth_l1(found: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean of z^2 / 2 where |z| < 0.01, else of 0.01 (|z| - 0.005)."""
    return nn.functional.huber_loss(found, target, delta=_BETA)


def face_sides(
    points: Float[Tensor, "*batch vertex 3"], faces: Int[Tensor, "face 3"]
) -> Float[Tensor, "*batch face 3 3"]:
    """The three sides of every face as vectors, in its order of turning; an edge of two faces is in both."""
    # index_select: its gradient is far cheaper than that of indexing.
    corners = points.index_select(-2, faces.flatten()).unflatten(-2, (-1, 3))
    return corners.roll(-1, dims=-2) - corners


def edge_loss(
    found: Float[Tensor, "*batch face 3 3"], target: Float[Tensor, "*batch face 3 3"]
) -> Float[Tensor, ""]:
    """Mean absolute difference of the lengths of `face_sides`."""
    lengths = torch.linalg.vector_norm(found, dim=-1) - torch.linalg.vector_norm(target, dim=-1)
    return lengths.abs().mean()


def normal_loss(
    found: Float[Tensor, "*batch face 3 3"], target: Float[Tensor, "*batch face 3 3"]
) -> Float[Tensor, ""]:
    """Mean |cosine| between the found `face_sides` and the true faces' normals: 0 where all are parallel."""
    first, second, _ = target.unbind(dim=-2)
    normals = nn.functional.normalize(torch.linalg.cross(first, second), dim=-1)
    along = (found @ normals[..., None])[..., 0].abs()
    return (along / torch.linalg.vector_norm(found, dim=-1).clamp(min=1e-12)).mean()


def lovasz(
    probabilities: Float[Tensor, "batch class height width"], labels: Int[Tensor, "batch height width"]
) -> Float[Tensor, ""]:
    """The Lovasz extension of one minus the intersection over union, averaged over the classes that occur.

    For a class, errors m are sorted from large to small; each is weighted by how much the union loss grows
    when its pixel is added to those before it.
    """
    flat = probabilities.movedim(1, 0).flatten(1)
    truth = nn.functional.one_hot(labels.flatten(), len(flat)).T.to(flat)
    errors, order = (truth - flat).abs().sort(dim=1, descending=True, stable=True)
    truth = truth.gather(1, order)
    total = truth.sum(dim=1, keepdim=True)
    loss = 1 - (total - truth.cumsum(dim=1)) / (total + (1 - truth).cumsum(dim=1))
    growth = torch.cat([loss[:, :1], loss[:, 1:] - loss[:, :-1]], dim=1)
    by_class, occurs = (errors * growth).sum(dim=1), total[:, 0] > 0
    return (by_class * occurs).sum() / occurs.sum()


def estimate_losses(
    found: Estimate, target: Targets, faces: Int[Tensor, "2 face 3"]
) -> dict[str, Float[Tensor, ""]]:
    """Terms of one estimate by the names of `LossWeights`, not yet weighted."""
    terms = {
        "joints_uv": 2 * smooth_l1(found.joints_uv, target.joints_uv),
        "vertices_uv": 2 * smooth_l1(found.vertices_uv, target.vertices_uv),
        "joints": 2 * smooth_l1(found.joints / UNIT, target.joints / UNIT),
        "vertices": 2 * smooth_l1(found.vertices / UNIT, target.vertices / UNIT),
        "offset": smooth_l1(found.offset / UNIT, target.offset / UNIT),
    }
    sides = [
        tuple(face_sides(hands.vertices[:, n] / UNIT, faces[n]) for hands in (found, target)) for n in (0, 1)
    ]
    terms["edges"] = edge_loss(*sides[0]) + edge_loss(*sides[1])
    terms["normals"] = normal_loss(*sides[0]) + normal_loss(*sides[1])
    return terms


def pixel_losses(
    prediction: Prediction, target: Targets, lovasz_on_logits: bool = False
) -> dict[str, Float[Tensor, ""]]:
    """Terms of the pixel heads; none where the network has no such heads.

    Labels may be finer than the heads by a whole number n: every n-th counts. Raises ValueError otherwise.
    """
    logits, points = prediction.hand_logits, prediction.correspondence
    if logits is None or points is None:
        return {}
    finer, left = divmod(target.hand.shape[-1], logits.shape[-1])
    if left:
        raise ValueError(f"labels of {target.hand.shape[-1]} pixels a side for heads of {logits.shape[-1]}")
    places = slice(finer // 2, None, finer)
    labels, places_seen = target.hand[:, places, places], target.correspondence[:, :, places, places]
    weights = logits.new_tensor(CLASS_WEIGHTS)
    return {
        "hand_entropy": nn.functional.cross_entropy(logits, labels, weights),
        "hand_lovasz": lovasz(logits if lovasz_on_logits else logits.softmax(dim=1), labels),
        "correspondence": smooth_l1(points, places_seen),
    }


def total_loss(
    prediction: Prediction,
    target: Targets,
    faces: Int[Tensor, "2 face 3"],
    weights: LossWeights | None = None,
    collision: Collision | None = None,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The weighted sum, and its weighted terms: those of the estimates added up over all estimates.

    collision   extension: from joints of both hands in one frame (metres, the left hand as it is) to how much
                each pair intersects; its mean over the last estimate counts
    """
    weights = weights or LossWeights()
    terms: dict[str, Tensor] = {}
    parts = [estimate_losses(estimate, target, faces) for estimate in prediction.estimates]
    parts.append(pixel_losses(prediction, target, weights.lovasz_on_logits))
    for part in parts:
        for name, value in part.items():
            terms[name] = terms.get(name, 0.0) + getattr(weights, name) * value
    if collision is not None:
        terms["collision"] = weights.collision * collision(prediction.estimates[-1].together()).mean()
    return sum(terms.values()), terms

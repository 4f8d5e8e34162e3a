"""Everything the network is trained on.

Units    metres; uv in [-1, 1], which the weights take in halves of the picture as [0, 1]
Source   weights of HFL-Net, from which the released code descends: vertices 1e4, joints 1e4, shape 0.1,
         joints in the picture 100, control points 500 (L1), confidence 100. Ours: the weight of the object's
         pose (that of the joints) and of the nodes, and of the signed-distance loss. There is no loss on the
         numbers of the hand's pose: those of the project's hand and of MANO are not the same
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hands_lib.methods.hand_object.examples import Examples, Templates, canonical, placed
from hands_lib.methods.hand_object.network import Prediction
from hands_lib.methods.hand_object.physics import signed_distance_loss

Apart = Callable[
    [Float[Tensor, "batch vertex 3"], Float[Tensor, "batch object_vertex 3"], Tensor], Float[Tensor, ""]
]
"""How much a hand and an object (with its faces, one topology each) share: the signed-distance loss."""


def hands_apart(faces: Int[Tensor, "face 3"]) -> Apart:
    """The signed-distance loss in its hinge form, for hands of these faces."""
    return lambda hand, held, its: signed_distance_loss(hand, held, faces, its)


@dataclass(frozen=True)
class LossWeights:
    vertices: float = 1e4
    joints: float = 1e4
    shape: float = 0.1
    joints_uv: float = 100.0
    control_uv: float = 500.0
    confidence: float = 100.0
    control: float = 1e4
    """Ours: control points in space, by which the regressed pose is judged."""
    nodes_uv: float = 100.0
    """Ours: where D-BFAM believes its nodes to be."""
    apart: float = 500.0
    """Of the signed-distance loss, in metres."""


def total_loss(
    found: Prediction,
    target: Examples,
    templates: Templates,
    weights: LossWeights,
    apart: Apart | None = None,
    num_apart: int | None = None,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The weighted sum, and its weighted terms.

    apart       the signed-distance loss, of the first `num_apart` of the batch (None: of all)
    """
    mse = nn.functional.mse_loss
    own = templates.control[target.shape]
    rotation = canonical(target.rotation, templates.symmetries[target.shape])
    control = placed(own, rotation, target.translation)
    joints_uv, control_uv = target.uv(target.joints), target.uv(control)
    off = torch.linalg.vector_norm(found.control_uv.detach() - control_uv, dim=-1)
    nodes = torch.cat([joints_uv, control_uv], dim=1)[:, None].expand_as(found.nodes_uv)
    terms = {
        "vertices": mse(found.vertices, target.vertices),
        "joints": mse(found.joints, target.joints),
        "shape": found.build.square().mean(),
        "joints_uv": mse(found.joints_uv, joints_uv) / 4,
        "control_uv": (found.control_uv - control_uv).abs().mean() / 2,
        "confidence": (found.confidence - (-off / 0.1).exp()).abs().mean(),
        "control": mse(placed(own, found.rotation, found.translation), control),
    }
    if found.nodes_uv.shape[1]:
        terms["nodes_uv"] = mse(found.nodes_uv, nodes) / 4
    if apart is not None:
        some = slice(num_apart)
        held = placed(templates.vertices[target.shape[some]], found.rotation[some], found.translation[some])
        terms["apart"] = apart(found.vertices[some], held, templates.faces[target.shape[some]])
    terms = {name: getattr(weights, name) * value for name, value in terms.items()}
    return sum(terms.values()), terms

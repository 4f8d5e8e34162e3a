"""What the figures of a network are drawn from: predictions and attention for a few pictures.

Chapter  book/hand_object/hand_object_method.md
uv       in [-1, 1], as everywhere in this room
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.hand.skeleton import NUM_JOINTS
from hands_lib.methods.hand_object.augmentation import nearest_nodes
from hands_lib.methods.hand_object.examples import Examples, Templates
from hands_lib.methods.hand_object.network import HandObjectNetwork


@torch.no_grad()
def looked_at(
    network: HandObjectNetwork, some: Examples, templates: Templates, joint: int
) -> Float[Tensor, "batch side side"]:
    """Where the hand's features look in the object's stream, from the pixel where a joint is believed to be;
    every map adds up to 1. Raises ValueError for a network without cross-feature supplementation."""
    _, looks = network.eval().look(some.image, templates.control[some.shape], True)
    if looks.hand is None or network.settings.exchange != "supplement":
        raise ValueError("a network without cross-feature supplementation looks nowhere")
    start = looks.joint_maps[:, joint].flatten(1)
    maps = (start[:, None] @ looks.hand)[:, 0]
    side = round(maps.shape[1] ** 0.5)
    return maps.unflatten(1, (side, side))


@torch.no_grad()
def local_edges(
    network: HandObjectNetwork, some: Examples, templates: Templates
) -> tuple[Float[Tensor, "batch 42 2"], Int[Tensor, "batch 42 count"]]:
    """uv of the nodes of the hand stream's last augmentation, and the local graph between them. Raises
    ValueError for a network without feature augmentation."""
    found = network.eval()(some.image, templates.control[some.shape])
    if not found.nodes_uv.shape[1]:
        raise ValueError("a network without feature augmentation has no nodes")
    # Hand stream and object stream before the pyramid, then behind it.
    places = found.nodes_uv[:, len(network.before)]
    return places, nearest_nodes(places, network.settings.neighbours)


def meeting(
    places: Float[Tensor, "42 2"], graph: Int[Tensor, "42 count"]
) -> list[tuple[Sequence[float], Sequence[float]]]:
    """Edges of one picture from a joint to a control point, as the u and the v of both ends."""
    pairs = [(i, j) for i in range(NUM_JOINTS) for j in graph[i].tolist() if j >= NUM_JOINTS]
    return [tuple(places[list(pair)].T.tolist()) for pair in pairs]

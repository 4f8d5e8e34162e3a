"""What the figures of a trained network are drawn from: predictions for a few pictures, not the network.

Chapters book/refinement/method.md, stages.md
Frames   uv in [-1, 1] over the picture, as everywhere in this room
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hands_lib.methods.refinement.examples import Examples
from hands_lib.methods.refinement.hands import Estimate
from hands_lib.methods.refinement.network import RefinementNetwork


def drawn_stages(some: Examples, estimates: Sequence[Estimate]) -> dict[str, Tensor]:
    """Of a few pictures, on the CPU: `image` in bytes, `true_uv` (picture, 2, 21, 2), and `joints_uv`, whose
    first dimension is the stage. The estimates are of these pictures, or of these and later ones."""
    num = len(some)
    tensors = {
        "image": (255 * some.image).round().to(torch.uint8),
        "true_uv": some.targets.joints_uv.contiguous(),
        "joints_uv": torch.stack([one.joints_uv[:num] for one in estimates]),
    }
    return {name: values.cpu() for name, values in tensors.items()}


@torch.no_grad()
def drawn_network(network: RefinementNetwork, some: Examples) -> dict[str, Tensor]:
    """`drawn_stages`, how many weights the network has, the `attention` of its last stage (picture, 42, 42),
    and the `joint_features` of its first for the first picture."""
    prediction = network.eval()(some.image)
    extra = {
        "number of weights": torch.tensor(sum(p.numel() for p in network.parameters())),
        "attention": prediction.traces[-1].attention,
        "joint_features": prediction.traces[0].joint_features[:1],
    }
    return drawn_stages(some, prediction.estimates) | {name: values.cpu() for name, values in extra.items()}

"""Relations between joints: within a hand by graph convolution, between the hands by a transformer.

Order   right hand first, joints in the library's order; the 42 tokens are the right hand's, then the left's
Source  Ren et al., DIR. Its graph layers are those of Zhao et al., "Semantic Graph Convolutional Networks",
        with weights of their own for every joint; its transformer has the usual blocks.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hands_lib.hand.skeleton import EDGES, NUM_JOINTS


class PerHand(nn.Module):
    """Linear layers, normalisation and ReLU, with own weights for each hand; the last layer alone."""

    def __init__(self, *widths: int):
        super().__init__()
        self.layers = nn.ModuleList(
            HandLinear(before, after) for before, after in zip(widths, widths[1:], strict=False)
        )
        self.norms = nn.ModuleList(HandNorm(width) for width in widths[1:-1])

    def forward(self, x: Float[Tensor, "batch 2 joint channel"]) -> Float[Tensor, "batch 2 joint out"]:
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x = norm(layer(x)).relu()
        return self.layers[-1](x)


class HandLinear(nn.Module):
    """One linear layer for the right hand, one for the left."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, width, out))
        self.bias = nn.Parameter(torch.zeros(2, out))
        bound = (3 / width) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Float[Tensor, "batch 2 *joint channel"]) -> Float[Tensor, "batch 2 *joint out"]:
        if x.ndim == 3:
            return torch.einsum("bhc,hcd->bhd", x, self.weight) + self.bias
        return torch.einsum("bhjc,hcd->bhjd", x, self.weight) + self.bias[:, None]


class HandNorm(nn.Module):
    """Batch normalisation over pictures and joints, hand by hand."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(2 * width)

    def forward(self, x: Float[Tensor, "batch 2 joint channel"]) -> Float[Tensor, "batch 2 joint channel"]:
        channels = x.movedim(2, 3).flatten(1, 2)
        return self.norm(channels).unflatten(1, x.shape[1::2]).movedim(3, 2)


def neighbours() -> Bool[Tensor, "21 21"]:
    """Which joints share a bone; nothing is its own neighbour."""
    mask = torch.zeros(NUM_JOINTS, NUM_JOINTS, dtype=torch.bool)
    parent, child = torch.tensor(EDGES).T
    mask[parent, child] = mask[child, parent] = True
    return mask


class GraphConvolution(nn.Module):
    """x_i -> x_i W_0i + sum over neighbours k of A_ik x_k W_1k + b, both hands at once.

    W are weights of every joint and hand. A is learned: a softmax over a joint's neighbours, and nothing
    elsewhere. (A softmax over the joint alone, which the released code also learns, is always 1.)
    """

    def __init__(self, width: int, out: int):
        super().__init__()
        self.own = nn.Parameter(torch.empty(2, NUM_JOINTS, width, out))
        self.others = nn.Parameter(torch.empty(2, NUM_JOINTS, width, out))
        self.bias = nn.Parameter(torch.zeros(2, 1, out))
        self.edges = nn.Parameter(torch.ones(2, 2 * len(EDGES)))
        self.register_buffer("mask", neighbours(), persistent=False)
        bound = (3 / width) ** 0.5
        nn.init.uniform_(self.own, -bound, bound)
        nn.init.uniform_(self.others, -bound, bound)

    def adjacency(self) -> Float[Tensor, "2 21 21"]:
        """Row i: how much joint i takes from every other one; rows add up to 1."""
        logits = self.edges.new_full((2, NUM_JOINTS, NUM_JOINTS), -torch.inf)
        return logits.masked_scatter(self.mask, self.edges).softmax(dim=-1)

    def forward(self, x: Float[Tensor, "batch 2 21 channel"]) -> Float[Tensor, "batch 2 21 out"]:
        own = torch.einsum("bhjc,hjcd->bhjd", x, self.own)
        others = torch.einsum("bhjc,hjcd->bhjd", x, self.others)
        return own + self.adjacency() @ others + self.bias


class IntraHandGraph(nn.Module):
    """Graph convolutions with normalisation and ReLU, without skip connections."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.convolutions = nn.ModuleList(GraphConvolution(width, width) for _ in range(layers))
        self.norms = nn.ModuleList(HandNorm(width) for _ in range(layers))

    def forward(self, x: Float[Tensor, "batch 2 21 channel"]) -> Float[Tensor, "batch 2 21 channel"]:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(convolution(x)).relu()
        return x


class InterHandTransformer(nn.Module):
    """Self-attention over the 42 joints of both hands.

    The released code makes one block more than it uses; here are only those that run.
    """

    def __init__(self, width: int, out: int, blocks: int, heads: int, ratio: int = 2):
        super().__init__()
        self.position = nn.Parameter(0.02 * torch.randn(2 * NUM_JOINTS, width))
        self.blocks = nn.ModuleList(Block(width, heads, ratio) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, out)

    def forward(
        self, tokens: Float[Tensor, "batch 42 channel"]
    ) -> tuple[Float[Tensor, "batch 42 out"], Float[Tensor, "batch 42 42"] | None]:
        """New features, and the last block's attention (mean over heads): row i says where i looks."""
        tokens, attention = tokens + self.position, None
        for block in self.blocks:
            tokens, attention = block(tokens)
        return self.head(self.norm(tokens)), attention


class Block(nn.Module):
    """Attention and a small network, each after a normalisation and beside a skip connection."""

    def __init__(self, width: int, heads: int, ratio: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads cannot share {width} channels evenly")
        self.heads = heads
        self.norm, self.joint, self.out = (
            nn.LayerNorm(width),
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width)
        )

    def forward(
        self, x: Float[Tensor, "batch token channel"]
    ) -> tuple[Float[Tensor, "batch token channel"], Float[Tensor, "batch token token"]]:
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.joint(self.norm(x)).chunk(3, -1)
        )
        # 42 tokens: writing the attention out costs nothing, and a chapter can show it.
        attention = (queries @ keys.mT * queries.shape[-1] ** -0.5).softmax(dim=-1)
        x = x + self.out((attention @ values).transpose(1, 2).flatten(2))
        return x + self.mlp(x), attention.mean(dim=1)

"""D-BFAM, dual-branch feature augmentation: what key points say to each other goes back into the picture.

Paper   Liu et al.: "local contact graph convolution and global keypoint topology constraints for structured
        guidance of intermediate features". In no released file: all of this is RECONSTRUCTED.
uv      picture coordinates in [-1, 1]: -1 the left (upper) border, +1 the right (lower) border

Nodes are 21 joints of the hand and 21 control points of the object. A map for each says where the node is;
with its features f_i and its place p_i,

    local    l_i = max over the k nearest nodes j of p_i   of   M(f_i, f_j - f_i)       (EdgeConv)
    global   g = A relu(A f W_1) W_2,   A the normalised graph of skeleton and box       (GCN)
    F'       F + alpha * splat(l + g),   alpha starts at 0

In the local graph a finger that touches is a neighbour of what it touches; in the global one it never is.
"""

from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hands_lib.hand.skeleton import EDGES, NUM_JOINTS

NUM_CONTROL = 21
NUM_NODES = NUM_JOINTS + NUM_CONTROL
CORNERS = tuple((x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1))
BOX_EDGES = tuple(
    (i, j)
    for i in range(8)
    for j in range(i + 1, 8)
    if sum(a != b for a, b in zip(CORNERS[i], CORNERS[j], strict=True)) == 1
)
"""The twelve edges of a box as pairs of its corners."""


@cache
def control_places() -> Float[Tensor, "21 3"]:
    """Of a box from -1 to 1: its 8 corners, the middles of its 12 edges, its centre (HFL-Net)."""
    corners = torch.tensor(CORNERS, dtype=torch.float32)
    edges = torch.tensor(BOX_EDGES)
    return torch.cat([corners, corners[edges].mean(dim=1), torch.zeros(1, 3)])


@cache
def topology() -> Float[Tensor, "42 42"]:
    """Skeleton and box as one graph: corners joined to the middles of their edges, those to the centre.
    Rows of the adjacency with itself added, divided by both ends' roots of degree (Kipf and Welling, 2017).
    """
    box = [(c, 8 + number) for number, ends in enumerate(BOX_EDGES) for c in ends]
    box += [(8 + number, 20) for number in range(12)]
    pairs = torch.tensor([*EDGES, *((NUM_JOINTS + a, NUM_JOINTS + b) for a, b in box)])
    graph = torch.eye(NUM_NODES)
    graph[pairs[:, 0], pairs[:, 1]] = graph[pairs[:, 1], pairs[:, 0]] = 1
    scale = graph.sum(dim=1).rsqrt()
    return scale[:, None] * graph * scale


def picture_grid(height: int, width: int, like: Tensor) -> Float[Tensor, "height_width 2"]:
    """uv of the middles of all pixels, row by row."""
    v, u = ((2 * torch.arange(n, device=like.device, dtype=like.dtype) + 1) / n - 1 for n in (height, width))
    return torch.stack(torch.meshgrid(v, u, indexing="ij")[::-1], dim=-1).flatten(0, 1)


def nearest_nodes(places: Float[Tensor, "batch node 2"], count: int) -> Int[Tensor, "batch node count"]:
    """The local graph: of every node the `count` nearest other ones in the picture."""
    distance = torch.cdist(places.detach(), places.detach())
    own = torch.eye(places.shape[1], dtype=torch.bool, device=places.device)
    return distance.masked_fill(own, torch.inf).topk(count, largest=False).indices


class EdgeConv(nn.Module):
    """Greatest answer over a node's neighbours (Wang et al., "Dynamic Graph CNN", 2019)."""

    def __init__(self, width: int):
        super().__init__()
        self.message = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(
        self, nodes: Float[Tensor, "batch node channel"], graph: Int[Tensor, "batch node count"]
    ) -> Float[Tensor, "batch node channel"]:
        every = torch.arange(len(nodes), device=nodes.device)[:, None, None]
        others = nodes[every, graph] - nodes[:, :, None]
        return self.message(torch.cat([nodes[:, :, None].expand_as(others), others], dim=-1)).amax(dim=2)


class DualBranch(nn.Module):
    """D-BFAM for the features of one stream."""

    def __init__(self, channels: int, width: int = 48, neighbours: int = 4):
        super().__init__()
        self.neighbours = neighbours
        self.where = nn.Conv2d(channels, NUM_NODES, 1)
        self.enter, self.leave = nn.Linear(channels, width), nn.Linear(width, channels)
        self.local = EdgeConv(width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.alpha = nn.Parameter(torch.zeros(()))
        self.register_buffer("topology", topology(), persistent=False)

    def forward(
        self, features: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch channel height width"], Float[Tensor, "batch 42 2"]]:
        """The augmented features, and the uv of the nodes."""
        height, width = features.shape[-2:]
        maps = self.where(features).flatten(2).softmax(dim=-1)
        places = maps @ picture_grid(height, width, features)
        nodes = self.enter(maps @ features.flatten(2).mT)
        local = self.local(nodes, nearest_nodes(places, self.neighbours))
        whole = self.topology @ self.outer((self.topology @ self.inner(nodes)).relu())
        said = self.leave(local + whole)
        peaks = maps / maps.amax(dim=-1, keepdim=True)
        back = (said.mT @ peaks / NUM_NODES**0.5).unflatten(-1, (height, width))
        return features + self.alpha * back, places


def graph_share(
    graph: Int[Tensor, "batch 42 count"], touching: Bool[Tensor, "batch 21 21"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Of the pairs of a joint and a control point that are joined in the local graph the share that is close
    in space (`touching`), and the share among all such pairs: chance."""
    joined = nn.functional.one_hot(graph[:, :NUM_JOINTS], NUM_NODES).sum(dim=2)[..., NUM_JOINTS:] > 0
    return touching[joined].float().mean(), touching.float().mean()

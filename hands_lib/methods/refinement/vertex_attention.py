"""A baseline without joints in its middle: dense attention of vertices, from coarse to fine.

Units, frames and order: see the room's header.
Source  the idea of IntagHand (Li et al., "Interacting Attention Graph for Single Image Two-Hand
        Reconstruction", CVPR 2022): vertices of both hands attend to the picture, to their neighbours on the
        surface and to the other hand, and there are more of them in every stage. RECONSTRUCTED and small: its
        own graphs, widths and blocks are not those of the authors, and the surface is this book's.

It has the interface of `network.RefinementNetwork`, so that `training.train` and `training.predict` take
either. Its vertices are free: there are no 64 numbers behind them (they are 0 in its estimates).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hands_lib.methods.refinement.hands import NUM_CAMERA, NUM_PARAMETERS, UNIT, Estimate
from hands_lib.methods.refinement.network import (
    NUM_CLASSES,
    FromPictures,
    Prediction,
    mean_hand,
    surface_shares,
)
from hands_lib.methods.refinement.projecting import pixel_centres
from hands_lib.methods.refinement.relations import HandLinear


@dataclass(frozen=True)
class VertexAttentionSettings:
    backbone: str = "resnet50"
    levels: tuple[int, ...] = (32, 16, 8)
    """By how much the features that a stage attends to are smaller than the picture; one stage each."""
    vertices: tuple[int, ...] = (63, 126, 252)
    """Of one hand in each stage; the last ones are widened to the whole surface."""
    width: int = 256
    heads: int = 4
    neighbours: int = 6
    pixel_heads: bool = True

    def __post_init__(self) -> None:
        if len(self.levels) != len(self.vertices) or sorted(self.vertices) != list(self.vertices):
            raise ValueError(
                f"every stage has a level and a number of vertices that grows, not {self.levels} and "
                f"{self.vertices}"
            )
        if self.width % self.heads:
            raise ValueError(f"{self.heads} attention heads cannot share {self.width} channels evenly")


class PointSums(nn.Module):
    """Points as weighted sums of other points, by weights that are given and learn to be better.

    What is learned is divided by the number of points that are summed. Adam moves every weight equally far in
    a step; without the division some hundred steps tear a surface to pieces, since each of its vertices sums
    hundreds of such moves.
    """

    def __init__(self, weights: Float[Tensor, "sum point"]):
        super().__init__()
        self.register_buffer("given", weights, persistent=False)
        self.learned = nn.Parameter(torch.zeros_like(weights))

    def forward(self, points: Float[Tensor, "*batch point 3"]) -> Float[Tensor, "*batch sum 3"]:
        return (self.given + self.learned / self.given.shape[1]) @ points


class VertexStage(nn.Module):
    """Vertices look at the picture, at their neighbours, at the other hand; then say where they are."""

    def __init__(self, width: int, heads: int, channels: int, graph: Float[Tensor, "vertex vertex"]):
        super().__init__()
        self.register_buffer("graph", graph, persistent=False)
        self.cells, self.place_of_cells = nn.Conv2d(channels, width, 1), nn.Linear(2, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.picture, self.other = (nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(2))
        self.own, self.neighbours = HandLinear(width, width), HandLinear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.xyz, self.camera = HandLinear(width, 3), HandLinear(width, NUM_CAMERA)
        self.offset = nn.Linear(2 * width, 3)

    def forward(
        self,
        x: Float[Tensor, "batch 2 vertex channel"],
        visual: Float[Tensor, "batch skipped height width"],
    ) -> tuple[
        Float[Tensor, "batch 2 vertex channel"],
        Float[Tensor, "batch 2 vertex 3"],
        Float[Tensor, "batch 2 3"],
        Float[Tensor, "batch 3"],
    ]:
        """Features, places about nothing in particular (UNIT), cameras, offset (UNIT)."""
        num, size = x.shape[2], visual.shape[-1]
        cells = self.cells(visual).flatten(2).mT + self.place_of_cells(pixel_centres(size, x))
        tokens = x.flatten(1, 2)
        tokens = tokens + self.picture(self.norms[0](tokens), cells, cells, need_weights=False)[0]
        x = tokens.unflatten(1, (2, num))
        own = self.norms[1](x)
        x = x + (self.own(own) + self.graph @ self.neighbours(own)).relu()
        own = self.norms[2](x)
        asked, others = own.flatten(0, 1), own.flip(1).flatten(0, 1)
        x = x + self.other(asked, others, others, need_weights=False)[0].unflatten(0, (-1, 2))
        x = x + self.mlp(self.norms[3](x))
        mean = x.mean(dim=2)
        return x, self.xyz(x), self.camera(mean), self.offset(mean.flatten(1))


class VertexAttentionNetwork(FromPictures):
    """Two hands from one picture; `settings.levels` from coarse to fine.

    Raises ValueError where the backbone has no features at one of the levels, or the surface has fewer
    vertices than a stage asks for.
    """

    def __init__(self, hands: nn.Module, settings: VertexAttentionSettings | None = None):
        settings = settings or VertexAttentionSettings()
        super().__init__(hands, settings, set(settings.levels))
        channels = self.channels
        joints, vertices = mean_hand(hands)
        if settings.vertices[-1] > len(vertices):
            raise ValueError(
                f"a surface of {len(vertices)} vertices has no {settings.vertices[-1]} to choose"
            )
        order = farthest_points(vertices, settings.vertices[-1])
        coarse = [vertices[order[:num]] for num in settings.vertices]
        self.stages = nn.ModuleList(
            VertexStage(settings.width, settings.heads, channels[level], graph(points, settings.neighbours))
            for level, points in zip(settings.levels, coarse, strict=True)
        )
        self.start = nn.Linear(channels[settings.levels[0]], settings.width)
        self.place = nn.Parameter(0.02 * torch.randn(2, settings.vertices[0], settings.width))
        self.widen = nn.ModuleList(PointSums(spread(points, vertices)) for points in coarse)
        for before, after in zip(coarse, coarse[1:], strict=False):
            self.register_buffer(f"finer_{len(after)}", spread(before, after), persistent=False)
        self.joints = PointSums(joint_weights(joints, vertices, surface_shares(hands)))
        for stage, points in zip(self.stages, coarse, strict=True):
            nn.init.normal_(stage.xyz.weight, std=1e-3)
            nn.init.normal_(stage.camera.weight, std=1e-3)
            with torch.no_grad():
                stage.xyz.bias.copy_((points - joints[0]).mean(dim=0) / UNIT)
                stage.camera.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
        self.rest = nn.ParameterList(nn.Parameter((p - p.mean(dim=0)) / UNIT) for p in coarse)
        self.pixels = None
        if settings.pixel_heads:
            self.pixels = nn.Conv2d(channels[settings.levels[-1]], NUM_CLASSES + 3, 1)

    def refine(self, features: dict[int, Tensor]) -> Prediction:
        """An estimate after each stage; the first one stands for the initial estimate."""
        settings, estimates = self.settings, []
        x = self.start(features[settings.levels[0]].mean(dim=(2, 3)))[:, None, None] + self.place
        for number, stage in enumerate(self.stages):
            if number:
                x = getattr(self, f"finer_{settings.vertices[number]}") @ x
            x, xyz, camera, offset = stage(x, features[settings.levels[number]])
            estimates.append(self._hands(self.widen[number](xyz + self.rest[number]), camera, offset))
        if self.pixels is None:
            return Prediction(tuple(estimates), (), None, None)
        pixels = self.pixels(features[settings.levels[-1]]).split([NUM_CLASSES, 3], dim=1)
        return Prediction(tuple(estimates), (), *pixels)

    def _hands(
        self,
        vertices: Float[Tensor, "batch 2 vertex 3"],
        camera: Float[Tensor, "batch 2 3"],
        offset: Float[Tensor, "batch 3"],
    ) -> Estimate:
        """An estimate of vertices in UNIT, each hand as a right one; about the wrist that they give."""
        points = torch.cat([self.joints(vertices), vertices], dim=2)
        points = points - points[:, :, :1]
        uv = camera[:, :, None, :1] * points[..., :2] + camera[:, :, None, 1:]
        flip = points.new_tensor([1.0, -1.0])[:, None, None]
        points = UNIT * torch.cat([points[..., :1] * flip, points[..., 1:]], dim=-1)
        uv = torch.cat([uv[..., :1] * flip, uv[..., 1:]], dim=-1)
        parts = (part.split([21, part.shape[2] - 21], dim=2) for part in (points, uv))
        (joints, surface), (joints_uv, surface_uv) = parts
        none = camera.new_zeros(len(camera), 2, NUM_PARAMETERS)
        return Estimate(none, UNIT * offset, joints, surface, joints_uv, surface_uv)


def joint_weights(
    joints: Float[Tensor, "joint 3"],
    vertices: Float[Tensor, "vertex 3"],
    shares: Float[Tensor, "joint vertex"],
) -> Float[Tensor, "joint vertex"]:
    """The weights nearest to `shares` that give the joints exactly, wherever the hand is; rows sum to 1."""
    ours, theirs = (torch.nn.functional.pad(points, (0, 1), value=1.0) for points in (vertices, joints))
    return shares + (theirs - shares @ ours) @ torch.linalg.pinv(ours)


def farthest_points(points: Float[Tensor, "point 3"], num: int) -> Int[Tensor, " num"]:
    """Points that are spread as evenly as can be: each next one is the farthest from those before it."""
    chosen = [int((points - points.mean(dim=0)).square().sum(dim=-1).argmin())]
    nearest = torch.full((len(points),), torch.inf, device=points.device)
    for _ in range(num - 1):
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).square().sum(dim=-1))
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen, device=points.device)


def graph(points: Float[Tensor, "point 3"], neighbours: int) -> Float[Tensor, "point point"]:
    """Row i: the mean over the nearest `neighbours` of point i."""
    distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
    nearest = distance.topk(min(neighbours, len(points) - 1), largest=False).indices
    return torch.zeros_like(distance).scatter_(1, nearest, 1.0 / nearest.shape[1])


def spread(coarse: Float[Tensor, "coarse 3"], fine: Float[Tensor, "fine 3"]) -> Float[Tensor, "fine coarse"]:
    """Each fine point from its three nearest coarse ones, by one over the squared distance; rows sum to 1."""
    distance = torch.cdist(fine, coarse)
    near = distance.topk(3, largest=False)
    weight = 1 / near.values.square().clamp(min=1e-10)
    weight = weight / weight.sum(dim=1, keepdim=True)
    return torch.zeros_like(distance).scatter_(1, near.indices, weight)

"""Visibility-aware feature fusion (VAFF), Eqs. 2 and 3.

Units  metres

A feature of a query point is a weighted concatenation of what several places say; the weights know which of
the places the input camera sees.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hands_lib.nn.encoding import positional_encoding
from hands_lib.structures import Camera, unrounded

PLACES = ("q", "p", "p'")
OCTAVES = 3
SPATIAL_CHANNELS = 42 * (2 * OCTAVES + 1)


@dataclass(frozen=True)
class FusionSettings:
    """What VAFF looks at. The defaults are the paper's."""

    places: tuple[str, ...] = PLACES
    """Whose features are fused (Table 4): the query point itself, its nearest vertex, the mirrored vertex."""
    weighting: str = "visibility"
    """"visibility": the weights know it (Eq. 3); "learned": they do not (Table 5, "Attn. w/o Vis."); "none":
    all are 1."""
    average: bool = True
    """Whether the texture features have the global terms g^l and g^r."""
    spatial: bool = True
    """Whether phi(q) is fused too."""
    hide_invisible: bool = False
    """Whether features of invisible vertices are also set to 0 (released code)."""
    hidden: int = 96
    """Units of the hidden layer of mu."""

    def __post_init__(self) -> None:
        wrong = [place for place in self.places if place not in PLACES]
        if wrong or not self.places or len(set(self.places)) < len(self.places):
            raise ValueError(f"places are some of {', '.join(PLACES)}, each once, not {self.places!r}")
        if self.weighting not in ("visibility", "learned", "none"):
            raise ValueError(f'weighting is "visibility", "learned" or "none", not {self.weighting!r}')


def relative_encoding(
    points: Float[Tensor, "point 3"],
    scene: Int[Tensor, " point"],
    joints: Float[Tensor, "scene joint 3"],
    camera: Camera,
    reach: float = 0.1,
) -> Float[Tensor, "point channel"]:
    """phi(q) before its linear layer: how far behind each joint the point lies, for the joints near it.

    The positional encoding of the difference of depths in the input camera (metres), with three octaves,
    times exp(-|q - joint|^2 / (2 reach^2)). Mihajlovic et al., "KeypointNeRF", 2022; the paper says
    "positional encoding" only.
    """
    forward = camera.camera_from_world[:, 2, :3]
    depth = (points * forward[scene]).sum(dim=-1, keepdim=True)
    with unrounded(points):
        joint_depth = torch.einsum("sjk,sk->sj", joints, forward)
    square = torch.stack([(points[:, n, None] - joints[scene, :, n]).square() for n in range(3)]).sum(dim=0)
    near = torch.exp(-square / (2 * reach**2))
    encoded = positional_encoding(depth - joint_depth[scene], OCTAVES)
    return (encoded.unflatten(-1, (-1, near.shape[-1])) * near[:, None]).flatten(start_dim=1)


@dataclass(frozen=True)
class Fused:
    """t(q) and the weights that made it."""

    features: Float[Tensor, "point fused"]
    weights: Float[Tensor, "point term"]
    """In the order of `FeatureFusion.terms`."""


class FeatureFusion(nn.Module):
    """VAFF for features of `width` channels (the paper's D).

    average_width  channels of the two global terms, where they are not averages of those features

    Attributes:
        terms: names of what is concatenated, in order: "phi", the chosen places, "right" and "left".
        channels: of t(q); 6 D for all terms.
    """

    def __init__(self, width: int, settings: FusionSettings, average: bool, average_width: int | None = None):
        super().__init__()
        self.settings = settings
        self.width = width
        self.average = average and settings.average
        self.terms = (
            *(("phi",) if settings.spatial else ()),
            *settings.places,
            *(("right", "left") if self.average else ()),
        )
        widths = [width] * len(self.terms)
        if self.average and average_width is not None:
            widths[-2:] = [average_width] * 2
        self.channels = sum(widths)
        if settings.spatial:
            self.spatial = nn.Linear(SPATIAL_CHANNELS, width)
        if settings.weighting != "none":
            bits = len(settings.places) if settings.weighting == "visibility" else 0
            self.mu = nn.Sequential(
                nn.Linear(self.channels + bits, settings.hidden),
                nn.ReLU(),
                nn.Linear(settings.hidden, len(self.terms)),
                nn.Sigmoid(),
            )

    def forward(
        self,
        spatial: Float[Tensor, "point channel"],
        places: Float[Tensor, "point 3 width"],
        visible: Bool[Tensor, "point 3"],
        average: Float[Tensor, "point 2 average"] | None = None,
    ) -> Fused:
        """Eq. 2 with the weights of Eq. 3.

        spatial  `relative_encoding` of the points
        places   k(q), m(p), n(p'); those that were not chosen are not looked at
        visible  v(q, d), v(p, d), v(p', d) from the direction of the input picture
        average  mean features of the right and of the left hand, or what stands for them
        """
        settings = self.settings
        chosen = [PLACES.index(place) for place in settings.places]
        places, visible = places[:, chosen], visible[:, chosen]
        if settings.hide_invisible:
            vertices = torch.tensor([place != "q" for place in settings.places], device=visible.device)
            places = places.masked_fill((vertices & ~visible)[..., None], 0)
        parts = [self.spatial(spatial)[:, None]] if settings.spatial else []
        parts.append(places)
        if self.average:
            if average is None:
                raise ValueError("this fusion has global terms: give the average features of both hands")
            parts.append(average)
        if settings.weighting == "none":
            weights = places.new_ones(len(places), len(self.terms))
        else:
            known = [part.flatten(start_dim=1) for part in parts]
            if settings.weighting == "visibility":
                known.append(visible.to(places.dtype))
            weights = self.mu(torch.cat(known, dim=-1))
        of_part = weights.split([part.shape[1] for part in parts], dim=1)
        weighted = [
            (w[..., None] * part).flatten(start_dim=1) for w, part in zip(of_part, parts, strict=True)
        ]
        return Fused(torch.cat(weighted, dim=-1), weights)


class VertexCodes(nn.Module):
    """What the released code has in the place of g^r and g^l: one code for each vertex of both hands.

    It is made of the whole picture and its texture map, each in 3 x 3 cells, and does not look at where the
    hands are. Reconstructed: its layers' kernels and the normalisation over channels and pixels.
    """

    WIDTH = 18

    def __init__(self, texture_channels: int, num_vertices: int):
        super().__init__()
        self.cells = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, 21, 3, padding=1), nn.GroupNorm(1, 21), nn.ReLU(),
                nn.Conv2d(21, 42, 3, padding=1), nn.GroupNorm(1, 42), nn.ReLU(), nn.AdaptiveAvgPool2d(3),
            )
            for channels in (3, texture_channels)
        )  # fmt: skip
        self.spread = nn.Sequential(
            nn.Conv1d(42, num_vertices, 1), nn.ReLU(), nn.Conv1d(num_vertices, 2 * num_vertices, 1)
        )

    def forward(
        self, image: Float[Tensor, "scene height width 3"], texture: Float[Tensor, "scene channel h w"]
    ) -> Float[Tensor, "scene vertices 18"]:
        """Codes of the vertices of both hands, right first."""
        maps = zip(self.cells, (image.movedim(-1, 1), texture), strict=True)
        return self.spread(torch.cat([cells(values).flatten(2) for cells, values in maps], dim=-1))


def hand_averages(
    features: Float[Tensor, "scene channel h w"], silhouettes: Bool[Tensor, "scene 2 height width"]
) -> Float[Tensor, "scene 2 channel"]:
    """g^r and g^l: mean of a feature map over the pixels that see each hand; 0 for a hand that none sees.

    A cell of the map counts by the share of its pixels that see the hand.
    """
    share = torch.nn.functional.adaptive_avg_pool2d(silhouettes.to(features.dtype), features.shape[-2:])
    total = torch.einsum("schw,snhw->snc", features, share)
    return total / share.sum(dim=(-2, -1)).clamp(min=math.ulp(1.0))[..., None]

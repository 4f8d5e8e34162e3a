"""The two encoders of the input picture.

Their make-up is that of the released code, since the paper names only their kinds (an hourglass network for
geometry, a CNN with residual connections for texture); sizes are parameters. Pictures have colours in [0, 1].
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class EncoderSettings:
    """Sizes of both encoders; the defaults are those of the released code, for pictures of 256 pixels."""

    halvings: int = 1
    """How often the picture is halved before the first layer."""
    geometry_width: int = 64
    """Channels of the first layer of the hourglass network; it grows to four times as many."""
    hourglass_depth: int = 4
    geometry_channels: tuple[int, int] = (64, 8)
    """Of the coarse map (1/8 of the halved picture's side: 1/4 after a 7 x 7 layer of stride 2) and of the
    fine one (the halved picture's own side)."""
    texture_width: int = 64
    """Channels of the first layer of the texture encoder; it grows to eight times as many."""
    texture_blocks: int = 4
    texture_channels: int = 8


class GeometryEncoder(nn.Module):
    """Hourglass network with two outputs: a coarse map of deep features, and a fine one of shallow ones."""

    def __init__(self, settings: EncoderSettings):
        super().__init__()
        width = settings.geometry_width
        coarse, fine = settings.geometry_channels
        self.halvings = settings.halvings
        self.first = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3),
            _group_norm(width),
            nn.ReLU(),
            Bottleneck(width, 2 * width),
        )
        self.fine = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width // 2, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 2, fine, 5, padding=2),
        )
        self.deep = nn.Sequential(
            nn.AvgPool2d(2),
            Bottleneck(2 * width, 2 * width),
            Bottleneck(2 * width, 4 * width),
            Hourglass(4 * width, settings.hourglass_depth),
            Bottleneck(4 * width, 4 * width),
            nn.Conv2d(4 * width, 4 * width, 1),
            _group_norm(4 * width),
            nn.ReLU(),
            nn.Conv2d(4 * width, coarse, 1),
        )

    def forward(
        self, image: Float[Tensor, "scene height width 3"]
    ) -> tuple[Float[Tensor, "scene coarse h w"], Float[Tensor, "scene fine H W"]]:
        shallow = self.first(halved(image, self.halvings))
        return self.deep(shallow), self.fine(shallow)


class TextureEncoder(nn.Module):
    """Three strided layers down, residual blocks, two transposed layers up: half the side it began with."""

    def __init__(self, settings: EncoderSettings):
        super().__init__()
        width = settings.texture_width
        self.halvings = settings.halvings
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), *_normalised(width),
            *(layer for n in range(3) for layer in (
                nn.Conv2d(2**n * width, 2 ** (n + 1) * width, 3, stride=2, padding=1),
                *_normalised(2 ** (n + 1) * width),
            )),
            *(Residual(8 * width) for _ in range(settings.texture_blocks)),
            *(layer for n in (3, 2) for layer in (
                nn.ConvTranspose2d(2**n * width, 2 ** (n - 1) * width, 4, stride=2, padding=1),
                *_normalised(2 ** (n - 1) * width),
            )),
            nn.ReflectionPad2d(3), nn.Conv2d(2 * width, settings.texture_channels, 7),
        )  # fmt: skip

    def forward(self, image: Float[Tensor, "scene height width 3"]) -> Float[Tensor, "scene channel h w"]:
        return self.layers(halved(image, self.halvings))


class Bottleneck(nn.Module):
    """Three 3 x 3 layers whose outputs (a half, a quarter, a quarter of the channels) stand side by side,
    plus the input. Bulat and Tzimiropoulos 2017; normalised before each layer."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        half, quarter = channels_out // 2, channels_out // 4
        steps = ((channels_in, half), (half, quarter), (quarter, quarter))
        self.layers = nn.ModuleList(
            nn.Sequential(_group_norm(a), nn.ReLU(), nn.Conv2d(a, b, 3, padding=1, bias=False))
            for a, b in steps
        )
        self.shortcut = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(
                _group_norm(channels_in), nn.ReLU(), nn.Conv2d(channels_in, channels_out, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        return torch.cat(outputs[1:], dim=1) + self.shortcut(x)


class Hourglass(nn.Module):
    """Down `depth` times and up again, with a branch at every size. Newell et al. 2016."""

    def __init__(self, channels: int, depth: int):
        super().__init__()
        self.branch, self.down, self.up = (Bottleneck(channels, channels) for _ in range(3))
        self.inner = Hourglass(channels, depth - 1) if depth > 1 else Bottleneck(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        small = self.up(self.inner(self.down(functional.avg_pool2d(x, 2))))
        large = functional.interpolate(small, x.shape[-2:], mode="bicubic", align_corners=True)
        return self.branch(x) + large


class Residual(nn.Module):
    """Two 3 x 3 layers added to their input."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), *_normalised(channels),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def halved(image: Float[Tensor, "scene height width 3"], times: int) -> Float[Tensor, "scene 3 h w"]:
    """Colours in [-1, 1], with half the side as often as `times`."""
    return functional.avg_pool2d(2 * image.movedim(-1, 1) - 1, 2**times)


def smallest_picture(settings: EncoderSettings) -> int:
    """Pixels a side that both encoders need; the side must be a multiple of it."""
    return 2**settings.halvings * max(2 ** (2 + settings.hourglass_depth), 16)


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, channels), channels)


def _normalised(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU()

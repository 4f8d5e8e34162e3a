"""MCS-ResNet50: one residual backbone with two middles, one for the hand and one for the object.

Paper   Liu et al., "Hand-Object Reconstruction Method with Feature Enhancement and Physical Constraints": a
        dual-stream residual feature extraction that models hand and object separately
Source  its released backbone, which is that of Lin et al., "Harmonious Feature Learning for Interactive
        Hand-Object Pose Estimation", CVPR 2023 (HFL-Net). What "MCS" abbreviates is not stated anywhere

Stem, layer 1 and layer 4 are shared, layers 2 and 3 are there twice, and each stream has its own pyramid from
top to bottom: separate middles stop hand and object from competing for channels, shared ends keep the two
streams' features comparable. Both streams give features at a quarter of the picture's size.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

_EXPANSION = 4


@dataclass(frozen=True)
class BackboneSettings:
    """The defaults are ResNet-50's, and a pyramid of 256 channels."""

    width: int = 64
    """Channels of the stem; a layer has 4, 8, 16 and 32 times as many."""
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    pyramid: int = 256
    streams: int = 2
    """1: everything is shared, hand and object see the same features."""

    def __post_init__(self) -> None:
        if self.streams not in (1, 2):
            raise ValueError(f"there are 1 or 2 streams, not {self.streams}")


class Bottleneck(nn.Module):
    """ResNet's: 1x1, 3x3 (with the stride), 1x1 to four times the width, beside a skip connection."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        out = _EXPANSION * width
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        self.skip = nn.Identity()
        if stride != 1 or channels != out:
            self.skip = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch out h w"]:
        return (self.skip(x) + self.body(x)).relu()


class Layer(nn.Sequential):
    """Bottlenecks of one width, the first with the stride."""

    def __init__(self, channels: int, width: int, blocks: int, stride: int):
        widths = [channels, *[_EXPANSION * width] * (blocks - 1)]
        super().__init__(*(Bottleneck(c, width, stride if n == 0 else 1) for n, c in enumerate(widths)))


class Pyramid(nn.Module):
    """From the coarsest features down to a quarter of the picture: 1x1 on each level, the coarser one
    enlarged and added, 3x3 at the end (Lin et al., "Feature Pyramid Networks", CVPR 2017)."""

    def __init__(self, channels: list[int], width: int):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, levels: list[Tensor]) -> Float[Tensor, "batch pyramid height width"]:
        """`levels` from fine to coarse."""
        found = self.lateral[-1](levels[-1])
        for lateral, level in zip(self.lateral[-2::-1], levels[-2::-1], strict=True):
            found = nn.functional.interpolate(found, level.shape[-2:]) + lateral(level)
        return self.smooth(found)


Enhance = Callable[[int, Float[Tensor, "batch channel height width"]], Float[Tensor, "batch channel h w"]]


class Streams(nn.Module):
    """A picture's features for the hand, and those for the object."""

    def __init__(self, settings: BackboneSettings):
        super().__init__()
        width, blocks, out = settings.width, settings.blocks, _EXPANSION * settings.width
        self.settings = settings
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        self.first = Layer(width, width, blocks[0], 1)
        own = range(settings.streams)
        self.second = nn.ModuleList(Layer(out, 2 * width, blocks[1], 2) for _ in own)
        self.third = nn.ModuleList(Layer(2 * out, 4 * width, blocks[2], 2) for _ in own)
        self.fourth = Layer(4 * out, 8 * width, blocks[3], 2)
        self.pyramids = nn.ModuleList(
            Pyramid([out, 2 * out, 4 * out, 8 * out], settings.pyramid) for _ in own
        )

    @property
    def middle_channels(self) -> int:
        """Of layer 2, at an eighth of the picture."""
        return 2 * _EXPANSION * self.settings.width

    def forward(
        self, image: Float[Tensor, "batch 3 height width"], enhance: Enhance | None = None
    ) -> tuple[Float[Tensor, "batch pyramid h w"], Float[Tensor, "batch pyramid h w"]]:
        """Hand stream, object stream; the same where there is one.

        enhance  what happens to the features of layer 2 of stream number n before they go on
        """
        shared = self.first(self.stem(image))
        found = []
        for number, (second, third, pyramid) in enumerate(
            zip(self.second, self.third, self.pyramids, strict=True)
        ):
            middle = second(shared)
            if enhance is not None:
                middle = enhance(number, middle)
            coarse = third(middle)
            found.append(pyramid([shared, middle, coarse, self.fourth(coarse)]))
        return found[0], found[-1]

"""Similarity of pictures, named by the protocol.

Chapter  book/foundations/metrics.md
Units    colours in [0, 1]; PSNR in decibels
Frame    height, width, channel

`ssim` and `psnr` have a data range of 1. The released code of VA-NeRF calls scikit-image's SSIM on
floating-point pictures without a range, which then assumed 2: `ssim_range_2` is that number, and is higher.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.metrics.masks import checked_mask

_WINDOW = 7
_BACKBONES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
}
_VGG_LAYERS = {1: 1 / 16, 6: 1 / 8, 11: 1 / 4, 20: 1.0}
"""ReLU 1_1, 2_1, 3_1 and 4_1 of torchvision's VGG-19, and their weights in VA-NeRF's released code."""
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def psnr(
    predicted: Float[Tensor, "*batch height width channel"],
    target: Float[Tensor, "*batch height width channel"],
    mask: Bool[Tensor, "*batch height width"] | None = None,
) -> Float[Tensor, "*batch"]:
    """Peak signal-to-noise ratio of each picture, of the whole of it or within `mask`; infinite if equal.

    Average decibels over pictures, as papers do, not squared errors. Raises ValueError for an empty mask.
    """
    square = (predicted - target).square().mean(dim=-1)
    if mask is None:
        error = square.mean(dim=(-2, -1))
    else:
        count = checked_mask("mask", mask, square.shape).sum(dim=(-2, -1))
        if bool((count == 0).any()):
            raise ValueError("psnr: a mask is empty, so there is nothing to compare")
        error = torch.where(mask, square, 0).sum(dim=(-2, -1)) / count
    return -10 * torch.log10(error)


def crop(picture: Tensor, mask: Bool[Tensor, "height width"]) -> Tensor:
    """The rectangle around a mask, cut out of a picture (*batch, height, width, channel)."""
    checked_mask("mask", mask, picture.shape[-3:-1])
    rows, columns = mask.any(dim=1).nonzero().flatten(), mask.any(dim=0).nonzero().flatten()
    if not len(rows):
        raise ValueError("crop: the mask is empty")
    return picture[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, :]


def ssim(
    predicted: Float[Tensor, "*batch height width channel"],
    target: Float[Tensor, "*batch height width channel"],
    data_range: float = 1.0,
) -> Float[Tensor, "*batch"]:
    """Structural similarity of each picture as scikit-image defines it by default.

    Wang et al., "Image quality assessment", 2004, with a uniform window of 7 x 7 pixels, sample covariances,
    K1 = 0.01, K2 = 0.03, each channel for itself; the border of 3 pixels does not count. Raises ValueError
    for pictures smaller than the window.
    """
    height, width = predicted.shape[-3:-1]
    if min(height, width) < _WINDOW:
        raise ValueError(f"ssim needs at least {_WINDOW} x {_WINDOW} pixels, but got {height} x {width}")
    x, y = (picture.movedim(-1, -3).reshape(-1, 1, height, width) for picture in (predicted, target))

    def mean(values: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(values, _WINDOW, stride=1)

    sample = _WINDOW**2 / (_WINDOW**2 - 1)
    mean_x, mean_y = mean(x), mean(y)
    variance_x = sample * (mean(x * x) - mean_x.square())
    variance_y = sample * (mean(y * y) - mean_y.square())
    covariance = sample * (mean(x * y) - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x.square() + mean_y.square() + c1) * (variance_x + variance_y + c2)
    return (above / below).mean(dim=(-3, -2, -1)).reshape(*predicted.shape[:-3], -1).mean(dim=-1)


def ssim_range_2(
    predicted: Float[Tensor, "*batch height width channel"],
    target: Float[Tensor, "*batch height width channel"],
) -> Float[Tensor, "*batch"]:
    """`ssim` with a data range of 2 for colours in [0, 1], as VA-NeRF's released code computes it."""
    return ssim(predicted, target, data_range=2.0)


def backbone_file(backbone: str = "alex") -> Path:
    """Where torchvision keeps the ImageNet weights of a backbone, whether they are there or not."""
    if backbone not in _BACKBONES:
        raise ValueError(f"unknown backbone {backbone!r}; there are {', '.join(_BACKBONES)}")
    return Path(torch.hub.get_dir()) / "checkpoints" / _BACKBONES[backbone]


def perceptual_distance(
    backbone: str = "alex", device: str | torch.device = "cpu"
) -> tuple[str, Callable[[Tensor, Tensor], Tensor]]:
    """Name and function of a perceptual distance of pictures (batch, height, width, 3); smaller is nearer.

    "lpips" is the published LPIPS and needs a backbone trained on ImageNet, in `backbone_file`; it is never
    downloaded from here. Without it the same network with random weights (seed 0) is used, whose numbers
    are comparable with nothing but themselves: "lpips_random". Raises ImportError without the lpips package.
    """
    try:
        import lpips
    except ImportError:
        raise ImportError("perceptual distances need lpips: pip install lpips (extra `book`)") from None
    trained = backbone_file(backbone).is_file()
    with (
        torch.random.fork_rng(devices=[]),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(action="ignore"),  # lpips calls torchvision in an old way
    ):
        torch.manual_seed(0)
        network = lpips.LPIPS(net=backbone, pnet_rand=not trained, verbose=False)
    network = network.eval().requires_grad_(False).to(device)

    def distance(
        predicted: Float[Tensor, "batch height width 3"], target: Float[Tensor, "batch height width 3"]
    ) -> Float[Tensor, "batch"]:
        x, y = (2 * picture.movedim(-1, -3) - 1 for picture in (predicted, target))
        return network(x, y).flatten()

    return ("lpips" if trained else "lpips_random"), distance


def vgg_loss(
    device: str | torch.device = "cpu", file: Path | None = None
) -> tuple[str, Callable[[Tensor, Tensor], Tensor]] | None:
    """Name and function of the perceptual loss of VGG-19 features; None where its trained weights are not at
    hand: they are never downloaded from here, and random ones would be another loss.

    Mean absolute difference of features of pictures (batch, height, width, 3) at four depths, weighted as in
    VA-NeRF's released code (Johnson et al. 2016; the paper says "VGG" alone). Differentiable.

    file  torchvision's weights; default `backbone_file("vgg19")`

    Raises ValueError for a file that is not those weights.
    """
    from torchvision.models import vgg19

    file = file or backbone_file("vgg19")
    if not file.is_file():
        return None
    network = vgg19()
    try:
        network.load_state_dict(torch.load(file, weights_only=True))
    except Exception as error:  # torch raises many kinds for files that are not what they should be
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{file} is not torchvision's VGG-19 ({reason}): delete it or get it again"
        ) from None
    layers = network.features[: max(_VGG_LAYERS) + 1].eval().requires_grad_(False).to(device)
    for layer in layers:
        if isinstance(layer, torch.nn.ReLU):
            layer.inplace = False
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (_IMAGENET_MEAN, _IMAGENET_STD))

    def loss(
        rendered: Float[Tensor, "batch height width 3"], target: Float[Tensor, "batch height width 3"]
    ) -> Float[Tensor, ""]:
        x, y = ((picture.movedim(-1, -3) - mean) / std for picture in (rendered, target))
        total = rendered.new_zeros(())
        for number, layer in enumerate(layers):
            x, y = layer(x), layer(y)
            if number in _VGG_LAYERS:
                total = total + _VGG_LAYERS[number] * (x - y).abs().mean()
        return total

    return "vgg19", loss

"""What the field and the discriminator are trained by: Eqs. 4 and 5.

Units  colours in [0, 1]; the paper's weights of the terms of Eq. 4 are `PAPER_WEIGHTS`
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from hands_lib.metrics.image import vgg_loss


@dataclass(frozen=True)
class LossWeights:
    """Lambdas of Eq. 4."""

    rgb: float = 10.0
    vgg: float = 1.0
    adv: float = 0.1
    vis: float = 0.1


PAPER_WEIGHTS = LossWeights()


def colour_loss(
    rendered: Float[Tensor, "*batch height width 3"], target: Float[Tensor, "*batch height width 3"]
) -> Float[Tensor, ""]:
    """L_rgb: mean absolute difference."""
    return (rendered - target).abs().mean()


def laplacian_loss(
    rendered: Float[Tensor, "patch height width 3"],
    target: Float[Tensor, "patch height width 3"],
    num_levels: int = 3,
) -> Float[Tensor, ""]:
    """A stand-in for the perceptual loss L_VGG that needs no trained weights; records call it by this name.

    Mean absolute difference of the levels of Laplacian pyramids, each weighted by the side of its pixels
    (Bojanowski et al. 2018), over the levels' number. It compares edges and textures at several sizes, but
    knows nothing of what they show. Raises ValueError for patches smaller than 2^num_levels pixels.
    """
    if min(rendered.shape[1:3]) < 2**num_levels:
        raise ValueError(
            f"patches of {rendered.shape[1]} x {rendered.shape[2]} pixels are too small for "
            f"{num_levels} levels"
        )
    difference = (rendered - target).movedim(-1, 1)  # pyramids are linear
    loss = rendered.new_zeros(())
    for level in range(num_levels):
        smaller = functional.avg_pool2d(difference, 2, ceil_mode=True)
        blurred = functional.interpolate(smaller, difference.shape[-2:], mode="bilinear", align_corners=False)
        loss = loss + 2**level * (difference - blurred).abs().mean()
        difference = smaller
    return loss / num_levels


def perceptual_loss(device: str | torch.device) -> tuple[str, Callable[[Tensor, Tensor], Tensor]]:
    """Name in records, and L_VGG where the trained weights of VGG-19 are on disk, else `laplacian_loss`."""
    return vgg_loss(device) or ("laplacian_pyramid", laplacian_loss)


def visibility_targets(
    real: bool,
    foreground: Bool[Tensor, "scene height width"],
    seen: Bool[Tensor, "scene height width"],
) -> Float[Tensor, "scene height width"]:
    """V_t of a target view. (i) In a real picture every pixel of a hand counts as visible. (ii) In a
    synthesised one those do whose surface the input camera sees.

    foreground  pixels of the target view that show a hand
    seen        those of them whose surface the input camera sees: `discriminator.seen_from_input`
    """
    return (foreground if real else foreground & seen).float()


def visibility_loss(
    logits: Float[Tensor, "scene height width"],
    target: Float[Tensor, "scene height width"],
    foreground: Bool[Tensor, "scene height width"] | None = None,
    invisible_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Eq. 5, the binary cross entropy between the predicted visibility map (as logits) and V_t.

    foreground        pixels that count; the paper's sum has all, released code those of the hands
    invisible_weight  of pixels with V_t = 0; the released code takes 5 when it trains the discriminator
    """
    weight = torch.where(target > 0.5, 1.0, invisible_weight)
    if foreground is not None:
        weight = weight * foreground
    each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (weight * each).mean()


def generator_loss(fake_logits: Float[Tensor, "*any"]) -> Float[Tensor, ""]:
    """L_adv of the field: non-saturating GAN loss, -log D(fake). Goodfellow et al. 2014."""
    return functional.softplus(-fake_logits).mean()


def discriminator_loss(
    real_logits: Float[Tensor, "*any"], fake_logits: Float[Tensor, "*any"]
) -> Float[Tensor, ""]:
    """L_adv of the discriminator: -log D(real) - log(1 - D(fake))."""
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()


def gradient_penalty(
    real_logits: Float[Tensor, " scene"], real: Float[Tensor, "scene height width 3"], gamma: float = 300.0
) -> Float[Tensor, ""]:
    """R1: gamma / 2 times the mean squared norm of the score's gradient at real pictures (Mescheder et al.
    2018). The paper does not mention it; the released code has it with gamma = 300.

    `real` must have required gradients before it was scored.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gamma / 2 * gradient.square().sum(dim=(1, 2, 3)).mean()

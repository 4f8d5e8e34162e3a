"""A step of visibility-guided adversarial learning: what both players are given, and what each of them loses.

Units  pixels; colours in [0, 1]

Both are trained in turn: first the field by `field_loss`, then the discriminator by `discriminator_step_loss`
with the same patches. The loop stands in the chapters.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.methods.va_nerf.discriminator import (
    Discriminator,
    correspondence_map,
    cropped_at,
    seen_from_input,
)
from hands_lib.methods.va_nerf.losses import (
    PAPER_WEIGHTS,
    LossWeights,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    laplacian_loss,
    visibility_loss,
    visibility_targets,
)
from hands_lib.methods.va_nerf.network import VANeRF
from hands_lib.methods.va_nerf.rendering import RenderSettings, render_rays
from hands_lib.methods.va_nerf.training import (
    Patches,
    PerceptualLoss,
    Pictures,
    patch_rays,
    reconstruction_loss,
)
from hands_lib.structures import TensorFields


@dataclass(frozen=True)
class AdversarialSettings:
    """How the players meet. The defaults are the paper's, but for `penalty` and `hands_alone`."""

    weights: LossWeights = PAPER_WEIGHTS
    penalty: float = 300.0
    """Gamma of R1, which only the released code has; 0 leaves it out."""
    hands_alone: bool = True
    """Whether L_vis counts pixels of hands alone, as in the released code."""
    invisible_weight: float = 1.0
    """Of invisible pixels where the discriminator learns; the released code takes 5."""


@dataclass(frozen=True)
class Meeting(TensorFields):
    """Patches of a step as both players see them."""

    rendered: Float[Tensor, "scene side side 3"]
    """With the field's gradient."""
    real: Float[Tensor, "scene side side 3"]
    image: Float[Tensor, "scene side side 3"]
    """The input picture at the patch's pixels."""
    dense: Float[Tensor, "scene side side 3"]
    target_dense: Float[Tensor, "scene side side 3"]
    foreground: Bool[Tensor, "scene side side"]
    seen: Bool[Tensor, "scene side side"]
    """Pixels of hands whose surface the input camera sees."""


def meet(
    net: VANeRF,
    pictures: Pictures,
    patches: Patches,
    side: int,
    rest_vertices: Float[Tensor, "vertex 3"],
    settings: RenderSettings,
    generator: torch.Generator | None = None,
) -> Meeting:
    """Renders the patches, and cuts all that the discriminator sees at the patches' pixels, the input view's
    too, as the released code does.

    rest_vertices  of one right hand: what `correspondence_map` takes its colours from
    """
    rays = patch_rays(pictures, patches, side)
    observation = net.observe(pictures.input_view(patches.frame, patches.view))
    rendered = render_rays(net, observation, *rays, settings, generator).colour.unflatten(1, (side, side))
    mesh, target = observation.view.mesh, pictures.camera(patches.frame, patches.target)
    maps = (
        pictures.colours(patches.frame, patches.target),
        observation.view.image,
        correspondence_map(mesh, observation.view.camera, rest_vertices),
        correspondence_map(mesh, target, rest_vertices),
    )
    shown = seen_from_input(mesh, target, observation.evidence.vertex_visible)
    bits = (cropped_at(part[..., None], patches.corner, side)[..., 0] for part in shown)
    return Meeting(rendered, *(cropped_at(part, patches.corner, side) for part in maps), *bits)


def field_loss(
    discriminator: Discriminator,
    meeting: Meeting,
    settings: AdversarialSettings,
    perceptual: PerceptualLoss = laplacian_loss,
) -> Float[Tensor, ""]:
    """Eq. 4: what the field loses. It wants its pictures to be taken for real, and all of its hands to be
    taken for visible, since that is how a real picture's map looks (criterion i)."""
    weights = settings.weights
    loss = reconstruction_loss(meeting.rendered, meeting.real, weights, perceptual)
    score, visible = discriminator(meeting.image, meeting.rendered, meeting.dense, meeting.target_dense)
    loss = loss + weights.adv * generator_loss(score)
    if visible is not None:
        wanted = visibility_targets(True, meeting.foreground, meeting.seen)
        counted = meeting.foreground if settings.hands_alone else None
        loss = loss + weights.vis * visibility_loss(visible, wanted, counted)
    return loss


def discriminator_step_loss(
    discriminator: Discriminator, meeting: Meeting, settings: AdversarialSettings
) -> Float[Tensor, ""]:
    """What the discriminator loses: by both pictures' scores, by R1, and by both maps (criteria i and ii)."""
    given = meeting.dense, meeting.target_dense
    real = meeting.real.detach().requires_grad_(settings.penalty > 0)
    real_score, real_map = discriminator(meeting.image, real, *given)
    fake_score, fake_map = discriminator(meeting.image, meeting.rendered.detach(), *given)
    loss = discriminator_loss(real_score, fake_score)
    if settings.penalty > 0:
        loss = loss + gradient_penalty(real_score, real, settings.penalty)
    if real_map is not None:
        counted = meeting.foreground if settings.hands_alone else None
        for is_real, logits in ((True, real_map), (False, fake_map)):
            wanted = visibility_targets(is_real, meeting.foreground, meeting.seen)
            loss = loss + visibility_loss(logits, wanted, counted, settings.invisible_weight)
    return loss

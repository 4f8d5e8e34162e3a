"""The strongest visibility critic: it is told what the input view shows, and has to learn one thing less.

Units   as in discriminator.py
Source  OURS, an extension: neither the paper nor its released code has it. It answers a question about them.

The discriminator of the paper learns two things at once: where the input camera sees the surface, and whether
a picture is real. Its map matters to the field only through the second. A critic that is given the first (it
is known: criterion (ii) is made of it) spends all that it learns on the hidden pixels, those that VGAL is
about. If the field gains nothing from this critic, a weaker one is not what stands in the way.
"""

import copy

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hands_lib.methods.va_nerf.discriminator import Discriminator


class ToldDiscriminator(Discriminator):
    """The visibility discriminator whose map also looks at criterion (ii); its score does not."""

    def __init__(self):
        super().__init__("visibility")
        self.features[0], self.map[0] = (_one_wider(part[0]) for part in (self.features, self.map))
        self.seen = None

    def told(self, seen: Bool[Tensor, "scene height width"]) -> "ToldDiscriminator":
        """The same critic, with the same weights, for pictures of which this is seen.

        seen  pixels of the target view whose surface the input camera sees: `discriminator.seen_from_input`
        """
        same = copy.copy(self)
        same.seen = seen
        return same

    def forward(
        self,
        image: Float[Tensor, "scene height width 3"],
        target: Float[Tensor, "scene height width 3"],
        dense: Float[Tensor, "scene height width 3"],
        target_dense: Float[Tensor, "scene height width 3"],
    ) -> tuple[Float[Tensor, " scene"], Float[Tensor, "scene height width"]]:
        """Logits, as those of `Discriminator`. Raises ValueError before it was told anything."""
        if self.seen is None:
            raise ValueError("this discriminator must be told first what the input view shows: told(seen)")
        together = torch.cat([image, dense, target_dense, target], dim=-1).movedim(-1, 1)
        given = torch.cat([together, self.seen[:, None].to(together)], dim=1)
        return self.score(together)[:, 0], self.map(torch.cat([given, self.features(given)], dim=1))[:, 0]


def critic_of(kind: str) -> Discriminator:
    """A new discriminator of the kind "visibility", "binary" or "told"."""
    return ToldDiscriminator() if kind == "told" else Discriminator(kind)


def _one_wider(layer: nn.Conv2d) -> nn.Conv2d:
    """A new layer with one more channel to look at."""
    return nn.Conv2d(layer.in_channels + 1, layer.out_channels, layer.kernel_size, padding=layer.padding)

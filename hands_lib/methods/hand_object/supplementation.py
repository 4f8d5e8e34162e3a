"""CFSM, cross-feature supplementation: a stream looks up in the other one what it is missing.

Paper   Liu et al.: "attention interaction" between primary and secondary features of the same target. In no
        released file: RECONSTRUCTED after the cross attention of HFL-Net (Lin et al., CVPR 2023).

    Q = W_q P,   K = W_k S,   V = W_v S,        P primary, S secondary features, S detached
    P' = P + W_o softmax(Q K^T / sqrt d) V,     F = P' + MLP(P')

The hand's primary features are those of the hand's stream, its secondary ones are what the object's stream
has of the same picture; for the object the other way round. Secondary features are detached: the other stream
does not learn to serve two.
"""

from jaxtyping import Float
from torch import Tensor, nn

from hands_lib.methods.hand_object.augmentation import picture_grid


class Supplement(nn.Module):
    """CFSM for one target.

    coarser  by how much the secondary features are smaller on a side (their mean): 1 in the paper's size, 2
             saves three quarters of the attention
    detach   False for attention that teaches both sides
    """

    def __init__(self, channels: int, heads: int = 4, coarser: int = 1, detach: bool = True):
        super().__init__()
        self.detach, self.coarser = detach, coarser
        self.place = nn.Linear(2, channels)
        self.before, self.given = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.mix = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.ReLU(),
            nn.Linear(2 * channels, channels),
        )  # fmt: skip

    def forward(
        self,
        primary: Float[Tensor, "batch channel height width"],
        secondary: Float[Tensor, "batch channel height width"],
        look: bool = False,
    ) -> tuple[Float[Tensor, "batch channel height width"], Float[Tensor, "batch query key"] | None]:
        """The supplemented features and, where `look`, how much every pixel looks at every other one, the
        mean over heads."""
        shape = primary.shape[-2:]
        place = self.place(picture_grid(*shape, primary))
        own = primary.flatten(2).mT
        other = nn.functional.avg_pool2d(secondary.detach() if self.detach else secondary, self.coarser)
        there = self.place(picture_grid(*other.shape[-2:], primary))
        other = other.flatten(2).mT
        key = self.given(other) + there
        answer, weights = self.attention(self.before(own) + place, key, self.given(other), need_weights=True)
        own = own + answer
        own = own + self.mix(own)
        return own.mT.unflatten(-1, shape), weights if look else None

"""What a discriminator can tell after the game, in numbers that no border at one half decides.

Units   percent of pairs: 50 is chance, 100 a perfect order
Source  OURS: the paper shows maps (Fig. 7) and measures none. A critic that cannot tell real from rendered
        meets each hidden pixel once as visible and once as hidden, so that its best answer is above one half
        for every pixel: only the order of its answers says what it knows.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.methods.va_nerf.discriminator import Discriminator, correspondence_map
from hands_lib.methods.va_nerf.evaluation import ViewPairs
from hands_lib.methods.va_nerf.told import ToldDiscriminator
from hands_lib.methods.va_nerf.training import Pictures, TestPictures
from hands_lib.structures import TensorFields


@dataclass(frozen=True)
class Asked(TensorFields):
    """What the discriminator is given beside the target picture, whole pictures."""

    image: Float[Tensor, "pair height width 3"]
    dense: Float[Tensor, "pair height width 3"]
    target_dense: Float[Tensor, "pair height width 3"]


def asked(pictures: Pictures, pairs: ViewPairs, rest_vertices: Float[Tensor, "vertex 3"]) -> Asked:
    """Of pairs of views; `rest_vertices` of one right hand, as `correspondence_map` takes them."""
    given = pictures.input_view(pairs.frame, pairs.view)
    target = pictures.camera(pairs.frame, pairs.target)
    maps = (correspondence_map(given.mesh, camera, rest_vertices) for camera in (given.camera, target))
    return Asked(given.image, *maps)


def share_above(ours: Float[Tensor, "*any"], theirs: Float[Tensor, "*other"]) -> float:
    """How often one of ours is larger than one of theirs, ties counted half: the area under the ROC curve."""
    theirs = theirs.flatten().sort().values
    ranks = [torch.searchsorted(theirs, ours.flatten(), right=right) for right in (False, True)]
    return (50 * sum(ranks).double().mean() / len(theirs)).item()


@torch.no_grad()
def judged(
    judge: Discriminator, given: Asked, found: TestPictures, rendered: bool
) -> tuple[Float[Tensor, " pair"], Float[Tensor, "pair height width"] | None]:
    """Probabilities of "real" and of "visible" (None for the binary kind), of rendered or true pictures."""
    if isinstance(judge, ToldDiscriminator):
        judge = judge.told(found.seen)
    picture = found.rendered if rendered else found.target
    score, visible = judge(given.image, picture, given.dense, given.target_dense)
    return score.sigmoid(), None if visible is None else visible.sigmoid()


def critic_scores(judge: Discriminator, given: Asked, found: TestPictures) -> dict[str, float]:
    """Column -> percent.

    score_real_above_rendered   of two pictures, the real one has the higher score
    map_seen_above_hidden       of two pixels of hands in rendered pictures, the seen one has the higher value
    hidden_real_above_rendered  of two hidden pixels, that of a real picture has the higher value: what the
                                field can learn from
    mean_map_hidden             mean value of hidden pixels in rendered pictures (%)
    """
    real_score, real = judged(judge, given, found, rendered=False)
    score, visible = judged(judge, given, found, rendered=True)
    numbers = {"score_real_above_rendered": share_above(real_score, score)}
    if visible is not None:
        hidden = found.foreground & ~found.seen
        numbers |= {
            "map_seen_above_hidden": share_above(visible[found.seen], visible[hidden]),
            "hidden_real_above_rendered": share_above(real[hidden], visible[hidden]),
            "mean_map_hidden": 100 * visible[hidden].mean().item(),
        }
    return numbers


def visible_of(
    judge: Discriminator, given: Asked, found: TestPictures, rendered: bool = True
) -> Float[Tensor, "pair height width"]:
    """The map of rendered or true pictures; 0 outside the hands. Raises ValueError for the binary kind."""
    _, visible = judged(judge, given, found, rendered)
    if visible is None:
        raise ValueError("a binary discriminator has no map")
    return visible * found.foreground


def visibility_maps(
    judge: Discriminator, given: Asked, found: TestPictures
) -> dict[str, Float[Tensor, "pair height width *channel"]]:
    """What Fig. 7 shows: the field's pictures, the map of them, and that of the real pictures."""
    return {
        "field": found.rendered,
        "V of it": visible_of(judge, given, found),
        "V of real": visible_of(judge, given, found, rendered=False),
    }


def closest_match(given: Asked, reach: int | None = None) -> Float[Tensor, "pair height width"]:
    """How far the closest colour of the input's correspondence map is from that of each target pixel.

    reach  pixels to each side that are searched, around the same place; None: the whole input view. Without a
           hand there the distance is infinite.
    """
    side = given.dense.shape[1:3]
    distance = torch.cdist(given.target_dense.flatten(1, 2), given.dense.flatten(1, 2))
    empty = (given.dense == 0).all(dim=-1).flatten(1)[:, None]
    if reach is not None:
        places = [torch.arange(length, device=distance.device) for length in side]
        places = torch.stack(torch.meshgrid(*places, indexing="ij"), dim=-1).flatten(0, 1)
        empty = empty | ((places[:, None] - places).abs().amax(dim=-1) > reach)
    return distance.masked_fill(empty, torch.inf).amin(dim=-1).unflatten(-1, side)

"""One moment of a pair, photographed by a ring of cameras around it.

Units    metres, pixels
"""

import torch

from hands_lib.geometry.cameras import cropped
from hands_lib.structures import HandPose
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.identities import Identities
from hands_lib.worlds.renderer import random_lighting
from hands_lib.worlds.views import Moment, Views, make_moment, photograph

_MARGIN = 1.2  # side of a picture against that of the box around both hands
_LIGHT = 3  # added to the seed: the light is not drawn from the noise's numbers


def seen_from_a_ring(
    pose: HandPose, person: Identities, num: int, size: int, seed: int, background: str = "plain"
) -> tuple[Moment, Views]:
    """The moment and what `num` cameras see of it, cut to the hands, `size` pixels along a side. The seed
    decides light, background and noise.

    pose  of both hands of one pair, (2,)
    """
    moment = make_moment(pose, person)
    camera = cropped(camera_ring(num, size), moment.vertices.flatten(0, 1), size, _MARGIN)
    light = random_lighting(torch.Generator().manual_seed(seed + _LIGHT))
    return moment, photograph(moment, person, camera, light, background, seed=seed)

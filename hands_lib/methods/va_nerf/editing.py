"""Changing what a field shows without training it anew: the tasks of the paper's Figure 1.

Frames  world, metres; right hand first
"""

from dataclasses import replace

from hands_lib.hand.skeleton import JOINTS
from hands_lib.methods.va_nerf.network import Observation

_INSIDE = JOINTS.index("middle_1")  # a joint that flesh surrounds on all sides
_DOT = 0.01  # of the hand's size


def keep_hand(observation: Observation, kept: int) -> Observation:
    """The observation of a pair of which only one hand has a surface; 0 keeps the right one, 1 the left one.

    Features stay those of the picture of both: what the removed hand hid stays hidden, and the kept hand may
    still look at its mirror image there. The removed hand becomes a dot inside the kept one, where the signed
    distance of both is that of the kept hand.

    Raises ValueError for another hand.
    """
    if kept not in (0, 1):
        raise ValueError(f"kept is 0 for the right hand or 1 for the left one, not {kept}")
    view = observation.view
    vertices = view.vertices.clone()
    removed = view.vertices[:, 1 - kept]
    middle = view.joints[:, kept, _INSIDE, None]
    vertices[:, 1 - kept] = middle + _DOT * (removed - removed.mean(dim=1, keepdim=True))
    return replace(observation, view=replace(view, vertices=vertices))

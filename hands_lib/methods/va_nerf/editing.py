"""Changing what a field shows without training it anew: the tasks of the paper's Figure 1.

Frames  world, metres; right hand first
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.geometry.raster import rasterize
from hands_lib.hand.skeleton import JOINTS
from hands_lib.methods.va_nerf.evaluation import Method
from hands_lib.methods.va_nerf.network import Observation
from hands_lib.methods.va_nerf.observation import InputView
from hands_lib.methods.va_nerf.without_learning import shown_skin, skin_colour
from hands_lib.structures import Camera

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


def tell_erased(observation: Observation, shown: Float[Tensor, "height width"]) -> Observation:
    """The same observation, in which no vertex that projects into the erased pixels counts as seen.

    shown  0 where the input picture was erased, 1 elsewhere
    """
    seen, evidence = observation.view, observation.evidence
    height, width = shown.shape
    x, y = seen.camera.project(seen.mesh.vertices).round().long().unbind(dim=-1)
    there = shown[y.clamp(0, height - 1), x.clamp(0, width - 1)] > 0
    evidence = replace(evidence, vertex_visible=evidence.vertex_visible & there)
    return replace(observation, evidence=evidence)


def filling(method: Method) -> Method:
    """The same method, which is given its input with the holes filled."""

    def filled(given: InputView, camera: Camera) -> Float[Tensor, "scene height width 3"]:
        return method(fill_with_skin(given), camera)

    return filled


def fill_with_skin(given: InputView) -> InputView:
    """The input with its holes filled: pixels of the fitted hands that are black get the mean colour of those
    that are not. A picture of hands that are black all over stays as it is."""
    hands = rasterize(given.mesh, given.camera).foreground
    hole = (hands & ~shown_skin(given))[..., None]
    return replace(given, image=torch.where(hole, skin_colour(given)[:, None, None], given.image))

"""The signed-distance loss: a hand and an object that do not share space.

Paper    Liu, Jiang, Zhang, Wei, Hua, Chen, "Hand-Object Reconstruction Method with Feature Enhancement and
         Physical Constraints". The abstract names the loss, its formula is not public in print; the released
         code has one, `form="released"`
Units    metres
Sign     phi is negative inside

With phi_O the signed distance to the object, phi_H that to the hand, v the hand's vertices, u the object's,
and tau a tolerance, as skin presses in:

    hinge      mean_v relu(-(phi_O(v) + tau)) + mean_u relu(-(phi_H(u) + tau))     ours, the default
    released   sum_v -(phi_O(v)^tau + tau) / N_v + sum_u -(phi_H(u)^tau + tau) / N_u

The released formula raises phi to the power tau where it would have to add it. A power below one of a
negative number is not a number: as soon as one vertex is inside, the loss and its gradients are NaN. Outside,
it falls without bound as the surfaces part: it rewards a hand that lets go.
"""

import math
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.limited_distance import LimitedDistance, counted_vertices, signed_distance_below

TOLERANCE = 0.002
"""Metres; the released code gives no value that works, 2 mm is ours."""


def hinge(found: LimitedDistance, number: Int[Tensor, " batch"], tolerance: float) -> Float[Tensor, " found"]:
    """What each point that was found adds to the mean over its cloud, of which `number` points count: how
    much deeper than the tolerance it is, metres."""
    return (-(found.distance + tolerance)).relu() / number[found.item]


def signed_distance_loss(
    hand: Float[Tensor, "batch vertex 3"],
    object_vertices: Float[Tensor, "batch object_vertex 3"],
    hand_faces: Int[Tensor, "face 3"],
    object_faces: Int[Tensor, "*maybe_batch object_face 3"],
    tolerance: float = TOLERANCE,
    form: Literal["hinge", "released"] = "hinge",
) -> Float[Tensor, ""]:
    """Mean over the batch of the loss of each pair, metres (without a unit where `form="released"`).

    Objects of one batch may differ: `geometry.limited_distance.padded_meshes` makes templates of one size,
    `templates[index]` the rows of a batch; their vertices are moved to where the objects are, and given here
    with `faces` (batch, face, 3). Padding counts nowhere. With one object for all, faces are (face, 3).

    Distances are exact, and so are gradients, of both surfaces. The hinge measures only vertices that may be
    deeper than the tolerance, so that it costs little where hands are good.

    Raises:
        ValueError: for another form, or a tolerance that is not positive; GeometryError (a ValueError too)
            for meshes that do not fit, or are not finite.
    """
    if form not in ("hinge", "released") or not tolerance > 0:
        raise ValueError(
            f'form is "hinge" or "released", not {form!r}; tolerance is positive, not {tolerance}'
        )
    limit = -tolerance if form == "hinge" else math.inf
    surfaces = (hand, hand_faces), (object_vertices, object_faces)
    total = hand.new_zeros(())
    for (points, its), (vertices, faces) in (surfaces, surfaces[::-1]):
        number = counted_vertices(points, its)
        found = signed_distance_below(limit, points, number, vertices, faces)
        if form == "hinge":
            each = hinge(found, number, tolerance)
        else:
            each = -(found.distance**tolerance + tolerance) / number[found.item]
        total = total + each.sum() / len(hand)
    return total

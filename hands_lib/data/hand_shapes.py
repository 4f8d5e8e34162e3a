"""What the joints of a hand can be: sizes, bones, and which order of rows their bones speak for.

Units  metres; lengths of bones in palms (mean distance from the wrist to the four knuckles)

Bones do not need a pose, so they show what no fit would: a number that only fills a gap, and rows that were
declared in another order than they have. Among 174 measured hands no bone of a finger is longer than 0.56
palms, and in each the four bones nearest the palm are together 1.7 times as long as the four outermost; of
hands that are estimated, with errors, more is allowed.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.hand.inverse_kinematics import bone_lengths_of, inverse_kinematics
from hands_lib.hand.kinematics import mirror
from hands_lib.hand.skeleton import JOINT_ORDERS, JOINTS, reorder

_BASES = [JOINTS.index(f"{digit}_1") for digit in ("index", "middle", "ring", "little")]
LONGEST_BONE = 0.85  # palms; of the three outer bones of a digit


def palm_lengths(joints: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch"]:
    """Mean distance from the wrist to the knuckles of the four fingers, metres."""
    return (joints[..., _BASES, :] - joints[..., :1, :]).norm(dim=-1).mean(dim=-1)


def has_a_long_bone(joints: Float[Tensor, "*batch 21 3"]) -> Bool[Tensor, "*batch"]:
    """Whether one of the outer bones is longer than any hand's: some joint is not where the finger is."""
    outer = bone_lengths_of(joints)[..., 1:].flatten(-2).amax(dim=-1)
    return outer > LONGEST_BONE * palm_lengths(joints)


def shortens_outwards(joints: Float[Tensor, "*batch 21 3"]) -> Bool[Tensor, "*batch"]:
    """Whether the bones nearest the palm are longer, in the sum over the four fingers, than the outermost."""
    fingers = bone_lengths_of(joints)[..., 1:, :].sum(dim=-2)
    return fingers[..., 1] > fingers[..., 3]


def is_hand_like(joints: Float[Tensor, "*batch 21 3"]) -> Bool[Tensor, "*batch"]:
    return ~has_a_long_bone(joints) & shortens_outwards(joints)


def orders_that_fit(rows: Float[Tensor, "hand row 3"]) -> list[str]:
    """Orders in which most of the hands have bones of hands, the best first; of equal orders one is named."""
    found: dict[tuple[str, ...], tuple[float, str]] = {}
    for name, order in JOINT_ORDERS.items():
        if order in found or len(order) != rows.shape[-2] or not set(JOINTS) <= set(order):
            continue
        share = float(is_hand_like(reorder(rows, name, "hands")).double().mean())
        found[order] = share, "freihand" if order == JOINT_ORDERS["freihand"] else name
    return [name for share, name in sorted(found.values(), key=lambda one: -one[0]) if share > 0.5]


def bent_beyond(joints: Float[Tensor, "hand 21 3"]) -> Float[Tensor, "2 hand"]:
    """How far the joints are from the nearest pose that a right hand, and that a left hand, can take: the
    largest distance of a joint, metres. A hand is far from the poses of the other side."""
    both = torch.stack([joints, mirror(joints)])
    return inverse_kinematics(both, bone_lengths=bone_lengths_of(both)).residuals.amax(dim=-1)


_CENTRES: dict[str, Callable[[Tensor], Tensor]] = {
    "wrist": lambda joints: joints[..., 0, :],
    "middle of all joints": lambda joints: joints.mean(dim=-2),
    "knuckle of the middle finger": lambda joints: joints[..., JOINTS.index("middle_1"), :],
}


def shared_centre(joints: Float[Tensor, "pair 2 21 3"]) -> str | None:
    """The point in which both hands of nearly every pair coincide, if there is one: then each was centred on
    itself, and nobody knows where they are to each other."""
    for name, centre in _CENTRES.items():
        places = centre(joints)
        if len(joints) and float(((places[:, 0] - places[:, 1]).norm(dim=-1) < 1e-3).double().mean()) > 0.9:
            return name
    return None

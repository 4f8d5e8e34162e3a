"""What a variant of the loss sees: its tested points, in the world, and which pairs have one inside.

Chapter  book/intersections/loss.md
Source   Ivashechkin et al., "Two Hands Are Better Than One", Sec. II-C, Fig. 3
Units    metres
Frame    world; pairs as `loss` takes them

A pair whose surfaces share space, and none of whose tested points lies in the other hand, has no loss: what a
variant never sees it cannot correct.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.geometry.inside import bounding_box, inside
from hands_lib.hand.surface import surface_topology
from hands_lib.methods.intersections.loss import Occupancy, QueryPoints, probabilities, query_points
from hands_lib.methods.intersections.points import reflect, skeleton_of_joints, surface_points
from hands_lib.structures import Mesh


@torch.no_grad()
def asked_points(
    occupancy: Occupancy, pair: Float[Tensor, "2 21 3"], point_set: str = "sparse", alpha: int = 0
) -> tuple[Float[Tensor, "point 3"], Float[Tensor, " point"]]:
    """All points that a variant tests, as they stand in the world, and how probably each is inside."""
    asked = query_points(pair[None], point_set, alpha, prefilter=False)
    reflected = asked.direction[asked.owner, None] != 0
    return torch.where(reflected, reflect(asked.points), asked.points), probabilities(occupancy, asked)


@torch.no_grad()
def points_inside(
    occupancy: Occupancy,
    joints: Float[Tensor, "21 3"],
    num: int,
    generator: torch.Generator,
    most: int | None = None,
    margin: float = 0.02,
) -> Float[Tensor, "inner 3"]:
    """Of `num` random points of the box around a right hand's joints, `margin` wider on all sides, those that
    the network takes for inside; at most `most` of them. A left hand is asked reflected."""
    low, high = bounding_box(joints)
    share = torch.rand(1, num, 3, generator=generator).to(joints)
    points = (low - margin + (high - low + 2 * margin) * share)[0]
    owner = torch.zeros(num, dtype=torch.long, device=joints.device)
    logits = occupancy.logits_of(points, owner, occupancy.condition(joints[None]))
    return points[logits > 0][:most]


@torch.no_grad()
def detected_by_network(
    occupancy: Occupancy, pairs: Float[Tensor, "pair 2 21 3"], point_set: str, alpha: int
) -> Bool[Tensor, " pair"]:
    """Pairs with a tested point whose probability is above one half."""
    asked = query_points(pairs, point_set, alpha)
    return _any_of_pair(asked, probabilities(occupancy, asked) > 0.5, len(pairs))


def detected_exactly(
    pairs: Float[Tensor, "pair 2 21 3"], point_set: str, alpha: int
) -> Bool[Tensor, " pair"]:
    """Pairs with a tested point inside the other hand's thin surface: the variant without its network."""
    asked = query_points(pairs, point_set, alpha, prefilter=False)
    surface = Mesh(surface_points(skeleton_of_joints(asked.joints)), surface_topology("plain").faces)
    hit = inside(asked.points.view(len(asked.joints), -1, 3), surface).flatten()
    return _any_of_pair(asked, hit, len(pairs))


def _any_of_pair(asked: QueryPoints, hit: Tensor, num: int) -> Bool[Tensor, " pair"]:
    count = torch.zeros(num, device=hit.device)
    return count.index_add(0, asked.pair[asked.owner], hit.float()) > 0

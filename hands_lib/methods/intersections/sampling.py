"""What the occupancy network learns from, and how it is measured: points with exact labels, IoU (Sec. III-A).

Chapter  book/intersections/occupancy.md
Units    metres
Frame    any world frame; RIGHT hands

A label says whether the point lies inside the closed surface, by `geometry.inside`, asked of the point's
final position: noise and rotation move points before they are labelled, so no label is ever wrong. Where
points come from is not printed but for their number and "random Gaussian noise"; halves and widths are
reconstructions.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.geometry.inside import bounding_box, grid_occupancy, grid_points, inside
from hands_lib.geometry.normals import face_area_vectors
from hands_lib.geometry.rotations import random_rotations
from hands_lib.hand.inverse_kinematics import inverse_kinematics
from hands_lib.hand.kinematics import forward_kinematics, random_pose
from hands_lib.hand.surface import HandShape, hand_surface
from hands_lib.structures import Mesh, TensorFields

if TYPE_CHECKING:
    from hands_lib.methods.intersections.occupancy import OccupancyNetwork


@dataclass(frozen=True)
class SamplingSettings:
    """Where training points lie."""

    num_points: int = 8192
    """For each hand."""
    uniform_share: float = 0.5
    """Uniform in the hand's box; the others lie near its surface."""
    padding: float = 0.1
    """By which the box is larger than the hand, as a share of its sides."""
    deviation: float = 0.005
    """Of the noise added to points of the surface, metres."""
    rotate: bool = True
    """Whether hands are turned at random, uniformly over all rotations."""

    def __post_init__(self):
        if self.num_points < 1:
            raise ValueError(f"num_points must be at least 1, not {self.num_points}")
        if not 0 <= self.uniform_share <= 1:
            raise ValueError(f"uniform_share must lie in [0, 1], not {self.uniform_share}")
        for name in ("padding", "deviation"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")


@dataclass(frozen=True)
class OccupancyBatch(TensorFields):
    """Hands, points around them, and which of the points are inside."""

    joints: Float[Tensor, "hand 21 3"]
    points: Float[Tensor, "hand point 3"]
    occupied: Bool[Tensor, "hand point"]


def thin_surface(joints: Float[Tensor, "*batch 21 3"]) -> Mesh:
    """The volume that belongs to 21 joints: the thin surface on the pose fitted to them. No gradients.

    Raises ValueError, naming the hand, for joints that inverse kinematics cannot fit.
    """
    pose = inverse_kinematics(joints).pose
    return hand_surface(forward_kinematics(pose), HandShape.thin(like=joints))


def rotated_about_wrist(
    rotations: Float[Tensor, "hand 3 3"], joints: Float[Tensor, "hand 21 3"], *points: Tensor
) -> tuple[Tensor, ...]:
    """Joints and any other points of the same hands, turned together."""
    wrist = joints[:, :1]
    return tuple((values - wrist) @ rotations.mT + wrist for values in (joints, *points))


def surface_points(mesh: Mesh, num: int, generator: torch.Generator) -> Float[Tensor, "hand {num} 3"]:
    """Uniform on each mesh's area."""
    area = face_area_vectors(mesh).norm(dim=-1)
    below = area.cumsum(dim=-1)
    draw = torch.rand(len(area), num, 3, generator=generator).to(area)
    faces = torch.searchsorted(below, draw[..., 0] * below[:, -1:]).clamp(max=area.shape[-1] - 1)
    corners = mesh.vertices.gather(1, mesh.faces[faces].flatten(1)[..., None].expand(-1, -1, 3))
    a, b, c = corners.unflatten(1, (num, 3)).unbind(dim=2)
    u, v = draw[..., 1:2], draw[..., 2:]
    fold = u + v > 1  # of the parallelogram, the half that is not the triangle
    u, v = torch.where(fold, 1 - u, u), torch.where(fold, 1 - v, v)
    return a + u * (b - a) + v * (c - a)


def training_points(
    mesh: Mesh, settings: SamplingSettings, generator: torch.Generator
) -> Float[Tensor, "hand point 3"]:
    """Uniform in the padded box, then near the surface; in the shares of `settings`."""
    num_uniform = round(settings.uniform_share * settings.num_points)
    lower, upper = bounding_box(mesh.vertices)
    centre, sides = (lower + upper) / 2, (upper - lower) * (1 + settings.padding)
    draw = torch.rand(len(lower), num_uniform, 3, generator=generator).to(centre)
    uniform = centre[:, None] + (draw - 0.5) * sides[:, None]
    near = surface_points(mesh, settings.num_points - num_uniform, generator)
    noise = torch.randn(near.shape, generator=generator).to(near)
    return torch.cat([uniform, near + settings.deviation * noise], dim=1)


def training_batch(
    joints: Float[Tensor, "hand 21 3"],
    mesh: Mesh,
    settings: SamplingSettings,
    generator: torch.Generator,
) -> OccupancyBatch:
    """Hands turned at random, and labelled points around them.

    Raises:
        ValueError: joints that are not finite or not as many as the meshes.
        GeometryError: a mesh that is open, inside out or not finite.
    """
    _check_hands(joints, mesh)
    if settings.rotate:
        turn = random_rotations(len(joints), generator).to(joints)
        joints, vertices = rotated_about_wrist(turn, joints, mesh.vertices)
        mesh = Mesh(vertices, mesh.faces)
    points = training_points(mesh, settings, generator)
    return OccupancyBatch(joints, points, inside(points, mesh))


def drawn_batch(
    pool: Float[Tensor, "pooled 21 3"],
    num: int,
    settings: SamplingSettings,
    generator: torch.Generator,
) -> OccupancyBatch:
    """What one step learns from: new labelled points of `num` hands, half of them drawn from the pool, the
    others in random poses that nobody has seen. Raises as `training_batch`."""
    chosen = torch.randint(len(pool), (num // 2,), generator=generator)
    random = forward_kinematics(random_pose(num - len(chosen), generator)).joints
    joints = torch.cat([pool[chosen], random])
    return training_batch(joints, thin_surface(joints), settings, generator)


def intersection_over_union(
    predicted: Bool[Tensor, "hand *point"], true: Bool[Tensor, "hand *point"]
) -> Float[Tensor, " hand"]:
    """|A and B| / |A or B| of each hand. Raises ValueError where both are empty."""
    union = (predicted | true).flatten(1).sum(dim=1)
    if (union == 0).any():
        hand = int((union == 0).nonzero()[0])
        raise ValueError(f"hand {hand} has no point inside, neither predicted nor true: IoU is undefined")
    return (predicted & true).flatten(1).sum(dim=1) / union


@torch.no_grad()
def grid_iou(
    network: "OccupancyNetwork",
    joints: Float[Tensor, "hand 21 3"],
    mesh: Mesh,
    resolution: int = 50,
    threshold: float = 0.5,
) -> Float[Tensor, " hand"]:
    """IoU on the regular grid that spans each mesh, 125,000 points by default; mean it over the hands.

    The network is in evaluation mode meanwhile. Hands go to its device, and through it one after the other,
    which bounds the memory; the result is where the hands were.

    Raises as `training_batch`, and ValueError for a threshold outside (0, 1).
    """
    _check_hands(joints, mesh)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, not {threshold}")
    was_training, came_from = network.training, joints.device
    place = next(network.parameters(), joints).device
    joints, mesh = joints.to(place), mesh.to(place)
    network.eval()
    condition, level = network.condition(joints), torch.tensor(threshold).logit()
    lower, upper = bounding_box(mesh.vertices)
    shares = []
    for hand in range(len(joints)):
        points = grid_points(lower[hand], upper[hand], resolution).view(1, -1, 3)
        predicted = network.logits(points, condition[hand : hand + 1]) > level
        true = grid_occupancy(Mesh(mesh.vertices[hand : hand + 1], mesh.faces), resolution)
        shares.append(intersection_over_union(predicted, true.flatten(1)))
    network.train(was_training)
    return torch.cat(shares).to(came_from)


def _check_hands(joints: Tensor, mesh: Mesh) -> None:
    if len(joints) != len(mesh.vertices):
        raise ValueError(f"{len(joints)} hands do not fit {len(mesh.vertices)} meshes")
    bad = (~joints.isfinite()).flatten(1).any(dim=1)
    if bad.any():
        raise ValueError(f"the joints of hand {int(bad.nonzero()[0])} are not finite")

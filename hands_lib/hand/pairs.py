"""A right and a left hand that belong together.

Units   metres
Frames  world: index 0 is the right hand, index 1 the left one, both where they stand. `HandPose` knows right
        hands only: index 1 of a pair's pose is the left hand in the world MIRRORED at x = 0, a right-handed
        world of its own. `left_mirrored` leads from one to the other
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.geometry import contact
from hands_lib.hand.kinematics import forward_kinematics, mirror
from hands_lib.hand.surface import PARTS, HandShape, hand_surface, surface_topology
from hands_lib.hand.surface.topology import Detail
from hands_lib.structures import HandPose, Mesh


def left_mirrored(points: Float[Tensor, "*batch 2 point 3"]) -> Float[Tensor, "*batch 2 point 3"]:
    """From one common world to a right-handed world for each hand, and back: the left one is mirrored."""
    return torch.stack([points[..., 0, :, :], mirror(points[..., 1, :, :])], dim=-3)


def pair_joints(pose: HandPose) -> Float[Tensor, "*batch 2 21 3"]:
    """World joints of pairs, right hand first."""
    return left_mirrored(forward_kinematics(pose).joints)


def pair_surfaces(
    pose: HandPose, shape: HandShape | None = None, detail: Detail = "refined"
) -> Float[Tensor, "*batch 2 vertex 3"]:
    """World vertices of the surfaces of pairs, right hand first. Their faces: `pair_faces`."""
    return left_mirrored(hand_surface(forward_kinematics(pose), shape, detail).vertices)


def pair_faces(detail: Detail = "refined") -> Int[Tensor, "2 face 3"]:
    """Faces of the right and of the left hand; both look outwards."""
    faces = surface_topology(detail).faces
    return torch.stack([faces, faces.flip(-1)])


def pair_meshes(
    vertices: Float[Tensor, "*batch 2 vertex 3"], detail: Detail = "refined"
) -> tuple[Mesh, Mesh]:
    """The right and the left hands of the world as closed surfaces."""
    faces = pair_faces(detail).to(vertices.device)
    return Mesh(vertices[..., 0, :, :], faces[0]), Mesh(vertices[..., 1, :, :], faces[1])


def face_parts() -> Int[Tensor, " face"]:
    """The part (`hand.surface.PARTS`) that each face of the refined surface belongs to."""
    topology = surface_topology("refined")
    return topology.part[topology.faces].amax(dim=1)


def meeting_parts(vertices: Float[Tensor, "pair 2 vertex 3"]) -> Bool[Tensor, "pair 2 6"]:
    """Which parts of the hands meet the other hand's refined surface: see `geometry.contact`."""
    return contact.meeting_parts(*pair_meshes(vertices), face_parts(), len(PARTS))


def intersecting(
    vertices: Float[Tensor, "pair 2 vertex 3"], detail: Detail = "refined"
) -> Bool[Tensor, " pair"]:
    """Whether the two closed surfaces of each pair have a point in common: see `geometry.contact.meet`."""
    return contact.meet(*pair_meshes(vertices, detail))


def clearance(vertices: Float[Tensor, "*batch 2 vertex 3"]) -> Float[Tensor, "*batch 2 vertex"]:
    """Signed distance of the vertices of each hand to the other hand's refined surface, metres."""
    return contact.clearance(*pair_meshes(vertices))

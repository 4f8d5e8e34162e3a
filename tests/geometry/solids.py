"""Closed meshes whose distance, inside and appearance are known."""

import torch
import trimesh

from hands_lib.hand.kinematics import forward_kinematics, random_pose
from hands_lib.hand.surface import hand_surface, mirror_mesh
from hands_lib.structures import Camera, Mesh


def as_mesh(solid: trimesh.Trimesh, dtype=torch.float32) -> Mesh:
    return Mesh(torch.tensor(solid.vertices, dtype=dtype), torch.tensor(solid.faces, dtype=torch.long))


def box(*size: float, dtype=torch.float32) -> Mesh:
    """Centred at the origin."""
    return as_mesh(trimesh.creation.box(size), dtype)


def ball(radius: float = 1.0, dtype=torch.float32) -> Mesh:
    return as_mesh(trimesh.creation.icosphere(3, radius), dtype)


def torus(major_sections: int = 24, minor_sections: int = 12, dtype=torch.float32) -> Mesh:
    """Axis z, radii 2 and 0.7."""
    solid = trimesh.creation.torus(2.0, 0.7, major_sections=major_sections, minor_sections=minor_sections)
    return as_mesh(solid, dtype)


def soup(*meshes: Mesh) -> Mesh:
    """All meshes as one."""
    offsets = torch.tensor([0] + [mesh.vertices.shape[-2] for mesh in meshes]).cumsum(0)
    faces = torch.cat([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=False)])
    return Mesh(torch.cat([mesh.vertices for mesh in meshes], dim=-2), faces)


def two_hands(seed: int, num: int, distance: float = 0.03) -> tuple[Mesh, Mesh]:
    """`num` pairs of hands in random poses, close enough to overlap; metres."""
    generator = torch.Generator().manual_seed(seed)
    right = hand_surface(forward_kinematics(random_pose(num, generator=generator)))
    left = mirror_mesh(hand_surface(forward_kinematics(random_pose(num, generator=generator))))
    return right, Mesh(left.vertices + torch.tensor([distance, 0, 0.01]), left.faces)


def camera_towards_z(
    size: int, focal: float, depth: float, projection="perspective", dtype=torch.float32
) -> Camera:
    """Looks along world +z from (0, 0, -depth), image centre on the axis."""
    middle = (size - 1) / 2
    intrinsics = torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1]], dtype=dtype)
    pose = torch.eye(4, dtype=dtype)
    pose[2, 3] = depth
    return Camera(intrinsics, pose, size, size, projection)

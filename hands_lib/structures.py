"""The data that passes between the parts of the library: frozen dataclasses of tensors.

Units   metres, radians, pixels (book/notation.md)
Frames  `a_from_b` maps coordinates in b to coordinates in a
        cameras are OpenCV's: x right, y down, z forward

Leading dimensions (`*batch`) are free and shared by all fields of one object. Every class has
`.to(device_or_dtype)` and indexing over the batch.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_Fields = TypeVar("_Fields", bound="TensorFields")


class TensorFields:
    """Moves and indexes all tensor fields of a dataclass together."""

    def to(self: _Fields, *args, **kwargs) -> _Fields:
        """`Tensor.to` on every floating field; integer and boolean fields follow in device only."""
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, TensorFields):
                moved[field.name] = value.to(*args, **kwargs)
            if not isinstance(value, Tensor):
                continue
            target = value.to(*args, **kwargs)
            moved[field.name] = target if value.is_floating_point() else value.to(target.device)
        return replace(self, **moved)


@dataclass(frozen=True)
class HandPose(TensorFields):
    """Everything that forward kinematics needs to place the 21 joints of one RIGHT hand.

    Digits are thumb, index, middle, ring, little. Bones of a digit are metacarpal (wrist to base joint),
    proximal, middle, distal; its joints are base, middle, distal (thumb: CMC, MCP, IP; fingers: MCP, PIP,
    DIP).
    A left hand is the mirror image of a right one: `hand.kinematics.mirror`.
    """

    root_translation: Float[Tensor, "*batch 3"]
    """Wrist position in the world, metres."""
    root_rotation: Float[Tensor, "*batch 3 3"]
    """world_from_hand."""
    palm_angles: Float[Tensor, "*batch 5 2"]
    """Elevation (positive towards the palm) and spread of each metacarpal, radians from the rest palm."""
    joint_angles: Float[Tensor, "*batch 5 3 3"]
    """Flexion, abduction, twist of each joint, radians."""
    bone_lengths: Float[Tensor, "*batch 5 4"]
    """Metres."""

    @property
    def batch_shape(self) -> torch.Size:
        return self.root_translation.shape[:-1]

    def __getitem__(self, index) -> "HandPose":
        return HandPose(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True)
class Mesh(TensorFields):
    """Triangle meshes of one topology. Faces turn counter-clockwise seen from outside."""

    vertices: Float[Tensor, "*batch vertex 3"]
    """Metres."""
    faces: Int[Tensor, "face 3"]


def unrounded(points: Tensor) -> torch.autocast:
    """A block whose products keep the precision of their factors. Positions need it inside a network that
    runs in mixed precision: half-precision numbers know the pixels of a picture to one in 256."""
    return torch.autocast(points.device.type, enabled=False)


@dataclass(frozen=True)
class Camera(TensorFields):
    """A camera without skew or distortion; pixel (0, 0) is the centre of the upper left pixel.

    A perspective camera is a pinhole. An orthographic one looks along parallel rays: the same K is then
    applied to (x, y, 1) instead of (x, y, z), so its focal lengths are pixels per metre.
    """

    intrinsics: Float[Tensor, "*batch 3 3"]
    """K in pixels."""
    camera_from_world: Float[Tensor, "*batch 4 4"]
    """Rigid; metres."""
    width: int
    height: int
    projection: Literal["perspective", "orthographic"] = "perspective"

    def transform(self, points: Float[Tensor, "*batch point 3"]) -> Float[Tensor, "*batch point 3"]:
        """World to camera coordinates, metres."""
        rotation = self.camera_from_world[..., :3, :3]
        translation = self.camera_from_world[..., None, :3, 3]
        with unrounded(points):
            return points @ rotation.mT + translation

    def project(self, points: Float[Tensor, "*batch point 3"]) -> Float[Tensor, "*batch point 2"]:
        """World points to pixels. Points at or behind the camera centre give infinite or mirrored pixels:
        the caller looks at the depth of `transform` where that can happen."""
        in_camera = self.transform(points)
        if self.projection == "orthographic":
            in_camera = torch.cat([in_camera[..., :2], torch.ones_like(in_camera[..., 2:])], dim=-1)
        with unrounded(points):
            homogeneous = in_camera @ self.intrinsics.mT
        return homogeneous[..., :2] / homogeneous[..., 2:]


@dataclass(frozen=True)
class TwoHandSample(TensorFields):
    """One or two hands at one moment, in the world frame. Right hand first everywhere.

    Tensors only. What a file says besides (names, numbers, paths, the photograph) stays with its reader,
    for example `data.interhand26m.InterHandFrame`.
    """

    joints: Float[Tensor, "*batch 2 21 3"]
    """Metres, in the library's joint order; zeros, and without meaning, where `joint_valid` is false."""
    joint_valid: Bool[Tensor, "*batch 2 21"]
    """Whether the position of the joint in space is known."""
    camera: Camera | None = None
    """The camera that saw the hands; None for a moment without a particular camera."""

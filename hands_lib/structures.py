"""The data that passes between the parts of the library: frozen dataclasses of tensors.

Units   metres, radians, pixels (book/notation.md)
Frames  `a_from_b` maps coordinates in b to coordinates in a
        cameras are OpenCV's: x right, y down, z forward

Leading dimensions (`*batch`) are free and shared by all fields of one object. Every class has
`.to(device_or_dtype)`, indexing over the batch, `map` and `cat`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

_Fields = TypeVar("_Fields", bound="TensorFields")


class TensorFields:
    """Moves, indexes and joins all tensor fields of a dataclass together, those of nested ones too. What is
    no tensor (None, a number, a name) stays as it is."""

    SHARED: ClassVar[frozenset[str]] = frozenset()
    """Tensor fields without the batch's dimensions, which all of it has in common: only `to` touches them."""

    def map(self: _Fields, function: Callable[..., Tensor], *others: _Fields) -> _Fields:
        """`function` of every tensor, and of the tensors in the same place of `others`."""
        return self._mapped(function, False, *others)

    def _mapped(self: _Fields, function: Callable[..., Tensor], with_shared: bool, *others) -> _Fields:
        changed = {}
        left = frozenset() if with_shared else self.SHARED
        for name in (field.name for field in fields(self) if field.name not in left):
            value = getattr(self, name)
            theirs = [getattr(other, name) for other in others]
            if isinstance(value, TensorFields):
                changed[name] = value._mapped(function, with_shared, *theirs)
            elif isinstance(value, Tensor):
                changed[name] = function(value, *theirs)
        return replace(self, **changed)

    def to(self: _Fields, *args, **kwargs) -> _Fields:
        """`Tensor.to` on every floating field; integer and boolean fields follow in device only."""

        def moved(value: Tensor) -> Tensor:
            target = value.to(*args, **kwargs)
            return target if value.is_floating_point() else value.to(target.device)

        return self._mapped(moved, True)

    def __getitem__(self: _Fields, index) -> _Fields:
        """Over the first dimensions of the batch, as a tensor is indexed."""
        return self.map(lambda value: value[index])

    @staticmethod
    def cat(parts: Sequence[_Fields]) -> _Fields:
        """One batch of several, along its first dimension; what has no batch is that of the first part.

        Raises ValueError where there is no part.
        """
        if not parts:
            raise ValueError("nothing to join: give at least one part")
        return parts[0].map(lambda *values: torch.cat(values), *parts[1:])


def chosen(where: Bool[Tensor, " batch"], first: _Fields, second: _Fields) -> _Fields:
    """`first` where it is true and `second` elsewhere, along the first dimension of the batch."""
    return first.map(lambda a, b: torch.where(where.view(-1, *[1] * (a.ndim - 1)), a, b), second)


def put(whole: _Fields, rows: Int[Tensor, " row"], part: _Fields) -> _Fields:
    """`whole` with `part` in these rows of the batch's first dimension."""
    return whole.map(lambda values, own: values.index_copy(0, rows, own), part)


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


@dataclass(frozen=True)
class Mesh(TensorFields):
    """Triangle meshes of one topology. Faces turn counter-clockwise seen from outside."""

    SHARED: ClassVar[frozenset[str]] = frozenset({"faces"})

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


@dataclass(frozen=True)
class LabelledHands(TensorFields):
    """Square pictures of two hands, one camera each, with what is known of them."""

    image: UInt8[Tensor, "picture 3 size size"]
    camera: Camera
    joints: Float[Tensor, "picture 2 21 3"]
    """World, metres; right hand first."""
    vertices: Float[Tensor, "picture 2 vertex 3"]
    """The same of the surfaces; their number may be 0."""
    hand: UInt8[Tensor, "picture rows columns"]
    """0 neither hand, 1 right, 2 left; at every n-th pixel's centre."""
    correspondence: Float[Tensor, "picture 3 rows columns"]
    """Place of the seen point in the box of the rest hand, 0 to 1; 0 where no hand is seen."""


@dataclass(frozen=True)
class PairViews(TensorFields):
    """Moments of pairs of hands, each photographed by several cameras, whatever the source."""

    SHARED: ClassVar[frozenset[str]] = frozenset({"faces", "asked"})

    image: UInt8[Tensor, "frame view height width 3"]
    """Black where no hand is."""
    foreground: Bool[Tensor, "frame view height width"]
    """Pixels that see a hand."""
    intrinsics: Float[Tensor, "frame view 3 3"]
    camera_from_world: Float[Tensor, "frame view 4 4"]
    vertices: Float[Tensor, "frame 2 vertex 3"]
    """World, metres; right hand first."""
    joints: Float[Tensor, "frame 2 21 3"]
    faces: Int[Tensor, "2 face 3"]
    view_count: Int[Tensor, " frame"]
    """Views that a frame has; what stands behind them is empty."""
    asked: Int[Tensor, "pair 3"]
    """Frame, view and target view of the pairs that the data set's protocol tests; none for worlds, which
    leave the choice to whoever asks."""

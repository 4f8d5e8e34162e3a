"""Pictures of a hand with an object and all that is known of them, and how they are changed for training.

Units    metres outside, uv in the picture; angles in radians
Frames   camera axes; the hand about its wrist, the object's origin from the wrist
uv       in [-1, 1]: -1 the left (upper) border, +1 the right (lower) border
Left     the network knows right hands. A left one is shown to it in the mirror (`mirrored`), with a template
         that is mirrored too, as HFL-Net does
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hands_lib.geometry.limited_distance import PaddedMeshes, counted_vertices
from hands_lib.geometry.rotations import rotation_about_z
from hands_lib.methods.hand_object.augmentation import control_places
from hands_lib.structures import TensorFields


@dataclass(frozen=True)
class Templates(TensorFields):
    """Everything that is known of the objects before a picture is seen; the first dimension is the object."""

    vertices: Float[Tensor, "object vertex 3"]
    """Own frame, padded as by `geometry.limited_distance.padded_meshes`."""
    faces: Int[Tensor, "object face 3"]
    control: Float[Tensor, "object 21 3"]
    """Corners, middles of edges and centre of the box around it."""
    symmetries: Float[Tensor, "object rotation 3 3"]
    """Rotations that nobody can see, repeated to one number."""

    @property
    def num_vertices(self) -> Int[Tensor, " object"]:
        """How many vertices of each are no padding."""
        return counted_vertices(self.vertices, self.faces)


def control_points(
    low: Float[Tensor, "*batch 3"], high: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 21 3"]:
    """The 21 control points of a box along the axes."""
    middle, half = (low + high)[..., None, :] / 2, (high - low)[..., None, :] / 2
    return middle + half * control_places().to(low)


@dataclass(frozen=True)
class Examples(TensorFields):
    image: Float[Tensor, "batch 3 height width"]
    """RGB in [0, 1]."""
    joints: Float[Tensor, "batch 21 3"]
    vertices: Float[Tensor, "batch vertex 3"]
    rotation: Float[Tensor, "batch 3 3"]
    translation: Float[Tensor, "batch 3"]
    wrist: Float[Tensor, "batch 3"]
    """In the camera's frame: known to whoever scores, not to the network."""
    intrinsics: Float[Tensor, "batch 3 3"]
    shape: Int[Tensor, " batch"]
    """Which template."""
    hand_hidden: Float[Tensor, " batch"]
    object_hidden: Float[Tensor, " batch"]

    def __len__(self) -> int:
        return len(self.image)

    def uv(self, points: Float[Tensor, "batch point 3"]) -> Float[Tensor, "batch point 2"]:
        """Where points given from the wrist are in the picture."""
        placed = points + self.wrist[:, None]
        pixels = (placed[..., :2] / placed[..., 2:]) * self.intrinsics[:, None, [0, 1], [0, 1]]
        # Pixel 0 is the centre of the first pixel.
        return (2 * (pixels + self.intrinsics[:, None, :2, 2]) + 1) / self.image.shape[-1] - 1


def templates_of(
    meshes: PaddedMeshes,
    boxes: tuple[Float[Tensor, "object 3"], Float[Tensor, "object 3"]],
    symmetries: Float[Tensor, "object rotation 3 3"],
) -> Templates:
    """From closed meshes, the lower and the upper corners of their boxes, and their rotations that nobody can
    see."""
    return Templates(meshes.vertices, meshes.faces, control_points(*boxes), symmetries)


def examples_of(pictures: TensorFields) -> Examples:
    """Labelled pictures of a world, which have the fields of `Examples`; `image` in bytes."""
    values = {name: getattr(pictures, name) for name in Examples.__dataclass_fields__}
    return Examples(**values | {"image": values["image"].float() / 255})


def placed(
    points: Float[Tensor, "batch point 3"],
    rotation: Float[Tensor, "batch 3 3"],
    translation: Float[Tensor, "batch 3"],
) -> Float[Tensor, "batch point 3"]:
    """Points of the object from the wrist."""
    return points @ rotation.mT + translation[:, None]


def canonical(
    rotation: Float[Tensor, "batch 3 3"], symmetries: Float[Tensor, "batch rotation 3 3"]
) -> Float[Tensor, "batch 3 3"]:
    """Of all rotations under which the object looks the same the one that turns least: what a network is
    asked for, since no picture can tell them apart."""
    same = rotation[:, None] @ symmetries
    best = same.diagonal(dim1=-2, dim2=-1).sum(dim=-1).argmax(dim=1)
    return same[torch.arange(len(same), device=same.device), best]


@dataclass(frozen=True)
class Changes:
    """By how much pictures are changed while the network learns."""

    angle: float = math.pi / 8
    """Greatest turn about the middle of the picture, radians."""
    scale: float = 0.12
    """Greatest relative change of size."""
    shift: float = 0.08
    """Greatest shift along either side, in uv."""
    colour: float = 0.25
    """Greatest relative change of every colour channel."""


def changed(examples: Examples, changes: Changes, generator: torch.Generator) -> Examples:
    """The same scenes in turned, scaled, shifted and recoloured pictures, as by another camera.

    The camera turns about its own axis. Where that axis does not meet the middle of the crop, shift and turn
    go together: the affine map of the picture is exactly that of the new camera.
    """
    num, size, like = len(examples), examples.image.shape[-1], examples.image

    def drawn(*shape: int) -> Tensor:
        return (2 * torch.rand(num, *shape, generator=generator) - 1).to(like)

    angle, scale = changes.angle * drawn(), 1 + changes.scale * drawn()
    turn = rotation_about_z(angle)
    # New image coordinates are s R (x - c) + c + t, c the middle of the picture; the same map acts on the
    # rays, so the principal point moves too.
    flat = scale[:, None, None] * turn[:, :2, :2]
    centre = like.new_full((2,), (size - 1) / 2)
    shift = changes.shift * size / 2 * drawn(2)
    back = torch.linalg.inv(flat)
    grid_shift = -(back @ (2 * shift / size)[..., None])
    grid = nn.functional.affine_grid(torch.cat([back, grid_shift], dim=-1), list(like.shape), False)
    image = nn.functional.grid_sample(like, grid, padding_mode="border", align_corners=False)
    image = (image * (1 + changes.colour * drawn(3, 1, 1))).clamp(0, 1)
    intrinsics = examples.intrinsics.clone()
    intrinsics[:, :2, 2] = (flat @ (intrinsics[:, :2, 2] - centre)[..., None])[..., 0] + centre + shift
    intrinsics[:, [0, 1], [0, 1]] *= scale[:, None]
    return replace(
        examples,
        image=image,
        joints=examples.joints @ turn.mT,
        vertices=examples.vertices @ turn.mT,
        rotation=turn @ examples.rotation,
        translation=(turn @ examples.translation[..., None])[..., 0],
        wrist=(turn @ examples.wrist[..., None])[..., 0],
        intrinsics=intrinsics,
    )


def mirrored(examples: Examples) -> Examples:
    """Left hands as right ones in the mirror, with the object's pose for a template mirrored in its own x.
    Twice is nothing."""
    flip = examples.joints.new_tensor([-1.0, 1.0, 1.0])
    intrinsics = examples.intrinsics.clone()
    intrinsics[:, 0, 2] = examples.image.shape[-1] - 1 - intrinsics[:, 0, 2]
    return replace(
        examples,
        image=examples.image.flip(-1),
        joints=examples.joints * flip,
        vertices=examples.vertices * flip,
        rotation=flip[:, None] * examples.rotation * flip,
        translation=examples.translation * flip,
        wrist=examples.wrist * flip,
        intrinsics=intrinsics,
    )

"""Pictures with everything that is known of them, as the losses ask for it, and their mirror images.

Units, frames and order: see the room's header.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hands_lib.hand.kinematics import forward_kinematics, mirror
from hands_lib.hand.surface import hand_surface
from hands_lib.hand.surface.topology import Detail
from hands_lib.methods.refinement.losses import Targets
from hands_lib.structures import Camera, TensorFields
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.interactions import pair_joints
from hands_lib.worlds.pair_labels import labelled_pictures
from hands_lib.worlds.pair_pictures import PictureSettings
from hands_lib.worlds.pair_sets import PairSetSettings, pair_set
from hands_lib.worlds.texture import rest_vertices
from hands_lib.worlds.views import Moment, Views, pixel_labels


@dataclass(frozen=True)
class Examples(TensorFields):
    image: Float[Tensor, "batch 3 height width"]
    """RGB in [0, 1]."""
    targets: Targets

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index) -> "Examples":
        return Examples(self.image[index], self.targets[index])


def joined(parts: list[Examples]) -> Examples:
    """One batch of several."""
    names = Targets.__dataclass_fields__
    targets = Targets(*(torch.cat([getattr(p.targets, name) for p in parts]) for name in names))
    return Examples(torch.cat([p.image for p in parts]), targets)


def examples_of(moment: Moment, views: Views, label_size: int) -> Examples:
    """What all cameras of a world's moment see. The moment has the refined surface.

    label_size   pixels along a side of the pixel labels: the network's last feature map has as many

    Raises ValueError where the pictures' side is no multiple of it, or the picture is not square.
    """
    camera = views.camera
    if camera.width != camera.height or camera.width % label_size:
        raise ValueError(
            f"labels of {label_size} pixels a side do not divide pictures of {camera.width} x {camera.height}"
        )
    step = camera.width // label_size
    places = slice(step // 2, None, step)
    hand = views.hand[:, places, places]
    hand = torch.where(hand <= 2, hand, 0)
    seen = pixel_labels(moment, views).correspondence[:, places, places]
    rest = rest_vertices()
    low, high = rest.amin(dim=0), rest.amax(dim=0)
    colour = torch.where(hand[..., None] > 0, (seen - low) / (high - low), 0.0)
    return pictured(
        views.image.movedim(-1, 1),
        camera,
        moment.joints.expand(len(views.image), -1, -1, -1),
        moment.vertices.expand(len(views.image), -1, -1, -1),
        hand,
        colour.movedim(-1, 1).contiguous(),
    )


def pictured(
    image: UInt8[Tensor, "batch 3 size size"],
    camera: Camera,
    joints: Float[Tensor, "batch 2 21 3"],
    vertices: Float[Tensor, "batch 2 vertex 3"],
    hand: UInt8[Tensor, "batch rows columns"],
    correspondence: Float[Tensor, "batch 3 rows columns"],
) -> Examples:
    """Examples from pictures of one camera each, with joints and vertices in the world, metres.

    hand, correspondence   as in `losses.Targets`
    """
    points = torch.cat([joints, vertices], dim=2)
    flat = points.flatten(1, 2)
    in_camera = camera.transform(flat).unflatten(1, (2, -1))
    # Pixel 0 is the centre of the first pixel; uv -1 is its outer border.
    uv = ((2 * camera.project(flat) + 1) / camera.width - 1).unflatten(1, (2, -1))
    wrists = in_camera[:, :, :1]
    about_wrist = in_camera - wrists
    return Examples(
        image.float() / 255,
        Targets(
            joints=about_wrist[:, :, :21],
            vertices=about_wrist[:, :, 21:],
            joints_uv=uv[:, :, :21],
            vertices_uv=uv[:, :, 21:],
            offset=(wrists[:, 0] - wrists[:, 1])[:, 0],
            hand=hand.long(),
            correspondence=correspondence,
        ),
    )


def unlabelled(
    image: UInt8[Tensor, "batch 3 size size"], camera: Camera, joints: Float[Tensor, "batch 2 21 3"]
) -> Examples:
    """Photographs of which nothing is known but the joints (world, metres): hands without a surface, and
    pixels that show neither hand."""
    num, side = len(image), camera.width // 4
    labels = image.new_zeros(num, side, side), joints.new_zeros(num, 3, side, side)
    return pictured(image, camera, joints, joints.new_zeros(num, 2, 0, 3), *labels)


def pair_examples(
    split: str, pairs: PairSetSettings, pictures: PictureSettings, surface: Detail = "plain"
) -> tuple[Examples, Float[Tensor, "batch 2"]]:
    """One picture of every pair of a split as the hands' owner would see it, and how much of each hand is
    hidden: the share of its vertices that it would show if it were alone, and does not show.

    Pixel labels have a quarter of the pictures' side. Pictures come from the cache where they are there.
    """
    seen = labelled_pictures(split, pairs, pictures, pictures.size // 4)
    own, people = pair_set(split, pairs), sample_identities(pairs.num_people, pairs.seed)
    skeleton, shape = forward_kinematics(own.pose), people[own.identity].shape
    skin = hand_surface(skeleton, shape, surface).vertices
    skin = torch.stack([skin[:, 0], mirror(skin[:, 1])], dim=1)
    joints, points = pair_joints(own.pose), seen.correspondence / 255
    return pictured(seen.image, seen.camera, joints, skin, seen.hand, points), seen.hidden


def mirrored(examples: Examples) -> Examples:
    """The same pictures in a mirror: right hands become left ones. Twice is nothing."""
    old = examples.targets

    def swapped(points: Tensor) -> Tensor:
        signs = points.new_tensor([-1.0, 1.0, 1.0])[: points.shape[-1]]
        return points.flip(1) * signs

    hand = old.hand.flip(-1)
    return Examples(
        examples.image.flip(-1),
        replace(
            old,
            joints=swapped(old.joints),
            vertices=swapped(old.vertices),
            joints_uv=swapped(old.joints_uv),
            vertices_uv=swapped(old.vertices_uv),
            offset=-mirror(old.offset),  # right minus left is left minus right in the mirror
            hand=torch.where(hand > 0, 3 - hand, hand),
            correspondence=old.correspondence.flip(-1),
        ),
    )

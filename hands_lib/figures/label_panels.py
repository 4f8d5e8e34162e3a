"""All labels of a world's view as colours, side by side."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hands_lib.figures.pictures import as_bytes
from hands_lib.worlds.views import Moment, Views, joints_in_image, pixel_labels

PANELS = ("picture", "hands and arms", "depth", "normals", "correspondence", "joints")
_HANDS = ((1.0, 1.0, 1.0), (0.84, 0.37, 0.0), (0.0, 0.45, 0.7), (0.8, 0.8, 0.8))  # none, right, left, arms
_DOTS = ((230, 110, 20), (40, 150, 230))  # right, left
_REST_LOW, _REST_SIZE = (-0.1, -0.02, -0.06), (0.16, 0.22, 0.09)  # metres: the box of the rest hand


def label_panels(moment: Moment, views: Views) -> UInt8[Tensor, "view height width 3"]:
    """For every view the `PANELS` side by side. Depth is light where it is near; a normal's colours are its
    direction towards the camera; a correspondence's are its place on the rest hand."""
    labels = pixel_labels(moment, views)
    hand = torch.tensor(_HANDS)[views.hand.long()]
    own = labels.depth.isfinite()
    low, high = labels.depth[own].min(), labels.depth[own].max()
    depth = torch.where(own, 1 - 0.85 * (labels.depth - low) / (high - low), 0.0)
    normal = (labels.normal * torch.tensor([1.0, -1.0, -1.0]) + 1) / 2
    place = (labels.correspondence - torch.tensor(_REST_LOW)) / torch.tensor(_REST_SIZE)
    white = ~own[..., None]
    panels = [
        hand,
        depth[..., None].expand(*own.shape, 3),
        normal.masked_fill(white, 1.0),
        place.masked_fill(white, 1.0),
    ]
    joints = joints_in_image(moment, views.camera)
    dots = torch.stack([with_joints(i, j) for i, j in zip(views.image, joints, strict=True)])
    return torch.cat([views.image, *map(as_bytes, panels), dots], dim=2)


def with_joints(
    picture: UInt8[Tensor, "height width 3"], joints: Float[Tensor, "2 21 2"]
) -> UInt8[Tensor, "height width 3"]:
    """The picture, darkened, with a dot of 3 x 3 pixels for every joint: vermilion right, blue left."""
    drawn = (picture.float() * 0.45).to(torch.uint8)
    for own, colour in zip(joints, _DOTS, strict=True):
        for u, v in own.round().int().tolist():
            drawn[max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2] = torch.tensor(colour, dtype=torch.uint8)
    return drawn

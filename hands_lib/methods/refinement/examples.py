"""Pictures with everything that is known of them, as the losses ask for it, and their mirror images.

Units, frames and order: see the room's header.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hands_lib.hand.kinematics import mirror
from hands_lib.methods.refinement.losses import Targets
from hands_lib.structures import Camera, LabelledHands, TensorFields


@dataclass(frozen=True)
class Examples(TensorFields):
    image: Float[Tensor, "batch 3 height width"]
    """RGB in [0, 1]."""
    targets: Targets

    def __len__(self) -> int:
        return len(self.image)


def examples_of(seen: LabelledHands) -> Examples:
    """What the losses ask for of pictures: joints and vertices about the wrists in the camera's frame, and
    where they are in the picture."""
    camera = seen.camera
    points = torch.cat([seen.joints, seen.vertices], dim=2)
    flat = points.flatten(1, 2)
    in_camera = camera.transform(flat).unflatten(1, (2, -1))
    # Pixel 0 is the centre of the first pixel; uv -1 is its outer border.
    uv = ((2 * camera.project(flat) + 1) / camera.width - 1).unflatten(1, (2, -1))
    wrists = in_camera[:, :, :1]
    about_wrist = in_camera - wrists
    return Examples(
        seen.image.float() / 255,
        Targets(
            joints=about_wrist[:, :, :21],
            vertices=about_wrist[:, :, 21:],
            joints_uv=uv[:, :, :21],
            vertices_uv=uv[:, :, 21:],
            offset=(wrists[:, 0] - wrists[:, 1])[:, 0],
            hand=seen.hand.long(),
            correspondence=seen.correspondence,
        ),
    )


def unlabelled(
    image: UInt8[Tensor, "batch 3 size size"], camera: Camera, joints: Float[Tensor, "batch 2 21 3"]
) -> Examples:
    """Photographs of which nothing is known but the joints (world, metres): hands without a surface, and
    pixels that show neither hand."""
    num, side = len(image), camera.width // 4
    labels = image.new_zeros(num, side, side), joints.new_zeros(num, 3, side, side)
    return examples_of(LabelledHands(image, camera, joints, joints.new_zeros(num, 2, 0, 3), *labels))


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

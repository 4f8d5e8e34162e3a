"""What the trainings of the chapters share: pictures as tensors, patches of them, their loss, who learns.

The trainings themselves stand in the chapters. A picture is named by its frame (a moment of a pair) and its
view (a camera).

Units  metres, pixels; colours are stored as bytes and come out in [0, 1]
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from hands_lib.methods.va_nerf.discriminator import cropped_at, seen_from_input
from hands_lib.methods.va_nerf.losses import PAPER_WEIGHTS, LossWeights, colour_loss, laplacian_loss
from hands_lib.methods.va_nerf.network import VANeRF
from hands_lib.methods.va_nerf.observation import InputView, gather_evidence
from hands_lib.methods.va_nerf.rendering import RenderSettings, render_rays
from hands_lib.nn.descent import Player
from hands_lib.render.volume import pixel_rays
from hands_lib.structures import Camera, TensorFields

PerceptualLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Pictures(TensorFields):
    """Pairs of hands at several moments, each photographed by a ring of cameras."""

    image: UInt8[Tensor, "frame view height width 3"]
    foreground: Bool[Tensor, "frame view height width"]
    """Pixels that see a hand."""
    intrinsics: Float[Tensor, "frame view 3 3"]
    camera_from_world: Float[Tensor, "frame view 4 4"]
    vertices: Float[Tensor, "frame 2 vertex 3"]
    joints: Float[Tensor, "frame 2 21 3"]
    faces: Int[Tensor, "2 face 3"]
    view_count: Int[Tensor, " frame"]
    """Views that a frame has: it may be fewer than the tensors have room for."""
    asked: Int[Tensor, "pair 3"]
    """Frame, view and target view of the pairs that a data set's protocol tests; none where it has none."""

    def camera(self, frame: Int[Tensor, " scene"], view: Int[Tensor, " scene"]) -> Camera:
        height, width = self.image.shape[2:4]
        return Camera(self.intrinsics[frame, view], self.camera_from_world[frame, view], width, height)

    def colours(
        self, frame: Int[Tensor, " scene"], view: Int[Tensor, " scene"]
    ) -> Float[Tensor, "scene height width 3"]:
        return self.image[frame, view].to(self.intrinsics.dtype) / 255

    def input_view(
        self,
        frame: Int[Tensor, " scene"],
        view: Int[Tensor, " scene"],
        shown: Float[Tensor, "height width"] | None = None,
    ) -> InputView:
        """`shown` is 0 where the pictures are blanked, 1 elsewhere."""
        camera, image = self.camera(frame, view), self.colours(frame, view)
        if shown is not None:
            image = image * shown[..., None].to(image)
        hands = self.vertices[frame], self.joints[frame]
        return InputView(image, camera, *hands, self.faces)


def as_bytes(values: Float[Tensor, "*any"]) -> UInt8[Tensor, "*any"]:
    """Values in [0, 1] as bytes on the CPU, cut off: what a job keeps of a picture or of a map."""
    return (255 * values.float().clamp(0, 1)).byte().cpu()


@dataclass(frozen=True)
class Patches(TensorFields):
    """What a step is made of: scenes, each with an input view and a square of another view."""

    frame: Int[Tensor, " scene"]
    view: Int[Tensor, " scene"]
    target: Int[Tensor, " scene"]
    corner: Int[Tensor, "scene 2"]
    """Upper left pixel (x, y)."""


def draw_patches(pictures: Pictures, num: int, side: int, generator: torch.Generator) -> Patches:
    """Random scenes, different views, and squares about a random pixel of a hand, moved into the picture.

    generator  on the CPU, so that the draw is the same for every device

    Raises ValueError for pictures smaller than the patch, or with one view only.
    """
    num_frames, _, height, width = pictures.foreground.shape
    count = pictures.view_count.cpu()
    if side > min(height, width) or count.min() < 2:
        raise ValueError(
            f"patches of {side} pixels and two views cannot be drawn from {count.min()} pictures of "
            f"{height} x {width} pixels a frame"
        )
    device = pictures.image.device
    frame = torch.randint(num_frames, (num,), generator=generator)
    view, other = torch.rand(2, num, generator=generator, dtype=torch.float64)
    view = (view * count[frame]).long()
    target = (view + 1 + (other * (count[frame] - 1)).long()) % count[frame]
    hand = pictures.foreground[frame.to(device), target.to(device)].flatten(1).float().cpu()
    centre = torch.multinomial(hand, 1, generator=generator)[:, 0]
    corner = torch.stack([centre % width, centre // width], dim=-1) - side // 2
    corner = corner.clamp(min=torch.zeros(2), max=torch.tensor([width - side, height - side])).long()
    return Patches(frame, view, target, corner).to(device)


def patch_rays(
    pictures: Pictures, patches: Patches, side: int
) -> tuple[Float[Tensor, "scene ray 3"], Float[Tensor, "scene ray 3"]]:
    """Origins and directions of the rays through the patches' pixels, row by row."""
    height, width = pictures.image.shape[2:4]
    device = pictures.image.device
    axes = torch.arange(width, device=device), torch.arange(height, device=device)
    pixels = torch.stack(torch.meshgrid(*axes, indexing="xy"), dim=-1).expand(len(patches.frame), -1, -1, -1)
    pixels = cropped_at(pixels, patches.corner, side).flatten(1, 2).to(pictures.intrinsics.dtype)
    return pixel_rays(pictures.camera(patches.frame, patches.target), pixels)


def render_patches(
    net: VANeRF,
    pictures: Pictures,
    patches: Patches,
    side: int,
    settings: RenderSettings,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "scene side side 3"], Float[Tensor, "scene side side 3"]]:
    """The patches as the field shows them, and as they are."""
    rays = patch_rays(pictures, patches, side)
    observation = net.observe(pictures.input_view(patches.frame, patches.view))
    colour = render_rays(net, observation, *rays, settings, generator).colour.unflatten(1, (side, side))
    return colour, cropped_at(pictures.colours(patches.frame, patches.target), patches.corner, side)


def learner(network: nn.Module, learning_rate: float, steps: int) -> Player:
    """One that learns by Adam, its learning rate falling as a cosine to 0."""
    adam = torch.optim.Adam(network.parameters(), learning_rate)
    return Player(network, adam, torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps))


def reconstruction_loss(
    rendered: Float[Tensor, "scene side side 3"],
    target: Float[Tensor, "scene side side 3"],
    weights: LossWeights = PAPER_WEIGHTS,
    perceptual: PerceptualLoss = laplacian_loss,
) -> Float[Tensor, ""]:
    """Eq. 4 without its adversarial terms.

    perceptual  L_VGG of the paper where its weights are at hand; the Laplacian loss stands in for it
    """
    return weights.rgb * colour_loss(rendered, target) + weights.vgg * perceptual(rendered, target)


@dataclass(frozen=True)
class TestPictures(TensorFields):
    """Whole pictures of some test views, and what the input views show of them."""

    __test__ = False  # not for pytest

    rendered: Float[Tensor, "pair height width 3"]
    target: Float[Tensor, "pair height width 3"]
    foreground: Bool[Tensor, "pair height width"]
    seen: Bool[Tensor, "pair height width"]
    """Pixels of hands whose surface the input camera sees."""


def beside_truth(
    picture: Float[Tensor, "pair height width 3"],
    pictures: Pictures,
    frame: Int[Tensor, " pair"],
    view: Int[Tensor, " pair"],
    target: Int[Tensor, " pair"],
) -> TestPictures:
    """A method's pictures of the target views, with the true ones and what the input views show of them."""
    given = pictures.input_view(frame, view)
    visible = gather_evidence(given).vertex_visible
    maps = seen_from_input(given.mesh, pictures.camera(frame, target), visible)
    return TestPictures(picture, pictures.colours(frame, target), *maps)

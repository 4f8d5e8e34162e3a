"""Which views are tested, and what is measured of them.

Units  degrees, decibels; colours in [0, 1]

The paper says neither which part of a picture its numbers are of, nor on which views Table 1 was measured.
The released code takes PSNR of the whole picture and SSIM of a rectangle around the hands with a data range
of 2: that number is `ssim_range_2` here, beside `ssim` with a range of 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hands_lib.methods.va_nerf.network import VANeRF
from hands_lib.methods.va_nerf.observation import InputView
from hands_lib.methods.va_nerf.rendering import RenderSettings, render_picture
from hands_lib.methods.va_nerf.training import Pictures, TestPictures, beside_truth
from hands_lib.metrics.image import crop, psnr, ssim, ssim_range_2
from hands_lib.structures import Camera, TensorFields

LARGE_ANGLE = 30.0

Method = Callable[[InputView, Camera], Float[Tensor, "scene height width 3"]]
"""Anything that makes pictures of target views from input views: a network, or a rule without learning."""


@dataclass(frozen=True)
class ViewPairs(TensorFields):
    """Pairs of views of the same moment: what is shown, and what is asked for."""

    frame: Int[Tensor, " pair"]
    view: Int[Tensor, " pair"]
    target: Int[Tensor, " pair"]
    degrees: Float[Tensor, " pair"]
    """Rotation from one camera to the other."""

    def __getitem__(self, index: Tensor | slice) -> "ViewPairs":
        return ViewPairs(self.frame[index], self.view[index], self.target[index], self.degrees[index])


def view_pairs(pictures: Pictures, num: int) -> ViewPairs:
    """The first `num` pairs that the data set's protocol asks for; where it asks for none, drawn ones."""
    if not len(pictures.asked):
        return draw_view_pairs(pictures, num)
    frame, view, target = pictures.asked[:num].cpu().unbind(dim=-1)
    degrees = _angles(pictures)[frame, view, target].float()
    return ViewPairs(frame, view, target, degrees).to(pictures.image.device)


def draw_view_pairs(pictures: Pictures, num: int, seed: int = 77) -> ViewPairs:
    """Frames in turn; every second pair of a frame's views is less than 30 degrees apart where it has such.

    Raises ValueError for frames with a single view.
    """
    num_frames, num_views = pictures.image.shape[:2]
    count = pictures.view_count.cpu()
    if count.min() < 2:
        raise ValueError("pairs of views need at least two views of a frame, and one of these frames has one")
    generator = torch.Generator().manual_seed(seed)
    frame = torch.arange(num) % num_frames
    angles = _angles(pictures)[frame]
    there = torch.arange(num_views) < count[frame, None]
    other = ~torch.eye(num_views, dtype=torch.bool) & there[:, None] & there[:, :, None]
    near = (angles < LARGE_ANGLE) & other
    wants_near = (torch.arange(num) % 2 == 1) & near.any(dim=(1, 2))
    far = (angles >= LARGE_ANGLE) & other
    allowed = torch.where(far.any(dim=(1, 2))[:, None, None], far, other)
    allowed = torch.where(wants_near[:, None, None], near, allowed)
    chosen = torch.multinomial(allowed.flatten(1).float(), 1, generator=generator)[:, 0]
    degrees = angles.flatten(1).gather(1, chosen[:, None])[:, 0].float()
    found = ViewPairs(frame, chosen // num_views, chosen % num_views, degrees)
    return found.to(pictures.image.device)


def _angles(pictures: Pictures) -> Float[Tensor, "frame view view"]:
    """Of the rotation between every two cameras of a frame, degrees."""
    rotation = pictures.camera_from_world[..., :3, :3].double().cpu()
    traces = torch.einsum("faij,fbij->fab", rotation, rotation)
    return torch.rad2deg(((traces - 1) / 2).clamp(-1, 1).acos())


@torch.no_grad()
def shown_by(
    net: nn.Module, given: InputView, camera: Camera, settings: RenderSettings
) -> Float[Tensor, "scene height width 3"]:
    """Target views as a trained network shows them: a field is rendered, another network makes a picture."""
    was_training = net.training
    net.eval()
    try:
        if isinstance(net, VANeRF):
            return render_picture(net, net.observe(given), camera, settings)[0]
        return net(given, camera)
    finally:
        net.train(was_training)


def views_by(
    method: Method,
    pictures: Pictures,
    pairs: ViewPairs,
    shown: Float[Tensor, "height width"] | None = None,
    at_once: int = 8,
) -> TestPictures:
    """Whole pictures of the pairs' target views, `at_once` at a time, beside the truth.

    shown  0 where the input pictures are blanked (Table 3), 1 elsewhere
    """
    found = []
    for part in torch.arange(len(pairs.frame), device=pictures.image.device).split(at_once):
        wanted = pairs[part].frame, pairs[part].view, pairs[part].target
        given = pictures.input_view(*wanted[:2], shown)
        made = method(given, pictures.camera(wanted[0], wanted[2]))
        found.append(beside_truth(made, pictures, *wanted))
    return joined(found)


def image_scores(
    found: TestPictures,
    degrees: Float[Tensor, " pair"],
    perceptual: tuple[str, Callable[[Tensor, Tensor], Tensor]],
) -> dict[str, float]:
    """Column -> number, over all pairs; units stand with the columns of `book/published/va_nerf.yml`.

    psnr           of whole pictures, mean of their decibels; psnr_above_30: where the camera turned so far;
                   psnr_crop: of the rectangle around the hands
    ssim           of the rectangle around the hands, range 1; `ssim_range_2` beside it
    (perceptual)   of whole pictures, under the name it is given with
    psnr_seen      over all hand pixels whose surface the input view shows, and psnr_hidden over the others:
                   the paper argues about the second kind, but never measures it
    """
    picture, truth = found.rendered.clamp(0, 1), found.target
    name, distance = perceptual
    decibels, error = psnr(picture, truth), (picture - truth).square().mean(dim=-1)
    pieces = [
        (crop(one, mask)[None], crop(other, mask)[None])
        for one, other, mask in zip(picture, truth, found.foreground, strict=True)
    ]
    scores = {
        "psnr": decibels.mean().item(),
        "ssim": torch.cat([ssim(*piece) for piece in pieces]).mean().item(),
        name: distance(picture, truth).mean().item(),
        "psnr_crop": torch.cat([psnr(*piece) for piece in pieces]).mean().item(),
        "ssim_range_2": torch.cat([ssim_range_2(*piece) for piece in pieces]).mean().item(),
    }
    large = degrees >= LARGE_ANGLE
    if large.any():
        scores["psnr_above_30"] = decibels[large].mean().item()
    parts = {"psnr_seen": found.seen, "psnr_hidden": found.foreground & ~found.seen}
    for part, mask in parts.items():
        if mask.any():
            scores[part] = -10 * error[mask].mean().log10().item()
    return scores


def joined(parts: list[TestPictures]) -> TestPictures:
    """Test pictures that were rendered a few at a time."""
    names = TestPictures.__dataclass_fields__
    return TestPictures(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

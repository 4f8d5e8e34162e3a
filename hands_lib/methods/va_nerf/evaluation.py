"""Which views are tested, and what is measured of them.

Units  degrees, decibels; colours in [0, 1]

The paper says neither which part of a picture its numbers are of, nor on which views Table 1 was measured.
The released code takes PSNR of the whole picture and SSIM of a rectangle around the hands with a data range
of 2: that number is `ssim_range_2` here, beside `ssim` with a range of 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from hands_lib.geometry.cameras import occlusion_mask
from hands_lib.methods.va_nerf.network import VANeRF
from hands_lib.methods.va_nerf.observation import InputView
from hands_lib.methods.va_nerf.rendering import RenderSettings, render_picture
from hands_lib.methods.va_nerf.training import Pictures, TestPictures, as_bytes, beside_truth
from hands_lib.metrics.image import crop, psnr, ssim, ssim_range_2
from hands_lib.structures import Camera, TensorFields

LARGE_ANGLE = 30.0

Method = Callable[[InputView, Camera], Float[Tensor, "scene height width 3"]]
"""Anything that makes pictures of target views from input views: a network, or a rule without learning."""

Perceptual = tuple[str, Callable[[Tensor, Tensor], Tensor]]
"""Name and function of a perceptual distance, as `metrics.image.perceptual_distance` gives them."""


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

    @property
    def far(self) -> "ViewPairs":
        """Those of Table 2: the camera turned by 30 degrees or more."""
        return self[self.degrees >= LARGE_ANGLE]


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


def training_strip(
    method: Method,
    pictures: Pictures,
    pairs: ViewPairs,
    map_of: Callable[[TestPictures], Float[Tensor, "pair height width"]] | None = None,
) -> Float[Tensor, "height wide 3"]:
    """Of one pair, side by side: the input, the truth and what the method makes of it, then a map of that."""
    found = views_by(method, pictures, pairs[:1])
    row = [pictures.colours(pairs.frame[:1], pairs.view[:1]), found.target, found.rendered]
    if map_of is not None:
        row.append(map_of(found)[..., None].expand_as(found.target))
    return torch.cat(list(torch.cat(row).clamp(0, 1)), dim=1)


def figure_pairs(pictures: Pictures, figure: str) -> tuple[ViewPairs, float]:
    """The pairs of views that the kinds of Figs. 4 to 6 show, and the ratio of the square that is blanked.

    figure 4  the first three of the test's pairs
    figure 5  the two whose camera turns farthest
    figure 6  two more, with a black square of 0.3 of the side

    Raises KeyError for another figure.
    """
    pairs = view_pairs(pictures, 24)
    widest = pairs.degrees.argsort(descending=True)[:2]
    return {
        "figure 4": (pairs[:3], 0.0),
        "figure 5": (pairs[widest], 0.0),
        "figure 6": (pairs[3:5], 0.3),
    }[figure]


FIGURES = ("figure 4", "figure 5", "figure 6")


def figure_pictures(method: Method, pictures: Pictures) -> dict[str, UInt8[Tensor, "pair height width 3"]]:
    """What a job keeps of its method for these figures: bytes."""
    kept = {}
    for figure in FIGURES:
        pairs, ratio = figure_pairs(pictures, figure)
        found = views_by(method, pictures, pairs, _squares(pictures, [ratio])[ratio])
        kept[figure] = as_bytes(found.rendered)
    return kept


def figure_columns(
    pictures: Pictures, figure: str, made: Mapping[str, Tensor]
) -> dict[str, Float[Tensor, "pair height width 3"] | UInt8[Tensor, "pair height width 3"]]:
    """One of these figures: the input, every method's pictures as they are given, and the truth."""
    pairs, ratio = figure_pairs(pictures, figure)
    shown = _squares(pictures, [ratio])[ratio]
    given = pictures.input_view(pairs.frame, pairs.view, shown).image
    return {"input": given, **made, "truth": pictures.colours(pairs.frame, pairs.target)}


def image_scores(
    found: TestPictures,
    degrees: Float[Tensor, " pair"],
    perceptual: Perceptual,
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


def scored(
    method: Method,
    pictures: Pictures,
    pairs: ViewPairs,
    perceptual: Perceptual,
    shown: Float[Tensor, "height width"] | None = None,
) -> dict[str, float]:
    """`image_scores` of `views_by`."""
    return image_scores(views_by(method, pictures, pairs, shown), pairs.degrees, perceptual)


def _squares(pictures: Pictures, ratios: Sequence[float]) -> dict[float, Float[Tensor, "height width"]]:
    """The masks of Table 3, of each ratio of the side."""
    size = pictures.image.shape[2:4]
    return {ratio: occlusion_mask(*size, ratio).to(pictures.image.device) for ratio in ratios}


def comparison_rows(
    name: str,
    method: Method,
    pictures: Pictures,
    pairs: ViewPairs,
    ratios: Sequence[float],
    perceptual: Perceptual,
) -> dict[str, dict[str, dict[str, float]]]:
    """Table -> row -> scores of one method: Tables 1, 2 and, with a row a ratio, 3."""
    squares = _squares(pictures, ratios)
    return {
        "comparison": {name: scored(method, pictures, pairs, perceptual)},
        "large view variation": {name: scored(method, pictures, pairs.far, perceptual)},
        "occlusion": {
            f"{name}, mask {ratio:g}": scored(method, pictures, pairs, perceptual, square)
            for ratio, square in squares.items()
        },
    }


def discriminator_rows(
    name: str,
    method: Method,
    pictures: Pictures,
    pairs: ViewPairs,
    ratios: Sequence[float],
    perceptual: Perceptual,
) -> tuple[TestPictures, dict[str, dict[str, float]]]:
    """Both scenes of Table 6: the pictures of the first one, and row -> scores.

    view variation  pairs above 30 degrees
    occlusion       all pairs, once with each square blanked in the input, taken together
    """
    far = views_by(method, pictures, pairs.far)
    squares = _squares(pictures, ratios).values()
    blanked = joined([views_by(method, pictures, pairs, square) for square in squares])
    return far, {
        f"{name}, view variation": image_scores(far, pairs.far.degrees, perceptual),
        f"{name}, occlusion": image_scores(blanked, pairs.degrees.repeat(len(squares)), perceptual),
    }


def comes_back(
    made: Float[Tensor, "*picture height width 3"], given: Float[Tensor, "*picture height width 3"]
) -> list[float]:
    """Mean decibels over pictures of a given view that is rendered again: of the whole; of the hands' pixels,
    those that are not black; and of these if all of them had their mean colour in the picture."""
    hands = given.amax(dim=-1) > 0
    weight = hands[..., None].float()
    mean = (given * weight).sum(dim=(-3, -2), keepdim=True) / weight.sum(dim=(-3, -2), keepdim=True)
    shown = psnr(made, given), psnr(made, given, hands), psnr(mean.expand_as(given), given, hands)
    return [one.mean().item() for one in shown]


def joined(parts: list[TestPictures]) -> TestPictures:
    """Test pictures that were rendered a few at a time."""
    names = TestPictures.__dataclass_fields__
    return TestPictures(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

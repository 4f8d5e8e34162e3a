from dataclasses import replace

import pytest
import torch
from va_nerf_cases import SIZE, ring

from hands_lib.geometry.raster import rasterize
from hands_lib.methods.va_nerf.without_learning import (
    RULES,
    finer,
    mean_colour,
    shown_skin,
    skin_colour,
    warped,
)
from hands_lib.structures import Camera

SKIN = torch.tensor([0.8, 0.6, 0.5])


def in_one_colour(view):
    """Hands that have one colour everywhere, before black."""
    return replace(view, image=SKIN * rasterize(view.mesh, view.camera).foreground[..., None])


@pytest.fixture(scope="module")
def elsewhere(view) -> Camera:
    cameras = ring(7, view.vertices[0])
    return Camera(cameras.intrinsics[[1, 4]], cameras.camera_from_world[[1, 4]], SIZE, SIZE)


@pytest.mark.parametrize("times", [1, 3, 8])
def test_a_finer_camera_divides_each_pixel(view, times):
    """Pixel p covers p - 1/2 to p + 1/2, so edge e becomes times * e."""
    points = view.mesh.vertices
    edges = view.camera.project(points) + 0.5
    found = finer(view.camera, times)
    torch.testing.assert_close(found.project(points) + 0.5, times * edges, atol=2e-3, rtol=1e-5)
    assert (found.width, found.height) == (times * SIZE, times * SIZE)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.__name__)
def test_hands_of_one_colour_come_out_in_it(rule, view, elsewhere):
    """The picture is then the silhouette, whose area a raster of 16 rays a side gives."""
    plain = replace(view, image=SKIN.expand_as(view.image))  # behind the hands too: no edge is mixed
    covered = rule(plain, elsewhere) / SKIN
    torch.testing.assert_close(covered[..., 0], covered[..., 2])
    fine = rasterize(view.mesh, finer(elsewhere, 16)).foreground.float()
    share = torch.nn.functional.avg_pool2d(fine[:, None], 16)[:, 0]
    assert (covered[..., 0] - share).abs().max() < 0.2
    assert covered[..., 0].sum() == pytest.approx(share.sum().item(), rel=0.01)
    assert (covered[share == 0] == 0).all()


def test_the_input_laid_on_the_surface_is_the_input_from_its_own_side(view):
    """A picture that is linear in its pixels is met by linear interpolation, and so are means over a pixel:
    inside the hands, all is as it was."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    slope = torch.stack([0.1 + x / 40, 0.1 + y / 40, 0.9 - (x + y) / 90], dim=-1)
    own = replace(view, image=slope.expand(2, -1, -1, -1))
    hands = rasterize(view.mesh, view.camera).foreground
    inside = -torch.nn.functional.max_pool2d(-hands[:, None].float(), 3, 1, 1)[:, 0] > 0
    off = (warped(own, view.camera) - own.image).abs().amax(dim=-1)[inside]
    assert inside.sum() > 50
    assert off.quantile(0.8) < 1e-3  # the rest lies behind the contour of a finger
    flat = (mean_colour(own, view.camera) - own.image).abs().amax(dim=-1)[inside]
    assert off.mean() < flat.mean() / 4


def test_paint_is_no_skin(view, elsewhere):
    """A black square in the input changes the mean to that of the other pixels, and no rule shows it."""
    own = in_one_colour(view)
    painted = own.image.clone()
    painted[:, 10:22, 10:22] = 0
    painted = replace(own, image=painted)
    assert shown_skin(painted).sum() < shown_skin(own).sum()
    torch.testing.assert_close(skin_colour(painted), SKIN.expand(2, 3))
    torch.testing.assert_close(mean_colour(painted, elsewhere), mean_colour(own, elsewhere))
    unlit = replace(own, image=torch.zeros_like(own.image))
    for rule in RULES.values():
        assert (rule(unlit, elsewhere) == 0).all()

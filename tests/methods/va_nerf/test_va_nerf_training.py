from dataclasses import replace
from functools import partial

import pytest
import torch
from va_nerf_cases import SIZE, TINY, all_views, awake, ring

from hands_lib.geometry.raster import rasterize
from hands_lib.methods.va_nerf.evaluation import ViewPairs, shown_by, views_by
from hands_lib.methods.va_nerf.rendering import RenderSettings
from hands_lib.methods.va_nerf.training import (
    Pictures,
    draw_patches,
    reconstruction_loss,
    render_patches,
)

FEW = RenderSettings(8, 8, 0.02, 1e-4)


@pytest.fixture(scope="module")
def pictures(view):
    """Two frames of three views; a pixel's colour says which one it is."""
    camera = ring(3, view.vertices[0])
    image = torch.arange(2 * 3 * SIZE * SIZE).view(2, 3, SIZE, SIZE, 1) % 251
    image = image.repeat(1, 1, 1, 1, 3).to(torch.uint8)
    both = [values.expand(2, *values.shape) for values in (camera.intrinsics, camera.camera_from_world)]
    mesh = replace(view.mesh, vertices=view.mesh.vertices[:, None])
    foreground = rasterize(mesh, camera).foreground
    return Pictures(image, foreground, *both, view.vertices, view.joints, view.faces, *all_views(2, 3))


def test_views_that_a_frame_does_not_have_are_never_drawn(pictures):
    fewer = replace(pictures, view_count=torch.tensor([2, 3]))
    drawn = draw_patches(fewer, 300, 8, torch.Generator().manual_seed(0))
    for views in (drawn.view, drawn.target):
        assert set(views[drawn.frame == 0].tolist()) == {0, 1}
        assert set(views[drawn.frame == 1].tolist()) == {0, 1, 2}
    with pytest.raises(ValueError, match="two views cannot be drawn from 1 pictures"):
        draw_patches(
            replace(pictures, view_count=torch.tensor([3, 1])), 1, 8, torch.Generator().manual_seed(0)
        )


def test_patches_show_hands_in_another_view(pictures):
    drawn = draw_patches(pictures, 200, 8, torch.Generator().manual_seed(0))
    assert (drawn.view != drawn.target).all()
    assert (drawn.corner >= 0).all()
    assert (drawn.corner <= SIZE - 8).all()
    rows, columns = (drawn.corner[:, n, None] + torch.arange(8) for n in (1, 0))
    hand = pictures.foreground[
        drawn.frame[:, None, None], drawn.target[:, None, None], rows[:, :, None], columns[:, None]
    ]
    assert hand.flatten(1).any(dim=1).all()
    assert set(zip(drawn.frame.tolist(), drawn.view.tolist(), strict=True)) == {
        (f, v) for f in (0, 1) for v in range(3)
    }
    with pytest.raises(ValueError, match="patches of 40 pixels"):
        draw_patches(pictures, 1, 40, torch.Generator())


def test_a_patch_is_a_part_of_the_whole_picture(pictures):
    net = awake(TINY).eval()
    drawn = draw_patches(pictures, 2, 8, torch.Generator().manual_seed(3))
    pairs = ViewPairs(drawn.frame, drawn.view, drawn.target, torch.zeros(2))
    with torch.no_grad():
        patch, truth = render_patches(net, pictures, drawn, 8, FEW)
    whole = views_by(partial(shown_by, net, settings=FEW), pictures, pairs)
    for n, (x, y) in enumerate(drawn.corner.tolist()):
        torch.testing.assert_close(patch[n], whole.rendered[n, y : y + 8, x : x + 8], atol=3e-4, rtol=0)
        assert torch.equal(truth[n], whole.target[n, y : y + 8, x : x + 8])
    assert torch.equal(whole.foreground, pictures.foreground[drawn.frame, drawn.target])
    assert (whole.seen & ~whole.foreground).sum() == 0


def test_mixed_precision_has_no_nan_and_stays_near_float32(pictures):
    drawn = draw_patches(pictures, 2, 8, torch.Generator().manual_seed(1))
    found = []
    for half in (False, True):
        net = awake(TINY)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            colour, truth = render_patches(net, pictures, drawn, 8, FEW, torch.Generator().manual_seed(2))
        reconstruction_loss(colour.float(), truth).backward()
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        found.append(colour.float())
    assert found[1].isfinite().all()
    assert (found[0] - found[1]).abs().max() < 0.05
    assert not torch.equal(*found)

from dataclasses import replace

import pytest
import torch
from va_nerf_cases import SIZE, TINY, awake, ring

from hands_lib.geometry.raster import rasterize
from hands_lib.methods.va_nerf.rendering import RenderSettings
from hands_lib.methods.va_nerf.training import Pictures, draw_patches, render_patches, render_views

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
    return Pictures(image, foreground, *both, view.vertices, view.joints, view.faces)


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
    with torch.no_grad():
        patch, truth = render_patches(net, pictures, drawn, 8, FEW)
        whole = render_views(net, pictures, drawn.frame, drawn.view, drawn.target, FEW)
    for n, (x, y) in enumerate(drawn.corner.tolist()):
        torch.testing.assert_close(patch[n], whole.rendered[n, y : y + 8, x : x + 8], atol=3e-4, rtol=0)
        assert torch.equal(truth[n], whole.target[n, y : y + 8, x : x + 8])
    assert torch.equal(whole.foreground, pictures.foreground[drawn.frame, drawn.target])
    assert (whole.seen & ~whole.foreground).sum() == 0

from dataclasses import replace

import pytest
import torch
from va_nerf_cases import SIZE, TINY, ring

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.raster import rasterize
from hands_lib.methods.va_nerf.editing import keep_hand
from hands_lib.methods.va_nerf.network import VANeRF
from hands_lib.methods.va_nerf.rendering import RenderSettings, render_picture
from hands_lib.structures import Camera, Mesh


@pytest.mark.parametrize("kept", [0, 1])
def test_what_is_left_is_the_other_hand(kept, view, points):
    """Its distances, its vertices and, for a sharp field, its silhouette but for pixels at the edge."""
    torch.manual_seed(0)
    net = VANeRF(replace(TINY, initial_width=1e-3))
    with torch.no_grad():
        observation = keep_hand(net.observe(view), kept)
        located = net.locate(observation, points)
        hand = Mesh(view.vertices[:, kept], view.faces[kept])
        distance = signed_distance(points, hand).distance
        torch.testing.assert_close(located.distance, distance, atol=1e-6, rtol=0)
        near = distance > -1e-3
        num = view.vertices.shape[2]
        assert (located.vertex[near] // num == kept).all()
        cameras = ring(7, view.vertices[0])
        target = Camera(cameras.intrinsics[[1, 4]], cameras.camera_from_world[[1, 4]], SIZE, SIZE)
        _, opacity = render_picture(net, observation, target, RenderSettings(48, 24, 0.02, 1e-4))
    silhouette = rasterize(hand, target).foreground
    pool = torch.nn.functional.max_pool2d
    filled = silhouette[:, None].float()
    edge = (pool(filled, 3, 1, 1) + pool(-filled, 3, 1, 1))[:, 0] > 0
    assert torch.equal((opacity > 0.5)[~edge], silhouette[~edge])
    assert silhouette.any(dim=(1, 2)).all()


def test_there_are_two_hands(view):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="not 2"):
        keep_hand(VANeRF(TINY).observe(view), 2)

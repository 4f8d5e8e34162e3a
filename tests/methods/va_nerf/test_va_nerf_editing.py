from dataclasses import replace

import pytest
import torch
from va_nerf_cases import SIZE, TINY, ring

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.raster import rasterize
from hands_lib.methods.va_nerf.editing import fill_with_skin, keep_hand, tell_erased
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


def test_what_was_erased_is_seen_no_more(view):
    """Vertex by vertex, with the pixel that each falls into."""
    shown = torch.ones(SIZE, SIZE)
    shown[10:20, 5:30] = 0
    with torch.no_grad():
        observation = VANeRF(TINY).observe(view)
    told = tell_erased(observation, shown).evidence.vertex_visible
    pixels = view.camera.project(view.mesh.vertices).round().long().clamp(0, SIZE - 1)
    before, changed = observation.evidence.vertex_visible, 0
    for scene, points in enumerate(pixels.tolist()):
        for vertex, (x, y) in enumerate(points):
            erased = 10 <= y < 20 and 5 <= x < 30
            assert bool(told[scene, vertex]) == (bool(before[scene, vertex]) and not erased)
            changed += bool(before[scene, vertex]) and erased
    assert changed > 20
    assert torch.equal(tell_erased(observation, torch.ones(SIZE, SIZE)).evidence.vertex_visible, before)


def test_a_hole_gets_the_mean_of_the_rest_and_nothing_else_changes(view):
    hands = rasterize(view.mesh, view.camera).foreground
    image = (0.1 + 0.9 * view.image) * hands[..., None]
    holed = image.clone()
    holed[:, 12:18, 12:18] = 0
    filled = fill_with_skin(replace(view, image=holed)).image
    for scene in range(2):
        hole = hands[scene] & (holed[scene].sum(-1) == 0)
        assert hole.any()
        mean = holed[scene][hands[scene] & ~hole].mean(dim=0)
        torch.testing.assert_close(filled[scene][hole], mean.expand(int(hole.sum()), 3))
        assert torch.equal(filled[scene][~hole], holed[scene][~hole])
    whole = replace(view, image=image)
    assert torch.equal(fill_with_skin(whole).image, image)
    black = replace(view, image=torch.zeros_like(image))
    assert torch.equal(fill_with_skin(black).image, black.image)

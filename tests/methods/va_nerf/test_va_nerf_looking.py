from dataclasses import replace

import pytest
import torch
from va_nerf_cases import SIZE, TINY, all_views, awake, ring

from hands_lib.geometry.raster import rasterize
from hands_lib.methods.va_nerf.evaluation import view_pairs
from hands_lib.methods.va_nerf.looking import query_points
from hands_lib.methods.va_nerf.training import Pictures

WEIGHTS = 6  # of phi, q, p, p', g^l, g^r


@pytest.fixture(scope="module")
def pictures(view):
    """Hands of one colour in every view."""
    camera = ring(5, view.vertices[0])
    both = [values.expand(2, *values.shape) for values in (camera.intrinsics, camera.camera_from_world)]
    mesh = replace(view.mesh, vertices=view.mesh.vertices[:, None])
    foreground = rasterize(mesh, camera).foreground
    image = torch.full((2, 5, SIZE, SIZE, 3), 153, dtype=torch.uint8)
    return Pictures(image, foreground, *both, view.vertices, view.joints, view.faces, *all_views(2, 5))


def test_points_are_on_the_hands_and_read_where_they_project(pictures):
    pair = view_pairs(pictures, 1)
    found = query_points(awake(TINY), pictures, pair, 9, seed=3)
    assert found["weights"].shape == (9, WEIGHTS)
    assert ((found["weights"] >= 0) & (found["weights"] <= 1)).all()
    torch.testing.assert_close(found["true"], torch.full((9, 3), 0.6))
    # q lies on a face, and p is a vertex of its hand: both are near each other in the picture
    q, p, mirrored = found["pixels"]
    assert (q - p).norm(dim=-1).max() < 5
    assert (q - mirrored).norm(dim=-1).mean() > (q - p).norm(dim=-1).mean()
    hand = pictures.foreground[pair.frame[0], pair.view[0]]
    x, y = q.round().long().clamp(0, SIZE - 1).unbind(-1)
    assert hand[y, x].float().mean() > 0.7  # but for contours
    again = query_points(awake(TINY), pictures, pair, 9, seed=3)
    assert all(torch.equal(value, again[name]) for name, value in found.items())
    other = query_points(awake(TINY), pictures, pair, 9, seed=4)
    assert not torch.equal(other["pixels"], found["pixels"])

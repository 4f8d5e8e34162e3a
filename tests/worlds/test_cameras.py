import math

import pytest
import torch

from hands_lib.geometry.cameras import cropped, occlusion_mask, relative_rotation_degrees, view_pairs
from hands_lib.worlds.cameras import camera_ring, level_ring


def test_a_ring_looks_at_the_origin_upright_from_its_distance():
    ring = camera_ring(24, 128, distance=0.9)
    pixels = ring.project(torch.zeros(24, 1, 3))
    torch.testing.assert_close(pixels, torch.full_like(pixels, 63.5), atol=1e-3, rtol=0)
    assert ring.transform(torch.zeros(24, 1, 3))[..., 2].sub(0.9).abs().max() < 1e-5
    above = ring.project(torch.tensor([0.0, 0.05, 0.0]).expand(24, 1, 3))
    assert (above[..., 1] < 63.5).all()  # y of the world is up in the picture
    assert (above[..., 0] - 63.5).abs().max() < 1e-3
    rotation = ring.camera_from_world[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(24, 3, 3), atol=1e-6, rtol=0)
    assert (torch.linalg.det(rotation) > 0).all()


def test_a_crop_is_the_square_around_the_points():
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 0.2 - 0.1
    ring = camera_ring(5, 512)
    cut = cropped(ring, points, 100, margin=1.25)
    pixels = cut.project(points.expand(5, 50, 3))
    low, high = pixels.amin(dim=1), pixels.amax(dim=1)
    # Pixel centres: the image reaches from -0.5 to 99.5.
    torch.testing.assert_close((low + high) / 2, torch.full((5, 2), 49.5), atol=1e-2, rtol=0)
    torch.testing.assert_close((high - low).amax(dim=1), torch.full((5,), 80.0), atol=1e-2, rtol=0)


def test_pairs_above_and_below_thirty_degrees_divide_all_pairs():
    ring = camera_ring(24)
    near, far = view_pairs(ring, most_degrees=30.0), view_pairs(ring, least_degrees=30.0)
    assert len(near) > 24
    assert len(near) + len(far) == 24 * 23
    angles = relative_rotation_degrees(ring)
    assert angles[near[:, 0], near[:, 1]].max() < 30 <= angles[far[:, 0], far[:, 1]].min()
    # Against the angle of the rotation from its eigenvalues.
    a, b = far[7].tolist()
    relative = ring.camera_from_world[a, :3, :3] @ ring.camera_from_world[b, :3, :3].T
    expected = torch.linalg.eigvals(relative).angle().abs().max()
    assert angles[a, b] == pytest.approx(math.degrees(expected), abs=0.05)


def test_occlusion_masks_cover_what_the_ratio_says():
    side = occlusion_mask(256, 256, 0.3)
    hidden = (side == 0).nonzero()
    assert hidden.amin(dim=0).tolist() == [89, 89]
    assert hidden.amax(dim=0).tolist() == [165, 165]
    area = occlusion_mask(256, 256, 0.25, "area")
    assert (area == 0).float().mean() == pytest.approx(0.25)
    assert occlusion_mask(8, 8, 0.0).all()
    for ratio, measure in ((1.2, "side"), (0.2, "diameter")):
        with pytest.raises(ValueError, match="ratio"):
            occlusion_mask(8, 8, ratio, measure)


def test_a_level_ring_looks_at_its_middle_from_all_around():
    middle = torch.tensor([0.1, -0.2, 0.3])
    ring = level_ring(8, 64, middle, distance=0.5)
    centre = ring.project(middle.expand(8, 1, 3))[:, 0]
    torch.testing.assert_close(centre, torch.full((8, 2), 32.0), atol=1e-3, rtol=0)
    rotation, translation = ring.camera_from_world[:, :3, :3], ring.camera_from_world[:, :3, 3:]
    position = (-rotation.mT @ translation)[..., 0]
    torch.testing.assert_close((position - middle).norm(dim=-1), torch.full((8,), 0.5))
    torch.testing.assert_close(position[:, 1], torch.full((8,), -0.2))
    torch.testing.assert_close(position[0], middle + torch.tensor([0.0, 0.0, 0.5]))
    gaps = (position - position.roll(1, dims=0)).norm(dim=-1)
    torch.testing.assert_close(gaps, gaps[:1].expand(8))
    above = ring.project((middle + torch.tensor([0.0, 0.01, 0.0])).expand(8, 1, 3))[:, 0]
    assert bool((above[:, 1] < centre[:, 1]).all())  # upright: v grows downwards

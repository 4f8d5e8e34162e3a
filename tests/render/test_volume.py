import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.render.volume import (
    box_interval,
    cell_edges,
    importance_depths,
    largest_weights,
    pixel_rays,
    ray_weights,
    stratified_depths,
)
from hands_lib.structures import Camera

DOUBLE = torch.float64


def camera():
    pose = torch.eye(4, dtype=DOUBLE)
    pose[:3, :3] = torch.linalg.qr(
        torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    )[0]
    pose[:3, :3] *= torch.linalg.det(pose[:3, :3])
    pose[:3, 3] = torch.tensor([0.1, -0.2, 0.9], dtype=DOUBLE)
    intrinsics = torch.tensor([[80.0, 0, 30], [0, 90, 33], [0, 0, 1]], dtype=DOUBLE)
    return Camera(intrinsics, pose, 64, 64)


def test_rays_pass_through_their_pixels():
    pixels = torch.tensor([[0.0, 0.0], [63.5, 12.25], [30.0, 33.0]], dtype=DOUBLE)
    origins, directions = pixel_rays(camera(), pixels)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(3, dtype=DOUBLE))
    assert camera().transform(origins).abs().max() < 1e-12
    for depth in (0.2, 1.7):
        points = origins + depth * directions
        torch.testing.assert_close(camera().project(points), pixels)
        assert (camera().transform(points)[:, 2] > 0).all()


def test_rays_refuse_orthographic_cameras():
    one = camera()
    with pytest.raises(ValueError, match="perspective"):
        pixel_rays(Camera(one.intrinsics, one.camera_from_world, 64, 64, "orthographic"), torch.zeros(1, 2))


def test_box_interval():
    low, high = torch.tensor([-1.0, -1, -1]), torch.tensor([1.0, 1, 1])
    origins = torch.tensor([[0.0, 0, -3], [0, 0, 0], [0, 0, 3], [2, 0, -3], [-3, -3, 0]])
    directions = torch.tensor(
        [[0.0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1], [math.sqrt(0.5), math.sqrt(0.5), 0]]
    )
    near, far = box_interval(origins, directions, low, high)
    torch.testing.assert_close(near[:2], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(far[:2], torch.tensor([4.0, 1.0]))
    assert (near[2:4] == far[2:4]).all()  # behind the origin; beside the box
    torch.testing.assert_close(far[4] - near[4], torch.tensor(2 * math.sqrt(2)))


@given(st.integers(1, 40), st.floats(0.1, 60), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_constant_density_has_its_closed_form(num, density, seed):
    """However the samples fall: opacity 1 - exp(-sigma L), and colour by depth its integral's value."""
    generator = torch.Generator().manual_seed(seed)
    near, far = torch.tensor([0.4], dtype=DOUBLE), torch.tensor([0.9], dtype=DOUBLE)
    depths = stratified_depths(near, far, num, generator)
    assert (depths.diff(dim=-1) > 0).all()
    edges = cell_edges(depths, near, far)
    lengths = edges.diff(dim=-1)
    weights, reaching = ray_weights(torch.full_like(depths, density), lengths)
    assert math.isclose(weights.sum().item(), 1 - math.exp(-density * 0.5), rel_tol=1e-9)
    torch.testing.assert_close(reaching, torch.exp(-density * (edges[..., :-1] - near)))


def test_constant_ball_in_a_closed_form():
    """Rays at distance b from the centre of a ball cross a chord of 2 sqrt(r^2 - b^2)."""
    offset = torch.tensor([0.0, 0.02, 0.05, 0.079, 0.1], dtype=DOUBLE)
    origins = torch.stack([offset, torch.zeros_like(offset), torch.full_like(offset, -0.5)], dim=-1)
    directions = torch.tensor([0.0, 0, 1], dtype=DOUBLE).expand_as(origins)
    box = torch.full((3,), 0.1, dtype=DOUBLE)
    near, far = box_interval(origins, directions, -box, box)
    depths = stratified_depths(near, far, 4000)
    points = origins[:, None] + depths[..., None] * directions[:, None]
    density = 25.0 * (points.norm(dim=-1) < 0.08)
    weights, _ = ray_weights(density, cell_edges(depths, near, far).diff(dim=-1))
    chord = 2 * (0.08**2 - offset.square()).clamp(min=0).sqrt()
    torch.testing.assert_close(weights.sum(dim=-1), 1 - torch.exp(-25 * chord), atol=2e-3, rtol=0)


def test_opaque_plane_gets_all_the_weight():
    depths = torch.linspace(0.05, 0.95, 10, dtype=DOUBLE)
    density = torch.where(depths > 0.5, 1e9, 0.0)
    weights, _ = ray_weights(density, torch.full_like(depths, 0.1))
    assert weights[5] == 1
    assert weights.sum() == 1


@given(st.integers(1, 12), st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_bounds_hold_and_bound_the_change(num, seed):
    """Weights never exceed their bounds, and leaving cells out changes no colour by more than their sum."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=DOUBLE)

    least = 20 * rand(5, num) * (rand(5, num) < 0.5)
    most = least + 30 * rand(5, num)
    density = least + (most - least) * rand(5, num)
    lengths = 0.2 * rand(5, num)
    bound = largest_weights(least, most, lengths)
    weights, _ = ray_weights(density, lengths)
    assert (weights <= bound + 1e-12).all()
    skipped = rand(5, num) < 0.4
    colours = (rand(5, num) < 0.5).double()
    before = (weights * colours).sum(dim=-1)
    after = (ray_weights(density.masked_fill(skipped, 0), lengths)[0] * colours).sum(dim=-1)
    assert ((after - before).abs() <= (bound * skipped).sum(dim=-1) + 1e-12).all()


def test_importance_samples_follow_the_weights():
    edges = torch.tensor([[0.0, 1, 2, 3, 4]], dtype=DOUBLE)
    weights = torch.tensor([[0.0, 0.6, 0.0, 0.2]], dtype=DOUBLE)
    depths = importance_depths(edges, weights, 4000, torch.Generator().manual_seed(0), floor=0.0)
    assert (depths.diff(dim=-1) >= 0).all()
    shares = [((depths >= a) & (depths < a + 1)).double().mean().item() for a in range(4)]
    assert shares == pytest.approx([0, 0.75, 0, 0.25], abs=1e-3)
    inside = depths[(depths >= 1) & (depths < 2)]
    assert inside.mean().item() == pytest.approx(1.5, abs=0.01)


def test_importance_samples_of_an_empty_ray_fill_the_interval():
    edges = torch.linspace(0, 2, 9, dtype=DOUBLE)[None]
    depths = importance_depths(edges, torch.zeros(1, 8, dtype=DOUBLE), 4)
    torch.testing.assert_close(depths, torch.tensor([[0.25, 0.75, 1.25, 1.75]], dtype=DOUBLE))


def test_gradients():
    density = torch.rand(2, 5, generator=torch.Generator().manual_seed(0), dtype=DOUBLE).requires_grad_()
    lengths = torch.full((2, 5), 0.3, dtype=DOUBLE)
    assert torch.autograd.gradcheck(lambda d: ray_weights(d, lengths), density)

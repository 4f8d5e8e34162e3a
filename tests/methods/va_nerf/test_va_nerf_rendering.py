from dataclasses import replace

import pytest
import torch
from va_nerf_cases import SIZE, TINY, awake, ring

from hands_lib.geometry.raster import rasterize
from hands_lib.methods.va_nerf.network import released
from hands_lib.methods.va_nerf.rendering import RenderSettings, picture_rays, render_picture, render_rays
from hands_lib.render.volume import pixel_rays
from hands_lib.structures import Camera

FEW = RenderSettings(12, 12, 0.03, 1e-5)


@pytest.fixture(scope="module")
def target(view):
    cameras = ring(7, view.vertices[0])
    return Camera(cameras.intrinsics[[1, 4]], cameras.camera_from_world[[1, 4]], SIZE, SIZE)


@pytest.fixture(scope="module")
def rays(target):
    pixels = (SIZE - 1) * torch.rand(2, 150, 2, generator=torch.Generator().manual_seed(2))
    return pixel_rays(target, pixels)


@pytest.mark.parametrize(
    "settings",
    [
        TINY,
        replace(TINY, largest_deviation=None),
        replace(TINY, density="free"),
        replace(released(TINY), largest_deviation=None),
    ],
    ids=["paper", "unbounded", "free density", "released"],
)
def test_skipping_changes_no_pixel(settings, view, rays):
    """And where the density is bounded, most samples are skipped."""
    net = awake(settings)
    with torch.no_grad():
        observation = net.observe(view)
        plain = render_rays(net, observation, *rays, replace(FEW, tolerance=0.0))
        fast = render_rays(net, observation, *rays, FEW)
    assert plain.num_densities == plain.num_colours == plain.num_samples
    assert (fast.colour - plain.colour).abs().max() < 1e-4
    assert (fast.opacity - plain.opacity).abs().max() < 1e-4
    assert (fast.num_densities < 0.7 * plain.num_samples) == (
        settings == TINY or settings.deviation == "shrinking"
    )
    assert fast.num_colours <= fast.num_densities


def test_a_sharp_field_is_the_surface(view, target):
    """With a narrow w and no deviation, opacity is the silhouette but for pixels at its edge."""
    torch.manual_seed(0)
    net = awake(replace(TINY, initial_width=1e-3))
    torch.nn.init.zeros_(net.deviation_head.weight)
    with torch.no_grad():
        colour, opacity = render_picture(net, net.observe(view), target, RenderSettings(64, 32, 0.02, 1e-4))
    silhouette = rasterize(view.mesh, target).foreground
    pool = torch.nn.functional.max_pool2d
    filled = silhouette[:, None].float()
    edge = (pool(filled, 3, 1, 1) + pool(-filled, 3, 1, 1))[:, 0] > 0
    assert torch.equal((opacity > 0.5)[~edge], silhouette[~edge])
    assert (~edge).float().mean() > 0.6
    assert ((colour >= 0) & (colour <= 1 + 1e-5)).all()
    assert (colour[opacity == 0] == 0).all()


def test_pictures_do_not_depend_on_how_rays_are_grouped(view, target):
    net = awake(TINY)
    observation = net.observe(view)
    together, _ = render_picture(net, observation, target, FEW)
    apart, _ = render_picture(net, observation, target, FEW, rays_at_once=300)
    torch.testing.assert_close(together, apart, atol=2e-5, rtol=0)


def test_coarse_picture(view, rays):
    """With no fine samples the two pictures are one; the coarse one does not depend on the fine samples."""
    net = awake(TINY)
    with torch.no_grad():
        observation = net.observe(view)
        alone = render_rays(net, observation, *rays, replace(FEW, fine=0), with_coarse=True)
        both = render_rays(net, observation, *rays, FEW, with_coarse=True)
    torch.testing.assert_close(alone.colour, alone.coarse_colour)
    torch.testing.assert_close(both.coarse_colour, alone.coarse_colour, atol=2e-5, rtol=0)
    assert (both.colour - both.coarse_colour).abs().max() > 1e-3


def test_random_samples_come_from_the_generator_alone(view, rays):
    net = awake(TINY)
    with torch.no_grad():
        observation = net.observe(view)
        pictures = [
            render_rays(net, observation, *rays, FEW, torch.Generator().manual_seed(seed)).colour
            for seed in (1, 1, 2)
        ]
    assert torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[0], pictures[2])


def test_rays_that_miss_are_black(view):
    net = awake(TINY)
    origins = torch.tensor([0.0, 0.0, 1.0]).expand(2, 3, 3)
    directions = torch.tensor([0.0, 1.0, 0.0]).expand(2, 3, 3)
    seen = render_rays(net, net.observe(view), origins, directions, FEW)
    assert (seen.colour == 0).all()
    assert seen.num_samples == seen.num_densities == 0


def test_learns_a_colour(view, rays):
    """Ten steps on one target: gradients reach everything, and the loss falls."""
    net = awake(TINY)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses, target = [], None
    for step in range(10):
        seen = render_rays(net, net.observe(view), *rays, replace(FEW, tolerance=1e-3))
        if target is None:
            target = seen.opacity.detach()[..., None] * torch.tensor([0.95, 0.05, 0.05])
        loss = (seen.colour - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            assert [
                n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()
            ] == []
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_rays_of_a_picture_meet_their_pixels(target):
    origins, directions = picture_rays(target)
    assert origins.shape == (2, SIZE, SIZE, 3)
    points = (origins + 0.7 * directions).flatten(1, 2)
    found = target.project(points).unflatten(1, (SIZE, SIZE))
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    torch.testing.assert_close(
        found, torch.stack([x, y], -1).float().expand(2, -1, -1, -1), atol=1e-2, rtol=0
    )

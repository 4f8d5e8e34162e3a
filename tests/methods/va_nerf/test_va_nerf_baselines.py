from dataclasses import replace

import pytest
import torch
from va_nerf_cases import SIZE, TINY, all_views, ring

from hands_lib.geometry.raster import rasterize
from hands_lib.methods.va_nerf import baselines
from hands_lib.methods.va_nerf.network import VANeRF, keypoint_nerf
from hands_lib.methods.va_nerf.observation import chosen
from hands_lib.methods.va_nerf.rendering import RenderSettings, render_rays
from hands_lib.methods.va_nerf.training import Pictures, draw_patches, patch_rays, render_patches
from hands_lib.render.volume import pixel_rays
from hands_lib.structures import Camera

FEW = RenderSettings(12, 8, 0.02, 1e-4)


@pytest.fixture(scope="module")
def target(view):
    cameras = ring(7, view.vertices[0])
    return Camera(cameras.intrinsics[[1, 4]], cameras.camera_from_world[[1, 4]], SIZE, SIZE)


def test_cells_have_the_mean_of_their_vertices():
    spread = baselines.SpreadFeatures(2, cells=4)
    generator = torch.Generator().manual_seed(0)
    features, vertices = (
        torch.randn(2, 30, 2, generator=generator),
        torch.randn(2, 30, 3, generator=generator),
    )
    place = spread.places(vertices)
    assert place.abs().amax(dim=(1, 2)).tolist() == pytest.approx([1, 1])
    found = spread.averages(features, place)
    expected = torch.zeros(2, 2, 4, 4, 4)
    for scene in range(2):
        cells = [tuple(min(int((x + 1) * 2), 3) for x in point.tolist()) for point in place[scene]]
        for x, y, z in set(cells):
            inside = torch.tensor([cell == (x, y, z) for cell in cells])
            expected[scene, :, z, y, x] = features[scene, inside].mean(dim=0)
    torch.testing.assert_close(found, expected)


def test_spread_features_reach_near_vertices_and_no_far_ones():
    torch.manual_seed(0)
    spread = baselines.SpreadFeatures(3, cells=16)
    vertices = torch.rand(1, 200, 3, generator=torch.Generator().manual_seed(1))
    features = torch.zeros(1, 200, 3)
    before = spread(features, vertices)
    features[0, 0] = 1
    touched = (spread(features, vertices) != before).any(dim=-1)[0]
    cells = ((spread.places(vertices)[0] + 1) * 8).clamp(0, 15.999)
    off = (cells - cells[0]).abs().amax(dim=-1)
    assert touched[0]
    assert touched[off > 7].sum() == 0  # 1 + 2 + 1 cells of the layers, and those of reading
    assert touched[off < 2].all()


def test_nhp_sees_pixels_and_vertices_but_no_visibility(view, points):
    torch.manual_seed(0)
    net = baselines.NHP(TINY)
    assert net.settings.density == "free"
    assert net.texture_fusion.terms == ("phi", "q", "p")
    observation = net.observe(view)
    located = net.locate(observation, points[:, :20])
    readings = net.read(observation, chosen(located, torch.ones(2, 20, dtype=torch.bool)))
    density, latent = net.density(observation, readings)
    colour = net.colour(observation, readings, latent)
    blind = replace(readings, visible=~readings.visible)
    assert torch.equal(net.density(observation, blind)[0], density)
    assert torch.equal(net.colour(observation, blind, latent), colour)
    (density.mean() + colour.mean()).backward()
    silent = [n for n, p in net.named_parameters() if p.grad is None and n != "relative_width"]
    assert silent == []


def test_surface_distance_is_where_rays_meet_the_surface(view, target):
    axes = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="xy")
    pixels = torch.stack(axes, dim=-1).flatten(0, 1).float().expand(2, -1, 2)
    origins, directions = pixel_rays(target, pixels)
    distance = baselines.surface_distance(view.mesh, target, directions.unflatten(1, (SIZE, SIZE)))
    fragments = rasterize(view.mesh, target)
    assert torch.equal(distance > 0, fragments.foreground)
    met = (origins + distance.flatten(1)[..., None] * directions).unflatten(1, (SIZE, SIZE))
    surface = fragments.interpolate(view.mesh.faces, view.mesh.vertices)
    torch.testing.assert_close(met[fragments.foreground], surface[fragments.foreground], atol=1e-5, rtol=0)


def test_depth_loss_is_small_for_the_surface_and_pulls_a_free_density_there(view, target):
    axis = torch.arange(4, SIZE - 4, 2)
    pixels = torch.cartesian_prod(axis, axis).flip(-1).float().expand(2, -1, 2)
    rays = pixel_rays(target, pixels)
    everywhere = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="xy")
    full = pixel_rays(target, torch.stack(everywhere, dim=-1).flatten(0, 1).float().expand(2, -1, 2))[1]
    maps = baselines.surface_distance(view.mesh, target, full.unflatten(1, (SIZE, SIZE)))
    rows, columns = pixels[0, :, 1].long(), pixels[0, :, 0].long()
    distance = maps[:, rows, columns]
    torch.manual_seed(0)
    exact = VANeRF(replace(TINY, initial_width=1e-3, largest_deviation=None))
    free = VANeRF(keypoint_nerf(TINY))
    losses = {}
    for name, net in (("exact", exact), ("free", free)):
        seen = render_rays(net, net.observe(view), *rays, FEW)
        losses[name] = baselines.depth_loss(seen, distance)
    assert losses["exact"] < 0.5 * losses["free"]
    losses["free"].backward()
    assert free.deviation_head.weight.grad.abs().sum() > 0
    assert baselines.depth_loss(seen, torch.zeros_like(distance)).item() == 0


def test_dots_are_those_of_the_nearest_vertices(view, target):
    """One vertex at a time, far to near."""
    found = baselines.splatted(view, target)
    flat = replace(view, image=torch.ones_like(view.image))
    white = baselines.splatted(flat, target)
    expected = torch.zeros(2, SIZE, SIZE)
    mesh = view.mesh
    for scene in range(2):
        one = Camera(target.intrinsics[scene], target.camera_from_world[scene], SIZE, SIZE)
        depth = one.transform(mesh.vertices[scene])[:, 2]
        pixels = one.project(mesh.vertices[scene]).round().long()
        for n in depth.argsort(descending=True).tolist():
            x, y = pixels[n].tolist()
            if 0 <= x < SIZE and 0 <= y < SIZE:
                expected[scene, y, x] = (depth[n] - depth.mean()) / 0.1
    torch.testing.assert_close(found[..., 3], expected, atol=1e-4, rtol=0)
    assert torch.equal(white[..., 4] > 0, expected != 0)
    torch.testing.assert_close(white[..., :3], white[..., 4:].expand(-1, -1, -1, 3))


def test_smplpix_learns_one_picture(view, target):
    torch.manual_seed(0)
    net = baselines.SMPLpix(8)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    wanted = 0.8 * rasterize(view.mesh, target).foreground[..., None].expand(-1, -1, -1, 3)
    losses = []
    for _ in range(30):
        loss = (net(view, target) - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    small = Camera(view.camera.intrinsics, view.camera.camera_from_world, 30, 30)
    odd = replace(view, image=view.image[:, :30, :30], camera=small)
    with pytest.raises(ValueError, match="30 x 30"):
        net(odd, target)


def test_every_method_of_table_1_is_what_it_says():
    built = {
        name: baselines.network_of(name, TINY, 8)
        for name in ("Ours", "KeypointNeRF", "HandNeRF", "NHP", "SMPLpix")
    }
    assert built["Ours"].settings == TINY
    assert built["KeypointNeRF"].settings == built["HandNeRF"].settings == keypoint_nerf(TINY)
    assert type(built["NHP"]) is baselines.NHP
    assert type(built["SMPLpix"]) is baselines.SMPLpix
    with pytest.raises(ValueError, match="no method 'IBRNet'"):
        baselines.network_of("IBRNet", TINY, 8)


def test_what_guides_handnerf_is_the_surface_behind_each_pixel(view):
    """Patches as those of the other fields; the loss, pixel by pixel, from the rays of the patch alone."""
    camera = ring(3, view.vertices[0])
    both = [values.expand(2, *values.shape) for values in (camera.intrinsics, camera.camera_from_world)]
    mesh = replace(view.mesh, vertices=view.mesh.vertices[:, None])
    foreground = rasterize(mesh, camera).foreground
    image = (200 * foreground[..., None]).expand(2, 3, SIZE, SIZE, 3).to(torch.uint8)
    counts = all_views(2, 3)
    pictures = Pictures(image, foreground, *both, view.vertices, view.joints, view.faces, *counts)
    net = VANeRF(keypoint_nerf(TINY)).eval()
    drawn = draw_patches(pictures, 2, 8, torch.Generator().manual_seed(3))
    colour, truth, guidance = baselines.guided_patches(net, pictures, drawn, 8, FEW)
    plain = render_patches(net, pictures, drawn, 8, FEW)
    assert torch.equal(colour, plain[0])
    assert torch.equal(truth, plain[1])
    rays = patch_rays(pictures, drawn, 8)
    given = pictures.input_view(drawn.frame, drawn.view)
    seen = render_rays(net, net.observe(given), *rays, FEW)
    shown = rasterize(given.mesh, pictures.camera(drawn.frame, drawn.target))
    total, number = 0.0, 0
    for n, (left, top) in enumerate(drawn.corner.tolist()):
        axis = pictures.camera(drawn.frame, drawn.target).camera_from_world[n, 2, :3]
        for row in range(8):
            for column in range(8):
                if shown.face[n, top + row, left + column] < 0:
                    continue
                ray = 8 * row + column
                depth = shown.depth[n, top + row, left + column] / (rays[1][n, ray] @ axis)
                off = seen.depth[n, ray] - seen.opacity[n, ray] * depth
                total, number = total + abs(off.item()), number + 1
    assert number > 30
    assert guidance.item() == pytest.approx(10 * total / number, rel=1e-4)

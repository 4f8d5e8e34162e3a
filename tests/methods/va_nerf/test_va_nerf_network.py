import json
from dataclasses import asdict, replace

import pytest
import torch
from va_nerf_cases import TINY, awake

from hands_lib.methods.va_nerf.density import deviated_density
from hands_lib.methods.va_nerf.encoders import EncoderSettings, GeometryEncoder, TextureEncoder
from hands_lib.methods.va_nerf.network import (
    PAPER,
    SMALL,
    VANeRF,
    ablated,
    field_from,
    keypoint_nerf,
    released,
)
from hands_lib.methods.va_nerf.observation import InputView, Queries, chosen
from hands_lib.structures import Camera


def conv(channels_in, channels_out, side, bias=True):
    return channels_in * channels_out * side**2 + bias * channels_out


def bottleneck(a, b):
    steps = ((a, b // 2), (b // 2, b // 4), (b // 4, b // 4))
    count = sum(2 * i + conv(i, o, 3, bias=False) for i, o in steps)
    return count + (2 * a + conv(a, b, 1, bias=False) if a != b else 0)


def hourglass(channels, depth):
    inner = hourglass(channels, depth - 1) if depth > 1 else bottleneck(channels, channels)
    return 3 * bottleneck(channels, channels) + inner


def test_encoders_of_the_papers_size_have_the_layers_parameters():
    """Counted from the table of layers: weights, biases, and the affine part of group normalisation alone."""
    geometry = conv(3, 64, 7) + 2 * 64 + bottleneck(64, 128)
    geometry += conv(128, 32, 4) + conv(32, 8, 5)
    geometry += bottleneck(128, 128) + bottleneck(128, 256) + hourglass(256, 4) + bottleneck(256, 256)
    geometry += conv(256, 256, 1) + 2 * 256 + conv(256, 64, 1)
    texture = conv(3, 64, 7) + conv(64, 128, 3) + conv(128, 256, 3) + conv(256, 512, 3)
    texture += 8 * conv(512, 512, 3) + conv(512, 256, 4) + conv(256, 128, 4) + conv(128, 8, 7)
    for encoder, count in ((GeometryEncoder, geometry), (TextureEncoder, texture)):
        assert sum(p.numel() for p in encoder(EncoderSettings()).parameters()) == count


def test_maps_of_the_papers_size():
    """A picture of 256 pixels gives maps of 32 and 128 pixels for geometry, and 64 for texture."""
    with torch.device("meta"):
        image = torch.empty(1, 256, 256, 3)
        coarse, fine = GeometryEncoder(EncoderSettings())(image)
        texture = TextureEncoder(EncoderSettings())(image)
    assert coarse.shape == (1, 64, 32, 32)
    assert fine.shape == (1, 8, 128, 128)
    assert texture.shape == (1, 8, 64, 64)


def test_fusion_of_the_papers_size():
    """6 D numbers for texture and 4 D for geometry; mu sees 6 D + 3 (Eq. 3)."""
    net = VANeRF(PAPER)
    assert net.texture_fusion.channels == 6 * 11
    assert net.texture_fusion.mu[0].in_features == 6 * 11 + 3
    assert [part.channels for part in net.geometry_fusion] == [4 * 64, 4 * 8]
    assert net.density_width.item() == pytest.approx(0.1)
    assert sum(p.numel() for p in VANeRF(SMALL).parameters()) < 2**20  # less than 4 MB


def asked(net, view, points):
    observation = net.observe(view)
    located = net.locate(observation, points)
    readings = net.read(observation, chosen(located, torch.ones(points.shape[:2], dtype=torch.bool)))
    density, latent = net.density(observation, readings)
    return observation, readings, density, net.colour(observation, readings, latent)


def test_begins_as_the_fitted_surface(view, points):
    torch.manual_seed(0)
    net = VANeRF(TINY)
    _, readings, density, colour = asked(net, view, points)
    torch.testing.assert_close(density, deviated_density(readings.distance, 0.0, 2e-3))
    assert ((colour >= 0) & (colour <= 1)).all()
    assert not torch.equal(awake(TINY).density(*asked(awake(TINY), view, points)[:2])[0], density)


@pytest.mark.parametrize(
    "settings", [TINY, replace(TINY, deviation="shrinking"), replace(TINY, density="free")]
)
def test_density_lies_within_its_bounds(settings, view, points):
    net = awake(settings)
    _, readings, density, _ = asked(net, view, points)
    least, most = net.density_bounds(readings.distance)
    assert (least <= density * (1 + 1e-5)).all()
    assert (density <= most * (1 + 1e-5)).all()


def test_released_code_can_only_make_hands_thinner_and_only_where_it_sees_them(view, points):
    settings = replace(released(TINY), largest_deviation=None)
    net = awake(settings)
    torch.nn.init.ones_(net.deviation_head.bias)
    observation, readings, density, _ = asked(net, view, points)
    fitted = deviated_density(readings.distance, 0.0, 2e-3)
    assert (density <= fitted).all()
    x, y = readings.pixels.round().long().clamp(0, 31).unbind(dim=-1)
    shown = observation.evidence.silhouettes.any(dim=1)
    around = torch.nn.functional.max_pool2d(shown.float(), 3, 1, 1)[readings.scene, y, x] > 0
    assert torch.equal(density[~around], fitted[~around])
    assert (density[shown[readings.scene, y, x]] < fitted[shown[readings.scene, y, x]]).float().mean() > 0.9


def test_scenes_do_not_mix(view, points):
    net = awake(TINY)
    *_, density, colour = asked(net, view, points)
    for scene in (0, 1):
        part = slice(scene, scene + 1)
        camera = Camera(view.camera.intrinsics[part], view.camera.camera_from_world[part], 32, 32)
        alone = InputView(view.image[part], camera, view.vertices[part], view.joints[part], view.faces)
        *_, density_alone, colour_alone = asked(net, alone, points[part])
        own = slice(300 * scene, 300 * (scene + 1))
        torch.testing.assert_close(density[own], density_alone, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(colour[own], colour_alone, rtol=1e-4, atol=1e-5)


def test_the_same_from_anywhere(view, points):
    """Moving the world, camera and all, changes nothing: the field depends on no frame."""
    from hands_lib.geometry.rotations import axis_angle_to_matrix

    rotation = axis_angle_to_matrix(torch.tensor([0.3, -0.8, 0.5]))
    shift = torch.tensor([0.2, -0.1, 0.4])
    move = torch.eye(4)
    move[:3, :3], move[:3, 3] = rotation, shift

    def moved(x):
        return x @ rotation.T + shift

    camera = Camera(view.camera.intrinsics, view.camera.camera_from_world @ torch.linalg.inv(move), 32, 32)
    other = replace(view, camera=camera, vertices=moved(view.vertices), joints=moved(view.joints))
    net = awake(TINY).double()
    before = asked(net, view.to(torch.float64), points.double())
    after = asked(net, other.to(torch.float64), moved(points).double())
    same = before[1].vertex == after[1].vertex
    assert same.float().mean() > 0.99  # a tie may go either way
    torch.testing.assert_close(before[2][same], after[2][same], rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(before[3][same], after[3][same], rtol=1e-3, atol=1e-3)


def test_gradient_along_a_random_direction(view, points):
    """All parameters together against a finite difference, in double precision."""
    net = awake(TINY).double()
    wide, few = view.to(torch.float64), points[:, :40].double()

    def loss():
        *_, density, colour = asked(net, wide, few)
        return (density * 1e-3).square().mean() + colour.square().mean()

    loss().backward()
    generator = torch.Generator().manual_seed(5)
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in net.parameters()]
    slope = sum(
        (d * p.grad).sum() for d, p in zip(directions, net.parameters(), strict=True) if p.grad is not None
    )
    values = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):
            for d, p in zip(directions, net.parameters(), strict=True):
                p += step * d
            values.append(loss())
    assert ((values[0] - values[1]) / 2e-6).item() == pytest.approx(slope.item(), rel=2e-4)
    silent = [name for name, p in net.named_parameters() if p.grad is None]
    assert silent == []


def test_every_switch_runs(view, points):
    for change in (
        {"colour": "channels"},
        {"texture_position": "geometry", "fusion": replace(TINY.fusion, spatial=False)},
        {"global_terms": "codes"},
        {"vertex_visibility": "pixel", "point_visibility": "unoccluded"},
        {"colour_in_features": False, "largest_deviation": None},
        {"fusion": replace(TINY.fusion, places=("q",), weighting="none", average=False)},
    ):
        *_, density, colour = asked(awake(replace(TINY, **change)), view, points[:, :5])
        assert density.shape == (10,)
        assert colour.shape == (10, 3)
        assert colour.isfinite().all()


def test_released_code_gives_every_vertex_of_both_hands_a_code_of_its_own(view, points):
    net = awake(replace(TINY, global_terms="codes"))
    observation, readings, *_ = asked(net, view, points)
    fused = net.fuse_texture(observation, readings)
    per_hand = view.vertices.shape[2]
    other = (readings.vertex + per_hand) % (2 * per_hand)
    width = observation.averages.shape[-1]
    for n, vertex in ((-2, readings.vertex), (-1, other)):
        own = fused.features[:, fused.features.shape[1] + n * width :][:, :width]
        code = observation.averages[readings.scene, vertex]
        torch.testing.assert_close(own, fused.weights[:, n, None] * code)
    with pytest.raises(ValueError, match="num_vertices of the settings is 307"):
        awake(replace(TINY, global_terms="codes", num_vertices=307)).observe(view)


def test_refuses_what_cannot_work(view):
    with pytest.raises(ValueError, match="largest_deviation"):
        replace(TINY, largest_deviation=0.0)
    for switch in ("density", "deviation", "colour", "texture_position", "global_terms", "vertex_visibility"):
        with pytest.raises(ValueError, match=f"{switch} is '.*' or '.*', not 'growing'"):
            replace(TINY, **{switch: "growing"})
    with pytest.raises(ValueError, match="64 divides"):
        VANeRF(replace(TINY, encoders=replace(TINY.encoders, hourglass_depth=4))).observe(view)


def test_no_points_at_all(view):
    net = awake(TINY)
    observation = net.observe(view)
    nothing = torch.zeros(0, dtype=torch.long)
    queries = Queries(nothing, torch.zeros(0, 3), torch.zeros(0), nothing, nothing.bool())
    readings = net.read(observation, queries)
    density, latent = net.density(observation, readings)
    assert density.shape == (0,)
    assert net.colour(observation, readings, latent).shape == (0, 3)


@pytest.mark.parametrize(
    ("row", "places"),
    [("q", ("q",)), ("q + p", ("q", "p")), ("q + p'", ("q", "p'")), ("q + p + p'", ("q", "p", "p'"))],
)
def test_rows_of_table_4_differ_in_their_places_alone(row, places):
    assert ablated(TINY, row).fusion.places == places
    assert replace(ablated(TINY, row), fusion=TINY.fusion) == TINY
    assert replace(ablated(TINY, row).fusion, places=TINY.fusion.places) == TINY.fusion


def test_the_other_rows_and_no_more():
    assert ablated(TINY, "KeypointNeRF") == keypoint_nerf(TINY)
    assert ablated(TINY, "released code") == released(TINY)
    assert ablated(TINY, "w = 5 mm") == replace(TINY, initial_width=0.005)
    blind = ablated(TINY, "Attn. w/o Vis.")
    assert blind == replace(TINY, fusion=replace(TINY.fusion, weighting="learned"))
    for row in ("p + g", "", "Attn. w/ Vis."):
        with pytest.raises(ValueError, match="no row"):
            ablated(TINY, row)


def test_a_field_comes_back_from_what_a_job_keeps(view, points):
    """Beside pictures, and in half precision, which is what the book stores."""
    net = awake(TINY).eval()
    kept = {f"net.{name}": value.half() for name, value in net.state_dict().items()}
    kept["figure 4"] = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    again = field_from(json.loads(json.dumps(asdict(TINY))), kept)
    assert not again.training
    assert again.settings == TINY
    for name, value in again.state_dict().items():
        assert value.dtype == net.state_dict()[name].dtype
        assert torch.equal(value, net.state_dict()[name].half().to(value.dtype))

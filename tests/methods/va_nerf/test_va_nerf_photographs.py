import pytest
import torch
from va_nerf_cases import SIZE

from hands_lib.geometry.raster import rasterize
from hands_lib.hand.kinematics import forward_kinematics, mirror, rest_pose
from hands_lib.methods.va_nerf.observation import InputView
from hands_lib.methods.va_nerf.photographs import cut_out, fitted_input, turned
from hands_lib.structures import Camera
from hands_lib.worlds.cameras import camera_ring

MARGIN = 1.15


@pytest.fixture(scope="module")
def photographed():
    """Joints of a pair, a camera of 200 x 160 pixels, and a picture whose colours say which pixel it is."""
    hand = forward_kinematics(rest_pose()).joints + torch.tensor([0.06, -0.1, 0.0])
    joints = torch.stack([hand, mirror(hand)])
    whole = camera_ring(5, 160)
    intrinsics = whole.intrinsics[0].clone()
    intrinsics[0, 2] += 20
    camera = Camera(intrinsics, whole.camera_from_world[0], 200, 160)
    y, x = torch.meshgrid(torch.arange(160), torch.arange(200), indexing="ij")
    picture = torch.stack([x, y, (x + y) // 2], dim=-1).to(torch.uint8)
    return joints, camera, picture


def test_a_cut_out_shows_what_its_camera_sees(photographed):
    """Pixel (u, v) of the square lies at the pixel of the photograph on the same ray."""
    joints, camera, picture = photographed
    given, whole, _ = fitted_input(joints, camera, picture, SIZE, MARGIN)
    square = given.camera
    v, u = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    rays = torch.linalg.inv(square.intrinsics[0]) @ torch.stack([u, v, torch.ones_like(u)]).flatten(1).float()
    x, y, _ = (camera.intrinsics @ rays).unflatten(1, (SIZE, SIZE))
    inside = (x > 2) & (x < 197) & (y > 2) & (y < 157)
    assert inside.float().mean() > 0.5
    for channel, place in ((0, x), (1, y)):
        assert (255 * whole[..., channel] - place).abs()[inside].max() < 1.5
    assert torch.equal(whole, cut_out(picture, camera, square))


def test_all_but_the_fitted_hands_is_black(photographed):
    joints, camera, _ = photographed
    white = torch.full((160, 200, 3), 255, dtype=torch.uint8)
    given, whole, fit = fitted_input(joints, camera, white, SIZE, MARGIN)
    assert fit.residuals.max() < 1e-4  # the joints are a hand's
    torch.testing.assert_close(given.joints[0], joints, atol=2e-4, rtol=0)
    seen = rasterize(given.mesh, given.camera).foreground[0]
    edge = torch.nn.functional.max_pool2d(seen[None].float(), 3, 1, 1)[0] - (
        -torch.nn.functional.max_pool2d(-seen[None].float(), 3, 1, 1)[0]
    )
    away = edge == 0
    assert (given.image[0][seen & away] > 0.99).all()
    assert (given.image[0][~seen & away] == 0).all()
    assert (seen & away).sum() > 30
    assert (whole > 0.99).all() or whole.min() == 0  # black only beyond the photograph's own edge
    points = given.camera.project(given.vertices.flatten(1, 2))[0]
    assert (points > -1).all()
    assert (points < SIZE).all()


def test_a_turn_keeps_the_hands_in_the_middle(view):
    one = InputView(
        view.image[:1],
        Camera(*(part[:1] for part in (view.camera.intrinsics, view.camera.camera_from_world)), SIZE, SIZE),
        view.vertices[:1],
        view.joints[:1],
        view.faces,
    )
    points = one.vertices[0].flatten(0, 1)
    before = one.camera.transform(points[None])[0]
    for degrees in (0.0, 90.0, 180.0, 270.0):
        camera = turned(one, degrees, MARGIN)
        after = camera.transform(points[None])[0]
        torch.testing.assert_close(after.mean(dim=0), before.mean(dim=0), atol=1e-5, rtol=0)
        torch.testing.assert_close(after[:, 1], before[:, 1], atol=1e-5, rtol=0)  # about the vertical
        x, z = (before - before.mean(dim=0))[:, [0, 2]].T
        if degrees == 90:
            found = (after - after.mean(dim=0))[:, [0, 2]]
            torch.testing.assert_close(found, torch.stack([z, -x], dim=-1), atol=1e-5, rtol=0)
        if degrees == 180:
            found = (after - after.mean(dim=0))[:, [0, 2]]
            torch.testing.assert_close(found, torch.stack([-x, -z], dim=-1), atol=1e-5, rtol=0)
        size = camera.project(points[None])[0]
        extent = (size.amax(dim=0) - size.amin(dim=0)).max().item()
        assert extent == pytest.approx(SIZE / MARGIN, rel=1e-3)

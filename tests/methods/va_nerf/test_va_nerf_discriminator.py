import pytest
import torch
from va_nerf_cases import SIZE, ring

from hands_lib.geometry.raster import rasterize, vertex_visibility
from hands_lib.methods.va_nerf.discriminator import (
    Discriminator,
    correspondence_map,
    cropped_at,
    seen_from_input,
)
from hands_lib.methods.va_nerf.losses import discriminator_loss, visibility_loss
from hands_lib.structures import Camera


def pictures(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(2, 16, 16, 3, generator=generator) for _ in range(4)]


def test_scores_and_maps():
    torch.manual_seed(0)
    score, visible = Discriminator()(*pictures())
    assert score.shape == (2,)
    assert visible.shape == (2, 16, 16)
    score, visible = Discriminator("binary")(*pictures())
    assert score.shape == (2,)
    assert visible is None
    with pytest.raises(ValueError, match="binary"):
        Discriminator("patch")


def test_a_pixel_changes_the_map_around_it_and_the_score():
    """Six layers of 3 x 3: the map is local, which is what makes its supervision fine-grained."""
    torch.manual_seed(0)
    net = Discriminator()
    given = pictures()
    score, visible = net(*given)
    for n in range(4):  # input, target, and both correspondence maps
        changed = [picture.clone() for picture in given]
        changed[n][0, 8, 3] += 1
        other_score, other = net(*changed)
        touched = other != visible
        rows, columns = touched[0].nonzero().unbind(dim=-1)
        assert touched[0].any()
        assert rows.min() >= 2
        assert rows.max() <= 14
        assert columns.max() <= 9
        assert other_score[0] != score[0]
        assert not touched[1].any()
        assert other_score[1] == score[1]


def test_training_lowers_its_loss():
    torch.manual_seed(0)
    net = Discriminator()
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    image, dense, target_dense, fake = pictures()
    real = torch.full_like(image, 0.5)
    seen = (torch.arange(16) >= 8).float().expand(2, 16, 16)
    losses = []
    for _ in range(12):
        real_score, real_map = net(image, real, dense, target_dense)
        fake_score, fake_map = net(image, fake, dense, target_dense)
        loss = discriminator_loss(real_score, fake_score)
        loss = loss + visibility_loss(real_map, torch.ones_like(seen)) + visibility_loss(fake_map, seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05


def test_what_the_input_camera_sees_of_the_target_view(view):
    seen = vertex_visibility(view.mesh, view.camera)
    foreground, from_itself = seen_from_input(view.mesh, view.camera, seen)
    assert torch.equal(foreground, rasterize(view.mesh, view.camera).foreground)
    assert from_itself.sum() > 0.9 * foreground.sum()  # but for faces at the contour
    cameras = ring(2, view.vertices[0])
    opposite = Camera(cameras.intrinsics, cameras.camera_from_world, SIZE, SIZE)
    front = Camera(cameras.intrinsics[:1], cameras.camera_from_world[:1], SIZE, SIZE)
    mesh = type(view.mesh)(view.mesh.vertices[:1].expand(2, -1, -1), view.mesh.faces)
    seen = vertex_visibility(type(mesh)(mesh.vertices[:1], mesh.faces), front).expand(2, -1)
    foreground, shown = seen_from_input(mesh, opposite, seen)
    shares = shown.sum(dim=(1, 2)) / foreground.sum(dim=(1, 2))
    assert shares[0] > 0.9
    assert shares[1] < 0.3
    assert not (shown & ~foreground).any()


def test_correspondences_are_the_same_for_both_hands(view):
    """Seen by a camera in the plane of the mirror, the picture of the pair is symmetric."""
    rest = view.vertices[0, 0]
    camera = ring(1, view.vertices[0])
    mesh = type(view.mesh)(view.mesh.vertices[:1], view.mesh.faces)
    colours = correspondence_map(mesh, camera, rest)
    assert ((colours >= 0) & (colours <= 1)).all()
    assert (colours[~rasterize(mesh, camera).foreground] == 0).all()
    torch.testing.assert_close(colours, colours.flip(dims=(2,)), atol=5e-2, rtol=0)


def test_crops():
    maps = torch.arange(2 * 6 * 7 * 1.0).view(2, 6, 7, 1)
    corner = torch.tensor([[1, 2], [4, 0]])
    found = cropped_at(maps, corner, 3)
    assert torch.equal(found[0], maps[0, 2:5, 1:4])
    assert torch.equal(found[1], maps[1, 0:3, 4:7])

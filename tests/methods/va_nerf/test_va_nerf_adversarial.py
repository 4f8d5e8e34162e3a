from dataclasses import replace

import pytest
import torch
from va_nerf_cases import SIZE, TINY, all_views, awake, ring

from hands_lib.geometry.raster import rasterize
from hands_lib.methods.va_nerf import adversarial
from hands_lib.methods.va_nerf.discriminator import Discriminator, correspondence_map
from hands_lib.methods.va_nerf.losses import LossWeights
from hands_lib.methods.va_nerf.rendering import RenderSettings
from hands_lib.methods.va_nerf.told import ToldDiscriminator
from hands_lib.methods.va_nerf.training import Pictures, draw_patches, reconstruction_loss, render_patches

FEW = RenderSettings(8, 8, 0.02, 1e-4)
SIDE = 8


@pytest.fixture(scope="module")
def pictures(view):
    camera = ring(3, view.vertices[0])
    both = [values.expand(2, *values.shape) for values in (camera.intrinsics, camera.camera_from_world)]
    mesh = replace(view.mesh, vertices=view.mesh.vertices[:, None])
    image = torch.randint(256, (2, 3, SIZE, SIZE, 3), generator=torch.Generator().manual_seed(0))
    foreground = rasterize(mesh, camera).foreground
    return Pictures(
        image.to(torch.uint8), foreground, *both, view.vertices, view.joints, view.faces, *all_views(2, 3)
    )


@pytest.fixture(scope="module")
def drawn(pictures):
    return draw_patches(pictures, 2, SIDE, torch.Generator().manual_seed(3))


@pytest.fixture
def meeting(pictures, drawn):
    return adversarial.meet(awake(TINY), pictures, drawn, SIDE, pictures.vertices[0, 0], FEW)


def test_everything_is_cut_at_the_patches_pixels(pictures, drawn, meeting):
    with torch.no_grad():
        rendered, real = render_patches(awake(TINY), pictures, drawn, SIDE, FEW)
    torch.testing.assert_close(meeting.rendered.detach(), rendered)
    assert torch.equal(meeting.real, real)
    mesh = pictures.input_view(drawn.frame, drawn.view).mesh
    dense = correspondence_map(mesh, pictures.camera(drawn.frame, drawn.target), pictures.vertices[0, 0])
    for n, (x, y) in enumerate(drawn.corner.tolist()):
        rows, columns = slice(y, y + SIDE), slice(x, x + SIDE)
        image = pictures.image[drawn.frame[n], drawn.view[n]] / 255
        torch.testing.assert_close(meeting.image[n], image[rows, columns])
        assert torch.equal(meeting.target_dense[n], dense[n, rows, columns])
        own = pictures.foreground[drawn.frame[n], drawn.target[n]]
        assert torch.equal(meeting.foreground[n], own[rows, columns])
    assert not (meeting.seen & ~meeting.foreground).any()


@pytest.mark.parametrize("kind", ["visibility", "binary"])
def test_each_player_changes_only_itself(kind, pictures, drawn):
    net, rest = awake(TINY), pictures.vertices[0, 0]
    torch.manual_seed(1)
    judge = Discriminator(kind)
    meeting = adversarial.meet(net, pictures, drawn, SIDE, rest, FEW)
    settings = adversarial.AdversarialSettings()
    adversarial.discriminator_step_loss(judge, meeting, settings).backward()
    assert all(p.grad is None for p in net.parameters())
    assert all(p.grad.isfinite().all() for p in judge.parameters())
    adversarial.field_loss(judge, meeting, settings).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_without_its_adversarial_weights_it_is_the_reconstruction_loss(meeting):
    judge = Discriminator()
    alone = adversarial.AdversarialSettings(LossWeights(adv=0.0, vis=0.0))
    expected = reconstruction_loss(meeting.rendered, meeting.real)
    torch.testing.assert_close(adversarial.field_loss(judge, meeting, alone), expected)


def test_a_discriminator_that_learns_tells_hidden_from_seen(pictures, meeting):
    """With the rendered patch grey where the input sees the surface and black elsewhere, criterion (ii) can
    be read from the picture; the loss falls, and the map is darker where the surface is hidden."""
    torch.manual_seed(0)
    judge = Discriminator()
    seen = torch.zeros_like(meeting.seen)
    seen[:, :, : SIDE // 2] = True
    easy = replace(
        meeting,
        rendered=0.8 * seen[..., None].expand(-1, -1, -1, 3).float(),
        seen=seen,
        foreground=torch.ones_like(seen),
    )
    settings = adversarial.AdversarialSettings(penalty=0.0, invisible_weight=5.0)
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    losses = []
    for _ in range(25):
        loss = adversarial.discriminator_step_loss(judge, easy, settings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    with torch.no_grad():
        _, visible = judge(easy.image, easy.rendered, easy.dense, easy.target_dense)
    assert visible[seen].mean() > visible[~seen].mean() + 0.5


def test_penalty_is_a_switch(meeting):
    judge = Discriminator("binary")
    with_it, without = (
        adversarial.discriminator_step_loss(judge, meeting, adversarial.AdversarialSettings(penalty=gamma))
        for gamma in (300.0, 0.0)
    )
    assert with_it > without


def test_a_told_critic_is_the_papers_where_it_does_not_listen(meeting):
    """With weights of 0 for what it is told, it says what the discriminator with its other weights says."""
    torch.manual_seed(2)
    told, plain = ToldDiscriminator(), Discriminator()
    given = meeting.image, meeting.real, meeting.dense, meeting.target_dense
    with pytest.raises(ValueError, match="must be told first"):
        told(*given)
    with torch.no_grad():
        # The new channel is the last of the first layer, and lies before the features in the map's layer.
        told.features[0].weight[:, 12] = 0
        told.map[0].weight[:, 12] = 0
    state = told.state_dict()
    for name in ("features.0.weight", "map.0.weight"):
        state[name] = torch.cat([state[name][:, :12], state[name][:, 13:]], dim=1)
    plain.load_state_dict(state)
    for ours, theirs in zip(told.told(meeting.seen)(*given), plain(*given), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_told_critic_knows_what_is_hidden_at_once(meeting):
    """Criterion (ii) is one channel away: few steps on one batch take the map's loss below what a map that is
    the same everywhere can reach, and the field's gradient passes through the map."""
    torch.manual_seed(3)
    settings = adversarial.AdversarialSettings(LossWeights(), penalty=0.0)
    seen = meeting.foreground.clone()
    seen[..., : SIDE // 2] = False  # half of each patch, so that no other channel says the same
    meeting = replace(meeting, seen=seen & meeting.foreground)
    judge = ToldDiscriminator()
    optimizer = torch.optim.Adam(judge.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        adversarial.discriminator_step_loss(judge.told(meeting.seen), meeting, settings).backward()
        optimizer.step()
    given = meeting.image, meeting.rendered.detach(), meeting.dense, meeting.target_dense
    with torch.no_grad():
        visible = judge.told(meeting.seen)(*given)[1]
    hidden = meeting.foreground & ~meeting.seen
    assert visible[meeting.seen].mean() > visible[hidden].mean() + 2
    adversarial.field_loss(judge.told(meeting.seen), meeting, settings).backward()
    assert all(weight.grad is not None for weight in judge.map.parameters())

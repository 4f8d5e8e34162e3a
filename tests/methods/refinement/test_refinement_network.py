"""The whole network: mirrors, what is detached, switches, sizes."""

import copy
from dataclasses import replace

import pytest
import torch

from hands_lib.methods.refinement.hands import START, KinematicHands
from hands_lib.methods.refinement.network import (
    PAPER,
    SMALL,
    RefinementNetwork,
    RefinementSettings,
    paper_size,
    sample,
)

TINY = replace(SMALL, visual_width=16, joint_width=8, plane_width=8)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def hands():
    return KinematicHands("plain")


def lively(network):
    """Heads as they are after training: what they say depends on the picture."""
    for name, parameter in network.named_parameters():
        if name.endswith(("numbers.weight", "offset.weight")):
            torch.nn.init.normal_(parameter, std=0.05)
    return network


def mirror_network(network):
    """The network that says of a mirrored picture what `network` says of the picture: left and right change
    their weights, kernels are flipped, signs of x turn where a number is that of both hands' frame."""
    other = copy.deepcopy(network)
    swap = torch.arange(42).roll(21)
    signs = torch.tensor([1.0, -1.0, -1.0])  # of right wrist minus left wrist
    with torch.no_grad():
        for module in other.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.copy_(module.weight.flip(-1))
            if isinstance(module, torch.nn.BatchNorm1d):  # of joints: the first half of its channels is right
                for values in (module.weight, module.bias, module.running_mean, module.running_var):
                    values.copy_(values.roll(len(values) // 2))
        for name, values in other.named_parameters():
            own = name.rsplit(".", 2)[-2:]
            if name.startswith(("backbone", "pixels")):
                continue
            if own[-1] in ("own", "others", "edges") or values.shape[0] == 2:
                values.copy_(values.flip(0))
        other.initial.where = torch.nn.ModuleList([other.initial.where[1], other.initial.where[0]])
        other.initial.offset.weight.mul_(signs[:, None])
        other.initial.offset.bias.mul_(signs)
        for stage in other.stages:
            space = stage.joint_space
            space.between.position.copy_(space.between.position[swap])
            space.place_of_both[0].weight.mul_(torch.tensor([-1.0, 1.0, 1.0]))
            features, last = space.offset.weight.split([space.offset.in_features - 3, 3], dim=1)
            features = features.unflatten(1, (42, -1))[:, swap].flatten(1)
            space.offset.weight.copy_(signs[:, None] * torch.cat([features, last * signs], dim=1))
            space.offset.bias.mul_(signs)
            if stage.layout is not None and stage.layout.num_planes > 1:
                kernel = stage.projected.weight.unflatten(1, (2, -1)).flip(1).flatten(1, 2)
                stage.projected.weight.copy_(kernel)
        classes = [0, 2, 1, 3, 4, 5]
        other.pixels.weight.copy_(other.pixels.weight[classes])
        other.pixels.bias.copy_(other.pixels.bias[classes])
    return other


@pytest.mark.parametrize("projection", ["bones", "shared", "joints"])
def test_mirrored_pictures_have_mirrored_hands(hands, projection):
    """An odd number of pixels: only there do strided convolutions see the same pixels in a mirror."""
    settings = replace(TINY, backbone="resnet18", levels=(16, 8, 4), projection=projection, attention_width=4)
    network = lively(RefinementNetwork(hands, settings)).double().eval()
    image = torch.rand(2, 3, 65, 65, dtype=torch.float64)
    with torch.no_grad():
        one, other = network(image), mirror_network(network)(image.flip(-1))
    for found, expected in zip(other.estimates, one.estimates, strict=True):
        assert torch.allclose(found.parameters, expected.parameters.flip(1), atol=1e-9)
        assert torch.allclose(found.offset, expected.offset * torch.tensor([1.0, -1.0, -1.0]), atol=1e-9)
        signs = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
        assert torch.allclose(found.vertices, expected.vertices.flip(1) * signs, atol=1e-9)
        assert torch.allclose(found.joints_uv, expected.joints_uv.flip(1) * signs[:2], atol=1e-9)
    assert torch.allclose(other.hand_logits, one.hand_logits.flip(-1)[:, [0, 2, 1]], atol=1e-9)
    assert torch.allclose(other.correspondence, one.correspondence.flip(-1), atol=1e-9)
    first, last = one.estimates[0].joints_uv, one.estimates[-1].joints_uv
    assert (first - last).abs().amax() > 0.01  # the stages said something


def reached(network, value):
    """Which parts of the network a number's gradient reaches."""
    network.zero_grad()
    value.backward(retain_graph=True)
    names = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    return {
        ".".join(name.split(".")[:2]) if name.startswith("stages") else name.split(".")[0] for name in names
    }


def test_stages_are_detached_but_picture_features_are_not(hands):
    network = lively(RefinementNetwork(hands, replace(TINY, stages=3)))
    found = network(torch.rand(2, 3, 64, 64))
    parts = [reached(network, estimate.joints.square().sum()) for estimate in found.estimates]
    assert parts[0] == {"backbone", "initial"}
    # The initial estimate says where a stage looks, and learns nothing from what it sees there.
    assert parts[1] == {"backbone", "stages.0"}
    assert parts[2] == {"backbone", "stages.0", "stages.1"}
    assert parts[3] == {"backbone", "stages.0", "stages.1", "stages.2"}
    pixels = reached(network, found.hand_logits.square().sum())
    assert pixels == {"backbone", "pixels", "stages.0", "stages.1", "stages.2"}


def test_the_last_projection_serves_the_pixels_alone(hands):
    network = lively(RefinementNetwork(hands, TINY))
    found = network(torch.rand(2, 3, 64, 64))
    network.zero_grad()
    sum(e.joints.square().sum() for e in found.estimates).backward(retain_graph=True)
    assert network.stages[0].projected.weight.grad.abs().sum() > 0
    assert network.stages[1].projected.weight.grad is None
    found.correspondence.sum().backward()
    assert network.stages[1].projected.weight.grad.abs().sum() > 0


def test_places_of_planes_can_be_detached(hands):
    """The forward pass stays; what comes behind the planes no longer reaches the numbers before them."""
    image, found, reach = torch.rand(2, 3, 64, 64), [], []
    for learn in (True, False):
        torch.manual_seed(1)
        network = lively(RefinementNetwork(hands, replace(TINY, places_learn=learn)))
        found.append(network(image).estimates[-1].joints)
        network.zero_grad()
        found[-1].square().sum().backward()
        reach.append(network.stages[0].joint_space.numbers.weight.grad)
    assert torch.equal(found[0], found[1])
    assert reach[0].abs().sum() > 0
    assert reach[1] is None


def test_planes_and_their_convolution_are_the_same_network(hands):
    for projection in ("bones", "hands", "shared", "joints"):
        network = lively(RefinementNetwork(hands, replace(TINY, projection=projection))).eval()
        image = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            sooner = network(image)
            for stage in network.stages:
                stage.settings = replace(stage.settings, explicit_planes=True)
            later = network(image)
        assert torch.allclose(sooner.hand_logits, later.hand_logits, atol=1e-5)
        assert torch.allclose(sooner.estimates[-1].vertices, later.estimates[-1].vertices, atol=1e-6)


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ({"intra_hand": False}, "graph."),
        ({"inter_hand": False}, "between.blocks"),
        ({"projection": "none"}, "projected"),
        ({"pixel_heads": False}, "pixels"),
    ],
)
def test_a_switch_takes_its_part_out(hands, switch, gone):
    full = RefinementNetwork(hands, TINY)
    network = RefinementNetwork(hands, replace(TINY, **switch))
    names = {name for name, _ in network.named_parameters()}
    assert any(gone in name for name, _ in full.named_parameters())
    assert not any(gone in name for name in names)
    found = network(torch.rand(2, 3, 64, 64))
    assert len(found.estimates) == 3
    assert (found.hand_logits is None) == (switch == {"pixel_heads": False})
    found.estimates[-1].joints.sum().backward()


def test_mesh_awareness_reads_the_picture_along_the_surface(hands):
    network = lively(RefinementNetwork(hands, replace(TINY, mesh_aware=True)))
    space = network.stages[0].joint_space
    assert space.appearance.layers[0].weight.shape[1] == 2 * TINY.visual_width
    last = network(torch.rand(1, 3, 64, 64)).estimates[0].detached()
    # Features that say where they are, exactly: then the mean over the surface is the mean of its places.
    along = (2 * torch.arange(16) + 1) / 16 - 1
    v, u = torch.meshgrid(along, along, indexing="ij")
    visual = torch.zeros(1, TINY.visual_width, 16, 16)
    visual[0, 0], visual[0, 1] = u, v
    uv = 0.5 * last.vertices_uv
    last = replace(last, vertices_uv=uv)
    heard = []
    space.appearance.register_forward_pre_hook(lambda module, given: heard.append(given[0]))
    space(visual, last)
    around = heard[0][0, ..., TINY.visual_width :][..., :2]
    shares = space.shares
    torch.testing.assert_close(around, torch.einsum("jv,hvc->hjc", shares, uv[0]), rtol=0, atol=1e-4)


def test_without_offset_the_hands_know_no_common_frame(hands):
    """Joint features do not change with the last offset; with it in the tokens they do."""
    for within in (True, False):
        network = RefinementNetwork(hands, replace(TINY, offset_in_tokens=within)).eval()
        visual = torch.randn(2, TINY.visual_width, 8, 8)
        last = network(torch.rand(2, 3, 64, 64)).estimates[0].detached()
        space = network.stages[0].joint_space
        near = space(visual, last)[0]
        far = space(visual, replace(last, offset=last.offset + 0.3))[0]
        assert torch.equal(near, far) != within


def test_a_new_network_says_the_mean_hand(hands):
    found = RefinementNetwork(hands, TINY).eval()(torch.rand(2, 3, 64, 64))
    for estimate in found.estimates:
        assert (estimate.parameters - torch.tensor(START)).abs().amax() < 0.1
    corrected = RefinementNetwork(hands, replace(TINY, corrections=True)).eval()(torch.rand(2, 3, 64, 64))
    assert (corrected.estimates[-1].parameters - torch.tensor(START)).abs().amax() < 0.1


def test_corrections_are_added_to_the_last_numbers(hands):
    network = RefinementNetwork(hands, replace(TINY, corrections=True)).eval()
    for stage in network.stages:
        for layer in (stage.joint_space.numbers, stage.joint_space.offset):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.constant_(layer.bias, 0.25)
    found = network(torch.rand(2, 3, 64, 64)).estimates
    assert torch.allclose(found[2].parameters, found[0].parameters + 0.5)
    assert torch.allclose(found[2].offset, found[0].offset + 0.5 * 0.15)


def test_any_number_of_stages(hands):
    for stages, size in ((0, None), (1, 8), (2, 16), (4, 16)):
        network = RefinementNetwork(hands, replace(TINY, stages=stages))
        found = network(torch.rand(2, 3, 64, 64))
        assert len(found.estimates) == stages + 1
        assert (found.hand_logits is None) == (stages == 0)
        if size:
            assert found.hand_logits.shape == (2, 3, size, size)
            assert torch.equal(found.traces[-1].looked_at, found.estimates[-2].joints_uv)


def test_paper_size():
    """About 90 million, and of the parts what was counted in the released code: 23.5 for the backbone, 18.9
    in each 3x3 convolution of the attention, 11 in the graphs, 12 in the fusions."""
    with torch.device("meta"):
        network = RefinementNetwork(KinematicHands(), PAPER)

    def millions(*parts):
        return sum(p.numel() for part in parts for p in part.parameters()) / 1e6

    assert millions(network) == pytest.approx(90, rel=0.02)
    assert paper_size(KinematicHands()) == round(1e6 * millions(network))
    assert millions(network.backbone) == pytest.approx(23.5, abs=0.05)
    assert millions(*[where[0] for where in network.initial.where]) == pytest.approx(2 * 18.9, abs=0.1)
    assert millions(*[stage.joint_space.graph for stage in network.stages]) == pytest.approx(11, abs=0.1)
    assert millions(*[stage.projected for stage in network.stages]) == pytest.approx(11.8, abs=0.1)
    assert network.stages[0].projected.in_channels == 2560


def test_sampling_reads_the_pixel_under_a_joint():
    """A map whose value is its own place in uv, sampled anywhere between pixel centres; zero outside."""
    along = (2 * torch.arange(8) + 1) / 8 - 1
    v, u = torch.meshgrid(along, along, indexing="ij")
    uv = 0.8 * (2 * torch.rand(3, 2, 21, 2) - 1)
    found = sample(torch.stack([u, v]).expand(3, -1, -1, -1), uv)
    assert torch.allclose(found, uv, atol=1e-6)
    assert (sample(torch.ones(3, 2, 8, 8), uv + 5) == 0).all()


def test_bad_settings_are_named(hands):
    with pytest.raises(ValueError, match="unknown projection 'bone'; there are bones, hands"):
        RefinementSettings(projection="bone")
    with pytest.raises(ValueError, match="not -1"):
        RefinementSettings(stages=-1)
    with pytest.raises(ValueError, match=r"none at \[3\]: change levels"):
        RefinementNetwork(hands, replace(TINY, levels=(16, 8, 3)))

import math
from dataclasses import replace

import pytest
import torch

from hands_lib.methods.va_nerf.fusion import (
    OCTAVES,
    PLACES,
    SPATIAL_CHANNELS,
    FeatureFusion,
    FusionSettings,
    hand_averages,
    relative_encoding,
)

WIDTH, NUM = 5, 12


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(NUM, SPATIAL_CHANNELS, generator=generator),
        torch.randn(NUM, 3, WIDTH, generator=generator),
        torch.rand(NUM, 3, generator=generator) < 0.5,
        torch.randn(NUM, 2, WIDTH, generator=generator),
    )


def fusion(average=True, **switches):
    torch.manual_seed(3)
    return FeatureFusion(WIDTH, replace(FusionSettings(hidden=7), **switches), average)


def test_is_equations_2_and_3_one_point_at_a_time():
    module, (spatial, places, visible, average) = fusion(), inputs()
    fused = module(spatial, places, visible, average)
    first, _, second, _ = module.mu
    for n in range(NUM):
        phi = module.spatial.weight @ spatial[n] + module.spatial.bias
        terms = [phi, *places[n], *average[n]]
        known = torch.cat([*terms, visible[n].float()])
        hidden = torch.relu(first.weight @ known + first.bias)
        weights = 1 / (1 + torch.exp(-(second.weight @ hidden + second.bias)))
        expected = torch.cat([a * term for a, term in zip(weights, terms, strict=True)])
        torch.testing.assert_close(fused.features[n], expected)
        torch.testing.assert_close(fused.weights[n], weights)
    assert fused.features.shape == (NUM, 6 * WIDTH)
    assert ((fused.weights > 0) & (fused.weights < 1)).all()


@pytest.mark.parametrize("places", [("q",), ("q", "p"), ("q", "p'"), PLACES, ("p",), ("p'",), ("p", "p'")])
def test_places_that_were_not_chosen_change_nothing(places):
    module, (spatial, features, visible, average) = fusion(places=places), inputs()
    before = module(spatial, features, visible, average).features
    assert before.shape == (NUM, (3 + len(places)) * WIDTH)
    for n, place in enumerate(PLACES):
        changed, flipped = features.clone(), visible.clone()
        changed[:, n] += 1
        flipped[:, n] = ~flipped[:, n]
        for after in (
            module(spatial, changed, visible, average).features,
            module(spatial, features, flipped, average).features,
        ):
            assert torch.equal(after, before) == (place not in places)


@pytest.mark.parametrize(("weighting", "sees"), [("visibility", True), ("learned", False), ("none", False)])
def test_only_weights_by_visibility_know_it(weighting, sees):
    module, (spatial, places, visible, average) = fusion(weighting=weighting), inputs()
    before = module(spatial, places, visible, average)
    after = module(spatial, places, ~visible, average)
    assert torch.equal(before.features, after.features) != sees
    if weighting == "none":
        assert (before.weights == 1).all()


def test_invisible_vertices_say_nothing_where_they_are_hidden():
    """Features of hidden p and p' change nothing; those of visible ones and of q do."""
    module, (spatial, places, visible, average) = fusion(hide_invisible=True), inputs()
    before = module(spatial, places, visible, average).features
    for n in (1, 2):
        changed = places.clone()
        changed[:, n] += 1
        same = (module(spatial, changed, visible, average).features == before).all(dim=1)
        assert torch.equal(same, ~visible[:, n])
    changed = places.clone()
    changed[:, 0] += 1
    assert not (module(spatial, changed, visible, average).features == before).all(dim=1).any()


def test_terms_and_switches():
    assert fusion().terms == ("phi", "q", "p", "p'", "right", "left")
    assert fusion(average=False).terms == ("phi", "q", "p", "p'")
    bare = fusion(average=False, spatial=False, places=("q",), weighting="none")
    assert bare.terms == ("q",)
    assert list(bare.parameters()) == []
    spatial, places, visible, _ = inputs()
    assert torch.equal(bare(spatial, places, visible).features, places[:, 0])
    with pytest.raises(ValueError, match="global terms"):
        fusion()(spatial, places, visible)
    for wrong in (("r",), (), ("q", "q")):
        with pytest.raises(ValueError, match="places are some of"):
            FusionSettings(places=wrong)
    with pytest.raises(ValueError, match="weighting"):
        FusionSettings(weighting="by chance")


def test_relative_encoding_is_its_definition(view, points):
    scene = torch.tensor([0, 1, 1])
    chosen = points[scene, torch.tensor([4, 5, 6])]
    joints = view.joints.flatten(1, 2)
    found = relative_encoding(chosen, scene, joints, view.camera, reach=0.05)
    assert found.shape == (3, SPATIAL_CHANNELS)
    for n in range(3):
        camera = view.camera.camera_from_world[scene[n]]
        z = (camera[:3, :3] @ chosen[n] + camera[:3, 3])[2]
        for k in (0, 20, 21, 41):
            joint = joints[scene[n], k]
            difference = z - (camera[:3, :3] @ joint + camera[:3, 3])[2]
            gate = math.exp(-(chosen[n] - joint).square().sum().item() / (2 * 0.05**2))
            values = [difference.item()]
            for octave in range(OCTAVES):
                phase = math.pi * 2**octave * difference.item()
                values += [math.sin(phase), math.cos(phase)]
            expected = gate * torch.tensor(values)
            torch.testing.assert_close(found[n, k::42], expected, atol=2e-5, rtol=1e-4)


def test_averages_are_over_each_hands_pixels():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 3, 8, 8, generator=generator)
    silhouettes = torch.zeros(2, 2, 8, 8, dtype=torch.bool)
    silhouettes[0, 0, :4] = True
    silhouettes[0, 1, 5:, 2:7] = True
    silhouettes[1, 1] = torch.rand(8, 8, generator=generator) < 0.5
    found = hand_averages(features, silhouettes)
    torch.testing.assert_close(found[0, 0], features[0, :, :4].mean(dim=(1, 2)))
    torch.testing.assert_close(found[0, 1], features[0, :, 5:, 2:7].mean(dim=(1, 2)))
    torch.testing.assert_close(found[1, 1], features[1][:, silhouettes[1, 1]].mean(dim=1))
    assert (found[1, 0] == 0).all()  # a hand that is not seen
    # At half the resolution a cell counts by the share of its pixels.
    coarse = torch.nn.functional.avg_pool2d(features, 2)
    blocks = silhouettes[1, 1].unfold(0, 2, 2).unfold(1, 2, 2).float().mean(dim=(-2, -1))
    expected = (coarse[1] * blocks).sum(dim=(1, 2)) / blocks.sum()
    torch.testing.assert_close(hand_averages(coarse, silhouettes)[1, 1], expected)

"""Planes of the picture against closed forms, a loop over bones and pixels, and an explicit convolution."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.hand.skeleton import EDGES
from hands_lib.methods.refinement.projecting import (
    PROJECTIONS,
    bone_weights,
    convolve,
    element_weights,
    layout,
    pixel_centres,
    planes,
    splat_weights,
)

SIZE, HALF = 16, 1 / 16


def random_hands(seed: int, batch: int = 2, channels: int = 3, spread: float = 0.5):
    generator = torch.Generator().manual_seed(seed)
    uv = spread * torch.randn(batch, 42, 2, generator=generator, dtype=torch.float64)
    features = torch.randn(batch, 42, channels, generator=generator, dtype=torch.float64)
    return uv, features


def slow_plane(a, b, feature_a, feature_b, size=SIZE, half=HALF):
    """One bone's plane, pixel by pixel, in pixels as the released code counts them."""
    a, b = ([(c + 1) / 2 * size for c in end.tolist()] for end in (a, b))
    plane = torch.zeros(len(feature_a), size * size, dtype=torch.float64)
    length = math.dist(a, b)
    for row in range(size):
        for column in range(size):
            p = (column + 0.5, row + 0.5)
            if length > 0:
                t = sum((p[i] - a[i]) * (b[i] - a[i]) for i in (0, 1)) / length**2
                t = min(max(t, 0.0), 1.0)
            else:
                t = 0.0
            foot = [a[i] + t * (b[i] - a[i]) for i in (0, 1)]
            if math.dist(p, foot) < half * size:
                d_a, d_b = math.dist(p, a), math.dist(p, b)
                w_a, w_b = 1 - d_a / (d_a + d_b), 1 - d_b / (d_a + d_b)
                plane[:, size * row + column] = w_a * feature_a + w_b * feature_b
    return plane


def slow_planes(uv, features, projection):
    """All planes by a loop over pictures and bones."""
    made = []
    for places, own in zip(uv, features, strict=True):
        bones = []
        for side, (i, j) in itertools.product((0, 1), EDGES):
            i, j = i + 21 * side, j + 21 * side
            bones.append((side, slow_plane(places[i], places[j], own[i], own[j])))
        if projection == "bones":
            made.append(torch.stack([plane for _, plane in bones]))
        elif projection == "hands":
            made.append(torch.stack([sum(plane for side, plane in bones if side == n) for n in (0, 1)]))
        else:
            made.append(sum(plane for _, plane in bones)[None])
    return torch.stack(made)


@pytest.mark.parametrize("projection", ["bones", "hands", "shared"])
def test_equals_the_loop_over_bones(projection):
    uv, features = random_hands(0)
    arrangement = layout(projection)
    made = planes(features, element_weights(uv, arrangement, SIZE, HALF), arrangement)
    assert torch.allclose(made, slow_planes(uv, features, projection), atol=1e-12)
    assert made.abs().amax() > 0.5


@pytest.mark.parametrize("projection", PROJECTIONS[:-1])
@pytest.mark.parametrize("reach", [1, 3])
def test_the_convolution_needs_no_planes(projection, reach):
    uv, features = random_hands(1)
    arrangement = layout(projection)
    weights = element_weights(uv, arrangement, SIZE, HALF)
    made = planes(features, weights, arrangement).flatten(1, 2).unflatten(-1, (SIZE, SIZE))
    generator = torch.Generator().manual_seed(2)
    kernel = torch.randn(5, made.shape[1], reach, reach, generator=generator, dtype=torch.float64)
    plain = torch.nn.functional.conv2d(made, kernel, padding=reach // 2)
    assert torch.allclose(convolve(features, weights, arrangement, kernel), plain, atol=1e-10)


@pytest.mark.parametrize("way", ["planes", "convolve"])
def test_gradients_are_those_of_finite_differences(way):
    uv, features = random_hands(3, batch=1, channels=2, spread=0.3)
    arrangement = layout("bones")
    kernel = torch.ones(1, 80, 3, 3, dtype=torch.float64)

    def made(places, own):
        weights = element_weights(places, arrangement, 6, 0.2)
        if way == "planes":
            return planes(own, weights, arrangement).sum(dim=1)
        return convolve(own, weights, arrangement, kernel)

    assert torch.autograd.gradcheck(
        made, (uv.requires_grad_(), features.requires_grad_()), fast_mode=True, eps=1e-7, atol=1e-4
    )


def test_crossing_bones_stay_apart_on_planes_of_their_own():
    """Bones of both hands cross at a pixel's centre in their middles: there each plane holds the mean of its
    own bone's ends, and one shared plane holds the sum of both."""
    uv = torch.full((1, 42, 2), 9.0)  # everything else far outside
    centre = torch.tensor([1 / 16, 1 / 16])  # of the pixel in row 8, column 8
    index, other = EDGES[5], (EDGES[9][0] + 21, EDGES[9][1] + 21)
    step = torch.tensor([0.5, 0.25])
    uv[0, index[0]], uv[0, index[1]] = centre - step, centre + step
    uv[0, other[0]], uv[0, other[1]] = centre - step.flip(0), centre + step.flip(0)
    features = torch.zeros(1, 42, 2)
    features[0, index[0]], features[0, index[1]] = torch.tensor([1.0, 0.0]), torch.tensor([3.0, 0.0])
    features[0, other[0]], features[0, other[1]] = torch.tensor([0.0, 5.0]), torch.tensor([0.0, -1.0])
    pixel = 8 * SIZE + 8

    def at_crossing(projection):
        arrangement = layout(projection)
        return planes(features, element_weights(uv, arrangement, SIZE, HALF), arrangement)[0, :, :, pixel]

    own = at_crossing("bones")
    assert torch.allclose(own[5], torch.tensor([2.0, 0.0]))
    assert torch.allclose(own[20 + 9], torch.tensor([0.0, 2.0]))
    assert own.abs().sum() == pytest.approx(4.0)
    assert torch.allclose(at_crossing("hands"), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    assert torch.allclose(at_crossing("shared"), torch.tensor([[2.0, 2.0]]))


def test_two_bones_of_one_hand_are_mixed_by_a_plane_a_hand():
    """Features that cancel: both bones vanish from a shared plane at their crossing, neither from its own."""
    uv = torch.full((1, 42, 2), 9.0)
    centre = torch.tensor([1 / 16, 1 / 16])
    for bone, step in ((5, torch.tensor([0.5, 0.0])), (9, torch.tensor([0.0, 0.5]))):
        uv[0, EDGES[bone][0]], uv[0, EDGES[bone][1]] = centre - step, centre + step
    features = torch.zeros(1, 42, 1)
    features[0, list(EDGES[5])], features[0, list(EDGES[9])] = 1.0, -1.0
    for projection, left in (("bones", 2.0), ("hands", 0.0), ("shared", 0.0)):
        arrangement = layout(projection)
        made = planes(features, element_weights(uv, arrangement, SIZE, HALF), arrangement)
        assert made[0, :, 0, 8 * SIZE + 8].abs().sum() == pytest.approx(left, abs=1e-6)


def test_along_a_bone_features_change_linearly():
    """A point on the bone at the share t of its length has the weights 1 - t and t."""
    size = 8
    a, b = pixel_centres(size, torch.zeros(1))[[8, 15]]  # two pixel centres of one row
    weights = bone_weights(torch.stack([a, b])[None], size, 0.01)[0]
    shares = torch.linspace(0, 1, size)
    assert torch.allclose(weights[0].view(size, size)[1], 1 - shares, atol=1e-6)
    assert torch.allclose(weights[1].view(size, size)[1], shares, atol=1e-6)
    assert weights.view(2, size, size)[:, [0, *range(2, size)]].abs().amax() == 0


@pytest.mark.parametrize("at", [(1 / 16, 1 / 16), (0.0, 0.1)])
def test_a_bone_without_length(at):
    """On a pixel's centre and beside it: a disc of one halves, or nothing, and gradients that are finite."""
    ends = torch.tensor([at, at], dtype=torch.float64)[None].requires_grad_()
    disc = bone_weights(ends, SIZE, HALF)
    centres = pixel_centres(SIZE, ends.detach())
    inside = (centres - ends.detach()[0, 0]).norm(dim=1) < 2 * HALF
    assert inside.any()
    assert torch.equal(disc[0, 0] > 0, inside)
    assert torch.equal(disc[0, 1] > 0, inside)
    assert torch.allclose(disc[0][:, inside], torch.tensor(0.5, dtype=torch.float64))
    disc.square().sum().backward()
    assert ends.grad.isfinite().all()
    assert (bone_weights(ends, SIZE, HALF, "dropped") == 0).all()


def test_short_bones_tend_to_the_disc():
    at = torch.tensor([0.03, 0.11], dtype=torch.float64)
    point = bone_weights(torch.stack([at, at])[None], SIZE, HALF)
    short = bone_weights(torch.stack([at, at + 1e-9])[None], SIZE, HALF)
    assert torch.allclose(point, short, atol=1e-6)


def test_outside_the_picture_nothing_is_drawn():
    ends = torch.tensor([[[1.2, 0.0], [3.0, 0.5]], [[-9.0, -9.0], [-2.0, -9.0]]])
    assert (bone_weights(ends, SIZE, HALF) == 0).all()


def test_a_bone_that_leaves_the_picture_is_cut():
    """Its part inside is the same as in a picture that is twice as wide and shows all of it."""
    ends = torch.tensor([[[0.2, 0.1], [1.7, 0.4]]], dtype=torch.float64)
    small = bone_weights(ends, SIZE, HALF).view(2, SIZE, SIZE)
    large = bone_weights(ends / 2, 2 * SIZE, HALF / 2).view(2, 2 * SIZE, 2 * SIZE)
    middle = slice(SIZE // 2, SIZE // 2 + SIZE)
    assert torch.allclose(small, large[:, middle, middle], atol=1e-12)
    assert small[:, :, -1].amax() > 0


def test_splats():
    """One joint at the centre of the middle pixel: pixels nearer than the half width, all with weight 1."""
    weights = splat_weights(torch.tensor([[0.0, 0.0]]), 5, 1.01 / 5).view(5, 5)
    expected = torch.zeros(5, 5)
    expected[2, 1:4] = expected[1:4, 2] = 1
    assert torch.equal(weights, expected)


@given(seed=st.integers(0, 10**6), size=st.sampled_from([5, 8, 16]), spread=st.floats(0.05, 2.0))
@settings(max_examples=25, deadline=None)
def test_weights_are_shares_and_mirror(seed, size, spread):
    """Both ends together weigh 1 near the bone and 0 elsewhere; swapping the ends swaps the weights; a
    mirrored picture has mirrored planes."""
    generator = torch.Generator().manual_seed(seed)
    ends = spread * torch.randn(6, 2, 2, generator=generator, dtype=torch.float64)
    weights = bone_weights(ends, size, HALF)
    total = weights.sum(dim=1)
    assert ((total - 1).abs().minimum(total.abs()) < 1e-12).all()
    assert torch.allclose(bone_weights(ends.flip(1), size, HALF), weights.flip(1), atol=1e-9)
    mirrored = bone_weights(ends * torch.tensor([-1.0, 1.0]), size, HALF)
    assert torch.allclose(
        mirrored.unflatten(-1, (size, size)), weights.unflatten(-1, (size, size)).flip(-1), atol=1e-9
    )


def test_unknown_projections_are_named():
    with pytest.raises(ValueError, match="'bone': one of bones, hands, shared, joints"):
        layout("bone")
    with pytest.raises(ValueError, match="none"):
        layout("none")

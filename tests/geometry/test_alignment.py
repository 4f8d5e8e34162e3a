import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.geometry.alignment import Similarity, nearest_rotation, procrustes
from hands_lib.geometry.rotations import random_rotations

FLOAT = torch.float64


def cloud(*shape, seed=0):
    return torch.randn(*shape, 3, dtype=FLOAT, generator=torch.Generator().manual_seed(seed))


def known(num, scale=True):
    rotation = random_rotations(num, torch.Generator().manual_seed(1), FLOAT)
    sizes = torch.linspace(0.5, 2.0, num, dtype=FLOAT) if scale else torch.ones(num, dtype=FLOAT)
    return Similarity(rotation, cloud(num, seed=2), sizes)


@pytest.mark.parametrize("with_scale", [False, True])
@pytest.mark.parametrize("num_points", [3, 4, 21])
def test_a_known_motion_is_recovered(with_scale, num_points):
    motion = known(16, scale=with_scale)
    source = cloud(16, num_points)
    found = procrustes(source, motion.transform(source), with_scale=with_scale)
    assert torch.allclose(found.rotation, motion.rotation, atol=1e-9)
    assert torch.allclose(found.translation, motion.translation, atol=1e-9)
    assert torch.allclose(found.scale, motion.scale, atol=1e-9)


def test_a_planar_set_is_aligned_without_reflection():
    motion = known(16)
    source = cloud(16, 10) * torch.tensor([1.0, 1.0, 0.0], dtype=FLOAT)
    found = procrustes(source, motion.transform(source), with_scale=True)
    assert torch.allclose(found.rotation, motion.rotation, atol=1e-9)
    assert torch.allclose(torch.linalg.det(found.rotation), torch.ones(16, dtype=FLOAT))


def test_a_mirrored_set_gives_the_best_proper_rotation():
    source = cloud(8, 21)
    target = source * torch.tensor([-1.0, 1.0, 1.0], dtype=FLOAT)
    found = procrustes(source, target)
    assert torch.allclose(torch.linalg.det(found.rotation), torch.ones(8, dtype=FLOAT))
    best = (found.transform(source) - target).square().sum(dim=(1, 2))
    others = random_rotations(2_000, torch.Generator().manual_seed(3), FLOAT)
    centred = source - source.mean(dim=1, keepdim=True)
    turned = torch.einsum("rij,bpj->brpi", others, centred)
    errors = (turned - (target - target.mean(dim=1, keepdim=True))[:, None]).square().sum(dim=(2, 3))
    assert (best[:, None] <= errors).all()


def test_collinear_and_coincident_points_give_a_proper_rotation():
    line = cloud(4, 1) * torch.linspace(-1, 1, 5, dtype=FLOAT)[:, None]
    motion = known(4, scale=False)
    for source in (line, torch.zeros_like(line)):
        found = procrustes(source, motion.transform(source))
        assert torch.allclose(torch.linalg.det(found.rotation), torch.ones(4, dtype=FLOAT))
        assert torch.allclose(found.transform(source), motion.transform(source), atol=1e-9)


def test_weights_are_repetitions_and_zero_leaves_a_point_out():
    source, target = cloud(4, 6), cloud(4, 6, seed=9)
    weights = torch.tensor([2.0, 1.0, 1.0, 1.0, 3.0, 0.0], dtype=FLOAT).expand(4, 6)
    rows = [0, 0, 1, 2, 3, 4, 4, 4]
    weighted = procrustes(source, target, weights, with_scale=True)
    repeated = procrustes(source[:, rows], target[:, rows], with_scale=True)
    for name in ("rotation", "translation", "scale"):
        assert torch.allclose(getattr(weighted, name), getattr(repeated, name))


def test_no_other_motion_is_better():
    source, target = cloud(1, 12), cloud(1, 12, seed=7)
    found = procrustes(source, target, with_scale=True)
    best = (found.transform(source) - target).square().sum()
    nudges = cloud(200, seed=8) * 1e-3
    for scale in (0.999, 1.0, 1.001):
        moved = found.transform(source) + nudges[:, None]
        assert ((scale * moved - target).square().sum(dim=(1, 2)) >= best).all()


def test_alignment_passes_gradcheck():
    source, target = cloud(2, 5).requires_grad_(), cloud(2, 5, seed=4).requires_grad_()
    weights = torch.rand(2, 5, dtype=FLOAT, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def aligned(source, target, weights):
        return procrustes(source, target, weights, with_scale=True).transform(source)

    assert torch.autograd.gradcheck(aligned, (source, target, weights))


def test_the_gradient_is_right_where_singular_values_are_equal_or_zero():
    # The corners of a cube have three equal singular values, those of a square two equal ones and a zero.
    cube = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=FLOAT)] * 3)
    square = cube[:4] * torch.tensor([0.0, 1.0, 1.0], dtype=FLOAT)
    for corners in (cube, square):
        target = (corners @ known(1).rotation[0].mT).requires_grad_()
        assert torch.autograd.gradcheck(lambda t, c=corners: procrustes(c, t).rotation, (target,))


def test_the_gradient_is_finite_where_the_rotation_is_undetermined():
    matrix = torch.zeros(3, 3, dtype=FLOAT).requires_grad_()
    nearest_rotation(matrix).sum().backward()
    assert matrix.grad.isfinite().all()


def test_bad_weights_and_sets_are_refused():
    source = cloud(2, 5)
    with pytest.raises(ValueError, match="at least one point"):
        procrustes(source, source, torch.zeros(2, 5, dtype=FLOAT))
    with pytest.raises(ValueError, match="negative"):
        procrustes(source, source, -torch.ones(2, 5, dtype=FLOAT))
    with pytest.raises(ValueError, match="coincide"):
        procrustes(torch.zeros_like(source), source, with_scale=True)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=2), st.integers(3, 6))
def test_any_batch_shape(batch, num_points):
    source = cloud(*batch, num_points)
    found = procrustes(source, source)
    assert found.rotation.shape == (*batch, 3, 3)
    assert torch.allclose(found.transform(source), source)

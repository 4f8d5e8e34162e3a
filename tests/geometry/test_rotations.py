import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.geometry.rotations import (
    axis_angle_to_matrix,
    cross_product_matrix,
    degrees_between,
    random_rotations,
    rotation_about_x,
    rotation_about_y,
    rotation_about_z,
)

FLOAT = torch.float64


def test_degrees_between_rotations_about_random_axes() -> None:
    angles = torch.tensor([0.0, 30.0, 100.0, 180.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    axis = torch.nn.functional.normalize(torch.randn(5, 1, 3, generator=generator, dtype=FLOAT), dim=-1)
    turns = axis_angle_to_matrix(axis * torch.deg2rad(angles)[:, None])
    found = degrees_between(turns @ random_rotations(5, generator, FLOAT)[:, None])
    expected = (angles[:, None] - angles).abs().expand(5, 4, 4)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def cross_matrix(vector):
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-5, 1e-4, 1e-3, 0.5, torch.pi, 5.0])
def test_axis_angle_is_the_matrix_exponential(length):
    vectors = torch.nn.functional.normalize(
        torch.randn(20, 3, dtype=FLOAT, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    vectors = length * vectors
    expected = torch.linalg.matrix_exp(cross_matrix(vectors))
    assert torch.allclose(axis_angle_to_matrix(vectors), expected, atol=1e-13, rtol=0)


def test_axis_angle_has_the_generators_as_derivative_at_zero():
    jacobian = torch.autograd.functional.jacobian(axis_angle_to_matrix, torch.zeros(3, dtype=FLOAT))
    assert torch.equal(jacobian.permute(2, 0, 1), cross_matrix(torch.eye(3, dtype=FLOAT)))


@pytest.mark.parametrize("length", [0.0, 1e-5, 1e-3, 1.0])
def test_axis_angle_passes_gradcheck(length):
    direction = torch.tensor([[0.6, 0.0, -0.8]], dtype=FLOAT)
    assert torch.autograd.gradcheck(axis_angle_to_matrix, (length * direction).requires_grad_())


@pytest.mark.parametrize(
    ("rotation", "axis"), [(rotation_about_x, 0), (rotation_about_y, 1), (rotation_about_z, 2)]
)
def test_rotations_about_axes_agree_with_axis_angle(rotation, axis):
    angles = torch.linspace(-4, 4, 17, dtype=FLOAT)
    vectors = angles[:, None] * torch.eye(3, dtype=FLOAT)[axis]
    assert torch.allclose(rotation(angles), axis_angle_to_matrix(vectors), atol=1e-14)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=3), st.sampled_from([torch.float32, torch.float64]))
def test_any_batch_shape_and_dtype(batch, dtype):
    matrices = axis_angle_to_matrix(torch.ones(*batch, 3, dtype=dtype))
    assert matrices.shape == (*batch, 3, 3)
    assert matrices.dtype == dtype


def test_random_rotations_are_uniform():
    rotations = random_rotations(40_000, torch.Generator().manual_seed(0), FLOAT)
    identity = torch.eye(3, dtype=FLOAT)
    assert torch.allclose(rotations @ rotations.mT, identity.expand_as(rotations), atol=1e-13)
    assert torch.allclose(torch.linalg.det(rotations), torch.ones(len(rotations), dtype=FLOAT))
    # Over SO(3) every entry has mean 0 and variance 1/3, and so the trace mean 0 and variance 1.
    assert rotations.mean(dim=0).abs().max() < 0.02
    assert (rotations.square().mean(dim=0) - 1 / 3).abs().max() < 0.01
    traces = rotations.diagonal(dim1=1, dim2=2).sum(dim=1)
    assert abs(traces.mean()) < 0.02
    assert abs(traces.var() - 1) < 0.03


def test_random_rotations_repeat_with_the_seed():
    first, second = (random_rotations(3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)


def test_the_cross_product_as_a_matrix_and_its_exponential_as_a_turn():
    generator = torch.Generator().manual_seed(0)
    axis, other = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    matrix = cross_product_matrix(axis)
    torch.testing.assert_close((matrix @ other[..., None])[..., 0], torch.linalg.cross(axis, other))
    torch.testing.assert_close(torch.linalg.matrix_exp(matrix), axis_angle_to_matrix(axis))

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.methods.va_nerf.density import density_bounds, deviated_density
from hands_lib.render.volume import cell_edges, ray_weights, stratified_depths

DOUBLE = torch.float64


def test_sign_and_limits():
    distance = torch.tensor([-0.5, -1e-4, 0.0, 1e-4, 0.5], dtype=DOUBLE)
    for width in (1e-1, 1e-3, 1e-6):
        density = deviated_density(distance, 0.0, width)
        assert (density.diff() <= 0).all()
        assert density[2].item() == 0.5 / width
    # As w goes to 0 the field becomes a solid: nothing outside, no light through the inside.
    assert density[3] < 1e-30
    assert density[1] * 1e-4 > 50
    assert torch.equal(
        deviated_density(distance, torch.full_like(distance, 0.01), 0.003),
        deviated_density(distance + 0.01, 0.0, 0.003),
    )


@given(st.floats(5e-4, 0.05), st.floats(-0.02, 0.02))
@settings(max_examples=8, deadline=None)
def test_light_behind_a_plane_has_its_closed_form(width, deviation):
    """A ray that enters a half space straight on: what is left at depth t is sigmoid((s(t) + delta) / w),
    over what there was at the start."""
    near, far = torch.zeros(1, dtype=DOUBLE), torch.full((1,), 0.2, dtype=DOUBLE)
    depths = stratified_depths(near, far, 4000)
    edges = cell_edges(depths, near, far)
    density = deviated_density(0.1 - depths, deviation, width)
    _, reaching = ray_weights(density, edges.diff(dim=-1))
    left = torch.sigmoid((0.1 - edges[..., :-1] + deviation) / width)
    torch.testing.assert_close(reaching, left / left[..., :1], atol=2e-4, rtol=0)


@given(st.floats(-0.03, 0.0), st.floats(0.0, 0.03), st.floats(1e-3, 0.1), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_bounds_hold(lowest, highest, width, seed):
    generator = torch.Generator().manual_seed(seed)
    distance = 0.1 * torch.randn(50, generator=generator, dtype=DOUBLE)
    deviation = lowest + (highest - lowest) * torch.rand(50, generator=generator, dtype=DOUBLE)
    density = deviated_density(distance, deviation, width)
    for low, high in ((lowest, highest), (-math.inf, highest), (lowest, math.inf), (-math.inf, math.inf)):
        least, most = density_bounds(distance, low, high, width)
        assert (least <= density * (1 + 1e-12)).all()
        assert (density <= most * (1 + 1e-12)).all()


def test_gradients():
    generator = torch.Generator().manual_seed(0)
    distance, deviation = (0.01 * torch.randn(2, 8, generator=generator, dtype=DOUBLE)).requires_grad_()
    width = torch.tensor(0.01, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(deviated_density, (distance, deviation, width), eps=1e-7)

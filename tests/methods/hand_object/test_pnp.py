"""Weighted PnP: exact points give the exact pose, weights count, gradients are those of differences."""

import pytest
import torch

from hands_lib.geometry.rotations import random_rotations
from hands_lib.methods.hand_object.augmentation import control_places
from hands_lib.methods.hand_object.pnp import weighted_pnp


def scene(num: int = 16):
    generator = torch.Generator().manual_seed(4)
    half = 0.02 + 0.1 * torch.rand(num, 1, 3, generator=generator, dtype=torch.float64)
    points = half * control_places().double()
    rotation = random_rotations(num, generator=generator).double()
    translation = torch.tensor([0.03, -0.05, 0.6]) + 0.1 * torch.rand(num, 3, generator=generator)
    translation = translation.double()
    intrinsics = torch.tensor([[300.0, 0, 31], [0, 320, 33], [0, 0, 1]], dtype=torch.float64)
    intrinsics = intrinsics.expand(num, 3, 3)
    placed = (points @ rotation.mT + translation[:, None]) @ intrinsics.mT
    return points, placed[..., :2] / placed[..., 2:], intrinsics, rotation, translation


def test_exact_points_give_the_exact_pose() -> None:
    points, pixels, intrinsics, rotation, translation = scene()
    found = weighted_pnp(points, pixels, torch.ones(16, 21, dtype=torch.float64), intrinsics)
    torch.testing.assert_close(found[0], rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1], translation, atol=1e-6, rtol=0)


def test_a_point_of_weight_zero_may_be_anywhere() -> None:
    points, pixels, intrinsics, rotation, translation = scene()
    weights = torch.ones(16, 21, dtype=torch.float64)
    weights[:, 3] = 0
    pixels = pixels.clone()
    pixels[:, 3] += 50
    found = weighted_pnp(points, pixels, weights, intrinsics)
    torch.testing.assert_close(found[1], translation, atol=1e-6, rtol=0)
    wrong = weighted_pnp(points, pixels, torch.ones_like(weights), intrinsics)
    assert (wrong[1] - translation).norm(dim=-1).min() > 1e-4


def test_noise_hurts_no_more_than_it_should() -> None:
    """The error in the picture at the answer is not above that at the truth: it is the least."""
    points, pixels, intrinsics, rotation, translation = scene()
    noisy = pixels + 0.5 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1)).double()
    weights = torch.ones(16, 21, dtype=torch.float64)

    def error(turn, place):
        seen = (points @ turn.mT + place[:, None]) @ intrinsics.mT
        scale = intrinsics[:, None, [0, 1], [0, 1]]
        return ((seen[..., :2] / seen[..., 2:] - noisy) / scale).square().sum(dim=(1, 2))

    assert (error(*weighted_pnp(points, noisy, weights, intrinsics)) <= error(rotation, translation)).all()


@pytest.mark.parametrize("broken", ["few", "negative", "none"])
def test_what_has_no_pose_is_refused(broken: str) -> None:
    points, pixels, intrinsics, *_ = scene(2)
    weights = torch.ones(2, 21, dtype=torch.float64)
    if broken == "few":
        points, pixels, weights = points[:, :3], pixels[:, :3], weights[:, :3]
    else:
        weights[0] = -1 if broken == "negative" else 0
    with pytest.raises(ValueError, match="points"):
        weighted_pnp(points, pixels, weights, intrinsics)

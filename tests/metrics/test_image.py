"""Oracles: closed forms, and SSIM pixel by pixel as its paper defines it."""

import numpy as np
import pytest
import torch

from hands_lib.metrics import image
from hands_lib.metrics.image import backbone_file, crop, perceptual_distance, psnr, ssim, ssim_range_2


def pictures(batch: int = 2, height: int = 20, width: int = 24, seed: int = 0):
    generator = np.random.default_rng(seed)
    target = generator.uniform(0, 1, (batch, height, width, 3))
    predicted = np.clip(target + generator.normal(0, 0.1, target.shape), 0, 1)
    return torch.from_numpy(predicted), torch.from_numpy(target)


def test_psnr_of_a_constant_difference():
    target = torch.zeros(2, 8, 8, 3)
    assert torch.allclose(psnr(target + 0.1, target), torch.full((2,), 20.0))
    assert psnr(target, target).isinf().all()


def test_psnr_within_a_mask_and_within_its_rectangle():
    predicted, target = pictures()
    mask = torch.zeros(20, 24, dtype=torch.bool)
    mask[3:15, 4:20] = True
    whole = psnr(predicted, target)
    inner = psnr(predicted[:, 3:15, 4:20], target[:, 3:15, 4:20])
    assert torch.allclose(psnr(predicted, target, mask.expand(2, -1, -1)), inner)
    assert torch.allclose(psnr(crop(predicted, mask), crop(target, mask)), inner)
    assert (whole - inner).abs().max() > 1e-4
    # A black background that both pictures share raises the number of the whole.
    dark = torch.where(mask[..., None], predicted, 0), torch.where(mask[..., None], target, 0)
    share = mask.double().mean()
    assert torch.allclose(psnr(*dark), inner - 10 * torch.log10(share))
    with pytest.raises(ValueError, match="mask is empty"):
        psnr(predicted, target, torch.zeros(2, 20, 24, dtype=torch.bool))
    with pytest.raises(ValueError, match="mask is empty"):
        crop(predicted, torch.zeros(20, 24, dtype=torch.bool))


def slow_ssim(x: np.ndarray, y: np.ndarray, data_range: float) -> float:
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for channel in range(x.shape[2]):
        for row in range(3, x.shape[0] - 3):
            for column in range(3, x.shape[1] - 3):
                a, b = (p[row - 3 : row + 4, column - 3 : column + 4, channel].ravel() for p in (x, y))
                cov = np.cov(a, b)  # divides by 48
                above = (2 * a.mean() * b.mean() + c1) * (2 * cov[0, 1] + c2)
                values.append(above / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (cov[0, 0] + cov[1, 1] + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_ssim_is_its_definition(data_range):
    predicted, target = pictures()
    expected = [slow_ssim(p.numpy(), t.numpy(), data_range) for p, t in zip(predicted, target, strict=True)]
    assert np.allclose(ssim(predicted, target, data_range), expected, atol=1e-12)
    assert torch.allclose(ssim(predicted[0], target[0], data_range), torch.tensor(expected[0]).double())


def test_a_range_of_two_flatters():
    predicted, target = pictures()
    assert (ssim_range_2(predicted, target) > ssim(predicted, target)).all()
    assert torch.allclose(ssim(target, target), torch.ones(2, dtype=torch.float64))
    with pytest.raises(ValueError, match="at least 7 x 7 pixels, but got 6 x 24"):
        ssim(predicted[:, :6], target[:, :6])


def test_the_perceptual_distance_says_which_network_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert backbone_file("alex").parent == tmp_path / "checkpoints"
    before = torch.get_rng_state()
    name, distance = perceptual_distance()
    assert name == "lpips_random"
    assert torch.equal(torch.get_rng_state(), before)
    predicted, target = (p.float() for p in pictures(2, 64, 64))
    near = 0.5 * predicted + 0.5 * target
    found = distance(predicted, target)
    assert found.shape == (2,)
    assert (found > distance(near, target)).all()
    assert (distance(near, target) > 0).all()
    assert torch.allclose(distance(target, target), torch.zeros(2), atol=1e-6)
    with pytest.raises(ValueError, match="unknown backbone 'x'"):
        perceptual_distance("x")


def test_without_lpips_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    with pytest.raises(ImportError, match="pip install lpips"):
        image.perceptual_distance()

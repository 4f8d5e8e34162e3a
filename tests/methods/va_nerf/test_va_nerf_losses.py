import math

import pytest
import torch

from hands_lib.methods.va_nerf import losses


def test_weights_are_the_papers():
    assert tuple(vars(losses.PAPER_WEIGHTS).values()) == (10.0, 1.0, 0.1, 0.1)


def test_laplacian_loss():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 16, 16, 3, generator=generator)
    assert losses.laplacian_loss(target, target).item() == 0
    # A constant difference is in no level of the pyramid; one of single pixels is in the finest above all.
    assert losses.laplacian_loss(target + 0.1, target).item() == pytest.approx(0, abs=1e-6)
    board = 0.1 * (-1.0) ** torch.arange(16)
    board = (board[:, None] * board / 0.1)[..., None].expand(2, 16, 16, 3)
    assert losses.laplacian_loss(target + board, target).item() == pytest.approx(0.1 / 3, rel=1e-4)
    with pytest.raises(ValueError, match="too small"):
        losses.laplacian_loss(target[:, :4], target[:, :4])


def test_targets_by_both_criteria():
    foreground = torch.tensor([[[True, True, False, False]]])
    seen = torch.tensor([[[True, False, True, False]]])
    assert losses.visibility_targets(True, foreground, seen).tolist() == [[[1, 1, 0, 0]]]
    assert losses.visibility_targets(False, foreground, seen).tolist() == [[[1, 0, 0, 0]]]


def test_visibility_loss_is_equation_5():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 4, 5, generator=generator)
    target = (torch.rand(2, 4, 5, generator=generator) < 0.5).float()
    v = logits.sigmoid()
    each = -(target * v.log() + (1 - target) * (1 - v).log())
    torch.testing.assert_close(losses.visibility_loss(logits, target), each.mean())
    foreground = torch.rand(2, 4, 5, generator=generator) < 0.5
    released = losses.visibility_loss(logits, target, foreground, invisible_weight=5.0)
    expected = (each * foreground * torch.where(target == 1, 1.0, 5.0)).mean()
    torch.testing.assert_close(released, expected)


def test_gan_losses():
    zero = torch.zeros(3)
    assert losses.generator_loss(zero).item() == pytest.approx(math.log(2))
    assert losses.discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert losses.discriminator_loss(zero + 20, zero - 20).item() < 1e-6
    # Non-saturating: a fake that is found out has the full gradient.
    logits = torch.tensor([-20.0], requires_grad=True)
    losses.generator_loss(logits).backward()
    assert logits.grad.item() == pytest.approx(-1)


def test_gradient_penalty_of_a_linear_score():
    real = torch.rand(2, 3, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = torch.full((3, 3, 3), 0.5)
    score = (real * weight).sum(dim=(1, 2, 3))
    assert losses.gradient_penalty(score, real, 10.0).item() == pytest.approx(5 * 27 * 0.25)

import pytest
import torch

from hands_lib.metrics.hand_pose import joint_errors_mm, mpjpe_mm


def test_a_known_shift_gives_its_length():
    target = torch.zeros(2, 21, 3)
    predicted = target + torch.tensor([0.003, 0.0, 0.004])  # a 3-4-5 triangle in millimetres
    assert torch.allclose(joint_errors_mm(predicted, target), torch.full((2, 21), 5.0))
    assert mpjpe_mm(predicted, target).item() == pytest.approx(5.0)


def test_invalid_joints_do_not_count():
    target = torch.zeros(1, 21, 3)
    predicted = target.clone()
    predicted[0, 0, 0] = 0.001
    predicted[0, 1, 0] = 1e6
    valid = torch.zeros(1, 21, dtype=torch.bool)
    valid[0, 0] = True
    assert mpjpe_mm(predicted, target, valid).item() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no joint is valid"):
        mpjpe_mm(predicted, target, torch.zeros_like(valid))

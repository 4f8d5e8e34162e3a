import pytest
import torch

from hands_lib.metrics.motion import mean_acceleration


def test_a_parabola_has_its_own_acceleration():
    seconds = torch.arange(20, dtype=torch.float64) / 30
    thrown = torch.tensor([0.1, 0.2, 0.0]) * seconds[:, None] - 0.5 * torch.tensor([0, 9.81, 0]) * (
        seconds[:, None] ** 2
    )
    still = torch.zeros_like(thrown)
    assert mean_acceleration(thrown, 30) == pytest.approx(9.81)
    assert mean_acceleration(torch.stack([thrown, still], dim=1), 30) == pytest.approx(9.81 / 2)


def test_steady_motion_has_none_and_two_frames_say_nothing():
    steady = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None].expand(5, 3)
    assert mean_acceleration(steady, 30) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="three frames, not 2"):
        mean_acceleration(steady[:2], 30)

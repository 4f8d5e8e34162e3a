"""Hands per second of inverse kinematics, float32, in batches of 1,024, refinement included.

Three kinds of input: skeletons of the model itself, which the closed form mostly meets; the same with 3 mm of
noise on every joint, as a network's predictions have; and those fitted with given bone lengths, where no hand
can be met and every one is refined. "Two Hands Are Better Than One" evaluates on some 440,000 hands.
"""

import pytest
import torch

from hands_lib.geometry.rotations import random_rotations
from hands_lib.hand.inverse_kinematics import inverse_kinematics
from hands_lib.hand.kinematics import forward_kinematics, random_pose

BATCH = 1024


@pytest.fixture(scope="module")
def hands():
    generator = torch.Generator().manual_seed(0)
    pose = random_pose(BATCH, generator)
    joints = forward_kinematics(pose).joints @ random_rotations(BATCH, generator).mT
    return joints, joints + 0.003 * torch.randn(joints.shape, generator=generator), pose.bone_lengths


@pytest.mark.parametrize("kind", ["exact", "noisy", "noisy, lengths given", "noisy, closed form alone"])
def test_inverse_kinematics(benchmark, hands, kind):
    exact, noisy, lengths = hands
    joints = exact if kind == "exact" else noisy
    options = {
        "noisy, lengths given": {"bone_lengths": lengths},
        "noisy, closed form alone": {"num_refinements": 0},
    }.get(kind, {})
    fit = benchmark.pedantic(inverse_kinematics, (joints,), options, warmup_rounds=2, rounds=5, iterations=1)
    if benchmark.stats is not None:  # none with --benchmark-disable
        benchmark.extra_info["hands_per_second"] = round(BATCH / benchmark.stats.stats.median)
    benchmark.extra_info["mean_residual_mm"] = 1000 * fit.residuals.mean().item()
    benchmark.extra_info["mean_above_float64_mm"] = (
        1000
        * (
            fit.residuals.double()
            - inverse_kinematics(
                joints.double(),
                **{
                    name: value.double() if isinstance(value, torch.Tensor) else value
                    for name, value in options.items()
                },
            ).residuals
        )
        .mean()
        .item()
    )
    assert fit.residuals.isfinite().all()

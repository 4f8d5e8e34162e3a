import pytest
import torch

from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.kinematics import DEFAULT_LIMITS, forward_kinematics, limit_excess
from hands_lib.worlds.estimates import ErrorMixture, mean_joint_error, perturb


@pytest.mark.parametrize("root_aligned", [False, True])
@pytest.mark.parametrize("mpjpe", [0.001, 0.006, 0.015, 0.03])
def test_every_hand_gets_the_error_asked_for(sampled, mpjpe, root_aligned):
    truth = sampled[0].pose
    estimate = perturb(truth, mpjpe, torch.Generator().manual_seed(0), root_aligned=root_aligned)
    # Measured here by the definition: mean Euclidean distance over the 21 joints.
    error = forward_kinematics(estimate).joints - forward_kinematics(truth).joints
    if root_aligned:
        error = error - error[..., :1, :]
    measured = error.norm(dim=-1).mean(dim=-1)
    torch.testing.assert_close(measured, torch.full_like(measured, mpjpe), rtol=0.01, atol=0)
    assert limit_excess(estimate, DEFAULT_LIMITS).max() < 1e-5


def test_errors_of_one_finger_go_together(sampled):
    truth = sampled[0].pose
    truth = type(truth)(*(torch.cat([value] * 40) for value in vars(truth).values()))
    truth.joint_angles[..., 0] = 0.6  # amid the range, where no limit cuts the errors
    estimate = perturb(truth, 0.008, torch.Generator().manual_seed(1))
    bend = (estimate.joint_angles - truth.joint_angles)[..., 1:, :, 0].flatten(0, 2)
    correlation = torch.corrcoef(bend.T)
    assert (correlation > 0.5).all()


def test_only_the_asked_kinds_of_error_appear(sampled):
    truth = sampled[0].pose
    turned = perturb(
        truth,
        0.01,
        torch.Generator().manual_seed(0),
        ErrorMixture(0.1, 0.0, 0.0, 0.0, 0.0),
        root_aligned=False,
    )
    assert torch.equal(turned.joint_angles, truth.joint_angles)
    assert torch.equal(turned.root_translation, truth.root_translation)
    relative = truth.root_rotation.mT @ turned.root_rotation
    torch.testing.assert_close(relative @ relative.mT, torch.eye(3).expand_as(relative), rtol=0, atol=1e-5)
    assert not torch.allclose(relative, axis_angle_to_matrix(torch.zeros(3)).expand_as(relative), atol=1e-3)


def test_no_error_returns_the_pose_and_nonsense_is_refused(sampled):
    truth = sampled[0].pose
    assert mean_joint_error(perturb(truth, 0.0), truth).max() == 0
    with pytest.raises(ValueError, match="not negative"):
        perturb(truth, -0.001)
    with pytest.raises(ValueError, match="cannot be reached"):
        perturb(truth, 0.5, torch.Generator().manual_seed(0), ErrorMixture(0.0, 0.0, 0.1, 0.1, 0.0))

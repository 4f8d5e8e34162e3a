import pytest
import torch

from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.kinematics import DEFAULT_LIMITS, forward_kinematics, limit_excess
from hands_lib.worlds.estimates import ErrorMixture, mean_joint_error, perturb, turned_about_wrists


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


def test_hands_turn_about_their_wrists_as_often_as_asked():
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn(4000, 2, 21, 3, generator=generator, dtype=torch.float64)
    turned = turned_about_wrists(joints, generator, angle=10.0, probability=0.3)
    moved = (turned - joints).norm(dim=-1).amax(dim=(1, 2)) > 1e-9
    assert 0.27 < moved.double().mean() < 0.33
    torch.testing.assert_close(turned[:, :, 0], joints[:, :, 0], rtol=0, atol=1e-12)
    arms = [j - j[:, :, :1] for j in (turned, joints)]
    torch.testing.assert_close(arms[0].norm(dim=-1), arms[1].norm(dim=-1))
    # about each axis 10 degrees: the angle's mean square is three times that
    rotation = procrustes_rotation(arms[1][moved], arms[0][moved])
    cosine = (rotation.diagonal(dim1=-2, dim2=-1).sum(dim=-1) - 1) / 2
    angle = torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))
    assert abs(float(angle.square().mean().sqrt()) - 10 * 3**0.5) < 0.5


def procrustes_rotation(start, end):
    """The rotation that takes vectors to vectors, the slow obvious way."""
    u, _, vh = torch.linalg.svd(torch.einsum("phji,phjk->phik", end, start))
    return u @ vh

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.geometry.rotations import random_rotations
from hands_lib.hand.inverse_kinematics import bone_lengths_of, inverse_kinematics
from hands_lib.hand.kinematics import (
    DEFAULT_LIMITS,
    STRICT_LIMITS,
    forward_kinematics,
    limit_excess,
    mirror,
    random_pose,
    rest_bone_lengths,
    rest_pose,
)
from hands_lib.hand.skeleton import JOINTS, reorder

FLOAT = torch.float64
FIXED = pytest.mark.parametrize("fixed", [False, True], ids=["free lengths", "fixed lengths"])


def poses(num, seed=0, **kwargs):
    """Random poses, also turned and moved in the world."""
    generator = torch.Generator().manual_seed(seed)
    pose = random_pose(num, generator, dtype=FLOAT, **kwargs)
    return replace(
        pose,
        root_rotation=random_rotations(num, generator, FLOAT),
        root_translation=torch.randn(num, 3, dtype=FLOAT, generator=generator),
    )


def noisy(joints, deviation=0.003, seed=1):
    noise = torch.randn(joints.shape, dtype=joints.dtype, generator=torch.Generator().manual_seed(seed))
    return joints + deviation * noise


@FIXED
def test_joints_within_anatomy_are_met_exactly(fixed):
    pose = poses(300)
    joints = forward_kinematics(pose).joints
    fit = inverse_kinematics(joints, bone_lengths=pose.bone_lengths if fixed else None)
    assert fit.residuals.max() < 1e-9
    assert torch.allclose(forward_kinematics(fit.pose).joints, joints, atol=1e-9)
    assert torch.allclose(fit.pose.bone_lengths, pose.bone_lengths, atol=1e-9)
    assert limit_excess(fit.pose).max() == 0
    assert fit.pose.joint_angles[:, :, 2, 2].abs().max() == 0  # the distal twist turns no joint


def test_almost_all_joints_within_the_slack_are_met_too():
    joints = forward_kinematics(poses(300, limits=DEFAULT_LIMITS)).joints
    worst = inverse_kinematics(joints).residuals.amax(dim=1)
    assert (worst < 1e-6).double().mean() > 0.85
    assert worst.max() < 0.002


def test_parameters_come_back_where_joints_determine_them():
    """With a rest palm, no twist and hinges alone nothing is left to trade: flexions are what they were."""
    pose = rest_pose(200, like=torch.empty(0, dtype=FLOAT))
    angles = poses(200).joint_angles.clone()
    angles[..., 2] = 0
    angles[:, :, 1:, 1] = 0
    fit = inverse_kinematics(forward_kinematics(replace(pose, joint_angles=angles)).joints)
    assert torch.allclose(fit.pose.joint_angles, angles, atol=1e-7)
    assert fit.pose.palm_angles.abs().max() < 1e-7
    assert torch.allclose(fit.pose.root_rotation, pose.root_rotation, atol=1e-7)


def test_a_fit_of_a_fit_changes_nothing():
    joints = noisy(forward_kinematics(poses(50)).joints)
    fitted = forward_kinematics(inverse_kinematics(joints, limits=STRICT_LIMITS).pose).joints
    assert (fitted - joints).norm(dim=-1).mean() > 1e-3
    assert inverse_kinematics(fitted).residuals.max() < 1e-9


@FIXED
def test_limits_hold_exactly_and_refinement_never_worsens(fixed):
    pose = poses(100)
    joints = noisy(forward_kinematics(pose).joints, 0.005)
    lengths = pose.bone_lengths if fixed else None
    for limits in (DEFAULT_LIMITS, STRICT_LIMITS):
        errors = []
        for steps in (0, 2, 6, 20):
            fit = inverse_kinematics(joints, bone_lengths=lengths, limits=limits, num_refinements=steps)
            assert limit_excess(fit.pose, limits).max() == 0
            errors.append(fit.residuals.square().sum(dim=1))
        assert all((later <= errors[0] * (1 + 1e-9)).all() for later in errors[1:])
        assert errors[-1].mean() < 0.8 * errors[0].mean()  # and it gains much


def test_a_clipped_fit_beats_every_pose_nearby():
    """The fit is a local optimum: no small change of its parameters within the limits comes much nearer."""
    joints = noisy(forward_kinematics(poses(4)).joints, 0.005)
    fit = inverse_kinematics(joints, limits=STRICT_LIMITS, num_refinements=100)
    generator = torch.Generator().manual_seed(3)
    best = fit.residuals.square().sum(dim=1)
    for size in (1e-3, 1e-2, 1e-1):
        nudge = size * torch.randn(2000, 4, 5, 3, 3, dtype=FLOAT, generator=generator)
        angles = (fit.pose.joint_angles + nudge).clamp(STRICT_LIMITS.joint_lower, STRICT_LIMITS.joint_upper)
        many = replace(
            fit.pose[None],
            joint_angles=angles,
            root_rotation=fit.pose.root_rotation.expand(2000, -1, -1, -1),
            root_translation=fit.pose.root_translation.expand(2000, -1, -1),
            palm_angles=fit.pose.palm_angles.expand(2000, -1, -1, -1),
            bone_lengths=fit.pose.bone_lengths.expand(2000, -1, -1, -1),
        )
        errors = (forward_kinematics(many).joints - joints).square().sum(dim=(2, 3))
        assert (errors.amin(dim=0) > 0.98 * best).all()  # 2 %: what the prior on bends may cost


def test_no_slack_is_needed_by_what_never_used_it():
    """Strict limits only bind: on hands that keep to them both sets give a perfect fit."""
    joints = forward_kinematics(poses(100, extent=0.6)).joints
    assert inverse_kinematics(joints, limits=STRICT_LIMITS).residuals.max() < 1e-4


def test_float32_is_as_near_as_float64():
    joints = noisy(forward_kinematics(poses(200)).joints - 0.5)
    in_double = inverse_kinematics(joints).residuals
    in_single = inverse_kinematics(joints.float()).residuals
    assert in_single.dtype == torch.float32
    assert abs(in_single.mean() - in_double.mean()) < 1e-5


def test_the_fit_moves_and_scales_with_the_hand():
    joints = noisy(forward_kinematics(poses(200)).joints)
    rotation, shift = random_rotations(1, torch.Generator().manual_seed(4), FLOAT)[0], torch.ones(3).double()
    fit, moved = inverse_kinematics(joints), inverse_kinematics(1.5 * joints @ rotation.T + shift)
    # Which limits are active is a discrete choice: where two choices are as good as each other, rounding
    # decides. Such hands are few, and their fits are equally near.
    change = (moved.residuals / 1.5 - fit.residuals).abs().amax(dim=1)
    same = change < 1e-6
    assert same.double().mean() > 0.9
    assert abs(moved.residuals.mean() / 1.5 - fit.residuals.mean()) < 1e-6
    assert torch.allclose(moved.pose.root_rotation[same], rotation @ fit.pose.root_rotation[same], atol=1e-4)
    assert torch.allclose(moved.pose.joint_angles[same], fit.pose.joint_angles[same], atol=1e-4)
    assert torch.allclose(moved.pose.bone_lengths[same], 1.5 * fit.pose.bone_lengths[same], atol=1e-6)


def test_a_left_hand_is_fitted_through_its_mirror_image():
    joints = forward_kinematics(poses(50)).joints
    left = mirror(joints)
    fit = inverse_kinematics(mirror(left))
    assert torch.allclose(mirror(forward_kinematics(fit.pose).joints), left, atol=1e-9)
    # Taken for a right hand, a bent left hand does not fit: the limits know the difference.
    assert inverse_kinematics(left).residuals.mean() > 0.002


def test_missing_joints_do_not_matter():
    pose = poses(200)
    joints = forward_kinematics(pose).joints
    valid = torch.rand(200, 21, generator=torch.Generator().manual_seed(2)) < 0.8
    valid[:, [0, 5, 17]] = True
    shown = torch.where(valid[..., None], joints, torch.nan)
    fit = inverse_kinematics(shown, valid)
    assert torch.equal(fit.residuals.isnan(), ~valid)
    assert fit.residuals[valid].max() < 1e-3
    assert fit.residuals[valid].mean() < 1e-5
    assert limit_excess(fit.pose).max() == 0
    # What is filled in keeps the proportions of a hand.
    ratio = fit.pose.bone_lengths / rest_bone_lengths(joints)
    assert ((ratio > 0.5) & (ratio < 2)).all()
    other = inverse_kinematics(torch.where(valid[..., None], joints, 1e6), valid)
    assert torch.equal(other.pose.joint_angles, fit.pose.joint_angles)


def test_a_missing_tip_continues_its_finger():
    pose = rest_pose(1, like=torch.empty(0, dtype=FLOAT))
    joints = forward_kinematics(pose).joints
    valid = torch.ones(1, 21, dtype=torch.bool)
    valid[:, [8, 11, 12]] = False
    fit = inverse_kinematics(joints, valid)
    assert torch.allclose(forward_kinematics(fit.pose).joints, joints, atol=1e-9)


def test_given_lengths_are_kept_to_the_last_bit_and_cost_accuracy():
    pose = poses(50)
    joints = noisy(forward_kinematics(pose).joints)
    free = inverse_kinematics(joints)
    held = inverse_kinematics(joints, bone_lengths=pose.bone_lengths)
    assert torch.equal(held.pose.bone_lengths, pose.bone_lengths)
    assert held.residuals.mean() > free.residuals.mean()
    one = inverse_kinematics(joints, bone_lengths=pose.bone_lengths[0])
    assert torch.equal(one.pose.bone_lengths, pose.bone_lengths[:1].expand(50, 5, 4))


def test_bone_lengths_of_joints_are_those_of_the_pose():
    pose = poses(20)
    lengths = bone_lengths_of(forward_kinematics(pose).joints)
    assert torch.allclose(lengths, pose.bone_lengths, atol=1e-14)
    joints = forward_kinematics(poses(1)).joints.requires_grad_()
    assert torch.autograd.gradcheck(bone_lengths_of, (joints,))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=3), st.sampled_from([torch.float32, torch.float64]))
def test_any_batch_shape_and_dtype(batch, dtype):
    joints = forward_kinematics(rest_pose(*batch, like=torch.empty(0, dtype=dtype))).joints
    fit = inverse_kinematics(joints)
    assert fit.residuals.shape == (*batch, 21)
    assert fit.pose.joint_angles.shape == (*batch, 5, 3, 3)
    assert fit.pose.joint_angles.dtype == fit.residuals.dtype == dtype
    assert bool((fit.residuals < 1e-6).all())


def test_each_hand_is_fitted_for_itself():
    joints = noisy(forward_kinematics(poses(20)).joints)
    together = inverse_kinematics(joints)
    alone = inverse_kinematics(joints[7])
    assert torch.allclose(alone.pose.joint_angles, together.pose.joint_angles[7], atol=1e-6)
    assert torch.equal(inverse_kinematics(joints).residuals, together.residuals)  # deterministic


def test_a_straight_finger_keeps_its_twist_near_zero():
    """Its plane of flexion is noise: a wobble must not turn the finger to a limit."""
    joints = forward_kinematics(rest_pose(200, like=torch.empty(0, dtype=FLOAT))).joints
    fit = inverse_kinematics(noisy(joints, 0.0005))
    assert fit.pose.joint_angles[..., 2].abs().rad2deg().max() < 10


def generated_sequence():
    """Between six random poses, with joint centres that all lie a little beside the true ones."""
    keys = random_pose(6, torch.Generator().manual_seed(6), extent=0.7, dtype=FLOAT)
    share = torch.linspace(0, 1, 20, dtype=FLOAT)[:, None, None]
    frames = [
        replace(
            rest_pose(20, like=share),
            palm_angles=torch.lerp(keys.palm_angles[key], keys.palm_angles[key + 1], share),
            joint_angles=torch.lerp(keys.joint_angles[key], keys.joint_angles[key + 1], share[..., None]),
        )
        for key in range(5)
    ]
    joints = torch.cat([forward_kinematics(pose).joints for pose in frames])
    return joints + 0.0015 * torch.randn(21, 3, dtype=FLOAT, generator=torch.Generator().manual_seed(7))


_HALO = Path(os.environ.get("HANDS_DATA", "") or "nowhere", "halo_skeleton_sequence", "keypoints.npy")
# The published sequence where this machine has it, next to the generated one that always stands in for it.
SEQUENCES = {"generated": generated_sequence} | (
    {"published": lambda: reorder(torch.from_numpy(np.load(_HALO)).double(), "halo", "hands")}
    if _HALO.is_file()
    else {}
)


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_a_sequence_is_fitted_below_half_a_millimetre_and_smoothly(sequence):
    joints = sequence()
    fit = inverse_kinematics(joints)
    assert fit.residuals.mean() < 0.0001  # the published claim is 0.0005
    assert fit.residuals.max() < 0.002
    skeleton = forward_kinematics(fit.pose)
    directions = skeleton.bone_rotations[..., 1]
    turns = torch.linalg.vector_norm(directions.diff(dim=0), dim=-1).amax()
    twists = fit.pose.joint_angles[..., 2].diff(dim=0).abs().amax()
    assert twists < 1.5 * turns  # the data's own greatest step, as an angle


# Bad input: one error that names the hand and the mend.


def hand_three_with(change):
    joints = forward_kinematics(poses(5)).joints
    valid = torch.ones(5, 21, dtype=torch.bool)
    change(joints, valid)
    return joints, valid


def wrist_missing(joints, valid):
    valid[3, 0] = False


def palm_missing(joints, valid):
    valid[3:, [1, 5, 9, 13]] = False


def not_finite(joints, valid):
    joints[3, 7, 1] = torch.nan
    joints[3, 20] = torch.inf
    valid[4, 0] = False  # a later hand's problem does not hide it


def collapsed(joints, valid):
    joints[3, 6] = joints[3, 7]


def flat_palm(joints, valid):
    joints[3, 1::4] = joints[3, :1] + torch.tensor([[0.0, 0.1, 0.0]]).double()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (wrist_missing, "the wrist is missing"),
        (palm_missing, "at least two digits"),
        (not_finite, "not finite at index_3, little_4; mark missing joints in `valid`"),
        (collapsed, "index_2 and index_3 are at one place; mark one"),
        (flat_palm, "on one line through the wrist"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_impossible_hand_is_named(change, message):
    joints, valid = hand_three_with(change)
    with pytest.raises(ValueError, match=rf"hand 3: .*{message}"):
        inverse_kinematics(joints, valid)


def test_wrong_shapes_and_lengths_are_refused():
    joints = forward_kinematics(poses(3)).joints
    lengths = rest_bone_lengths(joints)
    for bad in (0 * lengths, -lengths, lengths * torch.nan):
        with pytest.raises(ValueError, match="positive and finite"):
            inverse_kinematics(joints, bone_lengths=bad)
    with pytest.raises(ValueError, match=r"not \(2, 5, 4\)"):
        inverse_kinematics.__wrapped__.__wrapped__(joints, bone_lengths=lengths.expand(2, 5, 4))


def test_every_joint_but_the_wrist_and_two_bases_may_be_missing():
    joints = forward_kinematics(poses(21)).joints
    valid = torch.zeros(21, 21, dtype=torch.bool)
    valid[:, [JOINTS.index(name) for name in ("wrist", "index_1", "little_1")]] = True
    fit = inverse_kinematics(joints, valid)
    assert fit.residuals[valid].max() < 1e-9
    assert forward_kinematics(fit.pose).joints.isfinite().all()

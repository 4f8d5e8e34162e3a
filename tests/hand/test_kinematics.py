from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.geometry.rotations import (
    random_rotations,
    rotation_about_x,
    rotation_about_y,
    rotation_about_z,
)
from hands_lib.hand.kinematics import (
    DEFAULT_LIMITS,
    DIGIT_FRAMES,
    METACARPAL_FRAMES,
    STRICT_LIMITS,
    clamp_to_limits,
    forward_kinematics,
    joint_rotation,
    limit_excess,
    mirror,
    random_pose,
    rest_bone_lengths,
    rest_pose,
    share_at_limit,
)
from hands_lib.structures import HandPose

FLOAT = torch.float64
INDEX, MIDDLE = 1, 2


def poses(num=8, seed=0, **kwargs):
    """Random poses, also turned and moved in the world."""
    generator = torch.Generator().manual_seed(seed)
    pose = random_pose(num, generator, dtype=FLOAT, **kwargs)
    return replace(
        pose,
        root_rotation=random_rotations(num, generator, FLOAT),
        root_translation=torch.randn(num, 3, dtype=FLOAT, generator=generator),
    )


def slow_joints(pose):
    """Forward kinematics of one hand, bone after bone, from the definition in the module's header."""

    def turned(flexion, abduction, twist):
        return rotation_about_x(-flexion) @ rotation_about_z(abduction) @ rotation_about_y(twist)

    joints = [pose.root_translation]
    zero = torch.zeros((), dtype=FLOAT)
    for digit in range(5):
        elevation, spread = pose.palm_angles[digit]
        metacarpal = pose.root_rotation @ METACARPAL_FRAMES[digit] @ turned(elevation, spread, zero)
        position = pose.root_translation + metacarpal[:, 1] * pose.bone_lengths[digit, 0]
        joints.append(position)
        frame = metacarpal @ METACARPAL_FRAMES[digit].T @ DIGIT_FRAMES[digit]
        for bone in range(3):
            frame = frame @ turned(*pose.joint_angles[digit, bone])
            position = position + frame[:, 1] * pose.bone_lengths[digit, bone + 1]
            joints.append(position)
    return torch.stack(joints)


def test_joints_agree_with_the_definition_bone_by_bone():
    pose = poses(16, limits=DEFAULT_LIMITS)
    expected = torch.stack([slow_joints(pose[hand]) for hand in range(16)])
    assert torch.allclose(forward_kinematics(pose).joints, expected, atol=1e-14)


def test_a_joint_turns_by_its_three_named_rotations():
    angles = 3 * torch.randn(50, 3, dtype=FLOAT, generator=torch.Generator().manual_seed(0))
    flexion, abduction, twist = angles.unbind(-1)
    expected = rotation_about_x(-flexion) @ rotation_about_z(abduction) @ rotation_about_y(twist)
    assert torch.allclose(joint_rotation(angles), expected, atol=1e-14)


def test_the_rest_hand_lies_as_the_frame_says():
    joints = forward_kinematics(rest_pose(like=torch.empty(0, dtype=FLOAT))).joints
    assert torch.equal(joints[0], torch.zeros(3, dtype=FLOAT))
    tips = joints[4::4]
    assert (tips[1:, 1] > 0.13).all()  # fingers point along +y
    assert tips[2, 1] == tips[:, 1].max()  # and the middle one is the longest
    assert (tips[:-1, 0] < tips[1:, 0]).all()  # thumb towards -x, little finger towards +x
    assert tips[0, 2] < -0.02  # the thumb stands out of the palm, to the palmar side


@pytest.mark.parametrize(
    ("angle", "axis", "sign"),
    [(0, 2, -1), (1, 0, -1)],
    ids=["flexion bends towards the palm", "abduction turns towards the thumb"],
)
def test_signs_of_the_angles(angle, axis, sign):
    rest = rest_pose(like=torch.empty(0, dtype=FLOAT))
    angles = rest.joint_angles.clone()
    angles[MIDDLE, 0, angle] = 0.3
    moved = forward_kinematics(replace(rest, joint_angles=angles)).joints - forward_kinematics(rest).joints
    assert sign * moved[12, axis] > 0.02
    assert torch.equal(moved[:10], torch.zeros(10, 3, dtype=FLOAT))  # other digits and the knuckle stay


def test_twist_turns_what_follows_and_not_its_own_bone():
    rest = rest_pose(like=torch.empty(0, dtype=FLOAT))
    bent = rest.joint_angles.clone()
    bent[INDEX, 1, 0] = 1.0
    twisted = bent.clone()
    twisted[INDEX, 0, 2] = 0.2
    before, after = (forward_kinematics(replace(rest, joint_angles=angles)) for angles in (bent, twisted))
    assert torch.allclose(before.joints[6], after.joints[6], atol=1e-15)
    assert (before.joints[7] - after.joints[7]).norm() > 0.003


def test_bones_have_their_lengths_and_run_along_their_frames():
    pose = poses()
    skeleton = forward_kinematics(pose)
    digits = skeleton.joints[:, 1:].unflatten(1, (5, 4))
    starts = torch.cat([skeleton.joints[:, :1, None].expand(-1, 5, -1, -1), digits[:, :, :-1]], dim=2)
    along = skeleton.bone_rotations[..., 1] * pose.bone_lengths[..., None]
    assert torch.allclose(digits - starts, along, atol=1e-14)
    identity = torch.eye(3, dtype=FLOAT).expand(8, 5, 4, 3, 3)
    assert torch.allclose(skeleton.bone_rotations @ skeleton.bone_rotations.mT, identity, atol=1e-13)


def test_moving_the_root_moves_everything_rigidly():
    pose = poses()
    rotation, shift = random_rotations(1, torch.Generator().manual_seed(9), FLOAT)[0], torch.randn(3).double()
    moved = replace(
        pose,
        root_rotation=rotation @ pose.root_rotation,
        root_translation=pose.root_translation @ rotation.T + shift,
    )
    expected, found = forward_kinematics(pose), forward_kinematics(moved)
    assert torch.allclose(found.joints, expected.joints @ rotation.T + shift, atol=1e-13)
    assert torch.allclose(found.bone_rotations, rotation @ expected.bone_rotations, atol=1e-13)


def test_joints_scale_with_the_bones():
    pose = replace(poses(), root_translation=torch.zeros(8, 3, dtype=FLOAT))
    larger = replace(pose, bone_lengths=1.7 * pose.bone_lengths)
    assert torch.allclose(forward_kinematics(larger).joints, 1.7 * forward_kinematics(pose).joints)


def test_mirroring_twice_is_nothing_and_once_changes_sides():
    joints = forward_kinematics(poses()).joints
    assert torch.equal(mirror(mirror(joints)), joints)
    assert torch.equal(mirror(joints)[..., 0], -joints[..., 0])
    assert torch.equal(mirror(joints)[..., 1:], joints[..., 1:])


def fields_of(pose):
    return tuple(field.clone().requires_grad_() for field in vars(pose).values())


def test_forward_kinematics_passes_gradcheck():
    def both(*fields):
        skeleton = forward_kinematics(HandPose(*fields))
        return skeleton.joints, skeleton.bone_rotations

    assert torch.autograd.gradcheck(both, fields_of(poses(1, limits=DEFAULT_LIMITS)), fast_mode=True)


def test_limit_excess_passes_gradcheck_inside_and_outside():
    pose = poses(2)
    outside = replace(pose, joint_angles=pose.joint_angles + 0.5, palm_angles=pose.palm_angles - 0.5)
    for given_pose in (pose, outside):

        def excess(palm, joints, given_pose=given_pose):
            return limit_excess(replace(given_pose, palm_angles=palm, joint_angles=joints)).square().sum()

        fields = fields_of(given_pose)
        assert torch.autograd.gradcheck(excess, (fields[2], fields[3]))


def test_limit_excess_is_the_distance_to_the_clamped_pose():
    pose = poses(50)
    generator = torch.Generator().manual_seed(1)
    far = replace(
        pose,
        palm_angles=torch.randn(50, 5, 2, dtype=FLOAT, generator=generator),
        joint_angles=2 * torch.randn(50, 5, 3, 3, dtype=FLOAT, generator=generator),
    )
    for limits in (DEFAULT_LIMITS, STRICT_LIMITS):
        clamped = clamp_to_limits(far, limits)
        assert limit_excess(clamped, limits).max() == 0
        moved = torch.cat(
            [
                (far.palm_angles - clamped.palm_angles).flatten(1),
                (far.joint_angles - clamped.joint_angles).flatten(1),
            ],
            dim=1,
        )
        assert torch.allclose(limit_excess(far, limits), moved.abs())
        assert moved.abs().max() > 1


def test_slack_only_widens_and_anatomy_has_its_hinges():
    for name in ("palm", "joint"):
        lower, upper = (getattr(DEFAULT_LIMITS, f"{name}_{side}") for side in ("lower", "upper"))
        strict_lower, strict_upper = (getattr(STRICT_LIMITS, f"{name}_{side}") for side in ("lower", "upper"))
        assert (lower <= strict_lower).all()
        assert (strict_upper <= upper).all()
        assert (strict_lower <= 0).all()
        assert (strict_upper >= 0).all()
    hinges = slice(1, 5), slice(1, 3), slice(1, 3)  # fingers; PIP, DIP; abduction, twist
    assert STRICT_LIMITS.joint_lower[hinges].abs().max() == 0
    assert STRICT_LIMITS.joint_upper[hinges].abs().max() == 0


@settings(max_examples=20, deadline=None)
@given(
    num=st.integers(0, 20),
    extent=st.floats(0, 1),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_random_poses_stay_within_limits_and_natural_lengths(num, extent, seed, dtype):
    for limits in (STRICT_LIMITS, DEFAULT_LIMITS):
        pose = random_pose(num, torch.Generator().manual_seed(seed), limits, extent, dtype)
        assert limit_excess(pose, limits).sum() == 0
        assert pose.joint_angles.dtype == dtype
        assert pose.batch_shape == (num,)
        ratio = pose.bone_lengths / rest_bone_lengths(pose.bone_lengths)
        assert ((ratio > 0.77) & (ratio < 1.26)).all()


def test_random_poses_use_the_whole_range_and_shrink_to_rest():
    pose = random_pose(4000, torch.Generator().manual_seed(0), dtype=FLOAT)
    width = STRICT_LIMITS.joint_upper - STRICT_LIMITS.joint_lower
    reach = pose.joint_angles.amax(dim=0) - pose.joint_angles.amin(dim=0)
    assert (reach >= 0.99 * width).all()
    still = random_pose(5, torch.Generator().manual_seed(0), extent=0.0)
    assert still.joint_angles.abs().max() == 0
    assert still.palm_angles.abs().max() == 0
    sizes = pose.bone_lengths.sum(dim=(1, 2)) / rest_bone_lengths().sum()
    assert abs(sizes.std() - 0.08) < 0.015  # the common size is what makes whole hands differ
    with pytest.raises(ValueError, match=r"extent must lie in \[0, 1\]"):
        random_pose(1, extent=1.5)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=3))
def test_any_batch_shape(batch):
    skeleton = forward_kinematics(rest_pose(*batch))
    assert skeleton.joints.shape == (*batch, 21, 3)
    assert skeleton.bone_rotations.shape == (*batch, 5, 4, 3, 3)


def test_share_of_angles_at_a_limit():
    pose = rest_pose(1)
    limits = DEFAULT_LIMITS.to(pose.joint_angles)
    free = int((limits.joint_upper > limits.joint_lower).sum())
    within = replace(pose, joint_angles=((limits.joint_lower + limits.joint_upper) / 2)[None])
    assert share_at_limit(within) == 0
    assert share_at_limit(replace(pose, joint_angles=limits.joint_upper[None])) == 1
    one = within.joint_angles.clone()
    one[0, 1, 0, 0] = limits.joint_lower[1, 0, 0] + 1e-4
    assert float(share_at_limit(replace(pose, joint_angles=one))) == pytest.approx(1 / free)

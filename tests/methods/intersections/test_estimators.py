"""Counts against the paper, shapes, left and right, and what must not matter to an estimator."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.hand.inverse_kinematics import bone_lengths_of
from hands_lib.hand.kinematics import DEFAULT_LIMITS, forward_kinematics, limit_excess, mirror, random_pose
from hands_lib.methods.intersections import estimators
from hands_lib.methods.intersections.estimators import (
    STAND_INS,
    ImageNetwork,
    RefineNetwork,
    UpliftNetwork,
    UpliftOutput,
    centred,
    mirrored_pair,
    normalised_keypoints,
    pair_of_hands,
    parameter_count,
    rotation_of_two_vectors,
)


def random_pairs(num, seed=0):
    """Two hands a few centimetres apart, anywhere."""
    generator = torch.Generator().manual_seed(seed)
    joints = forward_kinematics(random_pose(2 * num, generator)).joints.unflatten(0, (num, 2))
    joints = torch.stack([joints[:, 0], mirror(joints[:, 1])], dim=1)
    joints[:, 1] += 0.05 * torch.randn(num, 1, 3, generator=generator)
    return joints + torch.randn(num, 1, 1, 3, generator=generator)


def uplift_output(num, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return scale * torch.randn(num, *shape, generator=generator)

    return UpliftOutput(normal(2, 61), normal(2, 20), normal(3))


# --- sizes ---------------------------------------------------------------------------------------------


def test_uplift_has_the_papers_number_of_parameters():
    assert parameter_count(UpliftNetwork()) == pytest.approx(9.5e6, rel=0.02)


def test_layers_on_top_of_resnet50_have_about_two_million_parameters():
    network = ImageNetwork()
    assert network.backbone.num_features == 2048
    assert parameter_count(network.head) == pytest.approx(2e6, rel=0.05)


def test_sizes_are_parameters():
    small, large = (parameter_count(UpliftNetwork(width=width)) for width in (50, 100))
    assert 2 < large / small < 4
    assert parameter_count(RefineNetwork(width=8, depth=1)) == 126 * 8 + 8 + 8 * 126 + 126


# --- shapes, gradients ---------------------------------------------------------------------------------


@settings(deadline=None, max_examples=8)
@given(num=st.integers(1, 5))
def test_shapes(num):
    image = ImageNetwork("mobilenetv3_small_050", width=16).eval()(torch.rand(num, 3, 48, 64))
    uplift = UpliftNetwork(width=8)(torch.randn(num, 2, 21, 2))
    refined = RefineNetwork(width=8)(torch.randn(num, 2, 21, 3))
    for estimate in (image, uplift, refined):
        assert estimate.joints.shape == (num, 2, 21, 3)
        torch.testing.assert_close(centred(estimate.joints), estimate.joints, atol=1e-6, rtol=0)
    assert uplift.skeletons.joints.shape == (num, 2, 21, 3)
    assert image.skeletons is None
    assert refined.skeletons is None


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (ImageNetwork("mobilenetv3_small_050", width=16), torch.rand(4, 3, 64, 64)),
        (UpliftNetwork(width=8), torch.randn(4, 2, 21, 2)),
        (RefineNetwork(width=8, residual=False), random_pairs(4)),
    ],
    ids=["image", "uplift", "refine"],
)
def test_gradients_reach_every_parameter(network, inputs):
    torch.manual_seed(0)
    network.train()
    (network(inputs).joints * torch.randn(4, 2, 21, 3)).sum().backward()
    without = [
        n for n, p in network.named_parameters() if p.grad is None or not bool(p.grad.isfinite().all())
    ]
    assert not without


def test_unknown_backbone_is_named():
    with pytest.raises(ValueError, match="resnet_of_mine"):
        ImageNetwork("resnet_of_mine")


def test_batch_mates_do_not_matter_in_evaluation():
    torch.manual_seed(0)
    image = ImageNetwork("mobilenetv3_small_050", width=16).eval()
    pictures = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(image(pictures).joints[:1], image(pictures[:1]).joints, atol=1e-5, rtol=0)


# --- centred, mirrored ---------------------------------------------------------------------------------


def test_centred_keeps_differences_and_puts_the_wrists_about_the_origin():
    pairs = random_pairs(5)
    moved = centred(pairs)
    torch.testing.assert_close(moved[:, 0, 0], -moved[:, 1, 0], atol=1e-6, rtol=0)
    torch.testing.assert_close(moved[:, 1, 7] - moved[:, 0, 3], pairs[:, 1, 7] - pairs[:, 0, 3])


def test_mirroring_twice_changes_nothing_and_once_swaps_the_hands():
    pairs = random_pairs(3)
    assert torch.equal(mirrored_pair(mirrored_pair(pairs)), pairs)
    assert torch.equal(mirrored_pair(pairs)[:, 0], mirror(pairs[:, 1]))
    # the palm's triple product tells right from left: it must not change with the mirrored pair
    assert torch.equal(handedness(pairs), handedness(mirrored_pair(pairs)))
    assert torch.equal(handedness(pairs), torch.tensor([1.0, -1.0]).expand(3, 2))


def handedness(pairs):
    """+1 for right hands: the thumb's base (1) lies on the palm's side of wrist, index and little finger."""
    index, little, thumb = (pairs[..., n, :] - pairs[..., 0, :] for n in (5, 17, 1))
    return (torch.linalg.cross(index, little) * thumb).sum(dim=-1).sign()


# --- uplift --------------------------------------------------------------------------------------------


def test_uplift_gives_a_right_and_a_left_hand():
    estimate = pair_of_hands(uplift_output(20, scale=0.3))
    assert torch.equal(handedness(estimate.joints), torch.tensor([1.0, -1.0]).expand(20, 2))


def test_uplift_agrees_with_forward_kinematics():
    """Joints are those of the skeletons, the second reflected; bones have the predicted lengths."""
    output = uplift_output(4)
    estimate = pair_of_hands(output)
    assert torch.equal(estimate.joints[:, 0], estimate.skeletons.joints[:, 0])
    assert torch.equal(mirror(estimate.joints[:, 1]), estimate.skeletons.joints[:, 1])
    longer = pair_of_hands(output._replace(lengths=output.lengths + 0.1))
    before, after = (bone_lengths_of(e.joints) for e in (estimate, longer))
    assert bool((after > before).all())
    assert float((before / bone_lengths_of(pair_of_hands(uplift_output(1, scale=0)).joints)).amin()) >= 0.74


def test_uplift_offset_is_from_the_right_to_the_left_wrist():
    output = uplift_output(4)
    wrists = pair_of_hands(output).joints[:, :, 0]
    torch.testing.assert_close(wrists[:, 1] - wrists[:, 0], estimators.UNIT * output.offset)


def test_uplift_stays_within_the_limits_of_joints():
    limits = DEFAULT_LIMITS.to(torch.float32)
    values = 50 * torch.randn(30, 5, 3, 3)
    angles = estimators._within(values, limits.joint_lower, limits.joint_upper)
    pose = random_pose(30)
    pose = type(pose)(pose.root_translation, pose.root_rotation, pose.palm_angles, angles, pose.bone_lengths)
    assert float(limit_excess(pose).amax()) < 1e-6
    rest = estimators._within(torch.zeros(5, 3, 3), limits.joint_lower, limits.joint_upper)
    assert torch.equal(rest, torch.zeros(5, 3, 3).clamp(limits.joint_lower, limits.joint_upper))


def test_uplift_with_hands_exchanged_gives_the_mirrored_pair():
    """The parameters of the two hands exchanged, and the offset reflected: the same scene in a mirror."""
    output = uplift_output(6)
    exchanged = UpliftOutput(output.angles.flip(1), output.lengths.flip(1), -mirror(output.offset))
    torch.testing.assert_close(
        pair_of_hands(exchanged).joints, mirrored_pair(pair_of_hands(output).joints), atol=1e-6, rtol=0
    )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 100), scale=st.floats(0.05, 20), shift=st.floats(-500, 500))
def test_uplift_ignores_place_and_size_in_the_picture(seed, scale, shift):
    keypoints = 60 * torch.randn(2, 2, 21, 2, generator=torch.Generator().manual_seed(seed))
    moved = normalised_keypoints(scale * keypoints + shift)
    torch.testing.assert_close(moved, normalised_keypoints(keypoints), atol=5e-4, rtol=0)
    assert float(moved.square().sum(dim=-1).mean()) == pytest.approx(1, abs=1e-4)


def test_rotation_of_two_vectors():
    vectors = torch.randn(50, 6, dtype=torch.float64)
    rotation = rotation_of_two_vectors(vectors)
    eye = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(rotation @ rotation.mT, eye.expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(rotation_of_two_vectors(torch.zeros(6, dtype=torch.float64)), eye)
    columns = rotation[..., :2].mT.flatten(1) - torch.tensor([1.0, 0, 0, 0, 1, 0], dtype=torch.float64)
    torch.testing.assert_close(rotation_of_two_vectors(columns), rotation)


# --- 3D to 3D ------------------------------------------------------------------------------------------


def test_refinement_starts_as_the_identity():
    pairs = random_pairs(4)
    torch.testing.assert_close(RefineNetwork()(pairs).joints, centred(pairs), atol=1e-6, rtol=0)


def test_refinement_ignores_where_the_pair_stands():
    torch.manual_seed(0)
    network, pairs = RefineNetwork(width=16, residual=False), random_pairs(4)
    torch.testing.assert_close(
        network(pairs + torch.tensor([3.0, -2.0, 1.0])).joints, network(pairs).joints, atol=1e-5, rtol=0
    )


# --- stand-ins -----------------------------------------------------------------------------------------


def test_a_stand_in_for_each_published_estimator_with_a_source():
    assert list(STAND_INS) == ["Xiong", "Moon", "Li", "Zhang", "Hampali"]
    assert all(e.name == name and e.source and 5 < e.mpjpe_mm < 20 for name, e in STAND_INS.items())
    # these two are printed in the paper itself
    assert STAND_INS["Xiong"].mpjpe_mm == 11.2
    assert STAND_INS["Hampali"].mpjpe_mm == 14.7

"""Scores of estimates whose errors are known, and the rows of the ablation."""

from dataclasses import replace

import pytest
import torch

from hands_lib.geometry.meshes import GeometryError
from hands_lib.hand.kinematics import forward_kinematics, random_pose
from hands_lib.methods.refinement import ablation
from hands_lib.methods.refinement.hands import Estimate, joints_alone
from hands_lib.methods.refinement.losses import Targets
from hands_lib.methods.refinement.network import ROWS, SMALL

NUM, PICTURE = 6, 64


def targets():
    """Hands without a camera: a handful of vertices stands for the surface."""
    generator = torch.Generator().manual_seed(0)
    joints = forward_kinematics(random_pose(2 * NUM, generator)).joints.unflatten(0, (NUM, 2))
    joints = joints - joints[:, :, :1]
    uv = torch.rand(NUM, 2, 21, 2, generator=generator)
    blank = torch.zeros(NUM, 16, 16)
    offset = 0.1 * torch.randn(NUM, 3, generator=generator)
    return Targets(
        joints=joints,
        vertices=joints[:, :, :5].clone(),
        joints_uv=uv,
        vertices_uv=uv[:, :, :5].clone(),
        offset=offset,
        hand=blank.long(),
        correspondence=blank[:, None].expand(-1, 3, -1, -1),
    )


TRUTH = targets()
FACES = torch.tensor([[[0, 1, 2]], [[0, 2, 1]]])
HIDDEN = torch.tensor([[0.0, 0.0], [0.0, 0.05], [0.0, 0.0], [0.3, 0.0], [0.0, 0.0], [0.0, 0.0]])


def as_estimate(joints=TRUTH.joints):
    numbers = torch.zeros(NUM, 2, 64)
    return Estimate(numbers, TRUTH.offset, joints, TRUTH.vertices, TRUTH.joints_uv, TRUTH.vertices_uv)


def off_by(error, joint=8):
    """One joint of every hand is off by so many mm; it is no part of the palm, so the scale stays."""
    joints = TRUTH.joints.clone()
    joints[:, :, joint, 0] += error / 1000
    return as_estimate(joints)


def volume(right, left):
    return torch.full((len(right.vertices),), 2.5)


JUDGE = ablation.Judge(TRUTH, HIDDEN, PICTURE, FACES, volume)


def test_a_row_changes_what_it_names_alone():
    for row, change in (ROWS | ablation.OURS).items():
        found = ablation.row_settings(row, SMALL)
        assert found == replace(SMALL, **change)
        assert ablation.row_settings(row + ablation.LONGER, SMALL) == found
    assert ablation.row_settings(ablation.COLLISION, SMALL) == SMALL


def test_an_error_of_one_joint_is_that_joints_alone():
    found = ablation.joint_errors(off_by(10.0), TRUTH)
    expected = torch.zeros(NUM, 2, 21)
    expected[:, :, 8] = 10
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_the_truth_has_no_error_and_its_volume():
    row = JUDGE.row(as_estimate())
    assert row.pop("overlap") == 2.5
    assert max(row.values()) < 1e-3
    assert JUDGE.row(off_by(21.0))["mpjpe"] == pytest.approx(1, abs=1e-3)


def test_hands_stand_apart_by_their_offset_when_volume_is_measured():
    seen = []

    def remembered(right, left):
        seen.append((right, left))
        return volume(right, left)

    replace(JUDGE, shared_volume=remembered).row(as_estimate())
    right, left = seen[0]
    # joint 0 is the wrist: in one frame, right minus left is the offset
    torch.testing.assert_close(right.vertices[:, 0] - left.vertices[:, 0], TRUTH.offset)
    assert torch.equal(left.faces, FACES[1])


def test_no_surface_and_no_solid_have_no_volume():
    assert "overlap" not in JUDGE.row(joints_alone(TRUTH.joints))

    def refuses(right, left):
        raise GeometryError("not closed")

    with pytest.warns(UserWarning, match="no volume to measure: not closed"):
        assert "overlap" not in replace(JUDGE, shared_volume=refuses).row(as_estimate())


def test_the_constant_pair_is_the_mean_of_what_is_learned():
    found = ablation.constant_estimate(TRUTH, 3)
    for n in range(3):
        torch.testing.assert_close(found.joints[n], TRUTH.joints.mean(dim=0))
        torch.testing.assert_close(found.offset[n], TRUTH.offset.mean(dim=0))
    assert found.vertices_uv.shape == (3, 2, 5, 2)


def test_all_stages_with_their_numbers():
    found = ablation.all_stages([off_by(42.0), off_by(21.0)], TRUTH, PICTURE, ("mpjpe", "mrrpe"))
    assert list(found) == [
        "mpjpe",
        "mrrpe",
        "mpjpe_stage_0",
        "mpjpe_stage_1",
        "mrrpe_stage_0",
        "mrrpe_stage_1",
    ]
    assert found["mpjpe_stage_0"] == pytest.approx(2, abs=1e-3)
    assert found["mpjpe_stage_1"] == found["mpjpe"] == pytest.approx(1, abs=1e-3)


FOUR = [off_by(40.0), off_by(30.0), off_by(20.0), off_by(10.0)]


def test_stages_by_place_and_by_what_is_hidden():
    tables = JUDGE.stage_tables(FOUR)
    assert list(tables["after each stage"]) == list(ablation.STAGES)
    levels = tables["joints after each stage"]["initial estimate"]
    assert levels["tip"] == pytest.approx(40 / 5, abs=1e-3)  # joint 8 is one tip of five
    assert max(levels[name] for name in ("base", "middle", "distal")) < 1e-3
    occlusion = tables["occlusion"]
    assert [own["hands"] for own in occlusion.values()] == [10, 1, 1]
    for own in occlusion.values():
        assert own["initial_estimate"] == pytest.approx(40 / 21, abs=1e-3)
        assert own["decrease"] == pytest.approx(75, abs=0.1)


def test_means_of_a_network_with_fewer_stages():
    means = JUDGE.stage_means(FOUR[:2])
    assert list(means) == ["initial_estimate", "first_refinement"]
    assert means["first_refinement"] == pytest.approx(30 / 21, abs=1e-3)


def tables_of(row, found):
    return ablation.tables_of_row(row, found, 2_000_000, JUDGE, TRUTH)


def test_which_rows_stand_in_which_tables():
    full = tables_of(ablation.LONGEST, FOUR)
    assert set(full) == {
        "ablation",
        "rows after each stage",
        "after each stage",
        "joints after each stage",
        "occlusion",
        "protocols",
    }
    assert full["ablation"][ablation.LONGEST]["parameters"] == 2.0
    alone = tables_of(ablation.ALONE, FOUR[:1])
    assert list(alone["ablation"]) == [ablation.ALONE, ablation.CONSTANT]
    longer = tables_of(ablation.ALONE + ablation.LONGER, FOUR[:1])
    assert set(longer) == {"trained longer"}
    assert list(longer["trained longer"]) == [ablation.ALONE]
    direct = tables_of(ablation.DIRECT, [joints_alone(TRUTH.joints)])
    assert set(direct) == {"ablation", "protocols"}


def test_every_joint_but_the_wrist_has_a_level():
    assert sorted(sum(ablation.LEVELS.values(), ())) == list(range(1, 21))

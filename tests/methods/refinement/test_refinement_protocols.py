"""Every column against a hand computation, and what each of them must not see."""

from dataclasses import replace

import pytest
import torch

from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.methods.refinement.hands import Estimate
from hands_lib.methods.refinement.losses import Targets
from hands_lib.methods.refinement.protocols import errors_by_protocol

NUM = 4


@pytest.fixture
def target():
    generator = torch.Generator().manual_seed(0)
    joints = 0.05 * torch.randn(NUM, 2, 21, 3, generator=generator)
    vertices = 0.05 * torch.randn(NUM, 2, 30, 3, generator=generator)
    joints = joints - joints[:, :, :1]
    none = torch.zeros(NUM, 3, 4, 4)
    uv = joints[..., :2], vertices[..., :2]
    offset = torch.randn(NUM, 3, generator=generator)
    return Targets(joints, vertices, *uv, offset, none[:, 0].long(), none)


def estimate(target, **change):
    parts = {name: getattr(target, name) for name in ("offset", "joints", "vertices")}
    own = {**parts, **change}
    numbers = torch.zeros(NUM, 2, 64)
    return Estimate(
        numbers, own["offset"], own["joints"], own["vertices"], target.joints_uv, target.vertices_uv
    )


def test_the_truth_has_no_error_under_any(target):
    errors = errors_by_protocol(estimate(target), target)
    assert len(errors) == 12
    assert max(errors.values()) < 1e-2


def test_offset_shows_only_where_hands_share_a_frame(target):
    shift = torch.tensor([0.003, 0.0, 0.004])
    errors = errors_by_protocol(estimate(target, offset=target.offset + shift), target)
    shows = {"mrrpe_wrist": 5.0, "mrrpe_middle_base": 5.0, "mpjpe_pair": 2.5}
    for name, error in errors.items():
        assert error == pytest.approx(shows.get(name, 0.0), abs=1e-2), name


def test_scale_rotation_and_root_are_seen_by_those_that_do_not_align_them(target):
    larger = errors_by_protocol(
        estimate(target, joints=1.1 * target.joints, vertices=1.1 * target.vertices), target
    )
    length = target.joints.norm(dim=-1)
    assert larger["mpjpe_wrist"] == pytest.approx(100 * length.mean().item(), rel=1e-4)
    assert larger["mpjpe_interhand"] == pytest.approx(larger["mpjpe_wrist"], rel=1e-4)
    for name in ("mpjpe_wrist_scale", "mpjpe_middle_base_scale", "mpjpe_procrustes", "mpvpe_wrist_scale"):
        assert larger[name] < 1e-2
    assert larger["mpjpe_rigid"] > 1
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 0.2]))
    turned = errors_by_protocol(estimate(target, joints=target.joints @ turn.T), target)
    assert turned["mpjpe_rigid"] < 1e-2
    assert turned["mpjpe_wrist_scale"] > 1
    # The wrist wrong and nothing else: with the wrist as root all other joints are wrong.
    moved = target.joints.clone()
    moved[:, :, 0, 0] += 0.01
    wrist = errors_by_protocol(estimate(target, joints=moved), target)
    assert wrist["mpjpe_wrist"] == pytest.approx(10 * 20 / 21, rel=1e-3)
    assert wrist["mpjpe_middle_base"] == pytest.approx(10 / 21, rel=1e-3)


def test_estimates_without_a_surface_have_no_vertex_error(target):
    bare = replace(target, vertices=target.vertices[:, :, :0], vertices_uv=target.vertices_uv[:, :, :0])
    errors = errors_by_protocol(estimate(bare), bare)
    assert [name for name in errors if name.startswith("mpvpe")] == []

"""Oracles: closed forms, invariances, and the official programs' loops written out again."""

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.transform import Rotation

from hands_lib.geometry.alignment import procrustes
from hands_lib.hand.kinematics import mirror
from hands_lib.metrics.hand_pose import (
    PROTOCOLS,
    Protocol,
    aligned,
    interhand_mpjpe_mm,
    joint_errors_mm,
    keypoint_auc,
    mpjpe_mm,
    mrrpe_mm,
    pck_auc,
    pose_error_mm,
    vertex_error_mm,
)

WRIST, MIDDLE_BASE = 0, 9


def hands(batch: int = 6, noise: float = 0.01, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted and true joints of two hands, metres, float64."""
    generator = np.random.default_rng(seed)
    target = generator.uniform(-0.1, 0.1, (batch, 2, 21, 3))
    predicted = (
        target + noise * generator.standard_normal(target.shape) + generator.normal(0, 0.05, (batch, 2, 1, 3))
    )
    return torch.from_numpy(predicted), torch.from_numpy(target)


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


# What each protocol forgives: a motion of the prediction that must not change its error.
def _motion(seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    turn = torch.from_numpy(Rotation.random(random_state=seed).as_matrix())
    return turn, torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)


FORGIVES = {
    "absolute": set(),
    "wrist": {"shift"},
    "middle base": {"shift"},
    "wrist + scale": {"shift", "scale"},
    "middle base + scale": {"shift", "scale"},
    "rigid Procrustes": {"shift", "turn"},
    "Procrustes": {"shift", "scale", "turn"},
    "Procrustes + reflection": {"shift", "scale", "turn", "mirror"},
}


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("motion", ["shift", "scale", "turn", "mirror"])
def test_each_protocol_forgives_what_it_should_and_nothing_else(name, motion):
    predicted, target = hands()
    turn, shift = _motion()
    moved = {
        "shift": predicted + shift,
        "scale": predicted * 1.3,
        "turn": predicted @ turn.mT,
        "mirror": predicted * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64),
    }[motion]
    before, after = (pose_error_mm(p, target, PROTOCOLS[name]).item() for p in (predicted, moved))
    if motion in FORGIVES[name]:
        assert after == pytest.approx(before, rel=1e-9)
        assert pose_error_mm(moved - moved + target, target, PROTOCOLS[name]).item() == pytest.approx(
            0, abs=1e-9
        )
    else:
        assert abs(after - before) > 0.01 * before


def test_a_better_aligned_protocol_is_never_worse():
    predicted, target = hands()
    square = {}
    for name in ("absolute", "rigid Procrustes", "Procrustes", "Procrustes + reflection"):
        moved, _ = aligned(predicted, target, PROTOCOLS[name])
        square[name] = (moved - target).square().sum(dim=(-2, -1))
    names = list(square)
    for looser, tighter in zip(names[1:], names[:-1], strict=True):
        assert (square[looser] <= square[tighter] * (1 + 1e-12)).all()


def test_intaghands_evaluation_written_out():
    predicted, target = hands()
    errors = []
    for sample in range(len(target)):
        for hand in range(2):
            p, t = predicted[sample, hand].numpy(), target[sample, hand].numpy()
            p, t = p - p[MIDDLE_BASE], t - t[MIDDLE_BASE]
            scale = np.linalg.norm(t[MIDDLE_BASE] - t[WRIST]) / np.linalg.norm(p[MIDDLE_BASE] - p[WRIST])
            errors.append(np.linalg.norm(p * scale - t, axis=-1).mean() * 1000)
    found = pose_error_mm(predicted, target, PROTOCOLS["middle base + scale"])
    assert found.item() == pytest.approx(np.mean(errors), rel=1e-12)


def test_ho3ds_official_alignment_written_out():
    predicted, target = hands()
    predicted[0, 0] *= torch.tensor([-1.0, 1.0, 1.0])  # the official one mirrors this hand back
    errors = []
    for p, t in zip(predicted.reshape(-1, 21, 3).numpy(), target.reshape(-1, 21, 3).numpy(), strict=True):
        t0, p0 = t - t.mean(axis=0), p - p.mean(axis=0)
        size_t, size_p = np.linalg.norm(t0), np.linalg.norm(p0)
        turn, scale = orthogonal_procrustes(t0 / size_t, p0 / size_p)
        moved = p0 / size_p @ turn.T * scale * size_t + t.mean(axis=0)
        errors.append(1000 * np.linalg.norm(moved - t, axis=-1).mean())
    found = pose_error_mm(predicted, target, PROTOCOLS["Procrustes + reflection"])
    assert found.item() == pytest.approx(np.mean(errors), rel=1e-9)
    assert pose_error_mm(predicted, target, PROTOCOLS["Procrustes"]) > found + 0.1


def test_a_hand_that_cannot_be_aligned_does_not_count():
    predicted, target = hands(2)
    valid = torch.ones(2, 2, 21, dtype=torch.bool)
    valid[0, 0, WRIST] = False
    valid[1, 1, 3:] = False
    _, counts = aligned(predicted, target, PROTOCOLS["wrist"], valid)
    assert counts.sum(dim=-1).tolist() == [[0, 21], [21, 3]]
    _, counts = aligned(predicted, target, PROTOCOLS["middle base + scale"], valid)
    assert counts.sum(dim=-1).tolist() == [[0, 21], [21, 0]]
    valid[1, 1, 2] = False
    moved, counts = aligned(predicted, target, PROTOCOLS["Procrustes"], valid)
    assert counts.sum(dim=-1).tolist() == [[20, 21], [21, 0]]
    assert moved.isfinite().all()
    with pytest.raises(ValueError, match="no joint is valid"):
        pose_error_mm(predicted, target, PROTOCOLS["wrist"], torch.zeros_like(valid))


def test_numbers_of_invalid_joints_mean_nothing():
    predicted, target = hands()
    valid = torch.ones(6, 2, 21, dtype=torch.bool)
    valid[:, :, 4] = False
    spoiled = predicted.clone()
    spoiled[:, :, 4] = 99.0
    for protocol in PROTOCOLS.values():
        clean = pose_error_mm(predicted, target, protocol, valid)
        assert torch.allclose(pose_error_mm(spoiled, target, protocol, valid), clean)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_invalid_joints_may_be_nan(name):
    """Exactly the number that any other filler gives, and that the evaluation without these joints gives."""
    predicted, target = hands()
    valid = torch.ones(6, 2, 21, dtype=torch.bool)
    valid[:, :, [4, 17]] = False
    valid[0, 0] = False  # a hand that is not there at all
    clean = pose_error_mm(predicted, target, PROTOCOLS[name], valid)
    for filler in (torch.nan, torch.inf, 1e30):
        ours, theirs = (torch.where(valid[..., None], points, filler) for points in (predicted, target))
        assert pose_error_mm(ours, theirs, PROTOCOLS[name], valid) == clean
    if PROTOCOLS[name].procrustes:
        kept = [joint for joint in range(21) if joint not in (4, 17)]
        errors = []
        for p, t in zip(
            predicted[:, :, kept].flatten(0, 1)[1:], target[:, :, kept].flatten(0, 1)[1:], strict=True
        ):
            moved = [
                procrustes(given, t, with_scale=PROTOCOLS[name].procrustes == "similarity").transform(given)
                for given in ((p, mirror(p)) if PROTOCOLS[name].reflection else (p,))
            ]
            best = min(moved, key=lambda points: (points - t).square().sum())
            errors.append(joint_errors_mm(best, t).mean())
        assert clean.item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-9)


def test_a_palm_without_length_has_no_scale():
    predicted, target = hands(1)
    predicted[0, 0, MIDDLE_BASE] = predicted[0, 0, WRIST]
    with pytest.raises(ValueError, match="no scale"):
        pose_error_mm(predicted, target, PROTOCOLS["wrist + scale"])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_vertices_follow_the_same_protocols(name):
    predicted, target = hands()
    # Vertices that are the joints have the joints' error.
    found = vertex_error_mm(predicted, target, PROTOCOLS[name], predicted, target)
    assert found.item() == pytest.approx(pose_error_mm(predicted, target, PROTOCOLS[name]).item(), rel=1e-12)
    if PROTOCOLS[name].root:
        with pytest.raises(ValueError, match="give predicted and target joints"):
            vertex_error_mm(predicted, target, PROTOCOLS[name])


# --- InterHand2.6M -------------------------------------------------------------------------------------


def official(predicted, target, valid, interacting, group):
    """The official evaluation: lists of lists, one joint at a time."""
    of_joint = [[] for _ in range(42)]
    for sample in range(len(target)):
        if group == "single" and interacting[sample] or group == "interacting" and not interacting[sample]:
            continue
        for hand in range(2):
            p = predicted[sample, hand].numpy() - predicted[sample, hand, WRIST].numpy()
            t = target[sample, hand].numpy() - target[sample, hand, WRIST].numpy()
            for joint in range(21):
                if valid[sample, hand, joint]:
                    of_joint[21 * hand + joint].append(1000 * np.sqrt(np.sum((p[joint] - t[joint]) ** 2)))
    return np.mean([np.mean(np.stack(errors)) for errors in of_joint])


@pytest.mark.parametrize("group", ["single", "interacting", "all"])
def test_interhands_official_average(group):
    predicted, target = hands(12)
    interacting = torch.arange(12) % 3 == 0
    generator = torch.Generator().manual_seed(0)
    valid = torch.rand(12, 2, 21, generator=generator) < 0.9
    found = interhand_mpjpe_mm(predicted, target, valid, interacting, group)
    assert found.item() == pytest.approx(official(predicted, target, valid, interacting, group), rel=1e-12)


def test_interhands_wrists_count_as_perfect():
    _, target = hands()
    everything = torch.ones(6, 2, 21, dtype=torch.bool)
    predicted = target.clone()
    predicted[:, :, 1:, 0] += 0.010  # ten millimetres everywhere but at the wrists
    found = interhand_mpjpe_mm(predicted, target, everything, torch.ones(6, dtype=torch.bool))
    assert found.item() == pytest.approx(10 * 40 / 42)


def test_interhands_average_is_undefined_where_a_joint_is_never_seen():
    predicted, target = hands()
    valid = torch.ones(6, 2, 21, dtype=torch.bool)
    valid[:, 1, 8] = False
    with pytest.raises(ValueError, match="the left hand's index_4 is valid in none of its 6 samples"):
        interhand_mpjpe_mm(predicted, target, valid, torch.ones(6, dtype=torch.bool))
    with pytest.raises(ValueError, match="group 'single'"):
        interhand_mpjpe_mm(predicted, target, valid | True, torch.ones(6, dtype=torch.bool), "single")
    with pytest.raises(ValueError, match="unknown group 'both'"):
        interhand_mpjpe_mm(predicted, target, valid, torch.ones(6, dtype=torch.bool), "both")


def test_mrrpe_is_the_error_of_the_vector_between_the_roots():
    predicted, target = hands()
    valid = torch.ones(6, 2, 21, dtype=torch.bool)
    valid[2, 0, WRIST] = False
    kept = [0, 1, 3, 4, 5]
    expected = [
        1000 * np.linalg.norm(
            (predicted[n, 1, WRIST] - predicted[n, 0, WRIST]) - (target[n, 1, WRIST] - target[n, 0, WRIST])
        )
        for n in kept
    ]  # fmt: skip
    assert mrrpe_mm(predicted, target, valid).item() == pytest.approx(np.mean(expected), rel=1e-12)
    shifted = predicted + torch.tensor([1.0, 2.0, 3.0])
    assert mrrpe_mm(shifted, target, valid).item() == pytest.approx(np.mean(expected), rel=1e-9)
    with pytest.raises(ValueError, match="both hands' wrist is valid in no sample"):
        mrrpe_mm(predicted, target, torch.zeros_like(valid))


def test_mrrpe_of_interacting_frames_alone():
    predicted, target = hands()
    valid = torch.ones(6, 2, 21, dtype=torch.bool)
    interacting = torch.tensor([True, False, True, True, False, True])
    found = mrrpe_mm(predicted, target, valid, interacting=interacting)
    assert found == mrrpe_mm(predicted[interacting], target[interacting], valid[interacting])
    assert found != mrrpe_mm(predicted, target, valid)
    with pytest.raises(ValueError, match="in no sample that counts"):
        mrrpe_mm(predicted, target, valid, interacting=torch.zeros(6, dtype=torch.bool))


def official_auc(errors, valid, thresholds):
    """As the official programs do: a curve for every key point, then the mean of the areas."""
    areas = []
    for joint in range(errors.shape[1]):
        own = [errors[n, joint] for n in range(len(errors)) if valid[n, joint]]
        if own:
            curve = [np.mean([error <= threshold for error in own]) for threshold in thresholds]
            areas.append(np.trapezoid(curve, thresholds) / np.trapezoid(np.ones_like(thresholds), thresholds))
    return np.mean(areas)


def test_area_under_the_curve_of_key_points_that_are_valid_unequally_often():
    generator = torch.Generator().manual_seed(0)
    # Finger tips are seen more rarely, and are worse.
    scale = torch.linspace(10, 60, 21, dtype=torch.float64)
    errors = scale * torch.rand(300, 21, generator=generator, dtype=torch.float64)
    valid = torch.rand(300, 21, generator=generator) < torch.linspace(1, 0.05, 21)
    valid[:, 20] = False
    found = keypoint_auc(errors, valid)
    expected = official_auc(errors.numpy(), valid.numpy(), np.linspace(0, 50, 100))
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert pck_auc(errors[valid]).item() - found.item() > 0.05
    everything = torch.ones_like(valid)
    assert keypoint_auc(errors, everything).item() == pytest.approx(pck_auc(errors.flatten()).item())
    with pytest.raises(ValueError, match="no key point is valid"):
        keypoint_auc(errors, ~everything)


def test_area_under_the_curve():
    assert pck_auc(torch.zeros(10)).item() == pytest.approx(1)
    assert pck_auc(torch.full((10,), 99.0)).item() == 0
    # A single error of 20 of 50 mm: the curve jumps from 0 to 1 there.
    assert pck_auc(torch.tensor([20.0]), steps=5001).item() == pytest.approx(0.6, abs=1e-3)
    errors = torch.rand(500, dtype=torch.float64) * 80
    thresholds = np.linspace(0, 50, 100)
    curve = [(errors.numpy() <= threshold).mean() for threshold in thresholds]
    assert pck_auc(errors).item() == pytest.approx(np.trapezoid(curve, thresholds) / 50, rel=1e-12)


def test_protocols_are_values():
    assert Protocol("mine", root="wrist") != PROTOCOLS["wrist"]
    assert all(protocol.about for protocol in PROTOCOLS.values())

"""Oracles: the official programs' loops written out in NumPy, and predictions whose scores are known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from hands_lib.hand.kinematics import forward_kinematics, rest_pose
from hands_lib.hand.surface import hand_surface
from hands_lib.metrics.hand_object import (
    DEXYCB_SCORES,
    HO3D_SCORES,
    add_mm,
    add_s_mm,
    box_diagonal_mm,
    centre_error_mm,
    dexycb_scores,
    f_scores,
    ho3d_scores,
    palm_aligned,
    pck_area,
    scores_text,
    similarity_aligned,
)
from hands_lib.metrics.hand_pose import PROTOCOLS, aligned, keypoint_auc

WRIST, MIDDLE_BASE = 0, 9  # in the library's order
MIRROR = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
ALONG_X = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
Hands = tuple[torch.Tensor, torch.Tensor]


def true_hands(frames: int = 4, seed: int = 0) -> Hands:
    """Joints and vertices of one hand in several places and turns, metres, 0.6 m before an OpenCV camera."""
    pose = forward_kinematics(rest_pose(like=torch.empty(0, dtype=torch.float64)))
    turns = torch.from_numpy(Rotation.random(frames, random_state=seed).as_matrix())
    places = torch.from_numpy(np.random.default_rng(seed).normal([0, 0, 0.6], 0.05, (frames, 1, 3)))
    return tuple(points.double() @ turns.mT + places for points in (pose.joints, hand_surface(pose).vertices))


def scores_of(predicted: Hands, target: Hands, **options) -> dict[str, float]:
    return ho3d_scores(predicted[0], target[0], predicted[1], target[1], **options)


# --- predictions whose scores are known ------------------------------------------------------------------


def test_a_perfect_prediction():
    truth = true_hands()
    scores = scores_of(truth, truth, frames=4)
    assert set(scores) == set(HO3D_SCORES)
    for name, value in scores.items():
        if "mean3d" in name:
            assert value == pytest.approx(0, abs=2e-6), name  # cm; the norms' floor moves a little
    for name in ("xyz_auc3d", "mesh_auc3d", *(n for n in scores if n.startswith("f_"))):
        assert scores[name] == pytest.approx(1, abs=1e-12), name
    # An error of a nanometre is above the curve's first threshold, 0.
    for name in ("xyz_procrustes_al_auc3d", "mesh_al_auc3d", "xyz_scale_trans_al_auc3d"):
        assert 1 - 0.5 / 99 - 1e-9 <= scores[name] <= 1, name


def test_a_shift_of_10_mm():
    truth = true_hands()
    shifted = tuple(points + 0.010 * ALONG_X for points in truth)
    scores = scores_of(shifted, truth)
    assert scores["xyz_mean3d"] == pytest.approx(1.0, abs=1e-12)
    assert scores["mesh_mean3d"] == pytest.approx(1.0, abs=1e-12)
    # The share jumps to 1 at the 20th of the steps of 5 / 99 cm, and the trapezium before it counts half.
    assert scores["xyz_auc3d"] == pytest.approx((99 - 20 + 0.5) / 99)
    for name in ("xyz_procrustes_al_mean3d", "xyz_scale_trans_al_mean3d", "mesh_al_mean3d"):
        assert scores[name] == pytest.approx(0, abs=2e-6)
    assert scores["f_al_score_5"] == pytest.approx(1)
    assert scores["f_score_15"] == pytest.approx(1)
    assert scores["f_score_5"] < 0.9


def test_a_scale_of_1_1_about_the_wrist():
    truth = true_hands()
    wrist = truth[0][:, [WRIST]]
    larger = tuple((points - wrist) * 1.1 + wrist for points in truth)
    scores = scores_of(larger, truth)
    expected = 10 * torch.linalg.vector_norm(truth[0] - wrist, dim=-1).mean()
    assert scores["xyz_mean3d"] == pytest.approx(expected.item(), rel=1e-12)
    for name in ("xyz_scale_trans_al_mean3d", "xyz_procrustes_al_mean3d", "mesh_al_mean3d"):
        assert scores[name] == pytest.approx(0, abs=2e-6)


def test_a_mirrored_hand_is_perfect_only_officially():
    truth = true_hands()
    mirrored = tuple(points * MIRROR for points in truth)
    official = scores_of(mirrored, truth)
    for name in ("xyz_procrustes_al_mean3d", "mesh_al_mean3d"):
        assert official[name] == pytest.approx(0, abs=2e-6)  # 4e-9 m, as the facts say
    assert official["xyz_scale_trans_al_mean3d"] > 5
    proper = scores_of(mirrored, truth, reflection=False)
    assert proper["xyz_procrustes_al_mean3d"] > 0.5
    assert proper["f_al_score_5"] < official["f_al_score_5"]
    unmoved = {name for name in HO3D_SCORES if "al_" not in name or "scale_trans" in name}
    assert {name: official[name] for name in unmoved} == {name: proper[name] for name in unmoved}


def test_a_hand_in_the_other_cameras_axes():
    """z forward where it should be backward: far away officially, and perfect once it is aligned."""
    truth = true_hands()
    axes = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    scores = scores_of(tuple(points * axes for points in truth), truth)
    expected = 100 * 2 * torch.linalg.vector_norm(truth[0][..., 1:], dim=-1).mean()
    assert scores["xyz_mean3d"] == pytest.approx(expected.item(), rel=1e-12)
    assert scores["xyz_mean3d"] > 100
    assert scores["xyz_procrustes_al_mean3d"] == pytest.approx(0, abs=2e-6)


def test_the_zero_predictor():
    """All points in one place: aligned, they lie at the target's mean, and nothing is undefined."""
    truth = true_hands()
    scores = scores_of(tuple(torch.zeros_like(points) for points in truth), truth)
    for points, name in zip(truth, ("xyz_procrustes_al", "mesh_al"), strict=True):
        away = 100 * torch.linalg.vector_norm(points - points.mean(dim=1, keepdim=True), dim=-1).mean()
        assert scores[f"{name}_mean3d"] == pytest.approx(away.item(), rel=1e-12)
    wrists = 100 * torch.linalg.vector_norm(truth[0] - truth[0][:, [WRIST]], dim=-1).mean()
    assert scores["xyz_scale_trans_al_mean3d"] == pytest.approx(wrists.item(), rel=1e-12)
    assert scores["f_score_5"] == scores["f_score_15"] == 0


# --- the official programs, written out ------------------------------------------------------------------


def plain_similarity(target, predicted):
    """Centre, divide by the enlarged norm, turn, scale back."""
    t0, p0 = target - target.mean(axis=0), predicted - predicted.mean(axis=0)
    size_t, size_p = np.linalg.norm(t0) + 1e-8, np.linalg.norm(p0) + 1e-8
    turn, scale = orthogonal_procrustes(t0 / size_t, p0 / size_p)
    return turn, scale, size_t, (p0 / size_p) @ turn.T * scale * size_t + target.mean(axis=0)


def plain_palm(target, predicted):
    ours = np.linalg.norm(predicted[MIDDLE_BASE] - predicted[WRIST])
    theirs = np.linalg.norm(target[MIDDLE_BASE] - target[WRIST])
    scaled = predicted / ours * theirs if ours > 0 else predicted * theirs
    return scaled - scaled[WRIST] + target[WRIST]


def plain_measures(pairs, longest):
    """Mean error and area, key point by key point."""
    errors = np.array([[np.sqrt(((a - b) ** 2).sum()) for a, b in zip(t, p, strict=True)] for t, p in pairs])
    thresholds = np.linspace(0, longest, 100)
    areas = []
    for column in errors.T:
        curve = [np.mean([error <= threshold for error in column]) for threshold in thresholds]
        areas.append(np.trapezoid(curve, thresholds) / np.trapezoid(np.ones(100), thresholds))
    return np.mean([column.mean() for column in errors.T]), np.mean(areas)


def plain_f(target, predicted, threshold):
    recall = np.mean(cKDTree(target).query(predicted)[0] < threshold)
    precision = np.mean(cKDTree(predicted).query(target)[0] < threshold)
    return 2 * recall * precision / (recall + precision) if recall + precision > 0 else 0.0


def plain_ho3d(predicted: Hands, target: Hands) -> dict[str, float]:
    joints, vertices, truth, surface = (t.double().numpy() for t in (*predicted, *target))
    same = vertices.shape[1] == surface.shape[1]
    found = {"xyz": [], "xyz_procrustes_al": [], "xyz_scale_trans_al": [], "mesh": [], "mesh_al": []}
    f_raw, f_moved = {5: [], 15: []}, {5: [], 15: []}
    for p, pv, t, tv in zip(joints, vertices, truth, surface, strict=True):
        turn, scale, size, moved = plain_similarity(t, p)
        found["xyz"].append((t, p))
        found["xyz_procrustes_al"].append((t, moved))
        found["xyz_scale_trans_al"].append((t, plain_palm(t, p)))
        if same:
            moved_vertices = plain_similarity(tv, pv)[-1]
            found["mesh"].append((tv, pv))
            found["mesh_al"].append((tv, moved_vertices))
        else:
            centre = pv.mean(axis=0)
            moved_vertices = (pv - centre) @ turn.T * scale * size + t.mean(axis=0) - p.mean(axis=0) + centre
        for limit in (5, 15):
            f_raw[limit].append(plain_f(tv, pv, limit / 1000))
            f_moved[limit].append(plain_f(tv, moved_vertices, limit / 1000))
    scores = {}
    for name, pairs in found.items():
        mean, area = plain_measures(pairs, 0.05) if pairs else (-0.01, -1.0)
        scores |= {f"{name}_mean3d": 100 * mean, f"{name}_auc3d": area}
    for limit in (5, 15):
        scores |= {f"f_score_{limit}": np.mean(f_raw[limit]), f"f_al_score_{limit}": np.mean(f_moved[limit])}
    return scores


def guessed(target: Hands, noise: float, seed: int) -> Hands:
    """A prediction of a size, a turn and a place of its own, with noise; the first hand is mirrored."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.from_numpy(Rotation.from_rotvec([0.02, -0.1, 0.05]).as_matrix())
    made = []
    for points in target:
        moved = (points @ turn.mT) * 1.07 + torch.tensor([0.004, -0.002, -0.02])
        moved[0] = moved[0] * MIRROR
        made.append(moved + noise * torch.randn(points.shape, generator=generator, dtype=torch.float64))
    return made[0], made[1]


@pytest.mark.parametrize("noise", [0.002, 0.01, 0.06])
def test_ho3ds_program_written_out(noise):
    truth = true_hands(5)
    predicted = guessed(truth, noise, seed=1)
    found, expected = scores_of(predicted, truth), plain_ho3d(predicted, truth)
    assert set(found) == set(expected)
    for name in HO3D_SCORES:
        assert found[name] == pytest.approx(expected[name], abs=1e-9), name
    assert 0 < found["f_al_score_5"] < 1  # otherwise nothing would be compared


def test_a_surface_of_another_kind_written_out():
    truth = true_hands(5)
    joints, vertices = guessed(truth, 0.002, seed=2)
    predicted = joints, vertices[:, ::2]
    found, expected = scores_of(predicted, truth), plain_ho3d(predicted, truth)
    for name in HO3D_SCORES:
        assert found[name] == pytest.approx(expected[name], abs=1e-9), name
    assert found["mesh_mean3d"] == found["mesh_al_auc3d"] == -1
    # What is wrong with it: the hand comes out at about the norm of its joints, a third of its size.
    perfect = scores_of((truth[0], truth[1][:, ::2]), truth)
    assert perfect["f_score_15"] == pytest.approx(1)
    assert perfect["f_al_score_5"] < 0.5


def test_dexycbs_program_written_out():
    truth, predicted = true_hands(6)[0], guessed(true_hands(6), 0.01, seed=3)[0]
    valid = torch.tensor([True, True, False, True, True, True])
    spoiled = predicted.clone()
    spoiled[2] = torch.nan
    found = dexycb_scores(spoiled, truth, valid)
    assert set(found) == set(DEXYCB_SCORES)
    pairs = [
        (1000 * t.numpy(), 1000 * p.numpy()) for t, p in zip(truth[valid], predicted[valid], strict=True)
    ]
    expected = {
        "absolute": pairs,
        "root-relative": [(t - t[WRIST], p - p[WRIST]) for t, p in pairs],
        "procrustes": [(t, plain_similarity(t, p)[-1]) for t, p in pairs],
    }
    for name, own in expected.items():
        mean, area = plain_measures(own, 50.0)
        assert found[name]["mpjpe"] == pytest.approx(mean, abs=1e-9)
        assert found[name]["auc"] == pytest.approx(area, abs=1e-9)


def test_dexycbs_labels_become_millimetres_in_their_own_precision():
    truth = true_hands()[0].float()
    predicted = truth.double() + torch.tensor([0.003, 0.0, 0.004], dtype=torch.float64)
    everything = torch.ones(4, dtype=torch.bool)
    found = dexycb_scores(predicted, truth, everything)["absolute"]["mpjpe"]
    rounded = (truth.numpy() * np.float32(1000)).astype(np.float64)  # as the official program does
    assert found == pytest.approx(
        np.linalg.norm(1000 * predicted.numpy() - rounded, axis=-1).mean(), abs=1e-9
    )
    assert found == pytest.approx(5, abs=1e-4)


# --- agreement with the other metrics, and invariances ---------------------------------------------------


def test_the_protocols_of_hand_poses_say_the_same():
    truth = true_hands(5)
    predicted = guessed(truth, 0.01, seed=4)
    scores = scores_of(predicted, truth)
    names = {
        "xyz": "absolute",
        "xyz_scale_trans_al": "wrist + scale",
        "xyz_procrustes_al": "Procrustes + reflection",
    }
    for ours, theirs in names.items():
        moved, _ = aligned(predicted[0], truth[0], PROTOCOLS[theirs])
        errors = 1000 * torch.linalg.vector_norm(moved - truth[0], dim=-1)
        assert 10 * scores[f"{ours}_mean3d"] == pytest.approx(errors.mean().item(), abs=1e-5)
        everything = torch.ones_like(errors, dtype=torch.bool)
        # Wrists put on wrists are off by 0 here and by 1e-17 there, and the first threshold is 0.
        area = keypoint_auc(errors, everything).item()
        assert scores[f"{ours}_auc3d"] == pytest.approx(area, abs=0.5 / 99 / 21 + 1e-9)
    moved, _ = aligned(predicted[0], truth[0], PROTOCOLS["Procrustes"])
    assert torch.allclose(similarity_aligned(predicted[0], truth[0], reflection=False), moved, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(
    turn=st.tuples(*[st.floats(-3, 3)] * 3),
    shift=st.tuples(*[st.floats(-1, 1)] * 3),
    scale=st.floats(0.2, 5),
    mirrored=st.booleans(),
)
def test_alignment_forgives_every_similarity(turn, shift, scale, mirrored):
    truth, guess = true_hands(2)[0], guessed(true_hands(2), 0.01, seed=5)[0]
    motion = torch.from_numpy(Rotation.from_rotvec(turn).as_matrix())
    moved = scale * guess @ motion.mT * (MIRROR if mirrored else 1) + torch.tensor(shift)
    assert torch.allclose(similarity_aligned(moved, truth), similarity_aligned(guess, truth), atol=1e-6)
    shifted = scale * guess + torch.tensor(shift)
    assert torch.allclose(palm_aligned(shifted, truth), palm_aligned(guess, truth), atol=1e-9)


def test_scores_do_not_know_in_which_frame_both_are():
    truth = true_hands()
    predicted = guessed(truth, 0.01, seed=6)
    turn = torch.from_numpy(Rotation.random(random_state=7).as_matrix())
    moved = [tuple(points @ turn.mT + 0.1 for points in hands) for hands in (predicted, truth)]
    before, after = scores_of(predicted, truth), scores_of(*moved)
    for name in HO3D_SCORES:
        assert after[name] == pytest.approx(before[name], abs=1e-9), name


def test_chunks_do_not_change_f_scores(monkeypatch):
    truth = true_hands()
    predicted = guessed(truth, 0.005, seed=8)
    whole = f_scores(predicted[1], truth[1], (5, 15))
    monkeypatch.setattr("hands_lib.metrics.hand_object._AT_ONCE", 1)
    assert torch.equal(f_scores(predicted[1], truth[1], (5, 15)), whole)


def test_an_error_at_a_threshold_counts():
    """The curve asks for at most, the F-score for less."""
    assert pck_area(torch.tensor([[5.0]], dtype=torch.float64), 5.0) == pytest.approx(0.5 / 99)
    assert pck_area(torch.tensor([[5.0 + 1e-9]], dtype=torch.float64), 5.0) == 0
    points = torch.zeros(1, 1, 3, dtype=torch.float64)
    assert f_scores(points, points + 0.005 * ALONG_X, (5, 6)).tolist() == [[0, 1]]


def test_the_lines_of_scores_txt():
    truth = true_hands()
    lines = scores_text(scores_of(truth, truth)).splitlines()
    assert lines[0] == "xyz_mean3d: 0.000000"
    assert [line.split(": ")[0] for line in lines] == list(HO3D_SCORES)
    assert lines[10:] == ["f_score_5: 1.000000", "f_al_score_5: 1.000000", "f_score_15: 1.000000",
                          "f_al_score_15: 1.000000"]  # fmt: skip


def test_bad_input():
    joints, vertices = true_hands()
    with pytest.raises(ValueError, match="joints of 4 frames, where 11524 belong"):
        ho3d_scores(joints, joints, vertices, vertices, frames=11524)
    with pytest.raises(ValueError, match="joints of 3 frames, where 4 belong"):
        ho3d_scores(joints[:3], joints, vertices[:3], vertices)
    with pytest.raises(ValueError, match="vertices hold NaN"):
        ho3d_scores(joints, joints, vertices * torch.nan, vertices)
    with pytest.raises(ValueError, match="joints of 0 frames"):
        ho3d_scores(joints[:0], joints[:0], vertices[:0], vertices[:0])
    with pytest.raises(ValueError, match="no hand has a label"):
        dexycb_scores(joints, joints, torch.zeros(4, dtype=torch.bool))
    with pytest.raises(ValueError, match="predicted as NaN"):
        dexycb_scores(joints * torch.nan, joints, torch.ones(4, dtype=torch.bool))
    with pytest.raises(ValueError, match="a mask is boolean"):
        dexycb_scores.__wrapped__(joints, joints, torch.ones(4))


# --- objects ---------------------------------------------------------------------------------------------


def poses(seed: int, frames: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    turns = torch.from_numpy(Rotation.random(frames, random_state=seed).as_matrix())
    return turns, torch.from_numpy(np.random.default_rng(seed).normal(0, 0.1, (frames, 3)))


def test_object_errors_written_out():
    points = torch.from_numpy(np.random.default_rng(0).normal(0, 0.05, (200, 3)))
    (turn, place), (true_turn, true_place) = poses(1), poses(2)
    add, closest = [], []
    for frame in range(3):
        ours = points.numpy() @ turn[frame].numpy().T + place[frame].numpy()
        theirs = points.numpy() @ true_turn[frame].numpy().T + true_place[frame].numpy()
        add.append(1000 * np.linalg.norm(ours - theirs, axis=1).mean())
        closest.append(1000 * cKDTree(theirs).query(ours)[0].mean())
    assert np.allclose(add_mm(points, turn, place, true_turn, true_place), add, atol=1e-9)
    assert np.allclose(add_s_mm(points, turn, place, true_turn, true_place), closest, atol=1e-9)
    assert not np.allclose(closest, add_s_mm(points, true_turn, true_place, turn, place), atol=1e-3)
    centre = centre_error_mm(place, true_place)
    assert np.allclose(centre, 1000 * np.linalg.norm(place - true_place, axis=1), atol=1e-9)


def test_a_symmetric_object_turned_onto_itself():
    """A regular polygon turned by one of its steps: ADD says how far its points moved, ADD-S nothing."""
    angle = torch.arange(12, dtype=torch.float64) * torch.pi / 6
    ring = 0.04 * torch.stack([angle.cos(), angle.sin(), torch.zeros(12)], dim=1)
    step = torch.from_numpy(Rotation.from_rotvec([0, 0, np.pi / 6]).as_matrix())[None]
    still, nowhere = torch.eye(3, dtype=torch.float64)[None], torch.zeros(1, 3, dtype=torch.float64)
    assert add_s_mm(ring, step, nowhere, still, nowhere).item() == pytest.approx(0, abs=1e-9)
    chord = 2 * 40 * np.sin(np.pi / 12)
    assert add_mm(ring, step, nowhere, still, nowhere).item() == pytest.approx(chord, rel=1e-12)
    lifted = nowhere + 0.007 * ALONG_X.roll(2)
    assert add_s_mm(ring, step, lifted, still, nowhere).item() == pytest.approx(7, rel=1e-12)
    assert centre_error_mm(lifted, nowhere).item() == pytest.approx(7, rel=1e-12)
    assert box_diagonal_mm(ring).item() == pytest.approx(80 * np.sqrt(2))
    assert add_s_mm(ring, step[:0], nowhere[:0], still[:0], nowhere[:0]).shape == (0,)

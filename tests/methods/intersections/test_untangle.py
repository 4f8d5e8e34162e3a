"""Untangling: what must not change, what must hold, and what must be gone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hands_lib.geometry.inside import inside
from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.inverse_kinematics import bone_lengths_of
from hands_lib.hand.kinematics import (
    DEFAULT_LIMITS,
    forward_kinematics,
    limit_excess,
    mirror,
    random_pose,
    rest_pose,
)
from hands_lib.hand.pairs import left_mirrored, pair_joints
from hands_lib.hand.surface import HandShape, hand_surface, surface_topology
from hands_lib.methods.intersections.untangle import UntangleSettings, untangle
from hands_lib.methods.intersections.untangle_checks import (
    exact_intersections,
    push_apart,
    shared_volume,
)
from hands_lib.methods.intersections.untangle_sequences import windowed_mean
from hands_lib.methods.intersections.untangle_steps import (
    NUM_FREE,
    moved,
    pack,
    skin_shares,
    twists,
    unpack,
)
from hands_lib.structures import Mesh
from hands_lib.worlds.estimates import perturb
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs


def made(num, seed=0, error=0.012):
    generator = torch.Generator().manual_seed(seed)
    pairs, _ = sample_pairs(num, sample_identities(6, seed), generator)
    return pair_joints(pairs.pose), pair_joints(perturb(pairs.pose, error, generator))


@pytest.fixture(scope="module")
def pairs():
    return made(12)


@pytest.fixture(scope="module")
def found(pairs):
    return untangle(pairs[1])


@pytest.fixture(scope="module")
def rows(found):
    """Two pairs that take few steps, the most volume first, one that takes many, and one that stays."""
    steps = found.iterations
    easy = torch.where((steps > 0) & (steps < 30), found.volume_before, -1).topk(2).indices
    assert found.volume_before[easy].min() > 0.01
    return torch.cat([easy, steps.argmax()[None], (~found.intersecting_before).nonzero()[0]])


@pytest.fixture(scope="module")
def few(pairs, rows):
    return untangle(pairs[1][rows])


def surfaces(found):
    skeleton = forward_kinematics(found.pose)
    return hand_surface(skeleton, HandShape.thin(like=skeleton.joints)).vertices


# --- what comes back -----------------------------------------------------------------------------------


def test_nothing_intersects_any_more_and_errors_do_not_explode(pairs, found):
    truth, wrong = pairs
    assert found.intersecting_before.sum() >= 4
    assert found.volume_before[found.intersecting_before].min() >= 0
    assert found.volume_before.sum() > 1
    assert not found.intersecting_after.any()
    assert len(found.unsolved) == 0
    assert not exact_intersections(surfaces(found).float()).any()
    assert found.volume_after.sum() == 0 == shared_volume(surfaces(found)).sum()
    before, after = ((joints - truth).norm(dim=-1).mean() for joints in (wrong, found.joints))
    assert after < before + 5e-4


def test_pairs_that_do_not_intersect_come_back_bit_by_bit(pairs, found):
    rest = ~found.intersecting_before
    assert rest.any()
    assert torch.equal(found.joints[rest], pairs[1][rest])
    assert (found.displacement[rest] == 0).all()
    assert (found.iterations[rest] == 0).all()
    assert (found.displacement[~rest] > 0).flatten(1).any(dim=1).all()


def test_bone_lengths_are_kept(pairs, found):
    ratio = bone_lengths_of(found.joints.double()) / bone_lengths_of(pairs[1].double())
    assert (ratio - 1).abs().max() < 1e-5


def test_limits_are_kept(found):
    assert limit_excess(found.pose, DEFAULT_LIMITS).max() < 1e-5


def test_limits_are_widened_only_as_far_as_the_input_needs():
    """A middle finger bent back by 80 degrees stays possible; no other angle of that hand gets more room."""
    _, wrong = made(1, seed=3)
    joints = left_mirrored(wrong)
    pose = rest_pose(1, 2, like=joints)
    angles = pose.joint_angles.clone()
    angles[:, 0, 2, 0, 0] = -1.4
    pose = replace(pose, joint_angles=angles, root_translation=joints[:, :, 0])
    turned = forward_kinematics(pose).joints
    close = left_mirrored(turned)
    close[:, 1] += close[:, 0, 9:10] - close[:, 1, 9:10]  # one knuckle in the other
    found = untangle(close)
    assert found.fit_error.max() < 1e-5
    assert not found.intersecting_after.any()
    excess = limit_excess(found.pose, DEFAULT_LIMITS).unflatten(-1, (-1,))[:, 0]
    beyond = (excess > 1e-3).nonzero()[:, 1].unique().tolist()
    assert beyond == [10 + 2 * 9]  # of 10 palm and 45 joint angles: base flexion of the middle finger


def test_report_counts_what_the_fields_say(pairs, found):
    report = found.report()
    assert report["pairs"] == 12
    assert report["intersecting_before"] == int(found.intersecting_before.sum())
    assert report["share_of_volume_removed"] == 1.0
    moves = (found.joints - pairs[1]).norm(dim=-1)
    assert report["max_displacement_mm"] == pytest.approx(1000 * float(moves.max()), rel=1e-5)
    assert report["share_intersecting_before"] == pytest.approx(report["intersecting_before"] / 12)


def test_a_pair_does_not_depend_on_its_company(found, rows, few):
    assert (few.joints - found.joints[rows]).abs().max() < 5e-4


# --- symmetries ----------------------------------------------------------------------------------------


def test_turning_and_moving_the_pair_turns_and_moves_the_result(pairs, rows, few):
    """Up to which way rounding decides where two ways are alike: millimetres of a few pairs."""
    turn = axis_angle_to_matrix(torch.tensor([0.4, -1.1, 0.7], dtype=torch.float64))
    shift = torch.tensor([1.5, -0.7, 2.0], dtype=torch.float64)
    turned = untangle(pairs[1][rows].double() @ turn.T + shift)
    assert torch.equal(turned.intersecting_before, few.intersecting_before)
    assert not turned.intersecting_after.any()
    assert torch.allclose(turned.volume_before, few.volume_before, rtol=0.1, atol=0.02)
    difference = ((turned.joints - shift) @ turn - few.joints).norm(dim=-1).mean(dim=(1, 2))
    assert difference.median() < 1e-3


def test_mirror_and_swap_give_the_mirrored_result(pairs, rows, few):
    swapped = untangle(mirror(pairs[1][rows].double()).flip(1))
    assert torch.equal(swapped.intersecting_before, few.intersecting_before)
    assert not swapped.intersecting_after.any()
    difference = (mirror(swapped.joints).flip(1) - few.joints).norm(dim=-1).mean(dim=(1, 2))
    assert difference.median() < 1e-3


# --- confidence ----------------------------------------------------------------------------------------


def test_a_trusted_hand_moves_less_than_half_as_far_and_only_ratios_count(pairs, rows):
    joints = pairs[1][rows[:2]].repeat(2, 1, 1, 1)
    weights = torch.zeros(4, 2, 21)
    weights[:2, 0] = weights[2:, 1] = 1
    first, second = untangle(joints, weights), untangle(joints, weights / 4)
    assert torch.equal(first.joints, second.joints)  # so do two runs
    assert torch.equal(first.iterations, second.iterations)
    still, other = (
        first.displacement.mean(dim=2).gather(1, hand[:, None])
        for hand in (torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 0]))
    )
    assert (other > 1e-4).all()
    assert (still < 0.5 * other).all()


# --- sequences -----------------------------------------------------------------------------------------


def test_a_sequence_is_smoother_than_its_frames_and_as_free_of_intersections(pairs, found):
    truth, wrong = (joints[found.volume_before.argmax()] for joints in pairs)
    beat = torch.sin(torch.linspace(0, 3.14, 12))[:, None, None, None]
    noisy = truth + beat * (wrong - truth)  # an error that comes and goes
    single = untangle(noisy)
    joined = untangle(noisy, sequence=torch.zeros(len(noisy), dtype=torch.long))
    assert single.intersecting_before.sum() > 4
    assert not joined.intersecting_after.any()
    assert joined.intersecting_before.equal(single.intersecting_before)
    moves = [result.joints - noisy for result in (single, joined)]
    rough = [(m[2:] - 2 * m[1:-1] + m[:-2]).norm(dim=-1).mean() for m in moves]
    assert rough[1] < 0.9 * rough[0]


def test_windowed_mean_keeps_constants_and_does_not_cross_sequences():
    sequence = torch.tensor([4, 4, 4, 7, 7])
    values = torch.tensor([1.0, 1, 1, 5, 5])[:, None, None, None].expand(5, 2, 21, 3)
    assert torch.allclose(windowed_mean(values, sequence, 3), values)
    spike = torch.zeros(5, 2, 21, 3)
    spike[1] = 1
    mean = windowed_mean(spike, torch.zeros(5, dtype=torch.long), 1)[:, 0, 0, 0]
    assert np.allclose(mean, [1 / 3, 0.5, 0.25, 0, 0])


# --- with a network ------------------------------------------------------------------------------------


class Balls:
    """A stand-in for the network: a ball of 9 mm about every joint is inside."""

    def condition(self, joints):
        return joints

    def logits_of(self, points, owner, condition):
        apart = (points[:, None] - condition[owner]).norm(dim=-1)
        return torch.logsumexp((0.009 - apart) / 0.001, dim=1)


@pytest.mark.parametrize("method", ["occupancy", "both"])
def test_a_network_may_say_what_is_inside(pairs, rows, few, method):
    asked = pairs[1][rows[:1]]
    result = untangle(asked, settings=UntangleSettings(method=method), occupancy=Balls())
    assert not result.intersecting_after.any()
    assert (result.joints - few.joints[:1]).abs().max() > 1e-4  # it was asked


# --- parts ---------------------------------------------------------------------------------------------


def test_twists_are_the_derivative_of_forward_kinematics():
    pose = random_pose(3, torch.Generator().manual_seed(1), dtype=torch.float64)
    twist, jacobian = twists(pose, forward_kinematics(pose))
    assert twist.shape == (3, 6, NUM_FREE)
    wide = torch.full((50,), 9.0, dtype=torch.float64)
    for number in range(NUM_FREE):
        step = torch.zeros(3, NUM_FREE, dtype=torch.float64)
        step[:, number] = 1e-6
        ends = [forward_kinematics(moved(pose, s, -wide, wide)).joints for s in (step, -step)]
        assert torch.allclose((ends[0] - ends[1]) / 2e-6, jacobian[..., number], atol=1e-8)


def test_shares_of_the_skin_predict_how_a_surface_moves():
    pose = random_pose(3, torch.Generator().manual_seed(1), extent=0.6, dtype=torch.float64)
    skeleton = forward_kinematics(pose)
    thin = HandShape.thin(like=skeleton.joints)
    vertices = hand_surface(skeleton, thin).vertices
    twist, _ = twists(pose, skeleton)
    shares = skin_shares(vertices)
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert (shares[:, 50:] == 1).all()
    step = 1e-3 * torch.randn(3, NUM_FREE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wide = torch.full((50,), 9.0, dtype=torch.float64)
    exact = hand_surface(forward_kinematics(moved(pose, step, -wide, wide)), thin).vertices - vertices
    turns, pulls = (part.mT[:, None].expand(3, 307, 56, 3) for part in twist.split(3, dim=1))
    rigid = torch.linalg.cross(turns, vertices[:, :, None].expand_as(turns)) + pulls
    predicted = ((shares[..., None] * rigid) * step[:, None, :, None]).sum(dim=2)
    assert (predicted - exact).norm() < 0.03 * exact.norm()


def test_packed_angles_come_back():
    pose = random_pose(2, torch.Generator().manual_seed(0))
    again = unpack(pose, pack(pose))
    assert torch.equal(again.joint_angles, pose.joint_angles)
    assert torch.equal(again.palm_angles, pose.palm_angles)


def two_boxes_of_hands(distance):
    """The rest hand and its mirror image, their wrists `distance` apart along x."""
    pose = rest_pose(1, 2)
    root = torch.tensor([[[distance / 2, 0.0, 0.0], [distance / 2, 0.0, 0.0]]])
    skeleton = forward_kinematics(replace(pose, root_translation=root))
    return hand_surface(skeleton, HandShape.thin(like=skeleton.joints)).vertices


def test_exact_test_and_volume_against_random_points():
    vertices = two_boxes_of_hands(0.0)
    assert exact_intersections(vertices).all()
    both = left_mirrored(vertices)
    low, high = both.amin(dim=2).amax(dim=1)[0], both.amax(dim=2).amin(dim=1)[0]
    points = low + (high - low) * torch.rand(40_000, 3, generator=torch.Generator().manual_seed(0))
    faces = surface_topology("plain").faces
    within = inside(points, Mesh(both[0, 0], faces)) & inside(points, Mesh(both[0, 1], faces.flip(-1)))
    volume = 1e6 * float((high - low).prod()) * float(within.double().mean())
    assert float(shared_volume(vertices)[0]) == pytest.approx(volume, rel=0.05)
    assert not exact_intersections(two_boxes_of_hands(0.5)).any()
    assert shared_volume(two_boxes_of_hands(0.5)).sum() == 0


def test_pushed_hands_are_apart_and_share_the_way():
    vertices = two_boxes_of_hands(0.02)
    share = torch.tensor([[0.25, 0.75]])
    shift, apart = push_apart(vertices, share, longest=0.2)
    assert apart.all()
    assert not exact_intersections(vertices + shift[:, :, None]).any()
    way = shift.norm(dim=-1)[0]
    assert float(way[1]) == pytest.approx(3 * float(way[0]), rel=1e-4)
    assert torch.allclose(3 * shift[0, 0], -mirror(shift[0, 1]), atol=1e-6)  # in opposite directions
    none, possible = push_apart(vertices, share, longest=1e-4)
    assert not possible.any()
    assert (none == 0).all()


# --- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda j: (j[:, :1], {}), r"shape \(pair, 2, 21, 3\)"),
        (lambda j: (j[:, :, :20], {}), "shape"),
        (lambda j: (torch.where(torch.arange(len(j))[:, None, None, None] == 2, torch.nan, j), {}), "pair 2"),
        (lambda j: (j, {"confidence": torch.ones(len(j), 2, 20)}), "confidence"),
        (lambda j: (j, {"confidence": -torch.ones(len(j), 2, 21)}), "not negative"),
        (lambda j: (j, {"sequence": torch.zeros(2, dtype=torch.long)}), "sequence"),
        (lambda j: (j, {"settings": UntangleSettings(method="both")}), "network"),
    ],
)
def test_bad_input_is_named(pairs, change, words):
    joints, others = change(pairs[1][:4])
    with pytest.raises((ValueError, TypeError), match=words if "shape" not in words else None):
        untangle(joints, **others)


def test_no_pairs_give_no_pairs():
    found = untangle(torch.zeros(0, 2, 21, 3))
    assert found.joints.shape == (0, 2, 21, 3)
    assert found.report()["pairs"] == 0

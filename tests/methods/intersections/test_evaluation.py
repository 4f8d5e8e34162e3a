import math
from dataclasses import fields

import pytest
import scipy.stats
import torch
import trimesh
from torch import nn

from hands_lib.geometry.inside import grid_points, inside
from hands_lib.hand.inverse_kinematics import inverse_kinematics
from hands_lib.hand.kinematics import mirror
from hands_lib.hand.pairs import pair_faces, pair_joints, pair_surfaces
from hands_lib.hand.skeleton import JOINTS
from hands_lib.methods.intersections import evaluation
from hands_lib.methods.intersections.evaluation import (
    correlations,
    count_intersections,
    decrease_percent,
    errors_mm,
    fitted_surfaces,
    occupied_grid_points,
    occupied_points,
    overlap_cm3,
)
from hands_lib.methods.intersections.sampling import thin_surface
from hands_lib.structures import Mesh
from hands_lib.worlds.estimates import perturb
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs


@pytest.fixture(scope="module")
def people():
    return sample_identities(6, seed=2)


@pytest.fixture(scope="module")
def pairs(people):
    """18 accepted pairs, two of each interaction; two are apart."""
    return sample_pairs(18, people, torch.Generator().manual_seed(5))[0]


@pytest.fixture(scope="module")
def estimates(pairs):
    """The same with 15 mm of error; most intersect."""
    return pair_joints(perturb(pairs.pose, 0.015, torch.Generator().manual_seed(1)))


def solid(shape: trimesh.Trimesh, *shift: float) -> Mesh:
    shift = shift or (0.0, 0.0, 0.0)
    vertices = torch.tensor(shape.vertices) + torch.tensor(shift, dtype=torch.float64)
    return Mesh(vertices[None], torch.tensor(shape.faces))


class ExactOccupancy:
    """A network that knows: inside the thin surface of the conditioning hand or not."""

    def condition(self, joints):
        return thin_surface(joints)

    def logits(self, points, condition):
        return torch.where(inside(points, condition), 5.0, -5.0)

    def logits_of(self, points, owner, condition):
        logits = torch.empty(len(points))
        for hand in owner.unique():
            mesh = Mesh(condition.vertices[hand], condition.faces)
            logits[owner == hand] = self.logits(points[owner == hand], mesh)
        return logits


class WristBall:
    """A network for which a hand is a ball about its wrist."""

    def __init__(self, radius: float):
        self.radius = radius

    def condition(self, joints):
        return joints[:, 0]

    def logits(self, points, condition):
        return 1000 * (self.radius - (points - condition[:, None]).norm(dim=-1))

    def logits_of(self, points, owner, condition):
        return 1000 * (self.radius - (points - condition[owner]).norm(dim=-1))


# --- volumes -------------------------------------------------------------------------------------------


def test_overlap_of_boxes_is_exact():
    first, second = trimesh.creation.box((0.04, 0.06, 0.10)), trimesh.creation.box((0.05, 0.02, 0.03))
    found = overlap_cm3(solid(first), solid(second, 0.03, 0.035, 0.0))
    assert found.tolist() == pytest.approx([1.5 * 0.5 * 3.0], rel=1e-9)
    assert overlap_cm3(solid(first), solid(second, 0.2, 0.0, 0.0)).tolist() == [0.0]


@pytest.mark.parametrize("distance", [0.02, 0.05, 0.07])
def test_overlap_of_balls_in_closed_form(distance):
    radius = 0.04
    ball = trimesh.creation.icosphere(4, radius)
    lens = math.pi * (4 * radius + distance) * (2 * radius - distance) ** 2 / 12
    found = overlap_cm3(solid(ball), solid(ball, 0.6 * distance, 0.0, 0.8 * distance))
    assert found.item() == pytest.approx(1e6 * lens, rel=0.015)


def test_overlap_of_a_hand_with_itself_converges_to_its_volume(estimates):
    (right, _), _ = fitted_surfaces(estimates[:3].double())
    a, b, c = right.vertices[:, right.faces].unbind(dim=2)
    volume = 1e6 * (a * torch.linalg.cross(b, c)).sum(dim=(1, 2)) / 6  # divergence theorem
    errors = [(overlap_cm3(right, right, n) / volume - 1).abs().max().item() for n in (16, 64)]
    assert errors[1] < 0.002
    assert errors[1] < errors[0] / 3


def test_overlap_and_ray_cast_against_random_points(estimates):
    joints = estimates.double()
    (right, left), _ = fitted_surfaces(joints)
    found = count_intersections(joints, progress=False)
    low = torch.maximum(right.vertices.amin(dim=1), left.vertices.amin(dim=1))
    high = torch.minimum(right.vertices.amax(dim=1), left.vertices.amax(dim=1))
    meet = (low < high).all(dim=1)
    assert torch.equal(found.overlap_cm3[~meet], torch.zeros(int((~meet).sum()), dtype=torch.float64))
    num, generator = 100_000, torch.Generator().manual_seed(0)
    points = torch.rand(int(meet.sum()), num, 3, generator=generator, dtype=torch.float64)
    points = low[meet, None] + points * (high - low)[meet, None]
    meshes = [Mesh(mesh.vertices[meet], mesh.faces) for mesh in (right, left)]
    share = (inside(points, meshes[0]) & inside(points, meshes[1])).double().mean(dim=1)
    box = 1e6 * (high - low)[meet].prod(dim=1)
    deviation = box * (share * (1 - share) / num).sqrt()
    error = (found.overlap_cm3[meet] - box * share).abs()
    assert (found.overlap_cm3 > 0).sum() >= 8
    assert (error < 4 * deviation + 0.004).all()
    # The coarse grid of the paper has the same volume on average.
    assert found.ray_cast_cm3.sum().item() == pytest.approx(found.overlap_cm3.sum().item(), rel=0.05)


# --- the paper's count ---------------------------------------------------------------------------------


def test_ray_cast_counts_the_points_of_the_definition(estimates):
    """Every grid point of every pair asked one by one, also where boxes do not meet."""
    found = count_intersections(estimates, progress=False)
    (right, left), _ = fitted_surfaces(estimates)
    counted = []
    for pair in range(len(estimates)):
        own = [Mesh(mesh.vertices[pair], mesh.faces) for mesh in (right, left)]
        both = torch.cat([mesh.vertices for mesh in own])
        points = grid_points(both.amin(dim=0), both.amax(dim=0), 50).view(-1, 3)
        assert len(points) == 125_000
        counted.append(int((inside(points, own[0]) & inside(points, own[1])).sum()))
    assert found.ray_cast.tolist() == counted
    assert sum(counted) > 50
    assert counted.count(0) >= 2
    spans = torch.cat([right.vertices, left.vertices], dim=1)
    cell = ((spans.amax(dim=1) - spans.amin(dim=1)) / 49).prod(dim=1)
    assert torch.allclose(found.ray_cast_cm3, 1e6 * found.ray_cast * cell)
    assert torch.equal(found.intersecting, (found.ray_cast > 0) | (found.overlap_cm3 > 0))


def test_truths_of_the_world_do_not_intersect(people, pairs, estimates):
    vertices, faces = pair_surfaces(pairs.pose, people[pairs.identity].shape), pair_faces()
    own = [Mesh(vertices[:, hand], faces[hand]) for hand in (0, 1)]
    assert overlap_cm3(*own).tolist() == [0.0] * len(vertices)
    # Thin surfaces know the skeletons alone; a slender person's palms may be a little thinner still.
    truth, wrong = (count_intersections(j, progress=False) for j in (pair_joints(pairs.pose), estimates))
    assert truth.overlap_cm3.sum() < 0.03 * wrong.overlap_cm3.sum()


def test_chunks_and_summary_change_nothing(estimates, monkeypatch):
    joints, network = estimates[:7].double(), ExactOccupancy()
    whole = count_intersections(joints, network, progress=False)
    monkeypatch.setattr(evaluation, "_CHUNK", 3)
    parts = count_intersections(joints, network, progress=True)
    for field in fields(whole):
        first, second = getattr(whole, field.name), getattr(parts, field.name)
        assert second is first is None or torch.allclose(first, second, atol=1e-9)
    summary = whole.summary()
    assert summary["pairs"] == 7
    assert summary["ray_cast"] == whole.ray_cast.sum()
    assert summary["occupied_per_pair"] == pytest.approx(whole.occupied.sum().item() / 7)
    assert summary["intersecting_share"] == pytest.approx(whole.intersecting.float().mean().item())
    assert "occupied_grid" not in summary


# --- fits ----------------------------------------------------------------------------------------------


def test_hands_are_met_and_odd_skeletons_reported(estimates):
    (right, left), errors = fitted_surfaces(estimates, "fit")
    assert 1000 * errors.mean() < 0.4
    (same, _), _ = fitted_surfaces(estimates, "joints")
    assert (same.vertices - right.vertices).norm(dim=-1).mean() < 1e-4
    mirrored = thin_surface(mirror(estimates[:, 1]))
    assert torch.allclose(mirror(left.vertices), mirrored.vertices, atol=1e-6)
    assert torch.equal(left.faces, mirrored.faces.flip(-1))

    odd = estimates + 0.006 * torch.randn(estimates.shape, generator=torch.Generator().manual_seed(0))
    (on_joints, _), errors = fitted_surfaces(odd, "joints")
    assert torch.allclose(errors[:, 0], inverse_kinematics(odd[:, 0]).residuals, atol=1e-4)
    assert 1000 * errors.mean() > 0.4
    # The surface "joints" has a vertex next to the given tips, 1.6 mm beyond them on a hand of rest size.
    tips = odd[:, 0, [JOINTS.index(f"{digit}_4") for digit in ("thumb", "index", "middle")]]
    assert torch.cdist(tips, on_joints.vertices).amin(dim=-1).max() < 0.004
    found = count_intersections(odd, progress=False)
    assert torch.allclose(found.fit_mean_mm, 1000 * errors.flatten(1).mean(dim=1))
    assert torch.allclose(found.fit_max_mm, 1000 * errors.flatten(1).amax(dim=1))


# --- occupancy -----------------------------------------------------------------------------------------


def test_a_network_that_knows_counts_as_ray_casting_does(estimates):
    joints, network = estimates.double(), ExactOccupancy()
    counts = count_intersections(joints, network, volumetric=True, surface="fit", progress=False)
    assert counts.ray_cast.sum() > 50
    assert (counts.occupied_grid - counts.ray_cast).abs().max() <= 1  # a point on a reflected surface
    (right, left), _ = fitted_surfaces(joints, "fit")
    assert torch.equal(counts.occupied, inside(joints[:, 1], right).sum(dim=1))
    both = counts.occupied + inside(joints[:, 0], left).sum(dim=1)
    assert torch.equal(occupied_points(joints, network, both=True), both)
    dense = occupied_points(joints, network, "dense")
    assert (dense >= counts.occupied).all()
    assert dense.sum() > counts.occupied.sum() > 0


def test_occupied_points_of_a_ball_about_the_wrist(estimates):
    network = WristBall(0.09)
    right, left = estimates.unbind(dim=1)
    in_right = ((left - right[:, :1]).norm(dim=-1) < 0.09).sum(dim=1)
    in_left = ((right - left[:, :1]).norm(dim=-1) < 0.09).sum(dim=1)
    assert in_right.sum() > 0
    assert torch.equal(occupied_points(estimates, network), in_right)
    assert torch.equal(occupied_points(estimates, network, both=True), in_right + in_left)

    lower, upper = (getattr(estimates.flatten(1, 2), name)(dim=1) for name in ("amin", "amax"))
    points = grid_points(lower, upper, 20).flatten(1, 3)
    in_both = [(points - hand[:, :1]).norm(dim=-1) < 0.05 for hand in (right, left)]
    found = occupied_grid_points(estimates, WristBall(0.05), (lower, upper), 20, reach=None)
    assert torch.equal(found, (in_both[0] & in_both[1]).sum(dim=1))


def test_reach_leaves_nothing_out_of_a_hand(estimates):
    lower, upper = (getattr(estimates.flatten(1, 2), name)(dim=1) for name in ("amin", "amax"))
    near, everywhere = (
        occupied_grid_points(estimates, ExactOccupancy(), (lower, upper), 24, reach) for reach in (0.03, None)
    )
    assert torch.equal(near, everywhere)
    assert near.sum() > 0


# --- errors and rates ----------------------------------------------------------------------------------


def test_errors_follow_the_named_protocols(pairs, estimates):
    truth = pair_joints(pairs.pose)
    found = errors_mm(estimates, truth, ("absolute", "wrist"))
    assert found["absolute"] == pytest.approx(15, rel=1e-3)  # what `perturb` was asked for
    relative = (estimates - estimates[:, :, :1]) - (truth - truth[:, :, :1])
    assert found["wrist"] == pytest.approx(1000 * relative.norm(dim=-1).mean().item(), rel=1e-5)
    with pytest.raises(ValueError, match=r"elbow.*wrist"):
        errors_mm(estimates, truth, ("elbow",))


def test_decrease_is_the_tables():
    assert decrease_percent(376_111, 306_478) == pytest.approx(18.51, abs=0.005)  # Table I, Xiong
    with pytest.raises(ValueError, match="no percentage"):
        decrease_percent(0, 3)


# --- correlation ---------------------------------------------------------------------------------------


def test_correlations_against_scipy_with_ties():
    generator = torch.Generator().manual_seed(0)
    first = torch.poisson(torch.full((400,), 1.5), generator=generator).long()
    second = first * 7 + torch.poisson(torch.full((400,), 6.0), generator=generator).long()
    found = correlations(first, second, resamples=200)
    pearson = scipy.stats.pearsonr(first.numpy(), second.numpy())
    assert found["pearson"].value == pytest.approx(pearson.statistic, rel=1e-9)
    spearman = scipy.stats.spearmanr(first.numpy(), second.numpy()).statistic
    assert found["spearman"].value == pytest.approx(spearman, rel=1e-9)
    for correlation in found.values():
        assert correlation.low < correlation.value < correlation.high
    theory = pearson.confidence_interval(0.95)  # of normal counts; these are nearly so
    assert found["pearson"].low == pytest.approx(theory.low, abs=0.02)
    assert found["pearson"].high == pytest.approx(theory.high, abs=0.02)


def test_a_resampled_rank_is_that_of_the_repeated_sample():
    values = torch.tensor([3.0, 1.0, 1.0, 8.0])
    distinct, inverse = values.unique(return_inverse=True)
    times = torch.tensor([2, 0, 1, 3])
    ranks = evaluation._ranks(times.double(), inverse, len(distinct))[inverse]
    repeated = scipy.stats.rankdata(values.repeat_interleave(times).numpy())
    assert ranks.repeat_interleave(times).tolist() == repeated.tolist()


def test_a_constant_count_has_no_correlation():
    found = correlations(torch.zeros(5, dtype=torch.long), torch.arange(5), resamples=20)
    assert all(math.isnan(value) for value in vars(found["spearman"]).values())


# --- bad input -----------------------------------------------------------------------------------------


def test_unusable_input_is_an_error(estimates):
    with pytest.raises(ValueError, match="no pairs"):
        count_intersections(estimates[:0])
    broken = estimates.clone()
    broken[2, 1, 4] = torch.nan
    with pytest.raises(ValueError, match=r"pairs from 0 on.*hand 5.*thumb_4"):
        count_intersections(broken, progress=False)
    with pytest.raises(ValueError, match="median"):
        fitted_surfaces(estimates, "median")
    with pytest.raises(ValueError, match="unknown point set"):
        occupied_points(estimates, WristBall(0.1), "dotted")
    with pytest.raises(ValueError, match="three pairs"):
        correlations(torch.arange(3), torch.arange(4))

    class Training(WristBall, nn.Module):
        def __init__(self):
            nn.Module.__init__(self)

    with pytest.raises(ValueError, match="training mode"):
        count_intersections(estimates, Training())

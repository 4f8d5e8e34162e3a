"""Training points and IoU against definitions, exact volumes and other ways to compute the same."""

import math

import pytest
import torch

from hands_lib.geometry.distance import unsigned_distance
from hands_lib.geometry.inside import bounding_box, grid_occupancy, inside
from hands_lib.geometry.normals import face_area_vectors
from hands_lib.geometry.rotations import random_rotations
from hands_lib.hand.kinematics import forward_kinematics, random_pose
from hands_lib.methods.intersections.occupancy import OccupancyNetwork, OccupancySettings
from hands_lib.methods.intersections.sampling import (
    SamplingSettings,
    drawn_batch,
    grid_iou,
    intersection_over_union,
    rotated_about_wrist,
    surface_points,
    thin_surface,
    training_batch,
    training_points,
)
from hands_lib.structures import Mesh


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_hands(num: int, seed: int = 0):
    joints = forward_kinematics(random_pose(num, generator(seed), extent=0.6)).joints
    return joints, thin_surface(joints)


def box(sides: tuple[float, float, float]) -> Mesh:
    corners = torch.tensor([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = [triangle for a, b, c, d in quads for triangle in ([a, b, c], [a, c, d])]
    return Mesh((corners * torch.tensor(sides))[None], torch.tensor(faces))


class KnownShape(OccupancyNetwork):
    """Says 'inside' exactly in a half space around each wrist."""

    def logits(self, points, condition, latent=None):
        return 10.0 * (points[..., 0] - condition.origin[:, None, 0])


def test_surface_points_lie_on_the_surface_in_proportion_to_area():
    mesh = box((1.0, 2.0, 3.0))
    points = surface_points(mesh, 60_000, generator())
    assert unsigned_distance(points, mesh).distance.max() < 1e-6
    half = torch.tensor([0.5, 1.0, 1.5])
    on_side = ((points[0].abs() - half).abs() < 1e-6).float().mean(dim=0)  # pairs of sides: x, y, z
    expected = torch.tensor([6.0, 3.0, 2.0]) / 11
    torch.testing.assert_close(on_side, expected, atol=4 * math.sqrt(0.25 / 60_000), rtol=0)
    assert points[0].mean(dim=0).abs().max() < 0.05


def test_every_hand_has_its_own_points():
    joints, mesh = some_hands(3)
    points = surface_points(mesh, 200, generator())
    # In metres, a point on the surface of an edge length of some millimetres is exact to rounding.
    assert unsigned_distance(points, mesh).distance.max() < 1e-6
    area = face_area_vectors(mesh)
    assert not torch.equal(area[0], area[1])


def test_half_of_the_points_fill_the_padded_box():
    joints, mesh = some_hands(2)
    settings = SamplingSettings(num_points=8000, padding=0.2, deviation=0.004)
    points = training_points(mesh, settings, generator())
    uniform, near = points[:, :4000], points[:, 4000:]
    lower, upper = bounding_box(mesh.vertices)
    place = (uniform - lower[:, None]) / (upper - lower)[:, None]
    assert place.min() >= -0.1 - 1e-5
    assert place.max() <= 1.1 + 1e-5
    torch.testing.assert_close(place.mean(dim=1), torch.full((2, 3), 0.5), atol=0.03, rtol=0)
    torch.testing.assert_close(place.std(dim=1), torch.full((2, 3), 1.2 / math.sqrt(12)), atol=0.02, rtol=0)
    distance = unsigned_distance(near, mesh).distance
    # At most the displacement, which has the length of a 3D normal; curved surfaces come closer only.
    assert distance.mean() < 0.004 * math.sqrt(8 / math.pi)
    assert distance.mean() > 0.001


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_shares_add_up(share):
    _, mesh = some_hands(1)
    settings = SamplingSettings(num_points=11, uniform_share=share)
    assert training_points(mesh, settings, generator()).shape == (1, 11, 3)


def test_labels_are_those_of_the_final_points():
    """The mesh is rebuilt here from the turned joints alone: labels hold for what the network is shown."""
    joints, mesh = some_hands(4)
    batch = training_batch(joints, mesh, SamplingSettings(num_points=600), generator(1))
    rebuilt = thin_surface(batch.joints)
    assert not torch.allclose(batch.joints, joints)
    certain = unsigned_distance(batch.points, rebuilt).distance > 2e-5  # rounding of float32 poses
    assert certain.float().mean() > 0.99
    assert torch.equal(inside(batch.points, rebuilt)[certain], batch.occupied[certain])
    assert 0.05 < batch.occupied.float().mean() < 0.6


def test_a_turn_keeps_the_hand():
    joints, mesh = some_hands(3)
    turn = random_rotations(3, generator())
    turned, vertices = rotated_about_wrist(turn, joints, mesh.vertices)
    torch.testing.assert_close(turned[:, 0], joints[:, 0])
    torch.testing.assert_close(
        torch.cdist(turned, vertices), torch.cdist(joints, mesh.vertices), atol=5e-6, rtol=0
    )


def test_without_rotation_the_joints_stay():
    joints, mesh = some_hands(2)
    settings = SamplingSettings(num_points=5, rotate=False)
    assert torch.equal(training_batch(joints, mesh, settings, generator()).joints, joints)


def test_batches_repeat():
    joints, mesh = some_hands(2)
    first, second = (
        training_batch(joints, mesh, SamplingSettings(num_points=50), generator(7)) for _ in range(2)
    )
    assert torch.equal(first.points, second.points)
    assert torch.equal(first.joints, second.joints)


def test_intersection_over_union_by_hand():
    predicted = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    true = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    torch.testing.assert_close(intersection_over_union(predicted, true), torch.tensor([1 / 3, 1.0, 0.0]))


def test_nothing_inside_anything_has_no_iou():
    nothing = torch.zeros(2, 4).bool()
    with pytest.raises(ValueError, match="hand 0 has no point inside"):
        intersection_over_union(nothing, nothing)


def test_grid_iou_of_a_known_shape():
    """Half of the box is called inside: the planes of the grid with x > 0."""
    network = KnownShape(OccupancySettings(2, 2, 2)).train()
    joints = torch.zeros(1, 21, 3)
    joints[0, 1:] = torch.arange(60).view(20, 3) / 100  # any hand whose wrist is the origin
    mesh = box((1.0, 1.0, 1.0))
    true = grid_occupancy(mesh, 10)
    plane = torch.linspace(-0.5, 0.5, 10) > 0
    expected = (true[0] & plane[:, None, None]).sum() / (true[0] | plane[:, None, None]).sum()
    torch.testing.assert_close(grid_iou(network, joints, mesh, 10)[0], expected)
    assert 0.3 < expected < 0.6
    assert network.training  # left as it was found


def test_perfect_prediction_has_iou_one():
    joints, mesh = some_hands(1)

    class Oracle(OccupancyNetwork):
        def logits(self, points, condition, latent=None):
            return torch.where(inside(points, mesh), 5.0, -5.0)

    network = Oracle(OccupancySettings(2, 2, 2))
    assert grid_iou(network, joints, mesh, 20).item() == 1.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_points": 0}, "num_points must be at least 1, not 0"),
        ({"uniform_share": 1.5}, r"uniform_share must lie in \[0, 1\], not 1.5"),
        ({"deviation": -0.1}, "deviation must not be negative, but is -0.1"),
        ({"padding": float("nan")}, "padding must not be negative, but is nan"),
    ],
)
def test_bad_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        SamplingSettings(**wrong)


def test_bad_hands():
    joints, mesh = some_hands(2)
    settings = SamplingSettings(num_points=5)
    with pytest.raises(ValueError, match="1 hands do not fit 2 meshes"):
        training_batch(joints[:1], mesh, settings, generator())
    broken = joints.clone()
    broken[1, 3, 2] = torch.nan
    with pytest.raises(ValueError, match="joints of hand 1 are not finite"):
        training_batch(broken, mesh, settings, generator())
    network = OccupancyNetwork(OccupancySettings(2, 2, 2))
    with pytest.raises(ValueError, match="threshold must lie between 0 and 1, not 1"):
        grid_iou(network, joints, mesh, 5, threshold=1.0)


def test_a_batch_is_half_of_the_pool_and_half_new():
    pool = forward_kinematics(random_pose(3, torch.Generator().manual_seed(9))).joints
    settings = SamplingSettings(num_points=40)
    batch, again = (drawn_batch(pool, 8, settings, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(batch.points, again.points)
    assert batch.points.shape == (8, 40, 3)
    # a turn keeps distances to the wrist
    shapes = [(joints - joints[:, :1]).norm(dim=-1) for joints in (batch.joints, pool)]
    known = (shapes[0][:, None] - shapes[1]).abs().amax(dim=-1).amin(dim=1) < 1e-5
    assert known.tolist() == [True] * 4 + [False] * 4


def test_iou_comes_back_to_where_the_hands_are():
    joints = forward_kinematics(random_pose(2, torch.Generator().manual_seed(0))).joints
    network = OccupancyNetwork(OccupancySettings(8, 8, 12))
    shares = grid_iou(network, joints, thin_surface(joints), 16)
    assert shares.device == joints.device
    assert network.training

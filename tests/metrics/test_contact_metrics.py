"""Contact and penetration against closed forms: two balls, two boxes, and what motions must not change."""

import math

import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.geometry.meshes import GeometryError
from hands_lib.geometry.rotations import random_rotations
from hands_lib.metrics.contact import (
    VOXEL,
    area_within,
    contacts,
    disjoint_regions,
    intersection_volumes,
    penetration_depths,
)
from hands_lib.structures import Mesh

RADIUS = 0.03


def ball(radius: float = RADIUS, finer: int = 4) -> Mesh:
    solid = trimesh.creation.icosphere(finer, radius)
    # Vertices lie on the sphere, faces inside of it: as much volume as the ball itself.
    vertices = torch.tensor(solid.vertices) * (4 / 3 * math.pi * radius**3 / solid.volume) ** (1 / 3)
    return Mesh(vertices, torch.tensor(solid.faces))


def box(*size: float) -> Mesh:
    solid = trimesh.creation.box(size).subdivide().subdivide().subdivide()
    return Mesh(torch.tensor(solid.vertices), torch.tensor(solid.faces))


def moved(mesh: Mesh, *by: float) -> Mesh:
    return Mesh(mesh.vertices + torch.tensor(by, dtype=torch.double), mesh.faces)


def lens(overlap: float, radius: float = RADIUS) -> float:
    """Volume common to two balls of one radius whose surfaces overlap by so much."""
    return math.pi * overlap**2 * (6 * radius - overlap) / 12


@pytest.mark.parametrize("overlap", [0.005, 0.010, 0.030])
def test_two_balls_share_a_lens(overlap: float) -> None:
    first, second = ball(), moved(ball(), 2 * RADIUS - overlap, 0, 0)
    depths, volumes = penetration_depths(first, second), intersection_volumes(first, second)
    assert depths.deepest.item() == pytest.approx(overlap, abs=2e-4)
    assert volumes.volume.item() == pytest.approx(lens(overlap), rel=0.01)
    assert volumes.grid_1_mm.item() == pytest.approx(lens(overlap), rel=0.08)
    # Points of a sphere at the distance t from another centre at d have the density t / (2 R d) in t, so the
    # mean depth over the whole sphere is the integral of (R - t) t / (2 R d) from d - R to R.
    d = 2 * RADIUS - overlap
    ends = [RADIUS * t**2 / 2 - t**3 / 3 for t in (RADIUS, d - RADIUS)]
    assert depths.mean.item() == pytest.approx((ends[0] - ends[1]) / (2 * RADIUS * d), rel=0.03, abs=2e-6)
    assert depths.mean_inside > depths.mean
    assert depths.mean_inside <= depths.percentile_95 <= depths.deepest


def test_depth_over_all_vertices_is_many_times_smaller_than_the_deepest() -> None:
    depths = penetration_depths(ball(), moved(ball(), 2 * RADIUS - 0.010, 0, 0))
    assert depths.deepest > 8 * depths.mean
    assert depths.mean_on_grid.item() == pytest.approx(depths.mean.item(), rel=0.15)
    assert depths.deepest_on_grid.item() == pytest.approx(depths.deepest.item(), rel=0.1)
    assert depths.deepest_to_vertex >= depths.deepest


def test_voxels_of_the_surface_miss_the_inside() -> None:
    # A box of 40 mm inside a large one: 8 x 8 x 8 voxels are centred in it (edges fall between centres), its
    # surface passes through the outermost layer of them alone.
    inner = moved(box(0.0398, 0.0398, 0.0398), 0.0025, 0.0025, 0.0025)
    volumes = intersection_volumes(box(0.2, 0.2, 0.2), inner)
    voxel = VOXEL**3
    assert volumes.solid_voxels.item() == pytest.approx(8**3 * voxel)
    assert volumes.surface_voxels.item() == pytest.approx((8**3 - 6**3) * voxel)
    assert volumes.grid_5_mm.item() == pytest.approx(8**3 * voxel)
    assert volumes.volume.item() == pytest.approx(0.0398**3, rel=0.03)


def test_two_boxes_share_a_box() -> None:
    first, second = box(0.1, 0.1, 0.1), moved(box(0.1, 0.1, 0.1), 0.093, 0.02, -0.01)
    depths, volumes = penetration_depths(first, second), intersection_volumes(first, second)
    assert depths.deepest.item() == pytest.approx(0.007)
    assert volumes.volume.item() == pytest.approx(0.007 * 0.08 * 0.09, rel=0.04)


def test_apart_is_zero_everywhere() -> None:
    first, second = ball(), moved(ball(), 0.0643, 0, 0)  # 4.3 mm between them
    for value in vars(penetration_depths(first, second)).values():
        assert value.item() == 0
    for value in vars(intersection_volumes(first, second)).values():
        assert value.item() == 0
    touch = contacts(first, second)
    assert (touch.below_zero.item(), touch.within_5_mm.item()) == (False, True)
    assert touch.share_within_4_mm.item() == 0
    assert touch.area_within_2_mm.item() == 0


@pytest.mark.parametrize("limit", [0.001, 0.004, 0.02])
def test_area_within_a_plane_is_a_spherical_cap(limit: float) -> None:
    mesh = ball(finer=5)
    height = mesh.vertices[:, 2] + RADIUS  # above the plane that the ball stands on
    area = area_within(mesh, height, limit).item()
    assert area == pytest.approx(2 * math.pi * RADIUS * limit, rel=0.03)


def test_area_within_everything_is_the_area() -> None:
    mesh = ball()
    area = area_within(mesh, torch.zeros(len(mesh.vertices), dtype=torch.double), 1.0).item()
    assert area == pytest.approx(4 * math.pi * RADIUS**2, rel=0.01)
    assert area_within(mesh, torch.ones(len(mesh.vertices), dtype=torch.double), 1.0).item() == 0


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), overlap=st.floats(0.002, 0.03))
def test_a_motion_of_both_changes_no_distance(seed: int, overlap: float) -> None:
    first, second = ball(finer=2), moved(ball(finer=2), 2 * RADIUS - overlap, 0, 0)
    generator = torch.Generator().manual_seed(seed)
    turn = random_rotations(1, generator, torch.double)[0]
    shift = 0.1 * torch.randn(3, generator=generator, dtype=torch.double)
    before = penetration_depths(first, second)
    after = penetration_depths(*(Mesh(m.vertices @ turn.T + shift, m.faces) for m in (first, second)))
    for name in ("deepest", "deepest_to_vertex", "mean", "mean_inside", "percentile_95"):
        torch.testing.assert_close(getattr(before, name), getattr(after, name), atol=1e-8, rtol=1e-5)
    before, after = contacts(first, second), contacts(second, first)
    torch.testing.assert_close(before.area_within_2_mm, after.area_within_2_mm, atol=2e-4, rtol=0)


def test_a_batch_is_its_pairs_one_by_one() -> None:
    offsets = torch.tensor([[0.055, 0, 0], [0.02, 0.03, 0], [0.2, 0, 0]], dtype=torch.double)
    first = ball(finer=3)
    many = Mesh(first.vertices.expand(3, -1, -1), first.faces)
    held = Mesh(first.vertices + offsets[:, None], first.faces)
    for measure in (penetration_depths, intersection_volumes, contacts):
        together = measure(many, held)
        for n in range(3):
            alone = measure(first, Mesh(held.vertices[n], held.faces))
            for name, value in vars(together).items():
                torch.testing.assert_close(value[n], getattr(alone, name), atol=1e-12, rtol=1e-6)


def test_regions_are_as_far_as_their_nearest_vertex() -> None:
    distance = torch.tensor([[0.003, -0.001, 0.02, 0.01]])
    found = disjoint_regions(distance, torch.tensor([0, 1, 2, 2]), 3)
    torch.testing.assert_close(found, torch.tensor([[0.003, 0.0, 0.01]]))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(GeometryError, match="equal batches"):
        penetration_depths(ball(), Mesh(ball().vertices[None], ball().faces))
    with pytest.raises(GeometryError, match="not closed"):
        intersection_volumes(ball(), Mesh(ball().vertices, ball().faces[1:]))
    with pytest.raises(GeometryError, match="convert one"):
        contacts(ball(), ball().to(torch.float32))

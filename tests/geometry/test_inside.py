import igl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from solids import ball, box, soup, torus, two_hands

from hands_lib.geometry.inside import (
    bounding_box,
    count_inside_both,
    grid_occupancy,
    grid_points,
    inside,
    winding_number,
)
from hands_lib.geometry.meshes import GeometryError
from hands_lib.geometry.rotations import random_rotations
from hands_lib.structures import Mesh


def exact_winding_number(points: torch.Tensor, mesh: Mesh) -> torch.Tensor:
    arrays = mesh.vertices.double().numpy(), mesh.faces.numpy(), points.reshape(-1, 3).double().numpy()
    return torch.tensor(igl.winding_number(*arrays)).view(points.shape[:-1])


def test_torus_in_closed_form():
    mesh = torus()
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) * 6 - 3
    to_circle = torch.hypot(points[:, :2].norm(dim=-1) - 2, points[:, 2])
    # The mesh is inside the torus, by less than the sag of its faces.
    clear = (to_circle - 0.7).abs() > 0.07
    assert clear.sum() > 15_000
    assert torch.equal(inside(points, mesh)[clear], (to_circle < 0.7)[clear])


def test_box_divides_its_surface_like_pixels():
    """Boxes stacked side by side share no point and leave none out: inside are the lower sides and the edges
    and corners between them, as for intervals [lower, upper)."""
    mesh = box(1, 1, 1)
    axis = torch.arange(-4, 5) / 4
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    expected = ((points >= -0.5) & (points < 0.5)).all(dim=-1)
    assert torch.equal(inside(points.view(-1, 3), mesh).view(9, 9, 9), expected)
    assert torch.equal(grid_occupancy(mesh, 9, (-torch.ones(3), torch.ones(3))), expected)


def test_rays_through_vertices_and_edges():
    """Points exactly below the vertices and the middles of the edges of a ball."""
    mesh = ball()
    middles = (mesh.vertices[mesh.faces[:, 0]] + mesh.vertices[mesh.faces[:, 1]]) / 2
    targets = torch.cat([mesh.vertices, middles])
    targets = targets[targets[:, :2].norm(dim=-1) < 0.95]
    for height, expected in ((0.0, True), (-2.0, False), (2.0, False)):
        points = targets.clone()
        points[:, 2] = height
        assert inside(points, mesh).eq(expected).all()


def test_overlapping_parts_are_inside():
    """Parity calls the overlap outside; the winding number there is 2."""
    mesh = soup(box(2, 2, 2), Mesh(box(2, 2, 2).vertices + 0.5, box(2, 2, 2).faces))
    points = torch.tensor([[0.0, 0, 0], [0.9, 0.9, 0.9], [1.2, 1.2, 1.2], [-0.9, -0.9, -0.9], [1.2, -0.9, 0]])
    assert winding_number(points, mesh).tolist() == [2, 2, 1, 1, 0]
    assert inside(points, mesh).tolist() == [True, True, True, True, False]


def test_no_disagreement_with_the_exact_winding_number_on_five_million_points():
    """The columns of the grid and the single points judge each other on all of them; the exact winding
    number, which takes minutes for so many, judges every thirtieth."""
    right, left = two_hands(seed=11, num=20, distance=0.02)
    rotation = random_rotations(20, torch.Generator().manual_seed(0))
    hands = [Mesh(mesh.vertices @ rotation.mT, mesh.faces) for mesh in (right, left)]
    vertices = torch.cat([mesh.vertices for mesh in hands], dim=1)
    faces = torch.cat([hands[0].faces, hands[1].faces + right.vertices.shape[1]])
    pairs = Mesh(vertices, faces)
    points = grid_points(*bounding_box(vertices), resolution=63)  # 20 pairs x 63^3 = 5,000,940 points
    by_column = grid_occupancy(pairs, 63)
    by_point = inside(points.view(20, -1, 3), pairs).view_as(by_column)
    assert torch.equal(by_column, by_point)
    sample = (torch.arange(20)[:, None], torch.arange(0, 63**3, 30)[None])
    some_points = points.view(20, -1, 3)[sample]
    exact = torch.stack(
        [exact_winding_number(own, Mesh(vertices[i], faces)) for i, own in enumerate(some_points)]
    )
    assert (exact > 1.5).any(), "some pair should overlap"
    # On the surface itself the reference is half-integer; only there may sides differ.
    off_surface = (exact - exact.round()).abs() < 1e-4
    assert torch.equal((exact > 0.5)[off_surface], by_point.view(20, -1)[sample][off_surface])
    assert off_surface.float().mean() > 0.99


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    resolution=st.integers(1, 20),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_all_versions_agree_on_random_hands(seed, resolution, dtype):
    right, left = (mesh.to(dtype) for mesh in two_hands(seed, num=2))
    bounds = bounding_box(torch.cat([right.vertices, left.vertices], dim=1))
    columns = grid_occupancy(right, resolution, bounds)
    assert torch.equal(columns, grid_occupancy(right, resolution, bounds, backend="torch"))
    points = grid_points(*bounds, resolution).flatten(1, 3)
    assert torch.equal(columns.flatten(1), inside(points, right))
    points = left.vertices[:, :200]
    assert torch.equal(winding_number(points, right), winding_number(points, right, backend="torch"))


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_units_do_not_matter(scale):
    mesh = torus(dtype=torch.float64)
    other = Mesh(mesh.vertices * scale, mesh.faces)
    bounds = torch.full((3,), -3.1, dtype=torch.float64), torch.full((3,), 2.9, dtype=torch.float64)
    scaled = grid_occupancy(other, 31, tuple(bound * scale for bound in bounds))
    assert torch.equal(scaled, grid_occupancy(mesh, 31, bounds))


def test_grid_volume_approaches_the_mesh_volume():
    mesh = ball()
    occupied = grid_occupancy(mesh)
    assert occupied.shape == (50, 50, 50)
    # The points span the bounding box, so each stands for a cell of 2/49.
    assert occupied.sum().item() * (2 / 49) ** 3 == pytest.approx(4.19, rel=0.02)


def test_a_lens_of_two_balls_is_counted():
    first, second = ball(), ball()
    shifted = Mesh(second.vertices + torch.tensor([1.0, 0, 0]), second.faces)
    count = count_inside_both(first, shifted, resolution=60)
    lens = 5 * torch.pi / 12  # two unit balls at distance 1
    cell = (3 / 59) * (2 / 59) ** 2
    assert count.item() * cell == pytest.approx(lens, rel=0.03)


def test_pairs_far_apart_have_no_common_points():
    mesh = ball()
    batch = Mesh(mesh.vertices.expand(3, -1, -1), mesh.faces)
    shifts = torch.tensor([0.0, 1.0, 5.0])[:, None, None]
    counts = count_inside_both(batch, Mesh(batch.vertices + shifts, mesh.faces), resolution=20)
    assert counts[0] > counts[1] > counts[2] == 0


def test_a_flat_grid_has_extent_zero():
    occupied = grid_occupancy(box(1, 1, 1), 3, (torch.zeros(3), torch.tensor([0.0, 2.0, 2.0])))
    assert occupied[:, 0, 0].all()
    assert occupied.sum() == 3


def test_nothing_asked_nothing_answered():
    mesh = box(1, 1, 1)
    none = Mesh(mesh.vertices.expand(0, -1, -1), mesh.faces)
    assert inside(torch.empty(0, 3), mesh).shape == (0,)
    assert grid_occupancy(none, 4).shape == (0, 4, 4, 4)
    assert count_inside_both(none, none).shape == (0,)


def test_degenerate_closed_meshes_enclose_nothing():
    flat = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2], [2, 1, 0]]))
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    points = torch.cat([points, flat.vertices])
    assert not inside(points, flat).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(mesh=Mesh(box(1, 1, 1).vertices, box(1, 1, 1).faces[1:])), "not closed"),
        (dict(mesh=Mesh(box(1, 1, 1).vertices, box(1, 1, 1).faces.flip(-1))), "inside out"),
        (dict(resolution=0), "at least 1 point a side"),
        (dict(bounds=(torch.ones(3), torch.zeros(3))), "above its upper bounds"),
        (dict(bounds=(torch.zeros(3), torch.full((3,), torch.inf))), "contain inf"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(change, message):
    with pytest.raises(GeometryError, match=message):
        grid_occupancy(**{"mesh": box(1, 1, 1), **change})


def test_pairs_need_equal_batches():
    mesh = box(1, 1, 1)
    with pytest.raises(GeometryError, match=r"equal batches, not \(\) and \(2,\)"):
        count_inside_both(mesh, Mesh(mesh.vertices.expand(2, -1, -1), mesh.faces))

import os
import subprocess
import sys

import igl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from solids import ball, box, soup, torus, two_hands

from hands_lib.geometry.distance import chosen_version, signed_distance, unsigned_distance
from hands_lib.geometry.meshes import GeometryError
from hands_lib.geometry.rotations import random_rotations
from hands_lib.structures import Mesh


def cloud(num: int, mesh: Mesh, seed: int = 0) -> torch.Tensor:
    """Points in the mesh's bounding box grown by a third."""
    lower, upper = mesh.vertices.amin(dim=-2), mesh.vertices.amax(dim=-2)
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(num, 3, generator=generator, dtype=mesh.vertices.dtype)
    return lower + (upper - lower) * (unit * 4 / 3 - 1 / 6)


def box_distance(points, size):
    """The closed form of a box centred at the origin."""
    excess = points.abs() - torch.tensor(size, dtype=points.dtype) / 2
    return excess.clamp(min=0).norm(dim=-1) + excess.amax(dim=-1).clamp(max=0)


def test_box_in_closed_form():
    mesh = box(1, 2, 3)
    points = cloud(5000, mesh)
    torch.testing.assert_close(
        signed_distance(points, mesh).distance, box_distance(points, (1, 2, 3)), atol=2e-7, rtol=0
    )


def test_ball_within_the_sag_of_its_faces():
    mesh = ball(1.0, dtype=torch.float64)
    points = cloud(2000, mesh)
    longest_edge = (
        (mesh.vertices[mesh.faces] - mesh.vertices[mesh.faces.roll(1, 1)]).norm(dim=-1).max().item()
    )
    error = signed_distance(points, mesh).distance - (points.norm(dim=-1) - 1)
    # A face dips below the sphere by at most the sag of a cap as wide as its circumscribed circle.
    assert error.min() > -1e-12
    assert error.max() < 1 - (1 - longest_edge**2 / 3) ** 0.5


def test_hands_agree_with_libigl():
    right, left = two_hands(seed=0, num=2)
    mesh = soup(Mesh(right.vertices[0], right.faces), Mesh(left.vertices[0], left.faces))
    points = cloud(20_000, mesh)
    found = signed_distance(points, mesh)
    arrays = points.double().numpy(), mesh.vertices.double().numpy(), mesh.faces.numpy()
    unsigned, *_ = igl.signed_distance(*arrays, igl.SIGNED_DISTANCE_TYPE_UNSIGNED)
    winding = torch.tensor(igl.winding_number(arrays[1], arrays[2], arrays[0]))
    assert (winding > 1.5).any(), "the hands should overlap"
    assert (found.distance.abs() - torch.tensor(unsigned)).abs().max() <= 5e-8
    assert torch.equal(found.distance < 0, winding > 0.5)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_points=st.integers(0, 80),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_compiled_and_dense_agree_on_random_hands(seed, num_points, dtype):
    right, left = (mesh.to(dtype) for mesh in two_hands(seed, num=2))
    points = left.vertices[:, :num_points]
    fast, slow = signed_distance(points, right), signed_distance(points, right, backend="torch")
    torch.testing.assert_close(fast.distance, slow.distance, atol=5e-8, rtol=0)
    # Faces and points may differ where two are equally close; each must be as far away as it says.
    for found in (fast, slow):
        reached = (points - found.closest_points(right)).norm(dim=-1)
        torch.testing.assert_close(reached, found.distance.abs(), atol=1e-7, rtol=0)


def test_barycentrics_name_the_closest_point():
    mesh = torus()
    points = cloud(3000, mesh)
    found = signed_distance(points, mesh)
    assert (found.barycentrics >= 0).all()
    torch.testing.assert_close(found.barycentrics.sum(dim=-1), torch.ones(3000))
    reached = (points - found.closest_points(mesh)).norm(dim=-1)
    torch.testing.assert_close(reached, found.distance.abs(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1e3, 1e-12, 1e12])
def test_units_do_not_matter(scale):
    mesh = torus()
    points = cloud(3000, mesh)
    found = signed_distance(points * scale, Mesh(mesh.vertices * scale, mesh.faces))
    torch.testing.assert_close(
        found.distance / scale, signed_distance(points, mesh).distance, atol=1e-6, rtol=1e-6
    )


def test_rigid_motion_does_not_matter():
    mesh = torus(dtype=torch.float64)
    points = cloud(3000, mesh)
    rotation = random_rotations(1, torch.Generator().manual_seed(1), torch.float64)[0]
    shift = torch.tensor([5.0, -3.0, 2.0], dtype=torch.float64)
    moved = signed_distance(points @ rotation.T + shift, Mesh(mesh.vertices @ rotation.T + shift, mesh.faces))
    torch.testing.assert_close(moved.distance, signed_distance(points, mesh).distance, atol=1e-12, rtol=0)


def test_order_and_number_of_points_do_not_matter():
    """Large clouds are sorted and shared out to threads; one point at a time is neither."""
    mesh = torus()
    points = cloud(6000, mesh)
    together = signed_distance(points, mesh)
    apart = signed_distance(points[:50, None], mesh)
    assert torch.equal(apart.distance[:, 0], together.distance[:50])
    order = torch.randperm(6000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(signed_distance(points[order], mesh).distance, together.distance[order])


def test_batches_broadcast():
    right, _ = two_hands(seed=3, num=3)
    points = cloud(40, Mesh(right.vertices[0], right.faces))
    one_by_one = [
        signed_distance(points, Mesh(vertices, right.faces)).distance for vertices in right.vertices
    ]
    assert torch.equal(signed_distance(points, right).distance, torch.stack(one_by_one))
    grid = signed_distance(points.expand(2, 3, 40, 3), right)
    assert grid.face.shape == (2, 3, 40)
    assert torch.equal(grid.distance[1], torch.stack(one_by_one))


@pytest.mark.parametrize("shape", [(0, 3), (0, 5, 3), (2, 0, 3)])
def test_nothing_asked_nothing_answered(shape):
    found = signed_distance(torch.empty(shape), box(1, 1, 1))
    assert found.distance.shape == shape[:-1]
    assert found.barycentrics.shape == shape


def test_empty_batch_of_meshes():
    mesh = box(1, 1, 1)
    found = signed_distance(torch.empty(0, 4, 3), Mesh(mesh.vertices.expand(0, -1, -1), mesh.faces))
    assert found.distance.shape == (0, 4)


def test_gradients_by_finite_differences():
    mesh = torus(dtype=torch.float64)
    points = cloud(12, mesh)

    def distances(points, vertices):
        return signed_distance(points, Mesh(vertices, mesh.faces)).distance

    inputs = points.requires_grad_(), mesh.vertices.requires_grad_()
    assert torch.autograd.gradcheck(distances, inputs, eps=1e-7, atol=1e-6, fast_mode=True)


def test_gradient_points_away_from_the_surface():
    mesh = ball()
    points = (torch.tensor([[0.5, 0, 0], [0, 2.0, 0]])).requires_grad_()
    signed_distance(points, mesh).distance.sum().backward()
    torch.testing.assert_close(points.grad, torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]), atol=0.1, rtol=0)


def test_on_the_surface_the_distance_is_zero_and_the_gradient_a_normal():
    mesh = box(2, 2, 2)
    middle_of_top_diagonal = torch.tensor([[0.0, 0, 1]])
    points = torch.cat(
        [mesh.vertices, middle_of_top_diagonal, torch.tensor([[0.5, 0.25, 1]])]
    ).requires_grad_()
    distance = signed_distance(points, mesh).distance
    assert (distance == 0).all()
    distance.sum().backward()
    torch.testing.assert_close(points.grad.norm(dim=-1), torch.ones(len(points)))
    torch.testing.assert_close(points.grad[-2:], torch.tensor([[0.0, 0, 1]]).expand(2, 3))


def test_faces_without_area_count_as_their_edges():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
    points = torch.tensor([[2.0, 1, 0], [-1, 0, 0], [5, 0, 0], [0.5, 0, -2], [0.5, 0, 0]])
    for order in ([0, 1, 2], [1, 2, 0], [2, 1, 0]):
        for backend in ("numba", "torch"):
            found = unsigned_distance(points, Mesh(vertices, torch.tensor([order])), backend)
            torch.testing.assert_close(found.distance, torch.tensor([1.0, 1, 2, 2, 0]))
    a_point = Mesh(vertices[:1], torch.zeros(1, 3, dtype=torch.long))
    torch.testing.assert_close(unsigned_distance(points, a_point).distance, points.norm(dim=-1))


def test_degenerate_faces_change_nothing_in_a_closed_mesh():
    mesh = box(1, 2, 3)
    a, b, c = mesh.faces[0].tolist()
    # Splits edge ab at a itself, with the two faces that this needs, one of them a line.
    middle = len(mesh.vertices)
    vertices = torch.cat([mesh.vertices, mesh.vertices[a][None]])
    edge_twin = next(i for i, f in enumerate(mesh.faces.tolist()) if (f + f[:1]).count(b) and _runs(f, b, a))
    d = next(v for v in mesh.faces[edge_twin].tolist() if v not in (a, b))
    kept = [f for i, f in enumerate(mesh.faces.tolist()) if i not in (0, edge_twin)]
    faces = torch.tensor([*kept, [a, middle, c], [middle, b, c], [b, middle, d], [middle, a, d]])
    points = cloud(500, mesh)
    torch.testing.assert_close(
        signed_distance(points, Mesh(vertices, faces)).distance, signed_distance(points, mesh).distance
    )


def _runs(face, start, end):
    return any((face[k], face[(k + 1) % 3]) == (start, end) for k in range(3))


def test_open_meshes_have_a_distance_but_no_sign():
    mesh = box(1, 1, 1)
    opened = Mesh(mesh.vertices, mesh.faces[1:])
    points = torch.tensor([[0.0, 0, 5]])
    assert unsigned_distance(points, opened).distance.item() == pytest.approx(4.5)
    with pytest.raises(GeometryError, match="not closed, so it has no inside: 3 edges"):
        signed_distance(points, opened)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, f: (v, f.clone().index_fill_(0, torch.tensor([2]), 8)), "names vertex 8, but .* 0 to 7"),
        (lambda v, f: (v, f - 1), "names vertex -1"),
        (lambda v, f: (v.where(v[:, :1] < 0, torch.nan), f), r"vertices contain nan at index \(4, 0\)"),
        (lambda v, f: (v * torch.inf, f), "vertices contain -inf"),
        (lambda v, f: (v, f.flip(-1)), "inside out: .*faces.flip"),
        (lambda v, f: (v, f[:0]), "no faces"),
        (lambda v, f: (v.double(), f), "points are torch.float32 but vertices torch.float64"),
        (lambda v, f: (v.half(), f), "float32 or float64 .* not float16"),
        (lambda v, f: (v, f.to("meta")), "move the mesh as one"),
        (lambda v, f: (v.expand(2, -1, -1), f), r"batches of \(3,\).*batches of \(2,\)"),
    ],
)  # fmt: skip
def test_bad_meshes_are_refused_by_name(change, message):
    mesh = box(1, 1, 1)
    with pytest.raises(GeometryError, match=message):
        signed_distance(torch.zeros(3, 1, 3), Mesh(*change(mesh.vertices, mesh.faces)))


def test_unknown_backends_are_refused_by_name():
    versions = {"numba": print, "torch": print}
    with pytest.raises(GeometryError, match="no backend 'cuda' here, only 'numba', 'torch'"):
        chosen_version("cuda", "numba", versions, torch.device("cpu"))
    with pytest.raises(GeometryError, match="runs on the CPU, but the tensors are on meta"):
        chosen_version("numba", "torch", versions, torch.device("meta"))


def test_points_elsewhere_or_not_finite_are_refused():
    with pytest.raises(GeometryError, match="points are on meta but the mesh on cpu"):
        signed_distance(torch.zeros(4, 3, device="meta"), box(1, 1, 1))
    points = torch.zeros(4, 3)
    points[2, 1] = torch.nan
    with pytest.raises(GeometryError, match=r"points contain nan at index \(2, 1\)"):
        signed_distance(points, box(1, 1, 1))


TRITON_ON_THE_CPU = """
import torch
from solids import torus
from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.inside import winding_number
from hands_lib.structures import Mesh
solid = torus(6, 4)
points = torch.rand(2, 100, 3, generator=torch.Generator().manual_seed(0)) * 5 - 2.5
points[:, :24] = solid.vertices  # rays through vertices and edges
solids = Mesh(torch.stack([solid.vertices, solid.vertices * 1.5]), solid.faces)
numba, triton = (signed_distance(points, solids, backend) for backend in ("numba", "triton"))
assert (numba.distance - triton.distance).abs().max() <= 1e-6
assert (numba.distance < 0).any()
assert torch.equal(winding_number(points, solids), winding_number(points, solids, "triton"))
"""


def test_the_gpu_kernels_agree_in_tritons_interpreter():
    """Triton runs its kernels with NumPy if told so before it is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run(
        [sys.executable, "-c", TRITON_ON_THE_CPU], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

"""Parts of a mesh: which there are, which are inside out, and seams that only look closed."""

import os
from pathlib import Path

import igl
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from solids import as_mesh, ball, box, soup

from hands_lib.geometry.inside import inside
from hands_lib.geometry.meshes import GeometryError, check_closed
from hands_lib.geometry.parts import face_parts, inverted_parts, part_volumes, weld_vertices
from hands_lib.geometry.rotations import random_rotations
from hands_lib.structures import Mesh

OBJECTS = Path(os.environ.get("HANDS_DATA", "") or "nowhere", "ycb_objects")


def turned(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, mesh.faces.flip(-1))


def moved(mesh: Mesh, x: float) -> Mesh:
    return Mesh(mesh.vertices + torch.tensor([x, 0, 0]), mesh.faces)


@pytest.mark.parametrize("apart", [0.2, 3.0])
def test_the_second_of_two_boxes_is_inside_out(apart: float) -> None:
    pair = soup(box(0.1, 0.1, 0.1), turned(moved(box(0.1, 0.1, 0.1), apart)))
    with pytest.raises(GeometryError, match="part 2 of 2, 12 faces from face 12, is inside out: reverse"):
        inside(torch.zeros(1, 3), pair)
    right = soup(box(0.1, 0.1, 0.1), moved(box(0.1, 0.1, 0.1), apart))
    assert inside(torch.tensor([[0.0, 0, 0], [apart, 0, 0], [apart / 2, 0, 0]]), right).tolist() == [1, 1, 0]


def test_a_thin_rod_is_inside_out() -> None:
    rod = box(1, 0.0099, 0.0099)
    check_closed(rod)
    with pytest.raises(GeometryError, match="1 of 1 meshes are inside out"):
        check_closed(turned(rod))


def test_an_unused_vertex_far_away_hides_nothing() -> None:
    mesh = turned(box(0.1, 0.2, 0.05))
    with pytest.raises(GeometryError, match="inside out"):
        check_closed(Mesh(torch.cat([mesh.vertices, torch.tensor([[2.0, 0, 0]])]), mesh.faces))


def test_a_cavity_is_no_mistake() -> None:
    hollow = soup(ball(1.0), turned(ball(0.5)))
    points = torch.tensor([[0.0, 0, 0], [0.75, 0, 0], [1.5, 0, 0]])
    assert inside(points, hollow).tolist() == [False, True, False]
    with_core = soup(hollow, ball(0.2))
    assert inside(points, with_core).tolist() == [True, True, False]
    with pytest.raises(GeometryError, match="part 1 of 2"):  # the wall itself
        check_closed(turned(hollow))


def test_batches_are_judged_one_by_one() -> None:
    """In the second mesh the cavity has left its ball."""
    hollow = soup(ball(1.0), turned(ball(0.5)))
    away = hollow.vertices.clone()
    away[len(ball().vertices) :] += 5
    batch = Mesh(torch.stack([hollow.vertices, away]), hollow.faces)
    assert inverted_parts(batch)[0].tolist() == [[False, False], [False, True]]
    with pytest.raises(GeometryError, match="part 2 of 2"):
        check_closed(batch)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 40), st.integers(1, 60))
def test_parts_are_those_of_scipys_graph(seed: int, num_vertices: int, num_faces: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    faces = torch.randint(num_vertices, (num_faces, 3), generator=generator)
    labels = face_parts(faces)
    shared = (faces[:, None, :, None] == faces[None, :, None, :]).any(dim=(2, 3))
    reached = shared
    for _ in range(num_faces):  # the slow way
        reached = (reached.float() @ shared.float()) > 0
    assert torch.equal(labels[:, None] == labels[None], reached)
    first = [labels.tolist().index(part) for part in range(int(labels.max()) + 1)]
    assert first == sorted(first)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**16),
    st.tuples(*[st.floats(0.005, 2.0)] * 3),
    st.floats(-3, 3),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_boxes_of_any_shape_and_place(seed: int, size: tuple, place: float, dtype: torch.dtype) -> None:
    rotation = random_rotations(1, generator=torch.Generator().manual_seed(seed))[0].to(dtype)
    mesh = box(*size, dtype=dtype)
    mesh = Mesh(mesh.vertices @ rotation.T + place, mesh.faces)
    volume, rounding = part_volumes(mesh, face_parts(mesh.faces))
    expected = size[0] * size[1] * size[2]
    assert abs(float(volume[0]) - expected) <= float(rounding[0])
    check_closed(mesh)
    with pytest.raises(GeometryError, match="inside out"):
        check_closed(turned(mesh))


def test_seams_are_named_and_welded() -> None:
    whole = as_mesh(trimesh.creation.icosphere(2))
    faces = torch.arange(3 * len(whole.faces)).view(-1, 3)
    seams = Mesh(whole.vertices[whole.faces.flatten()], faces)  # each face has its own three vertices
    number = len(seams.vertices) - len(whole.vertices)
    with pytest.raises(
        GeometryError, match=f"seams, {number} vertices stand where .*weld_vertices\\(mesh\\)$"
    ):
        check_closed(seams)
    welded = weld_vertices(seams)
    check_closed(welded)
    assert len(welded.vertices) == len(whole.vertices)
    assert torch.equal(welded.vertices[welded.faces], whole.vertices[whole.faces])
    open_too = Mesh(seams.vertices, seams.faces[1:])
    with pytest.raises(GeometryError, match="weld them, .*; then close what is still open"):
        check_closed(open_too)
    near = Mesh(seams.vertices + 1e-5 * torch.rand(seams.vertices.shape), faces)
    with pytest.raises(GeometryError, match="close holes"):
        check_closed(near)
    assert len(weld_vertices(near, 1e-3).vertices) < len(near.vertices) / 3


def test_welding_drops_what_lost_its_area_and_refuses_batches() -> None:
    thin = Mesh(
        torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2], [0, 1, 3]])
    )
    assert len(weld_vertices(thin).faces) == 1
    with pytest.raises(ValueError, match="one mesh"):
        weld_vertices(Mesh(thin.vertices[None], thin.faces))


@pytest.mark.skipif(not OBJECTS.is_dir(), reason="the meshes of real objects are not at hand")
@pytest.mark.parametrize("path", sorted(OBJECTS.glob("*.obj")), ids=lambda path: path.stem)
def test_a_real_scan_after_welding_agrees_with_libigl(path: Path) -> None:
    """Textured scans have seams: each is refused with the mend, and after it the answers are libigl's."""
    scan = trimesh.load(path, process=False, force="mesh")
    mesh = as_mesh(scan, torch.float64)
    welded = weld_vertices(mesh)
    if len(welded.vertices) < len(mesh.vertices):
        with pytest.raises(GeometryError, match="seams"):
            check_closed(mesh)
    lower, upper = welded.vertices.amin(dim=0), welded.vertices.amax(dim=0)
    points = lower + (upper - lower) * torch.rand(
        2_000, 3, dtype=torch.double, generator=torch.manual_seed(0)
    )
    expected = igl.winding_number(welded.vertices.numpy(), welded.faces.numpy(), points.numpy()) > 0.5
    assert torch.equal(inside(points, welded), torch.tensor(expected))

import importlib.util
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from solids import ball, box, camera_towards_z, soup, torus, two_hands

from hands_lib.geometry.meshes import GeometryError
from hands_lib.geometry.raster import inherited_visibility, point_visibility, rasterize, vertex_visibility
from hands_lib.geometry.rotations import random_rotations
from hands_lib.structures import Camera, Mesh


def cast_rays(origins, directions, mesh):
    """Every ray against every face (Moller and Trumbore, 1997), float64: distance along the ray, infinite
    where a face is missed, (ray, face)."""
    a, b, c = mesh.vertices.double()[mesh.faces].unbind(dim=1)
    along = torch.linalg.cross(directions[:, None], (c - a)[None])
    determinant = (along * (b - a)).sum(dim=-1)
    from_a = origins[:, None] - a
    across = torch.linalg.cross(from_a, (b - a)[None].expand_as(from_a))
    u = (from_a * along).sum(dim=-1) / determinant
    v = (directions[:, None] * across).sum(dim=-1) / determinant
    distance = ((c - a) * across).sum(dim=-1) / determinant
    return distance.where((u >= 0) & (v >= 0) & (u + v <= 1), torch.inf)


def pixel_rays(camera: Camera):
    """Origins and directions in the camera's frame; the direction's z is 1, so distance along it is depth."""
    v, u = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1).view(-1, 3).double()
    rays = pixels @ torch.linalg.inv(camera.intrinsics.double()).T
    if camera.projection == "perspective":
        return torch.zeros_like(rays), rays
    return rays * torch.tensor([1.0, 1, 0]), torch.tensor([0.0, 0, 1], dtype=torch.double).expand_as(rays)


def turned(mesh: Mesh, seed: int) -> Mesh:
    """In a general direction, so that no pixel's ray meets an edge exactly."""
    rotation = random_rotations(1, torch.Generator().manual_seed(seed), mesh.vertices.dtype)[0]
    return Mesh(mesh.vertices @ rotation.mT, mesh.faces)


@pytest.mark.parametrize(("projection", "focal"), [("perspective", 100.0), ("orthographic", 12.0)])
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_every_pixel_agrees_with_a_ray_caster(projection, focal, backend):
    mesh = turned(torus(), seed=0)
    camera = replace(camera_towards_z(64, focal, 8.0, projection), height=48)
    seen = rasterize(mesh, camera, backend=backend)
    in_camera = Mesh(camera.transform(mesh.vertices), mesh.faces)
    depth, face = cast_rays(*pixel_rays(camera), in_camera).min(dim=1)
    assert 0.2 < seen.foreground.float().mean() < 0.8
    assert torch.equal(seen.face.flatten(), torch.where(depth.isinf(), -1, face))
    torch.testing.assert_close(seen.depth.flatten(), depth.float())
    points = seen.interpolate(mesh.faces, in_camera.vertices)[seen.foreground]
    origins, directions = (rays[seen.foreground.flatten()] for rays in pixel_rays(camera))
    expected = origins + directions * depth[seen.foreground.flatten()][:, None]
    torch.testing.assert_close(points, expected.float(), atol=2e-5, rtol=0)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 50),
    height=st.integers(1, 50),
    projection=st.sampled_from(["perspective", "orthographic"]),
)
def test_compiled_and_torch_agree_in_every_bit(seed, width, height, projection):
    mesh = soup(*two_hands(seed, num=2))
    camera = camera_towards_z(40, 100.0 if projection == "perspective" else 200.0, 0.5, projection)
    camera = replace(camera, width=width, height=height)
    compiled, in_torch = (rasterize(mesh, camera, backend=backend) for backend in ("numba", "torch"))
    for name in ("face", "barycentrics", "depth"):
        assert torch.equal(getattr(compiled, name), getattr(in_torch, name)), name
    visible = vertex_visibility(mesh, camera)
    assert torch.equal(visible, vertex_visibility(mesh, camera, backend="torch"))
    points = mesh.vertices[:, ::7] * 1.05
    assert torch.equal(
        point_visibility(points, mesh, camera), point_visibility(points, mesh, camera, backend="torch")
    )


def test_pytorch3d_agrees_or_is_asked_for_clearly():
    mesh, camera = turned(torus(), seed=0), camera_towards_z(64, 100.0, 8.0)
    if importlib.util.find_spec("pytorch3d"):
        ours, theirs = rasterize(mesh, camera), rasterize(mesh, camera, backend="pytorch3d")
        assert torch.equal(ours.face, theirs.face)
        torch.testing.assert_close(ours.depth, theirs.depth)
    else:
        with pytest.raises(ImportError, match="needs PyTorch3D, which is not installed"):
            rasterize(mesh, camera, backend="pytorch3d")


def test_a_square_covers_the_pixels_whose_centres_it_holds():
    """From 1.5 to 4 pixels across, borders included, without a crack along the diagonal."""
    vertices = torch.tensor([[1.5, 2, 1], [4, 2, 1], [4, 5, 1], [1.5, 5, 1]])
    mesh = Mesh(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    camera = Camera(torch.eye(3), torch.eye(4), 8, 7)
    for backend in ("numba", "torch"):
        seen = rasterize(mesh, camera, backend=backend)
        expected = torch.zeros(7, 8, dtype=torch.bool)
        expected[2:6, 2:5] = True
        assert torch.equal(seen.foreground, expected)
        assert (seen.depth[expected] == 1).all()
        assert seen.depth[~expected].isinf().all()
        assert (seen.barycentrics[~expected] == 0).all()


def test_nearer_wins_and_equal_depth_goes_to_the_lower_face():
    triangle = torch.tensor([[-9.0, -9, 0], [30, -9, 0], [-9, 30, 0]])
    vertices = torch.cat([triangle + torch.tensor([0, 0, depth]) for depth in (2.0, 1.0, 1.0)])
    camera = Camera(torch.eye(3), torch.eye(4), 4, 4, "orthographic")
    for backend in ("numba", "torch"):
        seen = rasterize(Mesh(vertices, torch.arange(9).view(3, 3)), camera, backend=backend)
        assert (seen.face == 1).all()


def test_attributes_are_interpolated_correctly_in_perspective():
    """A plane that recedes: its own coordinates, interpolated, are those of the ray's meeting point."""
    vertices = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 5], [-1, 1, 5]])
    mesh = Mesh(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    camera = Camera(torch.tensor([[20.0, 0, 15], [0, 20, 15], [0, 0, 1]]), torch.eye(4), 32, 32)
    seen = rasterize(mesh, camera)
    v, u = seen.foreground.nonzero(as_tuple=True)
    # z = 3 + 2 y on the plane, and y = (v - 15) / 20 z along the ray
    depth = 3 / (1 - (v - 15) / 10)
    torch.testing.assert_close(seen.depth[v, u], depth)
    points = seen.interpolate(mesh.faces, vertices, background=-7.0)
    expected = torch.stack([(u - 15) / 20 * depth, (v - 15) / 20 * depth, depth], dim=-1)
    torch.testing.assert_close(points[v, u], expected, atol=1e-5, rtol=1e-5)
    assert (points[~seen.foreground] == -7).all()


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_faces_through_the_camera_plane_are_cut_not_dropped(backend):
    """A floor one unit below the camera, from far behind it to far ahead: every pixel below the horizon sees
    it."""
    floor = torch.tensor([[-1e3, 1, -1e3], [1e3, 1, -1e3], [1e3, 1, 1e3], [-1e3, 1, 1e3]])
    mesh = Mesh(floor, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    camera = camera_towards_z(32, 16.0, 0.0)
    seen = rasterize(mesh, camera, backend=backend)
    rows = torch.arange(32)[:, None].expand(32, 32)
    assert torch.equal(seen.foreground, rows >= 16)
    torch.testing.assert_close(seen.depth[seen.foreground], (16 / (rows - 15.5))[seen.foreground])
    cut = rasterize(mesh, camera, near=4.0, backend=backend)
    assert torch.equal(cut.foreground, (seen.depth > 4) & seen.foreground)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_camera_inside_sees_the_inner_side_everywhere(backend):
    seen = rasterize(turned(ball(), seed=1), camera_towards_z(16, 5.0, 0.0), backend=backend)
    assert seen.foreground.all()
    assert seen.depth.max() <= 1


def test_what_is_behind_is_not_seen():
    mesh = Mesh(ball().vertices - torch.tensor([0, 0, 10.0]), ball().faces)
    for projection in ("perspective", "orthographic"):
        camera = camera_towards_z(16, 5.0, 0.0, projection)
        assert not rasterize(mesh, camera).foreground.any()
        assert not vertex_visibility(mesh, camera).any()


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_units_do_not_matter(scale):
    mesh, camera = turned(torus(), seed=0), camera_towards_z(64, 100.0, 8.0)
    pose = camera.camera_from_world.clone()
    pose[:3, 3] *= scale
    scaled = Mesh(mesh.vertices * scale, mesh.faces), replace(camera, camera_from_world=pose)
    # Pixels at an outline may go either way by rounding of the scaled coordinates.
    assert (rasterize(mesh, camera).face != rasterize(*scaled).face).sum() <= 2
    assert (vertex_visibility(mesh, camera) != vertex_visibility(*scaled)).sum() <= 1


def test_gradients_by_finite_differences():
    """Inside a face and away from its edges, where the face seen does not change."""
    mesh = Mesh(
        torch.tensor([[-9.0, -8, 4], [9, -7, 5], [1, 12, 6]], dtype=torch.double), torch.tensor([[0, 1, 2]])
    )
    camera = camera_towards_z(4, 3.0, 0.5, dtype=torch.double)

    def measured(vertices, intrinsics, pose):
        seen = rasterize(
            Mesh(vertices, mesh.faces), replace(camera, intrinsics=intrinsics, camera_from_world=pose)
        )
        return seen.depth, seen.barycentrics

    inputs = mesh.vertices, camera.intrinsics, camera.camera_from_world
    assert rasterize(mesh, camera).foreground.all()
    assert torch.autograd.gradcheck(measured, [value.clone().requires_grad_() for value in inputs])


def test_attribute_gradients_sum_to_the_pixels():
    mesh, camera = turned(torus(), seed=0), camera_towards_z(32, 50.0, 8.0)
    colours = torch.rand(len(mesh.vertices), 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    seen = rasterize(mesh, camera)
    seen.interpolate(mesh.faces, colours).sum().backward()
    assert colours.grad.sum().item() == pytest.approx(3 * seen.foreground.sum().item(), rel=1e-5)


def test_batches_of_cameras_and_meshes_broadcast():
    right, _ = two_hands(seed=2, num=3)
    one = camera_towards_z(24, 60.0, 0.5)
    poses = one.camera_from_world.expand(2, 1, 4, 4).clone()
    poses[1, ..., 0, 3] = 0.02
    many = replace(one, camera_from_world=poses, intrinsics=one.intrinsics.expand(2, 1, 3, 3))
    seen = rasterize(right, many)
    assert seen.face.shape == (2, 3, 24, 24)
    single = rasterize(Mesh(right.vertices[2], right.faces), replace(one, camera_from_world=poses[1, 0]))
    assert torch.equal(seen.face[1, 2], single.face)
    assert torch.equal(seen.depth[1, 2], single.depth)
    visible = vertex_visibility(right, many)
    assert visible.shape == (2, 3, 307)
    points = right.vertices[0, :5]
    assert point_visibility(points, right, many).shape == (2, 3, 5)


def test_gradients_do_not_change_what_is_seen():
    """With a gradient to track, vertices are projected in torch, else in a compiled loop."""
    mesh = soup(*two_hands(seed=0, num=2))
    tracked = Mesh(mesh.vertices.clone().requires_grad_(), mesh.faces)
    for projection, focal in (("perspective", 100.0), ("orthographic", 200.0)):
        camera = camera_towards_z(48, focal, 0.5, projection)
        plain, differentiable = rasterize(mesh, camera), rasterize(tracked, camera)
        for name in ("face", "barycentrics", "depth"):
            assert torch.equal(getattr(plain, name), getattr(differentiable, name).detach()), name


def test_large_images_are_shared_out_by_bands():
    mesh, camera = turned(torus(), seed=3), camera_towards_z(200, 300.0, 8.0)
    whole, in_torch = rasterize(mesh, camera), rasterize(mesh, camera, backend="torch")
    assert torch.equal(whole.face, in_torch.face)


def test_vertices_are_visible_as_rays_to_them_say():
    mesh, camera = turned(torus(), seed=4), camera_towards_z(64, 60.0, 8.0)
    in_camera = Mesh(camera.transform(mesh.vertices).double(), mesh.faces)
    hits = cast_rays(torch.zeros_like(in_camera.vertices), in_camera.vertices, in_camera)
    own = (mesh.faces == torch.arange(len(mesh.vertices))[:, None, None]).any(dim=-1)
    expected = ~((hits > 0) & (hits < 1) & ~own).any(dim=-1)
    visible = vertex_visibility(mesh, camera)
    assert torch.equal(visible, expected)
    assert 0.2 < visible.float().mean() < 0.8


def test_the_two_definitions_of_a_visible_vertex_differ():
    mesh, camera = turned(torus(), seed=4), camera_towards_z(32, 50.0, 8.0)
    exact, by_pixel = vertex_visibility(mesh, camera), vertex_visibility(mesh, camera, "pixel")
    seen = rasterize(mesh, camera).face
    expected = torch.zeros_like(by_pixel)
    expected[mesh.faces[seen[seen >= 0].unique()].flatten()] = True
    assert torch.equal(by_pixel, expected)
    assert not torch.equal(exact, by_pixel)
    # The finer the image, the fewer vertices of visible faces are missed.
    fine = vertex_visibility(mesh, camera_towards_z(512, 800.0, 8.0), "pixel")
    assert (exact & ~fine).sum() < (exact & ~by_pixel).sum()


def test_the_background_makes_no_vertex_visible():
    """Where the background's index -1 is looked up among the faces, the last face's vertices always count as
    visible: here all its three are hidden behind the front of the ball."""
    mesh = turned(ball(), seed=0)
    camera = camera_towards_z(64, 60.0, 5.0)
    hidden = ~vertex_visibility(mesh, camera, "pixel")
    last = hidden[mesh.faces].all(dim=1).nonzero()[-1].item()
    faces = torch.cat([mesh.faces[:last], mesh.faces[last + 1 :], mesh.faces[last : last + 1]])
    assert not rasterize(Mesh(mesh.vertices, faces), camera).foreground.all()
    assert not vertex_visibility(Mesh(mesh.vertices, faces), camera, "pixel")[faces[-1]].any()


def test_points_before_behind_and_on_a_surface():
    mesh, camera = box(2, 2, 2), camera_towards_z(100, 50.0, 5.0)
    points = torch.tensor(
        [[0.1, 0.2, -2], [0.1, 0.2, -1], [0.1, 0.2, 0], [0.1, 0.2, 3], [4.0, 0, 3], [0, 0, -6]]
    )
    assert point_visibility(points, mesh, camera).tolist() == [True, True, False, False, True, False]


def test_points_outside_the_image_are_not_seen():
    mesh, camera = box(2, 2, 2), camera_towards_z(11, 1.0, 5.0, "orthographic")
    columns = torch.tensor([-5.51, -5.49, 5.49, 5.51])  # the image ends half a pixel beyond the outer centres
    points = torch.stack([columns, torch.full((4,), 3.0), torch.zeros(4)], dim=-1)
    assert point_visibility(points, mesh, camera).tolist() == [False, True, True, False]


def test_inherited_visibility_is_that_of_the_closest_surface_point():
    mesh = box(2, 2, 2)
    visible = mesh.vertices[:, 2] < 0
    points = torch.tensor([[0.3, 0.1, -3.0], [0.3, 0.1, 3.0], [1.5, 0.2, 0.7], [1.5, 0.2, 0.9], [-9, 9, -9]])
    assert inherited_visibility(points, mesh, visible).tolist() == [True, False, True, False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(width=0), "0 x 16 pixels"),
        (dict(projection="fisheye"), "perspective or orthographic, not 'fisheye'"),
        (dict(intrinsics=torch.full((3, 3), torch.nan)), "intrinsics contain nan"),
        (dict(camera_from_world=torch.full((4, 4), torch.inf)), "pose contain inf"),
        (dict(intrinsics=torch.eye(3, device="meta")), "camera is on meta but the mesh on cpu"),
        (
            dict(intrinsics=torch.eye(3).expand(2, 3, 3), camera_from_world=torch.eye(4).expand(2, 4, 4)),
            r"vertices or points come in batches of \(3,\), cameras of \(2,\)",
        ),
    ],
)  # fmt: skip
def test_bad_cameras_are_refused_by_name(change, message):
    mesh = Mesh(box(1, 1, 1).vertices.expand(3, -1, -1), box(1, 1, 1).faces)
    camera = camera_towards_z(16, 5.0, 3.0)
    # A camera that jaxtyping would refuse first is made around its constructor.
    bad = object.__new__(Camera)
    bad.__dict__.update({**camera.__dict__, **change})
    with pytest.raises(GeometryError, match=message):
        rasterize(mesh, bad)


def test_bad_meshes_and_near_planes_are_refused_by_name():
    mesh, camera = box(1, 1, 1), camera_towards_z(16, 5.0, 3.0)
    with pytest.raises(GeometryError, match="names vertex 8"):
        rasterize(Mesh(mesh.vertices, mesh.faces + 1), camera)
    with pytest.raises(GeometryError, match="not at -1"):
        rasterize(mesh, camera, near=-1.0)


def test_nothing_asked_nothing_answered():
    mesh, camera = box(1, 1, 1), camera_towards_z(16, 5.0, 3.0)
    none = Mesh(mesh.vertices.expand(0, -1, -1), mesh.faces)
    assert rasterize(none, camera).face.shape == (0, 16, 16)
    assert point_visibility(torch.empty(0, 3), mesh, camera).shape == (0,)

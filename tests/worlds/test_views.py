import torch

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.normals import face_area_vectors
from hands_lib.geometry.raster import rasterize, vertex_visibility
from hands_lib.hand.kinematics import mirror
from hands_lib.hand.pairs import pair_faces
from hands_lib.structures import Camera, Mesh
from hands_lib.worlds.renderer import STUDIO_LIGHT
from hands_lib.worlds.texture import rest_vertices
from hands_lib.worlds.views import (
    arm_directions,
    joints_in_camera,
    joints_in_image,
    photograph,
    pixel_labels,
)


def _whole(moment) -> Mesh:
    """Both hands as one mesh."""
    faces = pair_faces()
    num = moment.vertices.shape[1]
    return Mesh(moment.vertices.flatten(0, 1), torch.cat([faces[0], faces[1] + num]))


def test_faces_and_depth_are_those_of_the_rasteriser(pictured):
    _, moment, views = pictured
    fragments = rasterize(_whole(moment), views.camera)
    labels = pixel_labels(moment, views)
    # A pixel's centre may fall on the other side of an edge after scaling to the finer grid and back.
    same = views.face == fragments.face
    assert same.float().mean() > 0.9995
    torch.testing.assert_close(labels.depth[same], fragments.depth[same], rtol=1e-5, atol=0)
    assert torch.equal(views.hand > 0, views.face >= 0)
    assert set(views.hand.unique().tolist()) == {0, 1, 2}


def test_a_pixels_point_lies_on_the_hand_it_names(pictured):
    _, moment, views = pictured
    labels = pixel_labels(moment, views)
    camera = views.camera
    for view in range(len(views.face)):
        v, u = (views.face[view] >= 0).nonzero(as_tuple=True)
        ray = torch.linalg.solve(
            camera.intrinsics[view].double(), torch.stack([u, v, torch.ones_like(u)]).double()
        )
        in_camera = (ray * labels.depth[view, v, u]).T
        pose = camera.camera_from_world[view].double()
        world = ((in_camera - pose[:3, 3]) @ pose[:3, :3]).float()
        for side, faces in enumerate(pair_faces()):
            own = views.hand[view, v, u] == side + 1
            found = signed_distance(world[own], Mesh(moment.vertices[side], faces))
            assert found.distance.abs().max() < 1e-5
            # The same barycentrics on the rest hand give the correspondence.
            corners = rest_vertices()[faces[found.face]]
            expected = (found.barycentrics[..., None] * corners).sum(dim=1)
            seen = labels.correspondence[view, v, u][own]
            assert (seen - expected).norm(dim=1).quantile(0.99) < 1e-4


def test_normals_point_to_the_camera_and_follow_the_faces(pictured):
    _, moment, views = pictured
    labels = pixel_labels(moment, views)
    seen = views.face >= 0
    assert (labels.normal[seen].norm(dim=-1) - 1).abs().max() < 1e-5
    assert not labels.normal[~seen].any()
    flat = torch.nn.functional.normalize(face_area_vectors(_whole(moment)), dim=-1)
    for view in range(len(views.face)):
        rotation = views.camera.camera_from_world[view, :3, :3]
        expected = flat[views.face[view][seen[view]].long()] @ rotation.T
        cosine = (expected * labels.normal[view][seen[view]]).sum(dim=-1)
        assert cosine.quantile(0.05) > 0.7


def test_joints_and_visibility_are_those_of_the_library(pictured):
    _, moment, views = pictured
    for view in range(len(views.face)):
        single = Camera(views.camera.intrinsics[view], views.camera.camera_from_world[view], 64, 64)
        for side in (0, 1):
            torch.testing.assert_close(
                joints_in_image(moment, views.camera)[view, side], single.project(moment.joints[side])
            )
            torch.testing.assert_close(
                joints_in_camera(moment, views.camera)[view, side], single.transform(moment.joints[side])
            )
        expected = vertex_visibility(_whole(moment), single).unflatten(0, (2, -1))
        assert torch.equal(views.vertex_visible[view], expected)


def test_clearance_is_the_distance_to_the_other_hand(pictured):
    _, moment, _ = pictured
    for side in (0, 1):
        points, other = moment.vertices[side], moment.vertices[1 - side]
        to_vertices = torch.cdist(points, other).amin(dim=1)
        assert (moment.clearance[side] <= to_vertices + 1e-6).all()
        assert moment.clearance[side].min() > 0
    assert moment.contact(0.002).any()
    assert not moment.penetration.any()


def test_one_hand_alone_keeps_its_face_numbers_and_arms_hide(pictured):
    person, moment, views = pictured
    for side, name in enumerate(("right", "left")):
        alone = photograph(moment, person, views.camera, STUDIO_LIGHT, "plain", arms=False, shown=name)
        assert set(alone.hand.unique().tolist()) == {0, side + 1}
        both = views.hand == side + 1
        assert torch.equal(alone.face[both], views.face[both])
        assert not alone.vertex_visible[:, 1 - side].any()
    dressed = photograph(moment, person, views.camera, STUDIO_LIGHT, "plain", arms=True)
    if any(direction is not None for direction in arm_directions(moment)):
        assert (dressed.hand == 3).any()
    kept = (dressed.hand == 1) | (dressed.hand == 2)
    assert torch.equal(dressed.face[kept], views.face[kept])
    assert not (dressed.vertex_visible & ~views.vertex_visible).any()


def test_left_hands_correspond_to_the_right_template(pictured):
    # The rest hand is not symmetric: a left hand that was not mirrored back would lie outside it.
    _, moment, views = pictured
    labels = pixel_labels(moment, views)
    for side in (1, 2):
        points = labels.correspondence[views.hand == side]
        faces = pair_faces()[0]
        distance = signed_distance(points, Mesh(rest_vertices(), faces)).distance.abs()
        assert distance.max() < 1e-5
    turned = signed_distance(mirror(points), Mesh(rest_vertices(), pair_faces()[0])).distance.abs()
    assert turned.median() > 1e-3

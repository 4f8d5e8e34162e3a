import dataclasses

import pytest
import torch

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.raster import inherited_visibility, point_visibility, rasterize, vertex_visibility
from hands_lib.methods.va_nerf.observation import chosen, gather_evidence, locate, mirrored
from hands_lib.structures import Camera, Mesh


def test_distance_vertex_and_visibility_are_those_of_the_kernels(view, points):
    seen = gather_evidence(view).vertex_visible
    found = locate(points, view, seen)
    hands = [signed_distance(points, Mesh(view.vertices[:, n], view.faces[n])).distance for n in (0, 1)]
    assert torch.equal(found.distance, torch.minimum(*hands))
    assert (found.distance < 0).any()
    assert (found.distance > 0).any()
    vertices = view.vertices.flatten(1, 2)
    assert torch.equal(found.vertex, torch.cdist(points, vertices).argmin(dim=-1))
    assert torch.equal(found.visible, inherited_visibility(points, view.mesh, seen))
    other = locate(points, view, seen, "unoccluded").visible
    assert torch.equal(other, point_visibility(points, view.mesh, view.camera))
    assert not torch.equal(other, found.visible)


def test_evidence_is_that_of_the_rasteriser(view):
    face = rasterize(view.mesh, view.camera).face
    num = len(view.faces[0])
    for definition in ("exact", "pixel"):
        evidence = gather_evidence(view, definition)
        assert torch.equal(evidence.vertex_visible, vertex_visibility(view.mesh, view.camera, definition))
        assert torch.equal(evidence.silhouettes[:, 0], (face >= 0) & (face < num))
        assert torch.equal(evidence.silhouettes[:, 1], face >= num)
    assert evidence.silhouettes.any(dim=(-2, -1)).all()


def test_the_other_hands_vertex_is_truly_mirrored(view):
    """The pair is a hand and its mirror image, so p' lies where the mirror shows p."""
    vertices = view.vertices.flatten(1, 2)
    num = vertices.shape[1]
    p = torch.arange(num)
    partner = mirrored(p, num)
    mirror = torch.tensor([-1.0, 1, 1])
    assert torch.equal(vertices[:, partner], vertices * mirror)
    assert torch.equal(mirrored(partner, num), p)


def test_chosen_points_know_their_scene(view, points):
    found = locate(points.unflatten(1, (30, 10)), view, gather_evidence(view).vertex_visible)
    mask = torch.rand(2, 30, 10, generator=torch.Generator().manual_seed(0)) < 0.3
    queries = chosen(found, mask)
    assert torch.equal(queries.scene.bincount(), mask.sum(dim=(1, 2)))
    assert torch.equal(queries.position[queries.scene == 1], found.position[1][mask[1]])
    assert torch.equal(queries.vertex[queries.scene == 0], found.vertex[0][mask[0]])


def test_refuses_what_does_not_fit(view, points):
    with pytest.raises(ValueError, match="16 x 32"):
        dataclasses.replace(view, image=view.image[:, :16])
    one = Camera(view.camera.intrinsics[:1], view.camera.camera_from_world[:1], 32, 32)
    with pytest.raises(ValueError, match="one of each"):
        dataclasses.replace(view, camera=one)
    with pytest.raises(ValueError, match="inherited"):
        locate(points, view, gather_evidence(view).vertex_visible, "transparent")

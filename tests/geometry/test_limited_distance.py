"""Distances below a limit: against every point on every face, through padding, with their gradients."""

import math

import pytest
import torch

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.limited_distance import (
    PaddedMeshes,
    counted_vertices,
    padded_meshes,
    signed_distance_below,
)
from hands_lib.geometry.meshes import GeometryError
from hands_lib.structures import Mesh
from hands_lib.worlds.objects import object_shape

NAMES = ("can_1", "mug_2", "box_3")


@pytest.fixture(scope="module")
def templates() -> PaddedMeshes:
    return padded_meshes([object_shape(name).mesh for name in NAMES])


@pytest.fixture(scope="module")
def clouds() -> torch.Tensor:
    return 0.08 * torch.randn(3, 400, 3, generator=torch.Generator().manual_seed(1), dtype=torch.double)


def _asked(limit, clouds, templates, **more):
    number = torch.full((len(clouds),), clouds.shape[1])
    return signed_distance_below(
        limit, clouds, number, templates.vertices.to(clouds.dtype), templates.faces, **more
    )


@pytest.mark.parametrize("limit", [-0.004, 0.0, 0.01, math.inf])
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_finds_exactly_the_points_below_the_limit(limit, backend, clouds, templates):
    found = _asked(limit, clouds, templates, backend=backend)
    for row, name in enumerate(NAMES):
        mesh = object_shape(name).mesh
        expected = signed_distance(clouds[row], Mesh(mesh.vertices.double(), mesh.faces)).distance
        own = found.item == row
        assert torch.equal(found.point[own], (expected < limit).nonzero().flatten())
        torch.testing.assert_close(found.distance[own], expected[expected < limit], atol=1e-12, rtol=0)


def test_points_that_do_not_count_are_not_found(clouds, templates):
    number = torch.tensor([400, 0, 7])
    found = signed_distance_below(math.inf, clouds, number, templates.vertices.double(), templates.faces)
    assert torch.equal(found.item.bincount(minlength=3), number)


def test_shared_topology_is_the_same_as_the_padded_one(clouds, templates):
    mesh = object_shape(NAMES[1]).mesh
    number = torch.full((3,), clouds.shape[1])
    moved = mesh.vertices.double() + torch.tensor([0.0, 0.01, 0.02])[:, None, None]
    shared = signed_distance_below(0.002, clouds, number, moved, mesh.faces)
    each = signed_distance_below(0.002, clouds, number, moved, mesh.faces.expand(3, -1, -1))
    torch.testing.assert_close(shared.distance, each.distance, atol=0, rtol=0)
    assert torch.equal(shared.point, each.point)


def test_gradients_are_those_of_signed_distance(clouds, templates):
    mesh = object_shape(NAMES[0]).mesh
    tensors = [value.clone().requires_grad_() for value in (clouds[0], mesh.vertices.double())]
    expected = torch.autograd.grad(
        signed_distance(tensors[0], Mesh(tensors[1], mesh.faces)).distance.clamp(max=0).sum(), tensors
    )
    number = torch.tensor([clouds.shape[1]])
    found = signed_distance_below(0.0, tensors[0][None], number, tensors[1][None], mesh.faces)
    got = torch.autograd.grad(found.distance.sum(), tensors)
    for value, other in zip(got, expected, strict=True):
        torch.testing.assert_close(value, other, atol=1e-12, rtol=0)


def test_counts_leave_padding_out(templates):
    expected = [len(object_shape(name).mesh.vertices) for name in NAMES]
    assert counted_vertices(templates.vertices, templates.faces).tolist() == expected


def test_bad_input_is_refused(clouds, templates):
    mesh = object_shape(NAMES[0]).mesh
    with pytest.raises(GeometryError, match="not closed"):
        padded_meshes([Mesh(mesh.vertices, mesh.faces[1:])])
    with pytest.raises(GeometryError, match="belong to a face"):
        padded_meshes([Mesh(torch.cat([mesh.vertices, torch.zeros(1, 3)]), mesh.faces)])
    with pytest.raises(ValueError, match="nothing to pad"):
        padded_meshes([])
    with pytest.raises(GeometryError, match="meshes of their type"):
        signed_distance_below(0.0, clouds, torch.full((3,), 4), templates.vertices, templates.faces)
    with pytest.raises(GeometryError, match="contain nan"):
        _asked(0.0, clouds * math.nan, templates)
    number = torch.full((3,), clouds.shape[1])
    with pytest.raises(GeometryError, match="not closed"):
        signed_distance_below(0.0, clouds, number, clouds, mesh.faces[1:])

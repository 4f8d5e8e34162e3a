"""The signed-distance loss: closed forms of balls, padding, gradients, and what is wrong with the released
formula."""

import pytest
import torch

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.limited_distance import padded_meshes
from hands_lib.methods.hand_object.physics import signed_distance_loss
from hands_lib.structures import Mesh
from hands_lib.worlds.objects import object_shape


@pytest.fixture(scope="module")
def shapes():
    return [object_shape(name).mesh for name in ("can_1", "mug_1")]


def _loss_as_written(first: Mesh, second: Mesh, tolerance: float) -> torch.Tensor:
    phi = signed_distance(first.vertices, second).distance, signed_distance(second.vertices, first).distance
    return sum((-(own + tolerance)).relu().mean() for own in phi)


def test_hinge_is_the_formula_also_between_padded_meshes(shapes):
    box = object_shape("box_3").mesh
    templates = padded_meshes(shapes)
    moved = templates.vertices + torch.tensor([[0.01, 0.0, 0.0], [0.0, 0.03, 0.01]])[:, None]
    got = signed_distance_loss(box.vertices.expand(2, -1, -1), moved, box.faces, templates.faces)
    each = [
        _loss_as_written(box, Mesh(moved[n, : len(mesh.vertices)], mesh.faces), 0.002)
        for n, mesh in enumerate(shapes)
    ]
    assert got > 0
    torch.testing.assert_close(got, sum(each) / 2)


def test_nothing_is_asked_of_what_is_within_the_tolerance(shapes):
    can = shapes[0]
    low, high = can.vertices.aminmax(dim=0)
    for gap, free in ((0.001, True), (-0.0015, True), (-0.0045, False)):
        moved = can.vertices + torch.tensor([0.0, 0.0, float(high[2] - low[2]) + gap])
        loss = signed_distance_loss(can.vertices[None], moved[None], can.faces, can.faces)
        assert (loss == 0) == free, gap


def test_gradient_takes_surfaces_apart_and_is_that_of_a_difference(shapes):
    can = Mesh(shapes[0].vertices.double(), shapes[0].faces)
    shift = torch.tensor([0.0, 0.031, 0.0], dtype=torch.double, requires_grad=True)

    def loss(by):
        return signed_distance_loss(can.vertices[None], (can.vertices + by)[None], can.faces, can.faces)

    (grad,) = torch.autograd.grad(loss(shift), shift)
    assert grad[1] < 0
    step = torch.tensor([0.0, 1e-7, 0.0], dtype=torch.double)
    numeric = (loss(shift.detach() + step) - loss(shift.detach() - step)) / 2e-7
    torch.testing.assert_close(grad[1], numeric, rtol=1e-3, atol=0)


def test_released_form_is_nan_inside_and_unbounded_outside(shapes):
    can = shapes[0]

    def loss(distance, form):
        moved = (can.vertices + torch.tensor([distance, 0.0, 0.0]))[None].requires_grad_()
        value = signed_distance_loss(can.vertices[None], moved, can.faces, can.faces, 0.5, form)
        (grad,) = torch.autograd.grad(value, moved) if value.requires_grad else (torch.zeros_like(moved),)
        return value.detach(), grad

    value, grad = loss(0.06, "released")
    assert value.isnan()
    assert grad.isnan().any()
    far = [loss(distance, "released")[0] for distance in (1.0, 100.0, 10_000.0)]
    assert far[0] > far[1] > far[2]
    assert far[2] < -100
    # It pulls apart what does not touch; the hinge leaves it alone.
    assert loss(1.0, "released")[1].sum(dim=1)[0, 0] < 0
    assert loss(1.0, "hinge")[0] == 0


def test_bad_settings_are_refused(shapes):
    can = shapes[0]
    for change in ({"tolerance": 0.0}, {"tolerance": -0.002}):
        with pytest.raises(ValueError, match="tolerance is positive"):
            signed_distance_loss(can.vertices[None], can.vertices[None], can.faces, can.faces, **change)

"""Things to hold: closed, of the size they say, and the same after their symmetries."""

import math
import os
from pathlib import Path

import pytest
import torch

from hands_lib.data.mesh_files import read_mesh
from hands_lib.geometry.closed_surface import closed_surface_report
from hands_lib.geometry.distance import unsigned_distance
from hands_lib.geometry.inside import bounding_box, inside
from hands_lib.geometry.meshes import GeometryError, check_closed
from hands_lib.structures import Mesh
from hands_lib.worlds.objects import (
    KINDS,
    SEEN,
    SIZES,
    UNSEEN,
    object_from_mesh,
    object_names,
    object_shape,
)
from hands_lib.worlds.texture import TEXELS

SCANS = sorted(Path(os.environ.get("HANDS_DATA", "") or "nowhere", "ycb_objects").glob("*.obj"))


def test_thirty_shapes_in_two_parts_that_share_none() -> None:
    assert len(object_names()) == 30
    assert sorted(SEEN + UNSEEN) == sorted(object_names())
    assert (
        {name.rsplit("_", 1)[0] for name in UNSEEN} == {name.rsplit("_", 1)[0] for name in SEEN} == set(KINDS)
    )


@pytest.mark.parametrize("name", object_names())
def test_every_shape_is_one_closed_surface_about_the_origin(name: str) -> None:
    shape = object_shape(name)
    report = closed_surface_report(shape.mesh)
    assert report.is_closed
    # A handle is a hole that one can put a finger through: genus 1.
    assert report.euler_characteristic == (0 if shape.kind in ("mug", "pitcher") else 2)
    check_closed(shape.mesh)
    low, high = bounding_box(shape.mesh.vertices)
    torch.testing.assert_close(low, -high, atol=1e-6, rtol=0)
    assert shape.texels.shape == (len(shape.mesh.faces), TEXELS, 4)


def test_volumes_are_those_of_the_solids() -> None:
    for number, (x, y, z) in enumerate(SIZES["box"], start=1):
        volume = closed_surface_report(object_shape(f"box_{number}").mesh).volume
        assert volume.item() == pytest.approx(x * y * z * 1e-9, rel=0.02)  # rounded edges take a little
    for number, (radius, height) in enumerate(SIZES["can"], start=1):
        volume = closed_surface_report(object_shape(f"can_{number}").mesh).volume
        # A polygon of 32 corners instead of a circle, and a lip.
        polygon = 16 * math.sin(2 * math.pi / 32) * radius**2
        assert volume.item() == pytest.approx(polygon * height * 1e-9, rel=0.08)


@pytest.mark.parametrize("name", ["box_1", "can_2", "bottle_1", "bleach_1", "mug_1", "banana_1"])
def test_symmetries_move_the_surface_onto_itself(name: str) -> None:
    shape = object_shape(name)
    turned = shape.mesh.vertices @ shape.symmetry.all_rotations(8).mT
    far = unsigned_distance(turned, shape.mesh).distance.amax()
    # Between two of 32 columns a turned vertex stands off by the sagitta.
    assert far < 0.0006
    assert torch.equal(shape.symmetry.rotations[0], torch.eye(3))


def test_what_is_no_symmetry_moves_the_surface() -> None:
    for name in ("mug_1", "banana_1", "pitcher_1"):
        shape = object_shape(name)
        turn = torch.tensor([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])
        assert unsigned_distance(shape.mesh.vertices @ turn, shape.mesh).distance.amax() > 0.005


@pytest.mark.parametrize("name", ["mug_1", "pitcher_2"])
def test_a_cup_is_hollow_and_fingers_fit_behind_its_handle(name: str) -> None:
    shape = object_shape(name)
    # The bar bends outwards by a few millimetres between the ends of its straight part.
    chord = shape.handle.mean(dim=0)
    bar, gap = (chord + torch.tensor([x, 0.0, 0.0]) for x in (0.004, -0.014))
    found = inside(torch.stack([torch.zeros(3), bar, gap]), shape.mesh)
    assert found.tolist() == [False, True, False]
    assert unsigned_distance(gap[None], shape.mesh).distance.item() > 0.005


def test_an_unknown_object_is_named() -> None:
    with pytest.raises(ValueError, match="unknown object 'teapot'; known are box_1"):
        object_shape("teapot")


def test_a_mesh_from_elsewhere_takes_the_same_path() -> None:
    own = object_shape("box_3").mesh
    torn = Mesh(own.vertices[own.faces].flatten(0, 1) + 3.0, torch.arange(3 * len(own.faces)).view(-1, 3))
    shape = object_from_mesh("crate", torn)
    assert closed_surface_report(shape.mesh).is_closed
    low, high = bounding_box(shape.mesh.vertices)
    torch.testing.assert_close(low, -high, atol=1e-6, rtol=0)
    assert shape.texels.shape[0] == len(shape.mesh.faces)
    with pytest.raises(GeometryError, match="not closed"):
        object_from_mesh("lid", Mesh(own.vertices, own.faces[3:]))


@pytest.mark.skipif(not SCANS, reason="HANDS_DATA has no ycb_objects")
def test_real_scans_take_the_same_path() -> None:
    shapes = [object_from_mesh(path.stem, read_mesh(path)) for path in SCANS]
    assert all(0.05 < float(shape.mesh.vertices.amax(dim=0).max()) * 2 < 0.35 for shape in shapes)

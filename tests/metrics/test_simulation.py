"""The drop test: free fall in closed form, pieces whose volumes add up, hands that hold and hands that were
opened."""

import builtins

import numpy as np
import pytest
import torch

from hands_lib.geometry.closed_surface import enclosed_volume
from hands_lib.metrics.simulation import STEP, STEPS, SimulationError, convex_pieces, drop
from hands_lib.worlds.grasp_drops import drop_grasps, hand_pieces, opened_by
from hands_lib.worlds.grasps import hand_in_frame, right_hands, sample_grasps
from hands_lib.worlds.objects import object_shape

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * 0.03


def test_without_a_hand_an_object_falls_freely():
    away = [CUBE + 1.0]
    found = drop([away], [[CUBE]], torch.eye(4)[None])
    # steps of the integrator: velocity first, then place
    fall = 9.8 * STEP**2 * STEPS * (STEPS + 1) / 2
    assert found.displacement_mm_mujoco.item() == pytest.approx(1000 * fall, rel=1e-3)
    assert found.held_ms_mujoco.item() == pytest.approx(1000 * (2 * 0.02 / 9.8) ** 0.5, abs=1000 * STEP)


def test_on_a_table_it_stays():
    table = [np.array([0.0, -0.061, 0.0]) + CUBE * np.array([5, 1, 5])]
    found = drop([table], [[CUBE]], torch.eye(4)[None], seconds=0.3)
    assert found.displacement_mm_mujoco.item() < 2
    assert found.held_ms_mujoco.item() == 300


@pytest.mark.parametrize(("name", "most"), [("can_1", 1.06), ("box_2", 1.02), ("banana_1", 1.1)])
def test_pieces_fill_the_solid(name, most):
    from scipy.spatial import ConvexHull

    mesh = object_shape(name).mesh
    total = sum(ConvexHull(piece).volume for piece in convex_pieces(mesh))
    assert 0.98 < total / float(enclosed_volume(mesh)) < most


def test_pieces_of_a_mug_leave_the_handle_open():
    mesh, handle = object_shape("mug_1").mesh, object_shape("mug_1").handle
    wall = mesh.vertices[:, 1].max()
    middle = (handle.mean(dim=0) + torch.tensor([float(wall), 0.0, 0.0])) / 2
    middle[2] = handle[:, 2].mean()
    from scipy.spatial import Delaunay

    inside = [Delaunay(piece).find_simplex(middle.double().numpy()) >= 0 for piece in convex_pieces(mesh)]
    assert len(inside) > 5
    assert not any(inside)


def test_pieces_cover_the_hand():
    used = torch.cat(hand_pieces()).unique()
    assert len(hand_pieces()) == 20
    assert min(len(piece) for piece in hand_pieces()) >= 4
    assert len(used) == 699


def test_grasps_hold_longer_than_the_same_hands_opened(tmp_path):
    from hands_lib.worlds.identities import sample_identities

    people, shapes = sample_identities(4, 1), [object_shape("can_2"), object_shape("bottle_2")]
    grasps, _ = sample_grasps(6, shapes, people, torch.Generator().manual_seed(0))
    shape = right_hands(people[grasps.identity].shape)
    opened = opened_by(grasps.pose, grasps.opened, 0.010)
    held, let_go = (
        drop_grasps(hand_in_frame(pose, shape), shapes, grasps.shape, grasps.world_from_object)
        for pose in (grasps.pose, opened)
    )
    assert held.displacement_mm_mujoco.median() < 0.5 * let_go.displacement_mm_mujoco.median()
    assert held.held_ms_mujoco.mean() > let_go.held_ms_mujoco.mean()


def test_without_the_package_one_message_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "mujoco":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(SimulationError, match=r"pip install 'hands-lib\[simulation\]'"):
        drop([[CUBE]], [[CUBE]], torch.eye(4)[None])

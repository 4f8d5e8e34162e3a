"""Grasps: what an accepted one promises, asked again by other means; pictures and motions of them."""

import os
from pathlib import Path

import pytest
import torch

from hands_lib.data.mesh_files import read_mesh
from hands_lib.geometry.cameras import cropped
from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.raster import rasterize
from hands_lib.hand.kinematics import DEFAULT_LIMITS, limit_excess
from hands_lib.hand.surface import surface_topology
from hands_lib.structures import Mesh
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.grasp_scenes import (
    grasp_labels,
    joints_in_view,
    make_moments,
    photograph_grasp,
    sample_motion,
)
from hands_lib.worlds.grasps import (
    CONTACT,
    DEEPEST,
    GRASPS,
    REGIONS,
    hand_in_frame,
    hand_regions,
    right_hands,
    sample_grasps,
    surface_samples,
)
from hands_lib.worlds.objects import object_from_mesh, object_shape
from hands_lib.worlds.renderer import STUDIO_LIGHT

NAMES = ("can_1", "box_2", "bottle_1", "mug_1", "screwdriver_1")
SCANS = Path(os.environ.get("HANDS_DATA", "") or "nowhere", "ycb_objects")


@pytest.fixture(scope="module")
def shapes():
    return [object_shape(name) for name in NAMES]


@pytest.fixture(scope="module")
def sampled(people, shapes):
    return sample_grasps(15, shapes, people, torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def moments(sampled, shapes, people):
    grasps, _ = sampled
    return [
        make_moments(grasps[n : n + 1], shapes[int(grasps.shape[n])], people[grasps.identity[n : n + 1]])[0]
        for n in range(len(grasps.shape))
    ]


def test_nothing_is_deeper_than_a_millimetre_also_between_vertices(sampled, moments, shapes) -> None:
    grasps, _ = sampled
    faces = surface_topology("refined").faces
    for n, moment in enumerate(moments):
        held = Mesh(moment.object, shapes[int(grasps.shape[n])].mesh.faces)
        hand = Mesh(moment.hand, faces)
        assert moment.contact.penetration.item() <= DEEPEST + 1e-6
        # Points spread over either surface know nothing of the vertices that were asked before.
        for own, other in ((hand, held), (held, hand)):
            points = surface_samples(own, 3000)
            assert signed_distance(points, other).distance.min() > -1.5 * DEEPEST


def test_three_regions_touch_one_of_them_the_thumbs(sampled, moments, shapes) -> None:
    grasps, _ = sampled
    region = hand_regions()
    for n, moment in enumerate(moments):
        held = Mesh(moment.object, shapes[int(grasps.shape[n])].mesh.faces)
        near = signed_distance(moment.hand, held).distance < CONTACT
        touching = set(region[near].tolist())
        assert len(touching) >= 3
        assert touching & {1, 2, 3}


def test_regions_divide_the_hand_into_palm_and_phalanges() -> None:
    region, topology = hand_regions(), surface_topology("refined")
    assert region.unique().tolist() == list(range(REGIONS))
    assert torch.equal(region == 0, topology.part == 0)
    assert torch.equal((region - 1).div(3, rounding_mode="floor")[region > 0], topology.part[region > 0] - 1)


def test_poses_are_anatomical_and_keep_the_persons_bones(sampled, people) -> None:
    grasps, _ = sampled
    assert limit_excess(grasps.pose, DEFAULT_LIMITS).max() < 1e-6
    torch.testing.assert_close(grasps.pose.bone_lengths, people.bone_lengths[grasps.identity, 0])


def test_every_attempt_is_counted(sampled) -> None:
    grasps, report = sampled
    assert sum(accepted for accepted, _ in report.counts.values()) >= 15
    assert all(accepted <= tried for accepted, tried in report.counts.values())
    assert 0.05 < report.acceptance < 1
    assert grasps.shape.bincount().tolist() == [3] * 5


def test_same_seed_same_grasps(people, shapes) -> None:
    first, second, other = (
        sample_grasps(2, shapes[:1], people, torch.Generator().manual_seed(seed))[0] for seed in (5, 5, 6)
    )
    assert torch.equal(first.pose.joint_angles, second.pose.joint_angles)
    assert torch.equal(first.world_from_object, second.world_from_object)
    assert not torch.equal(first.pose.joint_angles, other.pose.joint_angles)


def test_only_the_types_that_are_asked_for(people, shapes) -> None:
    grasps, report = sample_grasps(3, shapes[:1], people, torch.Generator().manual_seed(1), ("power",))
    assert set(grasps.grasp.tolist()) == {list(GRASPS).index("power")}
    assert list(report.counts) == ["power"]
    # The palm of a power grasp has come to the can.
    hand = hand_in_frame(grasps.pose, right_hands(people[grasps.identity].shape))
    palm = hand[:, surface_topology("refined").part == 0]
    points = (palm - grasps.world_from_object[:, None, :3, 3]) @ grasps.world_from_object[:, :3, :3]
    assert (signed_distance(points, shapes[0].mesh).distance.amin(dim=1) < 0.006).all()
    with pytest.raises(ValueError, match="unknown grasps .'hook'"):
        sample_grasps(1, shapes, people, torch.Generator(), ("hook",))


def test_a_thing_too_large_for_any_hand_is_named(people) -> None:
    mesh = object_shape("box_1").mesh
    crate = object_from_mesh("crate", Mesh(5 * mesh.vertices, mesh.faces))
    with pytest.raises(RuntimeError, match="1 of 1 grasps were not accepted in 2 rounds: crate"):
        sample_grasps(1, [crate], people, torch.Generator().manual_seed(0), max_rounds=2)


@pytest.mark.skipif(not SCANS.is_dir(), reason="HANDS_DATA has no ycb_objects")
def test_a_scan_is_held_by_the_very_same_path(people) -> None:
    shape = object_from_mesh("mustard", read_mesh(SCANS / "006_mustard_bottle.obj"))
    grasps, _ = sample_grasps(2, [shape], people, torch.Generator().manual_seed(3))
    for moment in make_moments(grasps, shape, people[grasps.identity]):
        assert moment.contact.penetration.item() <= DEEPEST + 1e-6
        assert int(moment.contact.regions.sum()) >= 3


def test_labels_agree_with_the_pictures(sampled, moments, shapes, people) -> None:
    grasps, _ = sampled
    moment, shape = moments[0], shapes[int(grasps.shape[0])]
    person = people[grasps.identity[0]]
    camera = cropped(camera_ring(4, 64), torch.cat([moment.hand, moment.object]), 64)
    views = photograph_grasp(moment, shape, person, camera, STUDIO_LIGHT, arm=False)
    labels = grasp_labels(moment, shape, camera)
    assert torch.equal(views.kind > 0, labels.hand_alone | labels.object_alone)
    assert torch.equal(labels.depth.isfinite(), views.kind > 0)
    # What is seen of the hand and what is hidden of it are all of it.
    seen = ((views.kind == 1) & labels.hand_alone).flatten(1).sum(dim=1)
    whole = labels.hand_alone.flatten(1).sum(dim=1)
    torch.testing.assert_close(labels.hand_hidden, 1 - seen / whole, atol=0.003, rtol=0)
    with_arm = photograph_grasp(moment, shape, person, camera, STUDIO_LIGHT, arm=True)
    own = with_arm.kind.ne(3) & views.kind.gt(0)
    assert (with_arm.kind == 3).any()
    assert torch.equal(with_arm.face[own], views.face[own])
    both = Mesh(
        torch.cat([moment.hand, moment.object]),
        torch.cat([surface_topology("refined").faces, shape.mesh.faces + len(moment.hand)]),
    )
    assert (rasterize(both, camera).face == views.face).float().mean() > 0.995
    in_camera, pixels = joints_in_view(moment, camera)
    torch.testing.assert_close(in_camera[0] @ camera.intrinsics[0].mT / in_camera[0][:, 2:], torch.cat(
        [pixels[0], torch.ones(21, 1)], dim=1), atol=1e-3, rtol=0)  # fmt: skip


def test_signed_distances_on_the_fly_are_zero_on_the_surfaces(moments, sampled, shapes) -> None:
    shape = shapes[int(sampled[0].shape[1])]
    found = moments[1].signed_distances(torch.cat([moments[1].hand, moments[1].object]), shape)
    num = len(moments[1].hand)
    assert found[0, :num].abs().max() < 1e-6
    assert found[1, num:].abs().max() < 1e-6
    torch.testing.assert_close(found[1, :num], moments[1].contact.hand[0], atol=1e-6, rtol=0)


def test_a_motion_reaches_grasps_lifts_and_turns(sampled, shapes, people) -> None:
    grasps, _ = sampled
    shape, person = shapes[int(grasps.shape[0])], people[grasps.identity[0]]
    frames = sample_motion(grasps[0:1], shape, person, torch.Generator().manual_seed(0), seconds=2.0)
    assert len(frames.shape) == 60
    many = people[grasps.identity[0].expand(60)]
    moments = make_moments(frames, shape, many)
    depth = torch.stack([moment.contact.penetration[0] for moment in moments])
    assert depth.max() <= DEEPEST + 1e-5
    nearest = torch.stack([moment.contact.hand.min() for moment in moments])
    assert nearest[0] > 0.03
    # The object stands until the fingers are closed; from then on it moves with the hand as one.
    assert torch.equal(frames.world_from_object[:26], frames.world_from_object[:1].expand(26, 4, 4))
    assert frames.world_from_object[-1, 1, 3] - frames.world_from_object[0, 1, 3] > 0.1
    root = frames.pose.root_translation - frames.world_from_object[:, :3, 3]
    within = (root[:, None] @ frames.world_from_object[:, :3, :3])[:, 0]
    torch.testing.assert_close(within[30:], within[-1:].expand(30, 3), atol=1e-5, rtol=0)
    for name in ("root_translation", "joint_angles"):
        steps = getattr(frames.pose, name).diff(dim=0).flatten(1).abs().amax(dim=1)
        assert steps.max() < (0.05 if name == "root_translation" else 1.0)
    with pytest.raises(ValueError, match="at least four frames, not 2"):
        sample_motion(grasps[0:1], shape, person, torch.Generator(), seconds=0.07)

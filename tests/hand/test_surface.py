"""The hand's surface: its counts and topology, its rest shape, how it follows a skeleton, its derivatives."""

from dataclasses import fields, replace

import igl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.geometry.rotations import random_rotations
from hands_lib.hand import surface
from hands_lib.hand.kinematics import STRICT_LIMITS, forward_kinematics, mirror, random_pose, rest_pose
from hands_lib.hand.surface import (
    SURFACES,
    HandShape,
    SurfaceParameters,
    evaluation,
    hand_surface,
    kernel,
    mirror_mesh,
    surface_topology,
)
from hands_lib.hand.surface.template import blend_frames, template
from hands_lib.hand.surface.topology import topology
from hands_lib.structures import Mesh

DETAILS = ("plain", "refined")
DOUBLE = torch.zeros((), dtype=torch.float64)


@st.composite
def parameters(draw) -> SurfaceParameters:
    dorsal, side = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    along = draw(st.integers(1, dorsal + side - 1))
    return SurfaceParameters(
        dorsal, side,
        palm_rings=along + draw(st.integers(1, 3)),
        digit_rings=3 * draw(st.integers(1, 3)),
        thumb_hole=(along, dorsal + side - along),
        cap_centre=draw(st.booleans()),
    )  # fmt: skip


def random_skeletons(num, seed=0, dtype=torch.float64, **options):
    return forward_kinematics(random_pose(num, torch.Generator().manual_seed(seed), dtype=dtype, **options))


def random_shape(num, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    rest = HandShape.rest(num, like=torch.zeros((), dtype=dtype))
    draws = (getattr(rest, field.name) for field in fields(rest))
    return HandShape(
        *(0.7 + 0.6 * torch.rand(ones.shape, generator=generator, dtype=dtype) for ones in draws)
    )


def face_normals(mesh):
    a, b, c = mesh.vertices[..., mesh.faces, :].unbind(dim=-2)
    return torch.linalg.cross(b - a, c - a) / 2


def volume(mesh):
    return (mesh.vertices[..., mesh.faces[:, 0], :] * face_normals(mesh)).sum(dim=(-2, -1)) / 3


# --- topology ---


@pytest.mark.parametrize(("detail", "vertices", "faces"), [("plain", 307, 610), ("refined", 699, 1394)])
def test_the_two_surfaces_have_the_published_vertex_counts(detail, vertices, faces):
    mesh = hand_surface(forward_kinematics(rest_pose(like=DOUBLE)), detail=detail)
    assert mesh.vertices.shape == (vertices, 3)
    assert mesh.faces.shape == (faces, 3)
    assert mesh.faces.dtype == torch.int64


@settings(max_examples=40, deadline=None)
@given(parameters())
def test_every_surface_is_one_closed_oriented_sphere_with_the_counts_of_the_formula(p):
    result = topology(p)
    faces = result.faces.numpy()
    d, s, a, r = p.dorsal_edges, p.side_edges, p.palm_rings, p.digit_rings
    hole = (p.thumb_hole[0] - 1) * (p.thumb_hole[1] - 1)
    num = (8 * d + 2 * s) * a + 3 * (s - 1) - hole + p.cap_centre + 5 * (2 * (d + s) * r + 1)
    assert len(result.part) == num == p.num_vertices
    assert len(faces) == 2 * num - 4 == p.num_faces
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    directed = {tuple(edge) for edge in edges.tolist()}
    assert len(directed) == len(edges)  # every directed edge once,
    assert directed == {(b, a) for a, b in directed}  # and once the other way
    assert num - len(edges) // 2 + len(faces) == 2
    # Around every vertex, the opposite edges of its faces form one cycle through all of its neighbours.
    following = [{} for _ in range(num)]
    for u, v, w in faces.tolist():
        following[u][v], following[v][w], following[w][u] = w, u, v
    for link in following:
        start = next(iter(link))
        walk, at = 1, link[start]
        while at != start:
            walk, at = walk + 1, link[at]
        assert walk == len(link)


@settings(max_examples=15, deadline=None)
@given(parameters())
def test_every_surface_encloses_about_the_same_hand(p):
    skeleton = forward_kinematics(rest_pose(like=DOUBLE))
    inputs = (skeleton.joints, skeleton.root_rotation, skeleton.bone_rotations)
    ones = torch.ones(23, dtype=torch.float64)
    mesh = Mesh(evaluation.surface_vertices(*inputs, ones, ones, template(p)), topology(p).faces)
    # A coarse polygon has less area than the oval it stands for: a third less for a square.
    assert 150e-6 < volume(mesh) < 320e-6


@pytest.mark.parametrize("detail", DETAILS)
def test_places_name_every_vertex(detail):
    places, p = surface_topology(detail), SURFACES[detail]
    loop = p.loop_edges
    assert torch.bincount(places.part).tolist() == [p.num_vertices - 5 * (loop * p.digit_rings + 1)] + 5 * [
        loop * p.digit_rings + 1
    ]
    for part in range(1, 6):
        rings = torch.bincount(places.ring[places.part == part])
        assert rings.tolist() == [0, *[loop] * p.digit_rings, 1]
    # Faces join rings that grow one after the other, so that a surface can grow ring by ring.
    steps = places.growth[places.faces]
    within_a_digit = places.part[places.faces].amin(dim=1) > 0
    spread = steps.amax(dim=1) - steps.amin(dim=1)
    assert (spread[within_a_digit] <= 1).all()
    # Angles say where on the ring: positive is the back of the hand.
    rest = hand_surface(forward_kinematics(rest_pose(like=DOUBLE)), detail=detail).vertices
    for part in range(2, 6):
        finger = (places.part == part) & (places.ring <= p.digit_rings)
        back = finger & (places.angle > 0.5) & (places.angle < 2.6)
        palm = finger & (places.angle < -0.5) & (places.angle > -2.6)
        assert rest[back, 2].min() > rest[palm, 2].max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dorsal_edges": 0}, "positive"),
        ({"thumb_hole": (2, 3)}, "needs 8 edges"),
        ({"palm_rings": 2}, "does not fit"),
        ({"digit_rings": 4}, "three phalanges"),
    ],
)
def test_impossible_parameters_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SURFACES["plain"], **change)


def test_an_unknown_detail_is_refused():
    with pytest.raises(ValueError, match="plain, refined"):
        surface._parameters("finest")


# --- shape ---


@pytest.mark.parametrize("detail", DETAILS)
def test_the_rest_hand_has_an_adults_measures(detail):
    mesh = hand_surface(forward_kinematics(rest_pose(like=DOUBLE)), detail=detail)
    assert 200e-6 < volume(mesh) < 350e-6
    part = surface_topology(detail).part
    fingers = mesh.vertices[part >= 2]
    assert 0.17 < fingers[:, 1].max() < 0.20  # wrist to the middle finger's tip
    palm = mesh.vertices[part == 0]
    width, depth = (palm.amax(dim=0) - palm.amin(dim=0))[[0, 2]]
    assert 0.075 < width < 0.095
    assert 0.025 < depth < 0.055
    assert mesh.vertices[part == 1, 0].min() < palm[:, 0].min() - 0.02  # the thumb sticks out


@pytest.mark.parametrize("detail", DETAILS)
def test_random_hands_keep_their_volume_and_do_not_turn_inside_out(detail):
    skeletons = random_skeletons(1000)
    mesh = hand_surface(skeletons, detail=detail)
    lengths = skeletons.joints[:, 9].sub(skeletons.joints[:, 0]).norm(dim=-1) / 0.085
    relative = volume(mesh) / lengths**3 / 280e-6
    assert relative.min() > 0.6
    assert relative.max() < 1.6
    inverted, area = _inverted(skeletons, mesh, detail)
    share = (inverted * area).sum(dim=-1) / area.sum(dim=-1)
    assert share.mean() < 0.005
    assert share.max() < 0.03


@pytest.mark.parametrize("detail", DETAILS)
def test_a_bent_finger_keeps_its_girth_at_the_joints(detail):
    straight, places = rest_pose(like=DOUBLE), surface_topology(detail)
    angles = straight.joint_angles.clone()
    angles[1:, 1, 0] = 1.75
    bent = replace(straight, joint_angles=angles)
    ring = 2 if detail == "plain" else 3
    for digit in range(1, 5):
        at_the_joint = (places.part == digit + 1) & (places.ring == ring)
        girths = []
        for pose in (straight, bent):
            loop = hand_surface(forward_kinematics(pose), detail=detail).vertices[at_the_joint]
            girths.append((loop - loop.roll(1, dims=0)).norm(dim=-1).sum())
        torch.testing.assert_close(girths[1], girths[0])


def _inverted(skeletons, mesh, detail):
    """Faces whose normal points against the way in which the frames of their corners turned it."""
    bound, faces = template(SURFACES[detail]), mesh.faces

    def turns(skeleton):
        bones = torch.cat(
            [skeleton.root_rotation[..., None, :, :], skeleton.bone_rotations.flatten(-4, -3)], dim=-3
        )
        first, second = bound.blended.unbind(dim=-1)
        blends = blend_frames(bones[..., first, :, :], bones[..., second, :, :], bound.blend_share)
        frames = torch.cat([bones, blends], dim=-3)[..., bound.frame, :, :]
        used = (bound.offset != 0).any(dim=-1)
        return (frames * used[..., None, None]).sum(dim=-3)[..., faces, :, :].sum(dim=-3)

    rest = forward_kinematics(rest_pose(like=DOUBLE))
    resting = face_normals(hand_surface(rest, detail=detail))
    expected = (turns(skeletons) @ torch.linalg.solve(turns(rest), resting[..., None]))[..., 0]
    normals = face_normals(mesh)
    return (normals * expected).sum(dim=-1) < 0, normals.norm(dim=-1)


@pytest.mark.parametrize("detail", DETAILS)
def test_all_joints_lie_inside(detail):
    moderate = random_skeletons(60, limits=STRICT_LIMITS, extent=0.7)
    rest = forward_kinematics(rest_pose(1, like=DOUBLE))
    for skeletons in (rest, moderate):
        mesh = hand_surface(skeletons, detail=detail)
        for joints, vertices in zip(skeletons.joints.numpy(), mesh.vertices.numpy(), strict=True):
            assert (igl.winding_number(vertices, mesh.faces.numpy(), joints) > 0.5).all()


@pytest.mark.parametrize("detail", DETAILS)
def test_tip_joints_lie_just_below_the_skin(detail):
    skeleton = forward_kinematics(rest_pose(like=DOUBLE))
    mesh = hand_surface(skeleton, detail=detail)
    tips = skeleton.joints[4::4].numpy()
    distance, *_ = igl.point_mesh_squared_distance(tips, mesh.vertices.numpy(), mesh.faces.numpy())
    assert (np.sqrt(distance) < 2e-3).all()
    end = mesh.vertices[surface_topology(detail).ring == SURFACES[detail].digit_rings + 1]
    beyond = ((end - skeleton.joints[4::4]) * skeleton.bone_rotations[:, 3, :, 1]).sum(dim=-1)
    torch.testing.assert_close(beyond, torch.full((5,), 1.6e-3, dtype=torch.float64))


# --- following the skeleton ---


@pytest.mark.parametrize("detail", DETAILS)
def test_moves_rigidly_with_the_skeleton(detail):
    pose = random_pose(8, torch.Generator().manual_seed(3), dtype=torch.float64)
    turn = random_rotations(8, torch.Generator().manual_seed(4), dtype=torch.float64)
    shift = torch.randn(8, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    moved = replace(
        pose,
        root_rotation=turn @ pose.root_rotation,
        root_translation=(turn @ pose.root_translation[..., None])[..., 0] + shift,
    )
    expected = hand_surface(forward_kinematics(pose), detail=detail).vertices @ turn.mT + shift[:, None]
    torch.testing.assert_close(hand_surface(forward_kinematics(moved), detail=detail).vertices, expected)


@pytest.mark.parametrize("detail", DETAILS)
def test_scales_with_the_skeleton(detail):
    pose = random_pose(8, torch.Generator().manual_seed(6), dtype=torch.float64)
    small = replace(pose, bone_lengths=0.6 * pose.bone_lengths)
    torch.testing.assert_close(
        hand_surface(forward_kinematics(small), detail=detail).vertices,
        0.6 * hand_surface(forward_kinematics(pose), detail=detail).vertices,
    )


@pytest.mark.parametrize("detail", DETAILS)
def test_the_left_hand_is_the_mirrored_right_hand_turned_outside(detail):
    right = hand_surface(random_skeletons(5), detail=detail)
    left = mirror_mesh(right)
    torch.testing.assert_close(left.vertices, mirror(right.vertices))
    torch.testing.assert_close(volume(left), volume(right))
    assert (volume(left) > 0).all()
    torch.testing.assert_close(mirror(face_normals(left)), face_normals(right))


def test_thickness_changes_only_its_own_digit_and_direction():
    skeleton, places = forward_kinematics(rest_pose(like=DOUBLE)), surface_topology("plain")
    rest = HandShape.rest(like=DOUBLE)
    wide = rest.digit_width.clone()
    wide[2, 2] = 1.5  # the middle finger at its distal joint
    change = (
        hand_surface(skeleton, replace(rest, digit_width=wide)).vertices - hand_surface(skeleton).vertices
    )
    moved = change.norm(dim=-1) > 1e-9
    assert places.part[moved].unique().tolist() == [3]
    assert places.ring[moved].unique().tolist() == [3, 4, 5, 6]  # between the neighbouring stations
    along_x = change[moved] @ skeleton.bone_rotations[2, 3, :, 0]
    torch.testing.assert_close(along_x.abs(), change[moved].norm(dim=-1))


def test_the_thin_hand_is_thinner_all_along_its_fingers():
    skeletons = random_skeletons(20, extent=0.5)
    thin = hand_surface(skeletons, HandShape.thin(like=DOUBLE))
    full = hand_surface(skeletons, HandShape.rest(like=DOUBLE))
    assert (volume(thin) < 0.95 * volume(full)).all()


def test_a_batch_may_have_any_shape_and_shares_its_thickness():
    pose = random_pose(6, torch.Generator().manual_seed(7), dtype=torch.float64)
    skeleton, shape = forward_kinematics(pose), random_shape(1)
    flat = hand_surface(skeleton, shape).vertices
    grid = surface.Skeleton(
        *(getattr(skeleton, field.name).unflatten(0, (2, 3)) for field in fields(skeleton))
    )
    torch.testing.assert_close(hand_surface(grid, shape).vertices, flat.unflatten(0, (2, 3)))
    one = surface.Skeleton(*(getattr(skeleton, field.name)[4] for field in fields(skeleton)))
    single = HandShape(*(getattr(shape, field.name)[0] for field in fields(shape)))
    torch.testing.assert_close(hand_surface(one, single).vertices, flat[4])
    none = surface.Skeleton(*(getattr(skeleton, field.name)[:0] for field in fields(skeleton)))
    assert hand_surface(none).vertices.shape == (0, 307, 3)


def test_joints_alone_never_touch_the_surface(monkeypatch):
    def refuse(*_):
        raise AssertionError("the surface was computed")

    monkeypatch.setattr(kernel, "surface_vertices", refuse)
    monkeypatch.setattr(surface, "surface_vertices", refuse)
    skeleton = forward_kinematics(random_pose(2))
    assert skeleton.joints.shape == (2, 21, 3)
    with pytest.raises(AssertionError, match="computed"):
        hand_surface(skeleton)


# --- the compiled loops, and derivatives ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num", [1, 16, 37, 150])
@pytest.mark.parametrize("detail", DETAILS)
def test_the_kernel_agrees_with_plain_torch_in_values_and_gradients(detail, num, dtype):
    inputs = _inputs(num, dtype)
    weights = torch.randn(
        num, SURFACES[detail].num_vertices, 3, generator=torch.Generator().manual_seed(1), dtype=dtype
    )
    fast = kernel.surface_vertices(*inputs, SURFACES[detail])
    plain = evaluation.surface_vertices(*inputs, template(SURFACES[detail]).to(dtype))
    torch.testing.assert_close(fast, plain)
    fast_grads = torch.autograd.grad((fast * weights).sum(), inputs)
    plain_grads = torch.autograd.grad((plain * weights).sum(), inputs)
    for fast_grad, plain_grad in zip(fast_grads, plain_grads, strict=True):
        scale = plain_grad.abs().max()
        torch.testing.assert_close(fast_grad / scale, plain_grad / scale)


def _inputs(num, dtype):
    skeleton, shape = random_skeletons(num, dtype=dtype), random_shape(num, dtype=dtype)
    widths = torch.cat([shape.digit_width.flatten(1), shape.palm_width], dim=1)
    depths = torch.cat([shape.digit_depth.flatten(1), shape.palm_depth], dim=1)
    inputs = (skeleton.joints, skeleton.root_rotation, skeleton.bone_rotations, widths, depths)
    return [tensor.requires_grad_() for tensor in inputs]


def test_derivatives_by_angles_lengths_and_thickness():
    # a few vertices of every kind: the full Jacobian would only take longer
    chosen = torch.tensor([0, 25, 45, 58, 60, 75, 150, 230, 306])
    pose = random_pose(2, torch.Generator().manual_seed(8), dtype=torch.float64)
    shape = random_shape(2)

    def vertices(palm_angles, joint_angles, bone_lengths, digit_width, digit_depth, palm_width, palm_depth):
        bent = replace(pose, palm_angles=palm_angles, joint_angles=joint_angles, bone_lengths=bone_lengths)
        thick = HandShape(digit_width, digit_depth, palm_width, palm_depth)
        return hand_surface(forward_kinematics(bent), thick).vertices[:, chosen]

    inputs = [
        tensor.clone().requires_grad_()
        for tensor in (
            pose.palm_angles, pose.joint_angles, pose.bone_lengths,
            shape.digit_width, shape.digit_depth, shape.palm_width, shape.palm_depth,
        )
    ]  # fmt: skip
    assert torch.autograd.gradcheck(vertices, inputs, eps=1e-6, atol=1e-7)


def test_second_derivatives():
    inputs = _inputs(2, torch.float64)

    def compressed(*tensors):
        return kernel.surface_vertices(*tensors, SURFACES["plain"])[:, ::60].square().sum(dim=(1, 2))

    assert torch.autograd.gradgradcheck(compressed, inputs, fast_mode=True)


def test_gradients_where_only_some_inputs_need_them():
    pose = random_pose(3, torch.Generator().manual_seed(9), dtype=torch.float64)
    lengths = pose.bone_lengths.clone().requires_grad_()
    mesh = hand_surface(forward_kinematics(replace(pose, bone_lengths=lengths)))
    mesh.vertices.square().sum().backward()
    assert lengths.grad.abs().sum(dim=(1, 2)).min() > 0

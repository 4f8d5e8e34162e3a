"""From 64 numbers to two hands: the project's hand, the stand-in for MANO, mirrors."""

import pytest
import torch

from hands_lib.geometry.closed_surface import enclosed_volume
from hands_lib.geometry.rotations import random_rotations
from hands_lib.hand.kinematics import DEFAULT_LIMITS, forward_kinematics, mirror, rest_bone_lengths, rest_pose
from hands_lib.hand.mano_stand_in import stand_in
from hands_lib.hand.skeleton import EDGES
from hands_lib.methods.refinement.hands import (
    NUM_PARAMETERS,
    START,
    UNIT,
    KinematicHands,
    ManoHands,
    decode,
    rotation_from_columns,
)
from hands_lib.structures import Mesh


@pytest.fixture(scope="module", params=["own", "mano"])
def hands(request):
    if request.param == "own":
        return KinematicHands("plain")
    return ManoHands(stand_in("right"), stand_in("left", faulty=False))


def numbers(seed: int, batch: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.tensor(START) + 0.3 * torch.randn(batch, 2, NUM_PARAMETERS, generator=generator)


def test_the_numbers_are_64():
    assert NUM_PARAMETERS == len(START) == 64


def test_swapping_the_hands_mirrors_everything(hands):
    """Numbers of a left hand are those of a right hand in the mirrored picture."""
    parameters, offset = numbers(0), torch.randn(3, 3)
    one, other = decode(parameters, offset, hands), decode(parameters.flip(1), offset, hands)
    for name in ("joints", "vertices"):
        assert torch.allclose(getattr(other, name), mirror(getattr(one, name)).flip(1), atol=1e-6)
    for name in ("joints_uv", "vertices_uv"):
        flipped = getattr(one, name).flip(1) * torch.tensor([-1.0, 1.0])
        assert torch.allclose(getattr(other, name), flipped, atol=1e-6)


def test_weak_perspective(hands):
    """uv = s xyz / 0.15 + t of the right hand, and in the mirrored picture of the left one."""
    parameters = numbers(1)
    found = decode(parameters, torch.zeros(3, 3), hands)
    scale, shift = parameters[..., None, 61:62], parameters[..., None, 62:]
    assert UNIT == 0.15
    for side, sign in ((0, 1.0), (1, -1.0)):
        sides = torch.tensor([sign, 1.0])
        expected = scale[:, side] * found.joints[:, side, :, :2] / 0.15 + sides * shift[:, side]
        assert torch.allclose(found.joints_uv[:, side], expected, atol=1e-6)


def test_rotation_turns_about_the_wrist(hands):
    turns = random_rotations(6, torch.Generator().manual_seed(0)).view(3, 2, 3, 3)
    still = numbers(2)
    still[..., :6] = torch.tensor(START[:6])
    turned = still.clone()
    turned[..., :6] = turns[..., :2].mT.flatten(-2)
    one, other = (decode(p, torch.zeros(3, 3), hands) for p in (still, turned))
    assert torch.allclose(other.joints[:, :, 0], torch.zeros(3, 2, 3), atol=1e-6)
    assert torch.allclose(other.joints[:, 0], one.joints[:, 0] @ turns[:, 0].mT, atol=1e-6)
    left = mirror(mirror(one.joints[:, 1]) @ turns[:, 1].mT)
    assert torch.allclose(other.joints[:, 1], left, atol=1e-6)


def test_faces_look_outwards_on_both_sides():
    hands = KinematicHands()
    parameters = torch.tensor(START).expand(1, 2, 64)
    found = decode(parameters, torch.zeros(1, 3), hands)
    for side in (0, 1):
        assert float(enclosed_volume(Mesh(found.vertices[0, side], hands.faces[side]))) > 1e-4


def test_six_numbers_make_a_rotation():
    columns = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotation = rotation_from_columns(columns)
    identity = torch.eye(3, dtype=torch.float64).expand(50, 3, 3)
    assert torch.allclose(rotation @ rotation.mT, identity, atol=1e-12)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(50, dtype=torch.float64))
    truth = random_rotations(50, torch.Generator().manual_seed(1), torch.float64)
    assert torch.allclose(rotation_from_columns(truth[..., :2].mT.flatten(1)), truth, atol=1e-12)


def test_pose_numbers_are_half_ranges_about_the_middle():
    """+1 and -1 everywhere are the limits; the joints are those of forward kinematics at them."""
    hands = KinematicHands()
    for value, limit in ((1.0, DEFAULT_LIMITS.joint_upper), (-1.0, DEFAULT_LIMITS.joint_lower)):
        joints, _ = hands(torch.full((1, 2, 45), value), torch.zeros(1, 2, 10))
        pose = rest_pose(1, like=joints)
        object.__setattr__(pose, "joint_angles", limit.float()[None])
        expected = forward_kinematics(pose).joints
        assert torch.allclose(joints[0, 0], expected[0], atol=1e-6)


def test_build_numbers_change_bones():
    hands, rest = KinematicHands(), rest_bone_lengths()

    def lengths(number, value=1.0):
        build = torch.zeros(1, 2, 10)
        build[..., number] = value
        joints, vertices = hands(torch.zeros(1, 2, 45), build)
        ends = torch.tensor(EDGES)
        bones = (joints[0, 0][ends[:, 1]] - joints[0, 0][ends[:, 0]]).norm(dim=-1)
        return bones.view(5, 4) / rest, vertices

    size, _ = lengths(0)
    assert torch.allclose(size, size[0, 0].expand(5, 4), rtol=1e-4)
    assert float(size[0, 0]) > 1.05
    index, _ = lengths(2)
    changed = (index - 1).abs() > 1e-4
    assert changed.nonzero().tolist() == [[1, 1], [1, 2], [1, 3]]
    palm, _ = lengths(6)
    assert ((palm - 1).abs() > 1e-4).nonzero().tolist() == [[digit, 0] for digit in range(5)]
    _, plain = lengths(0, 0.0)
    for number in (7, 8, 9):  # thickness: bones stay, the surface moves
        bones, vertices = lengths(number)
        assert torch.allclose(bones, torch.ones(5, 4), rtol=1e-4)
        assert (vertices - plain).abs().amax() > 1e-4


def test_gradients_reach_all_numbers_that_mean_something():
    parameters = numbers(5, 2).requires_grad_()
    found = decode(parameters, torch.zeros(2, 3), KinematicHands())
    (found.vertices.square().sum() + found.joints_uv.square().sum()).backward()
    silent = (parameters.grad.abs().sum(dim=(0, 1)) == 0).nonzero().flatten().tolist()
    limits = (DEFAULT_LIMITS.joint_upper - DEFAULT_LIMITS.joint_lower).flatten()
    assert silent == [6 + n for n in (limits == 0).nonzero().flatten().tolist()]


def test_together_puts_both_hands_into_one_frame():
    offset = torch.tensor([[0.1, 0.0, -0.2]])
    found = decode(torch.tensor(START).expand(1, 2, 64), offset, KinematicHands("plain"))
    joints = found.together()
    assert torch.allclose(joints[:, 0, 0] - joints[:, 1, 0], offset)


def test_detached_estimates_have_no_history():
    parameters = numbers(6).requires_grad_()
    found = decode(parameters, parameters[:, 0, :3], KinematicHands("plain"))
    assert found.joints.requires_grad
    assert found.offset.requires_grad
    assert not any(getattr(found.detached(), name).requires_grad for name in found.__dataclass_fields__)

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hands_lib.hand.kinematics import forward_kinematics, mirror, random_pose
from hands_lib.hand.skeleton import (
    DIGITS,
    EDGES,
    JOINT_ORDERS,
    JOINTS,
    PARENTS,
    reorder,
)

ORDERS = sorted(JOINT_ORDERS)
WITH_ALL_JOINTS = [name for name in ORDERS if set(JOINTS) <= set(JOINT_ORDERS[name])]


def test_the_tree_has_twenty_bones_that_all_start_nearer_to_the_wrist():
    assert len(EDGES) == 20
    assert [child for _, child in EDGES] == list(range(1, 21))
    for parent, child in EDGES:
        digit, number = JOINTS[child].split("_")
        assert JOINTS[parent] == ("wrist" if number == "1" else f"{digit}_{int(number) - 1}")
        assert PARENTS[child] == parent < child


def test_orders_agree_with_the_published_tables():
    # Spot checks against each format's own documentation.
    assert JOINT_ORDERS["interhand26m"][::4] == tuple(f"{digit}_4" for digit in DIGITS) + ("wrist",)
    assert JOINT_ORDERS["mano"][7:13] == tuple(f"{d}_{n}" for d in ("little", "ring") for n in (1, 2, 3))
    assert JOINT_ORDERS["ho3d"][16:] == tuple(f"{digit}_4" for digit in DIGITS)
    assert JOINT_ORDERS["rhd"][:6] == ("wrist", "thumb_4", "thumb_3", "thumb_2", "thumb_1", "index_4")
    assert JOINT_ORDERS["reinterhand"][1] == "thumb_0"
    assert JOINT_ORDERS["reinterhand"][18] == "little_0"
    assert [len(JOINT_ORDERS[name]) for name in ORDERS] == [21, 21, 21, 21, 21, 16, 24, 21]
    assert all(len(set(order)) == len(order) for order in JOINT_ORDERS.values())
    # smplx's mapping of its 16 joints and five appended tips to OpenPose's order.
    openpose_from_mano = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
    joints = torch.arange(21)[:, None]
    assert reorder(joints, "ho3d", "freihand").flatten().tolist() == openpose_from_mano


@given(st.sampled_from(WITH_ALL_JOINTS), st.lists(st.integers(0, 3), max_size=3))
def test_there_and_back_is_the_same(order, batch):
    joints = torch.randn(*batch, 21, 3, generator=torch.Generator().manual_seed(0))
    there = reorder(joints, "hands", order, fill=torch.nan)
    assert torch.equal(reorder(there, order, "hands"), joints)


@given(st.sampled_from(ORDERS), st.sampled_from(ORDERS))
def test_every_row_keeps_its_name(source, target):
    names = {name: float(number) for number, name in enumerate(sorted(set().union(*JOINT_ORDERS.values())))}
    rows = torch.tensor([[names[name]] for name in JOINT_ORDERS[source]])
    result = reorder(rows, source, target, fill=-1.0)
    for row, name in zip(result.flatten().tolist(), JOINT_ORDERS[target], strict=True):
        assert row == (names[name] if name in JOINT_ORDERS[source] else -1.0)


def test_bad_orders_are_refused():
    with pytest.raises(ValueError, match=r"unknown joint order 'kinect'; known are .*interhand26m"):
        reorder(torch.zeros(21, 3), "kinect", "hands")
    with pytest.raises(ValueError, match="'mano' has 16 joints, but 21 rows"):
        reorder(torch.zeros(21, 3), "mano", "hands")
    with pytest.raises(ValueError, match="'mano' has no thumb_4, .*little_4, which 'hands' asks for"):
        reorder(torch.zeros(16, 3), "mano", "hands")


# The order of a moving skeleton from the data alone.


def order_from_motion(joints):
    """Row of each of the library's joints in `joints` (frame, 21, 3), from how the skeleton moves.

    A bone is a pair of joints whose distance hardly varies. In the tree of least variation each digit is a
    chain that runs from its tip, a leaf, through joints with two neighbours to its base; the palm, rigid
    too, holds the chains together. The thumb's base is nearest to the wrist; seen from the wrist, the other
    bases fan out from it.
    """
    distances = (joints[:, :, None] - joints[:, None]).norm(dim=-1)
    mean, variation = distances.mean(dim=0), distances.std(dim=0)
    inside, neighbours = {0}, {row: [] for row in range(21)}
    while len(inside) < 21:
        outside = [row for row in range(21) if row not in inside]
        pairs = [(variation[i, j].item(), i, j) for i in inside for j in outside]
        _, i, j = min(pairs)
        inside.add(j)
        neighbours[i].append(j)
        neighbours[j].append(i)
    chains = []
    for leaf in (row for row in range(21) if len(neighbours[row]) == 1):
        chain = [leaf]
        while len(chain) < 4 and (len(chain) == 1 or len(neighbours[chain[-1]]) == 2):
            chain.append(next(row for row in neighbours[chain[-1]] if row not in chain))
        if len(chain) == 4:
            chains.append(chain[::-1])
    (wrist,) = set(range(21)) - {row for chain in chains for row in chain}
    thumb = min(chains, key=lambda chain: mean[wrist, chain[0]].item())
    directions = torch.nn.functional.normalize(joints - joints[:, [wrist]], dim=-1)
    from_thumb = (directions * directions[:, [thumb[0]]]).sum(dim=-1).mean(dim=0)
    chains.sort(key=lambda chain: -from_thumb[chain[0]].item())
    return [wrist, *(row for chain in chains for row in chain)]


def palmar_bend(joints):
    """How far the finger tips bend, in metres, to the side that a RIGHT hand's palm faces."""
    wrist, index, little = joints[..., 0, :], joints[..., 5, :], joints[..., 17, :]
    palmar = torch.nn.functional.normalize(torch.linalg.cross(index - wrist, little - wrist), dim=-1)
    fingers = joints[..., 8::4, :] - joints[..., 5::4, :]
    return (fingers * palmar[..., None, :]).sum(dim=-1)


def moving_skeleton(num=60):
    """One subject's hand in poses that all differ, with joints that jitter by half a millimetre."""
    generator = torch.Generator().manual_seed(3)
    poses = random_pose(num, generator, dtype=torch.float64)
    poses = replace(poses, bone_lengths=poses.bone_lengths[:1].expand(num, 5, 4))
    joints = forward_kinematics(poses).joints
    return joints + 0.0005 * torch.randn(joints.shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_found_from_motion_alone(seed):
    joints = moving_skeleton()
    shuffled = torch.randperm(21, generator=torch.Generator().manual_seed(seed))
    found = order_from_motion(joints[:, shuffled])
    assert shuffled[found].tolist() == list(range(21))


@pytest.mark.parametrize("order", WITH_ALL_JOINTS)
def test_the_order_of_a_named_format_is_found_from_motion_alone(order):
    own = [row for row, name in enumerate(JOINT_ORDERS[order]) if name in JOINTS]
    names = [JOINT_ORDERS[order][row] for row in own]
    joints = reorder(moving_skeleton(), "hands", order, fill=0.0)[:, own]
    assert tuple(names[row] for row in order_from_motion(joints)) == JOINTS


def test_handedness_shows_in_the_bend():
    joints = moving_skeleton()
    assert palmar_bend(joints).mean() > 0.01
    assert palmar_bend(mirror(joints)).mean() < -0.01


_HALO = Path(os.environ.get("HANDS_DATA", "") or "nowhere", "halo_skeleton_sequence", "keypoints.npy")
# The published file where this machine has it, next to a generated skeleton that always stands in for it.
SEQUENCES = {"generated": lambda: reorder(moving_skeleton(), "hands", "halo")} | (
    {"published": lambda: torch.from_numpy(np.load(_HALO)).double()} if _HALO.is_file() else {}
)


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_the_halo_sequence_is_a_right_hand_in_the_order_named_halo(sequence):
    joints = sequence()
    found = order_from_motion(joints)
    assert tuple(JOINT_ORDERS["halo"][row] for row in found) == JOINTS
    assert palmar_bend(reorder(joints, "halo", "hands")).mean() > 0.01

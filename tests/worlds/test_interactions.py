import pytest
import torch

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.inside import inside
from hands_lib.hand.inverse_kinematics import bone_lengths_of
from hands_lib.hand.kinematics import DEFAULT_LIMITS, limit_excess
from hands_lib.hand.pairs import intersecting, meeting_parts, pair_faces, pair_joints, pair_surfaces
from hands_lib.hand.skeleton import JOINTS
from hands_lib.structures import Mesh
from hands_lib.worlds.interactions import INTERACTIONS, KEY_POSES, TOUCHING
from hands_lib.worlds.pair_sampling import sample_pairs

NAMES = list(INTERACTIONS)


def _vertices(sampled, people):
    pairs, _ = sampled
    return pair_surfaces(pairs.pose, people[pairs.identity].shape)


def test_no_sampled_pair_intersects_also_between_its_vertices(sampled, people):
    vertices = _vertices(sampled, people)
    faces = pair_faces()
    steps = [(i / 4, j / 4, 1 - (i + j) / 4) for i in range(5) for j in range(5 - i)]
    for own, other in ((0, 1), (1, 0)):
        corners = vertices[:, own][:, faces[own]]
        dense = torch.einsum("tk,bfkc->bftc", torch.tensor(steps), corners).flatten(1, 2)  # 15 points a face
        assert not inside(dense, Mesh(vertices[:, other], faces[other])).any()


def test_hands_touch_where_the_interaction_says_so(sampled, people):
    pairs, _ = sampled
    vertices = _vertices(sampled, people)
    right_faces, left_faces = pair_faces()
    nearest = torch.minimum(
        signed_distance(vertices[:, 0], Mesh(vertices[:, 1], left_faces)).distance.amin(dim=1),
        signed_distance(vertices[:, 1], Mesh(vertices[:, 0], right_faces)).distance.amin(dim=1),
    )
    for n, kind in enumerate(pairs.interaction.tolist()):
        if NAMES[kind] in TOUCHING:
            assert 0 < nearest[n] < 0.002, NAMES[kind]
        if NAMES[kind] == "apart":
            assert nearest[n] > 0.02


def test_every_interaction_is_drawn_and_kept(sampled):
    pairs, report = sampled
    assert torch.equal(pairs.interaction.bincount(), torch.full((len(NAMES),), 4))
    assert set(report.counts) == set(NAMES)
    assert all(accepted == 4 and drawn >= 4 for accepted, drawn in report.counts.values())
    assert 0.5 < report.acceptance <= 1


def test_poses_are_anatomical_and_keep_the_persons_bones(sampled, people):
    pairs, _ = sampled
    lengths = people.bone_lengths[pairs.identity]
    torch.testing.assert_close(bone_lengths_of(pair_joints(pairs.pose)), lengths, rtol=1e-4, atol=1e-6)
    assert limit_excess(pairs.pose, DEFAULT_LIMITS).max() < 1e-6


def test_right_hands_are_right_and_left_hands_left(sampled):
    # Seen from the back with fingers up the thumb of a right hand is on the left; the triple product tells.
    joints = pair_joints(sampled[0].pose)
    wrist, index, little, thumb = (
        joints[:, :, JOINTS.index(name)] for name in ("wrist", "index_1", "little_1", "thumb_2")
    )
    side = ((torch.linalg.cross(index - wrist, little - wrist)) * (thumb - wrist)).sum(dim=-1)
    assert (side[:, 0] > 0).all()  # the thumb bends to the palm's side
    assert (side[:, 1] < 0).all()


def test_same_seed_same_pairs(people):
    first, second, other = (sample_pairs(4, people, torch.Generator().manual_seed(s))[0] for s in (7, 7, 8))
    for name, value in vars(first.pose).items():
        assert torch.equal(value, getattr(second.pose, name))
    assert not torch.equal(first.pose.root_rotation, other.pose.root_rotation)


def test_pushed_together_hands_meet_and_parts_are_named(sampled, people):
    vertices = _vertices(sampled, people)[[NAMES.index("praying")]].clone()
    assert not meeting_parts(vertices).any()
    between = vertices[:, 1].mean(dim=1) - vertices[:, 0].mean(dim=1)
    vertices[:, 1] -= 0.3 * between[:, None]
    assert meeting_parts(vertices).any(dim=-1).all()
    assert intersecting(vertices).all()


def test_a_hand_inside_the_other_intersects_without_any_crossing(sampled, people):
    vertices = _vertices(sampled, people)[:1].clone()
    # A palm holds a tiny hand: no edge meets a face.
    palm = pair_joints(sampled[0].pose[:1])[:, 0, [0, 9]].mean(dim=1)
    vertices[:, 1] = palm + 0.02 * (vertices[:, 1] - vertices[:, 1].mean(dim=1, keepdim=True))
    assert not meeting_parts(vertices).any()
    assert intersecting(vertices).all()


def test_key_poses_are_within_the_limits():
    limits = torch.stack([DEFAULT_LIMITS.joint_lower, DEFAULT_LIMITS.joint_upper]).rad2deg()
    for name, table in KEY_POSES.items():
        rows = torch.tensor(table, dtype=torch.float64)
        low, high = (
            torch.stack([own[:, 0, 0], own[:, 0, 1], own[:, 1, 0], own[:, 2, 0]], dim=1) for own in limits
        )
        assert ((rows >= low - 1e-9) & (rows <= high + 1e-9)).all(), name


def test_an_unknown_interaction_is_named(people):
    with pytest.raises(ValueError, match="wrestling.*praying"):
        sample_pairs(1, people, torch.Generator(), ("wrestling",))

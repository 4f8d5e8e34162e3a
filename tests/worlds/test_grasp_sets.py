"""Sets of grasps: splits without common people, what is resumed, and left hands as exact mirror images."""

import pytest
import torch

from hands_lib.geometry.cameras import cropped
from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.raster import rasterize
from hands_lib.structures import Mesh
from hands_lib.worlds import grasp_sets
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.grasp_scenes import make_moments, photograph_grasp, sample_motion
from hands_lib.worlds.grasp_sets import GraspSetSettings, grasp_set, mirrored_surfaces, mirrored_views
from hands_lib.worlds.grasps import DEEPEST
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.objects import UNSEEN, object_names, object_shape
from hands_lib.worlds.renderer import STUDIO_LIGHT
from hands_lib.worlds.two_hands import WorldError

SMALL = GraspSetSettings(num_people=10, train=8, val=3, test=30, shard=5)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def train(root):
    return grasp_set("train", SMALL, root)


@pytest.fixture(scope="module")
def moment(train):
    shape = object_shape(object_names()[int(train.grasps.shape[0])])
    person = sample_identities(SMALL.num_people, SMALL.seed)[train.grasps.identity[:1]]
    return shape, person, make_moments(train.grasps[:1], shape, person)[0]


def test_people_and_objects_of_splits(train, root):
    val = grasp_set("val", SMALL, root)
    assert not set(train.grasps.identity.tolist()) & set(val.grasps.identity.tolist())
    unseen = {object_names().index(name) for name in UNSEEN}
    for own in (train, val):
        assert not set(own.grasps.shape.tolist()) & unseen
    assert len(train.left) == len(train.grasps.shape) == 8
    assert 0 < int(train.left.sum()) < 8
    assert (train.accepted <= train.tried).all()
    assert int(train.accepted.sum()) >= 8
    # five and three: shapes went on taking turns
    assert len(set(train.grasps.shape.tolist())) == 8


def test_a_cut_set_goes_on_where_it_was(train, root, tmp_path, monkeypatch):
    made, calls = grasp_sets._make, []

    def cut(split, settings, first, num):
        calls.append(first)
        if first == 5 and len(calls) == 2:
            raise KeyboardInterrupt
        return made(split, settings, first, num)

    monkeypatch.setattr(grasp_sets, "_make", cut)
    with pytest.raises(KeyboardInterrupt):
        grasp_set("train", SMALL, tmp_path)
    again = grasp_set("train", SMALL, tmp_path)
    assert calls == [0, 5, 5]
    assert torch.equal(again.grasps.pose.joint_angles, train.grasps.pose.joint_angles)
    assert torch.equal(again.left, train.left)


def test_a_left_grasp_is_the_exact_mirror_image(moment):
    shape, _, own = moment
    left = mirrored_surfaces(own, shape)
    # the same distances, by surfaces that are closed and look outwards
    to_object = signed_distance(left.hand.vertices, left.object).distance
    torch.testing.assert_close(to_object, own.contact.hand[0], atol=1e-7, rtol=0)
    to_hand = signed_distance(left.object.vertices, left.hand).distance
    torch.testing.assert_close(to_hand, own.contact.object[0], atol=1e-7, rtol=0)
    # twice is the right one again
    assert torch.equal(left.joints * torch.tensor([-1.0, 1, 1]), own.joints)
    # a rigid pose of the object that is mirrored in its own frame
    rotation = left.world_from_object[:3, :3]
    torch.testing.assert_close(torch.linalg.det(rotation), torch.tensor(1.0))
    rest = shape.mesh.vertices * torch.tensor([1.0, -1, 1])
    moved = rest @ rotation.mT + left.world_from_object[:3, 3]
    torch.testing.assert_close(moved, left.object.vertices, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", UNSEEN)
def test_drawn_shapes_are_their_own_mirror_image(name):
    """So that a left hand holds the same objects as a right one: exactly, but for the pitchers' handles,
    whose bends are 0.3 mm apart."""
    mesh = object_shape(name).mesh
    mirrored = mesh.vertices * torch.tensor([1.0, -1, 1])
    assert torch.cdist(mirrored.double(), mesh.vertices.double()).amin(dim=1).max() < (
        4e-4 if "pitcher" in name else 1e-6
    )


def test_mirrored_cameras_see_the_mirror_image(moment):
    shape, person, own = moment
    points = torch.cat([own.hand, own.object])
    camera = cropped(camera_ring(2, 48), points, 48, 1.2)
    views = photograph_grasp(own, shape, person[0], camera, STUDIO_LIGHT, arm=False)
    mirrored = mirrored_views(views)
    flip = torch.tensor([-1.0, 1, 1])
    seen = camera.project(points.expand(2, -1, -1))
    turned = mirrored.camera.project((points * flip).expand(2, -1, -1))
    torch.testing.assert_close(turned[..., 0], 47 - seen[..., 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(turned[..., 1], seen[..., 1], atol=1e-3, rtol=0)
    assert (torch.linalg.det(mirrored.camera.camera_from_world[:, :3, :3]) > 0).all()
    assert torch.equal(mirrored.image, views.image.flip(2))
    # what is seen there is the mirrored surface, as a rasteriser finds it
    left = mirrored_surfaces(own, shape)
    hand = rasterize(Mesh(left.hand.vertices, left.hand.faces), mirrored.camera).foreground
    assert ((mirrored.kind == 1) & ~hand).float().mean() < 0.002


@pytest.mark.parametrize("number", [1, 4, 6])
def test_motions_of_both_hands_never_press_deeper_than_a_grasp_may(train, number):
    grasp = train.grasps[number : number + 1]
    shape = object_shape(object_names()[int(grasp.shape[0])])
    people = sample_identities(SMALL.num_people, SMALL.seed)
    person = people[grasp.identity[0]]
    frames = sample_motion(grasp, shape, person, torch.Generator().manual_seed(number), seconds=1.5)
    moments = make_moments(frames, shape, people[frames.identity])
    assert max(float(moment.contact.penetration[0]) for moment in moments) <= DEEPEST + 1e-5
    for moment in moments[::8]:
        left = mirrored_surfaces(moment, shape)
        for own, other in ((left.hand, left.object), (left.object, left.hand)):
            assert signed_distance(own.vertices, other).distance.min() >= -DEEPEST - 1e-5


def test_unknown_splits_and_settings_are_refused(root):
    with pytest.raises(WorldError, match="'dev'"):
        grasp_set("dev", SMALL, root)
    with pytest.raises(WorldError, match="at least one"):
        GraspSetSettings(val=0)
    with pytest.raises(WorldError, match="between 0 and 1"):
        GraspSetSettings(left=1.5)

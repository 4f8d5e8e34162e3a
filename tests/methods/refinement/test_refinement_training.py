"""Examples from a world and their mirror images; the loop, stopped and going on; errors by the protocol."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from hands_lib.geometry.cameras import cropped
from hands_lib.hand.pairs import pair_joints
from hands_lib.methods.refinement.examples import Examples, examples_of, mirrored, unlabelled
from hands_lib.methods.refinement.hands import Estimate, KinematicHands, joints_alone
from hands_lib.methods.refinement.network import SMALL, RefinementNetwork
from hands_lib.methods.refinement.training import (
    TrainingSettings,
    batch_of,
    errors,
    joined_estimates,
    learning_rate,
    predict,
    scaled,
    train,
    train_joints,
)
from hands_lib.metrics.hand_pose import PROTOCOLS, pose_error_mm, vertex_error_mm
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_labels import labelled_hands, labelled_views
from hands_lib.worlds.pair_pictures import PictureSettings
from hands_lib.worlds.pair_sampling import sample_pairs
from hands_lib.worlds.pair_sets import PairSetSettings, pair_set
from hands_lib.worlds.renderer import random_lighting
from hands_lib.worlds.views import make_moment, photograph

SIZE = 32
TINY = replace(SMALL, visual_width=8, joint_width=8, plane_width=8, graph_layers=1, transformer_blocks=1)


@pytest.fixture(scope="module")
def scene():
    people = sample_identities(1, 0)
    pair, _ = sample_pairs(1, people, torch.Generator().manual_seed(0), ("clasp",))
    moment = make_moment(pair.pose[0], people[0])
    camera = cropped(camera_ring(3, SIZE), moment.vertices.flatten(0, 1), SIZE, 1.15)
    views = photograph(moment, people[0], camera, random_lighting(torch.Generator().manual_seed(1)))
    return moment, views


@pytest.fixture(scope="module")
def examples(scene):
    return examples_of(labelled_views(*scene, label_size=8))


def test_labels_are_those_of_the_camera(scene, examples):
    moment, views = scene
    camera, target = views.camera, examples.targets
    for view in range(3):
        pose = camera.camera_from_world[view]
        for side in (0, 1):
            points = moment.joints[side] @ pose[:3, :3].T + pose[:3, 3]
            assert torch.allclose(target.joints[view, side], points - points[0], atol=1e-5)
            pixels = points @ camera.intrinsics[view].T
            pixels = pixels[:, :2] / pixels[:, 2:]
            assert torch.allclose((target.joints_uv[view, side] + 1) / 2 * SIZE - 0.5, pixels, atol=1e-3)
        wrists = moment.joints[:, 0] @ pose[:3, :3].T + pose[:3, 3]
        assert torch.allclose(target.offset[view], wrists[0] - wrists[1], atol=1e-5)
    assert float(examples.image.amin()) >= 0
    assert float(examples.image.amax()) <= 1
    assert torch.equal(target.hand[:, 0, 1], torch.where(views.hand[:, 2, 6] < 3, views.hand[:, 2, 6], 0))
    assert set(target.hand.unique().tolist()) == {0, 1, 2}
    assert (target.correspondence.movedim(1, -1)[target.hand == 0] == 0).all()
    assert float(target.correspondence.amax()) <= 1


def test_vertices_project_onto_their_hand(examples):
    """Nearly all pixels of a hand have one of its vertices near: labels and uv use one convention."""
    target = examples.targets
    along = (2 * torch.arange(8) + 1) / 8 - 1
    for view in range(3):
        for side in (0, 1):
            rows, columns = (target.hand[view] == side + 1).nonzero().T
            places = torch.stack([along[columns], along[rows]], dim=-1)
            nearest = torch.cdist(places, target.vertices_uv[view, side]).amin(dim=1)
            assert float((nearest < 2 / 8).float().mean()) > 0.95


def test_labels_must_divide_the_picture(scene):
    with pytest.raises(ValueError, match="5 pixels a side do not divide pictures of 32 x 32"):
        labelled_views(*scene, label_size=5)


def test_mirroring_twice_is_nothing(examples):
    twice = mirrored(mirrored(examples))
    assert torch.equal(twice.image, examples.image)
    for name in examples.targets.__dataclass_fields__:
        assert torch.equal(getattr(twice.targets, name), getattr(examples.targets, name))


def test_a_mirrored_example_is_that_of_the_mirrored_world(examples):
    """In the mirror the picture, its right hand (the old left one), and the offset agree with each other."""
    other = mirrored(examples)
    old, new = examples.targets, other.targets
    assert torch.equal(other.image[..., 0], examples.image[..., -1])
    assert torch.equal(new.joints[:, 0, :, 0], -old.joints[:, 1, :, 0])
    assert torch.equal(new.joints[:, 0, :, 1:], old.joints[:, 1, :, 1:])
    # Wrists in one frame with the old right wrist at the origin, looked at in the mirror.
    wrists = torch.stack([torch.zeros(3, 3), -old.offset], dim=1) * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.allclose(new.offset, wrists[:, 1] - wrists[:, 0])
    assert torch.equal(new.hand == 1, (old.hand == 2).flip(-1))


def test_batches_are_a_function_of_seed_and_step(examples):
    settings = TrainingSettings(batch=4)
    one, same = (batch_of(examples, 7, 3, settings) for _ in range(2))
    other = batch_of(examples, 8, 3, settings)
    assert torch.equal(one.image, same.image)
    assert not torch.equal(one.image, other.image)
    plain = batch_of(examples, 7, 3, replace(settings, mirror=False, brightness=0.0))
    half = mirrored(plain[:2])
    assert torch.equal(one.targets.joints, Examples.cat([half, plain[2:]]).targets.joints)
    assert float((one.image - Examples.cat([half, plain[2:]]).image).abs().amax()) <= 0.2


def test_learning_rate():
    """Rises over the first twentieth, then half a cosine: one half in the middle, nearly 0 at the end."""
    settings = TrainingSettings(steps=100, learning_rate=1.0)
    assert learning_rate(0, settings) == pytest.approx(0.2)
    assert learning_rate(50, settings) == pytest.approx(0.5)
    assert learning_rate(99, settings) < 1e-3


def test_a_run_that_stops_and_goes_on_ends_with_the_same_bits(examples):
    settings = TrainingSettings(steps=4, batch=2)
    hands = KinematicHands()

    def network():
        torch.manual_seed(5)
        return RefinementNetwork(hands, TINY)

    kept, losses = {}, []

    def keep(step, terms, state):
        losses.append(terms["loss"])
        if step == 2:
            kept.update(copy.deepcopy(state()))

    whole = train(network(), examples, settings, seed=1, after_step=keep)
    assert kept["step"] == 2
    again = []
    torch.manual_seed(99)  # of another process
    resumed = train(
        RefinementNetwork(hands, TINY), examples, settings, seed=1, state=kept,
        after_step=lambda step, terms, _: again.append(terms["loss"]),
    )  # fmt: skip
    assert again == losses[2:]
    assert whole["step"] == resumed["step"] == 4
    for name, value in whole["refinement"]["network"].items():
        assert torch.equal(value, resumed["refinement"]["network"][name]), name


def test_half_precision_is_the_backbones_alone(examples):
    """Losses of the first step agree to the precision of bfloat16, and weights stay in float32."""
    seen = []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(5)
        network = RefinementNetwork(KinematicHands(), TINY)
        settings = TrainingSettings(steps=1, batch=2, precision=precision)
        state = train(
            network, examples, settings, after_step=lambda step, terms, _: seen.append(terms["loss"])
        )
        assert all(v.dtype != torch.bfloat16 for v in state["refinement"]["network"].values())
    assert seen[0] != seen[1]
    assert seen[0] == pytest.approx(seen[1], rel=0.02)


def test_one_picture_is_learned_by_heart(examples):
    torch.manual_seed(0)
    network = RefinementNetwork(KinematicHands(), TINY)
    settings = TrainingSettings(steps=40, batch=2, learning_rate=5e-3, mirror=False, brightness=0.0)
    losses = []
    train(network, examples[:1], settings, after_step=lambda step, terms, _: losses.append(terms["loss"]))
    assert losses[-1] < 0.6 * losses[0]


def test_a_collision_term_joins_late(examples):
    torch.manual_seed(0)
    network = RefinementNetwork(KinematicHands(), TINY)
    asked, terms = [], []

    def collision(joints):
        asked.append(joints.shape)
        return joints.square().sum(dim=(1, 2, 3))

    def after_step(step, shown, state):
        terms.append("collision" in shown)

    settings = TrainingSettings(steps=5, batch=2, collision_from=0.6)
    train(network, examples, settings, after_step=after_step, collision=collision)
    assert terms == [False, False, False, True, True]
    assert asked == [(2, 2, 21, 3)] * 2


def test_errors_follow_the_named_protocol(examples):
    target = examples.targets
    generator = torch.Generator().manual_seed(0)

    def near(points, by):
        return points + by * torch.randn(points.shape, generator=generator)

    joints = near(target.joints, 0.01)
    joints = joints - joints[:, :, :1]
    found = Estimate(
        torch.zeros(3, 2, 64), target.offset + torch.tensor([0.003, 0.0, 0.004]), joints,
        near(target.vertices, 0.01), target.joints_uv + torch.tensor([0.1, 0.0]),
        near(target.vertices_uv, 0.1),
    )  # fmt: skip
    measured = {name: float(values.mean()) for name, values in errors(found, target, SIZE).items()}
    protocol = PROTOCOLS["wrist + scale"]
    assert measured["mpjpe"] == pytest.approx(float(pose_error_mm(joints, target.joints, protocol)), rel=1e-5)
    expected = vertex_error_mm(found.vertices, target.vertices, protocol, joints, target.joints)
    assert measured["mpvpe"] == pytest.approx(float(expected), rel=1e-5)
    assert measured["mrrpe"] == pytest.approx(5.0, rel=1e-3)
    assert measured["pixel_error_joints"] == pytest.approx(0.1 * SIZE / 2, rel=1e-4)
    assert torch.allclose(
        scaled(replace(found, joints=2 * target.joints), target)[0], target.joints, atol=1e-6
    )


def test_predictions_do_not_depend_on_the_batch(examples):
    torch.manual_seed(0)
    network = RefinementNetwork(KinematicHands(), TINY)
    one, many = (joined_estimates(predict(network, examples.image, batch)) for batch in (1, 3))
    for a, b in zip(one, many, strict=True):
        assert torch.allclose(a.joints_uv, b.joints_uv, atol=1e-5)


class FixedJoints(torch.nn.Module):
    """Says the same pair of every picture: what is best for it has a closed form for one example."""

    def __init__(self):
        super().__init__()
        self.joints = torch.nn.Parameter(torch.zeros(2, 21, 3))

    def forward(self, image):
        return SimpleNamespace(joints=self.joints.expand(len(image), -1, -1, -1))


def test_joints_alone_are_learned_in_the_frame_of_both_hands(examples, scene):
    settings = TrainingSettings(steps=400, batch=2, learning_rate=5e-3, mirror=False, weight_decay=0.0)
    network, losses = FixedJoints(), []
    state = train_joints(
        network, examples[:1], settings, after_step=lambda step, terms, _: losses.append(terms["loss"])
    )
    assert state["step"] == 400
    moment, views = scene
    truth = views.camera.transform(moment.joints.flatten(0, 1).expand(3, -1, -1))[0].view(2, 21, 3)
    truth = truth - truth[:, :1].mean(dim=0, keepdim=True)
    assert losses[0] == pytest.approx(1000 * float(truth.norm(dim=-1).mean()), rel=1e-4)
    assert losses[-1] < 1.0
    assert float((network.joints - truth).norm(dim=-1).max()) < 0.003


def test_joints_alone_as_an_estimate(examples):
    target = examples.targets
    found = joints_alone(target.joints - torch.stack([0 * target.offset, target.offset], dim=1)[:, :, None])
    torch.testing.assert_close(found.offset, target.offset)
    torch.testing.assert_close(found.joints, target.joints)
    measured = errors(found, target, SIZE)
    assert set(measured) == {"mpjpe", "mrrpe"}
    assert all(float(values.max()) < 1e-2 for values in measured.values())


def test_pair_examples_are_the_pairs_of_their_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDS_CACHE", str(tmp_path))
    sets, pictures = PairSetSettings(0, 12, 3, 2, 2), PictureSettings(32)
    seen, hidden = labelled_hands("train", sets, pictures)
    made = examples_of(seen)
    own = pair_joints(pair_set("train", sets).pose)
    assert made.image.shape == (3, 3, 32, 32)
    assert made.targets.hand.shape == (3, 8, 8)
    assert made.targets.vertices.shape == (3, 2, 307, 3)
    assert ((hidden >= 0) & (hidden <= 1)).all()

    for n in range(3):  # whatever the camera, distances within a hand and between the wrists stay
        for side in (0, 1):
            one, other = made.targets.joints[n, side], own[n, side]
            assert torch.allclose(torch.cdist(one, one), torch.cdist(other, other), atol=1e-4)
        between = (own[n, 0, 0] - own[n, 1, 0]).norm()
        assert float(made.targets.offset[n].norm()) == pytest.approx(float(between), rel=1e-4)
    assert float((made.targets.joints_uv.abs() <= 1).float().mean()) > 0.99


def test_an_unlabelled_photograph_has_joints_and_nothing_else(scene, examples):
    moment, views = scene
    images, joints = views.image.movedim(-1, 1), moment.joints.expand(3, -1, -1, -1)
    found = unlabelled(images, views.camera, joints)
    assert torch.equal(found.image, examples.image)
    for name in ("joints", "joints_uv", "offset"):
        assert torch.equal(getattr(found.targets, name), getattr(examples.targets, name))
    assert found.targets.vertices.shape == (3, 2, 0, 3)
    assert not found.targets.hand.any()

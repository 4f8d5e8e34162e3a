"""Examples, losses, scores: what is true scores nothing, what is changed stays one scene."""

import math
from dataclasses import replace

import pytest
import torch

from hands_lib.geometry.rotations import random_rotations, rotation_about_z
from hands_lib.hand.numbers import KinematicHands
from hands_lib.methods.hand_object.examples import (
    Changes,
    Examples,
    canonical,
    changed,
    control_points,
    mirrored,
    placed,
    templates_of,
)
from hands_lib.methods.hand_object.losses import LossWeights, total_loss
from hands_lib.methods.hand_object.network import SMALL, HandObjectNetwork, Prediction
from hands_lib.methods.hand_object.physics import signed_distance_loss
from hands_lib.methods.hand_object.scoring import (
    constant_estimate,
    estimate_of,
    hand_faces,
    scores,
    thirds,
    true_estimate,
)
from hands_lib.methods.hand_object.training import TrainingSettings, predict, train
from hands_lib.worlds.known_objects import known_boxes, known_meshes, known_symmetries, unseen_numbers
from hands_lib.worlds.objects import object_names


def known_templates():
    return templates_of(known_meshes(), known_boxes(), known_symmetries())


def examples(num: int = 4) -> Examples:
    """Rest hands 30 mm before an object, turned at random."""
    generator = torch.Generator().manual_seed(3)
    joints, vertices = KinematicHands("refined")(torch.zeros(num, 1, 45), torch.zeros(num, 1, 10))
    turn = random_rotations(num, generator=generator)
    focal = torch.tensor([[120.0, 0, 14.0], [0, 120.0, 17.0], [0, 0, 1]])
    return Examples(
        image=torch.rand(num, 3, 32, 32, generator=generator),
        joints=joints[:, 0] @ turn.mT,
        vertices=vertices[:, 0] @ turn.mT,
        rotation=random_rotations(num, generator=generator),
        translation=turn @ torch.tensor([0.0, 0.09, 0.04]),
        wrist=torch.tensor([0.01, 0.02, 1.0]).expand(num, 3),
        intrinsics=focal.expand(num, 3, 3),
        shape=torch.arange(num) * 5,
        hand_hidden=torch.linspace(0, 1, num),
        object_hidden=torch.zeros(num),
    )


def test_control_points_span_the_box() -> None:
    low, high = torch.tensor([-1.0, -2, -3]), torch.tensor([3.0, 2, 1])
    points = control_points(low, high)
    assert torch.equal(points.amin(dim=0), low)
    assert torch.equal(points.amax(dim=0), high)
    assert torch.equal(points[-1], (low + high) / 2)


def test_canonical_pose_is_one_for_all_that_look_the_same() -> None:
    own = known_symmetries()[[object_names().index("can_1")]]
    turn = random_rotations(1, generator=torch.Generator().manual_seed(0))
    found = canonical(turn, own)
    for number in (1, 7, 20, 40):
        torch.testing.assert_close(
            canonical(turn @ own[:, number % own.shape[1]], own), found, atol=1e-4, rtol=0
        )


def test_changed_pictures_are_of_the_changed_scene() -> None:
    """Where points are in the new picture is the affine map of where they were; the picture itself moves so:
    a bright pixel is found where its ray goes."""
    scene = examples()
    image = torch.zeros_like(scene.image)
    image[:, :, 14:19, 9:14] = 1
    scene = replace(scene, image=image)
    new = changed(scene, Changes(colour=0.0), torch.Generator().manual_seed(5))
    assert not torch.equal(new.rotation, scene.rotation)
    # The middle of the bright square as a point in front of the camera.
    pixel = torch.tensor([11.0, 16.0])
    ray = torch.cat([(pixel - scene.intrinsics[:, :2, 2]) / 120.0, torch.ones(4, 1)], dim=1)
    turn = new.rotation @ scene.rotation.mT
    seen = (turn @ ray[..., None])[..., 0]
    seen = (seen / seen[:, 2:])[:, :2] * new.intrinsics[:, [0, 1], [0, 1]] + new.intrinsics[:, :2, 2]
    weight = new.image[:, 0]
    row, column = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    total = weight.sum(dim=(1, 2))
    centre = torch.stack([(weight * x).sum(dim=(1, 2)) / total for x in (column, row)], dim=1)
    torch.testing.assert_close(centre, seen, atol=0.2, rtol=0)


def test_nothing_changed_is_nothing() -> None:
    scene = examples()
    new = changed(scene, Changes(0.0, 0.0, 0.0, 0.0), torch.Generator())
    torch.testing.assert_close(new.image, scene.image)
    torch.testing.assert_close(new.uv(new.joints), scene.uv(scene.joints))


def test_a_mirror_twice_is_nothing() -> None:
    scene = examples()
    once = mirrored(scene)
    torch.testing.assert_close(
        once.uv(once.joints)[..., 0], -scene.uv(scene.joints)[..., 0], atol=1e-5, rtol=0
    )
    own = known_templates().control[scene.shape]
    flip = torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(
        placed(own * flip, once.rotation, once.translation),
        placed(own, scene.rotation, scene.translation) * flip,
    )
    twice = mirrored(once)
    torch.testing.assert_close(twice.rotation, scene.rotation)
    torch.testing.assert_close(twice.intrinsics, scene.intrinsics)


def right_answer(scene: Examples) -> Prediction:
    known = known_templates()
    turn = canonical(scene.rotation, known.symmetries[scene.shape])
    control = scene.uv(placed(known.control[scene.shape], turn, scene.translation))
    joints = scene.uv(scene.joints)
    num = len(scene)
    return Prediction(
        scene.joints, scene.vertices, torch.zeros(num, 10), turn, scene.translation, joints, control,
        torch.ones(num, 21), torch.cat([joints, control], dim=1)[:, None],
    )  # fmt: skip


def test_the_truth_has_no_loss_and_no_error() -> None:
    scene, known = examples(), known_templates()
    loss, terms = total_loss(right_answer(scene), scene, known, LossWeights())
    assert float(loss) < 1e-4
    assert set(terms) == set(LossWeights.__dataclass_fields__) - {"apart"}
    measured = scores(true_estimate(scene), scene, known)
    for name in (
        "hand_joint_error",
        "hand_mesh_error",
        "object_centre_error",
        "add",
        "closest_point_distance",
    ):
        assert float(measured[name].max()) < 0.05, name


def test_known_mistakes_have_known_errors() -> None:
    scene, known = examples(), known_templates()
    true = true_estimate(scene)
    away = replace(true, translation=true.translation + torch.tensor([0.0, 0.03, 0.04]))
    found = scores(away, scene, known)
    torch.testing.assert_close(found["object_centre_error"], torch.full((4,), 50.0), atol=1e-2, rtol=0)
    torch.testing.assert_close(found["add"], torch.full((4,), 50.0), atol=1e-2, rtol=0)
    assert (found["closest_point_distance"] < 50).all()
    larger = replace(true, joints=1.1 * true.joints)
    found = scores(larger, scene, known)
    assert float(found["hand_joint_error_aligned"].max()) < 1e-2
    assert float(found["hand_joint_error"].min()) > 5


def test_symmetric_poses_are_forgiven_and_others_not() -> None:
    scene, known = examples(1), known_templates()
    scene = replace(scene, shape=torch.tensor([object_names().index("can_1")]))
    for turn, limit in ((math.pi / 2, True), (0.4, False)):
        axis = rotation_about_z(torch.tensor([turn])) if limit else random_rotations(1)
        found = scores(replace(true_estimate(scene), rotation=scene.rotation @ axis), scene, known)
        assert (float(found["add"].max()) < 0.5) == limit


def test_depth_and_contact_of_a_pressed_hand() -> None:
    """An object far away is not touched; one around the hand has all of it inside."""
    scene, known = examples(), known_templates()
    far = replace(true_estimate(scene), translation=scene.translation + 1)
    found = scores(far, scene, known)
    assert float(found["contact_ratio"].max()) == float(found["penetration_depth"].max()) == 0
    middle = replace(true_estimate(scene), translation=scene.vertices.mean(dim=1))
    deep = scores(middle, scene, known)
    assert (deep["penetration_depth"] > 1).all()
    assert (deep["penetration_mean"] < deep["penetration_depth"]).all()
    assert float(deep["contact_ratio"].min()) == 100


def test_points_give_the_regressed_pose_where_both_are_right() -> None:
    scene, known = examples(), known_templates()
    found = estimate_of(right_answer(scene), scene, known, "points")
    torch.testing.assert_close(found.translation, scene.translation, atol=1e-4, rtol=0)


def test_constant_pose_of_one_picture_is_that_picture() -> None:
    scene, known = examples(1), known_templates()
    found = scores(constant_estimate(scene, known, 1), scene, known)
    assert float(found["hand_mesh_error"]) < 1e-2
    assert float(found["add"]) < 1e-2


def test_thirds_are_thirds() -> None:
    parts = thirds(torch.rand(30))
    assert [int(part.sum()) for part in parts.values()] == [10, 10, 10]
    assert torch.stack(list(parts.values())).sum(dim=0).eq(1).all()


def test_training_lowers_the_loss_stops_and_goes_on() -> None:
    scene, known, faces = examples(), known_templates(), hand_faces()
    settings = TrainingSettings(12, 4, 3e-3, num_apart=2)
    seen: dict[int, dict[str, float]] = {}

    def run(state=None, stop=None):
        torch.manual_seed(0)
        network = HandObjectNetwork(KinematicHands("refined"), SMALL)
        kept = {}

        def after(step, terms, present):
            seen[step] = terms
            if step == stop:
                kept["state"] = {
                    name: value if name == "step" else _copied(value) for name, value in present().items()
                }

        train(
            network, scene, known, settings, 1, None,
            lambda hand, held, its: signed_distance_loss(hand, held, faces, its), state, after,
        )  # fmt: skip
        return network, kept.get("state")

    whole, state = run(stop=5)
    assert "apart" in seen[12]
    assert "apart" not in seen[5]
    assert seen[12]["loss"] < seen[1]["loss"]
    again, _ = run(state)
    assert all(map(torch.equal, whole.state_dict().values(), again.state_dict().values()))
    assert predict(whole, scene, known, batch=3).joints.shape == (4, 21, 3)


def _copied(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {name: _copied(own) for name, own in value.items()}
    return [_copied(own) for own in value] if isinstance(value, list) else value


def test_unseen_objects_are_eight() -> None:
    assert len(set(unseen_numbers())) == 8
    with pytest.raises(IndexError):
        known_templates().control[len(object_names())]

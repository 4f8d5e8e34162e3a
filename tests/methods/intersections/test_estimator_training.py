"""The loop by what it must do: repeat, go on, compare like with like, select what it says."""

import copy

import pytest
import torch
from torch import nn

from hands_lib.hand.kinematics import forward_kinematics, mirror, random_pose
from hands_lib.methods.intersections.estimator_training import (
    EstimatorSettings,
    IntersectionSettings,
    PairBatch,
    estimator_losses,
    pair_mpjpe_mm,
    predict,
    selected_weights,
    train_estimator,
    train_stage,
)
from hands_lib.methods.intersections.estimators import PairEstimate, RefineNetwork, UpliftNetwork

NUM = 16


def hands(num, seed=0):
    """Pairs whose left hand is a few millimetres off the right one: they share a lot of space."""
    generator = torch.Generator().manual_seed(seed)
    right = forward_kinematics(random_pose(num, generator, extent=0.3)).joints
    left = mirror(forward_kinematics(random_pose(num, generator, extent=0.3)).joints)
    return torch.stack([right, left + 0.005 * torch.randn(num, 1, 3, generator=generator)], dim=1)


TRUTH = hands(64)


class BallOccupancy(nn.Module):
    """Inside means: near the conditioning hand's palm. Has what the loss asks of a network."""

    def condition(self, joints):
        return joints[:, [0, 5, 9, 13, 17]].mean(dim=1)

    def logits_of(self, points, owner, condition):
        return (0.03 - (points - condition[owner]).norm(dim=-1)) / 0.005


OCCUPANCY = BallOccupancy().eval()


def noisy_batch(generator):
    rows = torch.randint(len(TRUTH), (NUM,), generator=generator)
    noise = 0.01 * torch.randn(NUM, 2, 21, 3, generator=generator)
    return PairBatch(TRUTH[rows] + noise, TRUTH[rows])


def fresh(width=32):
    torch.manual_seed(0)
    return RefineNetwork(width=width, residual=False)


@torch.no_grad()
def validate(network):
    return pair_mpjpe_mm(network(TRUTH).joints, TRUTH).mean()


def train(steps=6, network=None, **more):
    known = {"state", "occupancy", "validate", "report", "seed", "make_batch"}
    arguments = {"seed": 0, "make_batch": noisy_batch} | {k: more.pop(k) for k in set(more) & known}
    network = network or fresh()
    state = train_estimator(
        network, arguments.pop("make_batch"), EstimatorSettings(steps=steps, **more), **arguments
    )
    return network, state


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_pose_error_by_hand():
    """One joint of 42 is 42 mm off: the mean is 1 mm. A common shift is no error."""
    moved = TRUTH[:3].clone()
    moved[:, 1, 8, 2] += 0.042
    torch.testing.assert_close(pair_mpjpe_mm(moved + 0.3, TRUTH[:3]), torch.ones(3), atol=1e-3, rtol=0)


def test_pose_error_sees_how_the_hands_stand_to_each_other():
    apart = TRUTH[:2] + torch.tensor([[0.0], [0.02]])[:, :, None] * torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(pair_mpjpe_mm(apart, TRUTH[:2]), torch.full((2,), 10.0), atol=1e-3, rtol=0)


def test_training_lowers_the_loss():
    losses = []
    train(60, learning_rate=3e-3, report=lambda step, loss, state: losses.append(loss.total.item()))
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_total_is_pose_plus_weight_times_intersections():
    settings = IntersectionSettings(weight=0.25, point_set="dense", alpha=1)
    found = estimator_losses(
        PairEstimate(TRUTH), TRUTH + 0.001 * torch.randn(64, 2, 21, 3), settings, OCCUPANCY
    )
    assert float(found.intersections) > 1
    torch.testing.assert_close(found.total, found.pose + 0.25 * found.intersections)


def test_intersection_loss_takes_intersections_away():
    def intersections(weight):
        settings = IntersectionSettings(weight=weight)
        network, _ = train(60, learning_rate=3e-3, intersections=settings, occupancy=OCCUPANCY)
        estimate = PairEstimate(predict(network, TRUTH).joints)
        return float(estimator_losses(estimate, TRUTH, IntersectionSettings(1.0), OCCUPANCY).intersections)

    assert intersections(30.0) < 0.7 * intersections(0.0)


def test_intersections_push_both_hands():
    joints = TRUTH[:4].clone().requires_grad_()
    settings = IntersectionSettings(weight=1.0)
    estimator_losses(PairEstimate(joints), TRUTH[:4], settings, OCCUPANCY).intersections.backward()
    assert bool((joints.grad.abs().sum(dim=(2, 3)) > 0).all())


def test_weight_zero_is_the_baseline_bit_by_bit():
    with_settings = IntersectionSettings(weight=0.0, point_set="dense", alpha=1)
    first, _ = train(5)
    second, _ = train(5, intersections=with_settings, occupancy=OCCUPANCY)
    assert equal(first.state_dict(), second.state_dict())


def test_losses_see_the_same_batches():
    seen: dict[float, list[PairBatch]] = {0.0: [], 1.0: []}

    def recorded(own):
        def batch(generator):
            own.append(noisy_batch(generator))
            return own[-1]

        return batch

    for weight, own in seen.items():
        settings = IntersectionSettings(weight=weight)
        train(4, make_batch=recorded(own), intersections=settings, occupancy=OCCUPANCY)
    for one, other in zip(seen[0.0], seen[1.0], strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.joints, other.joints)
    assert not torch.equal(seen[0.0][0].inputs, seen[0.0][1].inputs)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_going_on_is_bit_identical(stop, tmp_path):
    more = {"validate": validate, "validate_every": 2, "schedule": "cosine", "occupancy": OCCUPANCY}
    more |= {"intersections": IntersectionSettings(weight=0.1)}
    whole, expected = train(6, **more)

    def save(step, losses, present_state):
        if step == stop:
            torch.save(present_state(), tmp_path / "state.pt")

    train(6, report=save, **more)
    torch.manual_seed(99)
    again = RefineNetwork(width=32, residual=False)
    _, state = train(6, network=again, state=torch.load(tmp_path / "state.pt", weights_only=True), **more)
    assert equal(whole.state_dict(), again.state_dict())
    assert state["history"] == expected["history"]
    assert state["best"]["step"] == expected["best"]["step"]
    assert equal(selected_weights(state), selected_weights(expected))


def test_another_seed_is_another_run():
    assert not equal(train(3)[0].state_dict(), train(3, seed=1)[0].state_dict())


def test_selection_takes_the_least_validation_error():
    errors = iter([3.0, 1.0, 2.0])
    kept = []

    def scripted(network):
        assert not network.training
        kept.append({name: value.clone() for name, value in network.state_dict().items()})
        return next(errors)

    network, state = train(6, validate=scripted, validate_every=2)
    assert state["history"] == [[2, 3.0], [4, 1.0], [6, 2.0]]
    assert state["best"]["step"] == 4
    assert equal(selected_weights(state), kept[1])
    assert equal(selected_weights(state, "final"), network.state_dict())
    assert not equal(kept[1], kept[2])


def test_last_step_is_validated_too():
    _, state = train(5, validate=validate, validate_every=3)
    assert [step for step, _ in state["history"]] == [3, 5]


def test_validated_eight_times_unless_told_otherwise():
    _, state = train(16, validate=lambda network: 1.0)
    assert [step for step, _ in state["history"]] == [2, 4, 6, 8, 10, 12, 14, 16]


def test_predictions_are_those_of_one_batch():
    torch.manual_seed(0)
    network = UpliftNetwork(width=8).train()
    keypoints = torch.randn(7, 2, 21, 2)
    whole, parts = predict(network, keypoints, 100), predict(network, keypoints, 3)
    torch.testing.assert_close(whole.joints, parts.joints)
    torch.testing.assert_close(whole.skeletons.bone_rotations, parts.skeletons.bone_rotations)
    assert not network.training
    assert not parts.joints.requires_grad


def test_skeletons_of_the_uplift_reach_the_loss():
    """Surfaces come from the predicted angles; a skeleton that is not the pair's own is refused."""
    torch.manual_seed(0)
    estimate = UpliftNetwork(width=8)(torch.randn(3, 2, 21, 2))
    settings = IntersectionSettings(weight=1.0, point_set="mesh", alpha=1)
    losses = estimator_losses(estimate, TRUTH[:3], settings, OCCUPANCY)
    assert bool(losses.intersections > 0)
    wrong = PairEstimate(TRUTH[:3], estimate.skeletons)
    with pytest.raises(ValueError, match="skeletons"):
        estimator_losses(wrong, TRUTH[:3], settings, OCCUPANCY)


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"steps": 1, "learning_rate": 0.0},
        {"steps": 1, "schedule": "linear"},
        {"steps": 1, "validate_every": -1},
    ],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match="must be"):
        EstimatorSettings(**settings)


def test_bad_weights_and_missing_networks_are_refused():
    with pytest.raises(ValueError, match="negative"):
        IntersectionSettings(weight=-1.0)
    with pytest.raises(ValueError, match="occupancy network"):
        estimator_losses(PairEstimate(TRUTH), TRUTH, IntersectionSettings(weight=1.0))
    _, state = train(1)
    with pytest.raises(ValueError, match="never validated"):
        selected_weights(state)
    with pytest.raises(ValueError, match="selected by"):
        selected_weights(state, "best")


def test_a_loss_that_is_not_finite_names_its_step():
    def poisoned(generator):
        batch = noisy_batch(generator)
        return batch._replace(joints=batch.joints / 0.0)

    with pytest.raises(FloatingPointError, match="step 0"):
        train(1, make_batch=poisoned)


def test_a_stage_that_was_stopped_ends_as_one_that_was_not():
    settings = EstimatorSettings(steps=6, validate_every=2)
    more = {"settings": settings, "seed": 0, "validate": validate, "save_every": 2}
    saved = []

    def save(stages):
        saved.append(copy.deepcopy(stages))  # as a file would keep it

    whole = train_stage("one", fresh(), noisy_batch, stages={}, save=save, **more)
    assert [set(stages) for stages in saved] == [{"under way"}] * 3 + [{"one"}]
    broken = saved[0]["under way"]["state"]
    stages = {"zero": {}, "under way": {"name": "one", "state": broken}}
    assert broken["step"] == 2
    again = train_stage("one", fresh(), noisy_batch, stages=stages, save=lambda stages: None, **more)
    assert equal(whole.state_dict(), again.state_dict())
    assert set(stages) == {"zero", "one"}


def test_a_finished_stage_is_not_repeated():
    def never(generator):
        raise AssertionError("a finished training draws no batch")

    stages = {"one": fresh(8).state_dict()}
    more = {"settings": EstimatorSettings(steps=3), "seed": 0, "stages": stages, "save": never}
    network = train_stage("one", RefineNetwork(width=8, residual=False), never, **more)
    assert equal(network.state_dict(), stages["one"])
    assert not network.training

"""Rows of the tables from networks whose answers are known: the truth, and the truth moved apart."""

import pytest
import torch
from torch import nn

from hands_lib.hand.kinematics import forward_kinematics, mirror, random_pose
from hands_lib.methods.intersections import studies
from hands_lib.methods.intersections.estimator_comparison import COUNTS, NO_LOSS
from hands_lib.methods.intersections.estimator_training import IntersectionSettings, PairBatch
from hands_lib.methods.intersections.estimators import PairEstimate, centred


class BallOccupancy(nn.Module):
    """Inside means: within 3 cm of the conditioning hand's palm."""

    def condition(self, joints):
        return joints[:, [0, 5, 9, 13, 17]].mean(dim=1)

    def logits_of(self, points, owner, condition):
        return (0.03 - (points - condition[owner]).norm(dim=-1)) / 0.003

    def logits(self, points, condition):
        return (0.03 - (points - condition[:, None]).norm(dim=-1)) / 0.003


class Shifted(nn.Module):
    """Says what it is given with the hands so far apart, metres."""

    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def forward(self, joints):
        away = self.shift * torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])[:, None]
        return PairEstimate(centred(joints + away))


def pairs(num):
    generator = torch.Generator().manual_seed(0)
    right, left = (forward_kinematics(random_pose(num, generator, extent=0.3)).joints for _ in range(2))
    return centred(torch.stack([right, mirror(left)], dim=1))


OCCUPANCY = BallOccupancy().eval()
TRUTH = pairs(8)
TEST = PairBatch(TRUTH, TRUTH)
FORMS = studies.forms_of_the_loss([0.1, 1.0])


def test_all_six_forms_come_with_every_weight():
    assert len(FORMS) == 6
    for (hands, points), losses in FORMS.items():
        assert [loss.weight for loss in losses] == [0.1, 1.0]
        assert {loss.point_set for loss in losses} == {points}
        assert {loss.alpha for loss in losses} == {0 if hands == "single" else 1}


def test_table_one_of_hands_that_are_moved_apart():
    loss = IntersectionSettings(2.0)
    trained = {NO_LOSS: Shifted(0.0), loss: Shifted(0.4)}
    rows = studies.with_and_without("here", trained, loss, TEST, OCCUPANCY)
    assert list(rows) == ["here", "here+Ours", "here, decrease", "here, estimates"]
    assert rows["here"]["mpjpe"] == pytest.approx(0, abs=1e-3)
    assert rows["here+Ours"]["mpjpe"] == pytest.approx(400, rel=1e-4)
    assert rows["here+Ours"]["weight"] == 2.0
    assert rows["here, decrease"] == dict.fromkeys(COUNTS, 100.0)  # nothing is left
    # the estimates that go in are what the network without a loss says
    shared = {name: rows["here"][name] for name in rows["here, estimates"]}
    assert rows["here, estimates"] == pytest.approx(shared, abs=1e-3)
    assert "here, estimates" not in studies.with_and_without(
        "here", trained, loss, TEST, OCCUPANCY, inputs_too=False
    )


def test_decreases_by_weight_are_against_the_scores_without():
    losses = {"small": IntersectionSettings(0.1), "large": IntersectionSettings(10.0)}
    trained = {losses["small"]: Shifted(0.0), losses["large"]: Shifted(0.4)}
    plain = studies.scores(Shifted(0.0), TEST, OCCUPANCY) | {"mpjpe": 200.0}
    rows = studies.decreases_by_weight(losses, trained, plain, TEST, OCCUPANCY)
    assert rows["small"] == {
        "mpjpe_decrease": pytest.approx(100, abs=1e-3),
        "intersections_decrease": pytest.approx(0),
    }
    assert rows["large"] == {
        "mpjpe_decrease": pytest.approx(-100, abs=1e-3),
        "intersections_decrease": pytest.approx(100),
    }


def made_up(before, after):
    """Scores by loss: `before` without, `after` with the heavier weight of every form, 0 with the lighter."""
    columns = ("mpjpe", "pairs_intersecting", *COUNTS)
    found = {NO_LOSS: dict.fromkeys(columns, before)}
    for light, heavy in FORMS.values():
        found |= {light: dict.fromkeys(columns, 0.0), heavy: dict.fromkeys(columns, after)}
    return found


BEST = {form: losses[1] for form, losses in FORMS.items()}


def test_the_average_of_table_three_is_over_the_distributions():
    rows = studies.by_distribution({"a": made_up(200.0, 50.0), "b": made_up(10.0, 7.5)}, BEST)
    expected = dict.fromkeys(studies.POINT_SETS, 75.0)
    for hands in studies.HANDS:
        assert rows[f"a, {hands}"] == expected
        assert rows[f"b, {hands}"] == dict.fromkeys(studies.POINT_SETS, 25.0)
        assert rows[f"average, {hands}"] == dict.fromkeys(studies.POINT_SETS, 50.0)


def test_where_nothing_intersected_there_is_no_decrease():
    rows = studies.by_distribution({"a": made_up(200.0, 50.0), "none": made_up(0.0, 0.0)}, BEST)
    assert rows["none, both"] == rows["average, both"] == {}
    assert rows["a, both"]


def test_what_stands_behind_table_three():
    row = studies.behind_the_decreases({"a": made_up(200.0, 50.0)}, BEST)
    assert row["a_mpjpe"] == row["a_intersections_ray_cast"] == 200.0
    assert {name: value for name, value in row.items() if name.startswith("weight")} == {
        f"weight_{hands}_{points}": 1.0 for hands in studies.HANDS for points in studies.POINT_SETS
    }


def test_the_curve_begins_without_a_loss():
    rows = studies.curve_over_the_weight(FORMS, made_up(200.0, 50.0))
    assert len(rows) == 1 + 6 * 2
    assert next(iter(rows)) == studies.CURVE
    assert rows["mesh, both, weight 1"]["mpjpe"] == 50.0
    assert rows["mesh, both, weight 0.1"]["mpjpe"] == 0.0


def test_every_form_gets_its_own_best_weight():
    trained = {NO_LOSS: Shifted(0.010)}
    for (hands, _), (light, heavy) in FORMS.items():
        trained |= {light: Shifted(0.010), heavy: Shifted(0.019 if hands == "both" else 0.4)}
    found = studies.best_of_every_form(FORMS, trained, TEST, OCCUPANCY, tolerance=100.0)
    assert {form for form, loss in found.items() if loss.weight == 0.1} == {
        form for form in FORMS if form[0] == "single"
    }


def test_scores_always_have_those_without_a_loss():
    trained = {NO_LOSS: Shifted(0.0), FORMS["both", "mesh"][0]: Shifted(0.4)}
    found = studies.scores_by_loss(trained, [FORMS["both", "mesh"][0]] * 2, TEST, OCCUPANCY)
    assert [row["mpjpe"] for row in found.values()] == pytest.approx([0, 400], abs=1e-2)

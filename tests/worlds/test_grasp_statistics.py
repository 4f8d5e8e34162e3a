"""Numbers of a sample of grasps, against the conditions that every grasp of it was accepted by."""

import torch

from hands_lib.worlds.grasp_statistics import grasp_statistics
from hands_lib.worlds.grasps import DEEPEST, sample_grasps
from hands_lib.worlds.objects import object_shape


def test_statistics_keep_what_acceptance_promises(people):
    shapes = [object_shape("can_1"), object_shape("box_3")]
    grasps, report = sample_grasps(6, shapes, people, torch.Generator().manual_seed(5))
    found = grasp_statistics(grasps, report, shapes, people, most_seen=3)
    assert 0 < found["deepest"] <= 1000 * DEEPEST + 1e-3
    assert 3 <= found["least_regions"] <= found["regions"] <= 16
    assert 0 < found["accepted"] <= 100
    for name in ("hand_hidden", "object_hidden"):
        assert 0 < found[name] < 100
    # without pictures the rest is the same
    again = grasp_statistics(grasps, report, shapes, people, most_seen=1)
    assert again["deepest"] == found["deepest"]

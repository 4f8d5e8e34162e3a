"""How fast the generated world is: pairs a second, and views a second with all their labels.

What a round does is in the test's name; the second number of the table is the time of one round.
"""

import pytest
import torch

from hands_lib.structures import Camera
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.interactions import INTERACTIONS, TOUCHING
from hands_lib.worlds.pair_sampling import sample_pairs
from hands_lib.worlds.two_hands import WorldSettings, make_frame
from hands_lib.worlds.views import Moment, Views, pixel_labels


@pytest.mark.parametrize("kinds", [TOUCHING, tuple(INTERACTIONS)], ids=["touching", "all"])
def test_126_accepted_pairs(benchmark, kinds):
    people, generator = sample_identities(40), torch.Generator().manual_seed(0)

    def sample():
        return sample_pairs(126, people, generator, kinds)

    pairs, _ = benchmark.pedantic(sample, rounds=5, warmup_rounds=1)
    assert len(pairs.identity) == 126


def test_96_views_of_128_pixels_with_all_labels(benchmark):
    """Four moments of a world whose people's skins are painted already."""
    settings, people = WorldSettings(), sample_identities(2)
    generator = torch.Generator().manual_seed(0)
    drawn, _ = sample_pairs(9, people, generator)
    poses = iter(range(10_000))

    def render():
        for _ in range(4):
            n = next(poses) % 9
            row = make_frame(drawn.pose[n], people[drawn.identity[n]], settings, generator)
            moment = Moment(drawn.pose[n], row["vertices"], row["joints"], row["clearance"])
            camera = Camera(row["intrinsics"], row["camera_from_world"], 128, 128)
            views = Views(camera, row["image"], row["face"], row["vertex_visible"].bool())
            labels = pixel_labels(moment, views)
        return labels

    assert len(benchmark.pedantic(render, rounds=5, warmup_rounds=3).depth) == settings.num_views

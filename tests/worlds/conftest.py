import pytest
import torch

from hands_lib.geometry.cameras import cropped
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs
from hands_lib.worlds.renderer import STUDIO_LIGHT
from hands_lib.worlds.views import make_moment, photograph


@pytest.fixture(scope="session")
def people():
    return sample_identities(6, seed=4)


@pytest.fixture(scope="session")
def sampled(people):
    """36 pairs, four of each interaction, and the report."""
    return sample_pairs(36, people, torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def pictured(people, sampled):
    """A moment in contact and three views of it, without arms."""
    pairs, _ = sampled
    person = people[pairs.identity[2]]
    moment = make_moment(pairs.pose[2], person)
    camera = cropped(camera_ring(3, 64), moment.vertices.flatten(0, 1), 64)
    return person, moment, photograph(moment, person, camera, STUDIO_LIGHT, "plain", arms=False)

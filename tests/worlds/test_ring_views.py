import torch

from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs
from hands_lib.worlds.ring_views import seen_from_a_ring


def test_every_camera_sees_both_hands_whole():
    people = sample_identities(1, 0)
    pair, _ = sample_pairs(1, people, torch.Generator().manual_seed(0), ("clasp",))
    moment, views = seen_from_a_ring(pair.pose[0], people[0], 4, 48, seed=3)
    assert views.image.shape == (4, 48, 48, 3)
    pixels = views.camera.project(moment.vertices.flatten(0, 1).expand(4, -1, -1))
    assert float(pixels.min()) > -0.5
    assert float(pixels.max()) < 47.5
    _, again = seen_from_a_ring(pair.pose[0], people[0], 4, 48, seed=3)
    _, other = seen_from_a_ring(pair.pose[0], people[0], 4, 48, seed=4)
    assert torch.equal(views.image, again.image)
    assert not torch.equal(views.image, other.image)
    assert torch.equal(views.hand, other.hand)  # light changes, hands do not

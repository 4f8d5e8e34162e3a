import torch

from hands_lib.hand.pairs import pair_faces
from hands_lib.hand.surface import surface_topology
from hands_lib.worlds.texture import TEXELS, hand_textures, texel_weights


def _by_place(texels, faces):
    """Texel values by the weights of vertices they stand for: the same place on an edge has the same key."""
    values: dict[tuple, list] = {}
    weights = (8 * texel_weights()).round().long()
    for texel in (weights == 0).any(dim=1).nonzero()[:, 0].tolist():
        for face, corners in enumerate(faces.tolist()):
            key = tuple(sorted((v, w) for v, w in zip(corners, weights[texel].tolist(), strict=True) if w))
            values.setdefault(key, []).append(texels[face, texel])
    return values


def test_neighbouring_faces_agree_along_their_edge_except_where_palm_and_digit_meet():
    texture = hand_textures(torch.tensor([0.5, 0.3, 0.2]), 3)
    topology = surface_topology("refined")
    # Between palm and digit and at sharp creases the recipe changes; everywhere else colours go on.
    part = topology.part[topology.faces].amax(dim=1)
    for side, faces in enumerate(pair_faces()):
        chosen = part == 2
        gaps = [
            (torch.stack(v).amax(dim=0) - torch.stack(v).amin(dim=0)).max()
            for v in _by_place(texture[side][chosen], faces[chosen]).values()
            if len(v) > 1
        ]
        assert len(gaps) > 1000
        assert torch.stack(gaps).max() < 0.02


def test_hands_share_their_skin_and_people_differ():
    skin = torch.tensor([0.5, 0.3, 0.2])
    one, other = hand_textures(skin, 3), hand_textures(skin, 4)
    assert one.shape == (2, len(surface_topology("refined").faces), TEXELS, 4)
    assert one.min() > 0
    assert one.max() < 1
    # Mean over a face does not depend on the order of its texels.
    right, left = one.mean(dim=2)
    assert (right - left).abs().median() < 1e-4
    assert (one - other).abs().mean() > 0.005
    assert torch.equal(one, hand_textures(skin, 3))


def test_nails_are_glossier_than_skin():
    gloss = hand_textures(torch.tensor([0.6, 0.4, 0.3]), 5)[0, ..., 3]
    topology = surface_topology("refined")
    tips = (topology.part > 0) & (topology.ring >= 7)
    at_tip = tips[topology.faces].all(dim=1)
    assert gloss[at_tip].max() > 0.12
    palm = (topology.part[topology.faces] == 0).all(dim=1)
    assert gloss[palm].max() < 0.1

"""Losses against values worked out by hand and slow definitions."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from hands_lib.methods.refinement.hands import START, Estimate, KinematicHands, decode
from hands_lib.methods.refinement.losses import (
    LossWeights,
    Targets,
    edge_loss,
    estimate_losses,
    face_sides,
    lovasz,
    normal_loss,
    pixel_losses,
    smooth_l1,
    total_loss,
)
from hands_lib.methods.refinement.network import Prediction

FACES = torch.tensor([[0, 1, 2]])
TRIANGLE = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 4, 0]])  # sides 3, 5, 4


def test_smooth_l1():
    """0.004 is below 0.01: 8e-6. 0.03 is above: 0.01 (0.03 - 0.005) = 2.5e-4. Their mean."""
    found = torch.tensor([0.004, -0.03])
    assert smooth_l1(found, torch.zeros(2)) == pytest.approx((8e-6 + 2.5e-4) / 2, rel=1e-5)
    assert smooth_l1(torch.tensor([0.01]), torch.zeros(1)) == pytest.approx(5e-5, rel=1e-5)


def test_edges():
    sides = face_sides(TRIANGLE, FACES)
    assert sides[0].norm(dim=-1).tolist() == [3.0, 5.0, 4.0]
    assert edge_loss(face_sides(2 * TRIANGLE, FACES), sides) == pytest.approx((3 + 5 + 4) / 3)
    moved = face_sides(TRIANGLE @ torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]) + 7, FACES)
    assert edge_loss(moved, sides) == pytest.approx(0, abs=1e-5)


def test_normals():
    """Lifting the second corner by 4 turns the side of length 3 to a cosine of 4/5 with the normal, the next
    one to 4/sqrt(41), and leaves the third."""
    true = face_sides(TRIANGLE, FACES)
    assert normal_loss(face_sides(2 * TRIANGLE - 1, FACES), true) == pytest.approx(0, abs=1e-6)
    lifted = TRIANGLE + torch.tensor([[0.0, 0, 0], [0, 0, 4], [0, 0, 0]])
    expected = (4 / 5 + 4 / math.sqrt(9 + 16 + 16) + 0) / 3
    assert normal_loss(face_sides(lifted, FACES), true) == pytest.approx(expected, rel=1e-5)


def jaccard_loss(wrong: set, truth: set) -> float:
    """One minus intersection over union of the true set and what is left of it by these mistakes."""
    return len(wrong) / len(truth | wrong)


def slow_lovasz(errors, truth) -> float:
    """The Lovasz extension by its definition: errors times the growth of the set function, largest first."""
    order = sorted(range(len(errors)), key=lambda n: -errors[n])
    total, before = 0.0, 0.0
    for number in range(1, len(order) + 1):
        now = jaccard_loss(set(order[:number]), truth)
        total += errors[order[number - 1]] * (now - before)
        before = now
    return total


def test_lovasz_equals_its_definition():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(2, 3, 3, 4, generator=generator, dtype=torch.float64).softmax(dim=1)
    labels = torch.randint(3, (2, 3, 4), generator=generator)
    slow = []
    for kind in range(3):
        is_kind = (labels == kind).flatten()
        own = probabilities[:, kind].flatten()
        errors = (is_kind.double() - own).abs().tolist()
        slow.append(slow_lovasz(errors, set(is_kind.nonzero().flatten().tolist())))
    assert lovasz(probabilities, labels) == pytest.approx(sum(slow) / 3, rel=1e-9)


def test_lovasz_of_hard_answers_is_the_jaccard_loss():
    """The extension agrees with the set function at its corners, for every answer of four pixels."""
    labels = torch.tensor([[[1, 1, 0, 0]]])
    for answer in itertools.product((0, 1), repeat=4):
        hard = torch.nn.functional.one_hot(torch.tensor(answer), 2).T.double()[None, :, None]
        expected = 0.0
        for kind in (0, 1):
            found = {n for n in range(4) if answer[n] == kind}
            truth = {n for n in range(4) if int(labels[0, 0, n]) == kind}
            expected += (1 - len(found & truth) / len(found | truth)) / 2
        assert lovasz(hard, labels) == pytest.approx(expected, abs=1e-12)


def test_lovasz_leaves_out_classes_that_do_not_occur():
    probabilities = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)[None, :, None, None].expand(1, 3, 2, 2)
    # One class occurs: errors are 0.3 at all four pixels, which are all its own.
    assert lovasz(probabilities, torch.zeros(1, 2, 2, dtype=torch.long)) == pytest.approx(0.3)


def example(seed: int = 0, batch: int = 2) -> tuple[Estimate, Targets, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hands = KinematicHands("plain")
    draws = torch.tensor(START) + 0.2 * torch.randn(2, batch, 2, 64, generator=generator)
    found, true = (decode(d, d[:, 0, :3], hands) for d in draws)
    hand = torch.randint(3, (batch, 4, 4), generator=generator)
    colour = torch.rand(batch, 3, 4, 4, generator=generator)
    targets = Targets(true.joints, true.vertices, true.joints_uv, true.vertices_uv, true.offset, hand, colour)
    return found, targets, hands.faces


def test_terms_of_an_estimate():
    """Means over each hand, added; lengths in units of 0.15 m."""
    found, targets, faces = example()
    terms = estimate_losses(found, targets, faces)

    def slow(a, b):
        z = (a - b).abs().double()
        return float(torch.where(z < 0.01, z**2 / 2, 0.01 * (z - 0.005)).mean())

    for name, unit in (("joints_uv", 1.0), ("vertices_uv", 1.0), ("joints", 0.15), ("vertices", 0.15)):
        ours, theirs = getattr(found, name) / unit, getattr(targets, name) / unit
        assert float(terms[name]) == pytest.approx(
            sum(slow(ours[:, n], theirs[:, n]) for n in (0, 1)), rel=1e-4
        )
    assert float(terms["offset"]) == pytest.approx(slow(found.offset / 0.15, targets.offset / 0.15), rel=1e-4)
    perfect = Estimate(
        found.parameters,
        targets.offset,
        targets.joints,
        targets.vertices,
        targets.joints_uv,
        targets.vertices_uv,
    )
    assert all(float(term) < 1e-5 for term in estimate_losses(perfect, targets, faces).values())


def test_weights_and_stages():
    """With the released weights; terms of estimates count once for every estimate, those of pixels once."""
    found, targets, faces = example()
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    prediction = Prediction((found, found, found), (), logits, torch.zeros(2, 3, 4, 4))
    once, pixels = estimate_losses(found, targets, faces), pixel_losses(prediction, targets)
    weights = {"joints_uv": 10, "vertices_uv": 10, "joints": 10, "vertices": 10, "offset": 10, "edges": 1,
               "normals": 0.1, "hand_entropy": 0.1, "hand_lovasz": 0.1, "correspondence": 1}  # fmt: skip
    expected = {n: 3 * weights[n] * float(t) for n, t in once.items()}
    expected |= {n: weights[n] * float(t) for n, t in pixels.items()}
    total, terms = total_loss(prediction, targets, faces)
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
    assert float(total) == pytest.approx(sum(expected.values()), rel=1e-5)


def test_cross_entropy_by_hand():
    """Two pixels, one of no hand and one of the right hand, both said to be 1/2 : 1/4 : 1/4."""
    found, targets, _ = example(batch=1)
    logits = torch.tensor([0.5, 0.25, 0.25]).log()[None, :, None, None].expand(1, 3, 1, 2)
    targets = replace(targets, hand=torch.tensor([[[0, 1]]]), correspondence=torch.zeros(1, 3, 1, 2))
    terms = pixel_losses(Prediction((found,), (), logits, torch.zeros(1, 3, 1, 2)), targets)
    expected = (0.1 * math.log(2) + 0.45 * math.log(4)) / (0.1 + 0.45)
    assert float(terms["hand_entropy"]) == pytest.approx(expected, rel=1e-5)
    # no hand: errors 1/2 and 1/2 (own pixel first): 1/2; right: 3/4 on its own, 1/4 beside: 3/4 + 0
    released = pixel_losses(Prediction((found,), (), logits, torch.zeros(1, 3, 1, 2)), targets, True)
    assert float(terms["hand_lovasz"]) == pytest.approx((0.5 + 0.75) / 2, rel=1e-5)
    assert float(released["hand_lovasz"]) > 1  # logits are no probabilities: errors beyond 1


def test_labels_may_be_finer_than_the_heads():
    """Of 4 x 4 labels and heads of 2 x 2: those in row and column 1 and 3."""
    found, targets, _ = example()
    generator = torch.Generator().manual_seed(2)
    heads = Prediction((found,), (), *torch.randn(2, 2, 3, 2, 2, generator=generator))
    coarse = replace(
        targets, hand=targets.hand[:, 1::2, 1::2], correspondence=targets.correspondence[:, :, 1::2, 1::2]
    )
    fine_terms, coarse_terms = pixel_losses(heads, targets), pixel_losses(heads, coarse)
    assert fine_terms == coarse_terms
    assert set(fine_terms) == {"hand_entropy", "hand_lovasz", "correspondence"}
    three = Prediction((found,), (), *torch.randn(2, 2, 3, 3, 3, generator=generator))
    with pytest.raises(ValueError, match="labels of 4 pixels a side for heads of 3"):
        pixel_losses(three, targets)


def test_a_network_without_pixel_heads_has_no_pixel_losses():
    found, targets, faces = example()
    _, terms = total_loss(Prediction((found,), (), None, None), targets, faces, LossWeights())
    assert not {"hand_entropy", "hand_lovasz", "correspondence"} & set(terms)


def test_the_collision_term_sees_both_hands_of_the_last_estimate():
    """A term that is the distance between the wrists: of the last estimate alone, its mean, weighted."""
    first, targets, faces = example()
    last = replace(first, offset=torch.tensor([[0.3, 0.0, 0.4], [0.0, 0.1, 0.0]]))

    def between_wrists(joints):
        assert torch.allclose(joints[:, 0] - joints[:, 0, :1], first.joints[:, 0], atol=1e-6)
        return torch.linalg.vector_norm(joints[:, 0, 0] - joints[:, 1, 0], dim=-1)

    prediction = Prediction((first, last), (), None, None)
    plain, _ = total_loss(prediction, targets, faces)
    total, terms = total_loss(prediction, targets, faces, LossWeights(collision=2.0), between_wrists)
    assert float(terms["collision"]) == pytest.approx(2 * (0.5 + 0.1) / 2, rel=1e-5)
    assert float(total - plain) == pytest.approx(0.6, rel=1e-4)

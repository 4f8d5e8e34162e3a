"""What dataclasses of tensors do together: against the same done field by field."""

from dataclasses import dataclass

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.hand.kinematics import random_pose
from hands_lib.structures import Camera, HandPose, Mesh, TensorFields, chosen, put


@dataclass(frozen=True)
class Nested(TensorFields):
    pose: HandPose
    weight: Float[Tensor, "*batch 2"] | None
    name: str


def poses(num: int, seed: int = 0) -> HandPose:
    return random_pose(num, torch.Generator().manual_seed(seed))


def same(one: HandPose, other: HandPose) -> bool:
    return all(torch.equal(value, getattr(other, name)) for name, value in vars(one).items())


@pytest.mark.parametrize("index", [1, slice(1, 3), torch.tensor([2, 0, 2]), torch.arange(4) % 2 == 0, None])
def test_indexing_is_that_of_every_field(index) -> None:
    whole = Nested(poses(4), torch.rand(4, 2), "pair")
    part = whole[index]
    for name, value in vars(whole.pose).items():
        assert torch.equal(getattr(part.pose, name), value[index])
    assert torch.equal(part.weight, whole.weight[index])
    assert part.name == "pair"


def test_what_is_not_there_stays_so() -> None:
    whole = Nested(poses(4), None, "pair")
    assert whole[1:].weight is None
    assert TensorFields.cat([whole[:1], whole[1:]]).weight is None


@pytest.mark.parametrize("sizes", [(1,), (2, 3), (1, 0, 4)])
def test_the_parts_of_a_batch_joined_are_the_batch(sizes) -> None:
    whole = Nested(poses(sum(sizes)), torch.rand(sum(sizes), 2), "pair")
    ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
    parts = [whole[start:stop] for start, stop in zip(ends[:-1], ends[1:], strict=True)]
    joined = Nested.cat(parts)
    assert same(joined.pose, whole.pose)
    assert torch.equal(joined.weight, whole.weight)


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        HandPose.cat([])


def test_what_a_batch_shares_is_neither_indexed_nor_joined_but_moves() -> None:
    mesh = Mesh(torch.rand(3, 4, 3), torch.tensor([[0, 1, 2], [0, 2, 3]]))
    assert torch.equal(mesh[1:].faces, mesh.faces)
    joined = Mesh.cat([mesh[:1], mesh[1:]])
    assert torch.equal(joined.vertices, mesh.vertices)
    assert torch.equal(joined.faces, mesh.faces)
    away = mesh.to("meta")
    assert away.faces.is_meta
    assert away.vertices.is_meta
    half = mesh.to(torch.float64)
    assert half.vertices.dtype == torch.float64
    assert half.faces.dtype == torch.int64


def test_plain_values_are_left_alone() -> None:
    camera = Camera(torch.eye(3).expand(5, 3, 3), torch.eye(4).expand(5, 4, 4), 64, 48)
    part = camera[2:4]
    assert (part.width, part.height, part.projection) == (64, 48, "perspective")
    assert part.camera_from_world.shape == (2, 4, 4)


def test_map_takes_the_same_place_of_all() -> None:
    one, two = poses(3), poses(3, seed=1)
    total = one.map(lambda *values: sum(values), two, two)
    for name, value in vars(one).items():
        assert torch.equal(getattr(total, name), sum((value, getattr(two, name), getattr(two, name))))


def test_chosen_and_put_against_a_loop() -> None:
    one, two = poses(5), poses(5, seed=1)
    where = torch.tensor([True, False, False, True, False])
    mixed = chosen(where, one, two)
    for row in range(5):
        assert same(mixed[row], (one if where[row] else two)[row])
    rows = torch.tensor([4, 1])
    changed = put(one, rows, two[:2])
    for row in range(5):
        source = two[rows.tolist().index(row)] if row in rows.tolist() else one[row]
        assert same(changed[row], source)

"""An occupancy network read again from its record is the network that was recorded, and is frozen."""

import json
from dataclasses import asdict

import pytest
import torch

from hands_lib.methods.intersections.occupancy import OccupancyNetwork, OccupancySettings
from hands_lib.methods.intersections.recorded_network import recorded_network

SETTINGS = OccupancySettings(8, 8, 12, joint_identity=True, palm_frame=True)


def trained() -> OccupancyNetwork:
    torch.manual_seed(5)
    network = OccupancyNetwork(SETTINGS)
    for values in network.parameters():  # many are zero at the start
        values.data += 0.2 * torch.randn(values.shape)
    return network.eval()


def config_of(settings: OccupancySettings = SETTINGS) -> dict:
    """As it comes out of a record."""
    return json.loads(json.dumps({"network": asdict(settings), "sampling": {}}))


def test_the_same_network_comes_back_frozen() -> None:
    network = trained()
    found = recorded_network(config_of(), network.state_dict())
    generator = torch.Generator().manual_seed(0)
    joints = 0.1 * torch.randn(3, 21, 3, generator=generator)
    points = 0.1 * torch.randn(3, 50, 3, generator=generator)
    assert torch.equal(found.probability(points, joints), network.probability(points, joints))
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_half_precision_becomes_single() -> None:
    halved = {k: v.half() if v.is_floating_point() else v for k, v in trained().state_dict().items()}
    found = recorded_network(config_of(), halved)
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    for name, value in found.state_dict().items():
        assert torch.equal(value, halved[name].to(value.dtype)), name


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "network"),
        ({"network": {"backbone": "resnet10t"}}, "backbone"),
        (config_of(OccupancySettings(16, 8, 12)), "occupancy network"),
    ],
)
def test_another_record_is_refused(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recorded_network(config, trained().state_dict())

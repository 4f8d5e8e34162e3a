"""A network read again from its record is the network that was recorded."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from hands_lib.hand.kinematics import forward_kinematics, random_pose
from hands_lib.methods.intersections.occupancy import OccupancyNetwork, OccupancySettings
from hands_lib.methods.intersections.recorded_network import recorded_network

SETTINGS = OccupancySettings(6, 5, 7, joint_identity=True, palm_frame=True)


def stirred(settings: OccupancySettings = SETTINGS) -> OccupancyNetwork:
    """No weight is 0, as those of a new network's last layers are."""
    torch.manual_seed(3)
    network = OccupancyNetwork(settings).eval()
    for value in (*network.parameters(), network.decoder.running_mean):
        value.data.normal_(std=0.3)
    return network


def config_of(settings: OccupancySettings = SETTINGS) -> dict:
    """As it comes out of a record, beside what other things a run notes."""
    return json.loads(json.dumps({"network": asdict(settings), "steps": 10}))


def test_the_same_network_comes_back_frozen() -> None:
    network = stirred()
    found = recorded_network(config_of(), network.state_dict())
    joints = forward_kinematics(random_pose(3, torch.Generator().manual_seed(1))).joints
    points = joints[:, ::5] + 0.01
    assert torch.equal(found.probability(points, joints), network.probability(points, joints))
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_half_precision_becomes_single() -> None:
    halved = {name: value.half() for name, value in stirred().state_dict().items()}
    found = recorded_network(config_of(), halved)
    for name, value in found.state_dict().items():
        assert torch.equal(value, halved[name].float()), name


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"steps": 10}, "network"),
        ({"network": 32}, "no record of an occupancy network"),
        ({"network": {"vertices": [20, 40]}}, "vertices"),
        ({"network": asdict(SETTINGS) | {"latent": -1}}, "latent"),
        (config_of(replace(SETTINGS, decoder_width=9)), "size mismatch"),
        (config_of(replace(SETTINGS, latent=2)), "Missing key"),
    ],
)
def test_another_record_is_refused(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recorded_network(config, stirred().state_dict())

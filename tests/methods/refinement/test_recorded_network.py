"""A network read again from its record is the network that was recorded."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from hands_lib.methods.refinement.hands import KinematicHands
from hands_lib.methods.refinement.network import SMALL, RefinementNetwork
from hands_lib.methods.refinement.recorded_network import recorded_network

SETTINGS = replace(SMALL, stages=1, visual_width=16, joint_width=8, plane_width=8, places_learn=False)


def trained() -> RefinementNetwork:
    torch.manual_seed(3)
    return RefinementNetwork(KinematicHands("plain"), SETTINGS).eval()


def config_of(settings=SETTINGS) -> dict:
    """As it comes out of a record: tuples have become lists."""
    return json.loads(json.dumps({"network": asdict(settings), "surface": "plain", "pairs": [1, 2, 3]}))


def test_the_same_network_comes_back() -> None:
    network = trained()
    found = recorded_network(config_of(), network.state_dict())
    assert found.settings == SETTINGS
    assert not found.training
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(found(picture).estimates, network(picture).estimates, strict=True):
        assert torch.equal(ours.joints, theirs.joints)
        assert torch.equal(ours.vertices_uv, theirs.vertices_uv)


def test_half_precision_becomes_single() -> None:
    state = trained().state_dict()
    halved = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    found = recorded_network(config_of(), halved)
    for name, value in found.state_dict().items():
        assert torch.equal(value, halved[name].to(value.dtype)), name
    assert {p.dtype for p in found.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"surface": "plain"}, "network"),
        ({"network": asdict(SETTINGS)}, "surface"),
        ({"network": 32, "surface": "plain"}, "no record of a refinement network"),  # picture to joints
        (config_of() | {"network": {"vertices": [20, 40]}}, "vertices"),  # dense vertex attention
        (config_of(replace(SETTINGS, joint_width=16)), "size mismatch"),
        (config_of(replace(SETTINGS, stages=0)), "stages"),
    ],
)
def test_another_record_is_refused(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recorded_network(config, trained().state_dict())

"""A trained network from what its run recorded, for chapters that look at it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hands_lib.hand.numbers import KinematicHands
from hands_lib.methods.hand_object.network import HandObjectNetwork, HandObjectSettings
from hands_lib.methods.hand_object.streams import BackboneSettings


def recorded_network(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> HandObjectNetwork:
    """The network, in evaluation mode, whose run had this `config` (its `network` the settings) and left
    these `weights`, perhaps in half precision. It computes in float32.

    Raises:
        ValueError: the config lacks the settings or has those of another network, or the weights are of
            another one.
    """
    try:
        settings = dict(config["network"])
        backbone = settings.pop("backbone")
        backbone = BackboneSettings(**backbone | {"blocks": tuple(backbone["blocks"])})
        network = HandObjectNetwork(
            KinematicHands("refined"), HandObjectSettings(backbone=backbone, **settings)
        )
        network.load_state_dict(dict(weights))
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"this is no record of a hand-object network: {error}") from error
    return network.eval()

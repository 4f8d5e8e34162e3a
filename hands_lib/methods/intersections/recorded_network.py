"""A trained occupancy network from what its run recorded, for everybody who asks it and does not train it.

It stands apart from `occupancy`, since what is recorded does not change with the way it is read again.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hands_lib.methods.intersections.loss import frozen
from hands_lib.methods.intersections.occupancy import OccupancyNetwork, OccupancySettings


def recorded_network(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> OccupancyNetwork:
    """The network whose run had this `config` (its `network` the settings) and left these `weights`, perhaps
    in half precision: frozen, in evaluation mode, in float32.

    Raises:
        ValueError: the config lacks the settings or has those of another network, or the weights are of
            another one.
    """
    try:
        network = OccupancyNetwork(OccupancySettings(**config["network"]))
        network.load_state_dict(dict(weights))
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"this is no record of an occupancy network: {error}") from error
    return frozen(network)

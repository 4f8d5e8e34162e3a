"""A trained occupancy network from what its run recorded, for chapters and tools that use it.

It stands apart from `occupancy`, since what is recorded does not change with the way it is read again.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hands_lib.methods.intersections.occupancy import OccupancyNetwork, OccupancySettings


def recorded_network(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> OccupancyNetwork:
    """The network whose run had this `config` (its `network` the settings) and left these `weights`, perhaps
    in half precision: in evaluation mode and without gradients for its parameters. It computes in float32.

    Raises:
        ValueError: the config has no settings, or those of another network, or the weights are of another.
    """
    try:
        network = OccupancyNetwork(OccupancySettings(**config["network"]))
        network.load_state_dict(dict(weights))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"this is no record of an occupancy network: {error}") from error
    return network.eval().requires_grad_(False)

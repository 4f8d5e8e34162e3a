"""A trained refinement network from what its run recorded, for chapters that look at it.

It stands apart from `network`, since what is recorded does not change with the way it is read again.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hands_lib.methods.refinement.hands import KinematicHands
from hands_lib.methods.refinement.network import RefinementNetwork, RefinementSettings


def recorded_network(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> RefinementNetwork:
    """The network, in evaluation mode, whose run had this `config` (its `network` the settings, its `surface`
    that of the hands) and left these `weights`, perhaps in half precision. It computes in float32.

    Raises:
        ValueError: the config lacks one of the two or has settings of another network, or the weights are
            of another one.
    """
    try:
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in config["network"].items()}
        network = RefinementNetwork(KinematicHands(config["surface"]), RefinementSettings(**settings))
        network.load_state_dict(dict(weights))
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"this is no record of a refinement network: {error}") from error
    return network.eval()

"""Settings and cameras that these tests share."""

from dataclasses import replace

import torch

from hands_lib.geometry.cameras import cropped
from hands_lib.methods.va_nerf.encoders import EncoderSettings
from hands_lib.methods.va_nerf.fusion import FusionSettings
from hands_lib.methods.va_nerf.network import PAPER, VANeRF
from hands_lib.structures import Camera
from hands_lib.worlds.cameras import camera_ring

SIZE = 32
TINY = replace(
    PAPER,
    encoders=EncoderSettings(0, 8, 2, (4, 4), 4, 1, 5),
    fusion=FusionSettings(hidden=16),
    deviation_widths=(16, 8),
    colour_widths=(16, 8),
    largest_deviation=0.005,
    initial_width=2e-3,
    smallest_width=1e-3,
)


def ring(num: int, vertices: torch.Tensor) -> Camera:
    """Cameras that look at a pair."""
    return cropped(camera_ring(num, SIZE), vertices.flatten(0, 1), SIZE)


def awake(settings) -> VANeRF:
    """A network whose deviation is not zero, as it is at the start."""
    torch.manual_seed(0)
    net = VANeRF(settings)
    torch.nn.init.normal_(net.deviation_head.weight, std=0.02)
    return net


def all_views(num_frames: int, num_views: int) -> tuple[torch.Tensor, torch.Tensor]:
    """How many views each frame has, and no pairs that a protocol asks for."""
    return torch.full((num_frames,), num_views), torch.zeros(0, 3, dtype=torch.long)

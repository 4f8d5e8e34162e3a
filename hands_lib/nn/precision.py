"""Where products of matrices are faster in bfloat16. Elsewhere they are made of other instructions, and take
several times as long as in float32: a processor without AVX-512 needs six times as much."""

import logging
from functools import cache

import torch

_log = logging.getLogger(__name__)


@cache
def fast_in_bfloat16(device: str) -> bool:
    """Whether this machine's devices of the kind ("cpu", "cuda") have instructions for it."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    has = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


@cache
def used_precision(asked: str, device: str) -> str:
    """The precision that training asks for, "float32" or "bfloat16"; float32 where the other would be slower.
    The log says so once."""
    if asked != "bfloat16" or fast_in_bfloat16(torch.device(device).type):
        return asked
    _log.warning("this %s is slow in bfloat16: float32 is used, and the numbers are others", device)
    return "float32"


def in_precision(asked: str, device: str) -> torch.autocast:
    """A block whose matrix products are made in the precision that training asks for: `used_precision`."""
    half = used_precision(asked, device) == "bfloat16"
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half)

"""Learning rates as functions of the step, for `descent.player`."""

import math


def risen_cosine(step: int, steps: int, highest: float) -> float:
    """Of step number `step`, counted from 0, of `steps`: a linear rise over the first twentieth, times the
    cosine from 1 to 0."""
    rise = min(1.0, (step + 1) / max(1, steps // 20))
    return highest * rise * (1 + math.cos(math.pi * step / steps)) / 2

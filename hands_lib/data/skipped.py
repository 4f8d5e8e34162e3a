"""What a reader leaves out of a data set, and how much of it: counted by reason, never silently."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.images import opened_image

BLACK_BELOW = 10.0
"""Mean grey value (0-255) below which a photograph counts as black: some frames of the large sets are."""


@dataclass(frozen=True)
class Skipped:
    """How many of `total` entries were left out; each counts once, for the first reason that held."""

    total: int
    reasons: Mapping[str, int]

    @property
    def kept(self) -> int:
        return self.total - sum(self.reasons.values())

    def __str__(self) -> str:
        parts = [f"{count} {reason}" for reason, count in self.reasons.items() if count]
        return f"{self.kept} of {self.total} kept; left out: {', '.join(parts) or 'none'}"


def photograph_fault(path: Path, black_below: float = BLACK_BELOW) -> str | None:
    """Why a photograph cannot be used: "photograph missing", "photograph broken" or "photograph black".

    None if it can. JPEG files are decoded at an eighth of their size, which takes about a millisecond.
    """
    try:
        with opened_image(path) as image:
            image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
            mean = float(np.asarray(image.convert("L"), dtype=np.float32).mean())
    except MissingData:
        return "photograph missing"
    except DataError:
        return "photograph broken"
    return "photograph black" if mean < black_below else None


def photograph_masks(
    paths: Sequence[Path], ask: np.ndarray, black_below: float = BLACK_BELOW
) -> dict[str, np.ndarray]:
    """For each fault of `photograph_fault` the photographs that have it; only those that `ask` are opened."""
    faults = np.full(len(paths), "", dtype=object)
    for number in np.flatnonzero(ask):
        faults[number] = photograph_fault(paths[number], black_below) or ""
    return {f: faults == f for f in ("photograph missing", "photograph broken", "photograph black")}


def first_reason(total: int, masks: Mapping[str, np.ndarray]) -> tuple[np.ndarray, Skipped]:
    """Which of `total` entries stay, where `masks` say for each reason which ones it takes out.

    Raises DataError where a mask has another length: a fault of the reader, not of the data.
    """
    kept = np.ones(total, dtype=bool)
    reasons = {}
    for reason, mask in masks.items():
        if mask.shape != (total,):
            raise DataError(f"the mask for {reason!r} has shape {mask.shape}, where ({total},) belongs")
        reasons[reason] = int((mask & kept).sum())
        kept &= ~mask
    return kept, Skipped(total, reasons)

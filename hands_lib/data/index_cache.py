"""Arrays derived from large annotation files, kept on disk so that the second opening is quick.

An index is an entry of the cache (`hands_lib.cache`), never in the data set, which may be read-only. Its key
has path, size and time of the files it was made from: where they change, another one is made. Loading it
allocates nothing: the arrays are views of the mapped file.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hands_lib.cache import made_with_facts

SMALLEST = 16 << 20
"""Bytes; annotation files smaller than this together are simply read anew each time."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Columns:
    """Named arrays, and facts about them that fit into JSON."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def indexed(
    name: str, sources: Sequence[Path], build: Callable[[], Columns], cache: Path | None = None
) -> Columns:
    """What `build` makes of the source files: from the index where it is there and agrees, else made now.

    `cache` is the folder instead of `hands_lib.cache.cache_folder()`. Whatever `build` raises is passed on.
    """
    described = {str(path.resolve()): [path.stat().st_size, path.stat().st_mtime_ns] for path in sources}
    size = sum(size for size, _ in described.values())
    if size < SMALLEST:
        return build()

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        _log.warning("%s: reading %.2f GB of annotation once; later openings use an index", name, size / 1e9)
        columns = build()
        arrays = {key: torch.from_numpy(np.ascontiguousarray(v)) for key, v in columns.arrays.items()}
        return arrays, columns.facts

    tensors, facts = made_with_facts("indices", [name, described], make, folder=cache)
    return Columns({key: value.numpy() for key, value in tensors.items()}, facts)

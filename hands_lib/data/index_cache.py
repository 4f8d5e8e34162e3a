"""Arrays derived from large annotation files, kept on disk so that the second opening is quick.

An index is one safetensors file in the cache folder (`hands_lib.cache`), never in the
data set, which may be read-only. It is written beside its place and moved there whole; two processes may do
so at once. It knows size and time of the files it was made from and a checksum of every array: where anything
does not agree it is made again. Loading it allocates nothing: the arrays are views of the mapped file.
"""

import json
import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hands_lib.cache import cache_folder

SMALLEST = 16 << 20
"""Bytes; annotation files smaller than this together are simply read anew each time."""
_FORMAT = 1
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

    `cache` is the folder instead of `cache_folder()`. Whatever `build` raises is passed on; a cache that
    cannot be written costs a warning in the log, not the result.
    """
    described = {str(path.resolve()): [path.stat().st_size, path.stat().st_mtime_ns] for path in sources}
    size = sum(size for size, _ in described.values())
    if size < SMALLEST:
        return build()
    key = zlib.crc32("\n".join(sorted(described)).encode())
    path = (cache or cache_folder()) / "indices" / f"{name}-{key:08x}.safetensors"
    if path.is_file():
        try:
            return _load(path, described)
        except _Stale as reason:
            _log.warning("%s %s: it is made again", path, reason)
    _log.warning("reading %.2f GB of annotation once; later openings use the index %s", size / 1e9, path)
    columns = build()
    _save(path, columns, described)
    return columns


class _Stale(Exception):
    pass


def _checksum(array: np.ndarray) -> int:
    """Of type, shape and content."""
    start = zlib.crc32(f"{array.dtype.str}{array.shape}".encode())
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, start)


def _checksums(arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> dict[str, int]:
    own = zlib.crc32(json.dumps(facts, sort_keys=True).encode())
    return {"": own} | {name: _checksum(array) for name, array in arrays.items()}


def _save(path: Path, columns: Columns, sources: dict[str, list[int]]) -> None:
    arrays = {name: np.ascontiguousarray(array) for name, array in columns.arrays.items()}
    header = {
        "format": _FORMAT,
        "sources": sources,
        "checksums": _checksums(arrays, columns.facts),
        "facts": columns.facts,
    }
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
        save_file(tensors, temporary, {"hands": json.dumps(header)})
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        _log.warning(
            "the index %s cannot be written (%s): the next opening reads everything again", path, error
        )
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _load(path: Path, sources: dict[str, list[int]]) -> Columns:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["hands"])
            if header["format"] != _FORMAT:
                raise _Stale("is of another version of hands_lib")
            if header["sources"] != sources:
                raise _Stale("was made from files that have changed since")
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118
        if header["checksums"] != _checksums(arrays, header["facts"]):
            raise _Stale("is damaged (a checksum does not agree)")
        return Columns(arrays, header["facts"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _Stale(f"is damaged ({error})") from None

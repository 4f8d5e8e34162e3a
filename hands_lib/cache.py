"""What can be made again from something else, kept on disk: below `$HANDS_CACHE`, else `~/.cache/hands`.

`made_once` keeps named tensors as `<folder>/<kind>/<hash of their key>.safetensors`. An entry has in its
header the SHA-256 of all that it holds, so that a damaged one is found, and made again. (That costs 0.6 s a
gigabyte where the processor knows SHA, a CRC 0.25 s, copying 0.3 s: not enough to know a second sum.) Tensors
are the mapped file: changing them in place changes no file.

Entries together stay below `$HANDS_CACHE_GB` (default 20): those used longest ago go first. An entry is
written beside its place, and moved there whole; a lock keeps two processes from making the same one, and ends
with its process. Where nothing can be written, a line of the log says so, and things are made each time.
"""

import fcntl
import hashlib
import json
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ENVIRONMENT_VARIABLE = "HANDS_CACHE"
LIMIT_VARIABLE = "HANDS_CACHE_GB"
DEFAULT_LIMIT = 20
_GB = 10**9
_FORMAT = 1  # part of every key: files of another format are never looked at
_log = logging.getLogger(__name__)
_warn_once = cache(_log.warning)


def cache_folder() -> Path:
    """This user's folder; it need not exist yet. `$XDG_CACHE_HOME` stands for `~/.cache` where it is set."""
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    if given:
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hands"
    except RuntimeError:  # a user without a home: a folder that cannot be, so that nothing is kept
        return Path(os.devnull) / "hands"


def made_once(
    kind: str,
    key: Any,
    make: "Callable[[], Mapping[str, Tensor]]",
    *,
    folder: str | Path | None = None,
) -> "dict[str, Tensor]":
    """What `make` returns, from the cache if it is there; sorted by name, contiguous, on the CPU.

    kind    name of the entry's folder: a-z, 0-9 and _
    key     JSON value that says all that the content depends on
    folder  of the cache; default `cache_folder()`

    Raises ValueError for another kind and a `$HANDS_CACHE_GB` that is no size, and whatever `make` raises.
    """
    return made_with_facts(kind, key, lambda: (make(), None), folder=folder)[0]


def made_with_facts(
    kind: str,
    key: Any,
    make: "Callable[[], tuple[Mapping[str, Tensor], Any]]",
    *,
    folder: str | Path | None = None,
) -> "tuple[dict[str, Tensor], Any]":
    """As `made_once`, for tensors and a JSON value with facts about them."""
    path, text, limit = entry_path(kind, key, folder), _json(key), _limit()
    with suppress(FileNotFoundError, _DamagedError):
        return _load(path, text)
    with ExitStack() as held:
        try:
            locked = held.enter_context(_lock(path))
        except OSError as error:
            locked = False
            _cannot_keep(path, error)
        try:
            return _load(path, text)  # made by another process meanwhile
        except FileNotFoundError:
            pass
        except _DamagedError as error:
            _log.warning("%s is damaged (%s): it is made again", path, error)
        made, facts = make()
        tensors = {name: made[name].detach().cpu().contiguous() for name in sorted(made)}
        facts = _json(facts)
        if locked:
            _write(path, text, tensors, facts, limit)
        return tensors, json.loads(facts)


def entry_path(kind: str, key: Any, folder: str | Path | None = None) -> Path:
    """Where `made_once` keeps this; the file need not exist. Raises ValueError as `made_once`."""
    if not re.fullmatch("[a-z0-9_]+", kind):
        raise ValueError(f"a kind of the cache is called {kind!r}: use a-z, 0-9 and _ alone")
    name = hashlib.sha256(f"{_FORMAT} {_json(key)}".encode()).hexdigest()[:32]
    return _root(folder) / kind / f"{name}.safetensors"


def is_being_made(path: Path) -> bool:
    """Whether another process makes this entry just now."""
    try:
        with _lock(path, wait=False) as locked:
            return not locked
    except OSError:
        return False


def digest(tensors: "Mapping[str, Tensor]", about: str = "") -> str:
    """SHA-256 of a text, and of names, types, shapes and values of contiguous tensors on the CPU."""
    import torch

    total = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(_json([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


# --- one file ------------------------------------------------------------------------------------------


class _DamagedError(Exception):
    pass


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _load(path: Path, key: str) -> "tuple[dict[str, Tensor], Any]":
    """Raises FileNotFoundError where it is not there, and _DamagedError where it is not what was written."""
    from safetensors import SafetensorError, safe_open

    if not os.path.isfile(path):  # nor where the path itself is impossible
        raise FileNotFoundError(path)
    try:
        with path.open("rb"):  # whose error says why, where the library's does not
            pass
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["hands"])
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        if header["key"] != key:
            raise _DamagedError("it belongs to another key")
        if header["sha256"] != digest(tensors, key + header["facts"]):
            raise _DamagedError("its checksum does not agree")
        facts = json.loads(header["facts"])
    except FileNotFoundError:  # deleted meanwhile
        raise
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise _DamagedError(error) from None
    with suppress(OSError):
        os.utime(path)  # its last use
    return tensors, facts


def _write(path: Path, key: str, tensors: "dict[str, Tensor]", facts: str, limit: float) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > limit:
        largest = f"{size / _GB:.3g} GB are more than all of the cache may have"
        _cannot_keep(path, largest, f"raise ${LIMIT_VARIABLE} above {limit / _GB:g}")
        return
    header = {"key": key, "facts": facts, "sha256": digest(tensors, key + facts)}
    # A folder, as safetensors writes beside its target; of this process alone, which has the lock.
    unfinished = path.with_suffix(".part")
    try:
        unfinished.mkdir(exist_ok=True)
        whole = unfinished / path.name
        # One value only: the format writes several in any order, and the bytes should be the same every time.
        save_file(tensors, whole, {"hands": _json(header)})
        whole.chmod(0o644)  # it is made private
        with whole.open("rb") as file:
            os.fsync(file.fileno())
        _make_room(path, whole.stat().st_size, limit)
        os.replace(whole, path)
    except (OSError, SafetensorError) as error:
        _cannot_keep(path, error)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _cannot_keep(path: Path, error: Exception | str, mend: str | None = None) -> None:
    why = getattr(error, "strerror", None) or error
    mend = mend or f"free some space, or set ${ENVIRONMENT_VARIABLE} to a folder that can be written"
    _warn_once(f"{path.parent}: nothing is kept there ({why}), and it is made again each time; {mend}")


@contextmanager
def _lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """True while this process alone may write `path`; False if another one may, and `wait` is not set.

    Raises OSError where there can be no lock.
    """
    lock = path.with_suffix(".lock")
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            try:
                ours = os.path.samestat(os.fstat(file.fileno()), lock.stat())
            except FileNotFoundError:
                ours = False
            if not ours:  # who had it before has deleted it
                continue
            try:
                yield True
            finally:
                with suppress(OSError):
                    lock.unlink(missing_ok=True)
            return


# --- all files -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    path: Path
    size: int
    used: float


def _root(folder: str | Path | None) -> Path:
    return cache_folder() if folder is None else Path(folder)


def _limit() -> float:
    """Bytes."""
    given = os.environ.get(LIMIT_VARIABLE) or DEFAULT_LIMIT
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not limit >= 0:
        raise ValueError(f"${LIMIT_VARIABLE} is {given!r}: set it to gigabytes, for example {DEFAULT_LIMIT}")
    return limit * _GB


def _mb(size: int) -> str:
    return f"{size / 10**6:,.1f} MB"


def _found(root: Path, kind: str = "*", suffix: str = "safetensors") -> list[Path]:
    """Files with names that `made_once` gives: whatever else lies there stays."""
    with suppress(OSError):  # no folder can have this path
        return list(root.glob(f"{kind}/{'[0-9a-f]' * 32}.{suffix}"))
    return []


def _entries(root: Path) -> list[_Entry]:
    """Those used longest ago first."""
    entries = []
    for path in _found(root):
        with suppress(FileNotFoundError):  # deleted meanwhile
            about = path.stat()
            entries.append(_Entry(path, about.st_size, about.st_mtime))
    return sorted(entries, key=lambda entry: entry.used)


def _make_room(path: Path, size: int, limit: float) -> None:
    others = [entry for entry in _entries(path.parents[1]) if entry.path != path]
    total = size + sum(entry.size for entry in others)
    for entry in others:
        if total <= limit:
            return
        entry.path.unlink(missing_ok=True)
        total -= entry.size


def entries(folder: str | Path | None = None) -> list[str]:
    """Lines that say what the cache holds: of each kind how much, and when it was used last."""
    root = _root(folder)
    found = _entries(root)
    kinds: dict[str, list[_Entry]] = {}
    for entry in found:
        kinds.setdefault(entry.path.parent.name, []).append(entry)
    size = sum(entry.size for entry in found)
    lines = [f"{root}: {_mb(size)} of at most {_limit() / _GB:g} GB (${LIMIT_VARIABLE})"]
    for kind, own in sorted(kinds.items()):
        size = sum(entry.size for entry in own)
        used = time.strftime("%Y-%m-%d", time.localtime(own[-1].used))
        lines.append(f"{kind:16} {len(own):6} entries {_mb(size):>14}, last used {used}")
    return lines


def clear(kind: str | None = None, folder: str | Path | None = None) -> list[str]:
    """Delete all entries, or those of one kind, and what killed processes left; one line that says how much.

    What another process makes just now stays. Raises ValueError for a kind that is not there, and OSError for
    what cannot be deleted.
    """
    root = _root(folder)
    kinds = {path.parent.name for path in _found(root, suffix="*")}
    if kind is not None and kind not in kinds:
        raise ValueError(f"{root} has no kind {kind!r}; there are: {', '.join(sorted(kinds)) or 'none'}")
    count = size = 0
    for path in sorted({path.with_suffix(".safetensors") for path in _found(root, kind or "*", "*")}):
        with _lock(path, wait=False) as free:
            if not free:
                continue
            shutil.rmtree(path.with_suffix(".part"), ignore_errors=True)
            with suppress(FileNotFoundError):  # only a lock was left, or it is gone meanwhile
                bytes_here = path.stat().st_size
                path.unlink()
                count, size = count + 1, size + bytes_here
    return [f"{root}: deleted {count} entries, {_mb(size)}"]

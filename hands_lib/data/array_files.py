"""Named arrays in one .npz or .json file from anywhere: every key, type and shape checked, nothing run.

An .npz is numpy's own, without Python objects; what it declares is compared with what it holds before memory
is taken for it. A .json is one object with nested lists, in which null stands for a number, or for a list of
numbers, that is not there. `data.hand_pair_files` gives the arrays their meaning.
"""

import difflib
import hashlib
import json
import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hands_lib.data.errors import DataError, MissingData, shown
from hands_lib.data.json_stream import read_json, scalar_types
from hands_lib.plain_files import ContentError, read_npz, read_plain

_LARGEST_JSON = 64 << 20  # bytes
_LARGEST_FROM_JSON = 256 << 20  # bytes of one array
_LARGEST = 2 << 30  # bytes of all arrays
_LONGEST_TEXT = 200


@dataclass(frozen=True)
class ArrayFile:
    """What a file says, by key: arrays from an .npz, whatever JSON knows from a .json.

    The methods give one key's value in the asked form; they raise DataError, which names file, key and mend,
    where it has another one.
    """

    path: Path
    values: dict[str, Any]
    sha256: str
    """Of the bytes that were read."""

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def error(self, key: str, problem: str, mend: str) -> DataError:
        return DataError(f"{self.path}: {key} {problem}: {mend}")

    def text(self, key: str) -> str:
        return self._text(key, self._value(key))

    def choice(self, key: str, known: Mapping[str, Any], others: Mapping[str, str] | None = None) -> str:
        """One of the `known` names; `others` are names that people use for them."""
        name = self.text(key)
        if name not in known:
            near = [(others or {}).get(name.lower(), "")]
            near = [near[0]] if near[0] else difflib.get_close_matches(name.lower(), known, 1)
            mend = f"did you mean {near[0]!r}? Known are" if near else "known are"
            raise self.error(key, f"is {shown(name)}", f"{mend} {', '.join(known)}")
        return name

    def numbers(self, key: str, shape: tuple[int | None, ...], kinds: str = "fiu") -> Tensor:
        """Float64, of this shape, in which None stands for any number of frames, one at least."""
        value = self._value(key)
        if not isinstance(value, np.ndarray):
            value = self._json_array(key, value, shape)
        if value.dtype.kind not in kinds or value.dtype.itemsize > 8:
            mend = "save plain numbers (float64, float32, integers)"
            raise self.error(key, f"is of type {value.dtype}", mend)
        fits = value.ndim == len(shape) and all(
            want == have or (want is None and have > 0) for want, have in zip(shape, value.shape, strict=True)
        )
        if not fits:
            expected = ", ".join("frame" if n is None else str(n) for n in shape)
            raise self.error(key, f"has shape {value.shape}, where ({expected}) belongs", "reshape it")
        with np.errstate(invalid="ignore"):  # signalling NaN
            return torch.from_numpy(value.astype(np.float64))

    def number(self, key: str) -> float:
        value = self._value(key)
        plain = isinstance(value, float | int) and not isinstance(value, bool)
        if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "fiu":
            value, plain = value.item(), True
        try:
            return float(value) if plain else math.nan
        except OverflowError:
            return math.inf

    def flags(self, key: str, shape: tuple[int, ...]) -> Tensor:
        """Booleans; true where the key is not there."""
        if key not in self.values:
            return torch.ones(shape, dtype=torch.bool)
        values = self.numbers(key, shape, kinds="fiub")
        if not ((values == 0) | (values == 1)).all():
            raise self.error(key, "holds more than true and false", "use true and false, or 1 and 0")
        return values.bool()

    def texts(self, key: str, num: int) -> tuple[str, ...]:
        values = self._value(key)
        if not isinstance(values, list) and not (isinstance(values, np.ndarray) and values.ndim == 1):
            raise self.error(key, "is not a list", "give one text for every frame")
        if len(values) != num:
            raise self.error(key, f"has {len(values)} entries for {num} frames", "give one for every frame")
        as_array = isinstance(values, np.ndarray)
        return tuple(self._text(key, values[n : n + 1] if as_array else values[n]) for n in range(num))

    def _value(self, key: str) -> Any:
        if key not in self.values:
            raise DataError(f"{self.path} has no key {key!r}: add it")
        return self.values[key]

    def _text(self, key: str, value: Any) -> str:
        if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "US":
            try:
                value = value.reshape(-1)[0].item()
                value = value.decode() if isinstance(value, bytes) else value
            except ValueError:  # bytes that are no characters
                value = None
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
            raise self.error(key, "is not a short text", "write plain text")
        return value

    def _json_array(self, key: str, value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
        @cache
        def missing(shape: tuple[int | None, ...]) -> Any:
            return np.full([1 if n is None else n for n in shape], np.nan).tolist()

        def filled(value: Any, shape: tuple[int | None, ...]) -> Any:
            if value is None and shape:
                return missing(shape)
            if isinstance(value, list) and len(shape) > 1:
                return [filled(inner, shape[1:]) for inner in value]
            return value

        problem = self.error(key, "is not a regular array of numbers", "give nested lists of equal length")
        kinds = scalar_types(value) - {type(None)}
        if not (kinds <= {int, float} or kinds == {bool}):  # numpy would make one of true, text and numbers
            raise problem
        frames = len(value) if isinstance(value, list) else 1
        if 8 * frames * math.prod(n or 1 for n in shape[1:]) > _LARGEST_FROM_JSON:  # of null for whole frames
            raise self.error(key, f"has {frames:,} frames", "save so many as .npz")
        try:
            array = np.asarray(filled(value, shape))
            if array.dtype.kind == "O" and {type(n) for n in array.reshape(-1)} <= {float, int, type(None)}:
                array = array.astype(np.float64)
        except (ValueError, TypeError, OverflowError):
            raise problem from None
        if array.dtype.kind not in "fiub":
            raise problem
        return array


def read_arrays(path: Path, known: tuple[str, ...]) -> ArrayFile:
    """The keys of a file; none but the `known` ones.

    Raises MissingData where the file cannot be read, DataError where it is damaged, of another kind, too
    large, or says what these files do not say.
    """
    readers = {".npz": _read_npz, ".json": _read_json}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path} is neither .npz nor .json: save it as one of them")
    try:
        raw = read_plain(path, _LARGEST)
    except FileNotFoundError:
        raise MissingData(f"{path} is not there: look at its name") from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror}): look at its name") from None
    values = readers[path.suffix.lower()](path, raw)
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key[:_LONGEST_TEXT], known, 1)
            mend = f"did you mean {near[0]!r}?" if near else "remove it."
            raise DataError(f"{path} has the unknown key {shown(key)}: {mend} Known are {', '.join(known)}")
    return ArrayFile(path, values, hashlib.sha256(raw).hexdigest())


def write_arrays(path: Path, values: Mapping[str, Any], source: Path | None) -> None:
    """Writes texts, numbers, lists of texts and arrays, all at once or not at all; NaN is null in JSON.

    Raises DataError for a file of another kind, or for `source` itself under any name; MissingData where it
    cannot be written.
    """
    if path.suffix.lower() not in (".npz", ".json"):
        raise DataError(f"{path} is neither .npz nor .json: name one of them")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise DataError(f"{path} is the file that this was read from: write to another one")
    unfinished = path.with_name(f".{path.name[:40]}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            if path.suffix.lower() == ".npz":
                np.savez(file, allow_pickle=False, **values)
            else:
                file.write(json.dumps({name: _plain(value) for name, value in values.items()}).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise MissingData(f"{path} cannot be written ({error.strerror}): name another place") from None
    finally:
        unfinished.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "f":
        value = np.where(np.isnan(value), None, value.astype(object))
    return value.tolist()


def _read_json(path: Path, raw: bytes) -> dict[str, Any]:
    if len(raw) > _LARGEST_JSON:
        raise DataError(f"{path} is larger than {_LARGEST_JSON >> 20} MiB: save so many frames as .npz")
    values = read_json(path, raw)
    if not isinstance(values, dict):
        raise DataError(f"{path} is not one JSON object: put everything into {{...}} under named keys")
    return values


def _read_npz(path: Path, raw: bytes) -> dict[str, np.ndarray]:
    try:
        return read_npz(raw, _LARGEST)
    except ContentError as error:
        raise DataError(f"{path}: {error}") from None

"""JSON files that are larger than memory, one entry at a time.

Annotation files of the large data sets are objects of objects (or of lists) with one small entry for every
moment or photograph. `entries` walks down to those and decodes each with Python's own decoder; memory holds a
window of the file and one entry.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hands_lib.data.errors import DataError, MissingData, shown
from hands_lib.plain_files import cut, open_plain

Pairs = list[tuple[str, Any]]

AGAIN = "download the file again"
_WINDOW = 1 << 22  # characters read at a time
_LONGEST_ENTRY = 1 << 23  # characters; no entry of a known format comes near it
_LONGEST_FILE = 1 << 26  # characters of a file that is read in one piece
_MOST_PARTS = 2_000_000  # lists and objects of one entry: an empty one takes 30 times its characters
_LONGEST_KEY = 200
_FEW, _SHORTEST_ENTRY = 100_000, 32  # more entries than these have as many characters each, on average
_NEAR_END = 16  # a word or an escape that the window cuts is shorter than this
_SPACE = re.compile(r"[ \t\n\r]*")


def entries(
    path: Path, depth: int = 2, pairs_hook: Callable[[Pairs], Any] | None = None, top: str | None = None
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Keys and value of everything that stands `depth` levels below the top, in the order of the file.

    List elements have their number as key. What ends above that depth (a number, say) comes with fewer keys;
    an empty list or object gives nothing. `pairs_hook` is json's object_pairs_hook, for the values alone;
    `top` is "{" or "[" where the file must be an object, or a list.
    Raises MissingData where the file cannot be read, DataError where it is not whole JSON text, where a key
    stands twice in one object of the walked levels, where an entry is absurdly long, or where millions of
    entries are absurdly short.
    """
    try:
        with open_plain(path) as file:
            text = _Window(path, io.TextIOWrapper(file, encoding="utf-8"), pairs_hook, _LONGEST_ENTRY)
            if top is not None and text.peek() not in ("", top):
                kind = "an object" if top == "{" else "a list"
                raise DataError(f"{path} is not {kind}: it is another kind of file")
            yield from _walk(text, (), depth)
            text.end()
    except (UnicodeDecodeError, RecursionError):
        raise DataError(f"{path} is not JSON text: get the file again") from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror}): look at its permissions") from None


def read_json(path: Path, raw: bytes | None = None) -> Any:
    """The whole content of a small file, whose bytes are `raw` where they are known. Errors as of `entries`,
    and for a file that is too large to be read in one piece."""
    try:
        with io.BytesIO(raw) if raw is not None else open_plain(path, 4 * _LONGEST_FILE) as file:
            decoded = io.TextIOWrapper(file, encoding="utf-8")
            text = _Window(path, decoded, unique_keys(path), _LONGEST_FILE)
            value = text.value()
            text.end()
            return value
    except (UnicodeDecodeError, RecursionError):
        raise DataError(f"{path} is not JSON text: get the file again") from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror}): look at its permissions") from None


def unique_keys(path: Path) -> Callable[[Pairs], dict]:
    """A hook that refuses an object in which a key stands twice; plain JSON would keep the last silently."""

    def check(pairs: Pairs) -> dict:
        entry = dict(pairs)
        if len(entry) < len(pairs):
            seen: set[str] = set()
            raise _twice(path, next(key for key, _ in pairs if key in seen or seen.add(key)))
        return entry

    return check


def _twice(path: Path, key: str) -> DataError:
    return DataError(f"{path}: {shown(key)} stands there twice in one place: keep one of the two entries")


class _Window:
    """The part of a file between what has been used and what has not been read yet."""

    def __init__(
        self, path: Path, file: io.TextIOWrapper, pairs_hook: Callable[[Pairs], Any] | None, longest: int
    ):
        self.path = path
        self._longest = longest  # characters of a value
        self._entries = 0
        self._file = file
        self._decoder = json.JSONDecoder(object_pairs_hook=pairs_hook)
        self._text = ""
        self._place = 0
        self._before = 0  # characters of the file before the window
        self._ended = False

    def _grow(self) -> None:
        # Doubling keeps the repeated attempts at one long entry linear in its length.
        more = self._file.read(max(_WINDOW, len(self._text) - self._place))
        self._before += self._place
        self._text = self._text[self._place :] + more
        self._place = 0
        self._ended = not more

    def peek(self) -> str:
        """The next character that is not white space; empty at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._place)
            self._place = match.end() if match else self._place
            if self._place < len(self._text):
                return self._text[self._place]
            if self._ended:
                return ""
            self._grow()

    def take(self, *expected: str) -> str:
        found = self.peek()
        if found not in expected:
            raise self.broken(f"{' or '.join(expected)} is missing")
        self._place += 1
        return found

    def end(self) -> None:
        if self.peek():
            raise self.broken("something follows its end")

    def count(self) -> None:
        """One more entry. There may be many, or very short ones, but not both."""
        self._entries += 1
        if self._entries > _FEW and self._before + self._place < _SHORTEST_ENTRY * self._entries:
            raise DataError(f"{self.path} holds {_FEW:,} entries of next to nothing: {AGAIN}")

    def value(self) -> Any:
        """Decodes the value that starts here."""
        self.peek()
        while True:
            problem = None
            if len(self._text) - self._place > _LONGEST_ENTRY:
                parts = sum(self._text.count(opening, self._place) for opening in "[{")
                if parts > _MOST_PARTS:
                    raise DataError(f"{self.path} holds more than {_MOST_PARTS:,} lists and objects: {AGAIN}")
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                broken_off = error.pos + _NEAR_END > len(self._text) or error.msg.startswith("Unterminated")
                problem = error.msg
                if self._ended or not broken_off:
                    raise self.broken(problem, error.pos) from None
            except DataError:
                raise
            except ValueError as error:  # a whole number of thousands of digits
                raise self.broken(cut(error)) from None
            else:
                # A number near the window's end may go on behind it: "-1" of "-1.5", "2" of "2e-9".
                if end + _NEAR_END <= len(self._text) or self._ended:
                    self._place = end
                    return value
            if len(self._text) - self._place > self._longest:
                raise self.broken(problem or f"an entry is longer than {self._longest:,} characters")
            self._grow()

    def broken(self, problem: str, place: int | None = None) -> DataError:
        at = self._before + (self._place if place is None else place)
        return DataError(
            f"{self.path} is not complete JSON (character {at}: {problem}): "
            f"the download or unpacking broke off; get the file again"
        )


def _walk(text: _Window, keys: tuple[str | int, ...], depth: int) -> Iterator[tuple[tuple, Any]]:
    opening = text.peek()
    text.count()
    if len(keys) == depth or opening not in ("{", "["):
        yield keys, text.value()
        return
    closing = "}" if opening == "{" else "]"
    text.take(opening)
    if text.peek() == closing:
        text.take(closing)
        return
    seen: set[str] = set()
    number = 0
    while True:
        key: str | int = number
        if opening == "{":
            if text.peek() != '"':
                raise text.broken("a key is missing")
            key = text.value()
            if len(key) > _LONGEST_KEY:
                raise DataError(f"{text.path}: a key has {len(key):,} characters: {AGAIN}")
            if key in seen:
                raise _twice(text.path, key)
            seen.add(key)
            text.take(":")
        yield from _walk(text, (*keys, key), depth)
        number += 1
        if text.take(",", closing) == closing:
            return


# --- values --------------------------------------------------------------------------------------------


def value_of(where: str, entry: Any, key: str) -> Any:
    """`entry[key]`; DataError, which starts with `where`, where it is missing or null."""
    if not isinstance(entry, dict) or entry.get(key) is None:
        raise DataError(f"{where} has no key {key!r}: {AGAIN}")
    return entry[key]


def scalar_types(value: Any) -> set[type]:
    """The types of what nested lists hold, lists left out."""
    found: set[type] = set()
    level = [value]
    while level:
        kinds = set(map(type, level))
        found |= kinds - {list}
        if list not in kinds:
            break
        lists = level if len(kinds) == 1 else [part for part in level if type(part) is list]
        level = list(chain.from_iterable(lists))
    return found


def numbers(where: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Nested lists of numbers (not of true, false or text; null is NaN) as an array of this shape, float64;
    DataError, which starts with `where`, if not."""
    try:
        if not scalar_types(value) <= {int, float, type(None)}:  # numpy would take text and true for numbers
            raise ValueError
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{where} is not an array of numbers: {AGAIN}") from None
    if array.size != np.prod(shape) or array.ndim == 0 or array.shape[0] != shape[0]:
        raise DataError(
            f"{where} has shape {array.shape}, where {shape} belongs: this is another layout, or another "
            f"data set"
        )
    return array.reshape(shape)


def finite_numbers(where: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """`numbers` that are finite, in float32 too."""
    array = numbers(where, value, shape)
    if not (np.abs(array) < np.finfo(np.float32).max).all():
        raise DataError(f"{where} is not finite: {AGAIN}")
    return array


def frame_arrays(path: Path, *shapes: tuple[int | None, ...]) -> list[np.ndarray]:
    """A list with an array for each frame, or a list of such lists, one for each of `shapes`; float64.

    shapes  of a frame's array; None stands for the number of rows that the first frame has

    The file may be larger than memory has room for as Python's lists. Errors as of `entries`, and DataError
    where the file holds anything else, or no frame.
    """
    depth = 1 if len(shapes) == 1 else 2
    found: list[list[np.ndarray]] = [[] for _ in shapes]
    wanted = list(shapes)
    for keys, entry in entries(path, depth=depth, top="["):
        if len(keys) != depth or not all(type(key) is int for key in keys):
            form = "a list" if depth == 1 else f"{depth} lists"
            raise DataError(f"{path} is not {form} with an array for each frame: {AGAIN}")
        which, number = (0, *keys)[-2:]
        if which >= len(shapes):
            raise DataError(f"{path} has more than {len(shapes)} lists: {AGAIN}")
        if None in wanted[which] and isinstance(entry, list) and entry:
            wanted[which] = (len(entry), *wanted[which][1:])
        if None in wanted[which]:
            raise DataError(f"{path}: entry {number} is {shown(entry)}, not an array: {AGAIN}")
        found[which].append(finite_numbers(f"{path}: entry {number}", entry, wanted[which]))
    if not all(found):
        raise DataError(f"{path} lists no frame, or has fewer than {len(shapes)} lists: {AGAIN}")
    return [np.stack(arrays) for arrays in found]

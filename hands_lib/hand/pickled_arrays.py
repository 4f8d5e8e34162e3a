"""The arrays of a pickle of a hand model, read without Python's unpickler: nothing in the file can run.

A pickle is a program for a small machine, which may name any function and call it. This is such a machine
that knows a few names, none of which it calls: what a file wants to be an array, a sparse matrix or an object
of chumpy becomes an inert node, and arrays are built from the nodes' bytes afterwards. It can be asked for no
more than the file pays for: arrays together have at most a few times the file's bytes, an array has exactly
the bytes that its shape needs, and only plain numbers.

Read are all protocols (0 to 5), the spellings of Python 2 and 3, NumPy 1 and 2, and old and new SciPy.
"""

import codecs
import math
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

MOST_STEPS = 1_000_000
"""Instructions of a file; an official one has a few thousand."""
_ALLOWANCE = 4  # times the file's bytes, for all arrays together
_LONGEST_NUMBER = 40  # characters or bytes of one whole number
_DEEPEST = 8  # chumpy objects around each other
_LARGEST_DENSE = 1 << 22  # numbers of a sparse matrix, written out
_PLAIN = re.compile("[<>|=]?(b1|[iu][1248]|f[248]|[SU][0-9]{1,4})")  # numbers, flags and texts


class PickledArraysError(ValueError):
    """What is wrong with a pickle; a short sentence without the file's name."""


class ForbiddenNameError(PickledArraysError):
    """A pickle names something that could run; the message is that name."""


# --- what stands for the objects of a file ---------------------------------------------------------------


class _Named:
    """A name that a file may say; it is compared, never called."""

    def __init__(self, kind: str):
        self.kind = kind


class _Node:
    """An object of a file: what it is, what it was made from, and the state it was given."""

    def __init__(self, kind: str, arguments: tuple = ()):
        self.kind, self.arguments, self.state = kind, arguments, None


_RECONSTRUCT, _SCALAR, _FROM_BUFFER = "_reconstruct", "scalar", "_frombuffer"
_ENCODE, _REBUILD, _BYTES = "encode", "_reconstructor", "bytes"
_ARRAY, _DTYPE, _CH, _SELECT, _SET, _OBJECT = "ndarray", "dtype", "Ch", "Select", "set", "object"
_SPARSE = ("csc", "csr", "coo")
_NAMES = {
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): _DTYPE,
    ("chumpy.ch", "Ch"): _CH,
    ("chumpy.reordering", "Select"): _SELECT,
    ("_codecs", "encode"): _ENCODE,
    **{(module, name): name for module in ("__builtin__", "builtins") for name in (_SET, _OBJECT, _BYTES)},
    **{(module, "_reconstructor"): _REBUILD for module in ("copy_reg", "copyreg")},
    **{
        (f"numpy.{core}.{module}", name): name
        for core in ("core", "_core")
        for module, name in (("multiarray", _RECONSTRUCT), ("multiarray", _SCALAR), ("numeric", _FROM_BUFFER))
    },
    **{
        (f"scipy.sparse.{prefix}{kind}", f"{kind}_{form}"): kind
        for kind in _SPARSE
        for prefix in ("", "_")
        for form in ("matrix", "array")
    },
}  # fmt: skip


# --- the machine -----------------------------------------------------------------------------------------


class _Mark:
    pass


_MARK = _Mark()


class _Machine:
    def __init__(self, raw: bytes):
        self._raw, self._place = raw, 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._left = _ALLOWANCE * len(raw)  # bytes of arrays

    def run(self) -> Any:
        raw, instructions = self._raw, _INSTRUCTIONS
        for _ in range(MOST_STEPS):
            if self._place >= len(raw):
                raise PickledArraysError("it breaks off")
            code = raw[self._place]
            self._place += 1
            if code == ord("."):
                return self._pop()
            step = instructions.get(code)
            if step is None:
                raise PickledArraysError(f"arrays need no instruction {code:#04x} (byte {self._place - 1})")
            step(self)
        raise PickledArraysError(f"it has more than {MOST_STEPS:,} instructions")

    # bytes

    def _take(self, length: int) -> bytes:
        taken = self._raw[self._place : self._place + length]
        if len(taken) < length:
            raise PickledArraysError("it breaks off")
        self._place += length
        return taken

    def _size(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _line(self, longest: int | None = None) -> bytes:
        end = self._raw.find(b"\n", self._place)
        if end < 0:
            raise PickledArraysError("it breaks off")
        if longest is not None and end - self._place > longest:
            raise PickledArraysError("a number or a name is absurdly long")
        line, self._place = self._raw[self._place : end], end + 1
        return line

    def _number(self) -> int:
        return int(self._line(_LONGEST_NUMBER))

    # stack

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PickledArraysError("an instruction lacks its value")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PickledArraysError("an instruction lacks its value")
        return self._stack[-1]

    def _to_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                found = self._stack[place + 1 :]
                del self._stack[place:]
                return found
        raise PickledArraysError("a mark is missing")

    def _remember(self, place: int) -> None:
        self._memo[place] = self._top()

    def _recall(self, place: int) -> None:
        if place not in self._memo:
            raise PickledArraysError("it refers to something that it does not hold")
        self._push(self._memo[place])

    # values

    def _quoted(self) -> None:
        line = self._line().strip()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise PickledArraysError("a text has no quotes")
        self._push(codecs.escape_decode(line[1:-1])[0].decode("latin1"))

    def _text(self, width: int) -> None:
        self._push(self._take(self._size(width)).decode("utf-8", "surrogatepass"))

    def _old_text(self, width: int) -> None:
        self._push(self._take(self._size(width)).decode("latin1"))

    def _integer_line(self) -> None:
        line = self._line(_LONGEST_NUMBER)
        self._push(line == b"01" if line in (b"00", b"01") else int(line))

    def _long(self, width: int) -> None:
        length = self._size(width)
        if length > _LONGEST_NUMBER:
            raise PickledArraysError("a number or a name is absurdly long")
        self._push(int.from_bytes(self._take(length), "little", signed=True))

    def _tuple(self, length: int) -> None:
        values = [self._pop() for _ in range(length)]
        self._push(tuple(reversed(values)))

    def _extend(self, values: list[Any]) -> None:
        if type(self._top()) is not list:
            raise PickledArraysError("something is appended to what is no list")
        self._top().extend(values)

    def _set_items(self, values: list[Any]) -> None:
        if type(self._top()) is not dict or len(values) % 2:
            raise PickledArraysError("names are given to what is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) not in (str, int):
                raise PickledArraysError("a dictionary has keys that are neither text nor whole numbers")
            self._top()[key] = value

    def _append(self) -> None:
        self._extend([self._pop()])

    def _set_item(self) -> None:
        value = self._pop()
        self._set_items([self._pop(), value])

    def _appends(self) -> None:
        values = self._to_mark()
        self._extend(values)

    def _sets(self) -> None:
        values = self._to_mark()
        self._set_items(values)

    def _dictionary(self) -> None:
        values = self._to_mark()
        self._push({})
        self._set_items(values)

    # names and objects

    def _name(self, module: str, name: str) -> None:
        kind = _NAMES.get((module, name))
        if kind is None:
            raise ForbiddenNameError(f"{module}.{name}"[:200])
        self._push(_Named(kind))

    def _global(self) -> None:
        module, name = (self._line().decode("latin1") for _ in range(2))
        self._name(module, name)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise PickledArraysError("a name is no text")
        self._name(module, name)

    def _instance(self) -> None:
        arguments = tuple(self._to_mark())
        self._global()
        self._make(self._pop(), arguments)

    def _object(self) -> None:
        maker, *arguments = self._to_mark() or [None]
        self._make(maker, tuple(arguments))

    def _reduce(self) -> None:
        arguments = self._pop()
        self._make(self._pop(), arguments)

    def _make(self, maker: Any, arguments: Any) -> None:
        """What a call of `maker` stands for."""
        if type(maker) is not _Named or type(arguments) is not tuple:
            raise PickledArraysError("something is called that is no name")
        kind = maker.kind
        if kind in (_RECONSTRUCT, _REBUILD):
            # _reconstruct(ndarray, (0,), b"b") and _reconstructor(class, object, None)
            if not arguments or type(arguments[0]) is not _Named:
                raise PickledArraysError("an object has no class")
            kind, arguments = arguments[0].kind, ()
            if kind not in (_ARRAY, _CH, _SELECT, *_SPARSE):
                raise PickledArraysError(f"an object is made of {kind}, which has none")
        if kind == _ENCODE:
            text, encoding = arguments if len(arguments) == 2 else (None, None)
            if type(text) is not str or encoding not in ("latin1", "latin-1"):
                raise PickledArraysError("bytes are written in another way than as latin1")
            self._push(text.encode("latin1"))
        elif kind == _BYTES and not arguments:  # what older protocols have for none
            self._push(b"")
        elif kind == _DTYPE:
            self._push(_Node(_DTYPE, (_dtype_code(arguments),)))
        elif kind == _SCALAR:
            if len(arguments) != 2:
                raise PickledArraysError("a number has no type and bytes")
            self._push(self._array(arguments[0], (), arguments[1], False))
        elif kind == _FROM_BUFFER:
            if len(arguments) != 4:
                raise PickledArraysError("an array has no buffer, type, shape and order")
            data, dtype, shape, order = arguments
            self._push(self._array(dtype, shape, data, order == "F"))
        else:
            self._push(_Node(kind))

    def _build(self) -> None:
        state, node = self._pop(), self._top()
        if type(node) is not _Node or node.state is not None:
            raise PickledArraysError("a state is given to what has none")
        if node.kind == _ARRAY:
            # (version, shape, dtype, whether column by column, bytes); old files have no version
            if type(state) is not tuple or len(state) not in (4, 5):
                raise PickledArraysError("an array has another state than arrays have")
            shape, dtype, by_column, data = state[-4:]
            node.state = self._array(dtype, shape, data, by_column is True or by_column == 1)
        elif node.kind == _DTYPE:
            # (version, byte order, subtype, names, fields, size, alignment, flags)
            if type(state) is not tuple or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
                raise PickledArraysError("a type of numbers has another state than they have")
            if state[2:5] != (None, None, None):
                raise PickledArraysError("an array holds records, where plain numbers belong")
            node.state = state[1]
        elif type(state) is dict:
            node.state = state
        else:
            raise PickledArraysError("an object has a state that is no dictionary")

    def _array(self, dtype: Any, shape: Any, data: Any, by_column: bool) -> np.ndarray:
        if type(dtype) is not _Node or dtype.kind != _DTYPE:
            raise PickledArraysError("an array has no type")
        kind = np.dtype(dtype.arguments[0])
        kind = kind.newbyteorder(dtype.state) if dtype.state in ("<", ">") else kind
        if type(shape) is not tuple or len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
            raise PickledArraysError("an array has a shape that none has")
        if type(data) is str:  # as Python 2 wrote bytes
            data = data.encode("latin1")
        if type(data) is not bytes:
            raise PickledArraysError("an array holds objects, where plain numbers belong")
        length = math.prod(shape) * kind.itemsize
        self._left -= length
        if length != len(data) or self._left < 0:
            raise PickledArraysError("an array's shape and its bytes do not agree")
        return np.frombuffer(data, kind).reshape(shape, order="F" if by_column else "C")


def _dtype_code(arguments: tuple) -> str:
    code = arguments[0] if arguments else None
    if type(code) is bytes:
        code = code.decode("latin1")
    if type(code) is not str or not _PLAIN.fullmatch(code):
        shown = code[:20] if type(code) is str else "something else"
        raise PickledArraysError(f"an array holds {shown}, where plain numbers belong")
    return code


def _instructions() -> dict[int, Callable[[_Machine], None]]:
    """By opcode; see Python's `pickletools` for what each does."""
    m = _Machine
    table: dict[bytes, Callable[[_Machine], None]] = {
        b"\x80": lambda s: s._take(1),  # protocol
        b"\x95": lambda s: s._take(8),  # length of a frame
        b"(": lambda s: s._push(_MARK),
        b"0": lambda s: s._stack.pop() if s._stack else s._pop(),
        b"1": lambda s: s._to_mark(),
        b"N": lambda s: s._push(None),
        b"\x88": lambda s: s._push(True),
        b"\x89": lambda s: s._push(False),
        b"I": m._integer_line,
        b"L": lambda s: s._push(int(s._line(_LONGEST_NUMBER).rstrip(b"L"))),
        b"F": lambda s: s._push(float(s._line(_LONGEST_NUMBER))),
        b"J": lambda s: s._push(int.from_bytes(s._take(4), "little", signed=True)),
        b"K": lambda s: s._push(s._size(1)),
        b"M": lambda s: s._push(s._size(2)),
        b"G": lambda s: s._push(struct.unpack(">d", s._take(8))[0]),
        b"\x8a": lambda s: s._long(1),
        b"\x8b": lambda s: s._long(4),
        b"S": m._quoted,
        b"T": lambda s: s._old_text(4),
        b"U": lambda s: s._old_text(1),
        b"V": lambda s: s._push(s._line().decode("raw-unicode-escape")),
        b"X": lambda s: s._text(4),
        b"\x8c": lambda s: s._text(1),
        b"\x8d": lambda s: s._text(8),
        b"B": lambda s: s._push(s._take(s._size(4))),
        b"C": lambda s: s._push(s._take(s._size(1))),
        b"\x8e": lambda s: s._push(s._take(s._size(8))),
        b"\x96": lambda s: s._push(s._take(s._size(8))),  # a bytearray: only its bytes are wanted
        b")": lambda s: s._push(()),
        b"\x85": lambda s: s._tuple(1),
        b"\x86": lambda s: s._tuple(2),
        b"\x87": lambda s: s._tuple(3),
        b"t": lambda s: s._push(tuple(s._to_mark())),
        b"]": lambda s: s._push([]),
        b"l": lambda s: s._push(s._to_mark()),
        b"a": m._append,
        b"e": m._appends,
        b"}": lambda s: s._push({}),
        b"d": m._dictionary,
        b"s": m._set_item,
        b"u": m._sets,
        # A set is a list here: nothing of it is wanted, and nothing is hashed.
        b"\x8f": lambda s: s._push([]),
        b"\x90": m._appends,
        b"\x91": lambda s: s._push(s._to_mark()),
        b"p": lambda s: s._remember(s._number()),
        b"q": lambda s: s._remember(s._size(1)),
        b"r": lambda s: s._remember(s._size(4)),
        b"\x94": lambda s: s._remember(len(s._memo)),
        b"g": lambda s: s._recall(s._number()),
        b"h": lambda s: s._recall(s._size(1)),
        b"j": lambda s: s._recall(s._size(4)),
        b"c": m._global,
        b"\x93": m._stack_global,
        b"i": m._instance,
        b"o": m._object,
        b"R": m._reduce,
        b"\x81": m._reduce,  # cls.__new__(cls, *arguments)
        b"b": m._build,
    }
    return {code[0]: step for code, step in table.items()}


_INSTRUCTIONS = _instructions()


# --- arrays of what was read -----------------------------------------------------------------------------


def read_pickle(raw: bytes) -> dict[str, Any]:
    """The dictionary that a pickle holds, for `array_of`.

    Raises ForbiddenNameError where it names anything but arrays, sparse matrices and chumpy's objects;
    PickledArraysError where it is not whole, or no dictionary.
    """
    try:
        content = _Machine(raw).run()
    except PickledArraysError:
        raise
    except (ValueError, IndexError, OverflowError, TypeError, struct.error) as error:
        raise PickledArraysError(f"a value is damaged ({type(error).__name__})") from None
    if type(content) is not dict:
        raise PickledArraysError(f"it holds {_kind(content)}, no dictionary")
    return {name: value for name, value in content.items() if type(name) is str}


def array_of(value: Any) -> np.ndarray:
    """The plain array that a value of `read_pickle` stands for; a copy.

    Raises PickledArraysError where it stands for none.
    """
    return np.array(_array_of(value, 0))


def _array_of(value: Any, depth: int) -> np.ndarray:
    if depth > _DEEPEST:
        raise PickledArraysError("chumpy objects stand around each other without end")
    if isinstance(value, np.ndarray):
        return value
    if type(value) is not _Node or value.state is None:
        raise PickledArraysError(f"{_kind(value)} stands where an array belongs")
    state = value.state
    if value.kind == _ARRAY:
        return state
    if value.kind == _CH:
        return _array_of(_part(state, "x"), depth + 1)
    if value.kind == _SELECT:
        source = _array_of(_part(state, "a"), depth + 1).reshape(-1)
        chosen = _indices(_array_of(_part(state, "idxs"), depth + 1), len(source))
        return source[chosen].reshape(_shape(_part(state, "preferred_shape"), chosen.size))
    if value.kind in _SPARSE:
        return _dense(value.kind, state, depth)
    raise PickledArraysError(f"{_kind(value)} stands where an array belongs")


def _dense(kind: str, state: dict, depth: int) -> np.ndarray:
    """A sparse matrix, written out."""
    shape = _shape(state.get("_shape", state.get("shape")), None)
    if len(shape) != 2 or math.prod(shape) > _LARGEST_DENSE:
        raise PickledArraysError("a sparse matrix has a shape that no hand model needs")
    data = _array_of(_part(state, "data"), depth + 1)
    if kind == "coo":
        coords = state.get("coords")
        if type(coords) is not tuple or len(coords) != 2:
            coords = state.get("row"), state.get("col")
        row, column = (_array_of(places, depth + 1) for places in coords)
    else:
        inner = _array_of(_part(state, "indices"), depth + 1)
        starts = _array_of(_part(state, "indptr"), depth + 1)
        lines = shape[1] if kind == "csc" else shape[0]
        starts = _indices(starts, inner.size + 1)
        whole = starts.shape == (lines + 1,) and starts[0] == 0 and starts[-1] == inner.size
        if not whole or (np.diff(starts) < 0).any():
            raise PickledArraysError("a sparse matrix is damaged")
        outer = np.repeat(np.arange(lines), np.diff(starts))
        row, column = (inner, outer) if kind == "csc" else (outer, inner)
    row, column = _indices(row, shape[0]), _indices(column, shape[1])
    if not data.ndim == row.ndim == column.ndim == 1 or not data.size == row.size == column.size:
        raise PickledArraysError("a sparse matrix is damaged")
    dense = np.zeros(shape, data.dtype if data.dtype.kind == "f" else np.float64)
    np.add.at(dense, (row, column), data)  # entries that stand there twice are added
    return dense


def _part(state: dict, name: str) -> Any:
    if name not in state:
        raise PickledArraysError(f"an object lacks its {name}")
    return state[name]


def _indices(array: np.ndarray, count: int) -> np.ndarray:
    """Whole numbers that are places of `count` things."""
    if array.dtype.kind not in "iu" or (array.size and not 0 <= int(array.min()) <= int(array.max()) < count):
        raise PickledArraysError("an object names places that its array does not have")
    return array.astype(np.int64)


def _shape(given: Any, size: int | None) -> tuple[int, ...]:
    shape = []
    for n in given if type(given) in (tuple, list) and len(given) <= 8 else [None]:
        if isinstance(n, np.ndarray) and n.shape == () and n.dtype.kind in "iu":  # one of NumPy's scalars
            n = int(n)
        if type(n) is not int or n < 0:
            raise PickledArraysError("an object has a shape that none has")
        shape.append(n)
    if size is not None and math.prod(shape) != size:
        raise PickledArraysError("an object's shape and its numbers do not agree")
    return tuple(shape)


def _kind(value: Any) -> str:
    name = value.kind if isinstance(value, _Node | _Named) else type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"

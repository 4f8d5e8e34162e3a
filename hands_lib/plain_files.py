"""Files that somebody else wrote: opened only where they are plain files, and read only up to a size.

A pipe or a device in the place of a file would let a reader wait, or read, for ever; a file may promise more
than it holds. What is wrong with a file as such is an OSError whose `strerror` says it; what is wrong with
its content is a ContentError without the file's name: the caller knows what it is for, and says so.
"""

import ast
import errno
import math
import os
import stat
import struct
import zipfile
from io import BufferedIOBase, BufferedReader, BytesIO
from pathlib import Path

import numpy as np

LONGEST_REASON = 300
"""Characters of what is said about a file's content: it may come from the file."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_SURELY_SMALL, _DENSEST = 64 << 20, 20  # arrays above this size may not be packed more tightly than this
_LARGEST_DIRECTORY = 1 << 20  # bytes of an archive's list of contents
_LONGEST_HEADER = 10_000  # bytes of an .npy header


class ContentError(ValueError):
    """What is wrong with a file's content; a short sentence without the file's name."""


def cut(text: object, longest: int = LONGEST_REASON) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join(str(text)[: 4 * longest].split())
    return line if len(line) <= longest else f"{line[:longest]}..."


def open_plain(path: str | Path, largest: int | None = None) -> BufferedReader:
    """Opens a plain file for reading.

    largest  bytes; None for any size

    Raises OSError where it cannot be opened, is a folder, a pipe or a device, or is larger.
    """
    try:
        # A pipe would otherwise let us wait for somebody who writes.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError:  # a null character
        raise OSError(errno.EINVAL, "there can be no such name", cut(path)) from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            kind = _KINDS.get(stat.S_IFMT(about.st_mode), "something else")
            raise OSError(errno.EINVAL, f"it is {kind}, no file", str(path))
        if largest is not None and about.st_size > largest:
            reason = f"it has {about.st_size:,} bytes, more than the {largest:,} that such a file may have"
            raise OSError(errno.EFBIG, reason, str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_plain(path: str | Path, largest: int) -> bytes:
    """The bytes of a plain file of at most `largest`. Raises OSError as `open_plain`."""
    with open_plain(path, largest) as file:
        size = os.fstat(file.fileno()).st_size
        raw = file.read(size + 1)
    if len(raw) > size:  # also of those that the system makes up while they are read
        raise OSError(errno.EFBIG, f"it has more than the {size:,} bytes that it had at first", str(path))
    return raw


def read_npz(raw: bytes, largest: int) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name: numbers and text, without Python objects.

    What it declares is compared with what it holds before memory is taken for it. Raises ContentError where
    it is not whole, declares more than `largest` bytes of arrays, or holds anything else.
    """
    try:
        _check_directory(raw)
        with zipfile.ZipFile(BytesIO(raw)) as archive:
            infos = archive.infolist()
            total = sum(info.file_size for info in infos)
            if total > largest or total > max(_SURELY_SMALL, _DENSEST * len(raw)):
                raise ContentError(
                    f"declares {total:,} bytes of arrays in a file of {len(raw):,}: save it with "
                    f"numpy.savez, at most {largest:,} bytes"
                )
            arrays: dict[str, np.ndarray] = {}
            for info in infos:
                name = info.filename.removesuffix(".npy")
                shown = cut(name, 60)
                if name in arrays:
                    raise ContentError(f"{shown} stands there twice: keep one of the two")
                with archive.open(info) as stream:
                    arrays[name] = _read_npy(shown, stream, info.file_size)
            return arrays
    except ContentError:
        raise
    except Exception as error:  # zip, zlib, struct and number formats each have errors of their own
        reason = cut(f"{type(error).__name__}: {error}")
        raise ContentError(f"is not a whole .npz file ({reason}): save or copy it again") from None


def read_npy(raw: bytes) -> np.ndarray:
    """The array of an .npy; raises ContentError as `read_npz`."""
    try:
        return _read_npy("it", BytesIO(raw), len(raw))
    except ContentError:
        raise
    except Exception as error:
        reason = cut(f"{type(error).__name__}: {error}")
        raise ContentError(f"is not a whole .npy file of numbers ({reason}): get it again") from None


def _check_directory(raw: bytes) -> None:
    """zipfile makes an object of everything that an archive lists before it says how many there are."""
    tail = raw[-(22 + (1 << 16)) :]
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) < place + 22:
        return  # no archive: zipfile says so
    (size,) = struct.unpack_from("<I", tail, place + 12)
    if size > _LARGEST_DIRECTORY or tail[max(0, place - 20) : place].startswith(b"PK\x06\x07"):
        raise ContentError("lists far more contents than named arrays: save it with numpy.savez")


def _read_npy(where: str, stream: BufferedIOBase, size: int) -> np.ndarray:
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ContentError(f"{where} is of a version of .npy that plain arrays do not need: save it again")
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > _LONGEST_HEADER:
        raise ContentError(f"{where} has a header of {length:,} bytes: save it again")
    header = ast.literal_eval(stream.read(length).decode("latin1").strip())
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ContentError(f"{where} has no header of .npy: save it again")
    shape, descr = header["shape"], header["descr"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ContentError(f"{where} declares shape {cut(shape, 60)}, which no array has: save it again")
    # What numpy writes for Python objects is "|O", for records a list.
    if not isinstance(descr, str) or np.dtype(descr).kind not in "fiubUS":
        found = "objects" if descr == "|O" else cut(descr, 60)
        raise ContentError(
            f"{where} holds {found}, where numbers or text belong: save it without Python objects, "
            f"a sparse matrix as its .toarray()"
        )
    dtype = np.dtype(descr)
    length = math.prod(shape) * dtype.itemsize
    if length != size - stream.tell():
        raise ContentError(
            f"{where} declares shape {cut(shape, 60)}, but its data is not that long: save it again"
        )
    data = stream.read(length)
    if len(data) != length or stream.read(1):  # of an archive the last read compares the checksum
        raise ContentError(f"{where} breaks off: copy the file again")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if header["fortran_order"] is True else "C")

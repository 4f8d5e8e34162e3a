"""Oracles: NumPy's own files; what the system says about files that are none."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hands_lib.plain_files import ContentError, cut, open_plain, read_npy, read_npz, read_plain


def stored(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_arrays_are_those_that_numpy_saved():
    given = {
        "rows": np.arange(6.0).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        "text": np.array(["a", "é"]),
        "flag": np.array(True),
        "nothing": np.zeros((0, 3), np.float16),
    }
    found = read_npz(stored(**given), 1 << 20)
    assert list(found) == list(given)
    for name, array in given.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    stream = io.BytesIO()
    np.save(stream, given["columns"])
    assert np.array_equal(read_npy(stream.getvalue()), given["columns"])


def test_what_is_declared_is_bounded():
    with pytest.raises(ContentError, match=r"declares 8,128 bytes of arrays .* at most 8,000 bytes"):
        read_npz(stored(a=np.zeros(1000)), 8000)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for number in range(30_000):
            file.writestr(f"{number}.npy", b"")
    with pytest.raises(ContentError, match="lists far more contents"):
        read_npz(stream.getvalue(), 1 << 30)


def test_a_flipped_bit_of_an_archive_is_found():
    raw = bytearray(stored(a=np.arange(1000.0)))
    raw[len(raw) // 2] ^= 1
    with pytest.raises(ContentError, match=r"is not a whole \.npz file \(BadZipFile: Bad CRC-32"):
        read_npz(bytes(raw), 1 << 20)


@pytest.mark.parametrize("path", ["/dev/zero", "/proc/self/status", "/", "a\0b", "n" * 300])
def test_what_is_no_plain_file_is_an_os_error(path):
    with pytest.raises(OSError, match="no file|at first|no such name|too long") as caught:
        read_plain(path, 1 << 20)
    assert caught.value.strerror
    assert caught.value.filename


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe, no file"):
        open_plain(tmp_path / "pipe")


def test_files_have_a_largest_size(tmp_path):
    path = Path(tmp_path / "a")
    path.write_bytes(b"x" * 100)
    assert read_plain(path, 100) == b"x" * 100
    with pytest.raises(OSError, match="it has 100 bytes, more than the 99"):
        read_plain(path, 99)


def test_texts_are_cut():
    assert cut("a\n b", 10) == "a b"
    assert cut("x" * 10**7) == "x" * 300 + "..."

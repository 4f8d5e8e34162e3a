"""Pickles as MANO's authors wrote them, around any arrays: chumpy's names, Python 2's spellings."""

import io
import pickle
import struct
import sys
import types

import numpy as np
from scipy.sparse import csc_matrix

_NEW = {
    b"numpy._core.multiarray": b"numpy.core.multiarray",
    b"scipy.sparse._csc": b"scipy.sparse.csc",
    b"builtins": b"__builtin__",
}


class Ch:
    """Stands for chumpy.ch.Ch while a pickle is written."""

    def __init__(self, x):
        self.x = x


class Select:
    """Stands for chumpy.reordering.Select."""

    def __init__(self, a, idxs, preferred_shape):
        self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape


Ch.__module__, Select.__module__ = "chumpy.ch", "chumpy.reordering"


def official_pickle(arrays: dict[str, np.ndarray], protocol: int = 2, spelling: str = "python 2") -> bytes:
    """The arrays as a published file holds them: sparse regressor, shape directions selected from twenty."""
    twenty = np.concatenate([arrays["shapedirs"], np.zeros_like(arrays["shapedirs"])], axis=-1)
    chosen = np.arange(twenty.size).reshape(twenty.shape)[:, :, :10].reshape(-1)
    content = dict(arrays)
    content["shapedirs"] = Select(Ch(twenty), chosen, (778, 3, 10))
    content["J_regressor"] = csc_matrix(arrays["J_regressor"])
    content["f"] = arrays["f"].astype(np.uint32)
    tree = arrays["kintree_table"].astype(np.int64)
    tree[0, 0] = 2**32 - 1
    content["kintree_table"] = tree.astype(np.uint32)
    content |= {"bs_style": "lbs", "bs_type": "lrotmin", "J": np.zeros((16, 3)), "hands_coeffs": np.eye(45)}
    modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    modules["chumpy.ch"].Ch, modules["chumpy.reordering"].Select = Ch, Select
    sys.modules.update(modules)
    try:
        buffer = io.BytesIO()
        pickle.Pickler(buffer, protocol=protocol).dump(content)
    finally:
        for name in modules:
            del sys.modules[name]
    raw = buffer.getvalue()
    if spelling == "python 2":
        for new, old in _NEW.items():
            raw = raw.replace(b"c" + new + b"\n", b"c" + old + b"\n")
    return raw


def calling(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls `module.name(argument)` when an ordinary unpickler reads it."""
    text = argument.encode()
    return (
        f"\x80\x02c{module}\n{name}\n".encode("latin1")
        + b"X"
        + struct.pack("<I", len(text))
        + text
        + b"\x85R."
    )

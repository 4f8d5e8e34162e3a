"""Pickles that ask for memory, time or code; each should be refused before it gets any."""

import pickle
import struct

import numpy as np
from scipy.sparse import csc_matrix


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _array(dtype: bytes, shape: bytes, data: bytes) -> bytes:
    """An array as NumPy's own pickles write it: dtype(code), shape and data are instructions."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
        b"(K\x01"
        + shape
        + b"cnumpy\ndtype\n"
        + dtype
        + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89" + data + b"tb"
    )


def _named(value: bytes) -> bytes:
    """A dictionary with one entry that a MANO model has."""
    return b"\x80\x02}" + _text("weights") + value + b"s."


def hostile_pickles() -> dict[str, bytes]:
    pointers = _array(_text("O8"), b"K\x04\x85", b"B" + struct.pack("<I", 32) + b"\x41" * 32)
    sparse = csc_matrix(np.eye(3))
    raw = pickle.dumps({"J_regressor": sparse}, protocol=2)
    nested = b"\x80\x02)" + b"q\x00h\x00\x86" * 60
    long_name = b"c" + b"m" * 10_000_000 + b"\nx\n."
    select = (
        b"cchumpy.reordering\nSelect\n)\x81}" + _text("a") + b"cchumpy.ch\nCh\n)\x81}" + _text("x")
        + _array(_text("f8"), b"J\x00\xca\x9a\x3b\x85", b"C\x08" + b"\0" * 8) + b"sbs"
        + _text("idxs") + b"NsN" + b"Nsb"
    )  # fmt: skip
    return {
        "an array of pointers": _named(pointers),
        "a set of an array of pointers": _named(b"c__builtin__\nset\n]" + pointers + b"a\x85R"),
        "a matrix of an array of pointers": raw.replace(_text("f8"), _text("O8")),
        "a state of a class": b"\x80\x02cscipy.sparse.csc\ncsc_matrix\n}"
        + _text("toarray")
        + b"c__builtin__\nset\nsb.",
        "a state of chumpy's class": b"\x80\x02cchumpy.ch\nCh\n}" + _text("x") + b"Nsb.",
        "place 2^32 - 1 of the memo": b"\x80\x02]r\xff\xff\xff\xff.",
        "place 10^12 of the memo": b"]p1000000000000\n.",
        "a place of a million digits": b"]p" + b"9" * 1_000_000 + b"\n.",
        "a whole number of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
        "a whole number of 2^31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "2^40 bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"a.",
        "a text of 2^40 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"a.",
        "a frame of 2^60 bytes": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",
        "an array of 16 GB": _named(_array(_text("f8"), b"J\x00\x00\x00\x7f\x85", b"C\x08" + b"\0" * 8)),
        "a negative shape": _named(_array(_text("f8"), b"J\xff\xff\xff\xff\x85", b"C\x08" + b"\0" * 8)),
        "an array of records": _named(_array(_text("V8"), b"K\x01\x85", b"C\x08" + b"\0" * 8)),
        "entries of an array that is not there": _named(select),
        "tuples of tuples, 2^60 in all": nested + b".",
        "tuples of tuples as a key": b"\x80\x02}" + nested[2:] + b"Ns.",
        "tuples of tuples in a set": _named(b"c__builtin__\nset\n]" + nested[2:] + b"a\x85R"),
        "tuples of tuples as a state": b"\x80\x02cchumpy.ch\nCh\n)\x81" + nested[2:] + b"b.",
        "tuples of tuples as an argument": b"\x80\x02cchumpy.ch\nCh\n" + nested[2:] + b"R.",
        "a million lists": b"(" + b"]" * 2_000_000 + b"t.",
        "a million lists in each other": b"]" * 2_000_000 + b"a" * 1_999_999 + b".",
        "a million marks": b"(" * 2_000_000 + b".",
        "a name of 10 MB": long_name,
        "a persistent object of 10 MB": b"P" + b"p" * 10_000_000 + b"\n.",
        "a persistent object": b"Nb" + b"Q.",
        "an extension": b"\x80\x02\x82\x01.",
        "a buffer outside of the file": b"\x80\x05\x97.",
        "a list that holds itself": b"]q\x00h\x00a.",
        "a chumpy array that is itself": _named(b"cchumpy.ch\nCh\n)\x81q\x01}" + _text("x") + b"h\x01sb"),
        "an array given two states": _named(
            _array(_text("f8"), b"K\x01\x85", b"C\x08" + b"\0" * 8) + b"(K\x01K\x01\x85NNNtb"
        ),
        "a call of an array": b"\x80\x02cnumpy\nndarray\nJ\x00\x00\x00\x7f\x85\x85R.",
        "a call of a number": b"K\x01)R.",
        "code in a text": b"cos\nsystem\n(S'true'\ntR.",
    }  # fmt: skip

"""Oracle: Python's own json on the whole text."""

import json
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.data import json_stream
from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.json_stream import entries, numbers, read_json, scalar_types

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


def walk(value, keys, depth):
    """What `entries` promises, from the whole value."""
    if len(keys) == depth or not isinstance(value, dict | list):
        yield keys, value
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from walk(inner, (*keys, key), depth)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("json") / "file.json"


@settings(max_examples=100)
@given(
    value=VALUES,
    depth=st.integers(0, 3),
    window=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_entries_are_those_of_the_whole_text(path, value, depth, window, indent, ascii_only):
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_WINDOW", window)
        assert list(entries(path, depth)) == list(walk(value, (), depth))


@settings(max_examples=100)
@given(value=VALUES.filter(lambda value: isinstance(value, dict | list)), data=st.data())
def test_a_file_that_breaks_off_is_an_error_wherever_it_does(path, value, data):
    text = json.dumps(value)
    path.write_text(text[: data.draw(st.integers(0, len(text) - 1))], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_WINDOW", data.draw(st.integers(1, 40)))
        with pytest.raises(DataError, match="file.json is not complete JSON"):
            list(entries(path, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1} x', "something follows its end"),
        ('{"a": 1,}', "a key is missing"),
        ('{"a" 1}', ": is missing"),
        ("[1 2]", ", or ] is missing"),
        ('{"a": 1, "a": 2}', "'a' stands there twice"),
        ('{"a": {"b": {"c": 1, "c": 2}}}', "'c' stands there twice"),
        ("[" * 100_000, "is not JSON text"),
        ('{"a": ' + "9" * 5000 + "}", "is not complete JSON"),
        ('{"a": nul}', "character 6"),
    ],
)
def test_other_faults_name_file_and_place(path, text, message):
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        list(entries(path, 2, json_stream.unique_keys(path)))
    assert str(path) in str(caught.value)


def test_an_entry_without_end_is_refused_before_it_fills_the_memory(path, monkeypatch):
    monkeypatch.setattr(json_stream, "_LONGEST_ENTRY", 10_000)
    monkeypatch.setattr(json_stream, "_WINDOW", 1000)
    path.write_text('{"a": "' + "x" * 1_000_000)
    with pytest.raises(DataError, match="Unterminated string"):
        list(entries(path, 1))


def test_a_whole_file_ends_where_its_value_ends(path):
    path.write_text('{"a": [1]} ')
    assert read_json(path) == {"a": [1]}
    path.write_text('{"a": [1]} {"a": [2]}')
    with pytest.raises(DataError, match="something follows its end"):
        read_json(path)


def test_millions_of_empty_parts_are_refused_before_they_are_made(path):
    path.write_text("[" + "[]," * 3_000_000 + "[]]")
    with pytest.raises(DataError, match="2,000,000 lists and objects"):
        read_json(path)


@pytest.mark.parametrize("part", ["[]", "{}"])
def test_many_empty_parts_in_an_object_are_refused_before_they_are_made(path, part, monkeypatch):
    for name, small in (("_MOST_PARTS", 20_000), ("_LONGEST_ENTRY", 1 << 14), ("_WINDOW", 1 << 12)):
        monkeypatch.setattr(json_stream, name, small)
    path.write_text('{"a": [' + f"{part}," * 30_000 + part + "]}")
    with pytest.raises(DataError, match="20,000 lists and objects"):
        read_json(path)
    path.write_text('{"a": [' + f"{part}," * 10_000 + part + "]}")
    assert len(read_json(path)["a"]) == 10_001


@pytest.mark.parametrize("part", ["[]", "{}", "0", '"a"'])
def test_millions_of_entries_of_next_to_nothing_are_refused(path, part):
    path.write_text("[[" + f"{part}," * 200_000 + f"{part}]]")
    with pytest.raises(DataError, match="100,000 entries of next to nothing"):
        list(entries(path, 2))


def test_entries_of_something_may_be_more(path):
    path.write_text(json.dumps([[{"number": n, "text": "x" * 40} for n in range(120_000)]]))
    assert sum(1 for _ in entries(path, 2)) == 120_000


def test_a_file_says_whether_it_is_an_object(path):
    path.write_text("[1]")
    assert list(entries(path, 1, top="[")) == [((0,), 1)]
    with pytest.raises(DataError, match="is not an object"):
        list(entries(path, 1, top="{"))


def test_keys_have_a_length(path):
    path.write_text(json.dumps({"x" * 1000: 1}))
    with pytest.raises(DataError, match="a key has 1,000 characters"):
        list(entries(path, 1))


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_said_at_once(tmp_path, kind):
    path = tmp_path / "a.json"
    {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda p: os.symlink("/dev/zero", p)}[kind](path)
    for read in (read_json, lambda path: list(entries(path))):
        with pytest.raises(MissingData, match=f"it is a {kind}, no file"):
            read(path)


@pytest.mark.parametrize(
    ("value", "types"),
    [
        ([[1, 2.5], []], {int, float}),
        ([[True], ["a", None]], {bool, str, type(None)}),
        ({}, {dict}),
        ([], set()),
    ],
)
def test_types_of_what_nested_lists_hold(value, types):
    assert scalar_types(value) == types


def test_numbers_are_numbers_alone():
    assert numbers("a", [[1, 2.5]], (1, 2)).tolist() == [[1, 2.5]]
    assert np.isnan(numbers("a", [None], (1,)))
    for value in (["1"], [True], [[1], 2], ["nan"], [{}], 10**400):
        with pytest.raises(DataError, match="a is not an array of numbers"):
            numbers("a", value, (1,))


def test_a_missing_file_is_named(path):
    with pytest.raises(MissingData, match="nowhere"):
        read_json(path.parent / "nowhere")


def test_memory_is_a_window_not_the_file(path, monkeypatch):
    monkeypatch.setattr(json_stream, "_WINDOW", 1 << 14)
    entry = json.dumps({"numbers": list(range(100))})
    path.write_text("[" + ", ".join([entry] * 3000) + "]")
    tracemalloc.start()
    try:
        count = sum(1 for _ in entries(path, 1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 3000
    assert path.stat().st_size > 1e6
    assert peak < 0.3e6

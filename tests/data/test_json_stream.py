"""Oracle: Python's own json on the whole text."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands_lib.data import json_stream
from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.json_stream import entries, read_json

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

"""Values as people write them: read by the type that is wanted, in bounded time, as JSON and nothing else."""

import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hands_lib.plain_yaml import DEEPEST, LONGEST, read_yaml
from hands_lib.reproduce.values import as_read, example, fit, is_json, shown, wanted

TEXTS = [
    "12:30",
    "no",
    "2024",
    "/tmp/x/run 2",
    "nan",
    "1e3",
    "true",
    "null",
    "~",
    "0x10",
    "2026-01-01",
    "",
    "=",
]
NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]))  # YAML breaks lines at Zl
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS, lambda own: st.lists(own) | st.dictionaries(WORDS, own)
)


@pytest.mark.parametrize("text", TEXTS)
def test_text_stays_text(text: str) -> None:
    assert fit(read_yaml(text), "default") == text
    assert fit(read_yaml(f"[{text or repr(text)}, b]"), ["default"]) == [text, "b"]
    assert type(fit(read_yaml(text), "default")) is str


@pytest.mark.parametrize(
    ("text", "like", "value"),
    [
        ("3", 0, 3),
        ("-3", 0, -3),
        ("010", 0, 10),  # YAML 1.1 says 8
        ("3", 0.5, 3.0),
        ("-1e-3", 0.5, -0.001),
        ("1e3", 0.5, 1000.0),
        (".5", 0.5, 0.5),
        ("true", False, True),
        ("False", True, False),
        ("[1, 2]", [0.5], [1.0, 2.0]),
        ("[1, 2.5]", [0, 0.5], [1.0, 2.5]),
        ("[]", [1], []),
        ("- 1\n- 2", [1], [1, 2]),
        ("[[1], []]", [[3, 4]], [[1], []]),
        ("{a: no, b: '1'}", {}, {"a": "no", "b": "1"}),
        ("{a: 1}", {"x": 0.5}, {"a": 1.0}),
        (
            "{full: memory, rate: 1e-3, on: true, off: null}",
            None,
            {"full": "memory", "rate": 0.001, "on": True, "off": None},
        ),
        ("[1, 'a']", [], [1, "a"]),
        ("'3'", None, "3"),
    ],
)
def test_values_have_the_type_of_the_default(text: str, like: object, value: object) -> None:
    found = fit(read_yaml(text), like)
    assert found == value
    assert repr(found) == repr(value)  # 1 is not 1.0, nor is true


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ("3.5", 0),
        ("3.0", 0),
        ("1e3", 0),
        ("nan", 0),
        ("2026-01-01", 0),
        ("2026-13-45", 0),
        ("true", 0),
        ("no", 0),
        ("12:30", 0),
        ("", 0),
        ("[3]", 0),
        ("{a: 3}", 0),
        (str(2**63), 0),
        ("9" * 5000, 0),
        ("nan", 0.5),
        (".nan", 0.5),
        ("-inf", 0.5),
        ("1e999", 0.5),
        ("text", 0.5),
        ("1", True),
        ("", True),
        ("32", [1]),
        ("[1, a]", [1]),
        ("[1, 2.5]", [1]),
        ("[[a]]", ["a"]),
        ("[{a: 1}]", ["a"]),
        ("{a: 1}", [1]),
        ("[a]", "text"),
        ("[a]", {}),
        ("[a, NaN]", None),
        ("1e999", None),
    ],
)
def test_another_type_is_refused(text: str, like: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        fit(read_yaml(text), like)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!binary aGFuZHM=", "line 1: has a tag, tag:yaml.org,2002:binary"),
        ("!!set {a, b}", "has a tag"),
        ("a: !!omap [b: 1]", "has a tag"),
        ("!!int x", "has a tag"),
        ("!!python/object/apply:os.system [ls]", "has a tag"),
        ("! 3", "has a tag"),
        (BOMB, r"line 2: has an alias, \*a"),
        ("&a [*a]", "has an alias"),
        ("a: &a {x: 1}\nb:\n  <<: *a", "line 3: has an alias"),
        ("[" * (DEEPEST + 1), f"more than {DEEPEST} lists"),
        ("[" * 50_000, f"more than {DEEPEST} lists"),
        ("{a: " * 1000, f"more than {DEEPEST} lists"),
        ("- " * 1000, f"more than {DEEPEST} lists"),
        ("x" * (LONGEST + 1), f"has more than {LONGEST:,} characters"),
        ("a: 1\na: 2", "line 2: has the name 'a' twice"),
        ("{[a]: 1}", "a list where a name belongs"),
        ("a: 1\n---\nb: 2", "more than one YAML document"),
        ("[1, 2", "is not YAML"),
        ("@x", "is not YAML"),
        ("%x", "is not YAML"),
        ("\x00", "is not YAML"),
    ],
)
def test_what_is_not_read(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@given(VALUES)
def test_a_value_comes_back(value: object) -> None:
    """From a program, and as Python's json writes it, which knows nothing of this reader."""
    assert fit(as_read(value), None) == value
    assert fit(read_yaml(json.dumps(value, ensure_ascii=False)), None) == value


@given(
    st.lists(st.lists(st.integers(-(2**62), 2**62))) | st.lists(WORDS) | st.dictionaries(WORDS, st.booleans())
)
def test_a_value_as_pyyaml_writes_it(value: object) -> None:
    """Whatever JupyterLab's widgets hand on: text is text even if PyYAML puts no quotes around 1e3."""
    found = fit(read_yaml(yaml.safe_dump(value, allow_unicode=True)), value)
    assert found == value


@given(VALUES)
def test_examples_are_what_they_are_an_example_of(value: object) -> None:
    assert isinstance(value, str) or is_json(fit(read_yaml(example(value)), None))
    assert wanted(value) != ""


@pytest.mark.parametrize("value", [(1, 2), {1}, b"x", 1j, math.nan, {1: 2}, object()])
def test_not_json(value: object) -> None:
    assert not is_json(value)


def test_a_wrong_value_is_shown_on_one_short_line() -> None:
    assert shown("a\nb") == r"'a\nb'"
    assert shown(read_yaml("3")) == "3"
    assert len(shown("x" * 10**6)) < 100

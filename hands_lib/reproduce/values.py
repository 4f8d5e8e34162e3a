"""Values that a person writes, in YAML files and after `-p`, read by the type of what they replace.

Text stays text where text is wanted (`12:30`, `no`, `2024`), a number stays a number (`-1e-3`), and nothing
but JSON's types comes out: papermill writes anything else into a chapter as code that runs. The YAML itself
is read by `hands_lib.plain_yaml`.
"""

import json
import math
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from hands_lib.plain_yaml import SHOWN, Plain

INTEGER = 2**63  # whole numbers of a parameter are smaller: PyTorch and NumPy know no larger ones
WORDS = {  # types, one of them and several
    str: ("text", "text"),
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    list: ("a list", "lists"),
    dict: ("names with values", "names with values"),
    type(None): ("a plain value", "plain values"),
}


def as_read(value: Any) -> Any:
    """A value that a program made, as `read_yaml` gives it.

    Raises:
        ValueError: JSON knows no such value.
    """
    if not is_json(value):
        raise ValueError("is no JSON")
    if isinstance(value, list):
        return [as_read(one) for one in value]
    if isinstance(value, dict):
        return {name: as_read(one) for name, one in value.items()}
    return value if isinstance(value, str) else Plain(json.dumps(value))


def fit(value: Any, like: Any) -> Any:
    """What `read_yaml` gave, as the type of `like`: text, bool, int, float, a list of entries of one type, a
    dict; any JSON value for None.

    Raises:
        ValueError: it is of another type, or no number that a computer calculates with.
    """
    if like is None:
        return _json(value)
    if isinstance(like, list) and isinstance(value, list):
        entry = _entry(like)
        return [fit(one, entry) for one in value]
    if isinstance(like, dict) and isinstance(value, dict):
        entry = _entry(like.values())
        return {name: fit(one, entry) for name, one in value.items()}
    if isinstance(like, list | dict) or not isinstance(value, str):
        raise ValueError("another type")
    if isinstance(like, str):
        return str(value)
    if isinstance(like, bool) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    number = float(value) if isinstance(like, float) else int(value)
    if isinstance(like, bool) or not abs(number) < (INTEGER if isinstance(like, int) else math.inf):
        raise ValueError("another type, not finite, or of more than 64 bits")
    return number


def _entry(values: Iterable[Any]) -> Any:
    """A value of the type that all of them have, None where they have none in common."""
    values = list(values)
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        return 0.0
    return values[0] if len(kinds) == 1 else None


def _json(value: Any) -> Any:
    if isinstance(value, list):
        return [_json(one) for one in value]
    if isinstance(value, dict):
        return {name: _json(one) for name, one in value.items()}
    if not isinstance(value, Plain):
        return value
    if value == "":
        return None
    try:
        found = json.loads(value)
    except ValueError:
        return str(value)
    if isinstance(found, float) and not math.isfinite(found):
        raise ValueError("not finite")
    return found


def is_json(value: Any) -> bool:
    """Whether JSON gives the very value back: no tuple, set, bytes, nan, or key that is no text."""
    try:
        return json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError):
        return False


def wanted(like: Any) -> str:
    """The type of `like` in words: `a whole number`, `a list of text`."""
    return f"a list of {WORDS[type(_entry(like))][1]}" if isinstance(like, list) else WORDS[type(like)][0]


def example(like: Any) -> str:
    """A short value of the type of `like`, as one writes it."""
    if isinstance(like, str):
        return like or "text"
    if isinstance(like, list):
        like = like[:2]
    return json.dumps(like, ensure_ascii=False)


def shown(value: Any) -> str:
    """The value on one line, cut where it is long."""
    with suppress(ValueError):
        value = _json(value)
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."

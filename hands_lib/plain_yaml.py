"""YAML that a person writes: lists, names with values, and text; nothing else is built.

Length and depth are bounded before YAML builds anything; aliases and tags are not read (but one tag, where
the caller allows it), and no text becomes a date. What a value means is for the caller to say.
"""

from typing import Any

import yaml

LONGEST = 2**16  # characters of one file or value
DEEPEST = 20  # lists and names inside each other
SHOWN = 60  # characters of a wrong value that a message repeats
_TUPLE = "tag:yaml.org,2002:python/tuple"


class Plain(str):
    """Text without quotes: a number, true, false or null, unless text is wanted."""


def read_yaml(text: str, tuples: bool = False) -> Any:
    """YAML as lists, dicts with text keys, and text; `Plain` where it stands without quotes.

    tuples  whether a list may have the tag `!!python/tuple`, with which PyYAML writes tuples; it is read as
            the list that it is

    Raises:
        ValueError: not YAML, too long or too deep, or it has an alias, a tag or a key twice; says the line.
    """
    if len(text) > LONGEST:
        raise ValueError(f"has more than {LONGEST:,} characters")
    try:
        events = yaml.SafeLoader(text)
        events.get_event()
        if events.check_event(yaml.StreamEndEvent):
            return Plain("")
        events.get_event()
        found = _value(events, 1, tuples)
        events.get_event()
        if not events.check_event(yaml.StreamEndEvent):
            raise ValueError("is more than one YAML document: write one")
        return found
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML ({' '.join(str(error).split())[:300]})") from error


def _value(events: yaml.SafeLoader, depth: int, tuples: bool) -> Any:
    event = events.get_event()
    line = f"line {event.start_mark.line + 1}"
    if depth > DEEPEST:
        raise ValueError(f"{line}: is more than {DEEPEST} lists or names deep")
    if isinstance(event, yaml.AliasEvent):
        raise ValueError(
            f"{line}: has an alias, *{event.anchor[:SHOWN]}: write the value itself, or in quotes"
        )
    a_tuple = tuples and isinstance(event, yaml.SequenceStartEvent) and event.tag == _TUPLE
    if event.tag is not None and not a_tuple:
        raise ValueError(f"{line}: has a tag, {event.tag[:SHOWN]}: write the value without it")
    if isinstance(event, yaml.ScalarEvent):
        return event.value if event.style else Plain(event.value)
    if isinstance(event, yaml.SequenceStartEvent):
        values = []
        while not events.check_event(yaml.SequenceEndEvent):
            values.append(_value(events, depth + 1, tuples))
        events.get_event()
        return values
    names: dict[str, Any] = {}
    while not events.check_event(yaml.MappingEndEvent):
        line = f"line {events.peek_event().start_mark.line + 1}"
        name = _value(events, depth + 1, tuples)
        if not isinstance(name, str):
            raise ValueError(f"{line}: has a list where a name belongs")
        if name in names:
            raise ValueError(f"{line}: has the name {name[:SHOWN]!r} twice: take one out")
        names[str(name)] = _value(events, depth + 1, tuples)
    events.get_event()
    return names

"""What goes wrong with data on disk: every message names the file or the value, and the mend."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from reprlib import Repr
from typing import Any

from hands_lib.plain_files import cut

_REPR = Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80
_REPR.maxlevel, _REPR.maxlist, _REPR.maxdict = 2, 4, 4


class DataError(ValueError):
    """A file is not what its format promises."""


class MissingData(DataError):
    """A file or a folder is not there, or cannot be read."""


def shown(value: Any) -> str:
    """A value from a file for a message: on one line, cut where it is long."""
    return cut(_REPR.repr(value))


@contextmanager
def named_os_errors(what: str | Path) -> Iterator[None]:
    """What the system refuses inside the block (a folder without permission, a name that is too long) becomes
    MissingData, which names the file, else `what`."""
    try:
        yield
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else what
        reason = error.strerror or error
        raise MissingData(
            f"{cut(name)} cannot be read ({reason}): look at its name and its permissions"
        ) from None

"""Where the book stands on disk, and the one error type that a reader of the command line sees."""

import os
import tempfile
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class ProjectError(ValueError):
    """Something a person can mend: the message names the file or the value, and the mend."""


def find_root(start: Path | str | None = None) -> Path:
    """The folder that holds `_toc.yml` and `book/`, looked for from `start` (default: here) upwards.

    Falls back to the checkout that this package is installed from, so that `hands` works from anywhere.

    Raises:
        ProjectError: neither is a checkout of the book.
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in [here, *here.parents, Path(__file__).resolve().parents[2]]:
        if (folder / "_toc.yml").is_file() and (folder / "book").is_dir():
            return folder
    raise ProjectError(f"{here} is not inside a checkout of the book (no _toc.yml beside book/): cd into one")


def nearest(name: str, known: Iterable[str], kind: str) -> ProjectError:
    """The error for an unknown `kind` called `name`, with the nearest known name and all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return ProjectError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names) or 'none'}")


def write_atomically(path: Path, text: str) -> None:
    """Write so that a reader, or a crash, never sees half a file: a temporary neighbour, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp makes it private
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

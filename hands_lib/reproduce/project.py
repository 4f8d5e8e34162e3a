"""Where the book stands on disk, and the one error type that a reader of the command line sees."""

import errno
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

_LONGEST_PREFIX = 40  # characters: a name may have 255 bytes
FOLDERS = ("HANDS_DATA", "HANDS_RESULTS", "HANDS_CACHE")  # environment variables that name a folder


class ProjectError(ValueError):
    """Something a person can mend: the message names the file or the value, and the mend."""


def find_root(start: Path | str | None = None) -> Path:
    """The folder that holds `_toc.yml` and `book/`, looked for from `start` (default: here) upwards.

    Falls back to the checkout that this package is installed from, so that `hands` works from anywhere.

    Raises:
        ProjectError: neither is a checkout of the book.
    """
    try:
        here = Path(start or Path.cwd()).resolve()
    except FileNotFoundError as error:
        raise ProjectError("the working directory was removed: cd into a checkout of the book") from error
    for folder in [here, *here.parents, Path(__file__).resolve().parents[2]]:
        if (folder / "_toc.yml").is_file() and (folder / "book").is_dir():
            return folder
    raise ProjectError(f"{here} is not inside a checkout of the book (no _toc.yml beside book/): cd into one")


def nearest(name: str, known: Iterable[str], kind: str) -> ProjectError:
    """The error for an unknown `kind` called `name`, with the nearest known name and all of them."""
    names, name = sorted(known), name[:100]
    close = get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return ProjectError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names) or 'none'}")


def absolute(path: str) -> str:
    """A path as the shell means it: from the working directory of now, `~` at home."""
    return str(Path(os.path.expanduser(path)).absolute())


def absolute_folders() -> None:
    """What `FOLDERS` name, as the shell means it, for kernels: each works in the folder of its chapter."""
    for name in FOLDERS:
        if os.environ.get(name):
            os.environ[name] = absolute(os.environ[name])


def own_prefix(name: str) -> str:
    """Start of a temporary file's name; says whose it is, so that `remove_leftovers` can tell what a killed
    process left."""
    return f".{name[:_LONGEST_PREFIX]}.{socket.gethostname()}.{os.getpid()}."


@contextmanager
def replacing(path: Path, suffix: str = "") -> Iterator[Path]:
    """A temporary neighbour to write to, which replaces `path` when the block ends without an error. Its name
    ends in `suffix`.

    A reader, or a crash, never sees half a file.

    Raises:
        ProjectError: the disk is full, the folder cannot be written, and the like; `path` stays as it was.
    """
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=own_prefix(path.name), suffix=suffix)
        os.close(handle)
        yield Path(name)
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp makes it private
        os.replace(name, path)
    except BaseException as error:
        if name:
            Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            mend = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
            raise ProjectError(
                f"{path} cannot be written ({error.strerror}): {mend} and run again"
            ) from error
        raise


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that nobody ever sees half of it; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> list[Path]:
    """Delete the temporary files that killed processes of this machine left in a folder; returns them."""
    found = []
    for path in folder.glob(f".*.{socket.gethostname()}.*.*"):
        process = path.name.split(f".{socket.gethostname()}.")[-1].split(".")[0]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            path.unlink(missing_ok=True)
            found.append(path)
    return found


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `<name>.damaged`, so that it is in nobody's way and yet not lost."""
    target = path.with_name(f"{path.name}.damaged")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged{number}")
    try:
        return path.rename(target)
    except OSError as error:
        raise ProjectError(
            f"{path} is damaged and cannot be set aside ({error.strerror}): remove it"
        ) from error

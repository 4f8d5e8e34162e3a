"""`hands collect`: finished jobs into the lines of their chapters, and what is damaged settled."""

import fcntl
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from hands_lib.reproduce.jobs import SMOKE, JobLine
from hands_lib.reproduce.project import ProjectError, find_root, replacing, set_aside
from hands_lib.reproduce.store import (
    LinesFile,
    done_files,
    put_together,
    read_done,
    results_folder,
    runs_folder,
    take_apart,
)
from hands_lib.reproduce.versions import is_commit, version_of
from hands_lib.reproduce.weights import keep_weights, weights_name


@contextmanager
def one_at_a_time(root: Path | None) -> Iterator[None]:
    """Two collects wait for each other; the lock dies with its process."""
    path = runs_folder(root) / "locks" / "collect"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except PermissionError as error:
        raise ProjectError(f"{path} cannot be written ({error.strerror}): make it writable") from error


def _to_collect(root: Path, said: list[str]) -> dict[Path, list[tuple[Path, JobLine]]]:
    """The finished results by the file that they belong to; what is no result, or not of here, stays."""
    wanted: dict[Path, list[tuple[Path, JobLine]]] = {}
    is_known = cache(partial(is_commit, root))
    for path in done_files(root):
        if path.name.startswith((f"{SMOKE}-", "dirty-")):
            continue
        try:
            line = read_done(path)
        except ProjectError as error:
            said.append(f"{error}\n  set aside as {set_aside(path).name}")
            continue
        version = version_of(line.slug, line.chapter, root)
        if line.version > version:
            said.append(
                f"{path}: made by version {line.version} of {line.slug}/{line.chapter}, which is {version} "
                "here: it is of another checkout, and stays where it is"
            )
            continue
        if not is_known(line.commit):
            said.append(
                f"{path}: made at commit {line.commit[:12]}, which is not in this checkout: fetch that "
                "commit, then collect again; it stays where it is"
            )
            continue
        target = results_folder(root) / line.slug / f"{line.chapter}.jsonl"
        wanted.setdefault(target, []).append((path, line))
    return wanted


def _keep_aside(path: Path, found: LinesFile, said: list[str]) -> None:
    """Append what is no job, or yields to another line, to `<file>.damaged`: out of the way, not lost."""
    texts = [text for _, text, _ in found.damaged] + [line.text for _, _, line in found.doubles]
    if not texts:
        return
    aside = path.with_name(f"{path.name}.damaged")
    before = aside.read_bytes() if aside.is_file() else b""
    with replacing(aside) as temporary:
        lines = "".join(f"{text}\n" for text in texts).encode("utf-8", errors="surrogateescape")
        temporary.write_bytes(before + lines)
    said += [f"{path}:{n}: {why}; set aside in {aside.name}" for n, _, why in found.damaged]
    said += [
        f"{path}:{new}: the same job as line {old}, with other numbers; the later one counts, the other is "
        f"set aside in {aside.name}"
        for old, new, _ in found.doubles
    ]


def collect(root: Path | None = None) -> list[str]:
    """Merge finished jobs into the lines of their chapters, and settle what is damaged; returns what there is
    to say of the latter.

    One process at a time. Killed at any moment it loses nothing: a file of a job is deleted only when its
    line is in place, and a job that is in both is one job.

    Raises:
        ProjectError: the disk is full or a folder cannot be written: lines and files of jobs stay.
    """
    root = root or find_root()
    said: list[str] = []
    with one_at_a_time(root):
        wanted = _to_collect(root, said)
        for path in sorted({*wanted, *results_folder(root).glob("*/*.jsonl")}):
            found, new = take_apart(path), wanted.get(path, [])
            if not (new or found.damaged or found.markers or found.doubles):
                continue
            for _, line in new:
                said += keep_weights(line, results_folder(root), runs_folder(root))
            lines = {key: line for key, (_, line) in found.jobs.items()}
            lines |= {line.key: line for _, line in new}
            _keep_aside(path, found, said)
            if found.markers:
                said.append(f"{path}: a merge conflict is settled: the jobs of both sides are kept")
            put_together(path, lines.values(), found)
            for done, _ in new:
                done.unlink(missing_ok=True)
            _remove_orphans(path, lines, said)
    return said


def _remove_orphans(path: Path, lines: Mapping[str, JobLine], said: list[str]) -> None:
    """Weights of a job that was made again belong to nobody any more."""
    own = {weights_name(line, line.weights.sha256) for line in lines.values() if line.weights}
    for kept in (path.parent / "weights").glob("*.safetensors"):
        if re.match(rf"[a-z]+-{path.stem}-", kept.name) and kept.name not in own:
            kept.unlink()
            said.append(f"removed {kept.name}: its job was made again")

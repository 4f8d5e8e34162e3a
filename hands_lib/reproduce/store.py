"""The store: a line a job in `book/results/<slug>/<chapter>.jsonl`, and what was not collected yet.

    runs/done/<job>.json            what a job writes, its own file, whole or not at all: no lock
    book/results/<slug>/*.jsonl     lines of results, sorted; `collect` merges the files of jobs into them
    runs/weights/<slug>/            trained weights of any size, named after their jobs
    book/results/<slug>/weights/    the small ones of results, which git keeps

Whoever reads the store sees both, so that a job counts from the moment it ends. Smoke and dirty jobs stay in
`runs/done`. With $HANDS_RESULTS, all of it lies below that folder.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hands_lib.reproduce.chapters import chapter_of
from hands_lib.reproduce.jobs import (
    PROFILES,
    SMOKE,
    Asked,
    Examples,
    Job,
    JobLine,
    Rows,
    device_here,
    libraries_here,
    seconds_since,
)
from hands_lib.reproduce.project import ProjectError, find_root, nearest, write_atomically
from hands_lib.reproduce.published import unit_of
from hands_lib.reproduce.versions import Sources, refusal, sources_here, version_of
from hands_lib.reproduce.weights import write_weights

if TYPE_CHECKING:
    from torch import Tensor

RESULTS = "HANDS_RESULTS"  # environment variable: write and read results in another folder
MARKERS = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")  # git's, of a merge that somebody has to settle


UNKNOWN = "a line of a format that this version does not know: update hands_lib"


class _UnknownFormatError(ProjectError):
    """Written by a later hands_lib: nothing is wrong with it."""


# --- places ---------------------------------------------------------------------------------------------


def results_folder(root: Path | None = None) -> Path:
    """`$HANDS_RESULTS`, or `book/results` of the checkout."""
    chosen = os.environ.get(RESULTS)
    return Path(chosen) if chosen else (root or find_root()) / "book" / "results"


def runs_folder(root: Path | None = None) -> Path:
    """What is not part of the repository: files of jobs, large weights."""
    chosen = os.environ.get(RESULTS)
    return Path(chosen) / "runs" if chosen else (root or find_root()) / "runs"


# --- reading --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """A place in the store that cannot be read: where, and what to do."""

    path: Path
    line: int | None
    why: str

    def __str__(self) -> str:
        return f"{self.path}{'' if self.line is None else f':{self.line}'}: {self.why}"


@dataclass
class Store:
    """All that can be read, and what cannot."""

    lines: list[JobLine] = field(default_factory=list)
    trouble: list[Trouble] = field(default_factory=list)


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'line'}: {e['msg']}" for e in error.errors()[:5])


def parse_line(text: str) -> JobLine:
    """Raises ProjectError: it says what is wrong with the line."""
    try:
        return JobLine.model_validate_json(text)
    except ValidationError as error:
        if any(e["loc"] == ("format",) and e["type"] == "literal_error" for e in error.errors()):
            raise _UnknownFormatError(UNKNOWN) from error
        raise ProjectError(f"is no line of a job ({_problems(error)})") from error


@dataclass
class LinesFile:
    """A .jsonl file, taken apart: jobs by key, and lines that are no jobs, with their numbers."""

    jobs: dict[str, tuple[int, JobLine]] = field(default_factory=dict)
    damaged: list[tuple[int, str, str]] = field(default_factory=list)  # number, text, why
    unknown: list[tuple[int, str]] = field(default_factory=list)  # of a later format: kept as they are
    markers: list[int] = field(default_factory=list)
    doubles: list[tuple[int, int, JobLine]] = field(default_factory=list)  # older, newer; what yields


def take_apart(path: Path) -> LinesFile:
    found = LinesFile()
    try:
        text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return found
    except OSError as error:
        raise ProjectError(f"{path} cannot be read ({error.strerror}): make it readable") from error
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if line.startswith(MARKERS):
            found.markers.append(number)
            continue
        try:
            own = parse_line(line)
        except _UnknownFormatError:
            found.unknown.append((number, line))
            continue
        except ProjectError as error:
            found.damaged.append((number, line, str(error)))
            continue
        if (own.slug, own.chapter) != (path.parent.name, path.stem):
            found.damaged.append((number, line, f"is a job of {own.slug}/{own.chapter}, not of this file"))
            continue
        before = found.jobs.get(own.key)
        if before is not None and before[1] != own:
            older, newer = sorted([before, (number, own)], key=lambda pair: pair[1].created)
            found.doubles.append((older[0], newer[0], older[1]))
            found.jobs[own.key] = newer
        else:
            found.jobs[own.key] = (number, own)
    return found


def put_together(path: Path, lines: Iterable[JobLine], before: LinesFile) -> None:
    """Write a .jsonl file: lines sorted, and after them what was there of a later format."""
    texts = [line.text for line in sorted(lines, key=order_of)] + [text for _, text in before.unknown]
    write_atomically(path, "".join(f"{text}\n" for text in texts))


def _trouble_of(path: Path, found: LinesFile) -> list[Trouble]:
    mend = "`hands collect` sets it aside, and the job is made again"
    rows = [Trouble(path, n, f"{why}: {mend}") for n, _, why in found.damaged]
    rows += [Trouble(path, n, UNKNOWN) for n, _ in found.unknown]
    if found.markers:
        why = "a merge conflict is open: `hands collect` keeps the jobs of both sides"
        rows.append(Trouble(path, found.markers[0], why))
    rows += [
        Trouble(path, new, f"the same job as line {old}, with other numbers: `hands collect` keeps one")
        for old, new, _ in found.doubles
    ]
    return rows


def done_files(root: Path | None) -> list[Path]:
    return sorted((runs_folder(root) / "done").glob("*.json"))


def read_done(path: Path) -> JobLine:
    """The line of one job's own file.

    Raises:
        ProjectError: truncated, not JSON, or no line of a job; names the file and the mend.
    """
    try:
        return parse_line(path.read_text(encoding="utf-8"))
    except ProjectError as error:
        raise ProjectError(f"{path} {error}: delete it, and the job is made again") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} cannot be read ({error}): make it readable, or delete it") from error


def read_store(root: Path | None = None, slug: str | None = None, chapter: str | None = None) -> Store:
    """All lines, or those of one system or chapter. A job whose own file lies in `runs/done` counts by that
    file: it is the newer one."""
    store = Store()
    done: dict[str, JobLine] = {}
    # files of jobs first: one that is collected meanwhile is then found among the lines
    name = re.compile(rf"(dirty-)?[a-z]+-{slug or '[a-z0-9_]+'}-{chapter or ''}")
    for path in done_files(root):
        if not name.match(path.name):
            continue
        try:
            line = read_done(path)
        except ProjectError as error:
            if path.exists():
                store.trouble.append(Trouble(path, None, str(error).removeprefix(f"{path} ")))
            continue
        if slug in (None, line.slug) and chapter in (None, line.chapter):
            done[line.key if line.is_result else path.name] = line
    jobs: dict[str, JobLine] = {}
    for path in sorted(results_folder(root).glob(f"{slug or '*'}/{chapter or '*'}.jsonl")):
        found = take_apart(path)
        store.trouble += _trouble_of(path, found)
        jobs |= {key: line for key, (_, line) in found.jobs.items()}
    store.lines = sorted((jobs | done).values(), key=order_of)
    return store


def read_lines(slug: str | None = None, root: Path | None = None) -> list[JobLine]:
    """All lines, or those of one system, sorted.

    Raises:
        ProjectError: something in the store cannot be read: each place with its file, line and mend.
    """
    store = read_store(root, slug)
    if store.trouble:
        raise ProjectError("\n".join(map(str, store.trouble)))
    return store.lines


def order_of(line: JobLine) -> tuple:
    return (
        line.slug,
        line.chapter,
        PROFILES.index(line.profile),
        line.job,
        line.seed,
        line.version,
        line.key,
    )


# --- recording ------------------------------------------------------------------------------------------


def _sources(job: Job, root: Path | None) -> Sources:
    """Of the code that this process runs. Before anything is trained, not after.

    Raises:
        ProjectError: they are not those of a commit, so that the job would be no result, and nobody said
            that this is meant.
    """
    sources = sources_here(job.slug, job.chapter, root)
    if sources.trouble and job.profile != SMOKE and not Asked.here().dirty:
        raise ProjectError(refusal(job, sources))
    return sources


def find_job(job: Job, root: Path | None = None) -> JobLine | None:
    """The line of exactly this job by the present version of its chapter, or None: then it is to be made.

    None also under `hands run --force`, and always for the smoke profile, whose jobs are made anew with every
    build.

    Raises:
        ProjectError: the job is to be made, but the sources that decide its numbers differ from the commit.
    """
    if job.profile == SMOKE:
        return None
    version = version_of(job.slug, job.chapter, root)
    if not Asked.here().force:
        key = job.key(version)
        for line in read_store(root, job.slug, job.chapter).lines:
            if line.is_result and line.key == key:
                return line
    _sources(job, root)
    return None


def _check_columns(job: Job, rows: Rows, root: Path | None) -> None:
    """A misspelt table or column would be a number that no table shows.

    Raises:
        ProjectError: the chapter's header declares other tables, or a column has no unit.
    """
    chapter = chapter_of(job.slug, job.chapter, root or find_root())
    for table, found in rows.items():
        if chapter is not None and chapter.tables is not None and table not in chapter.tables:
            raise nearest(table, chapter.tables, f"table (not declared in the header of {chapter.path})")
        for row, columns in found.items():
            for column in columns:
                unit_of(job.slug, table, row, column, root)


def _rounded(columns: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Scores of single examples need no more than five digits."""
    return {column: [float(f"{value:.5g}") for value in values] for column, values in columns.items()}


def record_job(
    job: Job,
    rows: Rows,
    *,
    protocol: str,
    started: float,
    steps: int | None = None,
    device: str | None = None,
    weights: "Mapping[str, Tensor] | None" = None,
    examples: Examples | None = None,
    root: Path | None = None,
) -> Path:
    """Write the line of one finished job, delete its checkpoint, and return the path of its file.

    Args:
        job: what was measured, on what, with which settings.
        rows: table -> row -> column -> number. Units stand with the columns in `book/published/<slug>.yml`.
            A row without a number is left out.
        protocol: how it was measured, in one sentence; jobs are averaged only if it is the same.
        started: `time.time()` from before the job.
        device: where it ran; default: the first GPU if there is one, else the CPU.
        weights: trained tensors, of any size, for `load_weights`; see `weights.py`.
        examples: scores of single examples in the same order for every seed, at most 1,000 of a column.
        root: checkout to write into (default: the one around the working directory, or $HANDS_RESULTS).

    Raises:
        ProjectError: a number is not finite, a column has no unit, `started` is of another clock, the sources
            are not those of the commit, or nothing can be written there: no line is left.
    """
    from hands_lib.reproduce.checkpoints import checkpoint_path

    sources = _sources(job, root)
    measured = {
        table: {row: {m: float(v) for m, v in columns.items()} for row, columns in found.items() if columns}
        for table, found in rows.items()
    }
    measured = {table: found for table, found in measured.items() if found}
    _check_columns(job, measured, root)
    about = write_weights(job, weights, runs_folder(root)) if weights is not None else None
    try:
        line = JobLine(
            format=1,
            slug=job.slug,
            chapter=job.chapter,
            job=job.name,
            seed=job.seed,
            profile=job.profile,
            version=sources.version,
            commit=sources.commit,
            dirty=bool(sources.trouble) and job.profile != SMOKE,
            dataset=job.dataset,
            dataset_version=str(job.dataset_version),
            dataset_of={t: (d, str(v)) for t, (d, v) in job.dataset_of.items() if t in measured},
            protocol=protocol,
            parameters=dict(job.parameters),
            inputs=dict(job.inputs),
            config=dict(job.config),
            steps=steps,
            seconds=seconds_since(started),
            device=device or device_here(),
            libraries=libraries_here(),
            created=datetime.now(UTC).replace(microsecond=0),
            rows=measured,
            examples={
                table: {row: _rounded(columns) for row, columns in own.items()}
                for table, own in (examples or {}).items()
            },
            weights=about,
        )
    except ValidationError as error:
        raise ProjectError(f"a job of {job.slug}/{job.chapter} refused: {_problems(error)}") from error
    path = runs_folder(root) / "done" / line.file_name
    write_atomically(path, line.text + "\n")
    checkpoint_path(job, root).unlink(missing_ok=True)
    return path

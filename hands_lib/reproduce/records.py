"""Run records: one JSON file for each measured run, in `book/results/<slug>/`.

A record says what was measured, on what, with what and for how long, so that a table can be made from records
alone and a number can be traced to its run. Records of the smoke profile are named `smoke-*.json`, are
ignored by git, and are never shown as results.

What identifies a run (`runs.Run`) and the version of its method (`methods.py`) are hashed into its `key`. One
key, one file: a run that is made twice is still one record, and a run of a changed method is another one,
beside which the old record stays as stale.

Small trained weights lie beside a record as `<record>.safetensors`.
"""

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hands_lib.reproduce.chapters import list_chapters, read_presets
from hands_lib.reproduce.checkpoints import checkpoint_path
from hands_lib.reproduce.methods import JOB, check_table, declared_tables, method_version, running_version
from hands_lib.reproduce.project import ProjectError, find_root, replacing, set_aside, write_atomically
from hands_lib.reproduce.runs import PROFILES, Run

if TYPE_CHECKING:  # reading records needs no torch
    from torch import Tensor

LIBRARIES = ("torch", "numpy", "numba")
RESULTS = "HANDS_RESULTS"  # environment variable: write and read records in another folder
WEIGHTS_LIMIT = 5 * 2**20  # bytes of one file of weights
ALL_WEIGHTS_LIMIT = 60 * 2**20  # bytes of all of them in book/results

_CLOCKS = time.time(), time.monotonic()  # of this process's start, nearly: shows when the clock was changed


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a measurement: record the run only when it succeeded")
    return value


Finite = Annotated[float, AfterValidator(_finite)]


class Metric(BaseModel):
    """One measured number with its unit (`mm`, `1`, `hands/s` ...)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: Finite
    unit: str = Field(min_length=1)


@dataclass(frozen=True)
class Job:
    """What `hands` tells the kernel in which a chapter runs; all empty in a kernel that a person started."""

    chapter: str = ""
    parameters_hash: str = ""
    force: bool = False
    variant: str = ""
    """The only one that was asked for; empty where several or none were."""

    @property
    def name(self) -> str:
        """The chapter and its parameters besides variants and seeds."""
        return f"{self.chapter}:{self.parameters_hash}" if self.parameters_hash else ""

    @property
    def names(self) -> list[str]:
        """What a record keeps of this job: its name, and with it the only variant that was asked for.

        A job's rows may be called otherwise than its variant: a row of another table, a baseline by the way.
        """
        if not self.name:
            return []
        return [self.name, *([f"{self.name}/{self.variant}"] if self.variant else [])]

    @staticmethod
    def here() -> "Job":
        return Job(**json.loads(os.environ.get(JOB) or "{}"))


class RunRecord(BaseModel):
    """What one run measured. `table` and `variant` are the table and the row of `book/published/<slug>.yml`
    it belongs to; metrics carry the names of that table's columns. Times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slug: str = Field(pattern=r"^[a-z0-9_]+$")
    table: str = Field(min_length=1)
    variant: str = Field(min_length=1)
    seed: int
    profile: str
    dataset: str = Field(min_length=1)
    dataset_version: str = Field(min_length=1)
    protocol: str = Field(min_length=1, description="how it was measured, in one sentence")
    metrics: dict[str, Metric] = Field(min_length=1)
    steps: int | None = None
    wall_time: Finite = Field(ge=0)
    device: str
    libraries: dict[str, str]
    git_commit: str
    config: dict[str, Any]
    config_hash: str
    method_version: str = Field(
        default="", description="of the method's sources; empty: made before versions"
    )
    asked_by: list[str] = Field(default=[], description="`Job.names` whose runs made it or found it made")
    weights_sha256: str | None = Field(default=None, description="of the .safetensors file beside the record")
    created: datetime

    @property
    def group(self) -> tuple[str, str, str, str]:
        """Runs that may be averaged share this: profile, data set, its version, protocol."""
        return self.profile, self.dataset, self.dataset_version, self.protocol

    @property
    def run(self) -> Run:
        return Run(**{field.name: getattr(self, field.name) for field in fields(Run)})

    @property
    def key(self) -> str:
        return self.run.key(self.method_version)

    @property
    def file_name(self) -> str:
        return self.run.file_name(self.method_version)


def results_folder(root: Path | None = None) -> Path:
    """`$HANDS_RESULTS`, or `book/results` of the checkout."""
    chosen = os.environ.get(RESULTS)
    return Path(chosen) if chosen and root is None else (root or find_root()) / "book" / "results"


def all_results(root: Path) -> Path:
    """Where the kernels of a checkout write: `$HANDS_RESULTS` if it is set, else its `book/results`."""
    chosen = os.environ.get(RESULTS)
    return Path(chosen) if chosen else results_folder(root)


def _git_commit(folder: Path) -> str:
    """The commit, with `+changes` where the working tree differs from it; `unknown` outside a checkout."""
    try:
        run = {"cwd": folder, "capture_output": True, "text": True, "check": True, "timeout": 10}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()
        status = ["git", "status", "--porcelain", "--untracked-files=no"]
        return commit + ("+changes" if subprocess.run(status, **run).stdout.strip() else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _device() -> str:
    torch = sys.modules.get("torch")  # a run that used a GPU has imported it
    if torch is None:
        return f"CPU {platform.machine()}"
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"


def _wall_time(started: float) -> float:
    """Seconds since `started`. Where somebody set the clock meanwhile, it is at most what this process has
    lived, which no clock can change."""
    now, lived = time.time(), time.monotonic() - _CLOCKS[1]
    seconds = now - started
    if abs(now - _CLOCKS[0] - lived) > 5 and not 0 <= seconds <= lived + 60:
        warnings.warn("the clock was changed during the run: its wall time is an estimate", stacklevel=3)
        return lived
    if seconds > 365 * 86400:
        raise ProjectError(
            f"a run cannot have started at {started:.0f}: `started` is time.time() from before the run,"
            " no other clock"
        )
    return max(seconds, 0.0)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def find_record(run: Run, root: Path | None = None) -> RunRecord | None:
    """The record of exactly this run by the present method, or None: then the run is to be made.

    None also under `hands run --force`, and always for the smoke profile, whose runs are made anew with every
    build. A damaged record is set aside with a warning, and its run is made again.
    """
    path = results_folder(root) / run.slug / run.file_name(running_version(run, root))
    if run.profile == "smoke" or Job.here().force or not path.is_file():
        return None
    try:
        record = read_record(path)
    except ProjectError as error:
        warnings.warn(f"{error}\nset aside as {set_aside(path).name}; the run is made again", stacklevel=2)
        return None
    new = [name for name in Job.here().names if name not in record.asked_by]
    if new:  # parameters differ that do not matter to this run
        record = record.model_copy(update={"asked_by": [*record.asked_by, *new]})
        write_atomically(path, record.model_dump_json(indent=2) + "\n")
    return record


def record_run(
    run: Run,
    *,
    protocol: str,
    metrics: dict[str, float | int | tuple[float | int, str]],
    started: float,
    units: dict[str, str] | str | None = None,
    steps: int | None = None,
    device: str | None = None,
    weights: "Mapping[str, Tensor] | None" = None,
    root: Path | None = None,
) -> Path:
    """Write the record of one finished run, delete the run's checkpoint, and return the record's path.

    Args:
        run: what was measured, on what, with which settings.
        protocol: how it was measured, in one sentence; runs are averaged only if it is the same.
        metrics: column -> number, or (number, unit).
        started: `time.time()` from before the run; the wall time is measured from it.
        units: unit of every metric given as a bare number: one string for all, or column -> unit.
        device: where it ran; default: the first GPU if there is one, else the CPU.
        weights: trained tensors to lie beside the record, at most 5 MB; `load_weights` reads them.
        root: checkout to write into (default: the one around the working directory, or $HANDS_RESULTS).

    Raises:
        ProjectError: a number is not finite, a unit is missing, `started` is of another clock, the chapter's
            header declares other tables, or nothing can be written there: no record is left. Weights that
            are too large: the record is written without them.
    """
    full: dict[str, Any] = {}
    for name, value in metrics.items():
        number, unit = value if isinstance(value, tuple) else (value, None)
        unit = unit or (units if isinstance(units, str) else (units or {}).get(name))
        if unit is None:
            raise ProjectError(
                f"run record of {run.slug}: metric {name!r} has no unit; '1' for a plain number"
            )
        full[name] = {"value": float(number), "unit": unit}
    text = run.config_text()
    folder = results_folder(root)
    job = Job.here()
    check_table(run.slug, run.table, job.chapter, root)
    try:
        record = RunRecord(
            slug=run.slug,
            table=run.table,
            variant=run.variant,
            seed=run.seed,
            profile=run.profile,
            dataset=run.dataset,
            dataset_version=str(run.dataset_version),
            protocol=protocol,
            metrics=full,
            steps=steps,
            wall_time=_wall_time(started),
            device=device or _device(),
            libraries={"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
            git_commit=_git_commit(root or find_root()),
            config=json.loads(text),
            config_hash=hashlib.sha256(text.encode()).hexdigest()[:8],
            method_version=running_version(run, root),
            asked_by=job.names,
            created=datetime.now(UTC).replace(microsecond=0),
        )
    except ValidationError as error:
        raise ProjectError(f"run record of {run.slug} refused: {_problems(error)}") from error
    path = folder / run.slug / record.file_name
    refusal = None
    if weights is not None:
        digest, refusal = _write_weights(path.with_suffix(".safetensors"), weights, folder)
        record = record.model_copy(update={"weights_sha256": digest})
    write_atomically(path, record.model_dump_json(indent=2) + "\n")
    checkpoint_path(run, root).unlink(missing_ok=True)
    if refusal:
        raise ProjectError(f"{path} is written, but without its weights: {refusal}")
    return path


# --- weights -------------------------------------------------------------------------------------------


def _write_weights(
    path: Path, weights: "Mapping[str, Tensor]", folder: Path
) -> tuple[str | None, str | None]:
    """(sha256, None), or (None, why not)."""
    from safetensors.torch import save

    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    if len(data) > WEIGHTS_LIMIT:
        return (
            None,
            f"{len(data) / 2**20:.1f} MB are more than {WEIGHTS_LIMIT / 2**20:.0f} MB; keep a smaller part",
        )
    # smoke files are not part of the repository
    others = sum(p.stat().st_size for p in weight_files(folder) if p != path and p.name[:6] != "smoke-")
    if others + len(data) > ALL_WEIGHTS_LIMIT:
        return None, f"all weights below {folder} may have {ALL_WEIGHTS_LIMIT / 2**20:.0f} MB; delete some"
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest(), None


def weight_files(folder: Path) -> list[Path]:
    """Every file of weights below `book/results`."""
    return sorted(folder.glob("*/*.safetensors"))


def load_weights(record: RunRecord, root: Path | None = None) -> "dict[str, Tensor]":
    """The trained weights beside a record.

    Raises:
        ProjectError: the record has none, or the file is missing or is not the one that the run wrote.
    """
    from safetensors.torch import load

    path = results_folder(root) / record.slug / Path(record.file_name).with_suffix(".safetensors")
    if record.weights_sha256 is None:
        raise ProjectError(
            f"{record.slug}/{record.file_name} has no weights: record_run(..., weights=...) keeps them"
        )
    mend = "restore it with git, or repeat the run with --force"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProjectError(f"{path} cannot be read ({error.strerror}): {mend}") from error
    if hashlib.sha256(data).hexdigest() != record.weights_sha256:
        raise ProjectError(f"{path} is damaged or belongs to another run: {mend}")
    return load(data)


def latest_record(
    slug: str,
    table: str,
    variant: str,
    seed: int | None = None,
    profiles: Sequence[str] = PROFILES[1:],
    root: Path | None = None,
) -> RunRecord:
    """The record whose weights another chapter plays with: `load_weights(latest_record(...))`.

    Of the records that have weights, one of the present method goes before one of an earlier method, which is
    taken with a warning; then the largest of the profiles, then the newest. `seed` asks for a seed.

    Raises:
        ProjectError: there is none; the message names the command that makes it.
    """
    folder = results_folder(root) / slug
    own, missing = [], []
    for record in sort_damaged(sorted(folder.glob("*.json")))[0]:
        asked = (record.table, record.variant) == (table, variant) and seed in (None, record.seed)
        if asked and record.profile in profiles and record.weights_sha256 is not None:
            there = (folder / record.file_name).with_suffix(".safetensors").is_file()
            (own if there else missing).append(record)
    command = command_for(slug, table, profiles, root or find_root())
    if not own:
        lost = f" ({missing[0].file_name} has lost its .safetensors file)" if missing else ""
        words = f"{slug}, table {table!r}, variant {variant!r}" + ("" if seed is None else f", seed {seed}")
        raise ProjectError(f"no trained weights of {words} are recorded{lost}; they are made by: {command}")
    version = method_version(slug, table, root)

    def rank(record: RunRecord) -> tuple[bool, int, datetime]:
        return record.method_version == version, PROFILES.index(record.profile), record.created

    best = max(own, key=rank)
    if best.method_version != version:
        note = f"{best.file_name} is of an earlier version of its method; made anew by: {command}"
        warnings.warn(note, stacklevel=2)
    return best


def command_for(slug: str, table: str, profiles: Sequence[str], root: Path) -> str:
    """How a person makes the records of a table, in the smallest of the profiles that its chapter has."""
    chapters = [chapter for chapter in list_chapters(root) if chapter.slug == slug]
    owner = declared_tables(slug, chapters).get(table)
    for chapter in [owner] if owner else chapters:
        known = read_presets(chapter, root)
        for profile in sorted(known.keys() & set(profiles), key=PROFILES.index):
            return f"hands sweep {chapter.stem if owner else slug} --profile {profile}"
    return f"nothing, as no chapter of {slug} has the profile {' or '.join(profiles)}"


# --- reading -------------------------------------------------------------------------------------------


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:5])


def read_record(path: Path) -> RunRecord:
    """One record.

    Raises:
        ProjectError: truncated, not JSON, or not a record; names the file and the mend.
    """
    mend = "delete the file and run the chapter again, or restore it with git"
    try:
        return RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ProjectError(f"{path} is not a run record ({_problems(error)}): {mend}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} cannot be read ({error}): {mend}") from error


def read_records(slug: str | None = None, root: Path | None = None) -> list[RunRecord]:
    """All records, or those of one system, ordered by file name."""
    folder = results_folder(root)
    pattern = f"{slug}/*.json" if slug else "*/*.json"
    return [read_record(path) for path in sorted(folder.glob(pattern))]


def sort_damaged(paths: Sequence[Path]) -> tuple[list[RunRecord], list[tuple[Path, str]]]:
    """The records among the files, and the damaged files with what is wrong with each."""
    records, damaged = [], []
    for path in paths:
        try:
            records.append(read_record(path))
        except ProjectError as error:
            damaged.append((path, str(error)))
    return records, damaged

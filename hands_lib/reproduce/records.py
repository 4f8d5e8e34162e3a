"""Run records: one JSON file for each measured run, in `book/results/<slug>/`.

A record says what was measured, on what, with what and for how long, so that a table can be made from records
alone and a number can be traced to its run. Records of the smoke profile are named `smoke-*.json`, are
ignored by git, and are never shown as results.
"""

import hashlib
import json
import math
import os
import platform
import re
import subprocess
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hands_lib.reproduce.project import ProjectError, find_root, write_atomically

PROFILES = ("smoke", "cpu", "gpu", "paper")  # from small to large; a page shows the largest one that ran
LIBRARIES = ("torch", "numpy", "numba")
RESULTS = "HANDS_RESULTS"  # environment variable: write and read records in another folder


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
    created: datetime

    @property
    def group(self) -> tuple[str, str, str, str]:
        """Runs that may be averaged share this: profile, data set, its version, protocol."""
        return self.profile, self.dataset, self.dataset_version, self.protocol

    @property
    def file_name(self) -> str:
        """Made of what identifies the run. A smoke run replaces its predecessor whatever its settings were;
        of any other profile, runs with different settings keep a file each."""
        words = [self.profile, self.table, self.variant, self.dataset, f"seed{self.seed}"]
        words += [] if self.profile == "smoke" else [self.config_hash]
        return "-".join(re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_") for word in words) + ".json"


def results_folder(root: Path | None = None) -> Path:
    """`$HANDS_RESULTS`, or `book/results` of the checkout."""
    chosen = os.environ.get(RESULTS)
    return Path(chosen) if chosen and root is None else (root or find_root()) / "book" / "results"


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
    import torch  # here, so that reading records needs no torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def record_run(
    *,
    slug: str,
    table: str,
    variant: str,
    seed: int,
    profile: str,
    dataset: str,
    dataset_version: str,
    protocol: str,
    metrics: dict[str, float | int | tuple[float | int, str]],
    config: dict[str, Any],
    started: float,
    units: dict[str, str] | str | None = None,
    steps: int | None = None,
    device: str | None = None,
    root: Path | None = None,
) -> Path:
    """Write the record of one finished run and return its path.

    Args:
        slug: system; names the folder, and the published file it is compared with.
        table, variant: table and row of that file.
        profile: smoke, cpu, gpu or paper.
        dataset, dataset_version: what was measured on, for example "interhand26m sample", "1.0".
        protocol: how it was measured, in one sentence; runs are averaged only if it is the same.
        metrics: column -> number, or (number, unit).
        units: unit of every metric given as a bare number: one string for all, or column -> unit.
        config: every setting that could change the numbers; JSON values.
        started: `time.time()` from before the run; the wall time is measured from it.
        device: where it ran; default: the first GPU if there is one, else the CPU.
        root: checkout to write into (default: the one around the working directory, or $HANDS_RESULTS).

    Raises:
        ProjectError: a number is not finite, a unit is missing, the profile is unknown: nothing is written.
    """
    if profile not in PROFILES:
        raise ProjectError(f"run record of {slug}: profile {profile!r} is none of {', '.join(PROFILES)}")
    full: dict[str, Any] = {}
    for name, value in metrics.items():
        number, unit = value if isinstance(value, tuple) else (value, None)
        unit = unit or (units if isinstance(units, str) else (units or {}).get(name))
        if unit is None:
            raise ProjectError(f"run record of {slug}: metric {name!r} has no unit; '1' for a plain number")
        full[name] = {"value": float(number), "unit": unit}
    try:
        text = json.dumps(config, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ProjectError(f"run record of {slug}: config must be plain JSON values ({error})") from error
    folder = results_folder(root)
    try:
        record = RunRecord(
            slug=slug,
            table=table,
            variant=variant,
            seed=seed,
            profile=profile,
            dataset=dataset,
            dataset_version=str(dataset_version),
            protocol=protocol,
            metrics=full,
            steps=steps,
            wall_time=max(time.time() - started, 0.0),
            device=device or _device(),
            libraries={"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
            git_commit=_git_commit(root or find_root()),
            config=json.loads(text),
            config_hash=hashlib.sha256(text.encode()).hexdigest()[:8],
            created=datetime.now(UTC).replace(microsecond=0),
        )
    except ValidationError as error:
        raise ProjectError(f"run record of {slug} refused: {_problems(error)}") from error
    path = folder / slug / record.file_name
    write_atomically(path, record.model_dump_json(indent=2) + "\n")
    return path


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

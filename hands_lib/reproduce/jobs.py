"""A job: one execution of a chapter for one variant and seed; what identifies it, and the line it leaves.

Lines stand in `book/results/<slug>/<chapter>.jsonl` (`store.py`). A line says what was measured, on what,
with what and for how long; units and directions of its numbers stand with the columns in
`book/published/<slug>.yml`. Jobs of the smoke profile only show that a chapter works: they are no results.
"""

import hashlib
import json
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from hands_lib.reproduce.project import ProjectError, nearest

PROFILES = ("smoke", "cpu", "gpu", "paper")  # from small to large; a page shows the largest one that ran
SMOKE = PROFILES[0]
ASKED = "HANDS_JOB"  # environment variable, set for kernels that `hands` starts; see `Asked`
LIBRARIES = ("torch", "numpy", "numba")
MOST_EXAMPLES = 1000
LARGEST = 1e100  # whose square is still a number

_CLOCKS = time.time(), time.monotonic()  # of this process's start, nearly: shows when the clock was changed

Rows = Mapping[str, Mapping[str, Mapping[str, Any]]]  # table -> row -> column -> number
Examples = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]  # ... -> scores of single examples


def _finite(value: float) -> float:
    if not abs(value) < LARGEST:  # nor is nan
        raise ValueError(f"{value} is not a measurement: record the job only when it succeeded")
    return value


Finite = Annotated[float, AfterValidator(_finite)]


def _plain(value: Mapping[str, Any], what: str) -> dict[str, Any]:
    """A copy as JSON knows it: what the caller changes later would make another job of this one."""
    try:
        return json.loads(json.dumps(value, sort_keys=True, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ProjectError(f"{what} must be plain JSON values ({error})") from error


@dataclass(frozen=True)
class Job:
    """What is measured, on what, with which settings. Two equal jobs are one line.

        job = Job("intersections", "losses", variant, seed, profile, dataset="two hands",
                  parameters=chapter_parameters("losses", globals()))

    slug, chapter    system and chapter (or benchmark): where the line stands
    name             the variant; of a chapter without variants, any name
    profile          smoke, cpu, gpu or paper
    dataset          what is measured on, for example "interhand26m sample"
    dataset_of       table -> (data set, version), where a table is about another one
    parameters       every parameter of the chapter that says what is done
    inputs           what it starts from -> hash, for example the weights of an earlier chapter's network
    config           what else a reader of the line wants to know, for example all sizes of a network

    All but `config` and `dataset_of` identify the job, together with the version of its chapter.

    Raises:
        ProjectError: an unknown profile, a name that is empty or no folder can have, or settings that are no
            JSON: before anything is trained.
    """

    slug: str
    chapter: str
    name: str
    seed: int
    profile: str
    dataset: str
    dataset_version: str = "1"
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    inputs: Mapping[str, str] = field(default_factory=dict, hash=False)
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    dataset_of: Mapping[str, tuple[str, str]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise nearest(self.profile, PROFILES, f"profile of a job of {self.slug}:")
        for what in ("slug", "chapter"):
            if not re.fullmatch(r"[a-z0-9_]+", getattr(self, what)):
                raise ProjectError(f"a job's {what} is {getattr(self, what)!r}: use a-z, 0-9 and _ alone")
        for what in ("name", "dataset", "dataset_version"):
            if not str(getattr(self, what)):
                raise ProjectError(f"a job of {self.slug}/{self.chapter} has an empty {what}: name it")
        for what in ("parameters", "inputs", "config", "dataset_of"):
            values = _plain(getattr(self, what), f"a job of {self.slug}/{self.chapter}: its {what}")
            object.__setattr__(self, what, values)

    def key(self, version: int) -> str:
        """Hash of what identifies the job by this version of its chapter (16 hexadecimal digits)."""
        return _key(
            self.slug, self.chapter, self.name, self.seed, self.profile, version,
            self.dataset, str(self.dataset_version), self.parameters, self.inputs,
        )  # fmt: skip


def _key(*words: Any) -> str:
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]


def file_words(*words: Any) -> str:
    """Names and numbers as part of a file's name."""
    return "-".join(re.sub(r"[^a-z0-9]+", "_", str(word).lower()).strip("_")[:60] for word in words)


class Weights(BaseModel):
    """Trained tensors that a job left: the hash and the size of their file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    note: str = Field(default="", description="what they are, where they are not simply the trained network")


class JobLine(BaseModel):
    """What one job measured: `rows[table][row][column]`. Seconds are those of the whole job.

    examples: scores of single examples, `[table][row][column]`, in the same order for every seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    slug: str = Field(pattern=r"^[a-z0-9_]+$")
    chapter: str = Field(pattern=r"^[a-z0-9_]+$")
    job: str = Field(min_length=1)
    seed: int
    profile: Literal["smoke", "cpu", "gpu", "paper"]
    version: int = Field(ge=1)
    commit: str
    dirty: bool = Field(default=False, description="its sources were not those of the commit: no result")
    dataset: str = Field(min_length=1)
    dataset_version: str = Field(min_length=1)
    dataset_of: dict[str, tuple[str, str]] = {}
    protocol: str = Field(min_length=1, description="how it was measured, in one sentence")
    parameters: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    config: dict[str, Any] = {}
    steps: int | None = None
    seconds: Finite = Field(ge=0)
    device: str
    libraries: dict[str, str]
    created: AwareDatetime
    rows: dict[str, dict[str, dict[str, Finite]]] = Field(min_length=1)
    examples: dict[str, dict[str, dict[str, Annotated[list[Finite], Field(max_length=MOST_EXAMPLES)]]]] = {}
    weights: Weights | None = None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> "JobLine":
        """A copy with other fields has a key of its own."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("key", None)
        return copy

    @cached_property
    def key(self) -> str:
        """As `Job.key` of the job and the version that made it."""
        return _key(
            self.slug, self.chapter, self.job, self.seed, self.profile, self.version,
            self.dataset, self.dataset_version, self.parameters, self.inputs,
        )  # fmt: skip

    @property
    def is_result(self) -> bool:
        """A smoke job, and one whose sources nobody can go back to, is none."""
        return self.profile != SMOKE and not self.dirty

    def dataset_for(self, table: str) -> tuple[str, str]:
        """Data set and version that a table is about."""
        return self.dataset_of.get(table, (self.dataset, self.dataset_version))

    @property
    def text(self) -> str:
        """The line, without its end."""
        return self.model_dump_json(exclude_defaults=True)

    @property
    def file_name(self) -> str:
        """Of the file in `runs/done`. A smoke job replaces its predecessor whatever its settings were; of any
        other profile, every key has a file of its own."""
        own = [self.slug, self.chapter, self.job, self.seed]
        # "q + p" and "q + p'" are two variants, but the same word in a file's name
        end = _key(*own)[:8] if self.profile == SMOKE else self.key
        kind = "dirty-" if self.dirty else ""
        return f"{kind}{self.profile}-{file_words(*own)}-{end}.json"


@dataclass(frozen=True)
class Asked:
    """What `hands` tells the kernel in which a chapter runs; all empty in a kernel that a person started."""

    force: bool = False
    dirty: bool = False

    @staticmethod
    def here() -> "Asked":
        return Asked(**json.loads(os.environ.get(ASKED) or "{}"))

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))


# --- about the process that runs a job --------------------------------------------------------------------


def device_here() -> str:
    torch = sys.modules.get("torch")  # a job that used a GPU has imported it
    if torch is None:
        return f"CPU {platform.machine()}"
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"


def libraries_here() -> dict[str, str]:
    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "not installed"

    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def seconds_since(started: float) -> float:
    """Seconds since `started`. Where somebody set the clock meanwhile, it is at most what this process has
    lived, which no clock can change.

    Raises:
        ProjectError: `started` is of another clock than time.time().
    """
    now, lived = time.time(), time.monotonic() - _CLOCKS[1]
    seconds = now - started
    if abs(now - _CLOCKS[0] - lived) > 5 and not 0 <= seconds <= lived + 60:
        warnings.warn("the clock was changed during the job: its time is an estimate", stacklevel=3)
        return lived
    if seconds > 365 * 86400:
        raise ProjectError(
            f"a job cannot have started at {started:.0f}: `started` is time.time() from before the job,"
            " no other clock"
        )
    return max(seconds, 0.0)

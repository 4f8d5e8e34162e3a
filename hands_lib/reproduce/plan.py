"""What a profile of a chapter asks for, and what of it is recorded already.

A chapter whose parameters include `variants` and `seeds` (lists) is one job for each pair; a chapter
with neither is one job. A job is recorded when a record of the present method names this chapter, profile,
variant, seed and these parameters, and the job did not stop half-way on this machine. The variant is the one
that was asked for; a record that does not know it, since a run of several variants made it, has its own.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from hands_lib.reproduce.chapters import (
    SMOKE,
    Chapter,
    Limits,
    list_chapters,
    parameter_values,
    read_limits,
    read_notebook,
    read_presets,
    resolve_parameters,
)
from hands_lib.reproduce.methods import method_versions
from hands_lib.reproduce.project import ProjectError, nearest
from hands_lib.reproduce.records import RunRecord, all_results, sort_damaged

State = Literal["recorded", "stale", "missing"]
ELSEWHERE = re.compile(r"(^|_)(root|folder|device)$")  # parameters that say where, not what


@dataclass(frozen=True)
class PlannedRun:
    """One job: a chapter with the parameters to inject. `variant` and `seed` are None where the chapter has
    no such lists."""

    chapter: Chapter
    profile: str
    variant: str | None
    seed: int | None
    parameters: dict[str, Any]
    parameters_hash: str
    limits: Limits

    @property
    def name(self) -> str:
        """Names the job's files; unique, as its end is a hash of all of it."""
        own = [self.chapter.name, self.profile, self.variant, self.seed, self.parameters_hash]
        digest = hashlib.sha256(json.dumps(own).encode()).hexdigest()[:8]
        words = [
            self.chapter.stem,
            self.profile,
            self.variant or "",
            *([] if self.seed is None else [self.seed]),
        ]
        text = "-".join(
            re.sub(r"[^a-zA-Z0-9]+", "_", str(word)).strip("_")[:40] for word in words if word != ""
        )
        return f"{text}-{digest}"


@dataclass(frozen=True)
class Planned:
    """A job with its state and the wall time of its records (or what earlier records say), in seconds."""

    run: PlannedRun
    state: State
    seconds: int | float | None


def parameters_hash(notebook: Any, parameters: dict[str, Any]) -> str:
    """Hash of all parameters that say what a run does, besides profile, variants and seeds."""
    full = parameter_values(notebook) | parameters
    own = {
        name: value
        for name, value in full.items()
        if name not in ("profile", "variants", "seeds") and not ELSEWHERE.search(name)
    }
    return hashlib.sha256(json.dumps(own, sort_keys=True, default=str).encode()).hexdigest()[:12]


def chapters_of(name: str | None, root: Path, profile: str) -> list[Chapter]:
    """The chapters with a slug, or the one chapter of this name; of the whole book, those with the profile.

    Raises:
        ProjectError: no such slug or chapter, or none of them has the profile; suggests the nearest name.
    """
    chapters = [c for c in list_chapters(root) if not c.back_matter]
    if name is not None:
        own = name.removesuffix(".md").removeprefix("./").removeprefix("book/")
        chosen = [c for c in chapters if own in (c.name, c.stem)] or [c for c in chapters if c.slug == own]
        if not chosen:
            raise nearest(name, {c.slug for c in chapters} | {c.stem for c in chapters}, "slug or chapter")
        chapters = chosen
    with_profile = [c for c in chapters if profile in read_presets(c, root)]
    if not with_profile:
        known = {p for c in chapters for p in read_presets(c, root)}
        raise nearest(profile, known, f"profile of {name or 'the book'}:")
    return with_profile


def planned_runs(chapter: Chapter, root: Path, profile: str, given: dict[str, Any]) -> list[PlannedRun]:
    """The jobs of one chapter.

    Raises:
        ProjectError: `variants` or `seeds` is not a list, or names something twice.
    """
    notebook = read_notebook(chapter, root)
    parameters = resolve_parameters(chapter, notebook, root, profile, given)
    full = parameter_values(notebook) | parameters
    for name in ("variants", "seeds"):
        values = full.get(name, [])
        if not isinstance(values, list | tuple) or len(set(map(str, values))) < len(values):
            raise ProjectError(f"chapter {chapter.name}: {name} is {values!r}; give a list, each entry once")
    digest = parameters_hash(notebook, parameters)
    limits = read_limits(chapter, root, profile)
    runs = []
    for variant in full.get("variants", [None]):
        for seed in full.get("seeds", [None]):
            own = {} if variant is None else {"variants": [variant]}
            own |= {} if seed is None else {"seeds": [seed]}
            runs.append(PlannedRun(chapter, profile, variant, seed, parameters | own, digest, limits))
    return runs


def started_marker(run: PlannedRun, root: Path) -> Path:
    """There from the start of a job until it is finished, so that one killed between two of its records is
    not taken for recorded."""
    return root / "runs" / "started" / run.name


def look_up(runs: list[PlannedRun], root: Path) -> tuple[list[Planned], list[tuple[Path, str]]]:
    """The state of every job, and the damaged records that were found on the way."""
    records, damaged = sort_damaged(sorted(all_results(root).glob("*/*.json")))
    versions = method_versions({(r.slug, r.table) for r in records}, root)
    return [_state(run, records, versions, root) for run in runs], damaged


def _state(
    run: PlannedRun, records: list[RunRecord], versions: dict[tuple[str, str], str], root: Path
) -> Planned:
    start = f"{run.chapter.name}:"
    asked = start + run.parameters_hash
    chapter = [
        r for r in records if r.profile == run.profile and any(a.startswith(start) for a in r.asked_by)
    ]

    def variants(record: RunRecord) -> set[str]:
        known = {a.removeprefix(f"{asked}/") for a in record.asked_by if a.startswith(f"{asked}/")}
        return known or {record.variant}

    variant = [r for r in chapter if run.variant is None or run.variant in variants(r)]
    own = [r for r in variant if run.seed in (None, r.seed) and asked in r.asked_by and run.profile != SMOKE]
    current = [r for r in own if r.method_version == versions[r.slug, r.table]]
    if current and not started_marker(run, root).exists():
        return Planned(run, "recorded", max(r.wall_time for r in current))
    earlier = [r.wall_time for r in own or variant or chapter]
    stale = bool(own) and not current
    return Planned(run, "stale" if stale else "missing", median(earlier) if earlier else None)


def duration(seconds: int | float) -> str:
    """A time as a person says it: `42 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def time_left(planned: list[Planned], jobs_at_once: int = 1) -> int | float | None:
    """Seconds that what is missing takes, as far as earlier records tell; None if they say nothing."""
    missing = [p.seconds for p in planned if p.state != "recorded"]
    known = [seconds for seconds in missing if seconds is not None]
    if missing and not known:
        return None
    # a job that nothing is known of is taken for a usual one
    usual = median(known) if known else 0.0
    return sum(usual if s is None else s for s in missing) / max(1, min(jobs_at_once, len(missing)))


def plan_text(name: str | None, root: Path, profile: str, given: dict[str, Any]) -> str:
    """What `hands plan` prints."""
    runs = [r for c in chapters_of(name, root, profile) for r in planned_runs(c, root, profile, given)]
    planned, damaged = look_up(runs, root)
    rows = [("chapter", "variant", "seed", "state", "time")]
    for p in planned:
        time = "" if p.seconds is None else duration(p.seconds)
        rows.append(
            (
                p.run.chapter.stem,
                p.run.variant or "-",
                "-" if p.run.seed is None else str(p.run.seed),
                {"stale": "missing (a record of an earlier method is there)"}.get(p.state, p.state),
                time if p.state == "recorded" or not time else f"about {time}",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    done = sum(p.state == "recorded" for p in planned)
    left = time_left(planned)
    time = (
        "unknown time, as nothing like it is recorded"
        if left is None
        else f"about {duration(left)} one by one"
    )
    lines.append(
        f"{len(planned)} runs, {done} recorded"
        + (f"; the other {len(planned) - done}: {time}" if done < len(planned) else ": nothing to do")
    )
    if profile == SMOKE:
        lines.append("smoke runs are made anew with every build and never count as recorded")
    lines += [f"damaged: {message}" for _, message in damaged]
    return "\n".join(lines)

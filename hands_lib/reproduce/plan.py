"""What a profile of a chapter asks for, and what of it is recorded already.

A chapter whose parameters include `variants` and `seeds` (lists) is one job for each pair; a chapter with
neither is one job. A job is recorded when the store has a line of this chapter, profile, variant and seed, of
the present version of the chapter and with these parameters.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from hands_lib.reproduce.chapters import (
    Chapter,
    Limits,
    chapter_of,
    list_chapters,
    parameter_values,
    read_limits,
    read_presets,
    resolve_parameters,
    settings_of,
)
from hands_lib.reproduce.jobs import PROFILES, SMOKE, JobLine, file_words
from hands_lib.reproduce.project import ProjectError, nearest
from hands_lib.reproduce.store import Trouble, read_store
from hands_lib.reproduce.values import shown
from hands_lib.reproduce.versions import version_of

State = Literal["recorded", "stale", "missing"]


@dataclass(frozen=True)
class PlannedJob:
    """One job: a chapter with the parameters to inject. `variant` and `seed` are None where the chapter has
    no such lists. `settings` are all parameters that identify the job."""

    chapter: Chapter
    profile: str
    variant: str | None
    seed: int | None
    parameters: dict[str, Any]
    settings: dict[str, Any]
    limits: Limits

    @property
    def name(self) -> str:
        """Names the job's files; unique, as its end is a hash of all of it."""
        own = [self.chapter.name, self.profile, self.variant, self.seed, self.settings]
        digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]
        words = [self.chapter.stem, self.profile, self.variant, self.seed]
        return f"{file_words(*(word for word in words if word is not None))[:90]}-{digest}"


@dataclass(frozen=True)
class Planned:
    """A job with its state and its seconds (or what earlier lines say of them)."""

    job: PlannedJob
    state: State
    seconds: int | float | None


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


def planned_jobs(chapter: Chapter, root: Path, profile: str, given: dict[str, Any]) -> list[PlannedJob]:
    """The jobs of one chapter.

    Raises:
        ProjectError: `variants` is no list of names, `seeds` none of whole numbers, or one is there twice.
    """
    parameters = resolve_parameters(chapter, root, profile, given)
    full = parameter_values(chapter) | parameters
    for name, kind, words in (("variants", str, "names"), ("seeds", int, "whole numbers")):
        values = full.get(name, [])
        good = isinstance(values, list) and all(type(value) is kind and value != "" for value in values)
        if not good or len(set(values)) < len(values):
            raise ProjectError(
                f"chapter {chapter.name}: {name} is {shown(values)}; give a list of {words}, each entry once"
            )
    settings, limits = settings_of(full), read_limits(chapter, root, profile)
    jobs = []
    for variant in full.get("variants", [None]):
        for seed in full.get("seeds", [None]):
            own = {} if variant is None else {"variants": [variant]}
            own |= {} if seed is None else {"seeds": [seed]}
            jobs.append(PlannedJob(chapter, profile, variant, seed, parameters | own, settings, limits))
    return jobs


def plan_of(name: str | None, root: Path, profile: str, given: dict[str, Any]) -> list[PlannedJob]:
    """The jobs of a chapter, a system or the whole book."""
    return [job for c in chapters_of(name, root, profile) for job in planned_jobs(c, root, profile, given)]


def look_up(jobs: Sequence[PlannedJob], root: Path) -> tuple[list[Planned], list[Trouble]]:
    """The state of every job, and what in the store cannot be read."""
    store = read_store(root)
    lines: dict[tuple[str, str, str], list[JobLine]] = {}
    for line in store.lines:
        if line.is_result:
            lines.setdefault((line.slug, line.chapter, line.profile), []).append(line)
    return [
        _state(job, lines.get((job.chapter.slug, job.chapter.stem, job.profile), []), root) for job in jobs
    ], store.trouble


def _state(job: PlannedJob, chapter: list[JobLine], root: Path) -> Planned:
    variant = [line for line in chapter if job.variant in (None, line.job)]
    own = [line for line in variant if job.seed in (None, line.seed) and line.parameters == job.settings]
    version = version_of(job.chapter.slug, job.chapter.stem, root)
    current = [line.seconds for line in own if line.version == version]
    if current:
        return Planned(job, "recorded", max(current))
    earlier = [line.seconds for line in own or variant or chapter]
    return Planned(job, "stale" if own else "missing", median(earlier) if earlier else None)


def command_for(slug: str, stem: str, profiles: Sequence[str], root: Path) -> str:
    """How a person makes the jobs of a chapter, in the smallest of the profiles that it has."""
    chapter = chapter_of(slug, stem, root)
    if chapter is None:
        return f"benchmarks/{slug}/{stem}.py --record"
    for profile in sorted(read_presets(chapter, root).keys() & set(profiles), key=PROFILES.index):
        return f"hands sweep {stem} --profile {profile}"
    return f"nothing, as {stem} has no profile {' or '.join(profiles)}"


def duration(seconds: int | float) -> str:
    """A time as a person says it: `42 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def time_left(planned: Sequence[Planned], jobs_at_once: int = 1) -> int | float | None:
    """Seconds that what is missing takes, as far as earlier lines tell; None if they say nothing."""
    missing = [p.seconds for p in planned if p.state != "recorded"]
    known = [seconds for seconds in missing if seconds is not None]
    if missing and not known:
        return None
    # a job that nothing is known of is taken for a usual one
    usual = median(known) if known else 0.0
    return sum(usual if s is None else s for s in missing) / max(1, min(jobs_at_once, len(missing)))


def plan_text(name: str | None, root: Path, profile: str, given: dict[str, Any]) -> str:
    """What `hands plan` prints."""
    planned, trouble = look_up(plan_of(name, root, profile, given), root)
    rows = [("chapter", "variant", "seed", "state", "time")]
    for p in planned:
        time = "" if p.seconds is None else duration(p.seconds)
        rows.append(
            (
                p.job.chapter.stem,
                p.job.variant or "-",
                "-" if p.job.seed is None else str(p.job.seed),
                {"stale": "missing (recorded by an earlier version)"}.get(p.state, p.state),
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
        f"{len(planned)} jobs, {done} recorded"
        + (f"; the other {len(planned) - done}: {time}" if done < len(planned) else ": nothing to do")
    )
    if profile == SMOKE:
        lines.append("smoke jobs are made anew with every build and never count as recorded")
    lines += [f"damaged: {place}" for place in trouble]
    return "\n".join(lines)

"""Which lines of jobs count, and what they measured in one cell of a table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from hands_lib.reproduce.chapters import preset_parameters
from hands_lib.reproduce.jobs import PROFILES, SMOKE, JobLine
from hands_lib.reproduce.project import find_root
from hands_lib.reproduce.published import read_published, unit_of
from hands_lib.reproduce.store import read_lines
from hands_lib.reproduce.versions import version_of

Kind = Literal["counted", "stale", "other", "unfinished"]
Group = tuple[str, str, str, str]  # profile, data set, its version, protocol: what may be averaged
Rows = dict[tuple[str, str], list[JobLine]]  # (table, row) -> lines


@dataclass(frozen=True)
class Evidence:
    """The lines of one system, sorted out, by table and row.

    counted     those that tables and verdicts are made of
    stale       made by another version of their chapter
    other       of the present version, but with other settings than those that count for the row
    unfinished  smoke jobs, and dirty ones, whose sources nobody can go back to: never results
    """

    slug: str
    root: Path
    lines: Mapping[Kind, Rows]
    _cells: dict[tuple, dict[Group, dict[int, JobLine]]] = field(default_factory=dict, repr=False)

    def tables(self, *kinds: Kind) -> list[str]:
        """That lines of these kinds measured, by name."""
        return sorted({table for kind in kinds for table, _ in self.lines[kind]})

    def of_table(self, table: str, kind: Kind = "counted") -> Rows:
        return {place: own for place, own in self.lines[kind].items() if place[0] == table}

    def cell(
        self, table: str, row: str, column: str, kind: Kind = "counted"
    ) -> dict[Group, dict[int, JobLine]]:
        """Seed -> line, for every group of lines that may be averaged.

        Where several jobs measured the cell, the one with most seeds counts, then the one that is first by
        name; never the one that happened to be written last.
        """
        key = (table, row, column, kind)
        if key not in self._cells:
            found: dict[Group, dict[tuple, dict[int, JobLine]]] = {}
            for line in self.lines[kind].get((table, row), ()):
                if column in line.rows[table][row]:
                    job = (line.chapter, line.job, settings_of(line), line.version)
                    found.setdefault(group_of(line, table), {}).setdefault(job, {})[line.seed] = line
            self._cells[key] = {
                group: jobs[min(jobs, key=lambda job: (-job[-1], -len(jobs[job]), job))]
                for group, jobs in sorted(found.items())
            }
        return self._cells[key]

    def unit(self, table: str, row: str, column: str) -> str:
        return unit_of(self.slug, table, row, column, self.root)

    def label(self, table: str, column: str) -> str:
        """The column's name for people."""
        return read_published(self.slug, self.root).label(table, column)


def group_of(line: JobLine, table: str) -> Group:
    return (line.profile, *line.dataset_for(table), line.protocol)


def settings_of(line: JobLine) -> str:
    return json.dumps([line.chapter, line.parameters, line.inputs], sort_keys=True)


def sort_out(slug: str, lines: Sequence[JobLine], root: Path | None = None) -> Evidence:
    """Which lines of a system count.

    All that count for a row by one profile, data set and protocol have the same settings: those of the
    profile's preset; where it does not say, those with most seeds, then those that are first by their text.
    """
    root = root or find_root()
    version = cache(lambda chapter: version_of(slug, chapter, root))
    preset = cache(lambda chapter, profile: preset_parameters(slug, chapter, profile, root))
    found: dict[Kind, Rows] = {kind: {} for kind in get_args(Kind)}
    present: dict[tuple[Any, ...], dict[str, list[JobLine]]] = {}  # row and group -> settings -> lines
    for line in lines:
        current = line.is_result and line.version == version(line.chapter)
        settings = settings_of(line) if current else ""
        for place in ((table, row) for table, rows in line.rows.items() for row in rows):
            if current:
                key = (place, group_of(line, place[0]))
                present.setdefault(key, {}).setdefault(settings, []).append(line)
            else:
                found["stale" if line.is_result else "unfinished"].setdefault(place, []).append(line)

    def rank(settings: str, own: Sequence[JobLine]) -> tuple[bool, int, str]:
        one = own[0]
        return one.parameters != preset(one.chapter, one.profile), -len({line.seed for line in own}), settings

    for (place, _), choices in present.items():
        best = min(choices, key=lambda s: rank(s, choices[s])) if len(choices) > 1 else None
        for settings, own in choices.items():
            found["counted" if best in (None, settings) else "other"].setdefault(place, []).extend(own)
    return Evidence(slug, root, found)


def read_evidence(slug: str, root: Path | None = None) -> Evidence:
    """The lines of a system in the store, sorted out.

    Raises:
        ProjectError: something in the store cannot be read.
    """
    return sort_out(slug, read_lines(slug, root), root)


def largest(groups: Sequence[Group]) -> list[Group]:
    """Those of the largest profile that ran; smoke is none."""
    best = max((PROFILES.index(profile) for profile, *_ in groups), default=0)
    return [group for group in groups if PROFILES.index(group[0]) == best and group[0] != SMOKE]

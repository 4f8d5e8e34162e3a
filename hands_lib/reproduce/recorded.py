"""What a figure of a table is drawn from: its lines, never numbers typed in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hands_lib.reproduce.evidence import Evidence, Kind, group_of, largest, read_evidence
from hands_lib.reproduce.jobs import SMOKE


@dataclass(frozen=True)
class Recorded:
    """What one profile measured in one table."""

    evidence: Evidence
    table: str
    name: str  # of the profile; empty: nothing was run

    @property
    def _kind(self) -> Kind:
        return "unfinished" if self.name == SMOKE else "counted"

    @property
    def profile(self) -> str:
        """For a figure's title: `cpu profile`, or that it is no result."""
        words = {"": "not run", SMOKE: "a smoke run, not a result"}
        return words.get(self.name, f"{self.name} profile")

    @property
    def is_smoke(self) -> bool:
        """Whether there is nothing but smoke jobs, which are no results."""
        return self.name == SMOKE

    @property
    def rows(self) -> list[str]:
        found = self.evidence.of_table(self.table, self._kind)
        return sorted(row for (_, row), lines in found.items() if self.name in {one.profile for one in lines})

    def metrics(self, row: str) -> list[str]:
        """Names of what was measured of a row, in the order of the line."""
        lines = self.evidence.of_table(self.table, self._kind).get((self.table, row), [])
        own = (line.rows[self.table][row] for line in lines if line.profile == self.name)
        return list(dict.fromkeys(name for metrics in own for name in metrics))

    def by_seed(self, row: str, metric: str, dataset: str | None = None) -> dict[int, float]:
        """Seed -> number; empty where the row was not run. Of a row that was measured on several data sets or
        by several protocols, those of `dataset`, and of the first by name."""
        groups = self.evidence.cell(self.table, row, metric, self._kind)
        wanted = [
            own for group, own in groups.items() if group[0] == self.name and dataset in (None, group[1])
        ]
        lines = wanted[0] if wanted else {}
        return {seed: line.rows[self.table][row][metric] for seed, line in sorted(lines.items())}

    def values(self, row: str, metric: str) -> list[float]:
        """The numbers of `by_seed`."""
        return list(self.by_seed(row, metric).values())

    def mean(self, row: str, metric: str) -> float:
        """Over the seeds; NaN where the row was not run, which a figure leaves out."""
        return float(np.mean(self.values(row, metric) or [np.nan]))

    def bars(self, rows: Sequence[str], metric: str) -> dict[str, Any]:
        """`y` and `error_y` of a plotly trace: the mean, and the range over the seeds."""
        found = [self.values(row, metric) or [np.nan] for row in rows]
        middle = [float(np.mean(values)) for values in found]
        above, below = (
            [abs(end(values) - m) for values, m in zip(found, middle, strict=True)] for end in (max, min)
        )
        return {"y": middle, "error_y": {"array": above, "arrayminus": below}}


def recorded(slug: str, table: str, root: Path | None = None) -> Recorded:
    """What counts of a table: of the largest profile that ran, or smoke jobs where there are no others.

    Raises ProjectError: something in the store cannot be read.
    """
    evidence = read_evidence(slug, root)
    counted, unfinished = (
        [group_of(line, table) for lines in evidence.of_table(table, kind).values() for line in lines]
        for kind in ("counted", "unfinished")
    )
    profiles = [profile for profile, *_ in largest(counted)] or [p for p, *_ in unfinished if p == SMOKE]
    return Recorded(evidence, table, profiles[0] if profiles else "")

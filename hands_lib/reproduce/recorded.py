"""What a figure of a table is drawn from: its records, never numbers typed in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hands_lib.reproduce.records import RunRecord, read_records
from hands_lib.reproduce.verdicts import largest, sort_out, values_of


@dataclass(frozen=True)
class Recorded:
    """The records of one table by one profile."""

    records: Sequence[RunRecord]

    @property
    def profile(self) -> str:
        """For a figure's title: `cpu profile`, or that it is no result."""
        names = {record.profile for record in self.records}
        if not names:
            return "not run"
        return "a smoke run, not a result" if names == {"smoke"} else f"{', '.join(sorted(names))} profile"

    @property
    def rows(self) -> list[str]:
        return sorted({record.variant for record in self.records})

    def metrics(self, row: str) -> list[str]:
        """Names of what was measured of a row, in the order of the record."""
        own = (record.metrics for record in self.records if record.variant == row)
        return list(dict.fromkeys(name for metrics in own for name in metrics))

    def values(self, row: str, metric: str) -> list[float]:
        """One number for each seed; empty where the row was not run."""
        return list(values_of(self.records, row, metric).values())

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
    """The records of a table by the present method: of the largest profile that ran, or smoke ones where
    there are no others.

    Raises ProjectError for a damaged record.
    """
    own = [record for record in read_records(slug, root) if record.table == table]
    found = largest(sort_out(own, root).counted)
    return Recorded(found or [record for record in own if record.profile == "smoke"])

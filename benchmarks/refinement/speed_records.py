"""How the measurements of this folder reach the book: one run record for each contender."""

import os
from typing import Any

from hands_lib.reproduce import Run, record_run


def record_speeds(
    table: str,
    found: dict[str, dict[str, float]],
    unit: str,
    *,
    device: str,
    dataset: str,
    protocol: str,
    config: dict[str, Any],
    seed: int,
    started: float,
) -> None:
    """Write a record for each row of `found` (row -> column -> number, all in one unit), and how busy the
    machine was, into `table` of book/published/refinement.yml."""
    on_cpu = device == "cpu"
    load = {"load average": (os.getloadavg()[0], "1")}
    for variant, columns in found.items():
        run = Run(
            slug="refinement",
            table=table,
            variant=variant,
            seed=seed,
            profile="cpu" if on_cpu else "gpu",
            dataset=dataset,
            dataset_version="1",
            config=config,
        )
        record_run(
            run,
            protocol=protocol,
            metrics={column: (value, unit) for column, value in columns.items()} | load,
            started=started,
            device="cpu" if on_cpu else None,
        )

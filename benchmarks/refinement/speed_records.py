"""How the measurements of this folder reach the book: one job with a row for each contender."""

import os
from typing import Any

from hands_lib.reproduce import Job, record_job


def record_speeds(
    script: str,
    table: str,
    found: dict[str, dict[str, float]],
    *,
    device: str,
    dataset: str,
    protocol: str,
    parameters: dict[str, Any],
    seed: int,
    started: float,
) -> None:
    """Record the job of a script: rows (row -> column -> number) of a table of book/published/refinement.yml,
    and how busy the machine was."""
    job = Job(
        "refinement",
        script,
        table,
        seed,
        profile="cpu" if device == "cpu" else "gpu",
        dataset=dataset,
        parameters=parameters,
    )
    load = {"load average": os.getloadavg()[0]}
    record_job(
        job,
        {table: {row: columns | load for row, columns in found.items()}},
        protocol=protocol,
        started=started,
        device="cpu" if device == "cpu" else None,
    )

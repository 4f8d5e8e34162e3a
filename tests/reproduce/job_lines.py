"""Lines of jobs for tests of what is made of them: written into a store without a job that ran."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hands_lib.reproduce.jobs import JobLine

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def job_line(slug: str, job: str, seed: int, rows: dict, **about: Any) -> JobLine:
    """rows: table -> row -> column -> number."""
    own = {
        "chapter": "chapter",
        "profile": "cpu",
        "version": 1,
        "commit": COMMIT,
        "dataset": "world",
        "dataset_version": "1",
        "protocol": "mean",
        "seconds": 60.0,
        "device": "CPU",
        "libraries": {"python": "3.11.7"},
        "created": datetime(2026, 1, 1, tzinfo=UTC),
    } | about
    return JobLine(format=1, slug=slug, job=job, seed=seed, rows=rows, **own)


def add_line(root: Path, line: JobLine) -> None:
    """Into `book/results`, or `runs/done` where it is no result."""
    path = root / "book" / "results" / line.slug / f"{line.chapter}.jsonl"
    path = path if line.is_result else root / "runs" / "done" / line.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a" if line.is_result else "w", encoding="utf-8") as file:
        file.write(line.text + "\n")

"""Running the book and keeping its numbers: records, published tables, verdicts, the chapter runner, sweeps.

A chapter needs three names from here: `Run`, which says what is measured, `record_run` after the measurement,
and `compare` to set it beside the paper. One that trains needs `find_record` too, which says that a run is
recorded already, and the checkpoints; one that plays with a trained network needs `latest_record` and
`load_weights`.
"""

from hands_lib.reproduce.checkpoints import checkpoint_path, load_checkpoint, save_checkpoint
from hands_lib.reproduce.interactive import choose_runs
from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.records import (
    RunRecord,
    find_record,
    latest_record,
    load_weights,
    read_records,
    record_run,
)
from hands_lib.reproduce.runs import Run
from hands_lib.reproduce.tables import compare, results_page, status_page

__all__ = [
    "ProjectError",
    "Run",
    "RunRecord",
    "checkpoint_path",
    "choose_runs",
    "compare",
    "find_record",
    "find_root",
    "latest_record",
    "load_checkpoint",
    "load_weights",
    "read_records",
    "record_run",
    "results_page",
    "save_checkpoint",
    "status_page",
]

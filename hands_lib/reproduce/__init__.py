"""Running the book and keeping its numbers: records, published tables, verdicts, the chapter runner, sweeps.

A chapter needs two names from here: `record_run` after a measurement, `compare` to set it beside the paper.
One that trains needs `find_record` too, which says that a run is recorded already, and the checkpoints.
"""

from hands_lib.reproduce.checkpoints import checkpoint_path, load_checkpoint, save_checkpoint
from hands_lib.reproduce.interactive import choose_runs
from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.records import RunRecord, find_record, load_weights, read_records, record_run
from hands_lib.reproduce.tables import compare, results_page, status_page

__all__ = [
    "ProjectError",
    "RunRecord",
    "checkpoint_path",
    "choose_runs",
    "compare",
    "find_record",
    "find_root",
    "load_checkpoint",
    "load_weights",
    "read_records",
    "record_run",
    "results_page",
    "save_checkpoint",
    "status_page",
]

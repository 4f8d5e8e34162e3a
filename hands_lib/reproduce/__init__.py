"""Running the book and keeping its numbers: run records, published tables, verdicts, the chapter runner.

A chapter needs two names from here: `record_run` after a measurement, `compare` to set it beside the paper.
"""

from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.records import RunRecord, read_records, record_run
from hands_lib.reproduce.tables import compare, results_page, status_page

__all__ = [
    "ProjectError",
    "RunRecord",
    "compare",
    "find_root",
    "read_records",
    "record_run",
    "results_page",
    "status_page",
]

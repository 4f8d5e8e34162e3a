"""Running the book and keeping its numbers: jobs, published tables, verdicts, the chapter runner, sweeps.

A chapter needs four names from here: `chapter_parameters` and `Job`, which say what is measured, `record_job`
after the measurement, and `compare` to set it beside the paper. One that trains needs `find_job` too, which
says that a job is recorded already, and the checkpoints; one that plays with a trained network needs
`trained` and `load_weights`.
"""

from hands_lib.reproduce.chapters import chapter_parameters
from hands_lib.reproduce.checkpoints import checkpoint_path, load_checkpoint, save_checkpoint
from hands_lib.reproduce.interactive import choose_runs
from hands_lib.reproduce.jobs import Job, JobLine
from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.score import scores
from hands_lib.reproduce.status import status_page
from hands_lib.reproduce.store import find_job, read_lines, record_job
from hands_lib.reproduce.tables import compare, system_page, waiting_page
from hands_lib.reproduce.trained import load_weights, trained

__all__ = [
    "Job",
    "JobLine",
    "ProjectError",
    "chapter_parameters",
    "checkpoint_path",
    "choose_runs",
    "compare",
    "find_job",
    "find_root",
    "load_checkpoint",
    "load_weights",
    "read_lines",
    "record_job",
    "save_checkpoint",
    "scores",
    "status_page",
    "system_page",
    "trained",
    "waiting_page",
]

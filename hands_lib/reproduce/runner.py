"""Executing chapters with papermill and building the book from exactly those outputs.

A chapter runs again when something it can depend on changed: see `source_key`. The outputs are put into the
cache that Jupyter Book reads (`execute_notebooks: cache`), so Jupyter Book itself runs nothing.
"""

import concurrent.futures
import fcntl
import hashlib
import json
import logging
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient.exceptions import DeadKernelError
from tqdm import tqdm
from traitlets import default
from traitlets.config import Config

from hands_lib.reproduce.chapters import (
    Chapter,
    book_pages,
    list_chapters,
    read_notebook,
    resolve_parameters,
)
from hands_lib.reproduce.collecting import collect
from hands_lib.reproduce.jobs import ASKED, SMOKE, Asked
from hands_lib.reproduce.output_checks import faults
from hands_lib.reproduce.project import (
    ProjectError,
    own_prefix,
    remove_leftovers,
    replacing,
    write_atomically,
)
from hands_lib.reproduce.results_data import write_results
from hands_lib.reproduce.store import runs_folder
from hands_lib.reproduce.versions import modules_reached, read_versions

PACKAGE = Path(__file__).resolve().parents[1]  # the hands_lib that chapters import
WORKERS = 2
CELL_TIMEOUT = 1200  # seconds; for the book's own build, so that a hanging cell is an error
WIDGET = "application/vnd.jupyter.widget-view+json"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Outcome:
    """One execution. `failure` is the report to print; `notebook` is then the last good one, if any."""

    chapter: Chapter
    notebook: Path
    seconds: float
    failure: str | None = None


# --- what an execution depends on ---------------------------------------------------------------------


def _data_listing() -> str:
    """Two levels of HANDS_DATA with sizes: enough to see that data came, went or changed, at any size."""
    root = os.environ.get("HANDS_DATA")
    if not root or not Path(root).is_dir():
        return "no data"
    lines = []
    for top in sorted(Path(root).iterdir()):
        readable = top.is_dir() and os.access(top, os.R_OK | os.X_OK)
        for path in [top, *(sorted(top.iterdir()) if readable else [])]:
            lines.append(f"{path.relative_to(root)} {path.stat().st_size if path.is_file() else 'folder'}")
    return "\n".join(lines)


def _code_cells(notebook: Any) -> list[tuple[str, list[str]]]:
    """What of a notebook is run, with the tags that a run goes by."""
    return [
        (cell.source, sorted({"parameters", "method"} & set(cell.metadata.get("tags", []))))
        for cell in notebook.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]


def source_key(chapter: Chapter, root: Path) -> str:
    """Hash of everything that can change a chapter's outputs: its code and header, what it imports, the lock,
    manifests, presets, published tables, versions and collected results, the data at hand; for back matter
    the jobs that are not collected and the other chapters' notebooks as well."""
    files = [root / "requirements.lock", *modules_reached(chapter.path)]
    for folder, pattern in [
        ("data_manifests", "*.yml"),
        ("book/presets", "*.yml"),
        ("book/published", "*.yml"),
        ("book/results", "*.jsonl"),
    ]:
        files += sorted((root / folder).rglob(pattern))
    if chapter.back_matter:  # the others write smoke jobs themselves
        files += sorted((runs_folder(root) / "done").glob("*.json"))
        files += sorted(
            executed_path(c, root)
            for c in list_chapters(root)
            if not c.back_matter and executed_path(c, root).exists()
        )
    # the numbers alone: `hands same` writes digests into that file, which no page shows
    versions = sorted((name, entry.version) for name, entry in read_versions(root).items())
    notebook = read_notebook(chapter, root)
    own = [chapter.name, notebook.metadata, _code_cells(notebook)]
    context = [sys.version_info[:2], versions, _data_listing(), json.dumps(own, sort_keys=True)]
    digest = hashlib.sha256(os.fsencode("\n".join(map(str, context))))
    for path in files:
        digest.update(os.fsencode(os.path.relpath(path, root)))
        digest.update(path.read_bytes() if path.is_file() else b"missing")
    return digest.hexdigest()


def executed_path(chapter: Chapter, root: Path) -> Path:
    """Where the book's own execution of a chapter lies."""
    return root / "_build" / "executed" / chapter.path.relative_to(root).with_suffix(".ipynb")


def _key_of(notebook: Path, sources: str) -> str:
    """What lies beside the book's own notebook: a damaged one is told from what was written."""
    return f"{sources} {hashlib.sha256(notebook.read_bytes()).hexdigest()}"


def is_current(chapter: Chapter, root: Path) -> bool:
    """Whether the executed notebook belongs to the present sources, and is as it was written."""
    path = executed_path(chapter, root)
    key = path.with_suffix(".key")
    if not (path.is_file() and key.is_file()):
        return False
    return key.read_bytes() == _key_of(path, source_key(chapter, root)).encode()


# --- one chapter ---------------------------------------------------------------------------------------


def read_chapter(chapter: Chapter, root: Path) -> Any:
    """The chapter as a notebook whose code cells know their number and their first line in the .md."""
    lines = chapter.path.read_text(encoding="utf-8").splitlines()
    notebook = read_notebook(chapter, root)
    start = number = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        number += 1
        body = cell.source.splitlines()
        for i in range(start, len(lines) - len(body) + 1):
            # a cell's text stands right before the closing fence, after its options
            if body and lines[i : i + len(body)] == body and any("{code-cell}" in x for x in lines[start:i]):
                start = i + len(body)
                cell.metadata["hands"] = {"cell": number, "line": i + 1}
                break
        else:
            cell.metadata["hands"] = {"cell": number, "line": start + 1}
    return notebook


def _failure(chapter: Chapter, root: Path, notebook: Any) -> str | None:
    """Chapter, cell, line and error of the first cell with an error output."""
    for cell in notebook.cells:
        errors = [out for out in cell.get("outputs", []) if out.output_type == "error"]
        if not errors:
            continue
        place = cell.metadata.get("hands")
        source = chapter.path.relative_to(root)
        error = errors[0]
        if place is None:
            return f"{source}: in the injected parameters\n  {error.ename}: {error.evalue}"
        trace = ANSI.sub("", "\n".join(error.traceback))
        frames = re.findall(rf"Cell In\s?\[{cell.execution_count}\], line (\d+)", trace)
        offset = int(frames[-1]) - 1 if frames else 0  # the deepest frame that stands in this cell
        text = cell.source.splitlines()[offset].strip() if cell.source else ""
        return (
            f"{source}:{place['line'] + offset}: cell {place['cell']} failed\n"
            f"    {text}\n  {error.ename}: {error.evalue}".rstrip()
        )
    return None


@contextmanager
def _environment(root: Path, threads: int | None, asked: Asked) -> Iterator[None]:
    """Kernels inherit this: numerical threads, IPython's files inside the build folder, and that `hands` has
    started them."""
    ipython = root / "_build" / ".ipython"
    ipython.mkdir(parents=True, exist_ok=True)
    wanted = {"IPYTHONDIR": str(ipython), "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", ASKED: asked.text}
    if threads:
        wanted |= dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class _OwnKernel(AsyncKernelManager):
    """The kernel of this interpreter, whatever else is installed on this machine as `python3`."""

    @default("kernel_spec_manager")
    def _without_folders(self) -> KernelSpecManager:
        manager = KernelSpecManager()
        manager.kernel_dirs = []
        return manager


class _OutOfTime(BaseException):
    """Of no `except Exception` on its way."""


@dataclass
class _TimeLimit:
    """Stops a block after some seconds, from within, so that papermill still ends its kernel.

    The exception may arrive anywhere: an event loop may swallow it in a callback, or another error may come
    out of the place that it broke. So it comes again, and `passed` says what really happened.
    """

    seconds: int | float | None
    passed: bool = False

    def _stop(self, *_: object) -> None:
        self.passed = True
        raise _OutOfTime

    def __enter__(self) -> "_TimeLimit":
        if self.seconds:
            self._before = signal.signal(signal.SIGALRM, self._stop)
            signal.setitimer(signal.ITIMER_REAL, self.seconds, 10)
        return self

    def __exit__(self, *_: object) -> None:
        if self.seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)


def _seconds_of_children() -> float:
    """Seconds that processors have spent on processes that this one started and that have ended: on kernels.
    How busy the machine is hardly changes them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def execute(
    chapter: Chapter,
    root: Path,
    target: Path,
    parameters: Mapping[str, Any] | None = None,
    threads: int | None = None,
    timeout: int | None = None,
    progress: bool = False,
    asked: Asked | None = None,
    time_limit: int | float | None = None,
) -> Outcome:
    """Run a chapter into `target`. A failing run leaves `<target>.failed.ipynb` and no other trace.

    timeout: of one cell, time_limit: of the whole run, both in seconds.
    """
    own = target == executed_path(chapter, root)
    key = source_key(chapter, root) if own else ""  # before: an edit meanwhile is not what is executed
    failed = target.with_suffix(".failed.ipynb")
    work = target.with_name(f"{own_prefix(target.stem)}ipynb")
    work_name = str(work).replace("{", "{{").replace("}", "}}")  # papermill fills in parameters
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent)
    # papermill writes what JSON does not know as code that runs
    injected = json.loads(json.dumps(dict(parameters or {}), allow_nan=False))
    logging.getLogger("papermill").setLevel(logging.ERROR)
    start, limit, computed = time.time(), _TimeLimit(time_limit), _seconds_of_children()
    try:
        nbformat.write(read_chapter(chapter, root), work)
        with _environment(root, threads, asked or Asked()), limit:
            papermill.execute_notebook(
                work_name,
                work_name,
                parameters=injected,
                cwd=chapter.path.parent,
                kernel_name="python3",
                progress_bar={"desc": chapter.stem, "leave": False} if progress else False,
                log_output=False,
                execution_timeout=timeout,
                kernel_manager_class=_OwnKernel,
                # else ipykernel warns that other users of the machine could listen
                config=Config(
                    KernelManager=Config(transport_encryption="required"),
                    # a kernel that is stopped after a failing cell would talk into our report
                    NotebookClient=Config(extra_arguments=["--log-level=50"]),
                ),
            )
    except (Exception, _OutOfTime) as error:  # whatever happened in the kernel belongs in one report
        report = None
        if work.is_file():
            with suppress(Exception):  # the disk was full while it was written
                report = _failure(chapter, root, nbformat.read(work, 4))
            os.replace(work, failed)
        source = chapter.path.relative_to(root)
        if limit.passed:
            report = f"{source}: stopped after its time limit of {time_limit:.0f} s"
        elif isinstance(error, DeadKernelError):
            report = f"{source}: its kernel died (killed, or out of memory)"
        lines = (report or f"{source}: {type(error).__name__}: {error}").splitlines()
        shown = [line[:300] for line in lines[:12]]
        shown.append(
            f"  full traceback: {failed.relative_to(root) if failed.is_relative_to(root) else failed}"
        )
        return Outcome(chapter, target, time.time() - start, "\n".join(shown))
    finally:
        if sys.exc_info()[0] is not None:
            work.unlink(missing_ok=True)
    seconds = time.time() - start
    notebook = nbformat.read(work, 4)
    work.unlink()
    notebook.metadata["hands_seconds"] = round(seconds, 1)
    notebook.metadata["hands_cpu_seconds"] = round(_seconds_of_children() - computed, 1)
    with replacing(target) as temporary:
        nbformat.write(notebook, temporary)
    if own:
        write_atomically(target.with_suffix(".key"), _key_of(target, key))
    failed.unlink(missing_ok=True)
    return Outcome(chapter, target, seconds)


def run_chapter(
    chapter: Chapter,
    root: Path,
    profile: str,
    given: dict[str, Any],
    force: bool = False,
    time_limit: int | float | None = None,
    dirty: bool = False,
) -> Outcome:
    """`hands run`: the plain smoke run becomes the book's own output, any other goes below `runs/`."""
    progress = sys.stderr.isatty()
    parameters = resolve_parameters(chapter, root, profile, given)
    if profile == SMOKE and not (given or force or time_limit):
        return execute(chapter, root, executed_path(chapter, root), threads=1, progress=progress)
    values = "".join(f"-{name}={value}" for name, value in sorted(given.items()))
    name = re.sub(r"[^\w.=+-]+", "_", profile + values, flags=re.ASCII)[:120]
    target = root / "runs" / chapter.name / f"{name}.ipynb"
    asked = Asked(force, dirty)
    return execute(chapter, root, target, parameters, progress=progress, asked=asked, time_limit=time_limit)


# --- the book ------------------------------------------------------------------------------------------


def _is_progress(output: Any) -> bool:
    """Whether an output is a bar; a k3d figure has a widget too, besides its own data."""
    return WIDGET in output.get("data", {}) and set(output["data"]) <= {WIDGET, "text/plain", "text/html"}


def publish(outcome: Outcome, root: Path) -> None:
    """Hand the outputs to Jupyter Book: to its cache, under the source's own cells, which is what it hashes,
    and as the clean notebook that the page offers for download."""
    import jupytext  # these here, as they cost every job of a sweep a second
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    notebook = jupytext.read(outcome.chapter.path)
    cells, ran = (
        [
            cell
            for cell in own.cells
            if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
        ]
        for own in (notebook, nbformat.read(outcome.notebook, 4))
    )
    for cell, done in zip(cells, ran, strict=True):
        # a bar that came on a slow machine is over, and would be a second output of a figure's cell
        cell.outputs = [output for output in done.outputs if not _is_progress(output)]
        cell.execution_count = done.execution_count
    get_cache(root / "_build" / ".jupyter_cache").cache_notebook_bundle(
        CacheBundleIn(notebook, str(outcome.chapter.path), data={"execution_seconds": outcome.seconds}),
        check_validity=False,
        overwrite=True,
    )
    offered = (root / "_build" / "notebooks" / outcome.chapter.path.relative_to(root)).with_suffix(".ipynb")
    offered.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, offered)


def _current_or_execute(job: tuple[Chapter, Path]) -> Outcome:
    chapter, root = job
    target = executed_path(chapter, root)
    if is_current(chapter, root):
        return Outcome(chapter, target, 0.0)
    return execute(chapter, root, target, threads=1, timeout=CELL_TIMEOUT)


def execute_book(root: Path, only: Sequence[Chapter] | None = None) -> list[Outcome]:
    """Execute what changed, two chapters at a time; pages that show the others' records come last. `only`
    some of them: the others stay as they were executed last."""
    chapters = list_chapters(root) if only is None else only
    outcomes = []
    context = multiprocessing.get_context("spawn")  # torch and forks do not mix
    quiet = not sys.stderr.isatty()
    with tqdm(total=len(chapters), desc="chapters", unit="chapter", disable=quiet) as bar:
        for back in (False, True):
            jobs = [(chapter, root) for chapter in chapters if chapter.back_matter is back]
            if not any(not is_current(chapter, root) for chapter, _ in jobs):
                outcomes += [Outcome(chapter, executed_path(chapter, root), 0.0) for chapter, _ in jobs]
                bar.update(len(jobs))
                continue
            with concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
                for future in concurrent.futures.as_completed(
                    pool.submit(_current_or_execute, job) for job in jobs
                ):
                    try:
                        outcome = future.result()
                    except BrokenProcessPool as error:
                        raise ProjectError(
                            "a process that executed a chapter was killed: build again"
                        ) from error
                    outcomes.append(outcome)
                    bar.update()
                    done = "FAILED" if outcome.failure else f"{outcome.seconds:.1f} s"
                    tqdm.write(f"{outcome.chapter.name}: {done if outcome.seconds else 'up to date'}")
            if any(outcome.failure for outcome in outcomes):
                break
    return outcomes


def _site_key(root: Path, outcomes: list[Outcome]) -> str:
    """Hash of what the rendered pages depend on besides the executions."""
    digest = hashlib.sha256()
    files = [
        *root.glob("_*.yml"),
        root / "CITATION.cff",
        *(PACKAGE / "pages").rglob("*"),
        *(root / "book").rglob("*"),
    ]
    files += (PACKAGE / "reproduce").iterdir()
    for path in sorted(path for path in files if path.is_file() and path.suffix != ".ipynb"):
        digest.update(os.fsencode(os.path.relpath(path, root)) + path.read_bytes())
    for outcome in sorted(outcomes, key=lambda o: o.chapter.name):
        digest.update(outcome.notebook.read_bytes())
    return digest.hexdigest()


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Two builds of the same checkout wait for each other."""
    (root / "_build").mkdir(exist_ok=True)
    with open(root / "_build" / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_book(root: Path, only: Sequence[Chapter] | None = None) -> Path:
    """Execute what changed and render the site; returns its start page.

    only: while one writes, execute these alone. The others show what they showed last, and the next whole
    build makes all of it anew.

    Raises:
        ProjectError: a cell failed, an output shows what no page may show (`output_checks`), a chapter that
            is not built anew was not executed as it stands, or Jupyter Book found something wrong. The last
            good site stays when a cell fails.
    """
    with _one_at_a_time(root):
        for text in collect(root):
            print(text, file=sys.stderr)
        outcomes = execute_book(root, only)
        if only is not None:
            outcomes += _executed_before(root, only)
        failures = [outcome.failure for outcome in outcomes if outcome.failure]
        if failures:
            raise ProjectError("\n\n".join(failures))
        _check_outputs(outcomes, root)
        html, stamp = root / "_build" / "html", root / "_build" / ".site.json"
        key = _site_key(root, outcomes)
        page = html / "index.html"
        if only is None and _is_whole(html, stamp, key):
            return page
        stamp.unlink(missing_ok=True)
        for made_again in (".doctrees", ".jupyter_cache"):  # else pages keep their old outputs
            shutil.rmtree(root / "_build" / made_again, ignore_errors=True)
        for outcome in outcomes:
            publish(outcome, root)
        _render(root)
        write_results(root, html / "_static")
        pages = [(html / path.relative_to(root)).with_suffix(".html") for path in book_pages(root)]
        missing = [str(path.relative_to(html)) for path in [page, *pages] if not path.is_file()]
        if missing:
            raise ProjectError(f"Jupyter Book left out {', '.join(missing)}: see _build/build.log")
        if only is None:
            write_atomically(stamp, json.dumps({"key": key, "files": _sizes(html)}))
        return page


def _check_outputs(outcomes: Sequence[Outcome], root: Path) -> None:
    """Raises ProjectError: an output shows what no page may show; one line for each."""
    found = []
    for outcome in outcomes:
        page = str(outcome.chapter.path.relative_to(root))
        found += faults(nbformat.read(outcome.notebook, 4), page, root)
    if found:
        raise ProjectError("\n".join(found))


def _executed_before(root: Path, but: Sequence[Chapter]) -> list[Outcome]:
    """All chapters but some, as they were executed last, with the sources that they have now."""
    found = [Outcome(c, executed_path(c, root), 0.0) for c in list_chapters(root) if c not in but]
    missing = [outcome.chapter.stem for outcome in found if not _fits(outcome, root)]
    if missing:
        raise ProjectError(f"not executed as they stand: {', '.join(missing)}; name them too, or build all")
    return found


def _fits(outcome: Outcome, root: Path) -> bool:
    """Whether an executed notebook has the code that the chapter has now."""
    if not outcome.notebook.is_file():
        return False
    then = nbformat.read(outcome.notebook, 4)
    return _code_cells(read_notebook(outcome.chapter, root)) == _code_cells(then)


def _sizes(html: Path) -> dict[str, int]:
    """Every file of the site with its bytes."""
    return {str(path.relative_to(html)): path.stat().st_size for path in html.rglob("*") if path.is_file()}


def _is_whole(html: Path, stamp: Path, key: str) -> bool:
    """Whether the site belongs to the key and has every file that it was built with."""
    try:
        built = json.loads(stamp.read_text(encoding="utf-8"))
        return built["key"] == key and built["files"].items() <= _sizes(html).items()
    except (OSError, ValueError, TypeError, LookupError, AttributeError):  # never built, or a damaged stamp
        return False


def _render(root: Path) -> None:
    log = root / "_build" / "build.log"
    start = "from jupyter_book.cli.main import main; main()"  # this interpreter's, whatever PATH says
    command = [sys.executable, "-c", start, "build", str(root), "-n", "-W", "--keep-going"]
    with open(log, "w", encoding="utf-8") as file:
        environment = os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONUTF8": "1"}
        code = subprocess.call(command, stdout=file, stderr=subprocess.STDOUT, cwd=root, env=environment)
    text = ANSI.sub("", log.read_text(encoding="utf-8", errors="replace"))
    for line in text.splitlines():
        if line.startswith("figures: "):  # see hands_lib/pages/site_files.py
            print(line, file=sys.stderr)
    if code:
        found = [line for line in text.splitlines() if re.search(r"WARNING|ERROR|CRITICAL|Error:", line)]
        shown = "\n".join(line[:300] for line in (found or text.splitlines())[-30:])
        raise ProjectError(f"Jupyter Book found something wrong (log: {log.relative_to(root)})\n{shown}")
    if "Executing notebook" in text:
        raise ProjectError(
            "Jupyter Book executed a chapter by itself: its cache had no entry for it "
            f"(log: {log.relative_to(root)})"
        )

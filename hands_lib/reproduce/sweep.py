"""Sweeps: the missing jobs of a profile, spread over cores, GPUs or a cluster by Snakemake.

The store is the only truth about what is done: every call plans anew from it and hands Snakemake just the
jobs that are missing, so nothing has to be unlocked, cleaned or marked complete after a crash. There are two
kinds of lock, which the system releases when their process dies: one of a chapter and profile, held by a
sweep and its Snakemake, and one of a job, held by the process that executes it; a second one waits for it and
then finds the job recorded.

    runs/sweeps/<name>-<profile>/   jobs.json, snakemake.log, logs/<job>.log, done/<job>,
                                    failed/<job> (its report)
    runs/locks/                     the locks

As a module (`python -m hands_lib.reproduce.sweep jobs.json JOB`) it executes one job; Snakemake calls that.
"""

import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from hands_lib.reproduce.chapters import find_chapter
from hands_lib.reproduce.collecting import collect
from hands_lib.reproduce.jobs import SMOKE
from hands_lib.reproduce.plan import (
    Planned,
    PlannedJob,
    duration,
    look_up,
    plan_of,
    planned_jobs,
    time_left,
)
from hands_lib.reproduce.project import ProjectError, nearest, remove_leftovers, write_atomically
from hands_lib.reproduce.store import RESULTS, results_folder, runs_folder

RETRIES = 2  # attempts after the first one; each goes on from the checkpoint
GRACE = 5.0  # seconds that jobs have to stop after Ctrl-C
ALIVE = "alive"  # file whose lock a sweep holds as long as it lives
CLUSTERS = "profiles"  # folder of Snakemake profiles, beside `book/`


# --- locks ---------------------------------------------------------------------------------------------


def _lock_path(root: Path, name: str) -> Path:
    path = root / "runs" / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _try_lock(path: Path) -> TextIO | None:
    """The open file that holds the lock, or None if another process holds it."""
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - it is held, not read
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def _holder(path: Path) -> str:
    """Who says that they hold the lock; they say so a moment after they have it, if they live so long."""
    with open(path, encoding="utf-8") as file:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return "another process, which has ended"
            file.seek(0)
            if said := file.read():
                return said
            time.sleep(0.05)


@contextmanager
def _lock_chapters(jobs: list[PlannedJob], root: Path) -> Iterator[list[TextIO]]:
    held: list[TextIO] = []
    try:
        for chapter, profile in sorted({(job.chapter.name, job.profile) for job in jobs}):
            path = _lock_path(root, f"sweep-{chapter.replace('/', '.')}-{profile}")
            file = _try_lock(path)
            if file is None:
                owner = _holder(path)
                raise ProjectError(
                    f"a sweep of chapter {chapter}, profile {profile}, is running already ({owner}): "
                    "nothing was started; `hands plan` shows how far it is"
                )
            held.append(file)
        yield held
    finally:
        for file in held:
            file.close()


# --- one job, called by Snakemake ----------------------------------------------------------------------


@contextmanager
def _one_gpu(root: Path, gpus: int) -> Iterator[None]:
    """Of several GPUs in `$HANDS_GPUS` (0,1,2), let the kernel see as many as the job may use."""
    known = [name for name in os.environ.get("HANDS_GPUS", "").split(",") if name]
    if not gpus or not known:
        yield
        return
    if gpus > len(known):
        raise ProjectError(f"a job asks for {gpus} GPUs, HANDS_GPUS names {len(known)}: change `limits`")
    held: dict[str, TextIO] = {}
    host = socket.gethostname()
    # one process takes its GPUs at a time, so that two jobs never hold half of what each of them needs
    with open(_lock_path(root, f"gpus-{host}"), "w", encoding="utf-8") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        while len(held) < gpus:
            for name in known:
                if name not in held and len(held) < gpus:
                    file = _try_lock(_lock_path(root, f"gpu-{host}-{name}"))
                    if file is not None:
                        held[name] = file
            if len(held) < gpus:
                time.sleep(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
    try:
        yield
    finally:
        for file in held.values():
            file.close()


def run_job(jobs: Path, name: str) -> int:
    """Execute one job of jobs.json unless it is recorded by now; returns the exit code."""
    failed = jobs.parent / "failed" / name
    failed.unlink(missing_ok=True)
    try:
        content = json.loads(jobs.read_text(encoding="utf-8"))
        if content["local"]:
            threading.Thread(target=_end_with, args=(jobs.parent / ALIVE,), daemon=True).start()
        failure = _run_job(content, name)
    except ProjectError as error:
        failure = f"hands: {error}"
    if not failure:
        return 0
    print(failure, flush=True)
    write_atomically(failed, failure)  # by itself: libraries write into the log too, even after it
    return 1


def _end_with(lock: Path) -> None:
    """Ends Snakemake and its jobs, as Ctrl-C does, once their sweep is no more, however it was killed: its
    lock is free then."""
    with open(lock, encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    os.killpg(os.getpgrp(), signal.SIGINT)


def _run_job(sweep: dict[str, Any], name: str) -> str | None:
    """What failed; None where nothing did."""
    job, root = sweep["jobs"][name], Path(sweep["root"])
    path = _lock_path(root, f"job-{name}")
    lock = _try_lock(path)
    if lock is None:
        print(f"waiting: {path.read_text(encoding='utf-8')} executes this job already", flush=True)
        while lock is None:
            time.sleep(0.5)
            lock = _try_lock(path)
    with lock:
        chapter = find_chapter(job["chapter"], root)
        (planned,) = planned_jobs(chapter, root, job["profile"], job["given"])
        if planned.name != name:
            raise ProjectError(
                f"{chapter.path} or its preset changed since the sweep was started: start it again"
            )
        ((found,), _) = look_up([planned], root)
        if found.state == "recorded" and not job["force"]:
            print("recorded already", flush=True)
            return None
        limits = planned.limits
        if limits.memory_mb and not limits.gpus:  # CUDA maps far more than it uses
            size = limits.memory_mb * 2**20
            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            size = size if hard == resource.RLIM_INFINITY else min(size, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (size, hard))
        threads = str(max(1, limits.cores))
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        from hands_lib.reproduce.runner import run_chapter

        with _one_gpu(root, limits.gpus):
            outcome = run_chapter(
                chapter, root, planned.profile, job["given"], job["force"], 60 * limits.minutes or None
            )
        if outcome.failure:
            return outcome.failure
        ((found,), _) = look_up([planned], root)
        if found.state != "recorded":
            return (
                f"{chapter.name} ran, but recorded no job of {_words(planned)} with its parameters: call "
                "record_job in it, with a Job of that name and chapter_parameters"
            )
        print(f"done in {outcome.seconds:.1f} s", flush=True)
    return None


# --- the whole sweep -----------------------------------------------------------------------------------


def _words(job: PlannedJob) -> str:
    words = [job.chapter.stem, job.variant, None if job.seed is None else f"seed {job.seed}"]
    return ", ".join(word for word in words if word)


def _snakemake(root: Path, cores: int, cluster: str | None, retries: int) -> list[str]:
    if cluster is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        gpus = os.environ.get("HANDS_GPUS", "0").count(",") + 1  # without the variable, one job at a time
        where = ["--cores", str(cores), "--resources", f"mem_mb={memory}", f"gpus={gpus}"]
    else:
        folder = root / CLUSTERS / cluster
        if not (folder / "config.yaml").is_file():
            folder = Path(cluster).absolute()
        if not (folder / "config.yaml").is_file():
            known = [p.parent.name for p in (root / CLUSTERS).glob("*/config.yaml")]
            raise nearest(cluster, known, "place to run on:")
        where = ["--profile", str(folder)]
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(Path(__file__).with_name("Snakefile"))),
        *("--retries", str(retries), "--rerun-triggers", "input", "--scheduler", "greedy"),
        # our own locks die with their process, Snakemake's would have to be unlocked by hand
        *("--nolock", "--ignore-incomplete", "--drop-metadata", "--keep-going", "--nocolor"),
        *where,
    ]


def _check_writable(root: Path) -> None:
    """Say it before hours of training, not after."""
    for folder in (results_folder(root), runs_folder(root) / "done"):
        probe = folder / f".probe.{os.getpid()}"
        write_atomically(probe, "")
        probe.unlink()


def sweep(
    name: str | None,
    root: Path,
    profile: str,
    given: dict[str, Any],
    cores: int,
    cluster: str | None = None,
    force: bool = False,
    retries: int = RETRIES,
    out: TextIO | None = None,
) -> int:
    """Run what is missing and say how it goes; returns the exit code (0: all of it is recorded now).

    Raises:
        ProjectError: nothing was started: a sweep of the same is running, the folders cannot be written,
            a name is unknown, a preset is wrong.
    """
    if profile == SMOKE:
        raise ProjectError("smoke runs belong to the build: `hands build`, or `hands run CHAPTER`")
    if cores < 1:
        raise ProjectError(f"--cores is {cores}; give at least 1")
    if retries < 0:
        raise ProjectError(f"--retries is {retries}; give 0 or more")
    jobs = plan_of(name, root, profile, given)
    _check_writable(root)
    command = _snakemake(root, cores, cluster, retries)
    with _terminate_as_interrupt(), _lock_chapters(jobs, root) as locks:
        folders = [runs_folder(root) / "done", *(runs_folder(root) / "weights").glob("*/")]
        folders += (root / "runs" / "checkpoints").glob("*/")
        for folder in (*folders, *results_folder(root).glob("**/")):
            for path in remove_leftovers(folder):
                print(f"removed {path.name}, which a killed process left half-written", file=out, flush=True)
        _collect(root, out)
        planned, _ = look_up(jobs, root)
        missing = [p for p in planned if force or p.state != "recorded"]
        print(
            f"{len(planned)} jobs, {len(planned) - len(missing)} recorded, {len(missing)} to do",
            file=out,
            flush=True,
        )
        if not missing:
            return 0
        folder = root / "runs" / "sweeps" / f"{name or 'book'}-{profile}".replace("/", ".")
        _prepare(folder, missing, root, profile, given, force, cluster is None)
        try:
            with open(folder / ALIVE, "w", encoding="utf-8") as alive:
                fcntl.flock(alive, fcntl.LOCK_EX)  # no child inherits it: it ends with this process
                code = _watch(command, folder, missing, [lock.fileno() for lock in locks], cores, out)
        finally:
            _collect(root, out)
        return _report(folder, missing, root, code, out)


def _collect(root: Path, out: TextIO | None) -> None:
    for text in collect(root):
        print(text, file=out, flush=True)


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """`kill`, or a terminal that is closed, ends a sweep as Ctrl-C does: with its jobs, and with word of what
    is done."""
    if threading.current_thread() is not threading.main_thread():  # only that one may
        yield
        return
    numbers = [signal.SIGTERM, *([signal.SIGHUP] * (signal.getsignal(signal.SIGHUP) != signal.SIG_IGN))]
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}  # nohup stays
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _prepare(
    folder: Path,
    missing: list[Planned],
    root: Path,
    profile: str,
    given: dict[str, Any],
    force: bool,
    local: bool,
) -> None:
    jobs = {
        p.job.name: {
            "chapter": p.job.chapter.name,
            "profile": profile,
            "given": given
            | {k: [v] for k, v in (("variants", p.job.variant), ("seeds", p.job.seed)) if v is not None},
            "limits": asdict(p.job.limits),
            "force": force,
        }
        for p in missing
    }
    for name in jobs:  # what an earlier sweep of these jobs left
        for kind in ("done", "failed"):
            (folder / kind / name).unlink(missing_ok=True)
        (folder / "logs" / f"{name}.log").unlink(missing_ok=True)
    shutil.rmtree(folder / ".snakemake", ignore_errors=True)  # its logs of earlier calls
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    sweep = {"root": str(root), "python": sys.executable, "jobs": jobs, "local": local}
    write_atomically(folder / "jobs.json", json.dumps(sweep, indent=1))


def _count(folder: Path, missing: list[Planned]) -> tuple[int, int, int]:
    """Jobs done, running, and with an attempt that failed."""
    names = {p.job.name for p in missing}
    there = {
        kind: {path.name.removesuffix(".log") for path in (folder / kind).glob("*")} & names
        for kind in ("done", "failed", "logs")
    }
    failed = there["failed"] - there["done"]
    return len(there["done"]), len(there["logs"] - there["done"] - failed), len(failed)


def _watch(
    command: list[str],
    folder: Path,
    missing: list[Planned],
    locks: list[int],
    cores: int,
    out: TextIO | None,
) -> int:
    """Run Snakemake and print the progress; Ctrl-C stops it and its jobs. Returns its exit code."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    if RESULTS in environment:
        environment[RESULTS] = str(Path(environment[RESULTS]).absolute())
    start, shown, left = time.monotonic(), None, time_left(missing, cores)
    with open(folder / "snakemake.log", "w", encoding="utf-8") as log:
        # a group of its own, so that Ctrl-C reaches it once, by us; the locks live as long as it does
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
            pass_fds=locks,
        )
        try:
            while True:
                code = None
                with suppress(subprocess.TimeoutExpired):
                    code = process.wait(0.2)
                done, running, failed = _count(folder, missing)
                if done:  # what this sweep itself shows is the better guide
                    left = (time.monotonic() - start) / done * (len(missing) - done)
                if (done, running, failed) != shown:
                    shown = done, running, failed
                    text = "" if left is None else f", about {duration(left)} left"
                    print(
                        f"{done} of {len(missing)} done, {running} running, {failed} failed{text}",
                        file=out,
                        flush=True,  # a notebook follows it
                    )
                if code is not None:
                    return code
        except KeyboardInterrupt:
            _stop(process)
            done, _, _ = _count(folder, missing)
            print(
                f"stopped: {done} of {len(missing)} done; the same command goes on from there",
                file=out,
                flush=True,
            )
            raise


def _stop(process: subprocess.Popen) -> None:
    for number, seconds in ((signal.SIGINT, GRACE), (signal.SIGKILL, GRACE)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            process.poll()
            try:
                os.killpg(process.pid, 0)  # is anybody of the group still there?
            except ProcessLookupError:
                return
            time.sleep(0.1)


def _report(folder: Path, missing: list[Planned], root: Path, code: int, out: TextIO | None) -> int:
    after, _ = look_up([p.job for p in missing], root)
    failed = [p.job for p in after if p.state != "recorded"]
    if not failed:
        print(f"all {len(after)} are recorded", file=out, flush=True)
        return 0
    print(
        f"{len(failed)} of {len(after)} are not recorded; the same command tries them again",
        file=out,
        flush=True,
    )
    for job in failed[:20]:
        log = folder / "logs" / f"{job.name}.log"
        told = next((p for p in (folder / "failed" / job.name, log) if p.is_file()), None)
        lines = told.read_text(encoding="utf-8", errors="replace").splitlines() if told else []
        last = " ".join(line.strip() for line in lines[-6:] if "full traceback" not in line)
        print(f"  {_words(job)}: {last[:300] or 'was not started'}\n    log: {log}", file=out, flush=True)
    if code < 0:
        print(
            f"  Snakemake was killed (signal {-code}); its log: {folder / 'snakemake.log'}",
            file=out,
            flush=True,
        )
    elif not any((folder / "logs" / f"{job.name}.log").is_file() for job in failed):
        text = (folder / "snakemake.log").read_text(encoding="utf-8", errors="replace")
        print("  Snakemake started none of them:\n" + "\n".join(text.splitlines()[-8:]), file=out, flush=True)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(run_job(Path(sys.argv[1]), sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit("interrupted")

"""What the reproduction engine costs, and what it survives: `python benchmarks/reproduce/sweeps.py [PART]`.

overhead   a job through `hands sweep` beside the same notebook through plain papermill, in turns
kills      24 jobs of about 2 s, something killed with -9 at ten random moments; then the table, bit for bit
           --sweeps N: N such sweeps instead, in each of them one thing is killed at a random moment
store      10,000 jobs into all tables, verdicts and pages; 1,000 finished jobs collected
"""

import argparse
import functools
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "reproduce")]

from test_sweep import assert_complete, processes  # noqa: E402
from toy import write_toy_book  # noqa: E402

from hands_lib.reproduce.collecting import collect  # noqa: E402
from hands_lib.reproduce.jobs import Job, JobLine  # noqa: E402
from hands_lib.reproduce.status import status_page  # noqa: E402
from hands_lib.reproduce.store import read_done, read_lines, record_job  # noqa: E402
from hands_lib.reproduce.tables import claims_page, compare, system_page  # noqa: E402

os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
COMMAND = [sys.executable, "-m", "hands_lib.reproduce.command"]


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command and its children."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, cpu


def overhead(folder: Path, jobs: int = 4) -> dict:
    """A job's cost is that of `jobs` more jobs, so that the start of the sweep is told apart from it."""
    plain = write_toy_book(folder / "plain")
    convert = [sys.executable, "-m", "jupytext", "--quiet", "--to", "ipynb", "book/part/toy.md"]
    subprocess.run(convert, cwd=plain, check=True)
    papermill = [0.0, 0.0]
    for seed in range(jobs):
        values = f"{{profile: cpu, seeds: [{seed}], variants: [full], steps: 10, pause: 0.2}}"
        command = [
            sys.executable,
            "-m",
            "papermill",
            "toy.ipynb",
            f"{seed}.ipynb",
            "-k",
            "python3",
            "-y",
            values,
        ]
        for i, seconds in enumerate(timed(command, plain / "book" / "part")):
            papermill[i] += seconds / jobs
    sweeps = []
    for number in (1, 1 + jobs):
        values = {"variants": ["full"], "steps": 10, "pause": 0.2}
        book = write_toy_book(folder / f"engine{number}", seeds=list(range(number)), **values)
        sweeps.append(timed([*COMMAND, "sweep", "toy", "--cores", "1"], book))
    job = [(more - one) / jobs for one, more in zip(*sweeps, strict=True)]
    start = [one - a for one, a in zip(sweeps[0], job, strict=True)]
    return {
        "papermill, s a job (wall, CPU)": [round(s, 2) for s in papermill],
        "hands sweep, s a job (wall, CPU)": [round(s, 2) for s in job],
        "engine, s a job (wall, CPU)": [round(a - b, 2) for a, b in zip(job, papermill, strict=True)],
        "engine, s a sweep (wall, CPU)": [round(s, 2) for s in start],
    }


TARGETS = ["ipykernel_launcher", "reproduce.sweep", "snakemake", ""]  # the last: everything


def kill_some(book: Path, what: str) -> int:
    """Kill -9 all processes of a book with a word in their command line; how many there were."""
    found = processes(book, what)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(found)


def start_sweep(book: Path, call: int) -> subprocess.Popen:
    log = open(book / f"call{call}.txt", "w")  # noqa: SIM115 - the sweep writes into it
    command = [*COMMAND, "sweep", "toy", "--cores", "2"]
    return subprocess.Popen(command, cwd=book, stdout=log, stderr=log)


def what_it_leaves(book: Path) -> tuple[str, dict[str, bytes]]:
    """The table as the book shows it, and the bytes of all trained weights by the names of their jobs."""
    files = sorted((book / "book" / "results" / "toy" / "weights").glob("*.safetensors"))
    return repr(compare("toy", root=book)), {path.name: path.read_bytes() for path in files}


def killed_sweeps(folder: Path, number: int) -> dict:
    """Sweeps that are each killed once, beside one that nobody disturbs."""
    chance, seeds = random.Random(0), list(range(12))
    values = {"seeds": seeds, "steps": 10, "pause": 0.05}
    book = write_toy_book(folder / "undisturbed", **values)
    start = time.monotonic()
    assert start_sweep(book, 1).wait() == 0
    undisturbed = time.monotonic() - start
    expected = what_it_leaves(book)
    assert_complete(book, ["base", "full"], seeds, 10)
    report: dict = {"undisturbed, s": round(undisturbed)}
    for sweep in range(number):
        book = write_toy_book(folder / f"killed{sweep}", **values)
        what, begun = TARGETS[sweep % len(TARGETS)], time.monotonic()
        process, calls = start_sweep(book, 1), 1
        time.sleep(chance.uniform(0.05, 0.9) * undisturbed)
        while not (found := kill_some(book, what)):  # between two jobs there is no kernel
            assert process.poll() is None, "it was finished before anything was killed"
            time.sleep(0.1)
        at = time.monotonic() - begun
        while process.wait():
            assert calls < 5, (book / f"call{calls}.txt").read_text()
            calls += 1
            process = start_sweep(book, calls)
        assert_complete(book, ["base", "full"], seeds, 10)
        same = what_it_leaves(book) == expected
        assert same, f"{book} differs from an undisturbed sweep"
        key = f"sweep {sweep + 1}"
        report[key] = f"{found} of {what or 'everything'} killed at {at:.1f} s, {calls} calls, bit-identical"
        print(f"  ({key}: {time.monotonic() - begun:.0f} s)", file=sys.stderr, flush=True)
    return report | {"seconds": round(time.monotonic() - start)}


def kills(folder: Path, wanted: int = 10) -> dict:
    chance = random.Random(0)
    seeds = list(range(12))
    book = write_toy_book(folder / "kills", seeds=seeds, steps=10, pause=0.2)
    start, killed, calls, process = time.monotonic(), [], 0, None
    while calls < wanted + 5:
        if process is None or process.poll() is not None:
            if process is not None and process.returncode == 0:
                break
            calls += 1
            process = start_sweep(book, calls)
        if len(killed) < wanted:
            time.sleep(chance.uniform(1, 15))
            what = chance.choice(TARGETS)
            if kill_some(book, what):
                killed.append(what or "everything")
            time.sleep(1)
        else:
            process.wait()
    lines = assert_complete(book, ["base", "full"], seeds, 10)
    return {
        "killed": killed,
        "calls of hands sweep": calls,
        "jobs, all bit-identical": len(lines),
        "seconds": round(time.monotonic() - start),
    }


def many_lines(book: Path, number: int) -> list[JobLine]:
    """Lines as a sweep would leave them: two variants, 20 data sets, many seeds."""
    path = record_job(
        Job("toy", "toy", "base", 0, "cpu", dataset="line", parameters={"steps": 3}),
        {"errors": {"base": {"error": 1.0}}},
        protocol="p",
        started=time.time(),
        root=book,
    )
    template = read_done(path)
    path.unlink()
    chance, lines = random.Random(0), []
    for i in range(number):
        row = ("base", "full")[i % 2]
        own = {"job": row, "seed": i // 40, "dataset": f"line {i // 2 % 20}"}
        rows = {"errors": {row: {"error": chance.gauss(1 - i % 2 / 10, 0.1)}}}
        lines.append(template.model_copy(update=own | {"rows": rows}))
    return lines


def store(folder: Path, number: int = 10_000, finished: int = 1_000) -> dict:
    book = write_toy_book(folder / "store")
    os.chdir(book)
    lines = many_lines(book, number + finished)
    target = book / "book" / "results" / "toy" / "toy.jsonl"
    target.parent.mkdir(parents=True)
    target.write_text("".join(f"{line.text}\n" for line in lines[:number]))
    parts = {}
    for name, make in (
        ("lines read", lambda: str(len(read_lines(root=book)))),
        ("results of a system", lambda: system_page("toy", book)._repr_html_()),
        ("claims", lambda: claims_page(None, book)),
        ("status page", lambda: status_page(book)._repr_html_()),
    ):
        start = time.monotonic()
        text = make()
        parts[name] = f"{time.monotonic() - start:.2f} s, {len(text):,} characters"
    for line in lines[number:]:  # written as by jobs, but without waiting for the disk each time
        (book / "runs" / "done" / line.file_name).write_text(line.text + "\n")
    start = time.monotonic()
    said = collect(book)
    assert said == [], said
    parts[f"collect of {finished:,}"] = f"{time.monotonic() - start:.2f} s"
    assert len(read_lines(root=book)) == number + finished
    return {"jobs": number} | parts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = {"overhead": overhead, "kills": kills, "store": store}
    parser.add_argument("part", nargs="*", help=f"of {', '.join(parts)} (default: all)")
    parser.add_argument("--sweeps", type=int, help="kills: as many sweeps, each killed once")
    options = parser.parse_args()
    if options.sweeps:
        parts["kills"] = functools.partial(killed_sweeps, number=options.sweeps)
    for name in options.part or parts:
        print(name, "(load of the machine before: " + ", ".join(f"{x:.1f}" for x in os.getloadavg()) + ")")
        with tempfile.TemporaryDirectory() as folder:
            for key, value in parts[name](Path(folder).resolve()).items():
                print(f"  {key}: {value}", flush=True)

"""Sweeps on good and bad days: real kernels and a real Snakemake, killed, starved and started twice."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from toy import CHAPTER, commit, write_toy_book

from hands_lib.reproduce.chapters import tagged_cells
from hands_lib.reproduce.command import main
from hands_lib.reproduce.jobs import JobLine
from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.store import read_lines
from hands_lib.reproduce.sweep import sweep
from hands_lib.reproduce.trained import load_weights

# Few threads, so that tests beside each other do not disturb the measured limits
os.environ.setdefault("OMP_NUM_THREADS", "1")
PATIENCE = 900.0  # seconds; only what never comes takes so long, however busy the machine is


def undisturbed(variant: str, seed: int, steps: int) -> torch.Tensor:
    """The weights of a run, by the chapter's own step in this process: no kernel, no checkpoint."""
    names: dict = {"torch": torch}
    exec(tagged_cells(CHAPTER, "method")[0], names)
    weights = torch.zeros(2, dtype=torch.float64)
    for number in range(steps):
        weights = names["step_of"](weights, variant, seed, number)
    return weights


def assert_complete(book: Path, variants: list[str], seeds: list[int], steps: int) -> list[JobLine]:
    """Every job recorded and collected once, in the bits of an undisturbed one, and nothing left over."""
    lines = read_lines("toy", book)
    found = {(line.job, line.seed) for line in lines}
    assert found == {(variant, seed) for variant in variants for seed in seeds}
    assert len(lines) == len(found)
    for line in lines:
        expected = undisturbed(line.job, line.seed, steps)
        assert torch.equal(load_weights(line, book)["line"], expected)
    results = book / "book" / "results" / "toy"
    assert len((results / "toy.jsonl").read_text().splitlines()) == len(lines)
    assert [path.name for path in results.rglob("*") if path.name.startswith(".")] == []
    assert list((book / "runs" / "done").iterdir()) == []
    assert list((book / "runs" / "checkpoints" / "toy").glob("*.pt")) == []
    return lines


def processes(book: Path, word: str = "") -> list[int]:
    """Processes whose working directory is in the book and whose command line has a word."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            inside = Path(os.readlink(entry / "cwd")).is_relative_to(book)
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if inside and state != "Z" and word in (entry / "cmdline").read_text():
                found.append(int(entry.name))
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return found


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_for(what: Callable[[], object]) -> object:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come")


def start(book: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "hands_lib.reproduce.command", "sweep", "toy", "--cores", "2"]
    return subprocess.Popen(
        command,
        cwd=book,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # a shell's background jobs ignore Ctrl-C, and so would everything that they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def checkpoints(book: Path) -> list[Path]:
    return list((book / "runs" / "checkpoints").rglob("*.pt"))


def logs(book: Path) -> str:
    return "\n".join(path.read_text() for path in (book / "runs").rglob("logs/*.log"))


def test_a_very_bad_day(tmp_path: Path) -> None:
    """kill -9 of a kernel and of everything, two sweeps at once, Ctrl-C, kill -9 of Snakemake; the table."""
    gate = tmp_path / "gate"  # closed: no run gets to its end before everything has happened
    book = write_toy_book(tmp_path / "checkout", seeds=[1], steps=6, gate_file=str(gate))

    first = start(book)
    wait_for(lambda: checkpoints(book))
    kill(processes(book, "ipykernel_launcher")[:1])
    wait_for(lambda: "its kernel died" in logs(book))
    wait_for(lambda: processes(book, "ipykernel_launcher") and checkpoints(book))
    kill(processes(book))
    assert first.wait(PATIENCE) == -signal.SIGKILL
    wait_for(lambda: not processes(book))
    kept = {path: path.read_bytes() for path in (book / "runs" / "weights").rglob("*.*")}

    both = [start(book), start(book)]
    wait_for(lambda: any(sweep.poll() is not None for sweep in both))
    refused, other = sorted(both, key=lambda sweep: sweep.poll() is None)
    text = refused.communicate()[0]
    assert refused.returncode == 1, text
    assert re.search(r"a sweep of chapter part/toy, profile cpu, is running already \(process \d+ on", text)
    wait_for(lambda: processes(book, "ipykernel_launcher"))
    other.send_signal(signal.SIGINT)
    text = other.communicate(timeout=PATIENCE)[0]
    assert other.returncode == 130, text
    assert re.search(r"stopped: \d of \d done; the same command goes on", text)
    wait_for(lambda: not processes(book))

    ended = start(book)
    next(line for line in ended.stdout if "0 running" not in line and "running" in line)
    ended.terminate()  # as Ctrl-C
    text = ended.communicate(timeout=PATIENCE)[0]
    assert ended.returncode == 130, text
    assert re.search(r"stopped: \d of \d done; the same command goes on", text)
    wait_for(lambda: not processes(book))

    orphaned = start(book)
    wait_for(lambda: processes(book, "ipykernel_launcher"))
    kill(processes(book, "snakemake"))
    text = orphaned.communicate(timeout=PATIENCE)[0]
    assert orphaned.returncode == 1
    assert "Snakemake was killed (signal 9)" in text

    gate.touch()
    last = start(book)
    text = last.communicate(timeout=PATIENCE)[0]
    assert last.returncode == 0, text + logs(book)
    assert_complete(book, ["base", "full"], [1], 6)
    assert all(path.read_bytes() == content for path, content in kept.items())
    notebooks = [path.read_text() for path in (book / "runs" / "part" / "toy").glob("*.ipynb")]
    assert any(
        re.search(r"from step [1-9]", notebook) for notebook in notebooks
    )  # it did go on, not start anew
    wait_for(lambda: not processes(book))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_jobs_end_with_their_sweep_however_it_ends(tmp_path: Path, number: int) -> None:
    never = str(tmp_path / "gate")
    book = write_toy_book(tmp_path / "checkout", seeds=[1], variants=["full"], gate_file=never)
    started = start(book)
    wait_for(lambda: processes(book, "ipykernel_launcher"))
    started.send_signal(number)
    text = started.communicate(timeout=PATIENCE)[0]
    assert started.returncode == (-number if number == signal.SIGKILL else 130), text
    wait_for(lambda: not processes(book))


def test_a_sweep_outlives_the_notebook_that_started_it(tmp_path: Path) -> None:
    """The kernel of the notebook is killed; its sweep ends as if nothing had happened."""
    book = write_toy_book(tmp_path, seeds=[0], variants=["full"], steps=3)
    code = (
        "import os\nfrom pathlib import Path\nfrom hands_lib.reproduce.interactive import RunChooser\n"
        "chooser = RunChooser('toy', Path.cwd(), ['cpu'])\nchooser.run.click()\n"
        "while 'starting' in chooser.said.value: pass\nos.kill(os.getpid(), 9)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", code], cwd=book, env=environment, timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL
    log = book / "runs" / "sweeps" / "notebook-toy.txt"
    wait_for(lambda: "all 1 are recorded" in log.read_text())
    assert_complete(book, ["full"], [0], 3)
    wait_for(lambda: not processes(book))


def test_failing_jobs_damaged_files_and_a_jumping_clock(tmp_path: Path, monkeypatch, capfd) -> None:
    """What can go well goes well beside what fails; mended, the next call finishes the table."""
    variants = ["full", "nan", "memory", "clock"]
    trouble = {name: name for name in variants[1:]}
    book = write_toy_book(tmp_path, seeds=[3], steps=4, variants=variants, trouble=trouble)
    monkeypatch.chdir(book)
    assert main(["sweep", "toy", "--cores", "2", "--retries", "0"]) == 1
    text = capfd.readouterr().out
    assert "2 of 4 are not recorded; the same command tries them again" in text
    assert re.search(r"toy, nan, seed 3: .*nan is not a measurement", text)
    assert re.search(r"toy, memory, seed 3: .*can't allocate memory", text)
    by_variant = {line.job: line for line in read_lines("toy", book)}
    assert by_variant.keys() == {"full", "clock"}
    assert 0 <= by_variant["clock"].seconds < 10**6  # its clock jumped by 10**9
    assert "2 recorded" in plan(capfd)

    # the failed jobs left checkpoints; damage one of them, and a line
    assert len(checkpoints(book)) == 2
    damaged = checkpoints(book)[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    results = book / "book" / "results" / "toy" / "toy.jsonl"
    first, second = results.read_text().splitlines()
    results.write_text(f"{first}\n{second[:200]}\n")
    assert re.search(r"damaged: .*toy\.jsonl:2: is no line of a job", plan(capfd))
    # the trouble is over, but it is still a parameter of the jobs
    chapter = book / "book" / "part" / "toy.md"
    chapter.write_text(chapter.read_text().replace("trouble.get(variant)", "False and trouble.get(variant)"))
    commit(book)
    assert main(["sweep", "toy", "--cores", "2"]) == 0
    text = capfd.readouterr().out
    assert "set aside in toy.jsonl.damaged" in text
    assert "all 3 are recorded" in text
    assert results.with_name("toy.jsonl.damaged").read_text() == second[:200] + "\n"
    assert (damaged.parent / f"{damaged.name}.damaged").stat().st_size == 100
    assert_complete(book, variants, [3], 4)

    # nothing is repeated, --force repeats, and a new version makes what is recorded stale
    before = {line.job: line.created for line in read_lines("toy", book)}
    assert main(["sweep", "toy"]) == 0
    assert "0 to do" in capfd.readouterr().out
    assert main(["run", "toy", "--profile", "cpu", "--force", "-p", "variants", "[full]"]) == 0
    assert [line.job for line in read_lines("toy", book) if line.created != before[line.job]] == ["full"]
    (book / "book" / "versions.yml").write_text("toy/toy: {version: 2}\n")
    capfd.readouterr()
    assert plan(capfd).count("missing (recorded by an earlier version)") == 4


def plan(capfd: pytest.CaptureFixture) -> str:
    assert main(["plan", "toy"]) == 0
    return capfd.readouterr().out


def test_a_job_that_runs_out_of_time(tmp_path: Path, monkeypatch, capfd) -> None:
    gate = tmp_path / "gate"
    values = {"seeds": [0], "variants": ["full"], "steps": 10, "gate_file": str(gate)}
    book = write_toy_book(tmp_path / "checkout", **values, limits={"minutes": 0.05})
    monkeypatch.chdir(book)
    assert main(["sweep", "toy", "--retries", "0"]) == 1
    assert "stopped after its time limit of 3 s" in capfd.readouterr().out
    wait_for(lambda: not processes(book))
    assert read_lines("toy", book) == []
    (book / "book" / "presets" / "toy.yml").write_text(yaml.safe_dump({"cpu": values}))
    commit(book)
    gate.touch()
    assert main(["sweep", "toy"]) == 0
    assert_complete(book, ["full"], [0], 10)


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ("cpu: {steps: 10", "toy.yml is not YAML"),
        ("cpu: {stepps: 10}", "unknown key in .*toy.yml, profile cpu: 'stepps'; did you mean 'steps'"),
        ("cpu: {limits: {minute: 10}}", "unknown limit in .*toy.yml: 'minute'; did you mean 'minutes'"),
        ("cpu: {limits: {minutes: soon}}", "limit minutes is 'soon'"),
        ("cpu: {seeds: 3}", "seeds is 3; give a list"),
        ("cpu: {seeds: [1, 1]}", "each entry once"),
    ],
)
def test_a_wrong_preset_starts_nothing(tmp_path: Path, preset: str, message: str) -> None:
    book = write_toy_book(tmp_path)
    (book / "book" / "presets" / "toy.yml").write_text(preset)
    with pytest.raises(ProjectError, match=message):
        sweep("toy", book, "cpu", {}, cores=2)
    assert not (book / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "toi"}, "unknown slug or chapter 'toi'; did you mean 'toy'"),
        ({"profile": "gpo"}, "unknown profile of toy: 'gpo'"),
        ({"profile": "smoke"}, "smoke runs belong to the build"),
        ({"cores": 0}, "--cores is 0"),
        ({"retries": -1}, "--retries is -1"),
        ({"cluster": "slrm"}, "unknown place to run on: 'slrm'"),
    ],
)
def test_wrong_names_and_numbers(tmp_path: Path, changes: dict, message: str) -> None:
    book = write_toy_book(tmp_path)
    arguments = {"name": "toy", "root": book, "profile": "cpu", "given": {}, "cores": 2} | changes
    with pytest.raises(ProjectError, match=message):
        sweep(**arguments)


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    """A process is killed in the middle of a write: its half file is neither read nor kept."""
    from hands_lib.reproduce.project import remove_leftovers

    code = (
        "import os, sys\nfrom pathlib import Path\nfrom hands_lib.reproduce.project import replacing\n"
        "with replacing(Path(sys.argv[1])) as path:\n"
        "    path.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "record.json")])
    assert done.returncode == -signal.SIGKILL
    (half,) = tmp_path.iterdir()
    assert half.name.startswith(".record.json.")
    assert remove_leftovers(tmp_path) == [half]
    assert list(tmp_path.iterdir()) == []


def test_names_of_jobs_are_unique(tmp_path: Path) -> None:
    from hands_lib.reproduce.chapters import find_chapter
    from hands_lib.reproduce.plan import planned_jobs

    book = write_toy_book(tmp_path)
    given = {"variants": ["q+p", "q-p", "q p", "q" * 300], "seeds": [0, 1]}
    names = [job.name for job in planned_jobs(find_chapter("toy", book), book, "cpu", given)]
    assert len(set(names)) == 8
    assert all(re.fullmatch(r"[\w-]{1,100}", name) for name in names)
    assert json.loads(json.dumps(names)) == names


def test_a_chapter_without_variants_is_one_job(book: Path) -> None:
    from hands_lib.reproduce.chapters import find_chapter
    from hands_lib.reproduce.plan import planned_jobs

    (job,) = planned_jobs(find_chapter("small", book), book, "smoke", {"steps": 4})
    assert (job.variant, job.seed, job.parameters) == (None, None, {"steps": 4})
    (other,) = planned_jobs(find_chapter("small", book), book, "smoke", {"steps": 5})
    assert job.name != other.name


def test_jobs_share_out_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs at once see two GPUs; a third waits until one is free."""
    from hands_lib.reproduce.sweep import _one_gpu

    monkeypatch.setenv("HANDS_GPUS", "2,5")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code = (  # it says when it has tried every GPU and goes to sleep
        "import os, sys, time\nfrom pathlib import Path\nfrom hands_lib.reproduce.sweep import _one_gpu\n"
        "time.sleep = lambda _, sleep=time.sleep: (print('waiting', flush=True), sleep(0.1))\n"
        "with _one_gpu(Path(sys.argv[1]), 1):\n"
        "    print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); sys.stdin.read()\n"
    )
    with _one_gpu(tmp_path, 1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
        others = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(tmp_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        said = {other.stdout.readline(): other for other in others}
        assert said.keys() == {"5\n", "waiting\n"}
    assert next(line for line in said["waiting\n"].stdout if line != "waiting\n") == "2\n"
    for other in others:
        other.communicate("")
        assert other.returncode == 0
    with (
        pytest.raises(ProjectError, match="a job asks for 3 GPUs, HANDS_GPUS names 2"),
        _one_gpu(tmp_path, 3),
    ):
        pass


def test_the_holder_of_a_lock_is_named_however_late_it_says_its_name(tmp_path: Path) -> None:
    from hands_lib.reproduce.sweep import _holder

    path, said = tmp_path / "lock", []
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        asking = threading.Thread(target=lambda: said.append(_holder(path)))
        asking.start()
        file.write("process 7 on a machine")
        file.flush()
        asking.join(PATIENCE)
        assert said == ["process 7 on a machine"]
    path.write_text("")
    assert _holder(path) == "another process, which has ended"  # it was killed before it said anything

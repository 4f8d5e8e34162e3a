"""Damages and forges every kind of file that the library reads, and sees what the readers make of them.

A reader may refuse a file with a short error that names it, may leave a photograph out and count it, may make
again what it can, or may find that the damage changed nothing that it reads. Everything else is a fault:
another exception, the end of the process, a hang, gigabytes of memory, a program that starts, or numbers
that are not those that the file now holds.

    python tests/data/fuzz.py --count 2000
    python tests/data/fuzz.py --only 1234 --seed 0      one file again, in this process

Each file is made from the seed and its number alone. Files are read in a child process, a hundred at a time;
the child writes down what it begins, so that a file that ends the process is known.
"""

import argparse
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where this runs as a program

from fuzz_targets import REFUSALS, make_targets

CPU_SECONDS = 10  # for one file, of the processor: a hang ends here, a busy machine does not
SILENT_SECONDS = 300  # for one file, of the clock: a reader that waits for something that never comes
MEMORY = 4 << 30  # bytes that one file may take
LONGEST_MESSAGE = 1200  # characters; paths stand in it twice
AT_ONCE = 100
_PROGRAMS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "pty.spawn",
    "socket.connect",
)


class _Hang(Exception):
    pass


class _Watch:
    """Notes what programs Python starts; an audit hook stays for good, so there is one."""

    def __init__(self):
        self.started: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if event in _PROGRAMS:
            self.started.append(f"{event} {str(arguments)[:100]}")


def _alarm(*_) -> None:
    raise _Hang


def examine(targets: list, number: int, seed: int, watch: _Watch) -> tuple[str, str, str]:
    """Kind of file, outcome, and what went wrong, if anything did."""
    generator = np.random.default_rng([seed, number])
    target = targets[number % len(targets)]
    damage, before = "", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watch.started.clear()
    signal.signal(signal.SIGPROF, _alarm)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        with target.damaged(generator, number // len(targets)) as damage:
            outcome, fault = _outcome(target)
    except (Exception, _Hang) as error:
        outcome, fault = "fault", f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if watch.started:
        outcome, fault = "fault", f"a program was started: {watch.started}"
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if grown > MEMORY:
        outcome, fault = "fault", f"it took {grown / 1e9:.1f} GB"
    return target.kind, outcome, f"file {number} ({target.kind}, {damage}): {fault}" if fault else ""


def _outcome(target) -> tuple[str, str]:
    try:
        return target.read(), ""
    except REFUSALS as error:
        message = str(error)
        if not any(str(path) in message for path in target.names()):
            return "fault", f"the error does not name the file: {message[:300]}"
        if len(message) > LONGEST_MESSAGE:
            return "fault", f"the error has {len(message)} characters: {message[:200]}"
        return "named error", ""


def _child(pipe: int, targets: list, numbers: range, seed: int, watch: _Watch) -> None:
    os.setpgid(0, 0)
    for number in numbers:
        os.write(pipe, f"{json.dumps(['begins', number])}\n".encode())
        found = examine(targets, number, seed, watch)
        os.write(pipe, f"{json.dumps(['ends', number, *found])}\n".encode())


def _batch(targets: list, numbers: range, seed: int, watch: _Watch) -> list[tuple[int, str, str, str]]:
    """What came of the files of a child; where it died, the last one is a fault."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        try:
            _child(sending, targets, numbers, seed, watch)
        finally:
            os._exit(0)
    os.close(sending)
    found, begun, rest = [], numbers.start, b""
    while select.select([receiving], [], [], SILENT_SECONDS)[0]:
        part = os.read(receiving, 1 << 16)
        if not part:
            break
        *lines, rest = (rest + part).split(b"\n")
        for line in map(json.loads, lines):
            begun = line[1]
            if line[0] == "ends":
                found.append(tuple(line[1:]))
    else:
        os.kill(child, signal.SIGKILL)
    os.close(receiving)
    _, status = os.waitpid(child, 0)
    if status or len(found) < len(numbers):
        kind = targets[begun % len(targets)].kind
        why = f"the process ended with status {status}, or waited for ever"
        found.append((begun, kind, "fault", f"file {begun} ({kind}): {why}"))
    return found


def run(count: int, seed: int = 0, first: int = 0) -> tuple[Counter, list[str]]:
    """Outcomes by kind of file and outcome, and what went wrong; of the files from `first` on."""
    outcomes: Counter = Counter()
    faults, watch = [], _Watch()
    folder = Path(tempfile.mkdtemp())
    try:
        targets = make_targets(folder)
        number = first
        while number < first + count:
            found = _batch(targets, range(number, min(number + AT_ONCE, first + count)), seed, watch)
            for _, kind, outcome, fault in found:
                outcomes[kind, outcome] += 1
                faults += [fault] if fault else []
            number = found[-1][0] + 1
            print(f"up to {number}: {len(faults)} faults", *faults[-1:], file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder)
    return outcomes, faults


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--only", type=int, help="this file alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.time()
    if args.only is not None:
        folder = Path(tempfile.mkdtemp())
        print(*examine(make_targets(folder), args.only, args.seed, _Watch()), folder)
        return 0
    outcomes, faults = run(args.count, args.seed, args.first)
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{kind:<22} {outcome:<13} {count}")
    print(f"{sum(outcomes.values())} files, {len(faults)} faults, {time.time() - start:.0f} s")
    print("\n".join(faults))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

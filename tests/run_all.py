"""Everything that has to hold, part by part: `make test`.

The book is executed once; every later part looks at that execution. A failing part does not stop
the next one.
`python tests/run_all.py units pages` runs only the parts named.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from hands_lib.reproduce.chapters import list_chapters
from hands_lib.reproduce.project import write_atomically
from hands_lib.reproduce.runner import executed_path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
BUILD = ROOT / "_build"
REPORTS = BUILD / "tests"


REPEATED = BUILD / "repeated.json"  # executions whose repetition gave the same outputs
COMPARED_BY = ROOT / "tests" / "nbval.cfg"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-n", "2"]
RUFF = str(BIN / "ruff")
# a worker keeps neighbours, which share fixtures, until the other one has nothing left to do
STEAL = ["--dist", "worksteal"]
OF_THE_SITE = ["tests/chapters", "tests/browser"]
OF_THE_BOOK = ["cells", "repeat", "pages"]
PARTS = {
    "style": "ruff check and format",
    "imports": "who may import whom",
    "units": "unit tests",
    "book": "every chapter through papermill, then Jupyter Book",
    "cells": "ruff on the executed notebooks",
    "repeat": "a second execution of what is new gives the same outputs (nbval)",
    "pages": "every chapter's outputs, every link, every page in Chromium",
}


def executed_notebooks() -> list[str]:
    paths = [executed_path(chapter, ROOT) for chapter in list_chapters(ROOT)]
    return [str(path.relative_to(ROOT)) for path in paths if path.is_file()]


def executions() -> dict[str, str]:
    """Executed notebook -> digest of it, of the sources that it comes from and of how it is compared."""
    found = {}
    for name in executed_notebooks():
        key = (ROOT / name).with_suffix(".key")
        if key.is_file():
            content = key.read_bytes() + (ROOT / name).read_bytes() + COMPARED_BY.read_bytes()
            found[name] = hashlib.sha256(content).hexdigest()
    return found


def not_repeated() -> list[str]:
    """Executed notebooks that have not been repeated as they are: of an unchanged chapter one repetition is
    enough."""
    known = json.loads(REPEATED.read_text(encoding="utf-8")) if REPEATED.is_file() else {}
    now = executions()
    return [name for name in executed_notebooks() if name not in now or known.get(name) != now[name]]


def commands(name: str) -> list[list[str]]:
    """What a part runs; asked for when it is its turn, so that it sees what the parts before it made."""
    report = f"--junitxml={REPORTS / name}.xml"
    match name:
        case "style":
            return [[RUFF, "check", "--no-cache", "."], [RUFF, "format", "--no-cache", "--check", "."]]
        case "imports":
            return [[str(BIN / "lint-imports"), "--no-cache", "--no-logo"]]
        case "units":
            return [[*PYTEST, *STEAL, report, "tests", *(f"--ignore={folder}" for folder in OF_THE_SITE)]]
        case "book":
            return [[sys.executable, "-m", "hands_lib.reproduce.command", "build"]]
        case "cells":
            return [[RUFF, "check", "--no-cache", *executed_notebooks()]]
        case "repeat":
            notebooks = not_repeated()
            print(f"{len(notebooks)} of {len(executed_notebooks())} are new", flush=True)
            if not notebooks:
                return []
            options = [
                "--nbval",
                "--nbval-current-env",
                "--nbval-sanitize-with",
                str(COMPARED_BY.relative_to(ROOT)),
                "--nbval-cell-timeout=6000",
            ]
            # one kernel for a notebook, hence loadfile
            return [[*PYTEST, report, "--dist", "loadfile", *options, *notebooks]]
        case "pages":
            return [[*PYTEST, *STEAL, report, *OF_THE_SITE]]
    raise ValueError(name)


def copy_store(target: Path) -> None:
    """Results, jobs that are not collected and weights, as $HANDS_RESULTS has them."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "book" / "results", target)
    for name in ("done", "weights"):
        if (ROOT / "runs" / name).is_dir():
            shutil.copytree(ROOT / "runs" / name, target / "runs" / name)


def count(name: str, good: bool) -> tuple[int, int]:
    """(passed, failed) of a part: of its pytest report if it has one, else of the part as a whole."""
    report = REPORTS / f"{name}.xml"
    if not report.is_file():
        return int(good), int(not good)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    bad = int(suite.get("failures")) + int(suite.get("errors"))
    return int(suite.get("tests")) - bad - int(suite.get("skipped")), max(bad, int(not good))


def main(chosen: list[str]) -> int:
    os.chdir(ROOT)
    REPORTS.mkdir(parents=True, exist_ok=True)
    unknown = set(chosen) - set(PARTS)
    if unknown:
        print(f"unknown part {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
        return 2
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # each of some hundred processes would compile torch
    results = {}
    for name, title in PARTS.items():
        if chosen and name not in chosen:
            continue
        print(f"\n== {name}: {title}", flush=True)
        (REPORTS / f"{name}.xml").unlink(missing_ok=True)
        start = time.time()
        if name in OF_THE_BOOK and not results.get("book", (True,))[0]:
            print(f"== {name}: FAILED, as there is no book to look at", flush=True)
            results[name] = (False, 0.0)
            continue
        extra = {}
        if name == "repeat":  # it works on a copy of the store, so that that of the book stays as it is
            copy_store(REPORTS / "results")
            extra = {"HANDS_RESULTS": str(REPORTS / "results")}
        if name == "pages" and "book" in results:
            extra = {"HANDS_BOOK_IS_BUILT": "1"}
        codes = [subprocess.call(command, env=environment | extra) for command in commands(name)]
        results[name] = (not any(codes), time.time() - start)
        if name == "repeat" and results[name][0]:
            write_atomically(REPEATED, json.dumps(executions(), indent=1))
        good, seconds = results[name]
        print(f"== {name}: {'passed' if good else 'FAILED'} in {seconds:.0f} s", flush=True)
    print()
    for name, (good, seconds) in results.items():
        print(f"{'passed' if good else 'FAILED'}  {seconds:4.0f} s  {name}: {PARTS[name]}")
    counts = [count(name, good) for name, (good, _) in results.items()]
    passed, failed = (sum(column) for column in zip(*counts, strict=True))
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

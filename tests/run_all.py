"""Everything that has to hold, part by part: `make test`.

The book is executed once; every later part looks at that execution. A failing part does not stop the next one.
`python tests/run_all.py units pages` runs only the parts named.
"""

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
BUILD = ROOT / "_build"
SITE = BUILD / "html"
REPORTS = BUILD / "tests"


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def executed_notebooks() -> list[str]:
    found = sorted((BUILD / "executed").rglob("*.ipynb"))
    return [str(p.relative_to(ROOT)) for p in found if not p.name.startswith(".") and ".failed." not in p.name]


def parts() -> dict[str, tuple[str, list]]:
    """Name -> (what it is, commands; a command may be a function that makes it, when it is its turn)."""
    site_tests = ["tests/chapters", "tests/browser"]
    return {
        "style": ("ruff check and format", [[str(BIN / "ruff"), "check", "--no-cache", "."],
                  [str(BIN / "ruff"), "format", "--no-cache", "--check", "."]]),
        "imports": ("who may import whom", [[str(BIN / "lint-imports"), "--no-cache"]]),
        "units": ("unit tests", [python("-m", "pytest", "-q", "-n", "2", "tests", *(f"--ignore={t}" for t in site_tests),
                  f"--junitxml={REPORTS / 'units.xml'}")]),
        "book": ("every chapter through papermill, then Jupyter Book", [python("-m", "hands_lib.reproduce.command", "build")]),
        "cells": ("ruff on the executed notebooks", [lambda: [str(BIN / "ruff"), "check", "--no-cache", *executed_notebooks()]]),
        "repeat": ("a second execution gives the same outputs (nbval)", [lambda: python(
            "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--nbval", "--nbval-sanitize-with", "tests/nbval.cfg",
            "--nbval-cell-timeout=600", f"--junitxml={REPORTS / 'repeat.xml'}", *executed_notebooks())]),
        "links": ("links and anchors of the built site", [[str(BIN / "linkchecker"), "-f", "tests/linkchecker.ini",
                  "--no-status", "--no-robots", str(SITE / "index.html")]]),
        "pages": ("every page in Chromium", [python("-m", "pytest", "-q", "-n", "2", *site_tests,
                  f"--junitxml={REPORTS / 'pages.xml'}")]),
    }  # fmt: skip


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
    unknown = set(chosen) - set(parts())
    if unknown:
        print(f"unknown part {', '.join(sorted(unknown))}; there are: {', '.join(parts())}")
        return 2
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    results = {}
    for name, (title, commands) in parts().items():
        if chosen and name not in chosen:
            continue
        print(f"\n== {name}: {title}", flush=True)
        (REPORTS / f"{name}.xml").unlink(missing_ok=True)
        start = time.time()
        # the second execution leaves its records beside the build, not among those that the pages show
        extra = {"HANDS_RESULTS": str(REPORTS / "results")} if name == "repeat" else {}
        codes = [
            subprocess.call(command() if callable(command) else command, env=environment | extra)
            for command in commands
        ]
        results[name] = (not any(codes), time.time() - start)
        print(f"== {name}: {'passed' if results[name][0] else 'FAILED'} in {results[name][1]:.0f} s", flush=True)
    print("\n" + "\n".join(f"{'passed' if good else 'FAILED'}  {s:4.0f} s  {n}" for n, (good, s) in results.items()))
    counts = [count(name, good) for name, (good, _) in results.items()]
    passed, failed = (sum(column) for column in zip(*counts, strict=True))
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

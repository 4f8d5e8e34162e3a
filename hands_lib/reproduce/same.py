"""`hands same CHAPTER`: the proof that an edit of a chapter's sources changes none of its numbers.

The chapter's smoke jobs run at the commit where its version was proved, and now, each time in a work tree
with empty caches and one thread. Where all numbers are equal to the last bit, `book/versions.yml` notes the
present sources, and lines whose parameters were only renamed get the new names. Else the numbers that differ
are listed, and the version has to rise. A job that is new changes no number of those that were there: it is
named, and compared with nothing.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hands_lib import cache
from hands_lib.reproduce import collecting, store
from hands_lib.reproduce.chapters import Chapter, find_chapter, list_chapters, parameter_values
from hands_lib.reproduce.jobs import ASKED, SMOKE, JobLine
from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.published import unit_of
from hands_lib.reproduce.versions import (
    PACKAGE,
    Entry,
    changed_since,
    digest,
    git,
    is_commit,
    read_versions,
    source_files,
    uncommitted,
    version_of,
    versions_path,
    write_entry,
)

SHOWN = 20  # differences that are listed
TIMES = ("us", "µs", "ms", "s", "min", "h")  # units; a speed is something in one of them
MOTION = ("m", "cm", "mm", "px", "deg", "rad")  # of a hand: what moves so fast is measured, not timed
BUSY = "load average"  # column that says how busy the machine was

# What a work tree's own Python runs, so that every commit is asked in its own way
PROOF = """\
import json
import sys
from pathlib import Path

import hands_lib

package, chapter, slug, stem, presets = sys.argv[1:]
if Path(hands_lib.__file__).resolve().parent != Path(package):
    sys.exit(f"{hands_lib.__file__} was imported, not {package}: is PYTHONPATH ignored?")
from hands_lib.reproduce.chapters import preset_parameters
from hands_lib.reproduce.command import main
from hands_lib.reproduce.jobs import PROFILES

found = {profile: preset_parameters(slug, stem, profile, Path.cwd()) for profile in PROFILES}
Path(presets).write_text(json.dumps(found))
sys.exit(main(["run", chapter]))
"""

Presets = Mapping[str, dict[str, Any] | None]  # profile -> what its jobs do


# --- running --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proof:
    """What the smoke jobs of a chapter left at a commit, and what its presets asked for there."""

    lines: list[JobLine]
    presets: Presets


@contextmanager
def _work_tree(root: Path, commit: str, folder: Path) -> Iterator[Path]:
    """The checkout of `root` at a commit, gone afterwards."""
    git(root, "worktree", "prune")
    git(root, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", "--quiet", str(folder), commit)
    try:
        yield folder.resolve() / git(root, "rev-parse", "--show-prefix").strip()
    finally:
        git(root, "worktree", "remove", "--force", str(folder))


def prove(chapter: Chapter, root: Path, commit: str) -> Proof:
    """Run the smoke jobs of a chapter as they were at a commit.

    Raises:
        ProjectError: the commit is older than jobs, or the chapter fails there; ends with what it said.
    """
    where = f"{chapter.stem} at {commit[:12]}"
    print(f"{where}: running", flush=True)
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="hands-same-", ignore_cleanup_errors=True) as name,
        _work_tree(root, commit, Path(name) / "tree") as tree,
    ):
        folder = Path(name).resolve()
        package = tree / "hands_lib" if (tree / "hands_lib").is_dir() else PACKAGE
        if not (package / "reproduce" / "jobs.py").is_file():
            raise ProjectError(f"{where}: that commit is older than `hands same` and cannot be run by it")
        # both sides start from the same weights of earlier chapters: those of the present results
        results, kept = folder / "results", store.results_folder(root).resolve()
        if kept.is_dir():
            shutil.copytree(kept, results, copy_function=os.symlink)
        here = chapter.name if (tree / "book" / f"{chapter.name}.md").is_file() else chapter.stem
        wanted = {
            store.RESULTS: str(results),
            cache.ENVIRONMENT_VARIABLE: str(folder / "cache"),  # what other sources made proves nothing
            "PYTHONPATH": os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH")])),
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "NUMBA_NUM_THREADS": "1",
        }
        presets = folder / "presets.json"
        run = subprocess.run(
            [sys.executable, "-c", PROOF, package, here, chapter.slug, chapter.stem, presets],
            cwd=tree,
            env={k: v for k, v in os.environ.items() if k != ASKED} | wanted,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if run.returncode:
            said = "\n".join(f"  {line}" for line in run.stdout.splitlines()[-SHOWN:])
            raise ProjectError(f"{where}: it does not run there\n{said}")
        lines = [store.read_done(path) for path in sorted((results / "runs" / "done").glob("*.json"))]
        found = Proof(lines, json.loads(presets.read_text()))
    seconds = time.monotonic() - started
    print(f"{where}: {len(lines)} jobs, {seconds:.0f} s", flush=True)
    return found


# --- comparing ------------------------------------------------------------------------------------------


def is_time(unit: str, column: str) -> bool:
    """Whether a number says how fast the machine was: such numbers differ from run to run."""
    what, _, per = unit.rpartition("/")
    return column == BUSY or (per in TIMES and what not in MOTION)


def _cells(tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[tuple[str, str, str, Any]]:
    for table, rows in tables.items():
        for row, columns in rows.items():
            yield from ((table, row, column, value) for column, value in columns.items())


def _numbers(line: JobLine, root: Path) -> dict[str, str]:
    """Place -> what must not change. Python writes two floating-point numbers alike only if all bits are."""
    found = {"data set": f"{line.dataset} {line.dataset_version}", "starts from": repr(line.inputs)}
    found |= {"weights": line.weights.sha256} if line.weights else {}
    for table, row, column, value in (*_cells(line.rows), *_cells(line.examples)):
        try:
            unit = unit_of(line.slug, table, row, column, root)
        except ProjectError:  # nobody prints the column any more
            unit = ""
        if not is_time(unit, column):
            place = f"{table} | {row} | {column}"
            if isinstance(value, list):
                found |= {f"{place} | example {i}": repr(score) for i, score in enumerate(value)}
            else:
                found[place] = repr(value)
    return found


def differences(before: Sequence[JobLine], now: Sequence[JobLine], root: Path) -> list[str]:
    """What two runs of the same jobs do not share, a line each: job, table, row, column, both numbers. Times
    and speeds are left out; units are those of the checkout `root`."""

    def by_place(lines: Iterable[JobLine]) -> dict[tuple[str, str], str]:
        jobs = {f"{line.slug}/{line.chapter}, {line.job}, seed {line.seed}": line for line in lines}
        return {(job, place): n for job, line in jobs.items() for place, n in _numbers(line, root).items()}

    old, new = by_place(before), by_place(now)
    return [
        f"{job}: {place}: {old.get((job, place), 'nothing')} -> {new.get((job, place), 'nothing')}"
        for job, place in dict.fromkeys([*old, *new])
        if old.get((job, place)) != new.get((job, place))
    ]


# --- lines that stay results ----------------------------------------------------------------------------


def only_renamed(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    old_default: Mapping[str, Any],
    new_default: Mapping[str, Any],
) -> bool:
    """Whether parameters `old` and `new` of a profile ask for the same work, given that the defaults of the
    chapter, with which the proof runs, do. Names in both have one value; of the others, each whose value is
    not the default was only renamed: one with this default and this value went.
    """

    def others(values: Mapping[str, Any], default: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
        return sorted(
            json.dumps([default[name], value], sort_keys=True)
            for name, value in values.items()
            if name not in known and value != default[name]
        )

    shared = old.keys() & new.keys()
    return all(old[n] == new[n] for n in shared) and others(old, old_default, new) == others(
        new, new_default, old
    )


def follow_parameters(slug: str, chapter: str, root: Path, old: Presets, new: Presets) -> list[str]:
    """Give the recorded jobs of a chapter the parameters that its presets ask for now, where these only have
    other names, so that no job runs again for a name; returns what was done."""
    said, version = [], version_of(slug, chapter, root)
    path = store.results_folder(root) / slug / f"{chapter}.jsonl"
    for profile, after in new.items():
        before = old.get(profile)
        if profile == SMOKE or after is None or before is None or before == after:
            continue
        if not only_renamed(before, after, old[SMOKE] or {}, new[SMOKE] or {}):
            said.append(
                f"{profile}: its preset asks for other work than before, so its jobs are to run again"
            )
            continue
        said += collecting.collect(root)
        with collecting.one_at_a_time(root):
            found = store.take_apart(path)
            lines = {key: line for key, (_, line) in found.jobs.items()}
            own = [
                line
                for line in lines.values()
                if (line.profile, line.version, line.parameters) == (profile, version, before)
            ]
            for line in own:
                renamed = lines.pop(line.key).model_copy(update={"parameters": after})
                lines.setdefault(renamed.key, renamed)  # unless it was run again meanwhile
            if own:
                store.put_together(path, lines.values(), found)
        said.append(f"{profile}: {len(own)} jobs have the new names of parameters")
    return said


# --- the command ----------------------------------------------------------------------------------------


def hours(slug: str, chapter: str, root: Path) -> float:
    """What the results of a chapter's present version took."""
    version = version_of(slug, chapter, root)
    lines = store.read_store(root, slug, chapter).lines
    return sum(line.seconds for line in lines if line.is_result and line.version == version) / 3600


def _raising(slug: str, chapter: str, root: Path) -> str:
    version = version_of(slug, chapter, root) + 1
    return (
        f"raise the version: write `{slug}/{chapter}: {{version: {version}}}` into "
        f"{versions_path(root).relative_to(root)}, then `hands same {chapter}`, which notes the sources "
        f"({hours(slug, chapter, root):.1f} hours of results go stale)"
    )


def same(chapter_name: str, root: Path) -> int:
    """`hands same`: 0 where the present sources are proved and noted, 1 where numbers differ; lists those.

    Raises:
        ProjectError: unknown chapter, sources that are not committed, a commit that cannot be run, or a
            chapter that records no job; says what to do.
    """
    chapter = find_chapter(chapter_name, root)
    slug, stem = chapter.slug, chapter.stem
    changed = uncommitted(root, source_files(slug, stem, root))
    if changed:
        names = ", ".join(changed[:3]) + (" ..." if len(changed) > 3 else "")
        raise ProjectError(f"{names}: not as in the commit; commit first, as a proof belongs to a commit")
    head, sources = git(root, "rev-parse", "HEAD").strip(), digest(slug, stem, root)
    entry = read_versions(root).get(f"{slug}/{stem}", Entry(version=1))

    def note(text: str, *more: str) -> int:
        write_entry(root, slug, stem, entry.version, head, sources)
        print("\n".join([f"{slug}/{stem}, version {entry.version}: {text}", *more]))
        print(f"commit {versions_path(root).relative_to(root)}")
        return 0

    if not entry.sources:
        if not prove(chapter, root, head).lines:
            raise ProjectError(f"{chapter.path}: its smoke run records no job, so it needs no version")
        return note("nothing to compare with; noted as it is now")
    if entry.sources == sources and (entry.proved_at == head or not is_commit(root, entry.proved_at)):
        return note("the sources are those that were proved")
    if not is_commit(root, entry.proved_at):
        raise ProjectError(
            f"{slug}/{stem} was proved at commit {entry.proved_at[:12]}, which this checkout does not have: "
            f"fetch it, or {_raising(slug, stem, root)}"
        )
    before = prove(chapter, root, entry.proved_at)
    now = prove(chapter, root, head)
    known = {(line.job, line.seed) for line in before.lines}
    others = [line for line in now.lines if (line.job, line.seed) not in known]
    kept = [line for line in now.lines if (line.job, line.seed) in known] if known else now.lines
    found = differences(before.lines, kept, root)
    if found or not now.lines:
        print("\n".join(found[:SHOWN] or ["no job was recorded, then or now"]))
        if len(found) > SHOWN:
            print(f"and {len(found) - SHOWN} more")
        print(f"{slug}/{stem} changed: undo that, or {_raising(slug, stem, root)}")
        return 1
    said = [f"new: {line.job}, seed {line.seed}, which nothing is compared with" for line in others]
    said += follow_parameters(slug, stem, root, before.presets, now.presets)
    return note("equal to the last bit; what its smoke jobs do not reach is not proved by them", *said)


def alarms(root: Path) -> list[str]:
    """Chapters whose sources are not those of their version, and entries that are missing or nobody's; each
    with its mend."""
    said = []
    entries, where = read_versions(root), versions_path(root).relative_to(root)
    recorded = {f"{p.parent.name}/{p.stem}" for p in store.results_folder(root).glob("*/*.jsonl")}
    chapters = {f"{chapter.slug}/{chapter.stem}": chapter for chapter in list_chapters(root)}
    for name, chapter in chapters.items():
        slug, stem, entry = chapter.slug, chapter.stem, entries.get(name)
        if entry is None and name not in recorded and "variants" not in parameter_values(chapter):
            continue
        if entry is None or not entry.sources:
            said.append(f"{name}: {where} does not note its sources: `hands same {stem}`")
        elif entry.sources != digest(slug, stem, root):
            changes = ", ".join(changed_since(slug, stem, root)) or "its sources"
            said.append(
                f"{name}: changed since version {entry.version} was proved: {changes}. Prove that no number "
                f"changes: `hands same {stem}`; or {_raising(slug, stem, root)}"
            )
    for name in sorted((entries.keys() | recorded) - chapters.keys()):
        if not (root / "benchmarks" / f"{name}.py").is_file():
            place = where if name in entries else f"book/results/{name}.jsonl"
            said.append(f"{place}: {name} is no chapter and no benchmark: rename or remove it")
    return said

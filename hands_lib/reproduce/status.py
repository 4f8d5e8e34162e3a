"""What ran where, when and for how long: the page `book/status.md`."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from hands_lib.reproduce.chapters import Chapter, list_chapters
from hands_lib.reproduce.html_tables import Cell, Group, HtmlTable, Page, Section
from hands_lib.reproduce.jobs import PROFILES, SMOKE, JobLine
from hands_lib.reproduce.plan import duration
from hands_lib.reproduce.project import find_root
from hands_lib.reproduce.published import published_path, read_published
from hands_lib.reproduce.store import read_lines
from hands_lib.reproduce.versions import version_of


def _system(slug: str, root: Path) -> str:
    """What a reader knows a system by."""
    if published_path(slug, root).is_file():
        return read_published(slug, root).title
    return slug.replace("_", " ").capitalize()


def _seeds(lines: Sequence[JobLine]) -> str:
    seeds = sorted({line.seed for line in lines})
    return ", ".join(map(str, seeds)) if len(seeds) < 6 else f"{len(seeds)} from {seeds[0]} to {seeds[-1]}"


def _last(lines: Sequence[JobLine]) -> str:
    return f"{max(line.created for line in lines):%Y-%m-%d}"


def _profile(line: JobLine, root: Path) -> str:
    """The profile, with what keeps the line from being a result."""
    if line.dirty:
        return f"{line.profile} (dirty, not a result)"
    if not line.is_result:
        return f"{line.profile} (not a result)"
    stale = line.version != version_of(line.slug, line.chapter, root)
    return f"{line.profile} (stale)" if stale else line.profile


def summary_table(lines: Sequence[JobLine], root: Path) -> HtmlTable:
    """One line for each system and profile: how many jobs, how long together, when the last one."""
    found: dict[tuple[str, str], list[JobLine]] = {}
    for line in lines:
        found.setdefault((_system(line.slug, root), _profile(line, root)), []).append(line)
    rows: list[Sequence[Cell]] = [
        (system, profile, f"{len(own):,}", duration(sum(line.seconds for line in own)), _last(own))
        for (system, profile), own in sorted(found.items(), key=lambda one: (one[0][0], _rank(one[0][1])))
    ]
    head = ("system", "profile", "jobs", "took together", "last made")
    return HtmlTable("Jobs of every system", head, rows, empty="no job recorded yet")


def _rank(profile: str) -> tuple[int, str]:
    """Results of the largest profile first, smoke last."""
    name = profile.partition(" ")[0]
    return (len(PROFILES) - PROFILES.index(name), profile)


def jobs_table(lines: Sequence[JobLine], root: Path) -> HtmlTable:
    """Every job, its seeds together, below its system and chapter."""
    titles = {(chapter.slug, chapter.stem): chapter.title for chapter in list_chapters(root)}
    alike: dict[tuple[str, str], dict[tuple[str, ...], list[JobLine]]] = {}
    for line in lines:
        job = (line.job, f"{line.dataset} {line.dataset_version}", _profile(line, root))
        alike.setdefault((line.slug, line.chapter), {}).setdefault(job, []).append(line)
    rows: list[Sequence[Cell] | Group] = []
    for (slug, chapter), jobs in sorted(alike.items()):
        system = _system(slug, root)
        title = titles.get((slug, chapter), f"benchmark of {chapter.replace('_', ' ')}")
        rows.append(Group(f"{system}: {title}", of=system))
        for (*names, profile), own in sorted(jobs.items(), key=lambda one: (_rank(one[0][2]), one[0])):
            took = duration(median(line.seconds for line in own))
            on = ", ".join(sorted({line.device for line in own}))
            commits = ", ".join(sorted({line.commit[:7] for line in own}))
            rows.append((*names, profile, _seeds(own), _last(own), took, on, commits))
    head = ("job", "data set", "profile", "seeds", "made", "took", "on", "commits")
    versions = sorted(
        {
            f"{name} {line.libraries[name]}"
            for line in lines
            for name in ("python", "torch")
            if name in line.libraries
        }
    )
    notes = ["Took: median of the seeds. Made: the last of them. Stale: of another version of its chapter."]
    notes += [f"Made with {', '.join(versions)}."] if versions else []
    return HtmlTable(
        "Recorded jobs", head, rows, empty="no job recorded yet", notes=notes if rows else [],
        filters=("system", "profile"),
    )  # fmt: skip


def _executed(chapter: Chapter, root: Path) -> tuple[str, str, str]:
    path = (root / "_build" / "executed" / chapter.path.relative_to(root)).with_suffix(".ipynb")
    if not path.is_file():
        return chapter.title, "not run in this build", ""
    found = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    when = found["papermill"]["start_time"][:16].replace("T", " ")
    return chapter.title, when, f"{found['hands_seconds']:.0f} s"


def status_page(root: Path | None = None) -> Page:
    """A summary, the pages of this build, and every job."""
    root = root or find_root()
    lines = read_lines(root=root)
    chapters = [_executed(chapter, root) for chapter in list_chapters(root) if not chapter.back_matter]
    build = HtmlTable("Chapters executed for this build", ("chapter", "started (UTC)", "took"), chapters)
    results = [line for line in lines if line.profile != SMOKE]
    return Page(
        [
            summary_table(results, root),
            Section(f"Chapters executed for this build ({len(chapters)})", [build]),
            jobs_table(lines, root),
        ]
    )

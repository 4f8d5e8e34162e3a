"""The version of a method: a hash of the sources that decide what the runs of one table measure.

A chapter says in its header which tables it measures, and which modules decide their numbers:

    hands: {slug: intersections, tables: [losses], method: [hands_lib.methods.intersections.loss]}

The version of these tables is made of these modules and of the chapter's cells tagged `method`, where the
loop stands: an edit of another module of the room leaves their records alone. The other tables of the slug go
by its whole room `hands_lib/methods/<slug>` and by the modules and tagged cells of its chapters without
`tables`. Comments, docstrings and blank lines do not count, nor do other library modules: a record would
otherwise be stale after every edit. The record's git commit says the rest.
"""

import ast
import hashlib
import io
import os
import tokenize
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from hands_lib.reproduce.chapters import Chapter, list_chapters
from hands_lib.reproduce.project import ProjectError, find_root, nearest
from hands_lib.reproduce.runs import Run

PACKAGE = Path(__file__).resolve().parents[1]  # the hands_lib that is imported
TAG = "method"
JOB = "HANDS_JOB"  # environment variable, set for kernels that `hands` starts; see `records.Job`


def code_only(source: str) -> str:
    """Source without comments, docstrings and blank lines; as it is where it is no plain Python."""
    try:
        tree = ast.parse(source)
        comments = [
            t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT
        ]
    except (SyntaxError, tokenize.TokenError):
        return source
    lines = source.splitlines()
    for comment in comments:
        row, column = comment.start
        lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
                lines[first.lineno - 1 : first.end_lineno] = [""] * (first.end_lineno - first.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def tagged_cells(text: str, tag: str) -> list[str]:
    """Sources of a MyST page's code cells with a tag."""
    cells = []
    for part in text.split("\n```{code-cell}")[1:]:
        body = part.partition("\n")[2].partition("\n```")[0].splitlines()
        options: Any = {}
        if body and body[0].strip() == "---":
            end = body.index("---", 1)
            options, body = yaml.safe_load("\n".join(body[1:end])), body[end + 1 :]
        else:
            head = [line for line in body if line.startswith(":")]
            options = yaml.safe_load("\n".join(line[1:] for line in head)) or {}
            body = body[len(head) :]
        if tag in (options.get("tags") or []):
            cells.append("\n".join(body))
    return cells


def declared_tables(slug: str, chapters: Sequence[Chapter]) -> dict[str, Chapter]:
    """Table -> the chapter of the slug whose header declares it.

    Raises:
        ProjectError: two chapters declare the same table; names both.
    """
    found: dict[str, Chapter] = {}
    for chapter in chapters:
        for table in (chapter.tables or ()) if chapter.slug == slug else ():
            if table in found:
                raise ProjectError(
                    f"table {table!r} of {slug} is declared by {found[table].path} and {chapter.path}: "
                    "take it out of one header"
                )
            found[table] = chapter
    return found


def method_version(slug: str, table: str, root: Path | None = None) -> str:
    """12 hexadecimal digits; the same for every Python version and machine with the same sources.

    Raises:
        ProjectError: a chapter's header names a module that does not exist, or two declare the same table.
    """
    return method_versions([(slug, table)], root)[slug, table]


def method_versions(
    tables: Iterable[tuple[str, str]], root: Path | None = None
) -> dict[tuple[str, str], str]:
    """(slug, table) -> version of its method; reads the book once for all of them."""
    root = root or find_root()
    chapters = list_chapters(root) if (root / "_toc.yml").is_file() else []
    wanted = set(tables)
    versions: dict[tuple[str, str], str] = {}
    for slug in {slug for slug, _ in wanted}:
        owners = declared_tables(slug, chapters)
        others = [c for c in chapters if c.slug == slug and c.tables is None]
        by_owner: dict[Chapter | None, str] = {}  # None: the whole room
        for table in [table for own, table in wanted if own == slug]:
            owner = owners.get(table)
            if owner not in by_owner:
                by_owner[owner] = _digest([owner], []) if owner else _digest(others, _room(slug))
            versions[slug, table] = by_owner[owner]
    return versions


def _room(slug: str) -> list[Path]:
    room = PACKAGE / "methods" / slug
    files = sorted(room.rglob("*.py")) if room.is_dir() else [room.with_suffix(".py")]
    return [path for path in files if path.is_file()]


def _modules(chapter: Chapter) -> list[Path]:
    files: list[Path] = []
    for name in chapter.method:
        stem = PACKAGE.parent / Path(*name.split("."))
        found = [p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()]
        if not found:
            raise ProjectError(f"{chapter.path}: its header names method {name!r}, which is no module")
        files += sorted(stem.glob("*.py")) if stem.is_dir() else found
    return files


def _digest(chapters: Sequence[Chapter], files: Sequence[Path]) -> str:
    cells = [cell for c in chapters for cell in tagged_cells(c.path.read_text(encoding="utf-8"), TAG)]
    modules = [path for chapter in chapters for path in _modules(chapter)]
    digest = hashlib.sha256()
    for source in cells + [path.read_text(encoding="utf-8") for path in (*files, *modules)]:
        digest.update(code_only(source).encode() + b"\0")
    return digest.hexdigest()[:12]


def check_table(slug: str, table: str, chapter: str, root: Path | None = None) -> None:
    """A chapter with `tables` in its header measures no others: a misspelt one would go by the whole room.

    Raises:
        ProjectError: the chapter of this name does not declare the table.
    """
    root = root or find_root()
    found = [c for c in list_chapters(root) if c.name == chapter] if (root / "_toc.yml").is_file() else []
    for own in found:
        if own.slug == slug and own.tables is not None and table not in own.tables:
            raise nearest(table, own.tables, f"table (not declared in the header of {own.path})")


@cache
def _version_at_first(slug: str, table: str, root: Path | None, job: str) -> str:
    return method_version(slug, table, root)


def running_version(run: Run, root: Path | None = None) -> str:
    """The version of the method that this process runs.

    The kernel of a job loaded its code when it began, so sources that somebody edits meanwhile do not count;
    a person's kernel may have run the edited cells, so there they do.
    """
    job = os.environ.get(JOB)
    ask = partial(_version_at_first, job=job) if job else method_version
    return ask(run.slug, run.table, root=root)

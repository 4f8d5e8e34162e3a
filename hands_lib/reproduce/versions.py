"""The version of a chapter: declared in `book/versions.yml`, with a digest of its sources as the alarm.

    refinement/method: {version: 1, proved_at: <commit>, sources: <digest>}

The version is part of every line's key and rises where an edit changes numbers. Whether an edit does is not
guessed: the digest tells that the sources are no longer those that the version was proved with, and then a
person raises the version, or `hands same CHAPTER` proves that no number changed and notes the new digest.

The sources of a chapter are its cells tagged `method` and every module of `hands_lib` that its cells import,
those that these import, and so on. The digest is of their syntax trees: comments, docstrings and line breaks
do not count. Benchmarks have a version alone: a speed belongs to a commit and a machine.
"""

import ast
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hands_lib.reproduce.chapters import chapter_of, tagged_cells
from hands_lib.reproduce.jobs import ASKED, Job
from hands_lib.reproduce.project import ProjectError, find_root, nearest, write_atomically

PACKAGE = Path(__file__).resolve().parents[1]  # the hands_lib that is imported
TAG = "method"
# `reproduce` stores numbers, `figures` and `pages` draw them, `tools` serve other people's files: an edit
# there must not put hours of training in doubt
OUTSIDE = ("hands_lib.reproduce", "hands_lib.figures", "hands_lib.pages", "hands_lib.tools")
HEADER = """\
# Versions of the chapters, see hands_lib/reproduce/versions.py. `hands same CHAPTER` writes a line.
# To raise a version, leave `{version: 2}` alone in its line, then call `hands same CHAPTER`.
"""


# --- book/versions.yml ----------------------------------------------------------------------------------


class Entry(BaseModel):
    """What `book/versions.yml` says of one chapter; `proved_at` and `sources` are empty for a benchmark, and
    where the version was just raised."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: int = Field(ge=1)
    proved_at: str = Field(default="", pattern=r"^[0-9a-f]{40,64}$")
    sources: str = Field(default="", pattern=r"^[0-9a-f]{16}$")

    @model_validator(mode="after")
    def _both_or_none(self) -> "Entry":
        if bool(self.proved_at) != bool(self.sources):
            raise ValueError("give proved_at and sources both, or none of them")
        return self


def versions_path(root: Path) -> Path:
    return root / "book" / "versions.yml"


def read_versions(root: Path) -> dict[str, Entry]:
    """`<slug>/<chapter>` -> its entry; empty where the file is not there. A file that did not change is read
    once.

    Raises:
        ProjectError: not YAML, a key given twice, or an entry against the schema; names file and entry.
    """
    path = versions_path(root)
    return _read(path, *_stamp(path)) if path.is_file() else {}


def _stamp(path: Path) -> tuple[int, ...]:
    """Differs when a file was written anew."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=64)
def _read(path: Path, *stamp: int) -> dict[str, Entry]:
    try:
        text = path.read_text(encoding="utf-8")
        top, raw = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} is not YAML ({error}): mend it") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ProjectError(f"{path}: expected lines such as `slug/chapter: {{version: 1}}`")
    names = [key.value for key, _ in top.value]
    entries = {}
    for name, values in raw.items():
        if names.count(name) > 1:  # two branches wrote it; YAML would take the last
            raise ProjectError(f"{path}: {name} is given twice: keep the higher version")
        if not re.fullmatch(r"[a-z0-9_]+/[a-z0-9_]+", str(name)):
            raise ProjectError(f"{path}: {name!r} is no chapter: write `slug/chapter`")
        for key in values if isinstance(values, dict) else ():
            if key not in Entry.model_fields:
                raise nearest(str(key), Entry.model_fields, f"key of {name} in {path}:")
        try:
            entries[name] = Entry.model_validate(values)
        except ValidationError as error:
            found = error.errors()[0]
            place = " ".join([name, *map(str, found["loc"])])
            mend = "; put it in quotes" if found["type"] == "string_type" else ""
            raise ProjectError(
                f"{path}: {place} is {found['input']!r}: {found['msg'].removeprefix('Value error, ')}{mend}"
            ) from error
    return entries


def entry_of(slug: str, chapter: str, root: Path) -> Entry:
    """Of a chapter or benchmark; version 1 where the file says nothing."""
    return read_versions(root).get(f"{slug}/{chapter}", Entry(version=1))


def version_of(slug: str, chapter: str, root: Path | None = None) -> int:
    """The present version of a chapter or benchmark."""
    return entry_of(slug, chapter, root or find_root()).version


def write_entry(
    root: Path, slug: str, chapter: str, version: int, proved_at: str = "", digest: str = ""
) -> None:
    """Write one entry, one line each, sorted; the others stay as they are."""
    noted = {"proved_at": proved_at, "sources": digest} if digest else {}
    entries = read_versions(root) | {f"{slug}/{chapter}": Entry(version=version, **noted)}
    lines = {name: entry.model_dump(exclude_defaults=True) for name, entry in sorted(entries.items())}
    text = yaml.safe_dump(lines, default_flow_style=None, sort_keys=False, width=200)
    write_atomically(versions_path(root), HEADER + text)


# --- what decides a chapter's numbers -------------------------------------------------------------------


def _plain(node: Any) -> Any:
    """A syntax tree as nested lists, the same for every Python version: without positions and docstrings, and
    without what is empty, as later versions have more fields. `ascii`, as what `repr` escapes changes too."""
    if isinstance(node, list):
        return [_plain(entry) for entry in node]
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields = dict(ast.iter_fields(node))
    body = fields.get("body")
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
        body and isinstance(body[0], ast.Expr) and isinstance(getattr(body[0].value, "value", None), str)
    ):
        fields["body"] = body[1:]
    if isinstance(node, ast.JoinedStr):  # Python 3.12 ends a format such as {x:{width}} with an empty text
        fields["values"] = [part for part in node.values if getattr(part, "value", None) != ""]
    kept = {k: v for k, v in fields.items() if v is not None and v != [] and k != "kind"}
    return [type(node).__name__, *([name, _plain(value)] for name, value in kept.items())]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def code_digest(source: str) -> str:
    """Hash of what a source does; of its text where it is no plain Python."""
    try:
        return _hash(json.dumps(_plain(ast.parse(source))))
    except SyntaxError:
        return _hash(source)


def _imported(tree: ast.AST, module: str = "", is_package: bool = False) -> set[str]:
    """Dotted names that a tree imports, anywhere; of `from a import b` both `a` and `a.b`, whatever b is."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            above = parts[: len(parts) - node.level + is_package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


@dataclass(frozen=True)
class _Code:
    imports: frozenset[str]
    digest: str


@lru_cache(maxsize=1024)
def _code(path: Path, module: str, *stamp: int) -> _Code:
    try:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} is not Python ({error}): mend it") from error
    return _Code(frozenset(_imported(tree, module, path.name == "__init__.py")), code_digest(source))


def _code_of(path: Path, module: str = "") -> _Code:
    """A file that did not change is parsed once."""
    return _code(path, module, *_stamp(path))


def _file_of(module: str) -> Path | None:
    stem = PACKAGE.parent.joinpath(*module.split("."))
    return next((p for p in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")) if p.is_file()), None)


def _closure(names: Iterable[str], outside: Collection[str] = OUTSIDE) -> dict[str, Path]:
    """Module -> file of every module of hands_lib that names lead to, without those `outside`. `hands_lib`
    itself is none: it only has the version of the release."""
    found: dict[str, Path] = {}
    wanted = set(names)
    while wanted:
        parts = wanted.pop().split(".")
        for end in range(2, len(parts) + 1) if parts[0] == "hands_lib" else ():
            module = ".".join(parts[:end])
            path = None if module in outside else _file_of(module)
            if path is None:  # or a name within the module before
                break
            if module not in found:
                found[module] = path
                wanted |= _code_of(path, module).imports
    return found


def _page_imports(text: str) -> set[str]:
    """What the code cells of a MyST page import."""
    found = set()
    for cell in re.findall(r"(?ms)^```\{code-cell\}[^\n]*\n(.*?)^```", text):
        code = re.sub(r"(?ms)\A(?:---\n.*?^---\n|(?::[^\n]*\n)+)", "", cell)
        magics = re.sub(r"(?m)^(\s*)(?:[%!?]|[\w, ]+=\s*[%!]).*$", r"\1pass", code)
        for attempt in (code, magics):
            try:
                found |= _imported(ast.parse(attempt))
                break
            except SyntaxError:
                continue
    return found


def modules_reached(page: Path) -> list[Path]:
    """The files of hands_lib that the code cells of a page can run: all that its imports lead to, or all
    there are where it starts other programs.

    Raises:
        ProjectError: one of them is not Python.
    """
    names = _page_imports(page.read_text(encoding="utf-8"))
    if "subprocess" in names:
        return sorted(PACKAGE.rglob("*.py"))
    return sorted(_closure(names, outside=()).values())


def _own_files(slug: str, chapter: str, root: Path) -> tuple[list[Path], set[str]]:
    """The page of a chapter, or the script of a benchmark and those beside it that it imports; and what they
    import."""
    page = chapter_of(slug, chapter, root)
    if page is not None:
        return [page.path], _page_imports(page.path.read_text(encoding="utf-8"))
    script = root / "benchmarks" / slug / f"{chapter}.py"
    if not script.is_file():
        raise ProjectError(
            f"{slug}/{chapter} is no chapter of the book, and there is no {script.relative_to(root)}: a job "
            "belongs to a chapter or a benchmark"
        )
    beside = [script.with_name(f"{name}.py") for name in sorted(_code_of(script).imports)]
    files = [script, *(path for path in beside if path.is_file())]
    return files, {name for path in files for name in _code_of(path).imports}


def source_files(slug: str, chapter: str, root: Path) -> list[Path]:
    """All that decides the numbers of a chapter or benchmark: its own file, and modules of `hands_lib`.

    Raises:
        ProjectError: there is no such chapter or benchmark, or a module that is no Python.
    """
    own, imports = _own_files(slug, chapter, root)
    return [*own, *(path for _, path in sorted(_closure(imports).items()))]


def _digests(slug: str, chapter: str, root: Path) -> tuple[dict[str, str], list[str]]:
    """Of every module, and of every cell tagged `method`."""
    own, imports = _own_files(slug, chapter, root)
    modules = {name: _code_of(path, name).digest for name, path in sorted(_closure(imports).items())}
    cells = [] if own[0].suffix == ".py" else tagged_cells(own[0].read_text(encoding="utf-8"), TAG)
    return modules, [code_digest(cell) for cell in cells]


def digest(slug: str, chapter: str, root: Path) -> str:
    """Of the sources of a chapter: 16 hexadecimal digits, the same for every Python version.

    Raises:
        ProjectError: as `source_files`.
    """
    return _hash(json.dumps(_digests(slug, chapter, root)))[:16]


# --- git ------------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    """What git answers in a folder.

    Raises:
        ProjectError: git is not there, or refuses; with its words.
    """
    # no optional locks: jobs ask while a person commits
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    except FileNotFoundError as error:
        raise ProjectError("git is not installed: install it") from error
    if run.returncode:
        raise ProjectError(f"{folder}: {run.stderr.strip() or f'git {arguments[0]} failed'}")
    return run.stdout


def uncommitted(root: Path, files: Sequence[Path]) -> list[str]:
    """Those of the files that differ from HEAD of their checkout, or are not in it. Files of the book and of
    `hands_lib` may be of two checkouts.

    Raises:
        ProjectError: one of them is in no checkout.
    """
    book = [path for path in files if path.is_relative_to(root)]
    library = [path for path in files if not path.is_relative_to(root)]
    status = ["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignored", "--"]
    found = [
        git(folder, *status, *map(str, own)).split("\0")
        for folder, own in ((root, book), (PACKAGE.parent, library))
        if own
    ]
    return [entry[3:] for entries in found for entry in entries if entry]


def is_commit(root: Path, commit: str) -> bool:
    """Whether this checkout has it."""
    try:
        git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except ProjectError:
        return False
    return True


@lru_cache(maxsize=4096)
def _text_at(root: Path, commit: str, path: Path) -> str:
    """Of a file at a commit, which never changes; empty where it was not there."""
    try:
        return git(root, "show", f"{commit}:./{path.relative_to(root)}")
    except ProjectError:
        return ""


def changed_since(slug: str, chapter: str, root: Path) -> list[str]:
    """Modules and cells that are others than at the commit where the version was proved; empty where none is
    noted, or this checkout does not have it."""
    commit = entry_of(slug, chapter, root).proved_at
    if not commit or not is_commit(root, commit):
        return []
    own, imports = _own_files(slug, chapter, root)
    modules, cells = _digests(slug, chapter, root)
    files = {name: path for name, path in _closure(imports).items() if path.is_relative_to(root)}
    before = {name: code_digest(_text_at(root, commit, path)) for name, path in sorted(files.items())}
    changed = [name for name, old in before.items() if old != modules[name]]
    if [code_digest(cell) for cell in tagged_cells(_text_at(root, commit, own[0]), TAG)] != cells:
        changed.append(f"cells tagged `{TAG}` of {own[0].relative_to(root)}")
    return changed


# --- a job's sources ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sources:
    """What a job is made with: commit of the book, version of its chapter, and why it would be no result
    (empty where it would be one)."""

    commit: str
    version: int
    trouble: str


def sources_here(slug: str, chapter: str, root: Path | None = None) -> Sources:
    """The sources that this process runs.

    A kernel that `hands` started loaded its code when it began, so what somebody edits meanwhile does not
    count; a person's kernel may have run the edited cells, so there it does.

    Raises:
        ProjectError: `book/versions.yml` is damaged.
    """
    root, asked = root or find_root(), os.environ.get(ASKED)
    return _sources_at_first(slug, chapter, root, asked) if asked else _sources(slug, chapter, root)


@cache
def _sources_at_first(slug: str, chapter: str, root: Path, asked: str) -> Sources:
    return _sources(slug, chapter, root)


def _sources(slug: str, chapter: str, root: Path) -> Sources:
    entry, commit = entry_of(slug, chapter, root), ""
    try:
        commit = git(root, "rev-parse", "--verify", "HEAD").strip()
        found = uncommitted(root, source_files(slug, chapter, root))
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            trouble = f"{', '.join(found[:3])}{more} not as in the commit: commit first"
        elif entry.sources and entry.sources != digest(slug, chapter, root):
            what = f"edited since version {entry.version} was proved"
            trouble = f"{what}: `hands same {chapter}`, or raise its version"
        else:
            trouble = ""
    except ProjectError as error:  # no checkout, no such chapter
        trouble = str(error)
    return Sources(commit, entry.version, trouble)


def refusal(job: Job, sources: Sources) -> str:
    """Why a job is not made, and the ways out."""
    return (
        f"{job.slug}/{job.chapter}, {job.name!r}: {sources.trouble}. Else nobody could go back to what made"
        " its numbers; `hands run ... --dirty` records it all the same, as no result"
    )

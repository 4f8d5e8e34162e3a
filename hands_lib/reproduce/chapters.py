"""The chapters of the book: MyST text notebooks listed in `_toc.yml`, their parameters and presets."""

import ast
import hashlib
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from hands_lib.plain_yaml import LONGEST, read_yaml
from hands_lib.reproduce.jobs import SMOKE  # the profile that a chapter's own defaults stand for
from hands_lib.reproduce.project import ProjectError, find_root, nearest, replacing
from hands_lib.reproduce.values import as_read, example, fit, is_json, shown, wanted

HEADER = ("slug", "tables", "back_matter")  # what may stand under `hands` in a page's header
OF_A_JOB = ("profile", "variants", "seeds")  # parameters that a job's line names by themselves
A_PATH = re.compile(r"(^|_)(root|folder|file)$")  # parameters that are the path of something
ELSEWHERE = re.compile(rf"{A_PATH.pattern}|(^|_)device$")  # parameters that say where, not what
LIMITS = "limits"  # the key of a preset that is no parameter: what one job of a sweep may use


@dataclass(frozen=True)
class Limits:
    """What one job of a sweep may use; `limits:` of a profile in a preset changes it."""

    minutes: float = 120.0  # wall time of one attempt; the next attempt goes on from the checkpoint
    memory_mb: int = 4000
    cores: int = 1
    gpus: int = 0


_OF_PROFILE = {
    "gpu": Limits(minutes=60.0, memory_mb=32000, cores=4, gpus=1),
    "paper": Limits(minutes=1440.0, memory_mb=64000, cores=8, gpus=1),
}


@dataclass(frozen=True)
class Chapter:
    """One executable page. `slug` ties it to its published tables, `slug` and `stem` to the lines of its
    jobs; pages that only show what the others measured set `hands: {back_matter: true}` in their header and
    run last. `tables` are those that its jobs may write; None: the header says nothing about them."""

    name: str  # path below book/ without suffix: foundations/hand_model
    path: Path
    title: str
    slug: str
    back_matter: bool
    tables: tuple[str, ...] | None = None

    @property
    def stem(self) -> str:
        return self.path.stem


def _toc_files(node: Any) -> list[str]:
    """Every `root:` and `file:` of a table of contents, in reading order."""
    if isinstance(node, list):
        return [file for item in node for file in _toc_files(item)]
    if not isinstance(node, dict):
        return []
    own = [node[key] for key in ("root", "file") if key in node]
    return own + [file for value in node.values() for file in _toc_files(value)]


def _read_yaml_file(path: Path) -> Any:
    return _yaml(_text(path, LONGEST + 1), f"{path}")


def _text(path: Path, characters: int = -1) -> str:
    """Of a page, or of a file that a person wrote."""
    if not path.is_file():  # a pipe would let us wait for ever
        raise ProjectError(f"{path} is no file: write it, or restore it with git")
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(characters)
    except UnicodeDecodeError as error:
        raise ProjectError(f"{path} is not UTF-8 ({error.reason}): save it as UTF-8") from error


def _yaml(text: str, place: str) -> Any:
    try:
        return read_yaml(text)
    except ValueError as error:
        raise ProjectError(f"{place} {error}: mend it") from error


def book_pages(root: Path) -> list[Path]:
    """Every page that `_toc.yml` lists, in reading order."""
    pages = []
    for file in _toc_files(_read_yaml_file(root / "_toc.yml")):
        path = root / (file if Path(file).suffix else f"{file}.md")
        if not path.is_file():
            raise ProjectError(f"_toc.yml lists {file}, which does not exist: write it or take the line out")
        pages.append(path)
    return pages


def book_parts(root: Path) -> list[tuple[str, list[Path]]]:
    """The pages of `_toc.yml` by part, each with its caption; the start page is a part without one."""
    toc = _read_yaml_file(root / "_toc.yml")
    nodes = [
        ("", {"root": toc.get("root")}),
        *((part.get("caption", ""), part) for part in toc.get("parts", [])),
    ]
    listed = {path.relative_to(root).as_posix(): path for path in book_pages(root)}
    return [
        (caption, [listed[file if Path(file).suffix else f"{file}.md"] for file in _toc_files(node)])
        for caption, node in nodes
    ]


def _header(text: str, path: Path) -> dict[str, Any]:
    """The YAML header of a page; empty where it has none."""
    if not text.startswith("---\n"):
        return {}
    head, end, _ = text[4:].partition("\n---")
    if not end:
        raise ProjectError(f"{path}: its header is not closed by a line ---")
    header = _yaml(head, f"{path}: its header")
    return header if isinstance(header, dict) else {}


def list_chapters(root: Path) -> list[Chapter]:
    """The executable pages in reading order; a page is executable when its header has a `jupytext` entry."""
    chapters = []
    for path in book_pages(root):
        text = _text(path)
        header = _header(text, path)
        if "jupytext" not in header:
            continue
        own = header.get("hands") or {}
        if not isinstance(own, dict):
            raise ProjectError(f"{path}: `hands` in its header is {shown(own)}; give names with values")
        for key in own:
            if key not in HEADER:
                raise nearest(key, HEADER, f"key under `hands` in the header of {path}:")
        title = next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), path.stem)
        name = path.relative_to(root / "book").with_suffix("").as_posix()
        slug = str(own.get("slug", path.stem))
        tables = _names(own, "tables", path) if "tables" in own else None
        back_matter = own.get("back_matter", "false")
        back_matter = _fitting("back_matter", back_matter, True, f"{path}: in its header,")
        chapters.append(Chapter(name, path, title, slug, back_matter, tables))
    return chapters


def chapter_of(slug: str, stem: str, root: Path) -> Chapter | None:
    """The chapter whose jobs these are; None for those of a benchmark."""
    chapters = list_chapters(root) if (root / "_toc.yml").is_file() else []
    return next((chapter for chapter in chapters if (chapter.slug, chapter.stem) == (slug, stem)), None)


def _names(own: dict[str, Any], key: str, path: Path) -> tuple[str, ...]:
    values = own.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ProjectError(f"{path}: `hands: {key}` in its header is {values!r}; give a list of names")
    return tuple(map(str, values))


def find_chapter(name: str, root: Path) -> Chapter:
    """The chapter called `name`: `hand_model`, `foundations/hand_model`, or the path of its .md file, as the
    shell means it: from the working directory, through links.

    Raises:
        ProjectError: no chapter, or more than one, has the name; suggests the nearest one, and the chapters
            of a system where it is one's slug.
    """
    chapters = list_chapters(root)
    path = os.path.realpath(name)
    asked = name.removesuffix(".md").removesuffix("/").removeprefix("./").removeprefix("book/")
    found = [c for c in chapters if os.path.realpath(c.path) == path]
    found = found or [c for c in chapters if asked in (c.name, c.stem)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ProjectError(f"{asked!r} names several chapters: say {' or '.join(c.name for c in found)}")
    if system := [c.stem for c in chapters if c.slug == asked]:
        raise ProjectError(f"{asked!r} is a system, no chapter: name one of {', '.join(system)}")
    book = root / "book"
    if unlisted := sorted(p for p in (book / f"{asked}.md", *book.glob(f"*/{asked}.md")) if p.is_file()):
        place = unlisted[0].relative_to(root)
        raise ProjectError(f"{place} is no chapter yet: add the line `- file: {place}` to _toc.yml")
    raise nearest(asked, {c.name if "/" in asked else c.stem for c in chapters}, "chapter")


def read_notebook(chapter: Chapter, root: Path) -> Any:
    """The chapter as a notebook. The conversion is kept in `_build`: jupytext takes every job of a sweep most
    of a second just to import."""
    import nbformat

    text = _text(chapter.path)
    digest = hashlib.sha256((text + metadata.version("jupytext")).encode()).hexdigest()[:16]
    kept = root / "_build" / "converted" / f"{chapter.stem}-{digest}.ipynb"
    try:
        return nbformat.read(kept, 4)
    except Exception:  # not there, or damaged, which nbformat says in many ways
        import jupytext

        notebook = jupytext.reads(text, fmt="md:myst")
        with replacing(kept) as temporary:
            nbformat.write(notebook, temporary)
        for path in kept.parent.glob(f"{chapter.stem}-{'[0-9a-f]' * 16}.ipynb"):
            if path != kept:  # of an earlier text
                path.unlink(missing_ok=True)
        return notebook


def tagged_cells(text: str, tag: str, place: str = "a page") -> list[str]:
    """Sources of a MyST page's code cells with a tag. `place` names the page in an error.

    Raises:
        ProjectError: the options of a cell are no YAML.
    """
    cells = []
    for part in text.split("\n```{code-cell}")[1:]:
        body = part.partition("\n")[2].partition("\n```")[0].splitlines()
        if body and body[0].strip() == "---" and "---" in body[1:]:
            end = body.index("---", 1)
            head, body = body[1:end], body[end + 1 :]
        else:
            head = [line[1:] for line in body if line.startswith(":")]
            body = body[len(head) :]
        options = _yaml("\n".join(head), f"{place}: the options of a code cell, {shown(head)}:")
        if isinstance(options, dict) and tag in (options.get("tags") or []):
            cells.append("\n".join(body))
    return cells


def parameter_values(chapter: Chapter) -> dict[str, Any]:
    """Default of every parameter, in order, from the cell tagged `parameters`; empty where no cell has the
    tag. Its type is that of every value which replaces it.

    Raises:
        ProjectError: the cell does more than to assign plain values, so that nobody could tell what a
            parameter is.
    """
    values: dict[str, Any] = {}
    for cell in tagged_cells(_text(chapter.path), "parameters", f"{chapter.path}"):
        try:
            nodes = ast.parse(cell).body
        except SyntaxError as error:
            text = (error.text or "").strip()
            raise ProjectError(
                f"{chapter.path}: the cell of its parameters is no Python ({error.msg}): mend {text!r}"
            ) from error
        for node in nodes:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            plain = isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
            if not plain or not all(isinstance(target, ast.Name) for target in targets):
                raise ProjectError(
                    f"{chapter.path}: its parameters are assigned one by one, `name = value`; "
                    f"write {ast.unparse(node)!r} in this way, or in a later cell"
                )
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                value = node
            if not is_json(value):
                raise ProjectError(
                    f"{chapter.path}: {ast.unparse(node)!r} is no plain value: a parameter is a number, "
                    "text, True, False, None, a list of these or a dict with names; compute in a later cell"
                )
            values |= {target.id: value for target in targets}
    return values


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a chapter's parameters those that say what a job does, as JSON knows them."""
    own = {k: v for k, v in values.items() if k not in OF_A_JOB and not ELSEWHERE.search(k)}
    return json.loads(json.dumps(own, sort_keys=True, default=str))


def chapter_parameters(stem: str, names: Mapping[str, Any], root: Path | None = None) -> dict[str, Any]:
    """What a chapter's kernel was told to do: the values that its parameters have among the kernel's `names`.

    In a chapter, after its imports: `PARAMETERS = chapter_parameters("losses", globals())`. Every job is
    identified by them. Left out are `profile`, `variants` and `seeds`, which a job names by themselves, and
    parameters that say where, not what: `device`, and what ends in `root`, `folder` or `file`.

    Raises:
        ProjectError: no such chapter, or a value that is no plain JSON.
    """
    chapter = find_chapter(stem, root or find_root())
    own = {name: names[name] for name in parameter_values(chapter)}
    try:
        json.dumps({k: v for k, v in own.items() if k in settings_of(own)}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ProjectError(f"{chapter.path}: a parameter is no plain value ({error})") from error
    return settings_of(own)


def preset_parameters(slug: str, stem: str, profile: str, root: Path) -> dict[str, Any] | None:
    """What a job of a chapter does under a profile's preset; None for a benchmark or an unknown profile."""
    chapter = chapter_of(slug, stem, root)
    presets = {} if chapter is None else read_presets(chapter, root)
    if chapter is None or profile not in presets:
        return None
    return settings_of(parameter_values(chapter) | presets[profile])


def _preset_path(chapter: Chapter, root: Path) -> Path:
    return root / "book" / "presets" / f"{chapter.stem}.yml"


def _read_preset_file(chapter: Chapter, root: Path) -> dict[str, dict[str, Any]]:
    path = _preset_path(chapter, root)
    found = (_read_yaml_file(path) if os.path.lexists(path) else {}) or {}
    if isinstance(found, dict):
        found = {SMOKE: {}} | {profile: values or {} for profile, values in found.items()}
    if not isinstance(found, dict) or not all(isinstance(values, dict) for values in found.values()):
        raise ProjectError(f"{path}: expected profiles, each with parameter: value lines below it")
    if found[SMOKE]:
        raise ProjectError(f"{path}: the smoke values are the chapter's own defaults; take `smoke:` out")
    return found


def read_presets(chapter: Chapter, root: Path) -> dict[str, dict[str, Any]]:
    """`book/presets/<chapter>.yml`: profile -> parameter -> value, read by the type of the parameter's
    default. `smoke` is always there, and empty.

    Raises:
        ProjectError: a value of another type, or no parameter of the chapter (suggests the nearest one).
    """
    path, defaults = _preset_path(chapter, root), parameter_values(chapter)
    presets: dict[str, dict[str, Any]] = {}
    for profile, values in _read_preset_file(chapter, root).items():
        presets[profile] = {}
        for name, value in values.items():
            place = f"{path}, profile {profile}:"
            if name != LIMITS:
                default = _default(name, defaults, f"key in {place}", [LIMITS])
                presets[profile][name] = _fitting(name, value, default, place)
    return presets


def _default(name: str, defaults: Mapping[str, Any], kind: str, others: Sequence[str] = ()) -> Any:
    if name not in defaults:
        raise nearest(name, [*defaults, *others], kind)
    if name == "profile":
        raise ProjectError(f"{kind} 'profile' is set by --profile: take it out")
    return defaults[name]


def _fitting(name: str, value: Any, like: Any, place: str, by_hand: bool = False) -> Any:
    try:
        return _read_by_hand(value, like) if by_hand else fit(value, like)
    except ValueError as error:
        own = f"-p {name} {shlex.quote(example(like))}" if by_hand else f"{name}: {example(like)}"
        raise ProjectError(
            f"{place} {name} is {shown(value)}; give {wanted(like)}, for example {own}"
        ) from error


def _read_by_hand(value: Any, like: Any) -> Any:
    if isinstance(value, str) and not isinstance(like, str):
        return fit(read_yaml(value), like)
    return fit(as_read(value), like)


def read_limits(chapter: Chapter, root: Path, profile: str) -> Limits:
    """What a job of the profile may use: its usual limits, changed by `limits:` in the preset.

    Raises:
        ProjectError: an unknown limit (suggests the nearest one), or a value that is no positive number.
    """
    limits = _OF_PROFILE.get(profile, Limits())
    given = _read_preset_file(chapter, root).get(profile, {}).get(LIMITS) or {}
    path = _preset_path(chapter, root)
    if not isinstance(given, dict):
        raise ProjectError(f"{path}: expected `limits: {{minutes: 30, ...}}`")
    values = {}
    for name, text in given.items():
        if name not in asdict(limits):
            raise nearest(name, asdict(limits), f"limit in {path}:")
        values[name] = _fitting(name, text, getattr(limits, name), f"{path}: limit")
        if values[name] < 0:
            raise ProjectError(f"{path}: limit {name} is {values[name]}; give a number that is not negative")
    return replace(limits, **values)


def resolve_parameters(
    chapter: Chapter, root: Path, profile: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """What to inject: the profile's preset, then the values given by hand, each of which must be a parameter
    of the chapter. `profile` itself is injected where the chapter has such a parameter.

    Args:
        given: parameter -> the text of the command line, read by the type of the parameter's default; or a
            value of this type.

    Raises:
        ProjectError: unknown profile or parameter (suggests the nearest known one), or a value of another
            type than the chapter's default.
    """
    presets = read_presets(chapter, root)
    if profile not in presets:
        raise nearest(profile, presets, f"profile of chapter {chapter.name}:")
    defaults = parameter_values(chapter)
    own = {"profile": profile} if "profile" in defaults and profile != SMOKE else {}
    by_hand = {}
    for name, value in given.items():
        place = f"parameter of chapter {chapter.name}:"
        by_hand[name] = _fitting(name, value, _default(name, defaults, place), place, by_hand=True)
    return own | presets[profile] | by_hand

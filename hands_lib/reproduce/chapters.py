"""The chapters of the book: MyST text notebooks listed in `_toc.yml`, their parameters and presets."""

import ast
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from hands_lib.reproduce.jobs import SMOKE  # the profile that a chapter's own defaults stand for
from hands_lib.reproduce.project import ProjectError, find_root, nearest, replacing

HEADER = ("slug", "tables", "back_matter")  # what may stand under `hands` in a page's header
OF_A_JOB = ("profile", "variants", "seeds")  # parameters that a job's line names by themselves
ELSEWHERE = re.compile(r"(^|_)(root|folder|file|device)$")  # parameters that say where, not what
LIMITS = "limits"  # the key of a preset that is no parameter: what one job of a sweep may use


@dataclass(frozen=True)
class Limits:
    """What one job of a sweep may use; `limits:` of a profile in a preset changes it."""

    minutes: int | float = 120  # wall time of one attempt; the next attempt goes on from the checkpoint
    memory_mb: int = 4000
    cores: int = 1
    gpus: int = 0


_OF_PROFILE = {
    "gpu": Limits(minutes=60, memory_mb=32000, cores=4, gpus=1),
    "paper": Limits(minutes=1440, memory_mb=64000, cores=8, gpus=1),
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


def book_pages(root: Path) -> list[Path]:
    """Every page that `_toc.yml` lists, in reading order."""
    try:
        toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ProjectError(f"{root / '_toc.yml'} is not YAML ({error}): mend it") from error
    pages = []
    for file in _toc_files(toc):
        path = root / (file if Path(file).suffix else f"{file}.md")
        if not path.is_file():
            raise ProjectError(f"_toc.yml lists {file}, which does not exist: write it or take the line out")
        pages.append(path)
    return pages


def _header(text: str, path: Path) -> dict[str, Any]:
    """The YAML header of a page; empty where it has none."""
    if not text.startswith("---\n"):
        return {}
    head, end, _ = text[4:].partition("\n---")
    if not end:
        raise ProjectError(f"{path}: its header is not closed by a line ---")
    try:
        header = yaml.safe_load(head)
    except yaml.YAMLError as error:
        raise ProjectError(f"{path}: its header is not YAML ({error})") from error
    return header if isinstance(header, dict) else {}


def list_chapters(root: Path) -> list[Chapter]:
    """The executable pages in reading order; a page is executable when its header has a `jupytext` entry."""
    chapters = []
    for path in book_pages(root):
        text = path.read_text(encoding="utf-8")
        header = _header(text, path)
        if "jupytext" not in header:
            continue
        own = header.get("hands") or {}
        for key in own:
            if key not in HEADER:
                raise nearest(str(key), HEADER, f"key under `hands` in the header of {path}:")
        title = next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), path.stem)
        name = path.relative_to(root / "book").with_suffix("").as_posix()
        slug = own.get("slug", path.stem)
        tables = _names(own, "tables", path) if "tables" in own else None
        chapters.append(Chapter(name, path, title, slug, bool(own.get("back_matter")), tables))
    return chapters


def chapter_of(slug: str, stem: str, root: Path) -> Chapter | None:
    """The chapter whose jobs these are; None for those of a benchmark."""
    chapters = list_chapters(root) if (root / "_toc.yml").is_file() else []
    return next((chapter for chapter in chapters if (chapter.slug, chapter.stem) == (slug, stem)), None)


def _names(own: dict[str, Any], key: str, path: Path) -> tuple[str, ...]:
    values = own.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ProjectError(f"{path}: `hands: {key}` in its header is {values!r}; give a list of names")
    return tuple(values)


def find_chapter(name: str, root: Path) -> Chapter:
    """The chapter called `name`: `hand_model`, `foundations/hand_model` or the path of its .md file."""
    chapters = list_chapters(root)
    asked = name.removesuffix(".md").removesuffix("/").removeprefix("./").removeprefix("book/")
    for chapter in chapters:
        if asked in (chapter.name, chapter.stem) or Path(name).absolute() == chapter.path:
            return chapter
    raise nearest(asked, {c.name if "/" in asked else c.stem for c in chapters}, "chapter")


def read_notebook(chapter: Chapter, root: Path) -> Any:
    """The chapter as a notebook. The conversion is kept in `_build`: jupytext takes every job of a sweep most
    of a second just to import."""
    import nbformat

    text = chapter.path.read_bytes()
    digest = hashlib.sha256(text + metadata.version("jupytext").encode()).hexdigest()[:16]
    kept = root / "_build" / "converted" / f"{chapter.stem}-{digest}.ipynb"
    try:
        return nbformat.read(kept, 4)
    except (OSError, ValueError):  # not there, or damaged
        import jupytext

        notebook = jupytext.reads(text.decode("utf-8"), fmt="md:myst")
        with replacing(kept) as temporary:
            nbformat.write(notebook, temporary)
        return notebook


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


def parameter_values(chapter: Chapter) -> dict[str, Any]:
    """Default of every parameter, in order: the value of the cell tagged `parameters` where it is a literal,
    else its expression as text; empty where no cell has the tag.

    Raises:
        ProjectError: the cell does more than to assign, so that nobody could tell what a parameter is.
    """
    values: dict[str, Any] = {}
    for cell in tagged_cells(chapter.path.read_text(encoding="utf-8"), "parameters"):
        for node in ast.parse(cell).body:
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
                value = ast.unparse(node.value)
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


def parse_value(text: str) -> Any:
    """A value of the command line: int, float (1e-3 too, which YAML 1.1 takes for text), else YAML."""
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ProjectError(
            f"parameter value {text!r} is not YAML: quote it, for example '\"{text}\"'"
        ) from error


def _preset_path(chapter: Chapter, root: Path) -> Path:
    return root / "book" / "presets" / f"{chapter.stem}.yml"


def _read_preset_file(chapter: Chapter, root: Path) -> dict[str, dict[str, Any]]:
    path = _preset_path(chapter, root)
    presets: Any = {}
    if path.is_file():
        try:
            presets = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ProjectError(f"{path} is not YAML ({error}): mend it") from error
    if not isinstance(presets, dict) or not all(isinstance(v, dict | None) for v in presets.values()):
        raise ProjectError(f"{path}: expected profiles, each with parameter: value lines below it")
    if presets.get(SMOKE):
        raise ProjectError(f"{path}: the smoke values are the chapter's own defaults; take `smoke:` out")
    return {SMOKE: {}} | {str(profile): dict(values or {}) for profile, values in presets.items()}


def read_presets(chapter: Chapter, root: Path) -> dict[str, dict[str, Any]]:
    """`book/presets/<chapter>.yml`: profile -> parameter -> value. `smoke` is always there, and empty."""
    presets = _read_preset_file(chapter, root)
    return {
        profile: {name: value for name, value in values.items() if name != LIMITS}
        for profile, values in presets.items()
    }


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
    for name, value in given.items():
        if name not in asdict(limits):
            raise nearest(str(name), asdict(limits), f"limit in {path}:")
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value:
            raise ProjectError(f"{path}: limit {name} is {value!r}; give a number that is not negative")
    return replace(limits, **given)


def resolve_parameters(chapter: Chapter, root: Path, profile: str, given: dict[str, Any]) -> dict[str, Any]:
    """What to inject: the profile's preset, then the values given by hand, each of which must be a
    parameter of the chapter. `profile` itself is injected where the chapter has such a parameter.

    Raises:
        ProjectError: unknown profile or parameter; the message suggests the nearest known one.
    """
    presets = read_presets(chapter, root)
    if profile not in presets:
        raise nearest(profile, presets, f"profile of chapter {chapter.name}:")
    names = list(parameter_values(chapter))
    own = {"profile": profile} if "profile" in names and profile != SMOKE else {}
    for name in presets[profile]:
        if name not in names:
            raise nearest(name, [*names, LIMITS], f"key in {_preset_path(chapter, root)}, profile {profile}:")
    for name in given:
        if name not in names:
            raise nearest(name, names, f"parameter of chapter {chapter.name}:")
    return own | presets[profile] | given

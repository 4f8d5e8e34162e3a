"""The chapters of the book: MyST text notebooks listed in `_toc.yml`, their parameters and presets."""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hands_lib.reproduce.project import ProjectError, nearest

SMOKE = "smoke"  # the profile that a chapter's own defaults stand for


@dataclass(frozen=True)
class Chapter:
    """One executable page. `slug` ties it to its records and published tables; pages that only show what
    the others measured set `hands: {back_matter: true}` in their header and run last."""

    name: str  # path below book/ without suffix: foundations/hand_model
    path: Path
    title: str
    slug: str
    back_matter: bool

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
        title = next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), path.stem)
        name = path.relative_to(root / "book").with_suffix("").as_posix()
        slug = own.get("slug", path.stem)
        chapters.append(Chapter(name, path, title, slug, bool(own.get("back_matter"))))
    return chapters


def find_chapter(name: str, root: Path) -> Chapter:
    """The chapter called `name`: `hand_model`, `foundations/hand_model` or the path of its .md file."""
    chapters = list_chapters(root)
    asked = name.removesuffix(".md").removesuffix("/").removeprefix("./").removeprefix("book/")
    for chapter in chapters:
        if asked in (chapter.name, chapter.stem) or Path(name).absolute() == chapter.path:
            return chapter
    raise nearest(asked, {c.name if "/" in asked else c.stem for c in chapters}, "chapter")


def parameter_names(notebook: Any) -> list[str]:
    """Names assigned in the cell tagged `parameters`, in order; empty where no cell has the tag."""
    names: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            for node in ast.parse(cell.source).body:
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


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


def read_presets(chapter: Chapter, root: Path) -> dict[str, dict[str, Any]]:
    """`book/presets/<chapter>.yml`: profile -> parameter -> value. `smoke` is always there, and empty."""
    path = root / "book" / "presets" / f"{chapter.stem}.yml"
    presets: Any = {}
    if path.is_file():
        try:
            presets = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise ProjectError(f"{path} is not YAML ({error}): mend it") from error
    if not isinstance(presets, dict) or not all(isinstance(v, dict | None) for v in presets.values()):
        raise ProjectError(f"{path}: expected profiles, each with parameter: value lines below it")
    if presets.get(SMOKE):
        raise ProjectError(f"{path}: the smoke values are the chapter's own defaults; take `smoke:` out")
    return {SMOKE: {}} | {str(profile): dict(values or {}) for profile, values in presets.items()}


def resolve_parameters(
    chapter: Chapter, notebook: Any, root: Path, profile: str, given: dict[str, Any]
) -> dict[str, Any]:
    """What to inject: the profile's preset, then the values given by hand, each of which must be a
    parameter of the chapter. `profile` itself is injected where the chapter has such a parameter.

    Raises:
        ProjectError: unknown profile or parameter; the message suggests the nearest known one.
    """
    presets = read_presets(chapter, root)
    if profile not in presets:
        raise nearest(profile, presets, f"profile of chapter {chapter.name}:")
    names = parameter_names(notebook)
    own = {"profile": profile} if "profile" in names and profile != SMOKE else {}
    for name in presets[profile] | given:
        if name not in names:
            raise nearest(name, names, f"parameter of chapter {chapter.name}:")
    return own | presets[profile] | given

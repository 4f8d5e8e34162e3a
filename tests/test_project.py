"""The files that describe the project agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
CONDA_NAMES = {"pytorch": "torch"}  # where conda calls a package otherwise


def locked(python: str) -> dict[str, str]:
    """Package -> version of the lock, as seen by one Python version on Linux."""
    seen = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    pins = {}
    for name, version, marker in re.findall(r"^([\w.-]+)==(\S+)(?: ; (.+?))? \\$", LOCK, re.M):
        if not marker or Marker(marker).evaluate(seen):
            assert name not in pins, f"{name} is locked twice for Python {python}"
            pins[canonicalize_name(name)] = version
    return pins


def direct() -> list[Requirement]:
    """All that the lock answers for; the peers of the benchmarks are installed by hand."""
    extras = {name: texts for name, texts in PROJECT["optional-dependencies"].items() if name != "bench"}
    lists = [PROJECT["dependencies"], *extras.values()]
    return [Requirement(text) for texts in lists for text in texts]


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_lock_meets_every_direct_dependency(python: str) -> None:
    pins = locked(python)
    for requirement in direct():
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), str(requirement)


def test_every_locked_package_has_hashes() -> None:
    entries = re.split(r"\n(?=[\w.-]+==)", LOCK)
    assert len(entries) > 200
    assert [entry.split(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(
    "name", ["requirements.lock", "pyproject.toml", "environment.yml", "Makefile", ".ci/run"]
)
def test_no_package_index_is_named(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert re.findall(r"(?m)--(?:extra-)?index-url[ =]\S+|^-i .+", text) == []


def test_conda_environment_agrees_with_the_lock() -> None:
    pip = next(entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
    conda = [entry for entry in CONDA["dependencies"] if isinstance(entry, str)]
    python = next(entry.split("=")[1] for entry in conda if entry.startswith("python="))
    pins = dict(re.fullmatch(r"([\w.-]+)==?(.+)", text).groups() for text in [*pip, *conda] if "=" in text)
    pins.pop("python")
    pins = {canonicalize_name(CONDA_NAMES.get(name, name)): version for name, version in pins.items()}
    names = [canonicalize_name(requirement.name) for requirement in direct()]
    assert pins == {name: locked(python)[name] for name in names}
    assert "pytorch3d" in conda


def test_versions_agree() -> None:
    from hands_lib import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["version"] == __version__ == citation["version"]


def test_every_module_has_a_header() -> None:
    bare = [
        str(p.relative_to(ROOT))
        for p in (ROOT / "hands_lib").rglob("*.py")
        if not p.read_text().startswith('"""')
    ]
    assert bare == []


def test_chapters_in_the_book_folder_are_listed() -> None:
    """A chapter that `_toc.yml` forgets would never be executed."""
    from hands_lib.reproduce.chapters import book_pages

    listed = set(book_pages(ROOT))
    pages = (p for p in (ROOT / "book").rglob("*.md") if ".ipynb_checkpoints" not in p.parts)
    assert sorted(p for p in pages if p not in listed) == []


def test_no_outputs_are_kept_in_the_book_folder() -> None:
    assert sorted((ROOT / "book").rglob("*.ipynb")) == []


def test_presets_set_parameters_that_their_chapters_have() -> None:
    from hands_lib.reproduce.chapters import find_chapter, read_presets, resolve_parameters

    for path in sorted((ROOT / "book" / "presets").glob("*.yml")):
        chapter = find_chapter(path.stem, ROOT)
        for profile in read_presets(chapter, ROOT):
            resolve_parameters(chapter, ROOT, profile, {})

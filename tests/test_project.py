"""The files that describe the project agree with each other."""

import os
import re
import shutil
import subprocess
import sys
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
    """Of their types, and every chapter is sure to have plain defaults, variants and seeds."""
    from hands_lib.reproduce.chapters import list_chapters, read_limits, read_presets
    from hands_lib.reproduce.plan import planned_jobs

    chapters = {chapter.stem: chapter for chapter in list_chapters(ROOT)}
    assert {path.stem for path in (ROOT / "book" / "presets").glob("*")} <= set(chapters)
    for chapter in chapters.values():
        for profile in read_presets(chapter, ROOT):
            read_limits(chapter, ROOT, profile)
            jobs = planned_jobs(chapter, ROOT, profile, {})
            assert len({job.name for job in jobs}) == len(jobs)


# --- make -----------------------------------------------------------------------------------------------

SAID = """#!/bin/bash
if [ "$1" = -c ] && [[ "$2" = *version_info* ]]; then exit 0; fi
printf '%s\\n' "${0##*/} VIRTUAL_ENV=${VIRTUAL_ENV-} JUPYTER_PATH=${JUPYTER_PATH-}" "$@" >> said.txt
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Enough of a checkout for make, in a folder with spaces and an umlaut; its programs note their words."""
    root = tmp_path / "Zwei Hände" / "mein buch"
    (root / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, root)
    for name in ("python", "uv", "ruff"):
        program = root / ".venv" / "bin" / name
        program.write_text(SAID)
        program.chmod(0o755)
    return root


def make(root: Path, *words: str) -> list[str]:
    """What the programs were told, a word a line."""
    (root / "said.txt").unlink(missing_ok=True)
    environment = os.environ | {"JUPYTER_PATH": "/another", "LC_ALL": "C"}
    subprocess.run(["make", *words], cwd=root, env=environment, check=True, capture_output=True)
    said = root / "said.txt"
    return said.read_text(encoding="utf-8").splitlines() if said.exists() else []


def test_make_works_in_any_folder(checkout: Path) -> None:
    """Every target runs this checkout's own programs, none by a path that a shell would split."""
    program = checkout / ".venv" / "bin" / "python"
    assert make(checkout, "help") == []
    said = make(checkout, "book", f"PYTHON={program}")
    assert said[0] == f"uv VIRTUAL_ENV={checkout}/.venv JUPYTER_PATH=/another"
    assert said[said.index("install") - 1] == "pip"
    assert said[-3:] == ["-m", "hands_lib", "build"]
    assert make(checkout, "book")[1:] == ["-m", "hands_lib", "build"]  # the environment is there by now
    assert make(checkout, "test")[1:] == ["tests/run_all.py"]
    lab = make(checkout, "lab")
    assert lab[-1] == "book"
    assert "python VIRTUAL_ENV= JUPYTER_PATH=" in lab  # else another python3 kernel than this one
    assert make(checkout, "bench")[1:4] == ["-m", "pytest", "benchmarks"]
    assert "requirements.lock" in make(checkout, "lock")
    assert make(checkout, "format")[-2:] == ["format", "."]
    (checkout / "_build").mkdir()
    make(checkout, "clean")
    assert not (checkout / "_build").exists()


def test_make_keeps_modules_compiled(checkout: Path, monkeypatch) -> None:
    """Also in a container that tells Python to write none: else every process compiles torch again."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    program = checkout / ".venv" / "bin" / "python"
    program.write_text('#!/bin/bash\necho "${PYTHONDONTWRITEBYTECODE-not set}" >> said.txt\n')
    for target in ("book", "test"):
        assert make(checkout, target)[-1] == "not set"


def test_the_lab_gives_its_pages_absolute_folders(monkeypatch) -> None:
    """What `make lab` runs, with the lab itself replaced by a look at what it is started with."""
    from hands_lib.pages import lab

    started = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HANDS_DATA", "data")
    monkeypatch.setattr(sys, "argv", ["lab", "book"])
    monkeypatch.setattr(
        lab.LabApp, "launch_instance", lambda words: started.append((words, os.environ["HANDS_DATA"]))
    )
    lab.main()
    [(words, folder)] = started
    assert folder == f"{ROOT}/data"
    assert words[0] == "book"

"""What holds for every executed chapter. The book is built first where it is not up to date."""

from pathlib import Path

import nbformat
import pytest

from hands_lib.reproduce.chapters import Chapter, list_chapters, parameter_values
from hands_lib.reproduce.project import find_root
from hands_lib.reproduce.runner import executed_path, is_current

ROOT = find_root(Path(__file__).parent)
CHAPTERS = list_chapters(ROOT)
BUDGET = 90  # seconds of computing: what a chapter may take in the smoke profile; 25 are the goal


pytestmark = pytest.mark.usefixtures("site")


@pytest.fixture(params=CHAPTERS, ids=lambda c: c.stem)
def chapter(request: pytest.FixtureRequest) -> Chapter:
    return request.param


@pytest.fixture
def notebook(chapter: Chapter) -> nbformat.NotebookNode:
    return nbformat.read(executed_path(chapter, ROOT), 4)


def test_executed_from_the_present_sources(chapter: Chapter) -> None:
    assert is_current(chapter, ROOT)


def test_no_errors_or_warnings_in_the_outputs(notebook: nbformat.NotebookNode) -> None:
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert [out for out in outputs if out.output_type == "error"] == []
    assert [out.text for out in outputs if out.output_type == "stream" and out.name == "stderr"] == []


def test_within_the_smoke_budget(notebook: nbformat.NotebookNode) -> None:
    assert notebook.metadata.hands_cpu_seconds <= BUDGET


def test_parameters_have_a_profile(chapter: Chapter) -> None:
    if not chapter.back_matter:
        assert "profile" in parameter_values(chapter)


def test_every_figure_has_an_alt_text(chapter: Chapter, notebook: nbformat.NotebookNode) -> None:
    missing = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            own = data.get("application/vnd.hands.k3d-snapshot+json", {}).get("alt")
            given = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
            drawn = {"application/vnd.plotly.v1+json", "image/png", "image/svg+xml"} & set(data)
            if (
                drawn
                and not given
                or "application/vnd.hands.k3d-snapshot+json" in data
                and not (own or given)
            ):
                missing.append(f"{chapter.path.name}:{cell.metadata.hands.line}")
    assert missing == []


def test_one_title(chapter: Chapter) -> None:
    lines = chapter.path.read_text(encoding="utf-8").splitlines()
    inside, titles = False, 0
    for line in lines:
        inside ^= line.startswith("```")
        titles += line.startswith("# ") and not inside
    assert titles == 1

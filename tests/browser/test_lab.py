"""A chapter in JupyterLab: run what is missing from the page, watch it, stop it."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from toy import CHAPTER, write_toy_book

from hands_lib.reproduce import read_lines

BIN = Path(sys.executable).parent
PATIENCE = 900_000  # milliseconds; a busy machine takes minutes to start Snakemake and a kernel
ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"notification": {"fetchNews": "false"}, "themes": {"theme": "JupyterLab Dark"}}
CELL = 'from hands_lib.reproduce import choose_runs\n\nchoose_runs("toy")'
PAGE = CHAPTER[: CHAPTER.index("# Toy")] + f"# Runs\n\n```{{code-cell}} ipython3\n{CELL}\n```\n"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """What a run waits for: until the file is there, the page goes on to show that one is running."""
    return tmp_path / "gate"


@pytest.fixture
def book(tmp_path: Path, gate: Path) -> Path:
    book = write_toy_book(tmp_path / "checkout", seeds=[0], steps=10, gate_file=str(gate))
    (book / "book" / "part" / "runs.md").write_text(PAGE)
    (book / "_toc.yml").write_text((book / "_toc.yml").read_text() + "    - file: book/part/runs.md\n")
    return book


@contextmanager
def running_lab(folder: Path, tmp_path: Path) -> Iterator[str]:
    """Address of JupyterLab on the `book` of a folder, started as by `make lab`, with settings of its own."""
    settings = tmp_path / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    for name, values in SETTINGS.items():
        (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "RUNTIME")}
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONUNBUFFERED", "HANDS_RESULTS")}
    environment = kept | own | {"IPYTHONDIR": str(tmp_path / "ipython"), "OMP_NUM_THREADS": "1"}
    viewer = [BIN / "jupytext-config", "set-default-viewer", "markdown", "myst"]
    subprocess.run(viewer, env=environment, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=toy"]
    options += ["--ServerApp.port_retries=0", "--LabApp.news_url="]
    with open(tmp_path / "lab.log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "hands_lib.pages.lab", "book", *options],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        while True:
            assert server.poll() is None, (tmp_path / "lab.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/api", timeout=PATIENCE / 1000)
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()  # and its kernels with it
        server.wait(PATIENCE / 1000)


@pytest.fixture
def lab(book: Path, tmp_path: Path) -> Iterator[str]:
    with running_lab(book, tmp_path) as address:
        yield f"{address}/lab/tree/part/runs.md?token=toy"


@pytest.fixture
def lab_on_this_book(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """JupyterLab on a copy of this book's pages."""
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(ROOT / "book", copy / "book", ignore=shutil.ignore_patterns("results", ".*"))
    for name in ("_toc.yml", "CITATION.cff"):
        shutil.copy(ROOT / name, copy)
    (copy / "_build").symlink_to(ROOT / "_build")
    with running_lab(copy, tmp_path) as address:
        yield address, copy / "book"


def ask(address: str, method: str = "GET", body: dict | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "token toy", "Content-Type": "application/json"}
    request = urllib.request.Request(address, data, headers, method=method)
    return json.loads(urllib.request.urlopen(request, timeout=PATIENCE / 1000).read())


def test_saving_a_page_changes_nothing(lab_on_this_book: tuple[str, Path], browser: Browser) -> None:
    """Every page as the lab opens and saves it, and one by Ctrl+S. A header that is lost takes a chapter's
    recorded jobs with it."""
    address, pages = lab_on_this_book
    before = {path: path.read_text(encoding="utf-8") for path in sorted(pages.rglob("*.md"))}
    assert len(before) > 20
    for path in before:
        place = f"{address}/api/contents/{path.relative_to(pages)}"
        page = ask(f"{place}?type=notebook")
        page["content"]["metadata"]["language_info"] = {
            "name": "python",
            "version": "3.11.7",
        }  # of the kernel
        for cell in page["content"]["cells"]:
            cell["metadata"]["trusted"] = True
        ask(place, "PUT", {"type": "notebook", "format": "json", "content": page["content"]})
    changed = [path.name for path, text in before.items() if path.read_text(encoding="utf-8") != text]
    assert changed == []

    path = pages / "foundations" / "metrics.md"
    page = browser.new_page()
    page.goto(f"{address}/lab/tree/foundations/metrics.md?token=toy")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    title = page.locator(".jp-NotebookPanel .jp-MarkdownCell").first
    title.dblclick()
    title.locator(".cm-content").click()
    expect(title.locator(".cm-content")).to_be_focused()
    page.keyboard.press("Control+End")
    page.keyboard.type(" More.")
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Control+s")
    end = time.monotonic() + PATIENCE / 1000
    while path.read_text(encoding="utf-8") == before[path] and time.monotonic() < end:
        time.sleep(0.1)
    page.close()
    found = path.read_text(encoding="utf-8")
    assert "More." in found
    assert found.replace(" More.", "") == before[path]


def test_a_chapter_opens_as_its_page_looks(lab_on_this_book: tuple[str, Path], browser: Browser) -> None:
    """Words instead of roles and labels, outputs without running anything, folded code folded."""
    address, _ = lab_on_this_book
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{address}/lab/tree/va_nerf/fusion.md?token=toy")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    first = page.locator(".jp-NotebookPanel .jp-MarkdownCell").first
    cited = first.get_by_role("link", name=re.compile("Huang et al")).first
    expect(cited).to_be_visible()
    assert "{" not in first.inner_text()
    chapter = ask(f"{address}/api/contents/va_nerf/fusion.md?type=notebook")["content"]["cells"]
    code = [cell for cell in chapter if cell["cell_type"] == "code"]
    assert sum(bool(cell["outputs"]) for cell in code) > len(code) / 3
    folded = [cell for cell in code if "hide-input" in cell["metadata"].get("tags", [])]
    assert folded
    assert all(cell["metadata"]["jupyter"]["source_hidden"] for cell in folded)
    page.close()


def test_run_what_is_missing_and_stop(
    lab: str, book: Path, gate: Path, browser: Browser, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(lab)
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    page.locator(".jp-NotebookPanel .jp-CodeCell").first.click()
    page.keyboard.press("Shift+Enter")
    run, stop = (page.get_by_role("button", name=name) for name in ("Run what is missing", "Stop"))
    expect(run).to_be_enabled()
    shown = page.locator(".hands-runs")
    expect(shown).to_contain_text("toy, profile cpu: 0 of 2 jobs recorded")
    assert_words_are_whole(page)

    page.get_by_label("full").click()
    expect(shown).to_contain_text("0 of 1 jobs recorded")
    run.click()
    expect(run).to_be_disabled()
    expect(stop).to_be_enabled()
    said = page.locator(".hands-said")
    expect(said).to_contain_text("0 of 1 done, 1 running, 0 failed")
    gate.touch()
    expect(said).to_contain_text("all 1 are recorded")
    expect(shown).to_contain_text(re.compile(r"1 of 1 jobs recorded.*base\s*0\s*recorded"))
    expect(run).to_be_disabled()  # nothing is missing
    assert [(line.job, line.profile) for line in read_lines("toy", book)] == [("base", "cpu")]

    gate.unlink()
    page.get_by_label("full").click()
    expect(shown).to_contain_text(re.compile(r"1 of 2 jobs recorded.*full\s*0\s*missing"))
    run.click()
    expect(said).to_contain_text("0 of 1 done, 1 running, 0 failed")
    stop.click()
    expect(said).to_contain_text("stopped: 0 of 1 done; the same command goes on from there")
    expect(run).to_be_enabled()
    expect(stop).to_be_disabled()
    assert [(line.job, line.profile) for line in read_lines("toy", book)] == [("base", "cpu")]
    page.screenshot(path=tmp_path / "lab.png")
    page.close()


def assert_words_are_whole(page: Page) -> None:
    """No button, label or caption is cut off or broken into lines."""
    for name in (".jupyter-button", ".widget-label-basic", ".hands-runs caption"):
        for found in page.locator(name).all():
            cut, height = found.evaluate("e => [e.scrollWidth - e.clientWidth, e.clientHeight]")
            assert cut <= 1, found.inner_text()
            assert height < 40, found.inner_text()

"""Executing chapters: reports of failures, what stays, what runs again."""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

from hands_lib.reproduce.chapters import Chapter, find_chapter
from hands_lib.reproduce.command import main
from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.runner import (
    Outcome,
    _OwnKernel,
    build_book,
    execute,
    executed_path,
    is_current,
    publish,
    read_chapter,
    run_chapter,
    source_key,
)


@pytest.fixture
def chapter(book: Path) -> Chapter:
    return find_chapter("small", book)


def edit(chapter: Chapter, old: str, new: str) -> None:
    text = chapter.path.read_text()
    assert old in text
    chapter.path.write_text(text.replace(old, new))


def stream(path: Path) -> str:
    return "".join(o.text for c in nbformat.read(path, 4).cells for o in c.get("outputs", []) if "text" in o)


def test_cells_know_their_lines(book: Path, chapter: Chapter) -> None:
    lines = chapter.path.read_text().splitlines()
    cells = [cell for cell in read_chapter(chapter, book).cells if cell.cell_type == "code"]
    assert [cell.metadata["hands"]["cell"] for cell in cells] == [1, 2]
    for cell in cells:
        assert lines[cell.metadata["hands"]["line"] - 1] == cell.source.splitlines()[0]


def test_run_then_break_then_mend(
    book: Path, chapter: Chapter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """One story, as every kernel costs seconds: a good run, a failing one, the good output still there."""
    monkeypatch.chdir(book)
    assert main(["run", "small"]) == 0
    target = executed_path(chapter, book)
    assert stream(target) == "3\n"
    assert is_current(chapter, book)
    for damaged in (
        b"",
        b"[]",
        b"\xff",
        target.read_bytes()[:-5],
        target.read_bytes().replace(b"3", b"4", 1),
    ):
        whole = target.read_bytes()
        target.write_bytes(damaged)
        assert not is_current(chapter, book)
        target.write_bytes(whole)
    assert is_current(chapter, book)
    publish(run_chapter(chapter, book, "smoke", {}), book)
    assert (book / "_build" / "notebooks" / "book" / "part" / "small.ipynb").is_file()

    edit(chapter, "print(sum(numbers))", "def mean(values):\n    return sum(values) / 0\n\nmean(numbers)")
    assert not is_current(chapter, book)
    capsys.readouterr()
    assert main(["run", "small"]) == 1
    message = capsys.readouterr().err
    line = chapter.path.read_text().splitlines().index("    return sum(values) / 0") + 1
    assert message.startswith(f"book/part/small.md:{line}: cell 2 failed\n")
    assert "return sum(values) / 0" in message
    assert "ZeroDivisionError: division by zero" in message
    assert "papermill" not in message.lower()
    assert len(message.splitlines()) <= 4
    assert stream(target) == "3\n"
    assert target.with_suffix(".failed.ipynb").is_file()
    assert [p.name for p in target.parent.iterdir() if p.name.startswith(".")] == []


def test_the_kernel_is_of_this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed as `python3` elsewhere on the machine."""
    other = tmp_path / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "another"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    spec = _OwnKernel(kernel_name="python3").kernel_spec
    assert spec.argv[0] == sys.executable
    assert "curve" in spec.metadata["supported_encryption"]


def test_no_parameter_becomes_code(book: Path, chapter: Chapter) -> None:
    """papermill would write the repr of bytes between quotes, where they can end the text and run."""
    canary = book / "canary"
    code = f'" + str(__import__("os").system("touch {canary}")) + "'
    with pytest.raises(TypeError, match="bytes is not JSON serializable"):
        execute(chapter, book, book / "out.ipynb", {"steps": code.encode()})
    edit(chapter, "seed = 0", 'seed = 0\nnote = ""')
    edit(chapter, "print(sum(numbers))", "print(note)")
    outcome = run_chapter(chapter, book, "smoke", {"note": code})
    assert outcome.failure is None
    assert stream(outcome.notebook) == f"{code}\n"
    assert not canary.exists()


def test_a_checkout_and_locale_of_any_kind(tmp_path: Path, book: Path, monkeypatch) -> None:
    """A folder with spaces, an umlaut and braces, which papermill fills in, and a relative HANDS_DATA; what a
    killed run left there goes."""
    root = tmp_path / "Zwei Hände {steps}" / "mein buch"
    shutil.copytree(book / "book", root / "book")
    shutil.copy(book / "_toc.yml", root)
    chapter = find_chapter("small", root)
    edit(chapter, "print(sum(numbers))", "import os\n\nprint(os.environ['HANDS_DATA'], open('é').read())")
    (chapter.path.parent / "é").write_text("手", encoding="utf-8")
    target = root / "runs" / "part" / "small" / "smoke-steps=4.ipynb"
    target.parent.mkdir(parents=True)
    left = target.with_name(f".smoke-steps=4.{os.uname().nodename}.{2**22 + 1}.ipynb")  # of no process
    left.touch()
    monkeypatch.chdir(root)
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HANDS_DATA", "data")
    assert main(["run", "book/part/small.md", "-p", "steps=4"]) == 0
    assert stream(target) == f"{root}/data 手\n"
    assert not left.exists()


def test_the_name_of_a_run_fits_a_file_system(book: Path, chapter: Chapter, monkeypatch) -> None:
    edit(chapter, "seed = 0", 'seed = 0\nnote = ""')
    targets: list[Path] = []

    def run(chapter: Chapter, root: Path, target: Path, *about: object, **more: object) -> Outcome:
        targets.append(target)
        return Outcome(chapter, target, 0.0)

    monkeypatch.setattr("hands_lib.reproduce.runner.execute", run)
    for note in ("手" * 1000, "../../up", "a\nb\0"):
        run_chapter(chapter, book, "smoke", {"note": note})
    assert [len(target.name.encode()) < 200 for target in targets] == [True] * 3
    assert {target.parent for target in targets} == {book / "runs" / "part" / "small"}


def test_run_with_parameters_goes_below_runs(book: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(book)
    assert main(["run", "small", "-p", "steps", "5", "-p", "seed", "2"]) == 0
    assert "runs/part/small/smoke-seed=2-steps=5.ipynb" in capsys.readouterr().out
    assert stream(book / "runs" / "part" / "small" / "smoke-seed=2-steps=5.ipynb") == "20\n"
    assert not executed_path(find_chapter("small", book), book).exists()


def test_syntax_error_and_a_dead_kernel_are_reported(book: Path, chapter: Chapter) -> None:
    edit(chapter, "print(sum(numbers))", "print(sum(numbers)")
    outcome = execute(chapter, book, book / "out.ipynb")
    line = chapter.path.read_text().splitlines().index("print(sum(numbers)") + 1
    assert outcome.failure is not None
    assert outcome.failure.startswith(f"book/part/small.md:{line}: cell 2 failed")
    assert "SyntaxError" in outcome.failure
    edit(chapter, "print(sum(numbers)", "import os; os._exit(1)")
    outcome = execute(chapter, book, book / "out.ipynb")
    assert outcome.failure is not None
    assert "book/part/small.md: its kernel died" in outcome.failure
    assert not (book / "out.ipynb").exists()


def test_key_follows_text_data_and_committed_numbers(
    book: Path, chapter: Chapter, tmp_path_factory, monkeypatch
) -> None:
    monkeypatch.delenv("HANDS_DATA", raising=False)
    keys = [source_key(chapter, book)]
    assert source_key(chapter, book) == keys[0]

    (book / "runs" / "done").mkdir(parents=True)
    (book / "runs" / "done" / "smoke-1.json").write_text("{}")
    assert source_key(chapter, book) == keys[0]  # written by the chapter itself
    (book / "book" / "results" / "s").mkdir(parents=True)
    (book / "book" / "results" / "s" / "chapter.jsonl").write_text("{}")
    keys.append(source_key(chapter, book))

    noted = "part/small: {version: %d, proved_at: '%s', sources: '%s'}\n"
    for version, sources in ((2, "0" * 16), (2, "1" * 16), (3, "1" * 16)):
        (book / "book" / "versions.yml").write_text(noted % (version, "0" * 40, sources))
        key = source_key(chapter, book)
        assert (key == keys[-1]) is (sources == "1" * 16 and version == 2)  # a digest alone changes no page
        keys += [] if key == keys[-1] else [key]

    data = tmp_path_factory.mktemp("data")
    (data / "file").write_text("a")
    monkeypatch.setenv("HANDS_DATA", str(data))
    keys.append(source_key(chapter, book))
    (data / "file").write_text("ab")
    keys.append(source_key(chapter, book))
    chapter.path.write_text(chapter.path.read_text() + "\nMore.\n")
    assert source_key(chapter, book) == keys[-1]  # prose is rendered, not executed
    chapter.path.write_text(chapter.path.read_text() + "\n```{code-cell} ipython3\n1 + 1\n```\n")
    keys.append(source_key(chapter, book))
    assert len(set(keys)) == len(keys)


def test_names_that_are_no_utf_8_are_data_too(
    chapter: Chapter, book: Path, tmp_path_factory, monkeypatch
) -> None:
    data = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("HANDS_DATA", str(data))
    key = source_key(chapter, book)
    os.mkdir(os.fsencode(data) + b"/\xff")
    os.mkfifo(data / "pipe")
    (data / "loop").symlink_to("loop")
    assert source_key(chapter, book) != key


@pytest.fixture
def renderings(book: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Builds without kernels and Sphinx: what Jupyter Book is called for, and writes."""
    done: list[str] = []

    def render(root: Path) -> None:
        done.append("rendered")
        for name in ("index.html", "book/index.html", "book/part/small.html", "_static/standalone.js"):
            path = root / "_build" / "html" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("whole")

    monkeypatch.setattr("hands_lib.reproduce.runner.execute_book", lambda root, only: [])
    monkeypatch.setattr("hands_lib.reproduce.runner._render", render)
    return done


@pytest.mark.parametrize("name", ["index.html", "book/part/small.html", "_static/standalone.js"])
@pytest.mark.parametrize("text", [None, "", "who"])
def test_a_site_that_lost_something_is_built_again(
    book: Path, renderings: list[str], name: str, text: str | None
) -> None:
    html = build_book(book).parent
    build_book(book)
    assert len(renderings) == 1
    if text is None:
        (html / name).unlink()
    else:
        (html / name).write_text(text)
    build_book(book)
    build_book(book)
    assert len(renderings) == 2
    assert (html / name).read_text() == "whole"


@pytest.mark.parametrize("stamp", ["", "[]", "{}", '{"key": 1, "files": []}', "\udcff"])
def test_a_damaged_stamp_is_no_stamp(book: Path, renderings: list[str], stamp: str) -> None:
    build_book(book)
    (book / "_build" / ".site.json").write_text(stamp, errors="surrogateescape")
    build_book(book)
    assert len(renderings) == 2


def test_a_page_that_is_not_rendered_is_no_site(book: Path, renderings: list[str]) -> None:
    (book / "book" / "more.md").write_text("# More\n")
    (book / "_toc.yml").write_text((book / "_toc.yml").read_text() + "    - file: book/more\n")
    for _ in range(2):
        with pytest.raises(ProjectError, match=r"Jupyter Book left out book/more\.html"):
            build_book(book)
    assert len(renderings) == 2


def test_while_one_writes_the_other_chapters_stay_as_they_were(book: Path, renderings: list[str]) -> None:
    with pytest.raises(ProjectError, match="not executed as they stand: small; name them too"):
        build_book(book, only=[])
    chapter = find_chapter("small", book)
    execute(chapter, book, executed_path(chapter, book))
    build_book(book, only=[])
    chapter.path.write_text(chapter.path.read_text() + "\nMore.\n")
    build_book(book, only=[])  # prose is rendered
    chapter.path.write_text(chapter.path.read_text() + "\n```{code-cell} ipython3\n1 + 1\n```\n")
    with pytest.raises(ProjectError, match="not executed as they stand"):
        build_book(book, only=[])
    build_book(book)
    assert len(renderings) == 3  # what was built with `only` is no whole site


def test_libraries_of_the_site_are_copied_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves none or the old one, and what somebody cut is copied again."""
    from hands_lib.pages.site_files import copy_whole

    source, target = tmp_path / "package", tmp_path / "site" / "_static"
    (source / "fonts").mkdir(parents=True)
    (source / "fonts" / "one.js").write_text("whole")
    copied = target / "fonts" / "one.js"

    def full(source: Path, target: Path) -> None:
        target.write_text("wh")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(ProjectError, match="one.js cannot be written .*free some space"):
            copy_whole(source, target)
        assert list(copied.parent.iterdir()) == []
    for text in ("wh", "", "whole and more"):
        copy_whole(source, target)
        assert copied.read_text() == "whole"
        copied.write_text(text)  # newer than its source
    copy_whole(source, target)
    assert copied.read_text() == "whole"
    before = copied.stat().st_ino
    copy_whole(source, target)
    assert copied.stat().st_ino == before  # there is nothing to do


def test_a_progress_bar_is_no_part_of_a_page(book: Path, chapter: Chapter) -> None:
    """On a slow machine a bar that waits some seconds comes too, perhaps in a cell that has a figure."""
    edit(
        chapter, "print(sum(numbers))", "from tqdm.auto import tqdm\n\nfor n in tqdm(numbers):\n    print(n)"
    )
    outcome = execute(chapter, book, book / "out.ipynb")
    assert outcome.failure is None
    publish(outcome, book)
    offered = nbformat.read(book / "_build" / "notebooks" / "book" / "part" / "small.ipynb", 4)
    outputs = [out for cell in offered.cells for out in cell.get("outputs", [])]
    assert [(out.output_type, out.text) for out in outputs] == [("stream", "0\n1\n2\n")]

"""Versions of chapters: what their sources are, what changes the digest, and when a job may be a result."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from toy import commit, write_toy_book

from hands_lib.reproduce import versions
from hands_lib.reproduce.chapters import list_chapters
from hands_lib.reproduce.jobs import ASKED, Asked, Job
from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.versions import (
    OUTSIDE,
    Entry,
    changed_since,
    code_digest,
    digest,
    read_versions,
    refusal,
    source_files,
    sources_here,
    version_of,
    write_entry,
)

SOURCE = '''\
"""Header."""

import math  # why


class Circle:
    """Round."""

    def area(self, r):
        """Area of a circle,
        in square metres."""
        # a comment
        text = "# no comment"
        return math.pi * r**2, text
'''


# --- the digest of a source -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# why", ""),
        ("in square metres", "in m2"),
        ('    """Round."""\n', ""),
        ('"""Header."""', ""),
        ("        # a comment\n", "\n\n"),
        ("math.pi * r**2, text", "(\n            math.pi\n            * r ** 2, text)"),
        ('"# no comment"', "u'# no comment'"),
    ],
)
def test_what_is_no_code_does_not_count(old: str, new: str) -> None:
    assert SOURCE.replace(old, new) != SOURCE
    assert code_digest(SOURCE.replace(old, new)) == code_digest(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("r**2", "r**3"),
        ("r**2", "r**2.0"),
        ("r**2, text", "r**2"),
        ("# no comment", "# no"),
        ('"# no comment"', 'b"# no comment"'),
        ("def area(self, r)", "def area(self, q)"),
        ("def area(self, r)", "def area(self, *, r)"),
        ("def area", "async def area"),
        ("import math", "import cmath as math"),
    ],
)
def test_code_counts(old: str, new: str) -> None:
    assert SOURCE.replace(old, new) != SOURCE
    assert code_digest(SOURCE.replace(old, new)) != code_digest(SOURCE)


def test_constants_that_are_equal_but_not_the_same() -> None:
    texts = ["1", "1.0", "True", "None", "'1'", "b'1'", "1j", "...", "-1", "[]", "()", "{}", "[1]", "''"]
    assert len({code_digest(f"x = {text}") for text in texts}) == len(texts)


def test_every_python_version_has_the_same_digest() -> None:
    """Of what syntax trees of Python 3.11 to 3.13 write in different ways; noted from all three."""
    awkward = (
        "def f(a: int = None, *b, c=1) -> 'text':\n    'A docstring'\n\n"
        'x = f"a{{b}}{f!r:>{w}.{p}}c" "d" f"{x=}" f"" + "\\u0870"\n'
        "match x:\n    case {**rest}: pass\n    case None: pass\n"
        "with (open(x) as a, open(x) as b): pass\nclass A(B, metaclass=C): y: int\n"
    )
    assert code_digest(awkward)[:16] == "144c12f2970bd5c8"


def test_what_is_no_python_counts_as_it_is() -> None:
    assert code_digest("%timeit f(x)  # why") != code_digest("%timeit f(x)  # what")


# --- the sources of a chapter ---------------------------------------------------------------------------

MODULES = {
    "room/__init__.py": "from .losses import loss\n",
    "room/losses.py": "from . import parts\nfrom .parts import deep\n\nloss = 1\n",
    "room/parts/__init__.py": "",
    "room/parts/deep.py": "from ...things import grid\n",
    "room/unused.py": "import hands_lib.lonely\n",
    "things/__init__.py": "",
    "things/grid.py": "def late():\n    import hands_lib.late\n    return hands_lib.late\n",
    "late.py": "from hands_lib.figures import draw\nfrom hands_lib.reproduce import store\n",
    "lonely.py": "",
    "figures.py": "import hands_lib.drawn\n",
    "drawn.py": "",
    "reproduce/__init__.py": "import hands_lib.stored\n",
    "stored.py": "",
    "__init__.py": '__version__ = "1"\n',
}
REACHED = ["late.py", "room/__init__.py", "room/losses.py", "room/parts/__init__.py", "room/parts/deep.py"]
REACHED += ["things/__init__.py", "things/grid.py"]
IMPORTS = "from hands_lib import figures, reproduce\nfrom hands_lib.room import loss\n"


def cell(code: str, tags: str = "") -> str:
    return f"\n```{{code-cell}} ipython3\n:tags: [{tags}]\n\n{code}\n```\n"


def page_of(book: Path) -> Path:
    return book / "book" / "part" / "small.md"


@pytest.fixture
def library(book: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small hands_lib that the book's chapter imports; the room of `small`."""
    package = book / "hands_lib"
    for name, text in MODULES.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(versions, "PACKAGE", package)
    page = page_of(book)
    page.write_text(page.read_text() + cell(IMPORTS) + cell("step = 0.5", "method, hide-input"))
    return package


def reached(book: Path, library: Path, slug: str = "small", chapter: str = "small") -> list[str]:
    files = source_files(slug, chapter, book)
    return sorted(str(path.relative_to(library)) for path in files if path.is_relative_to(library))


def test_the_sources_are_all_that_is_imported(book: Path, library: Path) -> None:
    assert source_files("small", "small", book)[0] == page_of(book)
    assert reached(book, library) == REACHED


@pytest.mark.parametrize(
    "code",
    [
        "import hands_lib.lonely as alone",
        "from hands_lib.lonely import name, other",
        "from hands_lib import (\n    lonely,\n)",
        "def f():\n    if True:\n        import math, hands_lib.lonely",
        "%matplotlib inline\nfrom hands_lib import lonely",
        "%%time\nfor i in range(3):\n    !ls\n    import hands_lib.lonely",
        "files = !ls\nimport hands_lib.lonely",
    ],
)
def test_every_way_to_import(book: Path, library: Path, code: str) -> None:
    page = page_of(book)
    before = digest("small", "small", book)
    page.write_text(page.read_text() + cell(code))
    assert reached(book, library) == sorted([*REACHED, "lonely.py"])
    assert digest("small", "small", book) != before


@pytest.mark.parametrize("text", ["import hands_lib.lonely", "```python\nimport hands_lib.lonely\n```"])
def test_text_of_a_page_imports_nothing(book: Path, library: Path, text: str) -> None:
    page = page_of(book)
    page.write_text(f"{page.read_text()}\n{text}\n")
    assert reached(book, library) == REACHED


def test_what_changes_the_digest_of_a_chapter(book: Path, library: Path) -> None:
    def changes(name: str, text: str) -> bool:
        path = page_of(book) if name == "page" else library / name
        before, kept = digest("small", "small", book), path.read_text() if path.exists() else None
        path.write_text(text)
        changed = digest("small", "small", book) != before
        path.write_text(kept) if kept is not None else path.unlink()
        assert digest("small", "small", book) == before
        return changed

    page = page_of(book).read_text()
    assert [name for name, text in MODULES.items() if changes(name, f"{text}\nz = 3\n")] == [
        name for name in MODULES if name in REACHED
    ]
    assert not any(changes(name, f"# why\n{text}\n") for name, text in MODULES.items())
    assert changes("page", page.replace("step = 0.5", "step = 0.6"))
    assert changes("page", page + cell("more = 1", "method"))
    assert changes("page", page.replace("method, hide-input", "hide-input"))
    assert not changes("page", page + cell("more = 1"))
    assert not changes("page", page.replace("Text in between.", "More text."))
    assert not changes("page", page.replace("step = 0.5", "step = 0.5  # a half"))


def test_a_function_that_moves_changes_the_digest(book: Path, library: Path) -> None:
    before = digest("small", "small", book)
    (library / "room" / "losses.py").write_text("from . import parts\nfrom .parts import deep, loss\n")
    (library / "room" / "parts" / "__init__.py").write_text("loss = 1\n")
    assert digest("small", "small", book) != before


def test_a_module_that_is_no_python_is_named(book: Path, library: Path) -> None:
    (library / "late.py").write_text("def f(:\n")
    with pytest.raises(ProjectError, match=r"late\.py is not Python .*line 1.*mend"):
        digest("small", "small", book)


def test_a_benchmark_has_the_scripts_beside_it_and_what_they_import(book: Path, library: Path) -> None:
    folder = book / "benchmarks" / "small"
    folder.mkdir(parents=True)
    (folder / "speed.py").write_text("import math\nfrom noting import note\n")
    (folder / "noting.py").write_text("import hands_lib.lonely\n")
    (folder / "other.py").write_text("import hands_lib.drawn\n")
    files = source_files("small", "speed", book)
    assert [path.name for path in files] == ["speed.py", "noting.py", "lonely.py"]
    with pytest.raises(
        ProjectError, match=r"small/sped is no chapter of the book, and there is no .*sped\.py"
    ):
        source_files("small", "sped", book)


ROOT = find_root(Path(__file__).parent)


def test_what_a_chapter_of_this_book_loads_is_in_its_sources() -> None:
    """Against Python itself: the page that imports most, its imports executed in a new process."""
    chapters = [chapter for chapter in list_chapters(ROOT) if not chapter.back_matter]
    chapter = max(chapters, key=lambda c: len(source_files(c.slug, c.stem, ROOT)))
    names = {
        name
        for name in versions._page_imports(chapter.path.read_text())
        if name.startswith("hands_lib.") and not name.startswith(OUTSIDE) and versions._file_of(name)
    }
    code = "import sys, importlib, json\n" + "".join(
        f"importlib.import_module({n!r})\n" for n in sorted(names)
    )
    code += "print(json.dumps([n for n in sys.modules if n.startswith('hands_lib.')]))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(run.stdout.splitlines()[-1]) if not name.startswith(OUTSIDE)}
    files = set(source_files(chapter.slug, chapter.stem, ROOT))
    assert len(loaded) > 20
    assert {name for name in loaded if versions._file_of(name) not in files} == set()


def test_the_package_itself_decides_no_number() -> None:
    """`hands_lib/__init__.py` is no source of any chapter, so nothing but the version may stand there."""
    tree = ast.parse((versions.PACKAGE / "__init__.py").read_text())
    assert [ast.unparse(node).partition(" = ")[0] for node in tree.body[1:]] == ["__version__"]


# --- book/versions.yml ----------------------------------------------------------------------------------


def versions_file(book: Path, text: str) -> None:
    (book / "book" / "versions.yml").write_text(text)


COMMIT, DIGEST = "0123456789" * 4, "1234567890123456"  # of digits alone: YAML takes them for numbers


def test_entries_are_read_again(book: Path) -> None:
    assert version_of("small", "small", book) == 1
    write_entry(book, "small", "small", 3, COMMIT, DIGEST)
    write_entry(book, "another", "speed", 2)
    assert read_versions(book) == {
        "small/small": Entry(version=3, proved_at=COMMIT, sources=DIGEST),
        "another/speed": Entry(version=2),
    }
    assert [version_of(*name.split("/"), book) for name in ("small/small", "another/speed", "a/b")] == [
        3,
        2,
        1,
    ]
    text = (book / "book" / "versions.yml").read_text()
    write_entry(book, "small", "small", 3, COMMIT, DIGEST)
    assert (book / "book" / "versions.yml").read_text() == text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line.split(":")[0] for line in lines] == ["another/speed", "small/small"]  # one line each, sorted


def test_an_empty_file_says_nothing(book: Path) -> None:
    versions_file(book, versions.HEADER)
    assert read_versions(book) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/b: {version: 1", "is not YAML"),
        ("<<<<<<< HEAD\na/b: {version: 1}\n", "is not YAML"),
        ("[1]", "expected lines such as"),
        ("small: {version: 1}", "'small' is no chapter"),
        ("a/b: {version: 1}\na/c: {version: 1}\na/b: {version: 2}", "a/b is given twice: keep the higher"),
        ("a/b: {versoin: 1}", "key of a/b in .*versions.yml: 'versoin'; did you mean 'version'"),
        ("a/b: {version: 0}", "a/b version is 0: .*greater than or equal to 1"),
        ("a/b: {version: 1.0}", "a/b version is 1.0"),
        ("a/b: {version: true}", "a/b version is True"),
        ("a/b: {version: '1'}", "a/b version is '1'"),
        ("a/b: {}", "a/b version is {}: Field required"),
        ("a/b: 1", "a/b is 1"),
        (f"a/b: {{version: 1, sources: {DIGEST}}}", f"a/b sources is {DIGEST}: .*; put it in quotes"),
        (f"a/b: {{version: 1, sources: '{DIGEST}'}}", "proved_at and sources both, or none"),
        (
            f"a/b: {{version: 1, proved_at: '{COMMIT[1:]}', sources: '{DIGEST}'}}",
            "a/b proved_at is .*pattern",
        ),
    ],
)
def test_a_damaged_file_names_the_place(book: Path, text: str, message: str) -> None:
    versions_file(book, text)
    with pytest.raises(ProjectError, match=rf"(?s)versions\.yml.*{message}|{message}"):
        version_of("a", "b", book)


# --- whether a job may be a result ----------------------------------------------------------------------


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(ASKED, raising=False)
    return write_toy_book(tmp_path / "checkout")


def trouble(book: Path, slug: str = "toy", chapter: str = "toy") -> str:
    return sources_here(slug, chapter, book).trouble


def toy_page(book: Path) -> Path:
    return book / "book" / "part" / "toy.md"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_committed_sources_are_good(toy: Path) -> None:
    head = commit(toy)
    versions_file(toy, "toy/toy: {version: 2}\n")  # a file of no chapter's sources
    found = sources_here("toy", "toy", toy)
    assert (found.commit, found.version, found.trouble) == (head, 2, "")


def test_a_page_that_differs_from_the_commit(toy: Path) -> None:
    toy_page(toy).write_text(toy_page(toy).read_text() + "\nMore.\n")
    assert trouble(toy).startswith("book/part/toy.md not as in the commit: commit first")
    commit(toy)
    assert trouble(toy) == ""


def with_library(toy: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A hands_lib of one module, which the toy's page imports."""
    package = folder / "hands_lib"
    package.mkdir(parents=True)
    (package / "one.py").write_text("size = 1\n")
    monkeypatch.setattr(versions, "PACKAGE", package)
    toy_page(toy).write_text(toy_page(toy).read_text() + cell("import hands_lib.one"))
    return package / "one.py"


@pytest.mark.parametrize("elsewhere", [False, True])
def test_modules_that_are_not_in_git(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    """Of the book's own checkout, or of another one."""
    module = with_library(toy, monkeypatch, tmp_path / "library" if elsewhere else toy)
    subprocess.run(["git", "config", "status.showUntrackedFiles", "no"], cwd=toy, check=True)  # a person's
    if elsewhere:
        commit(toy)
        assert "not a git repository" in trouble(toy)
        subprocess.run(["git", "init", "-q", tmp_path / "library"], check=True)
        assert trouble(toy).startswith("hands_lib/one.py not as in the commit")
        head = commit(tmp_path / "library")
        assert sources_here("toy", "toy", toy).commit != head
    else:
        assert trouble(toy).startswith("book/part/toy.md, hands_lib/one.py not as in the commit")
        commit(toy)
    assert trouble(toy) == ""
    module.write_text("size = 2\n")
    assert trouble(toy).startswith("hands_lib/one.py not as in the commit")
    subprocess.run(["git", "rm", "-q", "--cached", "hands_lib/one.py"], cwd=module.parents[1], check=True)
    (module.parents[1] / ".gitignore").write_text("one.py\n")
    commit(module.parents[1])
    assert trouble(toy).startswith("hands_lib/one.py not as in the commit")


def test_at_most_three_files_are_named(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = with_library(toy, monkeypatch, toy)
    for name in ("four", "two", "three"):
        module.with_name(f"{name}.py").write_text("")
    module.write_text("from hands_lib import four, three, two\n")
    assert "hands_lib/one.py and 2 more not as in the commit" in trouble(toy)


def test_a_folder_that_is_no_checkout(book: Path) -> None:
    assert "not a git repository" in trouble(book, "small", "small")
    subprocess.run(["git", "init", "-q", book], check=True)
    found = sources_here("small", "small", book)  # no commit yet
    assert found.commit == ""
    assert found.trouble != ""


def test_without_git(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(toy))
    assert trouble(toy) == "git is not installed: install it"


def test_sources_that_changed_since_the_version_was_proved(toy: Path) -> None:
    write_entry(toy, "toy", "toy", 4, commit(toy), digest("toy", "toy", toy))
    assert trouble(toy) == ""
    edit(toy_page(toy), "0.5 * gradient", "0.4 * gradient")
    assert "not as in the commit" in trouble(toy)
    commit(toy)
    assert trouble(toy) == "edited since version 4 was proved: `hands same toy`, or raise its version"
    write_entry(toy, "toy", "toy", 5)
    assert trouble(toy) == ""


def test_a_job_of_nobody(toy: Path) -> None:
    assert "toy/tay is no chapter of the book" in trouble(toy, "toy", "tay")


def test_a_benchmark_goes_by_its_commit(toy: Path) -> None:
    script = toy / "benchmarks" / "toy" / "speed.py"
    script.parent.mkdir(parents=True)
    script.write_text("x = 1\n")
    assert trouble(toy, "toy", "speed").startswith("benchmarks/toy/speed.py not as in the commit")
    commit(toy)
    assert trouble(toy, "toy", "speed") == ""


def test_a_kernel_of_hands_keeps_what_it_began_with(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen() -> list[bool]:
        edit(toy_page(toy), "# Toy", "# A toy")
        dirty = trouble(toy) != ""
        edit(toy_page(toy), "# A toy", "# Toy")
        return [dirty, trouble(toy) != ""]

    assert seen() == [True, False]  # a person's kernel: asked anew
    monkeypatch.setenv(ASKED, Asked().text)
    assert seen() == [True, True]
    monkeypatch.setenv(ASKED, Asked(force=True).text)  # another kernel
    assert [trouble(toy) != "", *seen()] == [False, False, False]


def test_the_usual_case_asks_git_twice(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []

    def counting(folder: Path, *arguments: str, git: Callable[..., str] = versions.git) -> str:
        calls.append(arguments)
        return git(folder, *arguments)

    monkeypatch.setattr(versions, "git", counting)
    assert trouble(toy) == ""
    assert [arguments[0] for arguments in calls] == ["rev-parse", "status"]


def test_asking_does_not_lock_the_index(toy: Path) -> None:
    """A sweep asks while a person commits: git must not write its index, as it does for a touched file."""
    index = toy / ".git" / "index"
    before = index.stat().st_ino
    os.utime(toy_page(toy))
    assert trouble(toy) == ""
    assert index.stat().st_ino == before


def test_the_refusal_says_what_why_and_the_ways_out(toy: Path) -> None:
    edit(toy_page(toy), "# Toy", "# A toy")
    job = Job("toy", "toy", "full", 0, "cpu", dataset="line")
    text = refusal(job, sources_here("toy", "toy", toy))
    assert text.startswith("toy/toy, 'full': book/part/toy.md not as in the commit: commit first. ")
    assert "--dirty" in text


# --- what changed ---------------------------------------------------------------------------------------


def test_what_changed_since_the_proof(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = with_library(toy, monkeypatch, toy)
    assert changed_since("toy", "toy", toy) == []  # no entry
    write_entry(toy, "toy", "toy", 1, commit(toy), digest("toy", "toy", toy))
    edit(module, "size = 1", "size = 1  # one")
    assert changed_since("toy", "toy", toy) == []
    edit(module, "size = 1", "from hands_lib import new\nsize = 1")
    module.with_name("new.py").write_text("x = 1\n")
    assert changed_since("toy", "toy", toy) == ["hands_lib.new", "hands_lib.one"]
    edit(toy_page(toy), "0.5 * gradient", "0.4 * gradient")
    assert changed_since("toy", "toy", toy)[2:] == ["cells tagged `method` of book/part/toy.md"]
    write_entry(toy, "toy", "toy", 1, "0" * 40, "0" * 16)
    assert changed_since("toy", "toy", toy) == []  # a commit that is not here


def test_the_file_stays_readable_yaml(toy: Path) -> None:
    write_entry(toy, "toy", "toy", 1, COMMIT, DIGEST)
    raw = yaml.safe_load((toy / "book" / "versions.yml").read_text())
    assert raw == {"toy/toy": {"version": 1, "proved_at": COMMIT, "sources": DIGEST}}

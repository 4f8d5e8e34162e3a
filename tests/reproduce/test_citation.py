"""How chapters are cited, and what they cite."""

import re
import subprocess
from pathlib import Path

import pytest
from pybtex.database import parse_string

from hands_lib.pages.citing import citation_box
from hands_lib.reproduce.chapters import book_pages, book_parts, list_chapters
from hands_lib.reproduce.citation import book_citation, chapter_bibtex, cited_papers, read_papers
from hands_lib.reproduce.project import ProjectError, find_root

ROOT = find_root(Path(__file__).parent)
CFF = """cff-version: 1.2.0
title: "A book"
version: 1.2.3
license: MIT
authors:
  - {given-names: Ada, family-names: Lovelace}
  - {name: The others}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "book").mkdir()
    (tmp_path / "CITATION.cff").write_text(CFF)
    (tmp_path / "book" / "page.md").write_text("# VA-NeRF in 3D\n")
    return tmp_path


def commit(folder: Path, message: str) -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "-A"], [*own, "commit", "-qm", message]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    shown = ["git", "-C", str(folder), "log", "-1", "--format=%h"]
    return subprocess.run(shown, check=True, capture_output=True, text=True).stdout.strip()


def test_a_chapter_names_the_commit_that_changed_it_last(checkout: Path) -> None:
    page = checkout / "book" / "page.md"
    first = commit(checkout, "first")
    (checkout / "other.md").write_text("later")
    second = commit(checkout, "second")
    entry = parse_string(chapter_bibtex("VA-NeRF in 3D", page, checkout), "bibtex").entries["hands-lib:page"]
    assert entry.fields["title"] == "{VA-NeRF} in {3D}"
    assert entry.fields["booktitle"] == "A book"
    assert f"Version 1.2.3, commit {first} of " in entry.fields["note"]
    assert re.fullmatch(r"\d{4}", entry.fields["year"])
    book = book_citation(checkout)
    assert (book.authors, book.commit) == ("Ada Lovelace and The others", second)


def test_a_copy_without_git_says_no_commit(checkout: Path, monkeypatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.parent))
    assert "commit" not in chapter_bibtex("A", checkout / "book" / "page.md", checkout)


def test_a_citation_file_that_cannot_be_read_is_named(checkout: Path) -> None:
    (checkout / "CITATION.cff").write_text("title: A book\n")
    with pytest.raises(ProjectError, match=r"CITATION\.cff cannot be read .*authors"):
        book_citation(checkout)


def test_every_paper_has_what_a_reader_looks_for() -> None:
    papers = read_papers(ROOT)
    assert len(papers) > 40
    for paper in papers.values():
        assert min(len(paper.title), len(paper.authors)) > 1, paper.key
        assert re.fullmatch(r"(19|20)\d\d", paper.year), paper.key
        assert not re.search(r"[{}\\]", paper.title + paper.authors + paper.venue), paper.key
    assert papers["huang2024vanerf"].link == "https://arxiv.org/abs/2401.00979"
    assert papers["wang2004ssim"].link == "https://doi.org/10.1109/TIP.2003.819861"


@pytest.mark.parametrize("chapter", list_chapters(ROOT), ids=lambda c: c.stem)
def test_what_a_chapter_cites_is_in_the_bibliography(chapter) -> None:
    assert all(paper.title for paper in cited_papers(chapter.path, ROOT))


def test_an_unknown_key_is_named(checkout: Path) -> None:
    page = checkout / "book" / "page.md"
    page.write_text("See {cite:t}`nobody2000`.")
    (checkout / "book" / "references.bib").write_text("@misc{a, title = {A}, author = {B, C}, year = 2000}")
    with pytest.raises(ProjectError, match="cites nobody2000: add it to book/references.bib"):
        cited_papers(page, checkout)


def test_the_box_is_text_not_markup() -> None:
    papers = [read_papers(ROOT)["huang2024vanerf"]]
    box = citation_box("@misc{<b>}", papers, "book/a&b.md", "", "../bibliography.html")
    assert "&lt;b&gt;" in box
    assert "a&amp;b.md" in box
    assert '<a href="https://arxiv.org/abs/2401.00979">arXiv:2401.00979</a>' in box


def test_parts_hold_every_page_in_order() -> None:
    parts = book_parts(ROOT)
    assert parts[0] == ("", [ROOT / "book" / "index.md"])
    assert [path for _, paths in parts for path in paths] == book_pages(ROOT)

"""How to cite the book and its chapters, and the papers that a chapter cites.

The book's authors, title and version stand in `CITATION.cff`, the papers in `book/references.bib`. Which
commit a text is of, git says; of a copy without git, nothing is said.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.versions import git

CITED = re.compile(r"\{cite:[a-z]+\}`([^`]+)`")


@dataclass(frozen=True)
class BookCitation:
    """What a title page says. `date` (as 2026-11-30) and `commit` are empty where git knows nothing."""

    title: str
    authors: str
    version: str
    date: str
    commit: str
    license: str

    @property
    def source(self) -> str:
        """What was built, in words."""
        return f"commit {self.commit}, {self.license} licence" if self.commit else f"{self.license} licence"


@dataclass(frozen=True)
class Paper:
    """An entry of the bibliography in words. `link` is empty where neither DOI nor arXiv number is known."""

    key: str
    authors: str
    title: str
    venue: str
    year: str
    link: str
    identifier: str


def _last_commit(root: Path, path: Path | None = None) -> tuple[str, str]:
    """Short name and day of the commit that changed a file last; of the last one, without a file."""
    try:
        said = git(root, "log", "-1", "--format=%h %cs", *([] if path is None else ["--", str(path)]))
    except ProjectError:
        return "", ""
    commit, _, date = said.strip().partition(" ")
    return commit, date


def book_citation(root: Path) -> BookCitation:
    """How the book is cited, by `CITATION.cff`.

    Raises:
        ProjectError: the file is not there, is no YAML, or lacks title, version or authors.
    """
    path = root / "CITATION.cff"
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
        authors = " and ".join(_author(author) for author in facts["authors"])
        known = [str(facts[key]) for key in ("title", "version", "license")]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ProjectError(f"{path} cannot be read ({error}): restore it with git, or mend it") from error
    commit, date = _last_commit(root)
    return BookCitation(known[0], authors, known[1], date, commit, known[2])


def _author(author: dict[str, Any]) -> str:
    if "name" in author:
        return str(author["name"])
    return f"{author['given-names']} {author['family-names']}"


def chapter_bibtex(title: str, path: Path, root: Path) -> str:
    """The BibTeX entry of one chapter: its title, the book's version, the commit that changed it last.

    Raises:
        ProjectError: `CITATION.cff` cannot be read.
    """
    book = book_citation(root)
    commit, date = _last_commit(root, path)
    note = f"Version {book.version}" + (f", commit {commit} of {date}" if commit else "")
    fields = {
        "author": f"{{{book.authors}}}",
        "title": _protected(title),
        "booktitle": _protected(book.title),
        **({"year": date[:4]} if date else {}),
        "note": note,
    }
    lines = "".join(f"  {name:<9} = {{{value}}},\n" for name, value in fields.items())
    return f"@incollection{{hands-lib:{path.stem},\n{lines}}}"


def _protected(title: str) -> str:
    """A title in which BibTeX keeps the capitals inside words, as those of {VA-NeRF} and {3D}."""
    return re.sub(r"\b\w[\w-]*[A-Z][\w-]*", r"{\g<0>}", title)


@lru_cache
def _papers(path: Path, changed: int) -> dict[str, Paper]:
    from pybtex.database import parse_file

    found = {}
    for key, entry in parse_file(str(path)).entries.items():
        fields = {name.lower(): _plain(value) for name, value in entry.fields.items()}
        names = [" ".join(map(_plain, person.last_names)) for person in entry.persons.get("author", [])]
        authors = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        venue = fields.get("booktitle") or fields.get("journal") or fields.get("school") or ""
        doi, eprint = fields.get("doi"), fields.get("eprint")
        link = f"https://doi.org/{doi}" if doi else f"https://arxiv.org/abs/{eprint}" if eprint else ""
        identifier = f"doi:{doi}" if doi else f"arXiv:{eprint}" if eprint else ""
        found[key] = Paper(key, authors, fields["title"], venue, fields.get("year", ""), link, identifier)
    return found


def _plain(text: str) -> str:
    """Without TeX: braces go, accents become letters."""
    from pybtex.richtext import Text

    return str(Text.from_latex(text))


def read_papers(root: Path) -> dict[str, Paper]:
    """Every entry of the bibliography by its key; a file that did not change is read once."""
    path = root / "book" / "references.bib"
    return _papers(path, path.stat().st_mtime_ns)


def cited_papers(path: Path, root: Path) -> list[Paper]:
    """The papers that a page cites, in the order of their first mention.

    Args:
        path: the page, MyST Markdown.
        root: the checkout.

    Raises:
        ProjectError: the page cites what the bibliography does not have.
    """
    known = read_papers(root)
    text = path.read_text(encoding="utf-8")
    keys = dict.fromkeys(key.strip() for found in CITED.findall(text) for key in found.split(","))
    missing = [key for key in keys if key not in known]
    if missing:
        raise ProjectError(f"{path} cites {', '.join(missing)}: add it to book/references.bib")
    return [known[key] for key in keys]

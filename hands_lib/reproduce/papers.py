"""Who wrote a paper and when, from `book/references.bib`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hands_lib.reproduce.project import ProjectError, find_root, nearest
from hands_lib.reproduce.published import Published

MOST_NAMES = 3  # of authors that are named one by one


@dataclass(frozen=True)
class Paper:
    """One entry of the bibliography, as plain text; authors by their last names."""

    key: str
    title: str
    authors: Sequence[str]
    year: str

    @property
    def by(self) -> str:
        """`Huang and 4 others, 2024`."""
        names = list(self.authors)
        if len(names) > MOST_NAMES:
            names = [names[0], f"{len(names) - 1} others"]
        together = " and ".join([", ".join(names[:-1]), *names[-1:]]) if len(names) > 1 else "".join(names)
        return ", ".join(filter(None, (together, self.year)))


def paper_of(published: Published, root: Path | None = None) -> Paper:
    """The paper of a system.

    Raises:
        ProjectError: its key is not in the bibliography, or that cannot be read.
    """
    path = (root or find_root()) / "book" / "references.bib"
    key = published.paper or published.source
    try:
        known = _read(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise ProjectError(f"{path} does not exist: it has to name {key!r} of {published.slug}.yml") from None
    if key not in known:
        raise nearest(key, known, f"key in {path}, which {published.slug}.yml names:")
    return known[key]


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> dict[str, Paper]:
    # of the book's packages: a job that only measures does not need it
    import pybtex.database
    from pybtex.exceptions import PybtexError
    from pybtex.richtext import Text

    try:
        found = pybtex.database.parse_file(path, bib_format="bibtex")
    except PybtexError as error:
        raise ProjectError(f"{path} is no BibTeX ({error}): mend it") from error
    papers = {}
    for key, entry in found.entries.items():
        title = Text.from_latex(entry.fields.get("title", key)).render_as("text")
        authors = [
            " ".join(name.render_as("text") for name in (*person.rich_prelast_names, *person.rich_last_names))
            for person in entry.persons.get("author", [])
        ]
        papers[key] = Paper(key, title, authors, entry.fields.get("year", ""))
    return papers

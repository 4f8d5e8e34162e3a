"""The box at the end of every chapter: how to cite it, its source, and the papers that it cites."""

import html
from typing import Any

from hands_lib.reproduce.chapters import list_chapters
from hands_lib.reproduce.citation import Paper, chapter_bibtex, cited_papers
from hands_lib.reproduce.project import find_root


def cite_chapter(app: Any, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Sphinx's `html-page-context`: append the box to the body of a chapter's page."""
    root = find_root(app.srcdir)
    chapter = next((c for c in list_chapters(root) if c.name == pagename.removeprefix("book/")), None)
    if doctree is None or chapter is None or "body" not in context:
        return
    up = "../" * pagename.count("/")
    source = f"{up}_sources/{context['sourcename']}" if context.get("sourcename") else ""
    context["body"] += citation_box(
        chapter_bibtex(chapter.title, chapter.path, root),
        cited_papers(chapter.path, root),
        chapter.path.relative_to(root).as_posix(),
        source,
        f"{up}book/bibliography.html",
    )


def citation_box(bibtex: str, papers: list[Paper], path: str, source: str, bibliography: str) -> str:
    """The box as HTML.

    Args:
        bibtex: the chapter's entry.
        papers: those that the chapter cites.
        path: of the chapter's source in the repository.
        source: address of a copy of that file on the site, or empty.
        bibliography: address of the page with all papers.
    """
    name = f"<code>{html.escape(path)}</code>"
    where = f'<a href="{html.escape(source)}">{name}</a>' if source else name
    listed = "".join(f"<li>{_words(paper)}</li>" for paper in papers)
    about = (
        f'<p>Papers that this chapter cites (<a href="{html.escape(bibliography)}">bibliography</a>):</p>'
        f"<ul>{listed}</ul>"
        if papers
        else ""
    )
    return (
        '<details class="hands-cite"><summary>Cite this chapter; its source and its papers</summary>'
        '<div class="highlight-bibtex notranslate"><div class="highlight">'
        f"<pre>{html.escape(bibtex)}</pre></div></div>"
        f"<p>Source of this page: {where}</p>{about}</details>"
    )


def _words(paper: Paper) -> str:
    parts = [paper.authors, paper.title, paper.venue, paper.year]
    text = html.escape(". ".join(part.rstrip(".") for part in parts if part) + ".")
    if not paper.link:
        return text
    return f'{text} <a href="{html.escape(paper.link)}">{html.escape(paper.identifier)}</a>'

"""How a page of the book reads in JupyterLab, which knows Markdown but not MyST's roles and labels.

`LabView.shown` turns a cell's text into one that any Markdown reader understands: a citation is a link that
says authors and year, a reference says the title it leads to, labels and fences are comments.
`LabView.written` turns it back, letter by letter, also when somebody has typed in between: all that it needs
stands in the text itself.
"""

import os
import re
from functools import cached_property
from pathlib import Path

from hands_lib.reproduce.chapters import book_pages
from hands_lib.reproduce.citation import Paper, read_papers

ROLE = re.compile(r'\{(cite:[tp]|ref|numref|eq|doc)\}`([^`"\n]+)`')
LINK = re.compile(r'\[[^\[\]\n]*\]\([^()\s]* "(cite:[tp]|ref|numref|eq|doc) ([^"\n]+)"\)')
LABEL = re.compile(r"^\(([\w:.-]+)\)=$", re.MULTILINE)
SHOWN_LABEL = re.compile(r"^<!-- \(([\w:.-]+)\)= -->$", re.MULTILINE)
NUMBER = re.compile(r"^\$\$ \(([\w:.-]+)\)$", re.MULTILINE)
SHOWN_NUMBER = re.compile(r"^(?:\\tag\{[^{}\n]*\} )?\$\$ <!-- \(([\w:.-]+)\) -->$", re.MULTILINE)
FENCE = re.compile(r"^([ \t]*)(`{3,}|:{3,})(?:\{([\w:-]+)\}[ \t]*(.*))?$")
OPTION = re.compile(r"^[ \t]*:[\w-]+:.*$")
SHOWN_LINE = re.compile(r"^([ \t]*)<!-- ((?:`{3,}|:{3,}|:[\w-]+:).*?) -->.*$")
SHOWN_MATH = re.compile(
    r"^(<!-- `{3,}\{math\} -->\n(?:<!-- :.* -->\n)*)\$\$\n(.*?)\n\$\$ (?=<!-- `{3,} -->$)",
    re.MULTILINE | re.DOTALL,
)
FOLDED = ("dropdown", "admonition")
TITLE = re.compile(r"^\(([\w:.-]+)\)=\n(?:\([\w:.-]+\)=\n)*#+ (.+)$", re.MULTILINE)
EQUATION = re.compile(r'id="equation-([\w:.-]+)">\s*<span class="eqno">\((\d+)\)')
FIGURE = re.compile(r'<figure[^>]* id="([\w:.-]+)">.*?<span class="caption-number">([^<]+)</span>', re.DOTALL)


class LabView:
    """Both directions for the pages of one checkout."""

    def __init__(self, root: Path):
        self.root = root

    @cached_property
    def _papers(self) -> dict[str, Paper]:
        return read_papers(self.root)

    @cached_property
    def _titles(self) -> dict[str, tuple[str, Path]]:
        """Label, or path of a page without suffix -> title, page."""
        found = {}
        for path in book_pages(self.root):
            text = path.read_text(encoding="utf-8")
            found |= {label: (title.strip(), path) for label, title in TITLE.findall(text)}
            heading = re.search(r"^# (.+)$", text, re.MULTILINE)
            found[str(path.with_suffix(""))] = (heading[1].strip() if heading else path.stem, path)
        return found

    @cached_property
    def _numbers(self) -> dict[str, tuple[str, Path]]:
        """Of equations and figures, as the built pages count them; empty where nothing is built."""
        found: dict[str, tuple[str, Path]] = {}
        for path in book_pages(self.root):
            built = (self.root / "_build" / "html" / path.relative_to(self.root)).with_suffix(".html")
            text = built.read_text(encoding="utf-8") if built.is_file() else ""
            found |= {name: (f"({number})", path) for name, number in EQUATION.findall(text)}
            found |= {name: (number.strip(), path) for name, number in FIGURE.findall(text)}
        return found

    def shown(self, text: str, page: Path) -> str:
        """A Markdown cell's text for the lab.

        Args:
            text: as it stands in the page.
            page: the file, for links to others.
        """
        text = LABEL.sub(r"<!-- (\1)= -->", text)
        text = NUMBER.sub(self._equation, text)
        text = self._without_fences(text)
        return ROLE.sub(lambda role: self._link(role[1], role[2], page), text)

    def written(self, text: str) -> str:
        """What `shown` was made from, with whatever was typed since."""
        text = LINK.sub(r"{\1}`\2`", text)
        text = SHOWN_MATH.sub(r"\1\2\n", text)
        lines = [SHOWN_LINE.sub(r"\1\2", line) for line in text.split("\n")]
        text = SHOWN_NUMBER.sub(r"$$ (\1)", "\n".join(lines))
        return SHOWN_LABEL.sub(r"(\1)=", text)

    def _equation(self, found: re.Match) -> str:
        number = self._numbers.get(found[1], ("", None))[0].strip("()")
        return (f"\\tag{{{number}}} " if number else "") + f"$$ <!-- ({found[1]}) -->"

    def _without_fences(self, text: str) -> str:
        """Directives: fences and options become comments, the text stays, folded where it was folded."""
        lines, open_ones, of_directive = [], [], False
        for line in text.split("\n"):
            fence = FENCE.match(line)
            if of_directive and OPTION.match(line):
                lines.append(f"{line[: len(line) - len(line.lstrip())]}<!-- {line.strip()} -->")
                continue
            if of_directive and open_ones[-1][1] == "math":
                lines.append("$$")
            of_directive = False
            if fence and fence[3]:
                open_ones.append((fence[2], fence[3]))
                of_directive = True
                lines.append(f"{fence[1]}<!-- {line.strip()} -->{_opening(fence[3], fence[4].strip())}")
            elif fence and open_ones and fence[2] == open_ones[-1][0]:
                _, kind = open_ones.pop()
                end = {"math": "$$ ", **dict.fromkeys(FOLDED, "")}.get(kind, "")
                lines.append(f"{fence[1]}{end}<!-- {fence[2]} -->{'</details>' * (kind in FOLDED)}")
            elif fence:
                open_ones.append((fence[2], ""))  # a plain block of code
                lines.append(line)
            else:
                lines.append(line)
        return "\n".join(lines)

    def _link(self, role: str, content: str, page: Path) -> str:
        words, target = self._words(role, content, page)
        words = re.sub(r"[\[\]|`$*_]", lambda sign: {"[": "(", "]": ")", "|": "/"}.get(sign[0], ""), words)
        address = target if isinstance(target, str) else os.path.relpath(target, page.parent)
        address = address.replace("(", "%28").replace(")", "%29").replace(" ", "%20")
        return f'[{words}]({address} "{role} {content}")'

    def _words(self, role: str, content: str, page: Path) -> tuple[str, Path | str]:
        """What a link says, and where it leads."""
        if role.startswith("cite"):
            return self._citation(role, content)
        said, name = content, content
        if explicit := re.fullmatch(r"(.*?)\s*<(.+)>", content):
            said, name = explicit[1], explicit[2]
        if role in ("eq", "numref"):
            number, target = self._numbers.get(name, ("(equation)" if role == "eq" else "the figure", page))
            return number if said == name else said.replace("%s", number), target
        key = os.path.normpath(page.parent / name) if role == "doc" else name
        title, target = self._titles.get(key, (name, page))
        return title if said == name else said, target

    def _citation(self, role: str, content: str) -> tuple[str, Path | str]:
        papers = [self._papers[key.strip()] for key in content.split(",") if key.strip() in self._papers]
        if role == "cite:t":
            words = ", ".join(f"{paper.authors} ({paper.year})" for paper in papers)
        else:
            words = "(" + "; ".join(f"{paper.authors}, {paper.year}" for paper in papers) + ")"
        alone = len(papers) == 1 and papers[0].link
        return words if papers else content, alone or self.root / "book" / "bibliography.md"


def _opening(kind: str, title: str) -> str:
    """What stands for the first line of a directive."""
    if kind in FOLDED:
        return f"<details><summary>{title}</summary>"
    if kind in ("figure", "image"):
        return f"![]({title})"
    return f"<strong>{title}</strong>" if kind == "grid-item-card" else ""

"""The version of a method: a hash of the sources that decide what its training runs measure.

These are the method's room `hands_lib/methods/<slug>`, the modules that a chapter of the slug names in its
header (`hands: {method: [hands_lib.hand.surface]}`), and the chapters' cells tagged `method`, where the loop
stands. Comments, docstrings and blank lines do not count, nor do other library modules: a record would
otherwise be stale after every edit. The record's git commit says the rest.
"""

import ast
import hashlib
import io
import tokenize
from pathlib import Path
from typing import Any

import yaml

from hands_lib.reproduce.chapters import list_chapters, page_header
from hands_lib.reproduce.project import ProjectError, find_root

PACKAGE = Path(__file__).resolve().parents[1]  # the hands_lib that is imported
TAG = "method"


def code_only(source: str) -> str:
    """Source without comments, docstrings and blank lines; as it is where it is no plain Python."""
    try:
        tree = ast.parse(source)
        comments = [
            t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT
        ]
    except (SyntaxError, tokenize.TokenError):
        return source
    lines = source.splitlines()
    for comment in comments:
        row, column = comment.start
        lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
                lines[first.lineno - 1 : first.end_lineno] = [""] * (first.end_lineno - first.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def tagged_cells(text: str, tag: str) -> list[str]:
    """Sources of a MyST page's code cells with a tag."""
    cells = []
    for part in text.split("\n```{code-cell}")[1:]:
        body = part.partition("\n")[2].partition("\n```")[0].splitlines()
        options: Any = {}
        if body and body[0].strip() == "---":
            end = body.index("---", 1)
            options, body = yaml.safe_load("\n".join(body[1:end])), body[end + 1 :]
        else:
            head = [line for line in body if line.startswith(":")]
            options = yaml.safe_load("\n".join(line[1:] for line in head)) or {}
            body = body[len(head) :]
        if tag in (options.get("tags") or []):
            cells.append("\n".join(body))
    return cells


def method_version(slug: str, root: Path | None = None) -> str:
    """12 hexadecimal digits; the same for every Python version and machine with the same sources.

    Raises:
        ProjectError: a chapter's header names a module that does not exist.
    """
    root = root or find_root()
    room = PACKAGE / "methods" / slug
    files = sorted(room.rglob("*.py")) if room.is_dir() else [room.with_suffix(".py")]
    sources = []
    if (root / "_toc.yml").is_file():
        for chapter in list_chapters(root):
            if chapter.slug != slug:
                continue
            text = chapter.path.read_text(encoding="utf-8")
            for name in (page_header(chapter.path).get("hands") or {}).get("method") or []:
                stem = PACKAGE.parent / Path(*str(name).split("."))
                found = [p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()]
                if not found:
                    raise ProjectError(
                        f"{chapter.path}: its header names method {name!r}, which is no module"
                    )
                files += sorted(stem.glob("*.py")) if stem.is_dir() else found
            sources += tagged_cells(text, TAG)
    sources += [path.read_text(encoding="utf-8") for path in files if path.is_file()]
    digest = hashlib.sha256()
    for source in sources:
        digest.update(code_only(source).encode() + b"\0")
    return digest.hexdigest()[:12]

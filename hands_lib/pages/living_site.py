"""Living figures in the built site: their scripts where a page has one, their data in files of their own.

It stands beside the room `living`: that imports torch, and what renders pages need not.

Weights would make a page heavy before its first line is read. They become scripts beside it, which a figure
asks for when it comes near the window; a script, since a page that was opened from a folder may load nothing
else.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from hands_lib.pages.site_files import copy_whole
from hands_lib.reproduce.project import write_atomically

_FOLDER = "_static/living"
_FIGURE = '<div class="hands-living" '
_PAYLOAD = re.compile(
    r'(<div class="hands-living" [^>]*)><script type="application/json">(.*?)</script>', re.DOTALL
)


def _sources() -> list[Path]:
    return sorted((Path(__file__).with_name("living") / "static").iterdir())


def living_in_page(app: Any, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Takes the data of the page's living figures out of it, and adds what draws them."""
    if _FIGURE not in context.get("body", ""):
        return
    place = context["pathto"]

    def outside(found: re.Match) -> str:
        text = found[2].replace("\\u003c", "<")
        name = "living" + hashlib.sha256(text.encode()).hexdigest()[:16]
        script = f"(globalThis.handsLiving ??= {{}}).{name} = {json.dumps(text)};\n"
        write_atomically(Path(app.outdir, _FOLDER, f"{name}.js"), script)
        return f'{found[1]} data-payload="{place(f"{_FOLDER}/{name}.js", 1)}">'

    body = _PAYLOAD.sub(outside, context["body"])
    for source in _sources():
        address = place(f"{_FOLDER}/{source.name}", 1)
        if source.suffix == ".js":
            body += f'<script defer src="{address}"></script>\n'
        else:
            body = f'<link rel="stylesheet" href="{address}">\n{body}'
    context["body"] = body


def copy_living(app: Any, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        for source in _sources():
            copy_whole(source, Path(app.outdir, _FOLDER, source.name))

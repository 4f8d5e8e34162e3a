"""The theme's icons: its script brings all 2,000 of Font Awesome, 1.5 MB on every page; a site uses a dozen.

After the pages are written, the script keeps the icons that pages and scripts of the site name.
"""

import re
from pathlib import Path
from typing import Any

from hands_lib.reproduce.project import write_atomically

# name: [width, height, [other names], "code point", outline]
ICON = re.compile(
    r'(?<=[{,])(?:"(?P<quoted>[\w-]+)"|(?P<plain>[\w$]+)):'
    r'\[\d+,\d+,\[(?P<others>[^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
)
NAMED = re.compile(r"\bfa-([a-z0-9-]+)")


def used_icons(texts: list[str]) -> set[str]:
    """Names after `fa-` in pages and scripts."""
    return {name for text in texts for name in NAMED.findall(text)}


def only_icons(script: str, names: set[str]) -> str:
    """Font Awesome's script without the definitions of all other icons."""

    def kept(icon: re.Match) -> str:
        own = {icon["quoted"] or icon["plain"], *re.findall(r'"([^"]+)"', icon["others"])}
        return icon[0] if own & names else ""

    return ICON.sub(kept, script)


def keep_used_icons(app: Any, exception: Exception | None) -> None:
    """Of a finished site."""
    site = Path(app.outdir)
    script = site / "_static" / "scripts" / "fontawesome.js"
    if exception is not None or app.builder.format != "html" or not script.is_file():
        return
    others = (path for path in site.rglob("*.js") if path != script and path.stat().st_size < 500_000)
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in (*site.rglob("*.html"), *others)]
    write_atomically(script, only_icons(script.read_text(encoding="utf-8"), used_icons(texts)))

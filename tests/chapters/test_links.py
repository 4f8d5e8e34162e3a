"""Every link of the built site inside itself leads somewhere: to a file, and to an anchor in it."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest


class _Page(HTMLParser):
    """Anchors that a page has, and addresses that it uses."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.used: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)
            if value and name in ("href", "src") and tag != "base":
                self.used.append(value)


def broken_links(site: Path) -> Iterator[str]:
    """`page: address` for every address below `site` that leads nowhere."""
    found = [path.resolve() for path in site.rglob("*.html") if "_static" not in path.relative_to(site).parts]
    pages = {path: _Page(path) for path in found}  # what lies in _static are the theme's templates
    for path, page in pages.items():
        for address in page.used:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            missing_anchor = anchor and target in pages and anchor not in pages[target].anchors
            if not target.is_file() or missing_anchor:
                yield f"{path.relative_to(site.resolve())}: {address}"


def test_no_broken_link(site: Path) -> None:
    assert sorted(set(broken_links(site))) == []


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("b.html", True),
        ("b.html?x=1", True),
        ("b.html#there", True),
        ("#here", True),
        ("https://elsewhere", True),
        ("b.html#gone", False),
        ("gone.html", False),
        ("#gone", False),
        ("folder/", False),
    ],
)
def test_the_check_sees_what_is_broken(tmp_path: Path, address: str, good: bool) -> None:
    (tmp_path / "a.html").write_text(f'<p id="here"><a href="{address}">x</a>')
    (tmp_path / "b.html").write_text('<p id="there">')
    assert list(broken_links(tmp_path)) == ([] if good else [f"a.html: {address}"])

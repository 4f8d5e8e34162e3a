"""Which icons of the theme's script stay."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pydata_sphinx_theme
import pytest

from hands_lib.pages.icons import ICON, only_icons, used_icons

SCRIPT = Path(pydata_sphinx_theme.__file__).parent.joinpath(
    "theme", "pydata_sphinx_theme", "static", "scripts", "fontawesome.js"
)


def test_names_are_read_from_pages_and_scripts() -> None:
    texts = ['<i class="fa-solid fa-bars"></i>', "icon.classList.add('fa-moon')", "no icon"]
    assert used_icons(texts) == {"solid", "bars", "moon"}


def test_what_is_named_stays_by_any_of_its_names() -> None:
    own = SCRIPT.read_text(encoding="utf-8")
    assert sum(1 for _ in ICON.finditer(own)) > 1_500
    less = only_icons(own, {"bars", "search"})  # search: another name of magnifying-glass
    names = {icon["quoted"] or icon["plain"] for icon in ICON.finditer(less)}
    assert {"bars", "magnifying-glass"} <= names
    assert len(names) < 5
    assert len(less) < len(own) / 8
    for name in names:  # as they were
        outline = re.search(rf'"?{re.escape(name)}"?:\[[^\]]*\[[^\]]*\][^\]]*\]', less)
        assert outline
        assert outline[0] in own


@pytest.mark.skipif(shutil.which("node") is None, reason="no JavaScript engine outside of a browser")
def test_the_script_still_runs(tmp_path: Path) -> None:
    script = tmp_path / "less.js"
    script.write_text(only_icons(SCRIPT.read_text(encoding="utf-8"), {"bars"}), encoding="utf-8")
    done = subprocess.run(["node", "--check", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, json.dumps(done.stderr[:300])

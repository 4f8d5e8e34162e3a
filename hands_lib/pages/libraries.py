"""The scripts that draw figures: k3d and plotly from their Python packages, and two parts of plotly.

All of plotly has 4.8 MB; a page of curves or of surfaces needs a third of it. The parts are npm packages of
the same release. `npm`, where it is installed, fetches them once into the build folder, and a file counts
only with the digest given here; without them every page loads the whole library, which draws the same.
"""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import k3d
import plotly

from hands_lib.reproduce.project import replacing

PLOTLY_FILE = "plotly.min.js"
K3D_FILE = "standalone.js"  # k3d looks for this name
WHOLE = {
    PLOTLY_FILE: Path(plotly.__file__).parent / "package_data" / PLOTLY_FILE,
    K3D_FILE: Path(k3d.__file__).parent / "static" / K3D_FILE,
}
PATIENCE = 60  # seconds, for npm


@dataclass(frozen=True)
class Part:
    """A part of plotly: its npm package, the sha256 of its script, the types of traces that it draws."""

    package: str
    sha256: str
    traces: frozenset[str]


PARTS = {  # the smaller first: both draw curves
    "plotly-cartesian.min.js": Part(
        "plotly.js-cartesian-dist-min@4.1.1",
        "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a",
        frozenset({"bar", "box", "contour", "heatmap", "histogram", "image", "pie", "scatter", "violin"}),
    ),
    "plotly-gl3d.min.js": Part(
        "plotly.js-gl3d-dist-min@4.1.1",
        "aab04dcd9c103a92b18723f8c837712fe820f325d0bcd2421e415e8124a75b9f",
        frozenset(
            {"cone", "isosurface", "mesh3d", "scatter", "scatter3d", "streamtube", "surface", "volume"}
        ),
    ),
}


def plotly_file(traces: Collection[str], folder: Path) -> str:
    """The smallest script at hand that draws traces of all these types; `folder` holds the parts."""
    fitting = (name for name, part in PARTS.items() if part.traces.issuperset(traces))
    return next((name for name in fitting if (folder / name).is_file()), PLOTLY_FILE)


def fetch_parts(folder: Path) -> list[str]:
    """See to it that `folder` holds the parts of plotly as they were checked, and nothing else by their name.

    Returns:
        What the reader of the build should know: why a part is missing. Empty where all are at hand.
    """
    said = []
    for name, part in PARTS.items():
        target = folder / name
        if not _is(target, part):
            target.unlink(missing_ok=True)
            said += _fetch(name, part, target)
    return said


def _is(path: Path, part: Part) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == part.sha256


def _fetch(name: str, part: Part, target: Path) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        return [f"{name} is not at hand (npm is not installed): pages load all of plotly, 4.8 MB"]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            npm,
            "pack",
            part.package,
            "--silent",
            "--fetch-retries=0",
            f"--fetch-timeout={PATIENCE}000",
        ]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return [f"{name} could not be fetched in {PATIENCE} s: pages load all of plotly, 4.8 MB"]
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            reason = (done.stderr.strip().splitlines() or [f"npm said {done.returncode}"])[-1][:200]
            return [f"{name} could not be fetched ({reason}): pages load all of plotly, 4.8 MB"]
        with tarfile.open(archives[0]) as archive:
            script = archive.extractfile(f"package/{name}")
            text = script.read() if script else b""
    if hashlib.sha256(text).hexdigest() != part.sha256:
        return [f"{part.package} is not the release that was checked: it is not used"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        temporary.write_bytes(text)
    return []


def library_path(name: str, folder: Path) -> Path:
    """Where a script of this build lies: `folder` holds the parts."""
    return WHOLE.get(name, folder / name)


def libraries_of(names: Iterable[str], folder: Path) -> dict[str, Path]:
    """Name below _static -> file, of the scripts that some figure needs."""
    return {name: library_path(name, folder) for name in sorted(set(names))}

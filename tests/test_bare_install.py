"""What `pip install .` alone gives: a process in which packages of the extras cannot be imported."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Prints a line for each module of the library: its name, and why it cannot be imported.
_EVERY_MODULE = """
import importlib, importlib.abc, pkgutil, sys
from importlib import metadata
from packaging.requirements import Requirement

def needed(names):
    found, wanted = set(), list(names)
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for text in map(Requirement, requires):
            if text.marker is None or text.marker.evaluate({"extra": ""}):
                wanted.append(text.name)
    return found

distributions = metadata.packages_distributions()
base = needed(sys.argv[1:])

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        own = [d.lower().replace("_", "-") for d in distributions.get(name.split(".")[0], [])]
        if own and "hands-lib" not in own and not base & set(own):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
for name in [n for n in sys.modules if n.split(".")[0] == "packaging"]:
    del sys.modules[name]
import hands_lib
for module in pkgutil.walk_packages(hands_lib.__path__, "hands_lib.", onerror=lambda _: None):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
        print(module.name, "-", sep="\\t")
    except ImportError as error:
        print(module.name, (error.name or "").split(".")[0], sep="\\t")
"""

# Rooms that draw, build and run the book; each needs the package behind it, and what is below needs none.
OF_THE_BOOK = re.compile(r"hands_lib\.(figures|pages|reproduce)\b")


def bare(*command: str) -> subprocess.CompletedProcess:
    names = [re.split(r"[><=\[; ]", text)[0] for text in PROJECT["dependencies"]]
    return subprocess.run(
        [sys.executable, "-c", *command, *names], capture_output=True, text=True, check=True, cwd=ROOT
    )


def test_every_module_of_the_library_imports_and_the_rest_names_a_package_of_an_extra():
    found = dict(line.split("\t") for line in bare(_EVERY_MODULE).stdout.splitlines())
    assert len(found) > 100
    lacking = {module: package for module, package in found.items() if package != "-"}
    assert {module for module in lacking if not OF_THE_BOOK.match(module)} == set()
    declared = " ".join(text for texts in PROJECT["optional-dependencies"].values() for text in texts)
    # Of jupyter-book come sphinx and docutils, of papermill nbformat and nbclient, of ipywidgets IPython.
    behind = {
        "docutils",
        "sphinx",
        "myst_nb",
        "nbformat",
        "nbclient",
        "IPython",
        "traitlets",
        "jupyter_client",
    }
    assert all(package in declared or package in behind for package in lacking.values()), lacking
    assert "hands_lib.reproduce.command" not in lacking
    assert "hands_lib.hand.mano" not in lacking


_SAID = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("timm", "plotly", "smplx", "papermill", "nbformat"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from hands_lib.hand.mano import ManoHand, read_mano_pickle
from hands_lib.hand.mano_stand_in import stand_in
from hands_lib.methods.intersections.estimators import ImageNetwork
from hands_lib.methods.refinement.network import backbone
from hands_lib.reproduce.command import main
for call in (lambda: ManoHand(stand_in("right"), "right"), ImageNetwork, lambda: backbone("resnet18", {4})):
    try:
        call()
    except ImportError as error:
        print(error)
print(main(["run", "hand_model"]))
"""


def test_what_is_missing_is_said_with_its_extra():
    """A backbone says timm, the surface of MANO smplx, a run all of the book."""
    done = bare(_SAID)
    assert done.stdout.count("timm: pip install 'hands-lib[book]'") == 2
    assert "MANO hands need smplx: pip install smplx (it is in the extra `book`)" in done.stdout
    assert "is not installed: pip install 'hands-lib[book,sweep]'" in done.stderr

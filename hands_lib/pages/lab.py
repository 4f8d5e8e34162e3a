"""JupyterLab on the book: `python -m hands_lib.pages.lab book`, which is what `make lab` calls.

A chapter opens with the outputs of the built book, with the folds of its page, and without MyST's own signs
(see `lab_view`). Saving writes the chapter's text and nothing else.
"""

import sys
from pathlib import Path
from typing import Any

import nbformat
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupyterlab.labapp import LabApp
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class

from hands_lib.pages.lab_view import LabView
from hands_lib.reproduce.project import ProjectError, absolute_folders, find_root

HIDDEN = {
    "hide-input": ("source_hidden",),
    "hide-output": ("outputs_hidden",),
    "hide-cell": ("source_hidden", "outputs_hidden"),
    "remove-input": ("source_hidden",),
    "remove-output": ("outputs_hidden",),
    "remove-cell": ("source_hidden", "outputs_hidden"),
}


class BookContents(build_sync_jupytext_contents_manager_class(LargeFileManager)):
    """Jupytext's contents manager, which shows pages of the book as a reader wants them."""

    _views: dict[Path, LabView] = {}

    def get(self, path: str, *args: Any, **named: Any) -> dict:
        model = super().get(path, *args, **named)
        page = self._page(path)
        if page is not None and model["type"] == "notebook" and model.get("content") is not None:
            open_page(model["content"], page, self._view(page))
        return model

    def save(self, model: dict, path: str = "") -> dict:
        page = self._page(path)
        if page is not None and model["type"] == "notebook":
            close_page(model["content"], self._view(page))
        return super().save(model, path)

    def _page(self, path: str) -> Path | None:
        """The file, where it is a page of a book's checkout."""
        page = Path(self.root_dir, path.strip("/")).resolve()
        if page.suffix != ".md":
            return None
        try:
            root = find_root(page.parent)
        except ProjectError:
            return None
        return page if page.is_relative_to(root / "book") else None

    def _view(self, page: Path) -> LabView:
        root = find_root(page.parent)
        return self._views.setdefault(root, LabView(root))


def open_page(notebook: Any, page: Path, view: LabView) -> None:
    """Make a notebook out of a page's text what a reader wants to see: words, outputs, folds.

    Args:
        notebook: as jupytext read it; changed in place.
        page: its file.
        view: of the page's checkout.
    """
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = view.shown(cell["source"], page)
            continue
        hidden = [part for tag in cell["metadata"].get("tags", []) for part in HIDDEN.get(tag, ())]
        if hidden:
            cell["metadata"]["jupyter"] = dict.fromkeys(hidden, True)
    built = (view.root / "_build" / "notebooks" / page.relative_to(view.root)).with_suffix(".ipynb")
    if built.is_file():
        _add_outputs(notebook, nbformat.read(built, 4))


def _add_outputs(notebook: Any, built: Any) -> None:
    """Of cells with the code that the book ran, as long as all code before them is the same too."""
    ran = [cell for cell in built["cells"] if cell["cell_type"] == "code"]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for cell, done in zip(code, ran, strict=False):
        if cell["source"] != done["source"]:
            return
        cell["outputs"] = done["outputs"]
        cell["execution_count"] = done["execution_count"]
        cell["metadata"]["trusted"] = True  # this machine made them


def close_page(notebook: Any, view: LabView) -> None:
    """The other way: the page's own text again. Folds and outputs are no part of it."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = view.written(cell["source"])
        elif set(cell["metadata"].get("tags", [])) & HIDDEN.keys():
            cell["metadata"].pop("jupyter", None)


def main() -> None:
    """JupyterLab with this contents manager; arguments are those of `jupyter lab`."""
    absolute_folders()  # its pages work in folders of their own
    manager = "--ServerApp.contents_manager_class=hands_lib.pages.lab.BookContents"
    LabApp.launch_instance([*sys.argv[1:], manager])


if __name__ == "__main__":
    main()

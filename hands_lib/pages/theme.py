"""What the theme's own pages get besides: the executed notebook for download, and two repairs."""

from pathlib import Path
from typing import Any

from hands_lib.pages.site_files import copy_whole


def offer_notebook(app: Any, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Put the executed notebook beside the page's source and tell the theme's download menu about it."""
    if doctree is None or not str(context.get("sourcename", "")).endswith(".md"):
        return
    build = Path(app.outdir).parent
    for folder in ("notebooks", "jupyter_execute"):  # ours; else Sphinx's own, which has no outputs
        notebook = build / folder / f"{pagename}.ipynb"
        if notebook.is_file():
            target = Path(app.outdir, "_sources", f"{pagename}.ipynb")
            copy_whole(notebook, target)
            context["ipynb_source"] = f"{pagename}.ipynb"
            return


def listed_citations(app: Any, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """docutils gives the entries of a citation list a role that ARIA has withdrawn; they are list items."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def one_of_each_script(app: Any, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Two of the theme's extensions add the same inline script twice; declaring its constant again fails."""
    seen, kept = set(), []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body")
        if body is None or body not in seen:
            kept.append(script)
        seen.add(body)
    context["script_files"] = kept

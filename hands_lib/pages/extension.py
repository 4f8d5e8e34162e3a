"""The book's Sphinx extension, which `_config.yml` names: it wires the modules beside it into the build."""

from pathlib import Path
from typing import Any

from hands_lib.pages.badges import add_badges
from hands_lib.pages.citing import cite_chapter
from hands_lib.pages.figure_outputs import HandsFigure, skip_figure, write_figure
from hands_lib.pages.first_screen import show_result_first
from hands_lib.pages.icons import keep_used_icons
from hands_lib.pages.living_site import copy_living, living_in_page
from hands_lib.pages.site_files import (
    OF_FIGURES,
    copy_libraries,
    copy_whole,
    find_libraries,
    own_files,
    picture_figures,
    scripts_of_figures,
)
from hands_lib.pages.theme import listed_citations, offer_notebook, one_of_each_script


def setup(app: Any) -> dict[str, Any]:
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    app.config.html_search_scorer = str(Path(__file__).with_name("search_scorer.js"))
    for source in own_files():
        # Sphinx wants the files it adds to exist while it writes pages, for their checksum
        copy_whole(source, Path(app.outdir, "_static", source.name))
        if source.suffix == ".js" and source.name in OF_FIGURES:
            continue  # only where a page has a figure
        if source.suffix == ".js":
            app.add_js_file(source.name, loading_method="defer")
        else:
            app.add_css_file(source.name)
    others = dict.fromkeys(("latex", "text", "man", "texinfo"), (skip_figure, None))
    app.add_node(HandsFigure, html=(write_figure, None), **others)
    app.connect("builder-inited", find_libraries)
    app.connect("doctree-read", add_badges)
    app.connect("doctree-read", show_result_first)
    app.connect("env-updated", picture_figures)
    app.connect("html-page-context", scripts_of_figures, priority=300)
    app.connect("html-page-context", offer_notebook, priority=400)  # before the theme builds its menu
    app.connect("html-page-context", listed_citations)
    app.connect("html-page-context", cite_chapter)
    app.connect("html-page-context", living_in_page)
    app.connect("html-page-context", one_of_each_script, priority=900)
    app.connect("build-finished", copy_libraries)
    app.connect("build-finished", copy_living)
    app.connect("build-finished", keep_used_icons, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

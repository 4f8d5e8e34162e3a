"""The book's Sphinx extension, which `_config.yml` names: it wires the modules beside it into the build."""

from pathlib import Path
from typing import Any

from hands_lib.pages.living_site import copy_living, living_in_page
from hands_lib.pages.site_files import copy_libraries, copy_whole, own_files
from hands_lib.pages.theme import listed_citations, offer_notebook, one_of_each_script


def setup(app: Any) -> dict[str, Any]:
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    for source in own_files():
        # Sphinx wants the files it adds to exist while it writes pages, for their checksum
        copy_whole(source, Path(app.outdir, "_static", source.name))
        if source.suffix == ".js":
            app.add_js_file(source.name, loading_method="defer")
        else:
            app.add_css_file(source.name)
    app.connect("html-page-context", offer_notebook, priority=400)  # before the theme builds its menu
    app.connect("html-page-context", listed_citations)
    app.connect("html-page-context", living_in_page)
    app.connect("html-page-context", one_of_each_script, priority=900)
    app.connect("build-finished", copy_libraries)
    app.connect("build-finished", copy_living)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

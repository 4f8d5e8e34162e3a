"""What figures and their Sphinx side promise."""

import json
from pathlib import Path
from types import SimpleNamespace

import plotly.graph_objects as go
import pytest

from hands_lib import figures
from hands_lib.reproduce import sphinx_figures


def output(mime: str, content: dict, alt: str | None = None) -> SimpleNamespace:
    metadata = {"mystnb": {"image": {"alt": alt}}} if alt else {}
    return SimpleNamespace(mime_type=mime, content=content, cell_metadata=metadata)


def test_figure_keeps_its_data_and_cannot_break_out_of_its_script() -> None:
    figure = go.Figure(layout={"title": {"text": "</script><b>"}, "height": 300}).to_plotly_json()
    (node,) = sphinx_figures.PlotlyFigure.handle_mime(
        None, output(sphinx_figures.PLOTLY, figure, 'a "b"'), False
    )
    text = node.astext()
    assert text.count("</script>") == 1
    assert 'role="figure" aria-label="a &quot;b&quot;"' in text
    assert "height:300px" in text
    body = text.split('json">')[1].split("</script>")[0]
    assert json.loads(body)["layout"]["title"]["text"] == "</script><b>"


def test_other_outputs_are_left_alone() -> None:
    assert sphinx_figures.K3dFigure.handle_mime(None, output("text/html", {}), False) is None


def test_libraries_are_in_the_installed_packages() -> None:
    for source in sphinx_figures.LIBRARIES.values():
        assert source.is_file()
    for name in sphinx_figures.MATHJAX:
        assert (sphinx_figures.mathjax_folder() / name).exists()
    for name in sphinx_figures.OWN:
        assert (Path(sphinx_figures.__file__).parent / name).is_file()


def test_show_source_shows_the_code_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict] = []
    monkeypatch.setattr(figures, "display", lambda bundle, raw: shown.append(bundle))
    figures.show_source(figures.show_source)
    assert shown[0]["text/plain"].startswith("def show_source(")
    assert "hands_lib/figures.py" in shown[0]["text/markdown"]
    with pytest.raises(TypeError):
        figures.show_source(len)

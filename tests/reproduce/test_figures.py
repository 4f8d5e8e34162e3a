"""What figures and their Sphinx side promise."""

import json
from types import SimpleNamespace

import plotly.graph_objects as go
import pytest

from hands_lib import figures
from hands_lib.pages import figure_outputs, site_files


def output(mime: str, content: dict, alt: str | None = None) -> SimpleNamespace:
    metadata = {"mystnb": {"image": {"alt": alt}}} if alt else {}
    return SimpleNamespace(mime_type=mime, content=content, cell_metadata=metadata)


def test_figure_keeps_its_data_and_cannot_break_out_of_its_script() -> None:
    figure = go.Figure(layout={"title": {"text": "</script><b>"}, "height": 300}).to_plotly_json()
    (node,) = figure_outputs.PlotlyFigure.handle_mime(
        None, output(figure_outputs.PLOTLY, figure, 'a "b"'), False
    )
    text = node.astext()
    assert text.count("</script>") == 1
    assert 'role="figure" aria-label="a &quot;b&quot;"' in text
    assert "height:300px" in text
    body = text.split('json">')[1].split("</script>")[0]
    assert json.loads(body)["layout"]["title"]["text"] == "</script><b>"


def test_other_outputs_are_left_alone() -> None:
    assert figure_outputs.K3dFigure.handle_mime(None, output("text/html", {}), False) is None


def test_libraries_are_in_the_installed_packages() -> None:
    for source in figure_outputs.LIBRARIES.values():
        assert source.is_file()
    for name in site_files.MATHJAX:
        assert (site_files.mathjax_folder() / name).exists()
    assert {path.name for path in site_files.own_files()} >= {"hands-figures.js", "hands-figures.css"}


def test_show_source_shows_the_code_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict] = []
    monkeypatch.setattr(figures, "display", lambda bundle, raw: shown.append(bundle))
    figures.show_source(figures.show_source)
    assert shown[0]["text/plain"].startswith("def show_source(")
    assert "hands_lib/figures.py" in shown[0]["text/markdown"]
    with pytest.raises(TypeError):
        figures.show_source(len)


def test_live_figure_puts_a_new_one_in_the_place_of_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the same display id, and as data: a page would add a figure object below the last one."""
    sent: list[tuple[str, dict, dict]] = []

    def publish(data: dict, metadata: dict | None = None, *, transient: dict | None = None, **more) -> None:
        sent.append(("update" if more.get("update") else "new", data, transient or {}))

    monkeypatch.setattr("IPython.core.display_functions.publish_display_data", publish)
    monkeypatch.setattr("IPython.core.interactiveshell.InteractiveShell.initialized", lambda: True)
    live, other = figures.LiveFigure(), figures.LiveFigure()
    for step in (1, 2):
        live.update(go.Figure(go.Scatter(x=[step], y=[0.5]), layout={"title": {"text": f"step {step}"}}))
    assert [kind for kind, _, _ in sent] == ["new", "new", "update", "update"]
    ids = [transient["display_id"] for _, _, transient in sent]
    assert ids[0] == ids[2] == ids[3] != ids[1]
    bundles = [data for _, data, _ in sent]
    assert all(list(bundle) == [figure_outputs.PLOTLY] for bundle in bundles)
    assert bundles[0][figure_outputs.PLOTLY]["data"] == []
    drawn = bundles[3][figure_outputs.PLOTLY]
    assert drawn["data"][0]["x"] == [2]
    assert drawn["layout"]["title"]["text"] == "step 2"
    json.dumps(bundles)  # what goes to the page can be written
    assert other is not live

"""What figures and their Sphinx side promise."""

import hashlib
import io
import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from docutils import nodes
from PIL import Image

from hands_lib import figures
from hands_lib.pages import figure_outputs, libraries, site_files
from hands_lib.pages.figure_outputs import HandsFigure
from hands_lib.pages.pictures import make_pictures


def output(mime: str, content: dict, alt: str | None = None) -> SimpleNamespace:
    metadata = {"mystnb": {"image": {"alt": alt}}} if alt else {}
    return SimpleNamespace(mime_type=mime, content=content, cell_metadata=metadata)


def figure_of(figure: go.Figure, alt: str | None = None) -> HandsFigure:
    content = json.loads(figure.to_json())
    (holder,) = figure_outputs.PlotlyFigure.handle_mime(
        None, output(figure_outputs.PLOTLY, content, alt), False
    )
    return next(holder.findall(HandsFigure))


def test_figure_keeps_its_data_and_cannot_break_out_of_its_script() -> None:
    node = figure_of(go.Figure(layout={"title": {"text": "</script><b>"}, "height": 300}), 'a "b"')
    text = node.division("plotly.min.js", "<img>")
    assert text.count("</script>") == 1
    assert 'role="group" aria-label="a &quot;b&quot;"' in text
    assert "--hands-height:300px" in text
    body = text.split('json">')[1].split("</script>")[0]
    assert json.loads(body)["layout"]["title"]["text"] == "</script><b>"


def test_other_outputs_are_left_alone() -> None:
    assert figure_outputs.K3dFigure.handle_mime(None, output("text/html", {}), False) is None


def test_a_page_has_the_picture_or_else_the_words(tmp_path: Path) -> None:
    node = figure_of(go.Figure(), "what it <shows>")
    builder = SimpleNamespace(
        outdir=tmp_path, current_docname="book/part/page", get_target_uri=lambda name: f"{name}.html"
    )

    def written() -> str:
        writer = SimpleNamespace(builder=builder, body=[])
        with pytest.raises(nodes.SkipNode):
            figure_outputs.write_figure(writer, node)
        return "".join(writer.body)

    assert '<p class="hands-still">what it &lt;shows&gt;</p>' in written()
    picture = tmp_path / "_static" / "pictures" / f"{node.key}.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"")
    assert f'src="../../_static/pictures/{node.key}.png" alt="what it &lt;shows&gt;"' in written()


def test_a_picture_is_named_by_what_the_figure_shows() -> None:
    one, same, other = (figure_of(go.Figure(layout={"height": h})) for h in (300, 300, 301))
    assert one.key == same.key != other.key


def test_libraries_are_in_the_installed_packages() -> None:
    for source in libraries.WHOLE.values():
        assert source.is_file()
    for name in site_files.MATHJAX:
        assert (site_files.mathjax_folder() / name).exists()
    assert {path.name for path in site_files.own_files()} >= set(site_files.OF_FIGURES)


def fake_npm(folder: Path, script: bytes, code: int = 0) -> None:
    """An npm that packs `script` under every name of the parts."""
    folder.mkdir()
    archive = folder / "made.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in libraries.PARTS:
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(script)
            tar.addfile(entry, io.BytesIO(script))
    npm = folder / "npm"
    npm.write_text(
        f"#!/bin/sh\nif [ {code} = 0 ]; then /bin/cp {archive} .; else echo offline >&2; fi; exit {code}\n"
    )
    npm.chmod(0o755)


def test_a_part_of_plotly_counts_only_with_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars, hands = {"bar"}, {"mesh3d", "scatter3d"}
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    said = libraries.fetch_parts(tmp_path / "kept")
    assert len(said) == 2
    assert "npm is not installed" in said[0]
    assert libraries.plotly_file(bars, tmp_path / "kept") == "plotly.min.js"

    fake_npm(tmp_path / "offline", b"", code=1)
    monkeypatch.setenv("PATH", str(tmp_path / "offline"))
    assert "(offline)" in libraries.fetch_parts(tmp_path / "kept")[0]

    fake_npm(tmp_path / "bin", b"script")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "not the release that was checked" in libraries.fetch_parts(tmp_path / "kept")[0]
    assert list((tmp_path / "kept").glob("*")) == []

    digest = hashlib.sha256(b"script").hexdigest()
    parts = {name: replace(part, sha256=digest) for name, part in libraries.PARTS.items()}
    monkeypatch.setattr(libraries, "PARTS", parts)
    assert libraries.fetch_parts(tmp_path / "kept") == []
    assert libraries.plotly_file(bars, tmp_path / "kept") == "plotly-cartesian.min.js"
    assert libraries.plotly_file({"scatter"}, tmp_path / "kept") == "plotly-cartesian.min.js"
    assert libraries.plotly_file(hands, tmp_path / "kept") == "plotly-gl3d.min.js"
    assert libraries.plotly_file({"sankey"}, tmp_path / "kept") == "plotly.min.js"
    monkeypatch.setenv("PATH", str(tmp_path / "none"))  # the second build asks nobody
    assert libraries.fetch_parts(tmp_path / "kept") == []


def test_the_parts_are_of_the_installed_release() -> None:
    head = libraries.WHOLE["plotly.min.js"].read_text(encoding="utf-8")[:200]
    release = re.search(r"plotly\.js v([\d.]+)", head).group(1)
    assert {part.package.rpartition("@")[2] for part in libraries.PARTS.values()} == {release}


def test_pictures_are_drawn_once(tmp_path: Path) -> None:
    """Of each kind, in one browser; a second build draws only what is new, and drops what is gone."""
    mesh = go.Mesh3d(x=[0, 9, 0, 0], y=[0, 0, 9, 0], z=[0, 0, 0, 9], i=[0, 0, 0], j=[1, 2, 1], k=[2, 3, 3])
    bars = figure_of(go.Figure(go.Bar(x=["a", "b"], y=[1, 3]), layout={"title": {"text": "Bars"}}))
    solid = figure_of(figures.hand_figure([mesh], "Solid"))
    own = [path for path in site_files.own_files() if path.name in site_files.OF_FIGURES]
    kept, target = tmp_path / "kept", tmp_path / "site"
    (said,) = make_pictures([bars, solid], own, tmp_path, kept, target)
    assert said.startswith("2 pictures")
    for figure in (bars, solid):
        colours = Image.open(target / f"{figure.key}.png").convert("RGB").getcolors(10**6)
        assert max(colours)[1] == (255, 255, 255), "paper is white"
        assert len(colours) > 10
    first = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert make_pictures([bars], own, tmp_path, kept, target) == []
    assert {path.name for path in target.iterdir()} == {f"{bars.key}.png"}
    assert {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}.items() < first.items()


def test_without_a_browser_the_build_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = make_pictures([figure_of(go.Figure())], [], tmp_path, tmp_path / "kept", tmp_path / "site")
    assert said[0].startswith("1 figures have no picture for paper: no Chromium on this machine")
    assert list((tmp_path / "site").iterdir()) == []


# --- the plot functions --------------------------------------------------------------------------------


def test_a_hand_figure_offers_the_views_of_its_own_table() -> None:
    points = figures.points_trace(torch.rand(5, 3), "points")
    hand, camera = (figures.hand_figure([points], "t", view=view) for view in ("palm", "camera"))
    assert set(hand.layout.meta["views"]) == set(figures.HAND_VIEWS)
    assert set(camera.layout.meta["views"]) == set(figures.CAMERA_VIEWS)
    assert hand.layout.scene.camera.projection.type == "orthographic"
    with pytest.raises(KeyError):
        figures.hand_figure([points], "t", view="from below")


def test_level_figure_leaves_out_what_the_field_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict] = []
    monkeypatch.setattr("hands_lib.figures.outputs.display", lambda bundle, raw: shown.append(bundle))
    field = np.linspace(0, 0.6, 27, dtype="float32").reshape(3, 3, 3)
    levels = [("30 %", 0.3), ("50 %", 0.5), ("90 %", 0.9)]
    figures.level_figure(
        field, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "t", "alt", levels, "probability", start=0.9
    )
    (control,) = shown[0][figures.K3D_SNAPSHOT]["meta"]["levels"]
    assert [step["label"] for step in control["steps"]] == ["30 %", "50 %"]
    assert control["active"] == 1
    with pytest.raises(ValueError, match=r"between 0 and 0\.6"):
        figures.level_figure(
            field, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "t", "alt", levels[2:], "probability", start=0.9
        )


def test_show_source_shows_the_code_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict] = []
    monkeypatch.setattr("hands_lib.figures.outputs.display", lambda bundle, raw: shown.append(bundle))
    figures.show_source(figures.show_source)
    assert shown[0]["text/plain"].startswith("def show_source(")
    assert "hands_lib/figures/outputs.py" in shown[0]["text/markdown"]
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

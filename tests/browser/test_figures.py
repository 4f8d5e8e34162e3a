"""Figures on the built pages, as mouse, keyboard, finger and paper meet them."""

import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, ElementHandle, Locator, Page
from plotly.colors import sample_colorscale
from visits import LIMIT

from hands_lib import figures
from hands_lib.pages.libraries import PARTS, PLOTLY_FILE
from hands_lib.reproduce.chapters import book_pages
from hands_lib.reproduce.project import find_root

ROOT = find_root(Path(__file__).parent)
PAGES = [path.relative_to(ROOT).with_suffix(".html").as_posix() for path in book_pages(ROOT)]
PLAYED = "book/foundations/hand_model.html"  # frames, views, a mesh
LEVELS = "book/intersections/occupancy.html"  # k3d
DATA = re.compile(r'<div class="hands-figure"[^>]*>(.*?)<script type="application/json">(.*?)</script>', re.S)
IN_3D = """all => all.map((e) => e.dataset.kind === 'k3d' ||
  /"type":"(mesh3d|scatter3d|surface|cone|isosurface|volume)"/.test(e.textContent))"""
SIZES = [(1440, 900), (820, 1100), (390, 800)]


def figures_on(site: Path, name: str) -> list[tuple[str, dict]]:
    """What stands before the data of each figure of a page, and the data."""
    text = (site / name).read_text(encoding="utf-8")
    return [(before, json.loads(body)) for before, body in DATA.findall(text)]


@contextmanager
def opened(browser: Browser, place: str, **context: Any) -> Iterator[Page]:
    own = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    page = own.new_page()
    page.goto(place, wait_until="load")
    yield page
    own.close()


def draw(page: Page, figure: Locator) -> ElementHandle:
    figure.evaluate(
        "e => { for (let p = e; p; p = p.parentElement) if (p.tagName === 'DETAILS') p.open = true; }"
    )
    figure.scroll_into_view_if_needed()
    handle = figure.element_handle()
    page.wait_for_function("e => e.dataset.drawn", arg=handle)
    assert figure.get_attribute("data-drawn") == "true"
    return handle


def draw_all(page: Page) -> Locator:
    found = page.locator(".hands-figure")
    for i in range(found.count()):
        draw(page, found.nth(i))
    return found


def draw_until(page: Page, part: str) -> Locator:
    """The first figure that has such a part once it is drawn; what stands after it is not drawn."""
    for figure in page.locator(".hands-figure").all():
        draw(page, figure)
        if figure.locator(part).count():
            return figure
    pytest.fail(f"no figure with {part}")


def solid(page: Page) -> Locator:
    """The first 3D figure of a page, drawn and in the middle of the window."""
    figure = draw_until(page, ".hands-solid")
    figure.locator(".hands-solid").evaluate("e => e.scrollIntoView({block: 'center', behavior: 'instant'})")
    return figure


# --- without a browser ---------------------------------------------------------------------------------


def test_every_figure_has_a_picture(site: Path) -> None:
    count = 0
    for name in PAGES:
        for before, _ in figures_on(site, name):
            source = re.search(r'<img class="hands-still" src="([^"]+)" alt="[^"]+"', before)
            assert source, (name, before[:200])
            assert ((site / name).parent / source[1]).resolve().is_file(), (name, source[1])
            count += 1
    assert count > 40


def test_right_and_left_have_one_colour_in_the_whole_book(site: Path) -> None:
    others = {"right": {figures.LEFT, figures.LEFT_PALE}, "left": {figures.RIGHT, figures.RIGHT_PALE}}
    seen = 0
    for name in PAGES:
        for _, figure in figures_on(site, name):
            for trace in figure.get("data", []):
                side = re.search(r"\b(right|left) hand\b", trace.get("name") or "")
                colours = [
                    trace.get("color"),
                    (trace.get("line") or {}).get("color"),
                    (trace.get("marker") or {}).get("color"),
                ]
                for colour in (c for c in colours if side and isinstance(c, str)):
                    assert colour not in others[side[1]], (name, trace["name"], colour)
                    seen += 1
    assert seen > 10


def test_the_site_has_only_scripts_that_a_page_uses(site: Path) -> None:
    pages = "".join((site / name).read_text(encoding="utf-8") for name in PAGES)
    for name in (*PARTS, PLOTLY_FILE, "standalone.js"):
        assert (site / "_static" / name).is_file() == (f'data-library="{name}"' in pages), name


# --- keyboard ------------------------------------------------------------------------------------------

CAMERA = "e => [e.stage.towards, e.stage.scale]"


def test_keys_turn_zoom_and_reset(address: str, browser: Browser) -> None:
    with opened(browser, f"{address}/{PLAYED}") as page:
        figure = solid(page)
        canvas = figure.locator(".hands-solid")
        canvas.focus()
        place, start = page.evaluate("scrollY"), figure.evaluate(CAMERA)
        for keys, part in ((("ArrowLeft", "ArrowUp"), 0), (("+",), 1)):
            for key in keys:
                before = figure.evaluate(CAMERA)
                page.keyboard.press(key)
                assert figure.evaluate(CAMERA)[part] != before[part], key
        page.keyboard.press("0")
        assert figure.evaluate(CAMERA) == start
        page.keyboard.press("-")
        page.keyboard.press("Home")
        assert figure.evaluate(CAMERA) == start
        assert page.evaluate("scrollY") == place, "the keys moved the page"
        page.keyboard.press("Escape")
        assert not canvas.evaluate("e => e.contains(document.activeElement)")


def test_controls_by_keyboard(address: str, browser: Browser) -> None:
    """Views, frames, play and legend, and what they say to a screen reader."""
    with opened(browser, f"{address}/{PLAYED}") as page:
        figure = draw_until(page, "input[type=range]")
        view = figure.get_by_role("combobox", name="View")
        before = figure.evaluate(CAMERA)
        view.focus()
        page.keyboard.press("ArrowDown")
        assert figure.evaluate(CAMERA) != before
        slider, output = figure.locator("input[type=range]"), figure.locator("output")
        slider.focus()
        page.keyboard.press("Home")
        first = output.inner_text()
        page.keyboard.press("ArrowRight")
        assert output.inner_text() != first
        assert slider.get_attribute("aria-valuetext") == output.inner_text()
        page.keyboard.press("Home")
        figure.get_by_role("button", name="Play").focus()
        page.keyboard.press("Enter")
        pause = figure.get_by_role("button", name="Pause")
        pause.wait_for()
        last = figure.locator("input[type=range]").get_attribute("max")
        page.wait_for_function("([e, last]) => e.value === last", arg=[slider.element_handle(), last])
        figure.get_by_role("button", name="Play").wait_for()
        entry = figure.locator(".hands-legend button").first
        entry.focus()
        page.keyboard.press("Space")
        page.wait_for_function("e => e.getAttribute('aria-pressed') === 'false'", arg=entry.element_handle())
        hidden = figure.locator(".hands-plot").evaluate(
            "e => e._fullData.some(t => t.visible === 'legendonly')"
        )
        assert hidden


def test_a_level_can_be_chosen(address: str, browser: Browser) -> None:
    """k3d computes another surface; its own menu is not there."""
    with opened(browser, f"{address}/{LEVELS}") as page:
        figure = page.locator(".hands-figure[data-kind=k3d]").first
        draw(page, figure)
        before = figure.locator(".hands-solid").screenshot()
        figure.locator("input[type=range]").focus()
        for _ in range(4):
            page.keyboard.press("ArrowLeft")
        end = time.monotonic() + LIMIT / 1000
        while figure.locator(".hands-solid").screenshot() == before:  # the surface is computed in a worker
            assert time.monotonic() < end, "another level shows the same surface"
        assert figure.locator(".lil-gui:visible").count() == 0


# --- mouse and finger ----------------------------------------------------------------------------------


def test_wheel_scrolls_the_page_until_the_figure_is_clicked(address: str, browser: Browser) -> None:
    with opened(browser, f"{address}/{PLAYED}") as page:
        figure = solid(page)
        box = figure.locator(".hands-solid").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        scale, place = figure.evaluate("e => e.stage.scale"), page.evaluate("scrollY")
        page.mouse.wheel(0, 60)
        page.wait_for_function("old => scrollY > old", arg=place)
        assert figure.evaluate("e => e.stage.scale") == scale
        place = page.evaluate("scrollY")
        page.mouse.down()
        page.mouse.up()
        page.mouse.wheel(0, -60)
        page.wait_for_function("([e, old]) => e.stage.scale > old", arg=[figure.element_handle(), scale])
        assert page.evaluate("scrollY") == place
        page.keyboard.press("Escape")
        scale = figure.evaluate("e => e.stage.scale")
        page.mouse.wheel(0, 60)
        page.wait_for_function("old => scrollY > old", arg=place)
        assert figure.evaluate("e => e.stage.scale") == scale


def test_dragging_turns(address: str, browser: Browser) -> None:
    with opened(browser, f"{address}/{PLAYED}") as page:
        figure = solid(page)
        box = figure.locator(".hands-solid").bounding_box()
        before = figure.evaluate("e => e.stage.towards")
        page.mouse.move(box["x"] + 200, box["y"] + 200)
        page.mouse.down()
        page.mouse.move(box["x"] + 260, box["y"] + 210, steps=4)
        page.mouse.up()
        assert figure.evaluate("e => e.stage.towards") != before


def test_a_finger_scrolls_until_the_figure_is_tapped(address: str, browser: Browser) -> None:
    phone = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    with opened(browser, f"{address}/{PLAYED}", **phone) as page:
        figure = solid(page)
        canvas = figure.locator(".hands-solid")
        action = "e => [e, ...e.querySelectorAll('canvas')].map(x => getComputedStyle(x).touchAction)"
        assert set(canvas.evaluate(action)) == {"pan-y"}
        canvas.tap()
        page.wait_for_function("e => e === document.activeElement", arg=canvas.element_handle())
        assert set(canvas.evaluate(action)) == {"none"}
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


# --- what is seen --------------------------------------------------------------------------------------

PROJECTED = """e => {
  const stage = e.stage, dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const { width, height } = stage.area(), x = [], y = [];
  stage.each((p) => {
    const d = p.map((v, i) => v - stage.target[i]);
    x.push(dot(d, stage.right) * stage.scale / (width / 2));
    y.push(dot(d, stage.up) * stage.scale / (height / 2));
  });
  return [Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)];
}"""


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}")
@pytest.mark.parametrize(
    "name", [PLAYED, LEVELS, "book/foundations/real_captures.html", "book/intersections/loss.html"]
)
def test_camera_is_fitted(name: str, size: tuple[int, int], address: str, browser: Browser) -> None:
    """All that is drawn lies in the canvas and fills most of one side, in every view and turned."""
    with opened(browser, f"{address}/{name}", viewport={"width": size[0], "height": size[1]}) as page:
        in_3d = page.locator(".hands-figure").evaluate_all(IN_3D)
        assert any(in_3d)
        for figure in (page.locator(".hands-figure").nth(i) for i, own in enumerate(in_3d) if own):
            draw(page, figure)
            assert figure.locator(".hands-solid").count() == 1
            for view in figure.evaluate("e => Object.keys(e.stage.views)"):
                figure.evaluate("(e, view) => e.stage.look(view)", view)
                sides = figure.evaluate(PROJECTED)
                assert max(map(abs, sides)) <= 1, (view, sides)
                assert max(sides[1] - sides[0], sides[3] - sides[2]) > 1.5, (view, sides)
            figure.evaluate("e => e.stage.turn(0.7, 0.4)")
            assert max(map(abs, figure.evaluate(PROJECTED))) <= 1


def test_scale_bar_is_true(address: str, browser: Browser) -> None:
    """As plotly's own matrices put two points of the data onto the screen, and after zooming."""
    project = """(e) => {
      const scene = e.querySelector('.hands-plot')._fullLayout.scene, gl = scene._scene.glplot;
      gl.redraw();
      const { view, projection, model } = gl.cameraParams, scaled = scene._scene.dataScale;
      const times = (m, v) => m.slice(0, 4).map((_, r) => v.reduce((s, x, c) => s + m[4 * c + r] * x, 0));
      const rect = scene._scene.container.getBoundingClientRect();
      const screen = (p) => {
        const data = [...p.map((v, i) => v * scaled[i]), 1];
        const [x, y, , w] = times(projection, times(view, times(model, data)));
        return [x / w * rect.width / 2, y / w * rect.height / 2];
      };
      const a = screen(e.stage.target), b = screen(e.stage.target.map((v, i) => v + 10 * e.stage.right[i]));
      const bar = e.querySelector('.hands-scale');
      const said = bar.getBoundingClientRect().width / Number(bar.dataset.length);
      return [Math.hypot(a[0] - b[0], a[1] - b[1]) / 10, said];
    }"""
    with opened(browser, f"{address}/{PLAYED}") as page:
        figure = solid(page)
        for _ in range(2):
            drawn, said = figure.evaluate(project)
            assert drawn == pytest.approx(said, rel=0.02)
            figure.evaluate("e => e.stage.zoom(1.7)")


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Of two colours in [0, 1], as WCAG defines it: 1 to 21."""
    light = []
    for colour in (a, b):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(light) / min(light)


def test_heat_maps_have_legible_numbers(site: Path, address: str, browser: Browser) -> None:
    """The number in a cell stands out from the cell."""
    with opened(browser, f"{address}/book/foundations/metrics.html") as page:
        draw_all(page)
        colours = page.locator(".heatmap-label text").evaluate_all(
            "all => all.map(e => getComputedStyle(e).fill)"
        )
    (label,) = {tuple(int(part) for part in re.findall(r"\d+", colour)[:3]) for colour in colours}
    lowest = 21.0
    for _, figure in figures_on(site, "book/foundations/metrics.html"):
        for trace in (t for t in figure.get("data", []) if t["type"] == "heatmap"):
            z = trace["z"]
            if isinstance(z, dict):  # numbers as bytes
                z = np.frombuffer(base64.b64decode(z["bdata"]), z["dtype"])
            z = np.asarray(z, dtype=float).ravel()
            low, high = trace.get("zmin", np.nanmin(z)), trace.get("zmax", np.nanmax(z))
            for share in np.clip((z[np.isfinite(z)] - low) / (high - low), 0, 1):
                (cell,) = sample_colorscale(trace["colorscale"], float(share), colortype="tuple")
                lowest = min(lowest, contrast(cell, tuple(part / 255 for part in label)))
    assert 4.5 < lowest < 21  # WCAG AA


def test_where_a_figure_cannot_be_drawn_its_picture_stays(address: str, browser: Browser) -> None:
    with opened(browser, "about:blank") as page:
        page.route(re.compile(r"plotly"), lambda route: route.abort())
        page.goto(f"{address}/{PLAYED}")
        figure = page.locator(".hands-figure").first
        figure.scroll_into_view_if_needed()
        page.wait_for_function("e => e.dataset.drawn === 'failed'", arg=figure.element_handle())
        assert figure.locator(".hands-still").is_visible()


def test_on_paper_the_picture_stands_for_the_figure(address: str, browser: Browser) -> None:
    """Printed from the dark theme too, before and after it was drawn; on pages without scripts as well."""
    loaded = "e => e.complete && e.naturalWidth > 0"
    with opened(browser, f"{address}/{PLAYED}", color_scheme="dark") as page:
        draw(page, page.locator(".hands-figure").first)
        page.emulate_media(media="print")
        for i in range(page.locator(".hands-figure").count()):
            figure = page.locator(".hands-figure").nth(i)
            still = figure.locator(".hands-still")
            assert still.is_visible()
            assert still.evaluate(loaded)
            assert figure.locator(".hands-live:visible").count() == 0
        assert len(page.pdf()) > 100_000
    with opened(browser, f"{address}/{PLAYED}", java_script_enabled=False) as page:
        still = page.locator(".hands-still").first
        still.scroll_into_view_if_needed()
        assert still.is_visible()

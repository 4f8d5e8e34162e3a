"""The living figures: the evaluator's operators, the figures' graphs, and the figures in the built site."""

import base64
import functools
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from playwright.sync_api import Browser, Page
from torch import Tensor
from torch.nn import functional

import hands_lib.pages.living as living
from hands_lib.hand.kinematics import forward_kinematics, mirror
from hands_lib.hand.surface import HandShape, hand_surface, surface_topology
from hands_lib.methods.intersections.evaluation import overlap_cm3
from hands_lib.methods.intersections.loss import frozen, intersection_loss
from hands_lib.methods.intersections.occupancy import OccupancyNetwork, OccupancySettings
from hands_lib.methods.intersections.recorded_network import recorded_network as recorded_occupancy
from hands_lib.methods.refinement.recorded_network import recorded_network
from hands_lib.methods.va_nerf.network import VANeRF, settings_from
from hands_lib.pages.living.export import exported, in_half_precision
from hands_lib.pages.living.graphs import AskPoint, IntersectionStep, ObservePicture, PosedHands
from hands_lib.reproduce import load_weights, trained
from hands_lib.structures import HandPose, Mesh
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs

STATIC = Path(living.__file__).with_name("static")
FIGURES = {
    "drag": "book/intersections/loss.html",
    "look": "book/va_nerf/play.html",
    "stages": "book/refinement/stages.html",
}
AGREE = 1e-4
KINDS = {torch.float32: "Float32Array", torch.int64: "Int32Array", torch.bool: "Uint8Array"}
RUN = """([model, feeds]) => {
  const kinds = { Float32Array, Int32Array, Uint8Array };
  const given = Object.fromEntries(Object.entries(feeds).map(([name, [kind, shape, data]]) =>
    [name, handsGraph.tensor(shape, kinds[kind].from(data))]));
  const found = handsGraph.load(model).run(given);
  return Object.fromEntries(Object.entries(found).map(([name, x]) => [name, [x.shape, Array.from(x.data)]]));
}"""
several = functools.partial(
    settings,
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def evaluator(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.add_script_tag(path=STATIC / "hands-graph.js")
    yield page
    page.close()


def run(page: Page, model: dict[str, Any], feeds: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the evaluator makes of a model."""
    sent = {k: [KINDS[v.dtype], list(v.shape), v.flatten().tolist()] for k, v in feeds.items()}
    found = page.evaluate(RUN, [model, sent])
    return {k: torch.tensor(data, dtype=torch.float64).view(shape) for k, (shape, data) in found.items()}


def operator(page: Page, name: str, inputs: list[Tensor | None], **attributes: Any) -> Tensor:
    """One operator alone. None is an input that is left out."""
    names = ["" if x is None else f"x{n}" for n, x in enumerate(inputs)]
    feeds = {name: x for name, x in zip(names, inputs, strict=True) if x is not None}
    model = {
        "inputs": list(feeds),
        "outputs": ["y"],
        "nodes": [[name, names, ["y"], attributes]],
        "constants": {},
        "values": "",
    }
    return run(page, model, feeds)["y"]


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected.double(), atol=tolerance, rtol=1e-5)


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


sides, few = st.integers(1, 9), st.integers(1, 5)


@several()
@given(
    few, few, st.integers(1, 4), sides, sides, st.integers(1, 3), st.integers(0, 2), st.sampled_from([1, 2])
)
def test_convolutions(
    evaluator: Page,
    inner: int,
    out: int,
    kernel: int,
    height: int,
    width: int,
    stride: int,
    pad: int,
    group: int,
) -> None:
    height, width = height + kernel, width + kernel
    image, bias = numbers(2, group * inner, height, width), numbers(group * out)
    weight = numbers(group * out, inner, kernel, kernel)
    pads = [pad] * 4
    found = operator(
        evaluator,
        "Conv",
        [image, weight, bias],
        strides=[stride] * 2,
        pads=pads,
        dilations=[1, 1],
        group=group,
    )
    close(found, functional.conv2d(image, weight, bias, stride, pad, groups=group))
    pad = min(pad, kernel - 1)
    turned = numbers(group * inner, out, kernel, kernel)
    found = operator(evaluator, "ConvTranspose", [image, turned, None], strides=[stride] * 2, pads=[pad] * 4)
    close(found, functional.conv_transpose2d(image, turned, None, stride, pad))
    found = operator(
        evaluator, "AveragePool", [image], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[0] * 4
    )
    close(found, functional.avg_pool2d(image, kernel, stride))
    found = operator(evaluator, "MaxPool", [image], kernel_shape=[kernel] * 2, strides=[stride] * 2)
    close(found, functional.max_pool2d(image, kernel, stride))


@several()
@given(st.lists(st.sampled_from([1, 3]), max_size=2), st.booleans(), sides, sides, sides)
def test_products(evaluator: Page, batch: list[int], shared: bool, n: int, k: int, m: int) -> None:
    left, right = numbers(*batch, n, k), numbers(*([] if shared else batch), k, m)
    close(operator(evaluator, "MatMul", [left, right]), left @ right)
    if batch:
        both = numbers(*batch[:1], n, k), numbers(*batch[:1], k, m)
        close(operator(evaluator, "Einsum", list(both), equation="bij,bjk->bik"), both[0] @ both[1])
    flat, bias = numbers(n, k), numbers(m)
    found = operator(evaluator, "Gemm", [flat, numbers(m, k), bias], transB=1)
    close(found, functional.linear(flat, numbers(m, k), bias))


@several()
@given(few, sides, sides, sides, st.floats(-3, 3), st.floats(-3, 3))
def test_reading_between_pixels(
    evaluator: Page, channels: int, height: int, width: int, points: int, u: float, v: float
) -> None:
    image, grid = numbers(1, channels, height, width), numbers(1, 1, points, 2)
    grid[0, 0, 0] = torch.tensor([u, v])
    for corners in (False, True):
        for beyond in ("zeros", "border"):
            found = operator(
                evaluator,
                "GridSample",
                [image, grid],
                mode="linear",
                padding_mode=beyond,
                align_corners=int(corners),
            )
            expected = functional.grid_sample(image, grid, padding_mode=beyond, align_corners=corners)
            close(found, expected)
    size = [2 * height, width + 3]
    wanted = torch.tensor([1, channels, *size])
    way = "pytorch_half_pixel"
    found = operator(
        evaluator, "Resize", [image, None, None, wanted], mode="linear", coordinate_transformation_mode=way
    )
    close(found, functional.interpolate(image, size, mode="bilinear"))


@several()
@given(few, few, st.integers(2, 9), st.integers(2, 9), st.sampled_from([-3, -2, -1, 0, 1, 2]))
def test_normalisations_and_reductions(
    evaluator: Page, channels: int, batch: int, height: int, width: int, axis: int
) -> None:
    image, scale, shift = numbers(batch, channels, height, width), numbers(channels), numbers(channels)
    found = operator(evaluator, "InstanceNormalization", [image, scale, shift], epsilon=1e-5)
    close(found, functional.instance_norm(image, weight=scale, bias=shift))
    mean, variance = numbers(channels), numbers(channels).square() + 0.1
    found = operator(evaluator, "BatchNormalization", [image, scale, shift, mean, variance], epsilon=1e-5)
    close(found, functional.batch_norm(image, mean, variance, scale, shift))
    scale, shift = numbers(width), numbers(width)
    found = operator(evaluator, "LayerNormalization", [image, scale, shift], axis=-1, epsilon=1e-5)
    close(found, functional.layer_norm(image, (width,), scale, shift))
    close(operator(evaluator, "Softmax", [image], axis=axis), image.softmax(axis))
    close(operator(evaluator, "CumSum", [image, torch.tensor(axis)]), image.cumsum(axis))
    axes = torch.tensor([axis])
    for name, expected in (
        ("ReduceSum", image.sum(axis)), ("ReduceMean", image.mean(axis)), ("ReduceMax", image.amax(axis)),
        ("ReduceL2", image.norm(dim=axis)),
    ):  # fmt: skip
        close(operator(evaluator, name, [image, axes], keepdims=0), expected)


@several()
@given(
    st.integers(2, 9),
    st.integers(2, 9),
    st.integers(-8, 8),
    st.integers(-8, 8),
    st.integers(1, 3),
    st.booleans(),
)
def test_parts_of_tensors(
    evaluator: Page, height: int, width: int, start: int, end: int, step: int, turned: bool
) -> None:
    table = numbers(height, width)
    given = [torch.tensor([number]) for number in (start, end, 1, step)]
    close(
        operator(evaluator, "Slice", [table, *given]),
        torch.from_numpy(table.numpy()[:, start:end:step].copy()),
    )
    for mode, own in (("constant", "constant"), ("reflect", "reflect"), ("edge", "replicate")):
        found = operator(evaluator, "Pad", [table[None], torch.tensor([0, 0, 1, 0, 0, 1])], mode=mode)
        close(found, functional.pad(table[None], (1, 1), mode=own))
    rows = torch.randint(height, (3, 2), generator=torch.Generator().manual_seed(height))
    close(operator(evaluator, "Gather", [table, rows], axis=0), table[rows])
    places = torch.stack([rows, rows % width], dim=-1)
    close(operator(evaluator, "GatherND", [table, places]), table[rows, rows % width])
    added = table.index_put((rows.flatten(), rows.flatten() % width), torch.ones(6), accumulate=True)
    found = operator(evaluator, "ScatterND", [table, places.flatten(0, 1), torch.ones(6)], reduction="add")
    close(found, added)
    order = [1, 0] if turned else [0, 1]
    close(operator(evaluator, "Transpose", [table], perm=order), table.permute(order))
    found = operator(evaluator, "Where", [table[:, :1] > 0, table, torch.tensor(7.0)])
    close(found, torch.where(table[:, :1] > 0, table, 7.0))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(evaluator: Page, approximate: str) -> None:
    values = torch.linspace(-8, 8, 400)
    close(
        operator(evaluator, "Gelu", [values], approximate=approximate),
        functional.gelu(values, approximate=approximate),
        1e-6,
    )


def test_an_unknown_operator_is_named(evaluator: Page) -> None:
    with pytest.raises(Exception, match="does not know: Frobnicate"):
        operator(evaluator, "Frobnicate", [numbers(2)])


# --- the graphs of the figures -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair() -> dict[str, Tensor]:
    """A pair whose left hand was moved into the right one."""
    people = sample_identities(20, 0)
    pairs, _ = sample_pairs(1, people, torch.Generator().manual_seed(3), interactions=("clasp",))
    pose = pairs.pose[0]
    unknowns = torch.cat([pose.root_translation, torch.zeros(2, 3), pose.joint_angles.flatten(1)], dim=1)
    wrists = forward_kinematics(pose).joints.mean(dim=1)
    apart = mirror(wrists[0]) - wrists[1]  # in the left hand's mirrored world
    unknowns[1, :3] += 0.012 * apart / apart.norm()
    return {
        "unknowns": unknowns,
        "rotation": pose.root_rotation,
        "palm": pose.palm_angles,
        "lengths": pose.bone_lengths,
    }


def posed(pair: dict[str, Tensor]) -> HandPose:
    place, _, angles = pair["unknowns"].split([3, 3, 45], dim=1)
    return HandPose(place, pair["rotation"], pair["palm"], angles.view(2, 5, 3, 3), pair["lengths"])


def test_hands_and_the_volume_they_share(evaluator: Page, pair: dict[str, Tensor]) -> None:
    """Joints, vertices and volume are those of the library's own functions."""
    found = run(evaluator, exported(PosedHands("plain"), pair, ["joints", "vertices"]), pair)
    skeletons = forward_kinematics(posed(pair))
    mesh = hand_surface(skeletons, HandShape.thin(like=skeletons.joints))
    world = torch.stack([mesh.vertices[0], mirror(mesh.vertices[1])])
    assert (found["vertices"] - world).abs().max() < 1e-6
    assert (found["joints"][0] - skeletons.joints[0]).abs().max() < 1e-6
    faces = [mesh.faces, mesh.faces.flip(-1)]
    exact = overlap_cm3(*(Mesh(v[None], f) for v, f in zip(world, faces, strict=True)), resolution=48)
    evaluator.add_script_tag(path=STATIC / "hands-living.js")
    hands = [
        {"vertices": v.flatten().tolist(), "faces": f.flatten().tolist()}
        for v, f in zip(world, faces, strict=True)
    ]
    volume = evaluator.evaluate("hands => handsShared.sharedVolume(...hands)", hands)
    assert exact.item() > 0.05
    assert volume == pytest.approx(exact.item(), rel=0.02)


def test_the_loss_and_its_gradient(evaluator: Page, pair: dict[str, Tensor]) -> None:
    """On points near the other hand: the value of `intersection_loss`, the gradient of torch."""
    torch.manual_seed(0)
    network = OccupancyNetwork(OccupancySettings(24, 16, 32, joint_identity=True, palm_frame=True))
    for weight in network.parameters():  # a new network says 1/2 everywhere
        torch.nn.init.normal_(weight, std=0.15)
    module = IntersectionStep(in_half_precision(frozen(network)))
    every = torch.arange(121)
    inputs = pair | {
        "start": pair["unknowns"] + 0.01,
        "hold": torch.tensor(150.0),
        "left": every,
        "left_counts": torch.ones(121),
        "right": every,
        "right_counts": torch.ones(121),
    }
    names = ["loss", "gradient", "of_left", "of_right"]
    model = exported(module, inputs, names, descends=True)
    found = run(evaluator, model, inputs)
    expected = dict(zip(names, module(*inputs.values()), strict=True))
    for name in names:
        scale = max(1.0, expected[name].abs().max().item())
        assert (found[name] - expected[name]).abs().max() / scale < AGREE
    joints = run(evaluator, exported(PosedHands("plain"), pair, ["joints", "vertices"]), pair)[
        "joints"
    ].float()
    loss = intersection_loss(module.network, joints[None], "dense", alpha=1, prefilter=False, screening=False)
    assert found["loss"].item() == pytest.approx(loss.item(), rel=1e-3)


# --- in the built site ---------------------------------------------------------------------------------


def open_figure(page: Page, address: str, kind: str) -> None:
    page.goto(f"{address}/{FIGURES[kind]}", wait_until="load")
    figure = page.locator(f".hands-living[data-kind={kind}]")
    figure.evaluate(
        "e => { for (let p = e; p; p = p.parentElement) if (p.tagName === 'DETAILS') p.open = true; }"
    )
    figure.scroll_into_view_if_needed()
    page.wait_for_function(f"document.querySelector('.hands-living[data-kind={kind}]').dataset.drawn")
    assert figure.get_attribute("data-drawn") == "true"


@pytest.mark.parametrize("kind", FIGURES)
def test_figure(kind: str, address: str, browser: Browser) -> None:
    """It draws, every control answers to the keyboard, and nothing is asked of another host."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    outside: list[str] = []
    wrong: list[str] = []
    host = urlsplit(address).netloc
    page.on("request", lambda r: outside.append(r.url) if urlsplit(r.url).netloc not in ("", host) else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    open_figure(page, address, kind)
    figure = page.locator(f".hands-living[data-kind={kind}]")
    controls = figure.locator("input:not([type=file]):visible, select:visible, canvas[tabindex]:visible")
    assert controls.count() >= 2
    state = (
        "e => JSON.stringify([...e.querySelectorAll('output, select')].map(x => x.textContent || x.value))"
    )
    for n in range(controls.count()):
        control = controls.nth(n)
        control.focus()
        assert page.evaluate("e => document.activeElement === e", control.element_handle())
        name = control.evaluate("e => e.tagName + (e.type || '')")
        if name == "CANVAS":
            before = control.evaluate("e => e.toDataURL()")
            page.keyboard.press("ArrowLeft")
            page.wait_for_function(
                "([e, was]) => e.toDataURL() !== was", arg=[control.element_handle(), before]
            )
        elif name.startswith("INPUT"):
            before = figure.evaluate(state)
            page.keyboard.press("ArrowRight")
            assert figure.evaluate(state) != before
        else:
            before = control.evaluate("e => e.value")
            page.keyboard.press("ArrowDown")
            assert control.evaluate("e => e.value") != before
    # what a screen reader hears
    page.wait_for_function("e => e.querySelector('[role=status]').textContent", arg=figure.element_handle())
    assert not outside
    assert not wrong
    page.close()


MAKE = """kind => {
  const own = document.querySelector(`.hands-living[data-kind=${kind}]`);
  return new Promise((done) => {
    const name = own.dataset.payload.replace(/.*\\//, '').replace('.js', '');
    const script = document.createElement('script');
    script.src = own.dataset.payload;
    script.onload = () => done(globalThis.handsLiving[name]);
    document.head.append(script);
  });
}"""


def payload(page: Page, kind: str) -> dict[str, Any]:
    return json.loads(page.evaluate(MAKE, kind))


def test_recorded_refinement_network(address: str, browser: Browser) -> None:
    """The page's estimates of the picture that it begins with are those of the recorded network."""
    page = browser.new_page()
    open_figure(page, address, "stages")
    said = page.evaluate("document.querySelector('.hands-living').dataset.joints")
    given = payload(page, "stages")["data"]
    line = trained("refinement", "stages", "init and two refinements")
    network = in_half_precision(recorded_network(line.config, load_weights(line)))
    side = given["size"]
    pixels = np.frombuffer(base64.b64decode(given["images"]), np.uint8).reshape(-1, side, side, 3)
    shown = int(page.evaluate("document.querySelector('.hands-living select').value"))
    image = torch.from_numpy(pixels[shown : shown + 1].copy()).movedim(-1, 1) / 255
    with torch.no_grad():
        expected = torch.stack([one.joints[0] for one in network(image).estimates])
    difference = (torch.tensor(json.loads(said)).view(expected.shape) - expected).abs().max().item()
    print(f"largest difference to torch: {difference:.1e} m")
    assert difference < AGREE
    page.close()


def test_recorded_occupancy_network(address: str, browser: Browser) -> None:
    """The loss and the volume on the page are the library's for the pair that is shown, and the steps take
    the hands apart."""
    page = browser.new_page()
    open_figure(page, address, "drag")
    page.wait_for_function("document.querySelector('.hands-living').dataset.settled === 'true'")
    state = page.evaluate("Object.assign({}, document.querySelector('.hands-living').dataset)")
    own = payload(page, "drag")["data"]["pairs"][0]
    shapes = {"rotation": (2, 3, 3), "palm": (2, 5, 2), "lengths": (2, 5, 4)}
    pair = {name: torch.tensor(own[name]).view(shape) for name, shape in shapes.items()}
    pair["unknowns"] = torch.tensor(json.loads(state["unknowns"])).view(2, 51)
    joints, vertices = PosedHands("refined")(*(pair[name] for name in ("unknowns", *shapes)))
    line = trained("intersections", "occupancy", "validation, palm frame")
    network = recorded_occupancy(line.config, load_weights(line))
    loss = intersection_loss(in_half_precision(network), joints[None], "dense", 1, screening=False).item()
    faces = surface_topology("refined").faces
    meshes = [Mesh(v[None], f) for v, f in zip(vertices, (faces, faces.flip(-1)), strict=True)]
    volume = overlap_cm3(*meshes, resolution=48).item()
    found = json.loads(state["before"])
    print(f"loss {found[1]:.6f}, torch {loss:.6f}; volume {found[0]:.4f} cm3, exact {volume:.4f}")
    assert volume > 0.1
    assert found[1] == pytest.approx(loss, abs=AGREE, rel=AGREE)
    assert found[0] == pytest.approx(volume, rel=0.02)
    after = json.loads(state["after"])
    assert after[0] < 0.1 * found[0]
    assert after[1] < 0.1 * found[1]
    page.close()


def test_recorded_field(address: str, browser: Browser) -> None:
    """Weights and colour of the first query point are those of the recorded network."""
    page = browser.new_page()
    open_figure(page, address, "look")
    state = page.evaluate("Object.assign({}, document.querySelector('.hands-living').dataset)")
    given = payload(page, "look")["data"]
    side, point, view = given["size"], given["points"][given["first"]], given["views"][0]
    line = trained("va_nerf", "comparison", "Ours")
    network = VANeRF(settings_from(line.config["settings"]))
    weights = load_weights(line)
    own = [name for name in weights if name.startswith("net.")]
    network.load_state_dict({name.removeprefix("net."): weights[name] for name in own})
    network = in_half_precision(network).eval()

    def first(name: str, *shape: int) -> Tensor:
        """Of the first camera."""
        numbers = np.frombuffer(base64.b64decode(given[name]), np.uint8)[: int(np.prod(shape))]
        return torch.from_numpy(numbers.copy()).view(1, *shape)

    image = first("images", side, side, 3) / 255
    silhouettes = torch.stack([first("labels", side, side) == hand for hand in (1, 2)], dim=1)
    vertices = torch.tensor(given["vertices"]).view(1, 2, -1, 3)
    faces = torch.tensor(given["faces"]).view(2, -1, 3)
    seen = first("seen", 2 * vertices.shape[2]).bool()
    visible = first("pointSeen", len(given["points"]))[0, given["first"]].bool()[None]
    with torch.no_grad():
        texture, averages = ObservePicture(network)(image, silhouettes)
        asked = AskPoint(network, faces)(
            torch.tensor(point["at"])[None],
            torch.tensor([point["vertex"]]),
            visible,
            seen,
            image,
            texture,
            averages,
            torch.tensor(view["intrinsics"]).view(1, 3, 3),
            torch.tensor(view["pose"]).view(1, 4, 4),
            vertices,
            torch.tensor(given["joints"]).view(1, 2, 21, 3),
        )
    for name, expected in zip(("weights", "colour"), asked, strict=False):
        difference = (torch.tensor(json.loads(state[name])) - expected[0]).abs().max().item()
        print(f"largest difference to torch, {name}: {difference:.1e}")
        assert difference < AGREE
    page.close()


def test_the_left_hand_follows_the_pointer(address: str, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    open_figure(page, address, "drag")
    canvas = page.locator(".hands-living canvas").first
    canvas.scroll_into_view_if_needed()
    picture = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)
    blue = np.argwhere(picture[..., 2] > 1.6 * picture[..., 0] + 30)
    y, x = blue[np.abs(blue - blue.mean(axis=0)).sum(axis=1).argmin()].tolist()
    box = canvas.bounding_box()
    assert box
    values = "[...document.querySelectorAll('.hands-living input[type=range]')].map(e => +e.value)"
    before = page.evaluate(values)
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + x - 30, box["y"] + y + 20, steps=4)
    page.mouse.up()
    after = page.evaluate(values)
    assert after[0] < before[0]
    assert after[1] < before[1]
    assert after[3] == before[3]  # the view has not turned
    page.close()


def test_own_picture_stays(address: str, browser: Browser, tmp_path: Path) -> None:
    """A picture from the reader's disk is looked at without any request; a file that is none is refused."""
    page = browser.new_page()
    open_figure(page, address, "stages")
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url) if not r.url.startswith(("data:", "blob:")) else None)
    before = page.evaluate("document.querySelector('.hands-living').dataset.joints")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (120, 200, 3), np.uint8)).save(
        tmp_path / "own.png"
    )
    (tmp_path / "no.png").write_bytes(b"no picture")
    page.set_input_files("input[type=file]", tmp_path / "own.png")
    page.wait_for_function(
        "was => document.querySelector('.hands-living').dataset.joints !== was", arg=before
    )
    assert page.locator(".hands-living-crop input").count() == 3
    page.set_input_files("input[type=file]", tmp_path / "no.png")
    page.wait_for_function(
        "document.querySelector('.hands-living [role=alert]').textContent.includes('no picture')"
    )
    assert not requests
    page.close()


@pytest.mark.parametrize("kind", FIGURES)
def test_without_scripts_a_picture_stands_there(kind: str, address: str, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{FIGURES[kind]}")
    still = page.locator(f".hands-living[data-kind={kind}] .hands-living-still")
    assert still.count() == 1
    assert len(still.get_attribute("alt") or "") > 20
    context.close()

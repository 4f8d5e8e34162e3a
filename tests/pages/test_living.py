"""What a living figure puts into a page, and what the site makes of it."""

import base64
import html
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hands_lib.hand.kinematics import forward_kinematics, rest_pose
from hands_lib.hand.surface import HandShape, hand_surface
from hands_lib.pages.living.export import exported, in_half_precision
from hands_lib.pages.living.figures import LivingFigure
from hands_lib.pages.living_site import copy_living, living_in_page


class Affine(nn.Module):
    def __init__(self, width: int, out: int):
        super().__init__()
        self.layer = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).relu()


class Slope(nn.Module):
    """A module that asks for a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            free = x.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad((free.norm(dim=-1).amax(dim=-1) ** 2).sum(), free)
        return slope


def constant(model: dict, name: str) -> np.ndarray:
    kind, shape, start = model["constants"][name]
    kind = np.dtype(f"<{kind}")
    return np.frombuffer(base64.b64decode(model["values"]), kind, int(np.prod(shape)), start).reshape(shape)


def test_weights_of_half_precision_stay_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDS_CACHE", str(tmp_path))
    network = in_half_precision(Affine(7, 5))
    model = exported(network, {"x": torch.rand(3, 7)}, ["y"])
    assert (model["inputs"], model["outputs"]) == (["x"], ["y"])
    assert {node[0] for node in model["nodes"]} <= {"Gemm", "MatMul", "Add", "Relu", "Transpose"}
    weights = [name for name, (kind, shape, _) in model["constants"].items() if sorted(shape) == [5, 7]]
    assert len(weights) == 1
    assert model["constants"][weights[0]][0] == "f2"
    found = torch.from_numpy(constant(model, weights[0]).astype(np.float32))
    expected = network.layer.weight.detach()
    assert torch.equal(found if found.shape == expected.shape else found.T, expected)


class Scaled(nn.Module):
    def __init__(self, by: float):
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return self.by * x


def test_the_cache_knows_modules_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that differ in a plain value alone, which is among no weights."""
    monkeypatch.setenv("HANDS_CACHE", str(tmp_path))
    one, same, other = (exported(Scaled(by), {"x": torch.rand(3)}, ["y"]) for by in (2.0, 2.0, 3.0))
    assert one == same
    assert one != other


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_half_precision_rounds_a_copy(width: int, out: int) -> None:
    network = Affine(width, out)
    before = network.layer.weight.detach().clone()
    rounded = in_half_precision(network).layer.weight
    assert torch.equal(network.layer.weight, before)
    assert torch.equal(rounded, rounded.half().float())
    assert (rounded - before).abs().max() <= before.abs().max() * 2**-11


def test_a_module_that_descends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDS_CACHE", str(tmp_path))
    model = exported(Slope(), {"x": torch.rand(4, 3)}, ["slope"], descends=True)
    assert model["outputs"] == ["slope"]
    assert len(model["nodes"]) > 3


def test_compiled_loops_and_the_exported_reference_agree() -> None:
    """What is exported is the reference; what the book computes with are the compiled loops."""
    pose = rest_pose(2, like=torch.zeros(0))

    def surface() -> Tensor:
        skeleton = forward_kinematics(pose)
        return hand_surface(skeleton, HandShape.thin(like=skeleton.joints)).vertices

    class Standing(torch.nn.Parameter):
        """A tensor that compiled loops leave alone."""

    fast = surface()
    pose = type(pose)(*(Standing(value) for value in vars(pose).values()))
    torch.testing.assert_close(surface().detach(), fast, atol=1e-6, rtol=0)


def figure(**changed: str) -> LivingFigure:
    words = {"title": "Two <hands>", "todo": 'Drag "them".', "alt": "Two hands."} | changed
    still = np.zeros((2, 2, 3), np.uint8)
    return LivingFigure("drag", models={}, data={"name": "</script><b>"}, still=still, **words)


def test_text_is_escaped() -> None:
    text = figure()._repr_html_()
    assert "<hands>" not in text
    assert "<b>" not in text
    body = re.search(r'<script type="application/json">(.*?)</script>', text)
    assert body
    assert json.loads(body[1])["data"]["name"] == "</script><b>"
    assert html.escape("Two <hands>") in text
    assert repr(figure()) == "Two <hands>. Two hands."


def test_data_leave_the_page(tmp_path: Path) -> None:
    app = SimpleNamespace(outdir=str(tmp_path), builder=SimpleNamespace(format="html"))
    context = {"body": figure()._repr_html_(), "pathto": lambda name, resource: f"../{name}"}
    living_in_page(app, "book/page", "page.html", context, None)
    assert "application/json" not in context["body"]
    address = re.search(r'data-payload="\.\./(_static/living/living[0-9a-f]{16}\.js)"', context["body"])
    assert address
    script = (tmp_path / address[1]).read_text(encoding="utf-8")
    text = re.fullmatch(r"\(globalThis\.handsLiving \?\?= \{\}\)\.living[0-9a-f]{16} = (.*);\n", script)
    assert text
    assert json.loads(json.loads(text[1]))["data"]["name"] == "</script><b>"
    copy_living(app, None)
    for source in re.findall(r'(?:src|href)="\.\./(_static[^"]+)"', context["body"]):
        assert (tmp_path / source).is_file()


def test_pages_without_a_figure_stay_as_they_are(tmp_path: Path) -> None:
    app = SimpleNamespace(outdir=str(tmp_path))
    context = {"body": "<p>nothing</p>"}
    living_in_page(app, "book/page", "page.html", context, None)
    assert context == {"body": "<p>nothing</p>"}
    assert not list(tmp_path.iterdir())

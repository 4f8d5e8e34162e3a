"""Oracle: the loss from its definition, layer by layer, with a small network in the place of VGG-19.

The stand-in has VGG-19's sequence of layers, so that numbers 1, 6, 11 and 20 are the ReLUs that the loss
reads, but a few channels each: the loss asks torchvision for the network, and here gets this one.
"""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from hands_lib.metrics.image import backbone_file, vgg_loss

# VGG-19: channels of each convolution, "M" for a pooling layer; here 2, 3, 4 and 5 for 64, 128, 256 and 512.
_LAYERS = (2, 2, "M", 3, 3, "M", 4, 4, 4, 4, "M", 5, 5, 5, 5, "M")
_READ = {1: 1 / 16, 6: 1 / 8, 11: 1 / 4, 20: 1.0}
_MEAN, _STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class _Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        channels, layers = 3, []
        for width in _LAYERS:
            if width == "M":
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 7)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with random weights of the stand-in."""
    monkeypatch.setattr(torchvision.models, "vgg19", _Small)
    torch.manual_seed(0)
    path = tmp_path / "vgg19.pth"
    torch.save(_Small().state_dict(), path)
    return path


def pictures(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 2, 16, 24, 3, generator=generator).unbind()


def test_the_stand_in_is_laid_out_as_vgg19():
    with torch.device("meta"):
        real, own = torchvision.models.vgg19().features, _Small().features
    assert [type(layer) for layer in own[:21]] == [type(layer) for layer in real[:21]]
    assert all(isinstance(real[number], nn.ReLU) for number in _READ)
    # Number 1, 6, 11 and 20 are the first ReLU after none, one, two and three poolings.
    for poolings, number in enumerate(_READ):
        assert sum(isinstance(layer, nn.MaxPool2d) for layer in real[:number]) == poolings
        assert isinstance(real[number - 2], nn.MaxPool2d) or number == 1


def test_none_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert vgg_loss(file=tmp_path / "none.pth") is None
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert backbone_file("vgg19").parent == tmp_path / "checkpoints"
    assert vgg_loss() is None


def test_the_loss_is_its_definition(weights: Path):
    rendered, target = pictures()
    name, loss = vgg_loss(file=weights)
    assert name == "vgg19"
    network = _Small()
    network.load_state_dict(torch.load(weights, weights_only=True))
    expected, x, y = 0.0, (rendered - _MEAN) / _STD, (target - _MEAN) / _STD
    x, y = x.permute(0, 3, 1, 2), y.permute(0, 3, 1, 2)
    with torch.no_grad():
        for number, layer in enumerate(network.features):
            x, y = layer(x.clone()), layer(y.clone())
            if number in _READ:
                expected += _READ[number] * float((x - y).abs().sum()) / x.numel()
            if number == max(_READ):
                break
    assert expected > 0.01
    assert loss(rendered, target).item() == pytest.approx(expected, rel=1e-5)


def test_identical_pictures_give_nothing_and_order_does_not_matter(weights: Path):
    rendered, target = pictures(1)
    _, loss = vgg_loss(file=weights)
    assert loss(target, target) == 0
    assert torch.allclose(loss(rendered, target), loss(target, rendered), rtol=1e-6)
    # Deeper layers are read too: pictures that differ in one pixel alone differ in the sum.
    other = target.clone()
    other[0, 8, 12] = 1 - other[0, 8, 12]
    assert 0 < loss(other, target) < loss(rendered, target)


def test_gradients_reach_the_picture_and_nothing_else(weights: Path):
    _, loss = vgg_loss(file=weights)
    rendered, target = (picture[:1] for picture in pictures(2))
    rendered.requires_grad_()
    before = rendered.detach().clone()
    loss(rendered, target).backward()
    assert torch.equal(rendered.detach(), before)
    # Against a difference quotient in the direction of the gradient.
    direction = rendered.grad / rendered.grad.norm()
    step = 1e-2
    with torch.no_grad():
        ahead, behind = (loss(before + sign * step * direction, target) for sign in (1, -1))
    quotient = (ahead - behind) / (2 * step)
    assert quotient.item() == pytest.approx(rendered.grad.norm().item(), rel=0.05)
    # A second call leaves no trace of the first one: the layers keep no gradients of their own.
    first = rendered.grad.clone()
    rendered.grad = None
    loss(rendered, target).backward()
    assert torch.equal(rendered.grad, first)


def wrong_file(path: Path, kind: str) -> None:
    if kind == "no weights":
        path.write_bytes(b"<html>not found</html>")
    elif kind == "cut off":
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    else:
        torch.save({"features.0.weight": torch.zeros(2, 3, 3, 3)}, path)


@pytest.mark.parametrize("kind", ["no weights", "cut off", "another network"])
def test_a_wrong_file_is_named(weights: Path, kind: str):
    wrong_file(weights, kind)
    # (?s): what torch says may have several lines
    message = r"(?s)vgg19\.pth is not torchvision's VGG-19 .*delete it or get it again"
    with pytest.raises(ValueError, match=message):
        vgg_loss(file=weights)

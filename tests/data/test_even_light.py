from dataclasses import replace

import pytest
import torch

from hands_lib.data.even_light import EvenLightSettings, even_light_pairs, one_hand_pictures
from hands_lib.geometry.raster import rasterize
from hands_lib.structures import Camera, Mesh
from hands_lib.worlds.two_hands import WorldError

SETTINGS = EvenLightSettings(image_size=24, num_views=3, train=2, val=2, test=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def pairs(root):
    return even_light_pairs("val", SETTINGS, root)


def test_pixels_of_hands_are_those_of_the_rasteriser(pairs):
    shift = pairs.vertices.shape[2] * torch.arange(2)[:, None, None]
    mesh = Mesh(pairs.vertices.flatten(1, 2)[:, None], (pairs.faces + shift).flatten(0, 1))
    camera = Camera(pairs.intrinsics, pairs.camera_from_world, 24, 24)
    assert torch.equal(rasterize(mesh, camera).foreground, pairs.foreground)
    assert pairs.foreground.any(dim=(2, 3)).all()


def test_hands_are_bright_and_the_background_is_black(pairs):
    away = torch.nn.functional.max_pool2d(pairs.foreground.flatten(0, 1).float(), 5, 1, 2).unflatten(
        0, (2, 3)
    )
    assert pairs.image[away == 0].max() <= 8  # noise of the sensor
    assert pairs.image[pairs.foreground].float().mean() > 50


def test_comes_from_the_cache_and_from_the_settings_alone(pairs, root, tmp_path):
    kept = sorted((root / "even_light").glob("val-*.safetensors"))
    again = even_light_pairs("val", replace(SETTINGS, train=5), root)  # another split's size changes nothing
    assert sorted((root / "even_light").glob("val-*.safetensors")) == kept
    anew = even_light_pairs("val", SETTINGS, tmp_path)
    for name in ("image", "foreground", "intrinsics", "vertices"):
        assert torch.equal(getattr(pairs, name), getattr(again, name))
        assert torch.equal(getattr(pairs, name), getattr(anew, name))


def test_one_hand_is_what_the_other_does_not_hide(pairs, root):
    """Each hand's own pictures have its own silhouettes, which together are those of the pair; where a hand
    is alone on its pixels and their neighbours, it looks as it did beside the other."""
    alone = [one_hand_pictures("val", 1, side, SETTINGS, root) for side in ("right", "left")]
    camera = Camera(pairs.intrinsics[1], pairs.camera_from_world[1], 24, 24)
    shown = [rasterize(Mesh(pairs.vertices[1, n], pairs.faces[n]), camera).foreground for n in (0, 1)]
    assert torch.equal(shown[0] | shown[1], pairs.foreground[1])
    for n in (0, 1):
        assert alone[n][shown[n]].float().mean() > 50
        around = torch.nn.functional.max_pool2d(shown[n][:, None].float(), 5, 1, 2)[:, 0] > 0
        assert alone[n][~around].max() <= 8
        other = torch.nn.functional.max_pool2d(shown[1 - n][:, None].float(), 5, 1, 2)[:, 0] > 0
        own = shown[n] & ~other
        off = (alone[n].float() - pairs.image[1].float()).abs().mean(dim=-1)[own]
        assert off.median() < 8  # but for the other hand's shadow
    with pytest.raises(IndexError, match="pair 2 of 2"):
        one_hand_pictures("val", 2, "left", SETTINGS, root)


def test_names_what_is_wrong(root, tmp_path):
    with pytest.raises(WorldError, match="unknown split 'dev'"):
        even_light_pairs("dev", SETTINGS, root)
    with pytest.raises(WorldError, match="not 8 and 3"):
        EvenLightSettings(image_size=8, num_views=3)
    even_light_pairs("val", SETTINGS, tmp_path)
    (path,) = (tmp_path / "even_light").glob("*.safetensors")
    path.write_bytes(b"half a file")
    assert torch.equal(
        even_light_pairs("val", SETTINGS, tmp_path).image, even_light_pairs("val", SETTINGS, root).image
    )

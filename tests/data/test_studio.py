import math

import numpy as np
import pytest
import torch

from hands_lib.data.studio import Prop, photograph
from hands_lib.structures import Camera


def _camera(size: int = 120) -> Camera:
    intrinsics = torch.tensor([[200.0, 0, (size - 1) / 2], [0, 200.0, (size - 1) / 2], [0, 0, 1]])
    return Camera(intrinsics, torch.eye(4), size, size)


def _sphere(radius: float, depth: float, albedo) -> Prop:
    theta, phi = np.meshgrid(np.linspace(0, np.pi, 60), np.linspace(0, 2 * np.pi, 121)[:-1], indexing="ij")
    vertices = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
    ring, step = np.mgrid[0:59, 0:120].reshape(2, -1)
    a, b = ring * 120 + step, ring * 120 + (step + 1) % 120
    faces = np.concatenate([np.stack([a, a + 120, b + 120], -1), np.stack([a, b + 120, b], -1)])
    return Prop(radius * vertices.reshape(-1, 3) + (0, 0, depth), faces, np.tile(albedo, (60 * 120, 1)))


def _lit(image: np.ndarray) -> np.ndarray:
    # A sphere too small for any pixel: nothing but the background.
    dark = photograph([_sphere(0.001, 1.0, (1.0, 1.0, 1.0))], _camera(), np.random.default_rng(0)).astype(int)
    return np.abs(image.astype(int) - dark).max(axis=-1) > 12


def test_a_sphere_covers_its_silhouette():
    image = photograph([_sphere(0.2, 1.0, (0.9, 0.9, 0.9))], _camera(), np.random.default_rng(0))
    # Silhouette of a sphere on the axis: a circle of radius f r / sqrt(d^2 - r^2).
    expected = math.pi * (200 * 0.2 / math.sqrt(1 - 0.04)) ** 2
    assert _lit(image).sum() == pytest.approx(expected, rel=0.03)


def test_the_nearer_surface_hides_the_farther():
    red, green = _sphere(0.05, 0.7, (0.9, 0.05, 0.05)), _sphere(0.2, 1.0, (0.05, 0.9, 0.05))
    for props in ([red, green], [green, red]):
        image = photograph(props, _camera(), np.random.default_rng(0)).astype(int)
        assert image[60, 60, 0] > image[60, 60, 1]
        assert image[60, 90, 1] > image[60, 90, 0]


def test_light_falls_from_outside():
    # Normals that point inwards would leave the upper left, where the key light stands, darker.
    image = photograph([_sphere(0.2, 1.0, (0.9, 0.9, 0.9))], _camera(), np.random.default_rng(0)).astype(int)
    assert image[40, 40].sum() > 1.25 * image[80, 75].sum()


def test_a_surface_behind_the_camera_is_an_error():
    with pytest.raises(ValueError, match="behind the camera"):
        photograph([_sphere(0.2, 0.1, (1.0, 1.0, 1.0))], _camera(), np.random.default_rng(0))

import math

import numpy as np
import pytest
import torch

from hands_lib.geometry.normals import vertex_normals
from hands_lib.structures import Camera, Mesh
from hands_lib.worlds.renderer import BACKGROUNDS, STUDIO_LIGHT, Scene, light_scene, render, surroundings
from hands_lib.worlds.texture import TEXELS


def _camera(size: int = 120) -> Camera:
    intrinsics = torch.tensor([[200.0, 0, (size - 1) / 2], [0, 200.0, (size - 1) / 2], [0, 0, 1]])
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))  # y up in the world, looking along -z
    return Camera(intrinsics[None], pose[None], size, size)


def _sphere(radius: float, depth: float, albedo, rings: int = 40) -> Scene:
    theta, phi = torch.meshgrid(
        torch.linspace(0, torch.pi, rings), torch.linspace(0, 2 * torch.pi, 2 * rings + 1)[:-1], indexing="ij"
    )
    points = torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], dim=-1)
    ring, step = torch.meshgrid(torch.arange(rings - 1), torch.arange(2 * rings), indexing="ij")
    a, b = (ring * 2 * rings + step).flatten(), (ring * 2 * rings + (step + 1) % (2 * rings)).flatten()
    faces = torch.cat(
        [torch.stack([a, a + 2 * rings, b + 2 * rings], -1), torch.stack([a, b + 2 * rings, b], -1)]
    )
    vertices = radius * points.flatten(0, 1) - torch.tensor([0.0, 0.0, depth])
    texels = torch.tensor([*albedo, 0.02]).repeat(len(faces), TEXELS, 1)
    return Scene(vertices, vertex_normals(Mesh(vertices, faces)), faces, texels)


def _both(first: Scene, second: Scene) -> Scene:
    start = len(first.vertices)
    return Scene(
        torch.cat([first.vertices, second.vertices]),
        torch.cat([first.normals, second.normals]),
        torch.cat([first.faces, second.faces + start]),
        torch.cat([first.texels, second.texels]),
    )


def test_a_sphere_covers_its_silhouette_and_edges_are_smoothed():
    image, face = render(_sphere(0.2, 1.0, (0.9, 0.9, 0.9)), _camera(), grain=0.0)
    # Silhouette of a sphere on the axis: a circle of radius f r / sqrt(d^2 - r^2).
    expected = math.pi * (200 * 0.2 / math.sqrt(1 - 0.04)) ** 2
    assert (face >= 0).sum() == pytest.approx(expected, rel=0.02)
    lit = (image[0].float() ** 2.2).sum(dim=-1)
    rim = (face[0] < 0) & (lit > 0)  # lit though its centre sees nothing
    assert 50 < rim.sum() < 400


def test_the_nearer_surface_hides_the_farther():
    red, green = _sphere(0.05, 0.7, (0.9, 0.05, 0.05)), _sphere(0.2, 1.0, (0.05, 0.9, 0.05))
    for scene in (_both(red, green), _both(green, red)):
        image, _ = render(scene, _camera(), grain=0.0)
        assert image[0, 60, 60, 0] > image[0, 60, 60, 1]
        assert image[0, 60, 90, 1] > image[0, 60, 90, 0]


def test_light_falls_from_outside_and_a_neighbour_casts_a_shadow():
    alone = _sphere(0.1, 1.0, (0.5, 0.5, 0.5))
    image, _ = render(alone, _camera(), grain=0.0)
    upper_left, lower_right = image[0, 52, 52].int().sum(), image[0, 68, 68].int().sum()
    assert upper_left > 1.15 * lower_right  # where the studio's key light stands
    blocker = _sphere(0.06, 1.0, (0.5, 0.5, 0.5))
    moved = Scene(blocker.vertices + 0.25 * STUDIO_LIGHT.key, blocker.normals, blocker.faces, blocker.texels)
    free, key_free = light_scene(alone, STUDIO_LIGHT)
    shaded, key_shaded = light_scene(_both(alone, moved), STUDIO_LIGHT)
    towards = int((alone.normals @ STUDIO_LIGHT.key).argmax())
    assert key_free[0, towards] > 0.95
    assert key_shaded[0, towards] < 0.3
    assert (shaded[towards] < 0.6 * free[towards]).all()


def test_ambient_light_on_a_lone_convex_body_is_unoccluded():
    scene = _sphere(0.1, 0.0, (0.5, 0.5, 0.5))
    _, visible = light_scene(scene, STUDIO_LIGHT)
    facing = scene.normals @ STUDIO_LIGHT.key
    assert visible[0][facing > 0.45].min() > 0.9
    assert visible[0][facing < -0.45].max() < 0.1


def test_the_same_seed_gives_the_same_picture_and_noise_has_the_asked_deviation():
    scene = _sphere(0.01, 1.0, (0.5, 0.5, 0.5))
    grey = surroundings("plain", torch.Generator().manual_seed(1), STUDIO_LIGHT)
    clean, noisy, again, other = (
        render(scene, _camera(), environment=grey, grain=grain, seed=seed)[0].float()
        for grain, seed in ((0.0, 0), (2.0, 0), (2.0, 0), (2.0, 1))
    )
    assert torch.equal(noisy, again)
    assert not torch.equal(noisy, other)
    assert (noisy - clean).std() == pytest.approx(2.0, rel=0.1)


def test_backgrounds_differ_and_black_is_black():
    images = {
        kind: surroundings(kind, torch.Generator().manual_seed(2), STUDIO_LIGHT) for kind in BACKGROUNDS
    }
    assert images["black"].max() == 0
    edges = {kind: abs(np.diff(image, axis=1)).mean() for kind, image in images.items()}
    assert edges["cluttered"] > 10 * edges["plain"]
    with pytest.raises(ValueError, match="beach.*studio"):
        surroundings("beach", torch.Generator(), STUDIO_LIGHT)


def test_a_surface_behind_the_camera_and_even_samples_are_errors():
    with pytest.raises(ValueError, match="behind a camera"):
        render(_sphere(0.2, 0.1, (1.0, 1.0, 1.0)), _camera())
    with pytest.raises(ValueError, match="odd number"):
        render(_sphere(0.2, 1.0, (1.0, 1.0, 1.0)), _camera(), samples=2)

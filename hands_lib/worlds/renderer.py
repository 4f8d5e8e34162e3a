"""Pictures of hands: texture, soft shadows, highlights, backgrounds.

Chapter  book/foundations/two_hand_world.md
Units    metres, pixels; colours are linear RGB until the last step, which gives 8-bit values (gamma 2.2)
Frames   world: y up; cameras as OpenCV's

Light arrives from all around: a soft key light, a rim light and the surroundings. For each of some fifty
directions a height map of the scene says which vertices it reaches, so shadows are soft and corners between
fingers dark (ambient occlusion). All of it belongs to the moment, not to the camera: every view of a moment
shares it. Skin scatters red light farther than blue: each colour reaches a little past the terminator.
Diffuse light is interpolated between the vertices, highlights and texture are evaluated at every sample of a
pixel.

Not differentiable. Everything about the hands that a label needs comes from the same rasterised faces.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from hands_lib.geometry.kernels.threads import for_ranges
from hands_lib.geometry.normals import vertex_normals
from hands_lib.hand.surface import surface_topology
from hands_lib.structures import Camera, Mesh
from hands_lib.worlds import shading_kernel
from hands_lib.worlds.texture import SUBDIVISION, TEXELS

BACKGROUNDS = ("black", "plain", "studio", "cluttered")
SAMPLES = 3  # along each side of a pixel; odd, so that one is the pixel's centre

_DIRECTIONS, _KEY_DIRECTIONS = 40, 12
_WRAPS = (0.28, 0.12, 0.08)  # of red, green and blue light
_BIAS = 0.0016  # metres off the surface where a vertex looks for its light
_RESOLUTION = 208  # of the height maps
_WRIST_RING = 30  # vertices of the refined surface's first palm ring, which come first


@dataclass(frozen=True)
class Lighting:
    """Directions point towards the lights."""

    key: Float[Tensor, "3"]
    rim: Float[Tensor, "3"]
    key_colour: Float[Tensor, "3"]
    rim_colour: Float[Tensor, "3"]
    sky: Float[Tensor, "3"]
    ground: Float[Tensor, "3"]


@dataclass(frozen=True)
class Scene:
    """Everything of one moment that a camera may see."""

    vertices: Float[Tensor, "vertex 3"]
    normals: Float[Tensor, "vertex 3"]
    faces: Int[Tensor, "face 3"]
    texels: Float[Tensor, "face texel 4"]
    """Red, green, blue, gloss: see `texture`."""


def random_lighting(generator: torch.Generator) -> Lighting:
    """A key light from above, a weaker one from the other side, and grey surroundings."""
    draw = torch.rand(8, generator=generator)
    azimuth = 2 * torch.pi * draw[0]
    warmth = 0.06 * (draw[1] - 0.5)

    def towards(angle, height):
        return torch.nn.functional.normalize(torch.stack([angle.sin(), height, angle.cos()]), dim=0)

    power = 2.1 + 0.8 * draw[2]
    ambient = 0.30 + 0.25 * draw[3]
    return Lighting(
        key=towards(azimuth, 0.7 + 0.6 * draw[4]),
        rim=towards(azimuth + 2.2 + 1.6 * draw[5], 0.2 + 0.5 * draw[6]),
        key_colour=power * torch.stack([1.0 + warmth, torch.tensor(1.0), 1.0 - 2 * warmth]),
        rim_colour=(0.35 + 0.4 * draw[7]) * torch.tensor([0.93, 1.0, 1.08]),
        sky=ambient * torch.tensor([0.95, 1.0, 1.06]),
        ground=0.55 * ambient * torch.tensor([1.06, 1.0, 0.92]),
    )


STUDIO_LIGHT = Lighting(
    key=torch.nn.functional.normalize(torch.tensor([-0.55, 0.75, 0.65]), dim=0),
    rim=torch.nn.functional.normalize(torch.tensor([0.7, 0.35, -0.6]), dim=0),
    key_colour=torch.tensor([2.5, 2.42, 2.3]),
    rim_colour=torch.tensor([0.55, 0.6, 0.66]),
    sky=torch.tensor([0.40, 0.42, 0.44]),
    ground=torch.tensor([0.24, 0.23, 0.21]),
)


def forearm(
    hand: Float[Tensor, "vertex 3"],
    direction: Float[Tensor, "3"],
    left: bool,
    sleeve: float,
    length: float = 0.3,
) -> Mesh:
    """Skin from the wrist's ring towards `direction` (unit, world), then, where `sleeve` >= 0, a cuff and
    cloth.

    Only for pictures: an arm is part of no label but what it hides. `_arm_plan` says which faces are cloth.
    """
    ring = hand[:_WRIST_RING]
    centre = ring.mean(dim=0)
    offsets = ring - centre
    # From the ring as it is to the same ring, flat and square to the arm.
    flat = offsets - (offsets @ direction)[:, None] * direction
    steps, swell, inner = _arm_plan(sleeve >= 0)
    along = torch.tensor(steps) * length
    if sleeve >= 0:
        along = torch.where(inner, along.clamp(max=sleeve + 0.02), sleeve + along)
    turned = (along / 0.03).clamp(max=1)[:, None, None]
    rings = centre + torch.lerp(offsets[None], flat[None], turned) * torch.tensor(swell)[:, None, None]
    rings = rings + along[:, None, None] * direction
    vertices = torch.cat([rings.flatten(0, 1), rings[-1:].mean(dim=1)])
    faces = _arm_faces(len(steps))
    return Mesh(vertices, faces.flip(-1) if left else faces)


@cache
def _arm_plan(sleeve: bool) -> tuple[tuple[float, ...], tuple[float, ...], Tensor]:
    """Where rings lie (parts of the length), how much they swell, and which belong to the skin."""
    skin = (0.0, 0.035, 0.08, 0.15, 0.25, 0.42, 0.68, 1.0)
    swells = (1.0, 1.0, 1.02, 1.06, 1.13, 1.24, 1.38, 1.45)
    if not sleeve:
        return skin, swells, torch.ones(len(skin), dtype=torch.bool)
    cloth = (0.010, 0.0, 0.0, 0.014, 0.045, 0.09, 0.15, 0.23, 0.34, 0.48, 0.64, 0.8)
    cloth_swells = (1.12, 1.14, 1.24, 1.29, 1.27, 1.33, 1.30, 1.37, 1.36, 1.44, 1.46, 1.52)
    inner = torch.tensor([True] * len(skin) + [False] * len(cloth))
    # Inside the sleeve the skin must not swell through the cloth.
    return (*skin, *cloth), (*(min(swell, 1.04) for swell in swells), *cloth_swells), inner


@cache
def _arm_faces(rings: int) -> Tensor:
    ring, column = torch.meshgrid(torch.arange(rings - 1), torch.arange(_WRIST_RING), indexing="ij")
    following = (column + 1) % _WRIST_RING
    a, b = (ring + 1) * _WRIST_RING + column, (ring + 1) * _WRIST_RING + following
    c, d = ring * _WRIST_RING + following, ring * _WRIST_RING + column
    tube = torch.cat([torch.stack(corner, dim=-1).flatten(0, 1) for corner in ((a, b, c), (a, c, d))])
    around = torch.arange(_WRIST_RING)
    last = (rings - 1) * _WRIST_RING
    end = torch.full_like(around, rings * _WRIST_RING)
    return torch.cat([tube, torch.stack([last + (around + 1) % _WRIST_RING, last + around, end], dim=-1)])


@cache
def _cap_faces() -> Tensor:
    """Which faces of the refined surface close the wrist: an arm hides them."""
    faces = surface_topology("refined").faces
    edge = surface_topology("refined")
    at_wrist = (edge.part == 0) & (edge.ring == 0)
    return at_wrist[faces].all(dim=1)


def build_scene(
    hands: Float[Tensor, "hand vertex 3"],
    hand_faces: list[Tensor],
    textures: Float[Tensor, "hand face texel 4"],
    arms: list[tuple[Tensor, bool] | None],
    skin: Float[Tensor, "3"],
    cloth: Float[Tensor, "3"],
    sleeve: float,
) -> Scene:
    """Hands first, in their order, then the arms that there are: (direction, whether it is a left one)."""
    vertices, faces, texels = [*hands], [*hand_faces], [*textures]
    meshes = [Mesh(h, f) for h, f in zip(hands, hand_faces, strict=True)]
    normals = [vertex_normals(mesh) for mesh in meshes]
    starts = np.cumsum([0, *(len(h) for h in hands)]).tolist()
    for n, arm in enumerate(arms):
        if arm is None:
            continue
        direction, left = arm
        mesh = forearm(hands[n], direction, left, sleeve)
        # Hand and arm are one surface to the light: its cap is inside.
        open_hand = Mesh(hands[n], hand_faces[n][~_cap_faces()])
        hand_normals, arm_normals = vertex_normals(open_hand), vertex_normals(mesh)
        seam = torch.nn.functional.normalize(hand_normals[:_WRIST_RING] + arm_normals[:_WRIST_RING], dim=-1)
        hand_normals[:_WRIST_RING] = arm_normals[:_WRIST_RING] = seam
        normals[n] = hand_normals
        rings = torch.arange(len(mesh.faces) - _WRIST_RING) % ((len(mesh.faces) - _WRIST_RING) // 2)
        is_cloth = torch.cat([rings // _WRIST_RING >= 8 - 1, torch.tensor([sleeve >= 0] * _WRIST_RING)])
        is_cloth &= sleeve >= 0
        colour = torch.where(is_cloth[:, None], cloth, skin)
        gloss = torch.where(is_cloth, 0.004, 0.03)
        texel = torch.cat([colour, gloss[:, None]], dim=-1)[:, None].repeat(1, TEXELS, 1)
        vertices.append(mesh.vertices)
        normals.append(arm_normals)
        faces.append(mesh.faces)
        texels.append(texel)
        starts.append(starts[-1] + len(mesh.vertices))
    return Scene(
        vertices=torch.cat(vertices),
        normals=torch.cat(normals),
        faces=torch.cat([f + s for f, s in zip(faces, starts[: len(faces)], strict=True)]),
        texels=torch.cat(texels),
    )


@cache
def _fibonacci(num: int) -> Float[np.ndarray, "num 3"]:
    """Directions spread evenly over the sphere."""
    n = np.arange(num) + 0.5
    z, angle = 1 - 2 * n / num, np.pi * (1 + 5**0.5) * n
    return np.stack([np.sqrt(1 - z**2) * np.cos(angle), z, np.sqrt(1 - z**2) * np.sin(angle)], axis=-1)


def _light_directions(lighting: Lighting) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions, their weights (radiance times solid angle over pi), and which of them make up the key
    light."""
    around = _fibonacci(_DIRECTIONS)
    up = (around[:, 1:2] + 1) / 2
    weights = (lighting.ground.numpy() * (1 - up) + lighting.sky.numpy() * up) * (4 / _DIRECTIONS)
    toward_rim = around @ lighting.rim.numpy()
    lobe = np.exp(6 * (toward_rim - 1))
    weights = weights + lighting.rim_colour.numpy() * (lobe / lobe.sum())[:, None]
    # The key light is a disc of 25 degrees.
    key = lighting.key.numpy().astype(np.float64)
    across = np.cross(key, [0.0, 1.0, 0.0] if abs(key[1]) < 0.9 else [1.0, 0, 0])
    across /= np.linalg.norm(across)
    other = np.cross(key, across)
    n = np.arange(_KEY_DIRECTIONS) + 0.5
    radius, angle = np.tan(np.deg2rad(13)) * np.sqrt(n / _KEY_DIRECTIONS), np.pi * (1 + 5**0.5) * n
    disc = key + radius[:, None] * (np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * other)
    disc /= np.linalg.norm(disc, axis=1, keepdims=True)
    key_weights = np.repeat(lighting.key_colour.numpy()[None] / _KEY_DIRECTIONS, _KEY_DIRECTIONS, axis=0)
    directions = np.concatenate([around, disc])
    is_key = np.arange(len(directions)) >= _DIRECTIONS
    return directions, np.concatenate([weights, key_weights]).astype(np.float32), is_key


def light_scene(
    scene: Scene, lighting: Lighting
) -> tuple[Float[np.ndarray, "vertex 3"], Float[np.ndarray, "2 vertex"]]:
    """Irradiance of every vertex, over pi, and how much of the key and of the rim light it sees."""
    directions, weights, is_key = _light_directions(lighting)
    across = np.cross(directions, np.where(np.abs(directions[:, 1:2]) < 0.9, [[0.0, 1, 0]], [[1.0, 0, 0]]))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    bases = np.stack([across, np.cross(directions, across), directions], axis=1)
    vertices = scene.vertices.numpy().astype(np.float64)
    centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    vertices = vertices - centre
    radius = float(np.linalg.norm(vertices, axis=1).max()) * 1.02
    num = len(vertices)
    lit, visible = (
        np.empty((len(directions), num, 3), np.float32),
        np.empty((len(directions), num), np.float32),
    )
    normals, faces, wraps = scene.normals.numpy(), scene.faces.numpy(), np.array(_WRAPS)

    def work(start: int, stop: int) -> None:
        shading_kernel.light_vertices(
            start,
            stop,
            vertices,
            normals,
            faces,
            bases,
            radius,
            _RESOLUTION,
            _BIAS,
            weights,
            wraps,
            lit,
            visible,
        )

    for_ranges(work, len(directions), grain=4)
    rim = int(np.argmax(directions[:_DIRECTIONS] @ lighting.rim.numpy()))
    irradiance = lit.sum(axis=0)
    # Light that was reflected once by skin: a small warm share where much is hidden.
    hidden = 1 - visible[:_DIRECTIONS].mean(axis=0)
    bounce = 0.22 * hidden[:, None] * np.array([1.0, 0.62, 0.5]) * weights.sum(axis=0) * 0.25
    return (irradiance + bounce).astype(np.float32), np.stack([visible[is_key].mean(axis=0), visible[rim]])


def surroundings(
    kind: str, generator: torch.Generator, lighting: Lighting
) -> Float[np.ndarray, "height width 3"]:
    """What lies behind the hands, by direction: rows from straight up to straight down, columns around."""
    height, width = 384, 768
    if kind == "black":
        return np.zeros((height, width, 3), np.float32)
    down, around = np.mgrid[0:height, 0:width].astype(np.float64)
    elevation, azimuth = np.pi * (0.5 - down / (height - 1)), 2 * np.pi * (around / width - 0.5)
    draw = torch.rand(256, 8, generator=generator).double().numpy()
    if kind == "plain":
        tone = 0.08 + 0.5 * draw[0, 0]
        tint = 1 + 0.25 * (draw[0, 1:4] - 0.5)
        return (tone * tint * (1 + 0.35 * np.sin(elevation))[..., None]).astype(np.float32)
    if kind == "studio":
        image = (0.006 + 0.012 * np.exp(-((elevation - 0.1) ** 2) / 0.4))[..., None] * np.array(
            [0.8, 1.0, 1.06]
        )
        for lamp in draw[:120]:
            where = (lamp[0] - 0.5) * 2 * np.pi, (lamp[1] - 0.45) * 2.4
            rows, columns = _window(where, 0.35, image)
            turn = np.angle(np.exp(1j * (azimuth[rows, columns] - where[0]))) * np.cos(where[1])
            distance = np.hypot(turn, elevation[rows, columns] - where[1])
            glow = 0.8 / (1 + (distance / 0.012) ** 6) + 0.02 * np.exp(-distance / 0.05)
            image[rows, columns] += (0.3 + lamp[2]) * glow[..., None] * np.array([1.0, 0.94, 0.84])
        return image.astype(np.float32)
    if kind != "cluttered":
        raise ValueError(f"unknown background {kind!r}; known are {', '.join(BACKGROUNDS)}")
    image = np.broadcast_to(0.10 + 0.35 * draw[0, :3], (height, width, 3)) * np.ones((height, width, 1))
    floor = elevation < -0.25 - 0.3 * draw[0, 3]
    image = np.where(floor[..., None], 0.04 + 0.3 * draw[1, :3], image)
    for thing in draw[2:]:
        where = (thing[0] - 0.5) * 2 * np.pi, (thing[1] - 0.55) * 1.8
        size = 0.02 + 0.2 * thing[2] ** 3, 0.02 + 0.28 * thing[3] ** 3
        rows, columns = _window(where, max(size), image)
        turn = np.angle(np.exp(1j * (azimuth[rows, columns] - where[0]))) / size[0]
        rise = (elevation[rows, columns] - where[1]) / size[1]
        sharp = 2 if thing[4] < 0.3 else 10
        inside = (np.abs(turn) ** sharp + np.abs(rise) ** sharp) < 1
        tone = 0.02 + 0.75 * thing[4] ** 2
        shade = 1 + 0.25 * rise[..., None] + 0.15 * turn[..., None]
        colour = tone * (1 + 0.9 * (np.roll(thing, 3)[:3] - 0.5)) * shade
        if thing[5] < 0.3:  # stripes: shelves, books, blinds
            wave = np.sin((4 + 12 * thing[6]) * (turn if thing[7] < 0.5 else rise))
            colour = colour * (0.55 + 0.45 * (wave > 0))[..., None]
        image[rows, columns] = np.where(inside[..., None], colour, image[rows, columns])
    for _ in range(2):  # slightly out of focus
        image = (np.roll(image, 1, 1) + 2 * image + np.roll(image, -1, 1)) / 4
        image[1:-1] = (image[:-2] + 2 * image[1:-1] + image[2:]) / 4
    return np.clip(0.75 * image, 0, 1.5).astype(np.float32)


def _window(where: tuple[float, float], reach: float, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the surroundings within `reach` radians of a direction (azimuth, elevation)."""
    height, width = image.shape[:2]
    row, rows = (0.5 - where[1] / np.pi) * (height - 1), reach / np.pi * height + 1
    column, columns = (
        (where[0] / (2 * np.pi) + 0.5) * width,
        min(reach / (2 * np.pi) * width + 1, width / 2 - 1),
    )
    low, high = max(int(row - rows), 0), min(int(row + rows) + 2, height)
    around = np.arange(int(column - columns), int(column + columns) + 2) % width
    return np.arange(low, max(high, low))[:, None], around[None]


def to_pixels(
    vertices: Float[Tensor, "*views vertex 3"], camera: Camera
) -> tuple[Float[np.ndarray, "view vertex 3"], Float[np.ndarray, "view vertex"]]:
    """Homogeneous pixel coordinates and depths in float64, as the rasteriser wants them."""
    pose = camera.camera_from_world.double()
    seen = vertices.double() @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
    homogeneous = seen @ camera.intrinsics.double().mT
    return homogeneous.numpy(), np.ascontiguousarray(seen[..., 2].numpy())


def render(
    scene: Scene,
    camera: Camera,
    lighting: Lighting = STUDIO_LIGHT,
    environment: Float[np.ndarray, "rows columns 3"] | None = None,
    grain: float = 1.2,
    seed: int = 0,
    samples: int = SAMPLES,
) -> tuple[UInt8[Tensor, "view height width 3"], Int[Tensor, "view height width"]]:
    """Pictures of all cameras (one batch dimension), and the scene's face at every pixel's centre, -1 for
    none.

    environment  `surroundings`; black by default
    grain        deviation of the sensor's noise, grey levels of 255
    samples      points along each side of a pixel, odd

    Raises ValueError for an even number of samples and for a vertex behind a camera.
    """
    if samples % 2 == 0 or samples < 1:
        raise ValueError(f"a pixel has an odd number of samples along each side, not {samples}")
    homogeneous, depths = to_pixels(scene.vertices, camera)
    if depths.min() <= 0:
        raise ValueError(f"a vertex lies behind a camera, at a depth of {depths.min():.3f} m")
    # Sample (u', v') of the finer grid: u' = n (u + 1/2) - 1/2.
    fine = homogeneous * [samples, samples, 1]
    fine[..., :2] += (samples - 1) / 2 * homogeneous[..., 2:]
    irradiance, visible = light_scene(scene, lighting)
    rotation = camera.camera_from_world[:, :3, :3].double()
    eyes = -(rotation.mT @ camera.camera_from_world[:, :3, 3:].double())[..., 0]
    rays = (rotation.mT @ torch.linalg.inv(camera.intrinsics.double())).numpy()
    if environment is None:
        environment = np.zeros((2, 1, 3), np.float32)
    lamps = torch.stack([lighting.key, lighting.rim]).double().numpy()
    lamp_colours = 0.9 * torch.stack([lighting.key_colour, lighting.rim_colour]).double().numpy()
    num = len(depths)
    image = torch.empty(num, camera.height, camera.width, 3, dtype=torch.uint8)
    face = torch.empty(num, camera.height, camera.width, dtype=torch.int16)
    seeds = np.random.Philox(key=seed).random_raw(num).astype(np.uint64)
    arrays = (
        fine, depths, scene.faces.numpy(), scene.vertices.numpy(), scene.normals.numpy(),
        scene.texels.numpy(),
    )  # fmt: skip

    def work(start: int, stop: int) -> None:
        shading_kernel.render_views(
            start, stop, samples, *arrays, SUBDIVISION, irradiance, lamps, lamp_colours, visible,
            eyes.numpy(), rays, environment, 1.0, grain, seeds, image.numpy(), face.numpy(),
        )  # fmt: skip

    for_ranges(work, num, grain=1)
    return image, face

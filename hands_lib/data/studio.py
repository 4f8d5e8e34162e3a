"""Pictures of hands in a dark studio, for captures that the project makes itself.

Units   metres, pixels
Frames  world as in the generated captures (y down); cameras as OpenCV's

A plain z-buffer in numpy with per-pixel normals: good enough for a handful of photographs. It is not
differentiable and not meant for training.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from hands_lib.structures import Camera

_SUPERSAMPLING = 2
# Key light from the upper left, fill from the right, rim from behind: direction to the light, linear RGB.
_LIGHTS = (
    ((-0.55, -0.75, -0.65), (2.7, 2.5, 2.25)),
    ((0.80, -0.10, -0.60), (0.48, 0.56, 0.68)),
    ((0.25, -0.55, 0.80), (0.75, 0.80, 0.90)),
)
_AMBIENT = (0.075, 0.085, 0.095)
_WRAP = 0.25  # light that skin carries past the terminator


@dataclass(frozen=True)
class Prop:
    """A closed surface with colours, in the world."""

    vertices: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    albedo: Float[np.ndarray, "vertex 3"]
    """Linear RGB."""
    gloss: float = 0.0


def vertex_normals(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "vertex 3"]:
    """Unit normals, faces weighted by area."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    face_normals = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], face_normals)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


def photograph(
    props: list[Prop],
    camera: Camera,
    generator: np.random.Generator,
    lamps: Float[np.ndarray, "lamp 2"] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """What `camera` sees of the props: z-buffer, three lights, sensor noise, and lamps in the background.

    `lamps` are their places in the image, as fractions of its width and height. Raises ValueError where a
    vertex lies behind the camera.
    """
    height, width = camera.height * _SUPERSAMPLING, camera.width * _SUPERSAMPLING
    camera_from_world = camera.camera_from_world.double().numpy()
    intrinsics = camera.intrinsics.double().numpy().copy()
    # Pixel centres of the finer grid: u' = s (u + 1/2) - 1/2.
    intrinsics[:2, :2] *= _SUPERSAMPLING
    intrinsics[:2, 2] = (intrinsics[:2, 2] + 0.5) * _SUPERSAMPLING - 0.5

    counts = np.cumsum([0, *(len(prop.vertices) for prop in props)])
    vertices = np.concatenate([prop.vertices for prop in props])
    faces = np.concatenate([prop.faces + start for prop, start in zip(props, counts[:-1], strict=True)])
    normals = np.concatenate([vertex_normals(prop.vertices, prop.faces) for prop in props])
    albedo = np.concatenate([prop.albedo for prop in props])
    gloss = np.repeat([prop.gloss for prop in props], np.diff(counts))

    in_camera = vertices @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    # The background is smooth: no need for the finer grid.
    background = _background(camera.height, camera.width, lamps)
    image = background.repeat(_SUPERSAMPLING, axis=0).repeat(_SUPERSAMPLING, axis=1)
    pixel, face, weights = _z_buffer(in_camera, faces, intrinsics, height, width)
    if len(pixel):
        position, normal, colour, shine = (
            (values[faces[face]] * weights[..., None]).sum(axis=1)
            for values in (vertices, normals, albedo, gloss[:, None])
        )
        eye = -camera_from_world[:3, :3].T @ camera_from_world[:3, 3]
        image.reshape(-1, 3)[pixel] = _shade(position, normal, colour, shine, eye)
    image = image.reshape(camera.height, _SUPERSAMPLING, camera.width, _SUPERSAMPLING, 3).mean(axis=(1, 3))
    encoded = np.clip(image, 0, 1) ** (1 / 2.2) * 255 + generator.normal(0, 1.6, image.shape)
    return np.clip(encoded.round(), 0, 255).astype(np.uint8)


def _z_buffer(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    intrinsics: Float[np.ndarray, "3 3"],
    height: int,
    width: int,
) -> tuple[Int[np.ndarray, "hit"], Int[np.ndarray, "hit"], Float[np.ndarray, "hit 3"]]:
    """Covered pixels (row-major), their nearest faces, and perspective-correct barycentric weights."""
    if vertices[:, 2].min() <= 0:
        raise ValueError(f"a vertex lies behind the camera, at a depth of {vertices[:, 2].min():.3f} m")
    projected = vertices @ intrinsics.T
    corners = (projected[:, :2] / projected[:, 2:])[faces]
    low = np.maximum(np.ceil(corners.min(axis=1)), 0).astype(int)
    high = np.minimum(np.floor(corners.max(axis=1)), (width - 1, height - 1)).astype(int)
    area = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    columns, rows = (np.maximum(high - low + 1, 0) * (area < 0)[:, None]).T  # only faces that look at us
    # All pixels of all bounding boxes as one list of candidates.
    face = np.repeat(np.arange(len(faces)), columns * rows)
    within = np.arange(len(face)) - np.repeat(np.cumsum(columns * rows) - columns * rows, columns * rows)
    x = low[face, 0] + within % columns[face]
    y = low[face, 1] + within // columns[face]

    a, b, c = corners[face].transpose(1, 0, 2)
    point = np.stack([x, y], axis=-1)
    flat = np.stack([_cross(b - point, c - point), _cross(c - point, a - point)], axis=-1) / area[face, None]
    flat = np.concatenate([flat, 1 - flat.sum(axis=-1, keepdims=True)], axis=-1)
    inside = (flat >= 0).all(axis=-1)
    face, x, y, flat = face[inside], x[inside], y[inside], flat[inside]
    weights = flat / vertices[faces[face], 2]
    depth = 1 / weights.sum(axis=-1)
    weights = weights * depth[:, None]
    pixel = y * width + x
    order = np.lexsort((face, depth, pixel))
    pixel, first = np.unique(pixel[order], return_index=True)
    nearest = order[first]
    return pixel, face[nearest], weights[nearest]


def _cross(a: Float[np.ndarray, "*n 2"], b: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n"]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _shade(
    position: Float[np.ndarray, "hit 3"],
    normal: Float[np.ndarray, "hit 3"],
    albedo: Float[np.ndarray, "hit 3"],
    gloss: Float[np.ndarray, "hit 1"],
    eye: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "hit 3"]:
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    view = eye - position
    view /= np.linalg.norm(view, axis=-1, keepdims=True)
    colour = albedo * _AMBIENT
    for direction, power in _LIGHTS:
        light = np.asarray(direction) / np.linalg.norm(direction)
        diffuse = np.clip((normal @ light + _WRAP) / (1 + _WRAP), 0, 1)[:, None]
        half = view + light
        half /= np.linalg.norm(half, axis=-1, keepdims=True)
        shine = np.clip((normal * half).sum(axis=-1, keepdims=True), 0, 1) ** 28
        colour = colour + np.asarray(power) * (albedo / np.pi * diffuse + gloss * shine * diffuse)
    return colour


def _background(
    height: int, width: int, lamps: Float[np.ndarray, "lamp 2"] | None
) -> Float[np.ndarray, "{height} {width} 3"]:
    y, x = np.mgrid[0:height, 0:width] / height
    wall = 0.004 + 0.010 * np.exp(-((x - 0.45) ** 2 + (y - 0.35) ** 2) / 0.15)
    image = wall[..., None] * (0.75, 1.0, 1.05)
    for column, row in [] if lamps is None else lamps:
        distance = np.hypot(x - column * width / height, y - row)
        glow = 0.9 / (1 + (distance / 0.006) ** 4) + 0.02 * np.exp(-distance / 0.02)
        image = image + glow[..., None] * (1.0, 0.93, 0.82)
    return image

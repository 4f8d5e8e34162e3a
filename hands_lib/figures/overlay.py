"""Surfaces drawn over a photograph."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.colors import to_rgb

from hands_lib.geometry.normals import vertex_normals
from hands_lib.geometry.raster import rasterize
from hands_lib.structures import Camera, Mesh


def shaded_overlay(
    meshes: Sequence[tuple[Mesh, str]], camera: Camera, opacity: float = 0.75
) -> Float[np.ndarray, "height width 4"]:
    """Surfaces as the camera sees them, to be laid over its photograph: red, green, blue, opacity in [0, 1].

    Each mesh (world, metres) comes with its colour; where several are seen the nearest wins. Brightness is
    that of a lamp at the camera.
    """
    picture = torch.zeros(camera.height, camera.width, 4)
    nearest = torch.full((camera.height, camera.width), torch.inf)
    for mesh, colour in meshes:
        mesh = Mesh(mesh.vertices.detach().float().cpu(), mesh.faces.cpu())
        seen = rasterize(mesh, camera)
        normals = vertex_normals(Mesh(camera.transform(mesh.vertices), mesh.faces))
        towards_lamp = -torch.nn.functional.normalize(seen.interpolate(mesh.faces, normals), dim=-1)[..., 2]
        shade = (0.35 + 0.65 * towards_lamp.clamp(min=0))[..., None] * torch.tensor(to_rgb(colour))
        layer = torch.cat([shade, torch.full_like(shade[..., :1], opacity)], dim=-1)
        in_front = seen.foreground & (seen.depth < nearest)
        picture[in_front] = layer[in_front]
        nearest[in_front] = seen.depth[in_front]
    return picture.numpy()

"""Volume rendering: rays, places along them, and how much each place counts in a pixel.

Units   metres along a ray from the camera's centre; densities in 1 / metre; pixels
Frames  world; pixel (0, 0) is the centre of the upper left pixel

A ray is cut into cells, one around each sample, that fill the interval it is looked at in; inside a cell the
density is that of its sample. For a constant density the quadrature is then exact.
(Kajiya and von Herzen 1984; Max 1995; Mildenhall et al., "NeRF", 2020, Eq. 3.)
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.structures import Camera, unrounded


def pixel_rays(
    camera: Camera, pixels: Float[Tensor, "*batch pixel 2"]
) -> tuple[Float[Tensor, "*batch pixel 3"], Float[Tensor, "*batch pixel 3"]]:
    """Origins and unit directions, in the world, of the rays through pixels (x, y) of perspective cameras.

    Raises ValueError for an orthographic camera.
    """
    if camera.projection != "perspective":
        raise ValueError(f"pixel_rays needs a perspective camera, not an {camera.projection} one")
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)
    rotation = camera.camera_from_world[..., :3, :3]
    with unrounded(pixels):
        in_camera = homogeneous @ torch.linalg.inv(camera.intrinsics).mT
        directions = torch.nn.functional.normalize(in_camera @ rotation, dim=-1)
        centre = -(camera.camera_from_world[..., None, :3, 3] @ rotation)
    return centre.expand_as(directions), directions


def box_interval(
    origins: Float[Tensor, "*batch ray 3"],
    directions: Float[Tensor, "*batch ray 3"],
    low: Float[Tensor, "*batch 3"],
    high: Float[Tensor, "*batch 3"],
) -> tuple[Float[Tensor, "*batch ray"], Float[Tensor, "*batch ray"]]:
    """Where rays enter and leave an axis-aligned box, not before their origin. A ray that misses the box has
    an empty interval: far == near."""
    tiny = torch.finfo(directions.dtype).tiny
    slope = torch.where(directions.abs() < tiny, tiny, directions)
    to_low, to_high = (low[..., None, :] - origins) / slope, (high[..., None, :] - origins) / slope
    near = torch.minimum(to_low, to_high).amax(dim=-1).clamp(min=0)
    far = torch.maximum(to_low, to_high).amin(dim=-1)
    return near, far.maximum(near)


def stratified_depths(
    near: Float[Tensor, "*ray"],
    far: Float[Tensor, "*ray"],
    num: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*ray {num}"]:
    """One depth in each of `num` equal parts of the interval: at random with a generator, else the middle."""
    shape = (*near.shape, num)
    if generator is None:
        jitter = near.new_full(shape, 0.5)
    else:
        jitter = torch.rand(shape, generator=generator, dtype=near.dtype, device=near.device)
    share = (torch.arange(num, device=near.device, dtype=near.dtype) + jitter) / num
    return near[..., None] + (far - near)[..., None] * share


def cell_edges(
    depths: Float[Tensor, "*ray sample"], near: Float[Tensor, "*ray"], far: Float[Tensor, "*ray"]
) -> Float[Tensor, "*ray edge"]:
    """Edges of the cells around rising samples: half way between neighbours, near and far outside."""
    middle = (depths[..., 1:] + depths[..., :-1]) / 2
    return torch.cat([near[..., None], middle, far[..., None]], dim=-1)


def importance_depths(
    edges: Float[Tensor, "*ray edge"],
    weights: Float[Tensor, "*ray sample"],
    num: int,
    generator: torch.Generator | None = None,
    floor: float = 1e-5,
) -> Float[Tensor, "*ray {num}"]:
    """Depths drawn from the cells in proportion to their weights, uniformly within a cell; rising.

    One draw in each of `num` equal parts of the probability, at random with a generator, else its middle.

    floor  added to each weight, so that a ray that met nothing is sampled evenly by cells
    """
    probability = weights.detach() + floor
    probability = probability / probability.sum(dim=-1, keepdim=True)
    below = torch.cat([torch.zeros_like(probability[..., :1]), probability.cumsum(dim=-1)], dim=-1)
    zero, one = torch.zeros_like(edges[..., 0]), torch.ones_like(edges[..., 0])
    drawn = stratified_depths(zero, one, num, generator) * below[..., -1:]
    cell = torch.searchsorted(below, drawn.contiguous(), right=True).clamp(1, weights.shape[-1]) - 1
    share = (drawn - below.gather(-1, cell)) / probability.gather(-1, cell)
    start = edges.gather(-1, cell)
    return start + share.clamp(0, 1) * (edges.gather(-1, cell + 1) - start)


def ray_weights(
    densities: Float[Tensor, "*ray sample"], lengths: Float[Tensor, "*ray sample"]
) -> tuple[Float[Tensor, "*ray sample"], Float[Tensor, "*ray sample"]]:
    """How much each cell counts in its pixel, and the light that reaches it: T_i (1 - exp(-sigma_i l_i)) and
    T_i = exp(-sum over the cells in front). The weights of a ray add up to its opacity."""
    depth = densities * lengths
    in_front = depth.cumsum(dim=-1) - depth
    reaching = torch.exp(-in_front)
    return reaching * -torch.expm1(-depth), reaching


def largest_weights(
    least: Float[Tensor, "*ray sample"],
    most: Float[Tensor, "*ray sample"],
    lengths: Float[Tensor, "*ray sample"],
) -> Float[Tensor, "*ray sample"]:
    """An upper bound of every cell's weight when its density is only known to lie in [least, most].

    Of what the cells in front let through at most, the most it can stop. Leaving cells out changes no colour
    in [0, 1] by more than the sum of their bounds: a cell's own part and what it would have hidden have
    opposite signs, and the argument goes from the last cell to the first.
    """
    in_front = least * lengths
    reaching = torch.exp(-(in_front.cumsum(dim=-1) - in_front))
    return reaching * -torch.expm1(-most * lengths)

"""Pictures of the field: coarse samples along each ray, then more where they found something.

Units  metres, pixels; colours in [0, 1]; the background is black

Nothing is evaluated where it cannot be seen. Eq. 1 bounds the density at a point by its signed distance; the
bounds of all densities on a ray bound the weight of each sample; and a sample whose weight cannot matter is
left out. What "matter" means is `tolerance`: no pixel changes by more than that.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.methods.va_nerf.network import Observation, Readings, VANeRF
from hands_lib.methods.va_nerf.observation import Located, chosen
from hands_lib.render.volume import (
    box_interval,
    cell_edges,
    importance_depths,
    largest_weights,
    pixel_rays,
    ray_weights,
    stratified_depths,
)
from hands_lib.structures import Camera


@dataclass(frozen=True)
class RenderSettings:
    """How rays are sampled. The defaults are the paper's."""

    coarse: int = 64
    fine: int = 64
    """Added to the coarse ones, which are not evaluated again: 128 in all."""
    margin: float = 0.05
    """Of the box around the hands, beyond which nothing is looked at, metres."""
    tolerance: float = 1e-5
    """How much leaving samples out may change a colour. 0 evaluates every sample in the box."""


@dataclass(frozen=True)
class Rendering:
    """What rays see."""

    colour: Float[Tensor, "scene ray 3"]
    opacity: Float[Tensor, "scene ray"]
    depth: Float[Tensor, "scene ray"]
    """Mean distance from the camera's centre at which light is stopped, metres; what passes counts as 0."""
    coarse_colour: Float[Tensor, "scene ray 3"] | None
    """By the coarse samples alone, where it was asked for."""
    num_densities: int
    """How many samples the density was evaluated at,"""
    num_colours: int
    """how many the colour,"""
    num_samples: int
    """and how many there are."""


def hand_box(
    observation: Observation, margin: float
) -> tuple[Float[Tensor, "scene 3"], Float[Tensor, "scene 3"]]:
    """Low and high corner of the box around both hands, metres."""
    vertices = observation.view.vertices.flatten(1, 2)
    return vertices.amin(dim=1) - margin, vertices.amax(dim=1) + margin


def render_rays(
    net: VANeRF,
    observation: Observation,
    origins: Float[Tensor, "scene ray 3"],
    directions: Float[Tensor, "scene ray 3"],
    settings: RenderSettings,
    generator: torch.Generator | None = None,
    with_coarse: bool = False,
) -> Rendering:
    """Colours of rays through the field.

    directions  unit
    generator   draws the samples' depths; without one they are fixed
    with_coarse whether the picture by the coarse samples is wanted too
    """
    near, far = box_interval(origins, directions, *hand_box(observation, settings.margin))
    depths = stratified_depths(near, far, settings.coarse, generator)
    edges = cell_edges(depths, near, far)
    samples = _Samples(net, observation, origins, directions, settings.tolerance)
    samples.add(depths)
    samples.evaluate(edges.diff(dim=-1))
    coarse_weights, _ = ray_weights(samples.density, edges.diff(dim=-1))

    samples.add(importance_depths(edges, coarse_weights, settings.fine, generator))
    order = samples.depth.argsort(dim=-1, stable=True)
    back = order.argsort(dim=-1)
    lengths = cell_edges(samples.depth.gather(-1, order), near, far).diff(dim=-1)
    samples.evaluate(lengths, order)
    weights = ray_weights(samples.density.gather(-1, order), lengths)[0].gather(-1, back)

    seen = samples.matter(weights.detach())
    if with_coarse:
        seen[..., : settings.coarse] |= samples.matter(coarse_weights.detach())
    seen &= samples.evaluated
    colours = samples.colours(seen)
    coarse_colour = None
    if with_coarse:
        coarse_colour = (coarse_weights[..., None] * colours[..., : settings.coarse, :]).sum(dim=-2)
    return Rendering(
        (weights[..., None] * colours).sum(dim=-2),
        weights.sum(dim=-1),
        (weights * samples.depth).sum(dim=-1),
        coarse_colour,
        int(samples.evaluated.sum()),
        int(seen.sum()),
        int((lengths > 0).sum()),
    )


class _Samples:
    """The samples of some rays in the order in which they were added, and what is known of each so far."""

    def __init__(
        self, net: VANeRF, observation: Observation, origins: Tensor, directions: Tensor, tolerance: float
    ):
        self.net, self.observation = net, observation
        self.origins, self.directions = origins, directions
        self.tolerance = tolerance
        self.depth = self.density = self.least = self.most = origins.new_empty(*origins.shape[:2], 0)
        self.evaluated = self.depth.bool()
        self.slot = self.depth.long()  # place in the list of those evaluated
        self.located: Located | None = None
        self.known: list[tuple[Readings, Tensor]] = []  # with the features of the geometry branch

    def add(self, depths: Float[Tensor, "scene ray sample"]) -> None:
        points = self.origins[:, :, None] + depths[..., None] * self.directions[:, :, None]
        located = self.net.locate(self.observation, points)
        if self.located is not None:
            both = [
                torch.cat([getattr(part, f.name) for part in (self.located, located)], dim=2)
                for f in fields(Located)
            ]
            located = Located(*both)
        self.located = located
        least, most = self.net.density_bounds(located.distance[..., self.depth.shape[-1] :])
        nothing = torch.zeros_like(depths)
        self.depth = torch.cat([self.depth, depths], dim=-1)
        self.least = torch.cat([self.least, least], dim=-1)
        self.most = torch.cat([self.most, most], dim=-1)
        self.density = torch.cat([self.density, nothing], dim=-1)
        self.evaluated = torch.cat([self.evaluated, nothing.bool()], dim=-1)
        self.slot = torch.cat([self.slot, nothing.long()], dim=-1)

    def evaluate(
        self, lengths: Float[Tensor, "scene ray sample"], order: Int[Tensor, "scene ray sample"] | None = None
    ) -> None:
        """Densities of those samples that may matter and are not known yet.

        lengths  of the cells, in the order of depth
        order    of the samples by depth, where it is not that of their adding
        """
        least, most = self.least, self.most
        if order is not None:
            least, most = least.gather(-1, order), most.gather(-1, order)
        wanted = self.matter(largest_weights(least, most, lengths)) & (lengths > 0)
        if order is not None:
            wanted = wanted.gather(-1, order.argsort(dim=-1))
        wanted &= ~self.evaluated
        readings = self.net.read(self.observation, chosen(self.located, wanted))
        density, latent = self.net.density(self.observation, readings)
        first = sum(len(latent) for _, latent in self.known)
        slots = torch.arange(first, first + len(density), device=density.device)
        self.known.append((readings, latent))
        self.density = self.density.masked_scatter(wanted, density)
        self.slot = self.slot.masked_scatter(wanted, slots)
        self.evaluated = self.evaluated | wanted
        # What is known needs no bounds any more.
        self.least = torch.where(wanted, self.density.detach(), self.least)
        self.most = torch.where(wanted, self.density.detach(), self.most)

    def matter(self, weights: Float[Tensor, "scene ray sample"]) -> Bool[Tensor, "scene ray sample"]:
        """Densities and colours share the tolerance of a ray, and so do its samples."""
        if self.tolerance == 0:
            return torch.ones_like(weights, dtype=torch.bool)
        return weights > self.tolerance / (2 * weights.shape[-1])

    def colours(self, wanted: Bool[Tensor, "scene ray sample"]) -> Float[Tensor, "scene ray sample 3"]:
        """0 where they are not wanted."""
        slot = self.slot[wanted]
        readings = Readings(
            *(torch.cat([getattr(part, f.name) for part, _ in self.known])[slot] for f in fields(Readings))
        )
        latent = torch.cat([latent for _, latent in self.known])[slot]
        colour = self.net.colour(self.observation, readings, latent)
        everywhere = colour.new_zeros(*wanted.shape, 3)
        return everywhere.masked_scatter(wanted[..., None], colour)


def picture_rays(
    camera: Camera,
) -> tuple[Float[Tensor, "scene height width 3"], Float[Tensor, "scene height width 3"]]:
    """Origins and unit directions of the rays through every pixel of each scene's picture."""
    sides = (torch.arange(side, device=camera.intrinsics.device) for side in (camera.height, camera.width))
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).flatten(0, 1).to(camera.intrinsics.dtype)
    rays = pixel_rays(camera, pixels.expand(len(camera.intrinsics), -1, 2))
    origins, directions = (part.unflatten(1, (camera.height, camera.width)) for part in rays)
    return origins, directions


def render_picture(
    net: VANeRF,
    observation: Observation,
    camera: Camera,
    settings: RenderSettings,
    rays_at_once: int = 16_384,
) -> tuple[Float[Tensor, "scene height width 3"], Float[Tensor, "scene height width"]]:
    """Whole pictures and their opacity, one camera for each scene; without gradients.

    rays_at_once  bounds the memory, and changes nothing else
    """
    num_scenes = len(camera.intrinsics)
    origins, directions = (part.flatten(1, 2) for part in picture_rays(camera))
    near, far = box_interval(origins, directions, *hand_box(observation, settings.margin))
    # Rays that meet the box of any scene; the others see the background.
    meeting = (far > near).any(dim=0).nonzero()[:, 0]
    colour = torch.zeros_like(origins)
    opacity = origins.new_zeros(origins.shape[:2])
    with torch.no_grad():
        for part in meeting.split(max(1, rays_at_once // num_scenes)):
            seen = render_rays(net, observation, origins[:, part], directions[:, part], settings)
            colour[:, part], opacity[:, part] = seen.colour, seen.opacity
    shape = (num_scenes, camera.height, camera.width)
    return colour.view(*shape, 3), opacity.view(shape)

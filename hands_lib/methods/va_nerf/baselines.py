"""Baselines of Table 1, small, with the encoders, the renderer, the schedule and the pictures of VA-NeRF.

Units  metres, pixels; colours in [0, 1]

KeypointNeRF  `network.keypoint_nerf`: pixel-aligned features and the relative encoding, a density of its own
HandNeRF      KeypointNeRF, trained with `depth_loss` beside the rest, since the paper combines the two so
NHP           `NHP`: features of the picture are tied to the vertices and spread through space
SMPLpix       `SMPLpix`: no field; coloured vertices are projected and a network fills the picture

They are reconstructions of the ideas that the paper names, not the published networks: those have other
encoders and are made for several input views.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hands_lib.geometry.raster import rasterize
from hands_lib.methods.va_nerf.discriminator import cropped_at
from hands_lib.methods.va_nerf.network import FieldSettings, Observation, VANeRF, keypoint_nerf
from hands_lib.methods.va_nerf.observation import InputView
from hands_lib.methods.va_nerf.rendering import Rendering, RenderSettings, picture_rays, render_rays
from hands_lib.methods.va_nerf.training import Patches, Pictures, patch_rays
from hands_lib.nn.sampling import sample_at_pixels
from hands_lib.structures import Camera, Mesh


def parameter_count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def network_of(method: str, settings: FieldSettings, unet_width: int) -> nn.Module:
    """A new network for a row of Table 1; the fields have the sizes of `settings`, SMPLpix has its own.

    Raises ValueError for another row.
    """
    match method:
        case "Ours":
            return VANeRF(settings)
        case "KeypointNeRF" | "HandNeRF":
            return VANeRF(keypoint_nerf(settings))
        case "NHP":
            return NHP(settings)
        case "SMPLpix":
            return SMPLpix(unet_width)
    raise ValueError(f"Table 1 has no method {method!r}")


# --- NHP: features tied to a body model ----------------------------------------------------------------


class NHP(VANeRF):
    """Features that are tied to the vertices and spread through space, beside pixel-aligned ones.

    Kwon et al., "Neural Human Performer", 2021: vertices carry the features that the picture has where they
    project, seen or not; a network of 3D convolutions spreads them; attention weighs them against the
    pixel-aligned features; the density is free. Here the spread features are read at the nearest vertex (the
    original reads them at the query point), the convolutions are dense and few, and there is no time.
    """

    def __init__(self, settings: FieldSettings):
        own = replace(settings.fusion, places=("q", "p"), weighting="learned", average=False)
        super().__init__(replace(settings, fusion=own, density="free"))
        width = self.texture_fusion.width
        self.spread = nn.ModuleList(
            SpreadFeatures(channels) for channels in (*settings.encoders.geometry_channels, width)
        )

    def observe(self, view: InputView) -> Observation:
        found = super().observe(view)
        vertices = view.vertices.flatten(1, 2)
        *geometry, texture = (
            spread(features, vertices)
            for spread, features in zip(
                self.spread, (*found.geometry_at_vertices, found.texture_at_vertices), strict=True
            )
        )
        return replace(found, geometry_at_vertices=tuple(geometry), texture_at_vertices=texture)


class SpreadFeatures(nn.Module):
    """Features of vertices, averaged in the cells of a grid around them, spread by 3D convolutions, and read
    again at the vertices."""

    def __init__(self, channels: int, cells: int = 16):
        super().__init__()
        self.cells = cells
        self.layers = nn.Sequential(
            nn.Conv3d(channels, channels, 3, padding=1), nn.ReLU(),
            nn.Conv3d(channels, channels, 3, padding=2, dilation=2), nn.ReLU(),
            nn.Conv3d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(
        self, features: Float[Tensor, "scene vertex channel"], vertices: Float[Tensor, "scene vertex 3"]
    ) -> Float[Tensor, "scene vertex channel"]:
        place = self.places(vertices)
        spread = self.layers(self.averages(features, place))
        read = functional.grid_sample(spread, place[:, :, None, None], align_corners=False)
        return read[..., 0, 0].mT

    def places(self, vertices: Float[Tensor, "scene vertex 3"]) -> Float[Tensor, "scene vertex 3"]:
        """Within the cube around the pair, each coordinate in [-1, 1]."""
        low, high = vertices.amin(dim=1, keepdim=True), vertices.amax(dim=1, keepdim=True)
        return (2 * vertices - low - high) / (high - low).amax(dim=-1, keepdim=True)

    def averages(
        self, features: Float[Tensor, "scene vertex channel"], place: Float[Tensor, "scene vertex 3"]
    ) -> Float[Tensor, "scene channel depth height width"]:
        """Of the vertices in each cell; 0 in an empty one. Depth, height and width are z, y and x."""
        num_scenes, _, channels = features.shape
        cell = ((place + 1) / 2 * self.cells).long().clamp(0, self.cells - 1)
        index = (cell[..., 2] * self.cells + cell[..., 1]) * self.cells + cell[..., 0]
        index = index[..., None].expand(-1, -1, channels)
        total = features.new_zeros(num_scenes, self.cells**3, channels).scatter_add(1, index, features)
        count = torch.zeros_like(total).scatter_add(1, index, torch.ones_like(features))
        return (total / count.clamp(min=1)).mT.unflatten(2, (self.cells,) * 3)


# --- HandNeRF: density guided by depth -----------------------------------------------------------------


def surface_distance(
    mesh: Mesh, camera: Camera, directions: Float[Tensor, "scene height width 3"]
) -> Float[Tensor, "scene height width"]:
    """How far along each pixel's ray the surface lies, metres; 0 where the pixel sees none.

    directions  unit, world; of the rays through all pixels
    """
    fragments = rasterize(mesh, camera)
    along = torch.einsum("shwi,si->shw", directions, camera.camera_from_world[:, 2, :3])
    return torch.where(fragments.foreground, fragments.depth / along, 0)


def depth_loss(
    rendered: Rendering, distance: Float[Tensor, "scene ray"], weight: float = 10.0
) -> Float[Tensor, ""]:
    """Light of a ray that sees a hand shall be stopped at the fitted surface: |depth - opacity * distance|.

    Guo et al., "HandNeRF", 2023, guide the density by depth maps of the fitted hands. The form of this loss
    and its weight (a tenth of the colour loss for a centimetre) are a reconstruction.

    distance  `surface_distance` of each ray; 0 where it sees none
    """
    sees = distance > 0
    off = (rendered.depth - rendered.opacity * distance).abs()
    return weight * (off * sees).sum() / sees.sum().clamp(min=1)


def guided_patches(
    net: VANeRF,
    pictures: Pictures,
    patches: Patches,
    side: int,
    settings: RenderSettings,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "scene side side 3"], Float[Tensor, "scene side side 3"], Float[Tensor, ""]]:
    """Patches as the field shows them, as they are, and `depth_loss`: what HandNeRF learns from."""
    given, camera = (
        pictures.input_view(patches.frame, patches.view),
        pictures.camera(patches.frame, patches.target),
    )
    seen = render_rays(net, net.observe(given), *patch_rays(pictures, patches, side), settings, generator)
    distance = surface_distance(given.mesh, camera, picture_rays(camera)[1])
    distance = cropped_at(distance[..., None], patches.corner, side).flatten(1)
    truth = cropped_at(pictures.colours(patches.frame, patches.target), patches.corner, side)
    return seen.colour.unflatten(1, (side, side)), truth, depth_loss(seen, distance)


# --- SMPLpix: in the picture ---------------------------------------------------------------------------


class SMPLpix(nn.Module):
    """Vertices with their colours are projected into the target view; a U-Net makes a picture of the dots.

    Prokudin et al., "SMPLpix", 2021. A vertex has the colour of the input picture where it projects, whether
    the picture sees it or not: the method knows no visibility. Depth is in hand lengths about the pair.
    """

    def __init__(self, width: int = 32):
        super().__init__()
        self.down = nn.ModuleList(
            [_double(5, width), _double(width, 2 * width), _double(2 * width, 4 * width)]
        )
        self.up = nn.ModuleList([_double(6 * width, 2 * width), _double(3 * width, width)])
        self.last = nn.Conv2d(width, 3, 1)

    def forward(self, view: InputView, target: Camera) -> Float[Tensor, "scene height width 3"]:
        """Colours in [0, 1]. Raises ValueError for pictures whose sides 4 does not divide."""
        if view.image.shape[1] % 4 or view.image.shape[2] % 4:
            height, width = view.image.shape[1:3]
            raise ValueError(f"pictures of {height} x {width} pixels: a U-Net needs sides that 4 divides")
        maps, kept = splatted(view, target).movedim(-1, 1), []
        for level, layers in enumerate(self.down):
            maps = layers(functional.avg_pool2d(maps, 2) if level else maps)
            kept.append(maps)
        for layers, beside in zip(self.up, kept[-2::-1], strict=True):
            larger = functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
            maps = layers(torch.cat([larger, beside], dim=1))
        return self.last(maps).sigmoid().movedim(1, -1)


def splatted(view: InputView, target: Camera) -> Float[Tensor, "scene height width 5"]:
    """Dots of the vertices nearest to the target camera: colour, depth about the pair's middle over 0.1 m, 1.
    Zeros in pixels without a dot; vertices outside the picture are left out."""
    mesh, size = view.mesh, view.image.shape[1:3]
    num_scenes, num = mesh.vertices.shape[:2]
    scene = torch.arange(num_scenes, device=view.image.device)[:, None].expand(-1, num)
    read = view.camera.project(mesh.vertices).flatten(0, 1)
    colour = sample_at_pixels(view.image.movedim(-1, 1), scene.flatten(), read, size)
    depth = target.transform(mesh.vertices)[..., 2]
    pixel = target.project(mesh.vertices).round().long()
    inside = ((pixel >= 0) & (pixel < pixel.new_tensor([target.width, target.height]))).all(dim=-1)
    index = (scene * target.height + pixel[..., 1]) * target.width + pixel[..., 0]
    nearest = depth.new_full((num_scenes * target.height * target.width,), torch.inf)
    nearest = nearest.scatter_reduce(0, index[inside], depth[inside], "amin")
    wins = inside.clone()
    wins[inside] = depth[inside] == nearest[index[inside]]
    relative = (depth - depth.mean(dim=1, keepdim=True)) / 0.1
    colour = colour.unflatten(0, scene.shape)
    dots = torch.cat([colour, relative[..., None], torch.ones_like(relative)[..., None]], dim=-1)
    maps = dots.new_zeros(len(nearest), 5).index_put((index[wins],), dots[wins])
    return maps.view(num_scenes, target.height, target.width, 5)


def _double(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.GroupNorm(8, channels_out), nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1), nn.GroupNorm(8, channels_out), nn.ReLU(),
    )  # fmt: skip

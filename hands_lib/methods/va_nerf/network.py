"""The radiance field: one picture and query points in, densities and colours out.

Colour does not depend on the direction of view: the paper infers it from the texture feature alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hands_lib.methods.va_nerf.density import density_bounds, deviated_density
from hands_lib.methods.va_nerf.encoders import (
    EncoderSettings,
    GeometryEncoder,
    TextureEncoder,
    smallest_picture,
)
from hands_lib.methods.va_nerf.fusion import (
    PLACES,
    FeatureFusion,
    Fused,
    FusionSettings,
    VertexCodes,
    hand_averages,
    relative_encoding,
)
from hands_lib.methods.va_nerf.observation import (
    Evidence,
    InputView,
    Located,
    Queries,
    gather_evidence,
    locate,
    mirrored,
)
from hands_lib.nn.sampling import sample_at_pixels
from hands_lib.structures import TensorFields, unrounded

_SWITCHES = {
    "density": ("deviated", "free"),
    "deviation": ("free", "shrinking"),
    "colour": ("network", "channels"),
    "texture_position": ("encoding", "geometry"),
    "global_terms": ("averages", "codes"),
    "vertex_visibility": ("exact", "pixel"),
    "point_visibility": ("inherited", "unoccluded"),
}


@dataclass(frozen=True)
class FieldSettings:
    """The field. The defaults are the paper's, with the released code's sizes where the paper gives none."""

    encoders: EncoderSettings = field(default_factory=EncoderSettings)
    fusion: FusionSettings = field(default_factory=FusionSettings)
    colour_in_features: bool = True
    """Whether the picture's own colours stand beside the texture features, as in the released code."""
    deviation_widths: tuple[int, ...] = (128, 128, 64)
    """Hidden layers of the MLP of delta."""
    colour_widths: tuple[int, ...] = (96, 40)
    """Hidden layers of the MLP of colour."""
    density: str = "deviated"
    """"deviated": Eq. 1; "free": a density of its own, that knows no surface (KeypointNeRF)."""
    deviation: str = "free"
    """"free": delta has any sign (paper); "shrinking": it can only make hands thinner, and is 0 where the
    input picture shows no hand (released code)."""
    largest_deviation: float | None = None
    """Bound of |delta| in metres: delta = bound * tanh(raw / bound). An extension; None is the paper's free
    delta, with which empty space has no bound to be skipped by."""
    initial_width: float = 0.1
    """w of Eq. 1 at the start, metres."""
    smallest_width: float = 2e-3
    """w is kept above this, metres (released code)."""
    colour: str = "network"
    """"network": colour comes from an MLP (paper); "channels": it is the first three channels of the fused
    features (released code, for one input view)."""
    texture_position: str = "encoding"
    """What stands for phi(q) in the texture features: "encoding", its linear layer (paper); "geometry", 24
    numbers from the geometry branch (released code)."""
    global_terms: str = "averages"
    """"averages": g^r and g^l are means over each hand (paper); "codes": one code for p, one for p', see
    `fusion.VertexCodes` (released code)."""
    num_vertices: int = 699
    """Of one hand's surface; only the codes need to know it."""
    vertex_visibility: str = "exact"
    """Definition of `geometry.raster.vertex_visibility`: "exact", or "pixel" (released code)."""
    point_visibility: str = "inherited"
    """Definition of v(q), see `observation.locate`: "inherited" or "unoccluded"."""

    def __post_init__(self) -> None:
        for name, allowed in _SWITCHES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} is {' or '.join(map(repr, allowed))}, not {value!r}")
        if self.largest_deviation is not None and self.largest_deviation <= 0:
            raise ValueError(f"largest_deviation is a length above 0 or None, not {self.largest_deviation}")


PAPER = FieldSettings()
SMALL = replace(
    PAPER,
    encoders=EncoderSettings(0, 16, 3, (16, 8), 12, 2, 13),
    fusion=FusionSettings(hidden=48),
    deviation_widths=(64, 32),
    colour_widths=(64, 32),
    largest_deviation=0.005,
    initial_width=1.5e-3,
    smallest_width=5e-4,
)
"""For pictures of 64 pixels and a laptop."""
TINY = replace(
    SMALL,
    encoders=EncoderSettings(0, 8, 2, (8, 4), 4, 1, 5),
    fusion=FusionSettings(hidden=16),
    deviation_widths=(32, 16),
    colour_widths=(32, 16),
)
LARGE = replace(SMALL, encoders=replace(PAPER.encoders, halvings=0), fusion=PAPER.fusion)
SIZES = {"tiny": TINY, "small": SMALL, "large": LARGE, "paper": PAPER}
"""By the names that the chapters' profiles choose them by."""

_GEOMETRY_LATENT = 24


def released(settings: FieldSettings) -> FieldSettings:
    """The released code's side of seven switches of the field, at the sizes of `settings`. Not of every
    difference: how w starts and is bounded, the bound of delta, sizes, losses, schedule, colour jitter and
    crop stay as they are, and its bugs of cropping and rasterising are not reproduced."""
    return replace(
        settings,
        fusion=replace(settings.fusion, hide_invisible=True, spatial=False),
        deviation="shrinking",
        colour="channels",
        texture_position="geometry",
        global_terms="codes",
        vertex_visibility="pixel",
    )


def keypoint_nerf(settings: FieldSettings) -> FieldSettings:
    """KeypointNeRF in this network: pixel-aligned features and the relative encoding alone, unweighted, and a
    density of its own. Mihajlovic et al. 2022; its own encoders and its fusion of many views are not here."""
    alone = replace(settings.fusion, places=("q",), weighting="none", average=False)
    return replace(settings, fusion=alone, density="free")


def ablated(settings: FieldSettings, row: str) -> FieldSettings:
    """The field of a row of Tables 4 and 5, at the sizes of `settings`, and of two rows of this book.

    "q", "q + p", "q + p'", "q + p + p'"  which of the three places are read (Table 4)
    "Attn. w/o Vis."                      all of them, with weights that do not know visibility (Table 5)
    "KeypointNeRF"                        `keypoint_nerf`
    "released code"                       `released`
    "w = 5 mm"                            all of them, with a softer surface to begin with

    Raises ValueError for another row.
    """
    if row == "KeypointNeRF":
        return keypoint_nerf(settings)
    if row == "released code":
        return released(settings)
    if row == "w = 5 mm":
        return replace(settings, initial_width=0.005)
    if row == "Attn. w/o Vis.":
        return replace(settings, fusion=replace(settings.fusion, weighting="learned"))
    places = tuple(row.split(" + "))
    if not places or not set(places) <= set(PLACES):
        raise ValueError(f"Tables 4 and 5 have no row {row!r}")
    return replace(settings, fusion=replace(settings.fusion, places=places))


def settings_from(values: Mapping[str, Any]) -> FieldSettings:
    """Settings from what `dataclasses.asdict` and JSON made of them, as a run's record keeps them."""

    def plain(part: Mapping[str, Any]) -> dict[str, Any]:
        return {name: tuple(value) if isinstance(value, list) else value for name, value in part.items()}

    parts = {"encoders": EncoderSettings, "fusion": FusionSettings}
    own = {name: kind(**plain(values[name])) for name, kind in parts.items()}
    return FieldSettings(**plain(values) | own)


@dataclass(frozen=True)
class Observation:
    """What the network has made of the input pictures: computed once, asked at any number of points."""

    view: InputView
    evidence: Evidence
    geometry: tuple[Float[Tensor, "scene coarse h w"], Float[Tensor, "scene fine H W"]]
    texture: Float[Tensor, "scene channel rows columns"]
    geometry_at_vertices: tuple[Float[Tensor, "scene vertices coarse"], Float[Tensor, "scene vertices fine"]]
    texture_at_vertices: Float[Tensor, "scene vertices width"]
    averages: Float[Tensor, "scene 2 width"] | Float[Tensor, "scene vertices 18"]
    """g^r and g^l, or the codes of all vertices."""


@dataclass(frozen=True)
class Readings(TensorFields):
    """What density and colour both need to know of query points; nothing in it is learnt."""

    scene: Int[Tensor, " point"]
    distance: Float[Tensor, " point"]
    vertex: Int[Tensor, " point"]
    spatial: Float[Tensor, "point channel"]
    """`fusion.relative_encoding`."""
    pixels: Float[Tensor, "point 2"]
    """Where the input camera would see the point."""
    visible: Bool[Tensor, "point 3"]
    """v(q, d), v(p, d), v(p', d) from the direction of the input picture."""

    def __getitem__(self, index: Tensor) -> "Readings":
        return Readings(*(getattr(self, part.name)[index] for part in fields(self)))


class VANeRF(nn.Module):
    """The paper's f: (q, d, I) -> (c, sigma).

    observation = net.observe(view)
    located = net.locate(observation, points)
    readings = net.read(observation, chosen(located, mask))
    density, latent = net.density(observation, readings)
    colour = net.colour(observation, readings, latent)
    """

    def __init__(self, settings: FieldSettings = PAPER):
        super().__init__()
        self.settings = settings
        encoders, fusion = settings.encoders, settings.fusion
        width = encoders.texture_channels + 3 * settings.colour_in_features
        self.geometry_encoder = GeometryEncoder(encoders)
        self.texture_encoder = TextureEncoder(encoders)
        geometry_fusion = replace(fusion, spatial=True)
        self.geometry_fusion = nn.ModuleList(
            FeatureFusion(channels, geometry_fusion, average=False) for channels in encoders.geometry_channels
        )
        codes = settings.global_terms == "codes"
        self.texture_fusion = FeatureFusion(width, fusion, True, VertexCodes.WIDTH if codes else None)
        if codes:
            self.codes = VertexCodes(encoders.texture_channels, settings.num_vertices)
        fused = sum(module.channels for module in self.geometry_fusion)
        self.deviation_trunk = _mlp((fused, *settings.deviation_widths), nn.Softplus(beta=100))
        self.deviation_head = nn.Linear(settings.deviation_widths[-1], 1)
        # The field begins as the surface that was fitted.
        nn.init.zeros_(self.deviation_head.weight)
        nn.init.zeros_(self.deviation_head.bias)
        # Learnt as a multiple of where it begins, since lengths in metres are small against a step of Adam.
        self.relative_width = nn.Parameter(torch.ones(()))
        fused = self.texture_fusion.channels
        if settings.texture_position == "geometry":
            self.geometry_latent = nn.Linear(settings.deviation_widths[-1], _GEOMETRY_LATENT)
            fused += _GEOMETRY_LATENT
        last = settings.colour_widths if settings.colour == "channels" else (*settings.colour_widths, 3)
        self.colour_network = _mlp((fused, *last), nn.ReLU())[:-1]

    @property
    def density_width(self) -> Tensor:
        """w of Eq. 1, metres."""
        return (self.settings.initial_width * self.relative_width).clamp(min=self.settings.smallest_width)

    def observe(self, view: InputView) -> Observation:
        """Runs both encoders, and reads their maps at the vertices.

        Raises ValueError for pictures whose size the encoders cannot take.
        """
        height, width = view.image.shape[1:3]
        unit = smallest_picture(self.settings.encoders)
        if height % unit or width % unit:
            raise ValueError(
                f"pictures of {height} x {width} pixels: these encoders need sides that {unit} divides"
            )
        evidence = gather_evidence(view, self.settings.vertex_visibility)
        geometry = self.geometry_encoder(view.image)
        texture = self.texture_encoder(view.image)
        vertices = view.mesh.vertices
        scene = torch.arange(len(vertices), device=vertices.device).repeat_interleave(vertices.shape[1])
        pixels = view.camera.project(vertices).flatten(0, 1)
        shape = (len(vertices), vertices.shape[1])
        at_vertices = [
            sample_at_pixels(maps, scene, pixels, (height, width)).unflatten(0, shape) for maps in geometry
        ]
        return Observation(
            view,
            evidence,
            geometry,
            texture,
            (at_vertices[0], at_vertices[1]),
            self._texture_at(view, texture, scene, pixels).unflatten(0, shape),
            self._global_terms(view, texture, evidence),
        )

    def _global_terms(self, view: InputView, texture: Tensor, evidence: Evidence) -> Tensor:
        settings, num_vertices = self.settings, view.mesh.vertices.shape[1] // 2
        if settings.global_terms == "codes":
            if num_vertices != settings.num_vertices:
                raise ValueError(
                    f"surfaces of {num_vertices} vertices a hand: num_vertices of the settings is "
                    f"{settings.num_vertices}, and the codes of the released code need as many"
                )
            return self.codes(view.image, texture)
        averages = hand_averages(texture, evidence.silhouettes)
        if not settings.colour_in_features:
            return averages
        colours = hand_averages(view.image.movedim(-1, 1), evidence.silhouettes)
        return torch.cat([colours, averages], dim=-1)

    def locate(self, observation: Observation, points: Float[Tensor, "scene *point 3"]) -> Located:
        """What the features of query points are read by; see `observation.locate`."""
        visible = observation.evidence.vertex_visible
        return locate(points, observation.view, visible, self.settings.point_visibility)

    def density_bounds(
        self, distance: Float[Tensor, "*point"]
    ) -> tuple[Float[Tensor, "*point"], Float[Tensor, "*point"]]:
        """What the density can be at least and at most, from the signed distance alone."""
        settings = self.settings
        if settings.density == "free":
            return torch.zeros_like(distance), torch.full_like(distance, torch.inf)
        bound = torch.inf if settings.largest_deviation is None else settings.largest_deviation
        lowest = 0.0 if settings.deviation == "shrinking" else -bound
        return density_bounds(distance, lowest, bound, self.density_width.detach())

    def read(self, observation: Observation, queries: Queries) -> Readings:
        """Encodes where the points are, and what the input camera sees of them."""
        view, scene, position = observation.view, queries.scene, queries.position
        pose, intrinsics = view.camera.camera_from_world[scene], view.camera.intrinsics[scene]
        with unrounded(position):
            in_camera = torch.einsum("nij,nj->ni", pose[:, :3, :3], position) + pose[:, :3, 3]
            homogeneous = torch.einsum("nij,nj->ni", intrinsics, in_camera)
        spatial = relative_encoding(position, scene, view.joints.flatten(1, 2), view.camera)
        seen = observation.evidence.vertex_visible
        other = mirrored(queries.vertex, seen.shape[1])
        visible = torch.stack([queries.visible, seen[scene, queries.vertex], seen[scene, other]], dim=-1)
        pixels = homogeneous[:, :2] / homogeneous[:, 2:]
        return Readings(scene, queries.distance, queries.vertex, spatial, pixels, visible)

    def density(
        self, observation: Observation, readings: Readings
    ) -> tuple[Float[Tensor, " point"], Float[Tensor, "point latent"]]:
        """Density by Eq. 1, and the features of the geometry branch that it came from."""
        settings, size = self.settings, observation.view.image.shape[1:3]
        levels = zip(
            self.geometry_fusion, observation.geometry, observation.geometry_at_vertices, strict=True
        )
        fused = []
        for fusion, maps, at_vertices in levels:
            at_query = sample_at_pixels(maps, readings.scene, readings.pixels, size)
            places = _places(at_query, at_vertices, readings)
            fused.append(fusion(readings.spatial, places, readings.visible).features)
        latent = self.deviation_trunk(torch.cat(fused, dim=-1))
        raw = self.deviation_head(latent)[:, 0]
        if settings.density == "free":
            # In the unit 1 / cm: a finger's width is then opaque or clear for moderate numbers.
            return 100 * torch.nn.functional.softplus(raw), latent
        if settings.deviation == "shrinking":
            shown = observation.evidence.silhouettes.any(dim=1, keepdim=True).to(raw.dtype)
            raw = raw.relu() * (sample_at_pixels(shown, readings.scene, readings.pixels, size)[:, 0] > 0.1)
        if settings.largest_deviation is not None:
            raw = settings.largest_deviation * torch.tanh(raw / settings.largest_deviation)
        return deviated_density(readings.distance, raw, self.density_width), latent

    def fuse_texture(self, observation: Observation, readings: Readings) -> Fused:
        """t(q) of Eq. 2 and its weights."""
        at_query = self._texture_at(observation.view, observation.texture, readings.scene, readings.pixels)
        places = _places(at_query, observation.texture_at_vertices, readings)
        averages = None
        if self.texture_fusion.average:
            averages = observation.averages
            if self.settings.global_terms == "codes":
                both = mirrored(readings.vertex, averages.shape[1])
                averages = averages[readings.scene[:, None], torch.stack([readings.vertex, both], dim=-1)]
            else:
                averages = averages[readings.scene]
        return self.texture_fusion(readings.spatial, places, readings.visible, averages)

    def colour(
        self, observation: Observation, readings: Readings, latent: Float[Tensor, "point latent"]
    ) -> Float[Tensor, "point 3"]:
        """Colours in [0, 1]. `latent` comes from `density`."""
        features = self.fuse_texture(observation, readings).features
        if self.settings.texture_position == "geometry":
            features = torch.cat([features, self.geometry_latent(latent)], dim=-1)
        return self.colour_network(features)[:, :3].sigmoid()

    def _texture_at(self, view: InputView, texture: Tensor, scene: Tensor, pixels: Tensor) -> Tensor:
        size = view.image.shape[1:3]
        read = sample_at_pixels(texture, scene, pixels, size)
        if not self.settings.colour_in_features:
            return read
        colours = sample_at_pixels(view.image.movedim(-1, 1), scene, pixels, size)
        return torch.cat([colours, read], dim=-1)


def _places(at_query: Tensor, at_vertices: Tensor, readings: Readings) -> Tensor:
    """k(q), m(p), n(p')."""
    other = mirrored(readings.vertex, at_vertices.shape[1])
    nearest = at_vertices[readings.scene, readings.vertex]
    return torch.stack([at_query, nearest, at_vertices[readings.scene, other]], dim=1)


def _mlp(widths: tuple[int, ...], activation: nn.Module) -> nn.Sequential:
    """Linear layers, each followed by the activation."""
    layers = [
        layer for a, b in zip(widths[:-1], widths[1:], strict=True) for layer in (nn.Linear(a, b), activation)
    ]
    return nn.Sequential(*layers)


def field_from(settings: Mapping[str, Any], kept: Mapping[str, Tensor]) -> VANeRF:
    """A trained field from what its job recorded: settings as JSON, and weights under names that begin with
    `net.`, which pictures may stand beside. Weights of half precision become single ones."""
    net = VANeRF(settings_from(settings))
    own = {name.removeprefix("net."): value for name, value in kept.items() if name.startswith("net.")}
    net.load_state_dict(own)
    return net.eval()

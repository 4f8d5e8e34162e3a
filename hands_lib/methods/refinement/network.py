"""The network: backbone, initial estimate, any number of refinement stages.

Units, frames and order: see the room's header. Pictures are RGB in [0, 1], square.
Source  Ren et al., DIR, and its released code. Reconstructed: the shape of a residual block (a bottleneck of
        half its width) and the normalisation by the attention's sum.

One stage goes through both spaces once:

    picture space    v_t = fuse(up(v_{t-1}), c_t)                    upsampling; finer features
    joint space      f = v_t at the last estimate + place of the joint
                     f = graph within each hand (f)
                     f = transformer between the hands (f + place in the frame of both hands)
                     numbers and offset = linear (f, last numbers), anew and not as a correction
    picture space    v_t = fuse(v_t, MFP(f at the new estimate))

What one stage tells the next about the hands is detached; the picture features are not.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hands_lib.hand.skeleton import NUM_JOINTS
from hands_lib.methods.refinement.hands import (
    NUM_BUILD,
    NUM_PARAMETERS,
    NUM_POSE,
    START,
    UNIT,
    Estimate,
    decode,
    faces_of,
)
from hands_lib.methods.refinement.projecting import (
    PROJECTIONS,
    convolve,
    element_weights,
    layout,
    planes,
)
from hands_lib.methods.refinement.relations import HandLinear, InterHandTransformer, IntraHandGraph, PerHand
from hands_lib.nn.backbones import timm_library

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NUM_CLASSES = 3
"""Of a pixel: neither hand, right hand, left hand. (The released code has left before right.)"""


@dataclass(frozen=True)
class RefinementSettings:
    """Sizes and switches; the defaults are the paper's."""

    backbone: str = "resnet50"
    """A model of timm that gives features at several resolutions; never with downloaded weights."""
    levels: tuple[int, ...] = (32, 16, 8)
    """By how much the features are smaller than the picture: initial estimate, first stage, second stage.
    Further stages stay at the last level."""
    stages: int = 2
    visual_width: int = 256
    joint_width: int = 128
    plane_width: int = 64
    """Channels of a joint after the transformer, and of every plane."""
    attention_width: int = 1024
    """Of the hidden layer that says where each hand is; 0 leaves the layer and its 3x3 convolution out."""
    graph_layers: int = 4
    transformer_blocks: int = 3
    heads: int = 4
    bone_half_width: float = 1 / 16
    """Of the picture's side: 1 of 16 pixels, 2 of 32."""
    projection: str = "bones"
    """One of `projecting.PROJECTIONS`: a plane a bone, a hand, one shared plane, a plane a joint, none."""
    intra_hand: bool = True
    inter_hand: bool = True
    offset_in_tokens: bool = True
    """Whether joints know their place in the frame of both hands; False: only about their own wrist."""
    pixel_heads: bool = True
    """Whether the last stage also says which hand every pixel shows, and which point of it."""
    corrections: bool = False
    """Extension: stages give corrections of the last numbers instead of new ones."""
    mesh_aware: bool = False
    """Extension: a joint is seen by the picture's features at itself and, beside them, by their mean over the
    surface around it; the paper names the little use it makes of the mesh as a limit."""
    places_learn: bool = True
    """Whether what comes behind the planes also teaches the places where bones are drawn. False, ours: the
    places are detached there as they are for the next stage, and a step is much cheaper."""
    explicit_planes: bool = False
    """Makes all planes and convolves them; the default gives the same numbers sooner."""

    def __post_init__(self):
        if self.projection not in PROJECTIONS:
            raise ValueError(f"unknown projection {self.projection!r}; there are {', '.join(PROJECTIONS)}")
        if self.stages < 0:
            raise ValueError(f"there are 0 or more refinement stages, not {self.stages}")
        if not self.levels:
            raise ValueError("levels needs at least the level of the initial estimate")

    def level(self, stage: int) -> int:
        """Of stage 0 (the initial estimate), 1, 2 ..."""
        return self.levels[min(stage, len(self.levels) - 1)]


PAPER = RefinementSettings()
SMALL = RefinementSettings(
    backbone="test_resnet",
    levels=(16, 8, 4),
    visual_width=48,
    joint_width=32,
    plane_width=16,
    attention_width=0,
    graph_layers=2,
    transformer_blocks=2,
)
"""For pictures of 64 to 96 pixels on a laptop: about a million weights."""

ROWS: dict[str, dict[str, object]] = {
    "init alone": {"stages": 0},
    "init and one refinement": {"stages": 1},
    "init and two refinements": {},
    "init and three refinements": {"stages": 3},
    "three, no relations within a hand": {"stages": 3, "intra_hand": False},
    "three, no relations between hands": {"stages": 3, "inter_hand": False},
    "three, no offset in the tokens": {"stages": 3, "offset_in_tokens": False},
    "one plane a hand": {"projection": "hands"},
    "one shared plane": {"projection": "shared"},
    "joint splats": {"projection": "joints"},
    "no projection": {"projection": "none"},
    "without pixel losses": {"pixel_heads": False},
}
"""Rows of the ablation by their names in book/published/refinement.yml: what each changes in the settings."""


@dataclass(frozen=True)
class Trace:
    """What a stage looked at, for the chapter's figures."""

    looked_at: Float[Tensor, "batch 2 21 2"]
    """uv where joint features were sampled: the estimate before."""
    joint_features: Float[Tensor, "batch 42 feature"]
    """What is projected onto the planes."""
    attention: Float[Tensor, "batch 42 42"] | None
    visual: Float[Tensor, "batch channel height width"]
    """The picture's features after the stage."""


@dataclass(frozen=True)
class Prediction:
    estimates: tuple[Estimate, ...]
    """Initial estimate first; the last one is the result."""
    traces: tuple[Trace, ...]
    hand_logits: Float[Tensor, "batch 3 height width"] | None
    """Neither hand, right, left; None where the network has no pixel heads or no stage."""
    correspondence: Float[Tensor, "batch 3 height width"] | None
    """Place of the seen point on the rest hand, in [0, 1] of its box."""


class Residual(nn.Module):
    """A bottleneck of half the width beside a skip connection."""

    def __init__(self, width: int, out: int):
        super().__init__()
        half = out // 2
        self.body = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, half, 1, bias=False),
            nn.BatchNorm2d(half), nn.ReLU(), nn.Conv2d(half, half, 3, padding=1, bias=False),
            nn.BatchNorm2d(half), nn.ReLU(), nn.Conv2d(half, out, 1),
        )  # fmt: skip
        self.skip = nn.Identity() if width == out else nn.Conv2d(width, out, 1)

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch out height width"]:
        return self.skip(x) + self.body(x)


class InitialEstimate(nn.Module):
    """Where each hand is (attention), its 64 numbers from the features there, the offset from all of them."""

    def __init__(self, width: int, hidden: int):
        super().__init__()

        def where() -> nn.Module:
            if not hidden:
                return nn.Conv2d(width, 1, 1)
            return nn.Sequential(
                nn.Conv2d(width, hidden, 3, padding=1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(),
                nn.Conv2d(hidden, 1, 1),
            )  # fmt: skip

        self.where = nn.ModuleList([where(), where()])
        self.numbers, self.offset = HandLinear(width, NUM_PARAMETERS), nn.Linear(width, 3)
        start_from(self.numbers, self.offset)

    def forward(
        self, visual: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch 2 64"], Float[Tensor, "batch 3"]]:
        """The numbers, and the offset in UNIT."""
        attention = torch.cat([where(visual) for where in self.where], dim=1).sigmoid().flatten(2)
        attention = attention / attention.sum(dim=-1, keepdim=True)
        seen = torch.einsum("bhp,bcp->bhc", attention, visual.flatten(2))
        return self.numbers(seen), self.offset(visual.mean(dim=(2, 3)))


class JointSpace(nn.Module):
    """One stage's work in the space of joints: relations, then numbers."""

    def __init__(self, settings: RefinementSettings, hands: nn.Module):
        super().__init__()
        width, out = settings.joint_width, settings.plane_width
        self.settings = settings
        self.appearance = PerHand((1 + settings.mesh_aware) * settings.visual_width, width, width)
        if settings.mesh_aware:
            self.register_buffer("shares", surface_shares(hands), persistent=False)
        self.place = PerHand(3, width, width)
        self.graph = IntraHandGraph(width, settings.graph_layers) if settings.intra_hand else nn.Identity()
        self.place_of_both = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width))
        blocks = settings.transformer_blocks if settings.inter_hand else 0
        # Without blocks, position and head stay: each joint for itself.
        self.between = InterHandTransformer(width, out, blocks, settings.heads)
        self.numbers = HandLinear(NUM_JOINTS * out + NUM_PARAMETERS, NUM_PARAMETERS)
        self.offset = nn.Linear(2 * NUM_JOINTS * out + 3, 3)
        start_from(self.numbers, self.offset, settings.corrections)

    def forward(
        self, visual: Float[Tensor, "batch channel height width"], last: Estimate
    ) -> tuple[
        Float[Tensor, "batch 42 out"],
        Float[Tensor, "batch 42 42"] | None,
        Float[Tensor, "batch 2 64"],
        Float[Tensor, "batch 3"],
    ]:
        """Joint features, attention, new numbers, new offset in UNIT. `last` is detached by the caller."""
        seen = sample(visual, last.joints_uv)
        if self.settings.mesh_aware:
            around = torch.einsum("jv,bhvc->bhjc", self.shares, sample(visual, last.vertices_uv))
            seen = torch.cat([seen, around], dim=-1)
        features = self.appearance(seen) + self.place(own_frame(last.joints) / UNIT)
        features = self.graph(features)
        half = last.offset[:, None] / 2 if self.settings.offset_in_tokens else 0 * last.offset[:, None]
        place = last.joints + torch.stack([half, -half], dim=1)
        tokens = (features + self.place_of_both(place / UNIT)).flatten(1, 2)
        features, attention = self.between(tokens)
        by_hand = features.unflatten(1, (2, NUM_JOINTS)).flatten(2)
        numbers = self.numbers(torch.cat([by_hand, last.parameters], dim=-1))
        offset = self.offset(torch.cat([features.flatten(1), last.offset / UNIT], dim=-1))
        if self.settings.corrections:
            numbers, offset = last.parameters + numbers, last.offset / UNIT + offset
        return features, attention, numbers, offset


class Stage(nn.Module):
    """One refinement through both spaces, as the module's header says."""

    def __init__(self, settings: RefinementSettings, before: int, skipped: int, hands: nn.Module):
        super().__init__()
        width = settings.visual_width
        self.settings = settings
        self.finer, self.fuse = Residual(skipped, width), Residual(before + width, width)
        self.joint_space = JointSpace(settings, hands)
        self.layout = None
        if settings.projection != "none":
            self.layout = layout(settings.projection)
            self.to_plane = nn.Sequential(
                nn.Linear(settings.plane_width, settings.plane_width), nn.ReLU(),
                nn.Linear(settings.plane_width, settings.plane_width),
            )  # fmt: skip
            channels = self.layout.num_planes * settings.plane_width
            self.projected = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            self.mix = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 1))
        self.enhance = Residual(width if self.layout is None else 2 * width, width)

    def forward(
        self,
        visual: Float[Tensor, "batch channel height width"],
        skipped: Float[Tensor, "batch skipped finer_height finer_width"],
        last: Estimate,
        hands: nn.Module,
    ) -> tuple[Estimate, Trace]:
        if visual.shape[-2:] != skipped.shape[-2:]:
            visual = nn.functional.interpolate(visual, skipped.shape[-2:], mode="bilinear")
        visual = self.fuse(torch.cat([visual, self.finer(skipped)], dim=1))
        features, attention, numbers, offset = self.joint_space(visual, last)
        estimate = decode(numbers, offset * UNIT, hands)
        if self.layout is not None:
            features = self.to_plane(features)
            visual = torch.cat([visual, self.mix(self.project(features, estimate, visual.shape[-1]))], dim=1)
        visual = self.enhance(visual)
        return estimate, Trace(last.joints_uv, features, attention, visual)

    def project(
        self, features: Float[Tensor, "batch 42 channel"], estimate: Estimate, size: int
    ) -> Float[Tensor, "batch out rows columns"]:
        """The planes at the new estimate, convolved."""
        places = estimate.joints_uv.flatten(1, 2)
        if not self.settings.places_learn:
            places = places.detach()
        weights = element_weights(places, self.layout, size, self.settings.bone_half_width)
        if not self.settings.explicit_planes:
            return convolve(features, weights, self.layout, self.projected.weight)
        made = planes(features, weights, self.layout).flatten(1, 2)
        return self.projected(made.unflatten(-1, (size, size)))


class FromPictures(nn.Module):
    """What every network of this room begins with: the hands that it speaks about and a backbone."""

    def __init__(self, hands: nn.Module, settings, levels: set[int]):
        """`settings.backbone` names the backbone. Raises ValueError where it has none of the levels."""
        super().__init__()
        self.hands, self.settings = hands, settings
        self.backbone, self.channels = backbone(settings.backbone, levels)
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD)[:, None, None], persistent=False)

    def features(self, image: Float[Tensor, "batch 3 height width"]) -> dict[int, Tensor]:
        """The backbone's features by level. They do not depend on the stages: ablations may keep them."""
        found = self.backbone((image - self.mean) / self.std)
        return dict(zip(self.backbone.feature_info.reduction(), found, strict=True))

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Prediction:
        return self.refine(self.features(image))

    def refine(self, features: dict[int, Tensor]) -> Prediction:
        """The hands from the backbone's features."""
        raise NotImplementedError


class RefinementNetwork(FromPictures):
    """Two hands from one picture."""

    def __init__(self, hands: nn.Module, settings: RefinementSettings = PAPER):
        """`hands` turns numbers into hands: `hands.KinematicHands()` or `hands.ManoHands(...)`.

        Raises ValueError where the backbone has no features at one of the levels.
        """
        super().__init__(hands, settings, {settings.level(stage) for stage in range(settings.stages + 1)})
        channels = self.channels
        widths = [channels[settings.level(0)], *[settings.visual_width] * settings.stages]
        self.initial = InitialEstimate(widths[0], settings.attention_width)
        self.stages = nn.ModuleList(
            Stage(settings, widths[stage], channels[settings.level(stage + 1)], hands)
            for stage in range(settings.stages)
        )
        self.pixels = None
        if settings.pixel_heads and settings.stages:
            self.pixels = nn.Conv2d(settings.visual_width, NUM_CLASSES + 3, 1)

    def refine(self, features: dict[int, Tensor]) -> Prediction:
        """Initial estimate and stages, from the backbone's features."""
        visual = features[self.settings.level(0)]
        numbers, offset = self.initial(visual)
        estimates, traces = [decode(numbers, offset * UNIT, self.hands)], []
        for number, stage in enumerate(self.stages, start=1):
            skipped = features[self.settings.level(number)]
            estimate, trace = stage(visual, skipped, estimates[-1].detached(), self.hands)
            visual = trace.visual
            estimates.append(estimate)
            traces.append(trace)
        pixels = None if self.pixels is None else self.pixels(visual).split([NUM_CLASSES, 3], dim=1)
        return Prediction(tuple(estimates), tuple(traces), *(pixels or (None, None)))


def backbone(name: str, levels: set[int]) -> tuple[nn.Module, dict[int, int]]:
    """A randomly initialised backbone of timm that gives the asked levels, and its channels by level.

    Raises ValueError where it has no features at one of them.
    """
    timm = timm_library()
    model = timm.create_model(name, pretrained=False, features_only=True)
    reductions, wanted = model.feature_info.reduction(), sorted(levels)
    if absent := [level for level in wanted if level not in reductions]:
        raise ValueError(f"{name} has features at {reductions}, none at {absent}: change levels")
    indices = tuple(reductions.index(level) for level in wanted)
    # Made again with these alone, so that no deeper layer is computed for nothing.
    model = timm.create_model(name, pretrained=False, features_only=True, out_indices=indices)
    return model, dict(zip(wanted, model.feature_info.channels(), strict=True))


def start_from(numbers: HandLinear, offset: nn.Linear, corrections: bool = False) -> None:
    """Small weights, and a bias that says the mean hand: training starts from hands, not from noise."""
    nn.init.normal_(numbers.weight, std=1e-3)
    nn.init.normal_(offset.weight, std=1e-3)
    nn.init.zeros_(offset.bias)
    with torch.no_grad():
        numbers.bias.copy_(torch.zeros_like(numbers.bias) if corrections else torch.tensor(START))


def own_frame(joints: Float[Tensor, "batch 2 21 3"]) -> Float[Tensor, "batch 2 21 3"]:
    """Joints of the left hand as those of a right hand in the mirrored picture."""
    signs = joints.new_tensor([[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])
    return joints * signs[:, None]


def sample(
    visual: Float[Tensor, "batch channel height width"], uv: Float[Tensor, "batch 2 point 2"]
) -> Float[Tensor, "batch 2 point channel"]:
    """The features at places of the picture, between pixels; 0 outside of it."""
    found = nn.functional.grid_sample(visual, uv.flatten(1, 2)[:, None], align_corners=False)
    return found[:, :, 0].mT.unflatten(1, (2, -1))


@torch.no_grad()
def mean_hand(hands: nn.Module) -> tuple[Float[Tensor, "21 3"], Float[Tensor, "vertex 3"]]:
    """Joints and vertices of the unturned mean hand, a right one, in metres."""
    still = torch.zeros(1, 2, NUM_POSE + NUM_BUILD, device=faces_of(hands).device)
    joints, vertices = hands(*still.split([NUM_POSE, NUM_BUILD], dim=-1))
    return joints[0, 0], vertices[0, 0]


@torch.no_grad()
def surface_shares(hands: nn.Module) -> Float[Tensor, "21 vertex"]:
    """How much each vertex counts in the mean around each joint: a bell of 12 mm on the mean hand.
    Rows add up to 1."""
    joints, vertices = mean_hand(hands)
    return (-(torch.cdist(joints, vertices) / 0.012).square() / 2).softmax(dim=-1)


def paper_size(hands: nn.Module) -> int:
    """Number of weights of the network at the paper's size, counted without making one."""
    with torch.device("meta"):
        network = RefinementNetwork(hands, replace(PAPER))
    return sum(weight.numel() for weight in network.parameters())

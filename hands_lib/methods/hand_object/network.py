"""The network: two streams, key points that talk to each other, streams that look each other up, decoders.

Paper   Liu et al., Fig. 1: image -> MCS-ResNet50 -> for hand and object D-BFAM, pyramid, D-BFAM -> CFSM -> a
        decoder each. The decoders are in no released file: RECONSTRUCTED after HFL-Net (maps of 21 joints and
        of 21 control points)
Units   metres; uv in [-1, 1]
Frames  camera axes, the hand about its wrist, the object's origin from the wrist

The object is known: its control points at rest are given. Its pose is regressed (6 numbers of a rotation and
the way from the wrist), so that losses of hand and object together reach it; with `pose="points"` it comes
from the control points in the picture (`pnp.py`), when the network is asked and not while it learns.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hands_lib.hand.numbers import NUM_BUILD, NUM_POSE, NUM_ROTATION, rotation_from_columns
from hands_lib.hand.skeleton import NUM_JOINTS
from hands_lib.methods.hand_object.augmentation import NUM_CONTROL, DualBranch, picture_grid
from hands_lib.methods.hand_object.streams import BackboneSettings, Streams
from hands_lib.methods.hand_object.supplementation import Supplement
from hands_lib.structures import TensorFields

UNIT = 0.1
"""Metres: lengths inside the network are in this unit."""
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EXCHANGES = ("supplement", "none", "harmonious", "mutual")
POSES = ("regressed", "points")


@dataclass(frozen=True)
class HandObjectSettings:
    """Sizes and switches; the defaults are the paper's, where it says them."""

    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    augment: bool = True
    """D-BFAM in each stream, before the pyramid and after it."""
    exchange: str = "supplement"
    """How streams meet, one of EXCHANGES: CFSM; not at all; as in HFL-Net (the hand attends to both
    streams, the object to the hand's); key points of both attend to each other (Dense Mutual Attention,
    reduced from 1,778 vertices to 42 points)."""
    node_width: int = 128
    neighbours: int = 4
    heads: int = 4
    coarser: int = 1
    """Of what attention looks at, see `Supplement`."""
    hidden: int = 512
    """Of the layers from features at key points to numbers."""
    pose: str = "regressed"
    """One of POSES."""

    def __post_init__(self) -> None:
        for name, known in (("exchange", EXCHANGES), ("pose", POSES)):
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; there are {', '.join(known)}")


PAPER = HandObjectSettings()
SMALL = HandObjectSettings(BackboneSettings(8, (1, 1, 1, 1), 32), node_width=32, hidden=192, coarser=2)
"""For pictures of 64 pixels on a laptop."""


@dataclass(frozen=True)
class Prediction(TensorFields):
    joints: Float[Tensor, "batch 21 3"]
    """About the wrist."""
    vertices: Float[Tensor, "batch vertex 3"]
    build: Float[Tensor, "batch 10"]
    rotation: Float[Tensor, "batch 3 3"]
    """camera_from_object, regressed."""
    translation: Float[Tensor, "batch 3"]
    joints_uv: Float[Tensor, "batch 21 2"]
    control_uv: Float[Tensor, "batch 21 2"]
    confidence: Float[Tensor, "batch 21"]
    """How far a control point is believed to be off in uv, as exp(-distance / 0.1)."""
    nodes_uv: Float[Tensor, "batch place 42 2"]
    """Of every D-BFAM; `place` may be 0."""


@dataclass(frozen=True)
class Looks:
    """What the figures of a network are drawn from."""

    hand: Float[Tensor, "batch query key"] | None
    """Of CFSM: how much each pixel of the hand's features looks at each of the object's."""
    object: Float[Tensor, "batch query key"] | None
    joint_maps: Float[Tensor, "batch 21 height width"]
    control_maps: Float[Tensor, "batch 21 height width"]


class KeyPoints(nn.Module):
    """Maps of 21 points, where they are, and the features there. Maps learn from where the points are alone:
    if what comes after them taught them too, they would become numbers that stand for anything."""

    def __init__(self, channels: int, points: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
        )  # fmt: skip
        self.maps = nn.Conv2d(channels, points, 1)

    def forward(
        self, features: Float[Tensor, "batch channel height width"]
    ) -> tuple[
        Float[Tensor, "batch point 2"],
        Float[Tensor, "batch point channel"],
        Float[Tensor, "batch point height width"],
    ]:
        """uv, features, and the maps, each of which adds up to 1."""
        found = features + self.body(features)
        maps = self.maps(found).flatten(2).softmax(dim=-1)
        uv = maps @ picture_grid(*features.shape[-2:], features)
        return uv, maps.detach() @ found.flatten(2).mT, maps.unflatten(-1, features.shape[-2:])


class Numbers(nn.Sequential):
    """Features at key points and what else is known to numbers."""

    def __init__(self, given: int, hidden: int, out: int):
        super().__init__(
            nn.Linear(given, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, out)
        )


class HandObjectNetwork(nn.Module):
    """One hand and a known object from one picture."""

    def __init__(self, hands: nn.Module, settings: HandObjectSettings = PAPER):
        """`hands` turns numbers into right hands: `hand.numbers.KinematicHands` or `ManoHands`."""
        super().__init__()
        self.hands, self.settings = hands, settings
        self.streams = Streams(settings.backbone)
        num, width = settings.backbone.streams, settings.backbone.pyramid
        self.before, self.after = nn.ModuleList(), nn.ModuleList()
        if settings.augment:
            for own, channels in ((self.before, self.streams.middle_channels), (self.after, width)):
                own.extend(DualBranch(channels, settings.node_width, settings.neighbours) for _ in range(num))
        self.for_hand = self.for_object = self.mutual = None
        if settings.exchange in ("supplement", "harmonious"):
            self.for_hand, self.for_object = (
                Supplement(width, settings.heads, settings.coarser) for _ in range(2)
            )
        if settings.exchange == "mutual":
            self.mutual = nn.TransformerEncoderLayer(
                width, settings.heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
            )
        self.joints, self.control = KeyPoints(width, NUM_JOINTS), KeyPoints(width, NUM_CONTROL)
        given = NUM_JOINTS * (width + 2)
        self.hand_numbers = Numbers(given, settings.hidden, NUM_ROTATION + NUM_POSE + NUM_BUILD)
        self.object_numbers = Numbers(
            given + NUM_JOINTS * 2 + NUM_CONTROL * 3, settings.hidden, NUM_ROTATION + 3
        )
        self.confidence = nn.Linear(width, 1)
        for last, start in (
            (self.hand_numbers[-1], (1.0, 0, 0, 0, 1, 0, *(0.0,) * (NUM_POSE + NUM_BUILD))),
            (self.object_numbers[-1], (1.0, 0, 0, 0, 1, 0, 0, 0, 0)),
        ):
            nn.init.normal_(last.weight, std=1e-2)
            with torch.no_grad():
                last.bias.copy_(torch.tensor(start))
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD)[:, None, None], persistent=False)

    @property
    def alphas(self) -> Float[Tensor, " place"]:
        """How much every D-BFAM adds; 0 at the start."""
        return torch.stack([part.alpha for part in (*self.before, *self.after)])

    def forward(
        self, image: Float[Tensor, "batch 3 height width"], control: Float[Tensor, "batch 21 3"]
    ) -> Prediction:
        """`control`: the object's control points at rest, metres."""
        return self.look(image, control, False)[0]

    def look(
        self, image: Float[Tensor, "batch 3 height width"], control: Float[Tensor, "batch 21 3"], keep: bool
    ) -> tuple[Prediction, Looks]:
        """The prediction and, where `keep`, what attention looked at."""
        nodes: list[Tensor] = []

        def augmented(parts: nn.ModuleList, number: int, features: Tensor) -> Tensor:
            if not len(parts):
                return features
            features, places = parts[number](features)
            nodes.append(places)
            return features

        hand, held = self.streams(
            (image - self.mean) / self.std, lambda number, x: augmented(self.before, number, x)
        )
        if self.settings.backbone.streams == 1:
            hand = held = augmented(self.after, 0, hand)
        else:
            hand, held = augmented(self.after, 0, hand), augmented(self.after, 1, held)
        hand, held, looks = self.exchanged(hand, held, keep)
        joints_uv, joint_features, joint_maps = self.joints(hand)
        control_uv, control_features, control_maps = self.control(held)
        if self.mutual is not None:
            both = self.mutual(torch.cat([joint_features, control_features], dim=1))
            joint_features, control_features = both.split([NUM_JOINTS, NUM_CONTROL], dim=1)
        numbers = self.hand_numbers(torch.cat([joint_features, joints_uv.detach()], dim=-1).flatten(1))
        columns, pose, build = numbers.split([NUM_ROTATION, NUM_POSE, NUM_BUILD], dim=-1)
        joints, vertices = (points[:, 0] for points in self.hands(pose[:, None], build[:, None]))
        turned = rotation_from_columns(columns).mT
        known = (control_features, control_uv.detach(), joints_uv.detach(), control / UNIT)
        found = self.object_numbers(torch.cat([part.flatten(1) for part in known], dim=-1))
        return Prediction(
            joints=joints @ turned,
            vertices=vertices @ turned,
            build=build,
            rotation=rotation_from_columns(found[:, :NUM_ROTATION]),
            translation=UNIT * found[:, NUM_ROTATION:],
            joints_uv=joints_uv,
            control_uv=control_uv,
            confidence=self.confidence(control_features)[..., 0].sigmoid(),
            nodes_uv=torch.stack(nodes, dim=1) if nodes else control_uv.new_zeros(len(image), 0, 42, 2),
        ), Looks(*looks, joint_maps, control_maps)

    def exchanged(
        self, hand: Tensor, held: Tensor, keep: bool
    ) -> tuple[Tensor, Tensor, tuple[Tensor | None, Tensor | None]]:
        """Both streams after they have met."""
        if self.for_hand is None:
            return hand, held, (None, None)
        if self.settings.exchange == "harmonious":
            # The hand attends to both streams at once: above each other as one tall map.
            both = torch.cat([hand, held.detach()], dim=2)
            own, hand_looks = self.for_hand(both, both, keep)
            seen, object_looks = self.for_object(held, hand, keep)
            return own[:, :, : hand.shape[2]], seen, (hand_looks, object_looks)
        own, hand_looks = self.for_hand(hand, held, keep)
        seen, object_looks = self.for_object(held, hand, keep)
        return own, seen, (hand_looks, object_looks)

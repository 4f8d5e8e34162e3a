"""The three estimators that are trained with and without the intersection loss (Sec. III-B to III-D, III-G).

Chapter  book/intersections/tables.md
Source   Ivashechkin et al., "Two Hands Are Better Than One". The paper gives sizes (ResNet-50 with about 2
         million parameters on top, 9.5 million for the uplift) and the parts of the uplift; widths, depths
         and normalisations are the book's reconstruction
Units    metres in and out; networks see and give units of `UNIT`; keypoints in pixels
Frames   any one frame for both hands; the image network and the uplift speak of the camera's frame
Sides    a pair is (2, 21, 3), right hand first, the left one AS IT STANDS (not reflected). The uplift
         predicts two RIGHT hands and reflects the second one (x -> -x); nothing else here knows handedness
Place    of a pair is unknown to all of them (only how its hands stand to each other): every output is
         `centred`, that is, the middle between its wrists is the origin

                input                                output
ImageNetwork    picture of both hands                42 joints
UpliftNetwork   2D keypoints of both hands           angles, bone lengths, offset: 42 joints by kinematics
RefineNetwork   42 joints that another one estimated 42 joints
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hands_lib.hand.kinematics import (
    DEFAULT_LIMITS,
    Skeleton,
    forward_kinematics,
    mirror,
    rest_bone_lengths,
)
from hands_lib.hand.pairs import left_mirrored
from hands_lib.hand.skeleton import NUM_JOINTS
from hands_lib.nn.backbones import timm_library
from hands_lib.structures import HandPose, TensorFields

UNIT = 0.1  # metres: numbers of the order of 1 for the networks
_NUM_NUMBERS = 2 * NUM_JOINTS * 3
_LONGEST = 0.3  # bone lengths stay within exp(+-0.3) of the rest hand's: 0.74 to 1.35
_NUM_ANGLES = 6 + 10 + 45  # of a hand: global rotation, palm, joints


def centred(joints: Float[Tensor, "*batch 2 21 3"]) -> Float[Tensor, "*batch 2 21 3"]:
    """The pairs moved so that the middle between their wrists is the origin."""
    return joints - joints[..., :1, :].mean(dim=-3, keepdim=True)


def mirrored_pair(joints: Float[Tensor, "*batch 2 21 3"]) -> Float[Tensor, "*batch 2 21 3"]:
    """The pairs seen in a mirror: x -> -x, and the right hand has become the left one."""
    return mirror(joints).flip(-3)


@dataclass(frozen=True)
class PairEstimate(TensorFields):
    """What an estimator says of a batch of pairs."""

    joints: Float[Tensor, "pair 2 21 3"]
    """Metres, centred."""
    skeletons: Skeleton | None = None
    """Batch (pair, 2), of two RIGHT hands (the second one's reflection is the left hand), where the estimator
    knows how bones are turned; they need no fitting to get a surface."""


def stacked_layers(sizes: list[int], normalised: bool = False) -> nn.Sequential:
    """Linear layers with relu between; optionally a layer normalisation before every relu."""
    layers: list[nn.Module] = []
    for size_in, size_out in zip(sizes[:-2], sizes[1:-1], strict=True):
        layers += [nn.Linear(size_in, size_out), *([nn.LayerNorm(size_out)] if normalised else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:]))


def parameter_count(module: nn.Module) -> int:
    """Trainable numbers."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


# --- (a) from a picture --------------------------------------------------------------------------------


class ImageNetwork(nn.Module):
    """Features of an image backbone, then a few linear layers to the joints of both hands (Sec. III-G).

    backbone  any of timm's names, untrained; the paper's is resnet50
    width     of the two hidden layers; 700 gives the 2 million parameters on top of ResNet-50

    Raises ValueError for a backbone that timm does not know, ImportError where timm is not installed.
    """

    def __init__(self, backbone: str = "resnet50", width: int = 700):
        super().__init__()
        timm = timm_library()  # the other estimators do not need it
        if not timm.is_model(backbone):
            raise ValueError(f"timm knows no backbone {backbone!r}; for example resnet50, resnet18")
        self.backbone = timm.create_model(backbone, pretrained=False, num_classes=0)
        with torch.no_grad():  # its own word for the width is not always that of what it returns
            features = self.backbone.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
        self.head = stacked_layers([features, width, width, _NUM_NUMBERS])
        self.train()

    def forward(self, image: Float[Tensor, "pair 3 height width"]) -> PairEstimate:
        """`image` with values 0 to 1."""
        numbers = self.head(self.backbone(2 * image - 1))
        return PairEstimate(centred(UNIT * numbers.unflatten(1, (2, NUM_JOINTS, 3))))


# --- (b) from keypoints --------------------------------------------------------------------------------


class UpliftOutput(NamedTuple):
    """What the three submodules say."""

    angles: Float[Tensor, "pair 2 61"]
    """Of two right hands: two vectors that span the global rotation (6), palm (10), joints (45)."""
    lengths: Float[Tensor, "pair 2 20"]
    offset: Float[Tensor, "pair 3"]
    """From the right to the left wrist, in units of `UNIT`."""


class UpliftNetwork(nn.Module):
    """3D hands from 2D keypoints, by three submodules (Sec. III-D): joint angles with the global orientation,
    bone lengths, offset between the hands.

    Angles are held within the default limits of the joints, lengths near those of the rest hand.

    width, depth  of the hidden layers of each submodule; the defaults give the paper's 9.5 million
                  parameters
    """

    def __init__(self, width: int = 1000, depth: int = 4):
        super().__init__()
        num_in = 2 * NUM_JOINTS * 2
        hidden = [num_in, *([width] * depth)]
        self.angles = stacked_layers([*hidden, 2 * _NUM_ANGLES], normalised=True)
        self.lengths = stacked_layers([*hidden, 2 * 20], normalised=True)
        self.offset = stacked_layers([*hidden, 3], normalised=True)

    def forward(self, keypoints: Float[Tensor, "pair 2 21 2"]) -> PairEstimate:
        """`keypoints` in pixels, right hand first; neither where in the image nor how large matters."""
        output = self.submodules(normalised_keypoints(keypoints))
        return pair_of_hands(output)

    def submodules(self, keypoints: Float[Tensor, "pair 2 21 2"]) -> UpliftOutput:
        """Of normalised keypoints."""
        flat = keypoints.flatten(1)
        return UpliftOutput(
            self.angles(flat).unflatten(1, (2, _NUM_ANGLES)),
            self.lengths(flat).unflatten(1, (2, 20)),
            self.offset(flat),
        )


def normalised_keypoints(keypoints: Float[Tensor, "pair 2 21 2"]) -> Float[Tensor, "pair 2 21 2"]:
    """Minus the mean of all 42, over their root mean square distance from it."""
    rest = keypoints - keypoints.mean(dim=(1, 2), keepdim=True)
    size = rest.square().sum(dim=-1).mean(dim=(1, 2)).sqrt()
    return rest / size.clamp(min=1e-6)[:, None, None, None]


def pair_of_hands(output: UpliftOutput) -> PairEstimate:
    """Two right hands by forward kinematics, of which the second is reflected and set off from the first."""
    # a NamedTuple's numbers may come in bfloat16 from autocast; kinematics wants them exact
    turn, palm, joint = (part.float() for part in output.angles.split([6, 10, 45], dim=-1))
    offset, lengths = output.offset.float() * UNIT, output.lengths.float()
    limits = DEFAULT_LIMITS.to(joint)
    middle = torch.stack([-offset, mirror(offset)], dim=1) / 2  # the second wrist in its reflected world
    pose = HandPose(
        root_translation=middle,
        root_rotation=rotation_of_two_vectors(turn),
        palm_angles=_within(palm.unflatten(-1, (5, 2)), limits.palm_lower, limits.palm_upper),
        joint_angles=_within(joint.unflatten(-1, (5, 3, 3)), limits.joint_lower, limits.joint_upper),
        bone_lengths=rest_bone_lengths(lengths) * (_LONGEST * lengths.unflatten(-1, (5, 4)).tanh()).exp(),
    )
    skeletons = forward_kinematics(pose)
    return PairEstimate(left_mirrored(skeletons.joints), skeletons)


def rotation_of_two_vectors(vectors: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation whose first two columns are the vectors made orthonormal; zeros give the identity.

    A continuous parameterisation (Zhou et al., CVPR 2019); the constant keeps an untrained network away from
    vectors that span nothing.
    """
    first, second = (vectors + vectors.new_tensor([1.0, 0, 0, 0, 1.0, 0])).split(3, dim=-1)
    first = torch.nn.functional.normalize(first, dim=-1, eps=1e-8)
    second = second - (first * second).sum(dim=-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1, eps=1e-8)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def _within(values: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Smoothly between bounds; 0 gives the rest angle 0 pulled inside them."""
    rest = torch.zeros_like(lower).clamp(lower, upper)
    room = torch.where(values > 0, upper - rest, rest - lower)
    return rest + room * torch.where(room > 0, values / room.clamp(min=1e-6), 0.0).tanh()


# --- (c) from another estimator's joints ---------------------------------------------------------------


class RefineNetwork(nn.Module):
    """The 3D-to-3D network: 126 numbers in, 126 out (Sec. III-B).

    It is placed behind an estimator that cannot be trained here, and fine-tuned in its stead. The paper
    trains it until its accuracy is that of the estimator. Here it starts there:

    residual  the layers' output is added to the input and is zero before training, so that the network gives
              back what it gets (reconstruction); False: plain layers
    """

    def __init__(self, width: int = 512, depth: int = 2, residual: bool = True):
        super().__init__()
        self.residual = residual
        self.layers = stacked_layers([_NUM_NUMBERS, *([width] * depth), _NUM_NUMBERS])
        if residual:
            last = self.layers[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, joints: Float[Tensor, "pair 2 21 3"]) -> PairEstimate:
        """`joints` in metres; where the pair stands does not matter."""
        joints = centred(joints)
        numbers = self.layers(joints.flatten(1) / UNIT).float() * UNIT
        estimate = numbers.unflatten(1, (2, NUM_JOINTS, 3))
        return PairEstimate(centred(joints + estimate if self.residual else estimate))


# --- stand-ins -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PublishedEstimator:
    """An estimator of Table I that is not run here: the world's truth with errors of its published size
    stands in for it."""

    name: str
    """The row of Table I."""
    method: str
    mpjpe_mm: float
    """Of interacting hands of InterHand2.6M."""
    source: str


STAND_INS: dict[str, PublishedEstimator] = {
    entry.name: entry
    for entry in (
        PublishedEstimator("Xiong", "A2J", 11.2, "the paper, Sec. III-B"),
        PublishedEstimator(
            "Moon", "InterNet", 16.02, "InterHand2.6M, Table 3, as its issue 62 quotes it; wrists aligned"
        ),
        PublishedEstimator(
            "Li", "IntagHand", 8.80, "page of its released code; middle base and scale aligned"
        ),
        PublishedEstimator(
            "Zhang",
            "Interacting two-hand pose and shape",
            13.48,
            "second hand: the comparison in IntagHand's paper, not looked up; scale aligned",
        ),
        PublishedEstimator("Hampali", "Keypoint Transformer", 14.7, "the paper, Sec. III-B"),
    )
}
"""Alignments differ between these sources, so the numbers do not rank the methods."""

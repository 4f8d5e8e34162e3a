"""What data sets of hands with objects annotate: the pose of a known object, and a fitted MANO hand.

Units    metres, radians
Frame    objects in the camera's, as OpenCV's (x right, y down, z forward): x_camera = R x_object + t
Objects  the YCB set (Calli et al., ICAR 2015); the meshes' own frames are those of the set's files
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from hands_lib.hand.mano import Side
from hands_lib.structures import TensorFields

YCB_CLASSES: dict[int, str] = dict(
    enumerate(
        (
            "002_master_chef_can", "003_cracker_box", "004_sugar_box", "005_tomato_soup_can",
            "006_mustard_bottle", "007_tuna_fish_can", "008_pudding_box", "009_gelatin_box",
            "010_potted_meat_can", "011_banana", "019_pitcher_base", "021_bleach_cleanser", "024_bowl",
            "025_mug", "035_power_drill", "036_wood_block", "037_scissors", "040_large_marker",
            "051_large_clamp", "052_extra_large_clamp", "061_foam_brick",
        ),
        start=1,
    )
)  # fmt: skip
"""The 21 objects of YCB-Video, by the number that DexYCB gives them."""
SYMMETRIC_CLASSES = (13, 16, 20, 21)
"""Objects that look the same in several poses: `metrics.hand_object.add_s_mm` is meant for them."""


@dataclass(frozen=True)
class HeldObject(TensorFields):
    """A known object and where it is."""

    name: str
    """The model's name, as 006_mustard_bottle."""
    label: int
    """The data set's own number of it."""
    rotation: Float[Tensor, "3 3"]
    """camera_from_object."""
    translation: Float[Tensor, "3"]
    corners: Float[Tensor, "8 3"] | None = None
    """Of the box around the model, in the camera's frame; None where the data set does not give them."""
    rest_corners: Float[Tensor, "8 3"] | None = None
    """The same in the model's own frame."""

    def transform(self, points: Float[Tensor, "point 3"]) -> Float[Tensor, "point 3"]:
        """Points of the model in the camera's frame, metres."""
        return points @ self.rotation.mT + self.translation


@dataclass(frozen=True)
class HandFit(TensorFields):
    """MANO's parameters exactly as the data set has them: in its own frame and by its own convention.

    The frames of the readers know how they become a surface: `HO3DFrame.surface`, `DexYCBFrame.surface`.
    """

    side: Side
    pose: Float[Tensor, "48"]
    """The root's axis-angle, and 45 angles or coefficients (`hand.mano.CONVENTIONS` says which)."""
    shape: Float[Tensor, "10"]
    translation: Float[Tensor, "3"]
    """Added after the root has turned about the wrist joint."""

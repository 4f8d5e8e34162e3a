"""What the living figures compute, as torch modules of plain tensors that `export.exported` can see through.

Units, frames and names are those of the methods whose functions are called here; nothing is reimplemented.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.kinematics import Skeleton, forward_kinematics, mirror
from hands_lib.hand.surface import HandShape, hand_surface, prepare_surface
from hands_lib.hand.surface.topology import Detail
from hands_lib.methods.intersections.loss import frozen
from hands_lib.methods.intersections.occupancy import OccupancyNetwork
from hands_lib.methods.intersections.points import dense_points, reflect
from hands_lib.methods.refinement.network import RefinementNetwork
from hands_lib.methods.va_nerf.network import Observation, VANeRF
from hands_lib.methods.va_nerf.observation import Evidence, InputView, Queries
from hands_lib.structures import Camera, HandPose

ANGLE_COST = 3e-3
"""Metres a radian: how much a bent joint costs against a moved one, as in `untangle`."""


class PosedHands(nn.Module):
    """Two hands from where each stands, how it is turned and its joint angles.

    unknowns  of each hand: 3 of place (metres), 3 of turn (axis times angle), 45 joint angles (radians)
    rotation, palm, lengths  what stays: the root's rotation before the turn, palm angles, bone lengths

    As in `HandPose`, the left hand's are those of a right hand in a mirrored world; what comes out stands in
    the common world.
    """

    def __init__(self, detail: Detail = "refined"):
        super().__init__()
        self.detail: Detail = detail
        prepare_surface(detail, torch.zeros(0))

    def skeletons(self, unknowns: Tensor, rotation: Tensor, palm: Tensor, lengths: Tensor) -> Skeleton:
        place, turn, angles = unknowns.split([3, 3, 45], dim=-1)
        rotation = axis_angle_to_matrix(turn) @ rotation
        return forward_kinematics(HandPose(place, rotation, palm, angles.unflatten(-1, (5, 3, 3)), lengths))

    def forward(
        self,
        unknowns: Float[Tensor, "2 51"],
        rotation: Float[Tensor, "2 3 3"],
        palm: Float[Tensor, "2 5 2"],
        lengths: Float[Tensor, "2 5 4"],
    ) -> tuple[Float[Tensor, "2 21 3"], Float[Tensor, "2 vertex 3"]]:
        """Joints and thin surfaces."""
        skeletons = self.skeletons(unknowns, rotation, palm, lengths)
        vertices = hand_surface(skeletons, HandShape.thin(like=lengths), self.detail).vertices
        return _in_world(skeletons.joints), _in_world(vertices)


class IntersectionStep(PosedHands):
    """The intersection loss of a pair on the dense points of both hands, and the way down.

    What is descended is  loss + hold * (squared moves of joints + c^2 * squared turns of angles),  the loss
    being Eq. 1 with alpha = 1: `hold` says what a metre is worth.
    """

    def __init__(self, network: OccupancyNetwork):
        super().__init__("plain")
        self.network = frozen(network)

    def forward(
        self,
        unknowns: Float[Tensor, "2 51"],
        rotation: Float[Tensor, "2 3 3"],
        palm: Float[Tensor, "2 5 2"],
        lengths: Float[Tensor, "2 5 4"],
        start: Float[Tensor, "2 51"],
        hold: Float[Tensor, ""],
        left: Int[Tensor, " left"],
        left_counts: Float[Tensor, " left"],
        right: Int[Tensor, " right"],
        right_counts: Float[Tensor, " right"],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss, the gradient for the unknowns (2, 51), the probabilities of the tested points.

        start         unknowns that the pair is held at
        left, right   numbers of the dense points of each hand that are tested against the other one
        *_counts      1 for each, or 0 for a point that only keeps a list from being empty
        """
        with torch.enable_grad():
            free = unknowns.detach().requires_grad_(True)
            joints = _in_world(self.skeletons(free, rotation, palm, lengths).joints)
            of_left = self._probability(joints[0], dense_points(joints[1])[left])
            of_right = self._probability(reflect(joints[1]), reflect(dense_points(joints[0])[right]))
            loss = (left_counts * of_left.square()).sum() + (right_counts * of_right.square()).sum()
            given = _in_world(self.skeletons(start, rotation, palm, lengths).joints)
            moved = (joints - given).square().sum()
            turned = (free - start)[:, 3:].square().sum()
            (gradient,) = torch.autograd.grad(loss + hold * (moved + ANGLE_COST**2 * turned), free)
        return loss.detach(), gradient, of_left.detach(), of_right.detach()

    def _probability(self, joints: Tensor, points: Tensor) -> Tensor:
        """Of points to lie in one right hand."""
        return self.network.logits(points[None], self.network.condition(joints[None]))[0].sigmoid()


def _in_world(points: Float[Tensor, "2 point 3"]) -> Float[Tensor, "2 point 3"]:
    return torch.stack([points[0], mirror(points[1])])


class ObservePicture(nn.Module):
    """What VA-NeRF's texture branch makes of an input picture: its map, the averages of both hands."""

    def __init__(self, network: VANeRF):
        super().__init__()
        self.encoder = network.texture_encoder
        self.texture_terms = network._global_terms

    def forward(
        self, image: Float[Tensor, "1 height width 3"], silhouettes: Bool[Tensor, "1 2 height width"]
    ) -> tuple[Float[Tensor, "1 channel rows columns"], Float[Tensor, "1 2 known"]]:
        texture = self.encoder(image)
        vertices, joints = image.new_zeros(1, 2, 1, 3), image.new_zeros(1, 2, 21, 3)  # of no matter here
        faces = torch.zeros(2, 1, 3, dtype=torch.long)
        camera = Camera(torch.eye(3)[None], torch.eye(4)[None], image.shape[2], image.shape[1])
        view = InputView(image, camera, vertices, joints, faces)
        evidence = Evidence(torch.zeros(1, 2, dtype=torch.bool), silhouettes)
        return texture, self.texture_terms(view, texture, evidence)


class AskPoint(nn.Module):
    """VAFF's weights and the colour of one query point (Eqs. 2 and 3)."""

    def __init__(self, network: VANeRF, faces: Int[Tensor, "2 face 3"]):
        super().__init__()
        self.network = network
        self.register_buffer("faces", faces, persistent=False)

    def forward(
        self,
        point: Float[Tensor, "1 3"],
        vertex: Int[Tensor, "1"],
        visible: Bool[Tensor, "1"],
        vertex_visible: Bool[Tensor, "1 vertices"],
        image: Float[Tensor, "1 height width 3"],
        texture: Float[Tensor, "1 channel rows columns"],
        averages: Float[Tensor, "1 2 known"],
        intrinsics: Float[Tensor, "1 3 3"],
        camera_from_world: Float[Tensor, "1 4 4"],
        vertices: Float[Tensor, "1 2 vertex 3"],
        joints: Float[Tensor, "1 2 21 3"],
    ) -> tuple[Float[Tensor, "1 term"], Float[Tensor, "1 3"], Float[Tensor, "3 2"]]:
        """Weights in the order of `FeatureFusion.terms`, colour, and the pixels of q, p and p'."""
        camera = Camera(intrinsics, camera_from_world, image.shape[2], image.shape[1])
        view = InputView(image, camera, vertices, joints, self.faces)
        num = vertices.shape[2]
        partner = (vertex + num) % (2 * num)
        both = vertices.flatten(1, 2)
        scene = torch.zeros(2 * num, dtype=torch.long)
        at_vertices = self.network._texture_at(view, texture, scene, camera.project(both)[0])
        nowhere, blank = image.new_zeros(1, 1, 1, 1), image.new_zeros(1, 2 * num, 1)  # not looked at
        height, width = image.shape[1:3]
        observed = Observation(
            view,
            Evidence(vertex_visible, torch.zeros(1, 2, height, width, dtype=torch.bool)),
            (nowhere, nowhere), texture, (blank, blank), at_vertices[None], averages,
        )  # fmt: skip
        none = point.new_zeros(1)
        queries = Queries(torch.zeros(1, dtype=torch.long), point, none, vertex, visible)
        readings = self.network.read(observed, queries)
        places = torch.cat([point, both[0, vertex], both[0, partner]])
        weights = self.network.fuse_texture(observed, readings).weights
        return (
            weights,
            self.network.colour(observed, readings, none[:, None]),
            camera.project(places[None])[0],
        )


class RefinementStages(nn.Module):
    """Every estimate of a refinement network, the initial one first."""

    def __init__(self, network: RefinementNetwork):
        super().__init__()
        self.network = network
        prepare_surface(network.hands.detail, torch.zeros(0))

    def forward(
        self, image: Float[Tensor, "1 3 height width"]
    ) -> tuple[
        Float[Tensor, "stage 2 21 3"],
        Float[Tensor, "stage 2 vertex 3"],
        Float[Tensor, "stage 2 21 2"],
        Float[Tensor, "stage 2 vertex 2"],
        Float[Tensor, "stage 3"],
    ]:
        """Joints and vertices about each wrist (metres, camera axes), both in the picture, the offsets."""
        found = self.network(image).estimates
        names = ("joints", "vertices", "joints_uv", "vertices_uv")
        return (
            *(torch.stack([getattr(one, name)[0] for one in found]) for name in names),
            torch.stack([one.offset[0] for one in found]),
        )

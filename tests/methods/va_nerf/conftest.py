import pytest
import torch
from va_nerf_cases import SIZE, ring

from hands_lib.hand.kinematics import forward_kinematics, mirror, rest_pose
from hands_lib.hand.pairs import pair_faces
from hands_lib.hand.surface import hand_surface
from hands_lib.methods.va_nerf.observation import InputView
from hands_lib.structures import Camera


@pytest.fixture(scope="session")
def view() -> InputView:
    """Two scenes of a hand and its mirror image, nearer and farther apart, seen from two sides."""
    skeleton = forward_kinematics(rest_pose())
    hand = hand_surface(skeleton, detail="refined").vertices
    place = torch.tensor([[0.05, -0.1, 0.0], [0.03, -0.1, 0.02]])

    def pairs(points):
        right = points + place[:, None]
        return torch.stack([right, mirror(right)], dim=1)

    vertices = pairs(hand)
    cameras = ring(7, vertices[0])
    camera = Camera(cameras.intrinsics[[0, 2]], cameras.camera_from_world[[0, 2]], SIZE, SIZE)
    image = torch.rand(2, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0))
    return InputView(image, camera, vertices, pairs(skeleton.joints), pair_faces())


@pytest.fixture(scope="session")
def points(view: InputView) -> torch.Tensor:
    """300 points near each pair, on, in and around it."""
    generator = torch.Generator().manual_seed(1)
    vertices = view.vertices.flatten(1, 2)
    chosen = torch.randint(vertices.shape[1], (300,), generator=generator)
    return vertices[:, chosen] + 0.01 * torch.randn(2, 300, 3, generator=generator)

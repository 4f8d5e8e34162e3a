"""A tiny capture in exactly InterHand2.6M's format, and a moving hand, made by the project itself.

They stand in wherever no real data is. Nothing in them is measured: joints come from forward kinematics of
poses designed here, photographs from `worlds.renderer`. Same seed, same bytes.

Chapter  book/foundations/real_captures.md
Units    metres and radians inside; millimetres in the files, as the format has it
Frames   world: x right, y down, z away from the first camera; hands about one metre in front of the cameras
Order    the library's inside; "interhand26m" in the files, right hand first
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.data.interhand26m_writer import InterHandWriter
from hands_lib.hand.kinematics import forward_kinematics, mirror, rest_pose
from hands_lib.hand.skeleton import JOINT_ORDERS, NUM_JOINTS
from hands_lib.hand.surface import hand_surface
from hands_lib.structures import Camera, HandPose, TwoHandSample
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.renderer import Lighting, build_scene, render, surroundings
from hands_lib.worlds.texture import hand_textures

SPLIT = "test"
CAPTURE = 0
SUBJECT = 0
HANDS = ("right", "left")
_WIDTH, _HEIGHT = 334, 512
_INVALID = ("right", "little_4")  # one joint of the first sequence is marked invalid, with plausible numbers
_CUFF = 0.012  # metres from the wrist
_DIGITS = 4  # after the decimal point, in the files

# Degrees; a row per digit, thumb to little finger: base flexion, base abduction, middle and end flexion.
_OPEN = ((8, 12, 6, 4), (4, 4, 6, 4), (2, 0, 7, 4), (4, -3, 8, 5), (7, -7, 9, 5))
_FIST = ((34, -8, 38, 42), (76, 4, 96, 58), (80, 0, 100, 60), (80, -3, 98, 58), (78, -6, 92, 55))
_FLAT = ((-16, -20, 6, 8), (-1, 1, 2, 1), (-1, 0, 2, 1), (-1, -1, 2, 1), (-1, -2, 2, 1))

# A dark studio with y down: key light from the upper left behind the cameras, rim from the right behind the
# hands.
_LIGHT = Lighting(
    key=torch.nn.functional.normalize(torch.tensor([-0.55, -0.75, -0.65]), dim=0),
    rim=torch.nn.functional.normalize(torch.tensor([0.6, -0.4, 0.6]), dim=0),
    key_colour=torch.tensor([1.75, 1.65, 1.5]),
    rim_colour=torch.tensor([0.5, 0.55, 0.62]),
    sky=torch.tensor([0.20, 0.21, 0.22]),
    ground=torch.tensor([0.26, 0.27, 0.28]),
)


def write_capture(root: str | Path, seed: int = 0) -> Path:
    """Writes the capture into the new or empty folder `root` and returns it.

    Three sequences, each with one time step seen by two cameras: an open right hand, a left fist, and a pair
    of praying hands. Raises DataError where `root` already holds something.
    """
    writer = InterHandWriter(Path(root), SPLIT, _DIGITS)
    generator = np.random.default_rng(seed)
    cameras = _cameras()
    both = Camera(
        torch.stack([camera.intrinsics for camera in cameras.values()]).float(),
        torch.stack([camera.camera_from_world for camera in cameras.values()]).float(),
        _WIDTH,
        _HEIGHT,
    )
    person = sample_identities(1, seed + 1)[0]
    textures = hand_textures(person.skin, int(person.texture_seed))
    background = surroundings(
        "studio", torch.Generator().manual_seed(seed), _LIGHT
    )  # the studio stays the same
    for frame, (sequence, hand_type, hands) in enumerate(_scenes(generator), start=1):
        world = torch.zeros(2, NUM_JOINTS, 3, dtype=torch.float64)
        valid = torch.zeros(2, NUM_JOINTS, dtype=torch.bool)
        for side, hand in hands.items():
            world[HANDS.index(side)] = hand.joints
            valid[HANDS.index(side)] = True
        if hand_type == _INVALID[0]:
            joint = JOINT_ORDERS["hands"].index(_INVALID[1])
            valid[0, joint] = False
            world[0, joint] += torch.tensor([0.021, -0.034, 0.055], dtype=torch.float64)
        sides = [HANDS.index(side) for side in hands]
        meshes = [hand.mesh() for hand in hands.values()]
        scene = build_scene(
            torch.stack([vertices for vertices, _ in meshes]),
            [faces for _, faces in meshes],
            textures[sides],
            [(hand.arm, hand.side == "left") for hand in hands.values()],
            person.skin,
            torch.tensor([0.05, 0.10, 0.13]),
            _CUFF,
        )
        images, _ = render(scene, both, _LIGHT, background, grain=1.6, seed=seed * 1009 + frame)
        writer.add(
            TwoHandSample(world, valid),
            {name: (cameras[name], image.numpy()) for name, image in zip(cameras, images, strict=True)},
            capture=CAPTURE,
            frame=101
            * frame,  # frames are numbered per capture, not per sequence: distinct, and not consecutive
            sequence=sequence,
            subject=SUBJECT,
            hand_type=hand_type,
        )
    return writer.close()


def skeleton_sequence(frames: int = 60, seed: int = 0) -> Float[Tensor, "frame 21 3"]:
    """A right hand that turns and closes its fingers one after another; its wrist stays at the origin.

    Joints in metres in the library's order. The motion is smooth and comes back to its start.
    """
    generator = np.random.default_rng(seed)
    phase = torch.arange(frames, dtype=torch.float64) * (2 * torch.pi / frames)
    # Each digit follows its neighbour by an eighth of the cycle.
    closing = (1 - torch.cos(phase[:, None] - torch.arange(5) * (torch.pi / 4))) / 2
    start = _hand_pose(_OPEN, generator)
    end = _hand_pose(_FIST, generator)
    # The thumb stays outside, so that no finger passes through it.
    reach = closing * torch.tensor([0.35, 1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    angles = torch.lerp(start.joint_angles, end.joint_angles, reach[:, :, None, None])
    turn = 0.5 * torch.sin(phase)
    pose = replace(
        rest_pose(frames, like=start.joint_angles),
        joint_angles=angles,
        root_rotation=_rotation("y", turn),
        bone_lengths=start.bone_lengths.expand(frames, 5, 4),
    )
    return forward_kinematics(pose).joints.float()


class _PlacedHand:
    """A hand in the world: `pose` is a right hand's; a left hand is its mirror image, then placed."""

    def __init__(self, pose: HandPose, side: str, rotation: Tensor, wrist: Tensor):
        self.skeleton = forward_kinematics(pose)
        self.side, self.rotation, self.wrist = side, rotation, wrist

    def place(self, points: Tensor) -> Tensor:
        return (mirror(points) if self.side == "left" else points) @ self.rotation.mT + self.wrist

    @property
    def joints(self) -> Tensor:
        return self.place(self.skeleton.joints)

    @property
    def arm(self) -> Tensor:
        """Direction of the forearm, from the wrist: backwards along the hand."""
        return -self.rotation[:, 1].float()

    def mesh(self) -> tuple[Tensor, Tensor]:
        """Vertices and faces of the refined surface in the world."""
        mesh = hand_surface(self.skeleton, detail="refined")
        faces = mesh.faces if self.side == "right" else mesh.faces.flip(-1)  # a mirror turns the winding
        return self.place(mesh.vertices).float(), faces


def _scenes(generator: np.random.Generator) -> list[tuple[str, str, dict[str, _PlacedHand]]]:
    """Sequence name, hand type and hands of each time step."""
    upright = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))  # palm seen, fingers up
    centre = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)

    def hand(angles, side: str, rotation: Tensor, wrist: tuple[float, float, float]) -> _PlacedHand:
        pose = _hand_pose(angles, generator)
        return _PlacedHand(pose, side, rotation, centre + torch.tensor(wrist, dtype=torch.float64))

    right = hand(_OPEN, "right", _rotation("y", -0.35) @ _rotation("z", 0.12) @ upright, (-0.01, 0.085, 0.0))
    left = hand(_FIST, "left", _rotation("y", 0.9) @ _rotation("z", -0.10) @ upright, (0.0, 0.055, 0.0))
    # Praying: palms face each other across the plane x = 0, thumbs to the cameras; then turned as a pair.
    pair = _rotation("y", 0.75) @ _rotation("z", -0.45)
    facing = {}
    for side, sign in (("right", 1.0), ("left", -1.0)):
        palm_to_palm = torch.tensor(
            [[0.0, 0.0, -sign], [0.0, -1.0, 0.0], [-sign, 0.0, 0.0]], dtype=torch.float64
        )
        # The wrists are wider apart than the fingertips, which touch.
        wrist = pair @ torch.tensor([-sign * 0.036, 0.095, 0.0], dtype=torch.float64)
        lean = _rotation("z", sign * 0.15)
        facing[side] = hand(_FLAT, side, pair @ lean @ palm_to_palm, tuple(wrist.tolist()))
    return [
        ("0001_rh", "right", {"right": right}),
        ("0002_lh", "left", {"left": left}),
        ("0003_dh", "interacting", facing),
    ]


def _hand_pose(angles, generator: np.random.Generator, jitter: float = 1.5) -> HandPose:
    """A right hand at the origin with the given angles, each within `jitter` degrees, and its own lengths."""
    pose = rest_pose(like=torch.zeros((), dtype=torch.float64))
    table = np.asarray(angles, dtype=float)
    table = np.deg2rad(table + generator.uniform(-jitter, jitter, table.shape))
    joint_angles = torch.zeros(5, 3, 3, dtype=torch.float64)
    joint_angles[:, :, 0] = torch.from_numpy(table[:, [0, 2, 3]])
    joint_angles[:, 0, 1] = torch.from_numpy(table[:, 1])
    scale = 1 + 0.03 * generator.uniform(-1, 1, (5, 4))
    return replace(pose, joint_angles=joint_angles, bone_lengths=pose.bone_lengths * torch.from_numpy(scale))


def _rotation(axis: str, angle: float | Tensor) -> Tensor:
    angle = torch.as_tensor(angle, dtype=torch.float64)
    cos, sin = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = {
        "y": [cos, zero, sin, zero, one, zero, -sin, zero, cos],
        "z": [cos, -sin, zero, sin, cos, zero, zero, zero, one],
    }[axis]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def _cameras() -> dict[str, Camera]:
    """Two colour cameras about a metre from the hands, with an angle of some 35 degrees between them."""
    target = np.array([0.0, 0.0, 1.0])
    cameras = {}
    for name, position, focal, centre in (
        ("400262", (-0.12, -0.06, 0.01), (1262.3, 1261.8), (166.31, 257.84)),
        ("400263", (0.50, -0.12, 0.12), (1258.7, 1259.1), (168.92, 253.17)),
    ):
        forward = target - position
        forward /= np.linalg.norm(forward)
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        camera_from_world = np.eye(4)
        camera_from_world[:3, :3] = [right, np.cross(forward, right), forward]
        camera_from_world[:3, 3] = -camera_from_world[:3, :3] @ position
        intrinsics = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
        cameras[name] = Camera(
            torch.from_numpy(intrinsics), torch.from_numpy(camera_from_world), _WIDTH, _HEIGHT
        )
    return cameras

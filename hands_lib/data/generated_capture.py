"""A tiny capture in exactly InterHand2.6M's format, and a moving hand, made by the project itself.

They stand in wherever no real data is. Nothing in them is measured: joints come from forward kinematics of
poses designed here, photographs are drawn. Same seed, same bytes.

Chapter  book/foundations/real_captures.md
Units    metres and radians inside; millimetres in the files, as the format has it
Frames   world: x right, y down, z away from the first camera; hands about one metre in front of the cameras
Order    the library's inside; "interhand26m" in the files, right hand first
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from hands_lib.data.errors import DataError
from hands_lib.data.studio import Prop, photograph
from hands_lib.hand.kinematics import forward_kinematics, mirror, rest_pose
from hands_lib.hand.skeleton import DIGITS, JOINT_ORDERS, NUM_JOINTS, PARENTS, reorder
from hands_lib.hand.surface import hand_surface
from hands_lib.structures import Camera, HandPose

SPLIT = "test"
CAPTURE = 0
SUBJECT = 0
HANDS = ("right", "left")
_WIDTH, _HEIGHT = 334, 512
_BOX_MARGIN = 1.2  # the release's boxes are the joints' box, this much larger about its centre
_INVALID = ("right", "little_4")  # one joint of the first sequence is marked invalid, with plausible numbers

# Degrees; a row per digit, thumb to little finger: base flexion, base abduction, middle and end flexion.
_OPEN = ((8, 12, 6, 4), (4, 4, 6, 4), (2, 0, 7, 4), (4, -3, 8, 5), (7, -7, 9, 5))
_FIST = ((34, -8, 38, 42), (76, 4, 96, 58), (80, 0, 100, 60), (80, -3, 98, 58), (78, -6, 92, 55))
_FLAT = ((-16, -20, 6, 8), (-1, 1, 2, 1), (-1, 0, 2, 1), (-1, -1, 2, 1), (-1, -2, 2, 1))


def write_capture(root: str | Path, seed: int = 0) -> Path:
    """Writes the capture into the new or empty folder `root` and returns it.

    Three sequences, each with one time step seen by two cameras: an open right hand, a left fist, and a pair
    of praying hands. Raises DataError where `root` already holds something.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} already holds something: name a new or an empty folder")
    generator = np.random.default_rng(seed)
    cameras = _cameras()
    skin = _skin(generator)
    lamps = {name: generator.uniform(0.05, 0.95, (5, 2)) for name in cameras}  # the studio stays the same
    images, annotations, steps = [], [], {}
    for frame, (sequence, hand_type, hands) in enumerate(_scenes(generator), start=1):
        frame *= 101  # frames are numbered per capture, not per sequence: distinct, and not consecutive
        world = torch.zeros(2, NUM_JOINTS, 3, dtype=torch.float64)
        valid = torch.zeros(2, NUM_JOINTS, dtype=torch.bool)
        for side, hand in hands.items():
            world[HANDS.index(side)] = hand.joints
            valid[HANDS.index(side)] = True
        if hand_type == _INVALID[0]:
            joint = JOINT_ORDERS["hands"].index(_INVALID[1])
            valid[0, joint] = False
            world[0, joint] += torch.tensor([0.021, -0.034, 0.055], dtype=torch.float64)
        absent = ~valid.any(dim=1)
        on_disk = reorder(1000 * world, "hands", "interhand26m")
        on_disk[absent] = 1.0  # what the release writes for a hand that is not there
        steps[str(frame)] = {
            "world_coord": _rounded(on_disk.flatten(0, 1), 4),
            "joint_valid": reorder(valid[..., None], "hands", "interhand26m").flatten(0, 1).tolist(),
            "hand_type": hand_type,
            "hand_type_valid": True,
            "seq": sequence,
        }
        props = [prop for hand in hands.values() for prop in _props(hand, skin)]
        for name, camera in cameras.items():
            number = len(images)
            file_name = f"Capture{CAPTURE}/{sequence}/cam{name}/image{frame}.jpg"
            path = root / "images" / SPLIT / file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photograph(props, camera, generator, lamps[name])).save(path, quality=92)
            pixels = camera.project(world)
            inside = ((pixels >= 0) & (pixels <= torch.tensor([_WIDTH - 1, _HEIGHT - 1]))).all(dim=-1) & valid
            flags = reorder(inside[..., None].int(), "hands", "interhand26m").flatten(0, 1)
            images.append(
                {
                    "id": number, "file_name": file_name, "width": _WIDTH, "height": _HEIGHT,
                    "capture": CAPTURE, "subject": SUBJECT, "seq_name": sequence, "camera": name,
                    "frame_idx": frame,
                }
            )  # fmt: skip
            annotations.append(
                {
                    "id": number, "image_id": number, "bbox": _box(pixels[inside]),
                    "joint_valid": flags.tolist(), "hand_type": hand_type, "hand_type_valid": 1,
                }
            )  # fmt: skip
    folder = root / "annotations" / SPLIT
    folder.mkdir(parents=True)
    for kind, content in (
        ("data", {"images": images, "annotations": annotations}),
        ("camera", {str(CAPTURE): _camera_entry(cameras)}),
        ("joint_3d", {str(CAPTURE): steps}),
    ):
        (folder / f"InterHand2.6M_{SPLIT}_{kind}.json").write_text(json.dumps(content), encoding="utf-8")
    (root / "annotations" / "skeleton.txt").write_text(_skeleton_text(), encoding="utf-8")
    return root


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


def _camera_entry(cameras: dict[str, Camera]) -> dict:
    entry: dict[str, dict] = {"campos": {}, "camrot": {}, "focal": {}, "princpt": {}}
    for name, camera in cameras.items():
        rotation, translation = camera.camera_from_world[:3, :3], camera.camera_from_world[:3, 3]
        entry["campos"][name] = _rounded(-1000 * rotation.mT @ translation, 4)
        entry["camrot"][name] = _rounded(rotation, 9)
        entry["focal"][name] = _rounded(camera.intrinsics.diagonal()[:2], 4)
        entry["princpt"][name] = _rounded(camera.intrinsics[:2, 2], 4)
    return entry


def _rounded(values: Tensor, digits: int) -> list:
    return (values.numpy().round(digits) + 0.0).tolist()  # + 0.0 turns -0.0 into 0.0


def _box(pixels: Tensor) -> list[float]:
    low, high = pixels.amin(dim=0), pixels.amax(dim=0)
    size = _BOX_MARGIN * (high - low)
    return _rounded(torch.cat([(low + high - size) / 2, size]), 4)


def _skeleton_text() -> str:
    """The release's table of joints: name, number, parent's number."""
    order = JOINT_ORDERS["interhand26m"]
    names = {"little": "pinky"}
    lines = ["# joint name, joint id, parent joint id"]
    for side, start in (("r", 0), ("l", NUM_JOINTS)):
        for row, joint in enumerate(order):
            digit, _, number = joint.partition("_")
            parent = PARENTS[JOINT_ORDERS["hands"].index(joint)]
            above = -1 if parent < 0 else start + order.index(JOINT_ORDERS["hands"][parent])
            lines.append(f"{side}_{names.get(digit, digit)}{number} {start + row} {above}")
    return "\n".join(lines) + "\n"


def _skin(generator: np.random.Generator) -> np.ndarray:
    """Linear RGB of one person's skin."""
    light, dark = np.array([0.62, 0.36, 0.25]), np.array([0.30, 0.15, 0.09])
    return light + generator.uniform(0, 0.6) * (dark - light)


def _props(hand: _PlacedHand, skin: np.ndarray) -> list[Prop]:
    vertices, faces = _hand_mesh(hand)
    tips = hand.joints[[4 * (digit + 1) for digit in range(len(DIGITS))]].numpy()
    to_tip = np.linalg.norm(vertices[:, None] - tips, axis=-1).min(axis=1)
    blush = np.exp(-((to_tip / 0.018) ** 2))[:, None] * (0.06, -0.015, -0.01)
    mottling = 1 + 0.05 * np.sin(vertices @ np.array([[310.0], [270.0], [230.0]]))
    arm, arm_faces = _sleeve(hand)
    cloth = np.tile([0.05, 0.10, 0.13], (len(arm), 1))
    albedo = np.clip(skin * mottling + blush, 0.01, 1)
    return [Prop(vertices, faces, albedo, gloss=0.05), Prop(arm, arm_faces, cloth)]


def _sleeve(hand: _PlacedHand) -> tuple[np.ndarray, np.ndarray]:
    """A forearm in cloth whose cuff hides the wrist, backwards along the hand."""
    start = torch.tensor([[0.0, 0.006, -0.001]], dtype=torch.float64)
    # Rings crowd at both ends, where the tube closes.
    rings = (1 - torch.linspace(0, torch.pi, 40, dtype=torch.float64).cos())[:, None] / 2
    around = torch.linspace(0, 2 * torch.pi, 33, dtype=torch.float64)[:-1]
    # An elliptic tube that swells towards the elbow and closes at both ends.
    swell = 0.0285 + 0.015 * rings
    closing = torch.sqrt((1 - (2 * rings - 1) ** 40).clamp(min=0))
    tube = torch.stack(
        [
            (1.14 * swell * closing) * around.cos(),
            (-0.20 * rings).expand(-1, len(around)),
            (1.0 * swell * closing) * around.sin(),
        ],
        dim=-1,
    )
    vertices = hand.place((tube + start).flatten(0, 1)).numpy()
    faces = _tube_faces(len(rings), len(around), outwards=hand.side == "right")
    return vertices, faces


def _hand_mesh(hand: _PlacedHand) -> tuple[np.ndarray, np.ndarray]:
    """The hand's refined surface in the world."""
    mesh = hand_surface(hand.skeleton, detail="refined")
    faces = mesh.faces if hand.side == "right" else mesh.faces.flip(-1)  # a mirror turns the winding
    return hand.place(mesh.vertices).numpy(), faces.numpy()


def _tube_faces(rings: int, around: int, outwards: bool) -> np.ndarray:
    ring, step = np.mgrid[0 : rings - 1, 0:around].reshape(2, -1)
    a, b = ring * around + step, ring * around + (step + 1) % around
    corners = [(a, b, b + around), (a, b + around, a + around)]
    faces = np.concatenate([np.stack(corner, axis=-1) for corner in corners])
    return faces if outwards else faces[:, ::-1].copy()

"""Small data sets of hands with objects in the official forms, from MANO's stand-in, and their truth."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from hands_lib.data.dexycb import SERIALS, SUBJECTS
from hands_lib.data.dexycb_writer import DexYCBView, DexYCBWriter
from hands_lib.data.held_objects import HandFit, HeldObject
from hands_lib.data.ho3d import HandContact, flipped
from hands_lib.data.ho3d_writer import HO3DAnnotation, HO3DWriter
from hands_lib.hand.mano import CONVENTIONS, ManoHand, fix_left_shape
from hands_lib.hand.mano_stand_in import stand_in
from hands_lib.structures import Camera

WIDTH, HEIGHT = 64, 48  # of HO-3D's fixture: readers take the picture's own size
EXTRINSICS = "20200702_151821"


@cache
def hands(convention: str) -> dict[str, ManoHand]:
    """What `mano_hands` makes of a person's own files, from the stand-in."""
    own = CONVENTIONS[convention]
    right, left = stand_in("right"), stand_in("left")
    if own.fix_left_shape:
        left = fix_left_shape(right, left)
    rest = {"flat_hand_mean": own.flat_hand_mean, "tips": own.tips, "components": own.components}
    return {"right": ManoHand(right, "right", **rest), "left": ManoHand(left, "left", **rest)}


# --- HO-3D -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HO3DTruth:
    root: Path
    annotations: dict[str, HO3DAnnotation]
    """By SPLIT/SEQUENCE/FRAME."""
    camera: Camera
    depth: torch.Tensor


def ho3d_annotation(number: int, version: str = "v2", split: str = "train") -> HO3DAnnotation:
    """A hand and an object in front of the camera."""
    generator = torch.Generator().manual_seed(number)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    pose = 0.2 * normal(48)
    fit = HandFit("right", pose, 0.5 * normal(10), torch.tensor([0.02, 0.01, -0.6]) + 0.02 * normal(3))
    surface = hands("ho3d")["right"](fit.pose[None], fit.shape[None], fit.translation[None])
    joints, vertices = flipped(surface.joints[0]), flipped(surface.vertices[0])
    axis_angle = normal(3)
    gl = torch.from_numpy(Rotation.from_rotvec(axis_angle.double().numpy()).as_matrix()).float()
    place = torch.tensor([0.03, -0.02, -0.65]) + 0.02 * normal(3)
    rest = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)]) * torch.tensor(
        [0.05, 0.08, 0.03]
    )
    held = HeldObject(
        name="006_mustard_bottle", label=5, rotation=torch.diag(torch.tensor([1.0, -1, -1])) @ gl,
        translation=flipped(place), corners=flipped(rest @ gl.mT + place), rest_corners=rest,
    )  # fmt: skip
    contact = HandContact(
        touching=torch.rand(778, generator=generator) < 0.2, distance=0.01 * normal(778).abs(),
        inside=torch.rand(778, generator=generator) < 0.1, nearest=normal(778, 3),
    )  # fmt: skip
    annotation = HO3DAnnotation(joints, vertices, fit, held, axis_angle)
    if split == "evaluation":
        return replace(annotation, box=torch.tensor([10.0, 5.0, 40.0, 30.0]))
    return replace(annotation, contact=contact if version == "v3" else None)


def write_ho3d(root: Path, version: str = "v2") -> HO3DTruth:
    """Two frames to train on and a third that is not annotated, and two to evaluate."""
    writer = HO3DWriter(root, version)
    intrinsics = torch.tensor([[60.0, 0, 31.5], [0, 61.0, 23.25], [0, 0, 1]])
    camera = Camera(intrinsics, torch.eye(4), WIDTH, HEIGHT)
    depth = torch.linspace(0, 8, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    annotations = {}
    frames = [("train", "FX1", 0), ("train", "FX1", 1), ("train", "FX1", 2), ("evaluation", "FX2", 0)]
    for number, (split, sequence, frame) in enumerate([*frames, ("evaluation", "FX2", 7)]):
        annotation = None if number == 2 else ho3d_annotation(number, version, split)
        image = np.full((HEIGHT, WIDTH, 3), 60 + 20 * number, np.uint8)
        writer.add(split, sequence, frame, image, depth, camera, annotation)
        if annotation is not None:
            annotations[f"{split}/{sequence}/{frame:04d}"] = annotation
    return HO3DTruth(writer.close(), annotations, camera, depth)


# --- DexYCB ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DexYCBTruth:
    root: Path
    views: dict[tuple[int, str], list[DexYCBView]]
    """By recording and camera."""
    extrinsics: dict[str, torch.Tensor]
    intrinsics: torch.Tensor
    shape: torch.Tensor
    world_objects: torch.Tensor
    world_hand: torch.Tensor
    """Of the last recording."""


SIDES_OF = ("right", "right", "left", "right", "left")
FRAMES = 2


def write_dexycb(root: Path, python_tuples: bool = True) -> DexYCBTruth:
    """One person, five recordings of two frames by two cameras; in the last frame of the first recording one
    camera's hand has no label, and an object is not known."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    serials = SERIALS[0], SERIALS[6]
    second = torch.eye(4)
    second[:3, :3] = torch.from_numpy(Rotation.from_rotvec([0.1, 0.8, -0.2]).as_matrix()).float()
    second[:3, 3] = torch.tensor([-0.6, 0.05, 0.2])
    extrinsics = {serials[0]: torch.eye(4), serials[1]: second}
    intrinsics = torch.tensor([[613.076, 0, 313.028], [0, 611.999, 245.009], [0, 0, 1]])
    writer = DexYCBWriter(
        root, dict.fromkeys(serials, intrinsics), extrinsics, EXTRINSICS, python_tuples=python_tuples
    )
    shape = 0.5 * normal(10)
    views, ids = {}, (1, 11, 5)
    for recording, side in enumerate(SIDES_OF):
        own: dict[str, list[DexYCBView]] = {serial: [] for serial in serials}
        hand = hands("dexycb")[side]
        world_hand = torch.zeros(FRAMES, 51)
        world_objects = torch.full((FRAMES, len(ids), 7), torch.nan)
        for frame in range(FRAMES):
            world_hand[frame] = torch.cat([0.3 * normal(48), torch.tensor([0.05, 0.02, 0.7])])
            turns = Rotation.random(len(ids), random_state=100 * recording + frame)
            places = 0.1 * normal(len(ids), 3) + torch.tensor([0.0, 0.0, 0.8])
            world_objects[frame] = torch.cat([torch.from_numpy(turns.as_quat()).float(), places], dim=1)
            missing = (recording, frame) == (0, 1)
            if missing:
                world_objects[frame, 1] = torch.nan
            for serial in serials:
                camera_from_world = torch.linalg.inv(extrinsics[serial])
                fit = _in_camera(world_hand[frame], camera_from_world, hand, shape)
                joints = hand(fit[None, :48], shape[None], fit[None, 48:]).joints[0]
                pixels = joints @ intrinsics.T
                matrices = torch.from_numpy(turns.as_matrix()).float()
                objects = [
                    None if world_objects[frame, n].isnan().any()
                    else _moved(camera_from_world, matrices[n], places[n])
                    for n in range(len(ids))
                ]  # fmt: skip
                unlabelled = missing and serial == serials[1]
                seg = torch.zeros(480, 640, dtype=torch.uint8)
                seg[100:200, 100:300], seg[150:250, 250:400] = ids[0], 255
                own[serial].append(
                    DexYCBView(
                        image=np.full((480, 640, 3), 100 + 10 * frame, np.uint8),
                        depth=torch.full((480, 640), 0.7 + 0.001 * recording),
                        segmentation=seg,
                        joints=None if unlabelled else joints,
                        image_joints=None if unlabelled else pixels[:, :2] / pixels[:, 2:],
                        hand=None if unlabelled else fit,
                        objects=objects,
                    )
                )
        writer.add(
            SUBJECTS[0], f"20200709_14{recording:02d}00", own, ycb_ids=ids, grasped=2, side=side, shape=shape,
            shape_name=f"20200709_140042_subject-01_{side}", world_objects=world_objects,
            world_hand=world_hand,
        )  # fmt: skip
        views |= {(recording, serial): frames for serial, frames in own.items()}
    return DexYCBTruth(root, views, extrinsics, intrinsics, shape, world_objects, world_hand)


def _moved(pose: torch.Tensor, rotation: torch.Tensor, place: torch.Tensor):
    return pose[:3, :3] @ rotation, pose[:3, :3] @ place + pose[:3, 3]


def _in_camera(world: torch.Tensor, pose: torch.Tensor, hand: ManoHand, shape: torch.Tensor) -> torch.Tensor:
    """The same hand in the camera's frame: MANO turns about its wrist, so the translation takes that up."""
    turn = (
        pose[:3, :3] @ torch.from_numpy(Rotation.from_rotvec(world[:3].double().numpy()).as_matrix()).float()
    )
    root = torch.from_numpy(Rotation.from_matrix(turn.double().numpy()).as_rotvec()).float()
    rest = hand(torch.zeros(1, 48), shape[None], torch.zeros(1, 3)).joints[0, 0]
    place = pose[:3, :3] @ (rest + world[48:]) + pose[:3, 3] - rest
    return torch.cat([root, world[3:48], place])

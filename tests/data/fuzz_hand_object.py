"""What `fuzz_targets.py` damages of data sets of hands with objects, and of predictions for their evaluation.

Each reader's numbers are compared with those that the file now holds, read by Python's own unpickler, json,
numpy and yaml. A damaged pickle is unpickled only after the restricted reader took it: then it names nothing
that could run.
"""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from hand_object_sets import write_dexycb, write_ho3d
from hostile_pickles import hostile_pickles

from hands_lib.data.dexycb import SERIALS, DexYCB
from hands_lib.data.hand_object_results import (
    read_dexycb_predictions,
    read_ho3d_predictions,
    write_dexycb_predictions,
    write_ho3d_predictions,
)
from hands_lib.data.ho3d import HO3D

FINGERS = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
OPENGL = np.array([1.0, -1.0, -1.0])


def hand_object_targets(new: Callable, target: type, same: Callable, fault: type, forged: dict) -> list:
    """The targets; what makes them (`fuzz_targets`) imports this module, so it hands its parts over.

    new     a folder by its name
    forged  by a file's suffix, what people have met
    """
    makers = (_ho3d_meta, _ho3d_truth, _dexycb_labels, _dexycb_yaml, _predictions)
    return [make(new(make.__name__.strip("_")), target, same, fault, forged) for make in makers]


def _ho3d_meta(folder: Path, target: type, same: Callable, fault: type, forged: dict):
    root = write_ho3d(folder / "ho3d", "v3").root
    paths = [*sorted(root.rglob("*.pkl")), root / "train.txt", root / "evaluation.txt"]
    trace = folder / "trace"

    def read(target) -> str:
        left = 0
        for split in ("train", "evaluation"):
            dataset = HO3D(root, split, version="v3")
            for frame in dataset:
                content = pickle.loads(
                    (root / split / frame.sequence / "meta" / f"{frame.name}.pkl").read_bytes(),
                    encoding="latin1",
                )
                if frame.sample.joint_valid.any():
                    joints = np.asarray(content["handJoints3D"], np.float64).reshape(-1, 3)
                    rows = FINGERS if split == "train" else [0]
                    same(frame.sample.joints[0, : len(rows)], joints[rows] * OPENGL, "joints")
                if frame.fit is not None:
                    same(frame.fit.pose, np.asarray(content["handPose"]).reshape(48), "pose")
                if frame.held is not None:
                    same(frame.held.translation, np.reshape(content["objTrans"], 3) * OPENGL, "object")
            left += len(dataset) - len(dataset.usable()[0])
        if trace.exists():
            raise fault("a program ran")
        return "counted skip" if left else "harmless"

    def forgeries(path: Path) -> dict:
        if path.suffix == ".pkl":
            call = f"cposix\nsystem\n(S'touch {trace}'\ntR.".encode()
            return hostile_pickles() | {"a call": call, "nothing": b""}
        return {
            "nothing": b"", "a path that leaves": b"../../x/0000\n", "twice": path.read_bytes() * 2,
            "a null character": b"FX1/00\0\n", "a megabyte": b"x" * (1 << 20),
            "not ASCII": "Hände/0\n".encode(), "other frames": b"FX1/0002\nFX1/0001\n",
        }  # fmt: skip

    # A list may name a frame that is not there.
    return target("HO-3D metadata", paths, read, forgeries, lambda path: [path, root])


def _ho3d_truth(folder: Path, target: type, same: Callable, fault: type, forged: dict):
    root = write_ho3d(folder / "ho3d").root
    paths = [root / "evaluation_xyz.json", root / "evaluation_verts.json"]

    def read(target) -> str:
        truth = HO3D(root, "evaluation").truth()
        joints, vertices = (
            np.array(json.loads(path.read_text(encoding="utf-8")), np.float64) for path in paths
        )
        same(truth.joints, joints[:, FINGERS] * OPENGL, "joints")
        same(truth.vertices, vertices * OPENGL, "vertices")
        return "harmless"

    return target("HO-3D truth", paths, read, forged[".json"])


def _dexycb_labels(folder: Path, target: type, same: Callable, fault: type, forged: dict):
    root = write_dexycb(folder / "dexycb").root
    recording = next((root / "20200709-subject-01").iterdir())
    paths = [*sorted((recording / SERIALS[0]).glob("labels_*.npz")), recording / "pose.npz"]

    def read(target) -> str:
        dataset = DexYCB(root)
        if target.path.name == "pose.npz":
            poses = dataset.world_poses(next(s for s in dataset.sequences if s.folder == recording))
            file = _arrays(target.path)
            same(poses.hand, file["pose_m"][:, 0], "hand")
            same(poses.object_translation, file["pose_y"][..., 4:], "places")
            return "harmless"
        places = [path.parent / path.name.replace("color", "labels") for path in dataset.image_paths()]
        frame = dataset[[path.with_suffix(".npz") for path in places].index(target.path)]
        file = _arrays(target.path)
        missing = (file["joint_3d"] == -1).all()
        same(
            frame.sample.joints.sum(dim=0),
            np.zeros((21, 3)) if missing else file["joint_3d"][0],
            "joints",
        )
        same(frame.segmentation, file["seg"], "segmentation")
        for found, pose in zip(frame.objects, file["pose_y"], strict=True):
            same(np.zeros(3) if found is None else found.translation, pose[:, 3], "object")
        return "harmless"

    return target("DexYCB labels", paths, read, forged[".npz"])


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """numpy.load takes an archive with something before it for a pickle."""
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy"): np.load(archive.open(name)) for name in archive.namelist()}


def _dexycb_yaml(folder: Path, target: type, same: Callable, fault: type, forged: dict):
    root = write_dexycb(folder / "dexycb").root
    calibration = root / "calibration"
    paths = [next((root / "20200709-subject-01").iterdir()) / "meta.yml", *sorted(calibration.rglob("*.yml"))]

    def read(target) -> str:
        dataset = DexYCB(root)
        frames = [dataset[number] for number in range(len(dataset))]
        poses = dataset.world_from_camera(dataset.sequences[0])
        if target.path.name == "extrinsics.yml":
            content = yaml.load(target.path.read_text().replace("!!python/tuple", ""), yaml.SafeLoader)
            for serial, pose in poses.items():
                same(pose[:3].flatten(), np.array(content["extrinsics"][serial], float), "extrinsics")
        if target.path.name == "mano.yml":
            betas = np.array(yaml.safe_load(target.path.read_text())["betas"], float)
            name = target.path.parent.name.removeprefix("mano_")
            for frame in frames:
                if frame.fit is not None and frame.sequence.mano_calibration == name:
                    same(frame.fit.shape, betas, "shape")
        return "harmless"

    def forgeries(path: Path) -> dict:
        return forged[".yml"](path) | {
            "a tuple of objects": b"betas: !!python/tuple [!!python/object/apply:os.system [x]]\n",
            "numbers of text": path.read_bytes().replace(b"- ", b"- a"),
            "infinite": path.read_bytes().replace(b"- ", b"- .inf #"),
            "a path that leaves": path.read_bytes().replace(b"subject-01_", b"../../"),
        }

    # Other frames and other folders where `meta.yml` says so.
    return target("DexYCB YAML", paths, read, forgeries, lambda path: [path, root])


def _predictions(folder: Path, target: type, same: Callable, fault: type, forged: dict):
    generator = torch.Generator().manual_seed(0)
    joints, vertices = (torch.rand(2, rows, 3, generator=generator, dtype=torch.float64) for rows in (21, 30))
    paths = [
        write_ho3d_predictions(folder / "pred.json", joints, vertices),
        write_dexycb_predictions(folder / "hpe.txt", joints),
    ]

    def read(target) -> str:
        if target.path.suffix == ".json":
            found = read_ho3d_predictions(target.path)
            xyz, verts = json.loads(target.path.read_text(encoding="utf-8"))
            same(found.joints, np.array(xyz, np.float64)[:, FINGERS] * OPENGL, "joints")
            same(found.vertices, np.array(verts, np.float64) * OPENGL, "vertices")
            return "harmless"
        found, predicted = read_dexycb_predictions(target.path, 2)
        for line in target.path.read_text().splitlines():
            number, *values = line.split(",")
            same(1000 * found[int(number)].flatten(), np.array(values, float), "joints")
        return "harmless" if predicted.all() else "counted skip"

    def forgeries(path: Path) -> dict:
        if path.suffix == ".json":
            return forged[".json"](path)
        return {
            "nothing": b"", "twice": path.read_bytes() * 2, "a zip": b"PK\x03\x04" + bytes(1000),
            "a number of a megabyte": b"9" * (1 << 20) + b",1" * 63, "a million commas": b"," * (1 << 20),
            "infinite": b"0" + b",1e999" * 63, "not ASCII": "0,é".encode(),
        }  # fmt: skip

    return target("predictions", paths, read, forgeries)

"""Small data sets in the layouts of the releases, written as the releases' own readers describe them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

COUNT = 3  # poses of FreiHAND
CAPTURE = "m--0001--two-hands"
ROWS = (
    ["wrist"] + [f"thumb_{n}" for n in range(5)]
    + [f"{finger}_{n}" for finger in ("index", "middle", "ring") for n in range(1, 5)]
    + [f"little_{n}" for n in range(5)] + ["forearm"]
)  # fmt: skip
LIBRARY = ["wrist"] + [
    f"{f}_{n}" for f in ("thumb", "index", "middle", "ring", "little") for n in range(1, 5)
]
ROTATION = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def write_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def picture(path: Path, level: int = 120) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 60), (level, level, level)).save(path)


def keypoints(frame: int, side: str) -> np.ndarray:
    return np.random.default_rng([frame, side == "left"]).uniform(-200, 200, (24, 3)).round(3)


def write_reinterhand(root: Path) -> Path:
    """A capture of three moments: the second photograph of one camera is black, the last has no keypoints."""
    capture = root / "data" / CAPTURE
    params = {
        "R": ROTATION.tolist(),
        "t": [10.0, 20.0, 900.0],
        "focal": [50.0, 51.0],
        "princpt": [20.0, 30.0],
    }
    write_json(capture / "Mugsy_cameras" / "cam_params.json", {"400001": params, "400002": params})
    studio = capture / "Mugsy_cameras" / "envmap_per_segment" / "images"
    ego = capture / "Ego_cameras" / "envmap_per_segment"
    for frame in (0, 7, 11):
        for camera in ("400001", "400002"):
            picture(studio / camera / f"{frame:06d}.png", 3 if (frame, camera) == (7, "400002") else 120)
        picture(ego / "images" / f"{frame:06d}.png")
        write_json(ego / "cam_params" / f"{frame:06d}.json", params | {"D": [0.1, -0.02, 0.003, -0.0004]})
    write_json(ego / "truncation_ratio.json", {"000000": 0.9, "000007": 0.1, "000011": 0.5})
    for frame in (0, 7):  # the last moment has no keypoints
        for side in ("right", "left"):
            if (frame, side) != (7, "left"):
                path = capture / "orig_fits" / side / "Keypoints" / f"keypoint-{frame:06d}.json"
                write_json(path, keypoints(frame, side).tolist())
    fit = {"pose": [0.1] * 48, "shape": [0.2] * 10, "trans": [0.01, 0.02, 0.9]}
    for side in ("right", "left"):
        write_json(capture / "mano_fits" / "params" / f"0_{side}.json", fit)
    return root


def write_freihand(root: Path) -> Path:
    """Three poses in their four versions, and one photograph of the evaluation without joints."""
    generator = np.random.default_rng(0)
    K = np.tile([[480.0, 0, 112], [0, 481, 110], [0, 0, 1]], (COUNT, 1, 1))
    xyz = generator.uniform(-0.1, 0.1, (COUNT, 21, 3)) + [0, 0, 0.7]
    content = {"K": K, "xyz": xyz, "mano": generator.normal(size=(COUNT, 1, 61))}
    for kind, values in content.items():
        (root / f"training_{kind}.json").write_text(json.dumps(values.tolist()))
    (root / "evaluation_K.json").write_text(json.dumps(K[:1].tolist()))
    for split, count in (("training", 4 * COUNT), ("evaluation", 1)):
        folder = root / split / "rgb"
        folder.mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (224, 224), (20 * number + 15, 90, 80)).save(folder / f"{number:08d}.jpg")
    return root

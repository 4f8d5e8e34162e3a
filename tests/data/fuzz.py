"""Damages annotation files, photographs and pickles at random, and sees what their readers make of them.

A reader may refuse a file with an error that names it, may leave a photograph out and count it, or may find
that the damage changed nothing that it reads. Everything else is a fault: another exception, a hang, a
program that ran, or a sample whose numbers are not those that the file now holds.

    python tests/data/fuzz.py --count 2000
"""

import argparse
import json
import math
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where this runs as a program

from mano_pickles import official_pickle

from hands_lib.data.errors import DataError
from hands_lib.data.freihand import COCO_FILE, FreiHand
from hands_lib.data.generated_capture import write_capture
from hands_lib.data.interhand26m import InterHand26M
from hands_lib.data.skipped import photograph_fault
from hands_lib.hand.mano import ManoError, read_mano_pickle
from hands_lib.hand.mano_stand_in import stand_in

LONGEST = 20  # seconds for one file; a hang ends here
HOSTILE = (
    None, True, -1, 0, 3, 1e300, -1e300, math.nan, math.inf, 2**70, "", "a", "../../x", "\0", [], {}, [[]],
    [1, 2], {"a": 1}, 10**400, "é" * 50, 1.5,
)  # fmt: skip


class _Hang(Exception):
    pass


def mutate_bytes(raw: bytes, generator: np.random.Generator) -> bytes:
    """Cuts, flips, repeats, removes or overwrites."""
    data = bytearray(raw)
    for _ in range(int(generator.integers(1, 4))):
        place = int(generator.integers(0, max(1, len(data))))
        length = int(generator.integers(1, 1 + max(1, len(data) // 8)))
        match int(generator.integers(0, 6)):
            case 0:
                data = data[:place]
            case 1 if data:
                data[place] ^= 1 << int(generator.integers(0, 8))
            case 2:
                data[place:place] = data[place : place + length]
            case 3:
                del data[place : place + length]
            case 4:
                data[place : place + min(length, 64)] = generator.bytes(min(length, 64))
            case 5:
                other = int(generator.integers(0, max(1, len(data))))
                data[place : place + 16] = data[other : other + 16]
    return bytes(data)


def mutate_json(content, generator: np.random.Generator):
    """Replaces, removes or renames something at a random depth; `content` is changed in place."""
    node = content
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = keys[int(generator.integers(len(keys)))]
        inner = node[key]
        if isinstance(inner, dict | list) and inner and generator.random() < 0.8:
            node = inner
            continue
        match int(generator.integers(0, 4)):
            case 0 | 1:
                node[key] = HOSTILE[int(generator.integers(len(HOSTILE)))]
            case 2:
                del node[key]
            case 3 if isinstance(node, dict):
                node[str(generator.integers(1000))] = node.pop(key)
            case _:
                node.insert(0, inner) if isinstance(node, list) else node.update({key: [inner]})
        return


class Fuzzer:
    """One intact copy of everything, and a place to damage one file of it at a time."""

    def __init__(self, folder: Path, seed: int):
        self.generator = np.random.default_rng(seed)
        self.capture = write_capture(folder / "capture", seed=0)
        annotations = self.capture / "annotations" / "test"
        fit = {"pose": [0.1] * 48, "shape": [0.2] * 10, "trans": [0.0, 0.1, 1.0]}
        frames = json.loads((annotations / "InterHand2.6M_test_joint_3d.json").read_text())["0"]
        fits = {"0": {frame: {"right": fit, "left": fit} for frame in frames}}
        (annotations / "InterHand2.6M_test_MANO_NeuralAnnot.json").write_text(json.dumps(fits))
        boxes = [{"annot_id": n, "bbox": [1, 2, 3, 4], "abs_depth": [900, 910]} for n in range(6)]
        rootnet = self.capture / "rootnet_output" / "rootnet_interhand2.6m_output_test.json"
        rootnet.parent.mkdir()
        rootnet.write_text(json.dumps(boxes))
        self.coco = folder / "coco"
        self.coco.mkdir()
        points = self.generator.uniform(20, 200, (4, 63)).tolist()
        (self.coco / COCO_FILE).write_text(json.dumps({
            "images": [{"id": n, "file_name": f"{n}.jpg", "width": 224, "height": 224} for n in range(4)],
            "annotations": [{"id": n, "image_id": n, "keypoints": points[n]} for n in range(4)],
        }))  # fmt: skip
        self.pickle = folder / "MANO_RIGHT.pkl"
        self.pickles = [official_pickle(stand_in("right"), protocol) for protocol in (0, 2, 4)]
        self.trace = folder / "trace"
        self.jsons = [*sorted(self.capture.rglob("*.json")), self.coco / COCO_FILE]
        self.images = sorted(self.capture.rglob("*.jpg"))

    def run(self, number: int) -> tuple[str, str]:
        """Kind of file and outcome."""
        kind = ("annotation", "annotation", "image", "pickle")[number % 4]
        return kind, getattr(self, f"_{kind}")()

    def _pick(self, things: list):
        return things[int(self.generator.integers(len(things)))]

    def _annotation(self) -> str:
        path = self._pick(self.jsons)
        raw = path.read_bytes()
        if self.generator.random() < 0.5:
            path.write_bytes(mutate_bytes(raw, self.generator))
        else:
            content = json.loads(raw)
            mutate_json(content, self.generator)
            path.write_text(json.dumps(content))
        try:
            return self._read_coco(path) if path.parent == self.coco else self._read_capture(path)
        finally:
            path.write_bytes(raw)

    def _read_capture(self, path: Path) -> str:
        try:
            dataset = InterHand26M(self.capture)
            frames = list(dataset)
            _, skipped = dataset.usable(mano=True)
        except DataError as error:
            return _named(path, error)
        _compare(self.capture, dataset, frames)
        return "counted skip" if skipped.kept < 6 else "harmless"

    def _read_coco(self, path: Path) -> str:
        try:
            frames = list(FreiHand(self.coco))
        except DataError as error:
            return _named(path, error)
        content = json.loads(path.read_text(encoding="utf-8"))
        for frame, annotation in zip(frames, content["annotations"], strict=True):
            table = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(21, 3)
            assert np.allclose(frame.image_joints, table[:, :2], atol=1e-3), "other joints than in the file"
        return "harmless"

    def _image(self) -> str:
        path = self._pick(self.images)
        raw = path.read_bytes()
        path.write_bytes(mutate_bytes(raw, self.generator))
        frame = next(frame for frame in InterHand26M(self.capture) if frame.image_path == path)
        try:
            fault = photograph_fault(path)
            pixels = frame.image()
            size = (frame.sample.camera.height, frame.sample.camera.width, 3)
            assert pixels.shape == size, "a photograph of another size"
            return "counted skip" if fault else "harmless"  # JPEG hides damage to single bytes
        except DataError as error:
            return _named(path, error)
        finally:
            path.write_bytes(raw)

    def _pickle(self) -> str:
        raw = mutate_bytes(self._pick(self.pickles), self.generator)
        if self.generator.random() < 0.3:  # a call of a program somewhere inside
            call = f"cposix\nsystem\n(S'touch {self.trace}'\ntR0".encode()
            place = int(self.generator.integers(len(raw)))
            raw = raw[:place] + call + raw[place:]
        self.pickle.write_bytes(raw)
        try:
            arrays = read_mano_pickle(self.pickle)
        except ManoError as error:
            return _named(self.pickle, error)
        finally:
            assert not self.trace.exists(), "a program ran"
        assert all(np.isfinite(array).all() for array in arrays.values())
        return "harmless"  # a byte of a number, or of a part that is not read


def _named(path: Path, error: Exception) -> str:
    if str(path) not in str(error):
        raise AssertionError(f"the error does not name {path}: {error}")
    return "named error"


def _compare(capture: Path, dataset: InterHand26M, frames: list) -> None:
    """Joints, flags and cameras against what the files hold now, read by json and numpy."""
    annotations = capture / "annotations" / "test"
    data, camera, joints = (
        json.loads((annotations / f"InterHand2.6M_test_{kind}.json").read_text(encoding="utf-8"))
        for kind in ("data", "camera", "joint_3d")
    )
    images = {image["id"]: image for image in data["images"]}
    assert len(frames) == len(dataset) == len(data["annotations"]), "samples are missing or too many"
    rows = [20] + [
        3 - joint + 4 * digit for digit in range(5) for joint in range(4)
    ]  # wrist, then from the base
    for frame, annotation in zip(frames, data["annotations"], strict=True):
        image = images[annotation["image_id"]]
        step = joints[str(image["capture"])][str(image["frame_idx"])]
        world = np.asarray(step["world_coord"], dtype=np.float64).reshape(2, 21, 3)[:, rows] / 1000
        flags = np.asarray(step["joint_valid"], dtype=np.float64).reshape(2, 21)[:, rows].astype(bool)
        assert np.array_equal(frame.sample.joint_valid.numpy(), flags), "other flags than in the file"
        expected = np.where(flags[..., None], world, 0)
        assert np.allclose(frame.sample.joints, expected, rtol=1e-6, atol=1e-6), (
            "other joints than in the file"
        )
        own = camera[str(image["capture"])]
        rotation = np.asarray(own["camrot"][image["camera"]], dtype=np.float64).reshape(3, 3)
        position = np.asarray(own["campos"][image["camera"]], dtype=np.float64).reshape(3) / 1000
        found = frame.sample.camera.camera_from_world.double()
        assert np.allclose(found[:3, :3], rotation, atol=1e-6), "another rotation than in the file"
        place = -rotation @ position
        assert np.allclose(found[:3, 3], place, rtol=1e-5, atol=1e-5), "another place than in the file"


def _alarm(*_) -> None:
    raise _Hang


def run(count: int, seed: int = 0) -> tuple[Counter, list[str]]:
    """Outcomes by kind of file and outcome, and what went wrong."""
    outcomes: Counter = Counter()
    faults = []
    folder = Path(tempfile.mkdtemp())
    before = signal.signal(signal.SIGALRM, _alarm)
    try:
        fuzzer = Fuzzer(folder, seed)
        for number in range(count):
            signal.alarm(LONGEST)
            try:
                outcomes[fuzzer.run(number)] += 1
            except (Exception, _Hang) as error:
                faults.append(f"file {number}: {type(error).__name__}: {error}")
            finally:
                signal.alarm(0)
    finally:
        signal.signal(signal.SIGALRM, before)
        shutil.rmtree(folder)
    return outcomes, faults


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.time()
    outcomes, faults = run(args.count, args.seed)
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{kind:<11} {outcome:<13} {count}")
    print(f"{args.count} files, {len(faults)} faults, {time.time() - start:.0f} s")
    print("\n".join(faults))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

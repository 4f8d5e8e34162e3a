"""How long and in how much memory a whole release of InterHand2.6M is indexed and opened again.

Writes annotation files of the release's size (about 1.4 GB by default) into a temporary folder, indexes and
opens them in processes of their own, prints what it measures, and deletes everything.

    python benchmarks/data/large_release.py --photographs 100000 --moments 250000
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CAMERAS = [str(400262 + number) for number in range(80)]
SPLIT = "train"
_OPEN = """
import resource, sys, time
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
def now():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1e3
from hands_lib.data.interhand26m import InterHand26M
before = now()
start = time.perf_counter()
data = InterHand26M(sys.argv[1], "train", cache=sys.argv[2])
opened = time.perf_counter() - start
frame = data[len(data) // 2]
print(f"{len(data)} photographs, {opened:.2f} s, peak {peak():.0f} MB in all, "
      f"of which imports {before:.0f} MB, joints sum {frame.sample.joints.double().sum():.6f}")
"""


def write_release(root: Path, photographs: int, moments: int, seed: int = 0) -> None:
    """Annotation of `photographs` pictures of the first of `moments` time steps, as the release spells it."""
    generator = np.random.default_rng(seed)
    folder = root / "annotations" / SPLIT
    folder.mkdir(parents=True)
    (root / "images" / SPLIT).mkdir(parents=True)
    flags = json.dumps([[1]] * 42)
    with (folder / f"InterHand2.6M_{SPLIT}_data.json").open("w") as file:
        file.write('{"images": [')
        for n in range(photographs):
            moment, camera = n % moments, CAMERAS[n // moments % len(CAMERAS)]
            image = {
                "id": n, "width": 334, "height": 512, "capture": 0, "subject": 0, "camera": camera,
                "file_name": f"Capture0/0390_dh_touchROM/cam{camera}/image{moment}.jpg",
                "seq_name": "0390_dh_touchROM", "frame_idx": moment,
            }  # fmt: skip
            file.write((", " if n else "") + json.dumps(image))
        file.write('], "annotations": [')
        for n, box in enumerate(generator.uniform(20, 200, (photographs, 4)).tolist()):
            file.write(
                f'{", " if n else ""}{{"id": {n}, "image_id": {n}, "bbox": {json.dumps(box)}, '
                f'"joint_valid": {flags}, "hand_type": "interacting", "hand_type_valid": 1}}'
            )
        file.write("]}")
    with (folder / f"InterHand2.6M_{SPLIT}_joint_3d.json").open("w") as file:
        file.write('{"0": {')
        rest = f'"joint_valid": {flags}, "hand_type": "interacting", "hand_type_valid": true'
        pool = [json.dumps(joints.tolist()) for joints in generator.normal(0, 300, (500, 42, 3))]
        for n in range(moments):
            file.write(f'{", " if n else ""}"{n}": {{"world_coord": {pool[n % 500]}, {rest}}}')
        file.write("}}")
    cameras = {
        "campos": {name: [0.0, 0.0, -1000.0] for name in CAMERAS},
        "camrot": {name: np.eye(3).tolist() for name in CAMERAS},
        "focal": {name: [1260.0, 1261.0] for name in CAMERAS},
        "princpt": {name: [166.0, 257.0] for name in CAMERAS},
    }
    (folder / f"InterHand2.6M_{SPLIT}_camera.json").write_text(json.dumps({"0": cameras}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=int, default=100_000)
    parser.add_argument("--moments", type=int, default=250_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root, cache = Path(temporary) / "release", Path(temporary) / "cache"
        write_release(root, args.photographs, args.moments)
        for path in sorted(root.glob("annotations/*/*.json")):
            print(f"{path.name}: {path.stat().st_size / 1e9:.2f} GB")
        for what in ("indexing", "opening again", "opening a third time"):
            result = subprocess.run(
                [sys.executable, "-c", _OPEN, str(root), str(cache)],
                check=True,
                capture_output=True,
                text=True,
            )
            print(f"{what}: {result.stdout.strip()}", flush=True)
        print(f"index: {sum(path.stat().st_size for path in cache.rglob('*.safetensors')) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()

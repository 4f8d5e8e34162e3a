"""The kinds of files that `fuzz.py` damages: an intact copy of each, its reader, and what that must find.

A target damages one of its files at a time, by bytes, by structure, or by something forged that people have
met (`forged`); the file is put back afterwards.
"""

import hashlib
import io
import json
import math
import os
import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from fuzz_hand_object import hand_object_targets
from hostile_pickles import hostile_pickles
from mano_pickles import official_pickle
from PIL import Image
from safetensors.torch import save
from small_sets import CAPTURE, write_freihand, write_reinterhand

from hands_lib.cache import made_once
from hands_lib.data import manifest
from hands_lib.data.errors import DataError
from hands_lib.data.freihand import COCO_FILE, FreiHand
from hands_lib.data.generated_capture import skeleton_sequence, write_capture
from hands_lib.data.halo_sequence import read_halo_sequence
from hands_lib.data.hand_pair_files import read_hand_pairs, read_keypoints
from hands_lib.data.images import read_image
from hands_lib.data.interhand26m import InterHand26M
from hands_lib.data.reinterhand import ReInterHand
from hands_lib.data.skipped import photograph_fault
from hands_lib.hand.kinematics import forward_kinematics, rest_pose
from hands_lib.hand.mano import ManoError, read_mano, read_mano_pickle
from hands_lib.hand.mano_stand_in import stand_in
from hands_lib.plain_yaml import read_yaml
from hands_lib.reproduce.checkpoints import load_checkpoint, save_checkpoint
from hands_lib.reproduce.jobs import JobLine, Weights
from hands_lib.reproduce.project import ProjectError
from hands_lib.reproduce.weights import read_weights

_NO_FILES = ("no file", "pipe", "device", "folder")
REFUSALS = (DataError, ManoError, ProjectError)
HOSTILE = (
    None, True, -1, 0, 3, 1e300, -1e300, math.nan, math.inf, 2**70, "", "a", "1.5", "../../x", "\0", [], {},
    [[]], [1, 2], [True], ["1"], {"a": 1}, 10**400, "é" * 50, 1.5, "x" * 100_000, "\ud800",
)  # fmt: skip


Forged = dict[str, bytes | Callable[[], bytes]]
"""What people have met, by name; what takes long to make is made when it is wanted."""


class Fault(Exception):
    """A reader gave other numbers than those of the file."""


# --- damage ----------------------------------------------------------------------------------------------


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


def mutate_json(content, generator: np.random.Generator) -> None:
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


class Target:
    """One file or several of one kind, and their reader."""

    def __init__(
        self,
        kind: str,
        paths: list[Path],
        read: Callable[["Target"], str],
        forged: Callable[[Path], Forged] | None = None,
        named: Callable[[Path], list[Path | str]] = lambda path: [path],
    ):
        self.kind, self.paths, self._read, self._named = kind, paths, read, named
        self.forged = forged or (lambda _: {})
        self.path = paths[0]

    @contextmanager
    def damaged(self, generator: np.random.Generator, turn: int) -> Iterator[str]:
        """The target with one file damaged; in words how. Every third turn takes the next forged file, or
        puts something else than a file there."""
        self.path = self.paths[int(generator.integers(len(self.paths)))]
        raw = self.path.read_bytes()
        try:
            if turn % 3 == 0:
                forged = self.forged(self.path) | {name: name for name in _NO_FILES}
                damage = list(forged)[turn // 3 % len(forged)]
                self._put(forged[damage])
            elif turn % 3 == 1 and self.path.suffix == ".json":
                damage, content = "structure", json.loads(raw)
                mutate_json(content, generator)
                self._put(json.dumps(content).encode("utf-8", "surrogatepass"))
            else:
                damage = "bytes"
                self._put(mutate_bytes(raw, generator))
            yield f"{self.path.name}: {damage}"
        finally:
            self._clear()
            self.path.write_bytes(raw)

    def _put(self, content: bytes | str | Callable[[], bytes]) -> None:
        content = content() if callable(content) else content
        if isinstance(content, bytes):
            self.path.write_bytes(content)
            return
        self._clear()
        match content:
            case "pipe":
                os.mkfifo(self.path)
            case "device":
                self.path.symlink_to("/dev/zero")
            case "folder":
                self.path.mkdir()

    def _clear(self) -> None:
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)

    def read(self) -> str:
        """The outcome. Raises one of REFUSALS, or Fault."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._read(self)

    def names(self) -> list[Path | str]:
        """Paths of which an error names one."""
        return self._named(self.path)


# --- what people have met --------------------------------------------------------------------------------


def forged_json(path: Path) -> Forged:
    raw = path.read_bytes()
    half = raw[: raw.index(b"[") + 1] if b"[" in raw else b"["
    many = 1 << 20
    return {
        "nothing": b"",
        "a list of one empty list": b"[[]]",
        "an empty object": b"{}",
        "a list of one": b"[1]",
        "text": b'"a"',
        "a million empty lists": lambda: b"[" + b"[]," * many + b"[]]",
        "a million empty objects": lambda: b"[" + b"{}," * many + b"{}]",
        "a million empty lists within": lambda: half + b"[]," * many,
        "a million empty objects within": lambda: half + b"{}," * many,
        "a million named empty objects": lambda: (
            b"{" + b",".join(b'"%d":{}' % n for n in range(many // 4)) + b"}"
        ),
        "a million zeros": lambda: half + b"0," * many,
        "a million texts": lambda: half + b'"ab",' * many,
        "brackets without end": b"[" * 100_000,
        "a number without end": lambda: b'{"a": ' + b"9" * many + b"}",
        "a text without end": lambda: b'{"a": "' + b"x" * many,
        "a key of a megabyte": lambda: b'{"' + b"x" * many + b'": 1}',
        "another encoding": raw.decode().encode("utf-16"),
        "a mark of byte order": b"\xef\xbb\xbf" + raw,
        "a null character": raw.replace(b" ", b"\0"),
        "spaces without end": lambda: b" " * (4 * many),
        "twice": raw + raw,
    }


def png(
    width: int,
    height: int,
    colour: int = 2,
    depth: int = 8,
    data: bytes = b"",
    end: bool = True,
    interlaced: bool = False,
) -> bytes:
    """A PNG as its parts say, whatever it holds."""

    def part(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = part(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    body = part(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + head + body + (part(b"IEND", b"") if end else b"")


def _as(format_: str, mode: str, size: tuple[int, int], fill: int = 1000) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, fill).save(stream, format_)
    return stream.getvalue()


def forged_image(path: Path) -> dict[str, bytes]:
    raw = path.read_bytes()
    with Image.open(path) as image:
        width, height = image.size
    rows = b"".join(b"\0" + bytes(3 * width) for _ in range(height))
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 " + b"%d %d\n" % (width, height)
    trace = path.parent / "trace"
    return {
        "EPS": program
        + b"%%EndComments\n("
        + str(trace).encode()
        + b") (w) file closefile showpage\n%%EOF\n",
        "178 million pixels": png(13_345, 13_345),
        "2^31 pixels a side": png(2**31 - 1, 2**31 - 1),
        "16-bit grey": png(width, height, 0, 16, b"".join(b"\0" + bytes(2 * width) for _ in range(height))),
        "16-bit grey TIFF": _as("TIFF", "I;16", (width, height)),
        "float TIFF": _as("TIFF", "F", (width, height)),
        "16-bit PGM": _as("PPM", "I", (width, height)),
        "GIF": _as("GIF", "L", (width, height), 200),
        "PNG without its end": png(width, height, 2, 8, rows, end=False),
        "PNG cut at its end": png(width, height, 2, 8, rows)[:-6],
        "PNG with fewer rows": png(width, height, 2, 8, rows[: len(rows) // 2]),
        "4 pixels wide": _as("JPEG", "L", (4, 4), 200),
        "1 pixel": _as("PNG", "L", (1, 1), 200),
        "no pixels": png(0, 0),
        "nothing": b"",
        "text": b"no image",
        "JPEG cut in the middle": raw[: len(raw) // 2],
        "two images": raw + raw,
        "Windows icon": b"\0\0\1\0\1\0" + raw,
    }


def npy(descr: str, shape: str, data: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + data


FORGED_NPY = {
    "10^12 numbers": npy("'<f8'", "(1000000000000,)"),
    "a negative shape": npy("'<f8'", "(-1, 21, 3)", bytes(8 * 63)),
    "a shape of flags": npy("'<f8'", "(True, 21, 3)", bytes(8 * 63)),
    "a shape of text": npy("'<f8'", "'a'"),
    "objects": npy("'|O'", "(1,)", b"cos\nsystem\n(S'true'\ntR."),
    "records": npy("[('a', '<f8')]", "(1,)", bytes(8)),
    "nested types": npy("'(1000000,1000000)f8'", "(0,)"),
    "a header that calls": npy("__import__('os').system('true')", "(1,)"),
    "a header without end": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"{" * 1000,
    "a header of brackets": b"\x93NUMPY\x01\x00" + struct.pack("<H", 60000) + b"(" * 60000,
    "version 9": b"\x93NUMPY\x09\x00" + bytes(100),
    "long doubles": npy("'<f16'", "(1,)", bytes(16)),
    "dates": npy("'<M8[s]'", "(1,)", bytes(8)),
    "text of a megabyte": npy("'<U262144'", "()", bytes(4 * 262144)),
    "nothing": b"",
}


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return stream.getvalue()


def forged_npz(path: Path) -> Forged:
    raw, key = path.read_bytes(), zipfile.ZipFile(path).namelist()[0].removesuffix(".npy")
    found: Forged = {name: partial(archive, **{key: content}) for name, content in FORGED_NPY.items()}
    number = npy("'<f8'", "(1,)", bytes(8))
    return found | {
        "100 MB of zeros": lambda: archive(**{key: npy("'<f8'", "(12500000,)", bytes(100_000_000))}),
        "30,000 members": lambda: archive(**{str(n): b"" for n in range(30_000)}),
        # zipfile itself writes no name twice without a warning
        "a name twice": lambda: archive(a_=number, b_=number).replace(b"b_.npy", b"a_.npy"),
        "an .npy alone": number,
        "a pickle": b"cos\nsystem\n(S'true'\ntR.",
        "a tail of rubbish": raw + b"x" * 10_000,
        "a head of rubbish": b"x" * 10_000 + raw,
    }


def forged_yaml(path: Path) -> dict[str, bytes]:
    raw = path.read_bytes()
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    return {
        "aliases of aliases": bomb.encode(),
        "an alias of itself": b"a: &a [*a]",
        "an impossible date": raw.replace(b"version: ", b"version: 2024-13-45 #", 1),
        "a date": raw.replace(b"version: ", b"version: 2024-01-01 #", 1),
        "a tag": raw.replace(b"version: ", b"version: !!int x #", 1),
        "a tag that makes objects": b"a: !!python/object/apply:os.system [true]",
        "depth 1000": b"a: " + b"[" * 1000 + b"]" * 1000,
        "latin-1": raw + "# Hände".encode("latin-1"),
        "UTF-16": raw.decode().encode("utf-16"),
        "a path of 5,000 characters": raw.replace(b"path: ", b"path: " + b"x" * 5000, 1),
        "a path that leaves": raw.replace(b"path: ", b"path: ../../", 1),
        "a split that leaves": raw.replace(b"splits:", b"splits:\n  ../../..: {}", 1),
        "nothing": b"",
        "a megabyte": b"# " + b"x" * (1 << 20),
        "a key twice": raw + b"\nname: other\n",
        "a list": b"- a\n- b\n",
        "a null character": raw + b"\0",
    }


def tensors(header: bytes | dict, data: bytes = b"", length: int | None = None) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head) if length is None else length) + head + data


def forged_tensors(_: Path) -> dict[str, bytes]:
    good = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    changes = {
        "no type": {"dtype": None}, "another type": {"dtype": "X9"}, "half a byte": {"dtype": "F4"},
        "8 bits": {"dtype": "F8_E8M0"}, "a shape of text": {"shape": "a"}, "no shape": {"shape": None},
        "a negative shape": {"shape": [-1]}, "another shape": {"shape": [2]},
        "2^62 numbers": {"shape": [2**62]},
        "offsets backwards": {"data_offsets": [4, 0]}, "offsets outside": {"data_offsets": [0, 400]},
        "one offset": {"data_offsets": [0]}, "offsets of text": {"data_offsets": ["a", "b"]},
        "more than it knows": {"other": 1},
    }  # fmt: skip
    return {name: tensors({"a": good | change}, bytes(4)) for name, change in changes.items()} | {
        "a header of 2^62 bytes": tensors(b"{}", length=2**62),
        "a header without end": tensors(b'{"a": '),
        "a list as header": tensors(b"[]"),
        "no header": b"",
        "a key twice": tensors(b'{"a": %s, "a": %s}' % ((json.dumps(good).encode(),) * 2), bytes(4)),
        "facts of numbers": tensors({"__metadata__": {"a": 1}, "a": good}, bytes(4)),
        "100,000 tensors of nothing": tensors(
            {str(n): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(100_000)}
        ),
        "not UTF-8": tensors(b"\xff\xfe{}"),
        "a pickle": b"\x80\x02cos\nsystem\n(S'true'\ntR.",
    }


# --- targets ---------------------------------------------------------------------------------------------


def make_targets(folder: Path) -> list[Target]:
    """One of each kind, below the folder; annotation files twice, as most come with data sets."""
    made = (
        _interhand, _freihand, _reinterhand, _coco, _photograph, _png, _pickle, _mano_npz, _pairs, _keypoints,
        _halo, _manifest, _cache, _checkpoint, _weights, _yaml,
    )  # fmt: skip
    forged = {".json": forged_json, ".npz": forged_npz, ".yml": forged_yaml}
    more = hand_object_targets(partial(_new, folder), Target, _same, Fault, forged)
    return [make(_new(folder, make.__name__.strip("_"))) for make in made] + more


def _new(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    return folder / name


def _same(found, expected, what: str, tolerance: float = 1e-6) -> None:
    try:
        numbers = np.asarray(expected, dtype=np.float64)  # a whole number may be too long for any other type
    except OverflowError:
        raise Fault(f"{what} were read from a number that no float can hold") from None
    if not np.allclose(np.asarray(found), numbers, rtol=tolerance, atol=tolerance, equal_nan=True):
        raise Fault(f"other {what} than in the file")


def _members(path: Path) -> dict[str, np.ndarray]:
    """An .npz, wherever in the file its zip archive begins: `numpy.load` looks at the first bytes alone."""
    with zipfile.ZipFile(path) as file:
        names = [name for name in file.namelist() if name.endswith(".npy")]
        return {
            name.removesuffix(".npy"): np.lib.format.read_array(
                io.BytesIO(file.read(name)), allow_pickle=False
            )
            for name in names
        }


def _rows_of_png(path: Path) -> tuple[int, int]:
    """Rows that a PNG without interlacing holds, and that its header names; all of it unpacked at once."""
    raw, place, data = path.read_bytes(), 8, b""
    while place + 8 <= len(raw):
        length = int.from_bytes(raw[place : place + 4], "big")
        if raw[place + 4 : place + 8] == b"IDAT":
            data += raw[place + 8 : place + 8 + length]
        place += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", raw[16:26])
    bits = width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    return len(zlib.decompressobj().decompress(data)) // (1 + math.ceil(bits / 8)), height


def _interhand(folder: Path) -> Target:
    capture = write_capture(folder / "capture", seed=0)
    annotations = capture / "annotations" / "test"
    fit = {"pose": [0.1] * 48, "shape": [0.2] * 10, "trans": [0.0, 0.1, 1.0]}
    frames = json.loads((annotations / "InterHand2.6M_test_joint_3d.json").read_text())["0"]
    fits = {"0": {frame: {"right": fit, "left": fit} for frame in frames}}
    (annotations / "InterHand2.6M_test_MANO_NeuralAnnot.json").write_text(json.dumps(fits))
    boxes = [{"annot_id": n, "bbox": [1, 2, 3, 4], "abs_depth": [900, 910]} for n in range(6)]
    rootnet = capture / "rootnet_output" / "rootnet_interhand2.6m_output_test.json"
    rootnet.parent.mkdir()
    rootnet.write_text(json.dumps(boxes))

    def read(target: Target) -> str:
        dataset = InterHand26M(capture)
        frames = list(dataset)
        _, skipped = dataset.usable(mano=True)
        _compare_interhand(capture, dataset, frames)
        return "counted skip" if skipped.kept < 6 else "harmless"

    return Target(
        "InterHand annotation",
        sorted(capture.rglob("*.json")),
        read,
        forged_json,
        lambda path: [path, f"{path.name} in {path.parent}"],  # of one that is no file, and so is not there
    )


def _compare_interhand(capture: Path, dataset: InterHand26M, frames: list) -> None:
    """Joints, flags and cameras against what the files hold now, read by json and numpy."""
    annotations = capture / "annotations" / "test"
    data, camera, joints = (
        json.loads((annotations / f"InterHand2.6M_test_{kind}.json").read_text(encoding="utf-8"))
        for kind in ("data", "camera", "joint_3d")
    )
    images = {image["id"]: image for image in data["images"]}
    if not len(frames) == len(dataset) == len(data["annotations"]):
        raise Fault("samples are missing or too many")
    # Wrist, then each digit from its base.
    rows = [20] + [3 - joint + 4 * digit for digit in range(5) for joint in range(4)]
    for frame, annotation in zip(frames, data["annotations"], strict=True):
        image = images[annotation["image_id"]]
        step = joints[str(image["capture"])][str(image["frame_idx"])]
        world = np.asarray(step["world_coord"], dtype=np.float64).reshape(2, 21, 3)[:, rows] / 1000
        flags = np.asarray(step["joint_valid"], dtype=np.float64).reshape(2, 21)[:, rows].astype(bool)
        _same(frame.sample.joint_valid, flags, "flags")
        _same(frame.sample.joints, np.where(flags[..., None], world, 0), "joints")
        own = camera[str(image["capture"])]
        rotation = np.asarray(own["camrot"][image["camera"]], dtype=np.float64).reshape(3, 3)
        position = np.asarray(own["campos"][image["camera"]], dtype=np.float64).reshape(3) / 1000
        found = frame.sample.camera.camera_from_world.double()
        _same(found[:3, :3], rotation, "rotation")
        _same(found[:3, 3], -rotation @ position, "place", 1e-5)
    if (mano := annotations / "InterHand2.6M_test_MANO_NeuralAnnot.json").is_file():
        fits = json.loads(mano.read_text(encoding="utf-8"))
        for frame in frames:
            entry = fits.get(str(frame.capture), {}).get(str(frame.frame_index))
            if (entry is None) != (frame.mano is None):
                raise Fault("a fit is missing, or invented")
            for hand, side in enumerate(("right", "left")) if entry else ():
                if entry.get(side) is not None:
                    _same(frame.mano.pose[hand], entry[side]["pose"], "fit")


def _freihand(folder: Path) -> Target:
    write_freihand(folder)

    def read(target: Target) -> str:
        dataset = FreiHand(folder)
        frames = list(dataset)
        K = json.loads((folder / "training_K.json").read_text(encoding="utf-8"))
        _same([frame.sample.camera.intrinsics.numpy() for frame in frames], K, "cameras")
        if (path := folder / "training_xyz.json").is_file():
            xyz = json.loads(path.read_text(encoding="utf-8"))
            _same([frame.sample.joints[0].numpy() for frame in frames], xyz, "joints")
        return "harmless"

    return Target("FreiHAND annotation", sorted(folder.glob("training_*.json")), read, forged_json)


def _coco(folder: Path) -> Target:
    generator = np.random.default_rng(0)
    path = folder / COCO_FILE
    points = generator.uniform(20, 200, (4, 63)).tolist()
    path.write_text(json.dumps({
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 224, "height": 224} for n in range(4)],
        "annotations": [{"id": n, "image_id": n, "keypoints": points[n]} for n in range(4)],
    }))  # fmt: skip

    def read(target: Target) -> str:
        frames = list(FreiHand(folder))
        content = json.loads(path.read_text(encoding="utf-8"))
        for frame, annotation in zip(frames, content["annotations"], strict=True):
            table = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(21, 3)
            _same(frame.image_joints, table[:, :2], "joints", 1e-3)
        return "harmless"

    # Without its list the folder is one of the official layout.
    return Target(
        "COCO annotation", [path], read, forged_json, lambda path: [path, folder / "training_K.json"]
    )


def _reinterhand(folder: Path) -> Target:
    write_reinterhand(folder)
    capture = folder / "data" / CAPTURE
    paths = sorted(capture.rglob("*.json")) + sorted(capture.rglob("0000*.png"))

    def read(target: Target) -> str:
        for cameras in ("studio", "ego"):
            dataset = ReInterHand(folder, CAPTURE, cameras=cameras)
            for frame in dataset:
                for hand, side in enumerate(("right", "left")):
                    file = (
                        capture / "orig_fits" / side / "Keypoints" / f"keypoint-{frame.frame_index:06d}.json"
                    )
                    if bool(frame.sample.joint_valid[hand].any()):
                        rows = np.asarray(json.loads(file.read_text(encoding="utf-8")), np.float64)
                        _same(frame.sample.joints[hand][0], rows[0] / 1000, "wrist")
            _, skipped = dataset.usable()
        return "counted skip" if skipped.kept < len(dataset) else "harmless"

    def forged(path: Path) -> Forged:
        return forged_json(path) if path.suffix == ".json" else forged_image(path)

    return Target("Re:InterHand", paths, read, forged, lambda path: [path, path.parent])


def _photograph(folder: Path) -> Target:
    return _images(folder, "photograph", ["a.jpg", "b.jpg", "c.jpeg"], ["RGB", "L", "CMYK"])


def _png(folder: Path) -> Target:
    modes = ["RGB", "L", "P", "RGBA", "1", "LA"]
    return _images(folder, "PNG", [f"{mode}.png" for mode in modes], modes)


def _images(folder: Path, kind: str, names: list[str], modes: list[str]) -> Target:
    generator = np.random.default_rng(0)
    noise = Image.fromarray(generator.integers(0, 255, (60, 40, 3), dtype=np.uint8))
    for name, mode in zip(names, modes, strict=True):
        noise.convert(mode).save(folder / name)

    def read(target: Target) -> str:
        fault = photograph_fault(target.path)
        pixels = read_image(target.path, 40, 60)
        if pixels.shape != (60, 40, 3):
            raise Fault("a photograph of another size")
        with Image.open(target.path) as image:
            _same(pixels, np.array(image.convert("RGB")), "pixels")
            if image.format == "PNG" and not image.info.get("interlace"):
                there, named = _rows_of_png(target.path)
                if there < named:
                    raise Fault(f"{named} rows were read from {there}")
        if (folder / "trace").exists():
            raise Fault("a program ran")
        return "counted skip" if fault else "harmless"  # JPEG hides damage to single bytes

    return Target(kind, [folder / name for name in names], read, forged_image)


def _pickle(folder: Path) -> Target:
    paths = [folder / f"MANO_{protocol}.pkl" for protocol in (0, 2, 4)]
    for path, protocol in zip(paths, (0, 2, 4), strict=True):
        path.write_bytes(official_pickle(stand_in("right"), protocol))
    trace = folder / "trace"

    def read(target: Target) -> str:
        raw = target.path.read_bytes() if target.path.is_file() else b""
        if len(raw) % 3 == 1:  # a call of a program somewhere inside
            place = len(raw) // 2
            call = f"cposix\nsystem\n(S'touch {trace}'\ntR0".encode()
            target.path.write_bytes(raw[:place] + call + raw[place:])
        arrays = read_mano_pickle(target.path)
        if trace.exists():
            raise Fault("a program ran")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise Fault("numbers that are none")
        return "harmless"  # a byte of a number, or of a part that is not read

    return Target("MANO pickle", paths, read, lambda _: hostile_pickles())


def _mano_npz(folder: Path) -> Target:
    path = folder / "MANO_RIGHT.npz"
    np.savez(path, **stand_in("right"))

    def read(target: Target) -> str:
        arrays = read_mano(path)
        _same(arrays["weights"], _members(path)["weights"], "weights")
        return "harmless"

    return Target("MANO npz", [path], read, forged_npz)


def _pairs(folder: Path) -> Target:
    right = forward_kinematics(rest_pose()).joints.double()
    left = right * torch.tensor([-1.0, 1.0, 1.0]) + torch.tensor([0.3, 0.0, 0.0])
    joints = torch.stack([right, left]).expand(3, 2, 21, 3).numpy()
    paths = [folder / "a.npz", folder / "a.json"]
    np.savez(paths[0], joints=joints, order="freihand", unit="m")
    paths[1].write_text(json.dumps({"joints": joints.tolist(), "order": "freihand", "unit": "m"}))

    def read(target: Target) -> str:
        found = read_hand_pairs(target.path)
        if target.path.suffix == ".npz":
            file = _members(target.path)
            given = file["joints"] if "joints" in file else np.stack([file["right"], file["left"]], 1)
        else:
            content = json.loads(target.path.read_text(encoding="utf-8"))
            given = content["joints"]
            given = [[hand or [[None] * 3] * 21 for hand in (pair or [None] * 2)] for pair in given]
        given = np.asarray(given, np.float64)
        kept = np.where(found.valid[..., None, None], given * {"m": 1, "mm": 0.001}[found.unit], 0)
        if found.order == "freihand":
            _same(found.joints, kept, "joints")
        return "counted skip" if found.skipped and found.skipped.kept < len(given) else "harmless"

    def forged(path: Path) -> Forged:
        if path.suffix == ".npz":
            return forged_npz(path)
        return forged_json(path) | {
            "an order of a megabyte": b'{"joints": [], "unit": "m", "order": "' + b"x" * (1 << 20) + b'"}',
            "a key of another": b'{"joint": [], "' + b"y" * (1 << 20) + b'": 1}',
            "null for a million frames": b'{"joints": ['
            + b"null," * (1 << 20)
            + b'null], "order": "freihand", "unit": "m"}',
        }

    return Target("pairs of hands", paths, read, forged)


def _keypoints(folder: Path) -> Target:
    points = np.random.default_rng(0).uniform(100, 400, (3, 2, 21, 2))
    path = folder / "a.json"
    path.write_text(json.dumps({"keypoints": points.tolist(), "order": "freihand", "image_size": [512, 512]}))

    def read(target: Target) -> str:
        found = read_keypoints(path)
        return "counted skip" if found.skipped and found.skipped.kept < len(found.valid) else "harmless"

    return Target("keypoints", [path], read, forged_json)


def _halo(folder: Path) -> Target:
    path = folder / "keypoints.npy"
    np.save(path, skeleton_sequence(6).numpy())

    def read(target: Target) -> str:
        found = read_halo_sequence(folder)
        if not torch.isfinite(found).all():
            raise Fault("numbers that are none")
        _same(found.sum(dim=1), np.load(path).sum(axis=1), "joints", 1e-4)
        return "harmless"

    return Target(
        "HALO npy", [path], read, lambda _: FORGED_NPY | {"1e39": _npy_of(np.full((6, 21, 3), 1e39))}
    )


def _npy_of(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _manifest(folder: Path) -> Target:
    for name in ("mano", "interhand26m", "halo_skeleton_sequence"):
        shutil.copy(manifest.MANIFEST_FOLDER / f"{name}.yml", folder)

    def read(target: Target) -> str:
        with patch.object(manifest, "MANIFEST_FOLDER", folder):
            if target.path.stem not in manifest.manifest_names():
                return "counted skip"
            facts = manifest.load_manifest(target.path.stem)
            facts.text()
        return "harmless"

    return Target("manifest", sorted(folder.glob("*.yml")), read, forged_yaml)


def _cache(folder: Path) -> Target:
    made = {"a": torch.arange(1000.0).reshape(10, 100), "b": torch.tensor([True, False])}
    made_once("fuzz", ["key"], lambda: made, folder=folder)
    path = next(folder.rglob("*.safetensors"))

    def read(target: Target) -> str:
        found = made_once("fuzz", ["key"], lambda: made, folder=folder)
        if not all(torch.equal(found[name], value) for name, value in made.items()):
            raise Fault("other tensors than were made")
        return "made again"

    return Target("cache", [path], read, forged_tensors)


def _checkpoint(folder: Path) -> Target:
    path = folder / "job.pt"
    state = {"step": 3, "net": {"a": torch.arange(300.0)}, "text": "x"}
    save_checkpoint(path, state)

    def read(target: Target) -> str:
        found = load_checkpoint(path)
        for aside in folder.glob("*.damaged*"):
            aside.unlink() if aside.is_file() or aside.is_symlink() else shutil.rmtree(aside)
        if found is None:
            return "made again"
        if found["step"] != 3 or not torch.equal(found["net"]["a"], state["net"]["a"]):
            raise Fault("another state than was saved")
        return "harmless"

    def forged(_: Path) -> dict[str, bytes]:
        stream = io.BytesIO()
        torch.save(state, stream)
        return {
            "without its checksum": stream.getvalue(),
            "nothing": b"",
            "a pickle": b"cos\nsystem\n(S'true'\ntR.",
        }

    return Target("checkpoint", [path], read, forged)


def _weights(folder: Path) -> Target:
    path = folder / "job.safetensors"
    path.write_bytes(save({"a": torch.arange(300.0).half(), "b": torch.ones(3)}))

    def read(target: Target) -> str:
        digest = "0" * 64
        with suppress(OSError):  # the hash is forged too
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else digest
        read_weights(JobLine.model_construct(weights=Weights(sha256=digest, bytes=1)), path)
        return "harmless"

    return Target("weights", [path], read, forged_tensors)


def _yaml(folder: Path) -> Target:
    path = folder / "preset.yml"
    path.write_text(
        "cpu:\n  seeds: [0, 1]\n  version: 3\n  path: a\n  limits: {minutes: 3}\nsplits: {a: b}\n"
    )

    def read(target: Target) -> str:
        try:
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            read_yaml(text)
        except ValueError as error:  # which the caller gives the file's name
            raise DataError(f"{path} {error}") from None
        return "harmless"

    return Target("YAML", [path], read, forged_yaml)

"""Files of your own: 3D pairs of hands, and 2D keypoints of both hands, frame by frame; .npz or .json.

Units   `unit` says which for 3D ("m" or "mm"), metres inside; keypoints in pixels
Frames  any one frame for both hands of all moments; pixel (0, 0) is the centre of the upper left pixel
Order   `order` names it (`hand.skeleton.JOINT_ORDERS`), the library's inside; the right hand comes first.
        MediaPipe, OpenPose and FreiHAND have the library's own order: "mediapipe", "openpose" and "freihand"
        say the same

A file of pairs holds (J: joints of the order)

    joints       (frame, 2, J, 3), or instead of it right and left, (frame, J, 3) each
    order, unit  text
    confidence   (frame, 2, J), 0 to 1; optional, as is all below
    valid        (frame, 2), false for a hand that is not there: its numbers are never read
    truth        (frame, 2, J, 3), what the joints should be, in the same order and unit
    frame_rate   frames a second
    names        (frame,), text

and one of keypoints

    keypoints    (frame, 2, J, 2), pixels, or right and left, (frame, J, 2) each
    order        text
    image_size   (2,), width and height
    intrinsics   (3, 3), optional, as are confidence, valid, frame_rate and names as above

An .npz is numpy's own (`numpy.savez(path, joints=..., order="freihand", unit="m")`), without Python objects.
A .json is one object with the same keys and nested lists; a hand or a number that is not there may be null.

A hand with NaN (or null) in one of the library's 21 joints is left out and counted; so is one that no hand
can be: of impossible size, with two neighbouring joints in one place, with its knuckles on one line through
the wrist, with a finger bone that no hand has (a number that only fills a gap, such as 0 or -1). The other
hand of that frame stays. What is wrong with the whole file is an error: so is an order that the bones of most
hands speak against.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.data.array_files import ArrayFile, read_arrays, write_arrays
from hands_lib.data.errors import DataError
from hands_lib.data.hand_shapes import has_a_long_bone, is_hand_like, orders_that_fit, palm_lengths
from hands_lib.data.skipped import Skipped, first_reason
from hands_lib.hand.skeleton import EDGES, JOINT_ORDERS, JOINTS, NUM_JOINTS, reorder

UNITS: dict[str, float] = {"m": 1.0, "mm": 0.001}
"""Metres in one."""
_PAIR_KEYS = (
    "joints",
    "right",
    "left",
    "order",
    "unit",
    "confidence",
    "valid",
    "truth",
    "frame_rate",
    "names",
)
_KEYPOINT_KEYS = (
    "keypoints", "right", "left", "order", "image_size", "intrinsics", "confidence", "valid", "frame_rate",
    "names",
)  # fmt: skip
_OTHER_NAMES = {
    "mediapipe": "freihand", "openpose": "freihand", "interhand": "interhand26m",
    "metre": "m", "metres": "m", "meter": "m", "meters": "m", "millimetres": "mm", "millimeters": "mm",
}  # fmt: skip
_HANDS = ("right", "left")
_BASES = [JOINTS.index(f"{digit}_1") for digit in ("index", "middle", "ring", "little")]
_PALM = (0.03, 0.25)  # metres from wrist to knuckles, on average: a toddler's is 0.04, a giant's 0.12
_SHORTEST_BONE = 1e-4  # metres
_FLATTEST_PALM = 2e-3  # sine of the widest angle between two metacarpals
_FARTHEST = 100.0  # metres from the origin
_IMAGE_SIDES = (8, 65_536)  # pixels
_OUTSIDE = 2.5  # keypoints this many image sides from its middle are no keypoints


@dataclass(frozen=True)
class HandPairFile:
    """Pairs of skeletons over time, and what their file said besides."""

    joints: Float[Tensor, "frame 2 21 3"]
    """Metres, float64, in the library's order, right hand first; zeros where not `valid`."""
    valid: Bool[Tensor, "frame 2"]
    """Whether all 21 joints of the hand are known."""
    confidence: Float[Tensor, "frame 2 21"]
    """0 to 1; ones where the file gives none."""
    order: str = "freihand"
    """Of the file; so is"""
    unit: str = "m"
    """ "m" or "mm"."""
    truth: Float[Tensor, "frame 2 21 3"] | None = None
    """Metres, in the library's order; a whole hand is NaN where it is not known."""
    frame_rate: float | None = None
    names: tuple[str, ...] | None = None
    skipped: Skipped | None = None
    """Frames of which a hand was left out, and why; None for pairs that were not read."""
    source: Path | None = None
    """The file they were read from, which is never written to."""
    sha256: str | None = None
    """Of the bytes that were read from it."""

    @property
    def complete(self) -> Bool[Tensor, " frame"]:
        """Whether both hands are valid."""
        return self.valid.all(dim=1)


@dataclass(frozen=True)
class KeypointFile:
    """2D keypoints of both hands over time, and what their file said besides."""

    keypoints: Float[Tensor, "frame 2 21 2"]
    """Pixels, float64, in the library's order, right hand first; zeros where not `valid`."""
    valid: Bool[Tensor, "frame 2"]
    """Whether all 21 keypoints of the hand are known."""
    confidence: Float[Tensor, "frame 2 21"]
    """0 to 1; ones where the file gives none."""
    width: int
    height: int
    """Of the image, pixels."""
    intrinsics: Float[Tensor, "3 3"] | None = None
    """K, pixels."""
    order: str = "freihand"
    """Of the file."""
    frame_rate: float | None = None
    names: tuple[str, ...] | None = None
    skipped: Skipped | None = None
    """Frames of which a hand was left out, and why; None for keypoints that were not read."""
    source: Path | None = None
    """The file they were read from, which is never written to."""

    @property
    def complete(self) -> Bool[Tensor, " frame"]:
        """Whether both hands are valid."""
        return self.valid.all(dim=1)


def read_hand_pairs(path: str | Path) -> HandPairFile:
    """The pairs of an .npz or .json file, see this module's header.

    Raises MissingData where the file cannot be read; DataError, naming file, key and mend, where it is
    damaged, has unknown, missing or wrongly shaped keys, names an unknown order or unit, where its hands do
    not have a hand's size in that unit or come in several units, and where no frame has both hands.
    """
    file = read_arrays(Path(path), _PAIR_KEYS)
    order = _order(file)
    unit = file.choice("unit", UNITS, _OTHER_NAMES)
    joints = _both_hands(file, "joints", order, 3) * UNITS[unit]
    frames = len(joints)
    marked = file.flags("valid", (frames, 2))
    known = _whole(joints) & marked
    _check_order(file, order, joints[known])
    _check_units(file, "joints", unit, known, joints)
    valid, skipped = _left_out(file, "joints", _missing(joints, marked) | _misshapen(joints))
    truth = None
    if "truth" in file:
        truth = file.numbers("truth", (frames, 2, len(JOINT_ORDERS[order]), 3)) * UNITS[unit]
        truth = _reordered(file, truth, order)
        _check_units(file, "truth", unit, _whole(truth), truth)
        truth = torch.where(_whole(truth)[..., None, None], truth, torch.nan)
    return HandPairFile(
        torch.where(valid[..., None, None], joints, 0), valid, _confidence(file, order, valid), order, unit,
        truth, _frame_rate(file), _names(file, frames), skipped, file.path, file.sha256,
    )  # fmt: skip


def write_hand_pairs(path: str | Path, pairs: HandPairFile) -> None:
    """Writes pairs in their order and unit, all at once or not at all.

    Hands that are not valid become NaN (null in .json), and so do joints that the library does not have.
    Raises DataError for a file that is none of .npz and .json, or is the one the pairs were read from, and
    for valid hands that are not finite; MissingData where it cannot be written.
    """
    arrays = {"joints": pairs.joints / UNITS[pairs.unit]}
    if pairs.truth is not None:
        arrays["truth"] = pairs.truth / UNITS[pairs.unit]
    _write(Path(path), pairs, "joints", arrays, {"unit": pairs.unit})


def read_keypoints(path: str | Path) -> KeypointFile:
    """The keypoints of an .npz or .json file, see this module's header.

    Raises as `read_hand_pairs`; also where keypoints are not pixels of the image but shares of its size.
    """
    file = read_arrays(Path(path), _KEYPOINT_KEYS)
    order = _order(file)
    keypoints = _both_hands(file, "keypoints", order, 2)
    frames = len(keypoints)
    size = file.numbers("image_size", (2,))
    width, height = size.tolist()
    if not all(_IMAGE_SIDES[0] <= side <= _IMAGE_SIDES[1] and side == int(side) for side in (width, height)):
        raise file.error("image_size", f"is {[width, height]}", "give width and height in pixels")
    marked = file.flags("valid", (frames, 2))
    known = _whole(keypoints) & marked
    if known.any() and float(keypoints[known].abs().max()) <= 2:
        mend = "multiply x by the image's width and y by its height"
        raise file.error("keypoints", "lies within 0 to 1: shares of the image, not pixels", mend)
    outside = ((keypoints - size / 2).abs() > _OUTSIDE * size).flatten(2).any(dim=2)
    filler = torch.stack([(keypoints == value).all(dim=-1) for value in (0, -1)]).any(dim=0).any(dim=2)
    faults = _missing(keypoints, marked) | {
        "with a keypoint at (0, 0) or (-1, -1), which fills a gap": filler,
        "far outside the image": outside,
    }
    valid, skipped = _left_out(file, "keypoints", faults)
    return KeypointFile(
        torch.where(valid[..., None, None], keypoints, 0), valid, _confidence(file, order, valid),
        int(width), int(height), _intrinsics(file, size), order,
        _frame_rate(file), _names(file, frames), skipped, file.path,
    )  # fmt: skip


def write_keypoints(path: str | Path, keypoints: KeypointFile) -> None:
    """Writes keypoints in their order. Otherwise as `write_hand_pairs`."""
    facts: dict[str, Any] = {"image_size": np.array([keypoints.width, keypoints.height])}
    if keypoints.intrinsics is not None:
        facts["intrinsics"] = keypoints.intrinsics.detach().cpu().double().numpy()
    _write(Path(path), keypoints, "keypoints", {"keypoints": keypoints.keypoints}, facts)


def _write(
    path: Path,
    content: HandPairFile | KeypointFile,
    key: Literal["joints", "keypoints"],
    arrays: Mapping[str, Tensor],
    facts: Mapping[str, Any],
) -> None:
    valid = content.valid.cpu()
    if not bool(_whole(arrays[key]).cpu()[valid].all()):
        raise DataError(f"{path}: {key} of a valid hand are not finite: mark the hand as not valid")
    values: dict[str, Any] = {"order": content.order, **facts, "valid": valid.numpy()}
    for name, array in arrays.items():
        array = array.detach().cpu().double()
        if name == key:
            array = torch.where(valid[..., None, None], array, torch.nan)
        values[name] = reorder(array, "hands", content.order, fill=torch.nan).numpy()
    if not bool((content.confidence == 1).all()):
        confidence = content.confidence.detach().cpu().double()[..., None]
        values["confidence"] = reorder(confidence, "hands", content.order, fill=0.0)[..., 0].numpy()
    if content.frame_rate is not None:
        values["frame_rate"] = content.frame_rate
    if content.names is not None:
        values["names"] = list(content.names)
    write_arrays(path, values, content.source)


# --- keys ----------------------------------------------------------------------------------------------


def _both_hands(file: ArrayFile, key: str, order: str, channels: int) -> Tensor:
    """(frame, 2, 21, channel) in the library's order, from `key` or from right and left."""
    num, sides = len(JOINT_ORDERS[order]), [side for side in _HANDS if side in file]
    if key in file and sides:
        raise file.error(key, f"stands beside {' and '.join(sides)}", "keep one of them")
    if len(sides) == 1:
        other = _HANDS[1 - _HANDS.index(sides[0])]
        raise file.error(sides[0], f"comes without {other}", f"add {other}: a pair has two hands")
    if not sides:
        return _reordered(file, file.numbers(key, (None, 2, num, channels)), order)
    right, left = (file.numbers(side, (None, num, channels)) for side in _HANDS)
    if len(right) != len(left):
        problem = f"has {len(right)} frames, left {len(left)}"
        raise file.error("right", problem, "give both hands in every frame, NaN where one is missing")
    return _reordered(file, torch.stack([right, left], dim=1), order)


def _order(file: ArrayFile) -> str:
    name = order_named(file.text("order"))
    return name if name in JOINT_ORDERS else file.choice("order", JOINT_ORDERS)


def order_named(name: str) -> str:
    """The order that people mean by a name: `mediapipe` is `freihand`. Any other name as it is."""
    meant = _OTHER_NAMES.get(name.lower(), name)
    return meant if meant in JOINT_ORDERS else name


def _check_order(file: ArrayFile, order: str, hands: Float[Tensor, "hand 21 3"]) -> None:
    """Raises DataError where the bones of most hands are no hand's in the declared order."""
    if not len(hands) or float(is_hand_like(hands).double().mean()) >= 0.5:
        return
    rows = reorder(hands, "hands", order, fill=torch.nan)
    fitting = [name for name in orders_that_fit(rows) if JOINT_ORDERS[name] != JOINT_ORDERS[order]]
    if fitting:
        problem = f"is {order!r}, but in that order most hands have bones that no hand has"
        raise file.error("order", problem, f'in the order "{fitting[0]}" they are hands: set order to it')
    if not bool(has_a_long_bone(hands).double().mean() >= 0.5):
        problem = f"is {order!r}, but in that order most fingers have bones that get longer outwards"
        raise file.error("order", problem, "give each finger from the palm to its tip")


def _reordered(file: ArrayFile, values: Tensor, order: str) -> Tensor:
    try:
        return reorder(values, order, "hands")
    except ValueError as error:
        lacking = str(error).split(" has no ")[-1].split(", which ")[0]
        problem = f"is {order!r}, which has no {lacking}: all 21 joints are needed"
        mend = 'add them, for example vertices of the surface at the finger tips (order "ho3d")'
        raise file.error("order", problem, mend) from None


def _confidence(file: ArrayFile, order: str, valid: Tensor) -> Tensor:
    if "confidence" not in file:
        return torch.ones(*valid.shape, NUM_JOINTS, dtype=torch.float64)
    values = file.numbers("confidence", (*valid.shape, len(JOINT_ORDERS[order])))
    values = torch.where(valid[..., None], _reordered(file, values[..., None], order)[..., 0], 0)
    if not ((values >= 0) & (values <= 1)).all():
        raise file.error("confidence", "is not between 0 and 1 for every joint", "scale it to 0 to 1")
    return values


def _frame_rate(file: ArrayFile) -> float | None:
    if "frame_rate" not in file:
        return None
    rate = file.number("frame_rate")
    if not 0 < rate <= 100_000:
        raise file.error("frame_rate", "is not a positive number", "give frames a second")
    return rate


def _names(file: ArrayFile, frames: int) -> tuple[str, ...] | None:
    return file.texts("names", frames) if "names" in file else None


def _intrinsics(file: ArrayFile, size: Tensor) -> Tensor | None:
    if "intrinsics" not in file:
        return None
    matrix = file.numbers("intrinsics", (3, 3))
    focal = matrix.diagonal()[:2]
    whole = bool((matrix.abs() < 1e7).all()) and matrix[2].tolist() == [0, 0, 1] and float(matrix[1, 0]) == 0
    if not whole or not bool((focal > 0.05 * size).all()):
        mend = "give [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels of this image"
        raise file.error("intrinsics", f"is {matrix.tolist()}, which no camera has", mend)
    return matrix


# --- what a hand can be --------------------------------------------------------------------------------


def _whole(points: Tensor) -> Bool[Tensor, "frame 2"]:
    return points.isfinite().flatten(2).all(dim=2)


def _missing(points: Tensor, marked: Tensor) -> dict[str, Bool[Tensor, "frame 2"]]:
    """Faults by name; `marked` false says that a hand is not there."""
    return {
        "marked as not valid": ~marked,
        "missing": points.isnan().flatten(2).all(dim=2),
        "not finite in every joint": ~_whole(points),
    }


def _misshapen(joints: Float[Tensor, "frame 2 21 3"]) -> dict[str, Bool[Tensor, "frame 2"]]:
    """Faults by name of whole hands; a fit of the hand model would fail for them, or mean nothing."""
    palm = palm_lengths(joints)
    parents, children = zip(*EDGES, strict=True)
    bones = (joints[..., children, :] - joints[..., parents, :]).norm(dim=-1)
    directions = torch.nn.functional.normalize(joints[..., [1, *_BASES], :] - joints[..., :1, :], dim=-1)
    sines = torch.linalg.cross(directions[..., None, :], directions[..., None, :, :]).norm(dim=-1)
    return {
        "of a size that no hand has": (palm < _PALM[0]) | (palm > _PALM[1]),
        "farther than 100 m from the origin": (joints.abs() > _FARTHEST).flatten(2).any(dim=2),
        "with two neighbouring joints in one place": (bones < _SHORTEST_BONE).any(dim=-1),
        "with all knuckles on one line through the wrist": sines.flatten(2).amax(dim=2) < _FLATTEST_PALM,
        "with a finger bone longer than any hand's (a number that fills a gap?)": has_a_long_bone(joints),
    }


def _check_units(file: ArrayFile, key: str, unit: str, known: Tensor, joints: Tensor) -> None:
    """Raises DataError where the hands have another unit's size, or some of them another one than others."""
    if not known.any():
        return
    palm = palm_lengths(joints)
    possible = (palm >= _PALM[0]) & (palm <= _PALM[1])
    usual = float(palm[known].median())
    shown = f"{usual / UNITS[unit]:.3g} {unit}"
    if not _PALM[0] <= usual <= _PALM[1]:
        other = next(name for name in UNITS if name != unit)
        fits = _PALM[0] <= usual / UNITS[unit] * UNITS[other] <= _PALM[1]
        mend = f'set unit to "{other}"' if fits else 'bring the hands to their size in "m" or "mm"'
        raise file.error(key, f"has palms of {shown}, which no hand has", mend)
    for scale in (1000, 0.001):
        strange = known & ~possible & (scale * palm >= _PALM[0]) & (scale * palm <= _PALM[1])
        if strange.any():
            frame, hand = strange.nonzero()[0].tolist()
            own = f"{float(palm[frame, hand]) / UNITS[unit]:.3g} {unit}"
            problem = f"has mixed units: the {_HANDS[hand]} palm of frame {frame} has {own}, others {shown}"
            raise file.error(key, problem, f'give all of it in "{unit}"')


def _left_out(
    file: ArrayFile, key: str, faults: Mapping[str, Tensor]
) -> tuple[Bool[Tensor, "frame 2"], Skipped]:
    """Which hands stay, and how many frames lost one, by reason. Raises DataError where no frame has two."""
    bad = torch.stack(list(faults.values())).any(dim=0)
    # Of each hand the first fault, so that "missing" is not counted as "not finite" too.
    masks = {}
    for hand, side in enumerate(_HANDS):
        for name, mask in faults.items():
            masks[f"with a {side} hand {name}"] = mask[:, hand].numpy()
    _, skipped = first_reason(len(bad), masks)
    if bool(bad.any(dim=1).all()):
        raise file.error(key, f"has no frame with two usable hands ({skipped})", "both hands are needed")
    return ~bad, skipped

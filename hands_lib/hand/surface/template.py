"""The rest shape of the hand surface: where every vertex lies, and which bones carry it.

Chapter  book/foundations/hand_model.md
Source   Ivashechkin et al., "Two Hands Are Better Than One", Sec. II-A: points "via FK with pre-determined
         offsets from the underlying skeleton". The offsets are the book's own, shaped by eye after an adult
         hand; nothing in them is learned.
Units    millimetres in the tables, metres in the template
Frames   hand frame at rest (hand.kinematics); sections in bone frames, x to the ulnar side, z to the nail

The palm is a cage of three rings of twenty points and a point in each web, which is the plain palm itself;
other numbers of rings and columns sample the piecewise quadratic surface through the same points. A digit is
a row of oval sections. What makes the surface bend like a hand:

- A section at a joint stands halfway between its two bones, and its neighbours turn a part of the way, so
  that a bent finger keeps its volume. The halfway frame is orthonormal: a mean of matrices would shrink it.
- The last palm ring is slanted: over the knuckles on the back, at the height of the webs on the palm. Its
  back turns half as far as the fingers, its palm and the webs nearly all the way: a fist has round knuckles.
- The thumb's first sections reach out towards the index finger and hang on its metacarpal: the first web.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.hand.kinematics import forward_kinematics, rest_pose
from hands_lib.hand.surface.topology import SurfaceParameters, layout, loop_angles
from hands_lib.structures import TensorFields

DIGIT_STATIONS = 4  # of thickness: base, middle joint, distal joint, tip
PALM_STATIONS = 3  # of thickness: wrist, middle of the palm, knuckles
PALM = 5  # the palm's place among the six sizes, after the five digits
ROOT = 0  # the hand's own frame, before the frames of the bones

# Sections of a digit. Position: bone (1 proximal, 2 middle, 3 distal) plus the fraction along it. Half widths
# to the radial and to the ulnar side, heights of the back and of the palm side over the bone's axis.
_FINGER_SECTIONS = np.array([
    (1.20, 10.2, 10.2, 9.5, 11.8),
    (1.60, 9.3, 9.3, 8.2, 10.6),
    (1.85, 9.2, 9.2, 8.0, 9.4),
    (2.00, 9.5, 9.5, 8.3, 9.0),
    (2.25, 8.9, 8.9, 7.5, 9.3),
    (2.60, 8.4, 8.4, 6.9, 8.9),
    (2.85, 8.3, 8.3, 6.7, 7.9),
    (3.00, 8.4, 8.4, 6.6, 7.5),
    (3.30, 8.2, 8.2, 5.9, 8.0),
    (3.45, 7.9, 7.9, 5.5, 8.0),
    (3.70, 7.0, 7.0, 4.7, 7.1),
    (3.93, 4.8, 4.8, 3.0, 4.9),
])  # fmt: skip
_FINGER_SIZES = (1.0, 1.03, 0.97, 0.86)  # index, middle, ring, little
_THUMB_SECTIONS = np.array([
    (1.20, 13.5, 26.0, 11.5, 14.8),
    (1.35, 13.0, 25.0, 11.3, 14.8),
    (1.50, 12.2, 22.0, 11.0, 14.4),
    (1.72, 11.2, 15.5, 10.3, 13.0),
    (2.00, 10.8, 11.6, 9.8, 11.5),
    (2.30, 9.7, 9.9, 8.8, 10.3),
    (2.60, 9.4, 9.4, 8.2, 9.8),
    (3.00, 10.3, 10.3, 8.0, 8.8),
    (3.30, 10.3, 10.3, 7.0, 9.6),
    (3.45, 10.0, 10.0, 6.4, 9.5),
    (3.70, 8.8, 8.8, 5.4, 8.2),
    (3.93, 5.8, 5.8, 3.4, 5.4),
])  # fmt: skip
# The first web: how far a thumb's section leans towards the tip on its ulnar side, and how much of that side
# (of the direction _WEB_ANGLE around the section) hangs on the index finger's metacarpal.
_WEB_LEAN = np.array([(1.2, 13.0), (1.5, 12.0), (1.72, 8.0), (2.0, 2.0), (2.3, 0.0)])
_WEB_SHARE = np.array([(1.2, 0.85), (2.1, 0.0)])
_WEB_ANGLE = -0.9
_ROUNDNESS = 0.9  # exponent of the sections' sines: 1 is an ellipse, less is squarer
_PULP = 1.6  # the surface ends this far beyond the tip joint,
_PULP_DROP = 1.0  # and this far below it

# Where a digit's rings lie, by their number; other numbers are spread evenly.
_RING_POSITIONS = {
    ("finger", 6): (1.68, 2.0, 2.5, 3.0, 3.45, 3.93),
    ("thumb", 6): (1.50, 2.0, 2.5, 3.0, 3.45, 3.93),
    ("finger", 9): (1.62, 1.82, 2.0, 2.3, 2.7, 3.0, 3.3, 3.7, 3.94),
    ("thumb", 9): (1.35, 1.72, 2.0, 2.3, 2.72, 3.0, 3.3, 3.7, 3.94),
}
# Heights of the palm's rings between wrist (0) and knuckles (1), by their number.
_RING_HEIGHTS = {3: (0.0, 0.5, 1.0), 5: (0.0, 0.21, 0.46, 0.74, 1.0)}

# The cage's columns: back from the radial (0) to the ulnar corner (8), ulnar side, palm (10 to 18), radial
# side.
_BACK_END, _PALM_START, _PALM_END, _COLUMNS = 8, 10, 18, 20
_MIDDLE_RING = np.array([
    (-23.5, 48.0, 2.5), (-14.0, 45.0, 7.5), (-6.5, 43.0, 9.5), (0.0, 42.0, 10.3), (6.5, 41.0, 10.2),
    (13.0, 39.0, 9.3), (19.5, 36.0, 8.0), (26.5, 31.0, 6.0), (33.0, 27.0, 1.5),
    (37.5, 25.0, -8.5),
    (33.0, 24.0, -20.0), (26.5, 25.5, -24.5), (18.5, 29.0, -23.5), (10.0, 35.0, -18.5), (3.0, 37.0, -15.5),
    (-3.0, 38.5, -15.5), (-8.5, 39.0, -19.5), (-13.5, 39.5, -25.5), (-19.0, 41.0, -29.5),
    (-28.0, 46.0, -11.0),
])  # fmt: skip
_WRIST_ANGLES = np.pi * np.array([
    0.83, 0.75, 0.67, 0.585, 0.5, 0.415, 0.33, 0.25, 0.17, 0.0,
    -0.17, -0.25, -0.33, -0.415, -0.5, -0.585, -0.67, -0.75, -0.83, -1.0,
])  # fmt: skip
_WRIST_CENTRE, _WRIST_HALF_AXES, _WRIST_ROUNDNESS = (0.0, -14.0, -5.0), (28.5, 18.0), 0.85
_CAP_BULGE = 2.0
# Against the joints at the fingers' bases: crest of a knuckle, dip between two, rim of a web, the palm's end
# between two fingers, crease below a finger.
_CREST, _DIP, _WEB_RIM, _PALM_DIP, _CREASE = (
    np.array([0, 1.0, 10.0]), np.array([0, 5.0, 5.5]), np.array([0, 2.0, -1.5]),
    np.array([0, -2.0, -10.0]), np.array([0, -1.0, -11.5]),
)  # fmt: skip
_WEB_LEVEL = 0.40  # of the proximal bone
_INDEX_BORDER = np.array([(-9.0, 1.0, 6.5), (-11.4, 3.0, -2.5), (-5.5, 6.0, -11.5)])  # back, side, palm
_LITTLE_BORDER = np.array([(7.5, 0.0, 6.0), (9.8, 1.5, -1.5), (7.5, 8.0, -9.5)])
# How far the knuckle ring turns with the fingers.
_TURN_BACK, _TURN_SIDE, _TURN_PALM, _TURN_WEB = 0.5, 0.6, 0.85, 0.9


@dataclass(frozen=True)
class Template(TensorFields):
    """The rest shape bound to the bones:

    vertex v = sum_j joint_weights[v, j] joint_j + sum_k frame[v, k] (size * multiplier * offset[v, k]),

    where frame 0 is the hand's, frames 1 to 20 are the bones' (bone b of digit d: 1 + 4 d + b), and the
    others lie between two of these.
    """

    joint_weights: Float[Tensor, "vertex 21"]
    blended: Int[Tensor, "blend 2"]
    """The two frames between which a frame lies,"""
    blend_share: Float[Tensor, " blend"]
    """and the second one's share."""
    frame: Int[Tensor, "vertex term"]
    offset: Float[Tensor, "vertex term 3"]
    """Metres, times the term's weight; a vertex with fewer terms ends in zeros."""
    size: Int[Tensor, "vertex term"]
    """Which of six sizes scales the offset: the five digits', the palm's."""
    station: Int[Tensor, "vertex term 2"]
    """Between which stations of thickness the vertex lies: 4 digit + station, then the palm's three,"""
    station_share: Float[Tensor, "vertex term"]
    """and the second one's share."""
    rest_sizes: Float[Tensor, " 6"]
    """Digits: length beyond the base joint. Palm: mean length of the fingers' metacarpals. Metres."""


@dataclass(frozen=True)
class _Term:
    """One of the bones that carry a vertex: an anchor on the skeleton and an offset in a frame."""

    weight: float
    anchor: dict[int, float]  # weights of joints
    frame: int
    size: int
    stations: tuple[int, int, float]


def bone_frame(digit: int, bone: int) -> int:
    return 1 + 4 * digit + bone


def _start(digit: int, bone: int) -> int:
    """The joint where a bone starts; it ends where the next one starts."""
    return 4 * digit + bone if bone > 0 else 0


def _stations(position: float, count: int, first: int) -> tuple[int, int, float]:
    low = int(np.clip(np.floor(position), 0, count - 2))
    return first + low, first + low + 1, float(np.clip(position - low, 0, 1))


def _digit_stations(digit: int, position: float) -> tuple[int, int, float]:
    return _stations(position - 1, DIGIT_STATIONS, DIGIT_STATIONS * digit)


def _palm_stations(height: float) -> tuple[int, int, float]:
    return _stations(2 * height, PALM_STATIONS, 5 * DIGIT_STATIONS)


def _parabola(nodes: np.ndarray, t: float) -> np.ndarray:
    """Through three nodes at t = 0, 1, 2."""
    return nodes[0] * (t - 1) * (t - 2) / 2 + nodes[1] * t * (2 - t) + nodes[2] * t * (t - 1) / 2


def _signed_power(value, exponent: float):
    return np.sign(value) * np.abs(value) ** exponent


def blend_frames(
    first: Float[Tensor, "*batch blend 3 3"],
    second: Float[Tensor, "*batch blend 3 3"],
    share: Float[Tensor, " blend"],
) -> Float[Tensor, "*batch blend 3 3"]:
    """Rotations between two: the mixed y column, normalised, then x against it, then z. Smooth for bends
    below 180 degrees."""
    mixed = torch.lerp(first, second, share[:, None, None])
    y = mixed[..., 1] / mixed[..., 1].norm(dim=-1, keepdim=True)
    x = mixed[..., 0] - (mixed[..., 0] * y).sum(dim=-1, keepdim=True) * y
    x = x / x.norm(dim=-1, keepdim=True)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


class _Sculptor:
    """Places every vertex of a topology on the rest hand and binds it."""

    def __init__(self, parameters: SurfaceParameters):
        self.parameters = parameters
        skeleton = forward_kinematics(rest_pose(like=torch.zeros((), dtype=torch.float64)))
        self.joints = skeleton.joints.numpy() * 1000
        self.frames = [skeleton.root_rotation.numpy(), *skeleton.bone_rotations.flatten(0, 1).numpy()]
        self.blends: dict[tuple[int, int, float], int] = {}
        self.knuckles, self.webs = self._knuckles()
        cos, sin = (_signed_power(f(_WRIST_ANGLES), _WRIST_ROUNDNESS) for f in (np.cos, np.sin))
        width, depth = _WRIST_HALF_AXES
        self.wrist = np.stack([width * cos, 0 * cos, depth * sin], axis=-1) + _WRIST_CENTRE
        p = parameters
        spans = (0, _BACK_END, _PALM_START, _PALM_END, _COLUMNS)
        counts = (4 * p.dorsal_edges, p.side_edges) * 2
        self.columns = np.concatenate(
            [np.linspace(spans[i], spans[i + 1], count + 1)[:-1] for i, count in enumerate(counts)]
        )
        self.angles = loop_angles(p)
        self.heights = _RING_HEIGHTS.get(p.palm_rings, np.linspace(0, 1, p.palm_rings))

    def _knuckles(self) -> tuple[np.ndarray, np.ndarray]:
        """The cage's last ring, and its points in the webs."""
        base, middle = self.joints[[5, 9, 13, 17]], self.joints[[6, 10, 14, 18]]
        level = base + _WEB_LEVEL * (middle - base)
        between = (base[1:] + base[:-1]) / 2
        # Nearer to the ulnar finger's level, which is the lower one where it differs: the little finger's.
        webs = 0.6 * level[1:] + 0.4 * level[:-1]
        webs[:, 0] = between[:, 0]
        ring = np.zeros((_COLUMNS, 3))
        ring[[1, 3, 5, 7]], ring[[2, 4, 6]] = base + _CREST, between + _DIP
        ring[[17, 15, 13, 11]], ring[[16, 14, 12]] = level + _CREASE, webs + _PALM_DIP
        ring[[0, 19, 18]], ring[[8, 9, 10]] = base[0] + _INDEX_BORDER, base[3] + _LITTLE_BORDER
        return ring, webs + _WEB_RIM

    def frame_between(self, first: int, second: int, share: float) -> int:
        if first == second or share == 0:
            return first
        key = (first, second, round(float(share), 6))
        if key not in self.blends:
            self.blends[key] = len(self.frames)
            pair = torch.from_numpy(np.stack([self.frames[first], self.frames[second]]))[:, None]
            self.frames.append(blend_frames(*pair, pair.new_tensor([key[2]]))[0].numpy())
        return self.blends[key]

    def anchor(self, digit: int, bone: int, fraction: float) -> dict[int, float]:
        return {_start(digit, bone): 1 - fraction, _start(digit, bone + 1): fraction}

    def anchor_beside(self, digit: int, bone: int, point: np.ndarray) -> dict[int, float]:
        """The point of the bone nearest to `point`."""
        start, end = self.joints[_start(digit, bone)], self.joints[_start(digit, bone + 1)]
        axis = end - start
        return self.anchor(digit, bone, float(np.clip((point - start) @ axis / (axis @ axis), 0, 1)))

    # Every place of the topology gives a point and the terms that carry it.

    def palm(self, ring: int, at: int) -> tuple[np.ndarray, list[_Term]]:
        height, column = float(self.heights[ring]), float(self.columns[at])
        first = 2 * int(column // 2)
        nodes = [first % _COLUMNS, (first + 1) % _COLUMNS, (first + 2) % _COLUMNS]
        rings = (self.wrist, _MIDDLE_RING, self.knuckles)
        point = _parabola(np.stack([_parabola(cage[nodes], column - first) for cage in rings]), 2 * height)
        fingers = self._fingers(column)
        if height == 1:
            return point, [self._knuckle_term(finger, weight, column) for finger, weight in fingers]
        stations = _palm_stations(height)
        still = max(1 - 2 * height, 0.0)  # share of the hand's own frame: all of it at the wrist
        thenar = self._thenar_share(height, column)
        terms = [
            _Term(
                weight * (1 - still),
                self.anchor_beside(finger, 0, point),
                bone_frame(finger, 0),
                PALM,
                stations,
            )
            for finger, weight in fingers
        ]
        terms = [*terms, _Term(still, {0: 1.0}, ROOT, PALM, stations)]
        terms = [_Term(t.weight * (1 - thenar), t.anchor, t.frame, t.size, t.stations) for t in terms]
        half = self.frame_between(bone_frame(0, 0), bone_frame(0, 1), 0.5)
        terms.append(_Term(thenar, {_start(0, 1): 1.0}, half, 0, _digit_stations(0, 1.0)))
        return point, [term for term in terms if term.weight > 0]

    def web(self, gap: int, at: int) -> tuple[np.ndarray, list[_Term]]:
        nodes = np.stack([self.knuckles[2 * gap + 2], self.webs[gap], self.knuckles[16 - 2 * gap]])
        point = _parabola(nodes, 2 * at / self.parameters.side_edges)
        return point, [self._base_term(finger, 0.5, _TURN_WEB) for finger in (gap + 1, gap + 2)]

    def cap(self) -> tuple[np.ndarray, list[_Term]]:
        point = np.array(_WRIST_CENTRE) - [0, _CAP_BULGE, 0]
        return point, [_Term(1.0, {0: 1.0}, ROOT, PALM, _palm_stations(0.0))]

    def digit(self, digit: int, ring: int, at: int) -> tuple[np.ndarray, list[_Term]]:
        kind, rings = ("thumb" if digit == 0 else "finger"), self.parameters.digit_rings
        position = float(_RING_POSITIONS.get((kind, rings), self._even_positions(rings))[ring - 1])
        bone, angle = min(int(position), 3), self.angles[at]
        fraction = position - bone
        sections, scale = (
            (_THUMB_SECTIONS, 1.0) if digit == 0 else (_FINGER_SECTIONS, _FINGER_SIZES[digit - 1])
        )
        radial, ulnar, back, palm = (
            scale * np.interp(position, sections[:, 0], sections[:, i]) for i in (1, 2, 3, 4)
        )
        cos, sin = np.cos(angle), np.sin(angle)
        offset = np.array([
            (ulnar if cos > 0 else radial) * _signed_power(cos, _ROUNDNESS),
            np.interp(position, *_WEB_LEAN.T) * max(cos, 0.0) if digit == 0 else 0.0,
            (back if sin > 0 else palm) * _signed_power(sin, _ROUNDNESS),
        ])  # fmt: skip
        point = self._on_bone(digit, bone, fraction) + self.frames[bone_frame(digit, bone)] @ offset
        # Halfway at a joint; the turn fades out by the middle of the bones.
        if bone > 1 and fraction < 0.5:
            frame = self.frame_between(bone_frame(digit, bone - 1), bone_frame(digit, bone), 0.5 + fraction)
        elif bone < 3 and fraction > 0.5:
            frame = self.frame_between(bone_frame(digit, bone), bone_frame(digit, bone + 1), fraction - 0.5)
        else:
            frame = bone_frame(digit, bone)
        hung = 0.0
        if digit == 0:
            hung = float(np.interp(position, *_WEB_SHARE.T) * max(np.cos(angle - _WEB_ANGLE), 0.0))
        anchor = self.anchor(digit, bone, fraction)
        terms = [
            _Term(1 - hung, anchor, frame, digit, _digit_stations(digit, position)),
            _Term(hung, self.anchor_beside(1, 0, point), bone_frame(1, 0), PALM, _palm_stations(0.5)),
        ]
        return point, [term for term in terms if term.weight > 0]

    def tip(self, digit: int) -> tuple[np.ndarray, list[_Term]]:
        frame = bone_frame(digit, 3)
        point = self._on_bone(digit, 3, 1.0) + self.frames[frame] @ [0.0, _PULP, -_PULP_DROP]
        return point, [_Term(1.0, self.anchor(digit, 3, 1.0), frame, digit, _digit_stations(digit, 4.0))]

    def _on_bone(self, digit: int, bone: int, fraction: float) -> np.ndarray:
        return sum(weight * self.joints[j] for j, weight in self.anchor(digit, bone, fraction).items())

    def _even_positions(self, rings: int) -> np.ndarray:
        each = rings // 3
        steps = np.arange(1, each + 1) / each
        return np.concatenate([1.4 + 0.6 * steps, 2 + steps, 3 + 0.93 * steps])

    def _fingers(self, column: float) -> list[tuple[int, float]]:
        """The one or two fingers beside a column of the palm, with weights that add up to one."""
        if column <= _BACK_END:
            across = column / 2
        else:
            across = 4 - (np.clip(column, _PALM_START, _PALM_END) - _PALM_START) / 2
        centre = np.clip(across - 0.5, 0, 3)
        low = min(int(centre), 2)
        shares = ((low + 1, 1 - (centre - low)), (low + 2, centre - low))
        return [(finger, float(share)) for finger, share in shares if share > 1e-9]

    def _base_term(self, finger: int, weight: float, turn: float) -> _Term:
        frame = self.frame_between(bone_frame(finger, 0), bone_frame(finger, 1), turn)
        return _Term(weight, {_start(finger, 1): 1.0}, frame, finger, _digit_stations(finger, 1.0))

    def _knuckle_term(self, finger: int, weight: float, column: float) -> _Term:
        if column >= _PALM_END:
            turn = _TURN_BACK  # the index finger's radial side belongs to the first web
        elif column >= _PALM_START:
            turn = _TURN_PALM
        else:
            dip = 0 < column < _BACK_END and abs(column / 2 - round(column / 2)) < 1e-6
            turn = _TURN_SIDE if column > _BACK_END or dip else _TURN_BACK
        return self._base_term(finger, weight, turn)

    def _thenar_share(self, height: float, column: float) -> float:
        """How much of a place of the palm follows the thumb's base."""
        around = np.interp(column, [0, 1, 14.5, 17, 18, 19, 20], [0.15, 0, 0, 0.3, 0.5, 0.5, 0.15])
        return float(around * np.interp(height, [0, 0.5, 1], [0, 1, 0]))


@cache
def template(parameters: SurfaceParameters) -> Template:
    """The rest shape of the surface with these parameters, in float64 on the CPU. Computed once."""
    sculptor = _Sculptor(parameters)
    places = [getattr(sculptor, kind)(*at) for kind, *at in layout(parameters).places]
    shape = (len(places), max(len(terms) for _, terms in places))
    joint_weights = np.zeros((len(places), len(sculptor.joints)))
    frame, size, station_share = np.zeros(shape, int), np.zeros(shape, int), np.zeros(shape)
    offset, station = np.zeros((*shape, 3)), np.zeros((*shape, 2), int)
    for v, (point, terms) in enumerate(places):
        for k, term in enumerate(terms):
            for joint, weight in term.anchor.items():
                joint_weights[v, joint] += term.weight * weight
            anchor = sum(weight * sculptor.joints[joint] for joint, weight in term.anchor.items())
            offset[v, k] = term.weight * sculptor.frames[term.frame].T @ (point - anchor) / 1000
            frame[v, k], size[v, k] = term.frame, term.size
            station[v, k], station_share[v, k] = term.stations[:2], term.stations[2]
    return Template(
        *_tensors(joint_weights, [key[:2] for key in sculptor.blends], [key[2] for key in sculptor.blends]),
        *_tensors(frame, offset, size, station, station_share, _sizes(sculptor.joints / 1000)),
    )


def _tensors(*values: np.ndarray | Sequence) -> list[Tensor]:
    return [torch.from_numpy(np.asarray(value)) for value in values]


def _sizes(joints: np.ndarray) -> np.ndarray:
    digits = np.concatenate([np.broadcast_to(joints[0], (5, 1, 3)), joints[1:].reshape(5, 4, 3)], axis=1)
    lengths = np.linalg.norm(np.diff(digits, axis=1), axis=-1)
    return np.append(lengths[:, 1:].sum(axis=1), lengths[1:, 0].mean())

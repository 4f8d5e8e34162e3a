"""The rest shape of the hand surface: where every vertex lies and which bones carry it.

Chapter  book/foundations/hand_model.md
Units    millimetres in the tables, metres in the result
Frame    hand frame at rest (see hand.kinematics); sections in bone frames: x to the ulnar side, z to the nail

The palm is sculpted as a cage of three rings of twenty points (and three web points), which is the plain palm;
other numbers of rings and columns sample the same piecewise quadratic surface. A digit is a row of oval
sections. The numbers are the book's own, drawn by eye from an adult hand; nothing in them is learned.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.hand.kinematics import forward_kinematics, rest_pose
from hands_lib.hand.surface.topology import SurfaceParameters, column_angles, layout, loop_angles

NUM_STATIONS = 4  # of a digit's thickness: base, middle joint, distal joint, tip
PALM_STATIONS = 3  # of the palm's thickness: wrist, middle, knuckles
PALM_SCALE = 5  # scales are thumb ... little (0 to 4), palm

# Sections of a digit, millimetres. Position: bone number (1 proximal, 2 middle, 3 distal) plus the fraction
# along it. Half widths to the radial and ulnar side, heights of back and palm side over the bone's axis.
_FINGER_SECTIONS = np.array([
    # position radial ulnar back palm
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
    (1.20, 13.5, 27.0, 11.5, 16.5),
    (1.35, 13.0, 26.0, 11.3, 16.5),
    (1.50, 12.2, 23.0, 11.0, 16.0),
    (1.72, 11.2, 16.0, 10.3, 14.0),
    (2.00, 10.8, 11.6, 9.8, 11.5),
    (2.30, 9.7, 9.9, 8.8, 10.3),
    (2.60, 9.4, 9.4, 8.2, 9.8),
    (3.00, 10.3, 10.3, 8.0, 8.8),
    (3.30, 10.3, 10.3, 7.0, 9.6),
    (3.45, 10.0, 10.0, 6.4, 9.5),
    (3.70, 8.8, 8.8, 5.4, 8.2),
    (3.93, 5.8, 5.8, 3.4, 5.4),
])  # fmt: skip
# How far the thumb's sections lean towards its tip on the side of the index finger: the first web.
_WEB_LEAN = np.array([(1.2, 10.0), (1.5, 9.0), (1.72, 6.0), (2.0, 1.5), (2.3, 0.0)])
_PULP = 1.6  # the surface ends this far beyond the tip joint


@dataclass(frozen=True)
class Template:
    """Everything that evaluation needs, in float64 on the CPU.

    vertex v = sum_j joint_weights[v, j] joint_j + sum_k frame[v, k] (scale * multipliers * offset[v, k])
    """

    joint_weights: Float[Tensor, "vertex 21"]
    frame_bones: Int[Tensor, "frame 2"]
    """Each frame lies between two bones: 0 is the hand (root), 1 + 4 digit + bone the others."""
    frame_blend: Float[Tensor, " frame"]
    """0 is the first bone's frame, 1 the second's."""
    term_frame: Int[Tensor, "vertex term"]
    term_offset: Float[Tensor, "vertex term 3"]
    """Metres, weight included; terms that a vertex does not need are zero."""
    term_scale: Int[Tensor, "vertex term"]
    term_stations: Int[Tensor, "vertex term 2"]
    """The two neighbouring stations of thickness: 4 digit + station, then the palm's."""
    term_station_blend: Float[Tensor, "vertex term"]
    rest_palm_size: float
    rest_digit_sizes: Float[Tensor, " 5"]


def bone(digit: int, number: int) -> int:
    return 1 + 4 * digit + number


def joint(digit: int, number: int) -> int:
    """The joint where bone `number` of the digit begins."""
    return 0 if number == 0 else 4 * digit + number


class _Sculptor:
    """Places vertices in the rest pose and binds them to bones."""

    def __init__(self, parameters: SurfaceParameters):
        self.parameters = parameters
        skeleton = forward_kinematics(rest_pose(like=torch.zeros((), dtype=torch.float64)))
        self.joints = skeleton.joints.numpy() * 1000
        rotations = skeleton.bone_rotations.reshape(20, 3, 3).numpy()
        self.rotations = np.concatenate([skeleton.root_rotation.numpy()[None], rotations])
        self.frames: dict[tuple[int, int, float], int] = {}
        self.frame_rotations: list[np.ndarray] = []
        self.cage, self.web_cage = self._cage()

    # --- rest positions ---

    def _cage(self):
        base = self.joints[[5, 9, 13, 17]]
        along = self.rotations[[bone(d, 1) for d in range(1, 5)]][:, :, 1]
        web_level = base + 0.40 * np.linalg.norm(self.joints[[6, 10, 14, 18]] - base, axis=1)[:, None] * along
        between = (base[1:] + base[:-1]) / 2
        webs = 0.6 * web_level[1:] + 0.4 * web_level[:-1]
        webs[:, 0] = between[:, 0] + 0.42 * (web_level - base)[:-1, 0]
        knuckles = np.zeros((20, 3))
        knuckles[[1, 3, 5, 7]] = base + [0, 1.0, 10.0]
        knuckles[[2, 4, 6]] = between + [0, 5.0, 5.5]
        knuckles[[17, 15, 13, 11]] = web_level + [0, -1.0, -11.5]
        knuckles[[16, 14, 12]] = webs + [0, -2.0, -10.0]
        knuckles[0], knuckles[19], knuckles[18] = base[0] + np.array([
            (-9.0, 1.0, 6.5), (-11.2, 3.0, -2.0), (-8.0, 7.0, -11.0)])
        knuckles[8], knuckles[9], knuckles[10] = base[3] + np.array([
            (7.5, 0.0, 6.0), (9.8, 1.5, -1.5), (7.5, 8.0, -9.5)])
        middle = np.array([
            (-23.5, 48.0, 2.5), (-14.0, 45.0, 7.5), (-6.5, 43.0, 9.5), (0.0, 42.0, 10.3), (6.5, 41.0, 10.2),
            (13.0, 39.0, 9.3), (19.5, 36.0, 8.0), (26.5, 31.0, 6.0), (33.0, 27.0, 1.5),
            (37.5, 25.0, -8.5),
            (33.0, 24.0, -20.0), (26.5, 25.5, -24.5), (18.5, 29.0, -23.5), (10.0, 35.0, -18.5), (3.0, 37.0, -15.5),
            (-3.0, 38.5, -15.5), (-8.5, 39.0, -19.5), (-13.5, 39.5, -25.5), (-19.0, 41.0, -29.5),
            (-28.0, 46.0, -11.0),
        ])  # fmt: skip
        angles = np.pi * np.array([
            0.83, 0.75, 0.67, 0.585, 0.5, 0.415, 0.33, 0.25, 0.17, 0.0,
            -0.17, -0.25, -0.33, -0.415, -0.5, -0.585, -0.67, -0.75, -0.83, -1.0,
        ])  # fmt: skip
        cos, sin = np.cos(angles), np.sin(angles)
        wrist = np.stack([28.5 * _power(cos, 0.85), 0 * cos - 14, -5.0 + 18.0 * _power(sin, 0.85)], axis=-1)
        web_points = webs + [0, 2.0, -1.5]
        return np.stack([wrist, middle, knuckles]), web_points

    def palm_point(self, height: float, column: float) -> np.ndarray:
        """The cage's surface at a height (0 wrist, 1 knuckles) and a column (0 to 20)."""
        rows = np.stack([_quadratic(self.cage[row], column) for row in range(3)])
        return _lagrange(rows, 2 * height)

    def columns(self) -> np.ndarray:
        p = self.parameters
        spans = [(0, 8, 4 * p.dorsal_edges), (8, 10, p.side_edges), (10, 18, 4 * p.dorsal_edges),
                 (18, 20, p.side_edges)]  # fmt: skip
        return np.concatenate([np.linspace(start, stop, count + 1)[:-1] for start, stop, count in spans])

    # --- binding ---

    def frame(self, first: int, second: int, blend: float) -> int:
        key = (first, second, round(blend, 6))
        if key not in self.frames:
            self.frames[key] = len(self.frames)
            blended = blend_frames(
                torch.from_numpy(self.rotations[first]), torch.from_numpy(self.rotations[second]), torch.tensor(blend)
            )
            self.frame_rotations.append(blended.numpy())
        return self.frames[key]

    def bind_to_bone(self, digit: int, number: int, point: np.ndarray, fraction: float | None = None):
        """Anchor at the point of the bone beside `point`, or at the given fraction of the bone."""
        start, end = joint(digit, number), joint(digit, number + 1)
        axis = self.joints[end] - self.joints[start]
        if fraction is None:
            fraction = float(np.clip((point - self.joints[start]) @ axis / (axis @ axis), 0, 1))
        return {start: 1 - fraction, end: fraction}


def _power(value, exponent):
    return np.sign(value) * np.abs(value) ** exponent


def _lagrange(nodes: np.ndarray, t: float) -> np.ndarray:
    """The parabola through three nodes at t = 0, 1, 2."""
    return nodes[0] * (t - 1) * (t - 2) / 2 + nodes[1] * t * (2 - t) + nodes[2] * t * (t - 1) / 2


def _quadratic(ring: np.ndarray, column: float) -> np.ndarray:
    start = 2 * int(column // 2)
    return _lagrange(ring[[start % 20, (start + 1) % 20, (start + 2) % 20]], column - start)


def blend_frames(
    first: Float[Tensor, "*batch 3 3"], second: Float[Tensor, "*batch 3 3"], blend: Float[Tensor, "*frame"]
) -> Float[Tensor, "*out 3 3"]:
    """A rotation between two: columns y and x mixed, then made orthonormal. Smooth up to bends of 180 degrees,
    and unlike the mean of two matrices it does not shrink the section that it carries."""
    mixed = torch.lerp(first, second, blend[..., None, None].to(first))
    y = torch.nn.functional.normalize(mixed[..., 1], dim=-1)
    x = mixed[..., 0]
    x = torch.nn.functional.normalize(x - (x * y).sum(dim=-1, keepdim=True) * y, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


def _ring_positions(rings: int, digit: int) -> list[tuple[float, float]]:
    """(position along the digit, blend towards the next or previous bone) of every ring beyond the base."""
    if rings == 6:
        first = 1.50 if digit == 0 else 1.68
        return [first, 2.0, 2.5, 3.0, 3.45, 3.93]
    if rings == 9:
        if digit == 0:
            return [1.35, 1.72, 2.0, 2.3, 2.72, 3.0, 3.3, 3.70, 3.94]
        return [1.62, 1.82, 2.0, 2.3, 2.7, 3.0, 3.3, 3.70, 3.94]
    each = rings // 3
    first = 1.3 if digit == 0 else 1.5
    return [
        *np.linspace(first, 2, each), *(2 + np.arange(1, each + 1) / each),
        *(3 + 0.9 * np.arange(1, each + 1) / each),
    ]  # fmt: skip


def _joint_share(position: float) -> tuple[int, int, float]:
    """Bones and blend of the frame at a position: halfway at a joint, the bone's own away from it."""
    number = int(np.floor(position + 1e-9))
    fraction = position - number
    reach = 0.5
    if number > 1 and fraction < reach:
        return number - 1, number, 0.5 + 0.5 * fraction / reach
    if number < 3 and fraction > 1 - reach:
        return number, number + 1, 0.5 * (fraction - (1 - reach)) / reach
    return number, number, 0.0


@cache
def template(parameters: SurfaceParameters) -> Template:
    """The rest shape and binding of the surface with these parameters. Computed once."""
    p, plan, sculptor = parameters, layout(parameters), _Sculptor(parameters)
    joints, columns, loop = sculptor.joints, sculptor.columns(), loop_angles(p)
    vertices = []  # each a list of (weight, anchor {joint: weight}, frame, scale group, (station, station, blend))
    rest = []

    def palm_binding(height: float, column: float, point: np.ndarray):
        finger = _finger_coordinate(column) - 0.5
        palmar = 10 <= column <= 18
        low = int(np.clip(np.floor(finger), 0, 2))
        share = float(np.clip(finger - low, 0, 1))
        stations = _stations(2 * height, PALM_STATIONS, 5 * NUM_STATIONS)
        terms = []
        top = height > 0.999
        for f, weight in ((low, 1 - share), (low + 1, share)):
            if weight == 0:
                continue
            digit = f + 1
            if top:
                side = column in (9, 19) or column > 18 or 8 < column < 10
                blend = 0.5 if column >= 18 else 0.85 if palmar else 0.6 if side or column in (2, 4, 6) else 0.5
                frame = sculptor.frame(bone(digit, 0), bone(digit, 1), blend)
                terms.append((weight, {joint(digit, 1): 1.0}, frame, digit, _stations(0, 4, 4 * digit)))
            else:
                bend = 0.0
                frame = sculptor.frame(bone(digit, 0), bone(digit, 0), bend)
                terms.append((weight, sculptor.bind_to_bone(digit, 0, point), frame, PALM_SCALE, stations))
        root = float(np.clip(1 - 2 * height, 0, 1))
        result = [((1 - root) * w, *rest_) for w, *rest_ in terms if root < 1]
        if root > 0:
            result.append((root, {0: 1.0}, sculptor.frame(0, 0, 0.0), PALM_SCALE, stations))
        # the thenar follows the thumb
        near = _thenar_share(height, column)
        if near > 0:
            result = [((1 - near) * w, *rest_) for w, *rest_ in result]
            frame = sculptor.frame(bone(0, 0), bone(0, 1), 0.5)
            result.append((near, {joint(0, 1): 1.0}, frame, 0, _stations(0, 4, 0)))
        return result

    for kind, *at in plan.places:
        if kind == "palm":
            height, column = _ring_heights(p.palm_rings)[at[0]], columns[at[1]]
            point = sculptor.palm_point(height, column)
            terms = palm_binding(height, column, point)
        elif kind == "web":
            gap, t = at[0], 2 * at[1] / p.side_edges
            nodes = np.stack([sculptor.cage[2][2 * gap + 2], sculptor.web_cage[gap], sculptor.cage[2][16 - 2 * gap]])
            point = _lagrange(nodes, t)
            terms = [
                (0.5, {joint(d, 1): 1.0}, sculptor.frame(bone(d, 0), bone(d, 1), 0.9), d, _stations(0, 4, 4 * d))
                for d in (gap + 1, gap + 2)
            ]
        elif kind == "cap":
            point = np.array([0.0, -16.0, -4.0])
            terms = [(1.0, {0: 1.0}, sculptor.frame(0, 0, 0.0), PALM_SCALE, _stations(0, 3, 20))]
        else:
            digit = at[0]
            if kind == "tip":
                position, angle = 4.0, None
            else:
                position, angle = _ring_positions(p.digit_rings, digit)[at[1] - 1], loop[at[2]]
            point, number = _section_point(sculptor, digit, position, angle)
            first, second, blend = _joint_share(position) if kind != "tip" else (3, 3, 0.0)
            frame = sculptor.frame(bone(digit, first), bone(digit, second), blend)
            fraction = position - number
            anchor = sculptor.bind_to_bone(digit, number, point, fraction)
            terms = [(1.0, anchor, frame, digit, _stations(position - 1, 4, 4 * digit))]
            if digit == 0 and angle is not None:
                share = np.interp(position, [1.2, 1.8], [0.5, 0.0]) * max(np.cos(angle + 0.5), 0)
                if share > 0:
                    frame = sculptor.frame(bone(1, 0), bone(1, 0), 0.0)
                    terms = [(1 - share, *terms[0][1:]), (share, sculptor.bind_to_bone(1, 0, point), frame, PALM_SCALE, _stations(1, 3, 20))]
        rest.append(point)
        vertices.append(terms)

    count = max(len(terms) for terms in vertices)
    joint_weights = np.zeros((len(vertices), 21))
    frames = np.zeros((len(vertices), count), dtype=np.int64)
    scales = np.zeros((len(vertices), count), dtype=np.int64)
    stations = np.zeros((len(vertices), count, 2), dtype=np.int64)
    station_blend = np.zeros((len(vertices), count))
    offsets = np.zeros((len(vertices), count, 3))
    for v, (terms, point) in enumerate(zip(vertices, rest, strict=True)):
        for k, (weight, anchor, frame, scale, (low, high, blend)) in enumerate(terms):
            centre = sum(share * joints[j] for j, share in anchor.items())
            for j, share in anchor.items():
                joint_weights[v, j] += weight * share
            offsets[v, k] = weight * sculptor.frame_rotations[frame].T @ (point - centre) / 1000
            frames[v, k], scales[v, k], stations[v, k], station_blend[v, k] = frame, scale, (low, high), blend
    lengths = np.linalg.norm(joints[1:].reshape(5, 4, 3) - np.concatenate(
        [np.zeros((5, 1, 3)), joints[1:].reshape(5, 4, 3)[:, :3]], axis=1), axis=-1) / 1000
    keys = list(sculptor.frames)
    return Template(
        torch.from_numpy(joint_weights),
        torch.tensor([key[:2] for key in keys]),
        torch.tensor([key[2] for key in keys], dtype=torch.float64),
        torch.from_numpy(frames), torch.from_numpy(offsets), torch.from_numpy(scales),
        torch.from_numpy(stations), torch.from_numpy(station_blend),
        float(lengths[1:, 0].mean()), torch.from_numpy(lengths[:, 1:].sum(axis=1)),
    )


def _ring_heights(rings: int) -> list[float]:
    if rings == 5:
        return [0.0, 0.21, 0.46, 0.74, 1.0]
    return list(np.linspace(0, 1, rings))


def _finger_coordinate(column: float) -> float:
    """0 at the index finger's radial border to 4 at the little finger's ulnar border."""
    if column <= 8:
        return column / 2
    if column < 10:
        return 4.0
    return max(4 - (column - 10) / 2, 0.0)


def _thenar_share(height: float, column: float) -> float:
    if height > 0.999:
        return 0.0
    around = float(np.interp(column, [14.5, 17, 18, 19, 20], [0, 0.3, 0.5, 0.5, 0.15])) if column > 10 else (0.15 if column == 0 else 0)
    along = float(np.interp(height, [0, 0.5, 1], [0, 1, 0]))
    return around * along


def _stations(position: float, count: int, first: int) -> tuple[int, int, float]:
    low = int(np.clip(np.floor(position), 0, count - 2))
    return first + low, first + low + 1, float(np.clip(position - low, 0, 1))


def _section_point(sculptor: _Sculptor, digit: int, position: float, angle: float | None):
    number = min(int(np.floor(position + 1e-9)), 3)
    start, end = sculptor.joints[joint(digit, number)], sculptor.joints[joint(digit, number + 1)]
    rotation = sculptor.rotations[bone(digit, number)]
    centre = start + (position - number) * (end - start)
    size = 1.0 if digit == 0 else _FINGER_SIZES[digit - 1]
    if angle is None:
        return centre + rotation @ np.array([0.0, _PULP, -1.0 * size]), number
    sections = _THUMB_SECTIONS if digit == 0 else _FINGER_SECTIONS
    radial, ulnar, back, palm = (np.interp(position, sections[:, 0], sections[:, i]) * size for i in range(1, 5))
    cos, sin = np.cos(angle), np.sin(angle)
    x = (ulnar if cos > 0 else radial) * _power(cos, 0.9)
    z = (back if sin > 0 else palm) * _power(sin, 0.9)
    lean = np.interp(position, *_WEB_LEAN.T) * max(cos, 0.0) if digit == 0 else 0.0
    return centre + rotation @ np.array([x, lean, z]), number

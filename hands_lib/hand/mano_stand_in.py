"""A hand model with MANO's schema and none of its data, made from the project's own surface.

It has MANO's 778 vertices, 1538 faces, wrist hole of 16 edges, 16 joints in MANO's order, shape and pose
directions, and the published numbers of tip and wrist vertices, so that everything that reads MANO can run
and be tested without it. It even has the published left model's fault (`mano.fix_left_shape`). Its numbers
mean nothing to MANO: parameters of one give another hand in the other.

Units   metres, radians
Frame   the library's hand frame
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from hands_lib.hand.kinematics import forward_kinematics, rest_pose
from hands_lib.hand.mano import NUM_VERTICES, TIP_VERTICES, Arrays, Side
from hands_lib.hand.skeleton import JOINT_ORDERS, JOINTS
from hands_lib.hand.surface import HandShape, hand_surface, surface_topology

WRIST_RING = (108, 79, 78, 121, 214, 215, 279, 239, 234, 92, 38, 122, 118, 117, 119, 120)
"""The wrist's vertices in the published model, in order around the hole."""
_PARENTS = (2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
_MIRROR = np.array([-1.0, 1.0, 1.0])


@cache
def _right() -> Arrays:
    blend, faces, ring = _surface()
    joints = forward_kinematics(rest_pose(like=torch.empty(0, dtype=torch.float64))).joints.numpy()
    rest = blend @ _vertices()
    number = _numbering(rest, joints, ring)
    rest, blend, faces = rest[number.argsort()], blend[number.argsort()], number[faces]
    generator = np.random.default_rng(0)
    own = joints[[JOINTS.index(name) for name in JOINT_ORDERS["mano"]]]
    mean = np.zeros((15, 3))
    mean[:12, 0] = -0.15  # fingers slightly bent: flexion turns about -x
    return {
        "v_template": rest,
        "shapedirs": np.stack([blend @ step for step in _shape_steps()], axis=-1),
        "posedirs": 2e-4 * generator.standard_normal((NUM_VERTICES, 3, 135)),
        "J_regressor": _regressor(rest, own),
        "weights": _weights(rest, own, joints),
        "kintree_table": np.array([_PARENTS, range(16)], dtype=np.int64),
        "f": faces,
        "hands_components": np.linalg.qr(generator.standard_normal((45, 45)))[0],
        "hands_mean": mean.reshape(-1),
    }


def stand_in(side: Side = "right", faulty: bool = True) -> Arrays:
    """The arrays of one side, as `mano.read_mano` gives them.

    The left hand is the right one's mirror image; `faulty` leaves the x components of its shape directions
    as they are on the right, as the published left model has them.
    """
    arrays = {name: array.copy() for name, array in _right().items()}
    if side == "right":
        return arrays
    signs = np.tile(np.outer(_MIRROR, _MIRROR).reshape(-1), 15)  # of the entries of 15 rotations
    arrays["v_template"] *= _MIRROR
    arrays["f"] = arrays["f"][:, ::-1].copy()
    arrays["posedirs"] *= _MIRROR[:, None] * signs
    arrays["hands_mean"] *= np.tile([1.0, -1.0, -1.0], 15)  # an axis mirrors as its plane of rotation does
    arrays["hands_components"] *= np.tile([1.0, -1.0, -1.0], 15)
    if not faulty:
        arrays["shapedirs"] *= _MIRROR[:, None]
    return arrays


def _vertices(change: Callable | None = None, shape: HandShape | None = None) -> np.ndarray:
    pose = rest_pose(like=torch.empty(0, dtype=torch.float64))
    if change is not None:
        pose = replace(pose, bone_lengths=pose.bone_lengths * change(torch.ones_like(pose.bone_lengths)))
    return hand_surface(forward_kinematics(pose), shape, detail="refined").vertices.numpy()


def _shape_steps() -> list[np.ndarray]:
    """How ten coefficients move the vertices of the refined surface, for one unit each."""

    def longer(digits, bones, by=0.04):
        def change(lengths):
            lengths[digits, bones] += by
            return lengths

        return _vertices(change)

    def thicker(name, by=0.08):
        rest = HandShape.rest(like=torch.empty(0, dtype=torch.float64))
        return _vertices(shape=replace(rest, **{name: getattr(rest, name) * (1 + by)}))

    every = slice(None)
    moved = [longer(every, every), longer(every, slice(0, 1)), longer(slice(1, 5), slice(1, 4))]
    moved += [longer(slice(digit, digit + 1), slice(1, 4)) for digit in range(5)]
    moved += [thicker("digit_width"), thicker("palm_width")]
    return [vertices - _vertices() for vertices in moved]


def _surface() -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Vertices as means of the refined surface's (778, 699), faces, and the wrist's ring in order.

    The middle of the refined surface's wrist has a ring of 30. Turning every second spoke over leaves it 16
    neighbours and closes the rest with flat triangles; taking it out leaves the hole. The longest edges are
    then halved until there are 778 vertices.
    """
    topology = surface_topology("refined")
    centre = int(topology.faces.flatten().bincount().argmax())  # no other vertex has as many neighbours
    faces = [tuple(face) for face in topology.faces.tolist()]
    around = dict(_after(face, centre) for face in faces if centre in face)
    ring = [next(iter(around))]
    while len(ring) < len(around):
        ring.append(around[ring[-1]])
    kept = [face for face in faces if centre not in face]
    for place in range(1, 2 * (len(ring) - 16), 2):
        kept.append((ring[place - 1], ring[place], ring[(place + 1) % len(ring)]))
    hole = [v for n, v in enumerate(ring) if not (n % 2 == 1 and n < 2 * (len(ring) - 16))]
    blend, rest, triangles = np.eye(len(topology.part)), _vertices(), np.array(kept)
    on_hole = np.zeros(NUM_VERTICES + 1, dtype=bool)
    on_hole[hole] = True
    while len(blend) - 1 < NUM_VERTICES:
        start, end = triangles.reshape(-1), np.roll(triangles, -1, axis=1).reshape(-1)
        edge = (start < end) & ~(on_hole[start] & on_hole[end])
        start, end = start[edge], end[edge]
        length = np.linalg.norm(rest[start] - rest[end], axis=1).round(9)
        # Ties are broken by number, so that every machine makes the same model.
        first = np.lexsort((end, start, -length))[0]
        a, b, new = start[first], end[first], len(blend)
        blend = np.vstack([blend, (blend[a] + blend[b]) / 2])
        rest = np.vstack([rest, (rest[a] + rest[b]) / 2])
        both = (triangles == a).any(axis=1) & (triangles == b).any(axis=1)
        halves = [np.where(triangles[both] == end, new, triangles[both]) for end in (a, b)]
        triangles = np.concatenate([triangles[~both], *halves])
    # The middle of the wrist goes out, and the numbers above it move down.
    used = np.delete(np.arange(len(blend)), centre)
    moved = np.full(len(blend), -1)
    moved[used] = np.arange(len(used))
    return blend[used], moved[triangles], moved[hole].tolist()


def _after(face: tuple, vertex: int) -> tuple[int, int]:
    """The face's other two vertices, as it turns."""
    place = face.index(vertex)
    return face[(place + 1) % 3], face[(place + 2) % 3]


def _numbering(rest: np.ndarray, joints: np.ndarray, ring: list[int]) -> np.ndarray:
    """Published number of each vertex: tips and wrist as in the published model, the others in the gaps."""
    number = np.full(len(rest), -1)
    number[ring] = WRIST_RING
    for digit in range(5):
        tip = joints[4 * digit + 4]
        near = np.argsort(np.linalg.norm(rest - tip, axis=1), kind="stable")
        names = dict.fromkeys(tips[digit] for tips in TIP_VERTICES.values())
        number[near[: len(names)]] = list(names)
    free = np.setdiff1d(np.arange(len(rest)), number)
    number[number < 0] = free
    return number


def _regressor(rest: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Each joint as a mean of 24 near vertices: exact on the template, with weights that add up to 1."""
    regressor = np.zeros((16, len(rest)))
    for row, joint in enumerate(own):
        near = np.argsort(np.linalg.norm(rest - joint, axis=1))[:24]
        system = np.vstack([rest[near].T - joint[:, None], np.full(24, 0.01)])
        regressor[row, near] = np.linalg.pinv(system) @ [0, 0, 0, 0.01]
    return regressor


def _weights(rest: np.ndarray, own: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """By distance to the bones that each joint carries."""
    spread = 0.006
    distance = np.full((len(rest), 16), np.inf)
    for row, name in enumerate(JOINT_ORDERS["mano"]):
        if name == "wrist":
            ends = [joints[JOINTS.index(f"{d}_1")] for d in ("thumb", "index", "middle", "ring", "little")]
        else:
            ends = [joints[JOINTS.index(name) + 1]]
        for end in ends:
            bone = end - own[row]
            along = np.clip((rest - own[row]) @ bone / (bone @ bone), 0, 1)
            away = np.linalg.norm(rest - own[row] - along[:, None] * bone, axis=1)
            distance[:, row] = np.minimum(distance[:, row], away)
    share = np.exp(-((distance / spread) ** 2) + (distance.min(axis=1, keepdims=True) / spread) ** 2)
    return share / share.sum(axis=1, keepdims=True)

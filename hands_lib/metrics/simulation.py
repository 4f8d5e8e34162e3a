"""Whether a grasp holds: what a held object does when it is let go, by MuJoCo.

Needs the extra `simulation` (package `mujoco`); pieces of an object also need `manifold3d`.

Definition  that of Hasson et al. 2019 (ObMan): the hand is fixed, the object has a mass of 1 kg and friction
            3, gravity is 9.8 m/s^2, 35 steps of 1/240 s; how far the object's centre of mass goes. The names
            here end in `_mujoco`, because the numbers of another simulator are others
Differs     published numbers are of pybullet: the hand one concave mesh there, here convex hulls of its
            parts; the object decomposed by VHACD there, here cut into slabs of which every connected piece
            becomes its convex hull; contacts are soft in MuJoCo, and surfaces that overlap at the start are
            pushed apart gently instead of at once
Units       metres, milliseconds, millimetres in the results
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.geometry.parts import weld_vertices
from hands_lib.structures import Mesh, TensorFields

STEP = 1 / 240  # seconds
STEPS = 35  # after which ObMan measures the displacement
SLAB = 0.012  # metres
_FAR = 0.02  # metres: an object that moved so far is no longer held


class SimulationError(RuntimeError):
    """The simulator, or what cuts meshes for it, is not installed."""


@dataclass(frozen=True)
class Drops(TensorFields):
    """What became of each object."""

    displacement_mm_mujoco: Float[Tensor, " grasp"]
    """Of the centre of mass after 35 steps (0.146 s); 104 mm is a free fall."""
    held_ms_mujoco: Float[Tensor, " grasp"]
    """Until the centre of mass has moved by 20 mm; at most what was simulated."""


def _imported(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        raise SimulationError(
            f"the drop test needs the package {name}: install it with pip install 'hands-lib[simulation]'"
        ) from None


def convex_pieces(mesh: Mesh, slab: float = SLAB) -> list[Float[np.ndarray, "_ 3"]]:
    """Points whose convex hulls together are about the solid: it is cut into slabs across its longest side,
    and every connected piece of a slab is one hull.

    Walls of a cup are filled by this, a handle keeps its opening where it is apart from the wall.

    Raises SimulationError without manifold3d, ValueError for a mesh that it finds not to be a solid.
    """
    manifold = _imported("manifold3d")
    welded = weld_vertices(mesh)
    own = manifold.Mesh(welded.vertices.numpy().astype(np.float32), welded.faces.numpy().astype(np.uint32))
    solid = manifold.Manifold(own)
    if solid.is_empty():
        raise ValueError("the mesh is no solid that can be cut: it must be closed, without faces that cross")
    points = welded.vertices.double().numpy()
    axis = int(np.ptp(points, axis=0).argmax())
    normal = [float(axis == k) for k in range(3)]
    low, high = points[:, axis].min(), points[:, axis].max()
    pieces = []
    for level in np.linspace(low, high, max(1, round((high - low) / slab)) + 1)[1:-1]:
        above, below = solid.split_by_plane(normal, float(level))
        pieces += below.decompose()
        solid = above
    pieces += solid.decompose()
    found = [np.asarray(piece.to_mesh().vert_properties)[:, :3].astype(float) for piece in pieces]
    return [own for own in found if len(own) >= 4 and np.ptp(own, axis=0).min() > 1e-4]


def drop(
    hands: Sequence[Sequence[Float[np.ndarray, "_ 3"]]],
    objects: Sequence[Sequence[Float[np.ndarray, "_ 3"]]],
    poses: Float[Tensor, "grasp 4 4"],
    seconds: float = 0.5,
    friction: float = 3.0,
) -> Drops:
    """Let go of every object.

    hands    convex pieces of each hand, world
    objects  convex pieces of each object, in its own frame
    poses    world_from_object; y is up

    Raises SimulationError without MuJoCo.
    """
    _imported("mujoco")
    each = [_drop(*pair, pose, seconds, friction) for *pair, pose in zip(hands, objects, poses, strict=True)]
    return Drops(*torch.tensor(each).T)


def _drop(
    hand: Sequence[np.ndarray], held: Sequence[np.ndarray], pose: Tensor, seconds: float, friction: float
) -> tuple[float, float]:
    mujoco = _imported("mujoco")
    spec = mujoco.MjSpec()
    spec.option.timestep, spec.option.gravity = STEP, [0.0, -9.8, 0.0]
    spec.option.iterations, spec.option.cone = 150, mujoco.mjtCone.mjCONE_ELLIPTIC
    body = spec.worldbody.add_body(name="object")
    body.add_freejoint()
    place = pose.double().numpy()
    for owner, pieces, move in ((spec.worldbody, hand, None), (body, held, place)):
        for number, points in enumerate(pieces):
            name = f"{'hand' if move is None else 'object'} {number}"
            its = points if move is None else points @ move[:3, :3].T + move[:3, 3]
            spec.add_mesh(name=name, uservert=its.astype(np.float32).flatten().tolist())
            geom = owner.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name)
            geom.friction = [friction, 0.005, 0.0001]
            # A hand touches the object and not itself, an object the hand.
            geom.contype, geom.conaffinity = (1, 2) if move is None else (2, 1)
            geom.density = 1000.0
    spec.compiler.boundmass = spec.compiler.boundinertia = 1e-6
    model = spec.compile()
    scale = 1.0 / model.body_mass[1]
    model.body_mass[1] = 1.0
    model.body_inertia[1] *= scale
    data = mujoco.MjData(model)
    mujoco.mj_setConst(model, data)
    mujoco.mj_resetData(model, data)
    mujoco.mj_forward(model, data)
    start = data.xipos[1].copy()
    steps, held_for, displacement = round(seconds / STEP), seconds, 0.0
    for step in range(1, max(steps, STEPS) + 1):
        mujoco.mj_step(model, data)
        mujoco.mj_kinematics(model, data)  # places of this step, not of the one before
        gone = float(np.linalg.norm(data.xipos[1] - start))
        if step == STEPS:
            displacement = gone
        if gone > _FAR and step * STEP < held_for:
            held_for = step * STEP
        if step >= STEPS and held_for < seconds:
            break
    return 1000 * displacement, 1000 * held_for

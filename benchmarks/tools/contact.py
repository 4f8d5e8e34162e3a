"""Contact of a hand and a bottle beside libigl and trimesh: `python benchmarks/tools/contact.py`.

Depth of 699 vertices in 1,856 faces, both ways, and the volume on a grid of 1 mm, from arrays to numbers. All
take turns in one process: what counts is the ratio. The answers must agree to 1e-6 m.
"""

import time
from collections.abc import Callable

import igl
import numpy as np
import torch
import trimesh

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.inside import grid_occupancy, grid_points
from hands_lib.hand.surface import surface_topology
from hands_lib.structures import Mesh
from hands_lib.worlds.grasp_scenes import make_moments
from hands_lib.worlds.grasps import sample_grasps
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.objects import object_shape

ROUNDS, GRID = 3, 48


def pair() -> tuple[Mesh, Mesh]:
    """A power grasp, the hand pressed in by 4 mm; float64."""
    shape, people = object_shape("bottle_1"), sample_identities(4, 0)
    grasps, _ = sample_grasps(1, [shape], people, torch.Generator().manual_seed(0), ("power",))
    moment = make_moments(grasps, shape, people[grasps.identity])[0]
    hand = moment.hand - 0.004 * grasps.approach[0]
    return (
        Mesh(hand.double(), surface_topology("refined").faces),
        Mesh(moment.object.double(), shape.mesh.faces),
    )


def ours(hand: Mesh, held: Mesh, low: torch.Tensor, high: torch.Tensor) -> tuple[float, float, int]:
    depths = [-float(signed_distance(a.vertices, b).distance.min()) for a, b in ((hand, held), (held, hand))]
    both = [grid_occupancy(mesh, GRID, (low, high)) for mesh in (hand, held)]
    return *depths, int((both[0] & both[1]).sum())


def by_igl(hand: Mesh, held: Mesh, low: torch.Tensor, high: torch.Tensor) -> tuple[float, float, int]:
    arrays = [(mesh.vertices.numpy(), mesh.faces.numpy()) for mesh in (hand, held)]
    depths = []
    for (own, _), (vertices, faces) in (arrays, arrays[::-1]):
        signed = igl.signed_distance(own, vertices, faces)[0]
        depths.append(-float(signed.min()))
    points = grid_points(low, high, GRID).view(-1, 3).numpy()
    both = [igl.fast_winding_number(vertices, faces, points) > 0.5 for vertices, faces in arrays]
    return *depths, int((both[0] & both[1]).sum())


def by_trimesh(hand: Mesh, held: Mesh, low: torch.Tensor, high: torch.Tensor) -> tuple[float, float, int]:
    solids = [trimesh.Trimesh(m.vertices.numpy(), m.faces.numpy(), process=False) for m in (hand, held)]
    depths = [
        float(trimesh.proximity.signed_distance(b, a.vertices).max()) for a, b in (solids, solids[::-1])
    ]
    points = grid_points(low, high, GRID).view(-1, 3).numpy()
    both = [solid.contains(points) for solid in solids]
    return *depths, int((both[0] & both[1]).sum())


def main() -> None:
    hand, held = pair()
    low = torch.maximum(hand.vertices.amin(dim=0), held.vertices.amin(dim=0))
    high = torch.minimum(hand.vertices.amax(dim=0), held.vertices.amax(dim=0))
    contenders: dict[str, Callable] = {"ours": ours, "libigl": by_igl, "trimesh": by_trimesh}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    found = {}
    ours(hand, held, low, high)  # compiles
    for name in list(contenders):
        try:
            contenders[name](hand, held, low, high)
        except ImportError as error:
            print(f"{name} is left out: {error}")
            del contenders[name]
    for _ in range(ROUNDS):
        for name, contender in contenders.items():
            start = time.process_time()
            found[name] = contender(hand, held, low, high)
            seconds[name].append(time.process_time() - start)
    for name in contenders:
        times, (depth, back, count) = np.median(seconds[name]), found[name]
        print(
            f"{name:8} {1e3 * times:9.1f} ms of CPU, {times / np.median(seconds['ours']):7.1f} x; depths "
            f"{1e3 * depth:.6f} and {1e3 * back:.6f} mm, {count} of {GRID**3} points in both"
        )
        assert abs(depth - found["ours"][0]) < 1e-6
        assert abs(back - found["ours"][1]) < 1e-6


if __name__ == "__main__":
    main()

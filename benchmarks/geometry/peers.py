"""Distance, inside and rasterisation beside Open3D, Warp, libigl, trimesh and embreex.

    pip install open3d warp-lang embreex rtree      (libigl and trimesh come with the book)
    python benchmarks/geometry/peers.py [--rounds 7] [--only distance pairs grid raster] [--record]

All contenders of a question run in turn in one process, from the same torch tensors, and each builds its
search structure anew in every call, as meshes that move require. One sample is the mean over the calls that
fit into 30 ms; the tables give medians over the rounds and ratios to this library. Peers that are not
installed are left out and named. Tables are printed, and everything is written to
_build/benchmarks/geometry.json; `--record` also leaves a job with the times for the book's tables.
"""

import argparse
import importlib
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import igl
import numpy as np
import torch
import trimesh

from hands_lib.geometry.distance import signed_distance
from hands_lib.geometry.inside import bounding_box, grid_occupancy, grid_points, inside
from hands_lib.geometry.raster import rasterize
from hands_lib.geometry.rotations import random_rotations
from hands_lib.hand.kinematics import forward_kinematics, random_pose
from hands_lib.hand.surface import hand_surface, mirror_mesh
from hands_lib.reproduce import Job, record_job
from hands_lib.structures import Camera, Mesh

OURS = "hands_lib"


def optional(name: str):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"not compared: {name} ({error})")
        return None


o3d, wp = optional("open3d"), optional("warp")
embree_mesh = optional("trimesh.ray.ray_pyembree") if optional("embreex") else None
if wp:
    wp.config.quiet = True
    wp.init()

    @wp.kernel
    def warp_closest(
        mesh: wp.uint64,
        points: wp.array(dtype=wp.vec3),
        distance: wp.array(dtype=float),
        face: wp.array(dtype=int),
    ):
        i = wp.tid()
        query = wp.mesh_query_point_sign_winding_number(mesh, points[i], 1.0e6, 2.0, 0.5)
        closest = wp.mesh_eval_position(mesh, query.face, query.u, query.v)
        distance[i] = query.sign * wp.length(points[i] - closest)
        face[i] = query.face

    @wp.kernel
    def warp_rays(
        mesh: wp.uint64, origin: wp.vec3, directions: wp.array(dtype=wp.vec3), face: wp.array(dtype=int)
    ):
        i = wp.tid()
        query = wp.mesh_query_ray(mesh, origin, directions[i], 1.0e6)
        face[i] = wp.where(query.result, query.face, -1)


# ---------------------------------------------------------------------------------------------- the meshes


def hands(num: int, seed: int = 0, detail: str = "plain", gap: float = 0.03) -> tuple[Mesh, Mesh]:
    """`num` right and left hands in random poses, interlocked; metres."""
    generator = torch.Generator().manual_seed(seed)
    right, left = (
        hand_surface(forward_kinematics(random_pose(num, generator=generator)), detail=detail)
        for _ in range(2)
    )
    left = mirror_mesh(left)
    return right, Mesh(left.vertices + torch.tensor([gap, 0, 0.01]), left.faces)


def first(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices[0].contiguous(), mesh.faces.contiguous())


def soup(right: Mesh, left: Mesh) -> Mesh:
    faces = torch.cat([right.faces, left.faces + right.vertices.shape[-2]])
    return Mesh(torch.cat([right.vertices, left.vertices], dim=-2).contiguous(), faces)


def with_faces(num_faces: int) -> Mesh:
    """One hand with as many faces: subdivided, then decimated, closed throughout."""
    mesh = first(hands(1)[0])
    fine = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False).subdivide()
    vertices, faces, *_ = igl.decimate(np.asarray(fine.vertices), np.asarray(fine.faces, np.int64), num_faces)
    return Mesh(
        torch.tensor(np.ascontiguousarray(vertices), dtype=torch.float32),
        torch.tensor(np.ascontiguousarray(faces), dtype=torch.long),
    )


def cloud(num: int, mesh: Mesh, seed: int = 0) -> torch.Tensor:
    """Uniform in the bounding box grown by a quarter on either side."""
    lower, upper = bounding_box(mesh.vertices)
    unit = torch.rand(num, 3, generator=torch.Generator().manual_seed(seed))
    return lower + (upper - lower) * (unit * 1.5 - 0.25)


def arrays(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    return mesh.vertices.double().numpy(), mesh.faces.numpy()


# --------------------------------------------------------------------------------------------- the peers


def igl_distance(points: torch.Tensor, mesh: Mesh, sign) -> tuple[np.ndarray, np.ndarray]:
    distance, face, *_ = igl.signed_distance(points.double().numpy(), *arrays(mesh), sign)
    return distance, face


def o3d_scene(mesh: Mesh):
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(mesh.vertices.numpy()), o3d.core.Tensor(mesh.faces.numpy().astype(np.uint32))
    )
    return scene


def o3d_distance(points: torch.Tensor, mesh: Mesh, face: bool = True):
    scene, query = o3d_scene(mesh), o3d.core.Tensor(points.numpy())
    distance = scene.compute_signed_distance(query).numpy()
    return distance, scene.compute_closest_points(query)["primitive_ids"].numpy() if face else None


def warp_mesh(mesh: Mesh, winding: bool):
    return wp.Mesh(
        points=wp.from_torch(mesh.vertices, dtype=wp.vec3),
        indices=wp.from_torch(mesh.faces.int().flatten(), dtype=wp.int32),
        support_winding_number=winding,
    )


def warp_distance(points: torch.Tensor, mesh: Mesh):
    distance, face = torch.empty(len(points)), torch.empty(len(points), dtype=torch.int32)
    built = warp_mesh(mesh, winding=True)
    inputs = [built.id, wp.from_torch(points, dtype=wp.vec3), wp.from_torch(distance), wp.from_torch(face)]
    wp.launch(warp_closest, dim=len(points), inputs=inputs, device="cpu")
    return distance.numpy(), face.numpy()


def trimesh_distance(points: torch.Tensor, mesh: Mesh) -> np.ndarray:
    solid = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
    return -trimesh.proximity.signed_distance(solid, points.numpy())


def distance_contenders(points: torch.Tensor, mesh: Mesh) -> dict[str, Callable]:
    """Signed distance and closest face."""
    contenders = {
        OURS: lambda: signed_distance(points, mesh),
        "libigl, pseudo-normal": lambda: igl_distance(points, mesh, igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL),
        "libigl, fast winding number": lambda: igl_distance(
            points, mesh, igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
        ),
    }
    if o3d:
        contenders["Open3D, without face"] = lambda: o3d_distance(points, mesh, face=False)
        contenders["Open3D"] = lambda: o3d_distance(points, mesh)
    if wp:
        contenders["Warp, winding number (1 thread)"] = lambda: warp_distance(points, mesh)
    return contenders


# ------------------------------------------------------------------------------------------- measurement


def race(
    table: str,
    row: str,
    contenders: dict[str, Callable],
    rounds: int,
    weights: dict[str, float] | None = None,
) -> dict:
    """Medians in ms, for a row of a table of book/published/geometry.yml. `weights`: what a contender's time
    is multiplied by, where it answers for fewer points."""
    samples = {name: [] for name in contenders}
    calls = {}
    for name, call in contenders.items():
        call()
        start = time.perf_counter()
        call()
        calls[name] = max(1, min(50, int(0.03 / (time.perf_counter() - start))))
    for _ in range(rounds):
        for name, call in contenders.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                call()
            samples[name].append(
                (time.perf_counter() - start) / calls[name] * 1e3 * (weights or {}).get(name, 1)
            )
    ours = statistics.median(samples[OURS])
    print(f"\n### {table}, {row}\n")
    print(
        "| contender | median ms | fastest ms | ratio of medians | ratio of fastest |\n|---|---|---|---|---|"
    )
    times = {}
    for name, values in sorted(samples.items(), key=lambda item: statistics.median(item[1])):
        median, least = statistics.median(values), min(values)
        ratio, least_ratio = median / ours, least / min(samples[OURS])
        times[name] = {"median_ms": median, "min_ms": least, "ratio": ratio, "min_ratio": least_ratio}
        print(f"| {name} | {median:.3g} | {least:.3g} | {ratio:.2f} | {least_ratio:.2f} |")
    return {"table": table, "row": row, "rounds": rounds, "times": times}


def race_distance(rounds: int) -> list[dict]:
    results = []
    for num_faces in (610, 1552):
        mesh = first(hands(1)[0]) if num_faces == 610 else with_faces(num_faces)
        points = cloud(100_000, mesh)
        contenders = distance_contenders(points, mesh)
        contenders["trimesh (from 500 points)"] = lambda mesh=mesh, few=points[:500]: trimesh_distance(
            few, mesh
        )
        table, row = "signed distance and closest face", f"100,000 points, {len(mesh.faces)} faces"
        results.append(race(table, row, contenders, rounds, {"trimesh (from 500 points)": 200}))
    pair = soup(*(first(hand) for hand in hands(1, seed=5)))
    points = cloud(100_000, pair)
    winding = igl.winding_number(*arrays(pair), points.double().numpy())
    unsigned, _ = igl_distance(points, pair, igl.SIGNED_DISTANCE_TYPE_UNSIGNED)
    print(f"\nTwo overlapping hands as one mesh ({(winding > 1.5).sum()} of 100,000 points inside both):")
    print("\n| contender | largest error of the distance, m | wrong signs |\n|---|---|---|")
    accuracy = {}
    for name, call in distance_contenders(points, pair).items():
        found = call()
        distance = found.distance.numpy() if name == OURS else np.asarray(found[0])
        error, wrong = (
            np.abs(np.abs(distance) - unsigned).max(),
            int(((distance < 0) != (winding > 0.5)).sum()),
        )
        accuracy[name] = {"max_error_m": float(error), "wrong_signs": wrong}
        print(f"| {name} | {error:.1e} | {wrong} |")
    return [*results, {"table": "accuracy on two overlapping hands", "accuracy": accuracy}]


def race_pairs(rounds: int) -> list[dict]:
    results = []
    pseudo_normal = igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
    for detail in ("plain", "refined"):
        right, left = hands(64, detail=detail)
        pairs = [(left.vertices[i], Mesh(right.vertices[i], right.faces)) for i in range(64)]

        def one_by_one(ask, pairs=pairs):
            return lambda: [ask(points, mesh) for points, mesh in pairs]

        contenders = {
            OURS: lambda right=right, left=left: signed_distance(left.vertices, right),
            "libigl, pseudo-normal": one_by_one(lambda p, m: igl_distance(p, m, pseudo_normal)),
        }
        if o3d:
            contenders["Open3D, without face"] = one_by_one(lambda p, m: o3d_distance(p, m, face=False))
        if wp:
            contenders["Warp, winding number (1 thread)"] = one_by_one(warp_distance)
        num_points, num_faces = left.vertices.shape[1], len(right.faces)
        row = f"64 pairs, {num_points} vertices against {num_faces} faces"
        results.append(race("signed distance of pairs", row, contenders, rounds))
    return results


def race_grid(rounds: int) -> list[dict]:
    mesh = first(hands(1)[0])
    points = grid_points(*bounding_box(mesh.vertices)).view(-1, 3).contiguous()
    contenders = {
        OURS: lambda: grid_occupancy(mesh),
        f"{OURS}, as single points": lambda: inside(points, mesh),
        f"{OURS}, torch": lambda: grid_occupancy(mesh, backend="torch"),
        "libigl, fast winding number": lambda: igl.fast_winding_number(
            *arrays(mesh), points.double().numpy()
        ),
        "libigl, exact winding number": lambda: igl.winding_number(*arrays(mesh), points.double().numpy()),
    }
    if o3d:
        contenders["Open3D occupancy"] = lambda: (
            o3d_scene(mesh).compute_occupancy(o3d.core.Tensor(points.numpy())).numpy()
        )
    if embree_mesh:
        contenders["trimesh contains (embreex)"] = lambda: trimesh.Trimesh(
            mesh.vertices.numpy(), mesh.faces.numpy(), process=False
        ).contains(points.numpy())
    results = [race("inside or not", "125,000 grid points, 610 faces", contenders, rounds)]
    thousand = hands(1000)[0]
    alone = {OURS: lambda: grid_occupancy(thousand)}
    results.append(race("many different hands", "1,000 hands", alone, rounds))
    turned = thousand.vertices[:40] @ random_rotations(40, torch.Generator().manual_seed(0)).mT
    right = Mesh(turned, thousand.faces)
    occupied, wrong = grid_occupancy(right), 0
    for vertices, own in zip(turned, occupied, strict=True):
        where = grid_points(*bounding_box(vertices)).view(-1, 3).double().numpy()
        winding = igl.winding_number(vertices.double().numpy(), right.faces.numpy(), where)
        on_surface = np.abs(winding - winding.round()) > 1e-4
        wrong += int(((winding > 0.5) != own.view(-1).numpy())[~on_surface].sum())
    print(
        f"\n{wrong} of 5,000,000 grid points off the surface differ from the exact winding number (40 hands)."
    )
    return [*results, {"table": "grid against the exact winding number", "wrong": wrong, "points": 5_000_000}]


def race_raster(rounds: int) -> list[dict]:
    results = []
    for detail in ("plain", "refined"):
        right, left = hands(8, detail=detail)
        eight = soup(right, left)
        for size in (64, 128, 256):
            middle, focal = (size - 1) / 2, 2.2 * size
            intrinsics = torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
            pose = torch.eye(4)
            pose[:3, 3] = torch.tensor([0, -0.08, 0.6])
            camera = Camera(intrinsics, pose, size, size)
            v, u = np.mgrid[:size, :size].astype(np.float32)
            rays = np.stack([(u - middle) / focal, (v - middle) / focal, np.ones_like(u)], -1).reshape(-1, 3)
            origin = -pose[:3, 3].numpy()
            for num in (1, 8):
                meshes = Mesh(eight.vertices[:num], eight.faces)
                single = [Mesh(vertices, eight.faces) for vertices in meshes.vertices]
                contenders = {
                    OURS: lambda meshes=meshes, camera=camera: rasterize(meshes, camera),
                    f"{OURS}, torch": lambda meshes=meshes, camera=camera: rasterize(
                        meshes, camera, backend="torch"
                    ),
                }
                if o3d:
                    lines = np.concatenate([np.broadcast_to(origin, rays.shape), rays], -1).astype(np.float32)
                    contenders["Open3D rays"] = lambda single=single, lines=lines: [
                        o3d_scene(mesh).cast_rays(o3d.core.Tensor(lines))["primitive_ids"].numpy()
                        for mesh in single
                    ]
                if embree_mesh:
                    contenders["embreex rays"] = lambda single=single, rays=rays, origin=origin: [
                        embree_mesh.RayMeshIntersector(
                            trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
                        ).intersects_first(np.broadcast_to(origin, rays.shape), rays)
                        for mesh in single
                    ]
                if wp:

                    def warp_images(single=single, rays=rays, origin=origin):
                        directions = wp.array(rays, dtype=wp.vec3, device="cpu")
                        face = torch.empty(len(rays), dtype=torch.int32)
                        for mesh in single:
                            built = warp_mesh(mesh, winding=False)  # its id alone does not keep it
                            inputs = [built.id, wp.vec3(*origin), directions, wp.from_torch(face)]
                            wp.launch(warp_rays, dim=len(rays), inputs=inputs, device="cpu")

                    contenders["Warp rays (1 thread)"] = warp_images
                row = f"{len(eight.faces)} faces, {size} px, batch {num}"
                result = race("rasterising two hands", row, contenders, rounds)
                seen = rasterize(meshes, camera)
                in_torch = rasterize(meshes, camera, backend="torch")
                result["pixels_unlike_torch"] = int((seen.face != in_torch.face).sum())
                if o3d:
                    found = np.stack(contenders["Open3D rays"]()).reshape(seen.face.shape).astype(np.int64)
                    found[found == 2**32 - 1] = -1
                    result["pixels_unlike_open3d"] = int((seen.face.numpy() != found).sum())
                counts = {name: count for name, count in result.items() if name.startswith("pixels")}
                print(f"\n{seen.foreground.float().mean():.0%} foreground, {counts}")
                results.append(result)
    return results


def record(results: list[dict], options: argparse.Namespace, started: float) -> None:
    """One job with a row for each question: the median of every contender, and how busy the machine was."""
    load, tables = {"load average": os.getloadavg()[0]}, {}
    for result in results:
        if "times" in result:
            medians = {name: times["median_ms"] for name, times in result["times"].items()}
            tables.setdefault(result["table"], {})[result["row"]] = medians | load
    job = Job(
        "geometry",
        "peers",
        "geometry",
        seed=0,
        profile="cpu",
        dataset="random hands",
        parameters={
            "rounds": options.rounds,
            "only": sorted(options.only),
            "threads": torch.get_num_threads(),
        },
    )
    record_job(
        job,
        tables,
        protocol=f"median of {options.rounds} rounds, search structures built anew in every call",
        started=started,
        device="cpu",
    )


def main() -> None:
    races = {"distance": race_distance, "pairs": race_pairs, "grid": race_grid, "raster": race_raster}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=races, default=list(races))
    parser.add_argument("--record", action="store_true", help="record it as a job of the book")
    options = parser.parse_args()
    started = time.time()
    print(f"{torch.get_num_threads()} threads; load of the machine {os.getloadavg()[0]:.1f} at the start")
    results = [result for name in options.only for result in races[name](options.rounds)]
    report = {"threads": torch.get_num_threads(), "load_average": os.getloadavg(), "results": results}
    path = Path("_build/benchmarks/geometry.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1))
    if options.record:
        record(results, options, started)
    print(f"\nwritten to {path}; load of the machine {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()

"""What it costs to count the intersections of many pairs of skeletons, stage by stage.

python benchmarks/intersections/evaluation.py [--pairs 1000] [--error 12] [--noise 0] [--threads 2]

"Two Hands Are Better Than One" counts 220,000 pairs for every cell of Table I. Pairs are the world's, with
the given joint error; `--noise` moves every joint by that much on top, as a network's predictions are moved,
so that no hand can take the pose and every fit is refined. Networks are untrained: they cost what trained
ones do. Both wall and CPU seconds are printed; on a busy machine believe the CPU seconds of one thread.
"""

import argparse
import resource
import time

import torch

from hands_lib.geometry.inside import count_inside_both
from hands_lib.hand.pairs import pair_joints
from hands_lib.methods.intersections.evaluation import (
    FINE_GRID,
    count_intersections,
    fitted_surfaces,
    occupied_points,
    overlap_cm3,
)
from hands_lib.methods.intersections.occupancy import PAPER, OccupancyNetwork, OccupancySettings
from hands_lib.worlds.estimates import perturb
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs

_WORLD = 126  # accepted pairs, each perturbed many times


def estimates(num: int, error_mm: float, noise_mm: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    pose = sample_pairs(_WORLD, sample_identities(20, seed), generator)[0].pose
    rounds = -(-num // _WORLD)
    joints = torch.cat([pair_joints(perturb(pose, error_mm / 1000, generator)) for _ in range(rounds)])[:num]
    return joints + noise_mm / 1000 * torch.randn(joints.shape, generator=generator)


def timed(label: str, function, *arguments, **options):
    start, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments, **options)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"{label:<48} {seconds:7.2f} s wall {cpu:7.2f} s CPU", flush=True)
    return result


def main(num: int, error: float, noise: float, seed: int) -> None:
    joints = estimates(num, error, noise, seed)
    networks = {
        "paper": OccupancyNetwork(PAPER).eval(),
        "small": OccupancyNetwork(OccupancySettings(128, 128, 128)).eval(),
    }
    sizes = {
        name: sum(weight.numel() for weight in network.parameters()) for name, network in networks.items()
    }
    count_intersections(joints[:8], networks["small"], progress=False)  # compiles
    print(f"{num} pairs, {error:g} mm of error, {noise:g} mm of noise, {torch.get_num_threads()} threads")

    meshes, _ = timed("surfaces (inverse kinematics and thin surface)", fitted_surfaces, joints)
    timed("  the same on the nearest pose", fitted_surfaces, joints, "fit")
    half = min(num, 500)  # two grids of 125,000 flags a pair in memory
    parts = [type(mesh)(mesh.vertices[:half], mesh.faces) for mesh in meshes]
    timed(f"ray cast of 125,000 points, {half} pairs", count_inside_both, *parts)
    timed(f"fine grid of {FINE_GRID**3:,} cells, {half} pairs", overlap_cm3, *parts)
    for name, network in networks.items():
        timed(f"occupancy count, {sizes[name]:,} parameters", occupied_points, joints, network)
    for name, network in networks.items():
        found = timed(
            f"everything, {name} network", count_intersections, joints, network, progress=False
        ).summary()
    print(
        f"{found['intersecting_share']:.1%} of the pairs intersect, {found['ray_cast_per_pair']:.2f} points "
        f"and {found['overlap_cm3_per_pair']:.3f} cm3 a pair; fits are off by {found['fit_mean_mm']:.3f} mm"
    )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--error", type=float, default=12.0, help="mean joint error, mm")
    parser.add_argument("--noise", type=float, default=0.0, help="of every joint by itself, mm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    main(options.pairs, options.error, options.noise, options.seed)

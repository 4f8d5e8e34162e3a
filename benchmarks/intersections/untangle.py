"""Pairs a second of `untangle` on perturbed pairs of the world: python benchmarks/intersections/untangle.py

Wall time and processor time over all pairs, whether or not they intersect; fit, exact tests and volumes
included. Needs a quiet machine.
"""

import argparse
import time

import torch

from hands_lib.hand.pairs import pair_joints
from hands_lib.methods.intersections.untangle import untangle
from hands_lib.worlds.estimates import perturb
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--error", type=float, default=12.0, help="mean joint error, mm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    generator = torch.Generator().manual_seed(args.seed)
    pairs, _ = sample_pairs(args.pairs, sample_identities(100, args.seed), generator)
    truth = pair_joints(pairs.pose).to(args.device)
    wrong = pair_joints(perturb(pairs.pose, args.error / 1000, generator)).to(args.device)
    untangle(wrong[:8])  # compiles
    clocks = time.perf_counter(), time.process_time()
    found = untangle(wrong)
    wall, processor = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
    for name, value in found.report().items():
        print(f"{name:>34}  {value:.4g}")
    errors = [1000 * float((joints - truth).norm(dim=-1).mean()) for joints in (wrong, found.joints)]
    print(f"mean joint error {errors[0]:.3f} mm before, {errors[1]:.3f} mm after")
    print(f"{args.pairs / wall:.1f} pairs/s on {torch.get_num_threads()} threads "
          f"({args.pairs / processor:.1f} per second of processor time)")  # fmt: skip


if __name__ == "__main__":
    main()

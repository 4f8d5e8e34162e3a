"""Pictures in a second: the refinement network beside its own backbone and the dense vertex attention.

    python benchmarks/refinement/inference.py [--rounds 7] [--batch 1 16] [--threads 2] [--device cpu]

On a CPU the networks are those of the chapters' cpu profile, pictures of 64 pixels; on a GPU those of the
paper's size, pictures of 256. Weights are random: they do not change the time. Contenders take their turns in
one process; the table gives medians, pictures in a second by the clock, and the load of the machine.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from hands_lib.methods.refinement.hands import KinematicHands
from hands_lib.methods.refinement.network import PAPER, SMALL, RefinementNetwork
from hands_lib.methods.refinement.vertex_attention import VertexAttentionNetwork, VertexAttentionSettings


def contenders(device: str) -> tuple[int, dict[str, Callable[[torch.Tensor], object]]]:
    """The picture's side, and what is timed."""
    torch.manual_seed(0)
    if device == "cpu":
        hands, size = KinematicHands("plain"), 64
        settings = replace(SMALL, backbone="resnet10t")
        dense = VertexAttentionSettings("resnet10t", settings.levels, width=136)
    else:
        hands, size, settings, dense = KinematicHands("refined"), 256, PAPER, VertexAttentionSettings()
    network = RefinementNetwork(hands, settings).to(device).eval()
    alone = RefinementNetwork(hands, replace(settings, stages=0)).to(device).eval()
    vertices = VertexAttentionNetwork(hands, dense).to(device).eval()
    count = sum(p.numel() for p in network.parameters()) / 1e6
    return size, {
        "backbone": network.features,
        "initial estimate": alone,
        f"two refinements ({count:.1f} M)": network,
        "dense vertex attention": vertices,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    size, ways = contenders(args.device)
    load = os.getloadavg()[0]
    print(f"{args.device}, {args.threads} threads, load {load:.1f}, pictures of {size} pixels")
    for batch in args.batch:
        pictures = torch.rand(batch, 3, size, size, device=args.device)
        samples: dict[str, list[float]] = {name: [] for name in ways}
        with torch.no_grad():
            for number in range(args.rounds + 1):
                for name, way in ways.items():
                    if args.device != "cpu":
                        torch.cuda.synchronize()
                    started = time.perf_counter()
                    way(pictures)
                    if args.device != "cpu":
                        torch.cuda.synchronize()
                    if number:  # the first round warms up
                        samples[name].append(time.perf_counter() - started)
        for name, values in samples.items():
            print(f"batch {batch}, {name}: {batch / statistics.median(values):.0f} pictures/s", flush=True)


if __name__ == "__main__":
    main()

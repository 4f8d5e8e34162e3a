"""Pictures in a second: the refinement network beside its own backbone and the dense vertex attention.

    python benchmarks/refinement/inference.py [--rounds 7] [--batch 1 16] [--threads 2] [--device cpu]
                                              [--seed 0] [--record]

On a CPU the networks are those of the chapters' cpu profile, pictures of 64 pixels; on a GPU those of the
paper's size, pictures of 256. Weights are random: they do not change the time. Contenders take their turns in
one process; the table gives medians, pictures in a second by the clock, and the load of the machine.
`--record` writes what was measured where the book finds it, for one seed of weights and pictures.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from speed_records import record_speeds

from hands_lib.methods.refinement.hands import KinematicHands
from hands_lib.methods.refinement.network import PAPER, SMALL, RefinementNetwork
from hands_lib.methods.refinement.vertex_attention import VertexAttentionNetwork, VertexAttentionSettings


def contenders(device: str, seed: int) -> tuple[int, dict[str, Callable[[torch.Tensor], object]]]:
    """The picture's side, and what is timed."""
    torch.manual_seed(seed)
    if device == "cpu":
        hands, size = KinematicHands("plain"), 64
        settings = replace(SMALL, backbone="resnet10t")
        dense = VertexAttentionSettings("resnet10t", settings.levels, (32, 63, 126), 144)
    else:
        hands, size, settings, dense = KinematicHands("refined"), 256, PAPER, VertexAttentionSettings()
    network = RefinementNetwork(hands, settings).to(device).eval()
    alone = RefinementNetwork(hands, replace(settings, stages=0)).to(device).eval()
    vertices = VertexAttentionNetwork(hands, dense).to(device).eval()
    return size, {
        "backbone": network.features,
        "initial estimate": alone,
        "two refinements": network,
        "dense vertex attention": vertices,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="record it as a job of the book")
    args = parser.parse_args()
    started, found = time.time(), {}
    torch.set_num_threads(args.threads)
    size, ways = contenders(args.device, args.seed)
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
                    before = time.perf_counter()
                    way(pictures)
                    if args.device != "cpu":
                        torch.cuda.synchronize()
                    if number:  # the first round warms up
                        samples[name].append(time.perf_counter() - before)
        for name, values in samples.items():
            speed = batch / statistics.median(values)
            print(f"batch {batch}, {name}: {speed:.0f} pictures/s", flush=True)
            found.setdefault(name, {})[f"batch_{batch}"] = speed
    if args.record:
        record_speeds(
            "inference",
            "inference speed",
            found,
            device=args.device,
            dataset="random pictures",
            protocol=f"median of interleaved calls, {args.threads} threads, pictures of {size} pixels",
            parameters={"rounds": args.rounds, "batch": args.batch, "threads": args.threads, "picture": size},
            seed=args.seed,
            started=started,
        )


if __name__ == "__main__":
    main()

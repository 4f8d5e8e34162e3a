"""Multi-plane feature projecting in one batched product beside a loop over bones, at equal output.

    python benchmarks/refinement/projecting.py [--rounds 15] [--batch 1 8] [--size 16 32] [--device cpu]
                                               [--seed 0] [--record]

Contenders take their turns in one process; a sample is one call, the table gives medians and ratios to the
loop. `loop` goes over hands and bones, as the released code was described, each of its steps on all pictures
and pixels of one bone; it is written here from that description. Two questions:

    planes     40 planes of 64 channels (`projecting.planes`)
    fused      the same and the 3x3 convolution to 256 channels behind it (`projecting.convolve`, which never
               makes the planes); with gradients of features and kernel in `fused, training`

Every contender's output is held against the loop's before it is timed. `--record` writes what was measured
where the book finds it. A verdict needs three seeds, each with joints and features of its own.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from speed_records import record_speeds

from hands_lib.hand.skeleton import EDGES
from hands_lib.methods.refinement.projecting import convolve, element_weights, layout, planes

CHANNELS, WIDTH, HALF_WIDTH = 64, 256, 1 / 16


def loop_planes(uv: torch.Tensor, features: torch.Tensor, size: int) -> torch.Tensor:
    """Planes (batch, 40, channel, pixel), one bone after the other."""
    along = torch.arange(size, device=uv.device, dtype=uv.dtype) + 0.5
    v, u = torch.meshgrid(along, along, indexing="ij")
    pixels = torch.stack([u, v], dim=-1).flatten(0, 1)[None]
    places = (uv + 1) / 2 * size
    made = []
    for first in (0, 21):
        for i, j in EDGES:
            a, b = places[:, None, first + i], places[:, None, first + j]
            bone = b - a
            length = bone.norm(dim=-1, keepdim=True)
            direction = bone / length
            before = ((a - pixels) * direction).sum(dim=-1)
            beyond = ((pixels - b) * direction).sum(dim=-1)
            outside = torch.maximum(torch.maximum(before, beyond), torch.zeros_like(before))
            across = (pixels - a)[..., 0] * direction[..., 1] - (pixels - a)[..., 1] * direction[..., 0]
            near = torch.hypot(outside, across) < HALF_WIDTH * size
            d_a, d_b = (pixels - a).norm(dim=-1), (pixels - b).norm(dim=-1)
            w_a, w_b = 1 - d_a / (d_a + d_b), 1 - d_b / (d_a + d_b)
            f_a, f_b = features[:, first + i, :, None], features[:, first + j, :, None]
            plane = w_a[:, None] * f_a + w_b[:, None] * f_b
            made.append(torch.where(near[:, None], plane, torch.zeros_like(plane)))
    return torch.stack(made, dim=1)


def contenders(
    batch: int, size: int, device: str, seed: int
) -> dict[str, dict[str, Callable[[], torch.Tensor]]]:
    generator = torch.Generator().manual_seed(seed)
    uv = (0.4 * torch.randn(batch, 42, 2, generator=generator)).to(device)
    features = torch.randn(batch, 42, CHANNELS, generator=generator).to(device)
    arrangement = layout("bones")
    channels = arrangement.num_planes * CHANNELS
    kernel = (torch.randn(WIDTH, channels, 3, 3, generator=generator) / channels**0.5).to(device)

    def ours(own: torch.Tensor = features) -> torch.Tensor:
        return planes(own, element_weights(uv, arrangement, size, HALF_WIDTH), arrangement)

    def fused(make: Callable[[torch.Tensor], torch.Tensor], own=features, weight=kernel) -> torch.Tensor:
        made = make(own).flatten(1, 2).unflatten(-1, (size, size))
        return torch.nn.functional.conv2d(made, weight, padding=1)

    def never_made(own=features, weight=kernel) -> torch.Tensor:
        return convolve(own, element_weights(uv, arrangement, size, HALF_WIDTH), arrangement, weight)

    def loop(own: torch.Tensor = features) -> torch.Tensor:
        return loop_planes(uv, own, size)

    def gradients(way: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        own, weight = features.clone().requires_grad_(), kernel.clone().requires_grad_()
        way(own, weight).square().mean().backward()
        return torch.cat([own.grad.flatten(), weight.grad.flatten()])

    with_planes = {
        "loop": lambda own, weight: fused(loop, own, weight),
        "one product": lambda own, weight: fused(ours, own, weight),
        "never made": never_made,
    }
    return {
        "planes": {"loop": loop, "one product": ours},
        "fused": {name: (lambda way=way: way(features, kernel)) for name, way in with_planes.items()},
        "fused, training": {name: (lambda way=way: gradients(way)) for name, way in with_planes.items()},
    }


def seconds(call: Callable[[], torch.Tensor], device: str) -> float:
    """Of the processor on a CPU, which others may be using too; of the clock on a GPU."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    if device != "cpu":
        torch.cuda.synchronize()
    started = clock()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--size", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="record it as a job of the book")
    args = parser.parse_args()
    started, found = time.time(), {}
    what = "of processor time" if args.device == "cpu" else "of time"
    print(f"{args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}; ms {what}, medians")
    for batch in args.batch:
        for size in args.size:
            for question, ways in contenders(batch, size, args.device, args.seed).items():
                with torch.set_grad_enabled("training" in question):
                    reference = ways["loop"]()
                    scale = reference.abs().amax()
                    for name, way in ways.items():
                        off = float((way() - reference).abs().amax() / scale)
                        if off > 1e-4:
                            raise AssertionError(f"{question}, {name}: differs from the loop by {off:.1e}")
                    samples: dict[str, list[float]] = {name: [] for name in ways}
                    for _ in range(args.rounds):
                        for name, way in ways.items():
                            samples[name].append(1000 * seconds(way, args.device))
                times = {name: statistics.median(values) for name, values in samples.items()}
                text = ", ".join(f"{n} {t:.2f} ({times['loop'] / t:.1f}x)" for n, t in times.items())
                print(f"batch {batch}, {size} x {size}, {question}: {text}", flush=True)
                for name, value in times.items():
                    column = f"batch_{batch}_of_{size}_x_{size}"
                    found.setdefault(f"{question}: {name}", {})[column] = value
    if args.record:
        record_speeds(
            "projecting",
            "projecting speed",
            found,
            device=args.device,
            dataset="random joints and features",
            protocol="median of interleaved calls, " + ("processor time" if args.device == "cpu" else "time"),
            parameters={
                "rounds": args.rounds,
                "batch": args.batch,
                "size": args.size,
                "threads": torch.get_num_threads(),
            },
            seed=args.seed,
            started=started,
        )


if __name__ == "__main__":
    main()

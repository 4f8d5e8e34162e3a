"""Training steps in a second with and without the intersection loss (Table IV).

    python benchmarks/intersections/training_speed.py [--seeds 0 1 2] [--rounds 7] [--device cuda] [--record]

A step is what the paper times: forward, loss, backward and update of the uplift network of 9.5 million
parameters on a batch of 256 pairs. Each contender makes one step in turn in every round; a ratio is taken
within a round. A seed draws its own pairs: estimates of the world's pairs, 12 mm off, of all interactions.

What the loss costs depends on where the hands are. The network here is untrained, so its output is moved onto
the estimates before the losses see it, by a constant: the same graph and the same work as in training.

Contenders: six variants with everything on; the same without prefilter and screening, as Table IV was made
("every point", taken through the network in parts on the CPU, where all at once needs gigabytes); and, named
so, with the frozen network's products in bfloat16. `--record` records Table IV, a job for each seed.
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from hands_lib.hand.kinematics import Skeleton, forward_kinematics
from hands_lib.hand.pairs import pair_joints
from hands_lib.methods.intersections.estimators import UpliftNetwork, centred, parameter_count
from hands_lib.methods.intersections.loss import (
    NEGLIGIBLE,
    frozen,
    intersection_loss,
    probabilities,
    query_points,
)
from hands_lib.methods.intersections.occupancy import PAPER, OccupancyNetwork
from hands_lib.methods.intersections.points import NUM_POINTS
from hands_lib.reproduce import Job, load_weights, record_job, trained
from hands_lib.worlds.estimates import perturb
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.pair_sampling import sample_pairs

BATCH, ERROR = 256, 0.012
POINT_SETS = ("sparse", "dense", "mesh")
SIDES = {"single": 0, "both": 1}
NO_LOSS = "no intersection loss"
PUBLISHED = {  # Table IV, steps in a second; `book/published/intersections.yml` is what the book shows
    "single": (13.23, 11.72, 6.62),
    "both": (9.88, 8.22, 4.19),
    NO_LOSS: 20.85,
}
POINTS_AT_ONCE = 25_000  # of "every point" on the CPU


@dataclass
class Batch:
    """What a step sees: keypoints in pixels, the truth and the estimate in metres, and its skeletons."""

    keypoints: Tensor
    truth: Tensor
    estimate: Tensor
    skeletons: Skeleton


def make_batches(num: int, seed: int, device: str) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    pairs, _ = sample_pairs(num * BATCH, sample_identities(20, seed), generator)
    pose = perturb(pairs.pose, ERROR, generator)
    truth, estimate = centred(pair_joints(pairs.pose)), pair_joints(pose)
    middle = estimate[:, :, 0].mean(dim=1)
    skeletons = forward_kinematics(pose)
    # two right hands: the second one's world is the mirrored one
    shift = torch.stack([middle, middle * torch.tensor([-1.0, 1.0, 1.0])], dim=1)
    skeletons = Skeleton(
        skeletons.joints - shift[:, :, None], skeletons.bone_rotations, skeletons.root_rotation
    )
    keypoints = 1000 * truth[..., :2] / (truth[..., 2:] + 0.6)
    whole = Batch(keypoints, truth, centred(estimate), skeletons)
    return [
        Batch(
            *(value[first : first + BATCH].to(device) for value in (whole.keypoints, whole.truth)),
            whole.estimate[first : first + BATCH].to(device),
            Skeleton(*(v[first : first + BATCH].to(device) for v in vars(whole.skeletons).values())),
        )
        for first in range(0, num * BATCH, BATCH)
    ]


def moved_onto(own: Tensor, values: Tensor) -> Tensor:
    """The values of the one with the derivatives of the other."""
    return own + (values - own).detach()


@dataclass
class Contender:
    """One way to train."""

    point_set: str | None = None
    alpha: int = 0
    every_point: bool = False
    precision: str = "float32"

    def step(self, network, optimizer, batch: Batch, occupancy) -> None:
        output = network(batch.keypoints)
        joints = moved_onto(output.joints, batch.estimate)
        loss = 1000 * (joints - batch.truth).norm(dim=-1).mean()
        if self.point_set is not None:
            own = vars(output.skeletons).values()
            skeletons = Skeleton(
                *(moved_onto(a, b) for a, b in zip(own, vars(batch.skeletons).values(), strict=True))
            )
            loss = loss + self.intersections(occupancy, joints, skeletons)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def intersections(self, occupancy, joints: Tensor, skeletons: Skeleton) -> Tensor:
        fast = not self.every_point
        settings = {
            "point_set": self.point_set,
            "alpha": self.alpha,
            "prefilter": fast,
            "screening": fast,
            "precision": self.precision,
        }
        if fast or joints.device.type != "cpu":
            return intersection_loss(occupancy, joints, skeletons=skeletons, **settings).mean()
        # In parts, each with its own backward pass to the hands, so that activations need not all be kept.
        fields = [joints, *vars(skeletons).values()]
        held = [field.detach().requires_grad_() for field in fields]
        size = max(1, POINTS_AT_ONCE // (NUM_POINTS[self.point_set] * (1 + self.alpha)))
        for first in range(0, len(joints), size):
            part = [field[first : first + size] for field in held]
            loss = intersection_loss(occupancy, part[0], skeletons=Skeleton(*part[1:]), **settings)
            (loss.sum() / len(joints)).backward()
        gradients = [torch.zeros_like(field) if field.grad is None else field.grad for field in held]
        return sum((field * gradient).sum() for field, gradient in zip(fields, gradients, strict=True))


def contenders(every_point: bool, bfloat16: bool) -> dict[str, Contender]:
    found = {NO_LOSS: Contender()}
    for side, alpha in SIDES.items():
        for point_set in POINT_SETS:
            found[f"{point_set}, {side}"] = Contender(point_set, alpha)
            if bfloat16:
                found[f"{point_set}, {side}, bfloat16"] = Contender(point_set, alpha, precision="bfloat16")
            if every_point:
                found[f"{point_set}, {side}, every point"] = Contender(point_set, alpha, every_point=True)
    return found


def occupancy_network(name: str, device: str) -> tuple[OccupancyNetwork, str]:
    """The recorded network, that in a file, or the paper's size untrained; and what it is in words."""
    if name == "paper":
        torch.manual_seed(0)
        return frozen(OccupancyNetwork(PAPER).to(device)), (
            "7.2 million parameters, untrained: every probability is near one half, so that screening leaves "
            "nothing out"
        )
    if name == "recorded":
        found = trained("intersections", "occupancy", "validation, palm frame")
        weights, config = load_weights(found), found.config
    else:
        weights = load_file(name)
        config = {"network": json.loads(Path(name).with_suffix(".json").read_text())}
    network = recorded_network(config, weights)
    words = f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} million parameters, trained"
    return network.to(device), words


def seconds_of(call, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def race(seed: int, options, occupancy) -> dict[str, list[float]]:
    """Seconds of a step by contender, one number a round; NaN in rounds that a contender sits out."""
    batches = make_batches(options.batches, seed, options.device)
    torch.manual_seed(seed)
    network = UpliftNetwork().to(options.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    field = contenders(not options.without_every_point, not options.without_bfloat16)
    times: dict[str, list[float]] = {name: [] for name in field}
    for number in range(-1, options.rounds):  # round -1 warms up
        order = list(field) if number % 2 else list(reversed(field))
        for name in order:
            contender = field[name]
            if contender.every_point and number >= options.every_point_rounds:
                times[name].append(float("nan"))
                continue
            batch = batches[number % len(batches)]
            seconds = seconds_of(
                lambda own=contender, batch=batch: own.step(network, optimizer, batch, occupancy),
                options.device,
            )
            if number >= 0:
                times[name].append(seconds)
    return times


def summary(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Of each contender: steps in a second and ratio to no loss, medians over rounds with their extremes."""
    rows = {}
    for name, seconds in times.items():
        used = [n for n, value in enumerate(seconds) if value == value]
        ratios = [times[NO_LOSS][n] / seconds[n] for n in used]
        rows[name] = {
            "steps_per_s": 1 / statistics.median(seconds[n] for n in used),
            "ratio": statistics.median(ratios),
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
        }
    return rows


def dropped(seed: int, options, occupancy) -> list[str]:
    """What prefilter and screening leave of a batch."""
    batch = make_batches(1, seed, options.device)[0]
    lines = []
    for side, alpha in SIDES.items():
        for point_set in POINT_SETS:
            kept = query_points(batch.estimate, point_set, alpha, batch.skeletons)
            with torch.no_grad():
                above = probabilities(occupancy, kept) > NEGLIGIBLE
            hands, points = BATCH * (1 + alpha), BATCH * (1 + alpha) * NUM_POINTS[point_set]
            lines.append(
                f"| {point_set}, {side} | {len(kept.joints) / hands:.0%} | {len(kept.points) / points:.0%} | "
                f"{len(kept.chosen(above).joints) / hands:.0%} | {float(above.sum()) / points:.1%} |"
            )
    return lines


def record(rows: dict[str, dict[str, float]], seed: int, options, words: str, started: float) -> None:
    """The rows of Table IV, and beside them those that the paper does not have."""
    threads = f"{torch.get_num_threads()} threads" if options.device == "cpu" else "one GPU"
    protocol = (
        f"batch of {BATCH} pairs, estimates {1000 * ERROR:.0f} mm off, of all interactions; uplift network "
        f"of 9.5 million parameters in float32; occupancy network of {words}; median of interleaved rounds, "
        f"{threads}"
    )
    speed = {name: row["steps_per_s"] for name, row in rows.items()}
    table = {NO_LOSS: {"dense": speed[NO_LOSS]}}
    for side in SIDES:
        for kind in ("", ", bfloat16", ", every point"):
            found = {p: f"{p}, {side}{kind}" for p in POINT_SETS if f"{p}, {side}{kind}" in speed}
            if found:
                table[side + kind] = {p: speed[name] for p, name in found.items()} | {
                    f"{p}, ratio": rows[name]["ratio"] for p, name in found.items()
                }
    single, both = speed["sparse, single"], speed["mesh, both"]
    table["sparse single against mesh both"] = {"speed_ratio": single / both}
    slower = 100 * (1 - rows["sparse, single"]["ratio"])
    table["sparse single against no intersection loss"] = {"slower": slower}
    # "around 50 % of computational time": read as the loss's share of a step, mean over the point sets
    shares = [1 - rows[f"{point_set}, both"]["ratio"] for point_set in POINT_SETS]
    table["testing both hands"] = {"share_of_time": 100 * statistics.mean(shares)}
    job = Job(
        "intersections",
        "training_speed",
        "training speed",
        seed,
        profile="cpu" if options.device == "cpu" else "gpu",
        dataset="world pairs",
        parameters={
            "rounds": options.rounds,
            "every_point_rounds": 0 if options.without_every_point else options.every_point_rounds,
            "bfloat16": not options.without_bfloat16,
            "batches": options.batches,
            "network": words,
            "threads": torch.get_num_threads(),
        },
    )
    load = {"load average": os.getloadavg()[0]}
    found = {row: columns | load for row, columns in table.items()}
    record_job(job, {"training speed": found}, protocol=protocol, started=started)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=4, help="different batches of a seed")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--network", default="recorded", help="recorded, paper, or X.safetensors with X.json")
    parser.add_argument("--without-every-point", action="store_true")
    parser.add_argument("--without-bfloat16", action="store_true")
    parser.add_argument("--every-point-rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="record Table IV, a job for each seed")
    options = parser.parse_args()
    occupancy, words = occupancy_network(options.network, options.device)
    size = parameter_count(UpliftNetwork()) / 1e6
    print(f"uplift network of {size:.2f} million parameters; occupancy network of {words}")
    print(f"{torch.get_num_threads()} threads; load of the machine {os.getloadavg()[0]:.1f} at the start")
    report = {"threads": torch.get_num_threads(), "seeds": {}}
    for seed in options.seeds:
        started = time.time()
        rows = summary(race(seed, options, occupancy))
        report["seeds"][seed] = rows
        print(f"\n### seed {seed}\n\n| contender | steps/s | ratio | lowest | highest | paper's ratio |")
        print("|---|---|---|---|---|---|")
        for name, row in rows.items():
            point_set, _, rest = name.partition(", ")
            side = rest.partition(", ")[0]
            paper = (
                f"{PUBLISHED[side][POINT_SETS.index(point_set)] / PUBLISHED[NO_LOSS]:.2f}" if side else "1"
            )
            print(
                f"| {name} | {row['steps_per_s']:.3g} | {row['ratio']:.2f} | {row['ratio_low']:.2f} | "
                f"{row['ratio_high']:.2f} | {paper} |"
            )
        if options.record:
            record(rows, seed, options, words, started)
    print("\n| variant | hands encoded | points asked | hands with gradient | points with gradient |")
    print("|---|---|---|---|---|")
    print("\n".join(dropped(options.seeds[0], options, occupancy)))
    path = Path("_build/benchmarks/intersections.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1))
    print(f"\nwritten to {path}; load of the machine {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()

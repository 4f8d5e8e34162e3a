"""Pictures and training steps of the radiance field, beside the same with every sample of the box evaluated.

    python benchmarks/va_nerf/rendering.py [--rounds 9] [--threads 1 2] [--profile cpu] [--device cpu]
                                           [--tolerances 1e-3 5e-4 1e-4] [--dense-rounds 1]
                                           [--weights X.safetensors] [--record]

Contenders take their turns in one process, each round with another pair of test views; a ratio is taken
within a round, to "every sample".

    every sample   `tolerance=0` of the same code: the same encoders, the same compiled search for the closest
                   surface, the same network, on all samples in the box around the hands
    tolerance t    what cannot change a colour by more than t is left out
    dense          every sample, and the closest surface by comparing all points with all faces in torch: what
                   there is without this library's kernels; only where `--dense-rounds` asks for it, since one
                   picture takes minutes
    KeypointNeRF   its density is its own, and no surface bounds it: it can only save colours, and has its own
                   "every sample" to be held against

    picture        encoders and one whole picture of one pair, without gradients; one scene at a time
    training step  encoders, patches, loss, gradients and Adam, at the sizes of the profile's preset of the
                   chapter `fusion`; its learning rate is 0, so that the weights stay the recorded ones

What may be skipped depends on what the field has learnt, so the weights are those of recorded jobs; where
there are none the output says what stands in for them. A job of KeypointNeRF keeps pictures, not its network:
its rows are of an untrained one, and the output says so. Printed beside the times: the largest difference of
any colour, the share of densities and colours that were evaluated, and how busy the machine was. Seconds are
the clock's; ratios on a CPU are of processor time, which others may be using too.
"""

import argparse
import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from hands_lib.data.even_light import EvenLightSettings, even_light_pairs
from hands_lib.methods.va_nerf import observation
from hands_lib.methods.va_nerf.evaluation import ViewPairs, view_pairs
from hands_lib.methods.va_nerf.network import SIZES, FieldSettings, VANeRF, keypoint_nerf, settings_from
from hands_lib.methods.va_nerf.rendering import RenderSettings, render_picture
from hands_lib.methods.va_nerf.training import Pictures, draw_patches, reconstruction_loss, render_patches
from hands_lib.reproduce import Job, load_weights, record_job, trained
from hands_lib.reproduce.chapters import find_chapter, parameter_values, read_presets
from hands_lib.reproduce.project import ProjectError, find_root

EVERY, DENSE = "every sample", "dense"
WANTED_RATIO, WANTED_DIFFERENCE, WANTED_SECONDS = 5.0, 1e-4, 0.3


@dataclass
class Contender:
    net: VANeRF
    rays: RenderSettings
    against: str
    """The contender that its ratios and differences are taken to."""
    dense: bool = False


def sizes_of(profile: str) -> dict:
    """Parameters of the chapter `fusion` in a profile."""
    root = find_root()
    chapter = find_chapter("fusion", root)
    return parameter_values(chapter) | read_presets(chapter, root)[profile]


def network(variant: str, profile: str, size: str, file: Path | None = None) -> tuple[VANeRF, str]:
    """A method of the chapter `comparison` with its recorded weights or those of a file, and in words which
    these are."""

    def settings_of(plain: FieldSettings) -> FieldSettings:
        return keypoint_nerf(plain) if variant == "KeypointNeRF" else plain

    if file is not None:
        net = VANeRF(settings_of(SIZES[size]))
        net.load_state_dict(load_file(file))
        return net, f"weights of {file.name}, size {size}"
    for profiles, warning in (((profile,), ""), (("smoke",), ", which has hardly learnt anything")):
        with contextlib.suppress(ProjectError):
            found = trained("va_nerf", "comparison", variant, profiles=profiles)
            kept = load_weights(found)
            own = {name.removeprefix("net."): kept[name] for name in kept if name.startswith("net.")}
            if not own:  # pictures alone, for the figures of its chapter
                continue
            net = VANeRF(settings_of(settings_from(found.config["settings"])))
            net.load_state_dict(own)
            of = f"size {found.config['size']}, {found.config['steps']} steps"
            return net, f"recorded weights, {found.profile} profile, {of}{warning}"
    torch.manual_seed(0)
    return VANeRF(settings_of(SIZES[size])), f"untrained, size {size}"


def clocks(device: str) -> tuple[float, float]:
    if device != "cpu":
        torch.cuda.synchronize()
    now = time.perf_counter()
    return now, time.process_time() if device == "cpu" else now


@contextlib.contextmanager
def searching(dense: bool) -> Iterator[None]:
    """Within it the field looks for the closest surface in torch, where it is asked to."""
    kept = observation.signed_distance, observation.unsigned_distance
    if dense:
        observation.signed_distance, observation.unsigned_distance = (
            partial(search, backend="torch") for search in kept
        )
    try:
        yield
    finally:
        observation.signed_distance, observation.unsigned_distance = kept


@dataclass
class Turn:
    """One contender's part in one round."""

    clock: float
    cost: float
    """What ratios are made of, seconds."""
    made: torch.Tensor
    gradient: torch.Tensor | None
    densities: int
    """At how many samples the density was evaluated,"""
    colours: int
    """and at how many the colour."""


def race(
    field: dict[str, Contender], act: Callable[[Contender, int], torch.Tensor], options: argparse.Namespace
) -> dict[str, list[Turn]]:
    """What every contender did, round by round; those that sit out do so in the last rounds."""
    turns: dict[str, list[Turn]] = {name: [] for name in field}
    for number in range(-1, options.rounds):  # round -1 warms up
        for name in field if number % 2 else reversed(field):
            one = field[name]
            if one.dense and not 0 <= number < options.dense_rounds:
                continue
            with searching(one.dense), counting(one.net) as counts:
                before = clocks(options.device)
                made = act(one, number)
                clock, cost = (b - a for a, b in zip(before, clocks(options.device), strict=True))
            if number >= 0:
                turns[name].append(Turn(clock, cost, made, gradient_of(one.net), **counts))
    return turns


@contextlib.contextmanager
def counting(net: VANeRF) -> Iterator[dict[str, int]]:
    """Within it, how many samples go through the networks of density and colour."""
    counts = {"densities": 0, "colours": 0}

    def add(name: str, _module: torch.nn.Module, _given: tuple, found: torch.Tensor) -> None:
        counts[name] += len(found)

    parts = {"densities": net.deviation_head, "colours": net.colour_network}
    hooks = [part.register_forward_hook(partial(add, name)) for name, part in parts.items()]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def gradient_of(net: VANeRF) -> torch.Tensor | None:
    own = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return torch.cat(own) if own else None


def picture_of(one: Contender, pictures: Pictures, pairs: ViewPairs, number: int) -> torch.Tensor:
    pair = pairs[number % len(pairs.frame)][None]
    with torch.no_grad():
        seen = one.net.observe(pictures.input_view(pair.frame, pair.view))
        return render_picture(one.net, seen, pictures.camera(pair.frame, pair.target), one.rays)[0]


def step_of(one: Contender, pictures: Pictures, sizes: dict, number: int) -> torch.Tensor:
    """A training step; what its patches look like."""
    device = pictures.image.device
    optimizer = torch.optim.Adam(one.net.parameters(), lr=0.0)
    drawn = draw_patches(pictures, sizes["batch"], sizes["patch"], torch.Generator().manual_seed(number + 1))
    chance = torch.Generator(device).manual_seed(number + 1)
    made, truth = render_patches(one.net, pictures, drawn, sizes["patch"], one.rays, chance)
    optimizer.zero_grad()
    reconstruction_loss(made, truth).backward()
    optimizer.step()
    return made.detach()


def summary(field: dict[str, Contender], turns: dict[str, list[Turn]]) -> dict[str, dict[str, float]]:
    """Medians over rounds; of the ratios also the extremes; the largest differences."""
    rows = {}
    for name, one in field.items():
        pairs = list(zip(turns[one.against], turns[name], strict=False))
        ratios = [plain.cost / own.cost for plain, own in pairs]
        rows[name] = {
            "seconds": statistics.median(own.clock for own in turns[name]),
            "processor_seconds": statistics.median(own.cost for own in turns[name]),
            "ratio": statistics.median(ratios),
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
            "difference": max(float((own.made - plain.made).abs().max()) for plain, own in pairs),
            "densities": sum(own.densities for _, own in pairs) / sum(plain.densities for plain, _ in pairs),
            "colours": sum(own.colours for _, own in pairs) / sum(plain.colours for plain, _ in pairs),
        }
        if turns[name][0].gradient is not None:
            rows[name]["gradient"] = max(
                float((own.gradient - plain.gradient).norm() / plain.gradient.norm()) for plain, own in pairs
            )
    return rows


def table(rows: dict[str, dict[str, float]]) -> str:
    head = ("contender", "seconds", "of processor", "ratio", "lowest", "highest", "largest difference",
            "densities", "colours")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in rows.items():
        cells = [name, f"{row['seconds']:.3f}", f"{row['processor_seconds']:.3f}"]
        cells += [f"{row[key]:.2f}" for key in ("ratio", "ratio_low", "ratio_high")]
        cells += [f"{row['difference']:.1e}", f"{row['densities']:.1%}", f"{row['colours']:.1%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def race_pictures(
    field: dict[str, Contender], pictures: Pictures, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    pairs = view_pairs(pictures, options.rounds)

    def act(one: Contender, number: int) -> torch.Tensor:
        return picture_of(one, pictures, pairs, number)

    return summary(field, race(field, act, options))


def race_steps(
    field: dict[str, Contender], pictures: Pictures, sizes: dict, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    def act(one: Contender, number: int) -> torch.Tensor:
        return step_of(one, pictures, sizes, number)

    rows = summary(field, race(field, act, options))
    for one in field.values():
        one.net.zero_grad()  # so that the next pictures are known to have none
    return rows


def record(rows: dict[str, dict[str, dict]], options: argparse.Namespace, words: str, started: float) -> None:
    """One job: a row for each contender, number of threads and question."""
    load = {"load average": os.getloadavg()[0]}
    job = Job(
        "va_nerf",
        "rendering",
        "rendering speed",
        seed=0,
        profile=options.profile,
        dataset="two hands in even light",
        parameters={
            "rounds": options.rounds,
            "dense_rounds": options.dense_rounds,
            "tolerances": options.tolerances,
            "threads": options.threads,
            "network": words,
        },
    )
    table = {
        f"{question}: {name}": row | load for question, found in rows.items() for name, row in found.items()
    }
    record_job(
        job,
        {"rendering speed": table},
        protocol="median of interleaved rounds, ratios within a round to every sample evaluated",
        started=started,
        device=None if options.device == "cuda" else "cpu",
    )


def verdicts(rows: dict[str, dict[str, dict]]) -> list[str]:
    """The loosest tolerance that stays within the wanted difference, and what it gains."""
    lines = []
    for question, found in rows.items():
        own = {n: r for n, r in found.items() if n.startswith("tolerance")}
        exact = {n: r for n, r in own.items() if r["difference"] <= WANTED_DIFFERENCE}
        if not exact:
            lines.append(f"{question}: no tolerance stays within {WANTED_DIFFERENCE:g}")
            continue
        name = max(exact, key=lambda n: exact[n]["ratio"])
        ratio = exact[name]["ratio"]
        gains = {EVERY: ratio} | ({DENSE: ratio / found[DENSE]["ratio"]} if DENSE in found else {})
        for against, gain in gains.items():
            enough = "at least" if gain >= WANTED_RATIO else "NOT"
            lines.append(
                f"{question}: {name}, within {WANTED_DIFFERENCE:g}, is {enough} {WANTED_RATIO:g} times "
                f"as fast as {against}: {gain:.2f}"
            )
        if "picture" in question:
            seconds = exact[name]["seconds"]
            enough = "within" if seconds <= WANTED_SECONDS else "NOT within"
            lines.append(f"{question}: {seconds:.3f} s, {enough} {WANTED_SECONDS:g} s")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tolerances", type=float, nargs="+", default=[1e-3, 5e-4, 1e-4])
    parser.add_argument("--profile", default="cpu", help="whose preset of the chapter fusion gives the sizes")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dense-rounds", type=int, default=0, help="of minutes each")
    parser.add_argument("--weights", type=Path, help=".safetensors of Ours in place of the recorded ones")
    parser.add_argument("--record", action="store_true", help="record it as a job of the book")
    options = parser.parse_args()
    started = time.time()
    sizes = sizes_of(options.profile)
    rays = RenderSettings(sizes["coarse"], sizes["fine"], sizes["margin"])
    field: dict[str, Contender] = {}
    words = []
    for variant in ("Ours", "KeypointNeRF"):
        file = options.weights if variant == "Ours" else None
        net, said = network(variant, options.profile, sizes["size"], file)
        words.append(f"{variant}: {said}")
        prefix = "" if variant == "Ours" else f"{variant}, "
        for tolerance in (0.0, *(options.tolerances if variant == "Ours" else options.tolerances[:1])):
            name = prefix + (f"tolerance {tolerance:g}" if tolerance else EVERY)
            net = net.to(options.device)
            field[name] = Contender(net, replace(rays, tolerance=tolerance), prefix + EVERY)
    if options.dense_rounds:
        field[DENSE] = replace(field[EVERY], against=EVERY, dense=True)
    print("\n".join(words))
    data = EvenLightSettings(image_size=sizes["image_size"], num_views=sizes["num_views"],
                             test=sizes["test_frames"])  # fmt: skip
    pictures = Pictures(**vars(even_light_pairs("test", data))).to(options.device)
    report: dict[str, dict[str, dict[str, float]]] = {}
    for threads in options.threads if options.device == "cpu" else [torch.get_num_threads()]:
        torch.set_num_threads(threads)
        place = f"{threads} threads" if options.device == "cpu" else torch.cuda.get_device_name()
        side = sizes["image_size"]
        size = f"{sizes['batch']} x {sizes['patch']} x {sizes['patch']} rays"
        samples = f"{rays.coarse} + {rays.fine} samples, {place}"
        for question, ask in (
            (f"picture of {side} x {side}", lambda: race_pictures(field, pictures, options)),
            (f"training step of {size}", lambda: race_steps(field, pictures, sizes, options)),
        ):
            before = os.getloadavg()[0]
            found = report[f"{question}, {place}"] = ask()
            print(f"\n### {question}, {samples}, {options.rounds} rounds\n\n{table(found)}")
            gradients = ", ".join(f"{n} {r['gradient']:.1e}" for n, r in found.items() if r.get("gradient"))
            print(f"\nrelative difference of gradients: {gradients}" if gradients else "")
            print(f"load of the machine {before:.1f} before, {os.getloadavg()[0]:.1f} after", flush=True)
    print("\n" + "\n".join(verdicts(report)))
    path = Path("_build/benchmarks/va_nerf.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"networks": words, "load": os.getloadavg(), "results": report}, indent=1))
    if options.record:
        record(report, options, "; ".join(words), started)
    print(f"written to {path}")


if __name__ == "__main__":
    main()

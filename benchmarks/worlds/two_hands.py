"""How fast the world is, how good its pairs are, and where the time goes.

    python benchmarks/worlds/two_hands.py [--pairs 10000] [--frames 12] [--size 128] [--profile]

Prints one line for every measurement, with the machine's load, since other work slows it down.
"""

import argparse
import cProfile
import os
import pstats
import time

import torch

from hands_lib.geometry.raster import vertex_visibility
from hands_lib.structures import Camera, Mesh
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.interactions import (
    CONTACT,
    INTERACTIONS,
    TOUCHING,
    clearance,
    intersecting,
    pair_faces,
    pair_surfaces,
    sample_pairs,
)
from hands_lib.worlds.two_hands import WorldSettings, make_frame
from hands_lib.worlds.views import Moment, Views, pixel_labels


def _clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _report(what: str, count: int, start: tuple[float, float]) -> None:
    wall, cpu = (now - then for now, then in zip(_clock(), start, strict=True))
    print(
        f"{what}: {count / wall:.0f}/s of wall time, {1000 * cpu / count:.1f} ms of CPU each "
        f"({torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f})"
    )


def pairs(num: int) -> None:
    people, generator = sample_identities(40), torch.Generator().manual_seed(0)
    sample_pairs(18, people, generator)  # compiles
    for name, kinds in (("touching pairs", TOUCHING), ("pairs of all interactions", tuple(INTERACTIONS))):
        start = _clock()
        sample_pairs(288, people, generator, kinds)
        _report(name, 288, start)
    meeting = touching = occluded = vertices_seen = 0
    counts: dict[str, list[int]] = {}
    for first in range(0, num, 500):
        drawn, report = sample_pairs(min(500, num - first), people, generator)
        vertices = pair_surfaces(drawn.pose, people[drawn.identity].shape)
        meeting += int(intersecting(vertices).sum())
        near = clearance(vertices)
        touching += int((near.flatten(1).amin(dim=1) < CONTACT).sum())
        occluded += int((near < 0.010).sum())
        vertices_seen += near.numel()
        for name, (accepted, total) in report.counts.items():
            old = counts.setdefault(name, [0, 0])
            old[0] += accepted
            old[1] += total
    print(
        f"{num} pairs: {meeting} intersect; {touching / num:.1%} in contact (closer than {1000 * CONTACT:.0f} mm); "
        f"{occluded / vertices_seen:.1%} of the vertices within 10 mm of the other hand"
    )
    rates = ", ".join(f"{name} {accepted / total:.0%}" for name, (accepted, total) in counts.items())
    print(f"accepted of drawn: {rates}")


def views(num: int, size: int) -> None:
    settings = WorldSettings(image_size=size)
    people, generator = sample_identities(2), torch.Generator().manual_seed(0)
    drawn, _ = sample_pairs(num + 1, people, generator)
    made = []
    for n in range(num + 1):
        if n == 1:  # the first one compiles
            start = _clock()
        row = make_frame(drawn.pose[n], people[drawn.identity[n]], settings, generator)
        moment = Moment(drawn.pose[n], row["vertices"], row["joints"], row["clearance"])
        camera = Camera(row["intrinsics"], row["camera_from_world"], size, size)
        seen = Views(camera, row["image"], row["face"], row["vertex_visible"].bool())
        pixel_labels(moment, seen)
        made.append((moment, seen))
    _report(f"views of {size} pixels with all labels", num * settings.num_views, start)
    hidden = [_hidden_by_the_other(moment, seen) for moment, seen in made]
    print(f"mean share of a hand's vertices that only the other hand hides: {torch.tensor(hidden).mean():.1%}")


def _hidden_by_the_other(moment: Moment, views: Views) -> float:
    """Vertices that would be seen if the other hand (and the arms) were away, and are not."""
    faces = pair_faces()
    alone = torch.stack(
        [vertex_visibility(Mesh(moment.vertices[side], faces[side]), views.camera) for side in (0, 1)], dim=1
    )
    return float((alone & ~views.vertex_visible).sum() / alone.sum())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    profiler = cProfile.Profile()
    if options.profile:
        profiler.enable()
    views(options.frames, options.size)
    if options.pairs:
        pairs(options.pairs)
    if options.profile:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(14)

"""What many sampled pairs are like: intersections, contact, acceptance, occlusion.

python benchmarks/worlds/pair_statistics.py [--pairs 10000] [--seed 0]
"""

import argparse
import collections

import torch

from hands_lib.geometry.raster import vertex_visibility
from hands_lib.hand.pairs import clearance, intersecting, pair_faces, pair_surfaces
from hands_lib.structures import Mesh
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.identities import sample_identities
from hands_lib.worlds.interactions import CONTACT
from hands_lib.worlds.pair_sampling import sample_pairs

_BATCH = 500
_OCCLUSION_EVERY = 25  # pairs whose occlusion is measured, from 8 cameras


def hidden_by_the_other(vertices: torch.Tensor) -> float:
    """Share of the vertices that a camera would see if the other hand were away, and does not see."""
    right, left = pair_faces()
    camera = camera_ring(8, 128, field=0.8)
    whole = Mesh(vertices.flatten(0, 1), torch.cat([right, left + vertices.shape[1]]))
    seen = vertex_visibility(whole, camera)
    alone = [vertex_visibility(Mesh(vertices[side], (right, left)[side]), camera) for side in (0, 1)]
    alone = torch.cat(alone, dim=1)
    return float((alone & ~seen).sum() / alone.sum())


def main(num: int, seed: int) -> None:
    people, generator = sample_identities(40, seed), torch.Generator().manual_seed(seed)
    accepted, drawn = collections.Counter(), collections.Counter()
    meeting = touching = 0
    hidden = []
    for first in range(0, num, _BATCH):
        pairs, report = sample_pairs(min(_BATCH, num - first), people, generator)
        vertices = pair_surfaces(pairs.pose, people[pairs.identity].shape)
        meeting += int(intersecting(vertices).sum())
        touching += int((clearance(vertices).flatten(1).amin(dim=1) < CONTACT).sum())
        hidden += [hidden_by_the_other(pair) for pair in vertices[::_OCCLUSION_EVERY]]
        for name, (kept, tried) in report.counts.items():
            accepted[name] += kept
            drawn[name] += tried
    print(f"{num} pairs: {meeting} intersect")
    print(
        f"{touching / num:.1%} of the pairs are in contact (closest distance below {1000 * CONTACT:.0f} mm)"
    )
    print(f"{sum(hidden) / len(hidden):.1%} of the vertices are hidden by the other hand alone, on average")
    print(f"accepted of drawn: {accepted.total() / drawn.total():.1%}; by interaction:")
    print(", ".join(f"{name} {accepted[name] / drawn[name]:.0%}" for name in drawn))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    main(options.pairs, options.seed)

"""What a sample of grasps is like, in the numbers that a table of the book prints.

Chapter  book/hand_object/grasps.md
Units    millimetres and percent in what is returned
"""

from collections.abc import Sequence

import torch

from hands_lib.geometry.cameras import cropped
from hands_lib.worlds.cameras import camera_ring
from hands_lib.worlds.grasp_scenes import grasp_labels, make_moments
from hands_lib.worlds.grasps import GraspReport, Grasps
from hands_lib.worlds.identities import Identities
from hands_lib.worlds.objects import ObjectShape

_PIXELS = 64  # of a side, of the pictures in which hidden shares are counted
_CAMERAS = 6  # of the ring; grasps take turns


def grasp_statistics(
    grasps: Grasps,
    report: GraspReport,
    shapes: Sequence[ObjectShape],
    people: Identities,
    most_seen: int = 200,
) -> dict[str, float]:
    """Depth and contacts of every grasp; hidden shares of the first `most_seen`, one camera each.

    Returns accepted (%), deepest (mm, of all), regions (in contact, mean), least_regions, hand_hidden and
    object_hidden (%).
    """
    deepest, regions = torch.zeros(len(grasps.shape)), torch.zeros(len(grasps.shape))
    hidden = []
    for number in grasps.shape.unique().tolist():
        rows = (grasps.shape == number).nonzero().flatten()
        shape = shapes[number]
        moments = make_moments(grasps[rows], shape, people[grasps.identity[rows]])
        for row, moment in zip(rows.tolist(), moments, strict=True):
            deepest[row] = moment.contact.penetration[0]
            regions[row] = moment.contact.regions[0].sum()
            if row < most_seen:
                ring = camera_ring(_CAMERAS, _PIXELS)
                camera = cropped(ring, torch.cat([moment.hand, moment.object]), _PIXELS, 1.2)
                labels = grasp_labels(moment, shape, camera[row % _CAMERAS : row % _CAMERAS + 1])
                hidden.append(torch.stack([labels.hand_hidden[0], labels.object_hidden[0]]))
    hand, held = (100 * torch.stack(hidden)).mean(dim=0).tolist()
    return {
        "accepted": 100 * report.acceptance,
        "deepest": 1000 * deepest.max().item(),
        "regions": regions.mean().item(),
        "least_regions": regions.min().item(),
        "hand_hidden": hand,
        "object_hidden": held,
    }

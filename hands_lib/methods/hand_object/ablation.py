"""What is compared: the paper's modules left out one by one, and the methods it descends from, reduced.

Chapter  book/hand_object/hand_object_tables.md
Source   the abstract says that ablations were made and prints none: the grid is this book's

All rows share data, schedule and decoders.
"""

import time
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from hands_lib.methods.hand_object.augmentation import graph_share, nearest_nodes, picture_grid
from hands_lib.methods.hand_object.examples import Examples, Templates, placed
from hands_lib.methods.hand_object.network import HandObjectNetwork, HandObjectSettings
from hands_lib.methods.hand_object.scoring import (
    constant_estimate,
    estimate_of,
    row_of,
    scores,
    thirds,
    true_estimate,
)
from hands_lib.methods.hand_object.training import predict

Row = dict[str, float]
Rows = dict[str, dict[str, Row]]

OURS = "Ours"
NO_APART = "without signed-distance loss"
CHANGES: dict[str, dict[str, object]] = {
    OURS: {},
    "without dual stream": {"streams": 1},
    "without feature augmentation": {"augment": False},
    "without cross-feature supplementation": {"exchange": "none"},
    NO_APART: {},
    "plain: none of the four": {"streams": 1, "augment": False, "exchange": "none"},
    "harmonious streams (HFL-Net, reduced)": {"augment": False, "exchange": "harmonious"},
    "mutual attention (DMA, reduced)": {"augment": False, "exchange": "mutual"},
}
"""Rows that are trained: what each changes in the settings."""
WITHOUT_APART = {NO_APART, *list(CHANGES)[5:]}
"""Rows without the signed-distance loss: HFL-Net and DMA have none."""
CONSTANT, TRUTH = "constant pose", "oracle: the truth"
BY_POINTS = "Ours, object by control points"
TRUE_HAND, TRUE_OBJECT = "Ours, oracle: true hand", "Ours, oracle: true object"


def row_settings(row: str, base: HandObjectSettings) -> HandObjectSettings:
    """The settings of a row: `base` with what the row changes. Raises ValueError for an unknown row."""
    if row not in CHANGES:
        raise ValueError(f"unknown row {row!r}; there are {', '.join(CHANGES)}")
    changes = dict(CHANGES[row])
    streams = changes.pop("streams", base.backbone.streams)
    return replace(base, backbone=replace(base.backbone, streams=streams), **changes)


@dataclass(frozen=True)
class Judge:
    """What networks are compared on."""

    templates: Templates
    learned: Examples
    """What they learn from;"""
    validation: Examples
    """other people; what is decided is decided here;"""
    tested: Examples
    """and other people again, half of the pictures with objects that are in no other split."""
    new: Bool[Tensor, " picture"]
    """Which of the tested pictures show such an object."""

    def error(self, network: HandObjectNetwork, examples: Examples) -> dict[str, float]:
        """Joint error and object centre error, mm."""
        found = predict(network, examples, self.templates)
        centre = (found.translation - examples.translation).norm(dim=-1)
        joints = (found.joints - examples.joints).norm(dim=-1)
        return {"hand": 1000 * float(joints.mean()), "object": 1000 * float(centre.mean())}

    def tables(self, row: str, network: HandObjectNetwork, curve: dict[str, float]) -> Rows:
        """All that one trained network says, table by table; `curve` as `Row` of the table "validation"."""
        started = time.perf_counter()
        found = predict(network, self.tested, self.templates)
        pace = len(self.tested) / (time.perf_counter() - started)
        estimate = estimate_of(found, self.tested, self.templates, network.settings.pose)
        measured = scores(estimate, self.tested, self.templates)
        own = row_of(measured) | {
            "parameters": sum(p.numel() for p in network.parameters()) / 1e6,
            "speed": pace,
        }
        tables: Rows = {"interaction": {row: own}, "validation": {row: curve}}
        tables["occlusion"] = {
            row: {
                f"{name.split()[0]}_hidden": float(measured["hand_joint_error"][where].mean())
                for name, where in thirds(self.tested.hand_hidden).items()
            }
        }
        parts = {"known": ~self.new, "new": self.new}
        tables["new objects"] = {
            row: {
                f"{name}_{part}": float(measured[column][where].mean())
                for name, column in (("centre", "object_centre_error"), ("closest", "closest_point_distance"))
                for part, where in parts.items()
                if where.any()
            }
        }
        some = self.learned[:: max(1, len(self.learned) // 240)]
        splits = {"train": some, "validation": self.validation, "test": self.tested}
        tables["splits"] = {
            row: {
                f"{what}_{split}": value
                for split, examples in splits.items()
                for what, value in self.error(network, examples).items()
            }
        }
        if len(network.before) or network.for_hand is not None:
            tables["mechanism"] = {row: self.mechanism(network)}
        if row == OURS:
            others = {
                CONSTANT: constant_estimate(self.learned, self.templates, len(self.tested)),
                TRUTH: true_estimate(self.tested),
                BY_POINTS: estimate_of(found, self.tested, self.templates, "points"),
                TRUE_HAND: replace(estimate, joints=self.tested.joints, vertices=self.tested.vertices),
                TRUE_OBJECT: replace(
                    estimate, rotation=self.tested.rotation, translation=self.tested.translation
                ),
            }
            tables["interaction"] |= {
                name: row_of(scores(other, self.tested, self.templates)) for name, other in others.items()
            }
        return tables

    @torch.no_grad()
    def mechanism(self, network: HandObjectNetwork) -> Row:
        """Whether modules do their job, on validation pictures: how far alpha has left 0; how often the local
        graph joins a joint to a control point that is within 5 cm, in percent, and chance; how much more
        the hand looks into the object's box than into as much of the rest of the picture."""
        network.eval()
        examples = self.validation
        control = self.templates.control[examples.shape]
        prediction, looks = network.look(examples.image, control, True)
        own: Row = {}
        if len(network.before):
            own["alpha"] = float(network.alphas.abs().mean())
            seen = placed(control, examples.rotation, examples.translation)
            graph = nearest_nodes(prediction.nodes_uv[:, -1], network.settings.neighbours)
            found, chance = graph_share(graph, torch.cdist(examples.joints, seen) < 0.05)
            own |= {"close_edges": 100 * float(found), "close_pairs": 100 * float(chance)}
            own["lift"] = float(found / chance.clamp(min=1e-3))
        if looks.hand is not None and network.settings.exchange == "supplement":
            uv = examples.uv(placed(control, examples.rotation, examples.translation))
            side = round(looks.hand.shape[-1] ** 0.5)
            grid = picture_grid(side, side, uv)
            low, high = uv.amin(dim=1)[:, None], uv.amax(dim=1)[:, None]
            box = ((grid > low) & (grid < high)).all(dim=-1).to(uv)
            share = (looks.hand.mean(dim=1) * box).sum(dim=1) / box.mean(dim=1).clamp(min=1e-3)
            own["look"] = float(share.mean())
        return own

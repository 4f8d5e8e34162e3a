"""What is compared: the paper's modules left out one by one, and the methods it descends from, reduced.

Chapter  book/hand_object/hand_object_tables.md
Source   the abstract says that ablations were made and prints none: the grid is this book's

All rows share data, schedule and decoders.
"""

from dataclasses import replace

from hands_lib.methods.hand_object.network import HandObjectSettings

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

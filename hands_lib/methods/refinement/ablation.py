"""What is compared in the ablation, and how every network is scored.

Chapters book/refinement/stages.md, method.md
Source   Ren et al., DIR; the ablation tables of the paper were not at hand, so the grid is this book's
Units    millimetres and pixels, volumes as the function that measures them says

A row is column -> number, a table row -> columns, as they are recorded. `ROWS` of `network` are the paper's
parts left out; the rows below go beyond the paper, or stand beside it as baselines.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hands_lib.geometry.meshes import GeometryError
from hands_lib.methods.refinement.hands import Estimate
from hands_lib.methods.refinement.losses import Targets
from hands_lib.methods.refinement.network import ROWS, RefinementSettings
from hands_lib.methods.refinement.protocols import errors_by_protocol
from hands_lib.methods.refinement.training import errors, scaled
from hands_lib.structures import Mesh

Row = dict[str, float]

OURS = {
    "corrections of the last numbers": {"corrections": True},
    "looking along the surface": {"mesh_aware": True},
}
COLLISION = "with a collision term"
DENSE, DIRECT = "dense vertex attention", "picture to joints"
ALONE, PAPERS, LONGEST = "init alone", "init and two refinements", "init and three refinements"
CONSTANT = "constant"
"""No network: a pair of hands that ignores the picture."""
ALL_PROTOCOLS = (ALONE, PAPERS, LONGEST, DENSE, DIRECT)
"""Rows that are scored by every protocol."""
LONGER = ", trained longer"
"""What the name of a row ends with that is trained for more steps."""

STAGES = ("initial estimate", "first refinement", "second refinement", "third refinement")
LEVELS = {
    "base": (1, 5, 9, 13, 17),
    "middle": (2, 6, 10, 14, 18),
    "distal": (3, 7, 11, 15, 19),
    "tip": (4, 8, 12, 16, 20),
}
"""Joints by how far out on the finger they are."""
HIDDEN = {"under 2 %": (-1, 0.02), "2 to 10 %": (0.02, 0.1), "over 10 %": (0.1, 2)}
"""Hands by the share of them that is hidden: more than the first number, at most the second."""


def row_settings(row: str, base: RefinementSettings) -> RefinementSettings:
    """The settings of a row: `base` with what the row changes."""
    return replace(base, **(ROWS | OURS).get(row.removesuffix(LONGER), {}))


def joint_errors(found: Estimate, truth: Targets) -> Float[Tensor, "batch 2 21"]:
    """Of every joint, after wrist and palm length were aligned (`training.scaled`), mm."""
    return 1000 * torch.linalg.vector_norm(scaled(found, truth)[0] - truth.joints, dim=-1)


def constant_estimate(learned: Targets, num: int) -> Estimate:
    """A pair of hands that ignores the picture, `num` times: the mean of what is learned from."""
    names = ("offset", "joints", "vertices", "joints_uv", "vertices_uv")
    means = (getattr(learned, name).mean(dim=0) for name in names)
    numbers = learned.joints.new_zeros(num, 2, 64)
    return Estimate(numbers, *(mean.expand(num, *mean.shape) for mean in means))


def all_stages(found: Sequence[Estimate], truth: Targets, picture: int, columns: Sequence[str]) -> Row:
    """Mean errors (columns of `training.errors`) of the last estimate, and of every one with its number:
    `mpjpe`, `mpjpe_stage_0`, ..."""
    by_stage = [errors(one, truth, picture) for one in found]
    row = {name: float(by_stage[-1][name].mean()) for name in columns}
    return row | {
        f"{name}_stage_{number}": float(own[name].mean())
        for name in columns
        for number, own in enumerate(by_stage)
    }


@dataclass(frozen=True)
class Judge:
    """What estimates of the test pictures are compared with."""

    truth: Targets
    hidden: Float[Tensor, "batch 2"]
    """How much of each hand the other one hides, from 0 to 1."""
    picture: int
    """Pixels along a side of a picture."""
    faces: Int[Tensor, "2 face 3"]
    """Of the surface of the right hand and of the left one."""
    shared_volume: Callable[[Mesh, Mesh], Float[Tensor, " batch"]]
    """Volume inside both of two closed surfaces."""

    def row(self, found: Estimate) -> Row:
        """Mean errors over the pictures, and the mean volume that both hands share. Estimates without a
        surface, or with one that encloses nothing (of which a warning tells), have no volume."""
        own = {name: float(v.mean()) for name, v in errors(found, self.truth, self.picture).items()}
        if not found.vertices.shape[2]:
            return own
        both = found.vertices[:, 0], found.vertices[:, 1] - found.offset[:, None]
        try:
            shared = float(self.shared_volume(*map(Mesh, both, self.faces)).mean())
        except GeometryError as no_solid:  # free vertices need not enclose anything
            warnings.warn(f"no volume to measure: {no_solid}", stacklevel=2)
            return own
        return own | {"overlap": shared}

    def stage_means(self, found: Sequence[Estimate]) -> Row:
        """Mean joint error after each stage, by the stage's name."""
        names = (stage.replace(" ", "_") for stage in STAGES)
        means = (float(joint_errors(one, self.truth).mean()) for one in found)
        return dict(zip(names, means, strict=False))  # a network may have fewer stages

    def stage_tables(self, found: Sequence[Estimate]) -> dict[str, dict[str, Row]]:
        """Of a network with all stages: errors after each, by the joint's place on the finger, and first
        against last by how much of the hand is hidden (where there are such hands)."""
        by_stage = [joint_errors(one, self.truth) for one in found]
        levels = {
            stage: {level: float(own[..., joints].mean()) for level, joints in LEVELS.items()}
            for stage, own in zip(STAGES, by_stage, strict=True)
        }
        occlusion = {}
        for name, (low, high) in HIDDEN.items():
            those = (self.hidden > low) & (self.hidden <= high)
            if those.any():
                first, last = (float(by_stage[n][those].mean()) for n in (0, -1))
                occlusion[name] = {
                    "initial_estimate": first,
                    "third_refinement": last,
                    "decrease": 100 * (1 - last / first),
                    "hands": int(those.sum()),
                }
        return {
            "after each stage": dict(zip(STAGES, map(self.row, found), strict=True)),
            "joints after each stage": levels,
            "occlusion": occlusion,
        }


def tables_of_row(
    row: str, found: Sequence[Estimate], num_parameters: int, judge: Judge, learned: Targets
) -> dict[str, dict[str, Row]]:
    """All that one trained network says, table by table. Beside the initial estimate stands the constant pair
    of hands, the mean of what is `learned`; stages in detail are those of the longest network."""
    is_longer = row.endswith(LONGER)
    own = {row.removesuffix(LONGER): judge.row(found[-1]) | {"parameters": num_parameters / 1e6}}
    tables = {"trained longer" if is_longer else "ablation": own}
    if not is_longer and row != DIRECT:
        tables["rows after each stage"] = {row: judge.stage_means(found)}
    if row == LONGEST:
        tables |= judge.stage_tables(found)
    if row == ALONE:
        own[CONSTANT] = judge.row(constant_estimate(learned, len(judge.hidden)))
    if row in ALL_PROTOCOLS:
        tables["protocols"] = {row: errors_by_protocol(found[-1], judge.truth)}
    return tables

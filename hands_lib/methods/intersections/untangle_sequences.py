"""Motions: the corrections of `untangle` spread over neighbouring frames.

Units   metres
Frames  as `untangle_steps`: each hand in a right-handed world of its own
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hands_lib.hand.kinematics import forward_kinematics
from hands_lib.methods.intersections.loss import Occupancy
from hands_lib.methods.intersections.untangle_problem import Problem, Solved, UntangleSettings
from hands_lib.methods.intersections.untangle_solver import separated
from hands_lib.structures import put

_STILL = 2e-5  # metres: a correction that nobody sees


def smoothed(
    problem: Problem,
    state: Solved,
    sequence: Int[Tensor, " pair"],
    settings: UntangleSettings,
    occupancy: Occupancy | None,
) -> tuple[Solved, Bool[Tensor, " pair"]]:
    """Spreads the corrections of a sequence over neighbouring frames: in turns they are averaged over a
    window, and brought back to where the surfaces are apart."""
    changed = state.intersecting | state.pushed | (state.iterations > 0)
    for _ in range(settings.smoothing_rounds):
        moves = forward_kinematics(state.pose).joints - problem.target
        moves = windowed_mean(
            torch.where(changed[:, None, None, None], moves, 0.0), sequence, settings.smoothness
        )
        rows = ((moves.norm(dim=-1).amax(dim=(1, 2)) > _STILL) | changed).nonzero()[:, 0]
        changed = changed.index_fill(0, rows, True)
        for part in rows.split(settings.chunk):
            asked = problem[part]
            asked = replace(asked, pose=state.pose[part], target=asked.target + moves[part])
            solved = separated(asked, settings, occupancy, "smoothing")
            iterations = state.iterations[part] + solved.iterations
            state = put(state, part, replace(solved, iterations=iterations))
    return state, changed


def windowed_mean(
    moves: Float[Tensor, "pair 2 21 3"], sequence: Int[Tensor, " pair"], half_width: int
) -> Float[Tensor, "pair 2 21 3"]:
    """Weighted mean (Hann window) over the frames before and after, within each sequence."""
    order = sequence.argsort(stable=True)
    sorted_moves, sorted_sequence = moves[order], sequence[order]
    place = torch.arange(len(order), device=moves.device)
    total, weight = torch.zeros_like(moves), moves.new_zeros(len(moves))
    window = torch.hann_window(2 * half_width + 3, periodic=False, dtype=moves.dtype)[1:-1]
    for offset, own in zip(range(-half_width, half_width + 1), window.tolist(), strict=True):
        other = (place + offset).clamp(0, len(order) - 1)
        counts = own * ((place + offset == other) & (sorted_sequence[other] == sorted_sequence)).to(moves)
        total, weight = total + counts[:, None, None, None] * sorted_moves[other], weight + counts
    return torch.zeros_like(moves).index_copy(0, order, total / weight[:, None, None, None])

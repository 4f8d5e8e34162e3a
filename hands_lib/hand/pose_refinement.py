"""Refinement of fitted poses: bounded least squares over all 76 unknowns of a hand, many hands at once.

Units   distances in units of the hand's size (its mean metacarpal), radians
Frame   the world, moved so that the given wrist is the origin

1. Damped Gauss-Newton (Levenberg-Marquardt) on the squared distances of all joints, plus a weak prior against
   base twist and against bends that a hinge has not. Angles at a limit are left out while they push outwards
   (an active set); what would leave the box in a step stops at its wall. Digits meet only in the root's six
   unknowns, so their blocks are eliminated first (a Schur complement): per hand five 14x14 systems, one 6x6.
2. Polish. Where the joints can be met exactly from there, the prior lets go. Elsewhere it stays: a twist
   would wander through its whole range for a hundredth of a millimetre and jump between frames of a sequence.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.kinematics import forward_kinematics
from hands_lib.structures import HandPose, TensorFields, chosen

_HINGE_WEIGHT = 7e-4  # of squared bends that a hinge has not, against squared distances in units of the hand
_NEARLY_MET, _MET = 1e-4, 1e-9  # squared distance of all joints: worth trying to meet exactly; met
_LIGHT_DAMPING = 1e-2
_MISSING_WEIGHT = 0.02  # keeps a missing joint near its guess, while the others decide
_UNKNOWNS = 14  # of a digit: 2 palm angles, 8 joint angles (the distal twist is none), 4 lengths


@dataclass(frozen=True)
class FitState(TensorFields):
    """A pose as the solver sees it; a digit's row is (palm 2, base 3, middle 3, distal 2, lengths 4)."""

    rotation: Float[Tensor, "hand 3 3"]
    translation: Float[Tensor, "hand 3"]
    digits: Float[Tensor, "hand 5 14"]


def pose_of(state: FitState) -> HandPose:
    joint_angles = torch.nn.functional.pad(state.digits[..., 2:10], (0, 1)).unflatten(-1, (3, 3))
    return HandPose(
        state.translation, state.rotation, state.digits[..., :2], joint_angles, state.digits[..., 10:]
    )


def _system(state: FitState, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Residuals (hand 21 3) and the digits' Jacobian (hand 5 12 20): 14 own unknowns, then 6 of the root.

    Turning joint p about an axis w through c moves p by w x (p - c); a longer bone moves it along the bone.
    """
    pose = pose_of(state)
    skeleton = forward_kinematics(pose)
    digits = skeleton.joints[:, 1:].unflatten(1, (5, 4))
    wrist = skeleton.joints[:, :1, None].expand(-1, 5, -1, -1)
    starts = torch.cat([wrist, digits[:, :, :3]], dim=2)  # where each bone's joint sits

    # Axes of flexion, abduction and twist, in the frame of the bone that they have turned.
    palm = torch.nn.functional.pad(pose.palm_angles, (0, 1))[:, :, None]
    angles = torch.cat([palm, pose.joint_angles], dim=2)
    _, cos_a, cos_t = angles.cos().unbind(-1)
    _, sin_a, sin_t = angles.sin().unbind(-1)
    zero, one = torch.zeros_like(cos_t), torch.ones_like(cos_t)
    axes = torch.stack(
        [-cos_t * cos_a, -sin_t, zero, sin_a, zero, one, -sin_t * cos_a, cos_t, zero], dim=-1
    ).unflatten(-1, (3, 3))  # row: coordinate, column: axis
    axes = (skeleton.bone_rotations @ axes).mT  # hand, digit, bone, axis, 3

    arms = digits[:, :, :, None] - starts[:, :, None]  # hand, digit, joint, bone, 3
    # A bone moves its own end and what follows.
    reach = torch.ones(4, 4, dtype=arms.dtype, device=arms.device).tril()
    arms = arms * reach[..., None]
    turns = torch.linalg.cross(axes[:, :, None], arms[..., None, :]).flatten(3, 4)
    turns = torch.cat([turns[..., :2, :], turns[..., 3:11, :]], dim=-2)  # no metacarpal, no distal twist
    stretches = skeleton.bone_rotations[:, :, None, :, :, 1] * reach[..., None]
    # The root turns about the wrist's place and moves along the world's axes.
    from_wrist = digits - wrist
    basis = torch.eye(3, dtype=arms.dtype, device=arms.device)
    root_turns = torch.linalg.cross(basis.expand(*from_wrist.shape[:-1], 3, 3), from_wrist[..., None, :])
    moves = basis.expand_as(root_turns)
    jacobian = torch.cat([turns, stretches, root_turns, moves], dim=-2).mT
    jacobian = jacobian * weights[:, 1:].reshape(-1, 5, 4, 1, 1)
    return (skeleton.joints - target) * weights[..., None], jacobian.flatten(2, 3)


def refine_pose(
    state: FitState,
    target: Float[Tensor, "hand 21 3"],
    weights: Float[Tensor, "hand 21"],
    lower: Float[Tensor, "hand 5 14"],
    upper: Float[Tensor, "hand 5 14"],
    num_steps: int,
) -> FitState:
    """The state after at most `num_steps` steps; never farther from the target than before.

    `weights` are 1 for a given joint and 0 for a missing one, whose row of `target` is a guess. Equal bounds
    hold an unknown, as with given bone lengths.
    """
    num_polishing = num_steps // 3
    held_back = weights.clamp(min=_MISSING_WEIGHT)
    refined = _refine(state, target, held_back, lower, upper, num_steps - num_polishing, _HINGE_WEIGHT)
    refined = _polish(refined, target, weights, lower, upper, num_polishing)
    # The prior may have cost a little more distance than the steps gained.
    better = _squared_distance(refined, target, weights) < _squared_distance(state, target, weights)
    return chosen(better, refined, state)


def _squared_distance(state: FitState, target: Tensor, weights: Tensor) -> Tensor:
    errors = (forward_kinematics(pose_of(state)).joints - target) * weights[..., None]
    return errors.square().sum(dim=(1, 2))


def _refine(
    state: FitState,
    target: Tensor,
    weights: Tensor,
    lower: Tensor,
    upper: Tensor,
    num_steps: int,
    hinge_weight: float,
    enough: float = 1e-2,
) -> FitState:
    """Levenberg-Marquardt within the box on squared distance plus weighted squared bends and twists.

    Hands leave the batch when they are exact or a step gains less than the share `enough`.
    """
    prior = hinge_weight * target.new_tensor([0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 0, 0])
    eps = torch.finfo(target.dtype).eps
    exact = (100 * eps) ** 2  # a squared distance that is rounding alone

    def cost_of(state, target, weights):
        return _squared_distance(state, target, weights) + (prior * state.digits.square()).sum(dim=(1, 2))

    rows = (_squared_distance(state, target, weights) > exact).nonzero()[:, 0]
    result = state.map(torch.Tensor.clone)
    now, goal, weight, low, high = state[rows], target[rows], weights[rows], lower[rows], upper[rows]
    cost = cost_of(now, goal, weight)
    damping = torch.full_like(cost, 1e-3)
    for _ in range(num_steps):
        if len(rows) == 0:
            break
        trial = _step(now, goal, weight, low, high, damping, prior)
        trial_cost = cost_of(trial, goal, weight)
        better = trial_cost < cost  # false for a step that is not a number
        now = chosen(better, trial, now)
        # A short, heavily damped step gains little without being near the end.
        slow = (cost - trial_cost < enough * cost) & (damping < _LIGHT_DAMPING)
        going = ~(trial_cost <= exact) & torch.where(better, ~slow, damping < 1e3)
        cost = torch.where(better, trial_cost, cost)
        damping = (damping * torch.where(better, 0.1, 10.0)).clamp(min=10 * eps)
        result.rotation[rows], result.translation[rows], result.digits[rows] = vars(now).values()
        rows, now, goal, weight, low, high = (field[going] for field in (rows, now, goal, weight, low, high))
        cost, damping = cost[going], damping[going]
    return result


def _polish(
    state: FitState, target: Tensor, weights: Tensor, lower: Tensor, upper: Tensor, num_steps: int
) -> FitState:
    """Lets go of the prior on bends where the joints can then be met exactly, and only there.

    Elsewhere a bend would wander through its range for a hundredth of a millimetre, and jump from frame to
    frame. The prior costs a reachable hand little, so only nearly met hands are tried.
    """
    old = _squared_distance(state, target, weights)
    rows = (old < _NEARLY_MET).nonzero()[:, 0]
    polished = _refine(
        state[rows], target[rows], weights[rows], lower[rows], upper[rows], num_steps, 0.0, enough=0.2
    )
    met = _squared_distance(polished, target[rows], weights[rows]) < _MET
    rows = rows[met]
    result = state.map(torch.Tensor.clone)
    result.rotation[rows], result.translation[rows], result.digits[rows] = vars(polished[met]).values()
    return result


def _step(
    now: FitState, target: Tensor, weights: Tensor, low: Tensor, high: Tensor, damping: Tensor, prior: Tensor
) -> FitState:
    """One damped Gauss-Newton step inside the box."""
    residual, jacobian = _system(now, target, weights)
    normal = jacobian.mT @ jacobian
    gradient = (jacobian.mT @ residual[:, 1:].reshape(-1, 5, 12, 1))[..., 0]
    own = gradient[..., :_UNKNOWNS] + prior * now.digits
    block, coupling = normal[..., :_UNKNOWNS, :_UNKNOWNS], normal[..., :_UNKNOWNS, _UNKNOWNS:]
    root, root_gradient = normal[..., _UNKNOWNS:, _UNKNOWNS:].sum(dim=1), gradient[..., _UNKNOWNS:].sum(dim=1)
    # The wrist itself moves with the root's translation only.
    root = root + torch.diag_embed(torch.nn.functional.pad(weights[:, :1].expand(-1, 3), (3, 0)))
    root = root + torch.diag_embed(damping[:, None].expand(-1, 6))
    root_gradient = root_gradient + torch.nn.functional.pad(residual[:, 0] * weights[:, :1], (3, 0))

    def solve(held, moves):
        """Steps of a digit's unknowns and of the root where the held ones make the given moves."""
        free = (~held).to(target)
        matrix = block * (free[..., None] * free[..., None, :])
        matrix = matrix + torch.diag_embed(damping[:, None, None] + prior + held.to(target))
        pull = (own[..., None] + block @ moves[..., None]) * free[..., None]
        coupled = coupling * free[..., None]
        factor, _ = torch.linalg.cholesky_ex(matrix)
        solved = torch.cholesky_solve(torch.cat([pull, coupled], dim=-1), factor)
        solved_pull, solved_coupling = solved[..., :1], solved[..., 1:]
        reduced = root - (coupled.mT @ solved_coupling).sum(dim=1)
        root_pull = (
            root_gradient + (coupling.mT @ moves[..., None] - coupled.mT @ solved_pull).sum(dim=1)[..., 0]
        )
        root_step = -torch.linalg.solve_ex(reduced, root_pull)[0]
        step = -(solved_pull + solved_coupling @ root_step[:, None, :, None])[..., 0]
        return torch.where(held, moves, step), root_step

    held = (low >= high) | ((now.digits <= low) & (own > 0)) | ((now.digits >= high) & (own < 0))
    own_step, root_step = solve(held, torch.zeros_like(own))
    # What would leave the box stops at its wall; the others take the step that is best given that.
    reached = now.digits + own_step
    stopped = reached.clamp(low, high) - now.digits
    held = held | (reached < low) | (reached > high)
    own_step, root_step = solve(held, torch.where(held, stopped, 0.0))
    return FitState(
        axis_angle_to_matrix(root_step[:, :3]) @ now.rotation,
        now.translation + root_step[:, 3:],
        torch.clamp(now.digits + own_step, low, high),
    )

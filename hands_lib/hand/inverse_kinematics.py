"""Inverse kinematics: the pose within the limits whose joints come nearest to 21 given ones.

Chapter  book/foundations/hand_model.md
Units    metres, radians
Frame    any world; RIGHT hands (a left hand is mirrored first: `hand.kinematics.mirror`)

1. Closed form. The hand's rotation aligns the rest palm with the metacarpal directions (Procrustes). Then,
   digit by digit from the palm outwards, each bone is turned as near to its joint as the limits allow. The
   base joint's twist is the one with the least sideways bend further out, held back where a finger is nearly
   straight and its plane of flexion means nothing.
2. Refinement. Damped Gauss-Newton (Levenberg-Marquardt) on the squared distances of all joints, for the hands
   that the closed form does not fit exactly. Angles at a limit are left out while they push outwards (an
   active set), steps are clamped to the box. Digits meet only in the root's six unknowns, so their blocks are
   eliminated first (a Schur complement): per hand five 14x14 systems and one 6x6.

What comes back. Joints within reach of the limits are met to rounding. The parameters are one of several sets
that give the same joints: the root's rotation trades against the palm angles (Procrustes picks one), a twist
trades against bends further out, above all in a straight finger, and the distal twist turns no joint: it is 0.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.geometry.alignment import nearest_rotation
from hands_lib.geometry.rotations import axis_angle_to_matrix
from hands_lib.hand.kinematics import (
    DEFAULT_LIMITS,
    DIGIT_FRAMES,
    METACARPAL_FRAMES,
    JointLimits,
    forward_kinematics,
    joint_rotation,
    rest_bone_lengths,
)
from hands_lib.hand.skeleton import EDGES, JOINTS, PARENTS
from hands_lib.structures import HandPose, TensorFields

_BASE_JOINTS = [1, 5, 9, 13, 17]
_SHORTEST_BONE = 0.05  # of the mean metacarpal: keeps a fitted bone from vanishing or turning inside out
_TWIST_PRIOR = 1.0  # of a squared twist against squared sines of sideways bends, in the closed form
_HINGE_WEIGHT = 7e-4  # of squared bends that a hinge has not, against squared distances in units of the hand
_PASSES, _FAST, _NEARLY_MET, _MET = 1, 0.2, 1e-4, 1e-10
_UNKNOWNS = 14  # of a digit: 2 palm angles, 8 joint angles (the distal twist is none), 4 lengths


@dataclass(frozen=True)
class Fit(TensorFields):
    """A fitted pose and how far it is from what it was fitted to."""

    pose: HandPose
    residuals: Float[Tensor, "*batch 21"]
    """Distance of each joint from the given one, metres; NaN where none was given."""

    def to(self, *args, **kwargs) -> "Fit":
        return Fit(self.pose.to(*args, **kwargs), self.residuals.to(*args, **kwargs))


def bone_lengths_of(joints: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch 5 4"]:
    """Distances between neighbouring joints, metres, in the layout of HandPose. Differentiable."""
    return (joints[..., 1:, :] - joints[..., list(PARENTS[1:]), :]).norm(dim=-1).unflatten(-1, (5, 4))


@torch.no_grad()
def inverse_kinematics(
    joints: Float[Tensor, "*batch 21 3"],
    valid: Bool[Tensor, "*batch 21"] | None = None,
    bone_lengths: Float[Tensor, "*#batch 5 4"] | None = None,
    limits: JointLimits = DEFAULT_LIMITS,
    num_refinements: int = 20,
) -> Fit:
    """Fits a batch of right hands; no gradients.

    joints          metres, world, in the library's order
    valid           false where a joint is missing: its value is never read. It is placed by its neighbours and
                    rest proportions; the wrist and two joints 1 (base joints) are needed
    bone_lengths    metres; held as given, for one subject's known lengths. None: fitted with the pose
    num_refinements greatest number of Gauss-Newton steps; 0 gives the closed form. No step makes the fit worse

    Raises ValueError, naming the first such hand, where needed joints are missing, a valid joint is not
    finite, two neighbouring valid joints coincide, or all valid base joints lie on one line through the wrist.
    """
    if joints.shape[-2:] != (len(JOINTS), 3):
        raise ValueError(f"joints must have shape (..., 21, 3), but have {tuple(joints.shape)}")
    batch = joints.shape[:-2]
    if valid is None:
        valid = joints.new_ones(joints.shape[:-1], dtype=torch.bool)
    if valid.shape != joints.shape[:-1]:
        raise ValueError(f"valid must have shape {tuple(joints.shape[:-1])}, but has {tuple(valid.shape)}")
    joints, valid = joints.reshape(-1, 21, 3), valid.reshape(-1, 21)
    if bone_lengths is not None:
        bone_lengths = bone_lengths.to(joints).expand(*batch, 5, 4).reshape(-1, 5, 4)
    joints = torch.where(valid[..., None], joints, 0.0)  # nothing below may depend on a missing value
    _check(joints, valid, bone_lengths)

    wrist = joints[:, :1]
    metacarpals = joints[:, _BASE_JOINTS] - wrist
    rest_lengths = rest_bone_lengths(joints)
    base_valid = valid[:, _BASE_JOINTS]
    # The hand's size; everything below works in this unit, so that damping means the same for every hand.
    size = (metacarpals.norm(dim=-1).sum(-1) / (rest_lengths[:, 0] * base_valid).sum(-1))[:, None, None]
    size = size * rest_lengths[:, 0].mean()
    target = (joints - wrist) / size
    lengths = rest_lengths / rest_lengths[:, 0].mean() if bone_lengths is None else bone_lengths / size

    rotation = _palm_rotation(target[:, _BASE_JOINTS], base_valid)
    target = _fill_missing(target, valid, rotation, lengths)
    lower, upper = _bounds(limits, joints)
    lower, upper = lower.expand(len(joints), -1, -1), upper.expand(len(joints), -1, -1)
    if bone_lengths is not None:
        lower, upper = (torch.cat([bound[..., :10], lengths], dim=-1) for bound in (lower, upper))
    state = _State(rotation, torch.zeros_like(wrist[:, 0]), _closed_form(target, rotation, lower, upper))
    weights = valid.to(joints)
    num_polishing = num_refinements // 3
    state = _refine(state, target, weights, lower, upper, num_refinements - num_polishing, _HINGE_WEIGHT)
    state = _polish(state, target, weights, lower, upper, num_polishing)

    pose = _pose(state)
    pose = replace(
        pose,
        root_translation=pose.root_translation * size[:, 0] + wrist[:, 0],
        bone_lengths=pose.bone_lengths * size if bone_lengths is None else bone_lengths,
    )
    residuals = (forward_kinematics(pose).joints - joints).norm(dim=-1)
    residuals = torch.where(valid, residuals, torch.nan)
    pose = HandPose(*(field.unflatten(0, batch) if batch else field[0] for field in vars(pose).values()))
    return Fit(pose, residuals.unflatten(0, batch) if batch else residuals[0])


def _check(joints: Tensor, valid: Tensor, bone_lengths: Tensor | None) -> None:
    """Raises the errors that `inverse_kinematics` documents. One transfer from the device when all is well."""
    parents = list(PARENTS[1:])
    lengths = (joints[:, 1:] - joints[:, parents]).norm(dim=-1)
    base = joints[:, _BASE_JOINTS] - joints[:, :1]
    collapsed = (lengths <= 1e-6 * joints.abs().amax(dim=(1, 2))[:, None]) & valid[:, 1:] & valid[:, parents]
    base_valid = valid[:, _BASE_JOINTS]
    directions = torch.nn.functional.normalize(base, dim=-1)
    crossing = torch.linalg.cross(directions[:, :, None], directions[:, None]).norm(dim=-1)
    spread = (crossing * (base_valid[:, :, None] & base_valid[:, None])).amax(dim=(1, 2))
    problems = torch.stack(
        [
            ~valid[:, 0],
            base_valid.sum(dim=1) < 2,
            ~joints.isfinite().all(dim=2).all(dim=1),
            collapsed.any(dim=1),
            spread < 1e-3,
        ]
    )
    if not bool(problems.any()):
        if bone_lengths is not None and not bool((bone_lengths > 0).all() & bone_lengths.isfinite().all()):
            raise ValueError("bone lengths to hold must be positive and finite")
        return
    which, hand = (int(index) for index in problems.nonzero()[0])
    if which == 0:
        reason = "the wrist is missing"
    elif which == 1:
        reason = "needs the base joints (joint 1) of at least two digits to turn the palm"
    elif which == 2:
        bad = (~joints[hand].isfinite().all(dim=1)).nonzero()[:, 0].tolist()
        reason = f"not finite at {', '.join(JOINTS[joint] for joint in bad)}; mark missing joints in `valid`"
    elif which == 3:
        parent, child = EDGES[int(collapsed[hand].nonzero()[0])]
        reason = f"{JOINTS[parent]} and {JOINTS[child]} are at one place; mark one of them as not valid"
    else:
        reason = "all base joints lie on one line through the wrist, so the palm's turn is undetermined"
    raise ValueError(f"inverse kinematics of hand {hand}: {reason}")


def _palm_rotation(metacarpals: Tensor, valid: Tensor) -> Tensor:
    """world_from_hand that best turns the rest metacarpals into the given ones, as directions."""
    directions = torch.nn.functional.normalize(metacarpals, dim=-1) * valid[..., None]
    rest = METACARPAL_FRAMES.to(metacarpals)[..., 1]
    return nearest_rotation(torch.einsum("bdi,dj->bij", directions, rest))


def _fill_missing(target: Tensor, valid: Tensor, rotation: Tensor, lengths: Tensor) -> Tensor:
    """Start values for missing joints: rest palm, straight between or beyond the neighbours of a digit."""
    if bool(valid.all()):
        return target
    lengths = lengths.expand(len(target), 5, 4)
    digits, valid = target[:, 1:].unflatten(1, (5, 4)), valid[:, 1:].unflatten(1, (5, 4))
    rest_metacarpal = (rotation[:, None] @ METACARPAL_FRAMES.to(target))[..., 1]
    straight = (rotation[:, None] @ DIGIT_FRAMES.to(target))[..., 1]
    chain = [torch.where(valid[:, :, :1], digits[:, :, 0], rest_metacarpal * lengths[..., :1])]
    for joint in range(1, 4):
        previous = chain[-1]
        position = previous + straight * lengths[..., joint, None]
        for later in range(3, joint, -1):  # the nearest later neighbour has the last word
            share = lengths[..., joint] / lengths[..., joint : later + 1].sum(dim=-1)
            between = torch.lerp(previous, digits[:, :, later], share[..., None])
            position = torch.where(valid[:, :, later, None], between, position)
        chain.append(torch.where(valid[:, :, joint, None], digits[:, :, joint], position))
        straight = torch.nn.functional.normalize(chain[-1] - previous, dim=-1)
    return torch.cat([target[:, :1], torch.stack(chain, dim=2).flatten(1, 2)], dim=1)


@dataclass(frozen=True)
class _State(TensorFields):
    """A pose as the solver sees it; a digit's row is (palm 2, base 3, middle 3, distal 2, lengths 4)."""

    rotation: Float[Tensor, "hand 3 3"]
    translation: Float[Tensor, "hand 3"]
    digits: Float[Tensor, "hand 5 14"]

    def __getitem__(self, index) -> "_State":
        return _State(self.rotation[index], self.translation[index], self.digits[index])


def _pose(state: _State) -> HandPose:
    joint_angles = torch.nn.functional.pad(state.digits[..., 2:10], (0, 1)).unflatten(-1, (3, 3))
    return HandPose(
        state.translation, state.rotation, state.digits[..., :2], joint_angles, state.digits[..., 10:]
    )


def _bounds(limits: JointLimits, like: Tensor) -> tuple[Tensor, Tensor]:
    limits = limits.to(like)
    lengths = like.new_tensor([_SHORTEST_BONE, torch.inf])
    lower = [limits.palm_lower, limits.joint_lower.flatten(1)[:, :8], lengths[0].expand(5, 4)]
    upper = [limits.palm_upper, limits.joint_upper.flatten(1)[:, :8], lengths[1].expand(5, 4)]
    return torch.cat(lower, dim=-1), torch.cat(upper, dim=-1)


def _closed_form(target: Tensor, rotation: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Every bone in turn as near to its joint as the limits allow; the digits' rows."""
    joints = target[:, 1:].unflatten(1, (5, 4))

    def clamp(values, start):
        stop = start + values.shape[-1]
        return values.clamp(lower[..., start:stop], upper[..., start:stop])

    def aim(frame, direction, start):
        """Flexion and abduction that turn the frame's y to the direction, clamped."""
        x, y, z = (frame.mT @ direction[..., None])[..., 0].unbind(-1)
        abduction = torch.atan2(-x, torch.hypot(y, z))
        flexion = torch.atan2(-z, y)
        # Of the equivalent angles the one nearest to the middle of the range: else a finger bent far back
        # would be taken for one bent forward, or the reverse.
        middle = (lower[..., start] + upper[..., start]) / 2
        flexion = middle + torch.remainder(flexion - middle + torch.pi, 2 * torch.pi) - torch.pi
        return clamp(torch.stack([flexion, abduction], dim=-1), start)

    def turn(frame, angles):
        return frame @ joint_rotation(torch.nn.functional.pad(angles, (0, 3 - angles.shape[-1])))

    def twist(frame, *directions, start):
        """The twist that leaves the least sideways bend, by Gauss-Newton from 0: never the far branch."""
        local = [(frame.mT @ direction[..., None])[..., 0] for direction in directions]
        angle = torch.zeros_like(local[0][..., 0])
        for _ in range(3):
            cos, sin = angle.cos(), angle.sin()
            gradient, curvature = _TWIST_PRIOR * angle, torch.full_like(angle, _TWIST_PRIOR)
            for x, _, z in (vector.unbind(-1) for vector in local):
                sideways, slope = x * cos - z * sin, -x * sin - z * cos
                gradient, curvature = gradient + sideways * slope, curvature + slope.square()
            angle = angle - gradient / curvature
        return clamp(angle[..., None], start)

    def grow(position, frame, bone):
        """The bone along the frame's y that ends nearest to its joint, and that end."""
        along = ((joints[:, :, bone] - position) * frame[..., 1]).sum(-1, keepdim=True)
        length = clamp(along, 10 + bone)
        return length, position + length * frame[..., 1]

    frame = rotation[:, None] @ METACARPAL_FRAMES.to(target)
    palm = aim(frame, joints[:, :, 0], 0)
    frame = turn(frame, palm)
    length_0, position = grow(torch.zeros_like(joints[:, :, 0]), frame, 0)

    frame = frame @ (METACARPAL_FRAMES.mT @ DIGIT_FRAMES).to(target)
    base = aim(frame, joints[:, :, 1] - position, 2)
    frame = turn(frame, base)
    bones = torch.nn.functional.normalize(joints.diff(dim=2), dim=-1)
    base_twist = twist(frame, bones[:, :, 1], bones[:, :, 2], start=4)
    frame = turn(frame, torch.nn.functional.pad(base_twist, (2, 0)))
    length_1, position = grow(position, frame, 1)

    middle = aim(frame, joints[:, :, 2] - position, 5)
    frame = turn(frame, middle)
    middle_twist = twist(frame, bones[:, :, 2], start=7)
    frame = turn(frame, torch.nn.functional.pad(middle_twist, (2, 0)))
    length_2, position = grow(position, frame, 2)

    distal = aim(frame, joints[:, :, 3] - position, 8)
    frame = turn(frame, distal)
    length_3, _ = grow(position, frame, 3)
    return torch.cat(
        [palm, base, base_twist, middle, middle_twist, distal, length_0, length_1, length_2, length_3], dim=-1
    )


def _system(state: _State, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Residuals (hand 21 3) and the digits' Jacobian (hand 5 12 20): 14 own unknowns, then 6 of the root.

    Turning joint p about an axis w through c moves p by w x (p - c); a longer bone moves it along the bone.
    """
    pose = _pose(state)
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
    reach = torch.ones(4, 4, dtype=arms.dtype, device=arms.device).tril()  # a bone moves itself and what follows
    arms = arms * reach[..., None]
    turns = torch.linalg.cross(axes[:, :, None], arms[..., None, :]).flatten(3, 4)  # hand, digit, joint, 12, 3
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


def _squared_distance(state: _State, target: Tensor, weights: Tensor) -> Tensor:
    errors = (forward_kinematics(_pose(state)).joints - target) * weights[..., None]
    return errors.square().sum(dim=(1, 2))


def _refine(
    state: _State,
    target: Tensor,
    weights: Tensor,
    lower: Tensor,
    upper: Tensor,
    num_steps: int,
    hinge_weight: float,
    enough: float = 1e-3,
) -> _State:
    """Levenberg-Marquardt within the box on squared distance plus weighted squared bends and twists.

    Hands leave the batch when they are exact or a step gains less than the share `enough`. Weights are 0 or 1.
    """
    prior = hinge_weight * target.new_tensor([0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 0, 0])
    eps = torch.finfo(target.dtype).eps
    exact = (100 * eps) ** 2  # a squared distance that is rounding alone

    def cost_of(state, target, weights):
        return _squared_distance(state, target, weights) + (prior * state.digits.square()).sum(dim=(1, 2))

    rows = (_squared_distance(state, target, weights) > exact).nonzero()[:, 0]
    result = _State(*(field.clone() for field in vars(state).values()))
    now, goal, weight, low, high = state[rows], target[rows], weights[rows], lower[rows], upper[rows]
    cost = cost_of(now, goal, weight)
    damping = torch.full_like(cost, 1e-3)
    for _ in range(num_steps):
        if len(rows) == 0:
            break
        trial = _step(now, goal, weight, low, high, damping, prior)
        trial_cost = cost_of(trial, goal, weight)
        better = trial_cost < cost  # false for a step that is not a number
        now = _State(
            torch.where(better[:, None, None], trial.rotation, now.rotation),
            torch.where(better[:, None], trial.translation, now.translation),
            torch.where(better[:, None, None], trial.digits, now.digits),
        )
        going = (trial_cost > exact) & torch.where(better, cost - trial_cost > enough * cost, damping < 10)
        cost = torch.where(better, trial_cost, cost)
        damping = (damping * torch.where(better, 0.1, 10.0)).clamp(min=10 * eps)
        result.rotation[rows], result.translation[rows], result.digits[rows] = vars(now).values()
        rows, now, goal, weight, low, high = (
            field[going] for field in (rows, now, goal, weight, low, high)
        )
        cost, damping = cost[going], damping[going]
    return result


def _polish(
    state: _State, target: Tensor, weights: Tensor, lower: Tensor, upper: Tensor, num_steps: int
) -> _State:
    """Lets go of the prior on bends where the joints can then be met exactly, and only there.

    Elsewhere a bend would wander through its range for a hundredth of a millimetre, and jump from frame to
    frame. The prior costs a reachable hand little, so only nearly met hands are tried.
    """
    old = _squared_distance(state, target, weights)
    rows = (old < _NEARLY_MET).nonzero()[:, 0]
    polished = _refine(
        state[rows], target[rows], weights[rows], lower[rows], upper[rows], num_steps, 0.0, _FAST
    )
    met = _squared_distance(polished, target[rows], weights[rows]) < _MET
    rows = rows[met]
    result = _State(*(field.clone() for field in vars(state).values()))
    result.rotation[rows], result.translation[rows], result.digits[rows] = vars(polished[met]).values()
    return result


def _step(
    now: _State, target: Tensor, weights: Tensor, low: Tensor, high: Tensor, damping: Tensor, prior: Tensor
) -> _State:
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
        """Steps of the digits and the root where held unknowns make the given moves."""
        free = (~held).to(target)
        matrix = block * (free[..., None] * free[..., None, :])
        matrix = matrix + torch.diag_embed(damping[:, None, None] + prior + held.to(target))
        pulled = ((own + (block @ moves[..., None])[..., 0]) * free)[..., None]
        coupled = coupling * free[..., None]
        factor, _ = torch.linalg.cholesky_ex(matrix)
        solved = torch.cholesky_solve(torch.cat([pulled, coupled], dim=-1), factor)
        solved_pull, solved_coupling = solved[..., :1], solved[..., 1:]
        reduced = root - (coupled.mT @ solved_coupling).sum(dim=1)
        root_pull = root_gradient + ((coupling.mT @ moves[..., None]) - coupled.mT @ solved_pull).sum(dim=1)[..., 0]
        root_step = -torch.linalg.solve_ex(reduced, root_pull)[0]
        step = -(solved_pull + solved_coupling @ root_step[:, None, :, None])[..., 0]
        return torch.where(held, moves, step), root_step

    held = (low >= high) | ((now.digits <= low) & (own > 0)) | ((now.digits >= high) & (own < 0))
    moves, root_step = solve(held, torch.zeros_like(own))
    for _ in range(_PASSES):
        # What would leave the box stops at its wall, and the others take the step that is best given that.
        stopped = torch.clamp(now.digits + moves, low, high) - now.digits
        held = held | (stopped != moves)
        moves, root_step = solve(held, torch.where(held, stopped, 0.0))
    return _State(
        axis_angle_to_matrix(root_step[:, :3]) @ now.rotation,
        now.translation + root_step[:, 3:],
        torch.clamp(now.digits + moves, low, high),
    )

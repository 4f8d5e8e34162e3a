"""Errors of hand poses, named by the protocol that they follow.

Chapter  book/foundations/metrics.md
Units    inputs in metres, results in millimetres
Frame    any, the same for both inputs; nothing is aligned unless the protocol says so
Order    joints in the library's, right hand first

The same predictions differ by a factor under different protocols, so a number is worth nothing without its
own: which joint is the root, whether scale is taken from the truth, whether rotation is aligned away, whether
a mirrored hand may pass, and what is averaged first. `PROTOCOLS` holds the ones that papers use.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.geometry.alignment import procrustes
from hands_lib.hand.kinematics import mirror
from hands_lib.hand.skeleton import JOINTS
from hands_lib.metrics.masks import checked_mask

_WRIST, _MIDDLE_BASE = JOINTS.index("wrist"), JOINTS.index("middle_1")


@dataclass(frozen=True)
class Protocol:
    """What is aligned before distances are taken, hand by hand."""

    about: str
    root: str | None = None
    """The joint that is moved onto the truth's; None: nothing is moved."""
    scale: bool = False
    """The prediction is scaled so that its wrist-to-middle-base length is the truth's."""
    procrustes: Literal["rigid", "similarity"] | None = None
    """Best motion, or motion and scale, over all valid points; instead of root and scale."""
    reflection: bool = False
    """Procrustes may also mirror the prediction."""


PROTOCOLS = {
    "absolute": Protocol("camera space, nothing aligned"),
    "wrist": Protocol("wrists aligned", root="wrist"),
    "middle base": Protocol("bases of the middle finger aligned", root="middle_1"),
    "wrist + scale": Protocol(
        "wrists and palm lengths aligned (DIR; HO-3D's scale and translation)", root="wrist", scale=True
    ),
    "middle base + scale": Protocol(
        "bases of the middle finger and palm lengths aligned (IntagHand)", root="middle_1", scale=True
    ),
    "rigid Procrustes": Protocol("best rotation and translation", procrustes="rigid"),
    "Procrustes": Protocol("best rotation, translation and scale (PA)", procrustes="similarity"),
    "Procrustes + reflection": Protocol(
        "best similarity, mirror images allowed (HO-3D's official PA)",
        procrustes="similarity",
        reflection=True,
    ),
}


def joint_errors_mm(
    predicted: Float[Tensor, "*batch joint 3"], target: Float[Tensor, "*batch joint 3"]
) -> Float[Tensor, "*batch joint"]:
    """Euclidean distance of every joint, millimetres, without any alignment."""
    return 1000 * torch.linalg.vector_norm(predicted - target, dim=-1)


def mpjpe_mm(
    predicted: Float[Tensor, "*batch joint 3"],
    target: Float[Tensor, "*batch joint 3"],
    valid: Bool[Tensor, "*batch joint"] | None = None,
) -> Float[Tensor, ""]:
    """Mean per-joint position error over all valid joints of the batch, millimetres, without alignment.

    Protocol: one mean over joints and hands together (InterHand2.6M's own evaluation is another number, see
    `interhand_mpjpe_mm`). Raises ValueError if no joint is valid.
    """
    errors = joint_errors_mm(predicted, target)
    if valid is None:
        return errors.mean()
    if not checked_mask("valid", valid, errors.shape).any():
        raise ValueError("mpjpe_mm: no joint is valid, so there is nothing to average")
    return errors[valid].mean()


def aligned(
    predicted: Float[Tensor, "*batch 21 3"],
    target: Float[Tensor, "*batch 21 3"],
    protocol: Protocol,
    valid: Bool[Tensor, "*batch 21"] | None = None,
) -> tuple[Float[Tensor, "*batch 21 3"], Bool[Tensor, "*batch 21"]]:
    """The predicted joints as `protocol` compares them with the target, and which of them count.

    A hand whose root (or, for the scale, wrist or base of the middle finger) is not valid cannot be aligned:
    none of its joints counts; nor do those of a hand with fewer than three valid joints under Procrustes.
    Raises ValueError where a scale is asked of a predicted hand whose palm has no length.
    """
    if valid is None:
        valid = torch.ones(target.shape[:-1], dtype=torch.bool, device=target.device)
    checked_mask("valid", valid, target.shape[:-1])
    if protocol.procrustes is not None:
        counts = valid & (valid.sum(dim=-1, keepdim=True) >= 3)
        return _procrustes(predicted, target, protocol, counts), counts
    counts = valid
    if protocol.scale:
        counts = counts & valid[..., [_WRIST]] & valid[..., [_MIDDLE_BASE]]
        predicted = predicted * _palm_ratio(predicted, target, counts)
    if protocol.root is not None:
        root = JOINTS.index(protocol.root)
        counts = counts & valid[..., [root]]
        predicted = predicted + (target - predicted)[..., [root], :]
    return predicted, counts


def pose_error_mm(
    predicted: Float[Tensor, "*batch 21 3"],
    target: Float[Tensor, "*batch 21 3"],
    protocol: Protocol,
    valid: Bool[Tensor, "*batch 21"] | None = None,
) -> Float[Tensor, ""]:
    """MPJPE under a protocol: one mean over all joints that count. Raises ValueError if none does."""
    moved, counts = aligned(predicted, target, protocol, valid)
    return mpjpe_mm(moved, target, counts)


def vertex_error_mm(
    predicted: Float[Tensor, "*batch vertex 3"],
    target: Float[Tensor, "*batch vertex 3"],
    protocol: Protocol,
    predicted_joints: Float[Tensor, "*batch 21 3"] | None = None,
    target_joints: Float[Tensor, "*batch 21 3"] | None = None,
) -> Float[Tensor, ""]:
    """MPVPE under a protocol: root and palm length are those of the joints, Procrustes is over the vertices.

    Raises ValueError where the protocol needs joints and none are given.
    """
    if protocol.procrustes is not None:
        counts = torch.ones(target.shape[:-1], dtype=torch.bool, device=target.device)
        return mpjpe_mm(_procrustes(predicted, target, protocol, counts), target)
    if protocol.root is None and not protocol.scale:
        return mpjpe_mm(predicted, target)
    if predicted_joints is None or target_joints is None:
        raise ValueError("vertex_error_mm: this protocol aligns joints: give predicted and target joints")
    if protocol.scale:
        everywhere = torch.ones(target_joints.shape[:-1], dtype=torch.bool, device=target.device)
        ratio = _palm_ratio(predicted_joints, target_joints, everywhere)
        predicted, predicted_joints = predicted * ratio, predicted_joints * ratio
    if protocol.root is not None:
        root = JOINTS.index(protocol.root)
        predicted = predicted + (target_joints - predicted_joints)[..., [root], :]
    return mpjpe_mm(predicted, target)


def interhand_mpjpe_mm(
    predicted: Float[Tensor, "sample 2 21 3"],
    target: Float[Tensor, "sample 2 21 3"],
    valid: Bool[Tensor, "sample 2 21"],
    interacting: Bool[Tensor, " sample"],
    group: str = "all",
) -> Float[Tensor, ""]:
    """MPJPE as InterHand2.6M's official evaluation computes it.

    Wrists are aligned hand by hand; distances are averaged for each of the 42 joints over the samples where
    it is valid, then over the 42 joints. The two wrists are among them although their error is zero: the
    number is 40/42 of what the other joints say. `valid` are the flags of the image
    (`InterHandFrame.image_joint_valid`); `group` is "single", "interacting" or "all".

    Raises ValueError where a joint is valid in no sample of the group; the official program fails there too.
    """
    checked_mask("valid", valid, target.shape[:-1])
    checked_mask("interacting", interacting, target.shape[:1])
    if group not in ("single", "interacting", "all"):
        raise ValueError(f"unknown group {group!r}; there are single, interacting, all")
    member = {"single": ~interacting, "interacting": interacting, "all": torch.ones_like(interacting)}[group]
    counted = valid & member[:, None, None]
    number = counted.sum(dim=0)
    if not number.all():
        hand, joint = (number == 0).nonzero()[0].tolist()
        raise ValueError(
            f"InterHand2.6M's MPJPE is undefined for the group {group!r}: the {('right', 'left')[hand]} "
            f"hand's {JOINTS[joint]} is valid in none of its {int(member.sum())} samples"
        )
    errors = joint_errors_mm(predicted - predicted[..., [_WRIST], :], target - target[..., [_WRIST], :])
    return (torch.where(counted, errors, 0).sum(dim=0) / number).mean()


def mrrpe_mm(
    predicted: Float[Tensor, "sample 2 21 3"],
    target: Float[Tensor, "sample 2 21 3"],
    valid: Bool[Tensor, "sample 2 21"],
    root: str = "wrist",
    interacting: Bool[Tensor, " sample"] | None = None,
) -> Float[Tensor, ""]:
    """Mean relative-root position error: how far the left root is from its place relative to the right one.

    Over the samples in which both roots are valid; InterHand2.6M's root is the wrist, IntagHand's middle_1.

    interacting  the samples of two hands that belong together, which alone count in InterHand2.6M's official
                 evaluation; None where all are (a sample of a single hand may have joints of the other one)

    Raises ValueError if there are none.
    """
    joint = JOINTS.index(root)
    both = checked_mask("valid", valid, target.shape[:-1])[:, :, joint].all(dim=1)
    if interacting is not None:
        both = both & checked_mask("interacting", interacting, target.shape[:1])
    if not both.any():
        raise ValueError(f"mrrpe_mm: both hands' {root} is valid in no sample that counts")
    offset = (predicted - target)[both][:, :, joint]
    return 1000 * torch.linalg.vector_norm(offset[:, 1] - offset[:, 0], dim=-1).mean()


def pck_auc(
    errors_mm: Float[Tensor, " error"], longest_mm: float = 50.0, steps: int = 100
) -> Float[Tensor, ""]:
    """Area under the share of errors below a threshold, thresholds from 0 to `longest_mm`: 1 is perfect.

    Trapezoidal rule over `steps` thresholds, as the evaluations of HO-3D and DexYCB do. Those take the area
    of each key point and average: `keypoint_auc`, which is the same only where every key point is valid
    equally often.
    """
    thresholds = torch.linspace(0, longest_mm, steps, dtype=errors_mm.dtype, device=errors_mm.device)
    share = (errors_mm[:, None] <= thresholds).to(errors_mm.dtype).mean(dim=0)
    return torch.trapezoid(share, thresholds) / longest_mm


def keypoint_auc(
    errors_mm: Float[Tensor, "sample joint"],
    valid: Bool[Tensor, "sample joint"],
    longest_mm: float = 50.0,
    steps: int = 100,
) -> Float[Tensor, ""]:
    """`pck_auc` of each key point over the samples where it is valid, averaged over the key points, as the
    official evaluations of FreiHAND, HO-3D and DexYCB do. A key point that is never valid does not count.

    Raises ValueError if none is ever valid.
    """
    checked_mask("valid", valid, errors_mm.shape)
    seen = valid.any(dim=0).nonzero().flatten().tolist()
    if not seen:
        raise ValueError("keypoint_auc: no key point is valid, so there is nothing to average")
    areas = [pck_auc(errors_mm[valid[:, joint], joint], longest_mm, steps) for joint in seen]
    return torch.stack(areas).mean()


def _palm_ratio(predicted: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """Target's over predicted palm length, (*batch, 1, 1); 1 for hands that do not count."""
    ours, theirs = (
        torch.linalg.vector_norm(joints[..., _MIDDLE_BASE, :] - joints[..., _WRIST, :], dim=-1)
        for joints in (predicted, target)
    )
    counted = counts.any(dim=-1)
    if bool((counted & (ours == 0)).any()):
        raise ValueError("a predicted hand has wrist and base of the middle finger in one place: no scale")
    ratio = torch.where(counted, theirs / torch.where(counted, ours, 1), 1)
    return ratio[..., None, None]


def _procrustes(predicted: Tensor, target: Tensor, protocol: Protocol, counts: Tensor) -> Tensor:
    # A point that does not count may hold anything, also NaN, which no weight takes out of a sum. A hand that
    # does not count has points of no meaning instead, so that none of the batch is undefined.
    hand = counts.any(dim=-1, keepdim=True)
    weights = torch.where(hand, counts, True).to(predicted)
    filler = torch.eye(3).to(predicted).repeat(predicted.shape[-2], 1)[: predicted.shape[-2]]
    ours, theirs = (
        torch.where(hand[..., None], torch.where(counts[..., None], points, 0), filler)
        for points in (predicted, target)
    )
    with_scale = protocol.procrustes == "similarity"
    moved = procrustes(ours, theirs, weights, with_scale).transform(predicted)
    if not protocol.reflection:
        return moved
    # The best improper motion is a mirror and the best proper one after it.
    other = procrustes(mirror(ours), theirs, weights, with_scale).transform(mirror(predicted))
    residuals = [
        torch.where(counts, (p - target).square().sum(dim=-1), 0).sum(dim=-1) for p in (moved, other)
    ]
    return torch.where((residuals[1] < residuals[0])[..., None, None], other, moved)

"""The same predictions under every protocol that a paper has printed errors by.

Units, frames and order: see the room's header. Errors are millimetres.
"""

import torch

from hands_lib.methods.refinement.hands import Estimate
from hands_lib.methods.refinement.losses import Targets
from hands_lib.metrics.hand_pose import (
    PROTOCOLS,
    interhand_mpjpe_mm,
    joint_errors_mm,
    mrrpe_mm,
    pose_error_mm,
    vertex_error_mm,
)

COLUMNS = {
    "mpjpe_wrist": "wrist",
    "mpjpe_middle_base": "middle base",
    "mpjpe_wrist_scale": "wrist + scale",
    "mpjpe_middle_base_scale": "middle base + scale",
    "mpjpe_rigid": "rigid Procrustes",
    "mpjpe_procrustes": "Procrustes",
}
"""Of joints, by the name of the protocol in `metrics.hand_pose.PROTOCOLS`."""
VERTEX_COLUMNS = {"mpvpe_wrist_scale": "wrist + scale", "mpvpe_middle_base_scale": "middle base + scale"}


def errors_by_protocol(found: Estimate, target: Targets) -> dict[str, float]:
    """Column -> error, mm, as lines of jobs have them.

    mpjpe_...        `COLUMNS`; mpjpe_interhand is InterHand2.6M's official mean (its wrists count as joints)
    mpjpe_pair       both hands in one frame, the middle between their wrists as origin: nothing is aligned
                     hand by hand, so the offset counts (Part II's)
    mpvpe_...        `VERTEX_COLUMNS`; left out for estimates without a surface
    mrrpe_...        of the left root relative to the right one, by which joint is the root
    """
    errors = {
        name: pose_error_mm(found.joints, target.joints, PROTOCOLS[protocol])
        for name, protocol in COLUMNS.items()
    }
    ours, theirs = (_in_one_frame(one.joints, one.offset) for one in (found, target))
    valid = torch.ones(ours.shape[:-1], dtype=torch.bool, device=ours.device)
    errors["mpjpe_interhand"] = interhand_mpjpe_mm(ours, theirs, valid, valid[:, 0, 0])
    errors["mpjpe_pair"] = joint_errors_mm(
        *(joints - joints[:, :, :1].mean(dim=1, keepdim=True) for joints in (ours, theirs))
    ).mean()
    if found.vertices.shape[2]:
        for name, protocol in VERTEX_COLUMNS.items():
            errors[name] = vertex_error_mm(
                found.vertices, target.vertices, PROTOCOLS[protocol], found.joints, target.joints
            )
    errors["mrrpe_wrist"] = mrrpe_mm(ours, theirs, valid)
    errors["mrrpe_middle_base"] = mrrpe_mm(ours, theirs, valid, root="middle_1")
    return {name: error.item() for name, error in errors.items()}


def _in_one_frame(joints: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Joints (batch, 2, 21, 3) about their own wrists, with the left hand where the offset puts it."""
    return joints - torch.stack([torch.zeros_like(offset), offset], dim=1)[:, :, None]

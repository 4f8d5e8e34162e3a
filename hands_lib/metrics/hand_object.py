"""Hands and held objects scored as the official programs of HO-3D and DexYCB score them.

Source  shreyashampali/ho3d, eval.py (after FreiHAND's), and NVlabs/dex-ycb-toolkit, hpe_eval.py: what they
        compute, not their code; Xiang et al., "PoseCNN", RSS 2018, for ADD and ADD-S
Units   inputs in metres; HO-3D's scores in centimetres and DexYCB's in millimetres, as the programs print
        them; everything else in millimetres
Frame   any, the same for both inputs
Order   joints in the library's

Everything is computed in float64. A score is worth nothing without its alignment: `HO3D_SCORES` and
`DEXYCB_SCORES` say it for every name.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hands_lib.geometry.alignment import nearest_rotation
from hands_lib.hand.skeleton import JOINTS
from hands_lib.metrics.masks import checked_mask

HO3D_SCORES = {
    "xyz_mean3d": "joints, cm, nothing aligned",
    "xyz_auc3d": "joints, area under PCK to 5 cm, nothing aligned",
    "xyz_procrustes_al_mean3d": "joints, cm, best similarity, mirror images allowed",
    "xyz_procrustes_al_auc3d": "joints, area under PCK to 5 cm, best similarity, mirror images allowed",
    "xyz_scale_trans_al_mean3d": "joints, cm, palm lengths and wrists aligned",
    "xyz_scale_trans_al_auc3d": "joints, area under PCK to 5 cm, palm lengths and wrists aligned",
    "mesh_mean3d": "vertices, cm, nothing aligned; -1 where the surface is not MANO's",
    "mesh_auc3d": "vertices, area under PCK to 5 cm, nothing aligned; -1 where the surface is not MANO's",
    "mesh_al_mean3d": "vertices, cm, best similarity of the vertices, mirror images allowed; -1 likewise",
    "mesh_al_auc3d": "vertices, area under PCK to 5 cm, aligned like mesh_al_mean3d; -1 likewise",
    "f_score_5": "F-score of the vertices at 5 mm, nothing aligned",
    "f_al_score_5": "F-score of the vertices at 5 mm, best similarity",
    "f_score_15": "F-score of the vertices at 15 mm, nothing aligned",
    "f_al_score_15": "F-score of the vertices at 15 mm, best similarity",
}
"""The names in HO-3D's `scores.txt`, and the protocol of each."""
DEXYCB_SCORES = {
    "absolute": "camera space, nothing aligned",
    "root-relative": "wrists aligned",
    "procrustes": "best similarity, mirror images allowed",
}
"""The rows of DexYCB's evaluation of hands."""
_WRIST, _MIDDLE_BASE = JOINTS.index("wrist"), JOINTS.index("middle_1")
_LONGEST_CM, _STEPS = 5.0, 100  # of the curves
_F_MM = (5, 15)
_NORM_FLOOR = 1e-8  # what the official programs add to a norm before they divide by it
_AT_ONCE = 1 << 21  # distances between points; more do not fit into a processor's cache


def ho3d_scores(
    predicted_joints: Float[Tensor, "predicted_frame 21 3"],
    target_joints: Float[Tensor, "frame 21 3"],
    predicted_vertices: Float[Tensor, "predicted_frame vertex 3"],
    target_vertices: Float[Tensor, "frame target_vertex 3"],
    *,
    frames: int | None = None,
    reflection: bool = True,
) -> dict[str, float]:
    """All scores of HO-3D's official evaluation, under their names in `scores.txt` (HO3D_SCORES).

    frames      how many there must be: the official program wants all of a version
                (`data.ho3d.FRAMES`), a part of the data its own number. None for any
    reflection  whether Procrustes may mirror a hand, as it may officially

    A surface of another number of vertices than the target's has no errors of vertices, and its F-scores are
    aligned by the motion of the joints. The official program forgets to divide that scale by the size of
    the predicted hand, so that such a surface shrinks; so it does here.
    Raises ValueError for other numbers of frames and for what is not finite.
    """
    joints, truth, vertices, surface = (
        points.double() for points in (predicted_joints, target_joints, predicted_vertices, target_vertices)
    )
    counts = {"joints": len(joints), "true joints": len(truth)}
    counts |= {"vertices": len(vertices), "true vertices": len(surface)}
    expected = len(truth) if frames is None else frames
    for name, count in counts.items():
        if count != expected or count == 0:
            raise ValueError(f"ho3d_scores: {name} of {count} frames, where {expected or 'some'} belong")
    for name, points in zip(counts, (joints, truth, vertices, surface), strict=True):
        if not points.isfinite().all():
            raise ValueError(f"ho3d_scores: {name} hold NaN or infinity: give every frame a hand")
    same_surface = vertices.shape[1] == surface.shape[1]
    if same_surface:
        moved = similarity_aligned(vertices, surface, reflection)
    else:
        moved = _moved_like_joints(vertices, joints, truth, reflection)
    errors = {
        "xyz": _errors_cm(joints, truth),
        "xyz_procrustes_al": _errors_cm(similarity_aligned(joints, truth, reflection), truth),
        "xyz_scale_trans_al": _errors_cm(palm_aligned(joints, truth), truth),
        "mesh": _errors_cm(vertices, surface) if same_surface else None,
        "mesh_al": _errors_cm(moved, surface) if same_surface else None,
    }
    scores = {}
    for name, error in errors.items():
        scores[f"{name}_mean3d"] = -1.0 if error is None else error.mean(dim=0).mean().item()
        scores[f"{name}_auc3d"] = -1.0 if error is None else pck_area(error, _LONGEST_CM)
    raw, aligned = (f_scores(points, surface, _F_MM) for points in (vertices, moved))
    for column, threshold in enumerate(_F_MM):
        scores[f"f_score_{threshold}"] = raw[:, column].mean().item()
        scores[f"f_al_score_{threshold}"] = aligned[:, column].mean().item()
    return scores


def scores_text(scores: dict[str, float]) -> str:
    """The lines of HO-3D's `scores.txt`, in its order and with its six decimals."""
    return "".join(f"{name}: {scores[name]:f}\n" for name in HO3D_SCORES)


def dexycb_scores(
    predicted: Float[Tensor, "frame 21 3"],
    target: Float[Tensor, "frame 21 3"],
    valid: Bool[Tensor, " frame"],
    *,
    reflection: bool = True,
) -> dict[str, dict[str, float]]:
    """DexYCB's official evaluation of hands: for each alignment (DEXYCB_SCORES) `mpjpe`, mm, and `auc` to
    50 mm.

    valid  photographs whose hand has a label; the others do not count, and may hold anything

    Float32 targets become millimetres in float32, as officially. Raises ValueError where no hand has a label,
    and for predictions that are not finite where one has.
    """
    checked_mask("valid", valid, target.shape[:1])
    if not valid.any():
        raise ValueError("dexycb_scores: no hand has a label, so there is nothing to average")
    truth, joints = (1000 * target[valid]).double(), 1000 * predicted[valid].double()
    if not joints.isfinite().all():
        raise ValueError("dexycb_scores: a hand with a label is predicted as NaN or infinity: predict all")
    pairs = {
        "absolute": (joints, truth),
        "root-relative": (joints - joints[:, [_WRIST]], truth - truth[:, [_WRIST]]),
        "procrustes": (similarity_aligned(joints, truth, reflection), truth),
    }
    errors = {name: torch.linalg.vector_norm(ours - theirs, dim=-1) for name, (ours, theirs) in pairs.items()}
    return {
        name: {"mpjpe": error.mean(dim=0).mean().item(), "auc": pck_area(error, 10 * _LONGEST_CM)}
        for name, error in errors.items()
    }


def similarity_aligned(
    predicted: Float[Tensor, "frame point 3"],
    target: Float[Tensor, "frame point 3"],
    reflection: bool = True,
) -> Float[Tensor, "frame point 3"]:
    """The prediction after the similarity that the official programs fit to all points of a frame.

    reflection  whether it may mirror; without, it is the best proper one (Umeyama 1991)

    Both norms are enlarged by 1e-8 (in the unit of the points) before they divide, as officially: points in
    one place come out at the target's mean, and a perfect fit of a hand in metres is off by about 1e-9 m.
    """
    rotation, scale = _similarity(predicted, target, reflection)
    moved = _centred(predicted) @ rotation.mT * scale[:, None, None]
    return moved + target.mean(dim=-2, keepdim=True)


def palm_aligned(
    predicted: Float[Tensor, "frame 21 3"], target: Float[Tensor, "frame 21 3"]
) -> Float[Tensor, "frame 21 3"]:
    """Scaled so that wrist to base of the middle finger is as long as the target's, wrist on wrist.

    A hand whose palm has no length is scaled by the target's length itself, as officially.
    """
    ours, theirs = (
        torch.linalg.vector_norm(points[:, _MIDDLE_BASE] - points[:, _WRIST], dim=-1)[:, None, None]
        for points in (predicted, target)
    )
    scaled = predicted / torch.where(ours > 0, ours, 1) * theirs
    return scaled - scaled[:, [_WRIST]] + target[:, [_WRIST]]


def f_scores(
    predicted: Float[Tensor, "frame vertex 3"],
    target: Float[Tensor, "frame target_vertex 3"],
    thresholds_mm: Sequence[float | int],
) -> Float[Tensor, "frame threshold"]:
    """Harmonic mean of precision and recall of each frame's points: the share of predicted ones that lie
    nearer than a threshold to a target, and the share of target ones nearer than that to a prediction.

    0 where both are 0.
    """
    threshold = torch.tensor(thresholds_mm, dtype=torch.float64, device=target.device) / 1000
    shares = []
    for ours, theirs in _chunks(predicted, target):
        both = (_to_nearest(ours, theirs), _to_nearest(theirs, ours))
        shares.append(torch.stack([(d[..., None] < threshold).double().mean(dim=1) for d in both], dim=-1))
    precision, recall = torch.cat(shares).unbind(dim=-1)
    total = precision + recall
    return torch.where(total > 0, 2 * precision * recall / torch.where(total > 0, total, 1), 0)


def pck_area(errors: Float[Tensor, "frame keypoint"], longest: float, steps: int = _STEPS) -> float:
    """Area under the share of errors that are at most a threshold, 1 for perfect; every key point counts in
    every frame, so that the mean of the key points' areas is that of all errors.

    longest  the last of `steps` equal thresholds from 0, in the unit of the errors
    """
    thresholds = torch.from_numpy(np.linspace(0, longest, steps)).to(errors)
    first = torch.bucketize(
        errors.contiguous(), thresholds
    )  # the first threshold that an error does not exceed
    counts = torch.bincount(first.flatten(), minlength=steps + 1)[:steps].cumsum(dim=0)
    return (torch.trapezoid(counts.to(errors) / errors.numel(), thresholds) / longest).item()


# --- objects ---------------------------------------------------------------------------------------------


def centre_error_mm(
    predicted_translation: Float[Tensor, "frame 3"], target_translation: Float[Tensor, "frame 3"]
) -> Float[Tensor, " frame"]:
    """Distance of the object's origin (OCE). A model's origin need not be its middle."""
    return 1000 * torch.linalg.vector_norm(predicted_translation - target_translation, dim=-1)


def add_mm(
    points: Float[Tensor, "point 3"],
    predicted_rotation: Float[Tensor, "frame 3 3"],
    predicted_translation: Float[Tensor, "frame 3"],
    target_rotation: Float[Tensor, "frame 3 3"],
    target_translation: Float[Tensor, "frame 3"],
) -> Float[Tensor, " frame"]:
    """ADD: mean distance between each point of the model under the two poses.

    With the eight corners of the model's box it is the mean corner error (MCE).
    """
    ours, theirs = (
        _placed(points, rotation, translation)
        for rotation, translation in (
            (predicted_rotation, predicted_translation),
            (target_rotation, target_translation),
        )
    )
    return 1000 * torch.linalg.vector_norm(ours - theirs, dim=-1).mean(dim=-1)


def add_s_mm(
    points: Float[Tensor, "point 3"],
    predicted_rotation: Float[Tensor, "frame 3 3"],
    predicted_translation: Float[Tensor, "frame 3"],
    target_rotation: Float[Tensor, "frame 3 3"],
    target_translation: Float[Tensor, "frame 3"],
) -> Float[Tensor, " frame"]:
    """ADD-S: mean distance of the model's points under the predicted pose to the nearest one under the true.

    So HOISDF measures it, and so the name "closest point distance" is read here. PoseCNN looks from the true
    pose to the nearest point of the predicted one: exchange the two poses for that.
    """
    ours = _placed(points, predicted_rotation, predicted_translation)
    theirs = _placed(points, target_rotation, target_translation)
    means = [_to_nearest(a, b).mean(dim=1) for a, b in _chunks(ours, theirs)]
    return 1000 * torch.cat(means) if means else ours.new_zeros(0)


def box_diagonal_mm(points: Float[Tensor, "point 3"]) -> Float[Tensor, ""]:
    """The diagonal of the model's box along its axes, which HFL-Net takes for its diameter: ADD-0.1D is the
    share of frames whose `add_mm` (of symmetric objects `add_s_mm`) is below a tenth of it."""
    return 1000 * torch.linalg.vector_norm(points.amax(dim=0) - points.amin(dim=0))


# --- parts -----------------------------------------------------------------------------------------------


def _errors_cm(predicted: Tensor, target: Tensor) -> Tensor:
    return 100 * torch.linalg.vector_norm(predicted - target, dim=-1)


def _centred(points: Tensor) -> Tensor:
    return points - points.mean(dim=-2, keepdim=True)


def _similarity(predicted: Tensor, target: Tensor, reflection: bool) -> tuple[Tensor, Tensor]:
    """Rotation (or rotation and mirror image) and scale of the official alignment, frame by frame."""
    ours, theirs = _centred(predicted), _centred(target)
    covariance = theirs.mT @ ours
    if reflection:
        left, _, right_t = torch.linalg.svd(covariance)
        rotation = left @ right_t
    else:
        rotation = nearest_rotation(covariance)
    norm = torch.linalg.vector_norm(ours, dim=(-2, -1)) + _NORM_FLOOR
    return rotation, (rotation * covariance).sum(dim=(-2, -1)) / norm.square()


def _moved_like_joints(vertices: Tensor, joints: Tensor, truth: Tensor, reflection: bool) -> Tensor:
    """Vertices by the joints' motion as the official program applies it: about the vertices' own mean, and
    with a scale that lacks the division by the predicted joints' norm."""
    rotation, scale = _similarity(joints, truth, reflection)
    norm = torch.linalg.vector_norm(_centred(joints), dim=(-2, -1)) + _NORM_FLOOR
    shift = truth.mean(dim=-2, keepdim=True) - joints.mean(dim=-2, keepdim=True)
    moved = _centred(vertices) @ rotation.mT * (scale * norm)[:, None, None]
    return moved + shift + vertices.mean(dim=-2, keepdim=True)


def _placed(points: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    return points @ rotation.mT + translation[:, None]


def _to_nearest(ours: Tensor, theirs: Tensor) -> Tensor:
    """Distance of each of our points to the nearest of theirs, frame by frame, float64.

    Products of matrices find which one is the nearest, in half of the time that distances need; they would
    lose half of a small distance's digits, so that one is measured by itself.
    """
    ours, theirs = ours.double(), theirs.double()
    centre = theirs.mean(dim=1, keepdim=True)
    near, far = ours - centre, theirs - centre
    place = torch.baddbmm(far.square().sum(dim=-1)[:, None], near, far.mT, alpha=-2).argmin(dim=2)
    nearest = theirs.gather(1, place[..., None].expand(-1, -1, 3))
    return torch.linalg.vector_norm(ours - nearest, dim=-1)


def _chunks(ours: Tensor, theirs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Frames in parts whose distances fit into memory."""
    size = max(1, _AT_ONCE // (ours.shape[1] * theirs.shape[1]))
    return list(zip(ours.split(size), theirs.split(size), strict=True))

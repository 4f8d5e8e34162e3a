import subprocess
import sys

import pytest
import torch

from hands_lib.metrics.masks import checked_mask


def test_a_mask_is_boolean_and_has_its_shape():
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert checked_mask("valid", mask, (2, 3)) is mask
    with pytest.raises(ValueError, match=r"valid is of type torch.int64: a mask is boolean.*valid.bool\(\)"):
        checked_mask("valid", mask.long(), (2, 3))
    with pytest.raises(ValueError, match=r"valid has shape \(2, 3\), where \(3, 2\) belongs"):
        checked_mask("valid", mask, (3, 2))


# Without the types that the tests check at every call: as people use the library.
_EVERY_METRIC = """
import torch
from hands_lib.metrics.hand_pose import *
from hands_lib.metrics.hand_pose import PROTOCOLS
from hands_lib.metrics.image import crop, psnr
points = torch.rand(4, 2, 21, 3)
flags, two, picture = torch.ones(4, 2, 21).long(), torch.ones(4).bool(), torch.rand(9, 9, 3)
calls = {
    "mpjpe": lambda: mpjpe_mm(points, points + 1, flags),
    "interhand": lambda: interhand_mpjpe_mm(points, points + 1, flags, two),
    "interacting": lambda: interhand_mpjpe_mm(points, points + 1, flags.bool(), two.long()),
    "mrrpe": lambda: mrrpe_mm(points, points + 1, flags),
    "mrrpe, interacting": lambda: mrrpe_mm(points, points + 1, flags.bool(), interacting=two.long()),
    "auc": lambda: keypoint_auc(points[:, 0, :, 0], flags[:, 0]),
    "psnr": lambda: psnr(picture, picture + 1, torch.ones(9, 9).long()),
    "crop": lambda: crop(picture, torch.ones(9, 9).long()),
    **{name: lambda p=p: pose_error_mm(points, points + 1, p, flags) for name, p in PROTOCOLS.items()},
}
for name, call in calls.items():
    try:
        print(name, "took whole numbers for a mask:", float(call()))
    except ValueError as error:
        assert "a mask is boolean" in str(error), (name, error)
"""


def test_no_metric_takes_whole_numbers_for_a_mask():
    done = subprocess.run([sys.executable, "-c", _EVERY_METRIC], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]

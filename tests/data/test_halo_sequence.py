import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hands_lib.data.errors import DataError, MissingData
from hands_lib.data.generated_capture import skeleton_sequence
from hands_lib.data.halo_sequence import FILE_NAME, read_halo_sequence
from hands_lib.hand.skeleton import reorder


def test_a_sequence_comes_back_in_the_library_order(tmp_path):
    skeletons = skeleton_sequence(6)
    np.save(tmp_path / FILE_NAME, reorder(skeletons, "hands", "halo").numpy())
    assert torch.equal(read_halo_sequence(tmp_path), skeletons)
    assert torch.equal(read_halo_sequence(tmp_path / FILE_NAME), skeletons)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 20, 3), np.float32), r"shape \(5, 20, 3\)"),
        (np.zeros((0, 21, 3), np.float32), r"shape \(0, 21, 3\)"),
        (np.zeros((21, 3), np.float32), r"shape \(21, 3\)"),
        (np.zeros((5, 21, 3), np.int64), "floating-point"),
        (np.full((5, 21, 3), 1e39), "frame 0 holds NaN or infinity"),  # infinity in single precision
        (np.array([{}], dtype=object), "holds objects, where numbers"),
        (np.where(np.arange(5)[:, None, None] == 3, np.nan, np.zeros((5, 21, 3))), "frame 3 holds NaN"),
        (np.where(np.arange(5)[:, None, None] > 3, np.inf, np.zeros((5, 21, 3))), "frame 4 holds NaN or inf"),
    ],
    ids=["joints", "frames", "flat", "integers", "absurd", "objects", "nan", "inf"],
)
def test_a_wrong_array_is_one_error_that_names_the_file(tmp_path, array, message):
    np.save(tmp_path / FILE_NAME, array)
    with pytest.raises(DataError, match=message) as caught:
        read_halo_sequence(tmp_path)
    assert str(tmp_path / FILE_NAME) in str(caught.value)


@pytest.mark.parametrize("kept", [0, 5, 100, 500])
def test_a_broken_file_is_one_error(tmp_path, kept):
    path = tmp_path / FILE_NAME
    np.save(path, np.zeros((5, 21, 3), np.float32))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"not a whole \.npy file|declares shape \(5, 21, 3\), but its data"):
        read_halo_sequence(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingData, match="keypoints.npy is missing"):
        read_halo_sequence(tmp_path)


# The published file, where this machine has it, next to the generated sequence that stands in for it.
_SAMPLE = Path(os.environ.get("HANDS_DATA", "") or "nowhere", "halo_skeleton_sequence")
SEQUENCES = {"generated": lambda: skeleton_sequence()} | (
    {"halo": lambda: read_halo_sequence(_SAMPLE)} if _SAMPLE.is_dir() else {}
)


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_are_a_moving_right_hand_of_human_size(name):
    joints = SEQUENCES[name]()
    assert len(joints) >= 60
    assert joints[:, 0].abs().max() < 1e-6  # the wrist is the origin
    palm = joints[:, 9].norm(dim=-1)  # wrist to the middle finger's base
    assert ((palm > 0.06) & (palm < 0.12)).all()
    assert joints.std(dim=0).amax() > 0.01

"""A real moving hand as bare skeletons: the sample sequence that HALO's authors publish with their code.

Source   Karunratanakul et al., "A Skeleton-Driven Neural Occupancy Representation for Articulated Hands"
Chapter  book/foundations/real_captures.md
Units    metres
Frame    wrist at the origin of every frame
Order    the library's; on disk the order "halo"
"""

import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hands_lib.data.errors import DataError, MissingData
from hands_lib.hand.skeleton import NUM_JOINTS, reorder
from hands_lib.plain_files import ContentError, read_npy, read_plain

FILE_NAME = "keypoints.npy"
_LARGEST = 64 << 20  # bytes: a quarter of a million frames


def read_halo_sequence(root: str | Path) -> Float[Tensor, "frame 21 3"]:
    """The skeletons of one right hand, frame by frame. `root` is the folder of `keypoints.npy`, or that file.

    Raises MissingData where it is not there, DataError where it is not finite (n, 21, 3) numbers.
    """
    path = Path(root)
    path = path / FILE_NAME if os.path.isdir(path) else path
    try:
        array = read_npy(read_plain(path, _LARGEST))
    except FileNotFoundError:
        raise MissingData(
            f"{path} is missing; `hands data check halo_skeleton_sequence` says where to get it"
        ) from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read ({error.strerror}): look at its name") from None
    except ContentError as error:
        raise DataError(f"{path}: {error}") from None
    if array.dtype.kind != "f":
        raise DataError(f"{path} does not hold one array of floating-point numbers: get it again")
    if array.ndim != 3 or array.shape[1:] != (NUM_JOINTS, 3) or not len(array):
        raise DataError(f"{path} has shape {array.shape}, where (frames, {NUM_JOINTS}, 3) belongs")
    with np.errstate(over="ignore", invalid="ignore"):
        single = array.astype(np.float32)
    # Asked of float32: 1e39 becomes infinity there.
    if bad := np.argwhere(~np.isfinite(single).all(axis=(1, 2))).ravel().tolist():
        raise DataError(
            f"{path}: frame {bad[0]} holds NaN or infinity ({len(bad)} such frames): get the file again"
        )
    return reorder(torch.from_numpy(single), "halo", "hands")

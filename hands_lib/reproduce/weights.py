"""Files of trained weights: half precision, named after their job and their hash.

A job writes them to `runs/weights/<slug>/`, whatever their size. `collect` puts those of results into
`book/results/<slug>/weights/`, which git keeps, where they are at most 1 MB, and 12 MB in all. The line of
the job has their hash, so that larger ones, of a network trained on a GPU, are told from any other.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hands_lib.plain_files import cut, read_plain
from hands_lib.reproduce.jobs import SMOKE, Job, JobLine, Weights, file_words
from hands_lib.reproduce.project import ProjectError, replacing

if TYPE_CHECKING:
    from torch import Tensor

FILE_LIMIT = 2**20  # bytes of one file in the repository
ALL_LIMIT = 12 * 2**20  # bytes of all of them
LARGEST = 2**32  # bytes of one file that is read
LONGEST_HEADER = 2**20  # bytes of a file's list of tensors: of 10,000 of them
LARGE = 1000  # numbers of a tensor; smaller ones, such as running means, keep their precision


def halved(weights: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Large floating-point tensors in 16 bits; `load_state_dict` turns them back."""
    import torch

    def half(tensor: "Tensor") -> "Tensor":
        tensor = tensor.detach().cpu().contiguous()
        return tensor.half() if tensor.dtype == torch.float32 and tensor.numel() > LARGE else tensor

    return {name: half(tensor) for name, tensor in weights.items()}


def weights_name(line_or_job: "JobLine | Job", sha256: str) -> str:
    """Of the file; a smoke job's replaces that of the one before."""
    name = line_or_job.job if isinstance(line_or_job, JobLine) else line_or_job.name
    words = [line_or_job.profile, line_or_job.chapter, name, f"seed{line_or_job.seed}"]
    words += [] if line_or_job.profile == SMOKE else [sha256[:8]]
    return f"{file_words(*words)}.safetensors"


def write_weights(job: Job, weights: "Mapping[str, Tensor]", runs: Path) -> Weights:
    """Into `runs/weights`."""
    from safetensors.torch import save

    data = save(halved(weights))
    about = Weights(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    with replacing(runs / "weights" / job.slug / weights_name(job, about.sha256)) as temporary:
        temporary.write_bytes(data)
    return about


def weight_files(results: Path) -> list[Path]:
    """Every file of weights in the repository."""
    return sorted(results.glob("*/weights/*.safetensors"))


def keep_weights(line: JobLine, results: Path, runs: Path) -> list[str]:
    """Copy a result's weights into the repository if they are small enough, or say why not."""
    if line.weights is None:
        return []
    name = weights_name(line, line.weights.sha256)
    source = runs / "weights" / line.slug / name
    target = results / line.slug / "weights" / name
    if target.is_file() or not source.is_file():
        return []
    if line.weights.bytes > FILE_LIMIT:
        size = line.weights.bytes / 2**20
        return [f"{name}: {size:.1f} MB are too much for the repository, so it stays in {source.parent}"]
    others = sum(path.stat().st_size for path in weight_files(results))
    if others + line.weights.bytes > ALL_LIMIT:
        return [f"{name}: all weights may have {ALL_LIMIT / 2**20:.0f} MB, so it stays in {source.parent}"]
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
    return []


def weights_of(line: JobLine, results: Path, runs: Path) -> Path | None:
    """Where a line's weights are on this machine, if they are."""
    if line.weights is None:
        return None
    name = weights_name(line, line.weights.sha256)
    places = [results / line.slug / "weights" / name, runs / "weights" / line.slug / name]
    return next((path for path in places if path.is_file()), None)


def read_weights(line: JobLine, path: Path) -> "dict[str, Tensor]":
    """Raises ProjectError: the file is not the one that the job wrote, or no file of tensors."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    assert line.weights is not None
    mend = "restore it with git, or repeat the job with --force"
    try:
        data = read_plain(path, LARGEST)
    except OSError as error:
        raise ProjectError(f"{path} cannot be read ({error.strerror}): {mend}") from error
    if hashlib.sha256(data).hexdigest() != line.weights.sha256:
        raise ProjectError(f"{path} is damaged or belongs to another job: {mend}")
    if int.from_bytes(data[:8], "little") > LONGEST_HEADER:  # before an object is made for every tensor
        raise ProjectError(f"{path} lists more tensors than a network has: {mend}")
    try:
        return load(data)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:  # also unknown types
        reason = cut(f"{type(error).__name__}: {error}")
        raise ProjectError(f"{path} is no file of tensors ({reason}): {mend}") from None

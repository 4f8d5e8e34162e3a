"""Trained networks of earlier jobs, for chapters that play with them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hands_lib.reproduce.jobs import PROFILES, JobLine
from hands_lib.reproduce.plan import command_for
from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.store import read_store, results_folder, runs_folder
from hands_lib.reproduce.versions import version_of
from hands_lib.reproduce.weights import read_weights, weights_of

if TYPE_CHECKING:
    from torch import Tensor


def trained(
    slug: str,
    chapter: str,
    name: str,
    seed: int = 0,
    profiles: Sequence[str] = PROFILES[1:],
    root: Path | None = None,
) -> JobLine:
    """The job whose weights another chapter plays with: `load_weights(trained(...))`.

    Of the jobs whose weights are on this machine, the largest of the profiles; of one profile, one of the
    present version of its chapter. One of an earlier version is taken with a warning where there is no other.

    Raises:
        ProjectError: there is none; the message names the command that makes it.
    """
    results, runs = results_folder(root), runs_folder(root)
    asked = [
        line
        for line in read_store(root, slug, chapter).lines
        if (line.job, line.seed) == (name, seed)
        and line.profile in profiles
        and line.weights is not None
        and not line.dirty
    ]
    own = [line for line in asked if weights_of(line, results, runs)]
    what = f"{slug}/{chapter}, {name!r}"
    command = command_for(slug, chapter, profiles, root or find_root())
    if not own:
        sizes = [line.weights.bytes for line in asked if line.weights]
        lost = f" (a job is recorded, but its weights, {sizes[0]:,} bytes, are not here)" if sizes else ""
        raise ProjectError(f"no trained weights of {what}, seed {seed}{lost}; made by: {command}")
    version = version_of(slug, chapter, root)
    best = max(own, key=lambda line: (line.version == version, PROFILES.index(line.profile), line.key))
    if best.version != version:
        note = f"{what} is of version {best.version}, not {version}; made anew by: {command}"
        warnings.warn(note, stacklevel=2)
    return best


def load_weights(line: JobLine, root: Path | None = None) -> "dict[str, Tensor]":
    """The trained weights of a job.

    Raises:
        ProjectError: it has none, or they are not on this machine or damaged; says how to make them.
    """
    what = f"{line.slug}/{line.chapter}, {line.job!r}, seed {line.seed}"
    if line.weights is None:
        raise ProjectError(f"{what} left no weights: record_job(..., weights=...) keeps them")
    path = weights_of(line, results_folder(root), runs_folder(root))
    if path is None:
        command = command_for(line.slug, line.chapter, [line.profile], root or find_root())
        raise ProjectError(
            f"the weights of {what} ({line.weights.bytes:,} bytes, sha256 {line.weights.sha256[:12]}) are "
            f"not on this machine: copy them into {runs_folder(root) / 'weights' / line.slug}, or make them "
            f"again: {command}"
        )
    return read_weights(line, path)

"""Checkpoints: what a killed job goes on from.

A training loop keeps its whole state in one dictionary, and says in one line what job it belongs to:

    job = Job("toy", "fits", variant, seed, profile, dataset="world", parameters=PARAMETERS)
    checkpoint = checkpoint_path(job)
    state = load_checkpoint(checkpoint) or {"step": 0, "net": net.state_dict(), ...}

A job that goes on must draw the random numbers of one that was never stopped: seed each step by its number
(`1000 * seed + step`), or keep the generator's state in the checkpoint. `record_job` deletes the checkpoint.

A file begins with the SHA-256 of the rest of it: torch does not look whether its tensors' bytes are whole.
"""

import hashlib
import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

from hands_lib.plain_files import read_plain
from hands_lib.reproduce.jobs import Job
from hands_lib.reproduce.project import ProjectError, find_root, replacing, set_aside
from hands_lib.reproduce.versions import version_of

LARGEST = 2**36  # bytes of one file
_START = b"hands checkpoint "
DAMAGE = (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, ValueError, KeyError)


def checkpoint_path(job: Job, root: Path | None = None) -> Path:
    """`runs/checkpoints/<slug>/<key>.pt`: other settings or another version of the chapter have another file,
    so that nothing goes on from a state that is not its own."""
    root = root or find_root()
    key = job.key(version_of(job.slug, job.chapter, root))
    return root / "runs" / "checkpoints" / job.slug / f"{key}.pt"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of them; a crash leaves the previous checkpoint.

    Raises:
        ProjectError: the disk is full or the folder cannot be written; the previous checkpoint stays.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(_START + hashlib.sha256(content).hexdigest().encode() + b"\n")
        file.write(content)


def load_checkpoint(path: Path, map_location: str = "cpu") -> dict[str, Any] | None:
    """The saved state, or None where there is none. A damaged file is set aside with a warning: the job then
    starts from its beginning."""
    import torch

    try:
        first, _, content = read_plain(path, LARGEST).partition(b"\n")
        if first != _START + hashlib.sha256(content).hexdigest().encode():
            raise ValueError("its checksum does not agree" if content else "it breaks off")
        return torch.load(io.BytesIO(content), map_location=map_location, weights_only=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProjectError(f"{path} cannot be read ({error.strerror}): mend this, or remove it") from error
    except DAMAGE as error:
        why = str(error).partition("\n")[0][:120]
        warnings.warn(
            f"{path} is damaged ({why}); set aside as {set_aside(path).name}, "
            "the job starts from its beginning",
            stacklevel=2,
        )
        return None

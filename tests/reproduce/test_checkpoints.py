"""Checkpoints: round trips, damage, and what a full disk or a read-only folder leaves."""

import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy import write_toy_book

from hands_lib.reproduce import (
    Job,
    checkpoint_path,
    load_checkpoint,
    read_lines,
    record_job,
    save_checkpoint,
)
from hands_lib.reproduce.project import ProjectError, write_atomically

JOB = Job("toy", "toy", "full", 0, "cpu", dataset="line", parameters={"steps": 3})
ROWS = {"errors": {"full": {"error": 0.5}}}
REST = {"protocol": "mean", "started": time.time()}


def state(step: int = 7) -> dict:
    return {
        "step": step,
        "net": {"weight": torch.arange(6.0).reshape(2, 3)},
        "generator": torch.Generator().manual_seed(3).get_state(),
        "losses": [0.5, 0.25],
    }


def test_round_trip_goes_on_with_the_same_random_numbers(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.pt"
    assert load_checkpoint(path) is None
    save_checkpoint(path, state())
    found = load_checkpoint(path)
    assert found["step"] == 7
    assert found["losses"] == [0.5, 0.25]
    assert torch.equal(found["net"]["weight"], state()["net"]["weight"])
    generator = torch.Generator()
    generator.set_state(found["generator"])
    assert torch.equal(
        torch.rand(5, generator=generator), torch.rand(5, generator=torch.Generator().manual_seed(3))
    )


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * len(b), lambda b: b[9:]]
)
def test_damaged_checkpoint_is_set_aside(tmp_path: Path, damage) -> None:
    path = tmp_path / "run.pt"
    for expected in ("run.pt.damaged", "run.pt.damaged2"):
        save_checkpoint(path, state())
        content = damage(path.read_bytes())
        path.write_bytes(content)
        with pytest.warns(
            UserWarning, match=rf"run\.pt is damaged .*set aside as {expected}, the job starts"
        ):
            assert load_checkpoint(path) is None
        assert (tmp_path / expected).read_bytes() == content
        assert not path.exists()


def test_one_flipped_bit_of_a_tensor_is_found(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    save_checkpoint(path, state())
    content = bytearray(path.read_bytes())
    place = bytes(content).index(torch.arange(6.0).numpy().tobytes())
    content[place + 5] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="its checksum does not agree"):
        assert load_checkpoint(path) is None


def test_a_checkpoint_belongs_to_one_job_and_goes_with_its_line(tmp_path: Path) -> None:
    book = write_toy_book(tmp_path)
    path = checkpoint_path(JOB, root=book)
    for change in ({"seed": 1}, {"name": "base"}, {"parameters": {"steps": 4}}, {"dataset_version": "2"}):
        assert checkpoint_path(replace(JOB, **change), root=book) != path
    save_checkpoint(path, state())
    record_job(JOB, ROWS, **REST, root=book)
    assert not path.exists()
    (book / "book" / "versions.yml").write_text("toy/toy: {version: 2}\n")
    assert checkpoint_path(JOB, root=book) != path


@contextmanager
def full_disk(folder: Path, size: int = 64 * 1024) -> Iterator[Path]:
    """A folder on a disk with next to no space: a small tmpfs; where nothing can be mounted, a limit on the
    size of every file that this process writes, at which the system refuses in the same place."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode == 0:
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_full_disk(tmp_path: Path) -> None:
    """Neither a checkpoint nor a record that does not fit harms what is there, and space makes good."""
    with full_disk(tmp_path / "disk") as disk:
        checkpoint, record = disk / "run.pt", disk / "record.json"
        save_checkpoint(checkpoint, state(1))
        write_atomically(record, "old")
        with pytest.raises(ProjectError, match=r"run\.pt cannot be written"):
            save_checkpoint(checkpoint, state(2) | {"large": torch.zeros(10**5)})
        with pytest.raises(ProjectError, match=r"record\.json cannot be written"):
            write_atomically(record, "x" * 10**6)
        assert load_checkpoint(checkpoint)["step"] == 1
        assert record.read_text() == "old"
        assert sorted(path.name for path in disk.iterdir()) == ["record.json", "run.pt"]
        write_atomically(record, "new")
        save_checkpoint(checkpoint, state(2))
        assert load_checkpoint(checkpoint)["step"] == 2


def test_full_disk_while_a_job_is_recorded(tmp_path: Path) -> None:
    """The job's checkpoint stays until its line is there."""
    book = write_toy_book(tmp_path)
    checkpoint = checkpoint_path(JOB, root=book)
    save_checkpoint(checkpoint, state())
    with full_disk(book / "runs" / "done"):
        too_much = replace(JOB, config={"notes": "x" * 200_000})
        with pytest.raises(ProjectError, match=r"cpu-toy-toy-full.*\.json cannot be written"):
            record_job(too_much, ROWS, **REST, root=book)
        assert read_lines("toy", book) == []
        assert checkpoint.exists()
        record_job(JOB, ROWS, **REST, root=book)
        assert len(read_lines("toy", book)) == 1
        assert not checkpoint.exists()


@contextmanager
def somebody_else() -> Iterator[None]:
    """The superuser may write anywhere; be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to everybody else
        folder = Path(name)
        folder.chmod(0o755)
        write_atomically(folder / "job.json", "old")
        folder.chmod(0o555)
        mend = r"job\.json cannot be written \(Permission denied\): make it writable"
        try:
            with somebody_else(), pytest.raises(ProjectError, match=mend):
                write_atomically(folder / "job.json", "new")
        finally:
            folder.chmod(0o755)
        assert (folder / "job.json").read_text() == "old"
        assert [path.name for path in folder.iterdir()] == ["job.json"]

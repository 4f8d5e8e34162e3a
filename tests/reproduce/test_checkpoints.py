"""Checkpoints: round trips, damage, and what a full disk or a read-only folder leaves."""

import json
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

from hands_lib.reproduce import (
    Run,
    checkpoint_path,
    find_record,
    load_checkpoint,
    record_run,
    save_checkpoint,
)
from hands_lib.reproduce.project import ProjectError, write_atomically
from hands_lib.reproduce.records import JOB, read_records

RUN = Run(
    slug="toy",
    table="errors",
    variant="full",
    seed=0,
    profile="cpu",
    dataset="line",
    dataset_version="1",
    config={"steps": 3},
)
REST = {"protocol": "mean", "metrics": {"error": (0.5, "mm")}, "started": time.time()}


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
            UserWarning, match=rf"run\.pt is damaged .*set aside as {expected}, the run starts"
        ):
            assert load_checkpoint(path) is None
        assert (tmp_path / expected).read_bytes() == content
        assert not path.exists()


def test_a_checkpoint_belongs_to_one_run_and_goes_with_its_record(tmp_path: Path) -> None:
    path = checkpoint_path(RUN, root=tmp_path)
    for change in ({"seed": 1}, {"variant": "base"}, {"config": {"steps": 4}}, {"dataset_version": "2"}):
        assert checkpoint_path(replace(RUN, **change), root=tmp_path) != path
    save_checkpoint(path, state())
    record_run(RUN, **REST, root=tmp_path)
    assert not path.exists()


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


def test_full_disk_while_a_record_is_written(tmp_path: Path) -> None:
    """The run's checkpoint stays until its record is there."""
    checkpoint = checkpoint_path(RUN, root=tmp_path)
    save_checkpoint(checkpoint, state())
    (tmp_path / "book").mkdir()
    with full_disk(tmp_path / "book" / "results"):
        too_much = replace(RUN, config={"notes": "x" * 200_000})
        with pytest.raises(ProjectError, match=r"cpu-errors-full.*\.json cannot be written"):
            record_run(too_much, **REST, root=tmp_path)
        assert read_records("toy", tmp_path) == []
        assert checkpoint.exists()
        record_run(RUN, **REST, root=tmp_path)
        assert len(read_records("toy", tmp_path)) == 1
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


def test_read_only_results() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to everybody else
        root = Path(name)
        root.chmod(0o755)
        results = root / "book" / "results"
        path = record_run(RUN, **REST, root=root)
        before = path.read_bytes()
        for folder in (results / "toy", results):
            folder.chmod(0o555)
        try:
            with somebody_else():
                with pytest.raises(
                    ProjectError, match=r"cannot be written \(Permission denied\): make it writable"
                ):
                    record_run(replace(RUN, seed=1), **REST, root=root)
                with pytest.raises(ProjectError, match=r"cannot be written \(Permission denied\)"):
                    record_run(RUN, **REST, root=root)
        finally:
            for folder in (results, results / "toy"):
                folder.chmod(0o755)
        assert path.read_bytes() == before
        assert [p.name for p in (results / "toy").iterdir()] == [path.name]


def test_find_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by exactly what identifies it; not under --force, never for smoke runs, not when damaged."""
    assert find_record(RUN, root=tmp_path) is None
    path = record_run(RUN, **REST, root=tmp_path)
    assert find_record(RUN, root=tmp_path).metrics["error"].value == 0.5
    for change in ({"seed": 1}, {"table": "other"}, {"profile": "gpu"}, {"config": {"steps": 4}}):
        assert find_record(replace(RUN, **change), root=tmp_path) is None
    smoke = replace(RUN, profile="smoke")
    record_run(smoke, **REST, root=tmp_path)
    assert find_record(smoke, root=tmp_path) is None
    monkeypatch.setenv(JOB, '{"chapter": "part/toy", "parameters_hash": "abc"}')
    assert find_record(RUN, root=tmp_path).asked_by == ["part/toy:abc"]
    assert find_record(RUN, root=tmp_path).asked_by == ["part/toy:abc"]
    job = {"chapter": "part/toy", "parameters_hash": "abc", "variant": "other"}
    monkeypatch.setenv(JOB, json.dumps(job))
    for _ in range(2):
        assert find_record(RUN, root=tmp_path).asked_by == ["part/toy:abc", "part/toy:abc/other"]
    monkeypatch.setenv(JOB, json.dumps(job | {"parameters_hash": "de", "variant": RUN.variant}))
    assert find_record(RUN, root=tmp_path).asked_by[2:] == ["part/toy:de", f"part/toy:de/{RUN.variant}"]
    monkeypatch.setenv(JOB, '{"chapter": "part/toy", "parameters_hash": "abc", "force": true}')
    assert find_record(RUN, root=tmp_path) is None
    monkeypatch.delenv(JOB)
    path.write_text(path.read_text()[:50])
    with pytest.warns(
        UserWarning, match=rf"{path.name} is not a run record.*\n?.*set aside as {path.name}.damaged"
    ):
        assert find_record(RUN, root=tmp_path) is None
    assert path.with_name(path.name + ".damaged").is_file()

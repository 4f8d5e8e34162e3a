"""What `make test` repeats: executions that are new."""

import json
from pathlib import Path

import run_all


def test_only_what_is_new_is_repeated(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(run_all, "ROOT", tmp_path)
    monkeypatch.setattr(run_all, "REPEATED", tmp_path / "repeated.json")
    monkeypatch.setattr(run_all, "COMPARED_BY", tmp_path / "nbval.cfg")
    both = ["a.ipynb", "b.ipynb"]
    monkeypatch.setattr(run_all, "executed_notebooks", lambda: both)
    for name in ("a.ipynb", "a.key", "b.ipynb", "b.key", "nbval.cfg"):
        (tmp_path / name).write_text("first")
    assert run_all.not_repeated() == both

    def repeat() -> None:
        run_all.REPEATED.write_text(json.dumps(run_all.executions()))
        assert run_all.not_repeated() == []

    repeat()
    for changed, new in (("a.key", ["a.ipynb"]), ("b.ipynb", ["b.ipynb"]), ("nbval.cfg", both)):
        (tmp_path / changed).write_text("second")
        assert run_all.not_repeated() == new
        repeat()
    (tmp_path / "a.key").unlink()  # nobody knows what it was executed from
    assert run_all.not_repeated() == ["a.ipynb"]

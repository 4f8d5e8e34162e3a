"""In JupyterLab: what is recorded of a system, a choice of profile and variants, and a button for the rest.

The button starts `hands sweep`, so what a notebook starts is planned, locked, retried and recorded as from a
terminal, and goes on when the notebook is closed.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import yaml

from hands_lib.reproduce.chapters import SMOKE, read_presets
from hands_lib.reproduce.plan import chapters_of, duration, look_up, planned_runs, time_left
from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.records import PROFILES
from hands_lib.reproduce.tables import HtmlTable

LIVE = "JPY_SESSION_NAME"  # set by the Jupyter server for kernels of a notebook that a person has open


def plan_table(
    name: str, profile: str, given: dict[str, Any] | None = None, root: Path | None = None
) -> HtmlTable:
    """The runs of a profile and which of them are recorded."""
    root = root or find_root()
    runs = [r for c in chapters_of(name, root, profile) for r in planned_runs(c, root, profile, given or {})]
    planned, damaged = look_up(runs, root)
    done = sum(p.state == "recorded" for p in planned)
    left = time_left(planned)
    notes = [] if left is None or done == len(planned) else [f"what is missing takes about {duration(left)}"]
    rows = [
        (
            p.run.variant or "-",
            "-" if p.run.seed is None else str(p.run.seed),
            "missing (earlier method)" if p.state == "stale" else p.state,
            "" if p.seconds is None else duration(p.seconds),
        )
        for p in planned
    ]
    caption = f"{name}, profile {profile}: {done} of {len(planned)} runs recorded"
    head = ("variant", "seed", "state", "time")
    return HtmlTable(caption, head, rows, notes=[*notes, *(message for _, message in damaged)])


def profiles_of(name: str, root: Path) -> list[str]:
    """The profiles of a system's chapters whose runs are kept, from small to large."""
    chapters = chapters_of(name, root, SMOKE)
    known = {profile for chapter in chapters for profile in read_presets(chapter, root)} - {SMOKE}
    return [p for p in PROFILES if p in known] + sorted(known - set(PROFILES))


def choose_runs(name: str, root: Path | None = None) -> Any:
    """Widgets in a notebook that a person has open; elsewhere, and in the built book, the list alone.

    Raises:
        ProjectError: no such slug or chapter, or it has no profile besides smoke.
    """
    root = root or find_root()
    profiles = profiles_of(name, root)
    if not profiles:
        raise ProjectError(f"{name} has no profile besides smoke: add one to book/presets/{name}.yml")
    return _widgets(name, root, profiles) if LIVE in os.environ else plan_table(name, profiles[0], root=root)


def _widgets(name: str, root: Path, profiles: list[str]) -> Any:
    import ipywidgets

    profile = ipywidgets.Dropdown(options=profiles, description="profile")
    variants = ipywidgets.SelectMultiple(description="variants", rows=5)
    run = ipywidgets.Button(description="Run what is missing", button_style="primary")
    stop = ipywidgets.Button(description="Stop", disabled=True)
    shown, progress = ipywidgets.HTML(), ipywidgets.HTML()
    process: list[subprocess.Popen] = []

    def given() -> dict[str, Any]:
        return {"variants": list(variants.value)} if variants.value else {}

    def refresh(*_: object) -> None:
        shown.value = plan_table(name, profile.value, given(), root)._repr_html_()

    def change_profile(*_: object) -> None:
        chapters = chapters_of(name, root, profile.value)
        runs = [r for c in chapters for r in planned_runs(c, root, profile.value, {})]
        variants.options = list(dict.fromkeys(r.variant for r in runs if r.variant))
        variants.value = variants.options
        refresh()

    def follow() -> None:
        assert process[-1].stdout is not None
        lines: list[str] = []
        for line in process[-1].stdout:
            lines.append(line.rstrip())
            progress.value = HtmlTable("Sweep", ("progress",), [(line,) for line in lines[-4:]])._repr_html_()
        process[-1].wait()
        run.disabled, stop.disabled = False, True
        refresh()

    def start(*_: object) -> None:
        run.disabled, stop.disabled = True, False
        command = [
            sys.executable,
            "-m",
            "hands_lib.reproduce.command",
            "sweep",
            name,
            "--profile",
            profile.value,
        ]
        for key, value in given().items():
            command += ["-p", key, yaml.safe_dump(value, default_flow_style=True).strip()]
        process.append(
            subprocess.Popen(
                command,
                cwd=root,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # an interrupt of the kernel is no interrupt of the sweep
            )
        )
        threading.Thread(target=follow, daemon=True).start()

    def end(*_: object) -> None:
        if process and process[-1].poll() is None:
            process[-1].send_signal(signal.SIGINT)

    profile.observe(change_profile, names="value")
    variants.observe(refresh, names="value")
    run.on_click(start)
    stop.on_click(end)
    change_profile()
    buttons = ipywidgets.HBox([run, stop])
    return ipywidgets.VBox([ipywidgets.HBox([profile, variants]), buttons, progress, shown])

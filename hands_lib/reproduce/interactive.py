"""In JupyterLab: what is recorded of a system, a choice of profile and variants, and a button for the rest.

The button starts `hands sweep`, so what a notebook starts is planned, locked, retried and recorded as from a
terminal. It writes into a file, which the widgets follow, so that it goes on when the kernel is restarted or
the notebook closed.
"""

import html
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from hands_lib.reproduce.chapters import read_presets
from hands_lib.reproduce.jobs import PROFILES, SMOKE
from hands_lib.reproduce.plan import Planned, chapters_of, duration, look_up, plan_of, time_left
from hands_lib.reproduce.project import ProjectError, find_root
from hands_lib.reproduce.tables import HtmlTable

LIVE = "JPY_SESSION_NAME"  # set by the Jupyter server for kernels of a notebook that a person has open
PROGRESS = re.compile(r"(\d+) of (\d+) done, \d+ running, (\d+) failed.*")  # what `hands sweep` prints
# the colours are JupyterLab's own, so that both themes have theirs
STYLE = """<style>
.hands-runs { max-height: 24em; overflow-y: auto; }
.hands-runs table { border-collapse: collapse; margin: 0; }
.hands-runs caption { caption-side: top; font-weight: 600; padding: 0.3em 0; text-align: left; }
.hands-runs caption { white-space: nowrap; }
.hands-runs td, .hands-runs th { padding: 0.15em 2em 0.15em 0; text-align: left; }
.hands-runs thead th { border-bottom: 1px solid var(--jp-border-color1); }
.hands-runs tbody th { font-weight: normal; }
.hands-said { line-height: 1.4; margin: 0; white-space: pre-wrap; }
</style>"""


def plan_table(
    name: str, profile: str, given: dict[str, Any] | None = None, root: Path | None = None
) -> HtmlTable:
    """The jobs of a profile and which of them are recorded."""
    root = root or find_root()
    planned, trouble = look_up(plan_of(name, root, profile, given or {}), root)
    many = len({p.job.chapter.name for p in planned}) > 1
    done = sum(p.state == "recorded" for p in planned)
    left = time_left(planned)
    notes = [] if left is None or done == len(planned) else [f"what is missing takes about {duration(left)}"]
    lines: dict[tuple[str, ...], list[Planned]] = {}  # one for all seeds that are in the same state
    for p in planned:
        key = (p.job.chapter.stem, p.job.variant or "-", p.state)
        lines.setdefault(key, []).append(p)
    rows = []
    for (stem, variant, state), alike in lines.items():
        seeds = ", ".join(str(p.job.seed) for p in alike if p.job.seed is not None) or "-"
        known = [p.seconds for p in alike if p.seconds is not None]
        took = "" if not known else "about " * (state != "recorded") + duration(median(known))
        words = "missing (earlier version)" if state == "stale" else state
        rows.append((*([stem] if many else []), variant, seeds, words, took))
    caption = f"{name}, profile {profile}: {done} of {len(planned)} jobs recorded"
    head = (*(["chapter"] if many else []), "variant", "seeds", "state", "one takes")
    return HtmlTable(caption, head, rows, notes=[*notes, *map(str, trouble)])


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
    if LIVE not in os.environ:
        return plan_table(name, profiles[0], root=root)
    return RunChooser(name, root, profiles).box


class RunChooser:
    """Widgets of one chapter or system, and the sweep that they start; `box` is what a notebook shows."""

    def __init__(self, name: str, root: Path, profiles: list[str]):
        from ipywidgets import HTML, Box, Button, Dropdown, HBox, IntProgress, Layout, VBox

        self.name, self.root = name, root
        self.log = root / "runs" / "sweeps" / f"notebook-{name}.txt".replace("/", ".")
        self.sweep: subprocess.Popen | None = None
        # clicks come in the kernel's thread; the one that follows a sweep sets the same buttons
        self.one_at_a_time = threading.RLock()
        as_wide = Layout(width="auto")  # the usual width cuts the words off
        self.profile = Dropdown(options=profiles, description="profile", layout=Layout(width="14em"))
        self.profile.style.description_width = "initial"
        self.variants = Box(layout=Layout(flex_flow="row wrap"))
        self.run = Button(description="Run what is missing", button_style="primary", layout=as_wide)
        self.stop = Button(description="Stop", disabled=True, layout=as_wide)
        self.bar = IntProgress(layout=Layout(width="16em", visibility="hidden"))
        self.said, self.table = HTML(), HTML()
        self.profile.observe(self._change_profile, names="value")
        self.run.on_click(self._start)
        self.stop.on_click(self._stop)
        self._change_profile()
        buttons = HBox([self.run, self.stop, self.bar], layout=Layout(align_items="center"))
        self.box = VBox([HTML(STYLE), self.profile, self.variants, buttons, self.said, self.table])

    def _change_profile(self, *_: object) -> None:
        from ipywidgets import Checkbox, Layout

        jobs = plan_of(self.name, self.root, self.profile.value, {})
        # chapters of one system have variants of their own: there, all are run
        one = len({job.chapter.name for job in jobs}) == 1
        names = dict.fromkeys(job.variant for job in jobs if job.variant) if one else {}
        layout = Layout(width="auto", margin="0 1.5em 0 0")
        self.variants.children = [
            Checkbox(value=True, description=name, indent=False, layout=layout) for name in names
        ]
        for box in self.variants.children:
            box.observe(self._refresh, names="value")
        self._refresh()

    def _given(self) -> dict[str, Any]:
        chosen = [box.description for box in self.variants.children if box.value]
        return {} if len(chosen) == len(self.variants.children) else {"variants": chosen}

    def _refresh(self, *_: object) -> None:
        """The table, and whether there is something to run. A fault of the store is shown in the table's
        place; the sweep will say more of it, so it may be tried."""
        with self.one_at_a_time:
            given = self._given()
            nothing = given == {"variants": []}
            try:
                table = plan_table(self.name, self.profile.value, {} if nothing else given, self.root)
                missing = any(row[-2] != "recorded" for row in table.rows)
                shown = f'<div class="hands-runs">{table._repr_html_()}</div>'
            except Exception as error:
                missing, shown = True, _preformatted(f"what is recorded cannot be read: {_words(error)}")
            self.table.value = '<p class="hands-said">Choose a variant.</p>' if nothing else shown
            self.run.disabled = self.sweep is not None or nothing or not missing

    def _say(self, text: str) -> None:
        self.said.value = _preformatted(text)

    def _start(self, *_: object) -> None:
        with self.one_at_a_time:
            if self.sweep is None:  # two clicks may arrive before the button is seen to be disabled
                self._start_sweep()

    def _start_sweep(self) -> None:
        command = [sys.executable, "-m", "hands_lib.reproduce.command", "sweep", self.name]
        command += ["--profile", self.profile.value]
        for key, value in self._given().items():
            command += ["-p", key, yaml.safe_dump(value, default_flow_style=True).strip()]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "w", encoding="utf-8") as log:
            self.sweep = subprocess.Popen(
                command,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt of the kernel is no interrupt of the sweep
            )
        for widget in (self.profile, self.run, *self.variants.children):
            widget.disabled = True
        self.stop.disabled = False
        self.bar.value, self.bar.max, self.bar.bar_style = 0, 1, ""
        self.bar.layout.visibility = "visible"
        self._say("starting")
        self.follower = threading.Thread(target=self._follow, args=(self.sweep,), daemon=True)
        self.follower.start()

    def _follow(self, sweep: subprocess.Popen) -> None:
        """Show what the sweep writes until it has ended. This thread has nobody to raise an error to: it is
        said, and in any case the buttons are free again once the sweep has ended."""
        try:
            self._show_until_end(sweep)
            success = sweep.returncode == 0
        except Exception as error:
            self._say(f"this cannot be followed: {_words(error)}\nThe runs go on; they write to {self.log}")
            success = sweep.wait() == 0
        with self.one_at_a_time:
            self.sweep = None
            self.bar.bar_style = "success" if success else "warning"
            for widget in (self.profile, *self.variants.children):
                widget.disabled = False
            self.stop.disabled = True
            self._refresh()

    def _show_until_end(self, sweep: subprocess.Popen) -> None:
        lines: list[str] = []
        ended = False
        while not ended:
            ended = sweep.poll() is not None
            found = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            if found != lines:
                lines = found
                self._show(lines, ended)
            time.sleep(0 if ended else 0.3)
        if sweep.returncode < 0:  # it had not come so far as to answer
            self._say("stopped before anything was started")

    def _show(self, lines: list[str], ended: bool) -> None:
        progress = [(number, found) for number, line in enumerate(lines) if (found := PROGRESS.match(line))]
        if progress:
            number, found = progress[-1]
            done = int(found[1])
            self.bar.max = int(found[2])
            if done != self.bar.value:
                self.bar.value = done
                self._refresh()
            # after the progress comes the report
            lines = lines[number + 1 :] if ended and lines[number + 1 :] else lines[number:]
        self._say("\n".join(lines))

    def _stop(self, *_: object) -> None:
        with self.one_at_a_time:
            if self.sweep is not None and self.sweep.poll() is None:
                self.stop.disabled = True
                self._say("stopping; what is done stays, the rest goes on from its checkpoint next time")
                self.sweep.terminate()  # an interrupt is ignored where the server itself ignores it


def _preformatted(text: str) -> str:
    return f'<pre class="hands-said">{html.escape(text)}</pre>'


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, ProjectError) else f"{type(error).__name__}: {error}"

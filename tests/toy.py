"""A book of one toy system, for tests and measurements that run, kill and resume its sweeps.

Its one chapter fits a line: two variants (`full` learns the slope too, `base` only the offset), every step
seeded by its number and saved, so that a resumed run must end in the very bits of an undisturbed one. The
parameter `trouble` makes a variant misbehave. With `gate_file`, a run waits after two steps until that file
is there: a test that looks at a run, or ends it, opens the gate when it has done so, and needs no clock.
"""

import subprocess
from pathlib import Path

import yaml

CHAPTER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Toy

```{code-cell} ipython3
:tags: [parameters]

profile = "smoke"
variants = ["base", "full"]
seeds = [0]
steps = 3
pause = 0.0  # seconds that a step takes
trouble = {}  # variant -> what goes wrong
gate_file = ""  # what a run waits for after two steps
```

```{code-cell} ipython3
import os
import time

import torch

from hands_lib.reproduce import (
    Job, chapter_parameters, checkpoint_path, find_job, load_checkpoint, record_job, save_checkpoint
)

PARAMETERS = chapter_parameters("toy", globals())
```

```{code-cell} ipython3
:tags: [method]

def step_of(weights, variant, seed, number):
    generator = torch.Generator().manual_seed(1000 * seed + number)
    x = torch.rand(16, generator=generator, dtype=torch.float64)
    residual = weights[0] + weights[1] * x - (2 * x + 1)
    gradient = torch.stack([residual.mean(), (residual * x).mean()])
    gradient[1] *= variant == "full"
    return weights - 0.5 * gradient
```

```{code-cell} ipython3
for variant in variants:
    for seed in seeds:
        job = Job("toy", "toy", variant, seed, profile, dataset="line", parameters=PARAMETERS)
        if find_job(job):
            continue
        started = time.time()
        checkpoint = checkpoint_path(job)
        state = load_checkpoint(checkpoint) or {"step": 0, "weights": torch.zeros(2, dtype=torch.float64)}
        print(f"{variant}, seed {seed}: from step {state['step']}")
        while state["step"] < steps:
            while gate_file and state["step"] >= 2 and not os.path.exists(gate_file):
                time.sleep(0.05)
            weights = step_of(state["weights"], variant, seed, state["step"])
            state = {"step": state["step"] + 1, "weights": weights}
            save_checkpoint(checkpoint, state)
            time.sleep(pause)
            if trouble.get(variant) == "memory" and state["step"] == 2:
                torch.zeros(10**10)
        x = torch.linspace(0, 1, 100, dtype=torch.float64)
        error = (state["weights"][0] + state["weights"][1] * x - (2 * x + 1)).abs().mean().item()
        error = float("nan") if trouble.get(variant) == "nan" else error
        if trouble.get(variant) == "clock":
            time.time = lambda now=time.time: now() - 10**9
        record_job(
            job, {"errors": {variant: {"error": error}}}, protocol="mean over 100 points", steps=steps,
            started=started, weights={"line": state["weights"]},
        )
```
"""

PUBLISHED = {
    "slug": "toy",
    "source": "toy",
    "metrics": {"error": {"unit": "m", "better": "lower"}},
    "tables": {
        "errors": {
            "title": "Errors",
            "cells": [
                {
                    "row": row,
                    "metric": "error",
                    "unit": "m",
                    "value": value,
                    "where": "Table 1",
                    "verified": True,
                }
                for row, value in (("base", 0.5), ("full", 0.1))
            ],
        }
    },
    "claims": [
        {
            "id": "better",
            "text": "A slope helps.",
            "where": "Table 1",
            "table": "errors",
            "test": {
                "kind": "comparison",
                "metric": "error",
                "better": "full",
                "than": "base",
                "direction": "lower",
            },
        }
    ],
}


def write_toy_book(root: Path, **cpu: object) -> Path:
    """A checkout with the toy chapter; `cpu` are the values of that profile."""
    for folder in ("part", "presets", "published"):
        (root / "book" / folder).mkdir(parents=True)
    (root / "book" / "index.md").write_text("# Start\n")
    (root / "book" / "part" / "toy.md").write_text(CHAPTER)
    (root / "book" / "presets" / "toy.yml").write_text(yaml.safe_dump({"cpu": cpu}))
    (root / "book" / "published" / "toy.yml").write_text(yaml.safe_dump(PUBLISHED))
    (root / "book" / "references.bib").write_text(
        "@misc{toy, author = {Toy, T.}, title = {A toy}, year = {2026}}\n"
    )
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nparts:\n  - chapters:\n    - file: book/part/toy.md\n"
    )
    (root / ".gitignore").write_text("runs/\n_build/\n")
    subprocess.run(["git", "init", "-q", root], check=True)
    commit(root)
    return root


def commit(root: Path) -> str:
    """Commit all that a book has, as results need it; returns the commit."""
    git = ["git", "-C", str(root), "-c", "user.name=toy", "-c", "user.email=toy@localhost"]
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "toy"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return head.stdout.strip()

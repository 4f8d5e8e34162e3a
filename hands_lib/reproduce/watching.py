"""A training that a person watches: a progress bar, a curve, a checkpoint every so many steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from hands_lib.reproduce.checkpoints import load_checkpoint, save_checkpoint

Curve = list[tuple[int, float]]


class Watched:
    """What `nn.descent.descend` calls after every step.

    `errors` takes the error of each step; their mean since the last point becomes the next point of `curve`.
    `state` is where an earlier call of the same job stopped, None where none did.
    """

    def __init__(
        self, checkpoint: Path, steps: int, every: int, name: str, show: Callable[[Curve], None], device: str
    ) -> None:
        """`show` is called with the curve at every point of it; `device` is where the state belongs."""
        saved = load_checkpoint(checkpoint, device) or {"training": None, "curve": []}
        self.state: dict[str, Any] | None = saved["training"]
        self.curve: Curve = saved["curve"]
        self.errors: list[float] = []
        self._checkpoint, self._steps, self._every, self._show = checkpoint, steps, every, show
        done = self.state["step"] if self.state else 0
        self._bar = tqdm(total=steps, initial=done, desc=name, delay=5)

    def __call__(self, done: int, state: Callable[[], dict[str, Any]]) -> None:
        self._bar.update()
        if done % self._every == 0 or done == self._steps:
            self.curve.append((done, sum(self.errors) / len(self.errors)))
            self.errors.clear()
            save_checkpoint(self._checkpoint, {"training": state(), "curve": self.curve})
            self._show(self.curve)
        if done == self._steps:
            self._bar.close()

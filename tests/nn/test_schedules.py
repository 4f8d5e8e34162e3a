"""Closed forms of the learning rates."""

import pytest

from hands_lib.nn.schedules import risen_cosine


def test_rise_and_cosine() -> None:
    assert risen_cosine(0, 100, 2.0) == pytest.approx(2.0 / 5)
    assert risen_cosine(50, 100, 2.0) == pytest.approx(1.0)
    assert risen_cosine(100, 100, 2.0) == pytest.approx(0.0)


def test_runs_shorter_than_twenty_steps_start_at_the_top() -> None:
    assert risen_cosine(0, 10, 1.0) == 1.0

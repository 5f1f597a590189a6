"""The learning rate follows its formulas; plateau and early stopping count as in the paper."""

from __future__ import annotations

import json
import math

import pytest

from napari_fundus.training.loop.schedule import Schedule
from napari_fundus.training.loop.settings import TrainingSettings


def schedule(*, higher: bool = False, steps: int = 10, **changes: object) -> Schedule:
    settings = TrainingSettings.model_validate(changes)
    return Schedule(settings, steps, higher_is_better=higher)


def test_the_rate_falls_to_three_tenths_after_ten_epochs_without_improvement() -> None:
    plan = schedule()
    factors = []
    for epoch in range(22):
        factors.append(plan.factor(epoch, 0, 0))
        plan.record_epoch(epoch, 1.0)
    assert factors[:11] == [1.0] * 11
    assert factors[11:21] == pytest.approx([0.3] * 10)
    assert factors[21] == pytest.approx(0.09)


def test_the_run_stops_after_twenty_epochs_without_improvement() -> None:
    plan = schedule()
    assert plan.record_epoch(0, 1.0)
    for epoch in range(1, 20):
        assert not plan.record_epoch(epoch, 1.0)
        assert not plan.should_stop
    plan.record_epoch(20, 1.0)
    assert plan.should_stop
    assert plan.best_epoch == 0


def test_an_improvement_starts_the_count_anew() -> None:
    plan = schedule(higher=True, early_stopping=3)
    values = [0.1, 0.0, 0.0, 0.2, 0.1, 0.1]
    assert [plan.record_epoch(n, v) for n, v in enumerate(values)] == [
        True,
        False,
        False,
        True,
        False,
        False,
    ]
    assert not plan.should_stop


def test_early_stopping_zero_never_stops() -> None:
    plan = schedule(early_stopping=0)
    for epoch in range(100):
        plan.record_epoch(epoch, 1.0)
    assert not plan.should_stop


def test_cosine_ends_at_zero_after_the_last_step_and_is_half_in_the_middle() -> None:
    plan = schedule(schedule="cosine", max_epochs=4)
    assert plan.factor(0, 0, 0) == 1
    assert plan.factor(2, 0, 0) == pytest.approx(0.5)
    assert plan.factor(4, 0, 0) == pytest.approx(0, abs=1e-12)


def test_cosine_ends_at_the_time_limit_where_that_comes_first() -> None:
    plan = schedule(schedule="cosine", max_epochs=1000, max_minutes=10)
    assert plan.factor(0, 0, 300) == pytest.approx(0.5)
    assert plan.factor(0, 0, 700) == pytest.approx(0)


def test_the_warm_up_rises_in_equal_steps() -> None:
    plan = schedule(schedule="constant", warmup_steps=4)
    assert [plan.factor(0, step, 0) for step in range(6)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 1]
    )


def test_milestones_and_exponential_decay() -> None:
    steps = schedule(schedule="steps", milestones=[2, 3], factor=0.1)
    assert [steps.factor(e, 0, 0) for e in range(4)] == pytest.approx([1, 1, 0.1, 0.01])
    decay = schedule(schedule="exponential", factor=0.99)
    assert decay.factor(150, 0, 0) == pytest.approx(0.99**150)


def test_the_state_survives_json_exactly() -> None:
    plan = schedule()
    for epoch in range(15):
        plan.record_epoch(epoch, 1 / 3 + (epoch > 0) * math.pi)
    other = schedule()
    other.load_state(json.loads(json.dumps(plan.state())))
    for epoch in range(15, 30):
        assert plan.record_epoch(epoch, 0.4) == other.record_epoch(epoch, 0.4)
        assert plan.factor(epoch, 3, 0) == other.factor(epoch, 3, 0)
    assert plan.state() == other.state()

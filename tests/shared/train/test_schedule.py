"""Learning rates against closed forms."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scimind.config.training import OptimizerConfig, ScheduleConfig
from scimind.errors import ConfigError
from scimind.train.schedule import Schedule, make_schedule

NAMES = ("constant", "linear", "cosine", "wsd")


def test_cosine_follows_its_formula():
    schedule = Schedule(ScheduleConfig(name="cosine", final_ratio=0.1), 2.0, 100)
    for step in (0, 1, 50, 99):
        expected = 2.0 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / 100)))
        assert schedule(step) == pytest.approx(expected, rel=1e-12)


def test_warmup_rises_linearly_to_the_peak():
    schedule = Schedule(ScheduleConfig(name="cosine", warmup_steps=4), 1.0, 20)
    assert [schedule(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_wsd_is_flat_until_its_decay_share():
    schedule = Schedule(ScheduleConfig(name="wsd", decay_share=0.25), 1.0, 40)
    assert {schedule(step) for step in range(31)} == {1.0}
    assert [schedule(step) for step in (31, 35, 39)] == pytest.approx([0.9, 0.5, 0.1])


@given(
    name=st.sampled_from(NAMES),
    steps=st.integers(1, 300),
    warmup_share=st.floats(0, 1),
    final_ratio=st.floats(0, 1),
    decay_share=st.floats(0.01, 1),
)
def test_every_schedule_rises_once_and_falls_once_within_its_bounds(
    name, steps, warmup_share, final_ratio, decay_share
):
    warmup = int(warmup_share * steps)
    config = ScheduleConfig(
        name=name, warmup_steps=warmup, final_ratio=final_ratio, decay_share=decay_share
    )
    schedule = Schedule(config, 1.0, steps)
    rates = [schedule(step) for step in range(steps + 2)]
    assert all(0 <= rate <= 1 + 1e-12 for rate in rates)
    assert all(a < b + 1e-12 for a, b in pairwise(rates[:warmup]))
    falling = rates[warmup:]
    assert all(a >= b - 1e-12 for a, b in pairwise(falling))
    end = 1.0 if name == "constant" else final_ratio
    assert rates[-1] == pytest.approx(end)
    assert all(rate > 0 for rate in rates[:steps])


def test_its_own_steps_win_over_those_of_the_run():
    schedule = make_schedule(OptimizerConfig(), ScheduleConfig(name="linear", steps=10), 1000)
    assert schedule(10) == 0.0 == schedule(500)


def test_a_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ConfigError, match="warmup_steps=50 exceeds the 20 steps"):
        Schedule(ScheduleConfig(warmup_steps=50), 1.0, 20)

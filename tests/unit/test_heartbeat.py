"""When a worker counts as hanging, and when it only takes its time."""

from __future__ import annotations

import pytest

from tests.support.simulated import Simulation, document
from tune_app.core.heartbeat import (
    ALIVE,
    ASLEEP_S,
    MULTIPLE,
    START_TIMEOUT_S,
    TIMEOUT_S,
    HeartbeatMonitor,
)
from tune_app.core.trial import Decision

LOOK_S = 5.0
"""How often the driver looks."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heartbeats(clock: Clock) -> HeartbeatMonitor:
    """One trial that a worker is to take."""
    heartbeats = HeartbeatMonitor(clock)
    heartbeats.begin("0001")
    return heartbeats


def hung_after(heartbeats: HeartbeatMonitor, clock: Clock, seconds: float) -> bool:
    """Whether the trial is named within so many seconds without a heartbeat."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now += LOOK_S
        if heartbeats.hung():
            return True
    return False


def test_a_first_step_may_take_hours_to_come(heartbeats: HeartbeatMonitor, clock: Clock) -> None:
    assert not hung_after(heartbeats, clock, START_TIMEOUT_S)
    heartbeats.beat("0001", ALIVE)
    assert not hung_after(heartbeats, clock, START_TIMEOUT_S)
    assert hung_after(heartbeats, clock, 2 * LOOK_S)


def test_after_its_first_step_half_an_hour_without_a_heartbeat_is_hanging(
    heartbeats: HeartbeatMonitor, clock: Clock
) -> None:
    heartbeats.beat("0001", "trial_effective")
    assert not hung_after(heartbeats, clock, TIMEOUT_S)
    assert hung_after(heartbeats, clock, 2 * LOOK_S)


def test_a_trial_of_long_steps_may_go_without_a_heartbeat_for_a_multiple_of_them(
    heartbeats: HeartbeatMonitor, clock: Clock
) -> None:
    heartbeats.beat("0001", "trial_effective")
    step_s = TIMEOUT_S - LOOK_S
    assert not hung_after(heartbeats, clock, step_s)
    heartbeats.beat("0001", "report")
    assert not hung_after(heartbeats, clock, MULTIPLE * step_s)
    assert hung_after(heartbeats, clock, 2 * LOOK_S)


def test_a_long_start_allows_no_longer_silence_after_it(
    heartbeats: HeartbeatMonitor, clock: Clock
) -> None:
    assert not hung_after(heartbeats, clock, START_TIMEOUT_S)
    heartbeats.beat("0001", "trial_effective")
    assert hung_after(heartbeats, clock, TIMEOUT_S + 2 * LOOK_S)


def test_a_trial_that_is_over_never_hangs(heartbeats: HeartbeatMonitor, clock: Clock) -> None:
    heartbeats.end("0001")
    heartbeats.beat("0001", "report")
    assert not hung_after(heartbeats, clock, 2 * START_TIMEOUT_S)


def test_a_driver_that_was_asleep_blames_nobody_for_it(
    heartbeats: HeartbeatMonitor, clock: Clock
) -> None:
    heartbeats.beat("0001", "trial_effective")
    clock.now += 10 * TIMEOUT_S
    assert not heartbeats.hung()
    assert 10 * TIMEOUT_S > ASLEEP_S
    assert hung_after(heartbeats, clock, TIMEOUT_S + 2 * LOOK_S)


def test_a_trial_is_named_once_for_each_long_gap(
    heartbeats: HeartbeatMonitor, clock: Clock
) -> None:
    heartbeats.beat("0001", "trial_effective")
    assert hung_after(heartbeats, clock, TIMEOUT_S + 2 * LOOK_S)
    assert not hung_after(heartbeats, clock, TIMEOUT_S)
    assert hung_after(heartbeats, clock, 2 * LOOK_S)


def test_signs_of_life_are_answered_and_not_written_down() -> None:
    simulation = Simulation(document())
    segment = simulation.conductor.next_segment()
    assert segment is not None
    before = list(simulation.events)
    assert simulation.conductor.on_message(segment.trial, ALIVE, {}) is Decision.CONTINUE
    assert simulation.events == before

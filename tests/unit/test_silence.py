"""When a worker counts as hanging, and when it only takes its time."""

from __future__ import annotations

import pytest

from tests.unit.simulation import Simulation, document
from tune_app.core.heartbeat import ALIVE, ASLEEP_S, MULTIPLE, SILENCE_S, START_S, Silence
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
def silence(clock: Clock) -> Silence:
    """One trial that a worker is to take."""
    silence = Silence(clock)
    silence.begin("0001")
    return silence


def hung_after(silence: Silence, clock: Clock, seconds: float) -> bool:
    """Whether the trial is named within so many seconds of silence."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now += LOOK_S
        if silence.hung():
            return True
    return False


def test_a_first_step_may_take_hours_to_come(silence: Silence, clock: Clock) -> None:
    assert not hung_after(silence, clock, START_S)
    silence.hear("0001", ALIVE)
    assert not hung_after(silence, clock, START_S)
    assert hung_after(silence, clock, 2 * LOOK_S)


def test_after_its_first_step_half_an_hour_of_silence_is_hanging(
    silence: Silence, clock: Clock
) -> None:
    silence.hear("0001", "trial_effective")
    assert not hung_after(silence, clock, SILENCE_S)
    assert hung_after(silence, clock, 2 * LOOK_S)


def test_a_trial_of_long_steps_may_be_silent_for_a_multiple_of_them(
    silence: Silence, clock: Clock
) -> None:
    silence.hear("0001", "trial_effective")
    step_s = SILENCE_S - LOOK_S
    assert not hung_after(silence, clock, step_s)
    silence.hear("0001", "report")
    assert not hung_after(silence, clock, MULTIPLE * step_s)
    assert hung_after(silence, clock, 2 * LOOK_S)


def test_a_long_start_allows_no_longer_silence_after_it(silence: Silence, clock: Clock) -> None:
    assert not hung_after(silence, clock, START_S)
    silence.hear("0001", "trial_effective")
    assert hung_after(silence, clock, SILENCE_S + 2 * LOOK_S)


def test_a_trial_that_is_over_never_hangs(silence: Silence, clock: Clock) -> None:
    silence.end("0001")
    silence.hear("0001", "report")
    assert not hung_after(silence, clock, 2 * START_S)


def test_a_driver_that_was_asleep_blames_nobody_for_it(silence: Silence, clock: Clock) -> None:
    silence.hear("0001", "trial_effective")
    clock.now += 10 * SILENCE_S
    assert not silence.hung()
    assert 10 * SILENCE_S > ASLEEP_S
    assert hung_after(silence, clock, SILENCE_S + 2 * LOOK_S)


def test_a_trial_is_named_once_for_each_long_silence(silence: Silence, clock: Clock) -> None:
    silence.hear("0001", "trial_effective")
    assert hung_after(silence, clock, SILENCE_S + 2 * LOOK_S)
    assert not hung_after(silence, clock, SILENCE_S)
    assert hung_after(silence, clock, 2 * LOOK_S)


def test_signs_of_life_are_answered_and_not_written_down() -> None:
    simulation = Simulation(document())
    segment = simulation.conductor.next_segment()
    assert segment is not None
    before = list(simulation.events)
    assert simulation.conductor.on_message(segment.trial, ALIVE, {}) is Decision.CONTINUE
    assert simulation.events == before

"""Budgets against a pass-by-pass account of how `transformers.Trainer` spends them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, islice, takewhile

import pytest

from tune_app.budget import Epoch, TooShort, Unit, horizon, steps_for


def steps_of(epoch: Epoch) -> Iterator[int]:
    """Training tokens of each optimiser step, for ever, as the Trainer's loops make them."""
    while True:
        left, batches = epoch.samples, []
        while left >= epoch.batch_size:
            batches.append(epoch.batch_size)
            left -= epoch.batch_size
        while batches:
            group, batches = batches[: epoch.accumulation], batches[epoch.accumulation :]
            yield sum(group) * epoch.tokens_per_sample


def affordable(epoch: Epoch, tokens: float) -> int:
    """The most steps whose tokens do not exceed `tokens`."""
    return sum(1 for _ in takewhile(lambda spent: spent <= tokens, accumulate(steps_of(epoch))))


def any_epoch(rng: random.Random) -> Epoch:
    batch_size = rng.randint(1, 16)
    return Epoch(
        samples=rng.randint(batch_size, 200),
        batch_size=batch_size,
        accumulation=rng.randint(1, 9),
        tokens_per_sample=rng.randint(1, 64),
    )


@pytest.mark.parametrize("seed", range(400))
def test_a_token_budget_is_spent_and_never_exceeded(seed: int) -> None:
    rng = random.Random(seed)
    epoch = any_epoch(rng)
    amount = rng.randint(0, 4 * epoch.tokens)
    assert steps_for(Unit.TOKENS, amount, epoch) == affordable(epoch, amount)


@pytest.mark.parametrize("seed", range(200))
def test_epochs_are_as_many_passes(seed: int) -> None:
    rng = random.Random(seed)
    epoch = any_epoch(rng)
    amount = rng.choice([1, 2, 3, 0.5, 1.5, rng.uniform(0.1, 3)])
    steps = steps_for(Unit.EPOCHS, amount, epoch)
    assert steps == affordable(epoch, amount * epoch.tokens)
    if isinstance(amount, int):
        assert steps == amount * epoch.steps


@pytest.mark.parametrize("seed", range(100))
def test_an_epoch_has_the_steps_and_tokens_of_one_pass(seed: int) -> None:
    epoch = any_epoch(random.Random(seed))
    steps, tokens = steps_of(epoch), 0
    for _ in range(epoch.steps):
        tokens += next(steps)
    assert tokens == epoch.tokens
    assert epoch.tokens_per_step == epoch.batch_size * epoch.accumulation * epoch.tokens_per_sample


@pytest.mark.parametrize("seed", range(200))
def test_each_step_has_the_tokens_of_its_place_in_its_pass(seed: int) -> None:
    epoch = any_epoch(random.Random(seed))
    count = 3 * epoch.steps + 1
    told = [epoch.tokens_of(step) for step in range(1, count + 1)]
    assert told == list(islice(steps_of(epoch), count))


@pytest.mark.parametrize("seed", range(200))
def test_several_processes_spend_a_budget_as_one_with_so_many_times_the_batch(seed: int) -> None:
    rng = random.Random(seed)
    one, processes = any_epoch(rng), rng.randint(2, 8)
    several = replace(one, samples=one.samples * processes, processes=processes)
    large = replace(several, batch_size=one.batch_size * processes, processes=1)
    assert (several.steps, several.tokens) == (large.steps, large.tokens)
    assert several.tokens_per_step == large.tokens_per_step == processes * one.tokens_per_step
    amount = rng.randint(0, 4 * large.tokens)
    assert steps_for(Unit.TOKENS, amount, several) == steps_for(Unit.TOKENS, amount, large)


def test_the_smaller_last_step_of_a_pass_is_counted_as_what_it_is() -> None:
    epoch = Epoch(samples=11, batch_size=2, accumulation=2, tokens_per_sample=10)
    assert (epoch.micro_batches, epoch.steps, epoch.tokens) == (5, 3, 100)
    assert [steps_for(Unit.TOKENS, n, epoch) for n in (39, 40, 99, 100, 139, 140)] == [
        *(0, 1, 2),
        *(3, 3, 4),
    ]


def test_steps_are_steps_and_seconds_need_a_measurement() -> None:
    epoch = Epoch(samples=10, batch_size=2, accumulation=1, tokens_per_sample=1)
    assert steps_for(Unit.STEPS, 7, epoch) == 7
    assert steps_for(Unit.SECONDS, 10, epoch, seconds_per_step=0.3) == 33
    with pytest.raises(ValueError, match="measured"):
        steps_for(Unit.SECONDS, 10, epoch)


@pytest.mark.parametrize("unit", list(Unit))
def test_a_batch_that_cannot_be_filled_is_told(unit: Unit) -> None:
    epoch = Epoch(samples=3, batch_size=4, accumulation=1, tokens_per_sample=8)
    with pytest.raises(ValueError, match="do not fill one batch of 4"):
        steps_for(unit, 100, epoch, seconds_per_step=1.0)


@pytest.mark.parametrize("seed", range(400))
def test_rungs_ascend_to_the_end_and_are_evaluated_and_logged(seed: int) -> None:
    rng = random.Random(seed)
    count = rng.randint(1, 10)
    eta = rng.choice([1.05, 1.5, 2, 3, 4, 100])
    shares = [eta ** (index - count + 1) for index in range(count)]
    max_steps = rng.randint(count, 3 * count) if seed % 2 else rng.randint(count, 100_000)
    evaluations = rng.randint(1, 50)
    plan = horizon(max_steps, 10, shares, evaluations)
    assert len(plan.rung_steps) == count
    assert list(plan.rung_steps) == sorted(set(plan.rung_steps))
    assert plan.rung_steps[0] >= 1
    assert plan.rung_steps[-1] == plan.max_steps == max_steps
    assert set(plan.rung_steps) <= plan.eval_steps <= plan.log_steps
    assert all(1 <= step <= max_steps for step in plan.log_steps)
    assert max_steps in plan.eval_steps
    assert len(plan.eval_steps) <= evaluations + count
    assert [plan.rung_at(step) for step in plan.rung_steps] == list(range(count))
    assert {plan.rung_at(step) for step in plan.log_steps - set(plan.rung_steps)} <= {None}


def test_rungs_lie_at_their_shares_where_there_is_room() -> None:
    assert horizon(900, 1, [1 / 9, 1 / 3, 1.0], 9).rung_steps == (100, 300, 900)


def test_evaluations_are_spread_evenly() -> None:
    plan = horizon(100, 1, [1.0], 4)
    assert sorted(plan.eval_steps) == [25, 50, 75, 100]
    assert len(plan.log_steps) == 16


def test_fewer_steps_than_rungs_are_refused() -> None:
    with pytest.raises(TooShort, match="2 optimiser steps are fewer than the 3 rungs"):
        horizon(2, 1, [0.1, 0.5, 1.0], 9)

"""Estimates the cost of a trial and a study from the profiles of a few configurations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tune_app.budget import BATCH_COUNTS, Unit
from tune_app.core.definition import Budget, StudyDefinition
from tune_app.core.trial import Params
from tune_app.simulation.profile import Profile
from tune_app.simulation.rehearsal import Schedule, Span, Speed


def good(profiles: Sequence[Profile]) -> list[Profile]:
    """The profiles whose configuration ran without an error."""
    return [profile for profile in profiles if not profile.error]


def together(profiles: Sequence[Profile], processes: int) -> list[Profile]:
    """Profiles of one process scaled to `processes`, without the cost of communication."""
    return [
        replace(
            profile,
            tokens_per_s=profile.tokens_per_s * processes,
            tokens_per_step=profile.tokens_per_step * processes,
            evaluation_s=profile.evaluation_s / processes,
        )
        for profile in profiles
    ]


def nearest(profiles: Sequence[Profile], params: Params) -> Profile:
    """The profile nearest to `params`; a doubled batch counts less than another choice."""

    def distance(profile: Profile) -> float:
        total = 0.0
        for name, value in profile.params.items():
            if name not in params or name not in profile.costly:
                continue
            if name in BATCH_COUNTS:
                total += 0.1 * abs(math.log2(params[name] / value))
            else:
                total += params[name] != value
        return total

    return min(profiles, key=distance)


def run_tokens(budget: Budget, profile: Profile, tokens_per_step: float) -> float:
    """Training tokens of a trial with the whole budget."""
    match budget.unit:
        case Unit.TOKENS:
            return float(budget.amount)
        case Unit.STEPS:
            return float(budget.amount * tokens_per_step)
        case Unit.EPOCHS:
            return float(budget.amount * profile.epoch_tokens)
        case Unit.SECONDS:
            return float(budget.amount * profile.tokens_per_s)


def speed(study: StudyDefinition, profiles: Sequence[Profile], params: Params) -> Speed:
    """The seconds of a trial with these values, at the speed of the nearest profile."""
    profile = nearest(profiles, params)
    larger = [
        params.get(name, profile.counts[name]) / profile.counts[name] for name in BATCH_COUNTS
    ]
    per_step = math.prod(larger) * profile.tokens_per_step
    tokens = run_tokens(study.budget, profile, per_step)
    return Speed(
        training_s=tokens / profile.tokens_per_s,
        evaluation_s=profile.evaluation_s,
        start_s=profile.start_s,
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """The estimated cost of a study."""

    trial_s: Span
    """Seconds of all trials together."""
    wall_s: Span
    gpu_hours: Span | None
    """None without GPUs."""
    money: Span | None
    """In the currency of the price; None without a price."""
    disk_bytes: Span
    """The most that checkpoints take at one time: weights and optimiser state."""


def cost(
    schedule: Schedule, profiles: Sequence[Profile], gpus: float, price_per_hour: float | None
) -> Cost:
    """The cost of a schedule.

    Args:
        profiles: of configurations that ran.
        gpus: of one trial, possibly a fraction.
        price_per_hour: of all machines together.
    """
    hours = schedule.wall_s.times(1 / 3600)
    return Cost(
        trial_s=schedule.trial_s,
        wall_s=schedule.wall_s,
        gpu_hours=schedule.trial_s.times(gpus / 3600) if gpus else None,
        money=None if price_per_hour is None else hours.times(price_per_hour),
        disk_bytes=_disk_bytes(schedule.most_checkpoints, profiles),
    )


def _disk_bytes(kept: Span, profiles: Sequence[Profile]) -> Span:
    size = Span.of(profile.checkpoint_bytes for profile in profiles)
    return Span(kept.low * size.low, kept.mean * size.mean, kept.high * size.high)


def compile_payback(study: StudyDefinition, profiles: Sequence[Profile]) -> str:
    """Whether torch_compile saves more time in a trial than compiling takes; "" if not measured."""
    pairs = [
        (plain, compiled)
        for compiled in profiles
        if compiled.params.get("torch_compile")
        for plain in profiles
        if {**plain.params, "torch_compile": True} == compiled.params and plain is not compiled
    ]
    if not pairs:
        return ""
    plain, compiled = pairs[0]
    extra_s = compiled.start_s - plain.start_s
    saved_s = 1 / plain.tokens_per_s - 1 / compiled.tokens_per_s
    tokens = run_tokens(study.budget, plain, plain.tokens_per_step)
    gain = compiled.tokens_per_s / plain.tokens_per_s
    head = f"torch_compile starts {extra_s:.1f} s later and runs at {gain:.2f} times the speed"
    if saved_s <= 0:
        return f"{head}: it never pays back"
    needed = extra_s / saved_s
    verdict = "pays back" if needed < tokens else "does not pay back"
    return f"{head}: it {verdict} within a trial ({needed:,.0f} of {tokens:,.0f} tokens)"

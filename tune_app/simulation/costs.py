"""From what was measured at a few corners of a space to what a trial and a study cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tune_app.budget import Unit
from tune_app.core.trial import Params
from tune_app.simulation.rehearsal import Speed

COUNTS = ("per_device_train_batch_size", "gradient_accumulation_steps")

Corner = Mapping[str, Any]
"""A measured corner, see `training.corners.Measured`; plain data."""


def good(corners: Sequence[Corner]) -> list[Corner]:
    """Those that ran."""
    return [corner for corner in corners if not corner["error"]]


def together(corners: Sequence[Corner], processes: int) -> list[Corner]:
    """What was measured in one process for several, as if none waited for another."""
    return [
        {
            **corner,
            "tokens_per_s": corner["tokens_per_s"] * processes,
            "tokens_per_step": corner["tokens_per_step"] * processes,
            "evaluation_s": corner["evaluation_s"] / processes,
        }
        for corner in corners
    ]


def nearest(corners: Sequence[Corner], params: Params) -> Corner:
    """The corner whose costly values differ least; a doubled batch counts less than a choice."""

    def distance(corner: Corner) -> float:
        total = 0.0
        for name, value in corner["params"].items():
            if name not in params or name not in corner["costly"]:
                continue
            if name in COUNTS:
                total += 0.1 * abs(math.log2(params[name] / value))
            else:
                total += params[name] != value
        return total

    return min(corners, key=distance)


def run_tokens(budget: Mapping[str, Any], corner: Corner, tokens_per_step: float) -> float:
    """Training tokens of a full run."""
    match Unit(budget["unit"]):
        case Unit.TOKENS:
            return float(budget["amount"])
        case Unit.STEPS:
            return float(budget["amount"] * tokens_per_step)
        case Unit.EPOCHS:
            return float(budget["amount"] * corner["epoch_tokens"])
        case Unit.SECONDS:
            return float(budget["amount"] * corner["tokens_per_s"])


def speed(document: Mapping[str, Any], corners: Sequence[Corner], params: Params) -> Speed:
    """What a trial with these values costs, at the speed of the nearest corner."""
    corner = nearest(corners, params)
    larger = [params.get(name, corner["counts"][name]) / corner["counts"][name] for name in COUNTS]
    per_step = math.prod(larger) * corner["tokens_per_step"]
    tokens = run_tokens(document["budget"], corner, per_step)
    return Speed(
        training_s=tokens / corner["tokens_per_s"],
        evaluation_s=corner["evaluation_s"],
        start_s=corner["start_s"],
    )


def money(wall_s: Mapping[str, float], price_per_hour: float) -> dict[str, float]:
    """What the machines cost while the study runs."""
    return {key: seconds / 3600 * price_per_hour for key, seconds in wall_s.items()}


def gpu_hours(trial_s: Mapping[str, float], gpus: float) -> dict[str, float]:
    """Hours that trials hold so many GPUs, or a part of one, times their number."""
    return {key: seconds / 3600 * gpus for key, seconds in trial_s.items()}


def disk_bytes(kept: Mapping[str, float], corners: Sequence[Corner]) -> dict[str, float]:
    """What the checkpoints take at the fullest moment: weights and optimiser state."""
    sizes = [corner["checkpoint_bytes"] for corner in corners]
    return {
        "low": kept["low"] * min(sizes),
        "mean": kept["mean"] * sum(sizes) / len(sizes),
        "high": kept["high"] * max(sizes),
    }


def compile_payback(document: Mapping[str, Any], corners: Sequence[Corner]) -> str:
    """Whether torch_compile earns within a trial what compiling costs; empty if not measured."""
    pairs = [
        (plain, compiled)
        for compiled in corners
        if compiled["params"].get("torch_compile")
        for plain in corners
        if {**plain["params"], "torch_compile": True} == compiled["params"]
        and plain is not compiled
    ]
    if not pairs:
        return ""
    plain, compiled = pairs[0]
    extra_s = compiled["start_s"] - plain["start_s"]
    saved_s = 1 / plain["tokens_per_s"] - 1 / compiled["tokens_per_s"]
    tokens = run_tokens(document["budget"], plain, plain["tokens_per_step"])
    gain = compiled["tokens_per_s"] / plain["tokens_per_s"]
    head = f"torch_compile starts {extra_s:.1f} s later and runs at {gain:.2f} times the speed"
    if saved_s <= 0:
        return f"{head}: it never pays back"
    needed = extra_s / saved_s
    verdict = "pays back" if needed < tokens else "does not pay back"
    return f"{head}: it {verdict} within a trial ({needed:,.0f} of {tokens:,.0f} tokens)"

"""A plan: what is simulated, what it costs, and how it is told."""

from __future__ import annotations

import io
import itertools
import json
from typing import Any

import pytest
from rich.console import Console

from tests.support.simulated import document
from tune_app.__main__ import main
from tune_app.console import plan_view
from tune_app.core.trial import Params
from tune_app.simulation import costs, rehearsal
from tune_app.simulation.rehearsal import Speed

COUNTS = costs.COUNTS
TWO_SPEEDS = {"x": {"type": "choice", "values": [1, 2], "weights": None}}


def always(params: Params) -> Speed:
    return Speed(training_s=100.0, evaluation_s=1.0, start_s=2.0)


def test_without_early_stopping_a_rehearsal_is_what_anybody_would_work_out() -> None:
    resolved = document(trials=6, scheduler={"name": "fifo"}, baseline=False)
    done = rehearsal.rehearse(resolved, 2, always, keep_best=3)
    assert len(done) == rehearsal.REHEARSALS
    for one in done:
        assert one.reached == (6,)
        assert one.runs == pytest.approx(6)
        # Each trial trains 100 s, evaluates six times and starts once; three after each other.
        assert one.trial_s == pytest.approx(6 * 108)
        assert one.wall_s == pytest.approx(3 * 108)
        # The best three, and those of two trials that have just come to their end.
        assert one.most_checkpoints == 5


def test_a_successive_halving_is_cheaper_and_counts_what_waits() -> None:
    done = rehearsal.rehearse(document(trials=28), 2, always, keep_best=3)
    for one in done:
        assert one.reached[0] == 28
        assert one.reached[0] > one.reached[1] > one.reached[2] >= 2
        assert 28 / 9 < one.runs < 14
        assert one.wall_s < one.trial_s < 2.001 * one.wall_s
        assert 3 < one.most_checkpoints <= 28


def test_a_study_that_maximises_is_rehearsed_too() -> None:
    resolved = document(trials=9, metric={"name": "final_eval_accuracy", "goal": "maximize"})
    assert all(one.reached[0] == 9 for one in rehearsal.rehearse(resolved, 1, always, 3))


def test_slow_values_make_a_study_longer() -> None:
    def by_value(params: Params) -> Speed:
        return Speed(training_s=100.0 * params["x"], evaluation_s=0.0, start_s=0.0)

    resolved = document(trials=2, parameters=TWO_SPEEDS, scheduler={"name": "fifo"}, baseline=False)
    for one in rehearsal.rehearse(resolved, 2, by_value, 3):
        assert one.trial_s == pytest.approx(300)
        assert one.wall_s == pytest.approx(200)


def test_large_studies_are_rehearsed_less_often_but_twice_at_least() -> None:
    ticks = itertools.count(0, 1000)
    done = rehearsal.rehearse(document(trials=3), 1, always, 3, clock=lambda: next(ticks))
    assert len(done) == 2


@pytest.mark.parametrize("searcher", ["random", "tpe"])
def test_the_examples_are_the_trials_that_the_study_will_begin_with(searcher: str) -> None:
    from tests.support.simulated import Simulation, searched

    resolved = document(trials=9, searcher=searcher)
    state = Simulation(resolved).run()
    assert rehearsal.first_suggestions(resolved, 3) == [t.params for t in searched(state)[:3]]


def test_a_space_that_is_smaller_has_fewer_examples() -> None:
    resolved = document(trials=9, parameters=TWO_SPEEDS, baseline_params={"x": 1})
    assert rehearsal.first_suggestions(resolved, 3) == [{"x": 2}]


def test_a_summary_has_a_range_for_each_figure() -> None:
    resolved = document(trials=28)
    summary = rehearsal.summary(resolved, rehearsal.rehearse(resolved, 2, always, 3))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert [rung["share"] for rung in summary["rungs"]] == resolved["rungs"]
    for span in (summary["runs"], summary["wall_s"], summary["rungs"][1]["trials"]):
        assert span["low"] <= span["mean"] <= span["high"]


def corner(batch: int = 4, steps: int = 1, **changes: Any) -> dict[str, Any]:
    params = {COUNTS[0]: batch, COUNTS[1]: steps, **changes.pop("params", {})}
    return {
        "params": params,
        "costly": list(params),
        "error": "",
        "counts": {COUNTS[0]: batch, COUNTS[1]: steps},
        "tokens_per_s": 1000.0,
        "tokens_per_step": batch * steps * 10,
        "tokens_per_sample": 10,
        "epoch_tokens": 5000,
        "start_s": 1.0,
        "evaluation_s": 0.5,
        "peak_bytes": 10**8,
        "parameters": 1000,
        "checkpoint_bytes": 12_000,
    } | changes


@pytest.mark.parametrize(
    ("batch", "optim", "expected"),
    [(4, "a", 0), (5, "a", 0), (16, "a", 1), (4, "b", 2), (16, "b", 2)],
)
def test_a_trial_has_the_speed_of_the_corner_that_is_like_it(
    batch: int, optim: str, expected: int
) -> None:
    known = [
        corner(4, params={"optim": "a"}),
        corner(16, params={"optim": "a"}),
        corner(16, params={"optim": "b"}),
    ]
    params = {COUNTS[0]: batch, COUNTS[1]: 1, "optim": optim, "learning_rate": 0.1}
    assert costs.nearest(known, params) is known[expected]


@pytest.mark.parametrize(
    ("budget", "training_s"),
    [
        ({"unit": "tokens", "amount": 3000}, 3.0),
        ({"unit": "steps", "amount": 100}, 8.0),
        ({"unit": "epochs", "amount": 2}, 10.0),
        ({"unit": "seconds", "amount": 7}, 7.0),
    ],
)
def test_a_budget_of_any_unit_becomes_seconds(budget: dict[str, Any], training_s: float) -> None:
    params = {COUNTS[0]: 8, COUNTS[1]: 1}
    speed = costs.speed({"budget": budget}, [corner(4)], params)
    assert speed == Speed(training_s, evaluation_s=0.5, start_s=1.0)


def test_several_processes_are_planned_as_if_none_waited_for_another() -> None:
    params = {COUNTS[0]: 8, COUNTS[1]: 1}
    for unit, amount, training_s in (("tokens", 3000, 1.5), ("steps", 100, 8), ("seconds", 7, 7)):
        budget = {"unit": unit, "amount": amount}
        speed = costs.speed({"budget": budget}, costs.together([corner(4)], 2), params)
        assert speed == Speed(training_s, evaluation_s=0.25, start_s=1.0)
    content = plan(resources={"cpu": 1, "gpu": 1, "processes": 2})
    assert "supposes that 2 together are 2 times as fast" in " ".join(
        " ".join(shown(content)).split()
    )
    assert "together" not in " ".join(shown(plan()))


def test_money_hours_and_disk_follow_from_ranges() -> None:
    seconds = {"low": 1800.0, "mean": 3600.0, "high": 7200.0}
    assert costs.money(seconds, 3.0) == {"low": 1.5, "mean": 3.0, "high": 6.0}
    assert costs.gpu_hours(seconds, 0.5)["high"] == 1.0
    kept = {"low": 1, "mean": 2.0, "high": 3}
    sizes = [corner(checkpoint_bytes=10), corner(checkpoint_bytes=30)]
    assert costs.disk_bytes(kept, sizes) == {"low": 10, "mean": 40.0, "high": 90}


@pytest.mark.parametrize(
    ("start_s", "speed", "words"),
    [
        (11.0, 2000.0, "pays back within a trial (20,000 of 50,000 tokens)"),
        (101.0, 2000.0, "does not pay back within a trial (200,000 of 50,000 tokens)"),
        (11.0, 900.0, "never pays back"),
    ],
)
def test_compiling_is_told_to_pay_back_or_not(start_s: float, speed: float, words: str) -> None:
    plain = corner(params={"torch_compile": False})
    compiled = corner(params={"torch_compile": True}, start_s=start_s, tokens_per_s=speed)
    budget = {"budget": {"unit": "tokens", "amount": 50_000}}
    assert words in costs.compile_payback(budget, [plain, compiled])
    assert costs.compile_payback(budget, [plain]) == ""


def plan(**changes: Any) -> dict[str, Any]:
    resolved = document(trials=28)
    schedule = rehearsal.summary(resolved, rehearsal.rehearse(resolved, 2, always, 3))
    kinds = {"optim": "adamw_torch"}
    broken = corner(64, params=kinds, error="out of memory: nothing left")
    return {
        "study": "sweep.yaml",
        "metric": resolved["metric"],
        "budget": {"unit": "tokens", "amount": 60_000, "trials": 28, "evaluations": 6},
        "searcher": "tpe",
        "scheduler": "asha",
        "data": {"corpus": "ru", "train_tokens": 2_330_000},
        "space": {"learning_rate": "0.0001 to 0.02 (log)", "size": "nano"},
        "searched": ["learning_rate"],
        "combinations": 1234,
        "left_out": [{"parameter": "optim", "value": "x", "reason": "[not] here"}],
        "probed": [
            {"parameter": "bf16", "value": True, "reason": None, "speed": 0.5, "seconds": None}
        ],
        "findings": ["warmup_steps 50 is no shorter than the whole run " + "here and there " * 9],
        "examples": [{"learning_rate": 1e-3}],
        "machines": "2 CPUs",
        "slots": 2,
        "resources": {"cpu": 1, "gpu": 0, "processes": 1},
        "corners": [corner(4, params=kinds), corner(16, params=kinds), broken],
        "corners_not_measured": 3,
        "largest_batch": 48,
        "compiling": "torch_compile never pays back",
        "schedule": schedule,
        "cost": {
            "trial_s": schedule["trial_s"],
            "wall_s": schedule["wall_s"],
            "gpu_hours": schedule["runs"],
            "money": schedule["runs"],
            "disk_bytes": {"low": 1e6, "mean": 2e6, "high": 3e6},
        },
    } | changes


def shown(content: dict[str, Any], width: int = 80) -> list[str]:
    stream = io.StringIO()
    plan_view.write(Console(file=stream, highlight=False, width=width), content)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 240])
def test_a_plan_fits_its_columns_and_ends_its_lines(width: int) -> None:
    lines = shown(plan(), width)
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    text = " ".join(" ".join(lines).split())
    for words in (
        "28 trials of at most 60,000 tokens, tpe and asha",
        "1,234 combinations",
        "optim = x: [not] here",
        "0.5 times the speed of float32",
        "warmup_steps 50 is no shorter",
        "learning_rate=0.001",
        "out of memory: nothing left",
        "3 more corners were not measured",
        "the largest micro-batch that fits: 48",
        "reach 11 % 28 trials",
        "instead of 28",
        "GPU-hours",
        "money",
        "2 MB (1 MB to 3 MB)",
    ):
        assert words in text


def test_a_plan_without_a_price_or_a_gpu_speaks_of_neither() -> None:
    content = plan()
    content["cost"] |= {"gpu_hours": None, "money": None}
    text = "\n".join(shown(content))
    assert "GPU-hours" not in text
    assert "money" not in text


def test_a_plan_without_a_corner_that_ran_says_so() -> None:
    broken = corner(error="RuntimeError: no")
    lines = shown(plan(corners=[broken], schedule=None, cost=None, combinations=None))
    assert "nothing to tell a cost from" in lines[-1]
    assert any("infinite" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no.yaml"], "no such study file"),
        (["--set", "trainable=nothing"], "unknown trainable"),
        (["--set", "budget.tokens=-1"], "budget.tokens"),
        (["--price-per-hour", "-1"], "no price"),
        (["--price-per-hour", "nan"], "no price"),
    ],
)
def test_mistakes_are_told_as_run_tells_them(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error

"""A plan: what is simulated, what it costs, and how it is told."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from tests.support.simulated import defined, document
from tune_app.__main__ import main
from tune_app.budget import ACCUMULATION, MICRO_BATCH, Unit
from tune_app.console import plan_view
from tune_app.console.plan import Plan
from tune_app.core.definition import Budget, StudyDefinition
from tune_app.core.trial import Params
from tune_app.simulation import costs, rehearsal
from tune_app.simulation.costs import Cost
from tune_app.simulation.profile import Profile
from tune_app.simulation.rehearsal import Schedule, Span, Speed
from tune_app.space.domains import Choice, Fixed, Float, to_document
from tune_app.training.preflight.messages import Impossible, Probed

TWO_SPEEDS = {"x": {"type": "choice", "values": [1, 2], "weights": None}}


def always(params: Params) -> Speed:
    return Speed(training_s=100.0, evaluation_s=1.0, start_s=2.0)


def test_without_early_stopping_a_rehearsal_is_what_anybody_would_work_out() -> None:
    resolved = document(trials=6, scheduler={"name": "fifo"}, baseline=False)
    done = rehearsal.rehearse(StudyDefinition.from_document(resolved), 2, always, keep_best=3)
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
    done = rehearsal.rehearse(defined(trials=28), 2, always, keep_best=3)
    for one in done:
        assert one.reached[0] == 28
        assert one.reached[0] > one.reached[1] > one.reached[2] >= 2
        assert 28 / 9 < one.runs < 14
        assert one.wall_s < one.trial_s < 2.001 * one.wall_s
        assert 3 < one.most_checkpoints <= 28


def test_a_study_that_maximises_is_rehearsed_too() -> None:
    resolved = document(trials=9, metric={"name": "final_eval_accuracy", "goal": "maximize"})
    assert all(
        one.reached[0] == 9
        for one in rehearsal.rehearse(StudyDefinition.from_document(resolved), 1, always, 3)
    )


def test_slow_values_make_a_study_longer() -> None:
    def by_value(params: Params) -> Speed:
        return Speed(training_s=100.0 * params["x"], evaluation_s=0.0, start_s=0.0)

    resolved = document(trials=2, parameters=TWO_SPEEDS, scheduler={"name": "fifo"}, baseline=False)
    for one in rehearsal.rehearse(StudyDefinition.from_document(resolved), 2, by_value, 3):
        assert one.trial_s == pytest.approx(300)
        assert one.wall_s == pytest.approx(200)


def test_large_studies_are_rehearsed_less_often_but_twice_at_least() -> None:
    ticks = itertools.count(0, 1000)
    done = rehearsal.rehearse(defined(trials=3), 1, always, 3, clock=lambda: next(ticks))
    assert len(done) == 2


@pytest.mark.parametrize("searcher", ["random", "tpe"])
def test_the_examples_are_the_trials_that_the_study_will_begin_with(searcher: str) -> None:
    from tests.support.simulated import Simulation, searched

    resolved = document(trials=9, searcher=searcher)
    state = Simulation(resolved).run()
    assert rehearsal.first_suggestions(StudyDefinition.from_document(resolved), 3) == [
        t.params for t in searched(state)[:3]
    ]


def test_a_space_that_is_smaller_has_fewer_examples() -> None:
    resolved = document(trials=9, parameters=TWO_SPEEDS, baseline_params={"x": 1})
    assert rehearsal.first_suggestions(StudyDefinition.from_document(resolved), 3) == [{"x": 2}]


def test_a_schedule_has_a_range_for_each_figure() -> None:
    study = defined(trials=28)
    schedule = rehearsal.schedule(study, rehearsal.rehearse(study, 2, always, 3))
    assert tuple(rung.share for rung in schedule.rungs) == study.rungs
    for span in (schedule.runs, schedule.wall_s, schedule.rungs[1].trials):
        assert span.low <= span.mean <= span.high


def profile(batch: int = 4, steps: int = 1, **changes: Any) -> Profile:
    params = {MICRO_BATCH: batch, ACCUMULATION: steps, **changes.pop("params", {})}
    return replace(
        Profile(
            params,
            list(params),
            counts={MICRO_BATCH: batch, ACCUMULATION: steps},
            tokens_per_s=1000.0,
            tokens_per_step=batch * steps * 10,
            tokens_per_sample=10,
            epoch_tokens=5000,
            start_s=1.0,
            evaluation_s=0.5,
            peak_bytes=10**8,
            parameters=1000,
            checkpoint_bytes=12_000,
        ),
        **changes,
    )


def of_budget(unit: str, amount: float) -> StudyDefinition:
    return replace(defined(), budget=Budget(Unit(unit), amount, trials=9, evaluations=6))


@pytest.mark.parametrize(
    ("batch", "optim", "expected"),
    [(4, "a", 0), (5, "a", 0), (16, "a", 1), (4, "b", 2), (16, "b", 2)],
)
def test_a_trial_has_the_speed_of_the_profile_that_is_like_it(
    batch: int, optim: str, expected: int
) -> None:
    known = [
        profile(4, params={"optim": "a"}),
        profile(16, params={"optim": "a"}),
        profile(16, params={"optim": "b"}),
    ]
    params = {MICRO_BATCH: batch, ACCUMULATION: 1, "optim": optim, "learning_rate": 0.1}
    assert costs.nearest(known, params) is known[expected]


@pytest.mark.parametrize(
    ("budget", "training_s"),
    [
        (("tokens", 3000), 3.0),
        (("steps", 100), 8.0),
        (("epochs", 2), 10.0),
        (("seconds", 7), 7.0),
    ],
)
def test_a_budget_of_any_unit_becomes_seconds(budget: tuple[str, float], training_s: float) -> None:
    params = {MICRO_BATCH: 8, ACCUMULATION: 1}
    speed = costs.speed(of_budget(*budget), [profile(4)], params)
    assert speed == Speed(training_s, evaluation_s=0.5, start_s=1.0)


def test_several_processes_are_planned_as_if_none_waited_for_another() -> None:
    params = {MICRO_BATCH: 8, ACCUMULATION: 1}
    for unit, amount, training_s in (("tokens", 3000, 1.5), ("steps", 100, 8), ("seconds", 7, 7)):
        speed = costs.speed(of_budget(unit, amount), costs.together([profile(4)], 2), params)
        assert speed == Speed(training_s, evaluation_s=0.25, start_s=1.0)
    content = plan(gpu=1, processes=2)
    assert "assume that 2 processes are 2 times as fast" in " ".join(
        " ".join(shown(content)).split()
    )
    assert "assume that" not in " ".join(shown(plan()))


def test_money_hours_and_disk_follow_from_ranges() -> None:
    seconds, one = Span(1800.0, 3600.0, 7200.0), Span(1, 2, 3)
    schedule = Schedule(2, 9, (), one, seconds, seconds, most_checkpoints=one)
    sizes = [profile(checkpoint_bytes=10), profile(checkpoint_bytes=30)]
    cost = costs.cost(schedule, sizes, 0.5, 3.0)
    assert cost.money == Span(1.5, 3.0, 6.0)
    assert cost.gpu_hours == Span(0.25, 0.5, 1.0)
    assert cost.disk_bytes == Span(10, 40.0, 90)
    free = costs.cost(schedule, sizes, 0.0, None)
    assert (free.money, free.gpu_hours) == (None, None)


@pytest.mark.parametrize(
    ("start_s", "speed", "words"),
    [
        (11.0, 2000.0, "pays back within a trial (20,000 of 50,000 tokens)"),
        (101.0, 2000.0, "does not pay back within a trial (200,000 of 50,000 tokens)"),
        (11.0, 900.0, "never pays back"),
    ],
)
def test_compiling_is_told_to_pay_back_or_not(start_s: float, speed: float, words: str) -> None:
    plain = profile(params={"torch_compile": False})
    compiled = profile(params={"torch_compile": True}, start_s=start_s, tokens_per_s=speed)
    study = of_budget("tokens", 50_000)
    assert words in costs.compile_payback(study, [plain, compiled])
    assert costs.compile_payback(study, [plain]) == ""


SPACE = {
    "learning_rate": to_document(Float(1e-4, 0.02, log=True)),
    "optim": to_document(Choice(tuple(f"o{number}" for number in range(1234)))),
    "size": to_document(Fixed("nano")),
}


def plan(**changes: Any) -> Plan:
    simulated = defined(trials=28)
    schedule = rehearsal.schedule(simulated, rehearsal.rehearse(simulated, 2, always, 3))
    study = defined(trials=28, searcher="tpe", parameters=SPACE)
    kinds = {"optim": "adamw_torch"}
    broken = profile(64, params=kinds, error="out of memory: nothing left")
    cost = Cost(
        schedule.trial_s, schedule.wall_s, schedule.runs, schedule.runs, Span(1e6, 2e6, 3e6)
    )
    made = Plan(
        study=replace(
            study,
            source="sweep.yaml",
            budget=Budget(Unit.TOKENS, 60_000, trials=28, evaluations=6),
            data={"corpus": "ru", "train_tokens": 2_330_000},
        ),
        left_out=(Impossible("optim", "x", "[not] here"),),
        probed=(Probed("bf16", True, None, speed=0.5),),
        findings=("warmup_steps 50 is no shorter than the whole run " + "here and there " * 9,),
        examples=({"learning_rate": 1e-3},),
        machines="2 CPUs",
        slots=2,
        cpu=1,
        gpu=0,
        processes=1,
        profiles=(profile(4, params=kinds), profile(16, params=kinds), broken),
        not_profiled=3,
        largest_batch=48,
        schedule=schedule,
        cost=cost,
        compiling="torch_compile never pays back",
    )
    return replace(made, **changes)


def test_a_plan_is_strict_json() -> None:
    content = plan().as_json()
    text = json.dumps(content, allow_nan=False)
    assert json.loads(text)["schedule"]["runs"] == content["schedule"]["runs"]


def shown(content: Plan, width: int = 80) -> list[str]:
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
        "infinite",
        "optim = x: [not] here",
        "0.5 times the speed of float32",
        "warmup_steps 50 is no shorter",
        "learning_rate=0.001",
        "out of memory: nothing left",
        "3 more configurations were not measured",
        "the largest micro-batch that fits: 48",
        "reach 11 % 28 trials",
        "instead of 28",
        "GPU-hours",
        "money",
        "2 MB (1 MB to 3 MB)",
    ):
        assert words in text


def test_a_plan_without_a_price_or_a_gpu_speaks_of_neither() -> None:
    cost = plan().cost
    assert cost is not None
    text = "\n".join(shown(plan(cost=replace(cost, gpu_hours=None, money=None))))
    assert "GPU-hours" not in text
    assert "money" not in text


def test_a_plan_without_a_profile_says_so() -> None:
    broken = profile(error="RuntimeError: no")
    lines = shown(plan(profiles=(broken,), schedule=None, cost=None))
    assert "the cost cannot be estimated" in lines[-1]
    assert any("infinite" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no.yaml"], "no such study file"),
        (["--set", "trainable=nothing"], "unknown trainable"),
        (["--set", "budget.tokens=-1"], "budget.tokens"),
        (["--price-per-hour", "-1"], "is not a price"),
        (["--price-per-hour", "nan"], "is not a price"),
    ],
)
def test_mistakes_are_told_as_run_tells_them(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error

"""What a space holds twice, or in vain, is told before it is paid for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.simulated import defined
from tune_app.errors import UserError
from tune_app.space.constraints import read_constraints
from tune_app.space.domains import Choice, Domain, Fixed, Float, to_document
from tune_app.training import trainable
from tune_app.training.effective import warm_up_steps
from tune_app.training.preflight import inert, preflight
from tune_app.training.preflight.equivalence import Run, findings, twins

LONG = [Run(8, 1, 100, 11)]


def told(
    space: dict[str, Any], runs: list[Run] | None = None, when: dict[str, str] | None = None
) -> list[str]:
    domains: dict[str, Domain] = {
        name: Choice(tuple(item)) if isinstance(item, list) else item
        for name, item in space.items()
    }
    constraints, problems = read_constraints(domains, [], when or {})
    assert not problems
    lengths = LONG if runs is None else runs
    return findings(trainable.load("causal_lm"), domains, lengths, "cpu", constraints)


def test_one_cycle_of_restarts_is_cosine_and_the_way_out_is_named() -> None:
    assert told({"lr_scheduler_type": ["cosine_with_restarts", "cosine"]}) == [
        "lr_scheduler_type: cosine_with_restarts and cosine give the same run (one cycle); "
        "set lr_scheduler_kwargs.num_cycles to tell them apart"
    ]


def test_a_way_out_that_others_refuse_is_not_recommended_blindly() -> None:
    (text,) = told({"lr_scheduler_type": ["linear", "cosine", "cosine_with_restarts"]})
    assert text.endswith("num_cycles tells them apart, but linear cannot take it")


def test_with_more_cycles_they_are_told_apart() -> None:
    space = {
        "lr_scheduler_type": ["cosine", "cosine_with_restarts"],
        "lr_scheduler_kwargs": Fixed({"num_cycles": 3}),
    }
    assert told(space) == []


def test_more_cycles_that_are_set_by_a_name_with_dots_count_too() -> None:
    space = {
        "lr_scheduler_type": ["cosine", "cosine_with_restarts"],
        "lr_scheduler_kwargs.num_cycles": Fixed(3),
    }
    assert told(space) == []
    space["lr_scheduler_type"] = ["linear", "cosine"]
    assert "linear cannot be made with these lr_scheduler_kwargs" in told(space)[0]


def test_options_under_a_condition_count_for_the_schedules_that_have_them() -> None:
    space = {
        "lr_scheduler_type": ["linear", "cosine_with_restarts"],
        "lr_scheduler_kwargs.num_cycles": [2, 3],
    }
    option, condition = "lr_scheduler_kwargs.num_cycles", "lr_scheduler_type != 'linear'"
    assert told(space, when={option: condition}) == []
    assert "linear cannot be made" in told(space)[0]


@pytest.mark.parametrize(
    ("types", "options", "texts"),
    [
        (
            ["cosine_with_restarts"],
            [{"num_cycles": 1}, None, {"num_cycles": 3}],
            ['lr_scheduler_kwargs: {"num_cycles": 1} and null give the same run'],
        ),
        (
            ["cosine", "cosine_with_restarts"],
            [None, {"num_cycles": 1}, {"num_cycles": 0.5}],
            [
                'lr_scheduler_kwargs: null and {"num_cycles": 0.5} give the same run with '
                "lr_scheduler_type cosine",
                'lr_scheduler_kwargs: null and {"num_cycles": 1} give the same run with '
                "lr_scheduler_type cosine_with_restarts",
            ],
        ),
        (["linear"], [None, {}], ["lr_scheduler_kwargs changes nothing with"]),
        (["cosine_with_restarts"], [None, {"num_cycles": 2}], []),
        (
            ["cosine_with_restarts"],
            [None, {"num_cycles": 1}],
            ["lr_scheduler_kwargs changes nothing with lr_scheduler_type cosine_with_restarts"],
        ),
    ],
)
def test_options_with_one_curve_are_told_with_the_schedules_that_have_it(
    types: list[str], options: list[Any], texts: list[str]
) -> None:
    found = told({"lr_scheduler_type": types, "lr_scheduler_kwargs": options})
    assert len(found) == len(texts)
    assert all(any(item.startswith(text) for item in found) for text in texts)


def test_schedules_that_are_one_only_without_warm_up_are_told_so() -> None:
    space = {
        "lr_scheduler_type": ["constant", "constant_with_warmup"],
        "warmup_steps": [0, 5],
    }
    assert told(space) == [
        "lr_scheduler_type: constant and constant_with_warmup give the same run with "
        "warmup_steps 0",
        "warmup_steps changes nothing with lr_scheduler_type constant",
    ]


def test_without_any_warm_up_they_are_always_one() -> None:
    (text,) = told({"lr_scheduler_type": ["constant", "constant_with_warmup"]})
    assert text == "lr_scheduler_type: constant and constant_with_warmup give the same run"


def test_a_schedule_that_cannot_be_made_is_told_with_the_reason() -> None:
    (text,) = told({"lr_scheduler_type": ["linear", "cosine_with_min_lr"]})
    assert "cosine_with_min_lr cannot be made" in text
    assert "min_lr" in text


def test_schedules_that_look_at_the_loss_are_compared_with_nothing() -> None:
    assert told({"lr_scheduler_type": ["reduce_lr_on_plateau", "linear"]}) == []


def test_a_searched_learning_rate_does_not_hide_equal_schedules() -> None:
    space = {
        "learning_rate": Float(1e-5, 1e-2, log=True),
        "lr_scheduler_type": ["cosine", "cosine_with_restarts"],
    }
    assert len(told(space)) == 1


def test_a_long_warm_up_is_told_with_its_batch_sizes() -> None:
    runs = [Run(4, 1, 900, 100), Run(8, 1, 450, 50), Run(16, 2, 112, 12)]
    texts = told({"warmup_steps": [0, 50, 200], "lr_scheduler_type": ["linear", "cosine"]}, runs)
    assert texts == [
        "warmup_steps no shorter than the whole run: 200 at batches of 16 x 2 (112 steps)",
        "warmup_steps that last to the first rung, where trials are compared: "
        "50 at batches of 16 x 2 (12 steps), 8 x 1 (50 steps); "
        "200 at batches of 8 x 1 (50 steps), 4 x 1 (100 steps)",
    ]


def test_of_many_long_warm_ups_the_shortest_runs_are_named() -> None:
    runs = [Run(size, 1, 1000 // size, 100 // size) for size in (2, 4, 8, 16, 32)]
    assert told({"warmup_steps": Fixed(500)}, runs) == [
        "warmup_steps no shorter than the whole run: 500 at batches of 32 x 1 (31 steps), "
        "16 x 1 (62 steps), 8 x 1 (125 steps) and 2 more"
    ]


def test_a_warm_up_that_no_schedule_makes_is_not_too_long() -> None:
    texts = told({"warmup_steps": [0, 500], "lr_scheduler_type": ["constant"]})
    assert texts == ["warmup_steps changes nothing with lr_scheduler_type constant"]


def test_no_steps_are_known_for_a_budget_in_seconds() -> None:
    assert told({"warmup_steps": [0, 10**6]}, []) == []


def test_a_part_of_all_steps_is_rounded_as_transformers_does() -> None:
    from transformers import TrainingArguments

    for warmup, steps in ((0.05, 27), (0.5, 3), (1, 10), (7, 10), (0, 10)):
        args = TrainingArguments(warmup_steps=warmup, use_cpu=True, report_to="none")
        assert warm_up_steps(warmup, steps) == args.get_warmup_steps(steps)


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ((1, 1.0), 1),
        ((0, 0.0, 2), 1),
        ((1, True), 0),
        ((1, "1"), 0),
        (([1, 2], [1.0, 2.0]), 1),
        (({"a": 1}, {"a": 1.0}), 1),
    ],
)
def test_the_same_number_written_twice_is_told(values: tuple[Any, ...], same: int) -> None:
    assert len(twins({"warmup_steps": Choice(values)})) == same


def test_equal_products_of_batch_size_and_accumulation_are_told() -> None:
    runs = [Run(4, 1, 90, 10), Run(4, 2, 45, 5), Run(8, 1, 45, 5), Run(8, 2, 22, 3)]
    assert told({}, runs) == [
        "batches (size x accumulation) of the same examples: 4 x 2 = 8 x 1; these differ in "
        "speed and memory, hardly in loss"
    ]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"adam_beta1": [0.9, 0.95], "optim": ["adafactor"]}, "adam_beta1 changes nothing"),
        ({"adam_epsilon": Fixed(1e-6), "optim": Fixed("sgd")}, "adam_epsilon changes nothing"),
        ({"adam_beta2": [0.9, 0.99], "optim": ["adamw_torch"]}, ""),
        ({"adam_beta2": [0.9, 0.99], "optim": ["adamw_torch", "adafactor"]}, "optim adafactor"),
        ({"adam_beta1": Fixed(0.9), "optim": Fixed("adafactor")}, ""),
        ({"bf16": [True, False], "fp16": [True, False]}, "would fail"),
        ({"bf16": [True, False], "fp16": Fixed(False)}, ""),
        ({"torch_compile_backend": Fixed("eager")}, "turns compiling on"),
        ({"torch_compile_backend": Fixed("eager"), "torch_compile": Fixed(True)}, ""),
        ({"max_grad_norm": [0.0, 1.0]}, "clips no gradients"),
        ({"max_grad_norm": [0.5, 1.0]}, ""),
        ({"gradient_checkpointing_kwargs": Fixed({"use_reentrant": False})}, "changes nothing"),
    ],
)
def test_what_is_masked_by_another_value_is_told(space: dict[str, Any], words: str) -> None:
    texts = told(space)
    assert len(texts) == bool(words)
    assert words in "".join(texts)


def test_both_precisions_at_once_are_refused_only_where_nothing_else_is_left() -> None:
    both: dict[str, Domain] = {"bf16": Fixed(True), "fp16": Fixed(True)}
    assert inert.contradictions(both)
    assert not inert.contradictions({**both, "fp16": Choice((True, False))})
    parameters = {name: to_document(domain) for name, domain in both.items()}
    with pytest.raises(UserError, match="cannot both be true"):
        preflight.check_names(defined(trainable="causal_lm", parameters=parameters))

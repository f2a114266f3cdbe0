"""W&B sweeps: distributions mean what they mean there; every mistake is told with its place."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from tune_app.errors import Problem
from tune_app.space import wandb_sweep
from tune_app.space.domains import Choice, Domain, Fixed, Float, Int, grid, sample
from tune_app.space.wandb_parameters import DISTRIBUTIONS
from tune_app.study import yaml_source


def parse(text: str) -> tuple[wandb_sweep.Sweep, list[Problem]]:
    source = yaml_source.parse(text, "sweep.yaml")
    parsed = wandb_sweep.parse(source.data, source.where)
    return parsed.sweep, [*source.problems, *parsed.problems]


def warnings(text: str) -> list[str]:
    source = yaml_source.parse(text, "sweep.yaml")
    parsed = wandb_sweep.parse(source.data, source.where)
    assert not [*source.problems, *parsed.problems]
    told = [str(item) for item in [*source.warnings, *parsed.warnings]]
    return [text for text in told if "none is given" not in text]


def domain(entry: str) -> Domain:
    sweep, problems = parse(f"parameters:\n  p: {{{entry}}}")
    assert not problems, problems
    return sweep.parameters["p"]


def problem(entry: str) -> Problem:
    sweep, problems = parse(f"parameters:\n  p: {{{entry}}}")
    assert len(problems) == 1, problems
    assert "p" not in sweep.parameters
    return problems[0]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("value: 3", Fixed(3)),
        ("value: 3, distribution: constant", Fixed(3)),
        ("value: null", Fixed(None)),
        ("value: [1, {a: b}]", Fixed([1, {"a": "b"}])),
        ("values: [1]", Fixed(1)),
        ("values: [1, 1.0, true, '1', null]", Choice((1, 1.0, True, "1", None))),
        ("values: [a, b], distribution: categorical", Choice(("a", "b"))),
        ("values: [a, b], probabilities: [0.25, 0.75]", Choice(("a", "b"), (0.25, 0.75))),
        (
            "values: [a, b], probabilities: [0.5, 0.5], distribution: categorical_w_probabilities",
            Choice(("a", "b")),
        ),
        ("min: 1, max: 5", Int(1, 5)),
        ("min: 1, max: 5.0", Float(1.0, 5.0)),
        ("min: 1, max: 5, distribution: uniform", Float(1.0, 5.0)),
        ("min: 2., max: 8., distribution: int_uniform", Int(2, 8)),
        ("min: 1e-5, max: 1e-3", Float(1e-5, 1e-3)),
        ("min: 1e-5, max: 1e-3, distribution: log_uniform_values", Float(1e-5, 1e-3, True)),
        ("min: 0, max: 1, distribution: log_uniform", Float(1.0, math.e, True)),
        (
            "min: -11.5, max: -2.3, distribution: log_uniform",
            Float(math.exp(-11.5), math.exp(-2.3), True),
        ),
    ],
)
def test_every_form_is_read(entry: str, expected: Domain) -> None:
    read = domain(entry)
    assert repr(read) == repr(expected)


@pytest.mark.parametrize(
    ("low", "high", "q", "values"),
    [
        ("3", "16", "8", [0, 8, 16]),
        ("10", "100", "10", list(range(10, 101, 10))),
        ("0", "1", "0.25", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("0.1", "0.7", "0.1", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ("-1", "1", "1", [-1, 0, 1]),
        ("0.04", "0.16", "0.1", [0.0, 0.1, 0.2]),
    ],
)
def test_quantised_values_are_the_multiples_of_q_that_wandb_draws(
    low: str, high: str, q: str, values: list[float]
) -> None:
    read = domain(f"distribution: q_uniform, min: {low}, max: {high}, q: {q}")
    assert repr(grid(read)) == repr(values)


@pytest.mark.parametrize("seed", range(100))
def test_every_draw_of_wandb_is_a_value_of_ours(seed: int) -> None:
    """W&B draws round(x / q) * q, whole when q is: its src/sweeps/params.py, `ppf`."""
    rng = random.Random(seed)
    q: float = rng.choice([1, 2, 8, 10, 0.1, 0.25, 0.05])
    low = round(rng.uniform(q, 20), 2)
    high = low + round(rng.uniform(2 * q, 100), 2)
    log = seed % 2 == 0
    name = "q_log_uniform_values" if log else "q_uniform"
    read = domain(f"distribution: {name}, min: {low}, max: {high}, q: {q}")
    ours = grid(read)
    assert ours is not None
    assert all(isinstance(value, type(q)) for value in ours)
    theirs = set()
    for position in range(2001):
        share = position / 2000
        x = low * (high / low) ** share if log else low + share * (high - low)
        theirs.add(round(x / q))
    assert {round(value / q) for value in ours} >= theirs
    drawn = {round(sample(read, rng) / q) for _ in range(2000)}
    assert drawn <= set(range(min(theirs), max(theirs) + 1))
    assert ours[0] == pytest.approx(min(theirs) * q)
    assert ours[-1] == pytest.approx(max(theirs) * q)


def test_q_is_one_where_it_is_not_given() -> None:
    assert grid(domain("distribution: q_uniform, min: 0.6, max: 3.4")) == [1, 2, 3]
    assert grid(domain("distribution: q_log_uniform, min: 0, max: 2")) == [1, 2, 3, 4, 5, 6, 7]


def test_a_logarithmic_range_is_drawn_between_its_ends() -> None:
    read = domain("distribution: log_uniform, min: -9, max: -2")
    rng = random.Random(0)
    draws = [sample(read, rng) for _ in range(1000)]
    assert min(draws) >= math.exp(-9)
    assert max(draws) <= math.exp(-2)
    assert sum(math.log(draw) for draw in draws) / 1000 == pytest.approx(-5.5, abs=0.2)


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("min: 1", "min given"),
        ("max: 1", "max given"),
        ("value: 1, values: [1, 2]", "value beside values can be read in two ways"),
        ("min: 1, value: 1", "a constant: take min out; a range: take value out, add max"),
        ("min: 1, max: 2, value: 1", "a constant: take min and max out; a range: take value out"),
        ("min: 1, max: 2, values: [1]", "a choice: take min and max out; a range: take values out"),
        ("min: 1, value: 1, values: [1]", "can be read in 3 ways"),
        ("distribution: uniform", "none of them given"),
        ("min: 3, max: 1", "is empty"),
        ("min: 1, max: 1", "is one value"),
        ("min: a, max: 1", "not a number"),
        ("min: .nan, max: 1", "not a number"),
        ("min: 0, max: .inf", "not a number"),
        ("min: true, max: 3", "not a number"),
        (f"min: 0, max: {'9' * 400}", "not a number"),
        (f"min: 0, max: {'9' * 5000}", "not a number"),
        ("min: 1.5, max: 3, distribution: int_uniform", "not whole numbers"),
        ("min: 0, max: 1, distribution: log_uniform_values", "no logarithm"),
        ("min: -1, max: 1, distribution: q_log_uniform_values", "no logarithm"),
        ("min: 0, max: 1000, distribution: log_uniform", "no range of numbers"),
        ("min: -2000, max: -1000, distribution: log_uniform", "no range of numbers"),
        ("min: 0, max: 1, q: 0.1", "q beside int_uniform"),
        ("min: 0, max: 1, q: 0, distribution: q_uniform", "no step"),
        ("min: 0, max: 1, q: -1, distribution: q_uniform", "no step"),
        ("min: 0, max: 1, q: x, distribution: q_uniform", "not a number"),
        ("min: 1, max: 1e9, q: 1e-320, distribution: q_uniform", "too small"),
        ("min: 0.1, max: 0.3, distribution: q_uniform", "one value"),
        ("min: 0, max: 1, distribution: normal", "min has no meaning beside normal"),
        ("distribution: normal, mu: x", "not a number"),
        ("distribution: normal, sigma: -1", "no standard deviation"),
        ("distribution: log_normal, mu: 800", "no range of numbers"),
        ("distribution: beta, a: 0", "too small"),
        ("distribution: normall", "did you mean 'normal'?"),
        ("min: 1e-5, max: 0.1, distribution: log_uniform", "two ways"),
        ("min: 32, max: 512, distribution: log_uniform", "two ways"),
        ("min: 0.001, max: 10, distribution: log_uniform", "two ways"),
        ("lr: {min: 0, max: 1}, size: {value: 3}", "a group without the key parameters"),
        ("distribution: normal, mean: 3", "did you mean 'mu'?"),
        ("[a, b]", "two ways"),
        ("values: '1, 2'", "two ways"),
        ("values: [yes, no]", "two ways"),
        ("value: 010", "two ways"),
        ("min: 0, max: 1, distribution: [a]", "unknown distribution"),
        ("min: 0, max: 1, distribution: categorical", "categorical has no min and max"),
        ("value: 1, distribution: uniform", "uniform has no value"),
        ("values: [1, 2], q: 1", "q has no meaning"),
        ("min: 0, max: 1, probabilities: [1]", "probabilities has no meaning"),
        ("values: []", "offers no choice"),
        ("values: {a: b}", "offers no choice"),
        ("values: [1, .nan]", "finite"),
        ("value: .inf", "finite"),
        ("value: {a: [.nan]}", "finite"),
        ("values: [a, b], probabilities: [0.5, 0.6]", "does not fit"),
        ("values: [a, b], probabilities: [1]", "does not fit"),
        ("values: [a, b], probabilities: [1.5, -0.5]", "does not fit"),
        ("values: [a, b], probabilities: [.nan, 0.5]", "does not fit"),
        (f"values: [a, b], probabilities: [0.5, {'9' * 400}]", "does not fit"),
        ("values: [a, b], probabilities: 1", "does not fit"),
        ("vals: [1]", "unknown key 'vals'"),
        ("parameters: {}", "holds no parameters"),
        ("parameters: {a: {value: 1}}, value: 2", "value beside nested parameters"),
    ],
)
def test_a_mistake_in_a_parameter_is_told_with_its_line(entry: str, what: str) -> None:
    told = first(entry)
    assert what in f"{told.what} {told.fix}"
    assert told.where.startswith("sweep.yaml:2:")
    assert "parameters.p" in told.where


def first(entry: str) -> Problem:
    text = entry if entry.startswith("[") else f"{{{entry}}}"
    return parse(f"parameters:\n  p: {text}")[1][0]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("method: bayse", "sweep.yaml:1:1 method", "did you mean 'bayes'?"),
        ("method: [bayes]", "sweep.yaml:1:1 method", "unknown method"),
        ("metric: [loss]", "sweep.yaml:1:1 metric", "not a mapping"),
        ("metric: {target: x}", "sweep.yaml:1:10 metric.target", "not a number"),
        ("metric: {goal: minimze}", "sweep.yaml:1:10 metric.goal", "did you mean 'minimize'?"),
        ("metric: {goal: [a]}", "sweep.yaml:1:10 metric.goal", "unknown goal"),
        ("metric: {goal: {a: b}}", "sweep.yaml:1:10 metric.goal", "unknown goal"),
        ("metric: {name: ''}", "sweep.yaml:1:10 metric.name", "not a name"),
        ("metric: {nmae: x}", "sweep.yaml:1:10 metric.nmae", "did you mean 'name'?"),
        ("run_cap: 0", "sweep.yaml:1:1 run_cap", "not a number of runs"),
        ("run_cap: true", "sweep.yaml:1:1 run_cap", "not a number"),
        ("run_cap: 2.5", "sweep.yaml:1:1 run_cap", "not a number of runs"),
        ("name: [3]", "sweep.yaml:1:1 name", "not text"),
        ("metod: random", "sweep.yaml:1:1 metod", "did you mean 'method'?"),
        ("early_terminate: {type: hyperband}", "sweep.yaml:1:1 early_terminate", "min_iter"),
        ("early_terminate: {min_iter: 0}", "sweep.yaml:1:19 early_terminate.min_iter", "above 0"),
        ("early_terminate: {max_iter: 9}", "sweep.yaml:1:1 early_terminate", "without s"),
        ("early_terminate: {max_iter: 2, s: 3}", "sweep.yaml:1:32 early_terminate.s", "before"),
        ("early_terminate: {min_iter: 1, eta: 150}", "sweep.yaml:1:32 early_terminate.eta", "100"),
        (
            "early_terminate: {min_iter: 1, type: asha}",
            "sweep.yaml:1:32 early_terminate.type",
            "asha",
        ),
        ("command: python", "sweep.yaml:1:1 command", "a list of its words"),
    ],
)
def test_a_mistake_on_the_top_level_is_told_with_its_line(text: str, where: str, what: str) -> None:
    _, problems = parse(f"{text}\nparameters: {{p: {{value: 1}}}}")
    assert [told.where for told in problems] == [where]
    assert what in str(problems[0])


@pytest.mark.parametrize("parameters", ["", "parameters:", "parameters: {}", "parameters: [a]"])
def test_a_sweep_without_parameters_is_told_so(parameters: str) -> None:
    _, problems = parse(f"method: random\n{parameters}")
    assert len(problems) == 1
    assert "parameters" in problems[0].where


def test_all_mistakes_are_told_at_once() -> None:
    text = """
method: bayse
run_cap: -1
metric: {goal: up}
parameters:
  a: {min: 1}
  b: {vals: [1, 2]}
  c: [5, 6]
  d: {values: [1, 2]}
"""
    sweep, problems = parse(text)
    lines = [int(told.where.split(":")[1]) for told in problems]
    assert sorted(lines) == [2, 3, 4, 6, 7, 8]
    assert list(sweep.parameters) == ["d"]


def test_every_known_distribution_can_be_used() -> None:
    for name in DISTRIBUTIONS:
        if name == "constant":
            entry = "value: 1"
        elif name.startswith("categorical"):
            entry = "values: [1, 2]"
        elif name.endswith(("normal", "beta")):
            entry = "q: 2" if name.startswith("q_") and "beta" not in name else ""
        else:
            entry = "min: 1, max: 4"
        if name == "q_beta":
            entry = "q: 0.1"
        domain(", ".join(part for part in (entry, f"distribution: {name}") if part))


def test_what_wandb_needs_to_start_a_script_is_passed_over() -> None:
    text = "program: t.py\ncommand: [python]\nmethod: random\nparameters: {p: {value: 1}}"
    source = yaml_source.parse(text, "sweep.yaml")
    parsed = wandb_sweep.parse(source.data, source.where)
    assert not parsed.problems
    assert not parsed.warnings
    assert sorted(note.where for note in parsed.notes) == [
        "sweep.yaml:1:1 program",
        "sweep.yaml:2:1 command",
    ]


def test_defaults_are_those_of_a_search_for_the_lowest_loss() -> None:
    sweep, _ = parse("parameters: {p: {value: 1}}")
    assert (sweep.method, sweep.metric, sweep.goal) == ("bayes", "final_eval_loss", "minimize")


def test_a_message_repeats_the_value_as_it_was_written() -> None:
    values: list[Any] = ["'1e-5x'", "[1]", "{a: 1}"]
    for value in values:
        assert problem(f"min: {value}, max: 1").what


# What has one sensible reading


@pytest.mark.parametrize(
    ("entry", "expected", "told"),
    [
        ("p: 0.1", Fixed(0.1), "read as a constant"),
        ("p: {values: adam}", Fixed("adam"), "not a list"),
        ("p: {values: [1, 2], distribution: int_uniform}", Choice((1, 2)), "has no values"),
        ("p: {values: [1, 2, 1]}", Choice((1, 2), (2 / 3, 1 / 3)), "listed twice"),
        ("p: {values: [1, 2, 3], probabilities: [0.5, 0.5, 0]}", Choice((1, 2)), "left out"),
        ("p: {min: '1e-5', max: 0.1}", Float(1e-5, 0.1), "'1e-5' is read as the number"),
        ("p: {min: 1e-5, max: 0.1}", Float(1e-5, 0.1), "W&B reads text"),
        ("p: {values: [1_000, 2]}", Choice((1000, 2)), "1_000 is read as the number 1000"),
        ("p: {min: 1, max: 5, distribution: Int-Uniform}", Int(1, 5), "read as int_uniform"),
        ("p: {distribution: normal, sigma: 0, mu: 3}", Fixed(3.0), "one value"),
        ("p: {min: 1, max: 5, distribution: log_uniform}", None, "exponents of e"),
    ],
)
def test_what_has_one_sensible_reading_is_read_so_and_said(
    entry: str, expected: Domain | None, told: str
) -> None:
    text = f"method: random\nparameters:\n  {entry}"
    assert any(told in warning and "sweep.yaml:3:" in warning for warning in warnings(text))
    if expected is not None:
        assert repr(parse(text)[0].parameters["p"]) == repr(expected)


def test_both_mends_of_an_ambiguous_range_are_accepted() -> None:
    mends = first("min: 1e-5, max: 0.1, distribution: log_uniform").fix
    assert "1e-05 to 0.1: distribution: log_uniform_values" in mends.replace("values ", "", 1)
    assert "min: 1.00001, max: 1.10517" in mends
    values = domain("min: 1.0e-5, max: 0.1, distribution: log_uniform_values")
    powers = domain("min: 1.00001, max: 1.10517, distribution: log_uniform_values")
    assert repr(values) == repr(Float(1e-5, 0.1, True))
    assert repr(powers) == repr(Float(1.00001, 1.10517, True))


def test_nested_and_dotted_names_are_one_space() -> None:
    text = """
parameters:
  model: {parameters: {width: {values: [1, 2]}, head: {parameters: {dim: {value: 3}}}}}
  optimizer.lr: {min: 0.1, max: 1}
"""
    sweep, problems = parse(text)
    assert not problems
    assert list(sweep.parameters) == ["model.width", "model.head.dim", "optimizer.lr"]


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ("a: {value: 1}, a.b: {value: 2}", "a is a parameter, and a.b lies in it"),
        ("a: {parameters: {b: {value: 1}}}, a.b: {value: 2}", "given twice"),
        ("a..b: {value: 1}", "cannot name a parameter"),
    ],
)
def test_names_that_get_in_each_others_way_are_refused(entries: str, what: str) -> None:
    _, problems = parse(f"parameters: {{{entries}}}")
    assert [what in told.what for told in problems] == [True]


def test_literal_flags_of_the_command_are_constants() -> None:
    text = """
program: train.py
command: [python, "${program}", --epochs=3, --batch-size, 8, --fp16, --lr, 1e-4, "${args}"]
parameters: {lr: {min: 0.1, max: 1}}
"""
    sweep, problems = parse(text)
    assert not problems
    constants = {n: d.value for n, d in sweep.parameters.items() if isinstance(d, Fixed)}
    assert constants == {"epochs": 3, "batch_size": 8, "fp16": True}
    assert isinstance(sweep.parameters["lr"], Float)


@pytest.mark.parametrize(
    ("entry", "evaluations", "rungs"),
    [
        ("min_iter: 1", 9, (1 / 9, 1 / 3, 1.0)),
        ("min_iter: 2, eta: 2", 9, (2 / 9, 4 / 9, 8 / 9, 1.0)),
        ("max_iter: 27, s: 2", 9, (1 / 9, 1 / 3, 1.0)),
        ("max_iter: 100, s: 1, eta: 4", 9, (0.25, 1.0)),
        ("min_iter: 30", 9, (1.0,)),
    ],
)
def test_bands_of_hyperband_become_shares_of_the_budget(
    entry: str, evaluations: int, rungs: tuple[float, ...]
) -> None:
    sweep, problems = parse(
        f"early_terminate: {{type: hyperband, {entry}}}\nparameters: {{p: {{value: 1}}}}"
    )
    assert not problems
    assert sweep.early_terminate is not None
    assert sweep.early_terminate.rungs(evaluations) == pytest.approx(rungs, abs=1e-6)


def test_a_file_of_something_else_is_one_message() -> None:
    _, problems = parse("lr: 1\nepochs: 3")
    assert [told.what for told in problems] == [
        "this is not a sweep: it has neither method nor parameters"
    ]


def test_keys_of_launch_are_named_and_skipped() -> None:
    source = yaml_source.parse("job: x\nqueue: y\nparameters: {p: {value: 1}}", "sweep.yaml")
    parsed = wandb_sweep.parse(source.data, source.where)
    assert not parsed.problems
    assert [note.where for note in parsed.notes] == ["sweep.yaml:1:1 job", "sweep.yaml:2:1 queue"]


@pytest.mark.parametrize(
    ("shown", "reported"),
    [
        ("eval/loss", "eval_loss"),
        ("eval/f1/macro", "eval_f1/macro"),
        ("train/loss", "train_loss"),
        ("train/grad_norm", "grad_norm"),
        ("train/learning_rate", "learning_rate"),
    ],
)
def test_a_metric_as_wandb_shows_it_is_read_as_the_one_that_the_trainer_reports(
    shown: str, reported: str
) -> None:
    for metric in (f"{{name: {shown}, goal: minimize}}", shown):
        text = f"method: random\nmetric: {metric}\nparameters: {{p: {{value: 1}}}}"
        sweep, problems = parse(text)
        assert (sweep.metric, problems) == (reported, [])
        assert f"{shown!r} is read as {reported}" in warnings(text)[-1]


@pytest.mark.parametrize("name", ["eval_loss", "final_eval_loss", "val/loss", "test/loss", "a/b"])
def test_other_metrics_keep_their_names(name: str) -> None:
    text = f"method: random\nmetric: {{name: {name}}}\nparameters: {{p: {{value: 1}}}}"
    assert parse(text)[0].metric == name
    assert not warnings(text)


def test_words_of_other_capitals_are_read_and_said() -> None:
    text = (
        "method: Random\nmetric: {name: acc, goal: MAX}\nrun_cap: '25'\nparameters: {p: {value: 1}}"
    )
    sweep, problems = parse(text)
    assert not problems
    assert (sweep.method, sweep.goal, sweep.run_cap) == ("random", "maximize", 25)
    assert len(warnings(text)) == 3


def test_bands_before_the_first_iteration_are_left_out_as_in_wandb() -> None:
    text = "early_terminate: {type: hyperband, max_iter: 10, s: 1000}\nparameters: {p: {value: 1}}"
    assert "read as 2, as W&B does" in warnings(text)[0]
    sweep, _ = parse(text)
    assert sweep.early_terminate is not None
    assert sweep.early_terminate.rungs(9) == pytest.approx((1 / 9, 1 / 3, 1.0), abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "q", "values"),
    [
        ("5", "50", "10", (5, 15, 25, 35, 45)),
        ("0.1", "0.5", "0.2", (0.1, 0.3)),
        ("0", "1", "0.25", (0.0, 0.25, 0.5, 0.75)),
    ],
)
def test_a_grid_takes_a_rounded_range_as_wandb_does(
    low: str, high: str, q: str, values: tuple[float, ...]
) -> None:
    entry = f"{{distribution: q_uniform, min: {low}, max: {high}, q: {q}}}"
    sweep, problems = parse(f"method: grid\nparameters: {{p: {entry}}}")
    assert not problems
    assert sweep.parameters["p"] == Choice(values)


@pytest.mark.parametrize(
    ("words", "constants"),
    [
        ("--decay, -0.1", {"decay": -0.1}),
        ("--seed, '0123'", {"seed": "0123"}),
        ("--day=2024_01", {"day": "2024_01"}),
        ("--x=1e-5, --flag, --y=1e999", {"x": 1e-5, "flag": True, "y": "1e999"}),
        ("--learning-rate=1", {}),
    ],
)
def test_words_of_a_command_are_what_a_program_would_get(
    words: str, constants: dict[str, Any]
) -> None:
    space = "{learning-rate: {min: 0.1, max: 1}}"
    sweep, problems = parse(f"command: [python, {words}]\nparameters: {space}")
    assert not problems
    found = {n: d.value for n, d in sweep.parameters.items() if isinstance(d, Fixed)}
    assert repr(found) == repr(constants)


@pytest.mark.parametrize(
    ("flag", "what"), [("--opt=adam", "opt.lr lies in it"), ("--a..b=3", "names no parameter")]
)
def test_flags_that_get_in_the_way_of_parameters_are_refused(flag: str, what: str) -> None:
    _, problems = parse(f"command: [python, {flag}]\nparameters: {{opt.lr: {{value: 1}}}}")
    assert [what in told.what for told in problems] == [True]


def test_mistyped_keys_and_a_wrapped_sweep_are_recognised() -> None:
    _, problems = parse("metod: random\nparamters: {}\nmetirc: {}")
    assert [told.fix for told in problems] == [
        f"did you mean '{name}'?" for name in ("method", "parameters", "metric")
    ]
    _, problems = parse("sweep: {method: random, parameters: {p: {value: 1}}}")
    assert [told.fix for told in problems] == [
        "the sweep is below 'sweep': put its keys on the top level"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", {"method": "read as bayes", "metric.name": "read as final_eval_loss"}),
        ("metric: {name: x}", {"method": "read as bayes"}),
        ("method: bayes\nmetric: {goal: maximize}", {"metric.name": "read as final_eval_loss"}),
        ("method: bayes\nmetric: {name: x, goal: min}", {"metric.goal": "read as minimize"}),
        ("method: grid\nmetric: {goal: Maximise}", {"metric.goal": "read as maximize"}),
        ("method: random", {}),
        ("method: bayes\nmetric: {name: x, goal: maximize}", {}),
        ("method: grid\nmetric: {name: eval/loss}", {"metric.name": "read as eval_loss"}),
    ],
)
def test_what_wandb_refuses_and_has_one_reading_is_told(text: str, told: dict[str, str]) -> None:
    source = yaml_source.parse(f"{text}\nparameters: {{p: {{values: [1, 2]}}}}", "sweep.yaml")
    parsed = wandb_sweep.parse(source.data, source.where)
    assert not parsed.problems
    found = {item.where.split()[-1]: item.what for item in parsed.warnings}
    assert found.keys() == told.keys()
    assert all(words in found[key] for key, words in told.items())


def test_a_none_of_python_is_told_to_be_a_text() -> None:
    (told,) = warnings("parameters: {p: {values: [None, 'none', null, True]}}")
    assert told.startswith("sweep.yaml:1:27 parameters.p.values.0: None is read as the text")
    assert "null" in told
    assert domain("values: [None, null]") == Choice(("None", None))


@pytest.mark.parametrize(
    ("entry", "place", "words"),
    [
        (
            "distribution: q_uniform, min: 0.1, max: 0.3",
            "2:7 parameters.p.distribution",
            "steps of 1, the default of q,",
        ),
        (
            "distribution: q_normal, mu: 0, sigma: 0.01",
            "2:7 parameters.p.distribution",
            "default of q",
        ),
        ("distribution: q_uniform, min: 0.1, max: 0.3, q: 1", "2:52 parameters.p.q", "steps of 1,"),
        ("distribution: q_normal, q: 0", "2:31 parameters.p.q", "0 is no step"),
        ("distribution: beta, a: 0", "2:27 parameters.p.a", "0 is too small"),
        ("distribution: beta, b: -1", "2:27 parameters.p.b", "-1 is too small"),
        ("distribution: beta, a: .nan", "2:27 parameters.p.a", "not a number"),
        (
            "distribution: log_normal, mu: 0, sigma: 100",
            "2:3 parameters.p",
            "e to the power of 0 ± 8 x 100 is no range",
        ),
        ("min: 0, max: 9007199254740993", "2:15 parameters.p.max", "at most 2^53"),
    ],
)
def test_a_mistake_is_told_at_a_key_that_is_in_the_file(entry: str, place: str, words: str) -> None:
    found = problem(entry)
    assert found.where == f"sweep.yaml:{place}"
    assert words in str(found)

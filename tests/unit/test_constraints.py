"""Constraints and conditions: what they may say, what they mean, and what is told of them."""

from __future__ import annotations

import random
import re
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.searches import state_of
from tests.support.simulated import defined, redefine
from tune_app.errors import UserError
from tune_app.space import feasible
from tune_app.space.constraints import Constraints, read_constraints
from tune_app.space.domains import Choice, Fixed, Float, Int, Space, to_document
from tune_app.study import file as study_file
from tune_app.study.parsed import ParsedStudy
from tune_app.trackers import _wandb_run
from tune_app.training.preflight.lengths import extreme_batches

HEAD = """
method: random
parameters:
  batch: {values: [4, 8, 16]}
  accumulation: {values: [1, 2, 4, 8]}
  optim: {values: [adamw, sgd]}
  beta: {min: 0.8, max: 0.99}
  size: {value: 2}
"""


def load(tmp_path: Path, tune: str) -> ParsedStudy:
    path = tmp_path / "study.yaml"
    path.write_text(f"{HEAD}tune:\n{tune}", encoding="utf-8")
    return study_file.load(path, now=datetime(2030, 1, 2))


def told(tmp_path: Path, tune: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(tmp_path, tune)
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


def of(space: Space, constraints: list[str], **when: str) -> Constraints:
    read, problems = read_constraints(space, constraints, when)
    assert not problems
    return read


SPACE: Space = {"optim": Choice(("adamw", "sgd")), "beta": Float(0, 1), "n": Int(1, 9)}


def test_an_inactive_parameter_is_absent_and_so_is_what_depends_on_it() -> None:
    constraints = of(SPACE, [], beta="optim == 'adamw'", n="beta > 0.5")
    full = {"optim": "adamw", "beta": 0.9, "n": 3}
    assert constraints.active(full) == full
    assert constraints.active(full | {"beta": 0.1}) == {"optim": "adamw", "beta": 0.1}
    assert constraints.active(full | {"optim": "sgd"}) == {"optim": "sgd"}


def test_a_constraint_says_nothing_of_inactive_parameters() -> None:
    constraints = of(SPACE, ["beta > 0.5", "n > 2"], beta="optim == 'adamw'")
    assert constraints.allows({"optim": "sgd", "beta": 0.1, "n": 3})
    assert not constraints.allows({"optim": "adamw", "beta": 0.1, "n": 3})
    assert not constraints.allows({"optim": "sgd", "n": 1})


def test_a_fixed_parameter_takes_part_with_its_value_and_may_be_inactive() -> None:
    constraints = of({**SPACE, "n": Fixed(4)}, ["beta * n <= 2"], n="optim == 'adamw'")
    assert not constraints.allows({"optim": "adamw", "beta": 0.9})
    assert constraints.allows({"optim": "sgd", "beta": 0.9})
    assert constraints.active({"n": 4, "optim": "sgd"}) == {"optim": "sgd"}


def test_all_mistakes_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    text = """
  constraints:
    - batch * acumulation <= 64
    - batch * <= 64
    - 9**9**9 > batch
  when: {bta: optim == 'adamw', beta: optm == 'adamw'}
  prior: {batsh: {value: 8, octaves: 1}}
"""
    found = told(tmp_path, text)
    # The last one can be read, and is tried beside the mistakes of the others.
    assert len(found) == 6
    assert "has no answer for batch" in found[5]
    places = ["12:7 tune.constraints.0", "13:7 tune.constraints.1", "15:10 tune.when.bta"]
    for place, problem in zip([*places], [found[0], found[1], found[3]], strict=True):
        assert place in problem
    hints = ["'accumulation'", "syntax", "'optim'", "'beta'", "'batch'"]
    assert all(hint in problem for hint, problem in zip(hints, found[:5], strict=True))


def test_a_part_of_the_wrong_type_hides_no_mistake_in_the_others(tmp_path: Path) -> None:
    text = """
  constraints: [true, batch * acumulation <= 64, batch = 8, batch > 1 && batch < 9]
  seed: x
  searcher: tpee
  scheduler: {name: asha, rung: 3}
"""
    found = told(tmp_path, text)
    for words in ("True does not fit", "'x' does not fit", "'tpee'", "'rung'", "'accumulation'"):
        assert sum(words in problem for problem in found) == 1, words
    assert any("write == to compare" in problem for problem in found)
    assert any("write and, or instead of" in problem for problem in found)


def test_one_constraint_needs_no_list(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("parameters: {a: {min: 1, max: 9}}\ntune: {constraints: a > 3}")
    assert study_file.load(path).tune.constraints == ("a > 3",)


@pytest.mark.parametrize(
    ("tune", "words"),
    [
        ("  constraints: [9**9**9 > batch]", "has no answer for batch ="),
        ("  constraints: [batch * size]", "neither true nor false"),
        ("  constraints: [1 / (batch - 8) > 0]", "for batch = 8: "),
        ("  constraints: 4", "expected: a list"),
        ("  constraints: [true]", "True does not fit"),
        ("  when: {beta: true}", "True does not fit"),
        ("  when: {beta: optim == 'sgd', optim: beta > 0.9}", "conditions depend on each other"),
        ("  when: {beta: beta > 0.9}", "conditions depend on each other: beta -> beta"),
        ("  constraints: [batch * accumulation > 128]", "the constraints allow no combination"),
        ("  constraints: [batch * accumulation > 128, beta < 0.9]", "batch * accumulation > 128"),
        ("  constraints: [beta == 0.9]", "no values that the constraints allow were found"),
    ],
)
def test_rules_that_cannot_work_are_refused(tmp_path: Path, tune: str, words: str) -> None:
    assert any(words in problem for problem in told(tmp_path, tune)), told(tmp_path, tune)


def test_a_broken_parameter_is_not_told_twice(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("parameters: {a: {mim: 1}, b: {values: [1, 2]}}\ntune: {constraints: [a < b]}")
    with pytest.raises(UserError) as caught:
        study_file.load(path)
    assert [problem.what for problem in caught.value.problems] == ["unknown key 'mim'"]


def test_a_person_is_told_of_a_small_share_and_of_a_dead_parameter(tmp_path: Path) -> None:
    (note,) = load(tmp_path, "  constraints: [beta > 0.989]").notes
    assert re.fullmatch(r"only 0\.[3-7] % of the space is allowed by the constraints", note)
    (note,) = load(tmp_path, "  when: {beta: optim == 'adam'}").notes
    assert note.startswith("beta is never active")
    assert load(tmp_path, "  constraints: [batch * accumulation <= 64]").notes == ()


def test_the_document_carries_the_rules(tmp_path: Path) -> None:
    loaded = load(tmp_path, "  constraints: [batch <= 8]\n  when: {beta: optim == 'adamw'}")
    constraints = loaded.to_definition().constraints
    assert constraints.required[0].text == "batch <= 8"
    assert constraints.active({"optim": "sgd", "beta": 0.9}) == {"optim": "sgd"}
    assert not load(tmp_path, "").to_definition().constraints


def test_a_grid_runs_to_the_end_of_what_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    text = "method: grid\nparameters: {a: {values: [1, 2, 3]}, b: {values: [1, 2, 3]}}\n"
    path.write_text(text + "tune: {constraints: [a < b], baseline: false}")
    assert study_file.load(path).trials == 3


TENS = Choice(tuple(range(10)))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("expressions", "number"),
    [
        (["a == b", "b == c", "c == d", "d == e"], 10),
        (["a + b + c + d + e == 45"], 1),
        (["a + b + c + d + e >= 44"], 6),
        (["a * b == 82"], 0),
    ],
)
def test_a_listing_of_a_tight_space_comes_to_an_end_and_is_complete(
    expressions: list[str], number: int
) -> None:
    space = dict.fromkeys("abcde", TENS)
    constraints = of(space, expressions)
    ordered, mixed = (
        feasible.in_file_order(space, constraints),
        feasible.shuffled(space, constraints, random.Random(1)),
    )
    assert ordered is not None
    found = [list(ordered), list(mixed)]
    assert ordered.complete
    assert mixed.complete
    assert [len(items) for items in found] == [number, number]
    assert found[0] == sorted(found[0], key=lambda params: tuple(params.values()))
    assert all(constraints.allows(params) for items in found for params in items)


def test_dead_ends_are_not_walked_again_for_every_value_that_no_rule_speaks_of() -> None:
    space = {**{f"free{i}": TENS for i in range(8)}, "a": TENS, "b": TENS}
    listing = feasible.in_file_order(space, of(space, ["a * b == 82"]))
    assert listing is not None
    assert list(listing) == []
    assert listing.complete


@pytest.mark.timeout(120)
def test_a_listing_that_would_take_forever_gives_up_and_says_so() -> None:
    space = dict.fromkeys("abcdefghij", TENS)
    listing = feasible.in_file_order(
        space, of(space, ["a + b + c + d + e + f + g + h + i + j == 91"])
    )
    assert listing is not None
    assert list(listing) == []
    assert not listing.complete


def test_ranges_without_a_list_are_searched_too() -> None:
    space: Space = {"x": Float(0, 1), "y": Float(0, 1), "n": TENS}
    constraints = of(space, ["x + y < 0.02", "n == 7"])
    found = next(iter(feasible.shuffled(space, constraints, random.Random(0))))
    assert constraints.allows(found)


def test_defaults_that_break_a_constraint_are_run_and_told() -> None:
    constraints = of(SPACE, ["n > 2", "beta < 1"], beta="optim == 'adamw'")
    params, note = constraints.baseline({"optim": "sgd", "beta": 0.9, "n": 1})
    assert params == {"optim": "sgd", "n": 1}
    assert note is not None
    assert "break n > 2" in note
    assert constraints.baseline({"optim": "sgd", "n": 3}) == ({"optim": "sgd", "n": 3}, None)


def test_forbidden_batch_sizes_do_not_make_a_budget_too_short() -> None:
    sizes: Space = {
        "per_device_train_batch_size": Choice((8, 16, 32)),
        "gradient_accumulation_steps": Int(1, 8),
    }
    parameters = {name: to_document(domain) for name, domain in sizes.items()}
    limit = "per_device_train_batch_size * gradient_accumulation_steps <= 64"
    study = defined(parameters=parameters, constraints=[limit])
    batches = [tuple(item.values()) for item in extreme_batches(study)]
    products = [size * times for size, times in batches]
    assert (min(products), max(products)) == (8, 64)
    free = extreme_batches(defined(parameters=parameters))
    assert {tuple(item.values()) for item in free} == {(8, 1), (8, 8), (32, 1), (32, 8)}


def test_a_mirrored_run_has_no_inactive_constant() -> None:
    space: Space = {"optim": Choice(("adamw", "sgd")), "beta": Fixed(0.9)}
    state = state_of(space, ({"optim": "sgd"}, 1.0, "completed"))
    redefine(state, when={"beta": "optim == 'adamw'"})
    config = _wandb_run.describe(state, state.trials["0000"]).config
    assert config["optim"] == "sgd"
    assert "beta" not in config

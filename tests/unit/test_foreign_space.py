"""Spaces of Optuna and Ray Tune are read as what they mean there."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from ray import tune

from tune_app.errors import UserError
from tune_app.space import optuna_ray
from tune_app.space.domains import Choice, Domain, Drawn, Fixed, Float, Int, grid, sample
from tune_app.space.reader import Reader
from tune_app.study import foreign_space
from tune_app.study.file import load


def reader() -> Reader:
    return Reader(lambda path: str(path[0]))


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (FloatDistribution(1e-5, 1e-3, log=True), Float(1e-5, 1e-3, True)),
        (FloatDistribution(0, 1, step=0.25), Float(0.0, 1.0, False, 0.25)),
        (IntDistribution(1, 9), Int(1, 9)),
        (IntDistribution(1, 9, log=True), Int(1, 9, True)),
        (IntDistribution(0, 8, step=4), Int(0, 8, False, 4)),
        (IntDistribution(3, 3), Fixed(3)),
        (CategoricalDistribution([True, None, "a", 2]), Choice((True, None, "a", 2))),
    ],
    ids=repr,
)
@pytest.mark.parametrize("as_text", [True, False])
def test_an_optuna_distribution_is_read(
    tmp_path: Path, distribution: BaseDistribution, expected: Domain, as_text: bool
) -> None:
    text = distribution_to_json(distribution)
    path = tmp_path / "space.json"
    path.write_text(json.dumps({"p": text if as_text else json.loads(text)}))
    study = load(path, ["budget.trials=3"])
    assert repr(study.space) == repr({"p": expected})
    assert study.trials == 3


def test_what_is_no_distribution_of_optuna_is_told(tmp_path: Path) -> None:
    path = tmp_path / "space.json"
    wrong = {"name": "FloatDistribution", "attributes": {"low": 1, "high": 0}}
    old = {"name": "UniformDistribution", "attributes": {"low": 0, "high": 1}}
    path.write_text(json.dumps({"a": wrong, "b": old}))
    with pytest.raises(UserError) as caught:
        foreign_space.read(path)
    assert [problem.where for problem in caught.value.problems] == [f"{path}: a", f"{path}: b"]


def test_a_sweep_in_json_is_still_a_sweep(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({"method": "random", "parameters": {"p": {"min": 1, "max": 2}}}))
    assert load(path).space == {"p": Int(1, 2)}


RAY = {
    "rate": tune.loguniform(1e-5, 1e-3),
    "drop": tune.uniform(0, 0.5),
    "stepped": tune.quniform(0, 1, 0.25),
    "bell": tune.randn(1, 2),
    "whole": tune.randint(1, 9),
    "quantised": tune.qrandint(0, 16, 4),
    "choice": tune.choice(["a", "b"]),
    "grid": tune.grid_search([1, 2]),
    "constant": 3,
    "group": {"inner": tune.lograndint(1, 100)},
}


def test_a_param_space_is_read_as_ray_draws_it() -> None:
    space = optuna_ray.from_ray(RAY, reader())
    assert space == {
        "rate": Float(1e-5, 1e-3, True),
        "drop": Float(0.0, 0.5),
        "stepped": Drawn("uniform", 0.0, 1.0, 0.25),
        "bell": Drawn("normal", 1.0, 2.0),
        "whole": Int(1, 8),
        "quantised": Drawn("uniform", 0.0, 16.0, 4),
        "choice": Choice(("a", "b")),
        "grid": Choice((1, 2)),
        "constant": Fixed(3),
        "group.inner": Int(1, 99, True),
    }


@pytest.mark.parametrize("name", ["stepped", "whole", "quantised"])
def test_both_draw_the_same_values(name: str) -> None:
    domain = optuna_ray.from_ray(RAY, reader())[name]
    theirs = {round(float(RAY[name].sample()), 9) for _ in range(2000)}
    rng = random.Random(0)
    ours = {round(float(sample(domain, rng)), 9) for _ in range(2000)}
    assert ours == theirs == {float(value) for value in grid(domain) or ()}


def test_what_only_a_function_knows_is_refused() -> None:
    found = reader()
    space = optuna_ray.from_ray({"p": tune.sample_from(lambda spec: 1), "q": object()}, found)
    assert space == {}
    assert [problem.where for problem in found.problems] == ["p", "q"]


def test_a_dotted_path_names_a_param_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_space.py").write_text(
        "from ray import tune\nspace = {'p': tune.choice([1, 2])}"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load(Path("own_space.space")).space == {"p": Choice((1, 2))}
    with pytest.raises(UserError, match="did you mean 'space'"):
        load(Path("own_space.spaec"))
    with pytest.raises(UserError, match="cannot import own_spac"):
        load(Path("own_spac.space"))

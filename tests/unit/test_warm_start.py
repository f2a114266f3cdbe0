"""A study that begins with earlier runs: what is read of them, and what searchers make of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.simulated import Simulation, document, on_disk
from tune_app import plugins
from tune_app.errors import UserError
from tune_app.history import warm
from tune_app.space.constraints import Constraints, read_constraints
from tune_app.space.domains import Choice, Drawn, Float, Int, Space, to_document
from tune_app.study import file as study_file

SPACE: Space = {"lr": Float(1e-5, 1e-1, log=True), "optim": Choice(("a", "b"))}
LEARNING = [name for name in plugins.names("searcher") if name not in warm.BLIND]
SWEEP = """
method: bayes
metric: {name: final_eval_loss, goal: minimize}
parameters:
  learning_rate: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-1}
tune: {warm_start: runs.csv}
"""


def loss(params: Any, best: float = 1e-3) -> float:
    """A valley around a learning rate; optimiser b is a little worse."""
    return float(abs(math.log10(params["lr"] / best)) + 0.2 * (params["optim"] == "b"))


def table(path: Path, best: float = 1e-3, runs: int = 40) -> Path:
    rates = [10 ** (-5 + 4 * n / (runs - 1)) for n in range(runs)]
    rows = [{"lr": rate, "optim": "ab"[n % 2]} for n, rate in enumerate(rates)]
    frame = pd.DataFrame(rows).add_prefix("config.")
    frame["trial"] = range(runs)
    frame["eval_loss"] = [loss(row, best) for row in rows]
    frame.to_csv(path, index=False)
    return path


def earlier(path: Path) -> warm.Scored:
    found = warm.gather([str(path)], SPACE, Constraints(), "final_eval_loss", "minimize")
    assert (found.problems, found.warnings) == ([], [])
    return found.runs


def test_runs_of_a_table_are_scored_by_their_order_alone(tmp_path: Path) -> None:
    scored = earlier(table(tmp_path / "runs.csv"))
    assert len(scored) == 40
    best, worst = scored[0], scored[-1]
    assert best[0]["optim"] == "a"
    assert best[0]["lr"] == pytest.approx(1e-3, rel=0.3)
    assert best[1] == pytest.approx(-worst[1])
    assert sum(score for _, score in scored) == pytest.approx(0, abs=1e-9)


def test_sizes_of_a_task_are_ranked_each_on_its_own(tmp_path: Path) -> None:
    """The large one is better everywhere, and was tried where it is far from its best."""
    sizes = {
        1: (5.0, [10 ** (-4 + n / 10) for n in range(20)]),
        9: (0.0, [1e-5 + 1e-7 * n for n in range(20)]),
    }
    rows = [
        {
            "trial": f"{size}-{rate}",
            "context.size": size,
            "config.lr": rate,
            "config.optim": "a",
            "eval_loss": floor + loss({"lr": rate, "optim": "a"}),
        }
        for size, (floor, rates) in sizes.items()
        for rate in rates
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "sizes.csv", index=False)
    best = [params["lr"] for params, score in earlier(tmp_path / "sizes.csv") if score < -1.5]
    assert any(rate == pytest.approx(1e-3) for rate in best)


def test_trials_of_a_study_are_scored_too(tmp_path: Path) -> None:
    parameters = {key: to_document(domain) for key, domain in SPACE.items()}
    before = document(parameters=parameters, trials=20, baseline=False)
    (tmp_path / "first").mkdir()
    on_disk(tmp_path / "first", before, curve=lambda params, step: loss(params)).run()
    scored = earlier(tmp_path / "first")
    assert len(scored) == 20
    assert loss(scored[0][0]) == min(loss(params) for params, _ in scored)


def test_files_that_say_nothing_are_told_of_all_at_once(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    table(other)
    other.write_text(other.read_text().replace("config.lr", "config.rate"))
    outside = table(tmp_path / "outside.csv")
    space: Space = {"lr": Float(1.0, 2.0), "optim": Choice(("a", "b"))}
    paths = [str(other), str(outside), str(tmp_path / "none.csv"), str(tmp_path)]
    found = warm.gather(paths, space, Constraints(), "final_eval_loss", "minimize")
    told = [problem.what for problem in found.problems]
    assert told[0] == "no run has a value for lr"
    assert told[1] == "none of its 40 runs lies inside the space: 40 by lr"
    assert "no such table" in told[2]
    assert told[3] == "no study is in this folder"


def test_a_study_names_the_key_of_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    with pytest.raises(UserError) as error:
        study_file.load(file)
    assert [p.where.endswith("tune.warm_start") for p in error.value.problems] == [True]


@pytest.mark.parametrize(("method", "warned"), [("random", True), ("bayes", False)])
def test_a_searcher_that_learns_from_no_run_is_told_of(
    method: str, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pd.read_csv(table(tmp_path / "runs.csv"))
    frame.rename(columns={"config.lr": "config.learning_rate"}).to_csv("runs.csv", index=False)
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP.replace("bayes", method))
    found = study_file.read(file)
    assert found.study is not None
    text = "not used: random learns from no earlier run"
    assert [text == warning.what for warning in found.warnings] == [True] * warned
    assert any(text in note for note in found.study.notes) == warned


@pytest.mark.parametrize("searcher", LEARNING)
def test_the_first_trials_go_where_earlier_runs_were_good(searcher: str, tmp_path: Path) -> None:
    found = [loss(params) for params in searched(searcher, earlier(table(tmp_path / "r.csv")), 5)]
    blind = [loss(params) for params in searched(searcher, [], 5)]
    assert sorted(found)[2] < 0.5 < sorted(blind)[2]


TYPES: Space = {
    "lr": Float(1e-5, 1e-1, log=True),
    "batch": Choice((4, 8)),
    "layers": Int(1, 12),
    "decay": Choice((0, 0.1)),
    "dropout": Float(0.0, 0.5, step=0.1),
    "width": Drawn("uniform", 1, 64, 1),
    "clip": Drawn("log_uniform", 0.1, 10.0),
}


def test_the_same_number_of_another_type_is_the_same_value(tmp_path: Path) -> None:
    """As a column has them that had an empty cell, or single precision, or one decimal only."""
    rows = pd.DataFrame(
        {
            "config.lr": np.array([1e-5, 1e-3, 1e-1], dtype=np.float32),
            "config.batch": [4.0, 8.0, None],
            "config.layers": [12.0, 1.5, 3.0],
            "config.decay": np.array([0.1, 0.0, 0.0], dtype=np.float32),
            "config.dropout": np.array([0.3, 0.3, 0.3], dtype=np.float32),
            "config.width": [8.0, 8.0, 8.0],
            "config.clip": np.array([0.1, 0.1, 0.1], dtype=np.float32),
            "trial": [0, 1, 2],
            "eval_loss": [1.0, 2.0, 3.0],
        }
    )
    rows = pd.concat([rows, rows.assign(trial=rows.trial + 3, **{"config.layers": 2.0})])
    path = str(tmp_path / "runs.parquet")
    rows.to_parquet(path)
    found = warm.gather([path], TYPES, Constraints(), "final_eval_loss", "minimize")
    others = [
        [params.pop(name) for name in ("dropout", "width", "clip")] for params, _ in found.runs
    ]
    clip = TYPES["clip"]
    assert isinstance(clip, Drawn)
    assert others == [[0.3, 8, clip.low]] * 3
    values = sorted(tuple(params.values()) for params, _ in found.runs)
    assert values == [(1e-5, 4, 2, 0.1), (1e-5, 4, 12, 0.1), (pytest.approx(1e-3), 8, 2, 0)]
    assert all(type(number) is int for row in values for number in row[1:3])
    (told,) = found.warnings
    assert told.what.startswith("3 of its 6 runs lie outside the space and are not used")
    assert "2 by batch" in told.what
    assert "1 by layers" in told.what


WHEN: Space = {**SPACE, "beta": Float(0.8, 1.0)}


@pytest.mark.parametrize("searcher", LEARNING)
def test_values_that_do_not_count_in_a_run_are_left_out(searcher: str, tmp_path: Path) -> None:
    """Half of them are empty, as in a table of W&B's; the others hold what no trial would have."""
    frame = pd.read_csv(table(tmp_path / "runs.csv"))
    counts = frame["config.optim"] == "a"
    frame["config.beta"] = np.where(counts, 0.9, np.where(frame.trial < 20, np.nan, 7.0))
    frame.to_csv(tmp_path / "runs.csv", index=False)
    when = {"beta": "optim == 'a'"}
    constraints, _ = read_constraints(WHEN, (), when)
    path = str(tmp_path / "runs.csv")
    found = warm.gather([path], WHEN, constraints, "final_eval_loss", "minimize")
    assert len(found.runs) == 40
    assert all(("beta" in params) == (params["optim"] == "a") for params, _ in found.runs)
    assert all(loss(params) < 2 for params in searched(searcher, found.runs, 5, WHEN, when)[:3])


@pytest.mark.parametrize("searcher", LEARNING)
def test_runs_with_a_choice_that_left_the_space_are_not_asked(
    searcher: str, tmp_path: Path
) -> None:
    scored = earlier(table(tmp_path / "runs.csv"))
    left: Space = {**SPACE, "optim": Choice(("b", "c"))}
    assert len(searched(searcher, scored, 15, left)) == 15


@pytest.mark.parametrize("searcher", LEARNING)
def test_a_wrong_opinion_is_outgrown(searcher: str, tmp_path: Path) -> None:
    misled = earlier(table(tmp_path / "r.csv", best=1e-5))
    later = searched(searcher, misled, 40)[25:]
    assert min(loss(params) for params in later) < 0.15


def searched(
    searcher: str,
    scored: warm.Scored,
    trials: int,
    space: Space = SPACE,
    when: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """What is tried on the valley around 1e-3."""
    parameters = {key: to_document(domain) for key, domain in space.items()}
    started = document(
        searcher=searcher,
        scheduler={"name": "fifo"},
        parameters=parameters,
        trials=trials,
        baseline=False,
        warm_start=scored,
        when=when or {},
    )
    state = Simulation(started, curve=lambda params, step: loss(params)).run()
    return [trial.params for trial in state.trials.values()]

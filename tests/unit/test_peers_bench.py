"""The clock by which peers are compared: what a search costs, and what counts as found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

PEERS = Path(__file__).resolve().parents[2] / "benchmarks" / "search" / "peers"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peers_bench", PEERS / "_bench.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def table(bench: ModuleType, tmp_path: Path) -> Any:
    """20 trials of 4 levels; trial n ends at a loss of n / 10, trial 7 at none."""
    steps = [0, 10, 20, 30, 40]
    rows = [
        {
            "trial": n,
            "config.rate": 10.0 ** (-n / 4),
            "config.momentum": 1 - 10.0 ** (-1 - n / 8),
            "config.kind": "ab"[n % 2],
            "step": step,
            "eval_loss": np.nan if n == 7 and step > 20 else n / 10 + (40 - step) / 10,
        }
        for n in range(20)
        for step in steps
    ]
    path = tmp_path / "table.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return bench.load(path)


def test_the_scale_is_the_one_in_which_values_lie_evenly(table: Any) -> None:
    rate, momentum, kind = table.params
    assert (rate.name, rate.log, rate.mirrored) == ("rate", True, False)
    assert (momentum.name, momentum.log, momentum.mirrored) == ("one_minus_momentum", True, True)
    assert kind.choices == ("a", "b")


def test_a_proposal_takes_the_nearest_trial_not_started(bench: ModuleType, table: Any) -> None:
    session = bench.Session(table, budget=25)
    rows = [session.start(table.points[4]).row for _ in range(3)]
    assert rows == [4, 2, 6]  # The odd ones are of the other kind, at a distance of 1.


def test_the_budget_ends_a_search_within_a_trial(bench: ModuleType, table: Any) -> None:
    session = bench.Session(table, budget=1.5)
    session.train(session.start(table.points[3]), 4)
    second = session.start(table.points[0])
    with pytest.raises(bench.OutOfBudget):
        session.train(second, 4)
    assert (session.spent, second.level) == (1.5, 2)
    assert session.completed_value == pytest.approx(0.3)


def test_a_trial_that_goes_on_pays_the_difference_and_one_from_scratch_pays_again(
    bench: ModuleType, table: Any
) -> None:
    session = bench.Session(table, budget=25)
    run = session.start(table.points[0])
    session.train(run, 1)
    assert session.train(run, 4) == 0
    assert session.spent == 1
    session.restart(run)
    session.train(run, 2)
    assert session.spent == 1.5


def test_a_loss_that_is_no_number_ends_the_trial(bench: ModuleType, table: Any) -> None:
    session = bench.Session(table, budget=25)
    run = session.start(table.points[7])
    assert np.isnan(session.train(run, 4))
    assert (run.failed, run.level, session.spent) == (True, 3, 0.75)
    assert session.completed_value == np.inf


def test_a_trajectory_has_a_row_for_each_improvement(bench: ModuleType, table: Any) -> None:
    def engine(session: Any, seed: int) -> None:
        for row in (5, 9, 1):
            session.train(session.start(table.points[row]), 4)

    found = bench.search(table, engine, budget=25, seed=3)
    assert found.trial.tolist() == [5] * 5 + [1]
    assert found.spent.tolist() == [0, 0.25, 0.5, 0.75, 1, 3]
    assert found.value.iloc[-1] == found.completed_value.iloc[-1] == pytest.approx(0.1)
    assert found.completed_value.isna().tolist() == [True] * 4 + [False] * 2

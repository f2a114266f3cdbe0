"""Tables of finished runs: what is read, what is guessed, and that replays tell the truth."""

from __future__ import annotations

import datetime
import itertools
import math
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import tables
from tests.support.tables import Row, curves, with_values
from tune_app import plugins
from tune_app.core.definition import PlugIn
from tune_app.errors import UserError
from tune_app.history import figures
from tune_app.history.read import Run, read
from tune_app.history.replay import (
    Replayed,
    Setting,
    Step,
    _study,
    problems,
    replay,
    rungs,
    search,
)
from tune_app.history.sizes import guess
from tune_app.history.table import Table, load, load_sizes
from tune_app.space.domains import Choice, Fixed, Float, Int

INF, NAN = math.inf, math.nan
SHARED = Path(__file__).parents[3] / "shared" / "history"


def runs_of(path: Path, metric: str | None = None) -> list[Run]:
    (only,) = read(path, metric)
    return only.runs


def table_of(tmp_path: Path, rows: list[Row], **options: Any) -> Table:
    (only,) = load(tables.parquet(tmp_path / "t.parquet", rows), **options)
    return only


@pytest.mark.parametrize("write", [tables.csv, tables.parquet])
def test_a_run_has_its_values_and_its_reports_in_order(
    write: Callable[[Path, list[Row]], Path], tmp_path: Path
) -> None:
    rows = curves(3)
    random.Random(0).shuffle(rows)
    found = runs_of(write(tmp_path / f"t.{write.__name__}", rows))
    (run,) = (run for run in found if run.trial == 1)
    assert run.params == {"lr": 1e-3, "batch": 32}
    assert [at for at, _ in run.reports] == [100, 200, 300, 400]
    assert run.reports[-1][1] == pytest.approx(1.1)


def test_empty_cells_nan_and_infinity_are_read(tmp_path: Path) -> None:
    text = "trial,config.lr,step,loss\na,0.1,1,\na,0.1,2,NaN\na,0.1,3,inf\na,0.1,4,None\n"
    (tmp_path / "t.csv").write_text(text)
    (run,) = runs_of(tmp_path / "t.csv")
    assert [math.isnan(value) for _, value in run.reports] == [True, True, False, True]
    assert run.reports[2] == (3, INF)


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        (None, None),
        (NAN, None),
        (INF, "inf"),
        (True, True),
        ("adam", "adam"),
        ([0.9, 0.99], [0.9, 0.99]),
        ({"a": 1}, {"a": 1}),
        (Decimal("0.5"), 0.5),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (2**62, 2**62),
    ],
)
def test_a_hyper_parameter_is_something_that_json_can_say(
    value: Any, read_as: Any, tmp_path: Path
) -> None:
    rows = with_values(curves(2), config__x=value)
    assert runs_of(tables.parquet(tmp_path / "t.parquet", rows))[0].params["x"] == read_as


def test_of_several_reports_at_one_point_the_last_measured_one_counts(tmp_path: Path) -> None:
    rows = [{"trial": 0, "config.lr": 1, "tokens": 5, "loss": value} for value in (3.0, 2.0, None)]
    assert runs_of(tables.parquet(tmp_path / "t.parquet", rows))[0].reports == [(5, 2.0)]


def test_rows_without_progress_are_whole_runs(tmp_path: Path) -> None:
    rows = [{"config.lr": lr, "loss": lr} for lr in (0.1, 0.2, 0.3)]
    found = runs_of(tables.csv(tmp_path / "t.csv", rows))
    assert [(run.trial, run.reports) for run in found] == [
        (0, [(1.0, 0.1)]),
        (1, [(1.0, 0.2)]),
        (2, [(1.0, 0.3)]),
    ]


def test_each_seed_of_a_trial_is_a_run(tmp_path: Path) -> None:
    rows = [row for seed in (1, 2) for row in with_values(curves(3), seed=seed)]
    path = tables.csv(tmp_path / "t.csv", rows)
    assert [run.trial for run in runs_of(path)] == [0, 1, 2, 0, 1, 2]
    assert load(path)[0].repeats == 3


def sized() -> list[Row]:
    return [
        {"config.lr": lr, "config.bs": bs, "N": size, "D": 20.0 * size, "loss": lr + bs + size}
        for size in (1000, 200, 30)
        for lr in (0.1, 0.2, 0.3)
        for bs in (1, 2)
    ]


def test_sizes_of_a_task_are_tables_of_their_own(tmp_path: Path) -> None:
    found = read(tables.csv(tmp_path / "law.csv", sized()))
    assert [runs.name for runs in found] == [
        "law [N=30, D=600]",
        "law [N=200, D=4000]",
        "law [N=1000, D=20000]",
    ]
    assert all(len(runs.runs) == 6 for runs in found)
    assert {runs.remark for runs in found} == {"sizes told apart by N, D"}


def test_sizes_that_are_called_so_may_be_anything(tmp_path: Path) -> None:
    rows = with_values(curves(6), context__data=lambda row: "ab"[row["trial"] % 2])
    found = read(tables.csv(tmp_path / "t.csv", rows))
    assert [(runs.name, runs.remark) for runs in found] == [("t [data=a]", ""), ("t [data=b]", "")]


def test_progress_is_the_first_column_with_values(tmp_path: Path) -> None:
    rows = with_values(curves(3), step=lambda row: row["tokens"] // 100, tokens=None)
    for path in (
        tables.csv(tmp_path / "t.csv", rows),
        tables.parquet(tmp_path / "t.parquet", rows),
    ):
        assert [at for at, _ in runs_of(path)[0].reports] == [1, 2, 3, 4]


def test_tokens_tell_apart_sizes_where_runs_have_no_curves(tmp_path: Path) -> None:
    rows = [{("tokens" if k == "D" else k): v for k, v in row.items()} for row in sized()]
    rows = [{"trial": trial, **row} for trial, row in enumerate(rows)]
    found = load(tables.csv(tmp_path / "law.csv", rows))
    assert len(found) == 3
    assert all(table.left_out == 0 for table in found)


@pytest.mark.parametrize(
    "column", ["diverged", "status", "State", "host", "rungs_reached", "seed", "accuracy", "note"]
)
def test_how_a_run_went_is_no_size(column: str, tmp_path: Path) -> None:
    values: dict[str, Callable[[Row], Any]] = {
        "diverged": lambda row: row["trial"] > 8,
        "status": lambda row: "crashed" if row["trial"] > 8 else "finished",
        "State": lambda row: "crashed" if row["trial"] > 8 else "finished",
        "host": lambda row: f"gpu-{row['trial'] % 2}",
        "rungs_reached": lambda row: row["trial"] % 3,
        "seed": lambda row: row["trial"] % 2,
        "accuracy": lambda row: 0.25 * (row["trial"] % 3),
        "note": lambda row: "same for all",
    }
    rows = with_values(curves(12), **{column: values[column]})
    assert [runs.name for runs in read(tables.csv(tmp_path / "t.csv", rows))] == ["t"]


def told(path: Path, metric: str | None = None) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(path, metric)
    assert all(problem.where == str(path) for problem in caught.value.problems)
    return [problem.what for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["cannot read the table: Empty CSV file"]),
        ("trial,config.lr,tokens,loss\n", ["the table has no rows"]),
        ("trial;config.lr;loss\n1;2;3\n", ["one column, 'trial;config.lr;loss'"]),
        ("a,b\n1,2\n", ["no hyper-parameters", "no objective"]),
        ("config.a,step,loss\n1,2,3\n", ["no column 'trial'"]),
        ("config.a,config.a,loss\n1,2,3\n", ["2 columns are called 'config.a'"]),
        (
            "trial,config.a,step,loss\n0,1,s3,1\n1,2,s3,x\n",
            ["the column 'loss' holds 'x'", "the column 'step' holds 's3'"],
        ),
        (
            "trial,config.a,step,loss\n0,1,1,1\n0,2,2,1\n",
            ["trial 0 has several values of config.a"],
        ),
        ("trial,config.a,global_step,loss\n0,1,1,1\n0,1,2,1\n", ["trial 0 has 2 rows"]),
        ("config.a,loss\n1,2\n", ["t: there is one run only"]),
        ("config.a,loss\n1,2\n1,3\n", ["t: all runs (2) have the same hyper-parameters"]),
        ("config.a,loss\n1,\n2,inf\n", ["t: no run has a finite loss at its end"]),
        (
            "trial,config.a,step,loss\n0,1,9,1\n1,2,3,1\n2,3,3,1\n",
            ["t: 1 of 3 runs came to the end, at 9"],
        ),
        ("trial,config.a,step,loss\n0,1,0,1\n1,2,0,1\n", ["t: no run has made any progress"]),
    ],
)
def test_a_file_that_is_no_table_is_refused(text: str, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert told(path) == expected


def test_what_is_no_file_of_a_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("hello")
    (tmp_path / "folder.csv").mkdir()
    assert told(tmp_path / "missing.csv") == ["no such table"]
    assert told(tmp_path / "folder.csv") == told(tmp_path) == ["this is a folder"]
    assert told(tmp_path / "t.txt") == ["a table cannot end with '.txt'"]
    assert told(tmp_path / "text.parquet")[0].startswith("cannot read the table")
    assert told(tables.csv(tmp_path / "t.csv", curves(2)), "acc") == ["no metric 'acc'"]
    (tmp_path / "latin.csv").write_bytes("trial,config.größe,loss\n0,1,1\n".encode("latin-1"))
    assert told(tmp_path / "latin.csv")[0].startswith("the column names are not UTF-8")


def test_of_thousands_of_columns_a_message_names_some(tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(3000)]
    (tmp_path / "t.csv").write_text(",".join(names) + "\n" + ",".join("1" * 3000) + "\n")
    with pytest.raises(UserError) as caught:
        load(tmp_path / "t.csv")
    assert all(len(str(problem)) < 500 for problem in caught.value.problems)
    assert "c19 and 2980 more" in caught.value.problems[0].fix


@pytest.mark.parametrize("odd", [NAN, INF])
def test_progress_that_is_no_number_is_none(odd: float, tmp_path: Path) -> None:
    rows = [
        {"trial": n, "config.lr": 0.1 * n, "step": odd if n == 3 else 5.0, "loss": 1.0 * n}
        for n in range(1, 9)
    ]
    table = table_of(tmp_path, rows)
    assert 3 not in table.trials
    assert len(table.trials) == 7
    other = [{**row, "step": 10.0} if row["trial"] > 4 else row for row in rows]
    assert table_of(tmp_path, other).trials == [5, 6, 7, 8], "what ended early is left out"


def test_a_column_that_is_nearly_called_trial_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Trial ID,config.a,step,loss\n0,1,1,1\n")
    with pytest.raises(UserError) as caught:
        load(path)
    assert [problem.fix for problem in caught.value.problems] == ["rename 'Trial ID' to 'trial'"]


def test_a_size_that_cannot_be_compared_is_told_and_the_others_stay(tmp_path: Path) -> None:
    rows = with_values(sized(), loss=lambda row: None if row["N"] == 200 else row["loss"])
    found, remarks = load_sizes(tables.csv(tmp_path / "t.csv", rows))
    assert [table.name for table in found] == ["t [N=30, D=600]", "t [N=1000, D=20000]"]
    assert [remark.what for remark in remarks] == [
        "t [N=200, D=4000]: no run has a finite loss at its end"
    ]


EVEN = [0.01 * index for index in range(1, 30)]


@pytest.mark.parametrize(
    ("values", "domain"),
    [
        ([5, 5, 5], Fixed(5)),
        ([None, None], Fixed(None)),
        ([32, 16, 64], Choice((16, 32, 64))),
        (["b", "a", None], Choice(("a", "b", None))),
        ([True, False], Choice((False, True))),
        (EVEN, Float(0.01, 0.29)),
        ([10 ** (-5 + 0.1 * i) for i in range(30)], Float(1e-5, 10 ** (-5 + 0.1 * 29), log=True)),
        (list(range(1, 40)), Int(1, 39)),
        ([2**i for i in range(20)], Int(1, 2**19, log=True)),
        ([*EVEN, None], Float(0.01, 0.29)),
        ([*map(str, range(30)), 1.5], Choice((1.5, *sorted(map(str, range(30)))))),
    ],
)
def test_the_space_is_guessed_column_by_column(values: list[Any], domain: Any) -> None:
    found = guess("x", values)
    if isinstance(domain, Choice):
        assert isinstance(found.domain, Choice)
        assert set(found.domain.values) == set(domain.values)
    else:
        assert (found.name, found.domain) == ("x", domain)


RATES = [f"{0.001 * index:g}" for index in range(1, 30)]


@pytest.mark.parametrize(
    ("values", "text"),
    [([*EVEN, "auto"], "'auto'"), ([*RATES, "auto"], "'auto'"), (RATES, "'0.001'")],
)
def test_numbers_that_one_text_makes_choices_are_told_of(values: list[Any], text: str) -> None:
    assert guess("x", values).remark == (
        f"x: {text} is text, so that all values are unordered choices"
    )


@pytest.mark.parametrize(
    "values", [["a", "b"], ["1", "2"], [*map(str, "abcdefghijklmno"), 1], EVEN]
)
def test_of_other_columns_nothing_is_told(values: list[Any]) -> None:
    assert guess("x", values).remark == ""


@pytest.mark.filterwarnings("error")
def test_whole_numbers_may_be_huge() -> None:
    values = [10**30 + index for index in range(20)]
    assert guess("x", values).domain == Int(10**30, 10**30 + 19)


def test_values_near_1_are_searched_by_their_distance_to_it() -> None:
    found = guess("beta", [1 - 10 ** (-0.1 * index) for index in range(5, 35)])
    assert found.name == "1-beta"
    assert isinstance(found.domain, Float)
    assert found.domain.log
    assert found.convert(0.9) == pytest.approx(0.1)


def test_a_missing_number_counts_as_the_middle_one() -> None:
    assert guess("x", [*EVEN, None]).convert(None) == EVEN[14]


def test_common_points_are_the_grid_and_values_stay_where_they_were(tmp_path: Path) -> None:
    table = table_of(tmp_path, curves(5))
    assert table.shares.tolist() == [0.25, 0.5, 0.75, 1.0]
    row = table.trials.index(3)
    expected = [r["eval_loss"] for r in curves(5) if r["trial"] == 3]
    assert table.values[row].tolist() == expected


def test_a_run_at_points_of_its_own_stands_where_its_last_report_left_it(tmp_path: Path) -> None:
    rows = [
        {"trial": trial, "config.lr": trial, "step": step, "loss": 10.0 * trial + step}
        for trial, steps in ((0, (2, 4, 8)), (1, (3, 8)))
        for step in steps
    ]
    table = table_of(tmp_path, rows)
    assert table.shares.tolist() == [3 / 8, 4 / 8, 1.0]
    assert table.values.tolist() == [[2, 4, 8], [13, 13, 18]]


def test_steps_of_different_size_are_shares_of_each_runs_own_length(tmp_path: Path) -> None:
    rows = [
        {"trial": trial, "config.bs": trial, "step": (10 + trial) * report, "loss": 9.0 - report}
        for trial in range(8)
        for report in range(1, 5)
        if trial < 7 or report < 3
    ]
    table = table_of(tmp_path, rows)
    assert table.shares.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert table.values.tolist() == [[8, 7, 6, 5]] * 7
    assert table.left_out == 1


def test_no_value_is_told_before_its_point(tmp_path: Path) -> None:
    table = table_of(tmp_path, curves(4, points=300))
    own = {r["tokens"]: r["eval_loss"] for r in curves(4, points=300) if r["trial"] == 0}
    assert table.values[0].tolist() == list(own.values())


def test_a_diverged_run_is_infinite_to_the_end_and_one_ended_early_is_left_out(
    tmp_path: Path,
) -> None:
    rows = with_values(
        curves(6),
        eval_loss=lambda row: (
            NAN
            if row["trial"] == 2 and row["tokens"] > 200
            else INF
            if row["trial"] == 3 and row["tokens"] == 300
            else row["eval_loss"]
        ),
    )
    rows = [row for row in rows if row["trial"] != 4 or row["tokens"] < 300]
    table = table_of(tmp_path, rows)
    assert table.trials == [0, 1, 2, 3, 5]
    assert table.left_out == 1
    finite = np.isfinite(table.values).sum(axis=1)
    assert finite.tolist() == [4, 4, 2, 2, 4]


def test_values_that_are_measured_seldom_are_no_divergence(tmp_path: Path) -> None:
    rows = with_values(
        curves(4, points=8),
        eval_loss=lambda row: row["eval_loss"] if row["tokens"] % 300 == 0 else None,
    )
    table = table_of(tmp_path, [row for row in rows if row["tokens"] <= 600])
    assert table.shares.tolist() == [0.5, 1.0]
    assert np.isfinite(table.values).all()


def test_rows_after_the_last_measurement_take_nothing_from_a_run(tmp_path: Path) -> None:
    """It is measured every third row, and others are written up to the end."""
    rows = with_values(
        curves(5, points=11),
        eval_loss=lambda row: row["eval_loss"] if row["tokens"] % 300 == 0 else None,
    )
    table = table_of(tmp_path, rows)
    assert (len(table.trials), table.left_out) == (5, 0)
    assert np.isfinite(table.values).all()
    assert table.shares.tolist() == pytest.approx([1 / 3, 2 / 3, 1.0])
    lost = with_values(rows, eval_loss=lambda r: NAN if r["trial"] == 2 else r["eval_loss"])
    table = table_of(tmp_path, lost)
    assert (len(table.trials), table.left_out) == (5, 0)
    assert np.isfinite(table.values).all(axis=1).tolist() == [True, True, False, True, True]


def test_of_runs_with_the_same_values_the_first_stands_for_all(tmp_path: Path) -> None:
    rows = [
        {"trial": trial, "config.lr": lr, "config.wd": 0, "loss": loss}
        for trial, lr, loss in ((7, 0.1, 3.0), (8, 0.2, 2.0), (9, 0.1, 1.0))
    ]
    table = table_of(tmp_path, rows)
    assert (table.trials, table.repeats) == ([7, 8], 1)
    assert table.values.tolist() == [[3.0], [2.0]]


def setting(full_runs: float = 3, **changes: Any) -> Setting:
    searcher = PlugIn.from_document(changes.pop("searcher", {"name": "random"}))
    scheduler = PlugIn.from_document(changes.pop("scheduler", {"name": "fifo"}))
    return Setting(searcher, scheduler, full_runs=full_runs, **changes)


def test_one_worker_pays_for_report_after_report(tmp_path: Path) -> None:
    table = table_of(tmp_path, curves(6))
    steps = replay(table, setting(2), seed=0).steps
    assert steps[0].spent == steps[0].time == 0.25
    firsts = [steps[index].trial for index in range(4)]
    assert len(set(firsts)) == 1
    row = table.values[table.trials.index(firsts[0])]
    assert [step.value for step in steps[:4]] == row.tolist()
    assert [step.spent for step in steps[:4]] == [0.25, 0.5, 0.75, 1.0]
    assert [math.isnan(step.completed_value) for step in steps[:4]] == [True, True, True, False]
    assert steps[3].completed_value == row.min()


def test_workers_that_run_together_have_begun_what_they_spend(tmp_path: Path) -> None:
    table = table_of(tmp_path, curves(6))
    steps = replay(table, setting(3, workers=3), seed=0).steps
    assert steps[0].spent == 0.75
    assert steps[0].time == 0.25
    assert steps[-1].time <= 1.0


def test_more_workers_than_budget_begin_no_more_than_it_pays_for(tmp_path: Path) -> None:
    rows = [{"config.lr": 0.1 * index, "loss": 1.0 * index} for index in range(1, 20)]
    steps = replay(table_of(tmp_path, rows), setting(3, workers=16), seed=0).steps
    assert steps[-1].spent == 3


def test_a_diverged_run_costs_what_it_trained(tmp_path: Path) -> None:
    rows = with_values(
        curves(5), eval_loss=lambda row: row["eval_loss"] if row["trial"] == 4 else NAN
    )
    steps = replay(table_of(tmp_path, rows), setting(10), seed=0).steps
    begun = steps[-1].spent - 1.0
    assert begun / 0.25 == pytest.approx(round(begun / 0.25))
    assert begun <= 4 * 0.25
    assert steps[-1].trial == 4


def test_a_budget_beyond_the_table_finds_its_best_run(tmp_path: Path) -> None:
    table = table_of(tmp_path, with_values(curves(7), config__constant="x"))
    for searcher in plugins.names("searcher"):
        kind = setting(100, workers=2, searcher={"name": searcher})
        if not problems(table, kind):
            assert replay(table, kind, seed=1).steps[-1].value == table.best_seen.min()


def test_a_search_that_has_taken_all_runs_says_so(tmp_path: Path) -> None:
    table = table_of(tmp_path, curves(7))
    spent_all = replay(table, setting(3), seed=0)
    assert (spent_all.spent, spent_all.is_over) == (3.0, False)
    early = replay(table, setting(25, scheduler={"name": "asha_stopping"}), seed=0)
    assert early.is_over
    assert early.spent < 7
    told = figures.summary(table, [spent_all, early], 25, target=None)
    assert told["out_of_runs"]["seeds"] == 1
    assert told["out_of_runs"]["spent"]["median"] == early.spent
    assert not replay(table, setting(7), seed=0).is_over, "the budget and the runs end together"


def test_the_order_of_rows_decides_nothing_where_runs_are_as_near(tmp_path: Path) -> None:
    """A third of the combinations is not there, and a draw then falls back on one of several."""
    rows = [
        {"config.a": f"a{n % 5}", "config.b": f"b{n // 5}", "loss": float(n)} for n in range(25)
    ]
    missing = {n for n in range(25) if n % 3 == 1}
    kept = [row for n, row in enumerate(rows) if n not in missing]

    def ranks(ordered: list[Row]) -> float:
        table = table_of(tmp_path, ordered)
        found = [replay(table, setting(4), seed).steps[-1].value for seed in range(150)]
        return float(np.mean([figures.rank(table, value) for value in found]))

    forth, back = ranks(kept), ranks(kept[::-1])
    exact = (len(kept) + 1) / 5 - 1
    assert forth == pytest.approx(exact, abs=0.7)
    assert back == pytest.approx(exact, abs=0.7)


def test_a_grid_needs_each_of_its_combinations(tmp_path: Path) -> None:
    rows = [{"config.a": f"a{n % 3}", "config.b": f"b{n // 3}", "loss": float(n)} for n in range(9)]
    grid = setting(9, searcher={"name": "grid"})
    assert not problems(table_of(tmp_path, rows), grid)
    (problem,) = problems(table_of(tmp_path, rows[:7]), grid)
    assert problem.what == "7 of the grid's 9 combinations are in the table"


def test_a_metric_to_be_maximised_is(tmp_path: Path) -> None:
    rows = with_values(curves(7), accuracy=lambda row: 1 / row["eval_loss"])
    table = table_of(tmp_path, rows, metric="accuracy", goal="maximize")
    values = [step.value for step in replay(table, setting(20), seed=0).steps]
    assert values == sorted(values)
    assert values[-1] == max(row["accuracy"] for row in rows)


SCHEDULERS = [name for name in plugins.names("scheduler") if name != "pbt"]
"""All that can be replayed: what a takeover would have led to is in no table."""


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize(
    "changes", [{}, {"workers": 3, "stragglers": 0.5}, {"workers": 40, "failures": 0.2}]
)
def test_every_incumbent_was_paid_for(
    scheduler: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    rows = with_values(
        curves(15, points=9),
        eval_loss=lambda row: (
            row["eval_loss"]
            if row["trial"] % 4 or row["tokens"] < 500
            else [NAN, INF][row["trial"] % 8 // 4]
        ),
    )
    table = table_of(tmp_path, rows)
    kind = setting(2.5, scheduler={"name": scheduler}, **changes)
    assert not problems(table, kind)
    for seed in range(3):
        steps = replay(table, kind, seed).steps
        assert repr(steps) == repr(replay(table, kind, seed).steps)
        assert all(step.spent <= 2.5 + 1e-6 for step in steps)
        for step, later in itertools.pairwise(steps):
            assert later.value <= step.value
            assert later.spent >= step.spent
            assert later.time >= step.time
        for step in steps:
            places = np.flatnonzero(table.values[table.trials.index(step.trial)] == step.value)
            assert table.shares[places[0]] <= step.spent + 1e-9


def test_rungs_lie_where_the_table_has_reports(tmp_path: Path) -> None:
    table = table_of(tmp_path, curves(5))
    assert rungs(table, (0.1, 0.2, 0.3, 1.0)) == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({"name": "hyperband"}, [(0, 1 / 3), (0, 1.0), (1, 1.0)]),
        ({"name": "median", "grace": 0.4}, [(0, 2 / 3), (0, 1.0)]),
    ],
)
def test_schedulers_compare_at_the_rungs_that_a_coarse_table_has(
    scheduler: dict[str, Any], expected: list[Any], tmp_path: Path
) -> None:
    """Three reports each: several of the scheduler's own rungs fall on the same one."""
    table = table_of(tmp_path, curves(60, points=3))
    state = search(table, setting(30, scheduler=scheduler), 0)
    ended = [trial for trial in state.trials.values() if trial.outcome is not None]
    found = {(trial.bracket, trial.fraction) for trial in ended}
    wanted: list[Any] = [(bracket, pytest.approx(at)) for bracket, at in expected]
    assert sorted(found) == wanted


def test_reports_of_a_table_are_not_taken_for_optimiser_steps(tmp_path: Path) -> None:
    table = table_of(tmp_path, curves(30, points=40))
    automatic = Setting(PlugIn("random"), PlugIn("auto"), full_runs=5)
    assert _study(table, automatic, 0).rungs == (0.05, 0.125, 0.35, 1.0)


class Changing:
    rungs = (1.0,)

    def exploit(self) -> None:
        """What schedulers have that change values."""


def test_what_cannot_be_replayed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(tmp_path, with_values(curves(20), config__x=lambda row: row["trial"] / 7))
    assert problems(table, setting()) == []
    (small,) = problems(table, setting(0.1))
    assert small.what == "0.1 full runs do not cover one report"
    (grid,) = problems(table, setting(searcher={"name": "grid"}))[:1]
    assert grid.where == "--searcher on t"
    monkeypatch.setattr("tune_app.plugins.make.scheduler", lambda study: Changing())
    (changing,) = problems(table, setting(scheduler={"name": "pbt"}))
    assert changing.what == "pbt changes the values of running trials"


def small(values: list[float], sign: int = 1) -> Table:
    count = len(values)
    return Table(
        name="small",
        metric="loss",
        sign=sign,
        space={"x": Choice(tuple(range(count)))},
        trials=list(range(count)),
        params=[{"x": index} for index in range(count)],
        shares=np.array([1.0]),
        values=np.array(values)[:, None],
        left_out=0,
        repeats=0,
    )


def searches_of(*seen: tuple[float, float]) -> list[Replayed]:
    return [Replayed(steps_of(*seen), seen[-1][0], False)]


def steps_of(*pairs: tuple[float, float], sign: int = 1) -> list[Step]:
    """Incumbents by (spent, value), each of a completed trial."""
    return [Step(spent, spent, value, 0, value) for spent, value in pairs]


def test_random_quality_is_the_median_of_all_draws() -> None:
    rng = random.Random(3)
    for sign, count in itertools.product((1, -1), range(1, 8)):
        values = [rng.choice([1.0, 2.0, rng.random()]) for _ in range(6)]
        best = sorted(
            min(sign * value for value in drawn)
            for drawn in itertools.combinations(values, min(count, 6))
        )
        expected = sign * best[(len(best) - 1) // 2]
        assert figures.random_quality(small(values, sign), count) == expected


def test_what_was_spent_until_the_target() -> None:
    steps = steps_of((1, 5.0), (2, 3.0), (4, 2.0))
    assert figures.spent_to(steps, 3.0, 1, completed=False) == 2
    assert figures.spent_to(steps, 1.0, 1, completed=True) == INF
    assert figures.spent_to(steps_of((1, 2.0), (2, 7.0)), 5.0, -1, completed=False) == 2
    assert figures.spent_to([Step(1, 1, 2.0, 0, NAN)], 5.0, 1, completed=True) == INF


def test_an_incumbent_counts_from_when_it_was_found() -> None:
    steps = steps_of((1, 5.0), (2, 3.0))
    assert [figures.incumbent(steps, at) for at in (1, 1.9, 2, 9)] == [5, 5, 3, 3]
    assert math.isnan(figures.incumbent(steps, 0.5))


def test_a_rank_is_the_number_of_better_runs() -> None:
    assert [figures.rank(small([1, 2, 2, INF]), v) for v in (1, 2, 3, INF)] == [0, 1, 3, 3]
    assert figures.rank(small([1, 2, 3], sign=-1), 2) == 1


def test_intervals_hold_the_median_and_know_infinity() -> None:
    told = figures.interval([1.0, 2.0, 4.0, INF])
    assert told["low"] <= told["median"] == 3.0 <= told["high"]
    assert figures.interval([1.0, 2.0, INF, INF])["median"] == INF
    assert figures.interval([INF, INF]) == {"median": INF, "low": INF, "high": INF}
    assert figures.interval([4.0]) == {"median": 4.0, "low": 4.0, "high": 4.0}


def test_a_speed_up_is_the_geometric_mean_over_tables() -> None:
    assert figures.speed_up([[5.0], [20.0]], 10)["median"] == pytest.approx(1.0)
    assert figures.speed_up([[5.0], [INF]], 10)["median"] == 0.0
    assert figures.speed_up([[2.0, 6.0]], 16)["median"] == pytest.approx(4.0)
    told = figures.speed_up([[2.0, 4.0, 8.0]] * 2, 16)
    assert told["median"] == pytest.approx(4.0)
    assert told["low"] <= told["median"] <= told["high"]


def test_a_summary_by_hand() -> None:
    table = small([1.0, 2.0, 3.0, 4.0, 5.0])
    told = figures.summary(table, searches_of((1, 4.0), (2, 2.0)), 3, target=None)
    assert (told["best"], told["target"]) == (1.0, 1.0)
    assert told["by_seed"]["reported"] == [INF]
    assert [b["full_runs"] for b in told["budgets"]] == [1, 2, 3]
    assert [b["value"]["median"] for b in told["budgets"]] == [4.0, 2.0, 2.0]
    assert [b["regret"]["median"] for b in told["budgets"]] == [3.0, 1.0, 1.0]
    assert [b["rank"]["median"] for b in told["budgets"]] == [3, 1, 1]
    assert [b["by_seed"]["regret_share"] for b in told["budgets"]] == [[1.5], [0.5], [0.5]]
    overall = figures.overall([told, told], 3)
    assert [b["rank_share"]["median"] for b in overall["budgets"]] == [0.6, 0.2, 0.2]


def test_a_regret_of_1_is_that_of_the_median_run() -> None:
    told = figures.summary(small([1.0, 2.0, 4.0, 9.0]), searches_of((1, 3.0)), 1, target=None)
    assert told["budgets"][0]["by_seed"]["regret_share"] == [1.0]


def test_where_most_runs_diverged_the_median_is_that_of_the_others() -> None:
    table = small([1.0, INF, 3.0, INF, INF, INF, 5.0])
    told = figures.summary(table, searches_of((1, 2.0)), 1, target=None)
    assert told["budgets"][0]["by_seed"]["regret_share"] == [0.5]


def test_a_summary_of_what_is_maximised_by_hand() -> None:
    told = figures.summary(small([1.0, 2.0, 3.0], -1), searches_of((1, 2.0)), 1, target=2.0)
    (budget,) = told["budgets"]
    assert budget["value"]["median"] == 2.0
    assert budget["regret"]["median"] == 1.0
    assert told["by_seed"]["reported"] == [1]
    assert told["goal"] == "maximize"


def test_time_is_told_beside_what_was_spent() -> None:
    steps = [Step(4.0, 1.5, 2.0, 0, NAN), Step(8.0, 2.5, 1.0, 0, 2.0)]
    told = figures.summary(small([1.0, 2.0, 3.0]), [Replayed(steps, 9.0, False)], 9, target=2.0)
    assert [told["time_to_target"][kind]["median"] for kind in ("reported", "completed")] == [
        1.5,
        2.5,
    ]


def test_an_interval_of_what_is_maximised_goes_from_low_to_high() -> None:
    seeds = [search for value in (0.1, 0.2, 0.3) for search in searches_of((1, value))]
    (budget,) = figures.summary(small([0.1, 0.2, 0.3], -1), seeds, 1, target=None)["budgets"]
    assert budget["value"] == {"median": 0.2, "low": 0.1, "high": 0.3}


def test_a_real_table_is_read() -> None:
    if not SHARED.is_dir():
        pytest.skip("no ../shared with real tables")
    (table,) = load(SHARED / "taskset_patch32_gru64_avg_bs128.parquet")
    assert len(table.trials) == 1000
    assert len(table.shares) == 50
    assert table.space["learning_rate"].log  # type: ignore[union-attr]
    assert "1-beta1" in table.space

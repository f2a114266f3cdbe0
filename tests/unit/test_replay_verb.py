"""`python -m tune_app replay`: what it prints, writes and refuses."""

from __future__ import annotations

import itertools
import json
import math
import pickle
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from tests.support import tables
from tests.support.tables import curves, with_values
from tune_app.__main__ import main
from tune_app.cli import replay as verb
from tune_app.errors import UserError

Run = Callable[..., int]


class SameProcess:
    """Takes the place of a pool of processes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Starts nothing."""

    def __enter__(self) -> SameProcess:
        return self

    def __exit__(self, *error: object) -> None:
        """Ends nothing."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args))
        return future

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """Ends nothing."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the verb in an empty folder, two seeds of random search unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verb, "ProcessPoolExecutor", SameProcess)

    def started(*words: Any) -> int:
        given = ["--full-runs", "3", "--seeds", "2", "--searcher", "random", *map(str, words)]
        return main(["replay", *given])

    return started


def test_figures_of_one_table_are_shown(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tables.csv(tmp_path / "task.csv", curves())
    assert run(path, "--scheduler", "fifo", "--scheduler", "asha") == 0
    shown = capsys.readouterr().out
    assert "task: 12 runs, 4 reports each" in shown
    assert "the median best of 3 of its runs at random" in shown
    for word in ("random + fifo", "random + asha", "regret", "better runs", "full runs to the"):
        assert word in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    assert (tmp_path / "replay.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "expected", "unexpected"),
    [
        (
            ["--full-runs", 2.5],
            ["best of 2 of its runs at random"],
            ["full runs train all"],
        ),
        (["--full-runs", 25], ["12 full runs train all of them to the end"], []),
        ([], ["best eval_loss, minimised: 1"], ["time to it"]),
        (["--metric", "score", "--goal", "maximize"], ["best score, maximised: 0."], []),
        (["--workers", 3], ["  time to it, that of a full run being 1: "], []),
    ],
)
def test_what_figures_mean_is_told(
    words: list[Any],
    expected: list[str],
    unexpected: list[str],
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = with_values(curves(), score=lambda row: 1 / row["eval_loss"])
    assert run(tables.csv(tmp_path / "task.csv", rows), *words) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in expected)
    assert not any(text in shown for text in unexpected)


def test_all_tables_together_are_shown_too(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        tables.parquet(tmp_path / folder / "task.parquet", curves())
    assert run("a/task.parquet", "b/task.parquet", "--target", "-5") == 0
    shown = capsys.readouterr().out
    assert "task (2): 12 runs" in shown
    assert "All 2 tables" in shown
    assert "full runs to the target: never" in shown
    assert "  the target: not reached on every table\n" in shown
    assert "0.0 times" not in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80


def test_json_has_all_figures_and_null_for_what_was_never_reached(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tables.csv(tmp_path / "task.csv", curves())
    assert run(path, "--target", "-5", "--workers", "8", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (row,) = told["replays"]
    assert row["spent_to_target"]["reported"] == {"median": None, "low": None, "high": None}
    assert [budget["full_runs"] for budget in row["budgets"]] == [1, 2, 3]
    assert told["overall"][0]["search"] == "random + auto"


def test_what_was_left_out_and_how_columns_were_read_is_told(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of two sizes was never measured; learning rates have a word among them."""
    rows = with_values(
        curves(60, points=1),
        D=lambda row: 1 if row["trial"] > 30 else 2,
        eval_loss=lambda row: None if row["trial"] > 30 else row["eval_loss"],
        config__lr=lambda row: "auto" if row["trial"] == 3 else row["config.lr"],
    )
    path = tables.csv(tmp_path / "task.csv", rows)
    sizes, word = "sizes told apart by D", "lr: 'auto' is text"
    assert run(path, "--json") == 0
    written = capsys.readouterr()
    told = json.loads(written.out)
    assert [remark.split(":")[0] for remark in told["remarks"]] == ["left out"]
    assert "task [D=1]" in told["remarks"][0]
    first, second = told["replays"][0]["remarks"]
    assert first == sizes
    assert second.startswith(word)
    assert written.err == ""
    assert run(path) == 0
    shown = capsys.readouterr()
    assert "left out: " in shown.err
    assert sizes in shown.out
    assert word in shown.out


def test_a_trajectory_is_the_same_for_the_same_seed(run: Run, tmp_path: Path) -> None:
    path = tables.csv(tmp_path / "task.csv", curves())
    files = [tmp_path / name for name in ("one.parquet", "other.parquet")]
    for file in files:
        assert run(path, "--workers", 3, "--stragglers", 0.5, "--trajectory", file) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    rows = pyarrow.parquet.read_table(files[0]).to_pylist()
    assert list(rows[0]) == [
        "table",
        "search",
        "seed",
        "spent",
        "time",
        "value",
        "trial",
        "completed_value",
    ]
    assert {row["seed"] for row in rows} == {0, 1}
    values = {(row["trial"], row["eval_loss"]) for row in curves()}
    assert all((row["trial"], row["value"]) in values for row in rows)


def test_names_of_runs_can_be_of_any_type(run: Run, tmp_path: Path) -> None:
    numbers = tables.csv(tmp_path / "numbers.csv", curves())
    named = with_values(curves(), trial=lambda row: f"run-{row['trial']}")
    texts = tables.csv(tmp_path / "texts.csv", named)
    assert run(numbers, texts, "--trajectory", "out.parquet") == 0
    rows = pyarrow.parquet.read_table("out.parquet").to_pylist()
    assert {row["trial"].startswith("run-") for row in rows} == {False, True}


def test_processes_come_to_the_same_as_one(tmp_path: Path, run: Run) -> None:
    path = tables.csv(tmp_path / "task.csv", curves())
    assert run(path, "--trajectory", "one.parquet") == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.undo()
        patch.setattr(verb, "ProcessPoolExecutor", ProcessPoolExecutor)
        assert run(path, "--trajectory", "many.parquet") == 0
    assert Path("one.parquet").read_bytes() == Path("many.parquet").read_bytes()


def test_all_mistakes_are_told_at_once_and_nothing_is_written(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables.csv(tmp_path / "good.csv", curves())
    (tmp_path / "empty.csv").touch()
    wrong = [
        *("missing.csv", "empty.csv", "good.csv", "--metric", "eval_los"),
        *("--searcher", "tpa", "--scheduler", "nope", "--workers", 0, "--seeds", 0),
        *("--full-runs", "nan", "--target", "inf", "--stragglers", -1, "--failures", 1),
        *("--trajectory", "out.csv", "--plot", "nowhere/plot.png"),
    ]
    before = sorted(tmp_path.iterdir())
    assert run(*wrong) == 2
    told = capsys.readouterr().err
    for mistake in (
        *("missing.csv: no such table", "empty.csv: cannot read", "did you mean 'eval_loss'?"),
        *("did you mean 'tpe'?", "unknown scheduler 'nope'", "--workers", "--seeds"),
        *("--full-runs", "--target", "--stragglers", "--failures", "--trajectory"),
        "--plot: there is no folder 'nowhere'",
    ):
        assert mistake in told
    assert told.count("error: ") == 13
    assert "Traceback" not in told
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--searcher", "grid"], "--searcher on task: a grid needs finitely many values of lr"),
        (["--full-runs", "0.2"], "0.2 full runs do not cover one report"),
    ],
)
def test_what_does_not_suit_the_table_is_told_before_the_first_replay(
    words: list[str], expected: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tables.csv(tmp_path / "task.csv", curves(20))
    assert run(path, *words) == 2
    assert f"{expected}\n" in capsys.readouterr().err


def test_options_are_those_of_a_study_file(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tables.csv(tmp_path / "task.csv", curves(30))
    halving = "{name: asha, eta: '2', rungs: 2}", "{name: asha, eta: 4, rungs: 2}"
    assert run(path, "--scheduler", halving[0], "--scheduler", halving[1], "--json") == 0
    rows = json.loads(capsys.readouterr().out)["replays"]
    names = [f"random + asha eta={eta} rungs=2" for eta in (2, 4)]
    assert [row["search"] for row in rows] == names
    assert rows[0]["by_seed"] != rows[1]["by_seed"]


def test_a_metric_that_is_rather_large_is_not_minimised_without_a_word(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, "eval_accuracy": 1 / row["eval_loss"]} for row in curves(20)]
    words = tables.csv(tmp_path / "task.csv", rows), "--metric", "eval_accuracy"
    assert run(*words) == 2
    told = capsys.readouterr().err
    assert "--goal: is more eval_accuracy better?\n" in told
    assert "--goal minimize or --goal maximize" in told
    assert run(*words, "--goal", "maximize") == 0
    assert "best eval_accuracy, maximised" in capsys.readouterr().out


def test_mistakes_in_options_are_told_at_once(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tables.csv(tmp_path / "task.csv", curves(20))
    asked = ["{startup: 5}", "{name: tpe, startu: 5}", "{name: tpe", "{name: tpe, name: gp}"]
    assert run(path, *itertools.chain(*(("--searcher", text) for text in asked))) == 2
    told = capsys.readouterr().err
    for text, mistake in zip(
        asked, ("no name", "did you mean 'startup'?", "not YAML", "each key once"), strict=True
    ):
        assert f"--searcher {text}" in told
        assert mistake in told
    refused = "--searcher", "{name: tpe, startup: 0}", "--scheduler", "{name: asha, eta: 1}"
    assert run(path, *refused) == 2
    told = capsys.readouterr().err
    assert "--searcher, startup: 0 startup trials\n" in told
    assert "--scheduler, eta: 1 is not a reduction factor\n" in told


RAISES = """
def create(space, seed):
    class Searcher:
        def suggest(self, state, number):
            %s
    return Searcher()
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no function create"),
        ("def create(space, seed, *, size): ...", "the option 'size' is missing"),
        ("def create(space, seed): return 1 / 0", "on task: ZeroDivisionError: division by zero"),
        (RAISES % "raise ValueError('boom')", "on task: ValueError: boom"),
        (RAISES % "return {'rate': 1}", "unknown parameters 'rate'"),
        (RAISES % "return {'lr': 1e-3}", "no values for 'batch'"),
        (RAISES % "return {'lr': 'high', 'batch': 16}", "on task: "),
    ],
)
def test_a_searcher_of_ones_own_that_fails_is_told_of_once(
    text: str, expected: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tables.csv(tmp_path / "task.csv", curves(20))
    (tmp_path / "mine.py").write_text(text)
    words = (path, "--searcher", "random", "--searcher", tmp_path / "mine.py")
    assert run(*words) == 2
    told = capsys.readouterr().err
    assert expected in told
    assert "Traceback" not in told
    with pytest.raises(UserError) as caught:
        run(*words, "--debug")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_less_than_one_full_run_is_enough_for_what_it_pays(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tables.csv(tmp_path / "task.csv", curves(20))
    assert run(path, "--full-runs", 0.6, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["replays"]
    assert [budget["full_runs"] for budget in row["budgets"]] == [0.6]
    assert row["spent_to_target"]["completed"]["median"] is None


def test_divergence_before_anything_else_is_no_number(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = with_values(
        curves(), eval_loss=lambda row: row["eval_loss"] if row["trial"] == 5 else math.inf
    )
    path = tables.csv(tmp_path / "task.csv", rows)
    for budget in (0.3, 3):
        assert run(path, "--scheduler", "fifo", "--full-runs", budget) == 0
        assert "nan" not in capsys.readouterr().out
